"""Python's collector of cycles, kept out of work on rows by the hundred thousand."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Iterator[None]:
    """No search for cycles meanwhile: rows hold none.

    It walks every object there is again and again while rows are made: a third of the time of judging, a twentieth of
    a month of 100 000 rows.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()

"""Memory of work on rows by the hundred thousand: the collector of cycles is kept out of it, what is free goes back."""

import ctypes
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar, overload

_Thing = TypeVar("_Thing")
_Made = TypeVar("_Made")


class MadeAnew(Sequence[_Made]):
    """What `make` gives for each thing, made anew whenever it is looked at: kept for all, it weighs too much."""

    def __init__(self, things: Sequence[_Thing], make: Callable[[_Thing], _Made]) -> None:
        self._things, self._make = things, make

    def __len__(self) -> int:
        return len(self._things)

    @overload
    def __getitem__(self, at: int) -> _Made: ...

    @overload
    def __getitem__(self, at: slice) -> "MadeAnew[_Made]": ...

    def __getitem__(self, at: int | slice) -> "_Made | MadeAnew[_Made]":
        return MadeAnew(self._things[at], self._make) if isinstance(at, slice) else self._make(self._things[at])

    def __iter__(self) -> Iterator[_Made]:
        return map(self._make, self._things)


def give_back() -> None:
    """What was freed goes back to the system where the allocator can (glibc): for the end of a large piece of work.

    It keeps what lies between things that are still used: 107 MB after a city of 60 000 rows was judged, which the
    long texts of what comes next do not fit into.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


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

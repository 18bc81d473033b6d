"""The small pictures of one call, kept in a file from measuring to the page they are shown on (PII).

In memory a city's sixty thousand would be 190 MB.
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from certflow import vault

_COUNT = 4
"""Bytes that say how long the next picture is."""


class Thumbnails:
    """First all of them are added, then they are read, best in that order; gone when it is left."""

    def __init__(self, work: Path) -> None:
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=work, prefix="thumbnails-")
        self._path, self._filling, self._end = Path(name), True, 0
        self._open = ExitStack()
        self._file = self._open.enter_context(vault.writer(handle, self._path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._open.close()
        finally:
            self._path.unlink()

    def add(self, picture: bytes) -> int:
        """Keep one; returns the place `read` finds it at."""
        place = self._end
        self._file.write(len(picture).to_bytes(_COUNT, "big"))
        self._file.write(picture)
        self._end += _COUNT + len(picture)
        return place

    def read(self, place: int) -> bytes:
        """The picture at this place; none is added any more."""
        if self._filling:
            self._open.close()
            self._file, self._filling = self._open.enter_context(vault.reader(self._path)), False
        self._file.seek(place)
        return self._file.read(int.from_bytes(self._file.read(_COUNT), "big"))

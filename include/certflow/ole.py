"""The compound file (OLE) an Excel 97-2003 workbook lies in: its streams by name [MS-CFB].

Nothing is imported beyond the standard library. Broken bytes raise SubmissionError, or any of struct.error,
IndexError, ValueError, as in `certflow.biff`.
"""

import struct
from collections.abc import Iterator

from certflow.errors import SubmissionError

MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

_END = 0xFFFFFFFA
"""Sector numbers from here up are marks, not sectors."""


class _Stream:
    """One stream of the compound file, read when asked for."""

    def __init__(self, data: bytes, chain: list[int], size: int, sector: int, base: int) -> None:
        self._parts = (data, chain, size, sector, base)

    def __call__(self) -> bytes:
        size = self._parts[2]
        joined = self.sectors(size)
        if len(joined) < size:
            raise SubmissionError("BOOK-DAMAGED", "文件不完整")
        return joined

    def sectors(self, size: int | None = None) -> bytes:
        """Every byte of the chain, padding included, or the first `size` of them."""
        data, chain, _, sector, base = self._parts
        first, count = (chain or [0])[0], len(chain)
        if chain == list(range(first, first + count)):  # one piece, as most programs write it
            begin = base + first * sector
            return data[begin : begin + min(count * sector, count * sector if size is None else size)]
        return b"".join([data[base + n * sector : base + (n + 1) * sector] for n in chain])[:size]


def streams(data: bytes) -> Iterator[tuple[str, _Stream]]:
    """(lower-case name, reader) of every stream and storage of an OLE compound file."""
    shift, mini_shift = struct.unpack_from("<HH", data, 30)
    if shift not in (9, 12) or mini_shift != 6:
        raise SubmissionError("BOOK-DAMAGED", "OLE 头部损坏")
    sector = 1 << shift
    (directory,) = struct.unpack_from("<I", data, 48)
    cutoff, mini_fat = struct.unpack_from("<II", data, 56)
    fat = _allocation(data, sector)
    listing = _Stream(data, _chain(fat, directory), 0, sector, sector).sectors()
    minis = [
        number
        for index in _chain(fat, mini_fat)
        for number in struct.unpack_from(f"<{sector // 4}I", data, (index + 1) * sector)
    ]
    container = b""
    for at in range(0, len(listing) - 127, 128):
        length, what = struct.unpack_from("<HB", listing, at + 64)
        start, size = struct.unpack_from("<IQ", listing, at + 116)
        if shift == 9:
            size &= 0xFFFFFFFF  # version 3 leaves rubbish in the upper half
        name = listing[at : at + max(length - 2, 0)].decode("utf-16-le", "replace").lower()
        if what == 5:
            container = _Stream(data, _chain(fat, start), 0, sector, sector).sectors()
        elif what == 1:
            yield name, _Stream(b"", [], 0, sector, 0)
        elif what == 2 and size >= cutoff:
            yield name, _Stream(data, _chain(fat, start), size, sector, sector)
        elif what == 2:
            yield name, _Stream(container, _chain(minis, start), size, 64, 0)


def _allocation(data: bytes, sector: int) -> list[int]:
    """The FAT: next sector by sector."""
    difat, count = struct.unpack_from("<II", data, 68)
    sectors = list(struct.unpack_from("<109I", data, 76))
    per = sector // 4
    for _ in range(min(count, len(data) // sector)):
        if difat >= _END:
            break
        *block, difat = struct.unpack_from(f"<{per}I", data, (difat + 1) * sector)
        sectors += block
    fat: list[int] = []
    for number in sectors:
        if number < _END:
            fat += struct.unpack_from(f"<{per}I", data, (number + 1) * sector)
    return fat


def _chain(table: list[int], start: int) -> list[int]:
    chain: list[int] = []
    while start < _END:
        if len(chain) > len(table):
            raise SubmissionError("BOOK-DAMAGED", "OLE 扇区链成环")
        chain.append(start)
        start = table[start]
    return chain

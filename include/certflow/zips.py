"""Reading one entry's bytes out of an archive, and writing archives whose bytes follow from the content alone.

No entry name is ever used as a path here. `intake.archive` decides what an archive *is*; this module only
moves bytes whose place, size and CRC the ledger already knows.
"""

import hashlib
import io
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Self

from certflow.errors import Conflict, DigestMismatch

STORED, DEFLATED = 0, 8
_UTF8 = 0x0800
_DATE = 0x0021  # 1980-01-01, the first day a zip can name
_VERSION = 20
_MADE_BY = 3 << 8 | _VERSION  # Unix: the mode below is read
_MODE = 0o100600 << 16
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_MOST_ENTRIES = 0xFFFE
_MOST_BYTES = 0xFFFF_FFFE
_UNICODE_PATH = 0x7075
_MOST_OPEN = 200
"""Archives open at a time; a province sends fewer for one exam."""

Names = Literal["utf-8", "gb18030"]
"""How entry names are written: UTF-8 with the flag that says so, or GB18030 for receivers that ignore the flag."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Where one entry's bytes lie in an archive, and what they must be. Sizes and offsets in bytes."""

    archive: Path
    data_offset: int
    packed_size: int
    method: int
    """0 stored, 8 deflated."""
    size: int
    crc32: int


class Archives:
    """Archives that stay open from one entry to the next; a context manager."""

    def __init__(self) -> None:
        self._files: dict[Path, io.FileIO] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._close()

    def read(self, entry: Packed, sha256: str | None = None) -> bytes:
        """The entry's content, inflated once when it was deflated; held against its SHA-256, or else against its CRC.

        Raises:
            DigestMismatch: length, digest or CRC differ from what was recorded, or the archive is gone.
        """
        try:
            file = self._files.get(entry.archive) or self._open(entry.archive)
            file.seek(entry.data_offset)
            packed = file.read(entry.packed_size)
        except OSError as error:
            raise DigestMismatch(f"原件 {entry.archive.stem[:12]}… 无法读取：{error.strerror}") from None
        data = packed if entry.method == STORED else _inflate(packed, entry)
        same = zlib.crc32(data) == entry.crc32 if sha256 is None else hashlib.sha256(data).hexdigest() == sha256
        if len(data) != entry.size or not same:
            raise DigestMismatch(
                f"原件 {entry.archive.stem[:12]}… 第 {entry.data_offset} 字节处的文件与校验码不符，请勿继续"
            )
        return data

    def _open(self, archive: Path) -> io.FileIO:
        if len(self._files) >= _MOST_OPEN:
            self._close()
        file = self._files[archive] = archive.open("rb", buffering=0)
        return file

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()


def read_packed(entry: Packed) -> bytes:
    """The content of a single entry; raises as `Archives.read`."""
    with Archives() as archives:
        return archives.read(entry)


def write_zip(
    target: BinaryIO, members: Iterable[tuple[str, bytes] | tuple[str, bytes, int]], names: Names = "utf-8"
) -> int:
    """Write `members` (name, content, CRC-32 where it is known) stored, with fixed times; returns how many.

    Names must come in ascending order of their UTF-8 bytes, so that one content has one spelling. Under
    ``gb18030`` an entry also carries its UTF-8 name in Info-ZIP's extra field 0x7075, for readers that know it.
    Members are taken one at a time: memory holds one photo, whatever the package's size.

    Raises:
        ValueError: a name is out of order, comes twice, or leads out of the archive.
        Conflict: more than 65 534 entries or 4 GiB, which needs zip64, which old receivers cannot read.
    """
    directory: list[bytes] = []
    offset, last = 0, b""
    for name, data, *known in members:
        utf8 = name.encode()
        if utf8 <= last or name.startswith("/") or "\\" in name or ".." in name.split("/"):
            raise ValueError("zip entry names come in ascending order, once each, and stay inside the archive")
        last = utf8
        raw, flags, extra = _spelled(name, utf8, names)
        begin = _LOCAL.size + len(raw) + len(extra)
        if len(directory) >= _MOST_ENTRIES or offset + begin + len(data) > _MOST_BYTES:
            raise Conflict("压缩包超过 65534 个文件或 4 GiB，请拆分该考试的数据后再组包")
        crc, size = known[0] if known else zlib.crc32(data), len(data)
        target.write(_LOCAL.pack(b"PK\3\4", _VERSION, flags, STORED, 0, _DATE, crc, size, size, len(raw), len(extra)))
        target.write(raw + extra)
        target.write(data)
        directory.append(
            _CENTRAL.pack(
                b"PK\1\2", _MADE_BY, _VERSION, flags, STORED, 0, _DATE, crc, size, size,
                len(raw), len(extra), 0, 0, 0, _MODE, offset,
            )
            + raw
            + extra
        )  # fmt: skip
        offset += begin + size
    central = b"".join(directory)
    target.write(central)
    count = len(directory)
    target.write(_END.pack(b"PK\5\6", 0, 0, count, count, len(central), offset, 0))
    return count


def _spelled(name: str, utf8: bytes, names: Names) -> tuple[bytes, int, bytes]:
    """Name bytes, flags and extra field of an entry; a plain ASCII name reads the same everywhere."""
    if names == "utf-8" or name.isascii():
        return utf8, _UTF8, b""
    raw = name.encode("gb18030")
    extra = struct.pack("<HHBL", _UNICODE_PATH, 5 + len(utf8), 1, zlib.crc32(raw)) + utf8
    return raw, 0, extra


def _inflate(packed: bytes, entry: Packed) -> bytes:
    if entry.method != DEFLATED:
        raise DigestMismatch(f"原件 {entry.archive.stem[:12]}… 的压缩方式 {entry.method} 从未受理")
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        # One byte more than recorded is enough to see that it does not end where it should.
        data = engine.decompress(packed, entry.size + 1)
    except zlib.error:
        raise DigestMismatch(
            f"原件 {entry.archive.stem[:12]}… 第 {entry.data_offset} 字节处的文件无法解压，请勿继续"
        ) from None
    return data

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
from typing import BinaryIO, Literal, Self, cast

from certflow import vault
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
_BLOCK = 256 << 10
"""Bytes written in one call; the block stays in the processor's cache while it is filled."""

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
        self._files: dict[Path, io.RawIOBase] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._close()

    def read(self, entry: Packed, sha256: str | None = None) -> bytes:
        """The entry's content, inflated once when it was deflated; held against its SHA-256, or else against its CRC.

        Raises:
            DigestMismatch: length, digest or CRC differ from what was recorded, or the archive is gone.
        """
        data = bytearray(entry.size)
        self.fill(entry, memoryview(data))
        same = zlib.crc32(data) == entry.crc32 if sha256 is None else hashlib.sha256(data).hexdigest() == sha256
        if not same:
            raise DigestMismatch(
                f"原件 {entry.archive.stem[:12]}… 第 {entry.data_offset} 字节处的文件与校验码不符，请勿继续"
            )
        return bytes(data)

    def fill(self, entry: Packed, room: memoryview) -> None:
        """Lay the entry's content into `room`, `entry.size` bytes long, without a look at its checksums.

        Raises:
            DigestMismatch: its length differs from what was recorded, or the archive is gone.
        """
        try:
            file = self._files.get(entry.archive) or self._open(entry.archive)
            file.seek(entry.data_offset)
            if entry.method == STORED:
                whole = entry.packed_size == entry.size == file.readinto(room)
            else:
                data = _inflate(file.read(entry.packed_size) or b"", entry)
                whole = len(data) == entry.size
                if whole:
                    room[:] = data
        except OSError as error:
            raise DigestMismatch(f"原件 {entry.archive.stem[:12]}… 无法读取：{error.strerror}") from None
        if not whole:
            raise DigestMismatch(
                f"原件 {entry.archive.stem[:12]}… 第 {entry.data_offset} 字节处的文件长度不符，请勿继续"
            )

    def _open(self, archive: Path) -> io.RawIOBase:
        if len(self._files) >= _MOST_OPEN:
            self._close()
        file = self._files[archive] = cast("io.RawIOBase", vault.reader(archive, buffering=0))
        return file

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()


def read_packed(entry: Packed) -> bytes:
    """The content of a single entry; raises as `Archives.read`."""
    with Archives() as archives:
        return archives.read(entry)


def write_zip(target: BinaryIO, members: Iterable[tuple[str, bytes | Packed]], names: Names = "utf-8") -> int:
    """Write `members` (name, and content or where it lies) stored, with fixed times; returns how many.

    Names must come in ascending order of their UTF-8 bytes, so that one content has one spelling. Under
    ``gb18030`` an entry also carries its UTF-8 name in Info-ZIP's extra field 0x7075, for readers that know it.
    Members are taken one at a time: memory holds one photo, whatever the zip's size.

    What lies in an archive is moved, not verified: its entry carries the CRC that was recorded, so that every reader
    sees damage. Whoever promises that there is none reads the zip back (`dispatch.readback`).

    Raises:
        ValueError: a name is out of order, comes twice, or leads out of the archive.
        Conflict: more than 65 534 entries or 4 GiB, which needs zip64, which old receivers cannot read.
        DigestMismatch: an archive is gone, or does not hold what was recorded by its length.
    """
    directory: list[bytes] = []
    block = memoryview(bytearray(_BLOCK))
    offset = filled = 0
    last = b""
    with Archives() as archives:
        for name, content in members:
            utf8 = name.encode()
            if utf8 <= last or name.startswith("/") or "\\" in name or ".." in name.split("/"):
                raise ValueError("zip entry names come in ascending order, once each, and stay inside the archive")
            last = utf8
            raw, flags, extra = _spelled(name, utf8, names)
            if isinstance(content, Packed):
                size, crc = content.size, content.crc32
            else:
                size, crc = len(content), zlib.crc32(content)
            head = _LOCAL.pack(b"PK\3\4", _VERSION, flags, STORED, 0, _DATE, crc, size, size, len(raw), len(extra))
            head += raw + extra
            length = len(head) + size
            if len(directory) >= _MOST_ENTRIES or offset + length > _MOST_BYTES:
                raise Conflict("压缩包超过 65534 个文件或 4 GiB，请拆分该考试的数据后再组包")
            if filled + length > _BLOCK:
                target.write(block[:filled])
                filled = 0
            room = block[filled : filled + length] if length <= _BLOCK else memoryview(bytearray(length))
            room[: len(head)] = head
            if isinstance(content, Packed):
                archives.fill(content, room[len(head) :])
            else:
                room[len(head) :] = content
            if length <= _BLOCK:
                filled += length
            else:
                target.write(room)
            directory.append(
                _CENTRAL.pack(
                    b"PK\1\2", _MADE_BY, _VERSION, flags, STORED, 0, _DATE, crc, size, size,
                    len(raw), len(extra), 0, 0, 0, _MODE, offset,
                )
                + raw
                + extra
            )  # fmt: skip
            offset += length
    target.write(block[:filled])
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

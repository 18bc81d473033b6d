"""The central directory of a zip, read from raw bytes: where entries lie, and whether the records agree.

One reader decides (Z23-Z26): the directory ends at the end of the file, counts and offsets fit, and every local
header says what the directory says. No content is read here.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from certflow.errors import SubmissionError
from certflow.settings import Limits

ENCRYPTED = 1 | 1 << 6 | 1 << 13
DESCRIPTOR = 1 << 3
UTF8 = 1 << 11
"""Bits of an entry's flags."""
_DIRECTORY_BYTES = 64 << 20
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_ZIP64_EXTRA = 0x0001


@dataclass(frozen=True, slots=True)
class Listed:
    """One record of the central directory."""

    ordinal: int
    raw_name: bytes
    extra: dict[int, bytes]
    flags: int
    method: int
    crc32: int
    packed: int
    size: int
    attributes: int
    offset: int


def place(ordinal: int) -> str:
    """Names an entry without its name, which may be an ID number."""
    return f"第 {ordinal + 1} 个条目"


def central_directory(file: BinaryIO, size: int, limits: Limits) -> tuple[list[Listed], int]:
    """Every record, and where they begin; SubmissionError ZIP-ENTRIES, ZIP-DAMAGED, ZIP-EMPTY or ZIP-SPLIT."""
    count, length, offset, end = _end_record(file, size)
    if count > limits.entries:
        raise SubmissionError("ZIP-ENTRIES", f"共 {count} 个条目，上限 {limits.entries}")  # Z18
    # Z24, Z40: the directory ends where its end record begins, counted from the first byte of the file.
    if offset + length != end or length > _DIRECTORY_BYTES:
        raise SubmissionError("ZIP-DAMAGED", "目录位置与记录不符")
    if count == 0:
        raise SubmissionError("ZIP-EMPTY")
    file.seek(offset)
    return list(_records(file.read(length), count)), offset


def _records(directory: bytes, count: int) -> Iterator[Listed]:
    length = len(directory)
    at = 0
    for ordinal in range(count):
        if directory[at : at + 4] != b"PK\x01\x02" or at + 46 > length:
            raise SubmissionError("ZIP-DAMAGED", "目录损坏")
        (_, flags, method, _, _, crc, packed, produced, name_length, extra_length, comment_length, disk, _, attributes,
         start) = struct.unpack_from("<HxxHHHHIIIHHHHHII", directory, at + 4)  # fmt: skip
        name_end = at + 46 + name_length
        extra = _extras(directory[name_end : name_end + extra_length])
        if _ZIP64_EXTRA in extra:
            produced, packed, start, disk = _zip64(extra[_ZIP64_EXTRA], produced, packed, start, disk)
        if disk:
            raise SubmissionError("ZIP-SPLIT")
        yield Listed(
            ordinal, directory[at + 46 : name_end], extra, flags, method, crc, packed, produced, attributes, start
        )
        at = name_end + extra_length + comment_length
    if at != length:
        raise SubmissionError("ZIP-DAMAGED", "目录条目数与记录不符")


def _end_record(file: BinaryIO, size: int) -> tuple[int, int, int, int]:
    """(entries, length of the directory, its offset, where it must end)."""
    tail_at = max(0, size - 22 - _MAX16)
    file.seek(tail_at)
    tail = file.read()
    found = [at for at in _find_all(tail, b"PK\x05\x06")
             if len(tail) >= at + 22 and at + 22 + struct.unpack_from("<H", tail, at + 20)[0] == len(tail)]  # fmt: skip
    if len(found) != 1:  # Z22, Z23
        raise SubmissionError("ZIP-DAMAGED", "压缩包不完整或尾部有多余数据")
    at = found[0]
    disk, first_disk, here, count, length, offset = struct.unpack_from("<HHHHII", tail, at + 4)
    end = tail_at + at
    locator_at = at - 20
    if locator_at >= 0 and tail[locator_at : locator_at + 4] == b"PK\x06\x07":
        return _zip64_end_record(file, end - 20, tail[locator_at : locator_at + 20])  # Z37
    if disk or first_disk or here != count:
        raise SubmissionError("ZIP-SPLIT")
    return count, length, offset, end


def _zip64_end_record(file: BinaryIO, locator_at: int, locator: bytes) -> tuple[int, int, int, int]:
    disk, at, disks = struct.unpack_from("<IQI", locator, 4)
    if disk or disks > 1:
        raise SubmissionError("ZIP-SPLIT")
    if at > locator_at:
        raise SubmissionError("ZIP-DAMAGED", "zip64 目录损坏")
    file.seek(at)
    record = file.read(56)
    if record[:4] != b"PK\x06\x06" or len(record) < 56:
        raise SubmissionError("ZIP-DAMAGED", "zip64 目录损坏")
    record_size, _, _, disk, first_disk, here, count, length, offset = struct.unpack_from("<QHHIIQQQQ", record, 4)
    if at + 12 + record_size != locator_at or here != count or disk or first_disk:
        raise SubmissionError("ZIP-DAMAGED", "zip64 目录损坏")
    return count, length, offset, at


def _find_all(data: bytes, mark: bytes) -> Iterator[int]:
    at = data.find(mark)
    while at >= 0:
        yield at
        at = data.find(mark, at + 1)


def _extras(data: bytes) -> dict[int, bytes]:
    """Extra fields by id; a ragged end is left out, as other readers do."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        key, length = struct.unpack_from("<HH", data, at)
        found.setdefault(key, data[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def _zip64(data: bytes, size: int, packed: int, offset: int, disk: int) -> tuple[int, int, int, int]:
    """The 64-bit values, each present only where its 32-bit field is all ones."""
    values = [size, packed, offset]
    at = 0
    for index, value in enumerate(values):
        if value == _MAX32 and at + 8 <= len(data):
            (values[index],) = struct.unpack_from("<Q", data, at)
            at += 8
    if disk == _MAX16 and at + 4 <= len(data):
        (disk,) = struct.unpack_from("<I", data, at)
    return values[0], values[1], values[2], disk


def local_header(file: BinaryIO, entry: Listed) -> int:
    """Where the entry's bytes begin; SubmissionError ZIP-NAMES or ZIP-DAMAGED when its local header disagrees."""
    file.seek(entry.offset)
    header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise SubmissionError("ZIP-DAMAGED", f"{place(entry.ordinal)}头部损坏")
    flags, method, _, _, crc, packed, size, name_length, extra_length = struct.unpack_from("<HHHHIIIHH", header, 6)
    if file.read(name_length) != entry.raw_name:
        raise SubmissionError("ZIP-NAMES", f"{place(entry.ordinal)}两处名称不同")  # Z25
    extra = _extras(file.read(extra_length))
    if method != entry.method or (flags ^ entry.flags) & (ENCRYPTED | DESCRIPTOR):
        raise SubmissionError("ZIP-DAMAGED", f"{place(entry.ordinal)}两处头部不同")
    if not flags & DESCRIPTOR:
        if _ZIP64_EXTRA in extra:
            size, packed, _, _ = _zip64(extra[_ZIP64_EXTRA], size, packed, 0, 0)
        if (crc, packed, size) != (entry.crc32, entry.packed, entry.size):
            raise SubmissionError("ZIP-DAMAGED", f"{place(entry.ordinal)}两处头部不同")
    return entry.offset + 30 + int(name_length) + int(extra_length)

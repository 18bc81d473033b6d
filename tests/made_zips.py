"""Zips built byte by byte, so that a test can lie in any field."""

import hashlib
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from certflow.intake.submission import Received

STEM = "202005-034-一级建造师(证书补换印制信息)数据(济南市)(1人)"
STORED, DEFLATED = 0, 8
UTF8 = 0x0800


@dataclass
class Member:
    name: bytes | str
    data: bytes = b"content"
    method: int = STORED
    flags: int = UTF8
    attributes: int = 0
    extra: bytes = b""
    local_name: bytes | None = None
    size: int | None = None
    """A lie about the produced bytes, in both headers."""
    crc: int | None = None
    version: int = 20
    packed: bytes | None = None
    descriptor: bool = False
    time: tuple[int, int] = (0, 0)

    @property
    def raw(self) -> bytes:
        return self.name if isinstance(self.name, bytes) else self.name.encode()


@dataclass
class Built:
    data: bytes
    offsets: list[int] = field(default_factory=list)


def zip_bytes(*members: Member, comment: bytes = b"", tail: bytes = b"", count: int | None = None) -> bytes:
    out = b""
    records = b""
    for member in members:
        packed = member.packed
        if packed is None:
            packed = member.data
            if member.method == DEFLATED:
                deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
                packed = deflate.compress(member.data) + deflate.flush()
        size = len(member.data) if member.size is None else member.size
        crc = zlib.crc32(member.data) if member.crc is None else member.crc
        flags = member.flags | (8 if member.descriptor else 0)
        sums = (0, 0, 0) if member.descriptor else (crc, len(packed), size)
        local = member.raw if member.local_name is None else member.local_name
        offset = len(out)
        out += struct.pack(
            "<4s5H3L2H", b"PK\x03\x04", member.version, flags, member.method, *member.time, *sums, len(local), 0
        )
        out += local + packed
        if member.descriptor:
            out += struct.pack("<4s3L", b"PK\x07\x08", crc, len(packed), size)
        records += struct.pack(
            "<4s6H3L5H2L", b"PK\x01\x02", 3 << 8 | 20, member.version, flags, member.method, *member.time, crc,
            len(packed), size, len(member.raw), len(member.extra), 0, 0, 0, member.attributes, offset,
        ) + member.raw + member.extra  # fmt: skip
    total = len(members) if count is None else count
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, total, total, len(records), len(out), len(comment))
    return out + records + end + comment + tail


def unicode_path(raw: bytes, text: str, *, crc: int | None = None) -> bytes:
    body = struct.pack("<BL", 1, zlib.crc32(raw) if crc is None else crc) + text.encode()
    return struct.pack("<HH", 0x7075, len(body)) + body


def received(folder: Path, data: bytes, name: str = f"{STEM}.zip") -> Received:
    digest = hashlib.sha256(data).hexdigest()
    path = folder / f"{digest[:16]}.bin"
    path.write_bytes(data)
    return Received(path, name, digest, len(data))

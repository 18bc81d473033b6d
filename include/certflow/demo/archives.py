"""Zip files as cities make them, written byte by byte: GBK names without a flag, traversal, encryption, links.

`zipfile` writes only proper archives; a synthetic city needs the others as well. The checking code has its own
reader; this writer shares nothing with it.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_LOCAL: Final = struct.Struct("<4sHHHHHLLLHH")
_CENTRAL: Final = struct.Struct("<4sHHHHHHLLLHHHHHLL")
_END: Final = struct.Struct("<4sHHHHLLH")
_DAY: Final = (2020 - 1980) << 9 | 5 << 5 | 29  # one fixed day: same content, same bytes
_FILE_MODE: Final = 0o100644
LINK_MODE: Final = 0o120777
"""Mode of a symbolic link."""


@dataclass(frozen=True, slots=True)
class Member:
    """One entry to write. `method` other than 0 and 8 is only declared, the data is stored."""

    name: str
    data: bytes
    encoding: str = "utf-8"
    """``utf-8`` sets the flag; any other leaves the reader to guess."""
    method: int = 0
    mode: int = _FILE_MODE
    password: bytes = b""
    crc: int | None = None
    """A CRC to claim instead of the right one."""


def pack(members: Sequence[Member]) -> bytes:
    """The archive's bytes; members in the order given, names as they are."""
    body, directory = bytearray(), bytearray()
    for member in members:
        raw = member.name.encode(member.encoding)
        crc = zlib.crc32(member.data) if member.crc is None else member.crc
        packed = _deflate(member.data) if member.method == 8 else member.data
        flags = 0x0800 if member.encoding == "utf-8" and not raw.isascii() else 0
        if member.password:
            flags |= 1
            packed = _encrypt(packed, member.password, crc)
        offset = len(body)
        sizes = (crc, len(packed), len(member.data))
        body += _LOCAL.pack(b"PK\x03\x04", 20, flags, member.method, 0, _DAY, *sizes, len(raw), 0) + raw + packed
        directory += (
            _CENTRAL.pack(
                b"PK\x01\x02", 3 << 8 | 20, 20, flags, member.method, 0, _DAY, *sizes, len(raw), 0, 0, 0, 0,
                member.mode << 16, offset,
            )
            + raw
        )  # fmt: skip
    end = _END.pack(b"PK\x05\x06", 0, 0, len(members), len(members), len(directory), len(body), 0)
    return bytes(body + directory + end)


def _deflate(data: bytes) -> bytes:
    squeezer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return squeezer.compress(data) + squeezer.flush()


def _crc_step(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
    return value


_CRC_TABLE: Final = tuple(map(_crc_step, range(256)))


def _encrypt(data: bytes, password: bytes, crc: int) -> bytes:
    """ZipCrypto (PKWARE APPNOTE 6.1) with a fixed header."""
    keys = [0x12345678, 0x23456789, 0x34567890]

    def turn(sign: int) -> None:
        keys[0] = keys[0] >> 8 ^ _CRC_TABLE[(keys[0] ^ sign) & 0xFF]
        keys[1] = (keys[1] + (keys[0] & 0xFF)) * 134775813 + 1 & 0xFFFFFFFF
        keys[2] = keys[2] >> 8 ^ _CRC_TABLE[(keys[2] ^ keys[1] >> 24) & 0xFF]

    for sign in password:
        turn(sign)
    result = bytearray()
    for sign in b"certflowdemo"[:11] + bytes([crc >> 24]) + data:
        mixed = keys[2] | 2
        result.append(sign ^ (mixed * (mixed ^ 1) >> 8 & 0xFF))
        turn(sign)
    return bytes(result)

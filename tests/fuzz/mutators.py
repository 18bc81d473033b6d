"""Mutations that keep an input's outer form, so that the fuzzer gets past checksums and lengths.

`archive`   builds zips member by member with odd names, methods, flags and extra fields, or changes fields of the
            headers, then makes sizes and CRCs agree with the bytes again
`workbook`  changes one part of an xlsx and packs it anew, or the body of one record of a BIFF stream
`photo`     changes the body of one JPEG segment and writes its length anew

Each takes what libFuzzer hands a custom mutator (bytes, largest size, seed) and gives the next input.
"""

import io
import random
import struct
import zipfile
import zlib

import atheris
from made_zips import DEFLATED, STEM, STORED, Member, unicode_path, zip_bytes

LARGEST_PART = 1 << 16
NAMES = (
    f"{STEM}.XLS", f"{STEM}/11010519491231002X.jpg", "a.jpg", "A.JPG", "a.jpg ", "a\\b.jpg", "../a", "/a", "C:a", "a/",
    "__MACOSX/._a.jpg", "Thumbs.db", "\u202ea.jpg", "e\u0301.jpg", "\xe9.jpg", "con.jpg", "x" * 260, "a\0b", "",
    "济南市.zip".encode("gbk"), "\U00020bb7.jpg".encode("gb18030"), "╥╗╝╢".encode("cp437", "replace"), b"\xff\xfe",
)  # fmt: skip


def archive(data: bytes, largest: int, seed: int) -> bytes:
    """A zip out of the grammar, or the given one with other fields and right sums."""
    chance = random.Random(seed)
    if not data.startswith(b"PK") or chance.random() < 0.4:
        return _built(chance)[:largest]
    changed = bytearray(atheris.Mutate(data, largest) if chance.random() < 0.5 else data)
    for at in _places(changed, b"PK\x01\x02") + _places(changed, b"PK\x03\x04"):
        size = 46 if changed[at + 2] == 1 else 30
        if chance.random() < 0.3 and at + size <= len(changed):
            field = chance.randrange(4, size - 1)
            changed[at + field] = chance.choice((0, 1, 8, 0x7F, 0xFF, chance.randrange(256)))
    if chance.random() < 0.9:
        _agree(changed)
    return bytes(changed[:largest])


def _built(chance: random.Random) -> bytes:
    members = []
    for _ in range(chance.randrange(1, 6)):
        content = chance.choice((b"", b"content", bytes(5000), chance.randbytes(300), b"PK\x03\x04", b"MZ" + bytes(70)))
        name = chance.choice(NAMES)
        raw = name if isinstance(name, bytes) else name.encode()
        extra = chance.choice((b"", unicode_path(raw, "b.jpg"), struct.pack("<HHQ", 1, 8, len(content)), b"\x75\x70"))
        members.append(
            Member(
                name,
                content,
                chance.choice((STORED, DEFLATED, DEFLATED, 9, 99)),
                chance.choice((0, 0x800, 1, 0x808)),
                chance.choice((0, 0o100644 << 16, 0o120777 << 16, 0o104755 << 16, 0x10)),
                extra,
                descriptor=chance.random() < 0.2,
                time=(chance.randrange(65536), chance.randrange(65536)),
            )
        )
    return zip_bytes(*members, comment=chance.choice((b"", b"PK\x05\x06" * 9)), tail=chance.choice((b"", b"", b"tail")))


def _agree(data: bytearray) -> None:
    """Make the sums in both headers of every entry those of its bytes."""
    for at in _places(data, b"PK\x01\x02"):
        if at + 46 > len(data):
            continue
        method, packed = struct.unpack_from("<H", data, at + 10)[0], struct.unpack_from("<L", data, at + 20)[0]
        offset = struct.unpack_from("<L", data, at + 42)[0]
        if data[offset : offset + 4] != b"PK\x03\x04" or offset + 30 > len(data):
            continue
        begin = offset + 30 + sum(struct.unpack_from("<2H", data, offset + 26))
        content = bytes(data[begin : begin + packed])
        if method == DEFLATED:
            try:
                content = zlib.decompressobj(-15).decompress(content, 1 << 22)
            except zlib.error:
                continue
        sums = struct.pack("<3L", zlib.crc32(content), packed, len(content))
        data[at + 16 : at + 28] = sums
        if not data[offset + 6] & 8:
            data[offset + 14 : offset + 26] = sums


def workbook(data: bytes, largest: int, seed: int) -> bytes:
    """One part of an xlsx or one record of an xls changed."""
    chance = random.Random(seed)
    if data.startswith(b"PK"):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as package:
                parts = {name: package.read(name) for name in package.namelist()}
        except Exception:  # noqa: BLE001 (whatever is wrong with the package, bytes are changed instead)
            return bytes(atheris.Mutate(data, largest))
        if parts:
            name = chance.choice(sorted(parts))
            parts[name] = bytes(atheris.Mutate(parts[name], LARGEST_PART))
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
                for part, content in parts.items():
                    package.writestr(part, content)
            if out.tell() <= largest:
                return out.getvalue()
    records = _records(data)
    if not records:
        return bytes(atheris.Mutate(data, largest))
    at, length = chance.choice(records)
    body = bytes(atheris.Mutate(data[at : at + length], max(length, 1)))[:length].ljust(length, b"\0")
    return data[:at] + body + data[at + length :]


def _records(data: bytes) -> list[tuple[int, int]]:
    """Place and length of the bodies of a BIFF stream that begins behind the OLE header."""
    found, at = [], 512
    while data.startswith(b"\xd0\xcf\x11\xe0") and at + 4 <= len(data):
        kind, length = struct.unpack_from("<2H", data, at)
        if kind == 0 or at + 4 + length > len(data):
            break
        if length:
            found.append((at + 4, length))
        at += 4 + length
    return found


def photo(data: bytes, largest: int, seed: int) -> bytes:
    """One segment of a JPEG changed, its length written anew; or one put twice, or left out."""
    chance = random.Random(seed)
    segments, at = [], 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data) and data[at + 1] != 0xDA:
        length = struct.unpack_from(">H", data, at + 2)[0]
        segments.append((data[at + 1], data[at + 4 : at + 2 + length]))
        at += 2 + length
    if not segments or chance.random() < 0.2:
        return bytes(atheris.Mutate(data, largest))
    which = chance.randrange(len(segments))
    marker, body = segments[which]
    ways = chance.random()
    if ways < 0.8:
        segments[which] = (marker, bytes(atheris.Mutate(body, 4096)))
    elif ways < 0.9:
        segments.insert(which, (marker, body))
    else:
        del segments[which]
    head = b"".join(struct.pack(">BBH", 0xFF, kind, len(content) + 2) + content for kind, content in segments)
    return (data[:2] + head + data[at:])[:largest]


def _places(data: bytes | bytearray, mark: bytes) -> list[int]:
    found, at = [], data.find(mark)
    while at >= 0:
        found.append(at)
        at = data.find(mark, at + 1)
    return found

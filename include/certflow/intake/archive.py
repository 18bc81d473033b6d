"""Safe unzip: what a city's zip holds, read from its raw bytes; nothing of it ever touches the file system.

Own central-directory parser, because one reader must decide (Z23-Z26) and the standard one overlooks overlaps
(Z15), lies about sizes (Z14) and names (Z25). One pass produces every byte once, capped, with CRC and SHA-256;
photos are not decoded here.
"""

import hashlib
import stat
import struct
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import BinaryIO

from certflow import sniff, vault
from certflow.errors import SubmissionError
from certflow.intake import names
from certflow.intake.directory import DESCRIPTOR, ENCRYPTED, UTF8, Listed, central_directory, local_header, place
from certflow.intake.submission import Archive, Entry, Measures, Received
from certflow.settings import Limits

STORED, DEFLATED = 0, 8
_METHODS = {1: "Shrink", 6: "Implode", 9: "Deflate64", 12: "BZIP2", 14: "LZMA", 20: "zstd", 93: "zstd", 94: "MP3",
            95: "XZ", 96: "JPEG", 97: "WavPack", 98: "PPMd"}  # fmt: skip
_AES = 99
_CHUNK = 1 << 20
_REPARSE, _DEVICE = 0x400, 0x40
_UNIX_EXTRA, _PKWARE_UNIX_EXTRA = 0x756E, 0x000D


def unpack(received: Received, limits: Limits, *, nest: bool = False) -> Archive:
    """The entries of a received zip, each measured; never raises for bad bytes.

    A fault of the whole file (rule code) stands in ``measures["file_fault"]`` with `file_detail`, then there are
    no entries; `file_entry` is the ordinal of the entry it was found in, or None. Other columns: `zip_junk`,
    `zip_encoding`, `zip_case`, `zip_entries` (counts). Entry measures: `zip_case` (1: another name is equal but
    for case or form, Z29), `twin_of` (ordinal of an identical entry, then the role is junk), `junk_reason`. With `nest`
    zips that are named like packages are entries of the role `archive` (Z16).
    """
    measures: Measures = {
        "file_fault": None, "file_detail": "", "file_entry": None,
        "zip_entries": 0, "zip_junk": 0, "zip_encoding": 0, "zip_case": 0,
    }  # fmt: skip
    try:
        with vault.reader(received.path) as file:
            entries = _unpack(file, limits, measures, nest=nest)
    except SubmissionError as error:
        measures["file_fault"], measures["file_detail"] = error.fault, error.detail
        return Archive(received, (), measures)
    measures["zip_entries"] = len(entries)
    measures["zip_junk"] = sum(entry.role == "junk" for entry in entries)
    measures["zip_case"] = sum("zip_case" in entry.measures for entry in entries)
    return Archive(received, tuple(entries), measures)


def single(received: Received, limits: Limits) -> Archive:
    """A file that is its own only member: a workbook that came without a zip."""
    measures: Measures = {"file_fault": None, "file_detail": "", "file_entry": None, "zip_entries": 1, "zip_junk": 0}
    if received.size > limits.workbook_bytes:
        measures |= {"file_fault": "ZIP-BOMB", "file_detail": f"{received.size >> 20} MB"}
        return Archive(received, (), measures)
    if received.size == 0:
        return Archive(received, (), measures | {"file_fault": "FILE-EMPTY"})
    crc = zlib.crc32(vault.read_bytes(received.path))
    entry = Entry(
        ordinal=0, name=received.name, raw_name=received.name.encode("utf-8", "surrogateescape"), role="workbook",
        size=received.size, packed_size=received.size, method=STORED, data_offset=0, crc32=crc, sha256=received.sha256,
    )  # fmt: skip
    return Archive(received, (entry,), measures)


def read_entry(received: Received, entry: Entry) -> bytes:
    """The bytes of one entry, inflated and checked; SubmissionError ZIP-DAMAGED when they are not what they were."""
    with vault.reader(received.path, buffering=0) as file:
        return read_from(file, entry)


def read_from(file: BinaryIO, entry: Entry) -> bytes:
    """As `read_entry`, out of an archive that is open already."""
    file.seek(entry.data_offset)
    data = file.read(entry.packed_size)
    if entry.method == DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = inflater.decompress(data, entry.size + 1)
        except zlib.error:
            raise SubmissionError("ZIP-DAMAGED", place(entry.ordinal)) from None
    if len(data) != entry.size or zlib.crc32(data) != entry.crc32:
        raise SubmissionError("ZIP-DAMAGED", place(entry.ordinal))
    return data


def _unpack(file: BinaryIO, limits: Limits, measures: Measures, *, nest: bool) -> list[Entry]:
    size = file.seek(0, 2)
    if size == 0:
        raise SubmissionError("FILE-EMPTY")  # Z34
    if size > limits.archive_bytes:
        raise SubmissionError("ZIP-BOMB", f"压缩包 {size >> 20} MB，上限 {limits.archive_bytes >> 20} MB")
    file.seek(0)
    _refuse_other_types(file.read(512), size)
    listed, end = central_directory(file, size, limits)
    for entry in listed:
        with _blamed(measures, entry.ordinal):
            _refuse_by_header(entry, limits)
    _refuse_by_sums(listed, limits)
    decoded = _decode(listed, measures)
    if "[Content_Types].xml" in decoded:  # a workbook as it is; its parts are no entries
        raise SubmissionError("FILE-TYPE", sniff.OFFICE)
    if {"content.xml", "META-INF/manifest.xml"} <= {*decoded}:
        raise SubmissionError("FILE-TYPE", sniff.OPEN_DOCUMENT)
    offsets = _locate(file, listed, end, measures)
    entries: list[Entry] = []
    produced = 0
    for entry, name, offset in zip(listed, decoded, offsets, strict=True):
        with _blamed(measures, entry.ordinal):
            made = _read_through(file, entry, name, offset, limits, nest=nest)
        produced += made.size
        if produced > limits.unpacked_bytes:
            raise SubmissionError("ZIP-BOMB", f"解压后超过 {limits.unpacked_bytes >> 30} GB")
        entries.append(made)
    entries = _resolve_case(entries)
    if all(entry.role in ("folder", "junk") for entry in entries):
        raise SubmissionError("ZIP-EMPTY")  # Z35
    return entries


class _blamed:  # noqa: N801 (reads as a statement)
    """Records the ordinal of the entry an error was found in, for the feedback (Z27: name the entry)."""

    def __init__(self, measures: Measures, ordinal: int) -> None:
        self._measures, self._ordinal = measures, ordinal

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is SubmissionError:
            self._measures["file_entry"] = self._ordinal


def _refuse_other_types(head: bytes, size: int) -> None:
    if head.startswith(b"PK\x05\x06") and size == 22:
        raise SubmissionError("ZIP-EMPTY")  # Z35
    if head.startswith((b"PK\x07\x08", b"PK00PK")):
        raise SubmissionError("ZIP-SPLIT")  # Z36
    if not head.startswith(b"PK\x03\x04"):
        raise SubmissionError("FILE-TYPE", sniff.type_name(head))  # Z32, Z33, Z40


def _refuse_by_header(entry: Listed, limits: Limits) -> None:
    if entry.flags & ENCRYPTED or entry.method == _AES:
        raise SubmissionError("ZIP-ENCRYPTED", place(entry.ordinal))  # Z19-Z21
    if entry.method not in (STORED, DEFLATED):
        raise SubmissionError("ZIP-METHOD", _METHODS.get(entry.method, f"方法 {entry.method}"))  # Z39
    modes = [entry.attributes >> 16]
    if (unix := entry.extra.get(_UNIX_EXTRA)) and len(unix) >= 6:
        modes.append(struct.unpack_from("<H", unix, 4)[0])
    linked = len(entry.extra.get(_PKWARE_UNIX_EXTRA, b"")) > 12
    for mode in modes:
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR) or mode & (stat.S_ISUID | stat.S_ISGID):
            linked = True
    if linked or entry.attributes & (_REPARSE | _DEVICE):
        raise SubmissionError("ZIP-SPECIAL", place(entry.ordinal))  # Z11, Z12
    ratio = entry.size / max(entry.packed, 1)
    if entry.size > limits.entry_bytes or (entry.size > _CHUNK and ratio > limits.ratio):
        raise SubmissionError("ZIP-BOMB", f"{place(entry.ordinal)}解压后 {entry.size >> 20} MB")  # Z13


def _refuse_by_sums(listed: Iterable[Listed], limits: Limits) -> None:
    total = sum(entry.size for entry in listed)
    if total > limits.unpacked_bytes:
        raise SubmissionError("ZIP-BOMB", f"解压后共 {total >> 20} MB")


def _decode(listed: list[Listed], measures: Measures) -> list[str]:
    """Names as text, separators `/`, each one safe; faults ZIP-TRAVERSAL, ZIP-NAMES, ZIP-DUPLICATE."""
    decoded = names.decode([names.RawName(e.raw_name, bool(e.flags & UTF8), e.extra.get(names.EXTRA)) for e in listed])
    measures["zip_encoding"] = decoded.repaired
    clean: list[str] = []
    for entry, name in zip(listed, decoded.names, strict=True):
        with _blamed(measures, entry.ordinal):
            clean.append(names.clean(name, place(entry.ordinal)))
    seen: set[str] = set()
    for entry, name in zip(listed, clean, strict=True):
        if name in seen and not name.endswith("/"):
            measures["file_entry"] = entry.ordinal
            raise SubmissionError("ZIP-DUPLICATE", place(entry.ordinal))  # Z28
        seen.add(name)
    for entry, name in zip(listed, clean, strict=True):
        if name + "/" in seen:
            measures["file_entry"] = entry.ordinal
            raise SubmissionError("ZIP-DUPLICATE", place(entry.ordinal))
    return clean


def _locate(file: BinaryIO, listed: list[Listed], end: int, measures: Measures) -> list[int]:
    """Where each entry's bytes begin; local headers agree, entries neither overlap nor leave room up to `end`."""
    begins: list[int] = [0] * len(listed)
    expected = 0
    slack = False
    for entry in sorted(listed, key=lambda one: one.offset):
        with _blamed(measures, entry.ordinal):
            _refuse_room(entry.offset - expected, entry, described=slack)
            begins[entry.ordinal] = local_header(file, entry)
        expected = begins[entry.ordinal] + entry.packed
        slack = bool(entry.flags & DESCRIPTOR)
    _refuse_room(end - expected, max(listed, key=lambda one: one.offset), described=slack)
    return begins


def _refuse_room(room: int, entry: Listed, *, described: bool) -> None:
    """Bytes of two entries (Z15) or of none (Z24) are refused, but for a descriptor of 12 to 24 bytes (Z38)."""
    if room < 0:
        raise SubmissionError("ZIP-OVERLAP", place(entry.ordinal))
    if room > (24 if described else 0):
        raise SubmissionError("ZIP-DAMAGED", "条目之间有来历不明的数据")


def _read_through(file: BinaryIO, entry: Listed, name: str, offset: int, limits: Limits, *, nest: bool) -> Entry:
    """Produce every byte of one entry once: size, CRC, digest, and what its first bytes say."""
    digest = hashlib.sha256()
    crc = produced = 0
    head = b""
    for block in _blocks(file, entry, offset):
        produced += len(block)
        if produced > min(entry.size, limits.entry_bytes):  # Z14: the bytes produced count, not the header
            raise SubmissionError("ZIP-BOMB", f"{place(entry.ordinal)}大小与声明不符")
        crc = zlib.crc32(block, crc)
        digest.update(block)
        if len(head) < sniff.HEAD:
            head += block[: sniff.HEAD - len(head)]
    if produced != entry.size or crc != entry.crc32:
        raise SubmissionError("ZIP-DAMAGED", f"{place(entry.ordinal)}校验不符")  # Z27
    if name.endswith("/") and produced:
        raise SubmissionError("ZIP-DAMAGED", f"{place(entry.ordinal)}是文件夹却有内容")
    role, reason = names.role(name, head)
    if nest and role == "ZIP-NESTED" and names.is_exam_zip(name, head):
        role = "archive"
    if role in ("ZIP-EXECUTABLE", "ZIP-NESTED"):
        raise SubmissionError(role, place(entry.ordinal))  # Z16, Z17, Z49
    return Entry(
        ordinal=entry.ordinal,
        name=name,
        raw_name=entry.raw_name,
        role=role,
        size=produced,
        packed_size=entry.packed,
        method=entry.method,
        data_offset=offset,
        crc32=crc,
        sha256=digest.hexdigest(),
        measures={"junk_reason": reason} if role == "junk" else {},
    )


def _blocks(file: BinaryIO, entry: Listed, offset: int) -> Iterator[bytes]:
    file.seek(offset)
    left = entry.packed
    inflater = zlib.decompressobj(-zlib.MAX_WBITS) if entry.method == DEFLATED else None
    while left:
        packed = file.read(min(_CHUNK, left))
        if not packed:
            raise SubmissionError("ZIP-DAMAGED", f"{place(entry.ordinal)}不完整")
        left -= len(packed)
        if inflater is None:
            yield packed
            continue
        try:
            yield inflater.decompress(packed, _CHUNK)
            while inflater.unconsumed_tail:
                yield inflater.decompress(inflater.unconsumed_tail, _CHUNK)
        except zlib.error:
            raise SubmissionError("ZIP-DAMAGED", f"{place(entry.ordinal)}损坏") from None
        if inflater.unused_data:
            raise SubmissionError("ZIP-DAMAGED", f"{place(entry.ordinal)}尾部有多余数据")
    if inflater is not None:
        yield inflater.flush()
        if not inflater.eof:
            raise SubmissionError("ZIP-DAMAGED", f"{place(entry.ordinal)}不完整")


def _resolve_case(entries: list[Entry]) -> list[Entry]:
    """Names equal but for case, form or trailing blanks (Z29, Z30): identical content → one stays, else all marked."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.role not in ("folder", "junk"):
            folded = unicodedata.normalize("NFC", entry.name).casefold()
            groups["/".join(part.rstrip(" .") for part in folded.split("/"))].append(entry)
    resolved = list(entries)
    for first, *rest in (group for group in groups.values() if len(group) > 1):
        if all(other.sha256 == first.sha256 for other in rest):
            for other in rest:
                resolved[other.ordinal] = replace(
                    other, role="junk", measures={"junk_reason": "重复", "twin_of": first.ordinal}
                )
        else:
            for other in (first, *rest):
                resolved[other.ordinal] = replace(other, measures={**other.measures, "zip_case": 1})
    return resolved

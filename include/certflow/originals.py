"""From a file on a server to an original in our store: complete, flushed to disk, under its own digest.

A store that is addressed by content needs no memory: the same bytes twice are one file, a crash leaves at most
a temporary file in the work folder. Which file may be taken, and what it means, is the caller's business.
"""

import fcntl
import hashlib
import json
import os
import struct
import time
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from certflow import vault
from certflow.errors import TransferError
from certflow.settings import Settings
from certflow.sftp import PART, RemoteFile, Session

_UNDER_WAY = (PART, ".filepart", ".tmp", ".crdownload", ".partial")
_END_RECORD = struct.Struct("<4s4H2LH")
_END_SEARCH = _END_RECORD.size + 0xFFFF
"""Bytes: an end record and the longest comment behind it."""
PATIENCE_SECONDS = 24 * 3600
"""A zip without an end that has not changed for so long is damaged, not under way: taken, so that it is answered."""


def unchanged(before: RemoteFile | None, now: RemoteFile) -> bool:
    """True when two looks saw the same plain file and its name does not say that it is under way (T01)."""
    return now.regular and before == now and not now.name.lower().endswith(_UNDER_WAY)


def take(
    settings: Settings, session: Session, path: bytes, file: RemoteFile, *, errand: str, ended: bool = False
) -> str | None:
    """Bring the remote `file` into the store; its SHA-256, or None when it is not complete or was replaced.

    A zip (by name or by its first bytes) must hold the end of its central directory, unless `ended` says
    that nobody is writing any more. `errand` names whose temporary file it is, for `sweep`.
    """
    by_name = unicodedata.normalize("NFKC", file.name).lower().endswith(".zip")
    if by_name and not ended and not _has_end(session.tail(path, _END_SEARCH), file.size):
        return None
    settings.work.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = settings.work / f"take-{errand}-{hashlib.sha256(path).hexdigest()[:16]}"
    try:
        digest, size = session.get(path, temporary)
        if size != file.size or session.stat(path) != file:
            return None  # replaced while we read it (F19): from the beginning next time
        if not ended and not _looks_whole(temporary, size):
            return None
        _store(temporary, settings.original(digest))
    finally:
        temporary.unlink(missing_ok=True)
    return digest


def keep(settings: Settings, data: bytes) -> str:
    """Bring bytes that are here already into the store, flushed to the disk; their SHA-256.

    What a killed process left half-written, or a disk has damaged, is written over by the next that brings the same
    bytes; two at once take turns.
    """
    digest = hashlib.sha256(data).hexdigest()
    final = settings.original(digest)
    if vault.holds(final, len(data), digest):
        os.utime(final)  # young again: no purge that is under way takes it for what was purged
    else:
        settings.work.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = settings.work / f"keep-{digest}"
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as turn:
                fcntl.flock(turn, fcntl.LOCK_EX)
                if not vault.holds(final, len(data), digest):  # else it is the other one's file that we have open
                    turn.truncate()
                    with vault.writer(os.dup(turn.fileno()), temporary) as stream:
                        stream.write(data)
                        vault.finish(stream)
                    _store(temporary, final)
        finally:
            temporary.unlink(missing_ok=True)
    return digest


def sweep(settings: Settings, errand: str) -> None:
    """Remove what an earlier run of this errand left when it died; the caller holds the errand's lock."""
    for leftover in settings.work.glob(f"take-{errand}-*"):
        leftover.unlink(missing_ok=True)


def remembered(note: Path) -> dict[str, Any]:
    """What an errand noted for its next run; nothing where a power cut left half of it: then all is looked at anew."""
    try:
        found = json.loads(note.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def remember(note: Path, what: Mapping[str, Any]) -> None:
    """Note it for `remembered`."""
    note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = note.with_suffix(PART)
    fresh.write_text(json.dumps(what), encoding="ascii")
    fresh.replace(note)


class Patience:
    """Since when a file has looked the way it does; by our clock, the server's may be wrong (T14)."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._before: dict[str, float] = remembered(file)
        self._now: dict[str, float] = {}

    def seconds(self, lane: str, file: RemoteFile) -> float:
        """For how long the file has not changed; remembers how it looks."""
        look = f"{lane}/{file.raw_name.hex()}/{file.size}/{file.mtime}"
        key = hashlib.sha256(look.encode()).hexdigest()
        self._now[key] = self._before.get(key, time.time())
        return time.time() - self._now[key]

    def save(self) -> None:
        """Only what is still there is remembered."""
        if self._now or self._before:
            remember(self._file, self._now)


def _store(temporary: Path, final: Path) -> None:
    """Give the flushed bytes their address; the folders' entries reach the disk before the ledger does."""
    try:
        final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.replace(final)
        for folder in (final.parent, final.parent.parent):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise TransferError(f"本机存储区写入失败：{os.strerror(error.errno or 0)}，未登记任何内容") from None  # T04


def _looks_whole(file: Path, size: int) -> bool:
    """True unless the bytes begin like a zip and have no end."""
    with vault.reader(file) as stream:
        if stream.read(4) != b"PK\x03\x04":
            return True
        stream.seek(max(0, size - _END_SEARCH))
        return _has_end(stream.read(), size)


def _has_end(tail: bytes, size: int) -> bool:
    """True when the last bytes of a file of `size` bytes hold the end of its central directory (T01).

    The directory must end where the record says, so the end of a zip *inside* a half-written zip does not count.
    """
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0:
        if len(tail) - at >= _END_RECORD.size:
            *_, length, offset, _comment = _END_RECORD.unpack_from(tail, at)
            zip64 = tail[max(0, at - 20) : at].startswith(b"PK\x06\x07")
            if zip64 or offset + length == size - len(tail) + at:
                return True
        at = tail.rfind(b"PK\x05\x06", 0, at)
    return False

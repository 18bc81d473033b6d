"""Files at rest under a key: the one door to every file of the home that holds personal data.

Off (no ``CERTFLOW_VAULT_KEY``): files are what they always were, byte for byte. On: what is written below `FOLDERS` is
sealed (`certflow.vault.sealed`), and whoever reads through this module sees the plain bytes. Sizes and digests in the
ledger are those of the plain bytes; plain and sealed files may lie side by side.

What begins like a sealed file counts as one only where the key it names was in use in that home: no city can send such
a file.
"""

import hashlib
import io
import os
import stat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, cast

from certflow.errors import SealBroken
from certflow.vault.keyring import DROPS, FOLDERS, PLAIN, anything_sealed, hold, ring_for_new
from certflow.vault.sealed import CHUNK, NAMED, SMALLEST, Opened, Sealing, head_of, header, identify, place, unwrap

__all__ = [
    "CHUNK", "DROPS", "FOLDERS", "PLAIN", "create", "finish", "hold", "holds", "read_bytes", "read_text", "reader",
    "seal", "sealed_with", "sha256", "shelf", "size", "write_bytes", "writer",
]  # fmt: skip


def reader(path: Path, buffering: int = -1) -> BinaryIO:
    """Open a file for reading, sealed or not; it can be sought in. `buffering` as of `open`.

    Raises:
        ConfigurationError: the file is sealed and its key was not given.
        SealBroken: it is not what was sealed; also while it is being read.
        OSError: as of `open`.
    """
    file = path.open("rb", buffering=0)
    try:
        if found := identify(path, file.read(NAMED)):
            opened = Opened(file, path, found[0])
            return cast("BinaryIO", opened if buffering == 0 else io.BufferedReader(opened, CHUNK))
        file.seek(0)
        return cast("BinaryIO", file if buffering == 0 else io.BufferedReader(file))
    except BaseException:
        file.close()
        raise


def read_bytes(path: Path) -> bytes:
    """The plain bytes of a file; raises as `reader`."""
    with reader(path, buffering=0) as stream:
        return stream.read()


def read_text(path: Path) -> str:
    """The plain text of a file in UTF-8; raises as `reader`."""
    return read_bytes(path).decode("utf-8")


def sha256(path: Path) -> str:
    """Digest of the plain bytes, as the ledger knows it; raises as `reader`."""
    with reader(path, buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]  # every reader can


def size(path: Path) -> int:
    """Number of plain bytes; raises as `reader`."""
    found = path.stat().st_size
    if found < SMALLEST or not anything_sealed():
        return found
    with reader(path, buffering=0) as stream:
        return stream.seek(0, os.SEEK_END)


def holds(path: Path, size_: int, digest: str) -> bool:
    """Whether the file is there and its plain bytes are these; False also when its seal is broken."""
    try:
        return path.is_file() and size(path) == size_ and sha256(path) == digest
    except SealBroken:
        return False


def create(path: Path, mode: int = 0o600) -> BinaryIO:
    """Open a file (emptied) for writing from front to back, sealed where its home says so; then see `finish`."""
    return writer(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), mode), path)


def writer(descriptor: int, path: Path) -> BinaryIO:
    """The same for a file that is open and empty already; it is closed with what is returned."""
    file = os.fdopen(descriptor, "wb", buffering=1 << 20)
    try:
        ring = ring_for_new(path)
        return cast("BinaryIO", file if ring is None else Sealing(file, ring))
    except BaseException:
        file.close()
        raise


def finish(stream: BinaryIO) -> None:
    """Bring everything that was written to `stream` to the disk; nothing is written after it."""
    if isinstance(stream, Sealing):
        stream.finish()
    else:
        stream.flush()
        os.fsync(stream.fileno())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file at one go, as `Path.write_bytes`."""
    with create(path, 0o666) as stream:
        stream.write(data)


def shelf(work: Path) -> TemporaryDirectory[str]:
    """A folder (0700) for files that are gone when it closes: below `work` where its home seals files."""
    if ring_for_new(work / "shelf") is None:
        return TemporaryDirectory(prefix="certflow-")
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    return TemporaryDirectory(prefix="shelf-", dir=work)


def sealed_with(path: Path) -> bytes | None:
    """The id of the key that a file is sealed with, None for a plain one; the key itself need not be here.

    SealBroken where a damaged header no longer says it.
    """
    with path.open("rb", buffering=0) as file:
        found = identify(path, file.read(NAMED))
    return found[1] if found else None


def seal(path: Path, draft: Path) -> bool:
    """Bring a file under the present key of its home: a plain one is sealed, of another key's the header changes.

    False when nothing was to be done. Its times stay what they were: they decide how long it is kept. Died anywhere,
    the file is what it was and readable; at most `draft` is left. What somebody replaced or removed meanwhile stays so.
    """
    ring = ring_for_new(path)
    try:
        if ring is None or (found := sealed_with(path)) == ring.current:
            return False
        before = path.stat()
        if found is not None:
            with path.open("r+b", buffering=0) as file:
                fresh = header(ring, *unwrap(path, ring, head_of(file)))
                file.seek(0)
                file.write(fresh)
                os.fsync(file.fileno())
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            return True
        _copy(path, draft)
        os.utime(draft, ns=(before.st_atime_ns, before.st_mtime_ns))
        draft.chmod(stat.S_IMODE(before.st_mode))
        now = path.stat()
        if (now.st_ino, now.st_mtime_ns, now.st_size) != (before.st_ino, before.st_mtime_ns, before.st_size):
            return False  # what it is now was written sealed
        draft.replace(path)
    except FileNotFoundError:
        if path.exists():
            raise
        return False  # purged meanwhile
    finally:
        draft.unlink(missing_ok=True)
    return True


def _copy(path: Path, draft: Path) -> None:
    """A sealed copy, read back: the plain bytes are about to go."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as source, create(draft) as target:
        while block := source.read(16 * CHUNK):
            digest.update(block)
            target.write(block)
        finish(target)
    if sha256(draft) != digest.hexdigest():
        raise SealBroken(f"{place(path)}：加密后回读不一致，原文件未动；请检查磁盘后重试")

"""The bytes of a sealed file (with `signing` the only import of cryptography).

::

    header   8 magic, 16 key id, 7 nonce prefix, 1 zero, 12 nonce, 48 the file's own key under the vault's (AES-256-GCM)
    chunks   64 KiB of plain bytes each, and 16 bytes of tag (AES-256-GCM); the last one is shorter

The nonce of a chunk is the prefix, its number and whether it is the last one (the STREAM construction of Hoang,
Reyhanitabar, Rogaway and Vizar, 2015), and each file has a random key of its own: a chunk that was changed, moved,
brought from another file or left out has no valid tag. The header (92 bytes) lies within one sector, which a disk
writes whole or not at all, so a change of keys rewrites it in place, and the file's own key stays as it is.
"""

# ruff: noqa: D102 (the methods are those of `io.RawIOBase`)

import io
import os
import secrets
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from certflow.errors import SealBroken
from certflow.vault.keyring import ID, Ring, is_id, missing, ring_of

MAGIC = b"CFVAULT\x01"
CHUNK = 64 << 10
"""Plain bytes of a chunk. Changing it takes a new magic."""
SMALLEST = 92 + 16
"""Bytes of a sealed file that holds nothing."""

_HEADER = struct.Struct("<8s16s7sx12s48s")
NAMED = len(MAGIC) + ID
"""Bytes that tell whether a file is sealed, and with which key."""
_BOUND = NAMED + 8
"""Bytes of the header that the tag of the wrapped key covers beside the key itself."""
_TAG = 16
_BLOCK = CHUNK + _TAG


class Opened(io.RawIOBase):
    """A sealed file as its plain bytes, to be read and sought in; memory holds one chunk.

    The last chunk is opened first: its tag vouches for the length.
    """

    def __init__(self, file: io.FileIO, path: Path, ring: Ring) -> None:
        self._file, self._path = file, path
        try:
            self._prefix, own = unwrap(path, ring, head_of(file))
        except SealBroken:  # a change of keys may have been at it in this moment
            self._prefix, own = unwrap(path, ring, head_of(file))
        self._engine = _engine(own)
        body = os.fstat(file.fileno()).st_size - _HEADER.size
        self._last = max(0, -(-body // _BLOCK) - 1)
        self._size = body - (self._last + 1) * _TAG
        self._at = 0
        self._number, self._plain = -1, b""
        if self._size < self._last * CHUNK + bool(self._last):
            raise broken(path, "长度不对")
        self._chunk(self._last)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(22, "negative seek position")
        self._at = base + offset
        return self._at

    def read(self, count: int | None = -1, /) -> bytes:
        return b"".join(self._pieces(self._size if count is None or count < 0 else count))

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 (any writable buffer)
        view, done = memoryview(buffer).cast("B"), 0
        for piece in self._pieces(len(view)):
            view[done : done + len(piece)] = piece
            done += len(piece)
        return done

    def close(self) -> None:
        self._file.close()
        super().close()

    def _pieces(self, count: int) -> Iterator[memoryview]:
        """The next `count` bytes, fewer at the end, as parts of chunks."""
        end = min(self._at + count, self._size)
        while self._at < end:
            number, begin = divmod(self._at, CHUNK)
            piece = memoryview(self._chunk(number))[begin : begin + end - self._at]
            self._at += len(piece)
            yield piece

    def _chunk(self, number: int) -> bytes:
        if number != self._number:
            from cryptography.exceptions import InvalidTag

            self._file.seek(_HEADER.size + number * _BLOCK)
            sealed = self._file.read(_BLOCK)
            try:
                plain = self._engine.decrypt(_nonce(self._prefix, number, last=number == self._last), sealed, None)
            except InvalidTag:
                raise broken(self._path, f"第 {number + 1} 块校验不符") from None
            self._number, self._plain = number, plain
        return self._plain


class Sealing(io.RawIOBase):
    """A file that is sealed while it is written, from front to back.

    Left by an exception, or closed without `finish`, it has no last chunk: nobody takes it for a whole one.
    """

    def __init__(self, file: BinaryIO, ring: Ring) -> None:
        self._file, self._done = file, False
        self._kept = bytearray()
        self._number, self._at = 0, 0
        self._prefix = secrets.token_bytes(7)
        own = secrets.token_bytes(32)
        file.write(header(ring, self._prefix, own))
        self._engine = _engine(own)

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any, /) -> int:  # noqa: ANN401 (anything with bytes in it)
        view = memoryview(data).cast("B")
        done, size = 0, len(view)
        while done < size:
            if len(self._kept) == CHUNK:  # not the last one: more has come
                self._put(self._kept, last=False)
                self._kept = bytearray()
            if not self._kept and size - done > CHUNK:
                self._put(view[done : done + CHUNK], last=False)
                done += CHUNK
                continue
            part = view[done : done + CHUNK - len(self._kept)]
            self._kept += part
            done += len(part)
        self._at += size
        return size

    def finish(self) -> None:
        """Write the last chunk and bring all to the disk."""
        if not self._done:
            self._put(self._kept, last=True)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._done = True

    def close(self) -> None:
        self._file.close()
        super().close()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self.close()

    def _put(self, plain: Any, *, last: bool) -> None:  # noqa: ANN401 (bytearray or memoryview)
        self._file.write(self._engine.encrypt(_nonce(self._prefix, self._number, last=last), plain, None))
        self._number += 1


def identify(path: Path, head: bytes) -> tuple[Ring, bytes] | None:
    """Keys of the home and id of the key for the first `NAMED` bytes of a file; None for those of a plain one.

    SealBroken where these bytes themselves were damaged.
    """
    magic, named = head[: len(MAGIC)], head[len(MAGIC) : NAMED]
    if not (magic == MAGIC or is_id(named)) or (ring := ring_of(path)) is None:
        return None
    if (known := ring.known(named)) is None:
        return None
    if (magic, named) != (MAGIC, known):
        raise broken(path, "文件头校验不符")
    return ring, known


def head_of(file: io.FileIO) -> bytes:
    """The header of an open file, or what there is of it."""
    file.seek(0)
    return file.read(_HEADER.size)


def unwrap(path: Path, ring: Ring, head: bytes) -> tuple[bytes, bytes]:
    """Nonce prefix and the file's own key; ConfigurationError when the vault's key is not here, or SealBroken."""
    from cryptography.exceptions import InvalidTag

    if len(head) < _HEADER.size:
        raise broken(path, "文件头不完整")
    _, key_id, prefix, nonce, wrapped = _HEADER.unpack(head)
    if (key := ring.key(key_id)) is None:
        raise missing(place(path), key_id)
    try:
        return prefix, _engine(key).decrypt(nonce, wrapped, head[:_BOUND])
    except InvalidTag:
        raise broken(path, "文件头校验不符") from None


def header(ring: Ring, prefix: bytes, own: bytes) -> bytes:
    """A file's header under the present key."""
    nonce = secrets.token_bytes(12)
    bound = _HEADER.pack(MAGIC, ring.current, prefix, nonce, b"")[:_BOUND]
    wrapped = _engine(dict(ring.keys)[ring.current]).encrypt(nonce, own, bound)
    return _HEADER.pack(MAGIC, ring.current, prefix, nonce, wrapped)


def broken(path: Path, what: str) -> SealBroken:
    """What to say of a file that is not what was sealed."""
    return SealBroken(
        f"{place(path)} 不是当初加密的内容（{what}：被改动、截断或损坏），已停止；请从备份恢复该文件后再运行"
    )


def place(path: Path) -> str:
    """How messages name a file."""
    return f"{path.parent.name}/{path.name}"


def _engine(key: bytes) -> Any:  # noqa: ANN401 (imported where it is needed: a plain home needs none of it)
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def _nonce(prefix: bytes, number: int, *, last: bool) -> bytes:
    return prefix + number.to_bytes(4, "big") + bytes([last])

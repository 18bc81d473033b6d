"""SFTP as certflow needs it: the only import of paramiko (outside ``demo/``).

The host key is pinned and the login is one key: nothing is guessed, no agent, no password. Every call has a
timeout. Nothing is ever written under a final name: upload to ``.part``, read back, rename; a rename never
overwrites. Folders are listed as raw bytes, so one name in GBK does not hide its neighbours (T16).

paramiko does session, listing, rename and put; whole files are read by `certflow.sftp.bulk` with the same
`known_hosts`.

Errors: `AccessRefused` for host key, login and permission; `Conflict` for a name that is taken;
`TransferError` for everything else. Messages name the server and the folder, never a file: file names may
be ID numbers. For the same reason both libraries are kept from logging paths.
"""

import functools
import hashlib
import logging
import os
import posixpath
import re
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Never

import paramiko
from paramiko.sftp import (
    CMD_CLOSE,
    CMD_EXTENDED,
    CMD_EXTENDED_REPLY,
    CMD_HANDLE,
    CMD_INIT,
    CMD_NAME,
    CMD_OPENDIR,
    CMD_READDIR,
    CMD_VERSION,
)

from certflow import vault
from certflow.errors import AccessRefused, CertflowError, ConfigurationError, Conflict, TransferError
from certflow.naming import readable
from certflow.settings import Remote
from certflow.sftp.bulk import CIPHERS, KEEPALIVE_SECONDS, BulkReader, LoginRefusedError, UntrustedHostError

for _library in ("paramiko", "asyncssh"):
    logging.getLogger(_library).setLevel(logging.WARNING)  # their DEBUG lines carry paths

PART = ".part"
"""Suffix of everything that is not complete yet; no reader on any side may take such a file."""

MARKER = ".ok"
"""``<name>.ok`` says that ``<name>`` is complete, where a server cannot rename (T09)."""

RemotePath = str | bytes

_LIMITS = b"limits@openssh.com"
_SAFE_WRITE = 32 << 10
"""Bytes every server takes in one write."""
_AROUND_A_WRITE = 29
"""Bytes of a write request beside its data, with a handle of OpenSSH's 4 bytes."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One name in a remote folder, as ``lstat`` sees it (links are never followed, T15)."""

    raw_name: bytes
    name: str
    """For people: UTF-8, else GB18030; control characters replaced."""
    size: int
    """Bytes."""
    mtime: int
    """The server's own clock; only good for comparing with itself (T14)."""
    kind: Literal["file", "folder", "link", "other"]

    @property
    def regular(self) -> bool:
        """True for a plain file, the only thing that is ever read."""
        return self.kind == "file"


@dataclass(frozen=True, slots=True)
class Part:
    """An upload that waits for its read-back and its rename."""

    path: bytes
    sha256: str
    """Digest of the local bytes as they were sent."""
    size: int


@contextmanager
def connect(remote: Remote, timeout: float) -> Iterator["Session"]:
    """Open a session; `timeout` (seconds) bounds each step of the set-up and every silence afterwards."""
    session = Session(remote, timeout)
    try:
        yield session
    finally:
        session.close()


class Session:
    """One login. Paths are relative to `Remote.root`; text is sent as UTF-8, bytes as they are."""

    def __init__(self, remote: Remote, timeout: float) -> None:
        for file in (remote.key, remote.known_hosts):
            if not file.is_file():
                raise ConfigurationError(f"SFTP 密钥或主机公钥文件不存在：{file}")
        self._remote = remote
        self._timeout = timeout
        self._reader: BulkReader | None = None
        self._ssh = paramiko.SSHClient()
        self._ssh.set_missing_host_key_policy(_RefuseUnknownHost())
        try:
            with self._translated("连接"):
                self._client = self._open()
        except BaseException:
            self._ssh.close()
            raise

    def _open(self) -> "_Client":
        remote, timeout = self._remote, self._timeout
        self._ssh.load_host_keys(str(remote.known_hosts))
        self._ssh.connect(
            remote.host,
            remote.port,
            remote.user,
            key_filename=str(remote.key),
            allow_agent=False,
            look_for_keys=False,
            timeout=timeout,
            banner_timeout=timeout,
            auth_timeout=timeout,
            channel_timeout=timeout,
            transport_factory=_transport,
        )
        transport = self._ssh.get_transport()
        if transport is None:
            raise EOFError
        transport.set_keepalive(KEEPALIVE_SECONDS)
        # invoke_subsystem waits without a limit: a timer closes the connection under it (T18).
        watchdog = threading.Timer(timeout, transport.close)
        watchdog.daemon = True
        watchdog.start()
        try:
            channel = transport.open_session(timeout=timeout)
            channel.settimeout(timeout)
            channel.invoke_subsystem("sftp")
            return _Client(channel)
        finally:
            watchdog.cancel()

    def close(self) -> None:
        """End both connections; never raises."""
        if self._reader is not None:
            self._reader.close()
        with suppress(Exception):  # the far side may be gone already
            self._ssh.close()

    def stat(self, path: RemotePath) -> RemoteFile | None:
        """What lies under `path` itself (a link is not followed), None when nothing does."""
        with self._translated("查看", path):
            try:
                attributes = self._client.lstat(self._full(path))
            except FileNotFoundError:
                return None
        return _remote_file(posixpath.basename(_raw(path)), attributes)

    def prepare_reads(self) -> None:
        """Log in for bulk reads now, so that a refused login is not taken for one file's missing permission."""
        with self._translated("连接"):
            self._bulk()

    def get(self, path: RemotePath, local: Path) -> tuple[str, int]:
        """Read a remote file into `local` (0600, fsynced); its SHA-256 and size in bytes."""
        digest = hashlib.sha256()
        with self._translated("下载", path), vault.create(local) as target:

            def sink(data: bytes) -> None:
                digest.update(data)
                target.write(data)

            size = self._bulk().read(self._full(path), sink)
            vault.finish(target)
        return digest.hexdigest(), size

    def hash(self, path: RemotePath) -> str:
        """SHA-256 of a remote file, by reading all of it back."""
        digest = hashlib.sha256()
        with self._translated("回读", path):
            self._bulk().read(self._full(path), digest.update)
        return digest.hexdigest()

    def tail(self, path: RemotePath, count: int) -> bytes:
        """The last `count` bytes of a remote file (fewer when it is shorter)."""
        with self._translated("读取", path), self._client.open(self._full(path), "rb") as file:
            file.seek(max(0, (file.stat().st_size or 0) - count))
            return file.read(count)

    def put_part(self, local: Path, final: RemotePath, tag: str = "") -> Part:
        """Upload beside `final` as ``<final>[.tag].part``, replacing an older try; the caller reads it back.

        A `tag` keeps the tries of different senders apart: one that was overtaken writes into its own file.
        A disk that is full shows as a wrong size (paramiko's pipelined close reports nothing, T03): the part
        is removed and the error is a TransferError.
        """
        return self._put(local, _raw(final) + (f".{tag}" if tag else "").encode() + PART.encode())

    def publish(self, local: Path, final: RemotePath, *, marked: bool = False) -> None:
        """Bring a file under a free name, read back before anybody may take it; TransferError when that fails.

        With `marked` nothing is renamed (T09): the file goes to its name at once, an empty ``<final>.part`` lies
        beside it while it is not complete, and ``<final>.ok`` once it is. What a try that died left (see
        `unfinished`) is replaced.
        """
        flag = _raw(final) + PART.encode()
        if marked:
            self._touch(flag)
        part = self._put(local, _raw(final)) if marked else self.put_part(local, final)
        if self.hash(part.path) != part.sha256:
            self.remove(part.path)
            raise TransferError(f"{self._place(final)}：上传后回读不一致，已清除，稍后重试")
        if marked:
            self._touch(_raw(final) + MARKER.encode())
            self.remove(flag)
        else:
            self.rename(part.path, final)

    def unfinished(self, final: RemotePath) -> bool:
        """True where what lies under `final` is a marked try of ours that died (see `publish`)."""
        return self.stat(_raw(final) + PART.encode()) is not None and self.stat(_raw(final) + MARKER.encode()) is None

    def _touch(self, path: bytes) -> None:
        with self._translated("上传", path):
            self._client.open(self._full(path), "wb").close()

    def _put(self, local: Path, path: bytes) -> Part:
        digest, size = hashlib.sha256(), 0
        with self._translated("上传", path):
            try:
                piece = self._client.largest_write
                with vault.reader(local) as source, self._client.open(self._full(path), "wb") as target:
                    target.set_pipelined(True)
                    target.MAX_REQUEST_SIZE = piece
                    while data := source.read(piece):
                        digest.update(data)
                        size += len(data)
                        target.write(data)
            except OSError:
                self._discard(path)
                raise
        found = self.stat(path)
        if found is None or found.size != size:
            self._discard(path)
            raise TransferError(f"{self._place(path)}：上传的文件不完整（远端磁盘已满或配额不足？），已清除，稍后重试")
        return Part(path, digest.hexdigest(), size)

    def rename(self, source: RemotePath, target: RemotePath) -> None:
        """Give `source` its name; Conflict when the name is taken (standard rename, never posix-rename, T08)."""
        taken = f"{self._place(target)}：目标名称已存在，未覆盖"
        if self.stat(target) is not None:
            raise Conflict(taken)
        try:
            with self._translated("改名", target):
                self._client.rename(self._full(source), self._full(target))
        except AccessRefused:
            raise
        except TransferError:
            if self.stat(source) is not None and self.stat(target) is not None:
                raise Conflict(taken) from None
            raise

    def move(self, source: RemotePath, folder: RemotePath) -> bytes:
        """Rename into `folder` under the same name, or ``name~2`` and so on where it is taken; the new path."""
        name = posixpath.basename(_raw(source))
        stem, suffix = os.path.splitext(name)  # noqa: PTH122 (bytes: the name may be in any encoding)
        for number in range(1, 1000):
            target = posixpath.join(_raw(folder), name if number == 1 else b"%s~%d%s" % (stem, number, suffix))
            if self.stat(target) is not None:
                continue
            self.rename(source, target)
            return target
        raise Conflict(f"{self._place(source)}：同名文件过多，无法移动")

    def remove(self, path: RemotePath) -> bool:
        """Delete a file; False when it was gone already, so True proves that this call took it away."""
        with self._translated("删除", path):
            try:
                self._client.remove(self._full(path))
            except FileNotFoundError:
                return False
        return True

    def makedirs(self, folder: RemotePath) -> None:
        """Make a folder and its parents where they are missing."""
        parts = _raw(folder).strip(b"/").split(b"/")
        for count in range(1, len(parts) + 1):
            path = b"/" + b"/".join(parts[:count])
            if self.stat(path) is not None:
                continue
            try:
                with self._translated("建立文件夹", path + b"/"):
                    self._client.mkdir(self._full(path))
            except TransferError:
                if self.stat(path) is None:  # somebody else was quicker otherwise
                    raise

    def list(self, folder: RemotePath) -> Sequence[RemoteFile]:
        """Everything in a folder, by raw name; empty when the folder does not exist."""
        with self._translated("列目录", _raw(folder) + b"/"):
            try:
                found = self._client.list_raw(self._full(folder))
            except FileNotFoundError:
                return []
        return sorted((_remote_file(name, attributes) for name, attributes in found), key=lambda file: file.raw_name)

    def _bulk(self) -> BulkReader:
        if self._reader is None:
            self._reader = BulkReader(self._remote, self._timeout)
        return self._reader

    def _discard(self, part: bytes) -> None:
        """Best effort after a failure; a connection that is gone leaves it to the next try."""
        with suppress(CertflowError):
            self.remove(part)

    def _full(self, path: RemotePath) -> bytes:
        return posixpath.join(self._remote.root.encode() or b"/", _raw(path).lstrip(b"/"))

    def _place(self, path: RemotePath = b"") -> str:
        folder = readable(posixpath.dirname(_raw(path)))
        folder = re.sub(r"\d{7,}[Xx]?", "*", folder)  # a folder may be named like a person's photo
        return f"SFTP {self._remote.host}:{self._remote.port} {folder}".rstrip()

    @contextmanager
    def _translated(self, action: str, path: RemotePath = b"") -> Iterator[None]:
        """Turn what the libraries raise into the project's tree; their texts may carry paths and are dropped."""
        place = f"{self._place(path)}：{action}"
        try:
            yield
        except CertflowError:
            raise
        except (paramiko.BadHostKeyException, UntrustedHostError):
            raise AccessRefused(f"{place}失败：主机密钥与登记的不一致，已断开；请核实后再更新 known_hosts") from None
        except (paramiko.AuthenticationException, LoginRefusedError) as error:
            # paramiko calls a silence and a cut during the login a failed authentication too.
            if str(error).startswith(("Authentication timeout", "Authentication failed: transport shut down")):
                raise TransferError(f"{place}失败：登录过程中断或没有响应") from None
            raise AccessRefused(f"{place}失败：登录被拒绝（密钥失效或账号停用），不再重试") from None
        except PermissionError:
            raise AccessRefused(f"{place}失败：没有权限") from None
        except FileNotFoundError:
            raise TransferError(f"{place}失败：文件或文件夹已不存在") from None
        except TimeoutError:
            raise TransferError(f"{place}失败：{self._timeout:g} 秒没有响应") from None
        except (OSError, EOFError, paramiko.SSHException, ValueError) as error:
            raise TransferError(f"{place}失败：{_reason(error)}") from None


class _RefuseUnknownHost(paramiko.RejectPolicy):
    """RejectPolicy with an error of its own, so that it can be told from a broken connection (T06)."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> Never:  # noqa: ARG002 (paramiko's signature)
        raise UntrustedHostError(hostname)


class _Client(paramiko.SFTPClient):
    """A client that asks how much one write may carry, and whose listing keeps names as bytes.

    paramiko's own listing raises for the whole folder (T16), and its writes of 32 KB cost two SSH packets each.
    """

    # stable since 2003, absent from the type stubs
    _request: Callable[..., tuple[int, paramiko.Message]]
    _send_packet: Callable[[int, paramiko.Message], None]
    _read_packet: Callable[[], tuple[int, bytes]]
    _extensions: frozenset[bytes]

    def _send_version(self) -> int:
        """Open the protocol as paramiko does, and keep the names of the extensions that the server offers."""
        hello = paramiko.Message()
        hello.add_int(3)  # what paramiko and OpenSSH speak
        self._send_packet(CMD_INIT, hello)
        kind, data = self._read_packet()
        if kind != CMD_VERSION:
            raise paramiko.SFTPError
        offer = paramiko.Message(data)
        version, names = offer.get_int(), set[bytes]()
        while offer.get_remainder():
            names.add(offer.get_binary())
            offer.get_binary()
        self._extensions = frozenset(names)
        return version

    @functools.cached_property
    def largest_write(self) -> int:
        """Bytes of one write: three full SSH packets where the server says that it takes so much, else 32 KB.

        OpenSSH opens the window again after three packets, so an answer never comes later than that anyway.
        """
        if _LIMITS not in self._extensions:
            return _SAFE_WRITE
        kind, message = self._request(CMD_EXTENDED, _LIMITS)
        if kind != CMD_EXTENDED_REPLY:
            raise paramiko.SFTPError
        _packet, _read, most = (message.get_int64() for _ in range(3))  # OpenSSH PROTOCOL 4.8; 0: no limit
        channel: Any = self.get_channel()
        full: int = 3 * (channel.out_max_packet_size - 64) - _AROUND_A_WRITE  # paramiko keeps 64 bytes of a packet free
        return min(full, most or full)

    def list_raw(self, folder: bytes) -> Sequence[tuple[bytes, paramiko.SFTPAttributes]]:
        found: list[tuple[bytes, paramiko.SFTPAttributes]] = []
        kind, message = self._request(CMD_OPENDIR, folder)
        if kind != CMD_HANDLE:
            raise paramiko.SFTPError
        handle = message.get_binary()
        try:
            while True:
                try:
                    kind, message = self._request(CMD_READDIR, handle)
                except EOFError:
                    return found
                if kind != CMD_NAME:
                    raise paramiko.SFTPError
                for _ in range(message.get_int()):
                    name, _long = message.get_binary(), message.get_binary()
                    attributes = _attributes(message)
                    if name not in (b".", b".."):
                        found.append((name, attributes))
        finally:
            self._request(CMD_CLOSE, handle)


def _transport(sock: Any, **options: Any) -> paramiko.Transport:  # noqa: ANN401 (passed through)
    transport = paramiko.Transport(sock, **options)
    security = transport.get_security_options()
    security.ciphers = tuple(name for name in CIPHERS if name in security.ciphers)
    return transport


def _attributes(message: paramiko.Message) -> paramiko.SFTPAttributes:
    parse: Callable[[paramiko.Message], paramiko.SFTPAttributes] = paramiko.SFTPAttributes._from_msg  # type: ignore[attr-defined]  # noqa: SLF001 (no public way)
    return parse(message)


def _remote_file(raw_name: bytes, attributes: paramiko.SFTPAttributes) -> RemoteFile:
    mode = attributes.st_mode or 0
    kind: Literal["file", "folder", "link", "other"] = "other"
    if b"/" in raw_name or b"\0" in raw_name:
        pass  # no honest server lists such a name; it must not become a path
    elif stat.S_ISREG(mode):
        kind = "file"
    elif stat.S_ISDIR(mode):
        kind = "folder"
    elif stat.S_ISLNK(mode):
        kind = "link"
    return RemoteFile(raw_name, readable(raw_name), attributes.st_size or 0, attributes.st_mtime or 0, kind)


def _raw(path: RemotePath) -> bytes:
    return path.encode() if isinstance(path, str) else path


def _reason(error: Exception) -> str:
    """Words that carry no path: the errno's text, or the kind of error."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) else type(error).__name__

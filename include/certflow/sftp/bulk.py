"""Whole files over SFTP, quickly: the only import of asyncssh (outside ``demo/``).

paramiko's prefetching ``get`` falls out of prefetch now and then (DESIGN §6), so bulk reads have a connection of their
own. What asyncssh raises leaves this module as a plain OSError, `UntrustedHostError` or `LoginRefusedError`.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import asyncssh

from certflow.settings import Remote

try:
    from uvloop import new_event_loop  # it takes a seventh off the CPU of a read
except ImportError:  # Windows
    from asyncio import new_event_loop  # type: ignore[assignment]

CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
KEEPALIVE_SECONDS = 15
"""While one connection works the other is silent; no firewall in between may forget it (T18)."""
_SMALLEST_READ, _LARGEST_READ = 32 << 10, 8 << 20
_T = TypeVar("_T")


class UntrustedHostError(Exception):
    """The server's key is not among the pinned ones (T06)."""


class LoginRefusedError(Exception):
    """The server does not know the key any more (T07)."""


class BulkReader:
    """Whole files by asyncssh, many requests in flight, bounded memory, on an event loop of its own thread."""

    def __init__(self, remote: Remote, timeout: float) -> None:
        self._timeout = timeout
        self._loop = new_event_loop()
        # asyncssh leaves the other requests of a broken read unasked; what broke has been raised, once is enough.
        self._loop.set_exception_handler(lambda _loop, _context: None)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="sftp-read")
        self._thread.start()
        self._connection: asyncssh.SSHClientConnection | None = None
        try:
            self._client = self._run(self._open(remote))
        except BaseException:
            self.close()
            raise

    def read(self, path: bytes, sink: Callable[[bytes], object]) -> int:
        """Pass the file through `sink` in order; its size in bytes."""
        return self._run(self._read(path, sink))

    def close(self) -> None:
        """End the connection and its thread; never raises."""
        with suppress(Exception):  # the far side may be gone already
            self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(self._timeout)
        if not self._thread.is_alive():
            self._loop.close()

    async def _end(self) -> None:
        if self._connection is not None:
            self._connection.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks, timeout=1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except asyncssh.HostKeyNotVerifiable:
            raise UntrustedHostError from None
        except asyncssh.PermissionDenied:
            raise LoginRefusedError from None
        except asyncssh.SFTPPermissionDenied:
            raise PermissionError from None
        except asyncssh.SFTPNoSuchFile:
            raise FileNotFoundError from None
        except asyncssh.Error as error:
            raise ConnectionError(type(error).__name__) from None

    async def _open(self, remote: Remote) -> Any:  # noqa: ANN401 (asyncssh is untyped here)
        async with asyncio.timeout(self._timeout):
            self._connection = await asyncssh.connect(
                remote.host,
                remote.port,
                username=remote.user,
                client_keys=[str(remote.key)],
                known_hosts=str(remote.known_hosts),
                preferred_auth=["publickey"],
                agent_path=None,
                config=None,
                encryption_algs=CIPHERS,
                compression_algs=["none"],
                keepalive_interval=KEEPALIVE_SECONDS,
            )
            return await self._connection.start_sftp_client(path_encoding=None)

    async def _read(self, path: bytes, sink: Callable[[bytes], object]) -> int:
        """Pieces grow while they come quickly, so that the limit means silence even at 1 KB/s (T18)."""
        position, piece = 0, _SMALLEST_READ
        async with asyncio.timeout(self._timeout):
            file = await self._client.open(path, "rb")
        try:
            while True:
                begun, wanted = self._loop.time(), position + piece
                early: dict[int, bytes] = {}
                async with asyncio.timeout(self._timeout):
                    async for at, data in await file.read_parallel(piece, position):
                        early[at] = data
                        while here := early.pop(position, b""):
                            sink(here)
                            position += len(here)
                if early:
                    raise EOFError  # a hole: the file became shorter while it was read
                if position < wanted:
                    return position
                if self._loop.time() - begun < self._timeout / 8:
                    piece = min(piece * 2, _LARGEST_READ)
        finally:
            with suppress(Exception):  # a handle of a connection that is gone
                async with asyncio.timeout(self._timeout):
                    await file.close()

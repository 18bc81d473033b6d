"""Two SFTP servers for demo and tests: the cities' server and the printing authority's (asyncssh, loopback only).

Every login has its own key pair and sees its own folder as ``/``: a city its own, ``province`` on the cities'
server all of them as ``/<account>/…``. Public keys only; no shell, no forwarding. Keys, known_hosts and the
tree lie below one folder and survive a restart; the port does too where it is still free.

In a thread (``with CitySftp(folder, accounts) as city:``) or as a process of its own::

    python -m certflow.demo.servers HOME

which writes ``HOME/sftp/city.json`` and ``HOME/sftp/authority.json`` once both listen, and stops on SIGTERM.
"""

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import quote

import asyncssh

from certflow.settings import Folders, Remote, Settings

HOST = "127.0.0.1"
PROVINCE = "province"
"""The province's login on both servers."""
AUTHORITY = "authority"
"""The authority's own login on its server; it sees the same folders."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens, what its files are and who may log in."""

    port: int
    known_hosts: Path
    tree: Path
    """The files of all logins, as they lie on the disk."""
    keys: Mapping[str, Path]
    """Login → private key."""
    pid: int

    def remote(self, login: str = PROVINCE) -> Remote:
        """What a client of this login needs."""
        return Remote(HOST, self.port, login, self.keys[login], self.known_hosts)

    def environment(self, variable: str, login: str = PROVINCE) -> dict[str, str]:
        """The same as variables for `Settings.load`; `variable` is CERTFLOW_CITY_SFTP or CERTFLOW_AUTHORITY_SFTP."""
        return {
            variable: f"sftp://{quote(login)}@{HOST}:{self.port}/",
            f"{variable}_KEY": str(self.keys[login]),
            f"{variable}_KNOWN_HOSTS": str(self.known_hosts),
        }

    def write(self, file: Path) -> None:
        """Leave the address for other processes; complete or not there."""
        content = {
            "port": self.port,
            "known_hosts": str(self.known_hosts),
            "tree": str(self.tree),
            "keys": {login: str(key) for login, key in self.keys.items()},
            "pid": self.pid,
        }
        fresh = file.with_name(f"{file.name}.part")
        fresh.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
        fresh.replace(file)

    @classmethod
    def read(cls, file: Path) -> Self:
        """The address another process left."""
        content = json.loads(file.read_text(encoding="utf-8"))
        keys = {login: Path(key) for login, key in content["keys"].items()}
        return cls(content["port"], Path(content["known_hosts"]), Path(content["tree"]), keys, content["pid"])


class SftpServer:
    """One asyncssh server on an event loop of its own thread; a context manager."""

    files: ClassVar[type[asyncssh.SFTPServer]] = asyncssh.SFTPServer
    """How file requests are answered; tests put faults here."""

    def __init__(self, folder: Path, jails: Mapping[str, Path]) -> None:
        """Prepare keys and folders below `folder`; `jails` gives each login's folder below ``folder/tree``."""
        self._folder = folder.absolute()
        self._tree = self._folder / "tree"
        self._jails = {login: self._tree / jail for login, jail in jails.items()}
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="sftp-server")
        self._listener: Any = None
        self.address: Address
        """Known once the server has started."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; returns when logins are possible."""
        keys = {login: _key_pair(self._folder / "keys" / login) for login in self._jails}
        for jail in self._jails.values():
            jail.mkdir(parents=True, exist_ok=True)
        host_key = _key_pair(self._folder / "host_key")
        self._thread.start()
        port = self._run(self._listen(host_key))
        known_hosts = self._folder / "known_hosts"
        public = host_key.with_suffix(".pub").read_text(encoding="ascii").strip()
        known_hosts.write_text(f"[{HOST}]:{port} {public}\n", encoding="ascii")
        (self._folder / "port").write_text(str(port), encoding="ascii")
        self.address = Address(port, known_hosts, self._tree, keys, os.getpid())

    def stop(self) -> None:
        """Stop listening and cut every connection."""
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def remote(self, login: str = PROVINCE) -> Remote:
        """What a client of this login needs."""
        return self.address.remote(login)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 (asyncssh is untyped here)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self, host_key: Path) -> int:
        last = self._folder / "port"
        wanted = int(last.read_text(encoding="ascii")) if last.exists() else 0
        for port in (wanted, 0):
            try:
                self._listener = await asyncssh.create_server(
                    lambda: _Door(self._folder / "keys", self._connections),
                    HOST,
                    port,
                    server_host_keys=[str(host_key)],
                    sftp_factory=self._jail,
                    agent_forwarding=False,
                    reuse_address=True,
                )
            except OSError:
                if port == 0:
                    raise
            else:
                break
        return int(self._listener.get_port())

    def _jail(self, channel: Any) -> asyncssh.SFTPServer:  # noqa: ANN401 (asyncssh is untyped here)
        jail = self._jails[channel.get_extra_info("username")]
        return self.files(channel, chroot=os.fsencode(jail))

    async def _close(self) -> None:
        self._listener.close()
        for connection in list(self._connections):
            connection.abort()
        await self._listener.wait_closed()
        if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            _, left = await asyncio.wait(tasks, timeout=1)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)


class CitySftp(SftpServer):
    """The cities' server: one folder per account with the folders of DESIGN §5."""

    def __init__(self, folder: Path, accounts: Iterable[str], folders: Folders | None = None) -> None:
        """Serve `accounts`; an existing tree below `folder` is kept."""
        names = folders or Folders()
        accounts = sorted(accounts)
        super().__init__(folder, {PROVINCE: Path(), **{account: Path(account) for account in accounts}})
        for account in accounts:
            for name in (names.inbox, names.trial, names.received, names.replies, names.proofs):
                (self._tree / account / name).mkdir(parents=True, exist_ok=True)


class AuthoritySftp(SftpServer):
    """The authority's server: 上报, 返回 and 归档, seen alike by the province and the authority's own people."""

    def __init__(self, folder: Path, folders: Folders | None = None) -> None:
        """An existing tree below `folder` is kept."""
        names = folders or Folders()
        super().__init__(folder, {PROVINCE: Path(), AUTHORITY: Path()})
        for name in (names.upward, names.returned, names.archive):
            (self._tree / name).mkdir(parents=True, exist_ok=True)


class _Door(asyncssh.SSHServer):
    """Lets in whoever holds the private key of the login it names."""

    def __init__(self, keys: Path, connections: set[asyncssh.SSHServerConnection]) -> None:
        self._keys = keys
        self._connections = connections
        self._connection: asyncssh.SSHServerConnection

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncssh's signature)
        self._connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        if username in {file.stem for file in self._keys.glob("*.pub")}:
            self._connection.set_authorized_keys(str(self._keys / f"{username}.pub"))
        return True

    def public_key_auth_supported(self) -> bool:
        return True


def _key_pair(file: Path) -> Path:
    """An Ed25519 key at `file` (0600) and ``.pub`` beside it, made where missing."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not file.exists():
        key = asyncssh.generate_private_key("ssh-ed25519")
        file.with_suffix(".pub").write_bytes(key.export_public_key())
        fresh = file.with_suffix(".part")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
            target.write(key.export_private_key())
        fresh.replace(file)
    return file


def addresses(home: Path) -> tuple[Address, Address]:
    """The cities' and the authority's server that ``python -m certflow.demo.servers HOME`` runs."""
    return Address.read(home / "sftp" / "city.json"), Address.read(home / "sftp" / "authority.json")


def serve(home: Path) -> None:
    """Run both servers until SIGTERM or SIGINT; the accounts are the living cities of the reference table."""
    from certflow.reference import load_reference

    folder = home / "sftp"
    reference = load_reference(Settings(home=home))
    accounts = [city.account for city in reference.cities.values() if not city.historic]
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    files = folder / "city.json", folder / "authority.json"
    with CitySftp(folder / "city", accounts) as city, AuthoritySftp(folder / "authority") as authority:
        city.address.write(files[0])
        authority.address.write(files[1])
        stopped.wait()
    for file in files:
        file.unlink(missing_ok=True)


if __name__ == "__main__":
    os.umask(0o077)
    serve(Path(sys.argv[1]).absolute())

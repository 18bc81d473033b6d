"""A real OpenSSH server for tests, where one is installed."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import asyncssh

from certflow.settings import Remote


class OpenSsh:
    """A real sshd for the user who runs the tests, with a configuration and a host key of its own.

    `files` answers file requests. Permissions hold for root's sessions too, where `setpriv` is installed.
    """

    def __init__(self, folder: Path, files: str = "internal-sftp") -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True)
        for name in ("host_key", "login"):
            new_key(folder / name)
        self.tree = folder / "tree"
        self.tree.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        (folder / "sshd_config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\n"
            f"AuthorizedKeysFile {folder}/login.pub\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            f"Subsystem sftp {files}\nForceCommand {files}\n"
        )
        self.command = [str(sshd()), "-D", "-e", "-f", str(folder / "sshd_config")]
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's own privilege separation folder
            if shutil.which("setpriv"):
                self.command[:0] = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
        self.process = subprocess.Popen(self.command, stderr=(folder / "log").open("wb"))
        public = (folder / "host_key.pub").read_text().strip()
        known_hosts = folder / "known_hosts"
        known_hosts.write_text(f"[127.0.0.1]:{port} {public}\n")
        self.remote = Remote("127.0.0.1", port, getpass.getuser(), folder / "login", known_hosts, str(self.tree))
        deadline = time.monotonic() + 20
        while not listens(port):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.05)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def sessions(self) -> list[int]:
        """Processes of logins: descendants of the listening sshd."""
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        found, todo = [], [self.process.pid]
        while todo:
            parent = todo.pop()
            children = [pid for pid, above in parents.items() if above == parent]
            found += children
            todo += children
        return found


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def sshd() -> str | None:
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def new_key(path: Path) -> None:
    """An Ed25519 key as OpenSSH writes it, and its public half beside it; no ssh-keygen is needed."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    path.touch(mode=0o600)
    key.write_private_key(str(path))
    key.write_public_key(f"{path}.pub")

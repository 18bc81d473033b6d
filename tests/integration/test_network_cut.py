"""No network connection is made: whole runs without a network, and under a guard that remembers every attempt.

As root on Linux the run gets a network of its own with nothing but a loopback interface; anywhere, each Python process
of the run carries a hook that refuses every address but this machine's, and writes down that it was asked.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from made_submissions import Made, person, portrait

GUARD = """
import os, socket, sys

HERE = {None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::", socket.gethostname()}

def refuse(event, args):
    if event in ("socket.connect", "socket.sendto"):
        host = args[1][0] if isinstance(args[1], tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host not in HERE and not str(host).startswith("127."):
        with open(os.environ["ATTEMPTS"], "a") as told:
            told.write(f"{event} {host}\\n")
        raise PermissionError("the network is cut")

sys.addaudithook(refuse)
"""
LOOPBACK = """
import fcntl, os, socket, struct, sys
with socket.socket() as one:
    fcntl.ioctl(one, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up and running
os.execv(sys.argv[1], sys.argv[1:])
"""
CERTFLOW = str(Path(sys.executable).with_name("certflow"))


def can_cut() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode == 0


class Cut:
    """A place to run commands from which nothing else can be reached."""

    def __init__(self, folder):
        self.attempts = folder / "attempts"
        self.attempts.touch()
        (folder / "guard").mkdir()
        (folder / "guard" / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
        self.variables = {"PYTHONPATH": str(folder / "guard"), "ATTEMPTS": str(self.attempts)}
        self.prefix = ["unshare", "--net", sys.executable, "-c", LOOPBACK] if can_cut() else []

    def run(self, *command, home, seconds=300):
        return subprocess.run(
            [*self.prefix, *command], env=os.environ | self.variables | {"CERTFLOW_HOME": str(home)},
            capture_output=True, text=True, check=False, timeout=seconds,
        )  # fmt: skip

    def asked(self):
        return self.attempts.read_text(encoding="utf-8").split("\n")[:-1]


@pytest.fixture
def cut(tmp_path):
    return Cut(tmp_path)


def test_the_guard_sees_an_attempt(cut, tmp_path):
    call = "import socket; socket.create_connection(('192.0.2.1', 9), timeout=5)"
    assert cut.run(sys.executable, "-c", call, home=tmp_path).returncode == 1
    assert any("192.0.2.1" in line for line in cut.asked())


def test_a_city_checks_its_file_without_a_network(cut, tmp_path):
    made = Made()
    row = person(1, photo=True)
    made.add(row, portrait(1))
    file = made.write(tmp_path / "city", None)
    done = cut.run(CERTFLOW, "check", "--json", "--no-registry", str(file.path), home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "accepted"
    assert cut.asked() == []


@pytest.mark.long
def test_a_whole_month_through_the_dags_without_a_network(cut, tmp_path):
    done = cut.run(CERTFLOW, "demo", "run", "--rows", "2500", home=tmp_path / "home", seconds=1800)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert cut.asked() == []
    assert list((tmp_path / "home" / "demo").rglob("data-docs/*.html"))

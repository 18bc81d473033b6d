"""The demo profile's SFTP server as its container starts it: `deploy/sftp.sh` with a real sshd, users and chroot.

With the powers that docker-compose.yaml leaves it, and no others.
"""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
import real_sshd
import yaml

from certflow.errors import AccessRefused, TransferError
from certflow.settings import Folders, Remote
from certflow.sftp import connect

pytestmark = pytest.mark.openssh
ROOT = Path(__file__).parents[2]
NAMES = Folders()
_START = """
mount -t tmpfs -o mode=755 none /srv
mount -t tmpfs -o mode=755 none /run
mkdir /run/secrets
mount --bind "$FOLDER/secrets" /run/secrets
mount --bind "$FOLDER/passwd" /etc/passwd
mount --bind "$FOLDER/group" /etc/group
exec setpriv --no-new-privs "--bounding-set=$POWERS" sh "$ROOT/deploy/sftp.sh"
"""


def own_mounts() -> bool:
    """Whether we may have a view of the file system of our own, in which users can be added to nobody's harm."""
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("setpriv"):
        return False
    tried = ["unshare", "--mount", "sh", "-c", "mount --bind /etc/passwd /etc/passwd"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if not real_sshd.sshd():
        pytest.skip("no sshd on this machine")
    if not own_mounts():
        pytest.skip("a chroot takes root, and a mount namespace for its users")
    folder = tmp_path_factory.mktemp("sftp")
    made = subprocess.run(
        ["sh", ROOT / "deploy" / "secrets.sh", "--demo", folder / "secrets"],
        capture_output=True,
        check=False,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    for name in ("passwd", "group"):
        shutil.copy(f"/etc/{name}", folder / name)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    service = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))["services"]["sftp"]
    powers = ",".join(["-all", *(f"+{name.lower()}" for name in service["cap_add"])])
    env = os.environ | {"POWERS": powers}
    env |= {"FOLDER": str(folder), "ROOT": str(ROOT), "SFTP_PORT": str(port), "SFTP_LISTEN": "127.0.0.1"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["unshare", "--mount", "sh", "-euc", _START], env=env, stderr=log)
    deadline = time.monotonic() + 20
    while not real_sshd.listens(port):
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.05)
    known = (folder / "secrets" / "known_hosts").read_text().replace("[sftp]:2222", f"[127.0.0.1]:{port}")
    (folder / "known_hosts").write_text(known)
    yield folder, port
    process.terminate()
    process.wait(10)


def session(server, login, key):
    folder, port = server
    return connect(Remote("127.0.0.1", port, login, folder / "secrets" / key, folder / "known_hosts"), 20)


def put(door, local, final):
    door.rename(door.put_part(local, final.encode()).path, final.encode())


def test_a_city_sees_itself_alone_and_the_province_all_of_them(server, tmp_path):
    local = tmp_path / "a.zip"
    local.write_bytes(b"made in the city")
    with session(server, "370100", "logins/370100") as city, session(server, "province", "city_key") as province:
        put(city, local, f"/{NAMES.inbox}/a.zip")
        with pytest.raises(TransferError):
            put(city, local, f"/{NAMES.replies}/mine.zip")
        with pytest.raises(TransferError):
            put(city, local, "/../370200/a.zip")
        province.get(f"/370100/{NAMES.inbox}/a.zip".encode(), tmp_path / "taken.zip")
        assert (tmp_path / "taken.zip").read_bytes() == b"made in the city"
        province.rename(f"/370100/{NAMES.inbox}/a.zip".encode(), f"/370100/{NAMES.received}/a.zip".encode())
        put(province, local, f"/370100/{NAMES.replies}/answer.txt")
        city.get(f"/{NAMES.replies}/answer.txt".encode(), tmp_path / "answer.txt")
        assert (tmp_path / "answer.txt").read_bytes() == b"made in the city"
    with session(server, "370200", "logins/370200") as other, pytest.raises(TransferError):
        other.get(f"/370100/{NAMES.received}/a.zip".encode(), tmp_path / "stolen.zip")


def test_the_authority_and_our_login_there_share_its_folders_and_nothing_else(server, tmp_path):
    local = tmp_path / "package.zip"
    local.write_bytes(b"a package")
    with (
        session(server, "province-upward", "authority_key") as ours,
        session(server, "authority", "logins/authority") as theirs,
    ):
        put(ours, local, f"/{NAMES.upward}/package.zip")
        theirs.rename(f"/{NAMES.upward}/package.zip".encode(), f"/{NAMES.archive}/package.zip".encode())
        put(theirs, local, f"/{NAMES.returned}/cards.xls")
        ours.get(f"/{NAMES.returned}/cards.xls".encode(), tmp_path / "cards.xls")


def test_nobody_comes_in_by_another_ones_key(server):
    with pytest.raises(AccessRefused), session(server, "370100", "logins/370200"):
        pass
    with pytest.raises(AccessRefused), session(server, "root", "city_key"):
        pass


def test_there_is_no_shell_and_no_tunnel(server):
    folder, port = server
    key = folder / "key-for-ssh"
    shutil.copy(folder / "secrets" / "logins" / "370100", key)
    key.chmod(0o600)
    ssh = ["ssh", "-i", key, "-p", str(port), "-o", f"UserKnownHostsFile={folder}/known_hosts", "-o", "BatchMode=yes"]
    told = subprocess.run(
        [*ssh, "370100@127.0.0.1", "id"], capture_output=True, check=False, timeout=30, stdin=subprocess.DEVNULL
    )
    assert b"uid=" not in told.stdout
    tunnel = subprocess.run(
        [*ssh, "-W", f"127.0.0.1:{port}", "370100@127.0.0.1"], capture_output=True, check=False, timeout=30,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert b"SSH-2.0" not in tunnel.stdout

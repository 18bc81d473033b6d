"""What a session promises, on every server."""

import gc
import hashlib
import logging
import os
import time
from dataclasses import replace

import asyncssh
import pytest
from tests.real_sshd import new_key

from certflow import originals
from certflow.demo.servers import AuthoritySftp
from certflow.errors import AccessRefused, ConfigurationError, Conflict, TransferError
from certflow.settings import Settings
from certflow.sftp import connect

GBK = "济南市.zip".encode("gbk")
PHOTO = "11010519491231002X.jpg"


def test_what_was_put_comes_back_with_the_same_digest(far, tmp_path):
    local = tmp_path / "big"
    local.write_bytes(os.urandom(5_000_001))
    digest = hashlib.sha256(local.read_bytes()).hexdigest()
    with connect(far.remote, 10) as session:
        session.makedirs("/上报/202005-补报1")
        part = session.put_part(local, "/上报/202005-补报1/包.zip", "7")
        assert (part.sha256, part.size) == (digest, 5_000_001)
        assert list(far.files()) == ["上报/202005-补报1/包.zip.7.part"]
        assert session.hash(part.path) == digest
        session.rename(part.path, "/上报/202005-补报1/包.zip")
        assert session.get("/上报/202005-补报1/包.zip", tmp_path / "back") == (digest, 5_000_001)
        assert session.tail("/上报/202005-补报1/包.zip", 9) == local.read_bytes()[-9:]
    assert (tmp_path / "back").read_bytes() == local.read_bytes()
    assert (tmp_path / "back").stat().st_mode & 0o777 == 0o600


def test_t08_a_rename_never_overwrites(far):
    (far.tree / "a").write_bytes(b"new")
    (far.tree / "b").write_bytes(b"old")
    with connect(far.remote, 10) as session, pytest.raises(Conflict):
        session.rename("/a", "/b")
    assert far.files() == {"a": b"new", "b": b"old"}


def test_t08_a_name_taken_between_the_look_and_the_rename_is_a_conflict_too(far, monkeypatch):
    (far.tree / "a").write_bytes(b"new")
    (far.tree / "b").write_bytes(b"old")
    with connect(far.remote, 10) as session:
        honest, looks = session.stat, iter([None])
        monkeypatch.setattr(session, "stat", lambda path: next(looks, honest(path)) if path == "/b" else honest(path))
        with pytest.raises(Conflict):
            session.rename("/a", "/b")
    assert far.files() == {"a": b"new", "b": b"old"}


def test_t16_a_name_in_gbk_hides_nobody(far):
    (far.tree / os.fsdecode(GBK)).write_bytes(b"1")
    (far.tree / "青岛市.zip").write_bytes(b"22")
    with connect(far.remote, 10) as session:
        listed = {file.raw_name: file for file in session.list("/")}
        assert session.hash(GBK) == hashlib.sha256(b"1").hexdigest()
        session.makedirs("/已接收")
        assert session.move(GBK, "/已接收") == "/已接收/".encode() + GBK
    assert listed[GBK].name == "济南市.zip"
    assert listed["青岛市.zip".encode()].size == 2


def test_a_move_finds_a_free_name(far):
    (far.tree / "done").mkdir()
    with connect(far.remote, 10) as session:
        for content in (b"1", b"2", b"3"):
            (far.tree / "a.zip").write_bytes(content)
            session.move("/a.zip", "/done")
    assert far.files() == {"done/a.zip": b"1", "done/a~2.zip": b"2", "done/a~3.zip": b"3"}


def test_t15_a_link_and_a_folder_are_not_files(far):
    (far.tree / "link").symlink_to("/etc/hostname")
    (far.tree / "folder").mkdir()
    with connect(far.remote, 10) as session:
        kinds = {file.name: file.kind for file in session.list("/")}
        assert session.stat("/link").kind == "link"
    assert kinds == {"link": "link", "folder": "folder"}


def test_what_is_not_there_is_no_error_when_looking(far):
    with connect(far.remote, 10) as session:
        assert session.stat("/nothing") is None
        assert list(session.list("/nothing")) == []
        assert session.remove("/nothing") is False
        with pytest.raises(TransferError):
            session.hash("/nothing")


def test_t06_another_host_key_is_refused_before_anything_is_sent(far, tmp_path):
    new_key(tmp_path / "other")
    public = (tmp_path / "other.pub").read_text()
    pinned = tmp_path / "pinned"
    pinned.write_text(f"[127.0.0.1]:{far.remote.port} {public}")
    with pytest.raises(AccessRefused, match="主机密钥"), connect(replace(far.remote, known_hosts=pinned), 10):
        pass
    pinned.write_text(f"[127.0.0.1]:1 {public}")  # a server nobody has pinned
    with pytest.raises(AccessRefused, match="主机密钥"), connect(replace(far.remote, known_hosts=pinned), 10):
        pass


def test_t06_bulk_reads_check_the_host_key_as_well(far, tmp_path):
    (far.tree / "a").write_bytes(b"1")
    pinned = tmp_path / "pinned"
    pinned.write_bytes(far.remote.known_hosts.read_bytes())
    new_key(tmp_path / "other")
    with connect(replace(far.remote, known_hosts=pinned), 10) as session:
        pinned.write_text(f"[127.0.0.1]:{far.remote.port} {(tmp_path / 'other.pub').read_text()}")
        with pytest.raises(AccessRefused, match="主机密钥"):
            session.hash("/a")


def test_t07_a_withdrawn_key_is_tried_once(far, wire, tmp_path):
    new_key(tmp_path / "old")
    with pytest.raises(AccessRefused, match="登录被拒绝"), connect(replace(wire.remote, key=tmp_path / "old"), 10):
        pass
    assert wire.connections == 1


def test_a_missing_key_file_is_the_operators_to_mend(far, tmp_path):
    with pytest.raises(ConfigurationError), connect(replace(far.remote, key=tmp_path / "none"), 10):
        pass


def test_f06_nobody_listens(far):
    with pytest.raises(TransferError) as caught, connect(replace(far.remote, port=1), 2):
        pass
    assert not isinstance(caught.value, AccessRefused)


@pytest.mark.parametrize("share", [0, 0.3, 0.6, 0.8, 0.9, 0.99])
def test_t18_a_server_that_falls_silent_while_connecting_is_given_up(wire, share):
    with connect(wire.remote, 10):
        whole, wire.passed["down"] = wire.passed["down"], 0
    time.sleep(0.1)  # the first connection's last bytes
    wire.passed["down"], wire.stall_after["down"] = 0, int(whole * share) - 1
    begun = time.monotonic()
    with pytest.raises(TransferError) as caught, connect(wire.remote, 0.6):
        pass
    assert not isinstance(caught.value, AccessRefused)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("call", ["list", "hash", "put_part"])
def test_t18_a_server_that_falls_silent_later_is_given_up(far, wire, tmp_path, call):
    (far.tree / "a").write_bytes(os.urandom(300_000))
    (tmp_path / "local").write_bytes(os.urandom(300_000))
    arguments = {"list": ["/"], "hash": ["/a"], "put_part": [tmp_path / "local", "/b"]}[call]
    begun = time.monotonic()
    with connect(wire.remote, 0.6) as session:
        wire.stall_after["down"] = wire.passed["down"] + (100_000 if call == "hash" else 0)
        with pytest.raises(TransferError):
            getattr(session, call)(*arguments)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_t02_a_download_that_is_cut_says_so_once(far, wire, tmp_path, share, caplog):
    (far.tree / "a").write_bytes(os.urandom(1_000_000))
    with connect(wire.remote, 5) as session:
        wire.cut_after["down"] = wire.passed["down"] + int(1_000_000 * share)
        with pytest.raises(TransferError):
            session.get("/a", tmp_path / "a")
    gc.collect()  # when asyncio speaks of what nobody asked for
    assert "never retrieved" not in caplog.text


def test_no_message_and_no_log_names_a_file(far, wire, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    (far.tree / PHOTO).write_bytes(b"x")
    (far.tree / "b").write_bytes(b"x")
    said = []
    with connect(wire.remote, 5) as session:
        session.stat(f"/{PHOTO}")
        session.hash(f"/{PHOTO}")
        for call in (
            lambda: session.hash(f"/11010519491231002X/{PHOTO}"),
            lambda: session.rename("/b", f"/{PHOTO}"),
            lambda: session.rename("/none", f"/x{PHOTO}"),
            lambda: session.put_part(tmp_path / PHOTO, f"/{PHOTO}"),
        ):
            with pytest.raises((TransferError, Conflict)) as caught:
                call()
            said.append(str(caught.value))
    assert "11010519491231002" not in "".join(said) + caplog.text


class FullDisk(asyncssh.SFTPServer):
    """Swallows what does not fit, as a pipelined close lets a full disk pass (T03)."""

    def write(self, file_obj, offset, data):
        if offset + len(data) > 300_000:
            raise asyncssh.SFTPFailure("no space")
        return super().write(file_obj, offset, data)


def test_t03_a_full_disk_leaves_no_part_behind(tmp_path):
    class Server(AuthoritySftp):
        files = FullDisk

    local = tmp_path / "big"
    local.write_bytes(os.urandom(900_000))
    with Server(tmp_path / "far") as server, connect(server.remote(), 10) as session:
        with pytest.raises(TransferError) as caught:
            session.put_part(local, "/上报/包.zip")
        assert not isinstance(caught.value, AccessRefused)
        assert list((server.address.tree / "上报").iterdir()) == []


@pytest.mark.parametrize(("told", "most"), [(4 << 20, 98_083), (50_000, 50_000), (0, 98_083), (None, 32 << 10)])
def test_a_write_carries_what_the_server_says_it_takes(tmp_path, monkeypatch, told, most):
    """`told`: the server's limit in bytes, 0 where it has none, None where it does not know the question."""
    took = []

    class Counting(asyncssh.SFTPServer):
        def write(self, file_obj, offset, data):
            took.append(len(data))
            return super().write(file_obj, offset, data)

    class Server(AuthoritySftp):
        files = Counting

    handler = asyncssh.sftp.SFTPServerHandler
    if told is None:
        known = [one for one in handler._extensions if one[0] != b"limits@openssh.com"]
        monkeypatch.setattr(handler, "_extensions", known)
    else:

        async def limits(_handler, _packet):
            return asyncssh.sftp.SFTPLimits(0, 0, told, 0)

        monkeypatch.setitem(handler._packet_handlers, b"limits@openssh.com", limits)
    local = tmp_path / "big"
    local.write_bytes(os.urandom(300_001))
    with Server(tmp_path / "far") as server, connect(server.remote(), 10) as session:
        session.put_part(local, "/上报/包.zip")
        assert (server.address.tree / "上报/包.zip.part").read_bytes() == local.read_bytes()
    assert took == [most] * (300_001 // most) + [300_001 % most]


def test_t02_a_file_with_a_hole_in_what_the_server_answers_is_not_taken_for_whole(tmp_path):
    class Holed(asyncssh.SFTPServer):
        def read(self, file_obj, offset, size):
            """Nothing for a piece in the middle, as from a file that is cut and written again meanwhile."""
            return b"" if offset <= 650_000 < offset + size else super().read(file_obj, offset, size)

    class Server(AuthoritySftp):
        files = Holed

    settings = Settings(home=tmp_path / "home")
    with Server(tmp_path / "far") as server, connect(server.remote(), 10) as session:
        whole = os.urandom(2_000_000)
        (server.address.tree / "上报" / "1.csv").write_bytes(whole)
        digest, size = session.get("/上报/1.csv", tmp_path / "here")
        assert size < 650_001
        assert digest == hashlib.sha256(whole[:size]).hexdigest()
        [file] = session.list("/上报")
        assert originals.take(settings, session, "/上报/1.csv".encode(), file, errand="test") is None
    assert not settings.originals.exists()


def test_t05_no_permission_is_access_refused(tmp_path):
    class Locked(asyncssh.SFTPServer):
        def mkdir(self, path, attrs):
            raise asyncssh.SFTPPermissionDenied("no")

        rename = mkdir

        def remove(self, path):
            raise asyncssh.SFTPPermissionDenied("no")

        def open(self, path, pflags, attrs):
            raise asyncssh.SFTPPermissionDenied("no")

    class Server(AuthoritySftp):
        files = Locked

    (tmp_path / "local").write_bytes(b"x")
    with Server(tmp_path / "far") as server, connect(server.remote(), 10) as session:
        (server.address.tree / "a").write_bytes(b"x")
        for call in (
            lambda: session.makedirs("/new"),
            lambda: session.rename("/a", "/b"),
            lambda: session.remove("/a"),
            lambda: session.hash("/a"),
            lambda: session.put_part(tmp_path / "local", "/c"),
        ):
            with pytest.raises(AccessRefused, match="没有权限"):
                call()

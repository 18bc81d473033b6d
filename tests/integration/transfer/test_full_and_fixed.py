"""Our own disk is full, or the far side renames in its own way or not at all: nothing is overwritten or half-done."""

import dataclasses
import errno
import resource

import asyncssh
import paramiko
import pytest
from sqlalchemy import func, select

from certflow.demo.servers import AuthoritySftp, CitySftp
from certflow.dispatch.send import send
from certflow.errors import Conflict, TransferError
from certflow.intake.pull import pull
from certflow.registry import schema

NAME = "202005-034-一级建造师(证书补换印制信息)数据(济南市)(1人).txt"


def test_t04_f24_a_full_disk_of_ours_marks_nothing_and_the_next_pull_goes_on(settings, registry, actor, tmp_path):
    with CitySftp(tmp_path / "city", ["370100"]) as server:
        office = dataclasses.replace(settings, city_sftp=server.remote(), look_seconds=0, transfer_timeout=10)
        inbox = server.address.tree / "370100" / "报送"
        (inbox / NAME).write_bytes(b"x" * 400_000)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(TransferError):
                pull(office, registry, "370100", actor)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        with registry.read() as conn:
            assert conn.scalar(select(func.count()).select_from(schema.files)) == 0
        assert [path.name for path in inbox.iterdir()] == [NAME]
        assert [path for path in settings.home.rglob("*") if path.is_file() and path.stat().st_size >= 100_000] == []
        assert len(pull(office, registry, "370100", actor).new) == 1


def test_t09_a_far_side_that_cannot_rename_is_an_error_and_keeps_no_final_name(
    settings, registry, actor, approved, tmp_path
):
    class Fixed(asyncssh.SFTPServer):
        def rename(self, oldpath, newpath):
            raise OSError(errno.EXDEV, "cross-device")

    class Server(AuthoritySftp):
        files = Fixed

    package = approved(b"zip" * 1000)
    with Server(tmp_path / "far") as server:
        office = dataclasses.replace(settings, authority_sftp=server.remote(), transfer_timeout=10)
        with pytest.raises(TransferError):
            send(office, registry, package, actor)
        names = [path.name for path in server.address.tree.rglob("*") if path.is_file()]
    assert all(name.endswith(".part") for name in names), names
    with registry.read() as conn:
        assert conn.scalar(select(schema.packages.c.state).where(schema.packages.c.id == package)) == "SENDING"


def test_f13_without_posix_rename_files_come_and_go_all_the_same_and_nothing_is_overwritten(
    settings, registry, actor, approved, plain
):
    office = dataclasses.replace(
        settings, authority_sftp=plain.remote, city_sftp=plain.remote, look_seconds=0, transfer_timeout=10
    )
    inbox, received = (plain.tree / "370100" / name for name in ("报送", "已接收"))
    for folder in (inbox, received, plain.tree / "上报" / "202005"):
        folder.mkdir(parents=True, exist_ok=True)
    for content in (b"", b"again"):
        (inbox / NAME).write_bytes(content)
        assert len(pull(office, registry, "370100", actor).new) == 1
    assert sorted(path.read_bytes() for path in received.iterdir()) == [b"", b"again"]
    sent, refused = approved(b"zip" * 1000), approved(b"zip" * 2000)
    taken = plain.tree / "上报" / "202005" / f"202005-034-测试{refused}.zip"
    taken.write_bytes(b"foreign")
    assert send(office, registry, sent, actor) == "SENT"
    with pytest.raises(Conflict, match="人工核实"):
        send(office, registry, refused, actor)
    assert taken.read_bytes() == b"foreign"
    assert taken.with_name(f"202005-034-测试{sent}.zip").read_bytes() == b"zip" * 1000


def test_f13_the_far_side_of_that_test_knows_no_posix_rename(plain):
    (plain.tree / "a").write_bytes(b"a")
    with paramiko.SSHClient() as client:
        client.load_host_keys(str(plain.remote.known_hosts))
        client.connect("127.0.0.1", plain.remote.port, plain.remote.user, key_filename=str(plain.remote.key))
        with client.open_sftp() as session, pytest.raises(OSError, match=r"(?i)unsupported|permission"):
            session.posix_rename(f"{plain.remote.root}/a", f"{plain.remote.root}/b")
    assert (plain.tree / "a").exists()

"""Our own disk is full, and a far side that cannot rename: nothing is marked, nothing half-done keeps a final name."""

import dataclasses
import errno
import resource

import asyncssh
import pytest
from sqlalchemy import func, select

from certflow.demo.servers import AuthoritySftp, CitySftp
from certflow.dispatch.send import send
from certflow.errors import TransferError
from certflow.intake.pull import pull
from certflow.registry import schema

NAME = "202005-034-一级建造师(证书补换印制信息)数据(济南市)(1人).txt"


def test_t04_a_full_disk_of_ours_marks_nothing_and_the_next_pull_goes_on(settings, registry, actor, tmp_path):
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

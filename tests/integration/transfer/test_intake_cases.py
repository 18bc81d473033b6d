"""Family T through the whole of intake: pull, check and reply of one city, whatever server and line do.

Every test ends with the doctor, and with the city's one sound application accepted exactly once.
"""

import dataclasses
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import asyncssh
import pytest
from made_submissions import Made, person, portrait, write_registry
from sqlalchemy import text
from tests.real_sshd import OpenSsh, new_key

from certflow.checks.run import check_city
from certflow.demo.servers import CitySftp
from certflow.errors import AccessRefused, CertflowError, TransferError
from certflow.intake import pull as pulling
from certflow.intake.pull import pull, reply
from certflow.registry import certificates
from certflow.registry.doctor import examine
from certflow.sftp import Session

HERE, OTHER = "370100", "370200"
ROWS = [person(1, photo=True), person(2)]
Fault = Callable[[str, bytes], None]


class Files(asyncssh.SFTPServer):
    """Files as asyncssh serves them, but for what a test lets go wrong."""

    fault: Fault = staticmethod(lambda _call, _path: None)

    def open(self, path, pflags, attrs):
        self.fault("open", path)
        return super().open(path, pflags, attrs)

    def write(self, file_obj, offset, data):
        self.fault("write", os.fsencode(file_obj.name))
        return super().write(file_obj, offset, data)

    def remove(self, path):
        self.fault("remove", path)
        super().remove(path)

    def rename(self, oldpath, newpath):
        self.fault("rename", oldpath)
        super().rename(oldpath, newpath)


class Server(CitySftp):
    files = Files


@dataclasses.dataclass
class Town:
    """A city, its server, and the province's settings."""

    settings: object
    registry: object
    actor: object
    tree: Path
    content: bytes
    name: str

    def folder(self, name: str, account: str = HERE) -> Path:
        return self.tree / account / name

    def upload(self, name: str = "", content: bytes | None = None) -> Path:
        path = self.folder("报送") / (name or self.name)
        path.write_bytes(self.content if content is None else content)
        return path

    def turn(self, **changes):
        """One turn of intake, with some settings changed; what pull reported."""
        settings = dataclasses.replace(self.settings, **changes)
        report = pull(settings, self.registry, HERE, self.actor)
        check_city(settings, self.registry, HERE, self.actor)
        reply(settings, self.registry, HERE, self.actor)
        return report

    def states(self) -> tuple[list[str], list[str]]:
        with self.registry.read() as conn:
            return tuple(
                list(conn.scalars(text(f"SELECT state FROM {table} ORDER BY id"))) for table in ("files", "rows")
            )

    def answers(self) -> list[str]:
        return sorted(path.name for path in self.folder("回执").iterdir())

    def settled(self, files: tuple[str, ...] = ("JUDGED",)) -> None:
        """The application is accepted once, the city knows, and the doctor finds nothing."""
        assert self.states() == (list(files), ["ACCEPTED", "ACCEPTED"])
        assert "结论：全部接收" in next(self.folder("回执").glob("*F000001-回执.txt")).read_text("utf-8-sig")
        assert not any(examine(self.registry, self.settings).values())


@pytest.fixture
def town(settings, registry, actor, tmp_path, monkeypatch):
    monkeypatch.setattr(Files, "fault", staticmethod(lambda _call, _path: None))
    certificates.load(registry, actor, write_registry(tmp_path / "registry.csv", ROWS))
    made = Made(rows=ROWS, photos={ROWS[0]["ZP"]: portrait(1)}, extra={"说明.txt": os.urandom(150_000)})
    content = made.write(tmp_path / "made").path.read_bytes()
    with Server(tmp_path / "city", [HERE, OTHER]) as server:
        office = dataclasses.replace(
            settings, city_sftp=server.remote(), look_seconds=0.05, transfer_timeout=10, photo_threads=1
        )
        yield Town(office, registry, actor, server.address.tree, content, f"{made.stem}.zip")


@pytest.fixture
def far(town):
    """What the wire of the other transfer tests is laid to."""
    return SimpleNamespace(remote=town.settings.city_sftp)


def breaking(call: str, what: BaseException, path: bytes = b"", *, times: int = 1_000) -> Fault:
    left = iter(range(times))

    def fault(made: str, at: bytes) -> None:
        if made == call and path in at and next(left, None) is not None:
            raise what

    return staticmethod(fault)


def test_t01_a_half_written_upload_is_judged_once_it_is_whole(town):
    town.upload(content=town.content[:-100])
    assert town.turn().waiting == 1
    assert town.states() == ([], [])
    town.upload()
    assert len(town.turn().new) == 1
    town.settled()


@pytest.mark.parametrize("way", ["down", "up"])
def test_t02_a_line_that_breaks_in_the_middle_leaves_nothing_half_done(town, wire, way):
    town.upload()
    wire.cut_after[way] = 60_000 if way == "down" else 6_500
    with pytest.raises(TransferError):
        town.turn(city_sftp=wire.remote)
    assert town.states()[0] in ([], ["RECEIVED"], ["JUDGED"])
    town.turn()
    town.settled()


def test_t03_a_full_disk_of_the_city_loses_no_answer(town, monkeypatch):
    town.upload()
    monkeypatch.setattr(Files, "fault", breaking("write", OSError(28, "No space left on device")))
    with pytest.raises(TransferError):
        town.turn()
    assert town.answers() == []
    assert town.states()[1] == ["ACCEPTED", "ACCEPTED"]
    monkeypatch.setattr(Files, "fault", breaking("none", OSError()))
    town.turn()
    town.settled()


def test_t04_f24_a_full_disk_of_ours_marks_nothing(town, monkeypatch):
    town.upload()
    honest = os.fsync

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("certflow.sftp.os.fsync", full)
    with pytest.raises(TransferError):
        town.turn()
    assert town.states() == ([], [])
    assert town.folder("报送").joinpath(town.name).exists()
    monkeypatch.setattr("certflow.sftp.os.fsync", honest)
    town.turn()
    town.settled()


@pytest.mark.parametrize("call", ["rename", "open"])
def test_t05_what_the_server_does_not_permit_is_said_once_and_no_loop(town, monkeypatch, call):
    town.upload()
    denied = asyncssh.SFTPPermissionDenied("no")
    monkeypatch.setattr(Files, "fault", breaking(call, denied, "一级".encode()))
    for _ in range(2):
        if call == "rename":
            with pytest.raises(AccessRefused):
                town.turn()
        else:
            assert town.turn().refused == ("permission",)
    monkeypatch.setattr(Files, "fault", breaking("none", denied))
    town.turn()
    town.settled()
    assert len(list(town.folder("回执").glob("未接收-*"))) == (call == "open")


def test_t06_another_host_key_moves_nothing(town, tmp_path):
    town.upload()
    new_key(tmp_path / "other")
    remote, pinned = town.settings.city_sftp, tmp_path / "pinned"
    pinned.write_text(f"[127.0.0.1]:{remote.port} {(tmp_path / 'other.pub').read_text()}")
    with pytest.raises(AccessRefused, match="主机密钥"):
        town.turn(city_sftp=dataclasses.replace(remote, known_hosts=pinned))
    assert town.states() == ([], [])
    town.turn()
    town.settled()


def test_t07_a_withdrawn_login_is_tried_once(town, wire, tmp_path):
    town.upload()
    new_key(tmp_path / "stranger")
    with pytest.raises(AccessRefused, match="登录被拒绝"):
        town.turn(city_sftp=dataclasses.replace(wire.remote, key=tmp_path / "stranger"))
    assert wire.connections == 1
    town.turn()
    town.settled()


def test_t08_names_that_are_taken_are_never_overwritten(town):
    town.upload()
    town.folder("已接收").joinpath(town.name).write_bytes(b"an older one")
    answer = f"{town.name.removesuffix('.zip')}-F000001-回执.txt"
    town.folder("回执").joinpath(answer).write_bytes(b"somebody's")
    town.turn()
    assert town.folder("已接收").joinpath(town.name).read_bytes() == b"an older one"
    assert town.folder("回执").joinpath(answer).read_bytes() == b"somebody's"
    town.folder("回执").joinpath(answer).unlink()
    assert len(list(town.folder("已接收").iterdir())) == 2
    town.folder("回执").joinpath(answer.replace(".txt", "~2.txt")).rename(town.folder("回执") / answer)
    town.settled()


@pytest.fixture
def fixed(kind, town, tmp_path, monkeypatch):
    """A server that knows no rename, and the mode for it."""
    town.settings = dataclasses.replace(town.settings, done_marker="yes")
    if kind == "embedded":
        monkeypatch.setattr(Files, "fault", breaking("rename", asyncssh.SFTPFailure("Failure")))
        yield town
        return
    server = OpenSsh(tmp_path / "openssh", "internal-sftp -P rename,posix-rename")
    shutil.copytree(town.tree, server.tree, dirs_exist_ok=True)
    town.settings, town.tree = dataclasses.replace(town.settings, city_sftp=server.remote), server.tree
    yield town
    server.close()


def test_t09_without_renames_a_marker_says_that_a_file_is_complete(fixed):
    sent = fixed.upload()
    assert fixed.turn() == pulling.PullReport(waiting=1)
    assert fixed.states() == ([], [])
    mark = fixed.upload(f"{fixed.name}.ok", b"")
    assert len(fixed.turn().new) == 1
    assert not sent.exists()
    assert not mark.exists()
    assert fixed.folder("已接收").joinpath(fixed.name).read_bytes() == fixed.content
    answers = fixed.answers()
    assert [f"{name}.ok" for name in answers if not name.endswith(".ok")] == [
        name for name in answers if name.endswith(".ok")
    ]
    fixed.settled()
    assert fixed.turn() == pulling.PullReport()


def test_t09_a_forgotten_marker_is_asked_for_and_a_marked_torso_is_answered(fixed, monkeypatch):
    fixed.upload()
    fixed.turn()
    now = time.time()
    monkeypatch.setattr(pulling.time, "time", lambda: now + pulling.MARKER_SECONDS + 60)
    for _ in range(2):
        assert fixed.turn() == pulling.PullReport(waiting=1, refused=("unmarked",))
    note, mark = sorted(fixed.folder("回执").iterdir())
    assert "没有完成标志" in note.read_text("utf-8-sig")
    assert mark.name == f"{note.name}.ok"
    fixed.upload(content=fixed.content[:-100])
    fixed.upload(f"{fixed.name}.ok", b"")
    fixed.turn()
    assert fixed.states() == (["RETURNED"], [])
    fixed.upload()
    fixed.upload(f"{fixed.name}.OK", b"")
    fixed.turn()
    assert fixed.states() == (["RETURNED", "JUDGED"], ["ACCEPTED", "ACCEPTED"])
    assert not any(examine(fixed.registry, fixed.settings).values())


def test_t09_died_at_any_call_a_marked_file_counts_once(fixed, monkeypatch):
    class Died(BaseException):
        pass

    calls = ("stat", "remove", "makedirs", "publish", "_put", "_touch", "hash")
    deaths = 0
    for last in range(1, 40):
        count = iter(range(1, last))

        def dying(honest, count=count):
            def wrapped(*args, **words):
                if next(count, None) is None:
                    raise Died
                return honest(*args, **words)

            return wrapped

        fixed.upload(f"{last}.txt", str(last).encode())
        fixed.upload(f"{last}.txt.ok", b"")
        with monkeypatch.context() as patched:
            for name in calls:
                patched.setattr(Session, name, dying(getattr(Session, name)))
            try:
                pull(fixed.settings, fixed.registry, HERE, fixed.actor)
                died = False
            except Died:
                died = True
                deaths += 1
        pull(fixed.settings, fixed.registry, HERE, fixed.actor)
        assert fixed.folder("已接收").joinpath(f"{last}.txt").read_bytes() == str(last).encode(), last
        assert list(fixed.folder("报送").iterdir()) == [], last
        with fixed.registry.read() as conn:
            assert list(
                conn.execute(text("SELECT state, shelved_at IS NULL FROM files WHERE name = :n"), {"n": f"{last}.txt"})
            ) == [("RECEIVED", False)]
        if not died:
            break
    assert deaths > 10


def test_t11_the_same_bytes_under_another_name_are_told_and_count_for_nothing(town):
    town.upload()
    town.turn()
    town.upload("又一次.zip")
    assert len(town.turn().duplicates) == 1
    assert "完全相同" in next(town.folder("回执").glob("*F000002-回执.txt")).read_text("utf-8-sig")
    town.settled(("JUDGED", "IGNORED"))


def test_t14_a_server_whose_clock_is_wrong_changes_nothing(town):
    os.utime(town.upload(), (3976214400, 3976214400))
    town.turn()
    with town.registry.read() as conn:
        (age,) = conn.scalars(text("SELECT extract(epoch FROM now() - received_at) FROM files"))
    assert abs(age) < 60
    town.settled()


def test_t15_a_link_out_of_the_citys_folder_is_never_followed(town):
    stolen = town.folder("报送", OTHER) / "a.zip"
    stolen.write_bytes(town.content + b"of another city")
    for name, target in (("a.zip", stolen), ("b.zip", Path("/etc/hostname"))):
        town.folder("报送").joinpath(name).symlink_to(target)
    town.upload()
    assert town.turn().refused == ("link", "link")
    town.settled()


def test_t16_a_name_in_gbk_is_judged_and_hides_no_other(town):
    town.upload()
    town.folder("报送").joinpath(os.fsdecode("说明(济南市).txt".encode("gbk"))).write_bytes(b"?")
    town.turn()
    assert Counter(town.states()[0]) == {"JUDGED": 1, "RETURNED": 1}
    assert list(town.folder("报送").iterdir()) == []
    assert len(list(town.folder("已接收").iterdir())) == 2


@pytest.mark.parametrize("left", [b"", b"PK\x03\x04 a new upload"])
def test_t17_a_file_taken_away_or_replaced_while_we_read_it_is_read_again(town, monkeypatch, left):
    path = town.upload()
    honest, once = Session.get, iter([True])

    def get(session, remote, local):
        got = honest(session, remote, local)
        if next(once, False):
            path.write_bytes(left) if left else path.unlink()
        return got

    monkeypatch.setattr(Session, "get", get)
    town.turn()
    assert town.states() == ([], [])
    town.upload()
    town.turn()
    town.settled()


def test_t18_a_line_that_falls_silent_and_thousands_of_names_end_in_time(town, wire):
    town.upload()
    for number in range(3_000):
        town.folder("报送").joinpath(f"{number}.part").touch()
    wire.stall_after["down"] = 40_000
    began = time.monotonic()
    with pytest.raises(CertflowError):
        town.turn(city_sftp=wire.remote, transfer_timeout=2)
    assert time.monotonic() - began < 30
    assert town.states() == ([], [])
    assert town.turn().waiting == 3_000
    town.settled()

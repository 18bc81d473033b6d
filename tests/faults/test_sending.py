"""Whatever happens on the wire, on the far disk or to our process: one delivery, or a person is asked."""

import contextlib
import dataclasses
import multiprocessing
import os
import random
import resource
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import killed
import pytest
from small_month import Person, SmallMonth
from sqlalchemy import func, select
from tests.real_sshd import new_key

from certflow.dispatch.approve import approve
from certflow.dispatch.assemble import assemble
from certflow.dispatch.freeze import freeze
from certflow.dispatch.send import send
from certflow.errors import AccessRefused, Busy, Conflict, TransferError
from certflow.month import Month
from certflow.registry import open_registry, packages, schema, transfers
from certflow.registry.doctor import examine
from certflow.sftp import Session

pytestmark = pytest.mark.openssh
BIG = 3_000_000


def state(registry, package_id):
    with registry.read() as conn:
        return packages.package(conn, package_id).state


def events(registry, package_id):
    with registry.read() as conn:
        return [event for _, event, _ in transfers.steps(conn, package_id)]


def delivered(authority):
    """Zips under a final name, wherever they lie."""
    return sorted(name for name in authority.files() if name.endswith(".zip"))


def leftovers(authority):
    return [name for name in authority.files() if name.endswith(".part")]


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_f05_a_reply_that_does_not_come_is_a_timeout_and_no_double(
    office, registry, actor, authority, wire, approved, way, share
):
    package = approved(os.urandom(400_000))
    wire.stall_after[way] = 6_000 + int(400_000 * share)
    slow = dataclasses.replace(office, authority_sftp=wire.remote, transfer_timeout=2)
    begun = time.monotonic()
    with pytest.raises(TransferError):
        send(slow, registry, package, actor)
    assert time.monotonic() - begun < 20
    assert send(office, registry, package, actor) == "SENT"
    assert len(delivered(authority)) == 1
    assert leftovers(authority) == []


def test_f06_resets_on_connect_are_errors_for_now_and_then_it_arrives(office, registry, actor, authority, approved):
    package = approved()
    listener = socket.create_server(("127.0.0.1", 0))
    resets = []

    def reset():
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                near.close()
                resets.append(1)

    threading.Thread(target=reset, daemon=True).start()
    remote = dataclasses.replace(office.authority_sftp, port=listener.getsockname()[1])
    for _ in range(5):
        with pytest.raises(TransferError):
            send(dataclasses.replace(office, authority_sftp=remote), registry, package, actor)
    listener.close()
    assert len(resets) >= 5
    assert state(registry, package) == "SENDING"
    assert send(office, registry, package, actor) == "SENT"
    assert len(delivered(authority)) == 1


def test_f07_an_sshd_killed_in_the_middle_leaves_no_final_name(sshd, office, registry, actor, authority, approved):
    package = approved(os.urandom(BIG))

    def kill():
        until(lambda: leftovers(authority))
        for pid in sshd.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(TransferError):
        send(office, registry, package, actor)
    thread.join()
    assert delivered(authority) == []
    assert send(office, registry, package, actor) == "SENT"
    assert len(delivered(authority)) == 1
    assert leftovers(authority) == []


@pytest.fixture(params=["limit", "disk"])
def small(request, sshd, authority, tmp_path):
    """The far side with room for 300 KB, by a limit on files or on a disk of that size; and what gives it more."""
    log = (tmp_path / "small.log").open("wb")
    sshd.close()
    if request.param == "limit":
        if not hasattr(resource, "prlimit"):
            pytest.skip("needs prlimit")

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))

        endless = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        sshd.process = subprocess.Popen(sshd.command, stderr=log, preexec_fn=limit)  # noqa: PLW1509 (it only sets a limit)
        far, lift = authority, lambda: resource.prlimit(sshd.process.pid, resource.RLIMIT_FSIZE, endless)
    else:
        disk = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=300k tmpfs "$0" && exec "$@"', sshd.tree]
        if os.geteuid() != 0 or subprocess.run([*disk, "true"], capture_output=True, check=False).returncode:
            pytest.skip("no disk can be mounted here")
        sshd.process = subprocess.Popen([*disk, *sshd.command], stderr=log)
        far = dataclasses.replace(authority, tree=Path(f"/proc/{sshd.process.pid}/root{sshd.tree}"))
        larger = ["nsenter", "-t", str(sshd.process.pid), "-m", "mount", "-o", "remount,size=20m", str(sshd.tree)]
        lift = lambda: subprocess.run(larger, check=True)  # noqa: E731 (the other one of two)
    until(lambda: listening(sshd.remote.port))
    return far, lift


def listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_f08_f09_a_full_far_disk_is_no_delivery_and_completes_when_it_has_room_again(
    small, office, registry, actor, approved
):
    far, lift = small
    package = approved(os.urandom(BIG))
    with pytest.raises(TransferError, match=r"不完整|上传"):
        send(office, registry, package, actor)
    assert far.files() == {}
    assert state(registry, package) == "SENDING"
    lift()
    assert send(office, registry, package, actor) == "SENT"
    assert len(delivered(far)) == 1


@pytest.fixture
def permissions():
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root's sshd passes over permissions here")


def test_f10_a_folder_without_permission_is_an_alarm_and_no_loop(
    permissions, office, registry, actor, authority, approved
):
    package = approved()
    folder = authority.tree / "上报" / "202005"
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    with pytest.raises(AccessRefused):
        send(office, registry, package, actor)
    assert delivered(authority) == []
    folder.chmod(0o700)
    assert send(office, registry, package, actor) == "SENT"


class Mover(threading.Thread):
    """The authority's people: whatever zip gets a final name is taken away within a moment, into `shelf`."""

    def __init__(self, authority, shelf, taken=lambda: None):
        super().__init__(daemon=True)
        self.inbox, self.shelf, self.react = authority.tree / "上报" / "202005", shelf, taken
        self.moved = []
        self.inbox.mkdir(parents=True, exist_ok=True)
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.0003):
            for name in os.listdir(self.inbox):  # noqa: PTH208 (every microsecond counts)
                if name.endswith(".zip"):
                    (self.inbox / name).rename(self.shelf / name)
                    self.moved.append(name)
                    self.react()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_error):
        self.ended.set()
        self.join()


@pytest.fixture
def slow_answers(wire, monkeypatch):
    """From the rename on the server's answers take a while: time for the far side to do something in between."""
    honest = Session.rename

    def rename(session, source, target):
        wire.lag["down"] = wire.slow
        honest(session, source, target)

    wire.slow = 0.5
    monkeypatch.setattr(Session, "rename", rename)
    return wire


def test_f04_a_rename_whose_reply_is_lost_is_found_by_looking_first(
    office, registry, actor, authority, slow_answers, approved
):
    package = approved()
    folder = authority.tree / "上报" / "202005"

    def cut():
        until(lambda: folder.is_dir() and any(name.endswith(".zip") for name in os.listdir(folder)))  # noqa: PTH208
        slow_answers.cut = True

    thread = threading.Thread(target=cut)
    thread.start()
    with pytest.raises(TransferError):
        send(dataclasses.replace(office, authority_sftp=slow_answers.remote), registry, package, actor)
    thread.join()
    assert events(registry, package)[-2:] == ["verified", "failed"]
    assert send(office, registry, package, actor) == "SENT"
    assert "uploaded" not in events(registry, package)[events(registry, package).index("failed") :]
    assert len(delivered(authority)) == 1
    assert leftovers(authority) == []


@pytest.mark.parametrize("slow", [0.0, 0.05])
def test_f16_a_package_that_is_moved_away_within_a_millisecond_is_one_delivery(
    office, registry, actor, authority, slow_answers, approved, slow
):
    slow_answers.slow = slow  # gone about when, and long before we look again
    away = dataclasses.replace(office, authority_sftp=slow_answers.remote)
    with Mover(authority, authority.tree / "归档") as mover:
        package = approved(os.urandom(100_000))
        assert send(away, registry, package, actor) == "SENT"
        assert send(office, registry, package, actor) == "SENT"
        until(lambda: mover.moved)
    assert len(mover.moved) == len(delivered(authority)) == 1
    assert delivered(authority)[0].startswith("归档/")


def test_f17_moved_away_reply_lost_and_the_archive_closed_to_us_is_for_a_person(
    permissions, office, registry, actor, authority, slow_answers, approved
):
    package = approved()
    archive = authority.tree / "归档"

    def close():
        archive.chmod(0)
        slow_answers.cut = True

    with Mover(authority, archive, close) as mover, pytest.raises(TransferError):
        send(dataclasses.replace(office, authority_sftp=slow_answers.remote), registry, package, actor)
    for _ in range(3):
        assert send(office, registry, package, actor) == "UNKNOWN"
    assert len(mover.moved) == 1
    assert [name for name in os.listdir(authority.tree / "上报" / "202005") if ".zip" in name] == []  # noqa: PTH208
    archive.chmod(0o700)
    assert len(delivered(authority)) == 1


def test_f15_a_key_that_was_removed_is_tried_once(sshd, office, registry, actor, authority, wire, approved, tmp_path):
    package = approved()
    new_key(tmp_path / "other")
    own = (sshd.folder / "login.pub").read_text()
    (sshd.folder / "login.pub").write_text((tmp_path / "other.pub").read_text())
    watched = dataclasses.replace(office, authority_sftp=wire.remote)
    with pytest.raises(AccessRefused):
        send(watched, registry, package, actor)
    assert wire.connections == 1
    assert authority.files() == {}
    (sshd.folder / "login.pub").write_text(own)
    assert send(office, registry, package, actor) == "SENT"


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["certflow.dispatch.send", "certflow.registry.upgrade", "psycopg"])
    return context


def test_f31_a_stopped_process_that_wakes_up_late_delivers_nothing(
    office, registry, actor, authority, approved, processes
):
    package = approved(os.urandom(BIG))
    process = processes.Process(target=killed.send_whole, args=(office, package))
    process.start()
    until(lambda: leftovers(authority))
    os.kill(process.pid, signal.SIGSTOP)
    assert send(office, registry, package, actor) == "SENT"
    os.kill(process.pid, signal.SIGCONT)
    process.join(60)
    assert process.exitcode in (0, killed.REFUSED)
    assert len(delivered(authority)) == 1
    assert state(registry, package) == "SENT"
    assert leftovers(authority) == []


def test_f28_a_process_that_is_told_to_end_leaves_nothing_half_done(
    office, registry, actor, authority, approved, processes
):
    package = approved(os.urandom(BIG))
    process = processes.Process(target=killed.send_whole, args=(office, package))
    process.start()
    until(lambda: leftovers(authority))
    process.terminate()
    process.join(60)
    assert delivered(authority) == []
    assert send(office, registry, package, actor) == "SENT"
    assert len(delivered(authority)) == 1
    assert leftovers(authority) == []


@pytest.mark.parametrize("kills", [15, pytest.param(200, marks=pytest.mark.long)])
def test_f27_killed_at_random_every_package_arrives_once(
    office, registry, actor, authority, approved, processes, kills
):
    dice = random.Random(20200501)
    done, sent = 0, 0
    while done < kills:
        package = approved(dice.randbytes(200_000))
        for _ in range(8):
            process = processes.Process(target=killed.send_whole, args=(office, package))
            process.start()
            process.join(dice.uniform(0.02, 0.9))
            if process.is_alive():
                process.kill()
                done += 1
            process.join(60)
            if state(registry, package) in ("SENT", "UNKNOWN"):
                break
        assert send(office, registry, package, actor) == "SENT"
        sent += 1
        assert len(delivered(authority)) == sent
        assert leftovers(authority) == []
    with registry.read() as conn:
        renamed = conn.execute(
            select(schema.transfers.c.package_id, func.count())
            .where(schema.transfers.c.event == "sent")
            .group_by(schema.transfers.c.package_id)
        ).all()
    assert [count for _, count in renamed] == [1] * sent


def test_f32_two_runs_of_one_month_at_once_are_one_delivery(office, registry, actor, authority):
    month = SmallMonth(office, registry)
    month.submit([Person(1), Person(2)])
    month.submit([Person(3)], account="370200")
    ends = []

    def run():
        own = open_registry(office)
        try:
            for _ in range(40):
                try:
                    batch = freeze(own, Month(2020, 5), actor)
                    package = assemble(office, own, batch.id, "034", actor)[0]
                    approve(own, batch.id, "值班员", actor)
                    ends.append((batch.number, package, send(office, own, package, actor)))
                except (Busy, Conflict, TransferError):  # the other run is at it: the task is retried
                    time.sleep(0.1)
                else:
                    return
        finally:
            own.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(ends) == 2
    assert len(set(ends)) == 1
    assert ends[0][0] == 0
    assert ends[0][2] == "SENT"
    assert len(delivered(authority)) == 1
    with registry.read() as conn:
        assert len(packages.packages_of(conn, 1)) == 1
    assert sound(registry, office)


@pytest.mark.slow
def test_f26_killed_before_any_commit_flush_or_rename_of_a_month_it_is_one_delivery_and_no_violation(
    office, registry, actor, authority, processes
):
    k, died = 0, True
    while died:
        k += 1
        month = f"20{10 + k // 12:02d}{k % 12 + 1:02d}"
        cities = SmallMonth(office, registry, month)
        cities.submit([Person(2 * k, photo=f"photo {k}".encode()), Person(2 * k + 1, photo=None)])
        process = processes.Process(target=killed.run_month_and_die, args=(office, month, k))
        process.start()
        process.join(120)
        assert process.exitcode in (0, killed.DIED), k
        died = process.exitcode == killed.DIED
        killed.wait_for_locks(registry)
        assert killed.run_month(office, registry, month) == "SENT", k
        assert len(delivered(authority)) == k
    assert k > 15
    assert leftovers(authority) == []
    assert sound(registry, office)


def sound(registry, settings):
    """What the doctor says after a fault: nothing."""
    problems = {name: told for name, told in examine(registry, settings).items() if told}
    assert problems == {}
    return True


@pytest.mark.parametrize("days", [-1, 1, 40])
def test_f43_the_month_comes_from_the_file_and_never_from_the_clock(
    office, registry, actor, authority, days, monkeypatch
):
    import datetime as dt

    real = dt.datetime

    class Elsewhen(real):
        @classmethod
        def now(cls, tz=None):
            return real.now(tz) + dt.timedelta(days=days)

    monkeypatch.setattr(dt, "datetime", Elsewhen)
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + days * 86_400)
    month = SmallMonth(office, registry)
    month.submit([Person(1)])
    batch = freeze(registry, Month(2020, 5), actor)
    package = assemble(office, registry, batch.id, "034", actor)[0]
    approve(registry, batch.id, "值班员", actor)
    assert send(office, registry, package, actor) == "SENT"
    (name,) = delivered(authority)
    assert name.startswith("上报/202005/202005-034-")
    with registry.read() as conn:
        assert packages.package(conn, package).sha256 == registry_digest(conn, package)


def registry_digest(conn, package_id):
    """The digest that was sent, as the evidence of the transfer says it."""
    query = select(schema.transfers.c.detail["sha256"].astext).where(
        schema.transfers.c.package_id == package_id, schema.transfers.c.event == "sent"
    )
    return conn.scalar(query)

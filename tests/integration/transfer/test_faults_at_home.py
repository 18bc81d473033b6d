"""Faults on our own machine: its disk, its database, its logs. Nothing is half done, and nobody is named.

Every test ends with the doctor, and with the city's application accepted exactly once.
"""

import contextlib
import dataclasses
import logging
import resource
import time
import traceback
from pathlib import Path

import pytest
from made_submissions import Made, portrait, write_registry
from sqlalchemy import create_engine, event, make_url, text
from test_intake_cases import HERE, OTHER, ROWS, Town

from certflow.checks.run import check_city
from certflow.demo.servers import CitySftp
from certflow.errors import CertflowError, TransferError
from certflow.intake.pull import pull
from certflow.registry import certificates, holds, ledger, open_registry, premises, submissions
from certflow.registry.doctor import examine


@pytest.fixture
def place(settings, registry, actor, tmp_path):
    """A city on an honest server, and the file it is about to send."""
    certificates.load(registry, actor, write_registry(tmp_path / "registry.csv", ROWS))
    made = Made(rows=ROWS, photos={ROWS[0]["ZP"]: portrait(1)})
    content = made.write(tmp_path / "made").path.read_bytes()
    with CitySftp(tmp_path / "city", [HERE, OTHER]) as server:
        office = dataclasses.replace(
            settings, city_sftp=server.remote(), look_seconds=0.05, transfer_timeout=10, photo_threads=1
        )
        yield Town(office, registry, actor, server.address.tree, content, f"{made.stem}.zip")


@contextlib.contextmanager
def little_room(size: int):
    """No file of ours may grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def read_only(registry):
    """The database takes no change, as a standby or a full disk makes it."""
    address = make_url(registry.engine.url)
    admin = create_engine(address, isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.execute(text(f'ALTER DATABASE "{address.database}" SET default_transaction_read_only = on'))
    registry.engine.dispose()
    try:
        yield
    finally:
        with admin.connect() as conn:
            conn.execute(text("SET default_transaction_read_only = off"))
            conn.execute(text(f'ALTER DATABASE "{address.database}" RESET default_transaction_read_only'))
        admin.dispose()
        registry.engine.dispose()


@contextlib.contextmanager
def session_ended(registry, number: int):
    """The server ends our session before its `number`-th statement; the list that is given is empty until then."""
    admin = create_engine(registry.engine.url, isolation_level="AUTOCOMMIT")
    count, ended = [0], []

    def before(conn, *_):
        count[0] += 1
        if count[0] == number:
            with admin.connect() as other:
                pid = conn.connection.driver_connection.info.backend_pid
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
            ended.append(number)

    event.listen(registry.engine, "before_cursor_execute", before)
    try:
        yield ended
    finally:
        event.remove(registry.engine, "before_cursor_execute", before)
        admin.dispose()


@contextlib.contextmanager
def locked(registry):
    """Somebody else records rows and does not come to an end."""
    with registry.engine.connect() as conn:
        submissions.hold_recording(conn)
        yield


def judge(place):
    check_city(place.settings, place.registry, HERE, place.actor)


@pytest.mark.parametrize("room", [0, 300, 3_000])
def test_f24_a_full_disk_while_a_file_is_judged_is_a_clean_stop_and_the_next_run_goes_on(place, room):
    place.upload()
    pull(place.settings, place.registry, HERE, place.actor)
    with little_room(room), pytest.raises((OSError, CertflowError)):
        judge(place)
    assert place.states() == (["RECEIVED"], [])
    place.turn()
    place.settled()


def test_f37_a_session_the_server_ends_saves_all_or_nothing_and_the_next_run_goes_on(place):
    place.upload()
    pull(place.settings, place.registry, HERE, place.actor)
    tried = 0
    for number in range(1, 1_000, 9):
        with session_ended(place.registry, number) as ended, contextlib.suppress(TransferError):
            judge(place)
            assert not ended, "an ended session is an error"
        tried += bool(ended)
        assert place.states() in ((["RECEIVED"], []), (["JUDGED"], ["ACCEPTED", "ACCEPTED"]))
        if not ended:
            break
    assert tried > 2
    place.turn()
    place.settled()


def test_f39_a_lock_held_for_long_is_an_error_after_the_limit_and_nothing_is_saved(place, monkeypatch):
    place.upload()
    pull(place.settings, place.registry, HERE, place.actor)
    monkeypatch.setattr(ledger, "LOCK_TIMEOUT_SECONDS", 1)
    hasty = dataclasses.replace(place, registry=open_registry(place.settings))
    begun = time.monotonic()
    with locked(place.registry), pytest.raises(TransferError, match="锁"):
        judge(hasty)
    assert time.monotonic() - begun < 200, "the first judging of a process also imports for a while"
    hasty.registry.close()
    assert place.states() == (["RECEIVED"], [])
    place.turn()
    place.settled()


def test_f40_a_database_that_only_reads_marks_nothing(place):
    place.upload()
    with read_only(place.registry), pytest.raises(CertflowError):
        place.turn()
    assert place.states() == ([], [])
    assert place.folder("报送").joinpath(place.name).exists(), "what is not recorded stays with the city"
    pull(place.settings, place.registry, HERE, place.actor)
    with read_only(place.registry), pytest.raises(CertflowError):
        judge(place)
    assert place.states() == (["RECEIVED"], [])
    place.turn()
    place.settled()


def resident() -> float:
    """Resident memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / (1 << 20)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks /proc")
@pytest.mark.parametrize("count", [150, pytest.param(10_000, marks=pytest.mark.long)])
def test_f23_very_many_files_in_one_inbox_cost_no_more_than_their_number(place, count):
    inbox = place.folder("报送")
    for number in range(count):
        (inbox / f"{number:05d}.txt").write_bytes(b"%d" % number)
    before, begun = resident(), time.monotonic()
    report = place.turn()
    took = time.monotonic() - begun
    print(f"{count} files: {took:.0f} s, {resident() - before:.0f} MB more")
    assert len(report.new) == count
    assert list(inbox.iterdir()) == []
    assert set(place.states()[0]) == {"RETURNED"}
    assert took < 30 + 0.2 * count
    assert resident() - before < 150 + count / 50
    place.upload()
    place.turn()
    assert place.states()[1] == ["ACCEPTED", "ACCEPTED"]
    assert not any(examine(place.registry, place.settings).values())


def test_f51_no_failure_says_who_it_is_about(place, postgres, caplog, capsys, monkeypatch):
    """Each failure with a file that is named after a person; then every line, trace and chain is searched."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(ledger, "LOCK_TIMEOUT_SECONDS", 1)
    hasty = dataclasses.replace(place, registry=open_registry(place.settings))
    person = ROWS[0]
    place.upload()
    place.upload(f"{person['KSXM']}{person['ZJHM']}.zip", place.content[:-100])
    place.upload(f"{person['ZJHM']}.jpg", portrait(2))
    told = []

    def fails(fault, work):
        with fault, pytest.raises((CertflowError, OSError)) as caught:
            work()
        told.append("".join(traceback.format_exception(caught.value)))

    gone = dataclasses.replace(place.settings.city_sftp, port=1)
    fails(contextlib.nullcontext(), lambda: place.turn(city_sftp=gone))
    fails(read_only(place.registry), place.turn)
    fails(little_room(10_000), place.turn)
    pull(place.settings, place.registry, HERE, place.actor)
    fails(little_room(300), lambda: judge(place))
    fails(session_ended(place.registry, 20), lambda: judge(place))
    fails(locked(place.registry), lambda: judge(hasty))
    hasty.registry.close()
    place.turn()
    with place.registry.read() as conn:
        assert [one.kind for one in holds.queue(conn)] == []
        chain = {name: str(list(conn.execute(text(f"SELECT * FROM {name}")))) for name in ("audit", "moves")}
    out, err = capsys.readouterr()
    texts = {**chain, "logs": caplog.text, "printed": out + err} | {f"error {n}": said for n, said in enumerate(told)}
    logs = [place.settings.audit_heads, *postgres.home.rglob("server.log"), *place.settings.path("quality").rglob("*")]
    people = {row[name] for row in ROWS for name in ("KSXM", "ZJHM", "ZP")}
    assert len(told) == 6
    assert premises.scan([path for path in logs if path.is_file()], texts, people) == []
    assert premises.scan([], {"a log that says it": person["KSXM"]}, people) != []
    place.settled(("JUDGED", "RETURNED"))

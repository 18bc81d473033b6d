"""What the authority returns comes in once, complete."""

import io
import json
import os
import time
import zipfile

import pytest
from as_owner import as_owner
from sqlalchemy import delete, select

from certflow.errors import AccessRefused, Busy, DigestMismatch, TransferError
from certflow.originals import PATIENCE_SECONDS
from certflow.registry import schema
from certflow.returns.fetch import fetch
from certflow.returns.reconcile import reconcile
from certflow.sftp import Session


@pytest.fixture
def outbox(authority):
    return authority.tree / "返回"


def known(registry):
    with registry.read() as conn:
        return conn.execute(select(schema.returns).order_by(schema.returns.c.id)).all()


def a_workbook() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("xl/workbook.xml"), "x" * 4000)
    return buffer.getvalue()


def test_a_return_is_stored_and_recorded_and_stays_where_it_was(office, registry, actor, authority, outbox):
    (outbox / "返回.csv").write_bytes(b"ZSGLH\r\n1\r\n")
    (number,) = fetch(office, registry, actor)
    (row,) = known(registry)
    assert (row.id, row.name, row.state, row.size) == (number, "返回.csv", "RECEIVED", 10)
    assert office.original(row.sha256).read_bytes() == b"ZSGLH\r\n1\r\n"
    assert "返回/返回.csv" in authority.files()
    assert fetch(office, registry, actor) == []


def test_r02_the_same_bytes_under_another_name_count_for_nothing(office, registry, actor, outbox):
    (outbox / "a.csv").write_bytes(b"1")
    fetch(office, registry, actor)
    (outbox / "b.csv").write_bytes(b"1")
    assert fetch(office, registry, actor) == []
    assert len(known(registry)) == 1


def test_r02_other_bytes_under_the_same_name_are_a_return_of_their_own(office, registry, actor, outbox):
    (outbox / "a.csv").write_bytes(b"1")
    fetch(office, registry, actor)
    (outbox / "a.csv").write_bytes(b"2")
    os.utime(outbox / "a.csv", (1_700_000_000, 1_700_000_000))
    assert len(fetch(office, registry, actor)) == 1


def test_r08_a_workbook_that_is_still_being_written_waits(office, registry, actor, outbox):
    (outbox / "a.xlsx").write_bytes(a_workbook()[:-10])
    assert fetch(office, registry, actor) == []
    (outbox / "a.xlsx").write_bytes(a_workbook())
    assert len(fetch(office, registry, actor)) == 1


@pytest.mark.parametrize("name", ["a.xlsx", "a.zip"])
def test_r08_f46_a_truncated_file_goes_back_after_a_day(office, registry, actor, outbox, monkeypatch, name):
    (outbox / name).write_bytes(a_workbook()[:-10])
    os.utime(outbox / name, (1_700_000_000, 1_700_000_000))
    assert fetch(office, registry, actor) == []
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + PATIENCE_SECONDS - 60)
    assert fetch(office, registry, actor) == []
    monkeypatch.setattr(time, "time", lambda: now + PATIENCE_SECONDS + 60)
    [number] = fetch(office, registry, actor)
    assert reconcile(office, registry, number, actor).state == "RETURNED"
    assert fetch(office, registry, actor) == []


@pytest.mark.parametrize("error", [AccessRefused, TransferError])
def test_r08_a_file_that_cannot_be_read_holds_up_no_other(office, registry, actor, outbox, monkeypatch, error):
    may_read = Session.get

    def get(session, path, local):
        if path.endswith(b"/a.csv"):
            raise error("没有权限")
        return may_read(session, path, local)

    monkeypatch.setattr(Session, "get", get)
    for name in ("a.csv", "b.csv", "c.csv"):
        (outbox / name).write_bytes(name.encode())
    for _ in range(2):
        with pytest.raises(error, match="1 个文件没有取回"):
            fetch(office, registry, actor)
        assert [row.name for row in known(registry)] == ["b.csv", "c.csv"]
    monkeypatch.undo()
    assert len(fetch(office, registry, actor)) == 1


def test_links_and_folders_are_left_alone(office, registry, actor, outbox):
    (outbox / "link.csv").symlink_to("/etc/hostname")
    (outbox / "folder").mkdir()
    assert fetch(office, registry, actor) == []


def test_b06_a_ledger_restored_from_yesterday_gets_its_returns_again(office, registry, actor, outbox):
    (outbox / "a.csv").write_bytes(b"1")
    fetch(office, registry, actor)
    with as_owner(registry) as conn:
        conn.execute(delete(schema.returns))
    assert len(fetch(office, registry, actor)) == 1


@pytest.mark.parametrize("left", [b"", b'{"a": ', b"[1]", b"\xff"])
def test_what_a_power_cut_left_of_the_memory_costs_another_look_and_no_more(office, registry, actor, outbox, left):
    (outbox / "a.csv").write_bytes(b"1")
    fetch(office, registry, actor)
    office.path("inbox", "returns.json").write_bytes(left)
    assert fetch(office, registry, actor) == []
    (outbox / "b.csv").write_bytes(b"2")
    assert len(fetch(office, registry, actor)) == 1


@pytest.mark.parametrize("left", [None, b"", b"2"])
def test_a_return_lost_or_damaged_on_our_disk_is_fetched_again(office, registry, actor, outbox, left):
    """Reconciling asks for it."""
    (outbox / "a.csv").write_bytes(b"1")
    [number] = fetch(office, registry, actor)
    with registry.read() as conn:
        original = office.original(conn.scalar(select(schema.returns.c.sha256)))
    original.unlink() if left is None else original.write_bytes(left)
    with pytest.raises(DigestMismatch, match="请从上级重新取得"):
        reconcile(office, registry, number, actor)
    assert fetch(office, registry, actor) == []
    assert original.read_bytes() == b"1"
    assert reconcile(office, registry, number, actor).state == "RETURNED", "it could be read, and says nothing"


def test_what_is_remembered_names_no_file(office, registry, actor, outbox):
    (outbox / "11010519491231002X.csv").write_bytes(b"1")
    fetch(office, registry, actor)
    memory = office.path("inbox", "returns.json").read_text()
    assert "11010519491231002X" not in memory
    assert len(json.loads(memory)) == 1


def test_two_at_once_do_not_meet(office, registry, actor, outbox):
    with registry.lock("fetch"), pytest.raises(Busy):
        fetch(office, registry, actor)

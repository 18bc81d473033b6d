"""The database itself keeps the law of the ledger: state graphs, audit chain, append-only evidence."""

import hashlib
import json
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from as_owner import as_owner
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import DBAPIError

from certflow.errors import Busy, CertflowError, ConfigurationError, Conflict, TransferError
from certflow.registry import open_registry, schema, upgrade
from certflow.registry.chain import broken_links
from certflow.registry.doctor import unlawful_moves
from certflow.registry.ledger import Actor, note


def file_values(**changes):
    return {
        "account": "370100",
        "lane": "month",
        "name": "a.zip",
        "raw_name": b"a.zip",
        "sha256": "0" * 64,
        "size": 1,
    } | changes


def row_values(submission, number, state="JUDGED"):
    texts = (
        "management_no",
        "name",
        "id_number",
        "id_type",
        "sex",
        "level",
        "specialty",
        "birth_month",
        "approved_on",
        "city",
    )
    own = {"submission_id": submission, "record_id": f"r{number}", "row_no": number, "state": state, "sent": {}}
    return own | dict.fromkeys(texts, "x")


def test_the_migration_builds_exactly_the_schema(registry):
    with registry.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []


def test_a_file_moves_along_its_graph_and_every_move_is_chained(registry, actor, settings):
    with registry.begin(actor) as connection:
        number = connection.scalar(insert(schema.files).values(file_values()).returning(schema.files.c.id))
    with registry.begin(Actor("clerk", "run-2", 3)) as connection:
        connection.execute(update(schema.files).values(state="UNPACKED"))
    with registry.read() as connection:
        moves = connection.execute(select(schema.moves).order_by(schema.moves.c.id)).all()
        chain = connection.execute(select(schema.audit).order_by(schema.audit.c.seq)).all()
    assert [(m.object_id, m.from_state, m.to_state, m.audit_seq) for m in moves] == [
        (number, "", "RECEIVED", 1),
        (number, "RECEIVED", "UNPACKED", 2),
    ]
    previous = "0" * 64
    for link in chain:
        assert link.prev == previous
        previous = hashlib.sha256((link.prev + link.payload).encode()).hexdigest()
        assert link.hash == previous
    last = json.loads(chain[-1].payload)
    assert (last["actor"], last["run"], last["attempt"], last["kind"], last["count"]) == (
        "clerk",
        "run-2",
        3,
        "file",
        1,
    )
    assert settings.audit_heads.read_text().splitlines() == [f"{link.seq} {link.hash}" for link in chain]


def test_i6_a_move_the_graph_does_not_know_is_refused_by_the_database(registry, actor):
    with registry.begin(actor) as connection:
        connection.execute(insert(schema.files), [file_values(name=f"{n}.zip") for n in range(3)])
    with (
        pytest.raises(Conflict, match='file: no move from "RECEIVED" to "JUDGED"'),
        registry.begin(actor) as connection,
    ):
        connection.execute(update(schema.files).values(state="JUDGED"))
    with pytest.raises(Conflict, match='no move from "" to "SENT"'), registry.begin(actor) as connection:
        connection.execute(insert(schema.files).values(file_values(state="SENT")))
    with registry.read() as connection:
        assert set(connection.scalars(select(schema.files.c.state))) == {"RECEIVED"}


def test_lock_is_busy_at_once_while_another_holds_it(registry):
    with registry.lock("month:202005:0"):
        with pytest.raises(Busy), registry.lock("month:202005:0"):
            pytest.fail("two hold the same lock")
        with registry.lock("month:202005:1"):
            pass
    with registry.lock("month:202005:0"):
        pass


def test_a_note_is_chained_too(registry, actor):
    with registry.begin(actor) as connection:
        note(connection, "approved", digest="ab" * 32, batch=0)
    with registry.read() as connection:
        payload = json.loads(connection.scalar(text("SELECT payload FROM audit")))
    assert payload | {"at": ""} == {
        "at": "", "actor": "tester", "run": "test", "attempt": 1, "event": "approved", "digest": "ab" * 32, "batch": 0,
    }  # fmt: skip


@pytest.mark.parametrize("through_copy", [False, True])
def test_i10_no_value_leaves_in_a_database_error(registry, actor, through_copy):
    planted = "440524188001010014"

    def fail(connection):
        if through_copy:
            with connection.connection.cursor().copy("COPY batches (month, number, rule_set) FROM STDIN") as copy:
                copy.write_row(("", f"x{planted}", ""))
        else:
            connection.execute(text("SELECT CAST(:value AS bigint)"), {"value": f"{planted}x"})

    with pytest.raises(CertflowError, match="22P02") as raised, registry.begin(actor) as connection:
        fail(connection)
    assert planted not in "".join(traceback.format_exception(raised.value))


FULL = "DO $$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = 'disk_full'; END $$"


def test_f40_a_full_disk_of_the_database_is_called_so(registry, actor):
    with pytest.raises(TransferError, match="数据库所在的磁盘已满"), registry.begin(actor) as connection:
        connection.execute(text(FULL))


def test_f40_a_full_disk_while_the_tables_are_made_is_no_fault_of_the_program(registry, settings, monkeypatch):
    monkeypatch.setattr(upgrade, "HEAD", "another")
    monkeypatch.setattr(upgrade, "_migrate", lambda connection: connection.execute(text(FULL)))
    with pytest.raises(TransferError, match=r"DiskFull.*请检查磁盘"):
        open_registry(settings)


def test_i10_words_of_a_person_are_masked_before_they_are_chained(registry, actor):
    with registry.begin(actor) as connection:
        note(connection, "rejected", reason="440524188001010014 的照片不对", digest="0a" * 32, batch=0)
    with registry.read() as connection:
        payload = json.loads(connection.scalar(text("SELECT payload FROM audit")))
    assert payload["reason"] == "440524********0014 的照片不对"
    assert payload["digest"] == "0a" * 32


def test_evidence_only_grows(registry, actor):
    with registry.begin(actor) as connection:
        connection.execute(insert(schema.files).values(file_values()))
    for statement in (
        "UPDATE audit SET payload = '{}'", "DELETE FROM audit", "TRUNCATE audit CASCADE",
        "UPDATE moves SET to_state = 'X'", "DELETE FROM moves", "TRUNCATE moves",
        "UPDATE transfers SET token = 1", "DELETE FROM transfers", "TRUNCATE transfers",
        "UPDATE print_events SET mark = ''", "DELETE FROM print_events", "TRUNCATE print_events",
        "DELETE FROM files", "DELETE FROM rows", "TRUNCATE packages CASCADE",
    ):  # fmt: skip
        with pytest.raises(DBAPIError, match="only grows"), as_owner(registry) as connection:
            connection.execute(text(statement))
        with pytest.raises(CertflowError, match="42501"), registry.begin(actor) as connection:
            connection.execute(text(statement))


def test_a_number_no_record_can_have_is_said_to_be_too_large(registry):
    with pytest.raises(Conflict, match=r"^编号或数字太大，没有这样的记录，请核对$"), registry.read() as connection:
        connection.execute(select(schema.files.c.id).where(schema.files.c.id == 2**63))


def test_nobody_acts_unnamed(registry):
    with pytest.raises(ConfigurationError, match="actor"), registry.begin(Actor("")) as connection:
        connection.execute(insert(schema.files).values(file_values()))
    with pytest.raises(Exception, match="actor"), registry.engine.begin() as connection:
        connection.execute(insert(schema.files).values(file_values()))


def test_a_transaction_that_fails_leaves_no_head_behind(registry, actor, settings):
    def fail():
        with registry.begin(actor) as connection:
            note(connection, "approved")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not settings.audit_heads.exists()


def test_i3_one_management_number_is_open_once(registry, actor):
    with registry.begin(actor) as connection:
        submission = connection.scalar(insert(schema.submissions).values(
            month="202005", account="370100", city="济南市", exam_code="034", version=1, lane="month", stem="",
            verdict="accepted", rule_set="2020").returning(schema.submissions.c.id))  # fmt: skip
        connection.execute(insert(schema.rows), [row_values(submission, n) for n in (1, 2)])
    with pytest.raises(Conflict, match="同一管理号已有另一行在办"), registry.begin(actor) as connection:
        connection.execute(update(schema.rows).values(state="ACCEPTED"))


def test_i6_a_row_is_recorded_as_it_was_judged_and_the_chain_tells_both_moves(registry, settings, actor):
    with registry.begin(actor) as connection:
        submission = connection.scalar(insert(schema.submissions).values(
            month="202005", account="370100", city="济南市", exam_code="034", version=1, lane="month", stem="",
            verdict="accepted", rule_set="2020").returning(schema.submissions.c.id))  # fmt: skip
    lines = [row_values(submission, 1, state="ACCEPTED"), row_values(submission, 2, state="JUDGED")]
    with registry.begin(actor) as connection:
        connection.execute(insert(schema.rows).values(lines))
    with pytest.raises(Conflict, match='"JUDGED" to "PRINTED"'), registry.begin(actor) as connection:
        connection.execute(insert(schema.rows), [row_values(submission, 3, state="PRINTED")])
    with registry.read() as connection:
        states = dict(connection.execute(select(schema.rows.c.id, schema.rows.c.state)).tuples().all())
        moves = connection.execute(select(schema.moves).order_by(schema.moves.c.id)).all()
        assert broken_links(connection, settings.audit_heads) == []
        assert unlawful_moves(connection) == []
    first, second = sorted(states)
    assert [states[first], states[second]] == ["ACCEPTED", "JUDGED"]
    assert [(move.audit_seq, move.object_id, move.from_state, move.to_state) for move in moves] == [
        (1, first, "", "JUDGED"), (1, second, "", "JUDGED"), (2, first, "JUDGED", "ACCEPTED"),
    ]  # fmt: skip


def test_f38_a_deadlock_is_tried_again(registry, actor):
    first, second = threading.Barrier(2), []

    def cross(numbers):
        def work(connection):
            connection.execute(text("SELECT pg_advisory_xact_lock(99, :n)"), {"n": numbers[0]})
            if len(second) < 2:
                second.append(numbers)
                first.wait(10)
            connection.execute(text("SELECT pg_advisory_xact_lock(99, :n)"), {"n": numbers[1]})
            note(connection, "crossed", lock=numbers[0])

        return registry.run(actor, work)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(cross, [(1, 2), (2, 1)]))
    with registry.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM audit")) == 2


def test_f41_the_chain_has_no_fork_and_no_gap_when_many_write_at_once(registry, actor):
    def write(number):
        with registry.begin(actor) as connection:
            connection.execute(insert(schema.files).values(file_values(name=f"{number}.zip")))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(60)))
    with registry.read() as connection:
        chain = connection.execute(select(schema.audit).order_by(schema.audit.c.seq)).all()
    assert [link.seq for link in chain] == list(range(1, 61))
    assert [link.prev for link in chain[1:]] == [link.hash for link in chain[:-1]]


def test_however_many_rows_one_statement_moves_they_are_one_link_of_the_chain(registry, actor):
    with registry.begin(actor) as connection:
        submission = connection.scalar(insert(schema.submissions).values(
            month="202005", account="370100", city="济南市", exam_code="034", version=1, lane="month", stem="",
            verdict="accepted", rule_set="2020").returning(schema.submissions.c.id))  # fmt: skip
        connection.execute(text(
            "INSERT INTO rows (submission_id, record_id, row_no, sent, management_no, name, id_number, id_type, sex,"
            " level, specialty, birth_month, approved_on, city)"
            " SELECT :s, 'r' || n, n, '{}', 'm' || n, '', '', '', '', '', '', '', '', ''"
            " FROM generate_series(1, 2000) n"), {"s": submission})  # fmt: skip
    with registry.begin(actor) as connection:
        connection.execute(update(schema.rows).values(state="ACCEPTED"))
    with registry.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM moves WHERE to_state = 'ACCEPTED'")) == 2000
        assert connection.scalar(text("SELECT count(*) FROM audit")) == 2


def test_triggers_look_at_whole_statements_and_never_compare_all_with_all(registry):
    """A hundred thousand rows move in seconds (`make bench`), in a session that has moved single ones before, too.

    A function's plan is kept for the session, and that of a small statement would walk one set per row of the other.
    """
    with registry.read() as connection:
        for_each_row = connection.scalars(text(
            "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgtype & 1 = 1"
            " AND tgrelid IN ('files'::regclass, 'rows'::regclass, 'packages'::regclass, 'deliveries'::regclass)"
        )).all()  # fmt: skip
        joining = connection.execute(text(
            "SELECT DISTINCT proname, 'enable_nestloop=off' = ANY (proconfig)"
            " FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid"
            " WHERE tgoldtable IS NOT NULL AND tgnewtable IS NOT NULL ORDER BY proname"
        )).all()  # fmt: skip
    assert for_each_row == []
    assert joining == [("certflow_changed", True), ("certflow_printed", True)]

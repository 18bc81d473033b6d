"""The database itself keeps the law of the ledger: state graphs, audit chain, append-only evidence."""

import hashlib
import json

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, select, text, update

from certflow.errors import Busy, Conflict
from certflow.registry import schema
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

"""Heads that left the house: an older, a rewritten or another ledger is betrayed by them (invariant I7)."""

import dataclasses
import datetime as dt
import json

import pytest
from as_owner import as_owner
from sqlalchemy import text
from typer.testing import CliRunner

from certflow.cli import app
from certflow.errors import ConfigurationError, DigestMismatch
from certflow.registry import anchors, chain
from certflow.registry.doctor import examine
from certflow.registry.ledger import note

NOON = dt.datetime.now(dt.UTC).replace(hour=4, minute=0)


@pytest.fixture
def office(settings, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    return dataclasses.replace(settings, audit_export=tmp_path / "elsewhere")


def happen(registry, actor, *events):
    for event in events:
        with registry.begin(actor) as conn:
            note(conn, event)


def export(office, registry, now=NOON):
    return anchors.export(office, registry, office.audit_export, now)


def said(registry, office, now=NOON):
    with registry.read() as conn:
        return "\n".join(anchors.problems(conn, office, now))


def forget(registry, seq):
    """The ledger as a backup has it: what came after is not there, in the home's own heads neither."""
    with as_owner(registry, triggers=False) as conn:
        conn.execute(text("DELETE FROM audit WHERE seq > :seq"), {"seq": seq})


def keep_heads(office, many):
    lines = office.audit_heads.read_text().splitlines(keepends=True)
    office.audit_heads.write_text("".join(lines[:many]))


def test_a_head_is_exported_once_a_day_and_verified(office, registry, actor):
    assert export(office, registry) is None
    happen(registry, actor, "one", "two")
    made = export(office, registry)
    assert (made.seq, made.fault) == (2, "")
    assert export(office, registry) == made
    assert [path.name for path in office.audit_export.iterdir()] == [made.file]
    export(office, registry, NOON + dt.timedelta(days=1))
    assert len(list(office.audit_export.iterdir())) == 2
    assert not any(examine(registry, office).values())


def test_f42_a_whole_home_restored_from_a_backup_is_noticed(office, registry, actor):
    happen(registry, actor, "one", "two", "three")
    export(office, registry)
    forget(registry, 1)
    keep_heads(office, 1)
    blind = dataclasses.replace(office, audit_export=None)
    with registry.read() as conn:
        assert not chain.restored(conn, blind)
        assert chain.restored(conn, office)
    assert examine(registry, blind)["I7"] == []
    assert "导出的链头是第 3 条，台账到第 1 条：台账比导出时旧" in "\n".join(examine(registry, office)["I7"])
    with pytest.raises(DigestMismatch, match="没有导出"):
        export(office, registry)


def test_i7_a_chain_that_was_rewritten_and_goes_on_is_noticed(office, registry, actor):
    happen(registry, actor, "one", "two")
    export(office, registry)
    forget(registry, 1)
    keep_heads(office, 1)
    happen(registry, actor, "another two", "three")
    assert "审计表曾被重写" in said(registry, office)
    with pytest.raises(DigestMismatch):
        export(office, registry)


def test_what_a_person_gave_up_is_no_problem_any_more(office, registry, actor):
    happen(registry, actor, "one", "two")
    made = export(office, registry)
    forget(registry, 1)
    keep_heads(office, 1)
    with registry.begin(actor) as conn:
        note(conn, "ledger.restored", given_up=[made.head])
    assert said(registry, office) == ""
    with registry.read() as conn:
        assert not chain.restored(conn, office)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content | {"seq": 1}, "签名不正确"),
        (lambda content: content | {"signature": "AAAA"}, "签名不正确"),
        (lambda content: content | {"format": "other"}, "无法辨认"),
        (lambda content: {}, "无法辨认"),
    ],
)
def test_a_file_that_was_altered_is_named_and_vouches_for_nothing(office, registry, actor, change, words):
    happen(registry, actor, "one", "two")
    file = office.audit_export / export(office, registry).file
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    assert words in said(registry, office)
    with registry.read() as conn:
        assert not chain.restored(conn, office)


def test_a_head_signed_by_a_key_this_home_does_not_know_stops_the_sending(office, registry, actor):
    happen(registry, actor, "one", "two")
    export(office, registry)
    for path in office.keys.iterdir():
        path.unlink()  # restored to before the key was changed
    assert said(registry, office) == ""  # the chain still holds that head
    forget(registry, 1)
    assert "没有的密钥签名" in said(registry, office)
    with registry.read() as conn:
        assert chain.restored(conn, office)


def test_a_ledger_that_moved_on_and_was_not_exported_for_days_is_named(office, registry, actor):
    happen(registry, actor, "one")
    export(office, registry)
    later = NOON + dt.timedelta(days=5)
    assert said(registry, office, later) == ""  # nothing happened since
    happen(registry, actor, "two")
    assert said(registry, office) == ""
    assert "没有导出（最近一次是" in said(registry, office, later)


def test_a_folder_that_is_gone_or_lies_in_the_home_is_refused(office, registry, actor):
    happen(registry, actor, "one")
    gone = dataclasses.replace(office, audit_export=office.audit_export / "not mounted")
    assert "打不开" in said(registry, gone)
    with registry.read() as conn, pytest.raises(ConfigurationError, match="打不开"):
        chain.restored(conn, gone)
    inside = office.path("heads")
    inside.mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="在 CERTFLOW_HOME 之内"):
        anchors.export(office, registry, inside, NOON)


def test_the_commands_export_and_verify(office, registry, actor, monkeypatch):
    monkeypatch.setenv("CERTFLOW_HOME", str(office.home))
    monkeypatch.setenv("CERTFLOW_DATABASE_URL", office.database_url)
    monkeypatch.setenv("CERTFLOW_AUDIT_EXPORT", str(office.audit_export))
    happen(registry, actor, "one", "two")
    run = CliRunner().invoke
    assert run(app, ["audit", "verify"]).exit_code == 1
    assert "已导出第 2 条" in run(app, ["audit", "export"]).output
    verified = run(app, ["audit", "verify", "--json"])
    assert (verified.exit_code, json.loads(verified.output)["ok"]) == (0, True)
    forget(registry, 1)
    refused = run(app, ["audit", "verify"])
    assert refused.exit_code == 1
    assert "台账中没有这一条" in refused.output

"""Before anything goes up: what the approver sees, two persons where the settings ask for two, paper, reopening."""

import dataclasses
import hashlib
import json

import pytest
from small_month import Person, SmallMonth
from sqlalchemy import select

from certflow.dispatch.approve import approve, gate, reject
from certflow.dispatch.arrivals import arrivals, record_arrival
from certflow.dispatch.assemble import assemble
from certflow.dispatch.dossier import as_markdown, dossier
from certflow.dispatch.freeze import freeze, reopen
from certflow.errors import Conflict
from certflow.month import Month
from certflow.registry import packages, schema, submissions

MAY = Month(2020, 5)


@pytest.fixture
def month(settings, registry):
    return SmallMonth(settings, registry)


@pytest.fixture
def batch(settings, registry, actor, month):
    month.submit([Person(1), Person(2)])
    month.submit([Person(3, photo=None)], account="370200")
    frozen = freeze(registry, MAY, actor)
    assemble(settings, registry, frozen.id, "034", actor)
    return frozen


def states(registry, batch_id):
    with registry.read() as conn:
        return [one.state for one in packages.packages_of(conn, batch_id)]


def test_two_persons_have_to_say_yes(settings, registry, actor, batch):
    two = dataclasses.replace(settings, two_person="yes")
    approve(registry, batch.id, "张工", actor, settings=two)
    assert states(registry, batch.id) == ["BUILT"]
    shown = gate(two, registry, batch.id)
    assert (shown.needs_approval, shown.reasons[-1]) == (True, "已由张工经办，等待另一人复核")
    with pytest.raises(Conflict, match="复核须为另一人"):
        approve(registry, batch.id, " 张 工 ", actor, settings=two)
    approve(registry, batch.id, "李工", actor, settings=two)
    assert states(registry, batch.id) == ["APPROVED"]
    assert gate(two, registry, batch.id).approved_by == "李工"
    with registry.read() as conn:
        told = select(schema.approvals.c.decision, schema.approvals.c.by).order_by(schema.approvals.c.id)
        assert conn.execute(told).all() == [("prepared", "张工"), ("approved", "李工")]


def test_what_one_prepared_counts_for_nothing_once_the_packages_changed(settings, registry, actor, batch, month):
    two = dataclasses.replace(settings, two_person="yes")
    approve(registry, batch.id, "张工", actor, settings=two)
    reject(registry, batch.id, "李工", "照片", actor)
    with registry.begin(actor) as conn:
        row = conn.scalar(select(schema.rows.c.id).order_by(schema.rows.c.id).limit(1))
        conn.execute(schema.rows.update().where(schema.rows.c.id == row).values(state="WITHDRAWN"))
    assemble(settings, registry, batch.id, "034", actor)
    approve(registry, batch.id, "李工", actor, settings=two)
    assert states(registry, batch.id) == ["REJECTED", "BUILT"]


def test_the_approver_sees_counts_against_the_months_before_and_no_person(settings, registry, actor, month):
    month.month = "202004"
    month.submit([Person(number) for number in range(10, 14)])
    assemble(settings, registry, freeze(registry, Month(2020, 4), actor).id, "034", actor)
    month.month = "202005"
    month.submit([Person(1), Person(2, state="HELD")])
    frozen = freeze(registry, MAY, actor)
    assemble(settings, registry, frozen.id, "034", actor)
    found = dossier(settings, registry, frozen.id)
    assert found["exams"] == [{"key": "034", "name": "034 一级建造师", "rows": 1, "last": 4, "mean": 4.0}]
    assert found["cities"] == [{"key": "370100", "name": "370100 济南市", "rows": 1, "last": 4, "mean": 4.0}]
    assert (found["rows"], found["photos"], found["held"], found["rule_set"]) == (1, 1, 1, "2020")
    assert len(found["missing"]) == 15
    assert found["digest"] == gate(settings, registry, frozen.id).digest
    text = as_markdown(found)
    assert "| 034 一级建造师 | 1 | 4 | 4 |" in text
    assert "待人工确认的行：1" in text
    assert "济南市 034 未到" in text
    assert found["digest"] in text
    assert "张三" not in text + json.dumps(found, ensure_ascii=False)
    assert "110105" not in text + json.dumps(found)


def test_paper_is_recorded_by_city_and_exam_and_the_last_record_counts(settings, registry, actor, batch, tmp_path):
    with registry.read() as conn:
        whole = packages.batch(conn, batch.id)
    assert [(one.city, one.rows, one.state) for one in arrivals(settings, registry, whole)] == [
        ("济南市", 2, "missing"),
        ("青岛市", 1, "missing"),
    ]
    scan = tmp_path / "scan.pdf"
    scan.write_bytes(b"scan")
    who = {"by": "收发员", "actor": actor}
    with pytest.raises(Conflict, match="哪里不符"):
        record_arrival(settings, registry, MAY, "370100", "034", state="differs", **who)
    record_arrival(settings, registry, MAY, "370100", "034", state="differs", remark="少一人", **who)
    record_arrival(settings, registry, MAY, "370100", "034", state="arrived", scan=scan, **who)
    first = arrivals(settings, registry, whole)[0]
    assert (first.state, first.by, first.scan_sha256) == ("arrived", "收发员", hashlib.sha256(b"scan").hexdigest())
    with registry.read() as conn:
        assert len(conn.execute(select(schema.papers.c.id)).all()) == 2
    with pytest.raises(Conflict):
        record_arrival(settings, registry, MAY, "999999", "034", state="arrived", **who)


def test_missing_paper_blocks_only_where_the_settings_say_so(settings, registry, actor, batch):
    strict = dataclasses.replace(settings, paper_blocks="yes")
    assert "纸质材料未到：济南市（034）、青岛市（034）" in gate(strict, registry, batch.id).reasons
    with pytest.raises(Conflict, match="纸质材料未到"):
        approve(registry, batch.id, "张工", actor, settings=strict)
    for account in ("370100", "370200"):
        record_arrival(settings, registry, MAY, account, "034", state="arrived", by="收发员", actor=actor)
    approve(registry, batch.id, "张工", actor, settings=strict)
    assert states(registry, batch.id) == ["APPROVED"]


def test_a_rejected_month_can_be_reopened_and_takes_late_files(settings, registry, actor, batch, month):
    with pytest.raises(Conflict, match="未退回"):
        reopen(registry, MAY, "张工", "漏了一市", actor)
    reject(registry, batch.id, "张工", "漏了一市", actor)
    with pytest.raises(Conflict, match="原因"):
        reopen(registry, MAY, "张工", " ", actor)
    reopen(registry, MAY, "张工", "漏了一市", actor)
    reopen(registry, MAY, "张工", "漏了一市", actor)
    with registry.read() as conn:
        assert submissions.frozen_months(conn) == set()
    with pytest.raises(Conflict, match="重新开放"):
        gate(settings, registry, batch.id)
    month.submit([Person(4)], account="370300")
    again = freeze(registry, MAY, actor)
    assert (again.id, again.number, again.exams) == (batch.id, 0, {"034": 4})
    package_id = assemble(settings, registry, again.id, "034", actor)[0]
    with registry.read() as conn:
        package = packages.package(conn, package_id)
        assert submissions.frozen_months(conn) == {"202005"}
    assert (package.revision, package.row_count) == (2, 4)
    (shown,) = dossier(settings, registry, again.id)["packages"]
    assert (shown["revision"], len(shown["added"]), shown["removed"]) == (2, 1, [])
    assert "多 1 行、少 0 行" in as_markdown(dossier(settings, registry, again.id))
    assert freeze(registry, MAY, actor).number == 0


def test_a_reopened_batch_is_frozen_again_before_the_next_one(settings, registry, actor, batch, month):
    reject(registry, batch.id, "张工", "漏了一市", actor)
    reopen(registry, MAY, "张工", "漏了一市", actor)
    month.submit([Person(9)], account="370300")
    with pytest.raises(Conflict, match=r"已重新开放.*certflow month prepare 202005"):
        freeze(registry, MAY, actor, number=1)
    assert freeze(registry, MAY, actor, number=0).rows == batch.rows + 1
    month.submit([Person(10)], account="370300")
    assert freeze(registry, MAY, actor, number=1).rows == 1


def test_a_rejected_batch_is_packed_again_before_the_next_one(settings, registry, actor, batch, month):
    reject(registry, batch.id, "张工", "有一行要更正", actor)
    month.submit([Person(9)], account="370300")  # came meanwhile
    again = freeze(registry, MAY, actor)
    assert (again.number, again.exams) == (0, {"034": 3})
    assemble(settings, registry, again.id, "034", actor)
    assert freeze(registry, MAY, actor).number == 1

"""Sent and not back: named by the doctor after its limit, and listed for the letter to the authority."""

import dataclasses
import datetime as dt

import pytest
from as_owner import as_owner
from openpyxl import load_workbook
from returned import Authority, printed, refused, sent
from small_month import Person, SmallMonth
from sqlalchemy import text

from certflow.registry import holds
from certflow.registry.doctor import examine
from certflow.reports.alerts import due
from certflow.returns.ageing import level, missing, write_list
from certflow.returns.apply import apply
from certflow.returns.undo import undo

DAYS = holds.LIMIT_DAYS + 1


def test_r03_after_its_limit_it_is_an_alarm_and_stands_on_the_list_until_it_is_answered(
    settings, registry, actor, tmp_path
):
    month = SmallMonth(settings, registry)
    month.submit([Person(3, name="王五")], account="370200")
    sent(settings, registry, actor, month, [Person(1), Person(2)])
    with as_owner(registry) as conn:  # evidence may not change: the clock is turned back under it
        conn.execute(text("ALTER TABLE transfers DISABLE TRIGGER USER"))
        conn.execute(text("UPDATE transfers SET at = at - interval '100 days'"))
        conn.execute(text("ALTER TABLE transfers ENABLE TRIGGER USER"))
    assert [(one.city, one.rows, level(settings, one.age_days)) for one in missing(registry, 100)] == [
        ("济南市", 2, "late"), ("青岛市", 1, "late"),
    ]  # fmt: skip
    assert missing(registry, 101) == []
    strict = dataclasses.replace(settings, missing_alarm_days=100)
    assert examine(registry, settings)["I12"] == []
    (alarm,) = examine(registry, strict)["I12"]
    assert "202005 批次 0 考试 034：3 行上报已满 100 天" in alarm
    authority = Authority(settings, registry, actor, tmp_path)
    number = authority.applied(printed(Person(1))).return_id
    assert write_list(registry, 90, tmp_path / "list.xlsx") == 2
    summary, listed = load_workbook(tmp_path / "list.xlsx")
    rows = list(listed.iter_rows(min_row=3, values_only=True))
    assert [(row[4], row[5], row[6], row[11]) for row in rows] == [
        ("济南市", Person(2).management_no, "张三", "100"), ("青岛市", Person(3).management_no, "王五", "100"),
    ]  # fmt: skip
    assert [row[4] for row in summary.iter_rows(min_row=4, values_only=True)] == ["1", "1", "2"]
    undo(registry, number, by="李主任", reason="上级更正", actor=actor)
    assert write_list(registry, 90, tmp_path / "list.xlsx") == 3


@pytest.mark.parametrize(
    ("first", "second"),
    [(refused, printed), (printed, refused), (printed, lambda one: printed(one, "SD77"))],
    ids=["printed", "refused", "other-serial"],
)
def test_r02_an_answer_that_contradicts_the_applied_one_is_named_until_a_person_sees_to_it(
    settings, registry, actor, tmp_path, first, second
):
    def told():
        late = [one.subject for one in due(settings, registry, dt.datetime.now(dt.UTC)) if one.kind == "held-too-long"]
        return late, examine(registry, settings)["I12"]

    (row,) = sent(settings, registry, actor, SmallMonth(settings, registry), [Person(1)])
    authority = Authority(settings, registry, actor, tmp_path)
    old, new = (authority.applied(say(Person(1))).return_id for say in (first, second))
    with as_owner(registry) as conn:
        conn.execute(text("UPDATE returns SET received_at = now() - make_interval(days => :days)"), {"days": DAYS})
    late, [problem] = told()
    assert late == [f"return-{new}"]
    assert f"返回文件 {new} 有 1 行与" in problem
    for number in (old, new):  # the way out: both are taken back, and the right one is applied
        undo(registry, number, by="王处长", reason="上级来函更正", actor=actor)
    apply(settings, registry, authority.again(new).return_id, actor)
    assert told() == ([], [])
    assert SmallMonth(settings, registry).states([row]) == ["REFUSED" if second is refused else "PRINTED"]


@pytest.mark.parametrize(
    ("line", "said"), [(printed(Person(1), name="张叁"), " 的 1 行"), (printed(Person(9)), "")], ids=["doubt", "held"]
)
def test_r04_what_waits_for_a_person_too_long_is_named_until_it_is_answered(
    settings, registry, actor, tmp_path, line, said
):
    def told():
        late = [one.text for one in due(settings, registry, dt.datetime.now(dt.UTC)) if one.kind == "held-too-long"]
        return late, examine(registry, settings)["I12"]

    sent(settings, registry, actor, SmallMonth(settings, registry), [Person(1)])
    authority = Authority(settings, registry, actor, tmp_path)
    number = authority.reconciled(line).return_id
    assert told() == ([], [])
    with as_owner(registry) as conn:
        conn.execute(text("UPDATE returns SET received_at = now() - make_interval(days => :days)"), {"days": DAYS})
    [late], [problem] = told()
    assert late.startswith(f"返回文件 {number}{said} 已待核实 {DAYS} 天")
    assert f"返回文件 {number} " in problem
    assert f"待人工处理已有 {DAYS} 天" in problem
    if said:
        authority.applied(printed(Person(1)))
        assert told() == ([], [])

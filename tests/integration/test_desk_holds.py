"""What waits for a person, on the desk: evidence side by side, a decision, the next one; masked for who only looks."""

import json
import re
from functools import cache

import pytest
from at_the_desk import sit_down, words
from desk_world import MARKUP, build
from made_submissions import portrait

from certflow.registry.doctor import examine


@pytest.fixture
def world(settings, registry, actor, tmp_path):
    return build(settings, registry, actor, tmp_path, papers=False)


@pytest.fixture
def at(settings, registry):
    return cache(lambda name="operator": sit_down(settings, registry, name))


def test_the_queue_is_empty_in_words(at):
    assert "没有待核实的数据" in words(at("viewer").get("/holds"))


def test_the_queue_names_record_reason_and_age_and_is_narrowed(world, at):
    page = words(at("viewer").get("/holds"))
    assert "待核实：2 项" in page
    assert all(record in page for record in world.held.values())
    assert "DB-NAME-VARIANT" in page
    only = words(at("viewer").get("/holds", params={"city": "370200", "rule": "DB-NAME-VARIANT"}))
    assert world.held["370200"] in only
    assert world.held["370100"] not in only
    assert "没有符合条件" in words(at("viewer").get("/holds", params={"month": "202001"}))


def test_who_decides_sees_both_values_and_the_photo_and_that_is_noted(world, at):
    record, desk = world.held["370100"], at()
    page = desk.get(f"/holds/{record}")
    text = words(page)
    assert "市报 证书数据库" in text
    assert "不同" in text
    assert page.text.count("accesskey=") >= 6
    picture = desk.get(f"/holds/{record}/photo/{world.photos['370100']}")
    assert (picture.headers["content-type"], picture.content == portrait(1)) == ("image/jpeg", True)
    (told,) = map(json.loads, world.noted)  # the page and its picture are one look
    assert (told["records"], told["by"], told["actor"]) == ([record], "operator", "operator")
    assert "script" not in json.dumps(told)


def test_who_only_looks_sees_masked_values_no_photo_and_no_form(world, at):
    record = world.held["370100"]
    for name in ("viewer", "approver", "auditor", "jinan"):
        desk = at(name)
        page = desk.get(f"/holds/{record}")
        assert page.status_code == 200, name
        assert not [word for word in ("<img", "<form", "alert(1)", "济证") if word in page.text], name
        assert desk.get(f"/holds/{record}/photo/{world.photos['370100']}").status_code == 403
        assert desk.post(f"/holds/{record}", data={"decision": "accept", "reason": "x"}).status_code == 403
    assert world.noted == []


def test_a_name_that_is_markup_or_a_template_stays_text(world, at):
    text = at().get(f"/holds/{world.held['370100']}").text
    assert MARKUP.replace("<", "&lt;").replace(">", "&gt;") in text
    assert "<script" not in text
    assert ">49<" not in text
    assert "default-src 'none'" in at().get("/holds").headers["content-security-policy"]


def test_a_decision_is_recorded_under_the_persons_name_and_leads_to_the_next(world, settings, registry, at):
    first, second = sorted(world.held.values())
    desk = at()
    answer = desk.post(
        f"/holds/{first}?month=202006", data={"decision": "accept", "reason": "同一人"}, follow_redirects=False
    )
    assert (answer.status_code, answer.headers["location"]) == (303, f"/holds/{second}?month=202006&done={first}")
    assert f"{first} 已由 operator 决定：接收" in words(desk.get(answer.headers["location"]))
    again = desk.get(f"/holds/{first}")
    assert (again.status_code, "决定：接收" in words(again)) == (200, True)
    last = desk.post(f"/holds/{second}", data={"decision": "return", "reason": "不是本人"}, follow_redirects=False)
    assert last.headers["location"] == f"/holds?done={second}"
    assert "已由 operator 决定：退回" in words(desk.get(last.headers["location"]))
    assert world.ask("SELECT decision || by || reason FROM hold_decisions ORDER BY id") == [
        "acceptoperator同一人", "returnoperator不是本人",
    ]  # fmt: skip
    assert {name: lines for name, lines in examine(registry, settings).items() if lines} == {}


def test_a_decision_that_does_not_fit_is_told_and_changes_nothing(world, at):
    before, desk = world.head, at()
    for decision, reason, photo, told in (
        ("accept", " ", "", "原因"),
        ("", "x", "", "决定只能是"),
        ("proof", "x", "", "没有取消"),
        ("judge", "x", "", "是数据行"),
        ("accept", "x", "F999999-0001", "不是这一行的照片"),
    ):
        form = {"decision": decision, "reason": reason, "photo": photo}
        answer = desk.post(f"/holds/{world.held['370100']}", data=form)
        assert (answer.status_code, told in words(answer)) == (400, True), told
    assert world.head == before


def test_the_second_of_two_people_hears_who_decided_first(world, at):
    record = world.held["370100"]
    at().post(f"/holds/{record}", data={"decision": "accept", "reason": "同一人"})
    answer = at().post(f"/holds/{record}", data={"decision": "return", "reason": "不是"})
    assert (answer.status_code, bool(re.search("已由 operator 于 .* 决定：接收", words(answer)))) == (400, True)


def test_the_photo_of_another_hold_is_not_reached_through_this_one(world, at):
    record = world.held["370100"]
    for tag in (world.photos["370200"], "F000001-9999", "..%2f..%2fetc%2fpasswd", "x%00y"):
        assert at().get(f"/holds/{record}/photo/{tag}").status_code == 404

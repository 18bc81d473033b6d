"""Returns on the desk: previewed without a trace, applied once, taken back; hostile names and tampered forms."""

import hashlib
import re
from functools import cache

import pytest
from at_the_desk import sit_down, words
from returned import HEADER, Authority, printed, refused, sent
from small_month import Person, SmallMonth

from certflow.registry.doctor import examine


@pytest.fixture
def people():
    return [Person(1), Person(2), Person(3)]


@pytest.fixture
def month(settings, registry, actor, people):
    made = SmallMonth(settings, registry)
    made.ids = sent(settings, registry, actor, made, people)
    return made


@pytest.fixture
def at(settings, registry):
    return cache(lambda name="operator": sit_down(settings, registry, name))


def file(*lines, name="返回.csv"):
    return {"file": (name, "".join(f"{line}\r\n" for line in (HEADER, *lines)).encode("utf-8-sig"))}


def carried(page):
    """The hidden fields of a preview."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))


def tree(settings):
    return sorted(str(path) for path in settings.home.rglob("*") if path.is_file())


def test_a_file_is_previewed_without_a_trace_applied_once_and_taken_back(settings, registry, at, month, people):
    desk, before = at(), tree(settings)
    given = file(printed(people[0]), refused(people[1]), printed(Person(99)))
    page = desk.post("/returns/preview", files=given)
    text = words(page)
    assert "可以入账 ，没有作任何更改" in text
    assert "不是本单位发出的" in text
    assert (month.states(month.ids), tree(settings)) == (["SENT"] * 3, before)
    form = {name: (None, value) for name, value in carried(page).items()}
    answer = desk.post("/returns", files=form, follow_redirects=False)
    at_return = answer.headers["location"]
    assert (answer.status_code, at_return.rpartition("/")[0]) == (303, "/returns")
    assert month.states(month.ids) == ["PRINTED", "REFUSED", "SENT"]
    assert "已入账" in words(desk.get(at_return))
    again = desk.post("/returns", files=form, follow_redirects=False)
    assert again.headers["location"] == at_return
    assert "已入账" in words(
        desk.post("/returns/preview", files=file(printed(people[0]), refused(people[1]), printed(Person(99))))
    )
    assert desk.post(f"{at_return}/undo", data={"reason": " "}).status_code == 400
    undone = desk.post(f"{at_return}/undo", data={"reason": "上级通知有误"}, follow_redirects=True)
    assert "由 operator 撤销" in words(undone)
    assert month.states(month.ids) == ["SENT"] * 3
    desk.post(f"{at_return}/again")
    assert month.states(month.ids) == ["PRINTED", "REFUSED", "SENT"]
    assert "返回.csv" in words(desk.get("/returns"))
    assert {name: lines for name, lines in examine(registry, settings).items() if lines} == {}


def test_r07_a_held_file_is_sent_back_to_the_authority_with_a_reason(settings, registry, actor, at, month, tmp_path):
    desk = at()
    number = Authority(settings, registry, actor, tmp_path).reconciled(printed(Person(99))).return_id
    page = f"/returns/{number}"
    assert f'action="{page}/dismiss"' in desk.get(page).text
    assert desk.post(f"{page}/dismiss", data={"reason": " "}).status_code == 400
    told = words(desk.post(f"{page}/dismiss", data={"reason": "外省的数据"}, follow_redirects=True))
    assert "退回上级，不入账" in told
    assert "由 operator 决定，原来的问题：RETURN-FOREIGN" in told
    assert "dismiss" not in desk.get(page).text


def test_what_cannot_be_read_says_why_and_offers_nothing_to_apply(at, month):
    page = at().post("/returns/preview", files={"file": ("返回.csv", b"\x00\x01")})
    assert "退回上级，不入账" in words(page)
    assert "content" not in carried(page)


def test_a_hostile_file_name_is_a_name_and_nothing_else(settings, at, month, people):
    desk, before = at(), tree(settings)
    for name in ("../../cron.d/x.csv", "..\\..\\x.csv", "/etc/x.csv", "<script>alert(1)</script>.csv", "{{7*7}}.csv"):
        page = desk.post("/returns/preview", files=file(printed(people[0]), name=name))
        assert page.status_code in (200, 400), name
        assert "<script" not in page.text
        assert ">49" not in page.text
        assert tree(settings) == before, name


def test_a_name_that_is_none_and_no_file_at_all_are_refused(at, month, people):
    assert at().post("/returns/preview", files=file(printed(people[0]), name="..")).status_code == 400
    assert at().post("/returns/preview", files={"other": ("x.csv", b"x")}).status_code == 400


def test_other_bytes_than_the_previewed_ones_are_not_applied(registry, at, month, people):
    page = at().post("/returns/preview", files=file(printed(people[0])))
    form = carried(page)
    form["content"] = form["content"][:-8] + "AAAAAAA="
    assert at().post("/returns", files={name: (None, value) for name, value in form.items()}).status_code == 400
    bare = {"name": (None, "x.csv"), "content": (None, "@@@"), "sha256": (None, hashlib.sha256(b"").hexdigest())}
    assert at().post("/returns", files=bare).status_code == 400
    assert month.states(month.ids) == ["SENT"] * 3


def test_only_the_operator_brings_a_file_in(at, month, people):
    for name in ("viewer", "approver", "auditor", "jinan"):
        desk = at(name)
        for path in ("/returns/preview", "/returns"):
            assert desk.post(path, files=file(printed(people[0]))).status_code == 403, name
        for path in ("/returns/1/undo", "/returns/1/dismiss", "/returns/1/again"):
            assert desk.post(path, data={"reason": "x"}).status_code == 403, name
        assert desk.get("/returns").status_code == (403 if name == "jinan" else 200)
    assert month.states(month.ids) == ["SENT"] * 3


def test_a_body_that_is_too_large_is_turned_away_before_it_is_read(at):
    assert at().post("/returns/1/undo", data={"reason": "x" * (300 << 10)}).status_code == 413
    assert at("").post("/returns/preview", files=file("x" * (200 << 10))).status_code == 401

"""The approval page: what it shows, who may answer, what the answer moves, and what goes on in Airflow."""

import dataclasses
import datetime as dt

import pytest
from at_the_desk import PEOPLE, sit_down, words
from small_month import Person, SmallMonth

from certflow.desk.airflow import Run
from certflow.desk.people import Person as AtDesk
from certflow.dispatch.approve import approve, gate
from certflow.dispatch.assemble import assemble
from certflow.dispatch.freeze import freeze
from certflow.errors import TransferError
from certflow.month import Month
from certflow.registry import approvals, packages, schema
from certflow.registry.doctor import examine


class Waiting:
    """Airflow as far as this page asks it: how many runs wait for the answer, and what it was told."""

    url = "http://airflow"

    def __init__(self, waiting=0, *, silent=False, early=False):
        self.waiting, self.silent, self.early, self.told = waiting, silent, early, []

    def as_person(self, _request):
        return self

    def answer(self, _dag, month, batch, choice):
        if self.silent:
            raise TransferError("Airflow 没有应答，请稍后再试")
        self.told.append((month, batch, choice))
        return self.waiting

    def wake(self, _dag):
        """Nothing is paused here."""

    def start(self, dag, conf):
        self.told.append((dag, conf))
        return "run"

    def runs(self, dag):
        if self.silent:
            raise TransferError("Airflow 没有应答，请稍后再试")
        began = dt.datetime(2020, 6, 1, tzinfo=dt.UTC)
        return (
            [Run(dag, "r1", "月末上报", "running", began, "202005", None, "operator")]
            if self.waiting or self.early
            else []
        )

    def tasks(self, **_asked):
        return []


@pytest.fixture
def batch(settings, registry, actor):
    month = SmallMonth(settings, registry)
    month.submit([Person(1, name="<script>alert(1)</script>"), Person(2), Person(3, state="HELD")])
    frozen = freeze(registry, Month(2020, 5), actor)
    assemble(settings, registry, frozen.id, "034", actor)
    return frozen


def answer(settings, registry, batch, name, choice="approve", *, airflow=None, **form):
    form = {"choice": choice, "digest": gate(settings, registry, batch.id).digest} | form
    web = sit_down(settings, registry, name, airflow)
    return web.post(f"/approvals/{batch.id}/answer", data=form)


def states(registry, batch):
    with registry.read() as conn:
        return [one.state for one in packages.packages_of(conn, batch.id)]


def test_the_page_shows_counts_comparison_samples_and_digests_and_no_person(settings, registry, batch):
    page = sit_down(settings, registry, "approver").get(f"/approvals/{batch.id}")
    text = words(page)
    with registry.read() as conn:
        [package] = packages.packages_of(conn, batch.id)
    digests = (package.digest, gate(settings, registry, batch.id).digest)
    for told in (*digests, "行 2", "待人工核实（不在包内） 1", "近一年月均", "青岛市", "未到（2 行）", "110105"):
        assert told in text, told
    assert Person(2).identity not in page.text
    assert "alert(1)" not in page.text, "a name is masked to its first sign"
    assert "&lt;*" in page.text


def test_a_yes_stands_in_the_ledger_and_lets_the_waiting_run_go_on(settings, registry, batch):
    airflow = Waiting(1)
    page = answer(settings, registry, batch, "approver", airflow=airflow, reason="看过")
    assert "已由 approver 批准" in words(page)
    assert states(registry, batch) == ["APPROVED"]
    assert airflow.told == [("202005", 0, "批准")]


def test_f08_a_send_that_stopped_half_way_is_named_and_can_be_started_again(settings, registry, actor, batch):
    approve(registry, batch.id, "王处长", actor)
    with registry.read() as conn:
        [package] = packages.packages_of(conn, batch.id)
    SmallMonth(settings, registry).begin_sending(package.id)
    web = sit_down(settings, registry, "approver")
    assert "开始上报" in words(web.get(f"/approvals/{batch.id}"))
    assert "202005 已批准，还没有送达" in words(web.get("/"))


def test_where_no_run_waits_one_is_started(settings, registry, batch):
    airflow = Waiting(0)
    answer(settings, registry, batch, "approver", airflow=airflow)
    assert airflow.told[1] == ("month_end_send", {"month": "202005", "batch": 0})


def test_a_run_that_has_not_asked_yet_is_left_to_find_the_answer(settings, registry, batch):
    airflow = Waiting(0, early=True)
    answer(settings, registry, batch, "approver", airflow=airflow)
    assert airflow.told == [("202005", 0, "批准")], "no second run gets in its way"


def test_an_answer_counts_also_while_airflow_is_silent(settings, registry, batch):
    page = answer(settings, registry, batch, "approver", airflow=Waiting(silent=True))
    assert page.status_code == 200
    assert states(registry, batch) == ["APPROVED"]
    assert "开始上报" in page.text


def test_a_run_that_asked_too_late_is_answered_before_another_is_started(settings, registry, batch):
    answer(settings, registry, batch, "approver")
    airflow = Waiting(1)
    web = sit_down(settings, registry, "operator", airflow)
    assert "再启动一次" in web.post(f"/approvals/{batch.id}/send").text
    assert airflow.told == [("202005", 0, "批准")]
    airflow.waiting = 0
    web.post(f"/approvals/{batch.id}/send", follow_redirects=False)
    assert airflow.told[-1] == ("month_end_send", {"month": "202005", "batch": 0})
    assert web.post("/approvals/999/send").status_code == 404


def test_a_batch_goes_back_with_a_reason_only(settings, registry, batch):
    assert "须写明原因" in answer(settings, registry, batch, "approver", "reject").text
    assert states(registry, batch) == ["BUILT"]
    page = answer(settings, registry, batch, "approver", "reject", reason="<img src=x onerror=alert(1)>")
    assert states(registry, batch) == ["REJECTED"]
    assert "<img" not in page.text
    assert "&lt;img" in page.text


def test_two_persons_answer_where_the_settings_ask_for_two(settings, registry, batch, monkeypatch):
    monkeypatch.setitem(PEOPLE, "second", AtDesk("second", frozenset({"approver"})))
    two = dataclasses.replace(settings, two_person="yes")
    first = answer(two, registry, batch, "approver")
    assert "等待另一人复核" in words(first)
    assert 'value="approve"' not in first.text, "the same person gets no second button"
    assert "复核须为另一人" in answer(two, registry, batch, "approver").text
    assert states(registry, batch) == ["BUILT"]
    answer(two, registry, batch, "second")
    assert states(registry, batch) == ["APPROVED"]
    with registry.read() as conn:
        assert [one["by"] for one in approvals.decisions(conn, batch.id)] == ["approver", "second"]
    assert {name: lines for name, lines in examine(registry, two).items() if lines} == {}


def test_what_changed_after_it_was_shown_is_not_approved(settings, registry, batch):
    page = answer(settings, registry, batch, "approver", digest="0" * 64)
    assert (page.status_code, "有变动" in page.text) == (400, True)
    assert states(registry, batch) == ["BUILT"]


@pytest.mark.parametrize(("name", "status"), [("viewer", 403), ("operator", 403), ("auditor", 403), ("jinan", 403)])
def test_nobody_but_an_approver_answers(settings, registry, batch, name, status):
    assert answer(settings, registry, batch, name).status_code == status
    assert states(registry, batch) == ["BUILT"]


def test_no_foreign_page_can_send_the_form(settings, registry, batch):
    web = sit_down(settings, registry, "approver")
    form = {"choice": "approve", "digest": gate(settings, registry, batch.id).digest}
    for headers in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}):
        assert web.post(f"/approvals/{batch.id}/answer", data=form, headers=headers).status_code == 403
    del web.headers["sec-fetch-site"]
    answered = web.post(f"/approvals/{batch.id}/answer", data=form, headers={"origin": "https://evil.example"})
    assert answered.status_code == 403
    assert states(registry, batch) == ["BUILT"]


def test_a_city_sees_no_batch(settings, registry, batch):
    web = sit_down(settings, registry, "jinan")
    assert [web.get(path).status_code for path in ("/approvals", f"/approvals/{batch.id}")] == [403, 403]


def test_a_package_nobody_knows_about_is_settled_with_a_reason(settings, registry, actor, batch):
    answer(settings, registry, batch, "approver")
    with registry.read() as conn:
        [package] = packages.packages_of(conn, batch.id)
    with registry.begin(actor) as conn:
        for state in ("SENDING", "UNKNOWN"):
            conn.execute(schema.packages.update().values(state=state))
    web = sit_down(settings, registry, "operator")
    place = f"/approvals/{batch.id}/packages/{package.id}"
    assert "无法确认是否送达" in words(web.get(f"/approvals/{batch.id}"))
    assert web.post(place, data={"arrived": "no", "reason": " "}).status_code == 400
    assert (
        web.post(f"/approvals/{batch.id + 1}/packages/{package.id}", data={"arrived": "no", "reason": "x"}).status_code
        == 404
    )
    assert states(registry, batch) == ["UNKNOWN"]
    web.post(place, data={"arrived": "no", "reason": "6月2日与上级电话核对"})
    assert states(registry, batch) == ["APPROVED"]


def test_batches_are_listed_and_an_unknown_one_is_said_to_be(settings, registry, batch):
    web = sit_down(settings, registry, "viewer")
    assert "202005" in words(web.get("/approvals"))
    assert web.get("/approvals/999").status_code == 404

"""Failure cards: the error tree in words, what would be sent again, and a button that runs one thing again."""

import ast
import datetime as dt
import re
from dataclasses import replace
from pathlib import Path

import pytest
from at_the_desk import sit_down, words
from small_month import Person, SmallMonth

from certflow.desk.airflow import Run, Task
from certflow.dispatch.approve import approve
from certflow.dispatch.assemble import assemble
from certflow.dispatch.freeze import freeze
from certflow.month import Month

DAGS = Path(__file__).parents[2] / "dags"
BEGAN = dt.datetime(2026, 11, 1, 1, 30, tzinfo=dt.UTC)
CITY = Task("submission_intake", "r1", "take_in", 2, "370300", "收取、检查、答复", "受理", "failed", 4, BEGAN)
SEND = Task("month_end_send", "r2", "send", 0, "1", "send", "月末上报", "failed", 1, BEGAN)


class Airflow:
    """Airflow as far as this page asks it."""

    url = "http://airflow"

    def __init__(self, *failed, error=("", ""), later=(), months=None):
        self.failed, self.said, self.later, self.months = failed, error, later, months or {}
        self.cleared, self.started, self.paused = [], [], ()

    def as_person(self, _request):
        return self

    def tasks(self, dag_id="~", run_id="~", *, states=(), **_asked):
        if dag_id != "~" and run_id != "~":
            return [task for task in self.failed if (task.dag_id, task.run_id) == (dag_id, run_id)]
        return list(self.failed) if "failed" in states else [one for one in self.later if one.dag_id == dag_id]

    def run(self, dag_id, run_id):
        return Run(dag_id, run_id, "受理", "failed", BEGAN, self.months.get(run_id, ""), None, "wang")

    def error(self, _task):
        return self.said

    def doc(self, dag_id):
        return ast.get_docstring(ast.parse((DAGS / f"{dag_id}.py").read_text(encoding="utf-8")))

    def title(self, _dag_id, _task_id):
        return "发送"

    def task(self, dag_id, run_id, task_id, index):
        [found] = [
            one
            for one in self.failed
            if (one.dag_id, one.run_id, one.task_id, one.index) == (dag_id, run_id, task_id, index)
        ]
        return found

    def run_again(self, task):
        self.cleared.append(task)

    def start(self, dag_id, conf):
        self.started.append((dag_id, conf))
        return "r9"


def form(task):
    return {"dag": task.dag_id, "run": task.run_id, "task": task.task_id, "index": task.index}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("AccessRefused", ("拒绝登录", "运维人员", "先处理再重跑")),
        ("TransferError", ("连接中断", "多半不必处理")),
        ("ConfigurationError", ("设置、参照表", "管理员", "先处理再重跑")),
        ("Conflict", ("须由人决定", "经办人", "先处理再重跑")),
        ("DigestMismatch", ("摘要不符", "查明之前不要重跑")),
        ("KeyError", ("没有料到", "技术人员")),
        ("", ("没有留下原因", "重跑即可")),
    ],
)
def test_every_kind_of_error_says_what_broke_and_whose_turn_it_is(settings, registry, error, told):
    airflow = Airflow(CITY, error=(error, "账号 370300，证件 11010519491231002X <b>"))
    page = sit_down(settings, registry, airflow=airflow).get("/failures")
    text = words(page)
    assert "淄博市：收取、检查、答复" in text
    assert "已收取的文件不会再收一次" in text
    assert "只重跑淄博市" in text
    assert all(word in text for word in told), text
    assert "11010519491231002X" not in page.text, "whatever an error says"
    assert "<b>" not in page.text


def test_a_package_says_what_would_be_sent_again(settings, registry, actor):
    month = SmallMonth(settings, registry)
    month.submit([Person(1)])
    batch = freeze(registry, Month(2020, 5), actor)
    [package] = assemble(settings, registry, batch.id, "034", actor)
    approve(registry, batch.id, "王", actor)
    web = sit_down(settings, registry, airflow=Airflow(replace(SEND, label=str(package)), months={"r2": "202005"}))
    assert "重跑会上传它；先看上级那边是否已有" in words(web.get("/failures"))
    month.send(package)
    text = words(web.get("/failures"))
    assert "不会再发一次" in text
    assert "202005：发送" in text


def test_one_button_runs_this_one_again_and_nothing_else(settings, registry):
    airflow = Airflow(CITY, SEND)
    answer = sit_down(settings, registry, airflow=airflow).post(
        "/failures/again", data=form(CITY), follow_redirects=False
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs/submission_intake/r1")
    assert airflow.cleared == [CITY]


@pytest.mark.parametrize("name", ["viewer", "approver", "auditor", "jinan"])
def test_nobody_but_an_operator_runs_anything_again(settings, registry, name):
    airflow = Airflow(CITY)
    assert sit_down(settings, registry, name, airflow).post("/failures/again", data=form(CITY)).status_code == 403
    assert airflow.cleared == []


def test_what_no_longer_is_a_failure_is_left_alone(settings, registry):
    airflow = Airflow(replace(CITY, state="running"))
    answer = sit_down(settings, registry, airflow=airflow).post("/failures/again", data=form(CITY))
    assert (answer.status_code, airflow.cleared) == (400, [])


@pytest.mark.parametrize(
    ("later", "month", "open_ones"),
    [
        ([], "", 1),
        ([replace(CITY, run_id="r5", state="success")], "", 0),
        ([replace(CITY, run_id="r5", label="370200", state="success")], "", 1),
        ([replace(CITY, run_id="r5", state="success")], "202006", 1),
    ],
    ids=["nothing since", "the same city since", "another city since", "the same for another month"],
)
def test_what_a_later_run_made_good_is_no_card(settings, registry, later, month, open_ones):
    airflow = Airflow(CITY, later=later, months={"r5": month})
    assert sit_down(settings, registry, airflow=airflow).get("/failures").text.count("<article") == open_ones


def test_the_board_counts_what_failed_and_orders_what_is_due(settings, registry):
    month = SmallMonth(settings, registry)
    month.submit([Person(1), Person(2, state="HELD")])
    airflow = Airflow(CITY)
    web = sit_down(settings, registry, airflow=airflow)
    text = words(web.get("/?month=202005"))
    for told in ("1 个任务失败", "1 行待人工核实", "15 个地市未报", "1 行已受理，还不在任何一批里", "冻结并组包"):
        assert told in text
    assert (
        web.post("/months/202005/prepare", follow_redirects=False).headers["location"] == "/runs/month_end_prepare/r9"
    )
    web.post("/cities/370100/intake", follow_redirects=False)
    assert airflow.started == [("month_end_prepare", {"month": "202005"}), ("submission_intake", {"city": "370100"})]
    assert web.post("/cities/999999/intake").status_code == 404
    assert web.post("/months/202013/prepare").status_code == 404
    assert sit_down(settings, registry, "approver", airflow).post("/months/202005/prepare").status_code == 403


def test_a_run_is_shown_to_its_end(settings, registry):
    text = words(sit_down(settings, registry, airflow=Airflow(CITY)).get("/runs/submission_intake/r1"))
    assert "✗ 失败" in text
    assert "收取、检查、答复 ✗ 失败 370300 1" in text
    assert "看失败原因" in text


def test_a_card_leads_to_its_section_of_the_run_book(settings, registry):
    web = sit_down(settings, registry, airflow=Airflow(CITY, error=("AccessRefused", "密钥")))
    [section] = re.findall(r'href="/runbook#([^"]+)"', web.get("/failures").text)
    page = web.get("/runbook")
    assert f'<a id="{section}"></a>' in page.text
    assert section == "host-key"
    assert "<h1>运维手册</h1>" in page.text
    assert set(re.findall(r'href="#([^"]+)"', page.text)) - {"main"} <= set(re.findall(r'id="([^"]+)"', page.text))
    assert sit_down(settings, registry, "jinan").get("/runbook").status_code == 403


def test_without_airflow_the_pages_say_so(settings, registry):
    web = sit_down(settings, registry)
    assert "没有连上 Airflow" in words(web.get("/failures"))
    assert "没有连上 Airflow" in words(web.get("/runs/submission_intake/r1"))
    assert web.post("/failures/again", data=form(CITY)).status_code == 400

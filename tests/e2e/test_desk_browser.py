"""The desk in a real Chromium, mounted into the real Airflow: what an operator does there, click by click."""

import os
import signal
import socket
import time
from urllib.parse import quote, urlencode

import pytest
from browser import needs_browser, operator_at
from real_airflow import NUMBER, PERSON, ROW, STEM, Api, drop, zipped
from returned import HEADER
from sqlalchemy import text

from certflow import stack
from certflow.demo.servers import addresses
from certflow.excel import write_xls
from certflow.findings import FIELDS
from certflow.identity import check_digit
from certflow.reference import load_reference
from certflow.registry import open_registry
from certflow.registry.certificates import load
from certflow.registry.doctor import examine
from certflow.registry.ledger import Actor
from certflow.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.long, needs_browser]
REGISTRY = (
    "ZSGLH,KSXM,ZJHM,ZJLB,XB,KSDM,KSMC,BKJB,BKZY,CSNY,PZRQ,BMS\n"
    f"{ROW[0]},{PERSON},{NUMBER},居民身份证,女,034,一级建造师,,建筑工程,194912,20180916,济南市\n"
    f"2018034370000002,<b>乙,{NUMBER},居民身份证,女,034,一级建造师,,建筑工程,194912,20180916,青岛市\n"
)
HELD = ["2018034370000002", "<b>乙", NUMBER, "居民身份证", "男", "", "建筑工程", "194912", "20180916", "", "青岛市"]
"""The sex is not the number's: a person decides."""
LATE_NUMBER = "37010219900101001" + check_digit("37010219900101001")
LATE = [
    "2018034370000003",
    "测试丙",
    LATE_NUMBER,
    "居民身份证",
    "男",
    "",
    "建筑工程",
    "199001",
    "20180916",
    "",
    "烟台市",
]
"""Comes after the month was frozen."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CERTFLOW_HOME", str(tmp_path_factory.mktemp("desk") / "home"))
        environment.setenv("CERTFLOW_LOOK_SECONDS", "0.3")
        environment.setenv("CERTFLOW_INTAKE_MINUTES", "59")
        environment.setenv("CERTFLOW_APPROVAL", "always")
        yield Settings.load()


@pytest.fixture(scope="module")
def pages(settings):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        yield stack.up(settings, port=port)
    finally:
        stack.down(settings)


@pytest.fixture(scope="module")
def registry(settings, pages, tmp_path_factory):
    """A ledger with three certificates in its database."""
    with open_registry(settings) as opened:
        export = tmp_path_factory.mktemp("export") / "registry.csv"
        late = f"{LATE[0]},{LATE[1]},{LATE[2]},居民身份证,男,034,一级建造师,,建筑工程,199001,20180916,烟台市\n"
        export.write_text(REGISTRY + late, encoding="utf-8")
        assert load(opened, Actor("test"), export).inserted == 3
        yield opened


@pytest.fixture
def operator(pages):
    with operator_at(pages) as somebody:
        yield somebody


def file_of(city, *rows):
    stem = STEM.replace("济南市", city).replace("(1人)", f"({len(rows)}人)")
    return f"{stem}.zip", zipped(f"{stem}.XLS", write_xls(FIELDS, [list(row) for row in rows]))


def states(registry):
    query = "SELECT management_no, state FROM rows ORDER BY id"
    with registry.read() as conn:
        return dict(conn.execute(text(query)).tuples().all())


def sent(registry):
    with registry.read() as conn:
        return conn.scalar(text("SELECT count(*) FROM transfers WHERE event = 'sent'"))


def cities_report(settings, tmp_path):
    """Everybody reports; the zip of 济南 is broken, one row of 青岛 needs a person."""
    for account, city in load_reference(settings).cities.items():
        if account == "370100":
            name, content = file_of("济南市", ROW)[0], zipped("../../evil.XLS", b"climbs out")
        elif account == "370200":
            name, content = file_of("青岛市", HELD)
        else:
            name, content = f"202005-零报({city.name}).txt", b""
        drop(settings, account, name, content, tmp_path)


def test_a_first_time_operator_brings_a_broken_month_up_in_twelve_clicks(settings, pages, registry, operator, tmp_path):
    api = Api(pages)
    api("PATCH", "/api/v2/dags/month_end_prepare", {"is_paused": False})
    cities_report(settings, tmp_path)
    api.run("submission_intake", {})

    operator.open("/?month=202005")
    operator.sees("济南市 整份退回，还没有重报")
    operator.clicks = 0
    operator.follow("济南市")
    operator.sees("整份退回")
    drop(settings, "370100", *file_of("济南市", ROW), tmp_path)  # 济南 was told why, and sends a sound zip
    operator.press("现在收取该市的文件")
    operator.ends("✓ 完成")
    operator.follow("回到月度总览")
    operator.sees("1 行待人工核实")
    operator.follow("去核实")
    operator.follow("370200-202005-034-000001")
    assert operator.page.locator("main b").count() == 0, "a name is text, whatever is in it"
    operator.page.get_by_label("理由").fill("与登记表一致")
    operator.page.get_by_role("radio", name="接收").check()
    operator.clicks += 1
    operator.press("确定，看下一项")
    operator.follow("月度总览")
    operator.press("冻结并组包")
    operator.ends("✓ 完成")
    operator.follow("看这一批数据包")
    operator.sees("设置要求每批数据均须人工批准")
    operator.press("批准上报")
    operator.sees("已由 operator 批准")
    deadline = time.monotonic() + 300
    while not operator.page.locator(".tag", has_text="已送达").count() and time.monotonic() < deadline:
        time.sleep(2)
        operator.page.reload()
    assert operator.clicks <= 12, operator.clicks
    assert states(registry) == {ROW[0]: "SENT", HELD[0]: "SENT"}
    assert sent(registry) == 1

    a_question_that_waits_is_answered(settings, operator, api, registry, tmp_path)
    one_city_is_run_again(settings, operator, api, registry)
    a_return_is_applied_and_taken_back(operator, registry, tmp_path)
    a_certificate_tells_its_story(operator)
    assert {name: lines for name, lines in examine(registry, settings).items() if lines} == {}


def a_question_that_waits_is_answered(settings, operator, api, registry, tmp_path):
    """A late row, a supplementary batch, and a sending that has asked Airflow's question before anybody looked."""
    drop(settings, "370600", *file_of("烟台市", LATE), tmp_path)
    operator.open("/cities/370600/202005")
    operator.press("现在收取该市的文件")
    operator.ends("✓ 完成")
    operator.follow("回到月度总览")
    operator.press("组补报批次")
    operator.ends("✓ 完成")
    runs = "/api/v2/dags/month_end_send/dagRuns?order_by=-run_after"
    found = api.wait(runs, lambda answer: [one["conf"].get("batch") for one in answer["dag_runs"]].count(1))
    [run_id] = [one["dag_run_id"] for one in found["dag_runs"] if one["conf"].get("batch") == 1]
    assert not api.question(f"/api/v2/dags/month_end_send/dagRuns/{quote(run_id)}")["response_received"]
    operator.follow("看这一批数据包")
    operator.press("批准上报")
    operator.sees("已由 operator 批准")
    run, _ = api.end("month_end_send", run_id)
    assert run["state"] == "success"
    assert [one["conf"].get("batch") for one in api("GET", runs)["dag_runs"]].count(1) == 1
    assert states(registry)[LATE[0]] == "SENT"
    assert sent(registry) == 2


def one_city_is_run_again(settings, operator, api, registry):
    """The cities' server hangs while 淄博 is taken in, its task is given up; later this city alone runs again."""
    server = addresses(settings.home)[0].pid
    os.kill(server, signal.SIGSTOP)
    try:
        operator.open("/cities/370300/202005")
        operator.press("现在收取该市的文件")
        path = f"/api/v2/dags/submission_intake/dagRuns/{operator.page.url.rpartition('/')[2]}/taskInstances"
        api.wait(path, lambda answer: ("take_in", "running") in {
            (task["task_id"], task["state"]) for task in answer["task_instances"]
        })  # fmt: skip
        api("PATCH", f"{path}/take_in/0", {"new_state": "failed"})
        operator.ends("✗ 失败")
    finally:
        os.kill(server, signal.SIGCONT)
    operator.follow("看失败原因")
    operator.sees("淄博市：收取、检查、答复")
    operator.sees("已收取的文件不会再收一次")
    before = states(registry)
    operator.press("只重跑淄博市")
    operator.ends("✓ 完成")
    assert states(registry) == before
    operator.open("/failures")
    operator.sees("没有未了结的失败", 10_000)


def a_return_is_applied_and_taken_back(operator, registry, tmp_path):
    """The authority's file: seen before anything changes, applied, and taken back with a reason."""
    file = tmp_path / "返回.csv"
    line = f"{ROW[0]},{PERSON},{NUMBER},SD0001,已印制,,20200801"
    file.write_text(f"{HEADER}\r\n{line}\r\n", encoding="utf-8-sig", newline="")
    operator.open("/returns")
    operator.page.set_input_files("input[type=file]", file)
    operator.press("预览")
    operator.sees("没有作任何更改", 60_000)
    assert states(registry)[ROW[0]] == "SENT"
    operator.press("入账")
    operator.sees("撤销这次入账", 60_000)
    assert states(registry)[ROW[0]] == "PRINTED"
    operator.page.get_by_text("撤销这次入账").click()
    operator.page.get_by_label("理由").fill("上级发错了文件")
    operator.press("撤销入账")
    operator.ends("已撤销")
    assert states(registry)[ROW[0]] == "SENT"


def a_certificate_tells_its_story(operator):
    """By its number; masked until somebody says why they have to see it."""
    operator.open(f"/trace?{urlencode({'number': ROW[0]})}")
    operator.sees("申请 370100-202005-034-000001", 10_000)
    assert NUMBER not in operator.page.content()
    operator.page.get_by_text("显示完整的姓名和证件号码").click()
    operator.page.get_by_label("理由").fill("本人来电核对")
    operator.press("显示")
    operator.sees(NUMBER, 10_000)

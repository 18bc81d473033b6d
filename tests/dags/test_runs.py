"""DAGs run to their end by `dag.test()` on an embedded PostgreSQL and embedded SFTP servers."""

import datetime as dt
import errno
import json
import os
from dataclasses import replace

import asyncssh
import pytest
from openpyxl import load_workbook

from certflow.airflow_home import DagRunner, airflow_folder
from certflow.demo.servers import AuthoritySftp, CitySftp
from certflow.excel import Page, read_table, write_xlsx
from certflow.registry import anchors, open_registry, server
from certflow.registry.certificates import stats
from certflow.registry.reprints import every
from certflow.settings import Settings

pytestmark = pytest.mark.slow

HEADER = "ZSGLH,KSXM,ZJHM,ZJLB,XB,KSDM,KSMC,BKJB,BKZY,CSNY,PZRQ,BMS\n"
PERSON = "测试甲"
NUMBER = "11010519491231002X"
LINE = f"2016034370000001,{PERSON},{NUMBER},居民身份证,女,034,一级建造师,,建筑工程,194912,20160918,济南市\n"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return Settings(home=tmp_path_factory.mktemp("runs"), look_seconds=0.1)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """The folder outside the home where heads of the audit chain go."""
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def runner(settings, elsewhere):
    """The runner with both SFTP servers up, as in the demo."""
    folder = settings.path("sftp")
    with (
        server.hold(settings),
        CitySftp(folder / "city", ["370100"]) as city,
        AuthoritySftp(folder / "authority") as authority,
        pytest.MonkeyPatch.context() as patch,
    ):
        variables = {
            "CERTFLOW_LOOK_SECONDS": "0.1",
            "CERTFLOW_AUDIT_EXPORT": str(elsewhere),
            **city.address.environment("CERTFLOW_CITY_SFTP"),
            **authority.address.environment("CERTFLOW_AUTHORITY_SFTP"),
        }
        for name, value in variables.items():
            patch.setenv(name, value)
        with DagRunner(settings) as running:
            yield running


def load(settings, runner, name, text):
    folder = settings.path("load")
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return runner.run("registry_load", {"file": name})


def test_a_registry_file_is_loaded_and_loaded_again_without_change(settings, runner):
    for _ in range(2):
        finished = load(settings, runner, "registry.csv", HEADER + LINE)
        assert finished.ok, settings.path("airflow", "run-dags.log").read_text(encoding="utf-8")[-4000:]
        assert finished.tasks == {"load": "success", "confirm": "success"}
    registry = open_registry(settings)
    try:
        assert stats(registry)["certificates"] == 1
    finally:
        registry.close()


def test_refused_and_odd_lines_are_listed_and_refused_ones_fail_the_run(settings, runner):
    odd = LINE.replace("济南市", "火星市")
    finished = load(settings, runner, "bad.csv", HEADER + LINE.replace(NUMBER, "") + odd)
    assert finished.state == "failed"
    assert finished.tasks["confirm"] == "failed"
    paper, book = sorted((settings.reports / "registry").iterdir())[-2:]
    assert (paper.suffix, book.suffix) == (".pdf", ".xlsx")
    lines = [line for sheet in load_workbook(book) for line in sheet.iter_rows(values_only=True)]
    assert ("2", "缺少 ZJHM") in {line[:2] for line in lines}
    assert ("REG-CITY", "3") in {(line[0], line[-1]) for line in lines}


def test_a_file_outside_the_load_folder_is_not_taken(runner):
    assert runner.run("registry_load", {"file": "../keys/airflow-login.json"}).state == "failed"


def test_a_month_end_without_a_month_moves_nothing(runner):
    finished = runner.run("month_end_prepare", {})
    assert finished.state == "failed"
    assert finished.tasks["cities"] == "failed"
    assert finished.tasks["freeze"] == "upstream_failed"


def test_sending_before_the_month_is_frozen_fails_at_the_gate(runner):
    finished = runner.run("month_end_send", {"month": "202005", "batch": 0})
    assert finished.state == "failed"
    assert finished.tasks["gate"] == "failed"


def test_returns_are_polled_and_nothing_is_nothing(runner):
    finished = runner.run("reprint_reconciliation")
    assert finished.ok
    assert finished.tasks["fetch"] == finished.tasks["report"] == "success"


def test_r08_a_file_that_may_not_be_read_fails_the_run_after_the_others_are_settled(settings, runner, monkeypatch):
    (folder,) = settings.path("sftp").glob("authority/**/返回")
    opened = asyncssh.SFTPServer.open

    def open_(server, path, *options):
        if path.endswith(b"/a.csv"):
            raise PermissionError(errno.EACCES, "")
        return opened(server, path, *options)

    monkeypatch.setattr(asyncssh.SFTPServer, "open", open_)
    for name in ("a.csv", "b.csv"):
        (folder / name).write_bytes(b"1")
    finished = runner.run("reprint_reconciliation")
    assert (finished.state, finished.tasks["fetch"], finished.tasks["pending"]) == ("failed", "failed", "success")
    registry = open_registry(settings)
    try:
        with registry.read() as conn:
            assert [(one.name, one.state) for one in every(conn)] == [("b.csv", "RETURNED")]
    finally:
        registry.close()


def test_a_city_gets_its_answer_to_a_request_for_proofs(settings, runner):
    """The person has no reissue under way: the answer in the city's folder says so."""
    assert load(settings, runner, "registry.csv", HEADER + LINE).ok
    (inbox,) = settings.path("sftp").glob("city/**/370100/证明")
    request = inbox / "202005-成绩合格证明(济南市).xlsx"
    write_xlsx(request, [Page("1", [("管理号", "用途"), (LINE.split(",", 1)[0], "投标")], (20, 20))])
    finished = runner.run("proofs", {"city": "370100"})
    assert finished.ok, settings.path("airflow", "run-dags.log").read_text(encoding="utf-8")[-4000:]
    (answer,) = (inbox.parent / "回执").glob("*结果.xlsx")
    assert "没有正在办理的补换申请" in str(list(read_table(answer)))
    assert not request.exists()


def test_a_citys_day_of_delivery_runs_twice_and_a_list_it_cannot_use_is_a_persons_matter(settings, runner):
    for _ in range(2):
        finished = runner.run("delivery", {"city": "370100"})
        assert finished.ok, settings.path("airflow", "run-dags.log").read_text(encoding="utf-8")[-4000:]
    drop = settings.path("delivery", "370100", "收件名单")
    (drop / "名单.csv").write_text("管理号,领取方式\n2999,无人机\n", encoding="utf-8")
    os.utime(drop / "名单.csv", (1, 1))
    finished = runner.run("delivery", {"city": "370100"})
    assert (finished.state, finished.tasks["settle"]) == ("failed", "success")
    assert [path.name for path in drop.iterdir()] == ["名单.csv"]
    (drop / "名单.csv").unlink()


def test_an_unknown_dag_is_answered(runner):
    assert runner.run("no_such_dag").state == "unknown"


def test_i10_logs_carry_no_personal_data(settings, runner):
    runner.run("registry_load", {"file": f"{NUMBER}.jpg"})
    written = [path for path in airflow_folder(settings).rglob("*.log") if path.is_file()]
    assert written
    for path in written:
        text = path.read_text(encoding="utf-8", errors="replace")
        assert NUMBER not in text, path
        assert PERSON not in text, path
        assert NUMBER[:17] not in json.dumps(text, ensure_ascii=True), path


def test_the_reports_of_a_month_are_written_and_written_again(settings, runner):
    for _ in range(2):
        finished = runner.run("quality_report", {"month": "202005"})
        assert finished.ok, settings.path("airflow", "run-dags.log").read_text(encoding="utf-8")[-4000:]
    assert {path.suffix for path in (settings.reports / "202005").glob("*-月报.*")} == {".xlsx", ".pdf", ".html"}
    assert (settings.reports / "scores" / "202005" / "202005-全省排名.pdf").is_file()


def test_the_head_of_the_chain_goes_out_and_what_is_due_is_purged(settings, runner, elsewhere):
    old = settings.path("work", "take-370100-left")
    old.parent.mkdir(exist_ok=True)
    old.write_bytes(b"left by a killed process")
    os.utime(old, (1, 1))
    for name in ("retention_purge", "quality_report"):
        finished = runner.run(name)
        assert finished.ok, settings.path("airflow", "run-dags.log").read_text(encoding="utf-8")[-4000:]
    assert not old.exists()
    heads = list(elsewhere.glob("audit-head-*.json"))
    assert heads
    with open_registry(replace(settings, audit_export=elsewhere)) as registry, registry.read() as conn:
        assert anchors.problems(conn, replace(settings, audit_export=elsewhere), dt.datetime.now(dt.UTC)) == []

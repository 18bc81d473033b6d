"""Every command of the run book, run in the order in which it stands there, in the middle of a month."""

import io
import re
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from small_month import Person, SmallMonth

from certflow.cli import main
from certflow.demo.servers import AuthoritySftp, CitySftp
from certflow.month import SHANGHAI
from certflow.registry import appeals as ledger
from certflow.reports import appeals

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.zh-CN.md"
ELSEWHERE = {"certflow up", "certflow down"}
"""The real Airflow: `tests/e2e/test_real_scheduler.py`."""
HERE = {
    "370100-202005-034-000012": "370100-202005-034-v1-000004",
    "370100-202005-034-000013": "370100-202005-034-v1-000005",
    "20100103437000001": "201001034370000001", "2020-06-10": "2099-06-10", "2020-12-31": "2099-12-31",
}  # fmt: skip
"""What the examples stand for in this month."""
REFUSED = {
    "certflow holds decide F000012": "F000012 不在待确认的数据中",
    "certflow holds photo": "照片没有不同，无须选定",
    "certflow check 该市的文件.zip": "FILE-TYPE 文件不是 zip 数据包（网页（HTML））",
    "certflow month send": "还没有冻结：请先运行 certflow month prepare 202005",
    "certflow month resolve 12": "数据包 12 不在待核实（UNKNOWN）状态",
    "certflow month reject": "有 1 个数据包已批准或已发送，不能退回",
    "certflow month reopen": "请先退回再重新开放",
    "certflow returns again 7": "没有编号为 7 的返回文件",
    "certflow returns undo 7": "没有编号为 7 的返回文件",
    "certflow returns dismiss 7": "没有编号为 7 的返回文件",
    "certflow registry restored --by": "数据库没有恢复过备份",
    "certflow appeal decide 3": "没有编号为 3 的申诉",
    "certflow vault status": "明文",
    "certflow person erase": "还有 1 项没有办结，办结之后才能删除",
}
"""What this month gives no reason for, and what the program then says; everything else is done."""


CORRECTION = """ZSGLH,KSXM,ZJHM,ZJLB,XB,KSDM,KSMC,BKJB,BKZY,CSNY,PZRQ,BMS
201001034370000001,张三,110105199001010011,居民身份证,男,034,一级建造师,一级,建筑工程,199001,20100101,济南市
"""


def commands():
    text = RUNBOOK.read_text(encoding="utf-8")
    fenced = [line for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    spoken = re.findall(r"`(certflow [^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [line for line in dict.fromkeys([*fenced, *spoken]) if line.startswith("certflow ")]


@pytest.fixture
def run(settings, registry, actor, tmp_path, monkeypatch, capsys):
    """A function that runs one line as a person would: its exit code, and all it says."""
    month = SmallMonth(settings, registry, actor=actor)
    month.submit([Person(1), Person(2), Person(3), Person(4, state="HELD"), Person(5, state="HELD")])
    (tmp_path / "更正.csv").write_text(CORRECTION, encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "该市的文件.zip").write_bytes(b"<html>")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CERTFLOW_HOME", str(settings.home))
    monkeypatch.setenv("CERTFLOW_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("CERTFLOW_AUDIT_EXPORT", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("CERTFLOW_VAULT_KEY", "00112233445566778899aabbccddeeff" * 2)
    monkeypatch.setenv("CERTFLOW_LOOK_SECONDS", "0")

    def call(line):
        for example, ours in HERE.items():
            line = line.replace(example, ours)
        monkeypatch.setattr(sys, "argv", shlex.split(line))
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{Person(1).identity}\n"))
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out + said.err

    with ExitStack() as servers:
        for variable, server in (
            ("CERTFLOW_CITY_SFTP", CitySftp(tmp_path / "cities", ["370100"])),
            ("CERTFLOW_AUTHORITY_SFTP", AuthoritySftp(tmp_path / "authority")),
        ):
            for name, value in servers.enter_context(server).address.environment(variable).items():
                monkeypatch.setenv(name, value)
        yield call


def test_states_and_moments_are_told_in_the_words_and_the_time_of_the_office(run, settings, registry, actor):
    for line in ("month prepare 202005", "month approve 202005 --by 王"):
        assert run(f"certflow {line}")[0] == 0
    code, told = run("certflow month status 202005")
    assert (code, set(re.findall("[A-Z]{4,}", told))) == (0, set())
    assert "待核实 2、已组包 3" in told
    assert "已批准" in told
    appeals.close(settings, registry, "202005", by="王", actor=actor)
    with registry.read() as conn:
        at = ledger.kept(conn, "202005")[0].at.astimezone(SHANGHAI)
    assert f"{at:%Y-%m-%d %H:%M}" in run("certflow report versions 202005")[1]


def test_every_command_of_the_run_book_does_what_it_says_or_tells_why_not(run):
    lines = [line for line in commands() if line not in ELSEWHERE]
    assert len(lines) > 50
    for line in lines:
        code, said = run(line)
        reason = next((text for start, text in REFUSED.items() if line.startswith(start)), None)
        assert (code, "") == (0, "") if reason is None else (code == 1 and reason in said), (line, code, said)

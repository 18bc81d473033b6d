"""The command line as programs and people meet it: exit codes, JSON, clear lines, never a traceback."""

import json
import os
import subprocess
import sys

import pytest

SAMPLE = "202005-034-一级建造师(证书补换印制信息)数据(济南市)(100人)"
ID = "11010519491231002X"
COMMANDS = [
    ["check"],
    ["rules"],
    ["trace"],
    ["doctor"],
    ["intake"],
    ["demo", "run"],
    ["demo", "generate"],
    ["bench", "checks"],
    ["bench", "speed"],
    ["up"],
    ["down"],
    ["name", "parse"],
    ["name", "build"],
    ["registry", "load"],
    ["registry", "stats"],
    ["reference", "load"],
    ["month", "status"],
    ["month", "prepare"],
    ["month", "approve"],
    ["month", "reject"],
    ["month", "send"],
    ["month", "resolve"],
    ["returns", "fetch"],
    ["returns", "apply"],
    ["returns", "missing"],
    ["proofs", "run"],
    ["proofs", "issue"],
    ["proofs", "list"],
    ["proofs", "show"],
    ["proofs", "revoke"],
    ["proofs", "template"],
    ["verify", "code"],
    ["verify", "serve"],
    ["verify", "log"],
    ["verify", "operator", "add"],
    ["accept", "form"],
    ["accept", "photo"],
    ["accept", "open"],
    ["accept", "item"],
    ["accept", "checklist"],
    ["old", "load"],
    ["old", "tick"],
    ["old", "next"],
    ["old", "list"],
    ["delivery", "choose"],
    ["delivery", "track"],
    ["delivery", "run"],
    ["delivery", "status"],
    ["delivery", "move"],
    ["delivery", "keeping"],
    ["delivery", "exchange"],
    ["delivery", "profile"],
    ["delivery", "evidence", "import"],
    ["delivery", "evidence", "link"],
    ["delivery", "evidence", "status"],
    ["delivery", "evidence", "show"],
    ["evidence", "export"],
    ["evidence", "verifier"],
]


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Run a command in this process, with a home of its own."""
    from typer.testing import CliRunner

    from certflow.cli import app

    monkeypatch.chdir(tmp_path)
    environment = {"CERTFLOW_HOME": str(tmp_path / "home"), "COLUMNS": "200"}
    return lambda *words: CliRunner().invoke(app, words, env=environment)


@pytest.fixture
def certflow(tmp_path):
    """Run the program in a process of its own, with a home of its own."""

    def run(*words, program="from certflow.cli import main; main()", level="INFO", **environment):
        settings = {"CERTFLOW_HOME": str(tmp_path / "home"), "CERTFLOW_LOG_LEVEL": level, "COLUMNS": "200"}
        return subprocess.run(
            [sys.executable, "-c", program, *words],
            env=os.environ | settings | environment,
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )

    return run


def test_every_command_teaches_in_its_help():
    from typer.main import get_command
    from typer.testing import CliRunner

    from certflow.cli import app

    assert get_command(app) is not None
    for words in [[], *COMMANDS]:
        shown = CliRunner().invoke(app, [*words, "--help"])
        assert shown.exit_code == 0, words
        assert any("\u4e00" <= sign <= "\u9fff" for sign in shown.output), words


def test_a_name_is_parsed_to_json(ask):
    done = ask("name", "parse", "--json", SAMPLE.replace("(", "（") + ".XLS")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert (found["month"], found["exam_code"], found["city"], found["count"]) == ("202005", "034", "济南市", 100)
    assert found["stem"] == SAMPLE
    assert found["notes"] == ["brackets"]


def test_a_nil_report_is_named_as_one(ask):
    found = json.loads(ask("name", "parse", "--json", "202005-零报(济南市).txt").stdout)
    assert (found["kind"], found["month"], found["city"]) == ("nil", "202005", "济南市")


def test_n06_a_name_that_says_nothing_ends_with_one(ask):
    done = ask("name", "parse", SAMPLE.replace("202005", "202013"))
    assert done.exit_code == 1
    assert "申报年月" in done.stderr
    assert json.loads(ask("name", "parse", "--json", "数据.xls").stdout)["fault"] == "NAME-FORM"


def test_a_name_is_built_in_half_width(ask):
    done = ask("name", "build", "202005", "913", "注册咨询工程师（投资）", "济南市", "7")
    assert done.stdout == "202005-913-注册咨询工程师(投资)(证书补换印制信息)数据(济南市)(7人)\n"


@pytest.mark.parametrize(
    "words",
    [
        ["name", "build", "202013", "034", "一级建造师", "济南市", "1"],
        ["name", "build", "202005", "03-4", "一级建造师", "济南市", "1"],
        ["name", "build", "202005", "034", "一级/二级建造师", "济南市", "1"],
        ["month", "status", "2020-05"],
        ["check", "nowhere.zip"],
        ["check"],
        ["nonsense"],
        ["registry", "load", "nowhere.csv"],
    ],
)
def test_wrong_usage_ends_with_two(ask, words):
    done = ask(*words)
    assert done.exit_code == 2
    assert "Traceback" not in done.stderr


def test_what_measures_speed_is_asked_by_name(certflow):
    done = certflow("bench", "speed", "stages", "--", "--help")
    assert (done.returncode, "--certificates" in done.stdout) == (0, True)
    assert certflow("bench", "speed", "everything").returncode == 2


def test_a_reference_table_is_loaded_and_a_bad_line_named(certflow, tmp_path):
    header = "code,name,family,cancelled_levels,levels,first_year,last_year"
    (tmp_path / "exams.csv").write_text(f"{header}\n034,一级建造师,normal,,,,\n", "utf-8")
    done = certflow("reference", "load", "exams", "exams.csv", "--json")
    assert json.loads(done.stdout) == {"table": "exams", "version": 1}
    (tmp_path / "exams.csv").write_text(f"{header}\n034,一级建造师,normal,,,,\n035,,normal,,,,\n", "utf-8")
    done = certflow("reference", "load", "exams", "exams.csv")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "certflow：exams 表，第 3 行 name：不能为空\n"


def test_a_wrong_setting_is_one_line(certflow):
    done = certflow("rules", CERTFLOW_APPROVAL="perhaps")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "CERTFLOW_APPROVAL" in done.stderr


def test_what_the_program_writes_is_for_its_owner_alone(certflow, tmp_path):
    (tmp_path / "levels.csv").write_text("level,aliases\n一级,1级\n", "utf-8")
    assert certflow("reference", "load", "level_aliases", "levels.csv").returncode == 0
    for path in [tmp_path / "home", *(tmp_path / "home").rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize(("level", "traceback"), [("INFO", False), ("DEBUG", True)])
def test_an_unforeseen_error_is_named_by_its_type_and_masked(certflow, level, traceback):
    done = certflow(
        "x", program=f"from certflow import cli; cli.app = lambda **_: {{}}['{ID}']; cli.main()", level=level
    )
    assert done.returncode == 1
    assert "程序内部错误（KeyError）" in done.stderr
    assert ID not in done.stderr
    assert ("Traceback" in done.stderr) == traceback


def test_a_folder_that_is_not_there_is_named_and_no_fault_of_the_program(certflow):
    done = certflow("proofs", "template", "proof-score", CERTFLOW_HOME="/dev/null/home")
    assert (done.returncode, "程序内部错误" in done.stderr) == (1, False)
    told = f"raise FileNotFoundError(2, 'No such file or directory', 'nowhere/{ID}.jpg')"
    done = certflow("x", program=f"from certflow import cli\ndef app(**_): {told}\ncli.app = app\ncli.main()")
    said = "certflow：nowhere/110105********002X.jpg 不能读写：No such file or directory\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_the_doctor_calls_nothing_sound_where_there_is_nothing(certflow, tmp_path):
    done = certflow("doctor")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"没有 {tmp_path / 'home'}" in done.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "command", [("month", "approve", "202005"), ("proofs", "revoke", "1", "--reason", "错"), ("old", "next", "1",
                "--account", "370100"), ("delivery", "evidence", "link", "1", "2"), ("proofs", "hand-out", "1")],
    ids=" ".join,
)  # fmt: skip
def test_nobody_decides_without_a_name(certflow, command):
    done = certflow(*command, "--by", "  ")
    assert (done.returncode, "请写明由谁决定" in done.stderr) == (2, True)


def test_every_rule_is_listed_once(ask):
    lines = ask("rules", "--json").stdout.splitlines()
    codes = [json.loads(line)["rule"] for line in lines]
    assert len(codes) == len(set(codes))
    assert {"ID-CHECKDIGIT", "DB-NAME", "PHOTO-SIZE", "ZIP-TRAVERSAL"} <= set(codes)

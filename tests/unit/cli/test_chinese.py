"""What is wrong with a command line is told in Chinese, as everything else an operator reads."""

import re
import subprocess
import sys

import pytest
from typer.exceptions import TyperException

from certflow.cli import app, chinese


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("month approve 202005", "缺少选项 '--by'"),
        ("month approve --by 张主任", "缺少参数 'YYYYMM'"),
        ("month approve 202005 --bye 张主任", "没有选项 --bye（是否 --by）"),
        ("month approve 202005 --xyz", "没有选项 --xyz"),
        ("month approve 2020 --by 张主任", "'YYYYMM'：申报年月写成六位数字"),
        ("mont", "没有命令 'mont'"),
        ("month status 202005 202006", "多出的参数：202006"),
        ("month approve 202005 --by", "选项 '--by' 之后须写明它的值"),
        ("intake --json=yes", "选项 '--json' 没有值"),
        ("returns again abc", "须是整数"),
        ("check /nowhere", "没有这个文件：/nowhere"),
        ("bench checks /nowhere", "没有 '/nowhere'"),
    ],
)
def test_a_wrong_command_line_is_told_in_chinese_with_the_way_to_help(line, said):
    with pytest.raises(TyperException) as wrong:
        app(line.split(), standalone_mode=False)
    told = chinese.wrong_usage(wrong.value)
    assert said in told
    assert not re.search(r"\b(Invalid|Missing|value|argument|option|such)\b", told)
    assert wrong.value.exit_code == 2


def test_the_program_says_so_and_ends_with_2():
    command = [sys.executable, "-c", "from certflow.cli import main; main()", "month", "approve", "202005"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "certflow：缺少选项 '--by'。用法：-c month approve --help\n"


def test_a_number_in_the_wrong_place_is_masked():
    line = ["month", "status", "202005", "11010519491231002X"]
    command = [sys.executable, "-c", "from certflow.cli import main; main()", *line]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 2
    assert "多出的参数" in done.stderr
    assert "19491231" not in done.stderr


def test_the_help_has_chinese_titles():
    command = [sys.executable, "-c", "from certflow.cli import main; main()", "month", "approve", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert shown.returncode == 0
    assert all(f"─ {title} ─" in shown.stdout for title in ("参数", "选项"))
    assert "[必填]" in shown.stdout
    assert not re.search(r"Options|Arguments|\[required\]|\[default", shown.stdout)

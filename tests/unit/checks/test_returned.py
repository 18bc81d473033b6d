"""What the authority sent back is judged as a whole before a line of it counts."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from certflow.checks import suites
from certflow.checks.returned import return_judge
from certflow.settings import Settings


@dataclass(frozen=True)
class Line:
    row_no: int
    management_no: str
    name: str
    id_number: str
    serial: str
    printed_on: str


def lines(count: int, spoil: Callable[[Line], Line] = lambda line: line) -> list[Line]:
    made = [
        Line(n + 2, f"20100903437{n:07d}", "测试", f"37010219900101{n:03d}X", f"SD{n:08d}", "20200801")
        for n in range(count)
    ]
    return [spoil(line) for line in made]


def told(settings: Settings, returned: Sequence[Line]) -> list[str]:
    return return_judge(settings)(returned)


def test_a_sound_return_and_single_odd_lines_pass(settings: Settings) -> None:
    odd = [Line(50, "x", "1234", "王五", "SD00000001", ""), Line(51, "y", "", "", "", "")]
    assert told(settings, [*lines(30), *odd]) == []
    assert told(settings, []) == []


@pytest.mark.parametrize(
    ("spoil", "code", "word"),
    [
        (lambda line: replace(line, name=line.id_number, id_number=line.name), "RET-SHIFTED", "姓名"),
        (lambda line: replace(line, serial="SD00000001"), "RET-SERIAL-SAME", "相同"),
        (lambda line: replace(line, serial=line.management_no), "RET-SERIAL-NUMBER", "管理号"),
    ],
)
def test_a_column_of_the_wrong_kind_is_one_diagnosis(
    spoil: Callable[[Line], Line], code: str, word: str, settings: Settings
) -> None:
    (message,) = told(settings, lines(20, spoil))
    assert message.startswith(code)
    assert word in message
    assert told(settings, lines(19, spoil)) == []


def test_impossible_printing_dates_are_named_by_row_without_a_value(settings: Settings) -> None:
    returned = lines(12, lambda line: replace(line, printed_on="20990101"))
    returned[0] = replace(returned[0], printed_on="19200801")
    early, future = sorted(told(settings, returned))
    assert early.startswith("RET-DATE-EARLY 第 2 行")
    assert future.startswith("RET-DATE-FUTURE 第 3、4、5、6、7、8、9、10、11、12 等 11 行")


def test_a_steward_moves_a_limit_of_the_return_suite(settings: Settings, tmp_path: Path) -> None:
    for path in suites.folder(settings).glob("*.json"):
        text = path.read_text(encoding="utf-8")
        if path.stem == "return":
            suite = json.loads(text)
            for rule in suite["expectations"]:
                if rule["meta"]["code"] == "RET-DATE-EARLY":
                    rule["kwargs"]["min_value"] = 2021
                    rule["meta"]["message"] = "太早了。"
            text = json.dumps(suite)
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    (message,) = told(replace(settings, expectations=tmp_path), lines(1))
    assert message == "RET-DATE-EARLY 第 2 行：太早了。"

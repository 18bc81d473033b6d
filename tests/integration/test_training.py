"""The answers of docs/training.zh-CN.md, computed: the province it generates, the city it checks."""

import json
import re
import shlex
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from certflow.cli import app

pytestmark = pytest.mark.slow
TEXT = (Path(__file__).parents[2] / "docs" / "training.zh-CN.md").read_text(encoding="utf-8")
ANSWERS = dict(re.findall(r"^\| ([一二三四五六](?:\.\d)?) \| (.+) \|$", TEXT, re.MULTILINE))


@pytest.fixture(scope="module")
def province(tmp_path_factory):
    """The folder of the exercises, made by the first command of the page."""
    folder = tmp_path_factory.mktemp("training")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("CERTFLOW_HOME", str(folder / "home"))
        [line] = re.findall(r"^certflow (demo generate .+)$", TEXT, re.MULTILINE)
        assert CliRunner().invoke(app, shlex.split(line)).exit_code == 0
        yield folder / "练习"


@pytest.fixture(scope="module")
def planted(province):
    return json.loads((province / "answers.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def checked(province):
    """What the second exercise's command says of the city, as (exam, file) → submission."""
    [line] = re.findall(r"^certflow (check .+ --no-registry)$", TEXT, re.MULTILINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(province.parent)
        output = CliRunner().invoke(app, [*shlex.split(line), "--json"]).stdout
    return [json.loads(one) for one in output.splitlines()]


def at(planted, city, rule, scope="row"):
    """The planted thing of a city and a rule."""
    [label] = [
        one for one in planted["labels"] if (one["city"], one["scope"], rule in one["rules"]) == (city, scope, True)
    ]
    return label


def test_the_first_exercise_counts_what_is_there(planted, province):
    assert ANSWERS["一.1"] == f"{len(planted['accounts'])} 个市，{len(planted['files'])} 个文件。"
    assert ANSWERS["一.2"] == f"菏泽市，`{planted['nil']['file']}`。"
    [archive] = (province / "cities" / "371100").glob("*-日照市.zip")
    with zipfile.ZipFile(archive) as opened:
        photos = [name for name in opened.namelist() if "034" in name and name.lower().endswith((".jpg", ".jpeg"))]
    rows = int(ANSWERS["一.3"].split(" 行")[0])
    assert 0 < len(photos) < rows


def test_the_second_exercise_is_what_the_check_says(checked):
    [whole] = [one for one in checked if one["verdict"] == "returned"]
    assert ANSWERS["二.1"].startswith(f"`{Path(whole['file']).name}`，{whole['findings'][0]['rule']}：")
    [main] = [one for one in checked if one["exam"] == "034"]
    errors = sorted((one["row"], one["rule"]) for one in main["findings"] if one["severity"] == "error")
    counted, listed = main["rows"], "，".join(f"第 {row} 行 {rule}" for row, rule in errors)
    assert counted["total"] == int(ANSWERS["一.3"].split(" 行")[0])
    assert ANSWERS["二.2"] == f"受理 {counted['accepted']} 行，退回 {counted['returned']} 行：{listed}。"
    [proofs] = [one for one in checked if one["exam"] == "902"]
    assert proofs["rows"]["proof"] == proofs["rows"]["total"] == 5
    assert {one["rule"] for one in proofs["findings"]} - {"DB-OFF"} == {"EXAM-CANCELLED"}
    held = [one for one in checked if one["verdict"] == "held"]
    assert [one["exam"] for one in held] == ["932", "932"]
    assert all("BOOK-SECOND" in {finding["rule"] for finding in one["findings"]} for one in held)
    assert [one["rows"]["held"] for one in held] == [3, 3]
    assert "DUP-ROW" not in {finding["rule"] for one in held for finding in one["findings"]}


def test_the_third_exercise_names_what_only_the_database_knows(planted, checked):
    assert at(planted, "日照市", "DB-EXAM")["row"] == 24
    assert ANSWERS["三.1"].startswith("DB-EXAM：")
    assert at(planted, "淄博市", "DB-MISSING")["row"] == 28
    assert ANSWERS["三.2"].startswith("DB-MISSING：")
    assert at(planted, "淄博市", "DB-NAME-KEY")["outcomes"] == ["accepted"]
    assert "DB-NAME-KEY" in ANSWERS["三.3"]
    rules = {finding["rule"] for one in checked for finding in one["findings"]}
    assert {rule for rule in rules if rule.startswith("DB-")} == {"DB-OFF"}


def test_the_names_of_the_fourth_exercise_are_in_the_province(planted):
    wrong = at(planted, "淄博市", "NAME-EXAM", "file")["files"][0].removesuffix(".zip")
    assert f"'{wrong}'" in TEXT
    assert wrong.replace("-906-", "-933-") in ANSWERS["四.2"]
    assert at(planted, "济南市", "NAME-MONTH", "file")["files"][0].startswith("202013-")


@pytest.mark.parametrize("rule", ["DUP-CITY", "PERSON-GLYPH", "PHOTO-DOUBLE", "BOOK-SECOND"])
def test_what_the_fifth_exercise_asks_waits_for_a_person(planted, rule):
    held = [one for one in planted["labels"] if rule in one["rules"]]
    assert held
    assert all("held" in one["outcomes"] for one in held)
    assert f"| {rule} |" in TEXT
    assert f"{rule}：" in ANSWERS["五"]

"""The certificate database is judged when it is loaded: it warns by line, and refuses nothing it did not refuse."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from made_submissions import id_number, person, write_registry
from typer.testing import CliRunner

from certflow.checks import certificates, suites
from certflow.checks.certificates import judge_export
from certflow.cli import app
from certflow.errors import ConfigurationError
from certflow.settings import Settings

ODD = {
    "REG-NUMBER": {"ZSGLH": ""},
    "REG-NUMBER-FORM": {"ZSGLH": "1234567"},
    "REG-ID-TYPE": {"ZJLB": "学生证"},
    "REG-ID-FORM": {"ZJHM": id_number(3)[:17]},
    "REG-ID-CHECKDIGIT": {"ZJHM": id_number(4)[:17] + ("0" if id_number(4)[17] != "0" else "1")},
    "REG-ID-DATE": {"ZJHM": id_number(5, "19900230")},
    "REG-ID-SEX": {"XB": "女"},
    "REG-ID-BIRTH": {"CSNY": "199002"},
    "REG-SEX": {"XB": "M"},
    "REG-NAME-GLYPH": {"KSXM": "王□"},
    "REG-NAME-CHARS": {"KSXM": "买买提•艾力"},
    "REG-NAME-LENGTH": {"KSXM": "王" * 51},
    "REG-DATE-FORM": {"PZRQ": "22/09/2018"},
    "REG-DATE-FUTURE": {"PZRQ": "20990101"},
    "REG-EXAM": {"KSDM": "777", "KSMC": "没有的考试"},
    "REG-EXAM-NAME": {"KSMC": "注册税务师"},
    "REG-CITY": {"BMS": "火星市"},
}


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """One odd certificate per rule, two that are one, and sound ones of the kinds naive software stumbles over."""
    rows = [person(2 * serial + 1) | change for serial, change in enumerate(ODD.values())]
    twin = person(101)
    rows += [twin, twin | {"ZSGLH": "201809034379990001"}]
    rows += [
        person(201) | {"KSXM": "买买提·艾力"}, person(203) | {"KSXM": "王晓[沛]"}, person(205) | {"KSXM": "𠮷䶮"},
        person(207) | {"ZJHM": "370102900101003"}, person(209) | {"BMS": "莱芜市"}, person(211) | {"PZRQ": "201809"},
        person(213) | {"ZJHM": "H12345678", "ZJLB": "港澳居民来往内地通行证"},
    ]  # fmt: skip
    return write_registry(tmp_path / "export.csv", rows)


def test_each_rule_of_the_suite_names_its_line_and_no_sound_one(
    export: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "STEP", 20)
    found = {one.rule: one for one in judge_export(settings, export)}
    for line, code in enumerate(ODD, start=2):
        assert line in found[code].lines, code
        others = {one.rule for one in found.values() if line in one.lines} - {code}
        assert others <= {"REG-ID-SEX", "REG-ID-BIRTH"}, (code, others)
    assert found["REG-DUPLICATE"].lines == [19, 20]
    assert {line for one in found.values() for line in one.lines} == set(range(2, 21))
    assert set(found) == {rule.code for rule in suites.load(settings, (suites.REGISTRY,))}
    assert all(one.severity in ("warning", "info") for one in found.values())


def test_a_load_tells_its_warnings_and_refuses_nothing_for_them(
    export: Path, registry: object, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CERTFLOW_HOME", str(settings.home))
    monkeypatch.setenv("CERTFLOW_DATABASE_URL", settings.database_url or "")
    done = CliRunner().invoke(app, ["registry", "load", str(export), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["read"], told["inserted"], told["refused"]) == (26, 26, [])
    assert {one["rule"]: one["count"] for one in told["warnings"]}["REG-DUPLICATE"] == 2
    shown = CliRunner().invoke(app, ["registry", "load", str(export)])
    assert "REG-ID-CHECKDIGIT" in shown.stdout
    assert id_number(201) not in shown.stdout


def test_a_broken_registry_suite_is_refused_with_file_and_rule(
    export: Path, settings: Settings, tmp_path: Path
) -> None:
    for path in suites.folder(settings).glob("*.json"):
        suite = json.loads(path.read_text(encoding="utf-8"))
        if suite["name"] == "registry":
            suite["expectations"][0]["kwargs"]["column"] = "no_column"
        (tmp_path / path.name).write_text(json.dumps(suite), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"registry\.json：规则 REG-NUMBER：.*no_column"):
        judge_export(replace(settings, expectations=tmp_path), export)

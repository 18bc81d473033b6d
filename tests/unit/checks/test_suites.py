"""The rule suites as data: complete, consistent, documented, and refused with file, rule and reason when broken."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_submissions import Made, person

from certflow.checks import rulebook, suites
from certflow.checks.run import check
from certflow.errors import ConfigurationError
from certflow.reference import load_reference
from certflow.settings import Settings

ROOT = Path(__file__).parents[3]
CONTRACT = """
FILE-EMPTY FILE-TYPE FILE-DUPLICATE ZIP-DAMAGED ZIP-TRAVERSAL ZIP-SPECIAL ZIP-BOMB ZIP-OVERLAP ZIP-NESTED
ZIP-ENTRIES ZIP-ENCRYPTED ZIP-METHOD ZIP-SPLIT ZIP-EMPTY ZIP-NAMES ZIP-DUPLICATE ZIP-CASE ZIP-JUNK ZIP-ENCODING
ZIP-WRAPPER ZIP-EXECUTABLE NAME-FORM NAME-TOLERATED NAME-COUNT NAME-MONTH NAME-EXAM NAME-EXAM-UNKNOWN NAME-CITY
NAME-ACCOUNT NAME-FOLDER BOOK-MISSING BOOK-SECOND BOOK-TYPE BOOK-PASSWORD BOOK-DAMAGED BOOK-LIMIT BOOK-ACTIVE
BOOK-FORMULA BOOK-HIDDEN-SHEET BOOK-SHEETS BOOK-HEADER BOOK-HEADER-DUPLICATE BOOK-EXTRA-COLUMN BOOK-TITLE-ROW
BOOK-BLANK-ROW BOOK-TOTAL-ROW BOOK-EMPTY BOOK-FORMAT BOOK-SHIFTED CELL-TYPE CELL-DATE CELL-ERROR CELL-CHARS
CELL-BLANKS ROW-HIDDEN ROW-MERGED ROW-REQUIRED ID-TYPE ID-FORM ID-CHECKDIGIT ID-CHECKDIGIT-KNOWN ID-DATE ID-AGE
ID-AREA ID-CASE ID-15 ID-SEX ID-BIRTH SEX-VALUE DATE-FORM DATE-STYLE DATE-RANGE PERSON-GLYPH PERSON-LENGTH
PERSON-CHARS REF-LEVEL REF-SPECIALTY CITY-BMS EXAM-CANCELLED NUMBER-FORM NUMBER-PATTERN DUP-ROW DUP-DIFFERENT
DUP-CITY DUP-OPEN DUP-PERSON DB-OFF DB-MISSING DB-OTHER DB-NO-NUMBER DB-NAME DB-NAME-VARIANT DB-NAME-KEY DB-ID
DB-ID-KEY DB-LEVEL DB-LEVEL-KEY DB-SPECIALTY DB-SPECIALTY-KEY DB-DATE DB-EXAM DB-ECERT PHOTO-MISSING PHOTO-ZP
PHOTO-RENAMED PHOTO-EXTRA PHOTO-NAMELESS PHOTO-DOUBLE PHOTO-FORMAT PHOTO-DAMAGED PHOTO-PIXELS PHOTO-SIZE
PHOTO-SIZE-LARGE PHOTO-ORIENTATION PHOTO-COLOUR PHOTO-GREY PHOTO-PROGRESSIVE PHOTO-TRAILING PHOTO-PADDED
PHOTO-BACKGROUND PHOTO-BACKGROUND-DARK PHOTO-BLANK PHOTO-SAME
""".split()  # noqa: SIM905 (a list of words reads better as words)


def test_no_rule_code_that_was_ever_given_out_is_missing(settings: Settings) -> None:
    assert set(CONTRACT) <= {rule.code for rule in suites.load(settings)}


def test_every_rule_says_what_is_wrong_in_chinese_and_every_grave_one_how_to_mend_it(settings: Settings) -> None:
    for rule in suites.load(settings):
        assert any("\u4e00" <= sign <= "\u9fff" for sign in rule.message + rule.title), rule.code
        assert rule.clause, rule.code
        assert rule.remedy or rule.severity in ("warning", "info"), rule.code


def test_the_page_of_rules_is_generated_from_the_suites(settings: Settings) -> None:
    page = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    assert page == rulebook.render(suites.load(settings)), "run: python -m certflow.checks.rulebook > docs/rules.md"


def test_the_rule_about_electronic_certificates_belongs_to_the_newer_rule_set_only(settings: Settings) -> None:
    (rule,) = [one for one in suites.load(settings) if one.code == "DB-ECERT"]
    assert not rule.belongs_to("2020")
    assert rule.belongs_to("2023")
    assert not replace(rule, until="2023").belongs_to("2023")


def change(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda rule: rule["meta"].update({key: value})


def drop_texts(rule: dict[str, Any]) -> None:
    del rule["meta"]["message"]


def whole_column(rule: dict[str, Any]) -> None:
    rule.update(type="expect_column_values_to_be_of_type", kwargs={"column": "sex", "type_": "float64"})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (drop_texts, "meta.message"),
        (change("severity", "fatal"), "fatal"),
        (change("field", "NAME"), "NAME"),
        (change("message", "{no_such_thing}"), "no_such_thing"),
        (change("message", "{broken"), "花括号"),
        (change("code", "DB-OFF"), "registry_match.json"),
        (lambda rule: rule.update(type="expect_wonders"), "expect_wonders"),
        (lambda rule: rule["kwargs"].update(column="no_column"), "no_column"),
        (lambda rule: rule["kwargs"].update(valu_set=[1]), "valu_set"),
        (change("message", "{}：{sent}"), "{}"),
        (change("message", "{sent:d}"), "{sent:d}"),
        (change("message", "{sent!z}"), "{sent!z}"),
        (change("code", "性别 1"), "性别 1"),
        (change("title", " "), "meta.title"),
        (change("since", "twenty"), "twenty"),  # it would be in force under no rule set, without a word
        (change("until", 2023), "meta.until"),
        (change("until", "2020"), "meta.until"),
        (lambda rule: rule["kwargs"].update(mostly=0.5), "mostly"),  # half of the rows could be wrong unseen
        (lambda rule: rule.update(type="expect_column_mean_to_be_between"), "expect_column_mean_to_be_between"),
        (whole_column, "无法执行"),
    ],
)
def test_a_broken_suite_is_refused_with_file_rule_and_reason(
    spoil: Callable[[dict[str, Any]], None], reason: str, settings: Settings, tmp_path: Path
) -> None:
    for path in suites.folder(settings).glob("*.json"):
        suite = json.loads(path.read_text(encoding="utf-8"))
        if suite["name"] == "application":
            (rule,) = [one for one in suite["expectations"] if one["meta"]["code"] == "SEX-VALUE"]
            spoil(rule)
        (tmp_path / path.name).write_text(json.dumps(suite), encoding="utf-8")
    broken = replace(settings, expectations=tmp_path)
    file = Made(rows=[person(1)]).write(tmp_path / "in")
    with pytest.raises(ConfigurationError) as refused:
        check([file], broken, load_reference(settings), registry=None)
    for word in ("application.json" if reason != "DB-OFF" else "", "规则", reason):
        assert word in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        b"{", b"[]", b'{"name": "workbook", "expectations": 3}', b'{"name": "photo"}', b"[" * 100_000, b"\xd0\xa1",
        b'{"name": "workbook", "expectations": []}', b'{"name": "workbook", "expectations": [NaN]}',
        b'{"name": "workbook", "name": "workbook", "expectations": [1]}',
    ],
)  # fmt: skip
def test_a_suite_file_that_is_no_suite_is_refused(content: bytes, settings: Settings, tmp_path: Path) -> None:
    for path in suites.folder(settings).glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "workbook.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"workbook\.json.*规则"):
        suites.load(replace(settings, expectations=tmp_path))


def test_a_suite_saved_by_notepad_is_read(settings: Settings, tmp_path: Path) -> None:
    for path in suites.folder(settings).glob("*.json"):
        (tmp_path / path.name).write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert suites.load(replace(settings, expectations=tmp_path)) == suites.load(settings)


def test_a_missing_suite_is_refused(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"submission\.json"):
        suites.load(replace(settings, expectations=tmp_path))


def test_a_steward_moves_a_threshold_in_the_suite_alone(settings: Settings, tmp_path: Path) -> None:
    for path in suites.folder(settings).glob("*.json"):
        suite = json.loads(path.read_text(encoding="utf-8"))
        for rule in suite["expectations"]:
            if rule["meta"]["code"] == "ID-AGE":
                rule["kwargs"]["min_value"] = 40
        (tmp_path / path.name).write_text(json.dumps(suite), encoding="utf-8")
    file = Made(rows=[person(1)]).write(tmp_path / "in")
    for expectations, outcome in ((None, "accepted"), (tmp_path, "held")):
        (judged,) = check([file], replace(settings, expectations=expectations), load_reference(settings), registry=None)
        assert judged.rows[0].outcome == outcome

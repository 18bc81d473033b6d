from collections.abc import Sequence

import pytest

from certflow.demo.authority import Taken
from certflow.demo.cities import COLUMNS
from certflow.demo.grading import Found, Ledger, check_packages, grade

FILE = "202005-034-x.zip"
PLACE = {"account": "370100", "city": "济南市", "exam": "034", "files": [FILE], "entry": None}


def label(kind="性别", rules=("ID-SEX",), outcomes=("held",), scope="row", row=2, sound=False, **more):
    return PLACE | {
        "kind": kind, "rules": list(rules), "outcomes": list(outcomes), "scope": scope, "row": row, "sound": sound,
    } | more  # fmt: skip


def answers(*labels, sound: Sequence[int] = (3,)):
    rows = [{"account": "370100", "exam": "034", "files": [FILE], "outcome": "accepted", "row": row} for row in sound]
    return {"labels": list(labels), "sound": rows}


def ledger(*found: Found, rows=((2, "held"), (3, "accepted")), file=("accepted", "")):
    made = Ledger(files={("370100", FILE): file}, submissions={("370100", FILE, "034"): [1]})
    made.rows = {(1, number): outcome for number, outcome in rows}
    made.by_submission[1] = list(found)
    made.by_file["370100", FILE] = list(found)
    return made


SEX = Found("ID-SEX", "hold", 2, None)


def test_a_planted_defect_under_its_rule_and_with_its_outcome_is_found():
    result = grade(ledger(SEX), answers(label()))
    assert (result.planted, result.kinds, result.found, result.missed, result.false_alarms) == (1, 1, 1, [], [])


@pytest.mark.parametrize(
    ("found", "rows"),
    [
        ([], ((2, "accepted"), (3, "accepted"))),  # nothing noticed
        ([Found("ID-BIRTH", "hold", 2, None)], ((2, "held"), (3, "accepted"))),  # under another rule
        ([SEX], ((2, "returned"), (3, "accepted"))),  # with another outcome
        ([Found("ID-SEX", "hold", 9, None)], ((2, "held"), (3, "accepted"))),  # in another row
        ([SEX], ((3, "accepted"),)),  # the row is gone
    ],
)
def test_anything_less_is_missed(found, rows):
    result = grade(ledger(*found, rows=rows), answers(label()))
    assert result.found == 0
    assert len(result.missed) == 1
    assert "370100 034 第 2 行" in result.missed[0]


@pytest.mark.parametrize("outcome", ["held", "returned", "ignored", "proof"])
def test_a_sound_row_that_does_not_go_on_is_a_false_alarm(outcome):
    result = grade(ledger(SEX, rows=((2, "held"), (3, outcome))), answers(label()))
    assert result.false_alarms == [f"370100 034 第 3 行: ended {outcome} instead of accepted"]


@pytest.mark.parametrize("severity", ["error", "hold"])
def test_a_grave_finding_where_nothing_was_planted_is_a_false_alarm(severity):
    stray = Found("PHOTO-SAME", severity, 3, None)
    assert grade(ledger(SEX, stray), answers(label())).false_alarms
    on_file = Found("BOOK-SECOND", severity, None, None)
    assert grade(ledger(SEX, on_file), answers(label())).false_alarms


def test_a_warning_on_a_sound_row_is_none():
    light = Found("DUP-PERSON", "warning", 3, None)
    assert grade(ledger(SEX, light), answers(label())).false_alarms == []


def test_an_odd_row_needs_its_warning_and_must_go_on():
    odd = label("小写 x", ("ID-CASE",), ("accepted",), sound=True)
    rows = ((2, "accepted"), (3, "accepted"))
    met = grade(ledger(Found("ID-CASE", "warning", 2, None), rows=rows), answers(odd))
    assert (met.planted, met.missed, met.false_alarms) == (0, [], [])
    assert grade(ledger(rows=rows), answers(odd)).missed
    refused = [Found("ID-CASE", "warning", 2, None), Found("DB-ID", "error", 2, None)]
    assert grade(ledger(*refused, rows=((2, "returned"), (3, "accepted"))), answers(odd)).false_alarms


def test_a_file_must_end_as_planted_and_for_the_planted_reason():
    damaged = label("截断", ("ZIP-DAMAGED",), ("returned",), scope="file", row=None)
    fine = ledger(Found("ZIP-DAMAGED", "error", None, None), rows=(), file=("returned", "ZIP-DAMAGED"))
    assert grade(fine, answers(damaged, sound=())).found == 1
    for file, rule in ((("held", "ZIP-DAMAGED"), "ZIP-DAMAGED"), (("returned", "FILE-TYPE"), "FILE-TYPE")):
        other = ledger(Found(rule, "error", None, None), rows=(), file=file)
        assert grade(other, answers(damaged, sound=())).missed


def test_a_photo_without_a_row_is_graded_by_its_own_outcome():
    extra = label("多出", ("PHOTO-EXTRA",), ("held",), scope="photo", row=None, entry="A.jpg")
    made = ledger(Found("PHOTO-EXTRA", "hold", None, "A.jpg"), rows=((3, "accepted"),))
    made.entries["370100", FILE, "A.jpg"] = "held"
    assert grade(made, answers(extra)).found == 1
    made.entries["370100", FILE, "A.jpg"] = "accepted"
    assert grade(made, answers(extra)).missed


REGISTRY = [
    "20180603437000001", "张三", "11010519491231002X", "居民身份证", "女", "034", "一级建造师", "一级", "建筑工程",
    "194912", "20180601", "济南市", "1", "否",
]  # fmt: skip


def packed(**changes):
    values = dict(zip(COLUMNS, [*REGISTRY[:5], *REGISTRY[7:11], "", "济南市"], strict=True)) | changes
    return Taken("202005", "stem", "034", "0" * 64, (values,), {}, ())


def test_a_package_that_equals_the_registry_is_right():
    assert check_packages([packed()], [REGISTRY], answers(sound=(3,))) == []


@pytest.mark.parametrize("column", ["KSXM", "ZJHM", "BKJB", "BKZY", "PZRQ", "BMS", "CSNY", "XB", "ZJLB"])
def test_any_column_that_differs_from_the_registry_is_a_problem(column):
    (problem,) = check_packages([packed(**{column: "?"})], [REGISTRY], answers(sound=(3,)))
    assert column in problem


def test_a_row_too_few_or_too_many_is_a_problem():
    assert check_packages([], [REGISTRY], answers(sound=(3,)))
    assert check_packages([packed()], [REGISTRY], answers(sound=()))

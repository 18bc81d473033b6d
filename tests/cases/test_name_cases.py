"""Family N: what may be wrong with a submission's name, bytes in, verdict JSON out."""

import unicodedata

import pytest
from kit import Case, Desk, book, expect, judged, zipped
from made_submissions import Made, person

from certflow.checks.run import check
from certflow.reference import load_reference


def called(change, rows: int = 1, extension: str = ".XLS"):
    """A sound workbook under a changed name; what the name says is kept."""

    def make(desk: Desk) -> dict[str, bytes]:
        stem = change(desk) if callable(change) else change
        data = book(*(desk.person() for _ in range(rows)))
        return {f"{stem}.zip": zipped({f"{stem}{extension}": data})}

    return make


def swapped(old: str, new: str):
    return called(lambda desk: desk.stem().replace(old, new))


def exam(code: str, name: str):
    return called(lambda desk: desk.stem(code=code, exam=name))


def of_exam(code: str, name: str):
    """An exam without levels of its own."""

    def make(desk: Desk) -> dict[str, bytes]:
        stem = desk.stem(code=code, exam=name)
        return {f"{stem}.zip": zipped({f"{stem}.XLS": book(desk.person(BKJB="", BKZY=""))})}

    return make


def city(name: str):
    def make(desk: Desk) -> dict[str, bytes]:
        stem = desk.stem(city=name)
        return {f"{stem}.zip": zipped({f"{stem}.XLS": book(desk.person(BMS=name))})}

    return make


def month(text: str):
    return called(lambda desk: desk.stem(month=text))


def right(desk: Desk) -> str:
    """The naming doctor's answer, ready to copy."""
    return f"正确名称：{desk.stem()}"


TOLERATED, FORM = ("NAME-TOLERATED",), ("NAME-FORM",)
CASES = [
    Case("N01", "full-width brackets", called(lambda desk: desk.stem().translate({40: "（", 41: "）"})), "accepted", TOLERATED, cure=right),
    Case("N02", "mixed brackets", swapped("(1人)", "（1人)"), "accepted", TOLERATED, cure=right),
    Case("N02", "a bracket missing", swapped("(1人)", "(1人"), "held", FORM, cure=right),
    Case("N02", "a bracket too many", swapped("(1人)", "((1人)"), "held", FORM, cure=right),
    *(Case("N03", f"extension {end} with BIFF8 inside", called(Desk.stem, extension=end), "accepted")
      for end in (".xls", ".Xls", ".xlsx")),
    Case("N04", "the name counts more rows than there are", called(lambda desk: desk.stem(7)), "held", ("NAME-COUNT",),
         {"held": 1}, "7 人，表内 1 行", right),
    Case("N05", "full-width digits in the count", called(lambda desk: desk.stem("１")), "accepted", TOLERATED, cure=right),
    Case("N05", "a leading zero in the count", called(lambda desk: desk.stem("01")), "accepted", TOLERATED, cure=right),
    Case("N05", "a count without 人", swapped("(1人)", "(1)"), "held", FORM, cure=right),
    Case("N05", "about so many", swapped("(1人)", "(约1人)"), "held", FORM, cure=right),
    Case("N05", "a count of none over rows", called(lambda desk: desk.stem(0)), "held", ("NAME-COUNT",)),
    Case("N06", "an impossible month", month("202013"), "held", ("NAME-MONTH",)),
    Case("N06", "a month far ahead", month("209901"), "held", ("NAME-MONTH",)),
    Case("N06", "a year of two digits", month("2005"), "held", ("NAME-MONTH",)),
    Case("N06", "a past month", month("201812"), "accepted"),
    Case("N07", "code and exam disagree", exam("902", "一级建造师"), "held", ("NAME-EXAM",), cure=right),
    Case("N07", "neither code nor exam is known", exam("999", "无此考试"), "held", ("NAME-EXAM-UNKNOWN",)),
    Case("N08", "a lost leading zero", exam("34", "一级建造师"), "accepted", TOLERATED, cure=right),
    Case("N09", "a cancelled exam", of_exam("902", "注册税务师"), "accepted", ("EXAM-CANCELLED",), {"proof": 1}),
    Case("N09", "the cancelled exam's code under its successor's name", of_exam("902", "税务师"), "held", ("NAME-EXAM",)),
    Case("N10", "a short form of the city", city("济南"), "accepted", TOLERATED),
    Case("N10", "a city that is no more", called(lambda desk: desk.stem(city="莱芜市")), "held", ("NAME-CITY",), cure=right),
    Case("N10", "no city", city("火星市"), "held", ("NAME-CITY",)),
    *(Case("N12", f"a copy's name: {mark}", called(lambda desk, mark=mark: desk.stem() + mark), "accepted", TOLERATED)
      for mark in ("-副本", "(1)", "最终版", "-2", " ")),
    Case("N12", "words in no order", called(lambda desk: f"{desk.month[:4]}年{int(desk.month[4:])}月{desk.city}一级建造师补证名单"), "held", FORM, cure=right),
    Case("N12", "another ending", called(lambda desk: desk.stem() + "给省里的"), "held", FORM, cure=right),
    *(Case("N13", f"dash U+{ord(dash):04X}", swapped("-", dash), "accepted", TOLERATED) for dash in "－–—‐"),
    Case("N14", "decomposed characters", called(lambda desk: unicodedata.normalize("NFD", desk.stem())), "accepted"),
    Case("N14", "a compatibility character", swapped("人)", "\U0002F9F4人)"), "held", FORM),
]  # fmt: skip


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    return judged(CASES, tmp_path_factory.mktemp("name"))


@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{one.case}-{one.what}" for one in CASES])
def test_name_case(number, verdicts):
    expect(CASES[number], verdicts[number], number)


def test_n11_another_citys_name_in_an_account_is_returned_and_alarms(settings, tmp_path):
    made = Made(city="青岛市")
    made.add(person(1) | {"BMS": "青岛市"})
    (found,) = check([made.write(tmp_path, "370100")], settings, load_reference(settings), registry=None)
    answer = found.as_json(rows=True, unmasked=False)
    assert answer["verdict"] == "returned"
    assert "NAME-ACCOUNT" in [one["rule"] for one in answer["findings"]]

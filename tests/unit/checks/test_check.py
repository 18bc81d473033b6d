"""Whole files through `check`, without a database: each rule alone decides, each outcome is the right one."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import openpyxl
import pytest
from made_submissions import Made, Row, id_number, person, portrait, received

from certflow import excel, likeness
from certflow.checks import suites
from certflow.checks.judged import Judged
from certflow.checks.run import check
from certflow.findings import FIELDS, Outcome, Verdict
from certflow.reference import load_reference
from certflow.settings import Settings


def judge(settings: Settings, *files: object) -> list[Judged]:
    return check(files, settings, load_reference(settings), registry=None)


def rules(judged: Judged, row: int) -> tuple[str, ...]:
    return next(one.rules for one in judged.rows if one.row == row)


def with_value(field: str, value: str | Callable[[Row], str]) -> Callable[[Row], None]:
    def spoil(row: Row) -> None:
        row[field] = value(row) if callable(value) else value

    return spoil


def number_with(birth: str) -> Callable[[Row], None]:
    def spoil(row: Row) -> None:
        row["ZJHM"] = id_number(int(row["ZJHM"][14:17]), birth)
        row["CSNY"] = birth[:6]

    return spoil


def next_digit(row: Row) -> str:
    return row["ZJHM"][:17] + ("0" if row["ZJHM"][17] != "0" else "1")


SPOILT: dict[str, tuple[Outcome, Callable[[Row], None]]] = {
    "CELL-TYPE": (Outcome.RETURNED, with_value("ZSGLH", "2.018E+17")),  # E11
    "CELL-CHARS": (Outcome.RETURNED, with_value("ZSGLH", lambda row: row["ZSGLH"] + "\x07")),
    "ROW-REQUIRED": (Outcome.RETURNED, with_value("XB", " ")),
    "ID-TYPE": (Outcome.RETURNED, with_value("ZJLB", "学生证")),
    "ID-FORM": (Outcome.RETURNED, with_value("ZJHM", lambda row: row["ZJHM"][:17])),  # D04
    "ID-CHECKDIGIT": (Outcome.RETURNED, with_value("ZJHM", next_digit)),  # D01
    "ID-DATE": (Outcome.RETURNED, number_with("19900230")),  # D05
    "ID-AGE": (Outcome.HELD, number_with("20150101")),  # D05
    "ID-SEX": (Outcome.HELD, with_value("XB", lambda row: "女" if row["XB"] == "男" else "男")),  # D07
    "ID-BIRTH": (Outcome.HELD, with_value("CSNY", "199002")),  # D08
    "SEX-VALUE": (Outcome.RETURNED, with_value("XB", "M")),
    "DATE-FORM": (Outcome.RETURNED, with_value("PZRQ", "22/09/2018")),  # D34
    "DATE-RANGE": (Outcome.RETURNED, with_value("PZRQ", "20210101")),  # D33
    "PERSON-GLYPH": (Outcome.HELD, with_value("KSXM", "王□")),  # D18
    "PERSON-LENGTH": (Outcome.RETURNED, with_value("KSXM", "王" * 81)),  # D37
    "PERSON-CHARS": (Outcome.RETURNED, with_value("KSXM", "王\U0001f600")),  # D37
    "CELL-LENGTH": (Outcome.RETURNED, with_value("BMS", "济南市" + " " * 100)),  # D37
    "REF-LEVEL": (Outcome.RETURNED, with_value("BKJB", "九级")),
    "REF-SPECIALTY": (Outcome.RETURNED, with_value("BKZY", "航天工程")),
    "CITY-BMS": (Outcome.HELD, with_value("BMS", "青岛市")),  # D35
    "NUMBER-FORM": (Outcome.RETURNED, with_value("ZSGLH", "1234567")),
    "DB-NO-NUMBER": (Outcome.HELD, with_value("ZSGLH", "")),
    "PHOTO-MISSING": (Outcome.RETURNED, with_value("PZRQ", "20100915")),  # P21
    "PHOTO-ZP": (Outcome.RETURNED, with_value("ZP", "photo.jpg")),  # D36
}
TOLERATED: dict[str, Callable[[Row], None]] = {
    "ID-CASE": with_value("ZJHM", lambda row: row["ZJHM"].replace("X", "Ｘ").replace("1", "１")),  # D02
    "CELL-BLANKS": with_value("ZJHM", lambda row: row["ZJHM"][:6] + "\u00a0" + row["ZJHM"][6:]),  # E31
    "DATE-STYLE": with_value("PZRQ", "2018年9月15日"),  # D34
    "ID-AREA": lambda row: row.update(ZJHM=id_number(3, area="990102"), XB="男"),  # D06
    "NUMBER-PATTERN": with_value("ZSGLH", "ABC-2018-0001"),
}


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, dict[int, str]]:
    """One file with one row per rule, each broken in one place."""
    made, where = Made(), {}
    for serial, (code, (_, spoil)) in enumerate(SPOILT.items(), start=1):
        spoil(made.add(person(serial)))
        where[serial + 1] = code
    return made, where


def test_each_row_rule_finds_its_row_and_no_other_grave_rule_does(
    spoilt: tuple[Made, dict[int, str]], settings: Settings, tmp_path: Path
) -> None:
    made, where = spoilt
    (judged,) = judge(settings, made.write(tmp_path))
    assert judged.file_outcome is Outcome.ACCEPTED
    for row in judged.rows:
        code = where[row.row]
        assert (code, row.outcome) == (code, SPOILT[code][0])
        grave = {one.rule for one in judged.findings if one.row == row.row and one.severity in ("error", "hold")}
        assert grave == {code}


def test_d37_the_cell_that_is_too_long_is_named(settings: Settings, tmp_path: Path) -> None:
    made = Made(rows=[person(1) | {"BKZY": "建筑工程" * 26}])
    (judged,) = judge(settings, made.write(tmp_path))
    (told,) = [one for one in judged.findings if one.rule == "CELL-LENGTH"]
    assert (told.field, told.message) == ("BKZY", "专业（BKZY）超过 100 个字符，无法印制。")


def test_switching_a_rule_off_changes_the_verdict_of_its_row(
    spoilt: tuple[Made, dict[int, str]], settings: Settings, tmp_path: Path
) -> None:
    """No other grave rule speaks of these rows (the test above), so switching off all at once shows it for each."""
    made, _ = spoilt
    for path in suites.folder(settings).glob("*.json"):
        suite = json.loads(path.read_text(encoding="utf-8"))
        suite["expectations"] = [one for one in suite["expectations"] if one["meta"]["code"] not in SPOILT]
        (tmp_path / path.name).write_text(json.dumps(suite), encoding="utf-8")
    (judged,) = judge(replace(settings, expectations=tmp_path), made.write(tmp_path / "in"))
    assert {row.outcome for row in judged.rows} == {Outcome.ACCEPTED}


def test_what_is_tolerated_goes_on_with_a_warning_and_is_read_in_the_strict_form(
    settings: Settings, tmp_path: Path
) -> None:
    made = Made()
    for serial, spoil in enumerate(TOLERATED.values(), start=1):
        spoil(made.add(person(serial)))
    (judged,) = judge(settings, made.write(tmp_path))
    assert judged.verdict is Verdict.ACCEPTED
    for row, code in zip(judged.rows, TOLERATED, strict=True):
        assert row.rules == (code,)
        assert row.emitted["PZRQ"] == "20180915"
        assert row.emitted["ZJHM"].isascii()
        assert row.emitted["ZJHM"].isalnum()
        assert len(row.emitted["ZJHM"]) == 18


def test_e10_a_numeric_id_cell_goes_back_even_when_its_digits_look_right(settings: Settings, tmp_path: Path) -> None:
    made, stream = Made(), tmp_path / "book.xlsx"
    row = made.add(person(1))
    book = openpyxl.Workbook()
    book.active.append(list(FIELDS))
    book.active.append([int(row[name]) if name == "ZSGLH" else row[name] for name in FIELDS])
    book.save(stream)
    made.book = stream.read_bytes()
    (judged,) = judge(settings, made.write(tmp_path))
    assert judged.rows[0].outcome is Outcome.RETURNED
    (finding,) = [one for one in judged.findings if one.rule == "CELL-TYPE"]
    assert (finding.field, finding.row) == ("ZSGLH", 2)


def test_d22_d23_one_of_identical_rows_stays_and_differing_ones_are_held(settings: Settings, tmp_path: Path) -> None:
    made = Made()
    made.rows = [person(1), person(1), person(2), person(2) | {"BKZY": "公路工程"}]
    (judged,) = judge(settings, made.write(tmp_path))
    outcomes = [row.outcome for row in judged.rows]
    assert outcomes == [Outcome.ACCEPTED, Outcome.IGNORED, Outcome.HELD, Outcome.HELD]
    assert rules(judged, 3) == ("DUP-ROW",)
    assert "DUP-DIFFERENT" in rules(judged, 4)


@pytest.mark.parametrize("damage", ["number", "hidden"])
@pytest.mark.parametrize("first", [True, False])
def test_d22_of_identical_rows_the_sound_one_counts_wherever_it_stands(
    settings: Settings, tmp_path: Path, damage: str, first: bool
) -> None:
    row = person(1) | {"CSNY": "199001"}
    book = openpyxl.Workbook()
    book.active.append(list(FIELDS))
    for damaged in (first, not first):
        number = damage == "number" and damaged
        book.active.append([int(row[name]) if name == "CSNY" and number else row[name] for name in FIELDS])
    book.active.row_dimensions[2 if first else 3].hidden = damage == "hidden"
    stream = io.BytesIO()
    book.save(stream)
    (judged,) = judge(settings, Made(rows=[row, row], book=stream.getvalue()).write(tmp_path))
    ends = [Outcome.IGNORED, Outcome.ACCEPTED] if first else [Outcome.ACCEPTED, Outcome.IGNORED]
    assert [one.outcome for one in judged.rows] == ends
    assert [finding.message for finding in judged.findings if finding.rule == "DUP-ROW"] == [
        f"与第 {3 if first else 2} 行内容相同，只计一次，本行忽略。"
    ]


def test_d22_of_identical_rows_none_of_which_is_sound_the_first_is_judged(settings: Settings, tmp_path: Path) -> None:
    (judged,) = judge(settings, Made(rows=[person(1) | {"XB": "?"}] * 2).write(tmp_path))
    assert [one.outcome for one in judged.rows] == [Outcome.RETURNED, Outcome.IGNORED]


@pytest.mark.parametrize("turned", [False, True])
def test_no_row_hangs_on_its_copy_in_a_file_that_waits_for_a_person(
    settings: Settings, tmp_path: Path, turned: bool
) -> None:
    wrong, right = (Made(rows=[person(1), person(2)], exam=exam) for exam in ("二级建造师", "一级建造师"))
    files = [wrong.write(tmp_path / "a"), right.write(tmp_path / "b")]
    for judged in judge(settings, *(reversed(files) if turned else files)):
        assert judged.verdict is Verdict.HELD
        assert [row.outcome for row in judged.rows] == [Outcome.HELD] * 2
        said = [(one.rule, one.message) for one in judged.findings if one.row == 2]
        misnamed = judged.submission.stem.count("二级")
        assert said == ([] if misnamed else [("DUP-OPEN", "该管理号已在另一文件第 2 行申报，尚未办结。")])


def test_d24_one_number_from_two_cities_of_one_call_is_held_in_both(settings: Settings, tmp_path: Path) -> None:
    one, other = Made(), Made(city="青岛市")
    one.add(person(1))
    other.add(person(1) | {"BMS": "青岛市"})
    judged = judge(settings, one.write(tmp_path / "a"), other.write(tmp_path / "b", account="370200"))
    assert [part.rows[0].outcome for part in judged] == [Outcome.HELD, Outcome.HELD]
    assert all(rules(part, 2) == ("DUP-CITY",) for part in judged)


def test_d30_a_row_of_a_cancelled_exam_that_passes_becomes_a_proof(settings: Settings, tmp_path: Path) -> None:
    made = Made(code="902", exam="注册税务师")
    made.add(person(1) | {"BKJB": "", "BKZY": ""})
    made.add(person(2) | {"BKJB": "", "BKZY": "", "XB": "?"})
    (judged,) = judge(settings, made.write(tmp_path))
    assert [row.outcome for row in judged.rows] == [Outcome.PROOF, Outcome.RETURNED]


def test_n04_in_a_held_file_no_row_is_accepted_and_bad_rows_still_go_back(settings: Settings, tmp_path: Path) -> None:
    made = Made(count=9)
    made.rows = [person(1), person(2) | {"XB": ""}]
    (judged,) = judge(settings, made.write(tmp_path))
    assert judged.verdict is Verdict.HELD
    assert [row.outcome for row in judged.rows] == [Outcome.HELD, Outcome.RETURNED]
    assert "9 人，表内 2 行" in next(one.message for one in judged.findings if one.rule == "NAME-COUNT")


def test_n04_d30_in_a_held_file_no_row_gets_a_proof_either(settings: Settings, tmp_path: Path) -> None:
    made = Made(code="902", exam="注册税务师", count=9, rows=[person(1) | {"BKJB": "", "BKZY": ""}])
    (judged,) = judge(settings, made.write(tmp_path))
    assert [row.outcome for row in judged.rows] == [Outcome.HELD]


@pytest.mark.parametrize(
    ("change", "code", "verdict"),
    [
        ({"code": "902"}, "NAME-EXAM", Verdict.HELD),  # N07
        ({"code": "999", "exam": "无此考试"}, "NAME-EXAM-UNKNOWN", Verdict.HELD),
        ({"city": "火星市"}, "NAME-CITY", Verdict.HELD),
        ({"city": "莱芜市"}, "NAME-CITY", Verdict.HELD),  # N10
        ({"month": "202013"}, "NAME-MONTH", Verdict.HELD),  # N06
        ({"month": "209901"}, "NAME-MONTH", Verdict.HELD),
        ({"city": "青岛市"}, "NAME-ACCOUNT", Verdict.RETURNED),  # N11
    ],
)
def test_a_name_that_contradicts_the_tables_decides_the_file(
    change: dict[str, str], code: str, verdict: Verdict, settings: Settings, tmp_path: Path
) -> None:
    made = Made(**change)
    made.add(person(1) | {"BMS": change.get("city", "济南市")})
    (judged,) = judge(settings, made.write(tmp_path))
    assert judged.verdict is verdict
    assert code in {one.rule for one in judged.findings}
    assert all(row.outcome is not Outcome.ACCEPTED for row in judged.rows)


def test_n08_a_lost_leading_zero_is_tolerated_where_the_exam_name_agrees(settings: Settings, tmp_path: Path) -> None:
    made = Made(code="34")
    made.add(person(1))
    (judged,) = judge(settings, made.write(tmp_path))
    assert (judged.verdict, judged.exam_code) == (Verdict.ACCEPTED, "034")


def test_d38_swapped_columns_send_the_whole_file_back(settings: Settings, tmp_path: Path) -> None:
    made = Made()
    for serial in range(1, 22):
        row = made.add(person(serial))
        row["KSXM"], row["ZJHM"] = row["ZJHM"], row["KSXM"]
    (judged,) = judge(settings, made.write(tmp_path))
    assert judged.verdict is Verdict.RETURNED
    assert judged.file_reason == "BOOK-SHIFTED"
    assert {row.outcome for row in judged.rows} == {Outcome.RETURNED}


def test_z50_the_same_bytes_under_a_new_name_are_ignored_once(settings: Settings, tmp_path: Path) -> None:
    made = Made()
    made.add(person(1))
    first, second = made.write(tmp_path), made.write(tmp_path, name="再次报送.zip")
    judged = judge(settings, first, second)
    assert [one.verdict for one in judged] == [Verdict.ACCEPTED, Verdict.IGNORED]


def test_z45_one_exam_in_two_workbooks_is_held_in_both(settings: Settings, tmp_path: Path) -> None:
    one, other = Made(), Made()
    one.add(person(1))
    other.rows = [person(2), person(3)]
    judged = judge(settings, one.write(tmp_path), other.write(tmp_path))
    assert [(part.verdict, part.file_reason) for part in judged] == [(Verdict.HELD, "BOOK-SECOND")] * 2


def test_a_nil_report_is_accepted_and_one_of_another_city_is_not(settings: Settings, tmp_path: Path) -> None:
    own = received(tmp_path / "202005-零报(济南市).txt", b"nil")
    foreign = received(tmp_path / "202005-零报(青岛市).txt", b"nil too")
    judged = judge(settings, own, foreign)
    assert [one.verdict for one in judged] == [Verdict.ACCEPTED, Verdict.RETURNED]
    assert all(one.nil for one in judged)


@pytest.mark.parametrize("data", [b"", b"<html>404</html>", b"PK\x03\x04 not really", b"Rar!\x1a\x07\x00"])
def test_bytes_that_are_no_zip_go_back_and_never_raise(data: bytes, settings: Settings, tmp_path: Path) -> None:
    (judged,) = judge(settings, received(tmp_path / "202005-034-x.zip", data))
    assert judged.verdict is Verdict.RETURNED


def test_every_member_of_an_archive_gets_one_outcome(settings: Settings, tmp_path: Path) -> None:
    made = Made(extra={"__MACOSX/._x.jpg": b"junk", "说明.docx": b"PK?", "Thumbs.db": b"x"})
    made.add(person(1, photo=True), portrait(1))
    made.photos[f"{id_number(99)}.jpg"] = portrait(2)
    (judged,) = judge(settings, made.write(tmp_path))
    assert judged.rows[0].outcome is Outcome.ACCEPTED
    ends = {entry.base_name: judged.entries[file.sha256, entry.ordinal] for file, entry in judged.members}
    assert ends[f"{id_number(1)}.jpg"] == (Outcome.ACCEPTED, "")
    assert ends[f"{id_number(99)}.jpg"] == (Outcome.HELD, "PHOTO-EXTRA")  # P22: the photo, no row
    assert ends["Thumbs.db"] == (Outcome.IGNORED, "ZIP-JUNK")
    assert len(judged.entries) == len(list(judged.members))


class TestPhotos:
    def outcome(
        self, settings: Settings, folder: Path, photos: dict[str, bytes], **values: str
    ) -> tuple[Outcome, tuple[str, ...]]:
        made = Made()
        made.add(person(1, photo=True) | values)
        made.photos = photos
        (judged,) = judge(settings, made.write(folder))
        return judged.rows[0].outcome, judged.rows[0].rules

    def test_p19_p20_odd_names_are_matched_with_a_warning(self, settings: Settings, tmp_path: Path) -> None:
        for number, name in enumerate((f"{id_number(1)}.JPEG", f"{id_number(1)} 张三.jpg", f"{id_number(1)}.jpg.jpg")):
            found = self.outcome(settings, tmp_path / str(number), {name: portrait(1)})
            assert found == (Outcome.ACCEPTED, ("PHOTO-RENAMED",))

    @pytest.mark.parametrize("name", ["1 {}", "01 {} 张三", "20200501 {}", "{} 20200501", "IMG{}", "1{}", "照{}(2)"])
    def test_p20_a_number_is_found_beside_other_signs(self, settings: Settings, tmp_path: Path, name: str) -> None:
        found = self.outcome(settings, tmp_path, {f"{name.format(id_number(1))}.jpg": portrait(1)})
        assert found == (Outcome.ACCEPTED, ("PHOTO-RENAMED",))

    @pytest.mark.parametrize("between", ["", " ", "_"])
    def test_p20_a_name_with_the_numbers_of_two_people_is_nobodys(
        self, settings: Settings, tmp_path: Path, between: str
    ) -> None:
        made = Made(rows=[person(1, photo=True), person(2, photo=True)])
        made.photos = {f"{id_number(1)}{between}{id_number(2)}.jpg": portrait(1)}
        (judged,) = judge(settings, made.write(tmp_path))
        assert [row.photo for row in judged.rows] == [None, None]
        assert [row.outcome for row in judged.rows] == [Outcome.RETURNED] * 2

    def test_p20_a_photo_named_by_its_person_only_holds_the_row(self, settings: Settings, tmp_path: Path) -> None:
        found = self.outcome(settings, tmp_path, {f"{person(1)['KSXM']}.jpg": portrait(1)})
        assert found[0] is Outcome.HELD
        assert "PHOTO-NAMELESS" in found[1]
        assert "PHOTO-MISSING" not in found[1]

    def test_p23_two_different_photos_hold_the_row_and_two_equal_ones_do_not(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        names = (f"{id_number(1)}.jpg", f"{id_number(1)}.jpeg")
        outcome, codes = self.outcome(settings, tmp_path / "a", dict.fromkeys(names, portrait(1)))
        assert outcome is Outcome.ACCEPTED
        outcome, codes = self.outcome(
            settings, tmp_path / "b", dict(zip(names, (portrait(1), portrait(2)), strict=True))
        )
        assert outcome is Outcome.HELD
        assert "PHOTO-DOUBLE" in codes

    @pytest.mark.parametrize("turned", [False, True])
    def test_p23_a_second_photo_for_one_of_a_persons_two_certificates_holds_both(
        self, settings: Settings, tmp_path: Path, turned: bool
    ) -> None:
        """It is named in column ZP of one row; which one is printed must not hang on the order of the zip."""
        one = person(1, photo=True)
        made = Made(rows=[one | {"ZP": "zhang-new.jpg"}, one | {"ZSGLH": "201009034370000999", "BKZY": "公路工程"}])
        photos = {f"{id_number(1)}.jpg": portrait(1), "zhang-new.jpg": portrait(2)}
        made.photos = dict(reversed(photos.items())) if turned else photos
        (judged,) = judge(settings, made.write(tmp_path))
        assert [row.outcome for row in judged.rows] == [Outcome.HELD] * 2
        assert "PHOTO-DOUBLE" in rules(judged, 2)

    def test_d36_a_wrong_photo_column_is_mended_where_the_photo_exists(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        found = self.outcome(settings, tmp_path, {f"{id_number(1)}.jpg": portrait(1)}, ZP="C:\\照片\\1.jpg")
        assert found == (Outcome.ACCEPTED, ("PHOTO-ZP-FIXED",))

    def test_p12_the_bounds_of_the_size_are_inclusive_in_bytes(self, settings: Settings, tmp_path: Path) -> None:
        for size, sound in ((10_239, False), (10_240, True), (30_720, True), (30_721, False)):
            data = self.sized(size)
            outcome, codes = self.outcome(settings, tmp_path / str(size), {f"{id_number(1)}.jpg": data})
            assert ("PHOTO-SIZE" not in codes) is sound, size
            assert sound or outcome is Outcome.RETURNED

    def sized(self, size: int) -> bytes:
        """A portrait brought to a size by a comment (which may hold the row as padded, P13)."""
        from PIL import Image

        stream = io.BytesIO()
        Image.open(io.BytesIO(portrait(1))).save(stream, "JPEG", quality=60)
        data = stream.getvalue()
        short = size - len(data) - 4
        assert short >= 0
        return data[:2] + b"\xff\xfe" + (short + 2).to_bytes(2, "big") + b"x" * short + data[2:]

    def test_p17_one_photo_for_two_people_holds_both_and_one_persons_two_certificates_are_exempt(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        made = Made()
        made.add(person(1, photo=True), portrait(1))
        made.add(person(2, photo=True), portrait(1))
        twin = person(3, photo=True)
        made.add(twin, portrait(3))
        made.add(twin | {"ZSGLH": "201009034370009999", "BKZY": "公路工程"})
        (judged,) = judge(settings, made.write(tmp_path))
        assert [row.outcome for row in judged.rows] == [Outcome.HELD] * 2 + [Outcome.ACCEPTED] * 2
        assert "DUP-PERSON" in rules(judged, 4)

    def test_d31_the_large_family_needs_more_than_30_kb(self, settings: Settings, tmp_path: Path) -> None:
        made = Made(code="901", exam="软考示例(合成)")
        made.add(person(1, photo=True) | {"BKJB": "初级", "BKZY": "程序员"}, portrait(1))
        (judged,) = judge(settings, made.write(tmp_path))
        assert rules(judged, 2) == ("PHOTO-SIZE-LARGE",)


def test_partial_files_hold_keeps_the_good_rows_until_the_city_resends(settings: Settings, tmp_path: Path) -> None:
    made = Made()
    made.rows = [person(1), person(2) | {"XB": ""}]
    file = made.write(tmp_path)
    (accepted,) = judge(settings, file)
    (held,) = judge(replace(settings, partial_files="hold"), file)
    assert [row.outcome for row in accepted.rows] == [Outcome.ACCEPTED, Outcome.RETURNED]
    assert [row.outcome for row in held.rows] == [Outcome.HELD, Outcome.RETURNED]


def test_the_json_contract_holds_and_shows_nobody_unless_asked(settings: Settings, tmp_path: Path) -> None:
    made = Made()
    made.add(person(1) | {"KSXM": "王□", "ZJHM": next_digit(person(1))})
    file = made.write(tmp_path)
    (judged,) = judge(settings, file)
    found = judged.as_json(rows=True, unmasked=False)
    assert found["file"] == str(file.path)
    assert found["verdict"] == "returned"
    assert found["rows"] == {"total": 1, "accepted": 0, "held": 0, "returned": 1, "proof": 0, "ignored": 0}
    assert found["row_verdicts"] == [{"row": 2, "verdict": "returned", "rules": ["ID-CHECKDIGIT", "PERSON-GLYPH"]}]
    assert (found["month"], found["exam"], found["city"]) == ("202005", "034", "济南市")
    assert {"rule": "DB-OFF", "severity": "info", "scope": "file"}.items() <= found["findings"][0].items()
    text = json.dumps(found, ensure_ascii=False)
    assert made.rows[0]["ZJHM"] not in text
    assert "王□" not in text


def test_a_city_needs_no_database_driver_for_a_check() -> None:
    program = (
        "import sys, certflow.checks.run\n"
        "sys.exit(any(name.split('.')[0] in ('sqlalchemy', 'psycopg', 'airflow', 'paramiko') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_written_workbooks_are_what_the_reader_expects() -> None:
    """The builder of these tests writes what the notice asks for: otherwise the tests above prove nothing."""
    grid = list(excel.read_own(excel.write_xls(FIELDS, [[person(1)[name] for name in FIELDS]])))
    assert grid == [list(FIELDS), [person(1)[name] for name in FIELDS]]


def test_p17_one_picture_saved_anew_for_everybody_is_held_without_a_look_at_every_pair(settings, tmp_path, monkeypatch):
    """Each photo of such a city had twelve second looks, through all their steps: 50 ms a row."""
    looks, apart = [], likeness.apart
    monkeypatch.setattr(likeness, "apart", lambda ones, others: looks.append(len(ones)) or apart(ones, others))
    made, picture, count = Made(), portrait(41), 60
    for serial in range(1, count + 1):
        made.add(person(serial, photo=True), picture[:-2] + bytes([serial, 1]) + picture[-2:])
    made.add(person(99, photo=True), portrait(99))
    [judged] = judge(settings, made.write(tmp_path))
    assert [row.outcome for row in judged.rows] == [Outcome.HELD] * count + [Outcome.ACCEPTED]
    assert all("PHOTO-SAME" in row.rules for row in judged.rows[:-1])
    assert sum(looks) < 2 * count

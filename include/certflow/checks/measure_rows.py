"""Measures rows by themselves: cells, numbers, dates, names (suites ``workbook`` and ``application``).

Every function adds columns of one length; None means "not applicable". What a column means is decided in the suites.
"""

import calendar
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date

from certflow import identity, keys
from certflow.checks.measure_files import Standing
from certflow.findings import FIELDS
from certflow.intake.submission import Submission
from certflow.reference import Reference

REQUIRED = ("KSXM", "ZJHM", "ZJLB", "XB", "CSNY", "PZRQ", "BMS")
"""Fields no application can do without; ZSGLH, BKJB, BKZY and ZP may be empty for some certificates."""
DATES = ("CSNY", "PZRQ")

_STRAY = re.compile(
    "[\\s\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]|^['’‘＇]"
)
_BLANK = re.compile("[\\s\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]|^['’‘＇]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b50\u2b55\u200d\u20e3]")
_SCIENTIFIC = re.compile(r"[0-9](?:\.[0-9]+)?[eE]\+?[0-9]{1,3}")
_GLYPH = re.compile("[?？□■\u3007\ufffd\ufffc*＊\ue000-\uf8ff\U000f0000-\U0010ffff]")
_LATIN = re.compile("[A-Za-zÀ-ɏ]")
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


@dataclass(slots=True)
class Rows:
    """All rows of one call, concatenated; `columns` grows as the measures are taken."""

    owner: list[int]
    """Position of the submission the row belongs to."""
    number: list[int]
    """Row number as Excel shows it."""
    columns: dict[str, list[object]] = field(default_factory=dict)

    def text(self, name: str) -> list[str]:
        """A column of texts."""
        return self.columns[name]  # type: ignore[return-value]

    def __len__(self) -> int:
        return len(self.number)


def gather(submissions: Sequence[Submission]) -> Rows:
    """Concatenate the sheets; the 11 fields as sent, and ``clean_<field>`` as read."""
    rows = Rows([], [])
    kinds: dict[str, list[str]] = {name: [] for name in FIELDS}
    sent: dict[str, list[object]] = {name: [] for name in FIELDS}
    visible: list[object] = []
    unmerged: list[object] = []
    for position, submission in enumerate(submissions):
        sheet = submission.sheet
        if sheet is None:
            continue
        count = len(sheet.row_numbers)
        rows.owner.extend([position] * count)
        rows.number.extend(sheet.row_numbers)
        visible.extend(number not in sheet.hidden for number in sheet.row_numbers)
        unmerged.extend(number not in sheet.merged for number in sheet.row_numbers)
        for name in FIELDS:
            sent[name].extend(sheet.values.get(name) or [""] * count)
            kinds[name].extend(sheet.kinds.get(name) or ["empty"] * count)
    rows.columns |= sent
    rows.columns |= {"row_visible": visible, "row_unmerged": unmerged}
    rows.columns |= {f"clean_{name}": [clean(name, str(value)) for value in sent[name]] for name in FIELDS}
    _measure_cells(rows, kinds)
    return rows


def measure(rows: Rows, standings: Sequence[Standing], reference: Reference) -> None:
    """Add the columns that need the reference tables, but no database."""
    _measure_dates(rows, standings)
    _measure_identity(rows, standings, reference)
    _measure_person(rows)
    _measure_exam(rows, standings, reference)
    numbers = rows.text("clean_ZSGLH")
    rows.columns["number"] = [number or None for number in numbers]
    rows.columns["number_present"] = [number != "" for number in numbers]
    rows.columns["sex"] = [sex or None for sex in rows.text("clean_XB")]


def shares(rows: Rows, count: int) -> tuple[list[float | None], list[str]]:
    """Per submission the largest share of rows in which one column holds another column's kind of value (D38)."""
    tests: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
        ("证件号码（ZJHM）", "clean_ZJHM", lambda value: _HAN.search(value) is None),
        ("姓名（KSXM）", "clean_KSXM", lambda value: re.search("[0-9]{4}", value) is None),
        ("性别（XB）", "clean_XB", lambda value: value in ("男", "女", "") or re.search("[0-9]{4}", value) is None),
        ("批准日期（PZRQ）", "clean_PZRQ", lambda value: _HAN.search(value.translate(_DATE_SIGNS)) is None),
        ("出生年月（CSNY）", "clean_CSNY", lambda value: _HAN.search(value.translate(_DATE_SIGNS)) is None),
        ("管理号（ZSGLH）", "clean_ZSGLH", lambda value: _HAN.search(value) is None),
    )
    totals = [0] * count
    for owner in rows.owner:
        totals[owner] += 1
    best: list[float | None] = [None if total == 0 else 0.0 for total in totals]
    named = [""] * count
    for title, column, fits in tests:
        wrong = [0] * count
        for owner, value in zip(rows.owner, rows.text(column), strict=True):
            wrong[owner] += not fits(value)
        for position, (bad, total) in enumerate(zip(wrong, totals, strict=True)):
            if total and bad / total > (best[position] or 0.0):
                best[position], named[position] = bad / total, title
    return best, named


def clean(name: str, value: str) -> str:
    """One cell as it is read: without stray blanks and width; a lone dash is nothing (E30, E31, E33, E35)."""
    text = value
    if name == "ZJHM":
        text = keys.id_text(value)
    elif name in ("ZSGLH", "ZJLB", "XB", "BKJB", "BKZY", "BMS"):
        text = keys.text_key(value)
    elif name != "KSXM" or value.strip("'’‘ \t") == "":
        text = value.strip().lstrip("'")
    return "" if text in ("-", "－", "—") or not text.strip() else text  # E35


_DATE_SIGNS = str.maketrans("", "", "年月日")


def _measure_cells(rows: Rows, kinds: dict[str, list[str]]) -> None:
    tests: dict[str, Callable[[str, str, str], bool]] = {
        "cell_type": _wrong_type,
        "cell_date": lambda name, _, kind: kind == "date" and name in DATES,
        "cell_error": lambda _, __, kind: kind == "error",
        "cell_chars": lambda name, value, _: bool(_CONTROL.search(value) or (name != "KSXM" and _EMOJI.search(value))),
        "cell_blanks": _stray,
    }
    for column, test in tests.items():
        found = [""] * len(rows)
        for name in FIELDS:
            for line, (value, kind) in enumerate(zip(rows.text(name), kinds[name], strict=True)):
                if test(name, value, kind):
                    found[line] = f"{found[line]},{name}" if found[line] else name
        rows.columns[column] = list(found)
    required = [rows.text(f"clean_{name}") for name in REQUIRED]
    # E18: what a merged cell covers looks empty; a person says whose value it is.
    rows.columns["cell_required"] = [
        ",".join(name for name, value in zip(REQUIRED, values, strict=True) if value == "" and alone)
        for values, alone in zip(zip(*required, strict=True), rows.columns["row_unmerged"], strict=True)
    ]
    sent = [rows.text(name) for name in FIELDS if name not in ("KSXM", "ZP")]
    rows.columns["cell_longest"] = [max(map(len, values)) for values in zip(*sent, strict=True)]


def _wrong_type(name: str, value: str, kind: str) -> bool:
    if kind in ("number", "bool") or (kind == "date" and name not in DATES):  # E10, E12, E13, E15, E42
        return True
    return name in ("ZSGLH", "ZJHM") and _SCIENTIFIC.fullmatch(value.strip()) is not None  # E11


def _stray(name: str, value: str, kind: str) -> bool:
    if kind != "text" or name in ("KSXM", "ZP", *DATES):
        return False
    pattern = _BLANK if name == "ZJHM" else _STRAY  # ID-CASE speaks of width in ID numbers
    return value in ("-", "－", "—") or pattern.search(value) is not None


def _measure_dates(rows: Rows, standings: Sequence[Standing]) -> None:
    parsed = {name: [keys.parse_date(value) for value in rows.text(f"clean_{name}")] for name in DATES}
    empty = {name: [value == "" for value in rows.text(f"clean_{name}")] for name in DATES}
    dated = {name: {line for line, names in enumerate(rows.text("cell_date")) if name in names} for name in DATES}
    for column in ("date_form", "date_style"):
        found = []
        for line in range(len(rows)):
            wrong = [
                name
                for name in DATES
                if not empty[name][line]
                and (
                    parsed[name][line].fault != ""
                    if column == "date_form"
                    else parsed[name][line].styled and line not in dated[name]
                )
            ]
            found.append(",".join(wrong))
        rows.columns[column] = list(found)
    rows.columns["birth"] = [item.value[:6] for item in parsed["CSNY"]]
    rows.columns["approved"] = [item.value for item in parsed["PZRQ"]]
    rows.columns["approved_year"] = [int(item.value[:4]) if item.value else None for item in parsed["PZRQ"]]
    rows.columns["approved_fault"] = [
        _approved_fault(item.value, standings[owner]) for item, owner in zip(parsed["PZRQ"], rows.owner, strict=True)
    ]


def _approved_fault(value: str, standing: Standing) -> str | None:
    if not value:
        return None
    year = int(value[:4])
    if standing.month is not None and value[:6] > str(standing.month):  # D33
        return "晚于申报年月"
    exam = standing.exam
    if exam is not None and exam.first_year is not None and year < exam.first_year:
        return f"早于该考试的开始年份（{exam.first_year} 年）"
    if exam is not None and exam.last_year is not None and year > exam.last_year:
        return f"晚于该考试的结束年份（{exam.last_year} 年）"
    return ""


def _measure_identity(rows: Rows, standings: Sequence[Standing], reference: Reference) -> None:
    numbers, size = rows.text("clean_ZJHM"), len(rows)
    types = rows.text("clean_ZJLB")
    named = {text: reference.id_type_named(text) for text in set(types) if text}
    kinds = [found.kind if (found := named.get(text)) is not None else None for text in types]
    nothing: list[object] = [None] * size
    form, checksum, dates, age, area, sex, birth = (list(nothing) for _ in range(7))
    for kind in sorted({kind for kind in kinds if kind is not None}):
        lines = [line for line in range(size) if kinds[line] == kind and numbers[line]]
        ids = [numbers[line] for line in lines]
        fits = identity.form_ok(kind, ids)
        for line, fit in zip(lines, fits, strict=True):
            form[line] = bool(fit)
        if kind not in identity.CHECKED_KINDS:
            continue
        lines = [line for line, fit in zip(lines, fits, strict=True) if fit]
        ids = [numbers[line] for line in lines]
        if not ids:
            continue
        ages = _ages(ids, [standings[rows.owner[line]] for line in lines])
        inside = zip(
            lines, ids, identity.checksum_ok(ids), identity.date_ok(ids), reference.areas_known(ids),
            identity.sexes(ids), identity.births(ids), ages, strict=True,
        )  # fmt: skip
        for line, number, sum_ok, date_ok, place, gender, born, years in inside:
            checksum[line] = bool(sum_ok) if len(number) == 18 else None
            dates[line] = bool(date_ok) and years >= 0
            age[line] = int(years) if dates[line] else None
            area[line] = bool(place)
            given_sex, given_birth = rows.text("clean_XB")[line], rows.text("birth")[line]
            sex[line] = given_sex == gender if given_sex in ("男", "女") else None
            birth[line] = given_birth == born if given_birth and dates[line] else None
    rows.columns |= {
        "id_type_known": [kind is not None if text else None for kind, text in zip(kinds, types, strict=True)],
        "id_kind": list(kinds),
        "id_form_ok": form,
        "id_checksum_ok": checksum,
        "id_date_ok": dates,
        "id_age": age,
        "id_area_known": area,
        "id_sex_ok": sex,
        "id_birth_ok": birth,
        "id_canonical": [
            _BLANK.sub("", value) == number if number else None
            for value, number in zip(rows.text("ZJHM"), numbers, strict=True)
        ],
    }


def _ages(ids: list[str], standings: list[Standing]) -> list[int]:
    ages = [0] * len(ids)
    for standing in dict.fromkeys(standings):
        month = standing.month
        on = (
            standing.today
            if month is None
            else date(month.year, month.number, calendar.monthrange(month.year, month.number)[1])
        )
        lines = [line for line, other in enumerate(standings) if other is standing]
        for line, years in zip(lines, identity.ages([ids[line] for line in lines], on), strict=True):
            ages[line] = int(years)
    return ages


def _measure_person(rows: Rows) -> None:
    names = rows.text("clean_KSXM")
    resident = [kind == identity.RESIDENT for kind in rows.columns["id_kind"]]
    rows.columns["name_glyph_ok"] = [
        None if name == "" else not _missing_glyph(name, at_home) for name, at_home in zip(names, resident, strict=True)
    ]
    rows.columns["name_length"] = [len(name) or None for name in names]
    rows.columns["name_chars_ok"] = [None if name == "" else _EMOJI.search(name) is None for name in names]


def _missing_glyph(name: str, resident: bool) -> bool:
    if _GLYPH.search(name):  # D13, D18
        return True
    if _LATIN.search(name) is None:
        return False
    return resident or _HAN.search(name) is not None  # pinyin in place of a character


def _measure_exam(rows: Rows, standings: Sequence[Standing], reference: Reference) -> None:
    levels = [keys.level_key(value, reference.level_aliases) for value in rows.text("clean_BKJB")]
    level_known: list[object] = []
    specialty_known: list[object] = []
    live: list[object] = []
    city: list[object] = []
    lines = zip(rows.owner, levels, rows.text("clean_BKZY"), rows.text("clean_BMS"), strict=True)
    for owner, level, specialty, place in lines:
        exam = standings[owner].exam
        level_known.append(None if exam is None else exam.has_level(level))
        specialty_known.append(exam.has_specialty(level, specialty) if exam is not None and specialty else None)
        live.append(None if exam is None else not exam.is_cancelled(level))
        city.append(_at_home(place, standings[owner], reference))
    rows.columns |= {
        "level_known": level_known, "specialty_known": specialty_known, "exam_live": live,
        "city_matches": city,
    }  # fmt: skip


def _at_home(place: str, standing: Standing, reference: Reference) -> bool | None:
    """Whether 报名市 is the sending city, or was merged into it (莱芜市)."""
    if standing.city is None or not place:
        return None
    reported = reference.city_named(place)
    return reported is not None and reference.city_today(reported).account == standing.city.account

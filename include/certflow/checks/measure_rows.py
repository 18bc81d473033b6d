"""Measures rows by themselves: cells, numbers, dates, names (suites ``workbook`` and ``application``).

Every function adds columns of one length; None means "not applicable". What a column means is decided in the suites.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from certflow import identity, keys
from certflow.checks import columns
from certflow.checks.measure_files import Standing
from certflow.findings import FIELDS
from certflow.identity import Bools
from certflow.intake.submission import Submission
from certflow.reference import Reference

REQUIRED = ("KSXM", "ZJHM", "ZJLB", "XB", "CSNY", "PZRQ", "BMS")
"""Fields no application can do without; ZSGLH, BKJB, BKZY and ZP may be empty for some certificates."""
OPTIONAL = frozenset({"ZSGLH", "BKJB", "BKZY", "ZP"})
"""Fields that a city fills with 无 or a slash where there is nothing to say."""
DATES = ("CSNY", "PZRQ")
"""Fields of few different values."""
IN_FUTURE = "晚于申报年月"
"""What is wrong with a date of approval whatever the tables say of the exam (D33)."""

_STRAY = re.compile(
    "[\\s\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]|^['’‘＇]"
)
_BLANK = re.compile("[\\s\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]|^['’‘＇]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b50\u2b55\u200d\u20e3]")
_SCIENTIFIC = re.compile(r"[0-9](?:\.[0-9]+)?[eE]\+?[0-9]{1,3}")
_GLYPH = re.compile("[?？□■\u3007\ufffd\ufffc*＊\ue000-\uf8ff\U000f0000-\U0010ffff]")
_LATIN = re.compile("[A-Za-zÀ-ɏ]")
_NUMBER = re.compile("[0-9]{4}")
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


@dataclass(slots=True)
class Rows:
    """All rows of one call, concatenated; `columns` grows as the measures are taken."""

    owner: list[int]
    """Position of the submission the row belongs to."""
    number: list[int]
    """Row number as Excel shows it."""
    persons: list[str] = field(default_factory=list)
    """By `keys.id_key` of the ID number; empty where there is none."""
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
        visible.extend(_absent(sheet.row_numbers, sheet.hidden))
        unmerged.extend(_absent(sheet.row_numbers, sheet.merged))
        for name in FIELDS:
            sent[name].extend(sheet.values.get(name) or [""] * count)
            kinds[name].extend(sheet.kinds.get(name) or ["empty"] * count)
    rows.columns |= sent
    rows.columns |= {"row_visible": visible, "row_unmerged": unmerged}
    for name in FIELDS:
        values = rows.text(name)
        odd = columns.lines(~columns.only(values, *columns.PLAIN) | _perhaps_nothing(name, values))
        cleaned: list[object] = [*values]
        for line, text in zip(odd, columns.by_value(partial(clean, name), [values[line] for line in odd]), strict=True):
            cleaned[line] = text
        rows.columns[f"clean_{name}"] = cleaned
    rows.persons = [*rows.text("clean_ZJHM")]
    for line in columns.lines(columns.lengths(rows.persons) == 15):
        rows.persons[line] = keys.id_key(rows.persons[line])
    _measure_cells(rows, kinds)
    return rows


def _absent(numbers: Sequence[int], named: frozenset[int]) -> list[bool]:
    return [number not in named for number in numbers] if named else [True] * len(numbers)


def _perhaps_nothing(name: str, values: Sequence[str]) -> Bools:
    """Where an optional field has one sign only, which may be 无."""
    return columns.lengths(values) == 1 if name in OPTIONAL else np.zeros(len(values), dtype=np.bool_)


def measure(rows: Rows, standings: Sequence[Standing], reference: Reference) -> None:
    """Add the columns that need the reference tables, but no database."""
    _measure_dates(rows, standings)
    _measure_identity(rows, standings, reference)
    _measure_person(rows)
    _measure_exam(rows, standings, reference)
    numbers = rows.text("clean_ZSGLH")
    present = columns.lengths(numbers) > 0
    rows.columns["number"] = columns.spread(present, compress(numbers, present.tolist()))
    rows.columns["number_present"] = present.tolist()
    rows.columns["sex"] = columns.by_value(lambda sex: sex or None, rows.text("clean_XB"))


def shares(rows: Rows, count: int) -> tuple[list[float | None], list[str]]:
    """Per submission the largest share of rows in which one column holds another column's kind of value (D38)."""
    tests: tuple[tuple[str, str, Callable[[list[str]], Bools]], ...] = (
        ("证件号码（ZJHM）", "clean_ZJHM", _with_ideographs),
        ("姓名（KSXM）", "clean_KSXM", _with_number),
        ("性别（XB）", "clean_XB", _with_number),
        ("批准日期（PZRQ）", "clean_PZRQ", _with_words),
        ("出生年月（CSNY）", "clean_CSNY", _with_words),
        ("管理号（ZSGLH）", "clean_ZSGLH", _with_ideographs),
    )
    owners = np.array(rows.owner, dtype=np.int64)
    totals = np.bincount(owners, minlength=count).tolist()
    best: list[float | None] = [None if total == 0 else 0.0 for total in totals]
    named = [""] * count
    for title, column, strange in tests:
        for position, bad in enumerate(np.bincount(owners[strange(rows.text(column))], minlength=count).tolist()):
            if totals[position] and bad / totals[position] > (best[position] or 0.0):
                best[position], named[position] = bad / totals[position], title
    return best, named


def _with_ideographs(values: list[str]) -> Bools:
    return columns.having(values, *columns.HAN)


def _with_number(values: list[str]) -> Bools:
    found = columns.having(values, columns.DIGITS)
    for line in columns.lines(found):
        found[line] = _NUMBER.search(values[line]) is not None
    return found


def _with_words(values: list[str]) -> Bools:
    found = columns.having(values, *columns.HAN)
    for line in columns.lines(found):
        found[line] = _HAN.search(values[line].translate(_DATE_SIGNS)) is not None
    return found


def clean(name: str, value: str) -> str:
    """One cell as it is read: without stray blanks and width; a sign for nothing is nothing (E30, E31, E33, E35)."""
    text = value
    if name == "ZJHM":
        text = keys.id_text(value)
    elif name in ("ZSGLH", "ZJLB", "XB", "BKJB", "BKZY", "BMS"):
        text = keys.text_key(value)
    elif name != "KSXM" or value.strip("'’‘ \t") == "":
        text = value.strip().lstrip("'")
    return "" if keys.is_nothing(text, optional=name in OPTIONAL) or not text.strip() else text  # E35


_DATE_SIGNS = str.maketrans("", "", "年月日")


_CELLS = ("cell_type", "cell_date", "cell_error", "cell_chars", "cell_blanks")


def _measure_cells(rows: Rows, kinds: dict[str, list[str]]) -> None:
    found = {column: [""] * len(rows) for column in _CELLS}
    for name in FIELDS:
        values, here = rows.text(name), kinds[name]
        # In a number nothing is odd but letters, of which E may mean a power of ten (E11).
        usual = (columns.DIGITS, (ord("X"), ord("X"))) if name in ("ZSGLH", "ZJHM") else columns.PLAIN
        odd = ~columns.only(values, *usual) | _perhaps_nothing(name, values)
        if set(here) - {"text", "empty"}:
            odd |= ~np.array(columns.by_value(lambda kind: kind in ("text", "empty"), here), dtype=np.bool_)
        lines = columns.lines(odd)
        told = columns.by_value(partial(_faults, name), [(values[line], here[line]) for line in lines])
        for line, faults in zip(lines, told, strict=True):
            for column in faults:
                before = found[column][line]
                found[column][line] = f"{before},{name}" if before else name
    rows.columns |= {column: [*names] for column, names in found.items()}
    required = [""] * len(rows)
    for name in REQUIRED:
        values = rows.text(f"clean_{name}")
        for line in columns.lines(columns.lengths(values) == 0):
            # E18: what a merged cell covers looks empty; a person says whose value it is.
            if rows.columns["row_unmerged"][line]:
                required[line] = f"{required[line]},{name}" if required[line] else name
    rows.columns["cell_required"] = [*required]
    longest, where = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
    for position, name in enumerate(FIELDS):
        if name not in ("KSXM", "ZP"):
            lengths = columns.lengths(rows.text(name))
            where[lengths > longest] = position
            longest = np.maximum(longest, lengths)
    rows.columns |= {
        "cell_longest": [*longest.tolist()], "cell_longest_field": [FIELDS[position] for position in where.tolist()],
    }  # fmt: skip


def _faults(name: str, cell: tuple[str, str]) -> tuple[str, ...]:
    """What is wrong with one cell, a text and its kind, by the columns that say so."""
    value, kind = cell
    told = (
        _wrong_type(name, value, kind),
        kind == "date" and name in DATES,
        kind == "error",
        bool(_CONTROL.search(value) or (name != "KSXM" and _EMOJI.search(value))),
        _stray(name, value, kind),
    )
    return tuple(column for column, wrong in zip(_CELLS, told, strict=True) if wrong)


def _wrong_type(name: str, value: str, kind: str) -> bool:
    if kind in ("number", "bool") or (kind == "date" and name not in DATES):  # E10, E12, E13, E15, E42
        return True
    return name in ("ZSGLH", "ZJHM") and _SCIENTIFIC.fullmatch(value.strip()) is not None  # E11


def _stray(name: str, value: str, kind: str) -> bool:
    if kind != "text" or name in ("KSXM", *DATES):
        return False
    if keys.is_nothing(value, optional=name in OPTIONAL):
        return True
    pattern = _BLANK if name == "ZJHM" else _STRAY  # ID-CASE speaks of width in ID numbers
    return name != "ZP" and pattern.search(value) is not None


def _measure_dates(rows: Rows, standings: Sequence[Standing]) -> None:
    form, style = [""] * len(rows), [""] * len(rows)
    dated = rows.text("cell_date")
    for name in DATES:
        values, typed = rows.text(f"clean_{name}"), rows.text(name)
        odd = columns.by_value(_is_odd_date, typed)
        for line in columns.lines(np.array(odd, dtype=np.bool_)):
            if values[line] and keys.parse_date(values[line]).fault:
                form[line] = f"{form[line]},{name}" if form[line] else name
            if keys.parse_date(typed[line]).styled and name not in dated[line]:
                style[line] = f"{style[line]},{name}" if style[line] else name
    approved = columns.by_value(lambda text: keys.parse_date(text).value, rows.text("clean_PZRQ"))
    rows.columns |= {
        "date_form": [*form],
        "date_style": [*style],
        "birth": columns.by_value(lambda text: keys.parse_date(text).value[:6], rows.text("clean_CSNY")),
        "approved": [*approved],
        "approved_year": columns.by_value(lambda value: int(value[:4]) if value else None, approved),
        "approved_fault": columns.by_value(
            lambda one: _approved_fault(one[0], standings[one[1]]), list(zip(approved, rows.owner, strict=True))
        ),
    }


def _is_odd_date(text: str) -> bool:
    if text == "":
        return False
    parsed = keys.parse_date(text)
    return parsed.fault != "" or parsed.styled


def _approved_fault(value: str, standing: Standing) -> str | None:
    if not value:
        return None
    year = int(value[:4])
    if standing.month is not None and value[:6] > str(standing.month):  # D33
        return IN_FUTURE
    exam = standing.exam
    if exam is not None and exam.first_year is not None and year < exam.first_year:
        return f"早于该考试的开始年份（{exam.first_year} 年）"
    if exam is not None and exam.last_year is not None and year > exam.last_year:
        return f"晚于该考试的结束年份（{exam.last_year} 年）"
    return ""


def _measure_identity(rows: Rows, standings: Sequence[Standing], reference: Reference) -> None:
    numbers, size = rows.text("clean_ZJHM"), len(rows)
    signs = identity.signs(numbers)
    types = rows.text("clean_ZJLB")
    named = {text: reference.id_type_named(text) for text in set(types) if text}
    kinds = [found.kind if (found := named.get(text)) is not None else None for text in types]
    given_sex, given_birth = np.array(rows.text("clean_XB"), dtype="U8"), np.array(rows.text("birth"), dtype="U6")
    told = {name: np.full(size, None, dtype=object) for name in _IDENTITY}
    kind_names, of_kind = np.unique(np.array([kind or "" for kind in kinds], dtype="U20"), return_inverse=True)
    present = columns.lengths(numbers) > 0
    for position, kind in enumerate(kind_names.tolist()):
        if kind == "":
            continue
        lines = np.flatnonzero((of_kind == position) & present)
        fits = identity.form_ok(kind, [numbers[line] for line in lines])
        told["id_form_ok"][lines] = fits.tolist()
        if kind not in identity.CHECKED_KINDS:
            continue
        lines = lines[fits]
        if not len(lines):
            continue
        ids = signs[lines]
        long = np.char.str_len(ids) == 18
        ages = _ages(ids, np.array(rows.owner, dtype=np.int64)[lines], standings)
        possible = identity.date_ok(ids) & (ages >= 0)
        sexes, births = given_sex[lines], given_birth[lines]
        sexed = (sexes == "男") | (sexes == "女")
        born = (births != "") & possible
        told["id_checksum_ok"][lines[long]] = identity.checksum_ok(ids)[long].tolist()
        told["id_date_ok"][lines] = possible.tolist()
        told["id_age"][lines[possible]] = ages[possible].tolist()
        told["id_area_known"][lines] = reference.areas_known(ids).tolist()
        told["id_sex_ok"][lines[sexed]] = (sexes == identity.sexes(ids))[sexed].tolist()
        told["id_birth_ok"][lines[born]] = (births == identity.births(ids))[born].tolist()
    rows.columns |= {name: column.tolist() for name, column in told.items()}
    rows.columns |= {
        "id_type_known": [kind is not None if text else None for kind, text in zip(kinds, types, strict=True)],
        "id_kind": list(kinds),
        "id_canonical": _canonical(rows),
    }


_IDENTITY = (
    "id_form_ok", "id_checksum_ok", "id_date_ok", "id_age", "id_area_known", "id_sex_ok", "id_birth_ok",
)  # fmt: skip


def _canonical(rows: Rows) -> list[object]:
    """Whether an ID number was typed as it is read, blanks aside."""
    sent, numbers = rows.text("ZJHM"), rows.text("clean_ZJHM")
    column = np.full(len(rows), None, dtype=object)
    column[columns.lengths(numbers) > 0] = True
    for line in columns.lines(~columns.equal(sent, numbers)):
        column[line] = _BLANK.sub("", sent[line]) == numbers[line] if numbers[line] else None
    return column.tolist()


def _ages(ids: identity.Numbers, owners: NDArray[np.int64], standings: Sequence[Standing]) -> NDArray[np.int64]:
    """Completed years at the end of the month each row is reported for."""
    ages = np.zeros(len(owners), dtype=np.int64)
    days = {owner: _last_day(standings[owner]) for owner in np.unique(owners).tolist()}
    for day in set(days.values()):
        here = np.isin(owners, [owner for owner, one in days.items() if one == day])
        ages[here] = identity.ages(ids[here], day)
    return ages


def _last_day(standing: Standing) -> date:
    return standing.today if standing.month is None else standing.month.last_day


def _measure_person(rows: Rows) -> None:
    names = rows.text("clean_KSXM")
    sizes = columns.lengths(names)
    glyph, chars = np.full(len(rows), True, dtype=object), np.full(len(rows), True, dtype=object)
    for line in columns.lines(~columns.only(names, columns.IDEOGRAPHS)):
        glyph[line] = not _missing_glyph(names[line], rows.columns["id_kind"][line] == identity.RESIDENT)
        chars[line] = _EMOJI.search(names[line]) is None
    absent = sizes == 0
    glyph[absent] = chars[absent] = None
    rows.columns["name_glyph_ok"] = glyph.tolist()
    rows.columns["name_length"] = columns.spread(~absent, sizes[~absent].tolist())
    rows.columns["name_chars_ok"] = chars.tolist()


def _missing_glyph(name: str, resident: bool) -> bool:
    if _GLYPH.search(name):  # D13, D18
        return True
    if _LATIN.search(name) is None:
        return False
    return resident or _HAN.search(name) is not None  # pinyin in place of a character


def _measure_exam(rows: Rows, standings: Sequence[Standing], reference: Reference) -> None:
    levels = columns.by_value(lambda value: keys.level_key(value, reference.level_aliases), rows.text("clean_BKJB"))
    exams = [standing.exam for standing in standings]
    graded = list(zip(rows.owner, levels, strict=True))
    offered = list(zip(rows.owner, levels, rows.text("clean_BKZY"), strict=True))

    def level_known(one: tuple[int, str]) -> bool | None:
        exam = exams[one[0]]
        return None if exam is None else exam.has_level(one[1])

    def live(one: tuple[int, str]) -> bool | None:
        exam = exams[one[0]]
        return None if exam is None else not exam.is_cancelled(one[1])

    def specialty_known(one: tuple[int, str, str]) -> bool | None:
        exam = exams[one[0]]
        return exam.has_specialty(one[1], one[2]) if exam is not None and one[2] else None

    rows.columns |= {
        "level_known": columns.by_value(level_known, graded),
        "specialty_known": columns.by_value(specialty_known, offered),
        "exam_live": columns.by_value(live, graded),
        "city_matches": columns.by_value(
            lambda one: _at_home(one[1], standings[one[0]], reference),
            list(zip(rows.owner, rows.text("clean_BMS"), strict=True)),
        ),
    }


def _at_home(place: str, standing: Standing, reference: Reference) -> bool | None:
    """Whether 报名市 is the sending city, or was merged into it (莱芜市)."""
    if standing.city is None or not place:
        return None
    reported = reference.city_named(place)
    return reported is not None and reference.city_today(reported).account == standing.city.account

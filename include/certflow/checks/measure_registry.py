"""Measures rows against the certificate database (suite ``registry_match``; notice 二(一)2).

The five fields of the notice must be equal. Differences that vanish under a comparison key are equal and said to be
written differently; the database's value is what we emit (DOMAIN §3.1).
"""

from collections.abc import Mapping, Sequence
from itertools import compress

import numpy as np

from certflow import keys
from certflow.checks import columns
from certflow.checks.measure_files import Standing
from certflow.checks.measure_rows import IN_FUTURE, Rows
from certflow.identity import Bools
from certflow.reference import Reference, RuleSet

SOURCES = {
    "KSXM": "name", "ZJHM": "id_number", "ZJLB": "id_type", "XB": "sex", "BKJB": "level", "BKZY": "specialty",
    "CSNY": "birth_month", "PZRQ": "approved_on", "BMS": "city",
}  # fmt: skip
"""Field → column of the match."""


def measure(
    rows: Rows,
    standings: Sequence[Standing],
    reference: Reference,
    found: Mapping[str, Sequence[object]] | None,
    rule_sets: Sequence[RuleSet],
) -> None:
    """Add the ``db_*`` columns; with `found` None (no database) all of them are silent.

    `found` is the answer of `registry.certificates.match`, aligned with the rows; `rule_sets`: per submission.
    """
    size = len(rows)
    nothing: list[object] = [None] * size
    names = (
        "db_found", "db_person_ok", "db_name_equal", "db_name_unvaried", "db_name_exact", "db_id_equal", "db_id_exact",
        "db_type_equal", "db_level_equal", "db_level_exact", "db_specialty_equal", "db_specialty_exact",
        "db_date_equal", "db_date_exact", "db_city_equal", "db_city_exact", "db_exam_equal", "db_paper", "db_exam",
        "certificate_id", "id_fifteen_known", "id_checksum_known", *(f"db_{field}" for field in SOURCES),
    )  # fmt: skip
    if found is None:
        rows.columns |= {name: list(nothing) for name in names}
        return
    electronic = [one.electronic_replaces_paper for one in rule_sets]
    known = columns.lengths(rows.text("clean_ZSGLH")) > 0
    located = known & np.fromiter((key is not None for key in found["certificate_id"]), dtype=np.bool_, count=size)
    held = {source: _texts(found[source]) for source in _BESIDE}
    held |= {source: _shared(_texts(found[source]), rows.text(field)) for field, source in SOURCES.items()}
    alike = located & _alike(rows, held)
    told = {name: list(nothing) for name in names}
    told |= {
        f"db_{field}": columns.spread(located, _chosen(held[source], located)) for field, source in SOURCES.items()
    }
    told |= {name: columns.spread(alike, [True] * int(alike.sum())) for name in _SAME}
    told["db_found"] = columns.spread(known, located[known].tolist())
    told["certificate_id"] = columns.spread(located, _chosen(found["certificate_id"], located))
    told["db_exam"] = columns.spread(alike, _chosen(held["exam_name"], alike))
    _compare_alike(rows, told, alike, held, standings=standings, reference=reference, electronic=electronic)
    rows.columns |= told
    for line in columns.lines(located & ~alike):
        values = {name: column[line] for name, column in held.items()}
        owner = rows.owner[line]
        _compare(rows, told, line, values, standing=standings[owner], reference=reference, electronic=electronic[owner])
    _compare_cities(rows, held["city"], standings, reference)
    _measure_fifteen(rows, told)
    _respect_dates(rows, told)


_BESIDE = ("exam_code", "exam_name", "e_certificate")
_SAME = (
    "db_person_ok", "db_name_equal", "db_name_unvaried", "db_name_exact", "db_id_equal", "db_id_exact",
    "db_level_equal", "db_level_exact", "db_specialty_equal", "db_specialty_exact", "db_date_equal", "db_date_exact",
)  # fmt: skip
"""Columns that say yes where a row and its certificate say the same, sign by sign."""


def _texts(values: Sequence[object]) -> list[str]:
    if None not in values:
        return [*values]  # type: ignore[list-item]
    return ["" if value is None else str(value) for value in values]


def _shared(held: Sequence[str], sent: Sequence[str]) -> list[str]:
    """The database's texts, as the very texts of the rows where they are equal: nearly all are, and held once then."""
    return [own if own == one else one for one, own in zip(held, sent, strict=True)]


def _chosen(values: Sequence[object], where: Bools) -> list[object]:
    return list(compress(values, where.tolist()))


def _alike(rows: Rows, held: Mapping[str, Sequence[str]]) -> Bools:
    """Where all that is compared is the same sign by sign, and nothing in it calls for a closer look."""
    same = columns.lengths(rows.text("clean_ZJHM")) != 15
    for field in ("KSXM", "ZJHM", "ZJLB", "BKJB", "BKZY"):
        same &= columns.equal(rows.text(field), held[SOURCES[field]])
    for ours, source, read in (("approved", "approved_on", _day), ("birth", "birth_month", _month)):
        values = columns.by_value(read, held[source])
        same &= columns.equal(rows.text(ours), values) & (columns.lengths(values) > 0)
    same &= columns.equal(rows.text("clean_XB"), held["sex"])
    right = columns.by_value(lambda good: good is not False, rows.columns["id_checksum_ok"])
    words = columns.by_value(lambda text: _word(text) == text, [*rows.text("BKJB"), *rows.text("BKZY")])
    size = len(rows)
    same &= np.array(right, dtype=np.bool_) & np.array(words[:size], dtype=np.bool_)
    return np.asarray(same & np.array(words[size:], dtype=np.bool_), dtype=np.bool_)


def _day(text: str) -> str:
    return keys.parse_date(text).value


def _month(text: str) -> str:
    return _day(text)[:6]


def _compare_alike(
    rows: Rows,
    told: dict[str, list[object]],
    alike: Bools,
    held: Mapping[str, Sequence[str]],
    *,
    standings: Sequence[Standing],
    reference: Reference,
    electronic: Sequence[bool],
) -> None:
    """What is left to say of rows that are alike: type, exam, electronic certificate, and the respect for history."""
    exams = [standing.exam for standing in standings]
    types = _chosen(rows.text("ZJLB"), alike)
    told["db_type_equal"] = columns.spread(
        alike, columns.by_value(lambda text: True if reference.id_type_named(str(text)) else None, types)
    )
    told["db_exam_equal"] = columns.spread(
        alike,
        columns.by_value(
            lambda one: None if (exam := exams[one[0]]) is None else exam.code == one[1],
            list(zip(compress(rows.owner, alike.tolist()), _chosen(held["exam_code"], alike), strict=True)),
        ),
    )
    if any(electronic):
        papers = columns.by_value(
            lambda one: one[1] != "是" if electronic[one[0]] else None,
            list(zip(compress(rows.owner, alike.tolist()), _chosen(held["e_certificate"], alike), strict=True)),
        )
        told["db_paper"] = columns.spread(alike, papers)
    for name in ("level_known", "specialty_known"):
        column = np.array(rows.columns[name], dtype=object)
        column[alike] = None
        rows.columns[name] = column.tolist()


def _compare(
    rows: Rows,
    told: dict[str, list[object]],
    line: int,
    held: Mapping[str, str],
    *,
    standing: Standing,
    reference: Reference,
    electronic: bool,
) -> None:
    sent = {field: str(rows.columns[field][line]) for field in SOURCES}
    name, number = keys.name_key(sent["KSXM"]), keys.id_key(sent["ZJHM"])
    name_equal = name == keys.name_key(held["name"])
    variant = not name_equal and keys.is_variant(sent["KSXM"], held["name"], reference.name_variants)
    id_equal = number == keys.id_key(held["id_number"])
    if not (name_equal or variant or id_equal):
        sound = number and False not in (rows.columns["id_form_ok"][line], rows.columns["id_checksum_ok"][line])
        # D28: nothing else is said about another person's certificate, and not even that where nobody is named.
        told["db_person_ok"][line] = False if name or sound else None
        return
    told["db_person_ok"][line] = True
    told["db_name_equal"][line] = name_equal or variant
    told["db_name_unvaried"][line] = not variant
    told["db_name_exact"][line] = sent["KSXM"] == held["name"] if name_equal else None
    told["db_id_equal"][line] = id_equal
    told["db_id_exact"][line] = sent["ZJHM"] == held["id_number"] if id_equal else None
    _compare_words(told, line, sent, held, reference)
    _compare_dates(rows, told, line, held)
    told["db_exam"][line] = held["exam_name"]
    if standing.exam is not None:
        told["db_exam_equal"][line] = held["exam_code"] == standing.exam.code
    if electronic:
        told["db_paper"][line] = held["e_certificate"] != "是"
    _respect_history(rows, told, line, held, id_equal=id_equal)


def _compare_words(
    told: dict[str, list[object]], line: int, sent: Mapping[str, str], held: Mapping[str, str], reference: Reference
) -> None:
    aliases = reference.level_aliases
    pairs = {
        "level": (keys.level_key(_word(sent["BKJB"]), aliases), keys.level_key(_word(held["level"]), aliases), "BKJB"),
        "specialty": (keys.text_key(_word(sent["BKZY"])), keys.text_key(_word(held["specialty"])), "BKZY"),
    }
    for name, (ours, theirs, field) in pairs.items():
        told[f"db_{name}_equal"][line] = ours == theirs
        told[f"db_{name}_exact"][line] = held[name] in (sent[field], _word(sent[field])) if ours == theirs else None
    one, other = reference.id_type_named(sent["ZJLB"]), reference.id_type_named(held["id_type"])
    told["db_type_equal"][line] = None if one is None or not held["id_type"] else one == other


def _compare_dates(rows: Rows, told: dict[str, list[object]], line: int, held: Mapping[str, str]) -> None:
    """Equal on what both say: a database that only knows the month cannot contradict a day."""
    sent, known = rows.text("approved")[line], keys.parse_date(held["approved_on"]).value
    if sent:
        shared = min(len(sent), len(known)) or 8
        told["db_date_equal"][line] = equal = sent[:shared] == known[:shared]
        told["db_date_exact"][line] = sent == known if equal else None
    birth, born = rows.text("birth")[line], keys.parse_date(held["birth_month"]).value[:6]
    if birth and born and birth != born:
        rows.columns["id_birth_ok"][line] = False  # D08
    if (
        held["sex"] in ("男", "女")
        and rows.text("clean_XB")[line] in ("男", "女")
        and (rows.text("clean_XB")[line] != held["sex"])
    ):
        rows.columns["id_sex_ok"][line] = False  # D07


def _compare_cities(rows: Rows, held: Sequence[str], standings: Sequence[Standing], reference: Reference) -> None:
    """The database's city is what is emitted: of a row that names its own city it should be that, too (D35)."""

    def compared(one: tuple[int, bool, str, str]) -> tuple[bool | None, bool | None]:
        owner, own, sent, known = one
        city, home = reference.city_named(known), standings[owner].city
        if not own or not known or home is None:
            return None, None
        equal = None if city is None else reference.city_today(city).account == home.account
        return equal, None if equal is False else sent == known

    pairs = zip(rows.columns["db_person_ok"], rows.columns["city_matches"], strict=True)
    own = [person is True and matches is True for person, matches in pairs]
    found = columns.by_value(compared, list(zip(rows.owner, own, rows.text("clean_BMS"), held, strict=True)))
    rows.columns |= {"db_city_equal": [one for one, _ in found], "db_city_exact": [other for _, other in found]}


def _respect_history(
    rows: Rows,
    told: dict[str, list[object]],
    line: int,
    held: Mapping[str, str],
    *,
    id_equal: bool,
) -> None:
    """What the database holds as well is no fault of the city (尊重历史数据; D01)."""
    if (
        rows.columns["id_checksum_ok"][line] is False
        and keys.id_text(held["id_number"]) == rows.text("clean_ZJHM")[line]
    ):
        rows.columns["id_checksum_ok"][line] = None
        told["id_checksum_known"][line] = False
    if id_equal and len(rows.text("clean_ZJHM")[line]) == 15:
        told["id_fifteen_known"][line] = True
    if told["db_level_equal"][line]:
        rows.columns["level_known"][line] = None
    if told["db_specialty_equal"][line]:
        rows.columns["specialty_known"][line] = None


def _measure_fifteen(rows: Rows, told: dict[str, list[object]]) -> None:
    """A 15-digit number of a resident that the database does not know (D03)."""
    numbers = rows.text("clean_ZJHM")
    for line in columns.lines(columns.lengths(numbers) == 15):
        if numbers[line].isdecimal() and rows.columns["id_kind"][line] == "resident":
            told["id_fifteen_known"][line] = told["id_fifteen_known"][line] is True


def _respect_dates(rows: Rows, told: Mapping[str, Sequence[object]]) -> None:
    """What the database holds of that exam and day is there, whatever years the exam table says (D33)."""
    faults = rows.columns["approved_fault"]
    pairs = zip(told["db_date_equal"], told["db_exam_equal"], faults, strict=True)
    rows.columns["approved_fault"] = [
        "" if day is True and exam is True and fault is not None and fault != IN_FUTURE else fault
        for day, exam, fault in pairs
    ]


def _word(text: str) -> str:
    return "" if keys.is_nothing(text, optional=True) else text

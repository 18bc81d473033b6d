"""Measures rows against the certificate database (suite ``registry_match``; notice 二(一)2).

The five fields of the notice must be equal. Differences that vanish under a comparison key are equal and said to be
written differently; the database's value is what we emit (DOMAIN §3.1).
"""

from collections.abc import Mapping, Sequence

from certflow import keys
from certflow.checks.measure_files import Standing
from certflow.checks.measure_rows import Rows
from certflow.reference import Reference

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
    *,
    electronic: bool,
) -> None:
    """Add the ``db_*`` columns; with `found` None (no database) all of them are silent.

    `found` is the answer of `registry.certificates.match`, aligned with the rows; `electronic`: whether the rule set
    sends rows with an electronic certificate back.
    """
    size = len(rows)
    nothing: list[object] = [None] * size
    names = (
        "db_found", "db_person_ok", "db_name_equal", "db_name_unvaried", "db_name_exact", "db_id_equal", "db_id_exact",
        "db_type_equal", "db_level_equal", "db_level_exact", "db_specialty_equal", "db_specialty_exact",
        "db_date_equal", "db_exam_equal", "db_paper", "db_exam", "certificate_id", "id_fifteen_known",
        "id_checksum_known", *(f"db_{field}" for field in SOURCES),
    )  # fmt: skip
    columns = {name: list(nothing) for name in names}
    rows.columns |= columns
    if found is None:
        return
    for line in range(size):
        if not rows.text("clean_ZSGLH")[line]:
            continue
        certificate = found["certificate_id"][line]
        columns["db_found"][line] = certificate is not None
        if certificate is not None:
            held = {
                name: _text(found[name][line])
                for name in (*SOURCES.values(), "exam_code", "exam_name", "e_certificate")
            }
            _compare(
                rows, columns, line, held,
                standing=standings[rows.owner[line]], reference=reference, electronic=electronic,
            )  # fmt: skip
            columns["certificate_id"][line] = certificate
    _measure_fifteen(rows, columns)


def _compare(
    rows: Rows,
    columns: dict[str, list[object]],
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
    for field, source in SOURCES.items():
        columns[f"db_{field}"][line] = held[source]
    if not (name_equal or variant or id_equal):
        columns["db_person_ok"][line] = False  # D28: nothing else is said about another person's certificate
        return
    columns["db_person_ok"][line] = True
    columns["db_name_equal"][line] = name_equal or variant
    columns["db_name_unvaried"][line] = not variant
    columns["db_name_exact"][line] = sent["KSXM"] == held["name"] if name_equal else None
    columns["db_id_equal"][line] = id_equal
    columns["db_id_exact"][line] = sent["ZJHM"] == held["id_number"] if id_equal else None
    _compare_words(columns, line, sent, held, reference)
    _compare_dates(rows, columns, line, held)
    columns["db_exam"][line] = held["exam_name"]
    if standing.exam is not None:
        columns["db_exam_equal"][line] = held["exam_code"] == standing.exam.code
    if electronic:
        columns["db_paper"][line] = held["e_certificate"] != "是"
    _respect_history(rows, columns, line, held, id_equal=id_equal)


def _compare_words(
    columns: dict[str, list[object]], line: int, sent: Mapping[str, str], held: Mapping[str, str], reference: Reference
) -> None:
    aliases = reference.level_aliases
    pairs = {
        "level": (keys.level_key(_word(sent["BKJB"]), aliases), keys.level_key(held["level"], aliases), "BKJB"),
        "specialty": (keys.text_key(_word(sent["BKZY"])), keys.text_key(held["specialty"]), "BKZY"),
    }
    for name, (ours, theirs, field) in pairs.items():
        columns[f"db_{name}_equal"][line] = ours == theirs
        columns[f"db_{name}_exact"][line] = _word(sent[field]) == held[name] if ours == theirs else None
    one, other = reference.id_type_named(sent["ZJLB"]), reference.id_type_named(held["id_type"])
    columns["db_type_equal"][line] = None if one is None or not held["id_type"] else one == other


def _compare_dates(rows: Rows, columns: dict[str, list[object]], line: int, held: Mapping[str, str]) -> None:
    """Equal on what both say: a database that only knows the month cannot contradict a day."""
    sent, known = rows.text("approved")[line], keys.parse_date(held["approved_on"]).value
    if sent:
        shared = min(len(sent), len(known)) or 8
        columns["db_date_equal"][line] = sent[:shared] == known[:shared]
    birth, born = rows.text("birth")[line], keys.parse_date(held["birth_month"]).value[:6]
    if birth and born and birth != born:
        rows.columns["id_birth_ok"][line] = False  # D08
    if (
        held["sex"] in ("男", "女")
        and rows.text("clean_XB")[line] in ("男", "女")
        and (rows.text("clean_XB")[line] != held["sex"])
    ):
        rows.columns["id_sex_ok"][line] = False  # D07


def _respect_history(
    rows: Rows,
    columns: dict[str, list[object]],
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
        columns["id_checksum_known"][line] = False
    if id_equal and len(rows.text("clean_ZJHM")[line]) == 15:
        columns["id_fifteen_known"][line] = True
    if columns["db_level_equal"][line]:
        rows.columns["level_known"][line] = None
    if columns["db_specialty_equal"][line]:
        rows.columns["specialty_known"][line] = None


def _measure_fifteen(rows: Rows, columns: dict[str, list[object]]) -> None:
    """A 15-digit number of a resident that the database does not know (D03)."""
    for line, number in enumerate(rows.text("clean_ZJHM")):
        if len(number) == 15 and number.isdecimal() and rows.columns["id_kind"][line] == "resident":
            columns["id_fifteen_known"][line] = columns["id_fifteen_known"][line] is True


def _word(text: str) -> str:
    return "" if text.strip() in ("-", "－", "—") else text


def _text(value: object) -> str:
    return "" if value is None else str(value)

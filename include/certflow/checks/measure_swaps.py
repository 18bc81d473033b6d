"""Measures columns that were swapped with one that holds the same kind of value (D38): numbers, dates, words.

Where a column holds another kind of value altogether `measure_rows.shares` sees it; here each value could be right.
"""

from collections.abc import Sequence

import numpy as np

from certflow import identity, keys
from certflow.checks import columns
from certflow.checks.measure_files import Standing
from certflow.checks.measure_rows import Rows
from certflow.identity import Bools


def measure(rows: Rows, standings: Sequence[Standing], files: dict[str, list[object]]) -> None:
    """Raise `shift_share` of the file frame, and say which columns, where a swap explains more rows than before."""
    owners = np.array(rows.owner, dtype=np.intp)
    totals = np.bincount(owners, minlength=len(standings))
    for title, swapped in (
        ("管理号（ZSGLH）与证件号码（ZJHM）", _numbers(rows)),
        ("出生年月（CSNY）与批准日期（PZRQ）", _dates(rows)),
        ("级别（BKJB）与专业（BKZY）", _words(rows, standings)),
    ):
        counts = np.bincount(owners[swapped], minlength=len(standings)) if len(owners) else totals
        for position, (count, total) in enumerate(zip(counts.tolist(), totals.tolist(), strict=True)):
            if total and count / total > float(str(files["shift_share"][position] or 0)):
                files["shift_share"][position], files["shift_share_detail"][position] = count / total, title


def _numbers(rows: Rows) -> Bools:
    """A sound 18-digit ID number as 管理号, and none as ID number."""
    found = _is_id(rows.text("clean_ZSGLH"))
    numbers, lines = rows.text("clean_ZJHM"), np.flatnonzero(found)
    found[lines] = ~_is_id([numbers[line] for line in lines])
    return found


def _is_id(values: Sequence[str]) -> Bools:
    signs = identity.signs(values)
    return identity.checksum_ok(signs) & identity.date_ok(signs)


def _dates(rows: Rows) -> Bools:
    """Born after the certificate was approved."""
    born = columns.by_value(_year, rows.text("clean_CSNY"))
    approved = columns.by_value(_year, rows.text("clean_PZRQ"))
    return np.array([len(a) == 4 and b > a for b, a in zip(born, approved, strict=True)], dtype=np.bool_)


def _year(text: str) -> str:
    return text[:4] if text[:4].isdecimal() else ""


def _words(rows: Rows, standings: Sequence[Standing]) -> Bools:
    """A level of the exam as specialty, and none as level."""

    def swapped(one: tuple[int, str, str]) -> bool:
        owner, level, specialty = one
        exam = standings[owner].exam
        levels = exam.levels if exam is not None else {}
        return keys.text_key(specialty) in levels and keys.text_key(level) not in levels

    triples = zip(rows.owner, rows.text("clean_BKJB"), rows.text("clean_BKZY"), strict=True)
    return np.array(columns.by_value(swapped, [*triples]), dtype=np.bool_)

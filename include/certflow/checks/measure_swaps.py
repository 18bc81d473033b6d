"""Measures columns that were swapped with one that holds the same kind of value (D38): numbers, dates, words.

Where a column holds another kind of value altogether `measure_rows.shares` sees it; here each value could be right.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from certflow import identity, keys
from certflow.checks.measure_files import Standing
from certflow.checks.measure_rows import Rows


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


def _numbers(rows: Rows) -> NDArray[np.bool_]:
    """A sound 18-digit ID number as 管理号, and none as ID number."""
    return _is_id(rows.text("clean_ZSGLH")) & ~_is_id(rows.text("clean_ZJHM"))


def _is_id(values: Sequence[str]) -> NDArray[np.bool_]:
    found = np.zeros(len(values), dtype=np.bool_)
    fitting = [line for line, value in enumerate(values) if len(value) == 18 and value[:17].isdecimal()]
    if fitting:
        texts = [values[line] for line in fitting]
        found[fitting] = identity.checksum_ok(texts) & identity.date_ok(texts)
    return found


def _dates(rows: Rows) -> NDArray[np.bool_]:
    """Born after the certificate was approved."""
    pairs = zip(rows.text("clean_CSNY"), rows.text("clean_PZRQ"), strict=True)
    years = [(born[:4], approved[:4]) for born, approved in pairs]
    return np.array([b.isdecimal() and a.isdecimal() and len(a) == 4 and b > a for b, a in years], dtype=np.bool_)


def _words(rows: Rows, standings: Sequence[Standing]) -> NDArray[np.bool_]:
    """A level of the exam as specialty, and none as level."""
    known: dict[tuple[int, str, str], bool] = {}
    found = []
    for pair in zip(rows.owner, rows.text("clean_BKJB"), rows.text("clean_BKZY"), strict=True):
        if pair not in known:
            owner, level, specialty = pair
            exam = standings[owner].exam
            levels = exam.levels if exam is not None else {}
            known[pair] = keys.text_key(specialty) in levels and keys.text_key(level) not in levels
        found.append(known[pair])
    return np.array(found, dtype=np.bool_)

"""Workbooks as cities make them: text cells where they are careful, numbers, dates, errors, formulas where not."""

import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

import openpyxl
import xlwt

from certflow.demo.archives import Member, pack

_NOT_AVAILABLE: Final = 0x2A
_STAMP: Final = re.compile(rb"(<dcterms:(?:created|modified)[^>]*>)[^<]*")


@dataclass(frozen=True, slots=True)
class ErrorCell:
    """A cell that shows ``#N/A``."""


@dataclass(frozen=True, slots=True)
class FormulaCell:
    """A cell with a formula, without the equals sign."""

    text: str


Value = str | float | date | ErrorCell | FormulaCell
"""A cell as typed: text, number, date cell, error, formula."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a sheet, counted from 0."""

    at: int
    values: tuple[Value, ...]
    hidden: bool = False
    merged: int | None = None
    """Column whose cell is one with the cell below."""


def write_xls(lines: Sequence[Line], *, second: bool = False) -> bytes:
    """BIFF8, text cells in the text format; `second` repeats the data on another sheet."""
    book = xlwt.Workbook(encoding="utf-8")
    sheet = book.add_sheet("Sheet1")
    formats = {kind: xlwt.easyxf(num_format_str=kind) for kind in ("@", "yyyy-mm-dd", "General")}
    taken: set[tuple[int, int]] = set()
    for line in lines:
        for column, value in enumerate(line.values):
            if line.merged == column:
                sheet.write_merge(line.at, line.at + 1, column, column, value, formats["@"])
                taken.add((line.at + 1, column))
            elif (line.at, column) not in taken:
                _write_cell(sheet, line.at, column, value, formats)
        if line.hidden:
            sheet.row(line.at).hidden = True
    if second:
        other = book.add_sheet("Sheet2")
        for line in lines:
            for column, value in enumerate(line.values):
                _write_cell(other, line.at, column, value, formats)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def write_xlsx(lines: Sequence[Line]) -> bytes:
    """OOXML, text cells in the text format, without the moment of its making."""
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for line in lines:
        for column, value in enumerate(line.values, start=1):
            cell = sheet.cell(line.at + 1, column)
            if isinstance(value, ErrorCell):
                cell.value, cell.data_type = "#N/A", "e"
            elif isinstance(value, FormulaCell):
                cell.value = f"={value.text}"
            elif isinstance(value, str):
                if value:
                    cell.value, cell.data_type = value, "s"
                cell.number_format = "@"
            else:
                cell.value = value
    stream = io.BytesIO()
    book.save(stream)
    return timeless(stream.getvalue())


def timeless(data: bytes) -> bytes:
    """The same OOXML workbook with one fixed time in its properties and its zip entries."""
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        parts = [Member(name, book.read(name), method=8) for name in book.namelist()]
    return pack(
        [
            replace(part, data=_STAMP.sub(rb"\g<1>2020-05-29T08:00:00Z", part.data))
            if part.name == "docProps/core.xml"
            else part
            for part in parts
        ]
    )


def _write_cell(sheet: Any, line: int, column: int, value: Value, formats: dict[str, Any]) -> None:  # noqa: ANN401 (xlwt is untyped)
    if isinstance(value, ErrorCell):
        sheet.row(line).set_cell_error(column, _NOT_AVAILABLE, formats["@"])
    elif isinstance(value, FormulaCell):
        sheet.write(line, column, xlwt.Formula(value.text), formats["General"])
    elif isinstance(value, date):
        sheet.write(line, column, value, formats["yyyy-mm-dd"])
    else:
        sheet.write(line, column, value, formats["@" if isinstance(value, str) else "General"])

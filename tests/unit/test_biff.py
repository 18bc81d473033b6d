"""Sheets of text in an `.XLS`, read by ourselves, beside what calamine makes of them."""

import struct
from collections.abc import Callable

import pytest
import xlwt
from made_books import xls

from certflow import biff, excel
from certflow.book import Grid

ROWS = [["管理号", "姓名", "照片"], ["1", "王𠮷", "a.jpg"], ["2", "Müller", "b.jpg"], ["3", "", "c.jpg"]]


def ours(data: bytes) -> list[Grid] | None:
    return biff.read(data, rows=65_536, columns=256)[1]


def told(grids: list[Grid] | None) -> list[tuple] | None:
    return grids and [(one.name, one.first_row, one.first_column, one.texts, one.kinds) for one in grids]


def sheet(change: Callable[[xlwt.Worksheet], object]) -> bytes:
    return xls(ROWS, lambda book: change(book.get_sheet(0)))


def rich(page: xlwt.Worksheet) -> None:
    bold, plain = xlwt.easyfont("bold on"), xlwt.easyfont("")
    for row in range(4, 1500):  # so many that some are cut within their formatting
        page.write_rich_text(row, 0, [("粗" * (row % 9), bold), (f"thin{row}", plain), ("é", bold)])


def more_sheets(book: xlwt.Workbook) -> None:
    book.add_sheet("空")
    hidden = book.add_sheet("藏")
    hidden.visibility = 1
    hidden.write(5, 7, "x")


@pytest.mark.parametrize(
    "data",
    [
        xls(ROWS), xls([]), xls([["x"]]), xls([[], [], ["", "", "x"]]), xls(ROWS, more_sheets), sheet(rich),
        sheet(lambda page: page.write(2_000, 250, "far")), sheet(lambda page: page.write(2, 9, "\0a\ufffe\uffff")),
        sheet(lambda page: [page.write(row, 1, "长" * (row % 600)) for row in range(600)]),
        sheet(lambda page: [page.write(row, 1, "é" * (row % 600)) for row in range(600)]),
        sheet(lambda page: [page.write(row, 1, f"{row}\x80\xff") for row in range(20_000)]),
    ],
)  # fmt: skip
def test_sheets_of_text_are_read_as_calamine_reads_them(data):
    found = ours(data)
    assert found is not None
    assert told(found) == told(excel.read_sheets(data))


def test_a_name_longer_than_its_record_ends_with_it():
    data = xls(ROWS, more_sheets)
    at = data.index(b"\x06\0Sheet1")
    longer = data[:at] + b"\xff" + data[at + 1 :]
    assert told(ours(longer)) == told(excel.read_sheets(longer)) == told(ours(data))


def cell(data: bytes, row: int, column: int) -> int:
    """Where a cell with a shared string begins."""
    return data.index(struct.pack("<4H", 0xFD, 10, row, column))


def moved(*places: tuple[tuple[int, int], tuple[int, int]]) -> bytes:
    """ROWS, cells of some places moved to others."""
    data = bytearray(xls(ROWS))
    found = [cell(bytes(data), *old) for old, _ in places]
    for at, (_, new) in zip(found, places, strict=True):
        struct.pack_into("<2H", data, at + 4, *new)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        moved(((0, 0), (2, 2)), ((2, 2), (0, 0))), moved(((1, 0), (1, 1))), moved(((0, 0), (3, 2))),
        moved(((0, 2), (0, 5)), ((1, 0), (7, 0))), moved(((3, 2), (0, 0))),
    ],
)  # fmt: skip
def test_cells_in_any_order_and_twice_in_a_place_are_laid_out_as_calamine_does(data):
    found = ours(data)
    assert found is not None
    assert told(found) == told(excel.read_sheets(data))


@pytest.mark.parametrize("value", [1, 1.5, True, xlwt.Formula("1+1"), xlwt.Formula('"a"')])
def test_whatever_is_no_text_is_left_to_calamine(value):
    assert ours(sheet(lambda page: page.write(3, 1, value))) is None
    assert ours(sheet(lambda page: page.row(3).set_cell_error(1, 0x2A))) is None


def test_strings_that_are_not_as_they_should_be_are_left_to_calamine():
    data = xls(ROWS)
    beyond, fewer, longer = bytearray(data), bytearray(data), bytearray(data)
    struct.pack_into("<I", beyond, cell(data, 1, 0) + 10, 1 << 20)
    shared = data.index(struct.pack("<2I", 11, 11))  # how often strings are used, and how many there are
    struct.pack_into("<I", fewer, shared + 4, 3)
    struct.pack_into("<I", longer, shared + 4, 1 << 31)
    named = data.replace(b"Sheet1", b"Sheet\0")
    for changed in (beyond, fewer, longer, named):
        assert ours(bytes(changed)) is None
        assert excel.read(bytes(changed), rows=9, columns=9, part_bytes=0)[1] == excel.read_sheets(bytes(changed))

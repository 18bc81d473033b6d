"""Workbooks we write, read by other readers than our own."""

import gc
import hashlib
import io
import re
import time
import tracemalloc
import zipfile

import openpyxl
import pytest
import python_calamine as calamine
import xlrd
import xlsxwriter
import xlwt

from certflow import excel
from certflow.errors import Conflict, SubmissionError
from certflow.findings import FIELDS

ROWS = [["2015034370000001", "王𠮷·买买提", "11010519491231002X", "", "女", "=1+1", "@x", "-", "𬎆", "0", "济南市"]]


def test_xls_is_real_biff8_with_text_cells_only():
    data = excel.write_xls(FIELDS, ROWS)
    assert data.startswith(b"\xd0\xcf\x11\xe0")
    book = xlrd.open_workbook(file_contents=data, formatting_info=True)
    assert book.biff_version == 80
    sheet = book.sheet_by_index(0)
    assert sheet.row_values(0) == list(FIELDS)
    assert sheet.row_values(1) == ROWS[0]
    assert {sheet.cell_type(1, column) for column in range(11)} <= {xlrd.XL_CELL_TEXT, xlrd.XL_CELL_BLANK}
    formats = {
        book.format_map[book.xf_list[sheet.cell_xf_index(1, column)].format_key].format_str for column in range(11)
    }
    assert formats == {"@"}


def test_same_content_same_bytes_at_any_time():
    first = excel.write_xls(FIELDS, ROWS)
    time.sleep(1.1)
    assert hashlib.sha256(excel.write_xls(FIELDS, ROWS)).digest() == hashlib.sha256(first).digest()


def test_d12_every_rare_character_survives_whichever_record_it_falls_into():
    rows = [[f"{'野' * (number % 5)}𠮷𬎆{number}"] for number in range(6000)]
    data = excel.write_xls(["KSXM"], rows)
    assert list(excel.read(data, rows=9000, columns=1, part_bytes=0)[1][0].rows())[1:] == rows
    with calamine.CalamineWorkbook.from_filelike(io.BytesIO(data)) as book:  # which loses what is cut in two
        assert book.get_sheet_by_index(0).to_python()[1:] == rows
    assert xlrd.open_workbook(file_contents=data).sheet_by_index(0).col_values(0)[1:] == [value for (value,) in rows]


def test_the_last_row_of_an_xls_is_written_and_one_more_is_refused():
    rows = [["x"]] * excel.XLS_ROWS
    assert sum(1 for _ in excel.read_own(excel.write_xls(["a"], rows))) == 65_536
    with pytest.raises(Conflict, match="65535"):
        excel.write_xls(["a"], [*rows, ["x"]])


def test_rows_of_our_own_are_read_from_the_first_that_has_content_and_from_the_first_column():
    made = xlwt.Workbook()
    sheet = made.add_sheet("a")
    sheet.write(2, 1, "x")
    sheet.write(4, 2, 7)
    out = io.BytesIO()
    made.save(out)
    assert list(excel.read_own(out.getvalue())) == [["", "x", ""], ["", "", ""], ["", "", "7"]]


def test_a_damaged_workbook_of_our_own_is_told_before_the_first_row():
    with pytest.raises(SubmissionError, match="BOOK-DAMAGED"):
        excel.read_own(excel.write_xls(["a"], [["x"]])[:2000])


def test_a_value_longer_than_a_record_is_refused():
    assert list(excel.read_own(excel.write_xls(["a"], [["𠮷" * 2000]])))[1] == ["𠮷" * 2000]
    with pytest.raises(Conflict, match="row 2 column 1"):
        excel.write_xls(["a"], [["x" * 4001]])


@pytest.mark.parametrize(("kind", "most"), [("xlsx", 100_000), ("xls", 250_000)])
def test_a_written_workbook_leaves_no_row_in_memory(tmp_path, kind, most):
    """Its classes name each other: all rows of sixteen cities stayed until somebody looked for cycles.

    Of an .XLS the interpreter keeps two thousand empty pairs for the next who wants one, which are no rows.
    """
    page = excel.Page("表", [[f"{down}-{across}" for across in range(9)] for down in range(2_000)], [9] * 9)

    def write(name):
        if kind == "xls":
            excel.write_xls("ABCDEFGHI", page.rows)
        else:
            excel.write_xlsx(tmp_path / name, [page, excel.Page("二", page.rows, page.widths)])

    gc.collect()
    gc.disable()
    try:
        write("first.xlsx")
        tracemalloc.start()
        write("second.xlsx")
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert left < most
    assert peak > 1_000_000


def test_rows_are_written_as_the_library_would_write_them(tmp_path):
    """All but `spans`, a hint at which columns a row has. With texts in their cells, where it is to save memory."""
    texts = ["甲", 'a&b<c>"d"', "", " y ", "_x0041_", "=1+1", "长" * 40]
    plain = [["王", "%s", "𠮷", "", "12", '"', ""], ["", "3", "", "", "", "", "4"]]
    rows = [[excel.Cell("标题", "title")], [excel.Cell(text, "bad") for text in texts], texts, *plain, *plain]
    excel.write_xlsx(tmp_path / "ours.xlsx", [excel.Page("表", rows, [9] * 7, freeze="A2", mark="box")])
    book = xlsxwriter.Workbook(tmp_path / "theirs.xlsx", {"constant_memory": True})
    looks = {mark: book.add_format(excel._dress(mark)) for mark in ("title", "bad", "box")}
    sheet = book.add_worksheet("表")
    sheet.set_default_row(17.25)
    for down, row in enumerate(rows):
        sheet.set_row(down, {0: 22.5, 1: 17.25 * 10}.get(down))
        for across, cell in enumerate(row):
            text, mark = (cell, "box") if isinstance(cell, str) else (cell.text, cell.mark)
            (sheet.write_string if text else sheet.write_blank)(down, across, text, looks[mark])
    book.close()
    parts = []
    for name in ("ours", "theirs"):
        with zipfile.ZipFile(tmp_path / f"{name}.xlsx") as package:
            data = package.read("xl/worksheets/sheet1.xml").decode()
            rows_of = re.sub(' spans="[^"]*"', "", data[data.index("<sheetData>") : data.index("</sheetData>")])
            parts.append((rows_of, [one for one in package.namelist() if "haredStrings" in one]))
    assert parts[0] == parts[1]


def test_e35_xlsx_for_people_holds_text_only(tmp_path):
    path = tmp_path / "退回单.xlsx"
    odd = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "a_x000D_b", "𠮷", "<r><t>王</t></r>", "<r>&</r>", "a\x00b",
           "\ud800"]  # fmt: skip
    rows = [[excel.Cell("标题", "title")], [excel.Cell(text, "bad") for text in odd]]
    page = excel.Page("退回", rows, [20] * len(odd), freeze="A2", landscape=True, repeat_rows=1,
                      footer="第 &P 页/共 &N 页")  # fmt: skip
    excel.write_xlsx(path, [page])
    sheet = openpyxl.load_workbook(path)["退回"]
    assert [cell.data_type for cell in sheet[2]] == ["s"] * len(odd)
    assert [cell.number_format for cell in sheet[2]] == ["@"] * len(odd)
    assert list(excel.read_table(path))[1] == [*odd[:-2], "a\ufffdb", "\ufffd"]
    assert list(excel.read_own(path.read_bytes()))[1] == [*odd[:-2], "a\ufffdb", "\ufffd"]
    assert sheet.freeze_panes == "A2"
    assert sheet.oddFooter.center.text == "第 &P 页/共 &N 页"
    assert sheet.print_title_rows == "$1:$1"
    with zipfile.ZipFile(path) as package:
        assert b"<f>" not in package.read("xl/worksheets/sheet1.xml")
    assert [one.name for one in tmp_path.iterdir()] == ["退回单.xlsx"]


def test_read_table_gives_text_and_refuses_numbers_that_lost_digits(tmp_path):
    path = tmp_path / "registry.xls"
    path.write_bytes(excel.write_xls(FIELDS, ROWS))
    assert list(excel.read_table(path)) == [list(FIELDS), ROWS[0]]
    book = openpyxl.Workbook()
    book.active.append(["ZSGLH", "PZRQ"])
    book.active.append(["1", 20150922])
    book.save(path)
    assert list(excel.read_table(path))[1] == ["1", "20150922"]
    book.active.append([370102199001010018, "x"])
    book.save(path)
    with pytest.raises(SubmissionError, match="第 3 行第 1 列"):
        list(excel.read_table(path))
    path.write_text("a,b")
    with pytest.raises(SubmissionError, match="BOOK-TYPE"):
        list(excel.read_table(path))


def test_a_row_is_as_high_as_its_longest_cell_needs(tmp_path):
    path = tmp_path / "a.xlsx"
    long = "请按身份证原件核对每一位数字。" * 3  # 90 wide in a column of 21: five lines
    excel.write_xlsx(path, [excel.Page("1", [["短", long], [excel.Cell(long, "line"), ""], ["上\n下", ""]], (8, 21))])
    sheet = openpyxl.load_workbook(path).active
    assert [sheet.row_dimensions[row].height for row in (1, 2, 3)] == [86.25, 17.25, 34.5]

"""Workbooks as cities save them, and as nobody should: BAD-INPUTS §1.3, case by case."""

import datetime as dt
import io
import json
import resource
import struct
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from xml.parsers import expat

import made_books as made
import openpyxl
import pytest
import xlwt
from hypothesis import given
from hypothesis import strategies as st
from made_books import ROW, row, xls, xlsx

from certflow import excel, jail, ole, ooxml
from certflow.book import SheetLook
from certflow.errors import SubmissionError
from certflow.findings import FIELD_NAMES, FIELDS
from certflow.intake import workbook
from certflow.settings import Limits

LIMITS = Limits(jail_cpu_seconds=10, jail_wall_seconds=30)


def read(data: bytes):
    return workbook.read_sheet(data, LIMITS)


def sheet_of(data: bytes):
    sheet, measures = read(data)
    assert sheet is not None, measures
    assert measures["book_fault"] is None, measures
    return sheet


def fault(data: bytes) -> object:
    return read(data)[1]["book_fault"]


def detail(data: bytes) -> str:
    return str(read(data)[1]["book_detail"])


BOTH = pytest.mark.parametrize("make", [xls, xlsx])


@BOTH
def test_an_ordinary_workbook_is_read_cell_by_cell(make):
    sheet, measures = read(make([FIELDS, row(1), row(2)]))
    assert sheet.row_numbers == [2, 3]
    assert [sheet.values[name][0] for name in FIELDS] == row(1)
    assert sheet.kinds["ZSGLH"] == ["text", "text"]
    assert sheet.kinds["BKJB"] == ["empty", "empty"]
    assert measures["book_rows"] == 2
    assert measures["book_format"] == int(make is xlsx)  # E01


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"<html><table><tr><td>ZSGLH</td></tr></table></html>", "HTML"),  # E02
        ("管理号,姓名\n1,张三\n".encode("gbk"), "文本"),  # E03
        (b'<?xml version="1.0"?><?mso-application progid="Excel.Sheet"?><Workbook/>', "2003"),  # E04
        (b"\x09\x08\x08\x00", "未知"), (b"\x09\x04\x06\x00\x00\x00\x10\x00", "4.0"),  # E05
        (b"\xff\xd8\xff\xe0", "JPEG"), (b"", "空文件"),
    ],
)  # fmt: skip
def test_e02_to_e05_what_only_looks_like_a_workbook_is_named(data, word):
    assert fault(data) == "BOOK-TYPE"
    assert word in detail(data)


def test_e05_biff5_is_returned():
    old = bytearray(xls())
    at = old.index(b"\x09\x08\x10\x00\x00\x06")
    old[at + 4 : at + 6] = b"\x00\x05"
    assert fault(bytes(old)) == "BOOK-TYPE"
    renamed = bytearray(xls())
    at = renamed.index("Workbook".encode("utf-16-le"))
    renamed[at : at + 66] = "Book".encode("utf-16-le").ljust(64, b"\0") + (10).to_bytes(2, "little")
    assert fault(bytes(renamed)) == "BOOK-TYPE"
    assert "5.0" in detail(bytes(renamed))


def test_e07_ods_xlsb_and_word_are_named():
    book = xlsx()
    assert "ods" in detail(made.with_parts(book, {"mimetype": b"x", "content.xml": b"<a/>"}))
    assert "xlsb" in detail(made.with_parts(book, {"xl/workbook.bin": b"x"}))
    assert fault(made.with_parts(book, {"word/document.xml": b"<a/>"})) == "BOOK-TYPE"


def test_e08_e09_encrypted_workbooks_ask_for_no_password():
    encrypted = bytearray(xls())
    at = encrypted.index("Workbook".encode("utf-16-le"))
    encrypted[at : at + 66] = "EncryptedPackage".encode("utf-16-le").ljust(64, b"\0") + (34).to_bytes(2, "little")
    assert fault(bytes(encrypted)) == "BOOK-PASSWORD"
    protected = bytearray(xls())
    at = protected.index(b"\x42\x00\x02\x00")  # CODEPAGE becomes FILEPASS
    protected[at] = 0x2F
    assert fault(bytes(protected)) == "BOOK-PASSWORD"


@BOTH
def test_e10_e12_e13_numbers_are_told_from_text(make):
    values = list(ROW)
    values[0], values[2], values[5] = 20150343700000011, 370102199001010018, 1
    sheet = sheet_of(make([FIELDS, values]))
    assert [sheet.kinds[name][0] for name in ("ZSGLH", "KSXM", "ZJHM", "BKJB")] == [
        "number",
        "text",
        "number",
        "number",
    ]


@BOTH
def test_e11_text_that_looks_like_a_number_stays_what_it_is(make):
    sheet = sheet_of(make([FIELDS, row(ZJHM="3.70102E+17", ZSGLH="００１")]))
    assert (sheet.values["ZJHM"], sheet.kinds["ZJHM"]) == (["3.70102E+17"], ["text"])
    assert sheet.values["ZSGLH"] == ["００１"]


@BOTH
def test_e14_e15_dates_and_serials_are_told_apart(make):
    values = list(ROW)
    values[7], values[8] = dt.date(1949, 12, 31), 43730
    data = make([FIELDS, values]) if make is xlsx else xls([FIELDS, ROW], lambda book: (
        book.get_sheet(0).write(1, 7, dt.date(1949, 12, 31), xlwt.easyxf(num_format_str="yyyy-mm-dd")),
        book.get_sheet(0).write(1, 8, 43730),
    ))  # fmt: skip
    sheet = sheet_of(data)
    assert (sheet.values["CSNY"], sheet.kinds["CSNY"]) == (["1949-12-31"], ["date"])
    assert (sheet.values["PZRQ"], sheet.kinds["PZRQ"]) == (["43730"], ["number"])


def test_e16_the_1904_system_shifts_no_date():
    def change(book: openpyxl.Workbook) -> None:
        book.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904
        book.active["I2"] = dt.date(2015, 9, 22)

    assert sheet_of(xlsx(change=change)).values["PZRQ"] == ["2015-09-22"]

    def change_old(book: xlwt.Workbook) -> None:
        book.dates_1904 = True
        book.get_sheet(0).write(1, 8, dt.date(2015, 9, 22), xlwt.easyxf(num_format_str="yyyy-mm-dd"))

    assert sheet_of(xls(change=change_old)).values["PZRQ"] == ["2015-09-22"]


@pytest.mark.parametrize("serial", [1, 59, 60])
def test_e17_serials_before_march_1900_are_numbers(serial):
    def change(book: openpyxl.Workbook) -> None:
        book.active["I2"] = serial
        book.active["I2"].number_format = "yyyy-mm-dd"

    assert sheet_of(xlsx(change=change)).kinds["PZRQ"] == ["number"]


def test_e18_rows_a_merged_cell_touches_are_named():
    rows = [FIELDS, row(1), row(2), row(3)]
    assert sheet_of(xlsx(rows, lambda book: book.active.merge_cells("K2:K3"))).merged == {2, 3}
    assert sheet_of(xls(rows, lambda book: book.get_sheet(0).merge(2, 3, 10, 10))).merged == {3, 4}
    assert sheet_of(xlsx([["标题"], *rows], lambda book: book.active.merge_cells("A1:K1"))).merged == set()


@BOTH
def test_e19_title_rows_and_a_second_header_are_passed_over(make):
    names = [FIELD_NAMES[name] for name in FIELDS]
    sheet, measures = read(make([["证书补换印制信息"], [], names, FIELDS, row(1)]))
    assert sheet.row_numbers == [5]
    assert measures["book_title_row"] == 1
    assert sheet.ignored == {4: "重复的表头"}


@pytest.mark.parametrize(
    "header",
    [
        [name.lower() for name in FIELDS], [FIELD_NAMES[name] for name in FIELDS],
        [f"{name}（{FIELD_NAMES[name]}）" for name in FIELDS], [f"{FIELD_NAMES[name]}({name})" for name in FIELDS],
        [f" {name}\n" for name in FIELDS], [f"*{FIELD_NAMES[name]}：" for name in FIELDS],
        [name.translate({code: code + 0xFEE0 for code in range(65, 91)}) for name in FIELDS],
    ],
)  # fmt: skip
def test_e20_headers_are_known_in_every_usual_form(header):
    assert [sheet_of(xlsx([header, ROW])).values[name][0] for name in FIELDS] == list(ROW)


def test_e20_columns_may_come_in_any_order():
    sheet = sheet_of(xlsx([FIELDS[::-1], ROW[::-1]]))
    assert [sheet.values[name][0] for name in FIELDS] == list(ROW)


def test_e21_a_missing_column_returns_the_file_and_an_extra_one_is_left_out():
    assert fault(xlsx([FIELDS[:-1], ROW[:-1]])) == "BOOK-HEADER"
    assert "BMS" in detail(xlsx([FIELDS[:-1], ROW[:-1]]))
    assert fault(xlsx([["甲", "乙"], ["1", "2"]])) == "BOOK-HEADER"
    sheet, measures = read(xlsx([[*FIELDS, "手机号"], [*ROW, "13800000000"]]))
    assert measures["book_extra_column"] == 1
    assert set(sheet.values) == set(FIELDS)


def test_e22_a_column_named_twice_returns_the_file():
    assert fault(xlsx([[*FIELDS, "姓名"], [*ROW, "张三"]])) == "BOOK-HEADER-DUPLICATE"


def test_e23_hidden_and_filtered_rows_are_named():
    rows = [FIELDS, row(1), row(2), row(3)]

    def hide(book: openpyxl.Workbook) -> None:
        book.active.row_dimensions[3].hidden = True
        book.active.column_dimensions["B"].hidden = True

    sheet, measures = read(xlsx(rows, hide))
    assert sheet.hidden == {3}
    assert sheet.row_numbers == [2, 3, 4]
    assert measures["book_hidden_column"] == 1

    flat = made.sheet_xml(made.inline(rows).replace('<row r="4"', '<row r="4" ht="0" customHeight="1"'))
    assert sheet_of(made.with_parts(xlsx(), {"xl/worksheets/sheet1.xml": flat})).hidden == {4}

    def hide_old(book: xlwt.Workbook) -> None:
        book.get_sheet(0).row(2).hidden = True

    assert sheet_of(xls(rows, hide_old)).hidden == {3}


@pytest.mark.parametrize("state", ["hidden", "veryHidden"])
def test_e24_a_hidden_sheet_with_data_returns_the_file(state):
    def change(book: openpyxl.Workbook) -> None:
        other = book.create_sheet("隐藏", 0)
        other.append(["x"])
        other.sheet_state = state

    assert fault(xlsx(change=change)) == "BOOK-HIDDEN-SHEET"

    def change_old(book: xlwt.Workbook) -> None:
        other = book.add_sheet("隐藏")
        other.write(0, 0, "x")
        other.visibility = 1 if state == "hidden" else 2

    assert fault(xls(change=change_old)) == "BOOK-HIDDEN-SHEET"


def test_e24_an_empty_hidden_sheet_does_not_matter():
    def change(book: openpyxl.Workbook) -> None:
        book.create_sheet("空", 0).sheet_state = "hidden"

    assert sheet_of(xlsx(change=change)).row_numbers == [2]


def test_e25_a_second_sheet_with_data_is_counted_and_the_table_is_found():
    sheet, measures = read(xlsx(change=lambda book: book.create_sheet("说明", 0).append(["填表说明"])))
    assert measures["book_sheets"] == 1
    assert measures["book_fault"] is None
    assert sheet.values["KSXM"] == [ROW[1]]


def test_e25_a_chart_sheet_is_counted():
    _, measures = read(xlsx(change=lambda book: book.create_chartsheet("图")))
    assert measures["book_sheets"] == 1


def test_e26_trailing_formatted_rows_are_trimmed_in_time():
    blank = "".join(
        f'<row r="{number}" s="1" customFormat="1"><c r="A{number}" s="0"/></row>' for number in range(3, 60_000)
    )
    data = made.with_parts(xlsx(), {"xl/worksheets/sheet1.xml": made.sheet_xml(made.inline([FIELDS, ROW]) + blank)})
    began = time.monotonic()
    sheet, measures = read(data)
    assert sheet.row_numbers == [2]
    assert measures["book_blank_row"] == 0
    assert time.monotonic() - began < 5
    old = sheet_of(xls(change=lambda book: book.get_sheet(0).write(65_535, 0, "", xlwt.easyxf(num_format_str="@"))))
    assert old.row_numbers == [2]


def test_e27_f29_a_value_or_a_blank_in_the_last_cell_is_refused_before_the_grid_is_built():
    for cell in ('<c r="XFD1048576"><v>1</v></c>', '<c r="XFD1048576" s="1"/>'):
        rows = made.inline([FIELDS, ROW]) + f'<row r="1048576">{cell}</row>'
        data = made.with_parts(xlsx(), {"xl/worksheets/sheet1.xml": made.sheet_xml(rows)})
        assert len(data) < 10_000
        assert fault(data) == "BOOK-LIMIT"
    far = made.inline([FIELDS, ROW]) + '<row r="1048576"><c r="A1048576"><v>1</v></c></row>'
    assert fault(made.with_parts(xlsx(), {"xl/worksheets/sheet1.xml": made.sheet_xml(far)})) == "BOOK-LIMIT"
    assert fault(xls(change=lambda book: book.get_sheet(0).write(65_535, 255, "x"))) == "BOOK-LIMIT"


@pytest.mark.parametrize("lie", ["A1:A1", "A1:XFD1048576", "C7"])
def test_e28_the_dimension_is_not_believed(lie):
    rows = made.inline([FIELDS, row(1), row(2)])
    data = made.sheet_xml(rows, before=f'<dimension ref="{lie}"/>')
    sheet = sheet_of(made.with_parts(xlsx(), {"xl/worksheets/sheet1.xml": data}))
    assert sheet.row_numbers == [2, 3]


@BOTH
def test_e29_blank_total_and_signature_rows(make):
    rows = [FIELDS, row(1), [], row(2), [], ["合计", "", "2人"], ["填表人：甲", "", "审核人：乙"], ["", " ", "\u3000"]]
    sheet, measures = read(make(rows))
    assert sheet.row_numbers == [2, 4]
    assert measures["book_blank_row"] == 1
    assert sheet.ignored == {6: "合计行", 7: "签字行"}
    assert measures["book_total_row"] == 2


@BOTH
@pytest.mark.parametrize("note", ["注：以上已核对", "注:1.照片另附", "以下空白", "——以下为空白——", "（以下空白）"])
def test_e29_a_note_below_the_data_is_no_row(make, note):
    sheet, measures = read(make([FIELDS, row(1), [note], ["", note]]))
    assert (sheet.row_numbers, sheet.ignored) == ([2], {3: "附注行", 4: "附注行"})
    assert measures["book_total_row"] == 2


@BOTH
@pytest.mark.parametrize("blank", ["", " ", "\u3000", "\u200b", "\ufeff "])
def test_e29_a_blank_row_is_found_wherever_it_stands(make, blank):
    for place in range(3):
        rows = [row(number) for number in (1, 2)]
        rows.insert(place, [blank] * 11)
        sheet = sheet_of(make([FIELDS, *rows]))
        assert sheet.row_numbers == [number for number in (2, 3, 4) if number != 2 + place]


def test_e29_a_short_row_that_is_no_total_stays_a_row():
    sheet = sheet_of(xlsx([FIELDS, row(1), ["", "张三", "11010519491231002X"]]))
    assert sheet.row_numbers == [2, 3]


@BOTH
def test_e30_e31_e33_e43_nothing_in_a_cell_is_changed(make):
    odd = ["３７０", "张\u00a0三", "\u200b1", "'居民身份证", "NA", "null", "None", "nan", "\t1", "N/A", "²"]
    sheet = sheet_of(make([FIELDS, odd]))
    assert [sheet.values[name][0] for name in FIELDS] == odd
    assert {sheet.kinds[name][0] for name in FIELDS} == {"text"}


def test_e32_escaped_characters_are_decoded_once():
    assert sheet_of(xlsx([FIELDS, row(KSXM="a_x000D_b")])).values["KSXM"] == ["a\rb"]


def test_e34_formulas_return_the_file_and_the_cells_are_named():
    data = xlsx([FIELDS, row(1), row(2, KSXM='=CONCATENATE("a")')])
    sheet, measures = read(data)
    assert measures["book_fault"] == "BOOK-FORMULA"
    assert sheet.kinds["KSXM"] == ["text", "formula"]
    cached = made.inline([FIELDS, ROW]) + '<row r="3"><c r="A3" t="str"><f>1+1</f><v>2</v></c></row>'
    assert fault(made.with_parts(xlsx(), {"xl/worksheets/sheet1.xml": made.sheet_xml(cached)})) == "BOOK-FORMULA"
    assert fault(xls(change=lambda book: book.get_sheet(0).write(1, 1, xlwt.Formula("1+1")))) == "BOOK-FORMULA"


def test_e35_text_that_begins_like_a_formula_is_text():
    sheet = sheet_of(xls([FIELDS, row(KSXM="=cmd|' /C calc'!A0", ZJLB="@SUM", BKZY="+1", XB="-")]))
    assert sheet.kinds["KSXM"] == ["text"]
    assert sheet.values["XB"] == ["-"]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("xl/externalLinks/externalLink1.xml", "外部链接"), ("xl/embeddings/oleObject1.bin", "嵌入对象"),
        ("xl/activeX/activeX1.xml", "控件"), ("xl/vbaProject.bin", "宏"), ("xl/connections.xml", "数据连接"),
        ("xl/queryTables/queryTable1.xml", "数据连接"),
    ],
)  # fmt: skip
def test_e36_e37_what_acts_or_reaches_out_returns_the_file(name, word):
    data = made.with_parts(xlsx(), {name: b"<x/>"})
    assert fault(data) == "BOOK-ACTIVE"
    assert word in detail(data)


def test_e37_macros_in_an_old_workbook_return_the_file():
    # The summary of an OLE file renamed: a storage called _VBA_PROJECT_CUR is what Excel keeps macros in.
    data = xls()
    streams = dict(ole.streams(data))
    assert "_vba_project_cur" not in streams
    at = data.index("Workbook".encode("utf-16-le"))
    entry = bytearray(128)
    name = "_VBA_PROJECT_CUR".encode("utf-16-le")
    entry[: len(name)] = name
    struct.pack_into("<HB", entry, 64, len(name) + 2, 1)
    with_macro = data[: at + 128] + bytes(entry) + data[at + 256 :]
    assert fault(with_macro) == "BOOK-ACTIVE"


def test_e36_a_workbook_within_a_workbook_returns_the_file_and_the_first_is_read():
    outer, inner = xls([FIELDS, row(1), row(2)]), xls([FIELDS, row(3)])
    sheet, measures = read(made.with_another_workbook(outer, inner))
    assert measures["book_fault"] == "BOOK-ACTIVE"
    assert sheet.values["ZSGLH"] == [row(1)[0], row(2)[0]]
    seen = excel.look_into(made.with_another_workbook(outer, inner), rows=9, columns=11, part_bytes=0)
    assert seen.sheets[0].last_row == 3


def test_e47_a_sheet_that_does_not_begin_at_its_beginning_is_damaged():
    data = bytearray(xls(change=lambda book: book.get_sheet(0).write(1, 1, xlwt.Formula("1+1"))))
    at = data.index(b"\x06\0Sheet1") - 6  # the sheet's offset; one record on, a look into it would find nothing
    struct.pack_into("<I", data, at, struct.unpack_from("<I", data, at)[0] + 20)
    assert fault(bytes(data)) == "BOOK-DAMAGED"


def test_e36_images_and_comments_are_counted():
    def change(book: openpyxl.Workbook) -> None:
        book.active["A2"].comment = openpyxl.comments.Comment("x", "y")

    _, measures = read(made.with_parts(xlsx(change=change), {"xl/media/image1.png": b"x"}))
    assert measures["book_fault"] is None
    assert measures["book_images"] == 1
    assert measures["book_comments"] == 1


def test_e38_document_types_are_refused():
    for entity in (
        b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>', b'<!DOCTYPE x SYSTEM "file:///etc/passwd">'
    ):  # fmt: skip
        body = made.sheet_xml(made.inline([FIELDS, ROW]))
        head, _, rest = body.partition(b"?>")
        data = made.with_parts(xlsx(), {"xl/worksheets/sheet1.xml": head + b"?>" + entity + rest})
        assert fault(data) == "BOOK-DAMAGED"


def test_e39_duplicate_parts_are_refused():
    book = xlsx()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert (
            fault(
                made.with_parts(book, {"xl/worksheets/sheet1.xml": made.sheet_xml(made.inline([FIELDS]))}, twice=True)
            )
            == "BOOK-DAMAGED"
        )


def test_e40_a_sheet_that_inflates_without_end_is_refused():
    data = made.with_parts(xlsx(), {"xl/worksheets/sheet1.xml": b"<x>" + b" " * (80 << 20)})
    assert len(data) < 200_000
    assert fault(data) == "BOOK-LIMIT"


@pytest.mark.parametrize("length", [2_000, 30_000])
def test_e40_one_text_in_very_many_cells_is_refused(length):
    assert fault(xls([FIELDS, *[["长" * length] * 11] * 3000])) == "BOOK-LIMIT"


@BOTH
def test_e41_e42_errors_and_booleans_are_told(make):
    values = list(ROW)
    values[4] = True
    if make is xlsx:
        values[6] = "#N/A"
        data = xlsx([FIELDS, values])
    else:
        data = xls([FIELDS, values], lambda book: book.get_sheet(0).row(1).set_cell_error(6, 0x2A))
    sheet = sheet_of(data)
    assert sheet.kinds["XB"] == ["bool"]
    assert sheet.kinds["BKZY"] == ["error"]


def test_e44_blank_rows_turn_no_text_into_numbers():
    sheet = sheet_of(xlsx([FIELDS, row(1), [], [], row(2)]))
    assert sheet.values["ZSGLH"] == [row(1)[0], row(2)[0]]


def test_e45_rich_text_is_joined_without_its_phonetics():
    rich = "<is><r><t>王</t></r><r><t>小明</t></r><rPh sb='0' eb='1'><t>ワン</t></rPh></is>"
    rows = made.inline([FIELDS, ROW]).replace(f"<is><t>{ROW[1]}</t></is>", rich)
    data = made.with_parts(xlsx(), {"xl/worksheets/sheet1.xml": made.sheet_xml(rows)})
    assert sheet_of(data).values["KSXM"] == ["王小明"]
    font = xlwt.Font()
    old = xls(change=lambda book: book.get_sheet(0).write_rich_text(1, 1, (("王", font), "小明")))
    assert sheet_of(old).values["KSXM"] == ["王小明"]


def test_e47_broken_workbooks_are_refused_whatever_breaks():
    old, new = xls([FIELDS, *(row(number) for number in range(40))]), xlsx()
    for data in (old[:1000], old[:-2000], new[:-50], b"PK\x03\x04" + bytes(99), old[:512] + bytes(len(old) - 512)):
        assert fault(data) in ("BOOK-DAMAGED", "BOOK-TYPE", "BOOK-EMPTY")
    for name in ("xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/_rels/workbook.xml.rels"):
        assert fault(made.with_parts(new, {name: b"<x"})) in ("BOOK-DAMAGED", "BOOK-EMPTY")


def test_e48_very_many_merged_areas_cost_no_time():
    merges = "<mergeCells>" + '<mergeCell ref="A1:K60000"/>' * 50_000 + "</mergeCells>"
    rows = made.inline([FIELDS, *(row(number) for number in range(2000))])
    began = time.monotonic()
    sheet = sheet_of(made.with_parts(xlsx(), {"xl/worksheets/sheet1.xml": made.sheet_xml(rows, after=merges)}))
    assert len(sheet.merged) == 2000
    assert time.monotonic() - began < 5


def test_e49_unusual_prefixes_and_minimal_cells_are_read():
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    cells = "".join(
        "<x:row>"
        + "".join(f'<x:c t="inlineStr"><x:is><x:t>{value}</x:t></x:is></x:c>' for value in values)
        + "</x:row>"
        for values in (FIELDS, ROW)
    )
    data = f'<x:worksheet xmlns:x="{space}"><x:sheetData>{cells}</x:sheetData></x:worksheet>'.encode()
    assert sheet_of(made.with_parts(xlsx(), {"xl/worksheets/sheet1.xml": data})).values["KSXM"] == [ROW[1]]


def test_e50_protected_sheets_are_read():
    def protect(book: openpyxl.Workbook) -> None:
        book.active.protection.set_password("x")

    assert sheet_of(xlsx(change=protect)).row_numbers == [2]


def test_d12_rare_characters_cut_over_two_records_are_read_whole():
    rows = [row(number, KSXM=f"𠮷{'野' * (number % 7)}{number}") for number in range(9000)]
    data = xls([FIELDS, *rows])
    assert any("\ufffd" in text for text in _calamine(data)), "the sample no longer cuts a pair"
    assert sheet_of(data).values["KSXM"] == [values[1] for values in rows]
    with_number = xls([FIELDS, *rows, row(KSXM=1)])  # other than strings alone: read by calamine and mended
    assert sheet_of(with_number).values["KSXM"] == [*(values[1] for values in rows), "1"]


def _calamine(data: bytes) -> list[str]:
    import python_calamine

    with python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data)) as book:
        return [line[1] for line in book.get_sheet_by_index(0).to_python()]


def test_a_header_without_rows_is_empty():
    assert fault(xlsx([FIELDS])) == "BOOK-EMPTY"
    assert fault(xlsx([])) == "BOOK-EMPTY"


# the jail


def test_the_child_imports_nothing_heavy():
    code = (
        "import sys; from certflow import jail; from certflow import excel; import python_calamine; "
        "heavy = {'numpy', 'pandas', 'openpyxl', 'xlwt', 'PIL', 'asyncio'}; "
        "print(sorted(set(m.split('.')[0] for m in sys.modules) & heavy))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.fixture(params=["forked", "fresh"])
def instead(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the child do something else once its limits hold; as a fork of the server, and as its own interpreter."""
    if request.param == "fresh":
        monkeypatch.setattr(jail, "_forked", jail._fresh)
    elif sys.platform != "linux":
        pytest.skip("no server here")

    def _instead(body: str) -> None:
        limited = (
            f"r = json.loads(sys.stdin.buffer.readline()); jail._limit(r['memory'], r['cpu']); {body}; os._exit(0)"
        )
        changed = f"import os\ndef main(text={limited!r}): exec(text)\njail.main = main\n"
        monkeypatch.setattr(jail, "_idle", [])
        monkeypatch.setattr(jail, "_CHILD", f"{jail._PATH}\n{changed}jail.main()")
        monkeypatch.setattr(jail, "_SERVER", f"{jail._PATH}\n{changed}jail.serve()")

    return _instead


@pytest.mark.parametrize(
    "body",
    ["import os; os.abort()", "b = bytes(3 << 30)", "[0 for _ in iter(int, 1)]", "import os; os.kill(os.getpid(), 9)"],
)  # fmt: skip
def test_f29_f30_a_child_that_dies_eats_or_spins_is_a_verdict(instead, body):
    instead(body)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    limits = Limits(jail_cpu_seconds=1, jail_wall_seconds=20)
    assert workbook.read_sheet(xlsx(), limits)[1]["book_fault"] == "BOOK-LIMIT"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "KB: the parent has no part in it"


def test_f30_a_child_that_sleeps_is_killed_by_the_clock(instead):
    instead("import time; time.sleep(60)")
    began = time.monotonic()
    assert workbook.read_sheet(xlsx(), Limits(jail_wall_seconds=1))[1]["book_fault"] == "BOOK-LIMIT"
    assert time.monotonic() - began < 5


def test_a_child_that_answers_nonsense_is_a_verdict(instead):
    for answer in ("print('no json', flush=True)", "print('{}', flush=True)", "print('[1]', flush=True)"):
        instead(answer)
        assert fault(xlsx()) == "BOOK-DAMAGED"


@pytest.mark.skipif(sys.platform != "linux", reason="the server forks")
def test_one_server_reads_workbook_after_workbook_and_ends_with_its_process():
    code = (
        "import sys; sys.path[:0] = [sys.argv[1]]; "
        "from certflow import jail, excel; from certflow.settings import Limits; "
        "data = excel.write_xls(['a'], [['x']]); [jail.read(data, Limits()) for _ in range(3)]; "
        "print(len(jail._servers), jail._idle[0].process.pid)"
    )
    here = str(Path(jail.__file__).parents[1])
    out = subprocess.run([sys.executable, "-c", code, here], capture_output=True, text=True, check=True)
    servers, pid = map(int, out.stdout.split())
    assert servers == 1
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("kinds", ["tx", "t", ["t", "t"], {"t": 1, "n": 2}, 2, None])
def test_an_answer_nobody_understands_is_damage(monkeypatch, kinds):
    answer = json.dumps({"look": {}, "grids": [["a", 0, 0, [[3, "-", kinds, 0]]]], "texts": 3}).encode() + b"\na-b"
    monkeypatch.setattr(jail, "_forked", lambda *_: (answer, 0))
    monkeypatch.setattr(jail, "_fresh", lambda *_: (answer, 0))
    with pytest.raises(SubmissionError, match="BOOK-DAMAGED"):
        jail.read(b"", LIMITS)


def test_reader_and_look_agree_on_what_write_xls_writes():
    rows = [row(number) for number in range(300)]
    sheet = sheet_of(excel.write_xls(FIELDS, rows))
    assert [list(values) for values in zip(*(sheet.values[name] for name in FIELDS), strict=True)] == rows


PART = '<?xml version="1.0" encoding="UTF-8"?><worksheet>'


def test_cells_out_of_the_ordinary_are_seen_among_plain_ones():
    plain = '<c r="{}{}" t="inlineStr"><is><t>x</t></is></c>'
    odd = {
        "formulas": '<c r="C2"><f>1+1</f><v>2</v></c>',
        "errors": '<c r="C2" t="e"><v>#N/A</v></c>',
        "hidden_rows": '</row><row r="3" hidden="1"><c r="C3" t="inlineStr"><is><t>x</t></is></c>',
    }
    for kind, cell in odd.items():
        row = "".join(plain.format(column, 2) for column in "AB") + cell + plain.format("D", 2)
        sheet = SheetLook("a")
        ooxml._walk(f'{PART}<row r="2">{row}</row></worksheet>'.encode(), sheet, 256)
        assert len(getattr(sheet, kind)) == 1, kind
        assert sheet.last_column == 4


CELLS = {
    "text": '<c r="{}" t="inlineStr"><is><t>x</t></is></c>', "number": '<c r="{}"><v>2</v></c>',
    "blank": '<c r="{}"/>', "formula": '<c r="{}"><f>1+1</f></c>', "error": '<c r="{}" t="e"><v>#N/A</v></c>',
}  # fmt: skip
ROWS = st.tuples(
    st.sampled_from(["", ' hidden="1"', ' spans="1:4"', ' ht="0"', ' ht="15"']),
    st.lists(st.sampled_from([*CELLS]), max_size=4),
)


@given(st.lists(ROWS, max_size=12))
def test_what_is_left_out_as_plain_changes_nothing_that_is_seen(rows):
    body = ""
    for number, (more, kinds) in enumerate(rows, start=1):
        cells = (CELLS[kind].format(f"{column}{number}") for column, kind in zip("ABCD", kinds, strict=False))
        body += f'<row r="{number}"{more}>{"".join(cells)}</row>'
    seen = [SheetLook("a"), SheetLook("a")]
    for sheet, declared in zip(seen, ("UTF-8", "utf-8"), strict=True):
        part = f'<?xml version="1.0" encoding="{declared}"?><worksheet>{body}</worksheet>'.encode()
        plain = declared == "UTF-8" and ("<v>2" in body or "<t>" in body)  # in the other one nothing is left out
        assert (ooxml._without_plain_cells(part) != part) == plain
        ooxml._walk(part, sheet, 256)
    assert seen[0] == seen[1]


@pytest.mark.parametrize("broken", ["<c r='A1'><v>1</v>", '<c r="A1"><v>1</c>', '<c r="A1"><v>1</v></c>&x;'])
def test_plain_cells_hide_no_broken_xml(broken):
    data = f'{PART}<row r="1"><c r="B1"><v>2</v></c>{broken}</row></worksheet>'
    with pytest.raises(expat.ExpatError):
        ooxml._walk(data.encode(), SheetLook("a"), 256)

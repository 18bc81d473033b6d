"""Family E: what may be wrong with the workbook, bytes in, verdict JSON out."""

import datetime as dt
import struct
from collections.abc import Callable

import made_books as made
import openpyxl
import pytest
import xlwt
from kit import Case, Desk, expect, judged, with_book, with_rows, zipped
from made_books import inline, sheet_xml, with_parts

from certflow.findings import FIELD_NAMES, FIELDS

SHEET = "xl/worksheets/sheet1.xml"


def values(desk: Desk, **changes: object) -> list[object]:
    return list((desk.person() | changes).values())


def cells(
    change: Callable | None = None, maker=made.xlsx, people: int = 1, count: int | None = None, **changes: object
):
    """A workbook by openpyxl or xlwt: header and people, one of them with these cells; `change` works on the book."""

    def make(desk: Desk) -> bytes:
        rows = [values(desk, **changes), *(values(desk) for _ in range(people - 1))]
        data = maker([FIELDS, *rows], change)
        return zipped({f"{desk.stem(count or people)}.XLS": data})

    return make


def xls(change: Callable | None = None, **options: object):
    return cells(change, made.xls, **options)


def parts(make_parts: Callable[[Desk], dict[str, bytes]], count: int = 1, *, twice: bool = False):
    """An xlsx with parts replaced or added."""
    return with_book(lambda desk: with_parts(made.xlsx([FIELDS, values(desk)]), make_parts(desk), twice=twice), count)


def raw(rows: Callable[[Desk], str], *, before: str = "", after: str = "", count: int = 1):
    """An xlsx whose sheet is written by hand."""
    return parts(lambda desk: {SHEET: sheet_xml(rows(desk), before=before, after=after)}, count)


def table(rows: Callable[[Desk], list[list[object]]], maker=made.xlsx, count: int = 1):
    return with_book(lambda desk: maker(rows(desk)), count)


def patched(old: bytes, new: bytes, offset: int = 0):
    def make(desk: Desk) -> bytes:
        data = bytearray(made.xls([FIELDS, values(desk)]))
        at = data.index(old) + offset
        data[at : at + len(new)] = new
        return bytes(data)

    return with_book(make)


def stream_renamed(name: str):
    return patched(
        "Workbook".encode("utf-16-le"), name.encode("utf-16-le").ljust(64, b"\0") + struct.pack("<H", 2 * len(name) + 2)
    )


def more_sheets(state: str = "visible", data: bool = True, chart: bool = False):
    def change(book: openpyxl.Workbook) -> None:
        if chart:
            book.create_chartsheet("图", 0)
            return
        other = book.create_sheet("另表", 0)
        other.sheet_state = state
        if data:
            other.append(["x"])

    return change


def macro(desk: Desk) -> bytes:
    data = made.xls([FIELDS, values(desk)])
    at = data.index("Workbook".encode("utf-16-le"))
    name = "_VBA_PROJECT_CUR".encode("utf-16-le")
    return (
        data[: at + 128] + name.ljust(64, b"\0") + struct.pack("<HB", len(name) + 2, 1) + bytes(61) + data[at + 256 :]
    )


def surrogate(desk: Desk) -> bytes:
    """A lone surrogate where BIFF8 holds UTF-16."""
    data = made.xls([FIELDS, values(desk, KSXM="甲乙")])
    old = "甲乙".encode("utf-16-le")
    assert old in data
    return data.replace(old, b"\x32\x75\x00\xd8")


def rich(desk: Desk) -> str:
    row = desk.person()
    return inline([FIELDS, list(row.values())]).replace(
        f"<is><t>{row['KSXM']}</t></is>",
        "<is><r><t>王</t></r><r><t>小明</t></r><rPh sb='0' eb='1'><t>ワン</t></rPh></is>",
    )


def entity(declaration: str):
    def make(desk: Desk) -> dict[str, bytes]:
        head, _, rest = sheet_xml(inline([FIELDS, values(desk)])).partition(b"?>")
        return {SHEET: head + b"?>" + declaration.encode() + rest}

    return parts(make)


def far(cell: str, row: int = 1_048_576):
    return raw(lambda desk: inline([FIELDS, values(desk)]) + f'<row r="{row}">{cell}</row>')


def prefixed(desk: Desk) -> bytes:
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    rows = "".join(
        "<x:row>" + "".join(f'<x:c t="inlineStr"><x:is><x:t>{text}</x:t></x:is></x:c>' for text in row) + "</x:row>"
        for row in (FIELDS, values(desk))
    )
    return f'<x:worksheet xmlns:x="{space}"><x:sheetData>{rows}</x:sheetData></x:worksheet>'.encode()


def typed(field: str, number: float) -> Callable[[xlwt.Workbook], None]:
    return lambda book: book.get_sheet(0).write(1, FIELDS.index(field), number)


def day(field: str, value: dt.date) -> Callable[[xlwt.Workbook], None]:
    style = xlwt.easyxf(num_format_str="yyyy-mm-dd")
    return lambda book: book.get_sheet(0).write(1, FIELDS.index(field), value, style)


def old_epoch(book: openpyxl.Workbook) -> None:
    book.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904
    book.active["I2"] = dt.date(2018, 9, 15)


def serial_sixty(book: openpyxl.Workbook) -> None:
    book.active["I2"] = 60
    book.active["I2"].number_format = "yyyy-mm-dd"


def hide_row(book: openpyxl.Workbook) -> None:
    book.active.row_dimensions[3].hidden = True


def filtered(book: openpyxl.Workbook) -> None:
    book.active.auto_filter.ref = "A1:K3"
    book.active.auto_filter.add_filter_column(4, ["男"])
    book.active.row_dimensions[3].hidden = True


def hide_column(book: openpyxl.Workbook) -> None:
    book.active.column_dimensions["B"].hidden = True


def merged(rows: list[list[object]]) -> bytes:
    return made.xlsx(rows, lambda book: book.active.merge_cells("L2:L3"))


def comment(book: openpyxl.Workbook) -> None:
    book.active["A2"].comment = openpyxl.comments.Comment("x", "y")


def error_cell(book: xlwt.Workbook) -> None:
    book.get_sheet(0).row(1).set_cell_error(6, 0x2A)


def boolean(book: xlwt.Workbook) -> None:
    book.get_sheet(0).write(1, 6, True)


SPREADSHEET_XML = b'<?xml version="1.0"?><?mso-application progid="Excel.Sheet"?><Workbook/>'
NAMES = [FIELD_NAMES[name] for name in FIELDS]
BLANK_ROWS = "".join(f'<row r="{at}" s="1" customFormat="1"><c r="A{at}" s="0"/></row>' for at in range(3, 60_000))
BAD, TYPE, WRONG, HELD = "returned", ("BOOK-TYPE",), {"returned": 1}, {"held": 1}
FIXED = ("CELL-BLANKS",)
CASES = [
    Case("E01", "an xlsx called .XLS", cells(), "accepted", ("BOOK-FORMAT",)),
    Case("E02", "a page called .XLS", with_book(b"<html><table><tr><td>1"), BAD, TYPE, said="HTML"),
    Case("E03", "a GBK CSV called .XLS", with_book("管理号,姓名\n1,甲\n".encode("gbk")), BAD, TYPE, said="文本"),
    Case("E04", "SpreadsheetML 2003", with_book(SPREADSHEET_XML), BAD, TYPE, said="2003"),
    Case("E05", "BIFF4", with_book(b"\x09\x04\x06\0\0\0\x10\0"), BAD, TYPE, said="4.0"),
    Case("E05", "BIFF5 in an OLE file", stream_renamed("Book"), BAD, TYPE, said="5.0"),
    Case("E05", "a BIFF5 stream under BIFF8's name", patched(b"\x09\x08\x10\0\0\x06", b"\0\x05", 4), BAD, TYPE),
    Case("E06", "WPS: BIFF8 called .et", lambda desk: zipped({f"{desk.stem()}.et": desk.book()}), "accepted"),
    Case("E07", "ods", parts(lambda _: {"mimetype": b"x", "content.xml": b"<a/>"}), BAD, TYPE, said="ods"),
    Case("E07", "xlsb", parts(lambda _: {"xl/workbook.bin": b"x"}), BAD, TYPE, said="xlsb"),
    Case("E08", "encrypted xlsx", stream_renamed("EncryptedPackage"), BAD, ("BOOK-PASSWORD",)),
    Case("E09", "encrypted xls", patched(b"\x42\0\x02\0", b"\x2f"), BAD, ("BOOK-PASSWORD",)),
    Case("E10", "ID number as a number", xls(typed("ZJHM", 370102199001010018)), BAD, ("CELL-TYPE",), WRONG),
    Case("E10", "ID number as a number, xlsx", cells(ZJHM=370102199001010018), BAD, ("CELL-TYPE",), WRONG),
    Case("E11", "ID number as text 3.7E+17", with_rows(ZJHM="3.70102E+17"), BAD, (), WRONG),
    Case("E12", "management number as a number", xls(typed("ZSGLH", 20150343700000011)), BAD, ("CELL-TYPE",), WRONG),
    Case("E13", "level as a number", xls(typed("BKJB", 1)), BAD, ("CELL-TYPE",), WRONG),
    Case("E14", "date as a bare serial", xls(typed("PZRQ", 43358)), BAD, ("CELL-TYPE",), WRONG),
    Case("E15", "a true date in PZRQ", xls(day("PZRQ", dt.date(2018, 9, 15))), "accepted", ("CELL-DATE",)),
    Case("E15", "a true date elsewhere", xls(day("BKZY", dt.date(2018, 9, 15))), BAD, ("CELL-TYPE",), WRONG),
    Case("E16", "the 1904 system", cells(old_epoch), "accepted", ("CELL-DATE",)),
    Case("E17", "serial 60", cells(serial_sixty), BAD, ("CELL-TYPE",), WRONG),
    Case("E18", "a merged cell over two rows", cells(lambda book: book.active.merge_cells("K2:K3"), people=3), "partial", ("ROW-MERGED",), {"accepted": 1, "held": 2}),
    Case("E18", "a merged cell over two rows of a twelfth column", table(lambda desk: [[*FIELDS, "备注"], [*values(desk), "同上"], [*values(desk), ""]], merged, count=2), "accepted", ("BOOK-EXTRA-COLUMN",), {"accepted": 2}),
    Case("E19", "title rows and two headers", table(lambda desk: [["证书补换"], [], NAMES, FIELDS, values(desk)]), "accepted", ("BOOK-TITLE-ROW",)),
    *(Case("E20", f"a header {word}", table(lambda desk, names=names: [names, values(desk)]), "accepted") for word, names in (
        ("in Chinese", NAMES), ("in lower case", [name.lower() for name in FIELDS]),
        ("with blanks and both names", [f" {name}（{FIELD_NAMES[name]}）\n" for name in FIELDS]))),
    Case("E20", "columns in another order", table(lambda desk: [FIELDS[::-1], values(desk)[::-1]]), "accepted"),
    Case("E21", "a missing column", table(lambda desk: [FIELDS[:-1], values(desk)[:-1]]), BAD, ("BOOK-HEADER",), said="BMS"),
    Case("E21", "a twelfth column", table(lambda desk: [[*FIELDS, "手机号"], [*values(desk), "1"]]), "accepted", ("BOOK-EXTRA-COLUMN",)),
    Case("E22", "a column named twice", table(lambda desk: [[*FIELDS, "姓名"], [*values(desk), "甲"]]), BAD, ("BOOK-HEADER-DUPLICATE",)),
    Case("E23", "a hidden row", cells(hide_row, people=2), "partial", ("ROW-HIDDEN",), {"accepted": 1, "held": 1}),
    Case("E23", "a filtered row", cells(filtered, people=2), "partial", ("ROW-HIDDEN",), {"accepted": 1, "held": 1}),
    Case("E23", "a hidden column", cells(hide_column), "accepted"),
    *(Case("E24", f"a {state} first sheet with data", cells(more_sheets(state)), BAD, ("BOOK-HIDDEN-SHEET",)) for state in ("hidden", "veryHidden")),
    Case("E24", "an empty hidden sheet", cells(more_sheets("hidden", data=False)), "accepted"),
    Case("E25", "a second sheet with data", cells(more_sheets()), "held", ("BOOK-SHEETS",), HELD),
    Case("E25", "a chart first", cells(more_sheets(chart=True)), "held", ("BOOK-SHEETS",), HELD),
    Case("E26", "60 000 formatted empty rows", raw(lambda desk: inline([FIELDS, values(desk)]) + BLANK_ROWS), "accepted"),
    Case("E27", "one value at XFD1048576", far('<c r="XFD1048576"><v>1</v></c>'), BAD, ("BOOK-LIMIT",)),
    Case("E27", "one blank at XFD1048576", far('<c r="XFD1048576" s="1"/>'), BAD, ("BOOK-LIMIT",)),
    Case("E27", "one value at A1048576", far('<c r="A1048576"><v>1</v></c>'), BAD, ("BOOK-LIMIT",)),
    *(Case("E28", f"the dimension says {lie}", raw(lambda desk: inline([FIELDS, values(desk), values(desk)]), before=f'<dimension ref="{lie}"/>', count=2), "accepted", rows={"accepted": 2})
      for lie in ("A1:A1", "A1:XFD1048576")),
    Case("E29", "a blank row, a total, signatures", table(lambda desk: [FIELDS, values(desk), [], values(desk), ["合计", "", "2人"], ["填表人：甲", "", "审核人：乙"]], count=2), "accepted", ("BOOK-BLANK-ROW", "BOOK-TOTAL-ROW"), {"accepted": 2}),
    Case("E30", "full-width digits", with_book(lambda desk: made.xls([FIELDS, values(desk, PZRQ="２０１８０９１５")])), "accepted"),
    Case("E30", "a superscript digit", with_rows(PZRQ="2018091²"), BAD, (), WRONG),
    *(Case("E31", f"U+{ord(sign):04X} in a cell", with_rows(BKZY=f"建筑{sign}工程"), "accepted", FIXED) for sign in "\u00a0\u200b\ufeff\t\u3000\u00ad"),
    Case("E32", "_x000D_", cells(BKZY="建筑工程_x000D_"), "accepted", FIXED),
    Case("E33", "an apostrophe typed first", with_rows(BKZY="'建筑工程"), "accepted", FIXED),
    Case("E34", "a formula", cells(KSXM='=CONCATENATE("a")'), BAD, ("BOOK-FORMULA",)),
    Case("E34", "a formula, xls", xls(lambda book: book.get_sheet(0).write(1, 1, xlwt.Formula("1+1"))), BAD, ("BOOK-FORMULA",)),
    Case("E35", "text that looks like a formula", with_rows(BKZY="=cmd|' /C calc'!A0"), BAD, ("REF-SPECIALTY",), WRONG),
    Case("E35", "a lone dash counts as empty", with_rows(ZSGLH="-"), "held", (*FIXED, "DB-NO-NUMBER"), HELD),
    *(Case("E36", f"{word}", parts(lambda _, name=name: {name: b"<x/>"}), BAD, ("BOOK-ACTIVE",), said=word) for name, word in (
        ("xl/externalLinks/externalLink1.xml", "外部链接"), ("xl/embeddings/oleObject1.bin", "嵌入对象"), ("xl/connections.xml", "数据连接"))),
    Case("E36", "an image and a comment", with_book(lambda desk: with_parts(made.xlsx([FIELDS, values(desk)], comment), {"xl/media/image1.png": b"x"})), "accepted", ("BOOK-IMAGES",)),
    Case("E37", "a macro workbook", parts(lambda _: {"xl/vbaProject.bin": b"x"}), BAD, ("BOOK-ACTIVE",), said="宏"),
    Case("E37", "macros in an xls", with_book(macro), BAD, ("BOOK-ACTIVE",)),
    Case("E38", "entity expansion", entity('<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>'), BAD, ("BOOK-DAMAGED",)),
    Case("E38", "an external entity", entity('<!DOCTYPE x SYSTEM "file:///etc/passwd">'), BAD, ("BOOK-DAMAGED",)),
    Case("E39", "a part twice", parts(lambda desk: {SHEET: sheet_xml(inline([FIELDS, values(desk)]))}, twice=True), BAD, ("BOOK-DAMAGED",)),
    Case("E40", "a sheet of 80 MB in 80 KB", parts(lambda _: {SHEET: b"<x>" + b" " * (80 << 20)}), BAD, ("BOOK-LIMIT",)),
    Case("E41", "#N/A", xls(error_cell), BAD, ("CELL-ERROR",), WRONG),
    Case("E42", "TRUE", xls(boolean), BAD, ("CELL-TYPE",), WRONG),
    *(Case("E43", f"somebody called {name}", with_rows(KSXM=name), verdict, rules) for name, verdict, rules in (
        ("NA", "held", ("PERSON-GLYPH",)), ("null", "held", ("PERSON-GLYPH",)), ("nan", "held", ("PERSON-GLYPH",)), ("N/A", "held", ("PERSON-GLYPH",)))),
    Case("E44", "a blank row above long numbers", table(lambda desk: [FIELDS, [], values(desk), [], values(desk)], count=2), "accepted", rows={"accepted": 2}),
    Case("E45", "rich text with phonetics", raw(rich), "accepted"),
    Case("E46", "a control character", with_rows(BKZY="建筑工程\x07"), BAD, ("CELL-CHARS",), WRONG),
    Case("E46", "a control character, xlsx", cells(BKZY="建筑工程_x0007_"), BAD, ("CELL-CHARS",), WRONG),
    Case("E46", "a lone surrogate", with_book(surrogate), BAD, ("CELL-CHARS",), WRONG),
    Case("E47", "a truncated xls", with_book(lambda desk: made.xls([FIELDS, values(desk)])[:2000]), BAD, ("BOOK-DAMAGED",)),
    Case("E47", "a truncated xlsx", with_book(lambda desk: made.xlsx([FIELDS, values(desk)])[:-50]), BAD, ("BOOK-DAMAGED",)),
    *(Case("E47", f"{name} broken", parts(lambda _, name=name: {name: b"<x"}), BAD) for name in (SHEET, "xl/workbook.xml", "xl/_rels/workbook.xml.rels")),
    Case("E48", "50 000 merged areas", raw(lambda desk: inline([FIELDS, values(desk)]), after="<mergeCells>" + '<mergeCell ref="A1:K60000"/>' * 50_000 + "</mergeCells>"), "held", ("ROW-MERGED",), HELD),
    Case("E49", "prefixes and no cell addresses", parts(lambda desk: {SHEET: prefixed(desk)}), "accepted"),
    Case("E50", "a protected sheet", cells(lambda book: book.active.protection.set_password("x")), "accepted"),
]  # fmt: skip


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    return judged(CASES, tmp_path_factory.mktemp("book"))


@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{one.case}-{one.what}" for one in CASES])
def test_book_case(number, verdicts):
    expect(CASES[number], verdicts[number])

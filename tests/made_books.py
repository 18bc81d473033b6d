"""Workbooks with planted oddities; the people in them are nobody."""

import io
import struct
import zipfile
from collections.abc import Callable, Iterable, Sequence

import openpyxl
import xlwt

from certflow import ole
from certflow.findings import FIELDS

ROW = (
    "2015034370000001", "王𠮷·买买提", "11010519491231002X", "居民身份证", "女", "", "建筑工程", "194912", "20150922",
    "11010519491231002X.jpg", "济南市",
)  # fmt: skip


def row(number: int = 1, **changes: str) -> list[str]:
    values = dict(zip(FIELDS, ROW, strict=True)) | {"ZSGLH": f"201503437{number:07d}"} | changes
    return list(values.values())


def xlsx(
    rows: Iterable[Sequence[object]] = (FIELDS, ROW), change: Callable[[openpyxl.Workbook], object] | None = None
) -> bytes:
    book = openpyxl.Workbook()
    for values in rows:
        book.active.append(list(values))
    if change is not None:
        change(book)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def xls(
    rows: Iterable[Sequence[object]] = (FIELDS, ROW), change: Callable[[xlwt.Workbook], object] | None = None
) -> bytes:
    book = xlwt.Workbook(encoding="utf-8")
    sheet = book.add_sheet("Sheet1", cell_overwrite_ok=True)
    for down, values in enumerate(rows):
        for across, value in enumerate(values):
            sheet.write(down, across, value)
    if change is not None:
        change(book)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def with_parts(book: bytes, parts: dict[str, bytes], *, twice: bool = False) -> bytes:
    """An xlsx with some parts replaced or added; `twice` leaves the old ones in beside the new."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if twice or name not in parts:
                new.writestr(name, old.read(name))
        for name, data in parts.items():
            new.writestr(name, data)
    return out.getvalue()


def part(book: bytes, name: str = "xl/worksheets/sheet1.xml") -> bytes:
    with zipfile.ZipFile(io.BytesIO(book)) as package:
        return package.read(name)


def sheet_xml(rows: str, *, before: str = "", after: str = "") -> bytes:
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    body = f'<worksheet xmlns="{space}">{before}<sheetData>{rows}</sheetData>{after}</worksheet>'
    return f'<?xml version="1.0"?>{body}'.encode()


def inline(rows: Iterable[Sequence[str]], first: int = 1) -> str:
    def cell(reference: str, text: str) -> str:
        return f'<c r="{reference}" t="inlineStr"><is><t>{text}</t></is></c>'

    return "".join(
        f'<row r="{down}">'
        + "".join(cell(f"{chr(65 + across)}{down}", text) for across, text in enumerate(values))
        + "</row>"
        for down, values in enumerate(rows, start=first)
    )


def with_another_workbook(book: bytes, another: bytes) -> bytes:
    """An xls as xlwt writes it with a second stream called Workbook behind the first; both short."""
    taken = dict(ole.streams(another))["workbook"]()
    taken += bytes(-len(taken) % 512)
    first, count = len(book) // 512 - 1, len(taken) // 512
    data = bytearray(book + taken)
    (table,) = struct.unpack_from("<I", data, 76)
    for number in range(first, first + count):
        last = number == first + count - 1
        struct.pack_into("<I", data, (table + 1) * 512 + 4 * number, 0xFFFFFFFE if last else number + 1)
    at = data.index("Workbook".encode("utf-16-le"))
    data[at + 128 : at + 256] = data[at : at + 128]
    struct.pack_into("<II", data, at + 128 + 116, first, len(taken))
    return bytes(data)

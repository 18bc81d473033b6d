"""A look into OOXML (`.xlsx`): the parts a cell reader does not tell about, every byte bounded.

Uses zipfile and expat only, so that the jailed reader starts fast; a document type declaration ends the
reading (E38). Broken bytes raise SubmissionError, or whatever zipfile and expat raise, which the caller takes
as BOOK-DAMAGED (E47).
"""

import io
import posixpath
import re
import zipfile
from collections.abc import Callable
from typing import Any
from xml.parsers import expat

from certflow.book import GRID_CELLS, Look, SheetLook
from certflow.errors import SubmissionError

_RATIO = 400
"""Largest produced : compressed of a part above 1 MiB; sheets of text reach about 30."""
_PLAIN_CELLS = re.compile(
    rb'(?:<c r="([A-Z][0-9]{1,7})"(?: s="[0-9]{1,5}")?(?: t="(?:s|n|str|inlineStr)")?>'
    rb"(?:<v>[^<&\x00-\x1f]*</v>|<is><t>[^<&\x00-\x1f]*</t></is>)</c>){1,256}"
)
"""Cells up to column Z, which no bound of ours is below; so many at once that little is kept to go back to.

A possessive repetition would keep nothing, but Python 3.11.2 (Debian 12) loses over it what the group had matched.
"""
_PLAIN_ROW = (
    rb'<row r="[0-9]{1,5}"(?: spans="[0-9: ]{1,12}")?(?: x14ac:dyDescent="[0-9.]{1,8}")?>'
    rb'<c r="%b[0-9]{1,7}"><v/></c></row>'
)
_PLAIN_ROWS = re.compile(_PLAIN_ROW % b"([A-Z])" + rb"(?:(%b)){1,256}" % (_PLAIN_ROW % rb"\1"))
"""Rows of plain cells alone that end in one column, below row 100 000, down to which a grid of so few columns may be
laid out anyway."""
_DECODED = 32 << 20
"""Bytes of a part that may be decoded as a whole in the jail's memory."""
_ACTIVE = {
    "externallinks": "外部链接", "embeddings": "嵌入对象", "activex": "控件", "ctrlprops": "控件",
    "querytables": "数据连接", "macrosheets": "宏", "webextensions": "加载项",
}  # fmt: skip
_KINDS = {"worksheet": "worksheet", "chartsheet": "chart", "dialogsheet": "dialog", "xlMacrosheet": "macro"}


def look(data: bytes, *, rows: int, columns: int, part_bytes: int) -> Look:
    """Parts of an `.xlsx`; SubmissionError BOOK-TYPE, BOOK-DAMAGED or BOOK-LIMIT.

    A cell right of `columns` is a BOOK-LIMIT even when blank (E27); blank rows below the content are not (E26).
    """
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        parts, sheet_part = _parts(package, part_bytes)
        found = Look("xlsx", active=_active(parts))
        found.images = sum("/media/" in name for name in parts)
        found.comments = sum("/comments" in name and name.endswith(".xml") for name in parts)
        read = _reader(package, parts, sheet_part, part_bytes)
        main = _main_part(parts, read)
        for name, state, target, kind in _sheets(read, main, found):
            sheet = SheetLook(name, state, kind)
            found.sheets.append(sheet)
            if kind == "worksheet":
                _walk(read(target), sheet, columns)
                if sheet.last_row > rows or sheet.last_row * sheet.last_column > GRID_CELLS:
                    raise SubmissionError("BOOK-LIMIT", f"内容到第 {sheet.last_row} 行第 {sheet.last_column} 列")
    return found


def _parts(package: zipfile.ZipFile, part_bytes: int) -> tuple[dict[str, zipfile.ZipInfo], dict[str, bytes]]:
    """All parts by name, and the first sheet's content: it is unpacked once, to be measured and to be walked."""
    parts: dict[str, zipfile.ZipInfo] = {}
    for info in package.infolist():
        name = info.filename.replace("\\", "/").lower().lstrip("/")
        if name in parts:
            raise SubmissionError("BOOK-DAMAGED", "部件重复")  # E39
        parts[name] = info
    _refuse_other_types(parts)
    # E40: what calamine would inflate is bounded before it sees the file.
    if sum(info.file_size for info in parts.values()) > part_bytes:
        raise SubmissionError("BOOK-LIMIT", "部件解开后过大")
    sheet_part: dict[str, bytes] = {}
    for name, info in parts.items():
        if info.file_size > 1 << 20 and info.file_size > _RATIO * max(info.compress_size, 1):
            raise SubmissionError("BOOK-LIMIT", f"部件解开后 {info.file_size >> 20} MB")
        if name.endswith(".xml") and info.file_size:
            part = _measured(package, info)
            if not sheet_part and name.startswith("xl/worksheets/") and len(part) <= _DECODED:
                sheet_part[name] = part
    return parts, sheet_part


def _refuse_other_types(parts: dict[str, zipfile.ZipInfo]) -> None:
    if "mimetype" in parts and "content.xml" in parts:
        raise SubmissionError("BOOK-TYPE", "OpenDocument 表格（.ods）")  # E07
    if "[content_types].xml" not in parts:
        raise SubmissionError("BOOK-TYPE", "不是 Excel 工作簿")
    if any(name.endswith("workbook.bin") for name in parts):
        raise SubmissionError("BOOK-TYPE", "二进制工作簿（.xlsb）")  # E07
    if any(name.startswith(("word/", "ppt/")) for name in parts):
        raise SubmissionError("BOOK-TYPE", "其他 Office 文档")


def _measured(package: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """A part; refused when it is not as large as its header says."""
    with package.open(info) as stream:
        part = stream.read()
    if len(part) != info.file_size:
        raise SubmissionError("BOOK-LIMIT", "部件大小与声明不符")
    return part


def _active(parts: dict[str, zipfile.ZipInfo]) -> list[str]:
    found = {_ACTIVE[folder] for name in parts for folder in name.split("/")[:-1] if folder in _ACTIVE}
    if any(name.endswith("vbaproject.bin") for name in parts):
        found.add("宏")  # E37
    if any(name.endswith("/connections.xml") for name in parts):
        found.add("数据连接")
    return sorted(found)


def _reader(
    package: zipfile.ZipFile, parts: dict[str, zipfile.ZipInfo], sheet_part: dict[str, bytes], part_bytes: int
) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        key = name.lower().lstrip("/")
        if key in sheet_part:
            return sheet_part.pop(key)
        info = parts.get(key)
        if info is None:
            raise SubmissionError("BOOK-DAMAGED", "缺少部件")
        with package.open(info) as stream:
            return stream.read(part_bytes)

    return read


def _parse(data: bytes, start: Callable[[str, dict[str, str]], None]) -> None:
    """Feed expat; names arrive without prefix (E49: unusual prefixes, strict namespace)."""
    local: dict[str, str] = {}

    def started(name: str, attributes: dict[str, str]) -> None:
        start(local.get(name) or local.setdefault(name, name.rpartition(":")[2]), attributes)

    parser = _parser()
    parser.StartElementHandler = started
    parser.Parse(data, True)


def _parser() -> Any:  # noqa: ANN401 (expat names no type)
    def refuse(*_: Any) -> None:  # noqa: ANN401 (expat's five arguments)
        raise SubmissionError("BOOK-DAMAGED", "含文档类型声明")  # E38

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    return parser


def _main_part(parts: dict[str, zipfile.ZipInfo], read: Callable[[str], bytes]) -> str:
    targets: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if name == "Relationship" and attributes.get("Type", "").endswith("/officeDocument"):
            targets.append(attributes.get("Target", "").lstrip("/"))

    if "_rels/.rels" in parts:
        _parse(read("_rels/.rels"), start)
    return targets[0] if targets else "xl/workbook.xml"


def _sheets(read: Callable[[str], bytes], main: str, found: Look) -> list[tuple[str, str, str, str]]:
    """(name, state, part, kind) of every sheet, in workbook order."""
    folder, _, base = main.rpartition("/")
    relations: dict[str, tuple[str, str]] = {}
    sheets: list[tuple[str, str, str]] = []

    def relation(name: str, attributes: dict[str, str]) -> None:
        if name == "Relationship" and "Id" in attributes:
            kind = attributes.get("Type", "").rpartition("/")[2]
            target = attributes.get("Target", "")
            if attributes.get("TargetMode") == "External":
                found.active.append("外部链接")
            path = target.lstrip("/") if target.startswith("/") else posixpath.normpath(f"{folder}/{target}")
            relations[attributes["Id"]] = (path.lstrip("/"), _KINDS.get(kind, "other"))

    def sheet(name: str, attributes: dict[str, str]) -> None:
        if name == "sheet":
            link = next(
                (value for key, value in attributes.items() if key.rpartition(":")[2] == "id" and ":" in key), ""
            )
            sheets.append((attributes.get("name", ""), attributes.get("state", "visible"), link))
        elif name == "workbookPr":
            found.date1904 = attributes.get("date1904", "0") in ("1", "true")
        elif name == "externalReference":
            found.active.append("外部链接")

    _parse(read(f"{folder}/_rels/{base}.rels" if folder else f"_rels/{base}.rels"), relation)
    _parse(read(main), sheet)
    if not sheets:
        raise SubmissionError("BOOK-DAMAGED", "没有工作表")
    return [(name, state, *relations.get(link, ("", "other"))) for name, state, link in sheets]


def _walk(data: bytes, sheet: SheetLook, columns: int) -> None:  # noqa: C901 (a million calls: one flat handler)
    """Where the content really ends (E28: the dimension element is not asked), and what hides in it."""
    row = column = 0
    error = False
    with_content: tuple[set[int], set[int]] = ({0}, {0})
    local: dict[str, str] = {}
    numbers: dict[str, int] = {}

    def start(tag: str, attributes: dict[str, str]) -> None:  # noqa: C901 (as above)
        nonlocal row, column, error
        name = local.get(tag) or local.setdefault(tag, tag.rpartition(":")[2])
        if name == "c":
            if reference := attributes.get("r"):
                letters = reference.rstrip("0123456789")
                column = numbers.get(letters) or numbers.setdefault(letters, _column(letters))
            else:
                column += 1
            if column > columns:
                raise SubmissionError("BOOK-LIMIT", f"第 {row} 行有第 {column} 列")  # E27
            error = attributes.get("t") == "e"
        elif name in ("v", "is"):
            with_content[0].add(row)
            with_content[1].add(column)
            if error:
                sheet.errors.append((row, column))
        elif name == "row":
            row = int(attributes.get("r", row + 1))
            column = 0
            if attributes.get("hidden") in ("1", "true") or float(attributes.get("ht", 1)) == 0:
                sheet.hidden_rows.append(row)
        elif name == "f":
            sheet.formulas.append((row, column))
            with_content[0].add(row)
            with_content[1].add(column)
        elif name == "mergeCell":
            sheet.merged.append(_area(attributes.get("ref", "")))
        elif name == "col" and attributes.get("hidden") in ("1", "true"):
            sheet.hidden_columns.append((int(attributes["min"]), int(attributes["max"])))

    parser = _parser()
    parser.StartElementHandler = start
    parser.Parse(_without_plain_cells(data), True)
    sheet.last_row, sheet.last_column = map(max, with_content)


def _without_plain_cells(data: bytes) -> bytes:
    """The part with one empty cell, the last, in place of each run of plain ones, and of such rows the last.

    That is nearly all expat has to read. A plain cell holds a text or a number and nothing else, its text no sign that
    XML gives a meaning; it says nothing the walk asks for but where it stands. Only in plain ASCII or UTF-8, where
    these bytes cannot mean anything else.
    """
    if not data[:80].startswith((b"<worksheet", b'<?xml version="1.0" encoding="UTF-8"', b'<?xml version="1.0"?>')):
        return data
    if not data.isascii():
        if len(data) > _DECODED:
            return data
        try:
            data.decode()
        except UnicodeDecodeError:
            return data
    return _PLAIN_ROWS.sub(rb"\2", _PLAIN_CELLS.sub(rb'<c r="\1"><v/></c>', data))


def _column(reference: str) -> int:
    number = 0
    for character in reference:
        if not "A" <= character <= "Z":
            break
        number = number * 26 + ord(character) - 64
    return number


def _area(reference: str) -> tuple[int, int, int, int]:
    first, _, last = reference.partition(":")
    last = last or first
    return (
        int(first.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")), _column(first),
        int(last.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")), _column(last),
    )  # fmt: skip

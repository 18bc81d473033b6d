"""Excel in and out: the only module that imports calamine, XlsxWriter and xlwt (each where it is used).

Reading gives text and cell types as stored, never guesses a type (E10). Files from outside go through
`certflow.jail`, which calls `read` in a child process; `read_table` and `read_own` are for files of
our own side. Writing is always text: no cell ever becomes a formula (E35).
"""

import datetime as dt
import html
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from struct import pack, pack_into
from typing import Any
from unicodedata import east_asian_width

from certflow import biff, ole, ooxml, vault
from certflow.book import Column, Grid, Look, join
from certflow.errors import Conflict, SubmissionError

XLS_ROWS = 65_535
"""Data rows one `.XLS` holds below its header (BIFF8 ends at row 65 536)."""
_XLS_TEXT = 4_000
"""UTF-16 units one value may have in an `.XLS`, so that it never has to be split over two records."""
_XLS_RECORD = 8_224
"""Bytes of the table of texts that go into one record of an `.XLS`."""
_XLSX_TEXT = 32_767
_ONE_LINE = ("title", "across", "line")
"""Marks of cells that may reach over their empty neighbours instead of being wrapped."""
_LINE_POINTS = 17.25
"""Height of one line of 11-point text, in whole pixels; 宋体 takes 15, the fonts that stand in for it up to 17."""
_TALL = {"title": 22.5, "across": 25.5}
"""The same of the marks with larger text."""
_LOST = "\ufffd"
"""What a reader puts where it cannot read a character."""
_EXACT_DIGITS = 15
"""A number cell keeps 15 decimal digits; longer ones have lost some (E10, E12)."""
_FIRST_SAFE_DATE = dt.datetime(1900, 3, 1)  # noqa: DTZ001 (a calendar date of a cell, no moment)
"""Before it Excel counts a 29 February that never was (E17)."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a workbook we write.

    `mark` is its look: "", title, head, bad, fix, note, good; on forms across, line, box, boxhead.
    """

    text: str
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A sheet of a workbook we write.

    `widths` in characters; `mark` is the look of cells that are given as text; `footer` in Excel's codes
    (``第 &P 页/共 &N 页``).
    """

    name: str
    rows: Sequence[Sequence[Cell | str]]
    widths: Sequence[int]
    freeze: str | None = None
    landscape: bool = False
    repeat_rows: int = 0
    footer: str = ""
    mark: str = ""


def write_xls(header: Sequence[str], rows: Iterable[Sequence[str]], sheet: str = "Sheet1") -> bytes:
    """A real BIFF8 workbook (notice 附件二 1): every cell string type and format ``@``; same content, same bytes.

    Empty values become blank cells in text format. Raises Conflict for more than 65 535 rows or a value
    of more than 4 000 UTF-16 units.
    """
    import xlwt
    from xlwt.Cell import BlankCell, StrCell

    book, page = _sparing_book(sheet)
    text = xlwt.easyxf(num_format_str="@")
    look, share = book.add_style(text), book.add_str
    for column, value in enumerate(header):
        page.write(0, column, value, text)
    for number, row in enumerate(rows, start=1):
        if number > XLS_ROWS:
            raise Conflict(f".XLS 最多容纳 {XLS_ROWS} 行，请分成几个数据包")
        line = page.row(number)
        for column, value in enumerate(row):
            if len(value) > _XLS_TEXT // 2 and len(value.encode("utf-16-le", "surrogatepass")) > 2 * _XLS_TEXT:
                raise Conflict(f"row {number + 1} column {column + 1}: longer than {_XLS_TEXT} characters")
            if column + 1 == len(row):
                line.write(column, value, text)  # asks for type, style and width: once a row is enough
            elif value:
                line.insert_cell(column, StrCell(number, column, look, share(value)))
            else:
                line.insert_cell(column, BlankCell(number, column, look))
        if number % _FLUSHED == 0:
            page.flush_row_data()
    out = io.BytesIO()
    book.save(out)
    vars(page).clear()  # book and sheet name each other: all texts would wait for the collector
    vars(book).clear()
    return out.getvalue()


def _sparing_book(sheet: str) -> tuple[Any, Any]:
    """A book of xlwt with one sheet: to be saved once, for it lets go meanwhile of what has been written."""
    import xlwt
    from xlwt.BIFFRecords import SharedStringTable
    from xlwt.UnicodeUtils import upack2

    class WholeStrings(SharedStringTable):  # type: ignore[misc]  # xlwt has no types
        """Begins a new record rather than splitting a string: readers (calamine) lose a surrogate pair cut in two."""

        _str_indexes: dict[str, int]

        def get_biff_record(self) -> bytes:
            table = bytearray(pack("<HHII", self._SST_ID, 0, self._add_calls, len(self._str_indexes)))
            begins = 4
            for text in self._str_indexes:  # in the order of their numbers
                packed = upack2(text)
                if len(table) + len(packed) > begins + _XLS_RECORD:
                    pack_into("<H", table, begins - 2, len(table) - begins)
                    table += pack("<HH", self._CONTINUE_ID, 0)
                    begins = len(table)
                table += packed
            pack_into("<H", table, begins - 2, len(table) - begins)
            self._str_indexes = {}
            return bytes(table)

    class Spool(io.BytesIO):
        """Rows in their final words, which xlwt would put into the system's temporary folder."""

        def read(self, _size: int | None = -1) -> bytes:
            whole = self.getvalue()
            self.truncate(0)
            return whole

    book = xlwt.Workbook(encoding="utf-8")
    book._Workbook__sst = WholeStrings("utf-8")  # noqa: SLF001 (xlwt offers no other way to D12)
    page = book.add_sheet(sheet)
    page.row_tempfile = Spool()
    return book, page


def read_own(data: bytes) -> Iterator[list[str]]:
    """Every row of the first sheet of a workbook of our own, one at a time: for reading back what was written here.

    Raises SubmissionError as `read_sheets`, before the first row.
    """
    with _opened(data) as sheets:
        sheet = next(sheets, None)
    return iter(()) if sheet is None else _text_rows(sheet)


def read_table(path: Path) -> Iterator[list[str]]:
    """Rows of the first sheet with content, as text, for tables from our own side (registry, reference).

    Raises SubmissionError: BOOK-TYPE, BOOK-PASSWORD, BOOK-DAMAGED, BOOK-LIMIT, and as `table`.
    """
    _, grids = read(vault.read_bytes(path), rows=1 << 20, columns=256, part_bytes=4 << 30)
    yield from table(grids)


def table(grids: Iterable[Grid]) -> Iterator[list[str]]:
    """Rows of the first of these sheets that has content, as text; dates as ``YYYYMMDD``.

    Raises SubmissionError CELL-TYPE where a number cell is too long to have kept its digits.
    """
    grid = next((grid for grid in grids if grid.columns), None)
    if grid is None:
        return
    for offset, (texts, kinds) in enumerate(zip(grid.rows(), grid.kinds, strict=True)):
        row = [text[:10].replace("-", "") if kind == "d" else text
               for text, kind in zip(texts, " " * grid.first_column + kinds, strict=True)]  # fmt: skip
        for column, kind in enumerate(kinds, start=grid.first_column):
            if kind == "n" and len(row[column].lstrip("-").replace(".", "")) > _EXACT_DIGITS:
                place = f"第 {grid.first_row + offset + 1} 行第 {column + 1} 列是数值，位数已丢失"
                raise SubmissionError("CELL-TYPE", place)
        yield row


def look_into(data: bytes, *, rows: int, columns: int, part_bytes: int) -> Look:
    """What a workbook holds beside its texts, and whether it may be opened at all; see `biff.look`, `ooxml.look`.

    Raises SubmissionError before any grid is built (E27, E40).
    """
    if data.startswith(ole.MAGIC):
        return biff.look(data, rows=rows, columns=columns)
    if data.startswith(b"PK\x03\x04"):
        return ooxml.look(data, rows=rows, columns=columns, part_bytes=part_bytes)
    raise SubmissionError("BOOK-TYPE", "不是 Excel 工作簿")


def read(data: bytes, *, rows: int, columns: int, part_bytes: int) -> tuple[Look, list[Grid]]:
    """As `look_into`, and every worksheet, cell by cell.

    A `.XLS` of text alone is read in the same walk, everything else by calamine as `read_sheets` does it.
    """
    grids: list[Grid] | None = None
    if data.startswith(ole.MAGIC):
        look, grids = biff.read(data, rows=rows, columns=columns)
    else:
        look = look_into(data, rows=rows, columns=columns, part_bytes=part_bytes)
    return look, read_sheets(data) if grids is None else grids


def read_sheets(data: bytes) -> list[Grid]:
    """Every worksheet, cell by cell; only after `look_into` found the sizes bearable.

    Raises SubmissionError BOOK-PASSWORD or BOOK-DAMAGED, whatever calamine raises (its panics are no Exception).
    """
    with _opened(data) as sheets:
        return _mend_split_pairs(data, list(map(_grid, sheets)))


@contextmanager
def _opened(data: bytes) -> Iterator[Iterator[Any]]:
    """The worksheets as calamine has them; raises as `read_sheets`."""
    import python_calamine as calamine

    try:
        with calamine.CalamineWorkbook.from_filelike(io.BytesIO(data)) as book:
            yield (
                book.get_sheet_by_index(index)
                for index, sheet in enumerate(book.sheets_metadata)
                if sheet.typ == calamine.SheetTypeEnum.WorkSheet
            )
    except calamine.PasswordError:
        raise SubmissionError("BOOK-PASSWORD") from None
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # noqa: BLE001 (E47: PanicException is a BaseException)
        raise SubmissionError("BOOK-DAMAGED", f"文件内容损坏（{type(error).__name__}）") from None


def _text_rows(sheet: Any) -> Iterator[list[str]]:  # noqa: ANN401 (calamine has no types for mypy here)
    down, across = sheet.start or (0, 0)
    for row in islice(sheet.iter_rows(), down, None):  # which begins with the first row there can be
        yield [""] * across + [value if isinstance(value, str) else _cell(value)[0] for value in row]


def _grid(sheet: Any) -> Grid:  # noqa: ANN401 (calamine has no types for mypy here)
    start = sheet.start or (0, 0)
    return Grid(sheet.name, start[0], start[1], list(map(_column, zip(*sheet.to_python(), strict=True))))


def _column(cells: Sequence[Any]) -> Column:
    try:
        return join(cells)  # nearly all columns are text alone, as the notice wants it
    except TypeError:
        pairs = [_cell(value) for value in cells]
        return join([text for text, _ in pairs], "".join([kind for _, kind in pairs]))


def _mend_split_pairs(data: bytes, grids: list[Grid]) -> list[Grid]:
    if not data.startswith(ole.MAGIC) or not any(_LOST in one.joined for grid in grids for one in grid.columns):
        return grids
    for grid, texts in zip(grids, biff.shared_texts(data), strict=True):
        for across, one in enumerate(grid.columns, start=grid.first_column):
            if _LOST in one.joined:
                places = enumerate(one.texts, start=grid.first_row)
                whole = [texts.get((down, across), text) if _LOST in text else text for down, text in places]
                grid.columns[across - grid.first_column] = join(whole, one.kinds)
    return grids


def _cell(value: object) -> tuple[str, str]:  # noqa: PLR0911 (one per type)
    match value:
        case str():
            return value, "t" if value else " "
        case bool():
            return ("TRUE" if value else "FALSE"), "b"
        case int():
            return str(value), "n"
        case float():
            return (str(int(value)) if value.is_integer() and abs(value) < 1e18 else repr(value)), "n"
        case dt.datetime():
            return _date(value)
        case dt.date():
            return _date(dt.datetime.combine(value, dt.time()))
        case _:
            return str(value), "n"  # a time or a duration: nothing the notice knows


def _date(value: dt.datetime) -> tuple[str, str]:
    if value < _FIRST_SAFE_DATE:
        return value.isoformat(" "), "n"  # E17: a serial in disguise
    if value.time() == dt.time():
        return f"{value:%Y-%m-%d}", "d"
    return value.isoformat(" "), "d"


_LOOKS: dict[str, tuple[str | None, str | None, bool]] = {
    # mark: fill, font colour, bold
    "": (None, None, False),
    "title": (None, None, True),
    "head": ("D9E2F3", None, True),
    "bad": ("F8CBAD", "9C0006", False),
    "fix": ("FFF2CC", "7F6000", False),
    "note": ("EDEDED", "404040", False),
    "good": ("E2EFDA", "375623", False),
    "across": (None, None, True),
    "line": (None, None, False),
    "box": (None, None, False),
    "boxhead": (None, None, True),
}
_FLUSHED = 1_000
"""Rows of an .XLS that are held as cells, of 150 bytes each, before they are written out."""
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_TOUCHY = re.compile("[&<>_ ]")
"""What a text in XML, or in Excel's, may have to be escaped or kept for."""
_A4 = 9
_THIN, _HAIR = 1, 7
"""Borders, by their numbers in XlsxWriter."""
_MARGIN = 0.3
"""Inches left and right: a wide table is printed as large as it can be."""
_FONT = "宋体"
"""One font for all cells; Excel, WPS and LibreOffice each have it or a stand-in."""
_MADE = dt.datetime(1980, 1, 1)  # noqa: DTZ001 (what a workbook says about its making: the ledger knows the moment)


def write_xlsx(path: Path, pages: Sequence[Page]) -> None:
    """Write a workbook for people; the same pages give the same bytes.

    Every cell is text; characters no XML can carry show as U+FFFD (E46).
    """
    from xlsxwriter import Workbook
    from xlsxwriter.worksheet import Worksheet

    class Rows(Worksheet):  # type: ignore[misc]  # XlsxWriter has no types for mypy here
        """Its rows are put into words at once, not held cell by cell: six tenths of the work and of the memory."""

        lines: Iterable[str] = ()

        def _write_rows(self) -> None:
            self.fh.writelines(self.lines)
            self.lines = ()

    part = path.with_name(path.name + ".part")
    with vault.create(part, 0o666) as stream:
        book = Workbook(stream, {"in_memory": True})  # no value of a row is spooled outside the protected folders
        book.set_properties({"created": _MADE})
        looks = {mark: book.add_format(_dress(mark)) for mark in _LOOKS}
        for page in pages:
            sheet = book.add_worksheet(page.name, Rows)
            _set_up(sheet, page)
            sheet.lines = list(_rows_of(page, looks, sheet._escape_control_characters))  # noqa: SLF001
        book.close()
        for sheet in book.worksheets():  # book and sheets name each other: all texts would wait for the collector
            vars(sheet).clear()
    part.replace(path)


def _set_up(sheet: Any, page: Page) -> None:  # noqa: ANN401 (XlsxWriter's classes)
    for column, width in enumerate(page.widths):
        sheet.set_column(column, column, width)
    if page.freeze:
        sheet.freeze_panes(page.freeze)
    sheet.set_paper(_A4)
    if page.landscape:
        sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
    sheet.set_margins(left=_MARGIN, right=_MARGIN)
    if page.repeat_rows:
        sheet.repeat_rows(0, page.repeat_rows - 1)
    if page.footer:
        sheet.set_footer(f"&C{page.footer}")
    sheet.set_default_row(_LINE_POINTS)  # no program is left to find the height of a line by itself
    if any(page.rows):
        sheet.dim_rowmin, sheet.dim_rowmax = 0, len(page.rows) - 1
        sheet.dim_colmin, sheet.dim_colmax = 0, max(map(len, page.rows)) - 1


def _rows_of(page: Page, looks: Mapping[str, Any], escaped: Callable[[str], str]) -> Iterator[str]:
    """The rows as the sheet's XML, each text in its cell; `escaped`: what Excel would take for a code, as one."""
    from xlsxwriter.utility import xl_col_to_name

    names = [xl_col_to_name(across) for across in range(max(map(len, page.rows), default=0))]
    rooms = [max(width - 1, 1) for width in page.widths]
    dressed: dict[str, tuple[int, bool, float]] = {}
    """By mark; the library numbers what is asked for."""
    alike: dict[tuple[bool, ...], str] = {}
    """By which cells have a text: a row of plain texts on one line each, open for them and for its number (NUL)."""
    for down, row in enumerate(page.rows, start=1):
        if not _wraps(page.mark) and page.mark in dressed and _all_plain(row):
            filled = (*map(bool, row),)
            if filled not in alike:
                style, _, height = dressed[page.mark]
                open_cells = [
                    _cell_of(f"{name}\0", style, "<t>%s</t>" if one else "")
                    for name, one in zip(names, filled, strict=False)
                ]
                alike[filled] = _row_of("\0", open_cells, max(_LINE_POINTS, height))
            yield (alike[filled] % (*filter(None, row),)).replace("\0", str(down))
            continue
        lines, tall, cells = 1, 0.0, []
        for across, cell in enumerate(row):
            text, mark = (cell, page.mark) if isinstance(cell, str) else (cell.text, cell.mark)
            if mark not in dressed:
                style = looks[mark]._get_xf_index()  # noqa: SLF001 (as the library's own rows ask)
                dressed[mark] = (style, _wraps(mark), _TALL.get(mark, 0.0))
            style, wraps, height = dressed[mark]
            tall = max(tall, height)
            if wraps and across < len(rooms):
                lines = max(lines, _lines(text, rooms[across]))
            if len(text) > _XLSX_TEXT or not text.isprintable():
                text = _UNWRITABLE.sub("\ufffd", text)[:_XLSX_TEXT]
            kept = ' xml:space="preserve"' if text != text.strip() else ""
            content = f"<t{kept}>{html.escape(escaped(text), quote=False)}</t>" if text else ""
            cells.append(_cell_of(f"{names[across]}{down}", style, content))
        yield _row_of(str(down), cells, max(_LINE_POINTS * lines, tall))


def _all_plain(row: Sequence[Cell | str]) -> bool:
    """Whether each cell is a text that stands in XML as it is."""
    if {*map(type, row)} != {str}:
        return False
    whole = "".join(row)  # type: ignore[arg-type]  # they are texts
    return len(whole) <= _XLSX_TEXT and whole.isprintable() and not _TOUCHY.search(whole)


def _row_of(down: str, cells: Iterable[str], height: float) -> str:
    return f'<row r="{down}" ht="{height:.16g}" customHeight="1">{"".join(cells)}</row>'


def _cell_of(place: str, style: int, content: str) -> str:
    """E35: text that begins with = stays text. It lies in the cell: most are there once, and need no common table."""
    return f'<c r="{place}" s="{style}"' + (f' t="inlineStr"><is>{content}</is></c>' if content else "/>")


def _wraps(mark: str) -> bool:
    return mark not in _ONE_LINE and not mark.startswith("box")


def _lines(text: str, room: int) -> int:
    """Lines a text takes in a column with room for so many characters; ideographs are two wide."""
    if (len(text) if text.isascii() else 2 * len(text)) <= room and "\n" not in text:  # most cells
        return 1
    return sum(
        max(1, -(-sum(2 if east_asian_width(sign) in "WF" else 1 for sign in line) // room))
        for line in text.split("\n")
    )


def _dress(mark: str) -> dict[str, object]:
    """The look of a mark in XlsxWriter's words."""
    fill, colour, bold = _LOOKS[mark]
    look: dict[str, object] = {
        "num_format": "@", "font_name": _FONT, "font_size": {"title": 14, "across": 16}.get(mark, 11), "bold": bold,
    }  # fmt: skip
    if mark == "across":  # centred over the empty cells beside it, which no reader takes for merged
        look |= {"align": "center_across", "valign": "vcenter"}
    elif mark.startswith("box"):
        look |= {"border": _THIN, "align": "center", "valign": "vcenter", "shrink": True}
    else:
        look |= {"valign": "top"}
        if _wraps(mark):
            look |= {"border": _HAIR, "border_color": "#A6A6A6", "text_wrap": True}
    if fill:
        look |= {"bg_color": f"#{fill}"}
    if colour:
        look |= {"font_color": f"#{colour}"}
    return look

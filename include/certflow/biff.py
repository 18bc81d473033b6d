"""BIFF8 (Excel 97-2003, `.XLS`): a look into what a cell reader does not tell about, and cells that are all text.

Walks the record stream [MS-XLS] in the compound file (`certflow.ole`) once for both. Nothing is imported beyond the
standard library, so that the jailed reader starts fast. Broken bytes raise SubmissionError, or any of struct.error,
IndexError, ValueError, which the caller takes as BOOK-DAMAGED (E47).
"""

import re
import struct
import sys
from array import array
from codecs import utf_16_le_decode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from certflow import ole
from certflow.book import GRID_CELLS, Grid, Look, SheetLook, join
from certflow.errors import SubmissionError

_STATES = ("visible", "hidden", "veryHidden", "veryHidden")
_KINDS = {0: "worksheet", 1: "macro", 2: "chart", 6: "macro"}
_BOF, _EOF, _FILEPASS, _BOUNDSHEET, _DATEMODE, _SUPBOOK = 0x0809, 0x000A, 0x002F, 0x0085, 0x0022, 0x01AE
_ROW, _COLINFO, _MERGED, _FORMULA, _BOOLERR, _NOTE, _OBJ = 0x0208, 0x007D, 0x00E5, 0x0006, 0x0205, 0x001C, 0x005D
_CELLS = {0x00FD, 0x0204, 0x027E, 0x0203, 0x00D6, _FORMULA, _BOOLERR}
"""LABELSST, LABEL, RK, NUMBER, RSTRING and the two named ones: row and column come first in each."""
_MULRK, _DRAWINGS, _SST, _CONTINUE, _LABELSST = 0x00BD, 0x00EB, 0x00FC, 0x003C, 0x00FD
_FORMULA_TEXT = 0x0207
_XF, _FORMAT, _BLANK, _MULBLANK = 0x00E0, 0x041E, 0x0201, 0x00BE
_STRING, _STRING_SIZE = rb"\xfd\0\x0a\0.{10}", 14
"""A cell of a shared string (LABELSST) with its header: nearly all of a sheet of text."""
_SILENT = (
    rb"\x01\x02\x06\0.{6}|"
    rb"\x08\x02\x10\0.{6}(?:[^\0].|\0[^\0\x80]).{4}[\0-\x1f\x40-\x5f\x80-\x9f\xc0-\xdf].{3}"
)
"""A BLANK, or a ROW that is neither hidden nor of height 0: `look` has nothing to say of them."""
_LOOKLESS = rb"\x08\x02\x10\0.{16}"
"""Any ROW: `not_text` has nothing to say of it."""
_STRINGS = re.compile(rb"((?:%b){1,256})(?:%b){0,256}|(?:%b){1,256}|(.+)" % (_STRING, _LOOKLESS, _LOOKLESS), re.DOTALL)
_PLAIN = re.compile(rb"((?:%b){1,256})(?:%b){0,256}|(?:%b){1,256}|(.+)" % (_STRING, _SILENT, _SILENT), re.DOTALL)
"""Runs of strings, what is passed over with them, and as the second group all the rest. Counted, because what `re`
remembers of a run would fill the jail."""
_RUNNING = {_LABELSST, _BLANK, _ROW}
_AHEAD = 1 << 14
"""Bytes such a pattern sees at once."""
_SELF, _ADD_IN = 0x0401, 0x3A01
_TEXT_FORMAT = 49
"""Number of the built-in format ``@``."""


@dataclass(frozen=True, slots=True)
class _Strings:
    """The shared-string cells of a sheet as one run, and the rectangle they lie in, 0-based."""

    run: bytearray
    top: int
    left: int
    bottom: int
    right: int
    full: bool
    """One cell in each place of the rectangle, row by row."""


def look(data: bytes, *, rows: int, columns: int) -> Look:
    """Records of a `.XLS`; SubmissionError BOOK-TYPE, BOOK-PASSWORD, BOOK-DAMAGED or BOOK-LIMIT."""
    found, *_ = _walk(data, rows, columns)
    return found


def read(data: bytes, *, rows: int, columns: int) -> tuple[Look, list[Grid] | None]:
    """As `look`, and the cells of every worksheet; None where there are others than shared strings.

    None also where the strings are not as they should be, or a sheet has an impossible name: whether such a book is
    damaged a general reader decides.
    """
    found, stream, cells = _walk(data, rows, columns)
    strings = [one for one in cells if one is not None]
    names = [sheet.name for sheet in found.sheets if sheet.kind == "worksheet"]
    if len(strings) < len(cells) or any("\0" in name for name in names):
        return found, None
    try:
        filled = any(one.run for one in strings)
        pieces = _string_records(stream) if filled else []
        del stream  # as large as the file: it need not lie beside texts and cells
        texts = _shared_strings(pieces) if filled else []
        del pieces
        return found, [_grid(name, one, texts) for name, one in zip(names, strings, strict=True)]
    except (struct.error, IndexError, ValueError):
        return found, None


def _walk(data: bytes, rows: int, columns: int) -> tuple[Look, bytes, list[_Strings | None]]:
    """The look, the record stream, and of each worksheet what `_sheet` gives."""
    listed = list(ole.streams(data))
    streams = dict(reversed(listed))  # of several the first, as calamine takes it
    if "encryptedpackage" in streams:
        raise SubmissionError("BOOK-PASSWORD")  # E08
    if "workbook" not in streams:
        older = "Excel 5.0/95 工作簿" if "book" in streams else "Word 文档" if "worddocument" in streams else "OLE 文件"
        raise SubmissionError("BOOK-TYPE", older)  # E05
    found = Look("xls")
    if any(name.startswith("_vba_project") or name == "vba" for name in streams):
        found.active.append("宏")
    within = sum(name == "workbook" for name, _ in listed) > 1
    if within or any(name.startswith("mbd") or name == "\x01ole10native" for name in streams):
        found.active.append("嵌入对象")
    stream = streams["workbook"]()
    offsets = _globals(stream, found)
    cells: list[_Strings | None] = []
    for sheet, offset in zip(found.sheets, offsets, strict=True):
        if sheet.kind == "worksheet":
            cells.append(_sheet(stream, offset, sheet, found))
            if sheet.last_row > rows or sheet.last_column > columns:
                raise SubmissionError("BOOK-LIMIT", f"内容到第 {sheet.last_row} 行第 {sheet.last_column} 列")
            if sheet.last_row * sheet.last_column > GRID_CELLS:
                raise SubmissionError("BOOK-LIMIT", f"{sheet.last_row} 行 × {sheet.last_column} 列")
    return found, stream, cells


def shared_texts(data: bytes) -> list[dict[tuple[int, int], str]]:
    """Per worksheet: 0-based (row, column) → text of every shared-string cell, surrogate pairs whole.

    A string may be cut over two records in the middle of a surrogate pair; calamine then reads two U+FFFD (D12).
    """
    stream = _workbook(data)
    found = Look("xls")
    offsets = _globals(stream, found)
    strings = _shared_strings(_string_records(stream))
    texts: list[dict[tuple[int, int], str]] = []
    for sheet, offset in zip(found.sheets, offsets, strict=True):
        if sheet.kind == "worksheet":
            cells = (
                struct.unpack_from("<HHxxI", stream, at)
                for kind, at, _ in _records(stream, offset)
                if kind == _LABELSST
            )
            texts.append({(row, column): strings[index] for row, column, index in cells})
    return texts


def not_text(data: bytes) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """0-based (row, column) of cells of the first worksheet that are no text: by type, and by format.

    By type: anything but a string or a blank. By format: anything but ``@`` (notice 附件二 1).
    """
    stream = _workbook(data)
    offset = _globals(stream, Look("xls"))[0]
    as_text = _text_looks(stream)
    by_type: set[tuple[int, int]] = set()
    by_format: set[tuple[int, int]] = set()
    for kind, row, column, look in _cell_looks(stream, offset, as_text):
        if look not in as_text:
            by_format.add((row, column))
        if kind not in (_LABELSST, _BLANK, _MULBLANK):
            by_type.add((row, column))
    return by_type, by_format


def _workbook(data: bytes) -> bytes:
    return next(stream for name, stream in ole.streams(data) if name == "workbook")()


def _text_looks(stream: bytes) -> set[int]:
    """Numbers of the extended formats (XF) whose number format is ``@``."""
    codes, looks = {_TEXT_FORMAT}, []
    for kind, at, length in _records(stream, 0):
        if kind == _FORMAT and stream[at + 2 : at + length] in (b"\1\0\0@", b"\1\0\1@\0"):
            codes.add(struct.unpack_from("<H", stream, at)[0])
        elif kind == _XF:
            looks.append(struct.unpack_from("<H", stream, at + 2)[0])
    return {number for number, code in enumerate(looks) if code in codes}


def _cell_looks(stream: bytes, offset: int, usual: set[int]) -> Iterator[tuple[int, int, int, int]]:
    """(record type, row, column, number of its XF) of every cell of a sheet, runs of cells taken apart.

    Strings are left out when their XF are all `usual`.
    """
    three = struct.Struct("<HHH").unpack_from
    run = bytearray()
    for kind, at, length in _records(stream, offset, _STRINGS, run):
        if kind in (_MULBLANK, _MULRK):
            row, first = struct.unpack_from("<HH", stream, at)
            width = 2 if kind == _MULBLANK else 6
            for column in range((length - 6) // width):
                yield kind, row, first + column, struct.unpack_from("<H", stream, at + 4 + width * column)[0]
        elif kind == _BLANK or kind in _CELLS:
            row, column, look = three(stream, at)
            yield kind, row, column, look
    looks = _each(run, 8, "H")
    if not usual.issuperset(looks):
        for row, column, look in zip(_each(run, 4, "H"), _each(run, 6, "H"), looks, strict=True):
            yield _LABELSST, row, column, look


def _grid(name: str, cells: _Strings, texts: Sequence[str]) -> Grid:
    """A sheet laid out from its cells; of two in one place the later one counts."""
    if not cells.run:
        return Grid(name, 0, 0, [])
    width = cells.right - cells.left + 1
    numbers, text = _each(cells.run, 10, "I"), texts.__getitem__
    if cells.full:
        columns = (list(map(text, numbers[at::width])) for at in range(width))
    else:
        laid_out = [""] * ((cells.bottom - cells.top + 1) * width)
        first = cells.top * width + cells.left
        for row, column, number in zip(_each(cells.run, 4, "H"), _each(cells.run, 6, "H"), numbers, strict=True):
            laid_out[row * width + column - first] = text(number)
        columns = (laid_out[at::width] for at in range(width))
    return Grid(name, cells.top, cells.left, list(map(join, columns)))


def _string_records(stream: bytes) -> list[bytes]:
    """Bodies of the records that hold the shared strings."""
    pieces: list[bytes] = []
    within = False
    for kind, at, length in _records(stream, 0):
        if kind == _SST and pieces:
            raise ValueError
        within = kind == _SST or (kind == _CONTINUE and within)
        if within:
            pieces.append(stream[at : at + length])
    return pieces


def _shared_strings(pieces: Sequence[bytes]) -> list[str]:
    (count,) = struct.unpack_from("<I", pieces[0], 4)
    piece, at = 0, 8
    strings: list[str] = []
    while True:
        at = _whole_strings(pieces[piece], at, strings)
        if len(strings) >= count:
            return strings[:count]
        if at == len(pieces[piece]):
            piece, at = piece + 1, 0
        else:
            text, piece, at = _odd_string(pieces, piece, at)
            strings.append(text)


def _whole_strings(piece: bytes, at: int, strings: list[str]) -> int:
    """Append the strings from `at` on until one is cut or has more than its signs; where that one begins."""
    end, narrow = len(piece), piece.decode("latin-1")  # which strings without wide signs are cut out of
    header, append = struct.Struct("<HB").unpack_from, strings.append
    while at + 3 <= end:
        size, flags = header(piece, at)
        start = at + 3
        stop = start + (size << flags)
        if stop > end or flags > 1:
            break
        if flags:
            append(utf_16_le_decode(piece[start:stop], "surrogatepass", True)[0])
        else:
            append(narrow[start:stop])
        at = stop
    return at


def _odd_string(pieces: Sequence[bytes], piece: int, at: int) -> tuple[str, int, int]:
    """One string, maybe cut over pieces, with formatting or with phonetics; then piece and offset of what follows."""
    length, flags = struct.unpack_from("<HB", pieces[piece], at)
    at += 3
    tail = 0
    if flags & 8:
        tail += 4 * struct.unpack_from("<H", pieces[piece], at)[0]
        at += 2
    if flags & 4:
        tail += struct.unpack_from("<I", pieces[piece], at)[0]
        at += 4
    units = b""
    while len(units) < 2 * length:
        if at >= len(pieces[piece]):  # the rest begins with its own width
            piece, at, flags = piece + 1, 1, pieces[piece + 1][0]
        width = 1 + (flags & 1)
        taken = pieces[piece][at : at + (length - len(units) // 2) * width]
        at += len(taken)
        units += taken if width == 2 else taken.decode("latin-1").encode("utf-16-le")
    while tail:
        if at >= len(pieces[piece]):
            piece, at = piece + 1, 0
        step = min(tail, len(pieces[piece]) - at)
        tail, at = tail - step, at + step
    return units.decode("utf-16-le", "surrogatepass"), piece, at


def _each(cells: bytearray, at: int, code: str) -> "array[int]":
    """What stands at offset `at` of each cell of a run of strings: row 4, column 6, XF 8 ("H"), string 10 ("I")."""
    numbers = array(code)
    gathered = bytearray(len(cells) // _STRING_SIZE * numbers.itemsize)
    for byte in range(numbers.itemsize):
        gathered[byte :: numbers.itemsize] = cells[at + byte :: _STRING_SIZE]
    numbers.frombytes(gathered)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _records(
    stream: bytes, at: int, passed: "re.Pattern[bytes] | None" = None, run: bytearray | None = None
) -> Iterator[tuple[int, int, int]]:
    """(record type, offset of its body, length of its body) from one BOF to its EOF, nested ones skipped.

    What `passed` matches is not among them; its strings are appended to `run`, headers included.
    """
    depth = 0
    end = len(stream)
    unpack = struct.Struct("<HH").unpack_from
    while at + 4 <= end:
        kind, length = unpack(stream, at)
        if passed and run is not None and kind in _RUNNING and depth == 1:
            begun, at = at, _pass(stream, at, passed, run)
            if at > begun:
                continue
        at += 4
        if kind == _BOF:
            depth += 1
        elif not depth:
            raise SubmissionError("BOOK-DAMAGED", "缺少起始记录")
        elif kind == _EOF:
            depth -= 1
            if depth <= 0:
                return
        if at + length > end:
            raise SubmissionError("BOOK-DAMAGED", "记录被截断")
        if depth == 1:
            yield kind, at, length
        at += length
    raise SubmissionError("BOOK-DAMAGED", "工作簿不完整")


def _pass(stream: bytes, at: int, passed: "re.Pattern[bytes]", run: bytearray) -> int:
    """Where begins what `passed` does not match; strings on the way there are appended to `run`."""
    while found := passed.findall(stream, at, at + _AHEAD):
        for strings, _ in found:
            run += strings
        seen = min(_AHEAD, len(stream) - at) - len(found[-1][1])
        if not seen:
            break
        at += seen
    return at


def _globals(stream: bytes, found: Look) -> list[int]:  # noqa: C901 (a branch per record type)
    offsets: list[int] = []
    kind, _, version = struct.unpack_from("<HHH", stream)
    if kind != _BOF:
        raise SubmissionError("BOOK-DAMAGED", "缺少起始记录")
    if version != 0x0600:
        raise SubmissionError("BOOK-TYPE", "Excel 5.0/95 工作簿")
    for kind, at, length in _records(stream, 0):
        if kind == _FILEPASS:
            raise SubmissionError("BOOK-PASSWORD")  # E09
        if kind == _BOUNDSHEET:
            offset, state, what, size, wide = struct.unpack_from("<IBBBB", stream, at)
            raw = stream[at + 8 : at + min(8 + size * (2 if wide & 1 else 1), length)]
            name = raw.decode("utf-16-le" if wide & 1 else "latin-1", "replace")
            found.sheets.append(SheetLook(name, _STATES[state & 3], _KINDS.get(what, "dialog")))
            offsets.append(offset)
        elif kind == _DATEMODE:
            found.date1904 = stream[at : at + 2] == b"\x01\x00"
        elif kind == _SUPBOOK and length >= 4:
            if struct.unpack_from("<H", stream, at + 2)[0] not in (_SELF, _ADD_IN):
                found.active.append("外部链接")  # E36: links and DDE alike
        elif kind == _DRAWINGS:
            found.images += 1
    if not found.sheets:
        raise SubmissionError("BOOK-DAMAGED", "没有工作表")
    return offsets


def _sheet(stream: bytes, offset: int, sheet: SheetLook, found: Look) -> _Strings | None:
    """Look through a worksheet; its cells, None where there are others than strings."""
    two = struct.Struct("<HH").unpack_from
    run = bytearray()
    others = False
    for kind, at, length in _records(stream, offset, _PLAIN, run):
        if kind in _CELLS:
            row, column = two(stream, at)
            if kind == _FORMULA:
                sheet.formulas.append((row + 1, column + 1))
            elif kind == _BOOLERR and stream[at + 7]:
                sheet.errors.append((row + 1, column + 1))
        elif kind == _MULRK:
            row, column = two(stream, at)
            column += (length - 6) // 6 - 1
        else:
            others |= kind == _FORMULA_TEXT
            _beside_cells(stream, kind, at, sheet, found)
            continue
        others = True
        sheet.last_row = max(sheet.last_row, row + 1)
        sheet.last_column = max(sheet.last_column, column + 1)
    cells = _strings(run)
    sheet.last_row = max(sheet.last_row, cells.bottom + 1)
    sheet.last_column = max(sheet.last_column, cells.right + 1)
    return None if others else cells


def _strings(run: bytearray) -> _Strings:
    rows, columns = _each(run, 4, "H"), _each(run, 6, "H")
    if not run:
        return _Strings(run, 0, 0, -1, -1, full=True)
    top, left, bottom, right = rows[0], columns[0], rows[-1], columns[-1]
    width = right - left + 1
    if width > 0 and len(rows) == width * (bottom - top + 1):
        down, across = array("H", range(top, bottom + 1)), array("H", range(left, right + 1))
        if columns == across * len(down) and all(rows[at::width] == down for at in range(width)):
            return _Strings(run, top, left, bottom, right, full=True)
    return _Strings(run, min(rows), min(columns), max(rows), max(columns), full=False)


def _beside_cells(stream: bytes, kind: int, at: int, sheet: SheetLook, found: Look) -> None:
    if kind == _ROW:
        row, _, _, height, _, _, flags = struct.unpack_from("<7H", stream, at)
        if flags & 0x20 or height & 0x7FFF == 0:
            sheet.hidden_rows.append(row + 1)
    elif kind == _COLINFO:
        first, last, width, _, flags = struct.unpack_from("<5H", stream, at)
        if flags & 1 or width == 0:
            sheet.hidden_columns.append((first + 1, last + 1))
    elif kind == _MERGED:
        (count,) = struct.unpack_from("<H", stream, at)
        for index in range(count):
            top, bottom, left, right = struct.unpack_from("<4H", stream, at + 2 + 8 * index)
            sheet.merged.append((top + 1, left + 1, bottom + 1, right + 1))
    elif kind == _NOTE:
        found.comments += 1
    elif kind == _OBJ and struct.unpack_from("<H", stream, at + 4)[0] == 0x08:
        found.images += 1

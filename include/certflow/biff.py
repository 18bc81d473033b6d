"""A look into BIFF8 (Excel 97-2003, `.XLS`): the records a cell reader does not tell about.

Walks the record stream [MS-XLS] in the compound file (`certflow.ole`); reads no cell text. Nothing is imported
beyond the standard library, so that the jailed reader starts fast. Broken bytes raise SubmissionError, or any
of struct.error, IndexError, ValueError, which the caller takes as BOOK-DAMAGED (E47).
"""

import re
import struct
import sys
from array import array
from collections.abc import Iterator

from certflow import ole
from certflow.book import GRID_CELLS, Look, SheetLook
from certflow.errors import SubmissionError

_STATES = ("visible", "hidden", "veryHidden", "veryHidden")
_KINDS = {0: "worksheet", 1: "macro", 2: "chart", 6: "macro"}
_BOF, _EOF, _FILEPASS, _BOUNDSHEET, _DATEMODE, _SUPBOOK = 0x0809, 0x000A, 0x002F, 0x0085, 0x0022, 0x01AE
_ROW, _COLINFO, _MERGED, _FORMULA, _BOOLERR, _NOTE, _OBJ = 0x0208, 0x007D, 0x00E5, 0x0006, 0x0205, 0x001C, 0x005D
_CELLS = {0x00FD, 0x0204, 0x027E, 0x0203, 0x00D6, _FORMULA, _BOOLERR}
"""LABELSST, LABEL, RK, NUMBER, RSTRING and the two named ones: row and column come first in each."""
_MULRK, _DRAWINGS, _SST, _CONTINUE, _LABELSST = 0x00BD, 0x00EB, 0x00FC, 0x003C, 0x00FD
_XF, _FORMAT, _BLANK, _MULBLANK = 0x00E0, 0x041E, 0x0201, 0x00BE
_STRING = rb"((?:\xfd\0\x0a\0.{10}){1,256})"
"""Cells of shared strings (LABELSST) one after another: nearly all of a sheet of text. Counted, because what `re`
remembers of a run would fill the jail."""
_SILENT = (
    rb"\x01\x02\x06\0.{6}|"
    rb"\x08\x02\x10\0.{6}(?:[^\0].|\0[^\0\x80]).{4}[\0-\x1f\x40-\x5f\x80-\x9f\xc0-\xdf].{3}"
)
"""A BLANK, or a ROW that is neither hidden nor of height 0: `look` has nothing to say of them."""
_STRINGS = re.compile(_STRING, re.DOTALL)
_PLAIN = re.compile(rb"%b?(?:%b){0,256}" % (_STRING, _SILENT), re.DOTALL)
_RUN = -1
"""In place of a record type: a run of strings, headers included."""
_RUNNING = {_LABELSST, _BLANK, _ROW}
_SELF, _ADD_IN = 0x0401, 0x3A01
_TEXT_FORMAT = 49
"""Number of the built-in format ``@``."""


def look(data: bytes, *, rows: int, columns: int) -> Look:
    """Records of a `.XLS`; SubmissionError BOOK-TYPE, BOOK-PASSWORD, BOOK-DAMAGED or BOOK-LIMIT."""
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
    for sheet, offset in zip(found.sheets, offsets, strict=True):
        if sheet.kind == "worksheet":
            _sheet(stream, offset, sheet, found)
            if sheet.last_row > rows or sheet.last_column > columns:
                raise SubmissionError("BOOK-LIMIT", f"内容到第 {sheet.last_row} 行第 {sheet.last_column} 列")
            if sheet.last_row * sheet.last_column > GRID_CELLS:
                raise SubmissionError("BOOK-LIMIT", f"{sheet.last_row} 行 × {sheet.last_column} 列")
    return found


def shared_texts(data: bytes) -> list[dict[tuple[int, int], str]]:
    """Per worksheet: 0-based (row, column) → text of every shared-string cell, surrogate pairs whole.

    A string may be cut over two records in the middle of a surrogate pair; calamine then reads two U+FFFD (D12).
    """
    stream = _workbook(data)
    found = Look("xls")
    offsets = _globals(stream, found)
    strings = _shared_strings(stream)
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

    Runs of strings whose XF are all `usual` are left out.
    """
    three = struct.Struct("<HHH").unpack_from
    for kind, at, length in _records(stream, offset, _STRINGS):
        if kind == _RUN:
            words = _words(stream[at : at + length])
            if not usual.issuperset(words[4::7]):
                yield from ((_LABELSST, *cell) for cell in zip(words[2::7], words[3::7], words[4::7], strict=True))
        elif kind in (_MULBLANK, _MULRK):
            row, first = struct.unpack_from("<HH", stream, at)
            width = 2 if kind == _MULBLANK else 6
            for column in range((length - 6) // width):
                yield kind, row, first + column, struct.unpack_from("<H", stream, at + 4 + width * column)[0]
        elif kind == _BLANK or kind in _CELLS:
            row, column, look = three(stream, at)
            yield kind, row, column, look


def _shared_strings(stream: bytes) -> list[str]:  # noqa: C901 (one cursor over pieces of a format)
    pieces: list[bytes] = []
    for kind, at, length in _records(stream, 0):
        if kind == _SST or (kind == _CONTINUE and pieces):
            pieces.append(stream[at : at + length])
        elif pieces:
            break
    (count,) = struct.unpack_from("<I", pieces[0], 4)
    piece, at = 0, 8
    strings: list[str] = []
    for _ in range(count):
        if at >= len(pieces[piece]):
            piece, at = piece + 1, 0
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
        while tail:  # formatting runs and phonetics
            if at >= len(pieces[piece]):
                piece, at = piece + 1, 0
            step = min(tail, len(pieces[piece]) - at)
            tail, at = tail - step, at + step
        strings.append(units.decode("utf-16-le", "surrogatepass"))
    return strings


def _words(run: bytes) -> "array[int]":
    """A run of strings, seven words a cell: the third is its row, the fourth its column, the fifth its XF."""
    words = array("H", run)
    if sys.byteorder == "big":
        words.byteswap()
    return words


def _records(stream: bytes, at: int, runs: "re.Pattern[bytes] | None" = None) -> Iterator[tuple[int, int, int]]:
    """(record type, offset of its body, length of its body) from one BOF to its EOF, nested ones skipped.

    What `runs` matches comes at once: its strings, if there are any, as `_RUN`, and nothing else of it.
    """
    depth = 0
    end = len(stream)
    unpack = struct.Struct("<HH").unpack_from
    while at + 4 <= end:
        kind, length = unpack(stream, at)
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
        if runs and kind in _RUNNING and depth == 1 and (run := runs.match(stream, at - 4)) and run.end() > at:
            if run.end(1) > 0:
                yield _RUN, at - 4, run.end(1) - at + 4
            at = run.end()
            continue
        if depth == 1:
            yield kind, at, length
        at += length
    raise SubmissionError("BOOK-DAMAGED", "工作簿不完整")


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
            raw = stream[at + 8 : at + 8 + size * (2 if wide & 1 else 1)]
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


def _sheet(stream: bytes, offset: int, sheet: SheetLook, found: Look) -> None:
    two = struct.Struct("<HH").unpack_from
    runs: list[bytes] = []
    for kind, at, length in _records(stream, offset, _PLAIN):
        if kind == _RUN:
            runs.append(stream[at : at + length])
            continue
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
            _beside_cells(stream, kind, at, sheet, found)
            continue
        sheet.last_row = max(sheet.last_row, row + 1)
        sheet.last_column = max(sheet.last_column, column + 1)
    if runs:
        words = _words(b"".join(runs))
        sheet.last_row = max(sheet.last_row, max(words[2::7]) + 1)
        sheet.last_column = max(sheet.last_column, max(words[3::7]) + 1)


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

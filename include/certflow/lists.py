"""A short list from outside, a table with a few named columns: requests for proofs, lists to verify, tracking.

Read in the same jail as the cities' data (`certflow.jail`). Nothing is repaired: a 管理号 or an ID number stored as a
number has lost its digits already (E10), and the reader is told so by the cell's kind.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from certflow import jail
from certflow.errors import SubmissionError
from certflow.settings import Limits

HEADER_ROWS = 10
"""The header stands within the first so many rows."""
_NOT_IN_HEADERS = re.compile(r"[\s\u200b\u2060\ufeff:：*＊_\-]+")
_WORDS = {
    "BOOK-TYPE": "不是 Excel 文件（.xlsx 或 .xls）",
    "BOOK-PASSWORD": "文件有密码，请取消密码后重新上传",
    "BOOK-DAMAGED": "文件已损坏，打不开",
    "BOOK-LIMIT": "文件内容过大",
    "BOOK-ACTIVE": "文件含有宏或外部链接，请另存为普通工作簿",
    "BOOK-HEADER": "没有找到表头",
    "BOOK-HEADER-DUPLICATE": "表头有重复的列",
    "BOOK-EMPTY": "表中没有数据",
    "CELL-CHARS": "有不能使用的字符",
}


_WORKBOOK = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
EXCEL_TEXT = re.compile(r'\A\s*="([^"]*)"\s*\Z')
"""How a CSV says that a number is text, so that Excel leaves it alone: ``="0012"``."""
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""Signs that neither database nor paper can hold (E46)."""
_Grid = tuple[int, Sequence[Sequence[str]], Sequence[str]]
"""First row (0-based), texts, and the cells' kinds, one letter each (`book.Grid`)."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row with content: its number as Excel shows it, column → text, and the columns that are no text cells."""

    row_no: int
    values: Mapping[str, str]
    numeric: frozenset[str]


def read_list(
    data: bytes,
    limits: Limits,
    columns: Mapping[str, Sequence[str]],
    needed: Sequence[str],
    *,
    encodings: Sequence[str] = (),
) -> list[Line]:
    """Rows of the first sheet whose header holds all `needed` columns; `columns`: name → spellings of its header.

    With `encodings` what is no workbook is read as CSV. Values are trimmed. Raises SubmissionError, a BOOK- code or
    CELL-CHARS; `told` turns it into words.
    """
    grids = _grids(data, limits) if data.startswith(_WORKBOOK) or not encodings else _csv(data, limits, encodings)
    spelled = {_folded(word): name for name, words in columns.items() for word in (name, *words)}
    content = False
    for first_row, texts, kinds in grids:
        content = content or any(row.strip() for row in kinds)
        for at in range(min(HEADER_ROWS, len(texts))):
            named = [spelled.get(_folded(text)) for text in texts[at]]
            if set(needed) <= set(named):
                if any(name is not None and named.count(name) > 1 for name in named):
                    raise SubmissionError("BOOK-HEADER-DUPLICATE")
                lines = _lines(named, texts[at + 1 :], kinds[at + 1 :], first_row + at + 2)
                if not lines:
                    raise SubmissionError("BOOK-EMPTY")
                return lines
    raise SubmissionError("BOOK-HEADER" if content else "BOOK-EMPTY", "、".join(needed))


def _grids(data: bytes, limits: Limits) -> list[_Grid]:
    book = jail.read(data, limits)
    if book.look["active"]:
        raise SubmissionError("BOOK-ACTIVE")
    return [(grid.first_row, grid.texts, grid.kinds) for grid in book.grids]


def _csv(data: bytes, limits: Limits, encodings: Sequence[str]) -> list[_Grid]:
    if len(data) > limits.workbook_bytes:
        raise SubmissionError("BOOK-LIMIT")
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        try:
            read = csv.reader(io.StringIO(text, newline=""), strict=True)
            rows = [[EXCEL_TEXT.sub(r"\1", cell) for cell in row] for row in read]
        except csv.Error:
            break
        if "\x00" in text:
            raise SubmissionError("BOOK-DAMAGED")
        if len(rows) > limits.workbook_rows:
            raise SubmissionError("BOOK-LIMIT", f"至多 {limits.workbook_rows} 行，请分成几份")
        return [(0, rows, ["".join("t" if cell.strip() else " " for cell in row) for row in rows])]
    raise SubmissionError("BOOK-DAMAGED")


def told(error: SubmissionError) -> str:
    """The fault in the words of whoever sent the list."""
    words = _WORDS.get(error.fault, "文件不能读取")
    if error.fault == "CELL-CHARS":
        return f"{error.detail}{words}，请重新录入该行"
    if error.fault == "BOOK-LIMIT" and error.detail:
        return f"{words}：{error.detail}"
    return f"{words}，须有：{error.detail}" if error.fault == "BOOK-HEADER" else words


def _lines(
    named: Sequence[str | None], texts: Sequence[Sequence[str]], kinds: Sequence[str], row_no: int
) -> list[Line]:
    found = []
    for number, (row, kind) in enumerate(zip(texts, kinds, strict=True), start=row_no):
        cells = [(name, text.strip(), sort) for name, text, sort in zip(named, row, kind, strict=False) if name]
        if any(_UNSTORABLE.search(text) for _, text, _ in cells):
            raise SubmissionError("CELL-CHARS", f"第 {number} 行")
        if any(text for _, text, _ in cells):
            numeric = frozenset(name for name, text, sort in cells if text and sort != "t")
            found.append(Line(number, {name: text for name, text, _ in cells}, numeric))
    return found


def _folded(text: str) -> str:
    return _NOT_IN_HEADERS.sub("", unicodedata.normalize("NFKC", text)).upper()

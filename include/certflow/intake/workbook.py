"""A city's workbook becomes a `Sheet`: header found, columns named, cells typed, oddities counted.

The bytes are read by `certflow.jail`; here only text arrives. Nothing is repaired and no type guessed:
a number in an ID column stays a number (E10), the suites decide.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from certflow import jail, sniff
from certflow.book import Grid
from certflow.errors import SubmissionError
from certflow.findings import FIELD_NAMES, FIELDS
from certflow.intake.submission import Measures, Sheet
from certflow.settings import Limits

HEADER_ROWS = 10
"""The header stands within the first so many rows (E19)."""
_KINDS = {"t": "text", "n": "number", "d": "date", "b": "bool", " ": "empty", "f": "formula", "e": "error"}
_HEADER_LEAST = 5
"""So many known columns make a row the header; fewer are a title or data."""
_FEW_TEXTS = ("ZJLB", "XB", "BKJB", "BKZY", "CSNY", "PZRQ", "BMS")
"""Columns of few different texts, all but fewer than a header needs."""
_ALIASES = {
    **{code: code for code in FIELDS},
    **{name: code for code, name in FIELD_NAMES.items()},
    "管理号码": "ZSGLH", "证书管理号": "ZSGLH", "身份证号": "ZJHM", "身份证号码": "ZJHM", "证件号": "ZJHM",
    "证件类型": "ZJLB", "报考级别": "BKJB", "报考专业": "BKZY", "出生日期": "CSNY", "批准时间": "PZRQ",
    "通过时间": "PZRQ",
    "报名地市": "BMS", "报名城市": "BMS", "考生姓名": "KSXM", "考试级别": "BKJB", "考试专业": "BKZY",
}  # fmt: skip
_NOT_IN_HEADERS = re.compile(r"[\s\u00a0\u200b\u2060\ufeff\u3000:：*＊_\-]+")
_BRACKETED = re.compile(r"([^()]+)\(([^()]+)\)")
_TOTAL = re.compile(r"(?:总|合|小|共)\s*计|^共\s*[0-9]+\s*[人条行]|^(?:总人数|人数合计)")
_SIGNATURE = re.compile(
    r"^(?:填\s*(?:表|报)|制\s*表|审\s*核|复\s*核|经\s*办|负\s*责|联\s*系|单\s*位|盖\s*章|签\s*(?:字|名)|日\s*期|备\s*注|说\s*明)"
)
_NOTE = re.compile(r"^注\s*[:1-9]|^[-—(\s]*以下\s*(?:为|是)?\s*空白")
_CLOSING_CELLS = 3
"""A total, a signature or a note fills so few of the eleven columns."""
_NO_SPACE = "\u200b\u2060\ufeff"
"""Blanks that Unicode does not count among spaces."""
_BLANK = re.compile(rf"[\s{_NO_SPACE}]*")

_COUNTS = (
    "book_format", "book_title_row", "book_blank_row", "book_total_row", "book_extra_column", "book_sheets",
    "book_images", "book_comments", "book_hidden_column", "book_rows",
)  # fmt: skip


def read_sheet(data: bytes, limits: Limits) -> tuple[Sheet | None, Measures]:
    """The data sheet of a workbook and the columns of the file frame; never raises for bad bytes.

    `book_fault`: None or BOOK-TYPE, BOOK-PASSWORD, BOOK-DAMAGED, BOOK-LIMIT, BOOK-ACTIVE, BOOK-FORMULA,
    BOOK-HIDDEN-SHEET, BOOK-HEADER, BOOK-HEADER-DUPLICATE, BOOK-EMPTY, with `book_detail`. For BOOK-ACTIVE,
    BOOK-FORMULA and BOOK-HIDDEN-SHEET the sheet is given all the same, so that its rows can be counted. Counts
    (0 = fine): `book_format` (1: not real BIFF8, E01), `book_title_row`, `book_blank_row`, `book_total_row`,
    `book_extra_column`, `book_sheets` (further sheets with content), `book_images`, `book_comments`,
    `book_hidden_column`, `book_rows` (data rows).
    """
    measures: Measures = {"book_fault": None, "book_detail": "", **dict.fromkeys(_COUNTS, 0)}
    try:
        return _read(data, limits, measures), measures
    except SubmissionError as error:
        measures["book_fault"], measures["book_detail"] = error.fault, error.detail
        return None, measures


def _read(data: bytes, limits: Limits, measures: Measures) -> Sheet | None:
    if not data:
        raise SubmissionError("BOOK-TYPE", "空文件")
    if len(data) > limits.workbook_bytes:
        raise SubmissionError("BOOK-LIMIT", f"{len(data) >> 20} MB")
    if not data.startswith((b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"PK\x03\x04")):
        raise SubmissionError("BOOK-TYPE", sniff.type_name(data[: sniff.HEAD]))  # E02-E05
    book = jail.read(data, limits)
    look = book.look
    measures["book_format"] = int(look["format"] != "xls")
    measures["book_images"], measures["book_comments"] = look["images"], look["comments"]
    chosen, grid = _data_sheet(book, measures)
    sheet = _lay_out(chosen, grid, limits, measures)
    if look["active"]:
        _fault(measures, "BOOK-ACTIVE", "、".join(sorted(set(look["active"]))))  # E36, E37
    if chosen["formulas"]:
        row, column = chosen["formulas"][0]
        _fault(measures, "BOOK-FORMULA", f"共 {len(chosen['formulas'])} 处，首处在第 {row} 行第 {column} 列")  # E34
    return sheet


def _fault(measures: Measures, code: str, detail: str) -> None:
    """The first fault found stays."""
    if measures["book_fault"] is None:
        measures["book_fault"], measures["book_detail"] = code, detail


def _data_sheet(book: jail.Book, measures: Measures) -> tuple[dict[str, Any], Grid]:
    """The one sheet with content; a hidden one among several, or hidden itself, is a fault (E24), a second a hold."""
    grids = {grid.name: grid for grid in book.grids}
    full: list[tuple[dict[str, Any], Grid]] = []
    for sheet in book.look["sheets"]:
        if sheet["kind"] != "worksheet":
            if sheet["kind"] == "macro":
                _fault(measures, "BOOK-ACTIVE", "宏表")
            measures["book_sheets"] = 1  # E25: a chart or dialog beside the data
            continue
        grid = grids.get(sheet["name"])
        if grid is None:
            raise SubmissionError("BOOK-DAMAGED", "工作表读取不一致")
        if sheet["formulas"] or any(not column.kinds.isspace() for column in grid.columns):
            full.append((sheet, grid))
    if not full:
        raise SubmissionError("BOOK-EMPTY")
    hidden = [sheet for sheet, _ in full if sheet["state"] != "visible"]
    if hidden:
        _fault(measures, "BOOK-HIDDEN-SHEET", f"{len(hidden)} 个隐藏的工作表有内容")
    measures["book_sheets"] = max(len(full) - 1, int(str(measures["book_sheets"])))
    visible = [pair for pair in full if pair[0]["state"] == "visible"]
    return max(visible or full, key=lambda pair: _best_header(pair[1])[1])


def header_field(text: str) -> str | None:
    """The field a header cell names: code, lower case, Chinese name, or ``ZSGLH（管理号）`` (E20); else None."""
    code, _, name = text.partition("\n")
    if name and (field := header_field(code)) is not None and header_field(name) == field:
        return field  # our own 退回单, sent back corrected
    folded = _NOT_IN_HEADERS.sub("", unicodedata.normalize("NFKC", text)).upper()
    if folded in _ALIASES:
        return _ALIASES[folded]
    if match := _BRACKETED.fullmatch(folded):
        found = {_ALIASES[part] for part in match.groups() if part in _ALIASES}
        if len(found) == 1:
            return found.pop()
    return None


def _best_header(grid: Grid) -> tuple[int, int]:
    """(index of the row with most known columns among the first rows, how many)."""
    best = (0, 0)
    tops = (column.top(HEADER_ROWS) for column in grid.columns)
    for index, row in enumerate(zip(*tops, strict=True)):
        known = len({field for text in row if (field := header_field(text)) is not None})
        if known > best[1]:
            best = (index, known)
    return best


def _columns(header: Sequence[str], measures: Measures) -> dict[str, int]:
    found: dict[str, int] = {}
    for index, text in enumerate(header):
        name = header_field(text)
        if name is None:
            measures["book_extra_column"] = int(str(measures["book_extra_column"])) + bool(not _empty(text))
        elif name in found:
            raise SubmissionError("BOOK-HEADER-DUPLICATE", name)  # E22
        else:
            found[name] = index
    missing = [name for name in FIELDS if name not in found]
    if missing:
        raise SubmissionError("BOOK-HEADER", "缺少 " + "、".join(f"{name}（{FIELD_NAMES[name]}）" for name in missing))
    return found


def _lay_out(look: Mapping[str, Any], grid: Grid, limits: Limits, measures: Measures) -> Sheet:
    header, known = _best_header(grid)
    if known < _HEADER_LEAST:
        raise SubmissionError("BOOK-HEADER", "没有找到表头")
    texts = [column.texts for column in grid.columns]
    *titles, headings = zip(*(column[: header + 1] for column in texts), strict=True)
    measures["book_title_row"] = sum(any(not _empty(text) for text in row) for row in titles)  # E19
    columns = _columns(headings, measures)
    first = grid.first_row + header + 2
    values = {name: texts[at][header + 1 :] for name, at in columns.items()}
    values |= {name: _shared(values[name]) for name in _FEW_TEXTS if not grid.columns[columns[name]].which}
    kinds = _kinds(look, grid, columns, first)
    left_out = _left_out([column[header + 1 :] for column in texts], values, kinds)
    below = len(texts[0]) - header - 1
    rows = list(range(first, first + below))
    ignored = {first + at: what for at, what in left_out.items() if what}
    blank = [first + at for at, what in left_out.items() if not what]
    if left_out:
        rows = [number for number in rows if number - first not in left_out]
        values = {name: [column[number - first] for number in rows] for name, column in values.items()}
        kinds = {name: [column[number - first] for number in rows] for name, column in kinds.items()}
    if not rows:
        raise SubmissionError("BOOK-EMPTY")
    if len(rows) > limits.workbook_rows:
        raise SubmissionError("BOOK-LIMIT", f"{len(rows)} 行，上限 {limits.workbook_rows} 行")
    measures["book_blank_row"] = sum(rows[0] < number < rows[-1] for number in blank)  # E29; below the data: trimmed
    measures["book_total_row"] = len(ignored)
    measures["book_rows"] = len(rows)
    used = {grid.first_column + at + 1 for at in columns.values()}
    measures["book_hidden_column"] = sum(
        any(first <= column <= last for first, last in look["hidden_columns"]) for column in used
    )
    return Sheet(
        row_numbers=rows,
        values=values,
        kinds={name: _kind_words(column) for name, column in kinds.items()},
        hidden=frozenset(look["hidden_rows"]).intersection(rows),
        merged=_merged(look["merged"], rows, sorted(used)),
        ignored=ignored,
        headings={name: headings[at] for name, at in columns.items()},
    )


def _kinds(look: Mapping[str, Any], grid: Grid, columns: Mapping[str, int], first: int) -> dict[str, Sequence[str]]:
    """Field → kind of each cell from row `first` on, formulas and errors among them."""
    top = first - grid.first_row - 1
    kinds: dict[str, Sequence[str]] = {name: grid.columns[at].kinds[top:] for name, at in columns.items()}
    fields = {grid.first_column + at + 1: name for name, at in columns.items()}
    for places, kind in ((look["formulas"], "f"), (look["errors"], "e")):
        for row, column in places:
            name = fields.get(column)
            if name is not None and 0 <= row - first < len(kinds[name]):
                marked = kinds[name]
                if not isinstance(marked, list):
                    kinds[name] = marked = list(marked)
                marked[row - first] = kind
    return kinds


def _kind_words(kinds: Sequence[str]) -> list[str]:
    """The words for letters of kinds; nearly every column has one kind alone."""
    if kinds and kinds.count(kinds[0]) == len(kinds):
        return [_KINDS[kinds[0]]] * len(kinds)
    return list(map(_KINDS.__getitem__, kinds))


def _shared(column: Sequence[str]) -> list[str]:
    """The same texts, equal ones as one object: a sheet's texts weigh a third then, and later looks find them near."""
    known = dict(zip(column, column, strict=True))
    return list(map(known.__getitem__, column))


def _empty(text: str) -> bool:
    return _BLANK.fullmatch(text) is not None


def _all_filled(column: Sequence[str]) -> bool:
    """That no text is `_empty`, where this is clear at once: no blank in any of them."""
    together = "".join(column)
    return all(column) and together.split(None, 1) == [together] and not any(sign in together for sign in _NO_SPACE)


def _left_out(
    body: Sequence[Sequence[str]], values: Mapping[str, Sequence[str]], kinds: Mapping[str, Sequence[str]]
) -> dict[int, str]:
    """Rows below the header that are no applications, by their place: "" blank, or a reason (E19, E29)."""
    headers = _repeated_headers(values)
    doubtful = set(headers)
    # Hardly any row: the others have more cells with content than a total or a signature fills.
    for name in FIELDS[: _CLOSING_CELLS + 1]:
        column = values[name]
        if not _all_filled(column):
            doubtful.update([at for at, text in enumerate(column) if not text.isalnum()])
    found: dict[int, str] = {}
    for at in sorted(doubtful):
        row = [column[at] for column in body]
        chosen = [column[at] for column in kinds.values()]
        what = _no_data(row, [column[at] for column in values.values()], chosen, repeated=at in headers)
        if what is not None:
            found[at] = what
    return found


def _no_data(row: Sequence[str], values: Sequence[str], kinds: Sequence[str], *, repeated: bool) -> str | None:
    """Why a row is no application: "" blank, a reason, or None: it is one."""
    filled = [text for text, kind in zip(values, kinds, strict=True) if kind not in " t" or not _empty(text)]
    if not filled:
        # Content only beside the eleven columns is no application, but it is not passed over in silence either.
        beside = next((text for text in row if not _empty(text)), "")
        return (_closing(beside) or "十一列之外的内容") if beside else ""
    if repeated:
        return "重复的表头"
    if len(filled) <= _CLOSING_CELLS:
        return _closing(filled[0]) or None
    return None


def _repeated_headers(values: Mapping[str, Sequence[str]]) -> frozenset[int]:
    """Places of rows with so many cells that name their own column."""
    own = {name: _naming(name, values[name]) for name in _FEW_TEXTS}
    if not any(own.values()):  # the other columns are too few
        return frozenset()
    own |= {name: _naming(name, column) for name, column in values.items() if name not in own}
    counts = Counter(
        at for name, texts in own.items() if texts for at, text in enumerate(values[name]) if text in texts
    )
    return frozenset(at for at, count in counts.items() if count >= _HEADER_LEAST)


def _naming(name: str, column: Sequence[str]) -> set[str]:
    """Texts of a column that name it; what begins with a digit names none."""
    return {text for text in set(column) if not text[:1].isdecimal() and header_field(text) == name}


def _closing(text: str) -> str:
    """What a row below the data is by its first words: a total, a signature, a note, or "" (E29)."""
    text = unicodedata.normalize("NFKC", text).strip()
    if _TOTAL.search(text) and len(text) <= 20:
        return "合计行"
    if _SIGNATURE.match(text) and len(text) <= 60:
        return "签字行"
    if _NOTE.match(text) and len(text) <= 200:
        return "附注行"
    return ""


def _merged(areas: Sequence[Sequence[int]], rows: Sequence[int], used: Sequence[int]) -> frozenset[int]:
    """Data rows a merged cell touches in one of the `used` columns, ascending; areas of one cell are none (E18).

    Linear in areas and rows (E48).
    """
    if not areas:
        return frozenset()
    depth = [0] * (len(rows) + 1)
    for top, left, bottom, right in areas:
        if (top, left) != (bottom, right) and bisect_left(used, left) < bisect_right(used, right):
            depth[bisect_left(rows, top)] += 1
            depth[max(bisect_right(rows, bottom), bisect_left(rows, top))] -= 1
    return frozenset(number for number, deep in zip(rows, accumulate(depth), strict=False) if deep)

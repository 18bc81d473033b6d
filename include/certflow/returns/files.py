"""Read a file of the authority by its profile: CSV or Excel, zipped or not, several tables in one zip.

A word or column no profile knows stops the whole file before anything is applied: a guess about a certificate is worse
than a question. Zips and workbooks are opened as carefully as those of the cities (`intake.archive`, `certflow.jail`).
Messages name places; a word of the file only where it stands under a header we know and cannot be somebody's name.
"""

import csv
import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from certflow import excel, jail, vault
from certflow.book import Grid
from certflow.errors import ConfigurationError, SubmissionError
from certflow.intake import archive
from certflow.intake.submission import Received
from certflow.lists import EXCEL_TEXT
from certflow.privacy import mask_text
from certflow.returns.profile import COLUMNS, PRINTED, Profile, candidates
from certflow.settings import Limits

UNREADABLE = frozenset({"RETURN-EMPTY", "RETURN-DAMAGED", "RETURN-TRUNCATED", "RETURN-UNSIGNED"})
"""Faults of the file itself: it goes back to the authority (R08). Every other fault waits for a person."""

_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_HEADER_ROWS = 10
"""The header stands within the first so many rows; above it may be a title."""
_HEADER_WORDS = 4
"""A row with so many words we know is a header, whatever else stands in it; it holds nobody's data."""
_SHOWN = 12
"""Longest word of a file that a message may show."""
_NUMBER = re.compile(r"[0-9A-Za-z]{8,32}")
_ID = re.compile(r"[0-9A-Za-z()（）]{5,20}")

_Row = tuple[int, list[str], str]
"""Its number as Excel shows it, its texts without outer blanks, and in a workbook the kinds of its cells."""


@dataclass(frozen=True, slots=True)
class Line:
    """One returned row (PII), texts without outer blanks; `printed_on` as ``YYYYMMDD`` or empty."""

    part: int
    """Which table of the file, from 1."""
    row_no: int
    """As Excel shows it."""
    management_no: str
    name: str
    id_number: str
    serial: str
    result: str
    """`profile.PRINTED` or `profile.REFUSED`."""
    reason: str
    printed_on: str


def read_return(profiles: Sequence[Profile], path: Path, name: str, limits: Limits) -> list[Line]:
    """Every row of a returned file that the authority named `name`; nothing is guessed, only empty rows are skipped.

    Raises:
        SubmissionError: a fault of `UNREADABLE`; or RETURN-PROFILE, RETURN-HEADER, RETURN-WORD, RETURN-VALUE,
            RETURN-FORM for a file that can be read but not understood.
    """
    tables = _tables(profiles, path, name, limits)
    lines: list[Line] = []
    for part, (table, data) in enumerate(tables, start=1):
        try:
            lines += _read(candidates(profiles, table), part, data, limits)
        except SubmissionError as error:
            if len(tables) == 1:
                raise
            raise SubmissionError(error.fault, f"包内第 {part} 个数据文件：{error.detail}") from None
    return lines


def _tables(profiles: Sequence[Profile], path: Path, name: str, limits: Limits) -> list[tuple[str, bytes]]:
    try:
        size = vault.size(path)
        with vault.reader(path) as stream:
            head = stream.read(len(_ZIP))
        if head != _ZIP:
            if size > limits.entry_bytes:
                raise SubmissionError("RETURN-DAMAGED", f"文件超过 {limits.entry_bytes >> 20} MB")
            return [(name, vault.read_bytes(path))]
    except OSError as error:
        raise ConfigurationError(f"返回文件的原件 {path.stem[:12]}… 无法读取：{error.strerror}") from None
    received = Received(path, name, "", size)
    opened = archive.unpack(received, limits)
    if opened.measures["file_fault"]:
        return [(name, vault.read_bytes(path))]  # a workbook, or nothing anybody can read: the jail decides
    members = [entry for entry in opened.entries if entry.role not in ("junk", "folder")]
    digests = {one.name: one for one in members if one.name.lower().endswith(".sha256")}
    tables = []
    for entry in members:
        if entry.name in digests or any(profile.attaches(entry.base_name) for profile in profiles):
            continue
        data = archive.read_entry(received, entry)
        if any(profile.checksum for profile in candidates(profiles, entry.base_name)):
            beside = digests.get(f"{entry.name}.sha256")
            told = archive.read_entry(received, beside)[:64].decode("ascii", "replace") if beside else ""
            if told.lower() != hashlib.sha256(data).hexdigest():
                raise SubmissionError("RETURN-UNSIGNED", "包内有数据文件缺少摘要文件，或与摘要不符")
        tables.append((entry.base_name, data))
    if not tables:
        raise SubmissionError("RETURN-EMPTY", "压缩包内没有数据文件")
    return tables


def _read(fitting: Sequence[Profile], part: int, data: bytes, limits: Limits) -> list[Line]:
    """By the one profile that can read all of it; two that read it differently are a question."""
    if not fitting:
        raise SubmissionError("RETURN-PROFILE", "没有适用于此文件名的读取规则，见 certflow returns profiles")
    if not data.strip():
        raise SubmissionError("RETURN-EMPTY", "文件为空")
    grids = _grids(data, limits) if data.startswith((_ZIP, _OLE)) else None
    faults: list[tuple[Profile, SubmissionError]] = []
    read: list[tuple[Profile, list[Line]]] = []
    for profile in fitting:
        try:
            rows = _sheet(profile, grids) if grids is not None else _csv(profile, data)
            read.append((profile, _lines(profile, part, rows)))
        except SubmissionError as fault:
            faults.append((profile, fault))
    if not read:
        if len(faults) == 1:
            raise faults[0][1]
        kind = next((fault.fault for _, fault in faults if fault.fault not in UNREADABLE), faults[0][1].fault)
        told = "；".join(f"按 {profile.file}：{fault.detail}" for profile, fault in faults)
        raise SubmissionError(kind, told)
    if any(lines != read[0][1] for _, lines in read[1:]):
        names = "、".join(profile.file for profile, _ in read)
        raise SubmissionError("RETURN-PROFILE", f"读取规则 {names} 读出的内容不同，请在 files 中写明各自的文件名")
    return read[0][1]


def _grids(data: bytes, limits: Limits) -> list[Grid]:
    try:
        return jail.read(data, limits).grids
    except SubmissionError as error:
        raise SubmissionError("RETURN-DAMAGED", f"{error.fault} {error.detail}".strip()) from None


def _sheet(profile: Profile, grids: Sequence[Grid]) -> Iterator[_Row]:
    chosen = [grid for grid in grids if grid.name.strip() == profile.sheet] if profile.sheet else grids
    if not chosen:
        raise SubmissionError("RETURN-HEADER", f"没有名为“{profile.sheet}”的工作表")
    headed = [f"{at}" for at, grid in enumerate(chosen, start=1) if _headed(profile, grid)]
    if len(headed) > 1:  # E24, E25: nobody would miss what the others say
        told = f"第 {'、'.join(headed)} 个工作表都有返回数据，请在读取规则 {profile.file} 的 sheet 中写明读哪一个"
        raise SubmissionError("RETURN-FORM", f"{told}；各表都要的，请上级分成几个文件")
    grid = next((grid for grid in chosen if grid.columns), chosen[0])
    rows = zip(excel.table([grid]), grid.kinds, strict=True)
    try:
        for number, (row, kinds) in enumerate(rows, start=grid.first_row + 1):
            yield number, [cell.strip() for cell in row], " " * grid.first_column + kinds
    except SubmissionError as error:
        raise SubmissionError("RETURN-DAMAGED", f"{error.fault} {error.detail}".strip()) from None


def _headed(profile: Profile, grid: Grid) -> bool:
    return any(
        sum(cell.strip() in profile.columns for cell in row) >= _HEADER_WORDS
        for row in islice(grid.rows(), _HEADER_ROWS)
    )


def _csv(profile: Profile, data: bytes) -> Iterator[_Row]:
    if b"\x00" in data:
        raise SubmissionError("RETURN-DAMAGED", "既不是 Excel 也不是文本文件")
    if profile.final_line_end and not data.endswith((b"\n", b"\r")):
        raise SubmissionError("RETURN-TRUNCATED", "最后一行没有换行，文件可能被截断")
    reader = csv.reader(io.StringIO(_decoded(profile, data), newline=""), strict=True, delimiter=profile.delimiter)
    try:
        for number, row in enumerate(reader, start=1):
            yield number, [EXCEL_TEXT.sub(r"\1", cell).strip() for cell in row], ""
    except csv.Error:
        raise SubmissionError("RETURN-DAMAGED", f"第 {reader.line_num} 行附近的引号不成对") from None


def _decoded(profile: Profile, data: bytes) -> str:
    for encoding in profile.encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise SubmissionError("RETURN-DAMAGED", f"编码不是 {'、'.join(profile.encodings)}")


def _lines(profile: Profile, part: int, rows: Iterator[_Row]) -> list[Line]:
    number, header = _header(profile, rows)
    places = _places(profile, header)
    width = len(header)
    lines: list[Line] = []
    strange: dict[str, list[int]] = {}
    blank: list[int] = []
    for at, row, kinds in _full(rows, width):
        texts = {field: row[place] for field, place in places.items()}
        result = profile.results.get(texts["result"])
        if not texts["result"]:
            blank.append(at)
        elif result is None:
            shown = texts["result"] if _in_place(texts) else ""
            strange.setdefault(shown, []).append(at)
        else:
            if result == PRINTED and kinds[places["serial"] : places["serial"] + 1] not in ("", " ", "t"):  # E10
                told = f"第 {at} 行“证书编号”不是文本单元格，开头的 0 等可能已丢失，请上级改为文本后重新返回"
                raise SubmissionError("RETURN-VALUE", told)
            lines.append(_line(profile, part, at, texts, result))
    if strange or blank:
        raise SubmissionError("RETURN-WORD", _unknown_words(profile, strange, blank))
    if not lines:
        raise SubmissionError("RETURN-EMPTY", f"第 {number} 行表头之后没有数据")
    if not any(line.management_no for line in lines):  # a single one may lack it, as very old certificates do
        raise SubmissionError("RETURN-VALUE", "没有一行有管理号")
    return lines


def _header(profile: Profile, rows: Iterator[_Row]) -> tuple[int, list[str]]:
    """The first row that says what its columns are, else the first row with anything in it."""
    first: tuple[int, list[str]] | None = None
    for number, row, _ in rows:
        if not any(row):
            continue
        cells = list(row)
        while not cells[-1]:
            cells.pop()
        if sum(cell in profile.columns for cell in cells) >= _HEADER_WORDS:
            return number, cells
        first = first or (number, cells)
        if number >= _HEADER_ROWS:
            break
    if first is None:
        raise SubmissionError("RETURN-EMPTY", "文件中没有任何数据")
    return first


def _places(profile: Profile, header: Sequence[str]) -> dict[str, int]:
    certain = sum(word in profile.columns for word in header) >= _HEADER_WORDS
    places: dict[str, int] = {}
    unknown = []
    for column, word in enumerate(header, start=1):
        field = profile.columns.get(word)
        if field is None:
            if word not in profile.ignored:
                # Without a header the word would be somebody's name or number.
                unknown.append(f"第 {column} 列{f'“{_short(word)}”' if certain and word else ''}")
        elif field in places:
            raise SubmissionError("RETURN-HEADER", f"第 {places[field] + 1} 列与第 {column} 列的表头重复")
        else:
            places[field] = column - 1
    if unknown:
        remedy = f"请在读取规则 {profile.file} 的 [columns] 中加入（不采用的列加入 ignored）"
        told = remedy if certain else "没有找到表头"
        raise SubmissionError("RETURN-HEADER", f"不认识的表头：{'、'.join(unknown)}；{told}")
    absent = [field for field in COLUMNS if field not in places]
    if absent:
        first = {field: word for word, field in reversed(list(profile.columns.items()))}
        raise SubmissionError("RETURN-HEADER", f"缺少列：{'、'.join(first[field] for field in absent)}")
    return places


def _full(rows: Iterator[_Row], width: int) -> Iterator[_Row]:
    """The rows as wide as the header; a short one at the very end is a cut, elsewhere it is a question."""
    short: int | None = None
    for number, row, kinds in rows:
        if not any(row):
            continue
        if short is not None:
            raise SubmissionError("RETURN-FORM", f"第 {short} 行的列数少于表头")
        if any(row[width:]):
            raise SubmissionError("RETURN-FORM", f"第 {number} 行的列数多于表头")
        if len(row) < width:
            short = number
            continue
        yield number, row, kinds
    if short is not None:
        raise SubmissionError("RETURN-TRUNCATED", f"最后一行（第 {short} 行）不完整，文件可能被截断")


def _line(profile: Profile, part: int, number: int, texts: Mapping[str, str], result: str) -> Line:
    if any("\x00" in text for text in texts.values()):
        raise SubmissionError("RETURN-DAMAGED", f"第 {number} 行含有不可用的字符")
    day = profile.day(texts["printed_on"]) if texts["printed_on"] else ""
    if texts["printed_on"] and not day:
        raise SubmissionError("RETURN-VALUE", f"第 {number} 行“印制日期”不是规则 {profile.file} 所列写法的完整日期")
    if result == PRINTED and not (texts["serial"] and day):
        raise SubmissionError("RETURN-VALUE", f"第 {number} 行已印制，但没有证书编号或印制日期")
    return Line(
        part, number, texts["management_no"], texts["name"], texts["id_number"], texts["serial"], result,
        texts["reason"], day,
    )  # fmt: skip


def _unknown_words(profile: Profile, strange: Mapping[str, Sequence[int]], blank: Sequence[int]) -> str:
    told = [
        f"{f'“{_short(word)}”' if word else '（不便显示）'}（第 {rows[0]} 行起共 {len(rows)} 行）"
        for word, rows in list(strange.items())[:5]
    ]
    said = []
    if told:
        said.append(
            f"“结果”一列有不认识的词：{'、'.join(told)}；确认含义后，请在读取规则 {profile.file} 的 [results] 中"
            "加入 printed 或 refused"
        )
    if blank:  # R03: pending rows, a line of totals
        said.append(
            f"“结果”一列为空：第 {blank[0]} 行起共 {len(blank)} 行；还没有结果的行、合计行，请上级去掉后重新返回"
        )
    return "。".join(said)


def _in_place(texts: Mapping[str, str]) -> bool:
    """Whether the row's other cells stand in their columns, so that its result is a result and nobody's name."""
    word = texts["result"]
    return bool(
        word and len(word) <= _SHOWN and not re.search("[0-9]", word)
        and word not in (texts["name"], texts["reason"])
        and texts["name"] and not re.search("[0-9]", texts["name"])
        and _NUMBER.fullmatch(texts["management_no"]) and _ID.fullmatch(texts["id_number"])
    )  # fmt: skip


def _short(word: str) -> str:
    return mask_text(word if len(word) <= _SHOWN else f"{word[:_SHOWN]}…")

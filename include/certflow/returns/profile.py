"""How to read what the authority sends back: an editable profile, because no format was ever published (DOMAIN §4).

A word or column the profile does not know stops the whole file before anything is applied: a guess about a
certificate is worse than a question. Messages name places (row and column numbers), never values.
"""

import csv
import io
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from certflow import excel, jail
from certflow.errors import ConfigurationError, SubmissionError
from certflow.keys import parse_date
from certflow.settings import Limits, Settings

PRINTED, REFUSED = "已印制", "退回"
"""The two results, as the ledger writes them."""

UNREADABLE = frozenset({"RETURN-EMPTY", "RETURN-DAMAGED", "RETURN-TRUNCATED"})
"""Faults of the file itself: it goes back to the authority (R08). Every other fault waits for a person."""

_COLUMNS = ("management_no", "name", "id_number", "serial", "result", "reason", "printed_on")
_EXCEL = (b"\xd0\xcf\x11\xe0", b"PK\x03\x04")


@dataclass(frozen=True, slots=True)
class Profile:
    """Which words stand for what. `columns` and `results` map the file's word to ours."""

    name: str
    encodings: tuple[str, ...]
    final_line_end: bool
    columns: Mapping[str, str]
    results: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Line:
    """One returned row (PII), texts without outer blanks; `printed_on` as ``YYYYMMDD`` or empty."""

    row_no: int
    """As Excel shows it; the header is row 1."""
    management_no: str
    name: str
    id_number: str
    serial: str
    result: str
    """`PRINTED` or `REFUSED`."""
    reason: str
    printed_on: str


def load_profile(settings: Settings) -> Profile:
    """The operator's profile (``reference/return_profile.toml`` below the home), else the one that came along.

    Raises:
        ConfigurationError: the file is no TOML or lacks a part; the message names it.
    """
    own = settings.path("reference", "return_profile.toml")
    try:
        if own.is_file():
            return _profile(tomllib.loads(own.read_text("utf-8-sig")))
        return _profile(tomllib.loads(resources.files(__package__).joinpath("profile.toml").read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"返回数据读取规则 {own.name} 无法读取：{type(error).__name__}") from None


def read_return(profile: Profile, path: Path, limits: Limits) -> list[Line]:
    """Every row of a returned file, CSV or Excel by its content; nothing is guessed, nothing skipped but empty rows.

    A workbook is read in a jailed child (`certflow.jail`), like any other from outside.

    Raises:
        SubmissionError: a fault of `UNREADABLE`; or RETURN-HEADER, RETURN-WORD, RETURN-VALUE, RETURN-FORM for a
            file that can be read but not understood.
    """
    rows = enumerate(_table(profile, path, limits), start=1)
    head = next(((number, row) for number, row in rows if any(row)), None)
    if head is None:
        raise SubmissionError("RETURN-EMPTY", "文件中没有任何数据")
    number, header = head
    while not header[-1]:
        header.pop()
    places = _places(profile, header)
    lines = [_line(profile, number, row, places) for number, row in _full(rows, len(header)) if any(row)]
    if not lines:
        raise SubmissionError("RETURN-EMPTY", f"第 {number} 行表头之后没有数据")
    return lines


def _profile(table: Mapping[str, Any]) -> Profile:
    try:
        columns = {word: field for field in _COLUMNS for word in table["columns"][field]}
        results = dict.fromkeys(table["results"]["printed"], PRINTED)
        both = results.keys() & set(table["results"]["refused"])
        results |= dict.fromkeys(table["results"]["refused"], REFUSED)
        profile = Profile(
            str(table["name"]), tuple(table["encodings"]), bool(table["final_line_end"]), columns, results
        )
    except (KeyError, TypeError) as error:
        raise ConfigurationError(f"返回数据读取规则 return_profile.toml 缺少或写错：{error}") from None
    twice = sum(len(table["columns"][field]) for field in _COLUMNS) != len(columns)
    unknown = set(table["columns"]) - set(_COLUMNS)
    if both or twice or unknown:
        raise ConfigurationError("返回数据读取规则 return_profile.toml：同一个词有两种含义，或有不认识的列")
    for encoding in profile.encodings:
        try:
            "".encode(encoding)
        except LookupError:
            raise ConfigurationError(f"返回数据读取规则 return_profile.toml：没有编码 {encoding}") from None
    return profile


def _table(profile: Profile, path: Path, limits: Limits) -> Iterator[list[str]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"返回文件的原件 {path.stem[:12]}… 无法读取：{error.strerror}") from None
    if not data.strip():
        raise SubmissionError("RETURN-EMPTY", "文件为空")
    if data.startswith(_EXCEL):
        yield from _sheet(data, limits)
        return
    if b"\x00" in data:
        raise SubmissionError("RETURN-DAMAGED", "既不是 Excel 也不是文本文件")
    if profile.final_line_end and not data.endswith((b"\n", b"\r")):
        raise SubmissionError("RETURN-TRUNCATED", "最后一行没有换行，文件可能被截断")
    reader = csv.reader(io.StringIO(_decoded(profile, data), newline=""), strict=True)
    try:
        for row in reader:
            yield [cell.strip() for cell in row]
    except csv.Error:
        raise SubmissionError("RETURN-DAMAGED", f"第 {reader.line_num} 行附近的引号不成对") from None


def _sheet(data: bytes, limits: Limits) -> list[list[str]]:
    try:
        book = jail.read(data, limits)
        return [[cell.strip() for cell in row] for row in excel.table(excel.Grid(*grid) for grid in book.grids)]
    except SubmissionError as error:
        raise SubmissionError("RETURN-DAMAGED", f"{error.fault} {error.detail}".strip()) from None


def _decoded(profile: Profile, data: bytes) -> str:
    for encoding in profile.encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise SubmissionError("RETURN-DAMAGED", f"编码不是 {'、'.join(profile.encodings)}")


def _places(profile: Profile, header: Sequence[str]) -> dict[str, int]:
    places: dict[str, int] = {}
    for column, word in enumerate(header):
        field = profile.columns.get(word)
        # The word itself is not shown: without a header it would be somebody's name or number.
        if field is None:
            raise SubmissionError("RETURN-HEADER", f"第 {column + 1} 列的表头不认识")
        if field in places:
            raise SubmissionError("RETURN-HEADER", f"第 {places[field] + 1} 列与第 {column + 1} 列的表头重复")
        places[field] = column
    absent = [field for field in _COLUMNS if field not in places]
    if absent:
        first = {field: word for word, field in reversed(list(profile.columns.items()))}
        raise SubmissionError("RETURN-HEADER", f"缺少列：{'、'.join(first[field] for field in absent)}")
    return places


def _full(rows: Iterator[tuple[int, list[str]]], width: int) -> Iterator[tuple[int, list[str]]]:
    """The rows as wide as the header; a short one at the very end is a cut, elsewhere it is a question."""
    short: int | None = None
    for number, row in rows:
        if not any(row):
            continue
        if short is not None:
            raise SubmissionError("RETURN-FORM", f"第 {short} 行的列数少于表头")
        if any(row[width:]):
            raise SubmissionError("RETURN-FORM", f"第 {number} 行的列数多于表头")
        if len(row) < width:
            short = number
            continue
        yield number, row
    if short is not None:
        raise SubmissionError("RETURN-TRUNCATED", f"最后一行（第 {short} 行）不完整，文件可能被截断")


def _line(profile: Profile, number: int, row: Sequence[str], places: Mapping[str, int]) -> Line:
    texts = {field: row[place] for field, place in places.items()}
    if any("\x00" in text for text in texts.values()):
        raise SubmissionError("RETURN-DAMAGED", f"第 {number} 行含有不可用的字符")
    result = profile.results.get(texts["result"])
    if result is None:
        raise SubmissionError("RETURN-WORD", f"第 {number} 行“结果”一列的词不认识")
    day = parse_date(texts["printed_on"]).value if texts["printed_on"] else ""
    if texts["printed_on"] and len(day) != 8:
        raise SubmissionError("RETURN-VALUE", f"第 {number} 行“印制日期”不是完整的日期")
    if not texts["management_no"]:
        raise SubmissionError("RETURN-VALUE", f"第 {number} 行没有管理号")
    if result == PRINTED and not (texts["serial"] and day):
        raise SubmissionError("RETURN-VALUE", f"第 {number} 行已印制，但没有证书编号或印制日期")
    return Line(
        row_no=number,
        management_no=texts["management_no"],
        name=texts["name"],
        id_number=texts["id_number"],
        serial=texts["serial"],
        result=result,
        reason=texts["reason"],
        printed_on=day,
    )

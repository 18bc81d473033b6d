"""The certificate database's export file (DESIGN §5): read line by line, header and lines checked, nothing kept.

CSV (UTF-8, BOM tolerated, or GB18030) or Excel; header `COLUMNS`, any order. A bad line is data (`Line.fault`),
a file that is no such export is a ConfigurationError. Neither quotes a value.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from certflow import excel
from certflow.errors import ConfigurationError

COLUMNS = {
    "ZSGLH": "management_no",
    "KSXM": "name",
    "ZJHM": "id_number",
    "ZJLB": "id_type",
    "XB": "sex",
    "KSDM": "exam_code",
    "KSMC": "exam_name",
    "BKJB": "level",
    "BKZY": "specialty",
    "CSNY": "birth_month",
    "PZRQ": "approved_on",
    "BMS": "city",
    "ZSBH": "serial",
    "DZZS": "e_certificate",
}
"""Header of the file → column of `certificates`."""
OPTIONAL = ("ZSBH", "DZZS")
REQUIRED_VALUES = ("KSXM", "ZJHM", "ZJLB", "KSDM", "KSMC", "PZRQ")
"""Without these a certificate cannot be compared; the rest may be blank in old records (尊重历史数据)."""
DIGITS_AS_TEXT = ("ZSGLH", "ZJHM", "KSDM", "ZSBH")
"""Columns that a number cell destroys: lost digits, lost leading zeros (E10, E12)."""

_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_BLANKS = " \u3000\u00a0"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file; `values` in the order of `Export.fields`, meaningless where `fault` says something."""

    number: int
    values: Sequence[str]
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Export:
    """An opened file: which columns of `certificates` it gives, and its lines, to be read once."""

    fields: tuple[str, ...]
    ignored: tuple[str, ...]
    lines: Iterator[Line]


def read_export(file: Path, encoding: str) -> Export:
    """Open the file and check its header; ConfigurationError says what is wrong with it.

    SubmissionError for a workbook that cannot be read.
    """
    try:
        with file.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise ConfigurationError(f"无法读取 {file}：{error.strerror}") from None
    is_excel = magic.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0"))
    records = _from_excel(file) if is_excel else _from_csv(file, encoding)
    header = next(records, None)
    if header is None:
        raise ConfigurationError(f"{file.name} 是空文件")
    names = [value.strip(f"{_BLANKS}\t\ufeff").upper() for value in header[1]]
    while names and not names[-1]:
        names.pop()
    if missing := [name for name in COLUMNS if name not in names and name not in OPTIONAL]:
        raise ConfigurationError(f"{file.name} 的表头缺少 {'、'.join(missing)}；表头应为 {','.join(COLUMNS)}")
    if twice := sorted({name for name in names if name in COLUMNS and names.count(name) > 1}):
        raise ConfigurationError(f"{file.name} 的表头中 {'、'.join(twice)} 重复出现")
    known = [name for name in COLUMNS if name in names]
    positions = [names.index(name) for name in known]
    return Export(
        fields=tuple(COLUMNS[name] for name in known),
        ignored=tuple(name for name in names if name not in COLUMNS),
        lines=_lines(records, known, positions, len(names), padded=is_excel),
    )


Record = tuple[int, list[str], str]
"""Line number, cells, and in Excel the cells' types, one letter each (`book.Grid`)."""


def _lines(
    records: Iterator[Record], known: Sequence[str], positions: Sequence[int], width: int, *, padded: bool
) -> Iterator[Line]:
    required = [known.index(name) for name in REQUIRED_VALUES]
    fragile = {position: name for position, name in zip(positions, known, strict=True) if name in DIGITS_AS_TEXT}
    for number, cells, kinds in records:
        if not any(cells):
            continue
        if len(cells) > width and any(cells[width:]):
            yield Line(number, (), f"有 {len(cells)} 列，多于表头的 {width} 列")
            continue
        if len(cells) < width and not padded:
            yield Line(number, (), f"只有 {len(cells)} 列，少于表头的 {width} 列")
            continue
        numeric = [name for position, name in fragile.items() if kinds[position : position + 1] == "n"]
        if numeric:
            yield Line(number, (), f"{'、'.join(numeric)} 是数值格式，位数或前导零可能已丢失；须为文本")
            continue
        values = [cells[position].strip(_BLANKS) if position < len(cells) else "" for position in positions]
        if absent := [known[index] for index in required if not values[index]]:
            yield Line(number, (), f"缺少 {'、'.join(absent)}")
        elif strange := [name for name, value in zip(known, values, strict=True) if _CONTROL.search(value)]:
            yield Line(number, (), f"{'、'.join(strange)} 含有控制字符")
        else:
            yield Line(number, values)


def _from_csv(file: Path, encoding: str) -> Iterator[Record]:
    number = 1
    try:
        with file.open(encoding=encoding, newline="") as stream:
            reader = csv.reader(stream, strict=True)
            for cells in reader:
                yield number, cells, ""
                number = reader.line_num + 1
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"{file.name} 第 {number} 行之后有不属于 {encoding} 编码的字节；"
            "若文件是 GB18030 编码，请用 --encoding gb18030"
        ) from None
    except csv.Error as error:
        raise ConfigurationError(f"{file.name} 第 {number} 行起不是合法的 CSV：{error}") from None
    except LookupError:
        raise ConfigurationError(f"没有名为 {encoding} 的编码；可用 utf-8-sig 或 gb18030") from None


def _from_excel(file: Path) -> Iterator[Record]:
    _, grids = excel.read(file.read_bytes(), rows=1 << 20, columns=256, part_bytes=4 << 30)
    grid = next((grid for grid in grids if grid.columns), None)
    if grid is None:
        return
    for offset, (texts, kinds) in enumerate(zip(grid.texts, grid.kinds, strict=True)):
        dated = (text[:10].replace("-", "") if kind == "d" else text for text, kind in zip(texts, kinds, strict=True))
        margin = grid.first_column
        yield grid.first_row + offset + 1, [*[""] * margin, *dated], " " * margin + kinds

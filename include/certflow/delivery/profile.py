"""How lists about deliveries are read and written: editable profiles, because no format was published (DOMAIN §5).

A word a profile does not know stops the whole file before anything is applied. Messages name rows and columns, never
values. Columns a profile does not name are not looked at: EMS sends many.
"""

import csv
import datetime as dt
import io
import re
import string
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from certflow import excel, lists, vault
from certflow.delivery.states import MAIL, PICKUP, TRACKED, WAYS, WORDS
from certflow.errors import ConfigurationError, Conflict, SubmissionError
from certflow.excel import Cell, Page
from certflow.keys import parse_date, text_key
from certflow.month import SHANGHAI
from certflow.settings import Settings

CHOICES, EMS, EXCHANGE, EVIDENCE = "choices", "ems", "exchange", "evidence"

_COLUMNS = {
    CHOICES: ("management_no", "way", "recipient", "phone", "postcode", "address"),
    EMS: ("order", "waybill", "state", "at"),
    EXCHANGE: ("management_no", "state", "at", "waybill"),
}
_TOKENS = {
    CHOICES: tuple(WAYS),
    EMS: TRACKED,
    EXCHANGE: tuple(state for state in WORDS if state not in ("AWAITING", "PRINTED", "EXPIRED")),
}
_FIELDS = {
    EMS: {"序号", "订单号", "收件人", "电话", "邮编", "地址", "城市"},
    EXCHANGE: {"管理号", "姓名", "证书编号", "考试", "城市", "发放方式", "状态", "时间", "运单号"},
}
_WHOLE = {
    "phone": ("电话", re.compile("1[0-9]{10}")), "postcode": ("邮编", re.compile("[1-9][0-9]{5}")),
    "waybill": ("运单号", re.compile("[0-9]{1,15}")),
}  # fmt: skip
"""Column → its word, and what a number cell still holds whole: others lost the 0 they began with or their end (E12)."""
_TIME = re.compile(r"(?P<day>[^ T]+)[ T]+(?P<clock>[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?)(?:\.[0-9]+)?")
_PLAIN_TIME = re.compile(r"(?P<day>[0-9]{8})(?P<clock>[0-9]{6}|[0-9]{4})")


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a list we write looks like: ``xlsx`` or ``csv``, and per column its head, its text and its width."""

    format: str
    encoding: str
    columns: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """`columns`: our name → spellings of its header; `words`: the file's word → ours."""

    kind: str
    encodings: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    words: Mapping[str, str]
    export: Sheet | None


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a list (PII): texts by our column names; `word` is what its word means; `at` aware or None."""

    row_no: int
    texts: Mapping[str, str]
    word: str
    at: dt.datetime | None


def read_toml(settings: Settings, kind: str) -> dict[str, Any]:
    """The operator's ``templates/delivery-<kind>.toml`` below the home, else the shipped one; ConfigurationError."""
    own = settings.path("templates", f"delivery-{kind}.toml")
    try:
        text = own.read_text("utf-8-sig") if own.is_file() else shipped(kind)
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{own.name} 无法读取：{type(error).__name__}") from None


def shipped(kind: str) -> str:
    """The profile that came with the program."""
    return resources.files("certflow").joinpath("templates", f"delivery-{kind}.toml").read_text("utf-8")


def copy_profile(settings: Settings, kind: str) -> Path:
    """Copy a shipped profile to where the operator edits it; Conflict when one lies there already."""
    target = settings.path("templates", f"delivery-{kind}.toml")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with target.open("x", encoding="utf-8") as stream:
            stream.write(shipped(kind))
    except FileExistsError:
        raise Conflict(f"{target} 已存在，未覆盖；要回到原来的格式，请先移走它") from None
    return target


def load_profile(settings: Settings, kind: str) -> Profile:
    """The profile of this kind; ConfigurationError names what is wrong with it."""
    table, file = read_toml(settings, kind), f"delivery-{kind}.toml"
    try:
        encodings = tuple(str(one) for one in table["encodings"])
        columns = {name: tuple(str(one) for one in table["columns"][name]) for name in _COLUMNS[kind]}
        pairs = [(str(word), token) for token, words in table["words"].items() for word in words]
        export = _sheet(kind, table["export"]) if kind in _FIELDS else None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"{file} 缺少或写错：{error}") from None
    unknown = [*(set(table["columns"]) - set(_COLUMNS[kind])), *(set(table["words"]) - set(_TOKENS[kind]))]
    if unknown:
        raise ConfigurationError(f"{file} 中有不认识的项：{'、'.join(sorted(unknown))}")
    if len(dict(pairs)) != len(pairs):
        raise ConfigurationError(f"{file}：同一个词有两种含义")
    for encoding in encodings:
        _known_encoding(encoding, file)
    return Profile(kind, encodings, columns, dict(pairs), export)


def read_lines(settings: Settings, profile: Profile, data: bytes) -> list[Line]:
    """Every row of a list, CSV or Excel by its content; a workbook is read in the jail.

    Raises:
        SubmissionError: `fault` a BOOK- code or DELIVERY-WORD, DELIVERY-VALUE; `detail` names rows and columns.
    """
    needed = {CHOICES: ("management_no", "way"), EMS: ("waybill",), EXCHANGE: ("management_no", "state", "at")}
    found = lists.read_list(data, settings.limits, profile.columns, needed[profile.kind], encodings=profile.encodings)
    return [_line(profile, one) for one in found]


def told(profile: Profile, error: SubmissionError) -> str:
    """Why a list was held, in words."""
    if error.fault.startswith("DELIVERY-"):
        return error.detail
    if error.fault == "BOOK-HEADER":
        heads = "、".join(profile.columns[name][0] for name in error.detail.split("、") if name in profile.columns)
        return f"没有找到表头，须有：{heads}"
    return lists.told(error)


def write_list(target: Path, sheet: Sheet, rows: Sequence[Mapping[str, str]], footer: str = "") -> None:
    """Write a list by its profile; whole from the moment it is seen. Every cell is text."""
    texts = [[text.format_map(row) for _, text, _ in sheet.columns] for row in rows]
    heads = [head for head, _, _ in sheet.columns]
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sheet.format == "xlsx":
        lines: list[Sequence[Cell | str]] = [[Cell(head, "head") for head in heads], *texts]
        widths = [width for _, _, width in sheet.columns]
        page = Page("清单", lines, widths, freeze="A2", landscape=True, repeat_rows=1, footer=footer)
        excel.write_xlsx(target, [page])
        return
    out = io.StringIO(newline="")
    csv.writer(out).writerows([heads, *([_harmless(text) for text in row] for row in texts)])
    part = target.with_name(target.name + ".part")
    vault.write_bytes(part, out.getvalue().encode(sheet.encoding))
    part.replace(target)


def _harmless(text: str) -> str:
    """Text that no spreadsheet program takes for a formula (E35)."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _sheet(kind: str, table: Mapping[str, Any]) -> Sheet:
    if table["format"] not in ("xlsx", "csv"):
        raise ValueError("export.format")
    columns = tuple((str(one["head"]), str(one["text"]), int(one["width"])) for one in table["columns"])
    for _, text, _ in columns:
        for _, name, spec, conversion in string.Formatter().parse(text):
            if name is not None and (name not in _FIELDS[kind] or spec or conversion):
                raise ValueError(f"export.columns {name}")
    encoding = str(table["encoding"])
    _known_encoding(encoding, f"delivery-{kind}.toml")
    return Sheet(str(table["format"]), encoding, columns)


def _known_encoding(encoding: str, file: str) -> None:
    try:
        "".encode(encoding)
    except LookupError:
        raise ConfigurationError(f"{file}：没有编码 {encoding}") from None


def _line(profile: Profile, found: lists.Line) -> Line:
    texts, number = {name: text.strip() for name, text in found.values.items()}, found.row_no
    texts |= {name: text_key(texts[name]).upper() for name in ("order", "waybill") if name in texts}  # one spelling
    if "management_no" in found.numeric:
        raise SubmissionError("DELIVERY-VALUE", f"第 {number} 行管理号须为文本格式：数字格式的末几位可能已经改变")
    said = texts.get("way" if profile.kind == CHOICES else "state", "")
    word = profile.words.get(said, "")
    if said and not word:
        raise SubmissionError(
            "DELIVERY-WORD", f"第 {number} 行的{'领取方式' if profile.kind == CHOICES else '状态'}不认识"
        )
    for name in sorted(found.numeric & _WHOLE.keys()) if word != PICKUP else ():
        what, whole = _WHOLE[name]
        if not whole.fullmatch(texts[name]):
            raise SubmissionError("DELIVERY-VALUE", f"第 {number} 行{what}须为文本格式：数字格式丢失开头的 0 或末几位")
    at = parse_time(texts.get("at", "")) if texts.get("at") else None
    if texts.get("at") and at is None:
        raise SubmissionError("DELIVERY-VALUE", f"第 {number} 行的时间看不懂")
    if fault := _fault(profile.kind, texts, word, at):
        raise SubmissionError("DELIVERY-VALUE", f"第 {number} 行{fault}")
    return Line(number, texts, word, at)


def _fault(kind: str, texts: Mapping[str, str], word: str, at: dt.datetime | None) -> str:
    """What a row lacks; empty when it is complete."""
    if kind == EMS:
        lacks: list[tuple[str, object]] = [
            ("没有运单号", texts.get("waybill")),
            ("既没有订单号也没有状态", word or texts.get("order")),
        ]
    else:
        lacks = [("没有管理号", texts.get("management_no")), ("没有领取方式或状态", word)]
    if kind == CHOICES:
        address = all(texts.get(name) for name in ("recipient", "phone", "address"))
        lacks.append(("邮寄须有收件人、电话和地址", address or word != MAIL))
    else:
        lacks.append(("有状态而没有时间", at or not word))
    return next((words for words, there in lacks if not there), "")


def parse_time(text: str) -> dt.datetime | None:
    """A moment in Shanghai time as EMS and spreadsheets write it; midnight where only a day is given."""
    match = _PLAIN_TIME.fullmatch(text.strip()) or _TIME.fullmatch(text.strip())
    day = parse_date(match["day"] if match else text).value
    clock = match["clock"] if match else "0:00"
    hands = clock.split(":") if ":" in clock else [clock[at : at + 2] for at in range(0, len(clock), 2)]
    hour, minute, second = map(int, [*hands, "0"][:3])
    try:
        midnight = dt.datetime.strptime(day, "%Y%m%d").replace(tzinfo=SHANGHAI)
        return dt.datetime.combine(midnight, dt.time(hour, minute, second), SHANGHAI)
    except ValueError:
        return None

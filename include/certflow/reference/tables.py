"""Read one reference table from its text; every line is validated, a bad one refuses the whole table.

Messages are for the operator who edits the table: line number, column, what is allowed.
"""

import csv
import io
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime, timedelta

from certflow import identity
from certflow.errors import ConfigurationError
from certflow.keys import text_key
from certflow.month import Month
from certflow.naming import PackageName, fold
from certflow.reference.model import ALL_LEVELS, City, Exam, Holiday, IdType, RuleSet

FAMILIES = ("normal", "ruankao", "tongxin")
KINDS = (
    identity.RESIDENT,
    identity.GAT_RESIDENCE,
    identity.FOREIGN_RESIDENCE,
    identity.HK_MACAU_PERMIT,
    identity.TAIWAN_PERMIT,
    identity.PASSPORT,
    identity.OFFICER,
    identity.OTHER,
)
VARIANT_KINDS = ("variant", "traditional", "private")

Line = tuple[int, dict[str, str]]


def read_exams(text: str) -> dict[str, Exam]:
    """Exams by code (columns: DESIGN §5)."""
    columns = ("code", "name", "family", "cancelled_levels", "levels", "first_year", "last_year")
    exams: dict[str, Exam] = {}
    for line, row in _lines(text, columns, ("code", "name", "family")):
        code = row["code"]
        if re.fullmatch(r"[0-9A-Za-z]{1,8}", code) is None:
            raise _wrong(line, "code", "考试代码只能是 1–8 位字母或数字")
        if code in exams:
            raise _wrong(line, "code", f"考试代码 {code} 重复")
        if row["family"] not in FAMILIES:
            raise _wrong(line, "family", f"只能是 {'、'.join(FAMILIES)}")
        levels = _levels(line, row["levels"])
        cancelled = frozenset(text_key(level) for level in _list(row["cancelled_levels"]))
        if levels and not cancelled <= {*levels, ALL_LEVELS}:
            raise _wrong(line, "cancelled_levels", "取消的级别不在 levels 之中")
        first, last = _year(line, "first_year", row["first_year"]), _year(line, "last_year", row["last_year"])
        if first is not None and last is not None and first > last:
            raise _wrong(line, "last_year", "早于 first_year")
        _check_name(line, row["name"], "市")
        exams[code] = Exam(code, fold(row["name"]), row["family"], cancelled, levels, first, last)
    return exams


def read_cities(text: str) -> tuple[City, ...]:
    """Cities, the historic ones included; `account` is the code where it is left empty."""
    columns = ("code", "name", "account", "aliases", "valid_until", "successor")
    cities: list[City] = []
    names: set[str] = set()
    accounts: set[str] = set()
    for line, row in _lines(text, columns, ("code", "name")):
        if re.fullmatch(r"[0-9]{6}", row["code"]) is None:
            raise _wrong(line, "code", "须为 6 位数字（GB/T 2260）")
        if row["valid_until"] and not _is_month(row["valid_until"]):
            raise _wrong(line, "valid_until", "须写成 YYYYMM")
        _check_name(line, "考试", row["name"])
        account = "" if row["valid_until"] else row["account"] or row["code"]
        if account and re.fullmatch(r"[0-9A-Za-z_][0-9A-Za-z_-]{0,31}", account) is None:
            raise _wrong(line, "account", "只能用字母、数字、下划线和连字符")
        city = City(
            row["code"], row["name"], account, tuple(_list(row["aliases"])), row["valid_until"], row["successor"]
        )
        for name in (city.name, *city.aliases):
            if text_key(name) in names:
                raise _wrong(line, "name", f"名称或简称 {name} 重复")
            names.add(text_key(name))
        if account in accounts:
            raise _wrong(line, "account", f"账号 {account} 重复")
        accounts |= {account} - {""}
        cities.append(city)
    for city in cities:
        if city.successor and text_key(city.successor) not in names:
            message = f"{city.name} 的 successor {city.successor} 不在表中"
            raise ConfigurationError(message)
    return tuple(cities)


def read_id_types(text: str) -> dict[str, IdType]:
    """Types of identity documents by name."""
    types: dict[str, IdType] = {}
    names: set[str] = set()
    for line, row in _lines(text, ("name", "kind", "aliases"), ("name", "kind")):
        if row["kind"] not in KINDS:
            raise _wrong(line, "kind", f"只能是 {'、'.join(KINDS)}")
        kind = IdType(row["name"], row["kind"], tuple(_list(row["aliases"])))
        for name in (kind.name, *kind.aliases):
            if text_key(name) in names:
                raise _wrong(line, "aliases", f"名称或别名 {name} 重复")
            names.add(text_key(name))
        types[kind.name] = kind
    return types


def read_level_aliases(text: str) -> dict[str, str]:
    """Every spelling of a level, the level itself included → the level."""
    aliases: dict[str, str] = {}
    for line, row in _lines(text, ("level", "aliases"), ("level",)):
        for name in (row["level"], *_list(row["aliases"])):
            if aliases.setdefault(text_key(name), row["level"]) != row["level"]:
                raise _wrong(line, "aliases", f"写法 {name} 已属于另一级别")
    return aliases


def read_name_variants(text: str) -> dict[str, str]:
    """Character → the one that stands for its group; groups that share a character are one."""
    leader: dict[str, str] = {}

    def find(sign: str) -> str:
        while leader.setdefault(sign, sign) != sign:
            sign = leader[sign]
        return sign

    for line, row in _lines(text, ("characters", "kind"), ("characters", "kind")):
        if row["kind"] not in VARIANT_KINDS:
            raise _wrong(line, "kind", f"只能是 {'、'.join(VARIANT_KINDS)}")
        if len(set(row["characters"])) < 2:
            raise _wrong(line, "characters", "同一行至少要有两个不同的字")
        first = find(row["characters"][0])
        for sign in row["characters"][1:]:
            leader[find(sign)] = first
    return {sign: find(sign) for sign in leader}


def read_areas(text: str) -> frozenset[str]:
    """First four digits of area codes."""
    prefixes: set[str] = set()
    for line, row in _lines(text, ("province", "name", "prefectures"), ("province", "prefectures")):
        for part in row["prefectures"].split():
            match = re.fullmatch(r"([0-9]{2})(?:-([0-9]{2}))?", part)
            if match is None or re.fullmatch(r"[1-9][0-9]", row["province"]) is None:
                raise _wrong(line, "prefectures", "须为两位数字，或 01-17 这样的范围")
            prefixes |= {f"{row['province']}{n:02d}" for n in range(int(match[1]), int(match[2] or match[1]) + 1)}
    return frozenset(prefixes)


def read_holidays(text: str) -> dict[date, Holiday]:
    """Days of the State Council's holiday plan: free days, and weekend days that are worked instead."""
    days: dict[date, Holiday] = {}
    for line, row in _lines(text, ("first", "last", "name", "work"), ("first", "last", "name")):
        first, last = _day(line, "first", row["first"]), _day(line, "last", row["last"])
        if row["work"] not in ("", "是"):
            raise _wrong(line, "work", "只能为空或“是”")
        if not 0 <= (last - first).days < 31:
            raise _wrong(line, "last", "早于 first，或相距一个月以上")
        for offset in range((last - first).days + 1):
            day = first + timedelta(offset)
            if day in days:
                raise _wrong(line, "first", f"{day:%Y%m%d} 重复")
            days[day] = Holiday(row["name"], works=bool(row["work"]))
    return days


def read_rule_sets(text: str) -> dict[str, RuleSet]:
    """Dated rule sets by name (TOML)."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"规则集文件不是有效的 TOML：{error}"
        raise ConfigurationError(message) from None
    return {name: _rule_set(name, values) for name, values in document.items()}


READERS: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "exams": ("exams.csv", read_exams),
    "cities": ("cities.csv", read_cities),
    "id_types": ("id_types.csv", read_id_types),
    "level_aliases": ("level_aliases.csv", read_level_aliases),
    "name_variants": ("name_variants.csv", read_name_variants),
    "areas": ("areas.csv", read_areas),
    "holidays": ("holidays.csv", read_holidays),
    "rule_sets": ("rule_sets.toml", read_rule_sets),
}
"""Table → its file name and how its text is read."""


def _lines(text: str, columns: tuple[str, ...], required: tuple[str, ...]) -> Iterator[Line]:
    """Data lines with their numbers; ``#`` lines and empty ones are passed over, columns may come in any order."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    found = False
    try:
        for cells in reader:
            values = [cell.strip() for cell in cells]
            if not any(values) or values[0].startswith("#"):
                continue
            line = reader.line_num
            if header is None:
                header = _header(line, values, columns, required)
                continue
            if len(values) > len(header) and any(values[len(header) :]):
                message = f"第 {line} 行：有 {len(values)} 列，表头只有 {len(header)} 列"
                raise ConfigurationError(message)
            row = dict.fromkeys(columns, "") | dict(zip(header, values, strict=False))
            for column in required:
                if not row[column]:
                    raise _wrong(line, column, "不能为空")
            found = True
            yield line, row
    except csv.Error as error:
        message = f"第 {reader.line_num} 行：不是有效的 CSV（{error}）"
        raise ConfigurationError(message) from None
    if not found:
        message = f"表中没有数据行；表头应为 {','.join(columns)}"
        raise ConfigurationError(message)


def _header(line: int, values: list[str], columns: tuple[str, ...], required: tuple[str, ...]) -> list[str]:
    while values and not values[-1]:
        values.pop()
    unknown = [value for value in values if value not in columns]
    missing = [column for column in required if column not in values]
    if unknown or missing or len(set(values)) != len(values):
        message = f"第 {line} 行：表头应为 {','.join(columns)}"
        raise ConfigurationError(message)
    return values


def _check_name(line: int, exam: str, city: str) -> None:
    """See to it that packages can be named after them."""
    exam, city = fold(exam), fold(city)
    with suppress(ValueError):
        PackageName(Month(2020, 1), "1", exam, city, 1)
        if not set("/\\") & set(exam + city):
            return
    raise _wrong(line, "name", "要写进文件名：不能含有 / 和 \\，括号要成对，地市名称中不能有括号")


def _levels(line: int, text: str) -> dict[str, frozenset[str]]:
    levels: dict[str, frozenset[str]] = {}
    for part in _list(text):
        level, sign, specialties = part.partition(":")
        if not sign and not level:
            raise _wrong(line, "levels", "须写成 级别:专业|专业;级别:…")
        if text_key(level) in levels:
            raise _wrong(line, "levels", f"级别 {level} 重复")
        levels[text_key(level)] = frozenset(text_key(item) for item in specialties.split("|") if item.strip())
    return levels


def _list(text: str) -> list[str]:
    return [item.strip() for item in text.split(";") if item.strip()]


def _year(line: int, column: str, text: str) -> int | None:
    if not text:
        return None
    if re.fullmatch(r"(?:19|20)[0-9]{2}", text) is None:
        raise _wrong(line, column, "须为四位年份或留空")
    return int(text)


def _day(line: int, column: str, text: str) -> date:
    try:
        return datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007 (a calendar date, no moment)
    except ValueError:
        raise _wrong(line, column, "须写成 YYYYMMDD") from None


def _is_month(text: str) -> bool:
    try:
        Month.parse(text)
    except ValueError:
        return False
    return True


_RULE_SET_KINDS: Mapping[str, type] = {
    "title": str,
    "in_force": date,
    "photo_free_from": int,
    "electronic_replaces_paper": bool,
}


_MARK_LENGTH = 20


def _rule_set(name: str, values: object) -> RuleSet:
    known = [*_RULE_SET_KINDS, "reissue_mark", "keep_unclaimed_years"]
    if not isinstance(values, dict) or set(values) - {*known}:
        message = f"规则集 {name}：只能有 {'、'.join(known)}"
        raise ConfigurationError(message)
    for key, kind in _RULE_SET_KINDS.items():
        if type(values.get(key)) is not kind:
            message = f"规则集 {name}：{key} 缺失或类型不对"
            raise ConfigurationError(message)
    keep = values.get("keep_unclaimed_years")
    if keep is not None and type(keep) is not int:
        message = f"规则集 {name}：keep_unclaimed_years 须为整数"
        raise ConfigurationError(message)
    mark = values.get("reissue_mark", "")
    if not isinstance(mark, str) or len(mark) > _MARK_LENGTH:
        message = f"规则集 {name}：reissue_mark 须为 {_MARK_LENGTH} 个字以内的文字"
        raise ConfigurationError(message)
    own = {key: values[key] for key in _RULE_SET_KINDS}
    return RuleSet(name=name, reissue_mark=mark, keep_unclaimed_years=keep, **own)


def _wrong(line: int, column: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f"第 {line} 行 {column}：{reason}")

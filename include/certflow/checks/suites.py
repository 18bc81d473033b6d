"""The rules as data: reads ``expectations/*.json``, without Great Expectations, and says what is wrong with them.

One file is one suite. Each expectation carries in its `meta` what a rule is: code, severity, scope, field, title,
message, remedy, clause of the notice, and the rule sets it belongs to (`since` inclusive, `until` exclusive).
A message's ``{placeholders}`` are columns of the frame the rule is judged on, and these words:
``{sent}``, ``{registry}``, ``{field_name}``, ``{detail}``, ``{note}`` (the detail in brackets, or nothing) and
``{count}``.
"""

import importlib.resources
import json
import re
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from certflow.errors import ConfigurationError
from certflow.findings import FIELDS, Scope, Severity
from certflow.settings import Settings

SUITES = ("submission", "workbook", "application", "registry_match", "photo")
"""The suites in the order in which a submission meets them."""

PACKAGE = "package"
"""The suite of our own packages, judged on their read-back."""

RETURN = "return"
"""The suite of what the authority sends back, judged before it is applied."""

REGISTRY = "registry"
"""The suite of the certificate database itself, judged when it is loaded; it only warns."""

EVERY_FIELD = "*"
"""As `Rule.field`: the column lists the fields that failed, separated by commas."""

WORDS = frozenset({"sent", "registry", "field_name", "detail", "note", "count"})
"""Placeholders that are no columns."""

_TEXTS = ("code", "severity", "scope", "title", "message", "remedy", "clause", "since")
_CODE = re.compile(r"[A-Z0-9]+(?:-[A-Z0-9]+)*")
_YEAR = re.compile(r"[0-9]{4}")
_BY_LINE = ("expect_column_values_", "expect_column_value_lengths_")
"""Expectations that say which lines fail; one about a whole column could find something and name nobody."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One expectation of one suite and what it means to a city."""

    suite: str
    code: str
    severity: Severity
    scope: Scope
    field: str | None
    """One of the 11 fields, `EVERY_FIELD`, or None."""
    title: str
    message: str
    remedy: str
    clause: str
    """Where the notice asks for it."""
    since: str
    """First rule set the rule belongs to."""
    until: str | None
    """First rule set it no longer belongs to; None: still there."""
    expectation: str
    """Type of the expectation, as Great Expectations names it."""
    kwargs: Mapping[str, Any]
    """Its arguments: column and thresholds."""

    @property
    def column(self) -> str:
        """The column the rule judges."""
        return str(self.kwargs["column"])

    @property
    def columns(self) -> frozenset[str]:
        """The column it judges and those its condition names (a condition is in pandas' query language)."""
        condition = str(self.kwargs.get("row_condition") or "")
        names = re.findall(r"[A-Za-z_]\w*", re.sub(r"'[^']*'|\"[^\"]*\"", "", condition))
        return frozenset({self.column, *names} - {"and", "or", "not", "in"})

    @property
    def placeholders(self) -> frozenset[str]:
        """Names in braces in the message."""
        return frozenset(name for _, name, _, _ in string.Formatter().parse(self.message) if name)

    def belongs_to(self, rule_set: str) -> bool:
        """Whether the rule is in force in a rule set (they are named by year: ``2020``, ``2023``)."""
        return self.since <= rule_set and (self.until is None or rule_set < self.until)


def folder(settings: Settings) -> Path:
    """Where the suites lie: the setting, else what came with the program (wheel), else the source tree."""
    if settings.expectations is not None:
        return settings.expectations
    package = Path(str(importlib.resources.files("certflow")))
    packed = package / "expectations"
    return packed if packed.is_dir() else package.parents[1] / "expectations"


def load(settings: Settings, chosen: Iterable[str] = (*SUITES, PACKAGE, RETURN, REGISTRY)) -> tuple[Rule, ...]:
    """All rules of the chosen suites in order; ConfigurationError names file, rule and reason."""
    found: list[Rule] = []
    for suite in chosen:
        found.extend(_read(folder(settings) / f"{suite}.json", suite))
    seen: dict[str, str] = {}  # one rule may take several expectations, but of one suite
    for rule in found:
        if seen.get(rule.code, rule.suite) != rule.suite:
            raise ConfigurationError(f"{rule.suite}.json：规则 {rule.code} 已在 {seen[rule.code]}.json 中")
        seen[rule.code] = rule.suite
    return tuple(found)


def require_columns(rules: Iterable[Rule], columns: frozenset[str]) -> None:
    """ConfigurationError when a rule judges or names a column that its frame does not have."""
    for rule in rules:
        place = f"{rule.suite}.json：规则 {rule.code}"
        named = rule.code.lower().replace("-", "_")
        if missing := sorted(rule.columns - columns - {named}):
            raise ConfigurationError(f"{place}：没有 {'、'.join(missing)} 这一列")
        if unknown := sorted(rule.placeholders - columns - WORDS):
            raise ConfigurationError(f"{place}：message 用了不认识的占位符 {'、'.join(unknown)}")


def _read(path: Path, suite: str) -> tuple[Rule, ...]:
    try:
        return _parsed(path, suite, path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path}：规则文件无法读取（{error.strerror}）") from None


@lru_cache(maxsize=32)
def _parsed(path: Path, suite: str, data: bytes) -> tuple[Rule, ...]:
    try:
        document = json.loads(data, object_pairs_hook=_once, parse_constant=_no_number)
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}：规则文件不是 UTF-8 编码") from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}：规则文件不是正确的 JSON（{error}）") from None
    expectations = document.get("expectations") if isinstance(document, dict) else None
    if not isinstance(expectations, list) or not expectations or document.get("name") != suite:
        raise ConfigurationError(f'{path}：规则文件须为 {{"name": "{suite}", "expectations": [至少一条规则]}}')
    return tuple(_rule(path, suite, number, item) for number, item in enumerate(expectations, start=1))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose names differ: of two thresholds nobody could say which one counts."""
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{'、'.join(twice)} 写了两次")
    return dict(pairs)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} 不是数")  # every comparison with NaN fails


def _rule(path: Path, suite: str, number: int, item: object) -> Rule:
    place = f"{path}：第 {number} 条规则"
    if not isinstance(item, dict) or not isinstance(item.get("meta"), dict) or not isinstance(item.get("kwargs"), dict):
        raise ConfigurationError(f"{place}：须有 type、kwargs、meta")
    meta, kwargs = item["meta"], item["kwargs"]
    place = f"{path}：规则 {meta.get('code')}（第 {number} 条）"
    for key in _TEXTS:
        if not isinstance(meta.get(key), str) or not (meta[key].strip() or key == "remedy"):
            raise ConfigurationError(f"{place}：meta.{key} 缺失、为空或不是文字")
    if not isinstance(item.get("type"), str) or not isinstance(kwargs.get("column"), str):
        raise ConfigurationError(f"{place}：须有 type 和 kwargs.column")
    for wrong in _wrong(meta, item["type"], kwargs):
        raise ConfigurationError(f"{place}：{wrong}")
    return Rule(
        suite, meta["code"], Severity(meta["severity"]), Scope(meta["scope"]), meta.get("field"), meta["title"],
        meta["message"], meta["remedy"], meta["clause"], meta["since"], meta.get("until"), item["type"], kwargs,
    )  # fmt: skip


def _wrong(meta: Mapping[str, Any], expectation: str, kwargs: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a rule whose texts are texts."""
    field, until = meta.get("field"), meta.get("until")
    if _CODE.fullmatch(meta["code"]) is None:
        yield "meta.code 只能是大写字母、数字和连字符，如 ID-AGE"
    for key, kinds in (("severity", Severity), ("scope", Scope)):
        if meta[key] not in [*kinds]:
            yield f"meta.{key} 为 {meta[key]!r}，只能是 {'、'.join(kinds)}"
    if field is not None and field != EVERY_FIELD and field not in FIELDS:
        yield f"meta.field 为 {field!r}，不是 11 个字段之一"
    if _YEAR.fullmatch(meta["since"]) is None:
        yield f"meta.since 为 {meta['since']!r}，须为四位年份"
    if until is not None and not (isinstance(until, str) and _YEAR.fullmatch(until) and until > meta["since"]):
        yield f"meta.until 为 {until!r}，须为 null 或晚于 meta.since 的四位年份"
    if not expectation.startswith(_BY_LINE):
        yield f"不能用 {expectation}：它不指明哪一行不合格"
    if "mostly" in kwargs:
        yield "不能用 mostly：不合格的行会被放过"
    yield from _wrong_message(meta["message"])


def _wrong_message(message: str) -> Iterator[str]:
    """What keeps the placeholders of a message from being filled with texts."""
    try:
        parts = [*string.Formatter().parse(message)]
    except ValueError as error:
        yield f"meta.message 的花括号不成对（{error}）"
        return
    for _, name, style, conversion in parts:
        if name == "" or style or conversion:
            said = f"{name}{'!' + conversion if conversion else ''}{':' + style if style else ''}"
            yield f"meta.message 的占位符 {{{said}}} 不对：只能是花括号里一个名称"

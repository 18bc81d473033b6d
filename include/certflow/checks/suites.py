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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
            raise ConfigurationError(f"{rule.suite}.json: rule {rule.code} stands in {seen[rule.code]}.json as well")
        seen[rule.code] = rule.suite
    return tuple(found)


def require_columns(rules: Iterable[Rule], columns: frozenset[str]) -> None:
    """ConfigurationError when a rule judges or names a column that its frame does not have."""
    for rule in rules:
        named = rule.code.lower().replace("-", "_")
        if missing := sorted(rule.columns - columns - {named}):
            raise ConfigurationError(f"{rule.suite}.json: rule {rule.code}: there is no column {', '.join(missing)}")
        unknown = rule.placeholders - columns - WORDS
        if unknown:
            raise ConfigurationError(
                f"{rule.suite}.json: rule {rule.code}: its message names {', '.join(sorted(unknown))}: no such column"
            )


def _read(path: Path, suite: str) -> list[Rule]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: the rule suite cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ConfigurationError(f"{path}: the rule suite is not valid JSON ({error})") from None
    expectations = document.get("expectations") if isinstance(document, dict) else None
    if not isinstance(expectations, list) or document.get("name") != suite:
        raise ConfigurationError(f'{path}: a rule suite is an object with "name": "{suite}" and "expectations": [...]')
    return [_rule(path, suite, number, item) for number, item in enumerate(expectations, start=1)]


def _rule(path: Path, suite: str, number: int, item: object) -> Rule:
    place = f"{path}: expectation {number}"
    if not isinstance(item, dict) or not isinstance(item.get("meta"), dict) or not isinstance(item.get("kwargs"), dict):
        raise ConfigurationError(f"{place}: needs type, kwargs and meta")
    meta, kwargs = item["meta"], item["kwargs"]
    for key in _TEXTS:
        if not isinstance(meta.get(key), str):
            raise ConfigurationError(f"{place} ({meta.get('code', '?')}): meta.{key} is missing or no text")
    place = f"{path}: rule {meta['code']}"
    if not isinstance(item.get("type"), str) or not isinstance(kwargs.get("column"), str):
        raise ConfigurationError(f"{place}: needs a type and kwargs.column")
    field = meta.get("field")
    if field is not None and field != EVERY_FIELD and field not in FIELDS:
        raise ConfigurationError(f"{place}: meta.field {field!r} is none of the 11 fields")
    try:
        rule = Rule(
            suite, meta["code"], Severity(meta["severity"]), Scope(meta["scope"]), field, meta["title"],
            meta["message"], meta["remedy"], meta["clause"], meta["since"], meta.get("until"), item["type"], kwargs,
        )  # fmt: skip
        _ = rule.placeholders
    except ValueError as error:
        raise ConfigurationError(f"{place}: {error}") from None
    return rule

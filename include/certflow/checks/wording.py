"""Breaches become findings: the texts of the suites, filled from the frames; once plain for the city, once masked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certflow.checks.suites import EVERY_FIELD, Rule
from certflow.findings import FIELD_NAMES, Finding, Scope, Severity
from certflow.privacy import mask_id, mask_name, mask_photo, mask_text

if TYPE_CHECKING:
    from certflow.checks.judge import Breach

_MASKS: Mapping[str, Callable[[str], str]] = {
    "KSXM": mask_name,
    "ZJHM": mask_id,
    "ZP": mask_photo,
    "CSNY": lambda text: "*" * len(text),
}
"""Fields that are personal by themselves; other texts go through `mask_text`."""
_RAW = frozenset({"name_length", "id_age"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line of a frame lies."""

    submission: int
    row: int | None = None
    entry: str | None = None


def findings(
    breach: "Breach", columns: Mapping[str, Sequence[object]], place: Callable[[int], Place]
) -> list[tuple[int, Finding]]:
    """(line, finding) for each line of the breach; one per field where the rule speaks of every field.

    The fields stand in the rule's column, or, where that is a number, in the one named after it with ``_field``.
    `place`: where a line lies.
    """
    rule = breach.rule
    found = []
    for line in breach.lines:
        fields: Sequence[str | None] = [rule.field]
        if rule.field == EVERY_FIELD:
            fields = str(columns.get(f"{rule.column}_field", columns[rule.column])[line]).split(",")
        found += [(line, _finding(rule, field, line, columns, place(line))) for field in fields]
    return found


def _finding(
    rule: Rule, field: str | None, line: int, columns: Mapping[str, Sequence[object]], place: Place
) -> Finding:
    sent = _value(columns, field, line)
    registry = _value(columns, f"db_{field}", line) if _tells(rule, line, columns) else None
    detail = _value(columns, f"{rule.column.removesuffix('_fault')}_detail", line) or ""
    words = {
        "sent": sent or "",
        "registry": registry or "",
        "field_name": f"{FIELD_NAMES[field]}（{field}）" if field in FIELD_NAMES else "",
        "detail": detail,
        "note": f"（{detail}）" if detail else "",
        "count": _number(columns.get(rule.column, [None])[line] if rule.column in columns else None),
    }
    words |= {
        name: _number(columns[name][line]) if name in columns else "" for name in rule.placeholders - words.keys()
    }
    masked = {
        name: text if name in ("field_name", "count") or name in _RAW else mask_text(text)
        for name, text in words.items()
    }
    masked |= {name: mask_value(field, words[name]) for name in ("sent", "registry")}
    return Finding(
        rule=rule.code,
        severity=rule.severity,
        scope=rule.scope,
        message=rule.message.format_map(words),
        remedy=rule.remedy,
        row=place.row,
        field=field,
        entry=place.entry,
        sent=sent,
        registry=registry,
        masked=rule.message.format_map(masked),
    )


def _tells(rule: Rule, line: int, columns: Mapping[str, Sequence[object]]) -> bool:
    """Whether what the database holds of a cell stands beside it: where the cell must be mended or looked at.

    Never of a certificate that is another person's.
    """
    if rule.suite == "registry_match":
        return True
    serious = rule.scope is Scope.ROW and rule.severity in (Severity.ERROR, Severity.HOLD)
    return serious and columns["db_person_ok"][line] is True


def mask_value(field: str | None, text: str) -> str:
    """The value of one of the 11 fields as others than its city see it."""
    return _MASKS.get(field or "", mask_text)(text)


def _value(columns: Mapping[str, Sequence[object]], name: str | None, line: int) -> str | None:
    if name is None or name not in columns:
        return None
    value = columns[name][line]
    return None if value is None else str(value)


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return "" if value is None else str(value)

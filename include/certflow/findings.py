"""Problems as data: what is wrong, where, how grave, and what to do about it.

A rule's code, severity, texts and clause stand in ``expectations/``; a `Finding` is one place where it
did not hold. The outcome of a row, photo, entry or file follows from its gravest finding.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

FIELDS = ("ZSGLH", "KSXM", "ZJHM", "ZJLB", "XB", "BKJB", "BKZY", "CSNY", "PZRQ", "ZP", "BMS")
"""The 11 columns of the notice (附件二 2), in the order in which we write them."""

FIELD_NAMES = {
    "ZSGLH": "管理号",
    "KSXM": "姓名",
    "ZJHM": "证件号码",
    "ZJLB": "证件类别",
    "XB": "性别",
    "BKJB": "级别",
    "BKZY": "专业",
    "CSNY": "出生年月",
    "PZRQ": "批准日期",
    "ZP": "照片",
    "BMS": "报名市",
}


class Severity(StrEnum):
    """How grave a finding is; the order of the members is from grave to light."""

    ERROR = "error"
    """The row or file goes back to the city (退回)."""
    HOLD = "hold"
    """A person decides."""
    WARNING = "warning"
    """Goes on, reported."""
    INFO = "info"


class Scope(StrEnum):
    """What a finding is about."""

    FILE = "file"
    ENTRY = "entry"
    ROW = "row"
    PHOTO = "photo"


class Outcome(StrEnum):
    """Where a row, photo, entry or file ends; exactly one of these."""

    ACCEPTED = "accepted"
    HELD = "held"
    RETURNED = "returned"
    PROOF = "proof"
    IGNORED = "ignored"


class Verdict(StrEnum):
    """The outcome of one submission (file × exam), as printed by ``certflow check``."""

    ACCEPTED = "accepted"
    PARTIAL = "partial"
    HELD = "held"
    RETURNED = "returned"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where one rule did not hold.

    `row` is the row number as Excel shows it (1-based). `message` and `remedy` are Chinese and may carry
    personal data: they are for the city's own feedback; `masked` gives the same finding for everybody else.
    """

    rule: str
    severity: Severity
    scope: Scope
    message: str
    remedy: str = ""
    row: int | None = None
    field: str | None = None
    entry: str | None = None
    """Archive entry the finding is about (PII: photo names are ID numbers), for scope entry and photo."""
    sent: str | None = None
    """The value the city sent (PII)."""
    registry: str | None = None
    """The value the certificate database holds (PII)."""
    masked: str = ""
    """`message` with every personal value masked."""


def listed(records: Sequence[str], most: int = 3) -> str:
    """Record ids as a message names them: the first ones, and how many there are."""
    named = "、".join(records[:most])
    return named if len(records) <= most else f"{named} 等 {len(records)} 条"


def gravest(findings: Iterable[Finding]) -> Outcome:
    """The outcome that follows from findings about one thing: error → returned, hold → held, else accepted."""
    severities = {finding.severity for finding in findings}
    if Severity.ERROR in severities:
        return Outcome.RETURNED
    if Severity.HOLD in severities:
        return Outcome.HELD
    return Outcome.ACCEPTED


def verdict_of(rows: Iterable[Outcome]) -> Verdict:
    """The verdict of a submission whose file-level outcome leaves the decision to its rows (DESIGN §5)."""
    outcomes = set(rows)
    if outcomes <= {Outcome.ACCEPTED, Outcome.PROOF, Outcome.IGNORED}:
        return Verdict.ACCEPTED
    if outcomes == {Outcome.RETURNED}:
        return Verdict.RETURNED
    if outcomes == {Outcome.HELD}:
        return Verdict.HELD
    return Verdict.PARTIAL

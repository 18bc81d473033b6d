"""What checking gives: one `Judged` per submission, as the receipts, the ledger and ``--json`` read it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from certflow.findings import FIELDS, Finding, Outcome, Verdict
from certflow.intake.submission import Entry, Received, Submission
from certflow.month import Month


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """One row and its one outcome."""

    row: int
    """Row number as Excel shows it."""
    outcome: Outcome
    rules: tuple[str, ...]
    """Codes of the rules that did not hold for the row or its photo."""
    sent_texts: tuple[str, ...]
    """The 11 values as the city sent them, in the order of `FIELDS`: dictionaries of all rows would weigh three times
    as much."""
    emitted_texts: tuple[str, ...]
    """The 11 values as we would print them: the database's where there is a match, dates in plain digits."""
    certificate_id: int | None
    photo: tuple[Received, Entry] | None
    sketch: bytes | None = None
    """What its photo is compared by (`certflow.likeness`)."""
    alike: tuple[str, ...] = ()
    """Records of the ledger that came with too like a photo of another person, the likest first."""
    stands: bool = False
    """The row waits for a person since an earlier version and did not change: nothing new is recorded."""

    @property
    def sent(self) -> dict[str, str]:
        """`sent_texts` by field name, made anew."""
        return dict(zip(FIELDS, self.sent_texts, strict=True))

    @property
    def emitted(self) -> dict[str, str]:
        """`emitted_texts` by field name, made anew."""
        return dict(zip(FIELDS, self.emitted_texts, strict=True))


@dataclass(frozen=True, slots=True)
class Judged:
    """One submission (file × exam) and everything that was found about it."""

    submission: Submission
    verdict: Verdict
    findings: tuple[Finding, ...]
    rows: tuple[JudgedRow, ...]
    entries: Mapping[tuple[str, int], tuple[Outcome, str]]
    """(sha256 of the file, ordinal of the entry) → outcome and the code that decided it ("" when none had to)."""
    rule_set: str
    file_outcome: Outcome
    """ACCEPTED: the rows decide."""
    file_reason: str | None = None
    """Code of the rule that decided the file."""
    month: Month | None = None
    exam_code: str | None = None
    city: str | None = None
    account: str | None = None
    """Account of the city in the name; None when it is unknown."""
    nil: bool = False
    """A nil report (零报)."""
    counts: Counter[Outcome] = field(default_factory=Counter)
    """Rows by outcome."""
    looks: Sequence[tuple[float, int] | None] = ()
    """Of the submission's photos, then its earlier ones: share of white in the border, 0-1, and place among the
    `Thumbnails`; None where it could not be decoded, or nobody asked for these."""
    news: tuple[str, ...] = ()
    """What it changed against earlier versions, as lines of the receipt."""

    @property
    def members(self) -> Iterator[tuple[Received, Entry]]:
        """Every entry of the archives that belongs to this submission."""
        one = self.submission
        if one.workbook is not None and one.workbook_file is not None:
            yield one.workbook_file, one.workbook
        yield from one.photos
        yield from one.others

    def as_json(self, *, rows: bool, unmasked: bool) -> dict[str, object]:
        """The contract of ``certflow check --json`` (DESIGN §5); without `unmasked` no personal value is in it."""
        found: dict[str, object] = {
            "file": str(self.submission.files[0].origin or self.submission.files[0].path),
            "sha256": self.submission.files[0].sha256,
            "verdict": self.verdict.value,
            "month": None if self.month is None else str(self.month),
            "exam": self.exam_code,
            "city": self.city,
            "rows": {"total": len(self.rows)} | {outcome.value: self.counts[outcome] for outcome in Outcome},
            "findings": [
                {
                    "rule": one.rule,
                    "severity": one.severity.value,
                    "scope": one.scope.value,
                    "row": one.row,
                    "field": one.field,
                    "message": one.message if unmasked else one.masked,
                }
                for one in self.findings
            ],
        }
        if rows:
            found["row_verdicts"] = [
                {"row": row.row, "verdict": row.outcome.value, "rules": list(row.rules)} for row in self.rows
            ]
        return found

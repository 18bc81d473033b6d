"""What switching from one rule set to another would change for the rows of a month; judged twice, nothing written."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from certflow import naming
from certflow.checks.judged import Judged
from certflow.checks.run import check_again
from certflow.errors import Conflict
from certflow.findings import Outcome
from certflow.intake.gather import gather_kept
from certflow.intake.submission import Received, Submission
from certflow.month import Month
from certflow.reference import load_reference
from certflow.settings import Settings

if TYPE_CHECKING:
    from certflow.registry.ledger import Registry
    from certflow.registry.submissions import ReceivedFile, Recorded


@dataclass(frozen=True, slots=True)
class Change:
    """Rows that would end otherwise, for one reason."""

    before: Outcome
    after: Outcome
    rules: tuple[str, ...]
    """Rules that speak of the rows under one of the two sets only."""
    records: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """A month under two rule sets; free of personal data."""

    before: Counter[Outcome]
    after: Counter[Outcome]
    changes: tuple[Change, ...]

    @property
    def rows(self) -> int:
        """Rows compared."""
        return self.before.total()


def compare(settings: Settings, registry: "Registry", month: Month, one: str, other: str) -> Difference:
    """Judge every row of the month that is no repeat by both rule sets, against the database of today.

    Conflict when nothing of the month is in the ledger; ConfigurationError when a rule set does not exist.
    """
    from certflow.registry import submissions as ledger

    with registry.read() as conn:
        recorded = ledger.recorded(conn, str(month))
        files = {one.id: one for one in ledger.received_files(conn, [n for part in recorded for n in part.files])}
    if not recorded:
        raise Conflict(f"台账里没有 {month} 的数据")
    without = tuple(part.id for part in recorded)
    before: Counter[Outcome] = Counter()
    after: Counter[Outcome] = Counter()
    changes: dict[tuple[Outcome, Outcome, tuple[str, ...]], list[str]] = defaultdict(list)
    for round_ in _rounds(recorded):
        submissions = [_gather(settings, part, files) for part in round_]
        judged = [_judge(settings, registry, submissions, name, without) for name in (one, other)]
        for part, first, second in zip(round_, *judged, strict=True):
            ends = {row.row: row for row in second.rows}
            for row in first.rows:
                if row.row not in part.records:
                    continue
                end = ends[row.row]
                before[row.outcome] += 1
                after[end.outcome] += 1
                if row.outcome is not end.outcome:
                    rules = tuple(sorted(set(row.rules) ^ set(end.rules)))
                    changes[row.outcome, end.outcome, rules].append(part.records[row.row])
    return Difference(
        before, after, tuple(Change(*key, tuple(sorted(records))) for key, records in sorted(changes.items()))
    )


def _rounds(recorded: "Sequence[Recorded]") -> "Iterator[list[Recorded]]":
    """The first versions of every city and exam, then the second ones, …: versions must not meet in one call."""
    for version in sorted({part.version for part in recorded}):
        yield [part for part in recorded if part.version == version]


def _gather(settings: Settings, part: "Recorded", files: "dict[int, ReceivedFile]") -> Submission:
    received = [
        Received(settings.original(file.sha256), file.name, file.sha256, file.size, part.account, file.id)
        for file in (files[number] for number in part.files)
    ]
    found = gather_kept(received, settings, load_reference(settings))
    fitting = [one for one in found if one.stem == part.stem]
    if fitting:
        return fitting[0]
    misnamed = next((one for one in found if one.name is None), found[0])
    return replace(misnamed, name=naming.parse(part.stem).name, stem=part.stem)  # a person gave it the right name


def _judge(
    settings: Settings, registry: "Registry", submissions: Sequence[Submission], rule_set: str, without: tuple[int, ...]
) -> list[Judged]:
    chosen = replace(settings, rule_set=rule_set)
    return check_again(submissions, chosen, load_reference(chosen), registry, without)

"""What the metrics count, out of the ledger: sums and ages, nothing about anybody."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from certflow.registry import holds
from certflow.registry.schema import files, findings


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for a person's decision, and how long the oldest has, in days."""

    holds: int
    oldest_days: int


def size_of(conn: Connection, file_ids: Sequence[int]) -> int:
    """Bytes of these files as they were received."""
    return int(conn.scalar(select(func.coalesce(func.sum(files.c.size), 0)).where(files.c.id.in_(file_ids))) or 0)


def findings_of(conn: Connection, file_ids: Sequence[int]) -> dict[str, int]:
    """Findings about these files by severity."""
    counted = select(findings.c.severity, func.count()).where(findings.c.file_id.in_(file_ids))
    return {str(severity): int(count) for severity, count in conn.execute(counted.group_by(findings.c.severity))}


def waiting(conn: Connection) -> Waiting:
    """The queue of holds."""
    ages = [one.age_days for one in holds.queue(conn)]
    return Waiting(len(ages), max(ages, default=0))

"""Who said yes or no to which set of packages, and what that moves.

An approval speaks of digests, not of package ids: the same content rebuilt is the same set.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, update

from certflow.privacy import mask_text
from certflow.registry.packages import PACKAGE, Batch, Package, as_package
from certflow.registry.schema import approvals, batches, package_rows, packages, rows


@dataclass(frozen=True, slots=True)
class BatchState:
    """How far a batch is: its packages by state, a city's own ones left out, and the newest decision about it.

    `unpacked`: accepted rows of it in no package.
    """

    batch: Batch
    frozen_at: datetime
    packages: dict[str, int]
    unpacked: int
    decision: str
    by: str

    @property
    def half_packed(self) -> bool:
        """Whether rows of it are to be packed again: their package went back, or could not be built beside others."""
        return bool(self.packages and self.unpacked)


def overview(conn: Connection, month: str | None = None) -> list[BatchState]:
    """Every batch, or those of a month, the newest first."""
    query = select(
        batches.c.id, batches.c.month, batches.c.number, batches.c.rule_set, batches.c.reopened_at.is_not(None),
        batches.c.frozen_at,
    ).order_by(batches.c.month.desc(), batches.c.number.desc())  # fmt: skip
    counted = select(packages.c.batch_id, packages.c.state, func.count()).where(~packages.c.companion)
    loose = select(rows.c.batch_id, func.count()).where(rows.c.state == "ACCEPTED", rows.c.batch_id.is_not(None))
    said = select(approvals.c.batch_id, approvals.c.decision, approvals.c.by).order_by(approvals.c.id)
    if month is not None:
        query = query.where(batches.c.month == month)
    states: dict[int, dict[str, int]] = {}
    for batch_id, state, count in conn.execute(counted.group_by(packages.c.batch_id, packages.c.state)):
        states.setdefault(batch_id, {})[state] = count
    unpacked: dict[int, int] = dict(conn.execute(loose.group_by(rows.c.batch_id)).tuples().all())
    newest = {batch_id: (decision, by) for batch_id, decision, by in conn.execute(said)}
    return [
        BatchState(
            Batch(*place), at, states.get(place[0], {}), unpacked.get(place[0], 0), *newest.get(place[0], ("", ""))
        )
        for *place, at in conn.execute(query)
    ]


def lock_packages(conn: Connection, batch_id: int) -> list[Package]:
    """The packages of a batch that count (not rejected), held until the transaction ends."""
    query = PACKAGE.where(packages.c.batch_id == batch_id, packages.c.state != "REJECTED")
    return [as_package(row) for row in conn.execute(query.order_by(packages.c.id).with_for_update())]


def approve_packages(conn: Connection, batch_id: int) -> int:
    """Move every BUILT package of the batch to APPROVED; returns how many."""
    moved = update(packages).where(packages.c.batch_id == batch_id, packages.c.state == "BUILT")
    return conn.execute(moved.values(state="APPROVED")).rowcount


def reject_packages(conn: Connection, batch_id: int) -> int:
    """Move every BUILT package of the batch to REJECTED and its rows back to ACCEPTED; returns how many packages."""
    conn.execute(
        update(rows)
        .where(
            rows.c.id == package_rows.c.row_id,
            package_rows.c.package_id == packages.c.id,
            packages.c.batch_id == batch_id,
            packages.c.state == "BUILT",
            rows.c.state == "PACKED",
        )
        .values(state="ACCEPTED")
    )
    moved = update(packages).where(packages.c.batch_id == batch_id, packages.c.state == "BUILT")
    return conn.execute(moved.values(state="REJECTED")).rowcount


def decide(conn: Connection, batch_id: int, *, digest: str, decision: str, by: str, reason: str) -> None:
    """Record a decision about the set of packages with this digest; numbers in the reason are masked, it is shown."""
    said = {"decision": decision, "by": by, "reason": mask_text(reason)}
    conn.execute(insert(approvals).values(batch_id=batch_id, digest=digest, **said))


def last_decision(conn: Connection, batch_id: int, digest: str) -> tuple[str, str] | None:
    """The newest (decision, by) about exactly this set of packages."""
    row = conn.execute(
        select(approvals.c.decision, approvals.c.by)
        .where(approvals.c.batch_id == batch_id, approvals.c.digest == digest)
        .order_by(approvals.c.id.desc())
        .limit(1)
    ).one_or_none()
    return (str(row[0]), str(row[1])) if row else None


def decisions(conn: Connection, batch_id: int) -> list[dict[str, str]]:
    """Every decision about a batch, oldest first."""
    found = conn.execute(
        select(approvals.c.decision, approvals.c.by, approvals.c.reason, approvals.c.digest, approvals.c.at)
        .where(approvals.c.batch_id == batch_id)
        .order_by(approvals.c.id)
    )
    return [
        {"decision": row.decision, "by": row.by, "reason": row.reason, "digest": row.digest, "at": row.at.isoformat()}
        for row in found
    ]

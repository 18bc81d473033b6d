"""Who said yes or no to which set of packages, and what that moves.

An approval speaks of digests, not of package ids: the same content rebuilt is the same set.
"""

from sqlalchemy import Connection, insert, select, update

from certflow.privacy import mask_text
from certflow.registry.packages import PACKAGE, Package, as_package
from certflow.registry.schema import approvals, package_rows, packages, rows


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

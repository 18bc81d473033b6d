"""Contested findings, what was decided about them, and the kept scores of closed periods; append-only lines."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, text

from certflow.registry.schema import appeal_decisions, appeals, files, findings, rows, scores, submissions

CLOSED, CLOSED_AGAIN = "结账", "重新结账"
"""Causes of versions that a person closed a period with; the others follow from appeals."""


@dataclass(frozen=True, slots=True)
class Appeal:
    """One contested finding; `upheld` None: nobody has decided."""

    id: int
    finding_id: int
    account: str
    month: str
    exam_code: str
    rule: str
    severity: str
    record_id: str
    masked: str
    filed_by: str
    filed_reason: str
    filed_at: datetime
    upheld: bool | None
    decided_by: str
    decided_reason: str
    decided_at: datetime | None


@dataclass(frozen=True, slots=True)
class Kept:
    """One version of the figures of a closed period."""

    account: str
    version: int
    figures: Mapping[str, Any]
    cause: str
    by: str
    at: datetime


_RECEIVED_IN = func.to_char(func.timezone("Asia/Shanghai", files.c.received_at), "YYYYMM")
_APPEALS = (
    select(
        appeals.c.id, findings.c.id, files.c.account,
        func.coalesce(submissions.c.month, files.c.month, _RECEIVED_IN),
        func.coalesce(submissions.c.exam_code, ""), findings.c.rule, findings.c.severity,
        func.coalesce(rows.c.record_id, ""), findings.c.masked, appeals.c.by, appeals.c.reason, appeals.c.at,
        appeal_decisions.c.upheld, func.coalesce(appeal_decisions.c.by, ""),
        func.coalesce(appeal_decisions.c.reason, ""), appeal_decisions.c.at,
    )
    .select_from(appeals)
    .join(findings, findings.c.id == appeals.c.finding_id)
    .join(files, files.c.id == findings.c.file_id)
    .outerjoin(submissions, submissions.c.id == findings.c.submission_id)
    .outerjoin(rows, rows.c.id == findings.c.row_id)
    .outerjoin(appeal_decisions, appeal_decisions.c.appeal_id == appeals.c.id)
)  # fmt: skip


def finding(conn: Connection, finding_id: int) -> tuple[str, str, str] | None:
    """Severity, account and lane of a finding; None: there is none."""
    found = conn.execute(
        select(findings.c.severity, files.c.account, files.c.lane)
        .join(files, files.c.id == findings.c.file_id)
        .where(findings.c.id == finding_id)
    ).one_or_none()
    return None if found is None else (str(found[0]), str(found[1]), str(found[2]))


def contested(conn: Connection, finding_id: int) -> int | None:
    """The appeal about a finding, where there is one."""
    return conn.scalar(select(appeals.c.id).where(appeals.c.finding_id == finding_id))


def file_appeal(conn: Connection, finding_id: int, by: str, reason: str) -> int:
    """Record an appeal; its id. A second one about a finding is refused by the database (Conflict)."""
    made = insert(appeals).values(finding_id=finding_id, by=by, reason=reason).returning(appeals.c.id)
    return int(conn.execute(made).scalar_one())


def appeal(conn: Connection, appeal_id: int) -> Appeal | None:
    """One appeal."""
    found = conn.execute(_APPEALS.where(appeals.c.id == appeal_id)).one_or_none()
    return None if found is None else Appeal(*tuple(found))


def all_appeals(conn: Connection, *, account: str = "", undecided: bool = False) -> list[Appeal]:
    """Appeals, oldest first."""
    query = _APPEALS.order_by(appeals.c.id)
    if account:
        query = query.where(files.c.account == account)
    if undecided:
        query = query.where(appeal_decisions.c.id.is_(None))
    return [Appeal(*tuple(row)) for row in conn.execute(query)]


def judged(conn: Connection) -> int:
    """How many appeals have been judged."""
    return int(conn.scalar(select(func.count()).select_from(appeal_decisions)) or 0)


def decide(conn: Connection, appeal_id: int, *, upheld: bool, by: str, reason: str) -> None:
    """Record a decision; a second one about an appeal is refused by the database (Conflict)."""
    conn.execute(insert(appeal_decisions).values(appeal_id=appeal_id, upheld=upheld, by=by, reason=reason))


def kept_periods(conn: Connection) -> list[str]:
    """Closed periods."""
    return list(conn.scalars(select(scores.c.period).distinct().order_by(scores.c.period)))


def kept(conn: Connection, period: str) -> list[Kept]:
    """Every version of a period's figures, by account and version."""
    query = (
        select(
            scores.c.account, scores.c.version, scores.c.figures, scores.c.cause, scores.c.by, scores.c.at,
        )
        .where(scores.c.period == period)
        .order_by(scores.c.account, scores.c.version)
    )  # fmt: skip
    return [Kept(*row) for row in conn.execute(query)]


def closed_at(conn: Connection, period: str) -> datetime | None:
    """When a period's figures were counted: what was judged later is not in them. None: it is not closed."""
    causes = scores.c.cause.in_((CLOSED, CLOSED_AGAIN))
    found: datetime | None = conn.scalar(select(func.max(scores.c.at)).where(scores.c.period == period, causes))
    return found


def lock(conn: Connection) -> None:
    """Nobody else keeps figures, or judges an appeal that changes them, until the transaction ends."""
    conn.execute(text("SELECT pg_advisory_xact_lock(4849336, 5)"))


def keep(conn: Connection, period: str, figures: Mapping[str, Mapping[str, Any]], *, cause: str, by: str) -> int:
    """Write a new version for each account (→ figures) whose newest one says something else; how many were written."""
    lock(conn)  # two people close one period at once
    newest = {one.account: one for one in kept(conn, period)}
    lines = [
        {
            "period": period, "account": account, "figures": dict(values), "cause": cause, "by": by,
            "version": newest[account].version + 1 if account in newest else 1,
        }
        for account, values in sorted(figures.items())
        if account not in newest or newest[account].figures != values
    ]  # fmt: skip
    if lines:
        conn.execute(insert(scores), lines)
    return len(lines)

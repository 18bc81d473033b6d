"""One 管理号 from two cities (D24): the row that was accepted first is held as well, and its city is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, insert, select, text, update

from certflow.findings import Finding, Outcome, Scope, Severity
from certflow.registry.schema import files, findings, rows, submission_files, submissions

if TYPE_CHECKING:
    from certflow.checks.judged import Judged


@dataclass(frozen=True, slots=True)
class Contested:
    """An accepted row of another city that is held from now on, because a second city sent the same 管理号 (D24)."""

    account: str
    month: str
    file_id: int
    row_no: int
    record_id: str


def contest(conn: Connection, account: str, one: "Judged") -> list[Contested]:
    """Hold the accepted rows of other cities that this submission contests (D24).

    The graph knows no way back from ACCEPTED to HELD: the accepted row is withdrawn, and a new one that replaces it
    comes into being and is held, until a person says which city may go on.
    """
    numbers = sorted(
        {row.emitted["ZSGLH"] for row in one.rows if row.outcome is Outcome.HELD and "DUP-CITY" in row.rules} - {""}
    )
    if not numbers:
        return []
    query = (
        select(rows.c.id)
        .join(submissions, submissions.c.id == rows.c.submission_id)
        .where(
            rows.c.management_no == func.any(numbers), rows.c.state == "ACCEPTED",
            submissions.c.account != account,
        )
        .with_for_update(of=rows)
    )  # fmt: skip
    accepted = list(conn.scalars(query))
    if not accepted:
        return []
    conn.execute(update(rows).where(rows.c.id.in_(accepted)).values(state="WITHDRAWN"))
    copied = [
        column.name for column in rows.c if column.name not in ("id", "record_id", "state", "batch_id", "replaces")
    ]
    kept = ", ".join(copied)
    made = conn.execute(
        text(
            f"INSERT INTO rows (record_id, replaces, {kept}) SELECT record_id || '-H', id, {kept} FROM rows"  # noqa: S608 (our own column names)
            " WHERE id = ANY(CAST(:ids AS bigint[])) RETURNING id"
        ),
        {"ids": accepted},
    )
    held = [int(row_id) for (row_id,) in made]
    conn.execute(update(rows).where(rows.c.id.in_(held)).values(state="HELD"))
    return _tell(conn, held, next(f for f in one.findings if f.rule == "DUP-CITY"), one.rule_set)


def _tell(conn: Connection, held: Sequence[int], finding: Finding, rule_set: str) -> list[Contested]:
    found = conn.execute(
        select(
            rows.c.id, rows.c.record_id, rows.c.row_no, submissions.c.id, submissions.c.account, submissions.c.month,
            func.min(submission_files.c.file_id),
        )
        .join(submissions, submissions.c.id == rows.c.submission_id)
        .join(submission_files, submission_files.c.submission_id == submissions.c.id)
        .where(rows.c.id.in_(held))
        .group_by(rows.c.id, submissions.c.id)
        .order_by(rows.c.id)
    ).all()  # fmt: skip
    conn.execute(
        insert(findings),
        [
            {
                "file_id": file_id, "submission_id": submission_id, "row_id": row_id, "rule": finding.rule,
                "severity": Severity.HOLD.value, "scope": Scope.ROW.value, "row_no": row_no, "field": finding.field,
                "message": finding.message, "masked": finding.masked, "remedy": finding.remedy, "rule_set": rule_set,
            }
            for row_id, _, row_no, submission_id, _, _, file_id in found
        ],
    )  # fmt: skip
    told = sorted({int(row[-1]) for row in found})
    conn.execute(update(files).where(files.c.id.in_(told)).values(answered_at=None))
    return [
        Contested(account, month, file_id, row_no, record_id)
        for _, record_id, row_no, _, account, month, file_id in found
    ]

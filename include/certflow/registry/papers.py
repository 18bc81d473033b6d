"""Which stamped paper has arrived: append-only lines by month, city and exam; the newest one counts."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from certflow.registry.schema import batches, papers, rows, submissions


@dataclass(frozen=True, slots=True)
class Paper:
    """What a person recorded last about the paper of one city and exam."""

    account: str
    exam_code: str
    state: str
    """``arrived``, ``missing`` or ``differs``."""
    by: str
    note: str
    scan_sha256: str | None
    at: datetime


def record(
    conn: Connection,
    month: str,
    account: str,
    exam_code: str,
    *,
    state: str,
    by: str,
    note: str,
    scan_sha256: str | None,
) -> None:
    """Add a line; its moment is the database's."""
    conn.execute(
        insert(papers).values(
            month=month, account=account, exam_code=exam_code, state=state, by=by, note=note, scan_sha256=scan_sha256
        )
    )


def latest(conn: Connection, month: str) -> dict[tuple[str, str], Paper]:
    """(account, exam code) → the newest line of the month."""
    found = conn.execute(
        select(
            papers.c.account, papers.c.exam_code, papers.c.state, papers.c.by, papers.c.note, papers.c.scan_sha256,
            papers.c.at,
        )
        .where(papers.c.month == month)
        .order_by(papers.c.id)
    )  # fmt: skip
    return {(row.account, row.exam_code): Paper(*row) for row in found}


def expected(conn: Connection, batch_id: int) -> dict[tuple[str, str], int]:
    """(account, exam code) → rows of the batch: the paper that has to come."""
    found = conn.execute(
        select(submissions.c.account, submissions.c.exam_code, func.count())
        .select_from(rows.join(submissions).join(batches, batches.c.id == rows.c.batch_id))
        .where(batches.c.id == batch_id)
        .group_by(submissions.c.account, submissions.c.exam_code)
        .order_by(submissions.c.account, submissions.c.exam_code)
    )
    return {(str(account), str(exam)): int(count) for account, exam, count in found}

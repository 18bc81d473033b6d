"""The month as a whole, counted from the ledger: what each city sent, where its rows stand, what is usual."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, case, func, select

from certflow.registry.schema import batches, files, rows, submissions


@dataclass(frozen=True, slots=True)
class CityCount:
    """What one account sent for one month."""

    account: str
    submissions: int
    usable: int
    """Submissions that did not go back as a whole."""
    nil: bool
    """A nil report came (零报)."""


@dataclass(frozen=True, slots=True)
class StateCount:
    """Rows of one account and exam in one state."""

    account: str
    exam_code: str
    state: str
    rows: int


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Files one account sent for one month, repeats left out, and when the first and the last of them came."""

    files: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class PastMonth:
    """Judged rows of a month and how many of them went back."""

    month: str
    rows: int
    returned: int

    @property
    def error_share(self) -> float:
        """Returned rows per judged row."""
        return self.returned / self.rows if self.rows else 0.0


def cities(conn: Connection, month: str) -> dict[str, CityCount]:
    """Account → what it sent for the month; accounts that sent nothing are absent. Trial files do not count."""
    usable = func.count().filter(submissions.c.verdict.not_in(("returned", "ignored")))
    sent = {
        str(account): (int(total), int(good))
        for account, total, good in conn.execute(
            select(submissions.c.account, func.count(), usable)
            .where(submissions.c.month == month, submissions.c.lane == "month")
            .group_by(submissions.c.account)
        )
    }
    nil = set(
        conn.scalars(
            select(files.c.account)
            .where(
                files.c.month == month,
                files.c.lane == "month",
                files.c.kind == "nil",
                files.c.state.not_in(("RETURNED", "IGNORED")),
            )
            .distinct()
        )
    )
    return {
        account: CityCount(account, *sent.get(account, (0, 0)), account in nil) for account in sorted({*sent, *nil})
    }


def arrivals(conn: Connection, month: str) -> dict[str, Arrivals]:
    """Account → what it sent for the month and when; trial files do not count."""
    found = conn.execute(
        select(files.c.account, func.count(), func.min(files.c.received_at), func.max(files.c.received_at))
        .where(files.c.month == month, files.c.lane == "month", files.c.duplicate_of.is_(None))
        .group_by(files.c.account)
    )
    return {str(account): Arrivals(*rest) for account, *rest in found}


def states(conn: Connection, month: str) -> list[StateCount]:
    """Rows of the month by account, exam and state."""
    found = conn.execute(
        select(submissions.c.account, submissions.c.exam_code, rows.c.state, func.count())
        .select_from(rows.join(submissions))
        .where(submissions.c.month == month, submissions.c.lane == "month")
        .group_by(submissions.c.account, submissions.c.exam_code, rows.c.state)
        .order_by(submissions.c.account, submissions.c.exam_code, rows.c.state)
    )
    return [StateCount(*row) for row in found]


def judged(conn: Connection, *, upto: str, months: int) -> list[PastMonth]:
    """The months up to and including `upto` that have judged rows, newest first, at most `months` of them."""
    returned = func.sum(case((rows.c.state == "RETURNED", 1), else_=0))
    found = conn.execute(
        select(submissions.c.month, func.count(), returned)
        .select_from(rows.join(submissions))
        .where(submissions.c.month <= upto, submissions.c.lane == "month", rows.c.state != "IGNORED")
        .group_by(submissions.c.month)
        .order_by(submissions.c.month.desc())
        .limit(months)
    )
    return [PastMonth(str(month), int(total), int(bad)) for month, total, bad in found]


def packed(conn: Connection, *, upto: str, months: int) -> list[StateCount]:
    """Rows in batches by month, account and exam for the newest `months` frozen months up to `upto`.

    `StateCount.state` holds the month.
    """
    known = select(batches.c.month).where(batches.c.month <= upto).distinct()
    newest = known.order_by(batches.c.month.desc()).limit(months).subquery()
    found = conn.execute(
        select(submissions.c.account, submissions.c.exam_code, batches.c.month, func.count())
        .select_from(rows.join(submissions).join(batches, batches.c.id == rows.c.batch_id))
        .where(batches.c.month.in_(select(newest.c.month)))
        .group_by(submissions.c.account, submissions.c.exam_code, batches.c.month)
        .order_by(batches.c.month.desc(), submissions.c.account, submissions.c.exam_code)
    )
    return [StateCount(*row) for row in found]


def frozen_rows(conn: Connection, *, before: str, months: int) -> list[int]:
    """Rows of the first batch of each month before `before`, newest first, at most `months` of them."""
    found = conn.execute(
        select(func.count(rows.c.id))
        .select_from(batches.outerjoin(rows, rows.c.batch_id == batches.c.id))
        .where(batches.c.number == 0, batches.c.month < before)
        .group_by(batches.c.month)
        .order_by(batches.c.month.desc())
        .limit(months)
    )
    return [int(count) for count in found.scalars()]


def known(conn: Connection) -> list[str]:
    """Every month the ledger knows of, the newest first; trial files do not count."""
    found = select(submissions.c.month).where(submissions.c.lane == "month").union(
        select(files.c.month).where(files.c.lane == "month", files.c.month.is_not(None)), select(batches.c.month)
    )  # fmt: skip
    return sorted((str(month) for month in conn.scalars(found)), reverse=True)


def unjudged(conn: Connection) -> dict[str, int]:
    """Account → files that came and that nobody has looked into to the end; trial files do not count."""
    found = conn.execute(
        select(files.c.account, func.count())
        .where(files.c.lane == "month", files.c.state.in_(("RECEIVED", "WAITING", "UNPACKED")))
        .group_by(files.c.account)
    )
    return {str(account): int(count) for account, count in found}


def exam_seen(conn: Connection, code: str) -> bool:
    """Whether anything was ever submitted for an exam of this code."""
    return conn.scalar(select(submissions.c.id).where(submissions.c.exam_code == code).limit(1)) is not None

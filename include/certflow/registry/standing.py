"""How one city stands for one month, and what it sent on one day: counts, rules and file names, no personal data."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from sqlalchemy import Connection, func, select

from certflow.month import SHANGHAI
from certflow.registry.schema import files, findings, rows, submission_files, submissions
from certflow.registry.submissions import frozen_months

DROPPED = ("IGNORED", "WITHDRAWN")
"""States of rows that count nowhere: another row stands for them."""


@dataclass(frozen=True, slots=True)
class SentFile:
    """One received file and what became of it."""

    id: int
    lane: str
    name: str
    state: str
    reason: str | None
    received_at: datetime
    month: str | None
    exams: tuple[str, ...]
    """Codes of the exams it was recorded for."""
    rows: Mapping[str, int]
    """Its rows by state, as they stand now."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One account's month as it stands in the ledger."""

    frozen: bool
    """The month has a batch: what comes now goes into the next supplementary one."""
    latest: datetime | None
    """When the last file came."""
    exams: Mapping[str, Counter[str]] = field(default_factory=dict)
    """Exam code → applications by state; a row that went back counts until a later row of the same person, or of the
    same 管理号, takes its place."""
    causes: Sequence[tuple[str, int]] = ()
    """Rule → how many rows that went back or are held break it, most frequent first."""
    returned_files: Sequence[SentFile] = ()
    """Files that went back as a whole and were not followed by a better one of the same exam."""
    held_files: Sequence[SentFile] = ()
    """Files that wait as a whole for a person's decision."""


def standing(conn: Connection, account: str, month: str) -> Standing:
    """How `account` stands for `month` (``YYYYMM``); trial files do not count."""
    sent = conn.execute(
        select(rows.c.id, rows.c.state, rows.c.management_no, rows.c.id_number, submissions.c.exam_code)
        .join(submissions, submissions.c.id == rows.c.submission_id)
        .where(submissions.c.account == account, submissions.c.month == month, submissions.c.lane == "month")
        .where(rows.c.state.not_in(DROPPED))
        .order_by(rows.c.id.desc())
    )
    exams: dict[str, Counter[str]] = defaultdict(Counter)
    open_rows: list[int] = []
    later: set[tuple[str, str, str]] = set()
    for row_id, state, number, person, exam in sent:
        names = {(exam, kind, value) for kind, value in (("number", number), ("person", person)) if value}
        if not (state == "RETURNED" and names & later):
            exams[exam][state] += 1
            if state in ("RETURNED", "HELD"):
                open_rows.append(row_id)
        later |= names
    found = [one for one in _files(conn, files.c.account == account, files.c.month == month) if one.lane == "month"]
    good = {exam: one.id for one in found if one.state not in ("RETURNED", "IGNORED") for exam in one.exams}
    return Standing(
        month in frozen_months(conn),
        max((one.received_at for one in found), default=None),
        {exam: exams[exam] for exam in sorted(exams)},
        _causes(conn, open_rows),
        [
            one for one in found
            if one.state == "RETURNED" and not any(good.get(exam, 0) > one.id for exam in one.exams)
        ],
        [one for one in found if one.state == "HELD"],
    )  # fmt: skip


def sent_for(conn: Connection, account: str, month: str) -> list[SentFile]:
    """What came from `account` for a month, newest first; trial files are left out."""
    return _files(conn, files.c.account == account, files.c.month == month, files.c.lane == "month")[::-1]


def sent_on(conn: Connection, account: str, day: date) -> list[SentFile]:
    """What came from `account` on a day in China, trial files included, oldest first."""
    begin = datetime(day.year, day.month, day.day, tzinfo=SHANGHAI)
    return _files(
        conn,
        files.c.account == account, files.c.received_at >= begin, files.c.received_at < begin + timedelta(days=1),
        files.c.lane != "proofs",
    )  # fmt: skip


def days_of(conn: Connection, file_ids: Sequence[int]) -> list[date]:
    """The days in China on which these files came."""
    found = conn.scalars(select(files.c.received_at).where(files.c.id.in_(file_ids)))
    return sorted({moment.astimezone(SHANGHAI).date() for moment in found})


def _files(conn: Connection, *which: object) -> list[SentFile]:
    found = conn.execute(
        select(
            files.c.id, files.c.lane, files.c.name, files.c.state, files.c.reason, files.c.received_at, files.c.month,
        )
        .where(*which)  # type: ignore[arg-type]
        .order_by(files.c.id)
    ).all()  # fmt: skip
    ids = [one.id for one in found]
    exams: dict[int, set[str]] = defaultdict(set)
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    recorded = conn.execute(
        select(submission_files.c.file_id, submissions.c.exam_code, rows.c.state, func.count(rows.c.id))
        .join(submissions, submissions.c.id == submission_files.c.submission_id)
        .join(rows, rows.c.submission_id == submissions.c.id, isouter=True)
        .where(submission_files.c.file_id.in_(ids))
        .group_by(submission_files.c.file_id, submissions.c.exam_code, rows.c.state)
    )
    for file_id, exam, state, count in recorded:
        exams[file_id].add(exam)
        if state is not None:
            counts[file_id][state] += count
    return [SentFile(*one, tuple(sorted(exams[one.id])), dict(counts[one.id])) for one in found]


def _causes(conn: Connection, row_ids: Sequence[int]) -> list[tuple[str, int]]:
    many = func.count(findings.c.row_id.distinct())
    found = conn.execute(
        select(findings.c.rule, many)
        .where(findings.c.row_id == func.any(list(row_ids)), findings.c.severity.in_(("error", "hold")))
        .group_by(findings.c.rule)
        .order_by(many.desc(), findings.c.rule)
    )
    return [(str(rule), int(count)) for rule, count in found]

"""How well each city's data was, counted from the ledger: requests, errors, causes; no personal data comes out.

A *request* (申请件) is one 管理号 of one exam in one city's month, however often its row was sent; a row without a
number counts by its ID number. Counting requests, not rows, a city that sends a file twice is no worse for it.

What counts against a city are findings of severity ``error`` on rows that went back as they were judged. A finding
whose appeal was upheld is *excused* and counts no longer.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, TextClause, text

from certflow.month import Month


@dataclass(frozen=True, slots=True)
class CityMonth:
    """What one account sent for one month, in whole numbers that may be added up."""

    month: str
    account: str
    exam_code: str
    requests: int
    faulty: int
    """Requests of which a row went back with an error that is not excused."""
    held: int
    """Requests of which a row had to wait for a person."""
    on_time: int
    """Requests first received before the month ended in Shanghai."""
    unresolved: int
    """Requests that went back or wait, and no later row of theirs was let through."""
    versions: int
    """Submissions of the exam."""
    usable: bool
    """One of them at least did not go back as a whole."""


@dataclass(frozen=True, slots=True)
class CityFiles:
    """Files of one account and month; a name that says no month counts in the month it came."""

    month: str
    account: str
    files: int
    returned: int
    """Went back whole, for an error that is not excused."""
    nil: bool


@dataclass(frozen=True, slots=True)
class Cause:
    """Requests of one account, month and exam that one rule concerned."""

    month: str
    account: str
    exam_code: str
    rule: str
    severity: str
    requests: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """One finding that counts, or counted before it was excused."""

    finding_id: int
    month: str
    account: str
    exam_code: str
    record_id: str
    """Empty: about a file."""
    file_sha256: str
    row_no: int | None
    rule: str
    field: str
    masked: str
    at: datetime
    excused: bool
    late: bool
    """Came after the figures of its period were closed: not in them."""


_JUDGED = """
    WITH judged AS (
        SELECT r.id, r.state, r.record_id, s.id AS submission_id, s.account, s.month, s.exam_code, s.version,
            s.judged_at, coalesce(nullif(r.management_no, ''), nullif(r.id_number, ''), r.record_id) AS request,
            m.to_state AS verdict
        FROM rows r JOIN submissions s ON s.id = r.submission_id
            JOIN moves m ON m.kind = 'row' AND m.object_id = r.id AND m.from_state = 'JUDGED'
        WHERE s.lane = 'month' AND s.month BETWEEN :first AND :last AND m.to_state <> 'IGNORED'
            AND s.judged_at <= coalesce(CAST(:until AS timestamptz), 'infinity') {mine}
    ), excused AS (
        SELECT a.finding_id FROM appeals a JOIN appeal_decisions d ON d.appeal_id = a.id AND d.upheld
    ), faults AS (
        SELECT DISTINCT f.row_id FROM findings f JOIN judged j ON j.id = f.row_id
        WHERE f.severity = 'error' AND j.verdict = 'RETURNED' AND f.id NOT IN (SELECT finding_id FROM excused)
    )
"""
_THROUGH = ("ACCEPTED", "PACKED", "SENT", "PRINTED", "DELIVERED", "CLOSED", "PROOF", "ISSUED", "REFUSED")
"""States of a row that the checks, or a person after them, let through."""


def city_months(conn: Connection, first: str, last: str, until: datetime | None = None) -> list[CityMonth]:
    """Every account, month and exam between two months (both included) that has rows judged `until` then."""
    found = conn.execute(
        _about_judged(
            """
    , received AS (
        SELECT l.submission_id, min(f.received_at) AS at
        FROM submission_files l JOIN files f ON f.id = l.file_id
        WHERE l.submission_id IN (SELECT submission_id FROM judged)
        GROUP BY l.submission_id
    ), requests AS (
        SELECT j.month, j.account, j.exam_code, j.request,
            bool_or(x.row_id IS NOT NULL) AS faulty,
            bool_or(j.verdict = 'HELD') AS held,
            min(v.at) < (to_date(j.month || '01', 'YYYYMMDD') + interval '1 month') AT TIME ZONE 'Asia/Shanghai'
                AS on_time,
            bool_or(j.verdict IN ('RETURNED', 'HELD')) AND NOT bool_or(j.state = ANY(:through)) AS unresolved
        FROM judged j LEFT JOIN faults x ON x.row_id = j.id LEFT JOIN received v USING (submission_id)
        GROUP BY j.month, j.account, j.exam_code, j.request
    ), versions AS (
        SELECT month, account, exam_code, max(version) AS versions,
            coalesce(bool_or(verdict NOT IN ('returned', 'ignored')), false) AS usable
        FROM submissions WHERE lane = 'month'
        GROUP BY month, account, exam_code
    )
    SELECT month, account, exam_code, count(*), count(*) FILTER (WHERE faulty), count(*) FILTER (WHERE held),
        count(*) FILTER (WHERE on_time), count(*) FILTER (WHERE unresolved), max(versions), bool_or(usable)
    FROM requests JOIN versions USING (month, account, exam_code)
    GROUP BY month, account, exam_code ORDER BY month, account, exam_code"""
        ),
        {"first": first, "last": last, "until": until, "through": list(_THROUGH)},
    )
    return [CityMonth(*row) for row in found]


def city_files(conn: Connection, first: str, last: str, until: datetime | None = None) -> list[CityFiles]:
    """Every account and month between two months that sent a file `until` then; no repeats, no ignored files."""
    found = conn.execute(
        text(
            """
    WITH excused AS (
        SELECT a.finding_id FROM appeals a JOIN appeal_decisions d ON d.appeal_id = a.id AND d.upheld
    ), sent AS (
        SELECT f.id, f.account, f.kind, f.state,
            coalesce(f.month, to_char(f.received_at AT TIME ZONE 'Asia/Shanghai', 'YYYYMM')) AS month
        FROM files f WHERE f.lane = 'month' AND f.duplicate_of IS NULL AND f.state <> 'IGNORED'
            AND f.received_at <= coalesce(CAST(:until AS timestamptz), 'infinity')
    ), faults AS (
        SELECT DISTINCT f.file_id FROM findings f
        WHERE f.severity = 'error' AND f.scope = 'file' AND f.id NOT IN (SELECT finding_id FROM excused)
    )
    SELECT month, account, count(*) FILTER (WHERE kind = 'submission'),
        count(*) FILTER (WHERE kind = 'submission' AND state = 'RETURNED' AND x.file_id IS NOT NULL),
        bool_or(kind = 'nil' AND state <> 'RETURNED')
    FROM sent LEFT JOIN faults x ON x.file_id = sent.id
    WHERE month BETWEEN :first AND :last
    GROUP BY month, account ORDER BY month, account"""
        ),
        {"first": first, "last": last, "until": until},
    )
    return [CityFiles(*row) for row in found]


def causes(conn: Connection, first: str, last: str, until: datetime | None = None) -> list[Cause]:
    """Requests by rule: errors that count (not the excused ones), and holds, warnings and infos as they were found."""
    found = conn.execute(
        _about_judged(
            """
    SELECT j.month, j.account, j.exam_code, f.rule, f.severity, count(DISTINCT j.request)
    FROM findings f JOIN judged j ON j.id = f.row_id
    WHERE f.id NOT IN (SELECT finding_id FROM excused) AND (f.severity <> 'error' OR j.verdict = 'RETURNED')
    GROUP BY j.month, j.account, j.exam_code, f.rule, f.severity
    ORDER BY j.month, j.account, j.exam_code, f.rule, f.severity"""
        ),
        {"first": first, "last": last, "until": until},
    )
    return [Cause(*row) for row in found]


def evidence(
    conn: Connection, first: str, last: str, account: str, closed_at: datetime | None = None
) -> list[Evidence]:
    """Every error behind one account's figures, excused ones and those after `closed_at` marked; masked texts only."""
    found = conn.execute(
        _about_judged(
            """
    SELECT f.id, coalesce(j.month, o.month), o.account, coalesce(j.exam_code, ''), coalesce(j.record_id, ''), o.sha256,
        f.row_no, f.rule, coalesce(f.field, ''), f.masked, o.received_at, f.id IN (SELECT finding_id FROM excused),
        coalesce(coalesce(j.judged_at, o.received_at) > CAST(:closed_at AS timestamptz), false)
    FROM findings f JOIN (
            SELECT id, account, sha256, received_at, lane, duplicate_of, state,
                coalesce(month, to_char(received_at AT TIME ZONE 'Asia/Shanghai', 'YYYYMM')) AS month FROM files
        ) o ON o.id = f.file_id
        LEFT JOIN judged j ON j.id = f.row_id
    WHERE f.severity = 'error' AND o.account = :account AND o.lane = 'month' AND o.duplicate_of IS NULL
        AND (j.verdict = 'RETURNED'
            OR f.scope = 'file' AND o.state = 'RETURNED' AND o.month BETWEEN :first AND :last)
    ORDER BY coalesce(j.month, o.month), f.id""",
            of_account=True,
        ),
        {"first": first, "last": last, "until": None, "account": account, "closed_at": closed_at},
    )
    return [Evidence(*row) for row in found]


def changed_months(conn: Connection, since: int) -> tuple[int, set[str]]:
    """The newest link of the audit chain, and the months whose rows moved after the link `since`; of one moment."""
    link, months = conn.execute(
        text(
            "SELECT coalesce((SELECT max(seq) FROM audit), 0), ARRAY("
            "SELECT DISTINCT s.month FROM moves m JOIN rows r ON r.id = m.object_id"
            " JOIN submissions s ON s.id = r.submission_id"
            " WHERE m.audit_seq > :since AND m.kind = 'row' AND :since > 0)"
        ),
        {"since": since},
    ).one()
    return int(link), set(months)


def months_of(period: str) -> tuple[str, str]:
    """First and last month of a period ``YYYYMM`` or ``YYYY``; ValueError for anything else."""
    if len(period) == 4 and period.isascii() and period.isdigit():
        return str(Month.parse(f"{period}01")), f"{period}12"
    return (str(Month.parse(period)),) * 2


def _about_judged(select: str, *, of_account: bool = False) -> TextClause:
    """A query over the rows of the month lane as they were judged, the excused findings and the rows at fault.

    `of_account`: over those of one account alone, the parameter ``account``.
    """
    return text(_JUDGED.format(mine="AND s.account = :account" if of_account else "") + select)

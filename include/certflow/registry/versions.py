"""What the ledger holds of the earlier versions of a submission: its rows, why they were held, and their photos."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, select, text, update

from certflow.findings import Outcome
from certflow.intake.submission import Entry
from certflow.registry.schema import entries, submissions

if TYPE_CHECKING:
    from certflow.checks.judged import Judged
    from certflow.intake.submission import Received


@dataclass(frozen=True, slots=True)
class Before:
    """One row of an earlier version."""

    version: int
    state: str
    sent: Mapping[str, str]
    photo: str | None
    """SHA-256 of its photo."""
    holds: frozenset[str]
    """Rules that hold the row, or held it."""


@dataclass(frozen=True, slots=True)
class EarlierPhoto:
    """A photo of an earlier version that nothing was wrong with, or one of two a row came with; and its file."""

    sent: Mapping[str, str] | None
    """What its row said; None: it is nobody's, and its name says whose it may be (P22, D38)."""
    version: int
    file_id: int
    file_name: str
    file_sha256: str
    file_size: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class Unpictured:
    """Rows of a version that went back because their photos were missing, and the workbook they stand in."""

    file_id: int
    file_name: str
    file_sha256: str
    file_size: int
    rows: frozenset[int]
    """As Excel shows them."""
    entry: Entry


def before(
    conn: Connection, account: str, month: str, exam_code: str, lane: str, *, without: Sequence[int] = ()
) -> tuple[int, list[Before]]:
    """The number of the last version (0: none yet), and every row of all versions but `without`, oldest first."""
    same = (
        submissions.c.account == account, submissions.c.month == month, submissions.c.exam_code == exam_code,
        submissions.c.lane == lane,
    )  # fmt: skip
    count = int(conn.scalar(select(func.coalesce(func.max(submissions.c.version), 0)).where(*same)) or 0)
    keys = {"account": account, "month": month, "exam": exam_code, "lane": lane, "without": [*without]}
    found = conn.execute(text(_ROWS), keys)
    return count, [
        Before(version, state, sent, photo, frozenset(holds)) for version, state, sent, photo, holds in found
    ]


def photos(conn: Connection, account: str, month: str, exam_code: str) -> list[EarlierPhoto]:
    """Photos of all versions, of their rows and those that wait for one, oldest first: what nothing was wrong with.

    And both photos of a row that came with two, whatever else was wrong, until somebody says which one is meant (P23).
    A repeat of a row says nothing of its own.
    """
    found = conn.execute(text(_PHOTOS), {"account": account, "month": month, "exam": exam_code})
    return [
        EarlierPhoto(sent, version, file_id, name, sha256, size, Entry(*entry))
        for sent, version, file_id, name, sha256, size, *entry in found
    ]


def unpictured(conn: Connection, account: str, month: str, exam_code: str) -> list[Unpictured]:
    """What still lacks photos, the newest version first; rows that were sent again since do not count."""
    found = conn.execute(text(_UNPICTURED), {"account": account, "month": month, "exam": exam_code})
    return [
        Unpictured(file_id, name, sha256, size, frozenset(numbers), Entry(*entry))
        for file_id, name, sha256, size, numbers, *entry in found
    ]


def entry_ids(conn: Connection, members: "Iterable[tuple[Received, Entry]]") -> dict[tuple[str, int], int]:
    """(sha256 of the file, ordinal) → id, of entries that are recorded already."""
    known = {(received.file_id, entry.ordinal): received.sha256 for received, entry in members}
    query = select(entries.c.id, entries.c.file_id, entries.c.ordinal).where(
        entries.c.file_id.in_({file_id for file_id, _ in known})
    )
    return {
        (known[file_id, ordinal], ordinal): entry_id
        for entry_id, file_id, ordinal in conn.execute(query)
        if (file_id, ordinal) in known
    }


def settle_photos(conn: Connection, one: "Judged", ids: Mapping[tuple[str, int], int]) -> None:
    """Photos taken from earlier versions go on with the rows that use them now; what went on already stays so."""
    ends = {
        ids[received.sha256, entry.ordinal]: one.entries[received.sha256, entry.ordinal][0]
        for received, entry in one.submission.earlier_photos
    }
    for outcome, over in ((Outcome.HELD, ("returned", "ignored")), (Outcome.ACCEPTED, ("returned", "ignored", "held"))):
        wanted = [entry_id for entry_id, end in ends.items() if end is outcome]
        changed = update(entries).where(entries.c.id == func.any(wanted), entries.c.outcome.in_(over))
        conn.execute(changed.values(outcome=outcome.value, reason=None))


_SAME = "s.account = :account AND s.month = :month AND s.exam_code = :exam"
_ROWS = f"""
    SELECT s.version, r.state, r.sent, e.sha256,
        ARRAY(SELECT DISTINCT n.rule FROM findings n WHERE n.row_id = r.id AND n.severity = 'hold')
    FROM rows r JOIN submissions s ON s.id = r.submission_id LEFT JOIN entries e ON e.id = r.photo_entry_id
    WHERE {_SAME} AND s.lane = :lane AND s.id <> ALL(CAST(:without AS bigint[])) AND NOT EXISTS (
        SELECT FROM submission_files x JOIN purged p ON p.kind = 'files' AND p.object_id = x.file_id
        WHERE x.submission_id = s.id)
    ORDER BY r.id
"""  # noqa: S608 (our own words)
_PHOTOS = f"""
    SELECT o.sent, o.version, f.id, f.name, f.sha256, f.size,
        e.ordinal, e.name, e.raw_name, e.role, e.size, e.packed_size, e.method, e.data_offset, e.crc32, e.sha256
    FROM (
        SELECT r.sent, r.photo_entry_id AS entry_id, s.version, false AS double
        FROM rows r JOIN submissions s ON s.id = r.submission_id
        WHERE {_SAME} AND s.lane = 'month' AND r.state <> 'IGNORED'
        UNION ALL
        SELECT r.sent, n.entry_id, s.version, true
        FROM findings n JOIN rows r ON r.id = n.row_id JOIN submissions s ON s.id = r.submission_id
        WHERE {_SAME} AND s.lane = 'month' AND r.state IN ('HELD', 'RETURNED')
        AND n.rule IN ('PHOTO-DOUBLE', 'ZIP-CASE')
        UNION ALL
        SELECT NULL, w.id, s.version, false
        FROM entries w JOIN submissions s ON s.id = w.submission_id
        WHERE {_SAME} AND s.lane = 'month' AND w.role = 'photo'
        AND (w.outcome = 'held' AND w.reason = 'PHOTO-EXTRA' OR w.reason = 'BOOK-SHIFTED')
    ) o JOIN entries e ON e.id = o.entry_id JOIN files f ON f.id = e.file_id
    WHERE (o.double OR NOT EXISTS (SELECT FROM findings n JOIN submissions s ON s.id = n.submission_id
        WHERE n.entry_id = e.id AND n.severity = 'error' AND {_SAME}))
    AND NOT EXISTS (SELECT FROM purged p WHERE p.kind = 'files' AND p.object_id = f.id)
    ORDER BY o.version, f.id, e.ordinal
"""  # noqa: S608 (our own words)
_UNPICTURED = f"""
    SELECT f.id, f.name, f.sha256, f.size, array_agg(r.row_no),
        e.ordinal, e.name, e.raw_name, e.role, e.size, e.packed_size, e.method, e.data_offset, e.crc32, e.sha256
    FROM submissions s JOIN rows r ON r.submission_id = s.id AND r.state = 'RETURNED'
    JOIN entries e ON e.submission_id = s.id AND e.role = 'workbook' JOIN files f ON f.id = e.file_id
    WHERE {_SAME} AND s.lane = 'month' AND f.state = 'JUDGED'
    AND EXISTS (SELECT FROM findings n WHERE n.row_id = r.id AND n.rule = 'PHOTO-MISSING')
    AND NOT EXISTS (SELECT FROM rows o JOIN submissions t ON t.id = o.submission_id
        WHERE o.management_no = r.management_no AND o.id > r.id AND o.management_no <> ''
        AND t.account = s.account AND t.month = s.month AND t.exam_code = s.exam_code)
    AND NOT EXISTS (SELECT FROM purged p WHERE p.kind = 'files' AND p.object_id = f.id)
    GROUP BY s.id, f.id, e.id ORDER BY s.id DESC
"""  # noqa: S608 (our own words)

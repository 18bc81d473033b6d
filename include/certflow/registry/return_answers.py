"""What the cities are owed about returns: one answer per applied return, city and month, told once.

An answer whose application was taken back before the city had it is never told; one the city has is recalled, once.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

TAG = "RU"
"""First letters of the tags: R an answer, U its recall."""


@dataclass(frozen=True, slots=True)
class ReturnAnswer:
    """One answer, or the recall of one."""

    id: int
    return_id: int
    account: str
    city: str
    month: str
    undone_at: datetime | None
    """When the application it told of was taken back."""

    @property
    def recall(self) -> bool:
        """Whether it takes an answer back."""
        return self.undone_at is not None

    @property
    def tag(self) -> str:
        """Stands in the name of its file, below ``feedback/<account>/``."""
        return f"{'U' if self.recall else 'R'}{self.id:06d}"


@dataclass(frozen=True, slots=True)
class AnsweredRow:
    """What a return said about one row (PII)."""

    record_id: str
    row_no: int
    """In the city's own file."""
    exam_code: str
    management_no: str
    name: str
    id_number: str
    level: str
    specialty: str
    bucket: str
    """printed | refused"""
    serial: str
    printed_on: str
    reason: str


def take_turn(conn: Connection) -> None:
    """One writes the lists at a time, until the transaction ends."""
    conn.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('certflow:return_answers', 0))"))


def owe(conn: Connection, return_id: int) -> None:
    """A return was applied: every city whose rows it answered gets an answer for each month."""
    conn.execute(
        text("""
            INSERT INTO return_answers (return_id, account, month)
            SELECT DISTINCT r.return_id, s.account, s.month
            FROM return_rows r JOIN rows ON rows.id = r.row_id JOIN submissions s ON s.id = rows.submission_id
            WHERE r.return_id = :return_id AND r.applied AND r.undo_id IS NULL ORDER BY s.account, s.month"""),
        {"return_id": return_id},
    )


def owed(conn: Connection, account: str | None = None) -> list[ReturnAnswer]:
    """Answers and recalls nobody was told yet, oldest first; of one city or of all."""
    found = conn.execute(
        text("""
            SELECT a.id, a.return_id, a.account, c.city, a.month, u.at
            FROM return_answers a
            LEFT JOIN return_undos u ON u.id = a.undo_id
            JOIN LATERAL (SELECT s.city FROM submissions s WHERE s.account = a.account AND s.month = a.month
                ORDER BY s.id DESC LIMIT 1) c ON true
            WHERE (CAST(:account AS text) IS NULL OR a.account = :account) AND CASE WHEN a.undo_id IS NULL
                THEN a.answered_at IS NULL ELSE a.answered_at IS NOT NULL AND a.recalled_at IS NULL END
            ORDER BY a.id"""),
        {"account": account},
    )
    return [ReturnAnswer(*row) for row in found]


def told(conn: Connection, answer: ReturnAnswer) -> None:
    """The city has it."""
    column = "recalled_at" if answer.recall else "answered_at"
    conn.execute(text(f"UPDATE return_answers SET {column} = now() WHERE id = :id"), {"id": answer.id})  # noqa: S608 (ours)


def answered_rows(conn: Connection, answer: ReturnAnswer) -> list[AnsweredRow]:
    """The rows an answer tells about, by exam and 管理号; none any more when its application was taken back."""
    found = conn.execute(
        text("""
            SELECT rows.record_id, rows.row_no, s.exam_code, rows.management_no, rows.name, rows.id_number, rows.level,
                rows.specialty, r.bucket, r.serial, r.printed_on, r.reason
            FROM return_rows r JOIN rows ON rows.id = r.row_id JOIN submissions s ON s.id = rows.submission_id
            WHERE r.return_id = :return_id AND r.applied AND r.undo_id IS NULL AND s.account = :account
                AND s.month = :month
            ORDER BY s.exam_code, rows.management_no, rows.id"""),
        {"return_id": answer.return_id, "account": answer.account, "month": answer.month},
    )
    return [AnsweredRow(*row) for row in found]

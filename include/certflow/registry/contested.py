"""What two cities send of one certificate or one person: compared across the ledger, and held in both (D24)."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, insert, select, text, update

from certflow import keys
from certflow.findings import Finding, Outcome, Scope, Severity
from certflow.registry.schema import entries, files, findings, rows, submission_files, submissions

if TYPE_CHECKING:
    from certflow.checks.judged import Judged, JudgedRow


@dataclass(frozen=True, slots=True)
class Contested:
    """An accepted row that is held from now on, because a later submission contests it (D24, P17)."""

    account: str
    month: str
    file_id: int
    row_no: int
    record_id: str
    reason: str
    """Why it waits, as its city is told."""


def elsewhere(
    conn: Connection, id_numbers: Iterable[str], without: Sequence[int] = ()
) -> dict[str, set[tuple[str, str]]]:
    """By ID number, as the ledger emits it: (account, month) of requests of that person that were not turned down.

    `without`: submissions that do not count.
    """
    wanted = sorted({number for number in id_numbers if number.isascii() and number.isalnum()})
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    query = (
        select(rows.c.id_number, submissions.c.account, submissions.c.month)
        .join(submissions, submissions.c.id == rows.c.submission_id)
        .where(
            # One text is a fifth of the work of an array of a hundred thousand.
            rows.c.id_number == func.any(func.string_to_array(" ".join(wanted), " ")),
            rows.c.state.not_in(("RETURNED", "IGNORED", "WITHDRAWN")),
            rows.c.submission_id.not_in(without),
        )
    )
    for number, account, month in conn.execute(query) if wanted else ():
        found[number].add((account, month))
    return dict(found)


def portraits(conn: Connection, digests: Iterable[str], without: Sequence[int] = ()) -> dict[str, set[str]]:
    """By SHA-256 of a photo: the ID numbers of requests still under way that came with exactly this photo (P17)."""
    wanted = sorted(set(digests))
    found: dict[str, set[str]] = defaultdict(set)
    query = (
        select(entries.c.sha256, rows.c.id_number)
        .join(rows, rows.c.photo_entry_id == entries.c.id)
        .where(
            entries.c.sha256 == func.any(wanted),
            rows.c.state.in_(("HELD", "ACCEPTED", "PACKED", "SENT")),
            rows.c.submission_id.not_in(without),
        )
    )
    for digest, number in conn.execute(query) if wanted else ():
        found[digest].add(number)
    return dict(found)


def contest(conn: Connection, account: str, one: "Judged") -> list[Contested]:
    """Hold the accepted rows that this submission contests: another city's 管理号 (D24), another person's photo (P17).

    The graph knows no way back from ACCEPTED to HELD: the accepted row is withdrawn, and a new one that replaces it
    comes into being and is held, until a person decides.
    """
    told: list[Contested] = []
    held = [row for row in one.rows if row.outcome is Outcome.HELD]
    for rule, accepted, reason in (
        ("DUP-CITY", _same_number(conn, account, held), "同一管理号由另一城市同时申报"),
        ("PHOTO-SAME", _same_photo(conn, held), "另一人的申报用了同一张照片"),
    ):
        if accepted:
            told += _hold(conn, accepted, next(f for f in one.findings if f.rule == rule), one.rule_set, reason)
    return told


def _same_number(conn: Connection, account: str, held: "Sequence[JudgedRow]") -> list[int]:
    numbers = sorted({row.emitted["ZSGLH"] for row in held if "DUP-CITY" in row.rules} - {""})
    query = (
        select(rows.c.id)
        .join(submissions, submissions.c.id == rows.c.submission_id)
        .where(
            rows.c.management_no == func.any(numbers), rows.c.state == "ACCEPTED",
            submissions.c.account != account,
        )
        .with_for_update(of=rows)
    )  # fmt: skip
    return list(conn.scalars(query)) if numbers else []


def _same_photo(conn: Connection, held: "Sequence[JudgedRow]") -> list[int]:
    persons: dict[str, set[str]] = defaultdict(set)
    for row in held:
        if "PHOTO-SAME" in row.rules and row.photo is not None and row.photo[1].sha256 is not None:
            persons[row.photo[1].sha256].add(keys.id_key(row.emitted["ZJHM"]))
    query = (
        select(rows.c.id, rows.c.id_number, entries.c.sha256)
        .join(entries, entries.c.id == rows.c.photo_entry_id)
        .where(entries.c.sha256 == func.any(sorted(persons)), rows.c.state == "ACCEPTED")
        .with_for_update(of=rows)
    )
    found = conn.execute(query) if persons else ()
    return [row_id for row_id, number, digest in found if persons[digest] - {keys.id_key(number)}]


def _hold(conn: Connection, accepted: Sequence[int], finding: Finding, rule_set: str, reason: str) -> list[Contested]:
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
        {"ids": [*accepted]},
    )
    held = [int(row_id) for (row_id,) in made]
    conn.execute(update(rows).where(rows.c.id.in_(held)).values(state="HELD"))
    return _tell(conn, held, finding, rule_set, reason)


def _tell(conn: Connection, held: Sequence[int], finding: Finding, rule_set: str, reason: str) -> list[Contested]:
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
        Contested(account, month, file_id, row_no, record_id, reason)
        for _, record_id, row_no, _, account, month, file_id in found
    ]

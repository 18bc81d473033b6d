"""What two cities send of one certificate or one person: compared across the ledger, and held in both (D24)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Connection, func, insert, select, text, update

from certflow.findings import FIELDS, Finding, Outcome, Scope, Severity, listed
from certflow.registry.schema import entries, files, findings, hold_decisions, rows, submission_files, submissions

if TYPE_CHECKING:
    from certflow.checks.judged import Judged, JudgedRow

CANCELLED = "EXAM-CANCELLED"
"""The finding of a row whose exam is cancelled: it gets a proof, no reissue (notice 二(二)2)."""
_SAID = [column.name for column in findings.c if column.name not in ("id", "row_id")]


@dataclass(frozen=True, slots=True)
class Contested:
    """An accepted row, or one that waits for its proof, held from now on: a later submission contests it (D24, P17)."""

    account: str
    month: str
    file_id: int
    row_no: int
    record_id: str
    reason: str
    """Why it waits, as its city is told."""


@dataclass(frozen=True, slots=True)
class Pictured:
    """An accepted row that came with a photo."""

    month: str
    exam_code: str
    management_no: str
    record: str
    photo: str | None
    """SHA-256."""


def elsewhere(
    conn: Connection, id_numbers: Iterable[str], without: Sequence[int] = ()
) -> dict[str, set[tuple[str, str]]]:
    """By ID number, as the ledger emits it: (account, month) of requests of that person that were not turned down.

    `without`: submissions that do not count.
    """
    wanted = _plain(id_numbers)
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    query = (
        select(rows.c.id_number, submissions.c.account, submissions.c.month)
        .join(submissions, submissions.c.id == rows.c.submission_id)
        .where(
            _one_of(wanted),
            rows.c.state.not_in(("RETURNED", "IGNORED", "WITHDRAWN")),
            rows.c.submission_id.not_in(without),
        )
    )
    for number, account, month in conn.execute(query) if wanted else ():
        found[number].add((account, month))
    return dict(found)


def pictured(conn: Connection, id_numbers: Iterable[str], without: Sequence[int] = ()) -> dict[str, list[Pictured]]:
    """By ID number, as the ledger emits it: that person's accepted rows with a photo, oldest first."""
    wanted = _plain(id_numbers)
    found: dict[str, list[Pictured]] = defaultdict(list)
    query = (
        select(
            rows.c.id_number, submissions.c.month, submissions.c.exam_code, rows.c.management_no, rows.c.record_id,
            entries.c.sha256,
        )
        .join(submissions, submissions.c.id == rows.c.submission_id)
        .join(entries, entries.c.id == rows.c.photo_entry_id)
        .where(_one_of(wanted), rows.c.state == "ACCEPTED", rows.c.submission_id.not_in(without))
        .order_by(rows.c.id)
    )  # fmt: skip
    for number, *one in conn.execute(query) if wanted else ():
        found[number].append(Pictured(*one))
    return dict(found)


def _plain(id_numbers: Iterable[str]) -> list[str]:
    return sorted({number for number in id_numbers if number.isascii() and number.isalnum()})


def _one_of(wanted: Sequence[str]) -> ColumnElement[bool]:
    """One text is a fifth of the work of an array of a hundred thousand."""
    return rows.c.id_number == func.any(func.string_to_array(" ".join(wanted), " "))


def contest(conn: Connection, account: str, one: "Judged", row_ids: Mapping[int, int]) -> list[Contested]:
    """Hold the accepted rows that this submission contests: another city's 管理号 (D24), another person's photo (P17).

    A row that waits for its proof is accepted as well; one whose proof is issued stays as it is, and the new one waits.
    `row_ids`: row number → id, of the rows recorded for it. The graph knows no way back from ACCEPTED to HELD: the
    accepted row is withdrawn, and a new one that replaces it comes into being and is held, until a person decides.
    What a person decided between two rows stands when the one that was turned down is sent again as it was.
    """
    held = [row for row in one.rows if row.outcome is Outcome.HELD]
    return [
        *_hold(conn, _same_number(conn, account, one, held), one.rule_set, "同一管理号由另一城市同时申报"),
        *_hold(
            conn, _same_photo(conn, account, one, held, row_ids), one.rule_set, "另一人的申报用了相同或几乎相同的照片"
        ),
    ]


def _decided(conn: Connection, rule: str, account: str, new: "Sequence[JudgedRow]") -> tuple[set[str], set[int]]:
    """What a person decided about this rule: the account's numbers turned down that come unchanged, and rows kept."""
    asked = {_asked(row.sent) for row in new if row.emitted["ZSGLH"]}
    decision = select(hold_decisions.c.id).where(
        hold_decisions.c.kind == "row", hold_decisions.c.object_id == rows.c.id, hold_decisions.c.rules.has_key(rule)
    )
    query = (
        select(rows.c.id, rows.c.management_no, rows.c.sent)
        .join(submissions, submissions.c.id == rows.c.submission_id)
    )  # fmt: skip
    down = query.where(
        rows.c.management_no == func.any(sorted({row.emitted["ZSGLH"] for row in new} - {""})),
        rows.c.state == "RETURNED", submissions.c.account == account,
        decision.where(hold_decisions.c.decision == "return").exists(),
    )  # fmt: skip
    turned_down = {str(number) for _, number, sent in conn.execute(down) if _asked(sent) in asked} if asked else set()
    if not turned_down:
        return set(), set()
    kept = query.where(
        rows.c.state.in_(("ACCEPTED", "PROOF")), decision.where(hold_decisions.c.decision != "return").exists()
    )
    return turned_down, {int(row_id) for row_id, *_ in conn.execute(kept)}


def _asked(sent: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sent.get(name, "") for name in FIELDS if name != "ZP")


def _same_number(conn: Connection, account: str, one: "Judged", held: "Sequence[JudgedRow]") -> dict[int, Finding]:
    """Accepted row → what is to be said of it."""
    numbers = sorted({row.emitted["ZSGLH"] for row in held if "DUP-CITY" in row.rules} - {""})
    turned_down, kept = _decided(conn, "DUP-CITY", account, [row for row in held if "DUP-CITY" in row.rules])
    query = (
        select(rows.c.id, rows.c.management_no)
        .join(submissions, submissions.c.id == rows.c.submission_id)
        .where(
            rows.c.management_no == func.any(numbers), rows.c.state.in_(("ACCEPTED", "PROOF")),
            submissions.c.account != account,
        )
        .with_for_update(of=rows)
    )  # fmt: skip
    found = [
        row_id for row_id, number in (conn.execute(query).tuples() if numbers else ())
        if not (number in turned_down and row_id in kept)
    ]  # fmt: skip
    return {row_id: next(said for said in one.findings if said.rule == "DUP-CITY") for row_id in found}


def _same_photo(
    conn: Connection, account: str, one: "Judged", held: "Sequence[JudgedRow]", row_ids: Mapping[int, int]
) -> dict[int, Finding]:
    """Accepted row → what is to be said of it: what was said of the new one, which it names instead of itself."""
    said = {finding.entry: finding for finding in one.findings if finding.rule == "PHOTO-SAME"}
    new = [row for row in held if row.alike and row.photo is not None and row.photo[1].name in said]
    if not new:
        return {}
    query = select(rows.c.id, rows.c.record_id)
    records = dict(conn.execute(query.where(rows.c.id.in_([row_ids[row.row] for row in new]))).tuples().all())
    rivals = {record: row for row in new for record in row.alike}
    turned_down, kept = _decided(conn, "PHOTO-SAME", account, new)
    accepted = query.where(rows.c.record_id == func.any(sorted(rivals)), rows.c.state == "ACCEPTED").with_for_update()
    found: dict[int, Finding] = {}
    for row_id, record in conn.execute(accepted.order_by(rows.c.id)):
        row = rivals[record]
        if row.emitted["ZSGLH"] in turned_down and row_id in kept:
            continue
        finding, old = said[row.photo[1].name if row.photo else None], listed(row.alike)
        name = records[row_ids[row.row]]
        found[row_id] = replace(
            finding, message=finding.message.replace(old, name), masked=finding.masked.replace(old, name)
        )
    return found


def _hold(conn: Connection, accepted: Mapping[int, Finding], rule_set: str, reason: str) -> list[Contested]:
    if not accepted:
        return []
    conn.execute(update(rows).where(rows.c.id.in_([*accepted])).values(state="WITHDRAWN"))
    copied = [
        column.name for column in rows.c if column.name not in ("id", "record_id", "state", "batch_id", "replaces")
    ]
    kept = ", ".join(copied)
    made = conn.execute(
        text(
            f"INSERT INTO rows (record_id, replaces, state, {kept})"  # noqa: S608 (our own column names)
            f" SELECT record_id || '-H', id, 'HELD', {kept} FROM rows"
            " WHERE id = ANY(CAST(:ids AS bigint[])) RETURNING id, replaces"
        ),
        {"ids": [*accepted]},
    )
    held = {int(row_id): accepted[replaced] for row_id, replaced in made}
    conn.execute(text(_CANCELLED), {"ids": [*held]})
    return _tell(conn, held, rule_set, reason)


_CANCELLED = f"""
    INSERT INTO findings (row_id, {", ".join(_SAID)})
    SELECT r.id, {", ".join(f"n.{name}" for name in _SAID)} FROM rows r
    JOIN findings n ON n.row_id = r.replaces AND n.rule = '{CANCELLED}' WHERE r.id = ANY(CAST(:ids AS bigint[]))
"""  # noqa: S608 (our own column names)
"""What tells that a person can only decide on a proof."""


def _tell(conn: Connection, held: Mapping[int, Finding], rule_set: str, reason: str) -> list[Contested]:
    found = conn.execute(
        select(
            rows.c.id, rows.c.record_id, rows.c.row_no, submissions.c.id, submissions.c.account, submissions.c.month,
            func.min(submission_files.c.file_id),
        )
        .join(submissions, submissions.c.id == rows.c.submission_id)
        .join(submission_files, submission_files.c.submission_id == submissions.c.id)
        .where(rows.c.id.in_([*held]))
        .group_by(rows.c.id, submissions.c.id)
        .order_by(rows.c.id)
    ).all()  # fmt: skip
    conn.execute(
        insert(findings),
        [
            {
                "file_id": file_id, "submission_id": submission_id, "row_id": row_id, "rule": held[row_id].rule,
                "severity": Severity.HOLD.value, "scope": Scope.ROW.value, "row_no": row_no,
                "field": held[row_id].field, "message": held[row_id].message, "masked": held[row_id].masked,
                "remedy": held[row_id].remedy, "rule_set": rule_set,
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

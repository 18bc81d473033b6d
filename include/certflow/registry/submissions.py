"""Submissions in the ledger: what is still to be judged, what was judged, what has to be answered.

Set-based; each function works inside the caller's transaction. States move by INSERT and UPDATE alone: the triggers
check each move and write the audit row.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from certflow import keys
from certflow.errors import Conflict
from certflow.findings import FIELDS, Outcome
from certflow.registry import portraits, versions
from certflow.registry.bulk import insert_many, steps
from certflow.registry.contested import Contested, contest
from certflow.registry.holds import settle_photos
from certflow.registry.schema import (
    batches,
    certificates,
    entries,
    files,
    findings,
    rows,
    submission_files,
    submissions,
)

if TYPE_CHECKING:
    from certflow.checks.judged import Judged, JudgedRow

UNJUDGED = ("RECEIVED", "WAITING")
"""States of a file without a verdict."""
OPEN = ("HELD", "ACCEPTED", "PACKED", "SENT", "PROOF", "ISSUED")
"""States of a row whose certificate or proof is under way: not printed, or not handed out."""
DONE = ("PRINTED", "DELIVERED", "CLOSED")
"""States of a row that led to something: the very same row again asks for nothing new."""
_STATES = {
    Outcome.ACCEPTED: "ACCEPTED",
    Outcome.HELD: "HELD",
    Outcome.RETURNED: "RETURNED",
    Outcome.PROOF: "PROOF",
    Outcome.IGNORED: "IGNORED",
}
_RECORD_LOCK = (4849336, 2)
"""Advisory lock under which rows are compared with the ledger and recorded: two cities may send one 管理号 (D24)."""


@dataclass(frozen=True, slots=True)
class PendingFile:
    """One received file that has no verdict yet, or that nobody was told about."""

    id: int
    lane: str
    kind: str
    name: str
    sha256: str
    size: int
    state: str
    received_at: datetime
    duplicate_of: int | None


@dataclass(frozen=True, slots=True)
class Earlier:
    """What the ledger holds under one 管理号."""

    row_id: int
    account: str
    month: str
    exam_code: str
    version: int
    state: str
    sent: Mapping[str, str]
    photo: str | None
    """SHA-256 of its photo."""

    @property
    def open(self) -> bool:
        """Whether its certificate or proof is under way."""
        return self.state in OPEN

    @property
    def done(self) -> bool:
        """Whether the request led to its certificate or proof."""
        return self.state in DONE

    def but_for_number(self, sent: Mapping[str, str]) -> bool:
        """Whether a row asks for the same, but for the 管理号."""
        return but_for_number(self.sent) == but_for_number(sent)


def but_for_number(sent: Mapping[str, str]) -> tuple[str, ...]:
    """What a row says beside its 管理号: who fills the number in asks for the same."""
    return tuple(_storable(sent.get(name, "")) for name in FIELDS if name not in ("ZSGLH", "ZP"))


@dataclass(frozen=True, slots=True)
class Answer:
    """A file the city has not been answered about yet."""

    file_id: int
    lane: str
    month: str
    """Empty: the name did not say."""

    @property
    def tag(self) -> str:
        """Stands in the name of every answer to this file, below ``feedback/<account>/``."""
        return answer_tag(self.file_id)


def answer_tag(file_id: int) -> str:
    """The mark that every answer to a file carries in its name."""
    return f"F{file_id:06d}"


def pending_files(conn: Connection, account: str) -> list[PendingFile]:
    """Files of an account without a verdict (RECEIVED, WAITING) and repeats nobody was told about, oldest first."""
    found = conn.execute(
        select(
            files.c.id, files.c.lane, files.c.kind, files.c.name, files.c.sha256, files.c.size, files.c.state,
            files.c.received_at, files.c.duplicate_of,
        )
        .where(
            files.c.account == account,
            files.c.state.in_(UNJUDGED)
            | ((files.c.state == "IGNORED") & files.c.answered_at.is_(None)),
        )
        .order_by(files.c.id)
    )  # fmt: skip
    return [PendingFile(*row) for row in found]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A submission of the month lane as the ledger has it."""

    id: int
    account: str
    exam_code: str
    version: int
    stem: str
    files: tuple[int, ...]
    records: Mapping[int, str]
    """Row number → record id, of the rows that are no repeats."""


def recorded(conn: Connection, month: str) -> list[Recorded]:
    """Every submission of a month, by account, exam and version."""
    found = conn.execute(
        select(
            submissions.c.id, submissions.c.account, submissions.c.exam_code, submissions.c.version,
            submissions.c.stem, func.array_agg(submission_files.c.file_id),
        )
        .join(submission_files, submission_files.c.submission_id == submissions.c.id)
        .where(submissions.c.month == month, submissions.c.lane == "month")
        .group_by(submissions.c.id)
        .order_by(submissions.c.account, submissions.c.exam_code, submissions.c.version)
    ).all()  # fmt: skip
    records: dict[int, dict[int, str]] = defaultdict(dict)
    query = select(rows.c.submission_id, rows.c.row_no, rows.c.record_id).where(
        rows.c.submission_id.in_([row[0] for row in found]), rows.c.state.not_in(("IGNORED", "WITHDRAWN"))
    )
    for submission_id, row_no, record_id in conn.execute(query):
        records[submission_id][row_no] = record_id
    return [
        Recorded(number, account, exam_code, version, stem, tuple(sorted(file_ids)), records[number])
        for number, account, exam_code, version, stem, file_ids in found
    ]


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A file as it was received; `month` None: its name does not say."""

    id: int
    name: str
    sha256: str
    size: int
    month: str | None


def received_files(conn: Connection, file_ids: Iterable[int]) -> list[ReceivedFile]:
    """Files by id."""
    query = select(files.c.id, files.c.name, files.c.sha256, files.c.size, files.c.month)
    found = conn.execute(query.where(files.c.id.in_(sorted(set(file_ids)))).order_by(files.c.id))
    return [ReceivedFile(*row) for row in found]


def earlier(conn: Connection, management_nos: Iterable[str], without: Sequence[int] = ()) -> dict[str, list[Earlier]]:
    """By 管理号 every row of the month lane the ledger knows, oldest first; numbers it does not know are absent.

    `without`: submissions that do not count, because their files are judged again.
    """
    wanted = sorted({number for number in management_nos if number and "\0" not in number and number.isprintable()})
    found: dict[str, list[Earlier]] = defaultdict(list)
    if not wanted:
        return found
    query = _EARLIER.where(
        # One text is a fifth of the work of an array of a hundred thousand; no number holds a line break.
        rows.c.management_no == func.any(func.string_to_array("\n".join(wanted), "\n")),
        rows.c.state.not_in(("RETURNED", "IGNORED", "WITHDRAWN")),
        rows.c.submission_id.not_in(without),
    )
    for number, *values in conn.execute(query):
        found[number].append(Earlier(*values))
    return dict(found)


def unnumbered(conn: Connection, id_numbers: Iterable[str], without: Sequence[int] = ()) -> dict[str, list[Earlier]]:
    """By `keys.id_key` the requests of these persons that are under way without a 管理号, oldest first.

    `without`: as in `earlier`.
    """
    wanted = sorted({number for number in id_numbers if number.isascii() and number.isalnum()})
    found: dict[str, list[Earlier]] = defaultdict(list)
    query = _EARLIER.where(
        rows.c.management_no == "", rows.c.state.in_(OPEN), rows.c.submission_id.not_in(without),
        rows.c.id_number == func.any(func.string_to_array(" ".join(wanted), " ")),
    )  # fmt: skip
    for _, *values, id_number in conn.execute(query.add_columns(rows.c.id_number)) if wanted else ():
        found[keys.id_key(id_number)].append(Earlier(*values))
    return dict(found)


def database_loaded(conn: Connection) -> bool:
    """Whether the certificate database holds anything to compare with."""
    return bool(conn.scalar(select(select(certificates.c.id).limit(1).exists())))


def known_files(conn: Connection, digests: Iterable[str], account: str | None, without: Iterable[int]) -> set[str]:
    """Those of the digests that the month lane received before, from `account` (None: anybody), in other files.

    Nil reports aside, which are known by their names.
    """
    query = select(files.c.sha256).where(
        files.c.sha256.in_(sorted(set(digests))),
        files.c.lane == "month",
        files.c.kind != "nil",
        files.c.duplicate_of.is_(None),
        files.c.id.not_in(sorted(without)),
    )
    if account is not None:
        query = query.where(files.c.account == account)
    return set(conn.scalars(query))


def still_returned(conn: Connection, file_id: int) -> int:
    """Rows of a file that went back and were not sent again since."""
    newer, again = rows.alias(), submissions.alias()
    sent_again = (
        select(newer.c.id)
        .join(again, again.c.id == newer.c.submission_id)
        .where(
            newer.c.management_no == rows.c.management_no, newer.c.id > rows.c.id, newer.c.management_no != "",
            again.c.account == submissions.c.account,
        )
        .exists()
    )  # fmt: skip
    query = (
        select(func.count())
        .select_from(submission_files.join(submissions).join(rows))
        .where(submission_files.c.file_id == file_id, rows.c.state == "RETURNED", ~sent_again)
    )
    return int(conn.scalar(query) or 0)


def frozen_months(conn: Connection) -> set[str]:
    """Months that have a batch: nothing waits for a partner there any more, unless it was reopened."""
    reopened = select(batches.c.month).where(batches.c.reopened_at.is_not(None))
    return set(conn.scalars(select(batches.c.month).where(batches.c.month.not_in(reopened)).distinct()))


def hold_recording(conn: Connection) -> None:
    """Let nobody else record rows until this transaction ends."""
    conn.execute(text("SELECT pg_advisory_xact_lock(:one, :two)"), dict(zip(("one", "two"), _RECORD_LOCK, strict=True)))


def open_nest(conn: Connection, file_id: int) -> None:
    """A city zip ends as opened: what it held is received file by file (Z16). Conflict when it has a verdict."""
    opened = update(files).where(files.c.id == file_id, files.c.state == "RECEIVED")
    if not conn.execute(opened.values(state="UNPACKED", kind="other")).rowcount:
        raise Conflict("该文件已由另一个运行处理，本次未保存任何内容")
    conn.execute(update(files).where(files.c.id == file_id).values(state="JUDGED"))


def let_wait(conn: Connection, file_ids: Sequence[int]) -> None:
    """RECEIVED → WAITING for files whose partner has not arrived."""
    conn.execute(update(files).where(files.c.id.in_(file_ids), files.c.state == "RECEIVED").values(state="WAITING"))


def record(
    conn: Connection,
    account: str,
    lane: str,
    judged: Sequence["Judged"],
    before: Sequence[str] = UNJUDGED,
    *,
    left: bool = False,
) -> list[Contested]:
    """Write what was judged: submissions, entries, rows, findings, and every move of state.

    Conflict when a file of `account` is in no state of `before`: judged by somebody else meanwhile. With `left` the
    files stay in it: there is more in them that waits. A trial leaves findings but no rows. Call `hold_recording`
    first.
    """
    _move_files(conn, judged, before, left=left)
    contested: list[Contested] = []
    beside: list[int] = []
    for one in judged:
        submission_id = _record_submission(conn, account, lane, one)
        entry_ids = _record_entries(conn, submission_id, one)
        earlier_ids: dict[tuple[str, int], int] = {}
        row_ids: dict[int, int] = {}
        if submission_id is not None and lane == "month":
            earlier_ids = versions.entry_ids(conn, one.submission.earlier_photos)
            row_ids = _record_rows(conn, account, submission_id, one, entry_ids | earlier_ids, beside=beside)
            beside.append(submission_id)
            portraits.record(conn, one, entry_ids | earlier_ids)
            versions.settle_photos(conn, one, earlier_ids)
            contested += contest(conn, account, one, row_ids)
        _record_findings(conn, submission_id, one, entry_ids | earlier_ids, row_ids)
    return contested


def unanswered(conn: Connection, account: str) -> list[Answer]:
    """Files with a verdict the city has not been told, or whose waiting it has not, oldest first."""
    found = conn.execute(
        select(files.c.id, files.c.lane, func.coalesce(files.c.month, ""))
        .where(
            files.c.account == account,
            files.c.answered_at.is_(None),
            files.c.state.in_(("WAITING", "JUDGED", "RETURNED", "HELD", "IGNORED")),
        )
        .order_by(files.c.id)
    )
    return [Answer(*row) for row in found]


def mark_answered(conn: Connection, file_ids: Sequence[int]) -> None:
    """Record that the answers to these files lie in the city's folder."""
    conn.execute(update(files).where(files.c.id.in_(file_ids)).values(answered_at=func.now()))


def _move_files(conn: Connection, judged: Sequence["Judged"], before: Sequence[str], *, left: bool) -> None:
    verdicts: dict[int, list[Judged]] = defaultdict(list)
    for one in judged:
        for received in one.submission.files:
            if received.file_id is not None:
                verdicts[received.file_id].append(one)
    ends = {file_id: _file_state(ones) for file_id, ones in verdicts.items()}
    held = conn.execute(
        select(files.c.id).where(files.c.id.in_(sorted(ends)), files.c.state.in_(before)).with_for_update()
    ).all()
    if len(held) != len(ends):
        raise Conflict("这些文件已由另一个运行判定，本次未保存任何内容")
    if left:
        conn.execute(update(files).where(files.c.id.in_(sorted(ends))).values(answered_at=None))
        return
    opened = [file_id for file_id, (state, _) in ends.items() if state == "JUDGED"]
    conn.execute(update(files).where(files.c.id.in_(opened), files.c.state != "HELD").values(state="UNPACKED"))
    values = [
        (file_id, state, reason, next((str(one.month) for one in verdicts[file_id] if one.month is not None), None))
        for file_id, (state, reason) in ends.items()
    ]
    ids, states, reasons, months = (
        (list(column) for column in zip(*values, strict=True)) if values else ([], [], [], [])
    )
    conn.execute(
        text(
            "UPDATE files f SET state = v.state, reason = v.reason, month = v.month, answered_at = NULL"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:states AS text[]), CAST(:reasons AS text[]),"
            " CAST(:months AS text[])) AS v(id, state, reason, month) WHERE f.id = v.id"
        ),
        {"ids": ids, "states": states, "reasons": reasons, "months": months},
    )


def _file_state(ones: Sequence["Judged"]) -> tuple[str, str | None]:
    """End and deciding rule of a file, which may hold several exams: judged where any of them was.

    One that is held and cannot be recorded holds the file, so that a person can say what it is (N02, N06).
    """
    for one in ones:
        if one.file_outcome is Outcome.HELD and not _placed(one):
            return "HELD", one.file_reason
    outcomes = [one.file_outcome for one in ones]
    for outcome, state in (
        (Outcome.ACCEPTED, "JUDGED"),
        (Outcome.HELD, "HELD"),
        (Outcome.RETURNED, "RETURNED"),
        (Outcome.IGNORED, "IGNORED"),
    ):
        if outcome in outcomes:
            return state, ones[outcomes.index(outcome)].file_reason
    return "JUDGED", None


def _placed(one: "Judged") -> bool:
    """Whether the name says whose and which it is."""
    return one.month is not None and one.exam_code is not None and one.city is not None


def _record_submission(conn: Connection, account: str, lane: str, one: "Judged") -> int | None:
    """The id; None where the name does not say whose and which it is, or the file is a repeat."""
    if not _placed(one) or one.file_outcome is Outcome.IGNORED:
        return None
    same = (
        submissions.c.month == str(one.month), submissions.c.account == account,
        submissions.c.exam_code == one.exam_code, submissions.c.lane == lane,
    )  # fmt: skip
    version = int(conn.scalar(select(func.coalesce(func.max(submissions.c.version), 0) + 1).where(*same)) or 1)
    values = {
        "month": str(one.month), "account": account, "city": one.city, "exam_code": one.exam_code, "version": version,
        "lane": lane, "stem": _storable(one.submission.stem), "verdict": one.verdict.value, "rule_set": one.rule_set,
    }  # fmt: skip
    submission_id = int(conn.execute(insert(submissions).values(values).returning(submissions.c.id)).scalar_one())
    book = one.submission.earlier_book
    links = [
        {"submission_id": submission_id, "file_id": received.file_id}
        for received in (*one.submission.files, *([book[0]] if book is not None else []))
        if received.file_id is not None
    ]
    conn.execute(insert(submission_files), links)
    return submission_id


def _record_entries(conn: Connection, submission_id: int | None, one: "Judged") -> dict[tuple[str, int], int]:
    """(sha256 of the file, ordinal) → id."""
    values = (
        {
            "file_id": received.file_id, "submission_id": submission_id, "ordinal": entry.ordinal,
            "name": _storable(entry.name), "raw_name": entry.raw_name, "role": entry.role, "size": entry.size,
            "packed_size": entry.packed_size, "method": entry.method, "data_offset": entry.data_offset,
            "crc32": entry.crc32, "sha256": entry.sha256, "outcome": outcome.value, "reason": reason or None,
        }
        for received, entry in one.members if received.file_id is not None
        for outcome, reason in (one.entries[received.sha256, entry.ordinal],)
    )  # fmt: skip
    digests = {received.file_id: received.sha256 for received in one.submission.files}
    found: dict[tuple[str, int], int] = {}
    for step in steps(values):
        new, given = insert_many(entries, step)
        again = new.on_conflict_do_update(  # a held file that a person had judged again
            index_elements=["file_id", "ordinal"],
            set_={name: new.excluded[name] for name in ("submission_id", "outcome", "reason")},
        )
        made = conn.execute(again.returning(entries.c.id, entries.c.file_id, entries.c.ordinal), given)
        found |= {(digests[file_id], ordinal): entry_id for entry_id, file_id, ordinal in made}
    return found


def _record_rows(
    conn: Connection,
    account: str,
    submission_id: int,
    one: "Judged",
    entry_ids: Mapping[tuple[str, int], int],
    *,
    beside: Sequence[int],
) -> dict[int, int]:
    """Row number → id; `beside`: submissions judged together with this one, none newer than the other (Z45)."""
    if not one.rows:
        return {}
    prefix = f"{account}-{one.month}-{one.exam_code}-"
    same = rows.c.record_id.startswith(prefix, autoescape=True)
    first = 1 + int(conn.scalar(select(func.count()).select_from(rows).where(same)) or 0)
    superseded = _supersede(conn, account, one, beside) if one.file_outcome is not Outcome.RETURNED else {}
    values = (
        {
            "submission_id": submission_id, "record_id": f"{prefix}{number:06d}", "row_no": row.row,
            "state": "IGNORED" if _repeats(row) else _STATES[row.outcome],
            "sent": {name: _storable(value) for name, value in row.sent.items()},
            "certificate_id": row.certificate_id,
            **{column: _storable(emitted[field]) for field, column in _COLUMNS.items()},
            "photo_entry_id": entry_ids.get((row.photo[0].sha256, row.photo[1].ordinal)) if row.photo else None,
            "replaces": superseded.get(row.row),
        }
        for number, row in enumerate(one.rows, start=first)
        for emitted in (row.emitted,)
    )  # fmt: skip
    row_ids: dict[int, int] = {}
    for step in steps(values):
        new, given = insert_many(rows, step)
        made = conn.execute(new.returning(rows.c.id, rows.c.row_no), given)
        row_ids |= {row_no: row_id for row_id, row_no in made}
    return row_ids


def _repeats(row: "JudgedRow") -> bool:
    """Whether another row of the ledger is this one's request already."""
    return row.stands or row.outcome is Outcome.IGNORED


def _supersede(conn: Connection, account: str, one: "Judged", beside: Sequence[int]) -> dict[int, int]:
    """Held rows that this newer version of the same submission replaces go back; row number → id of the replaced row.

    Not those of `beside`.
    """
    numbers = {row.row: _storable(row.emitted["ZSGLH"]) for row in one.rows if not _repeats(row)}
    query = (
        select(rows.c.management_no, rows.c.id, rows.c.id_number, rows.c.sent)
        .join(submissions, submissions.c.id == rows.c.submission_id)
        .where(
            rows.c.state == "HELD", submissions.c.account == account, submissions.c.month == str(one.month),
            submissions.c.exam_code == one.exam_code,
            rows.c.management_no == func.any(sorted({*numbers.values(), ""})), rows.c.submission_id.not_in(beside),
        )
        .order_by(rows.c.id)
    )  # fmt: skip
    found = conn.execute(query).all()
    numbered = {str(held.management_no): int(held.id) for held in found if held.management_no}
    replaced = {row: numbered[number] for row, number in numbers.items() if number in numbered}
    gone = {int(held.id) for held in found if held.management_no}
    nameless = [held for held in found if not held.management_no]
    persons: dict[str, list[JudgedRow]] = defaultdict(list)
    for row in one.rows if nameless else ():
        persons[keys.id_key(row.emitted["ZJHM"])].append(row)
    for held in nameless:
        if instead := _instead(persons.get(keys.id_key(held.id_number), ()), held.sent):
            gone.add(int(held.id))
            replaced |= dict.fromkeys(instead, int(held.id))
    conn.execute(update(rows).where(rows.c.id == func.any(sorted(gone))).values(state="RETURNED"))
    settle_photos(conn, sorted(gone))
    return replaced


def _instead(own: "Sequence[JudgedRow]", sent: Mapping[str, str]) -> list[int]:
    """Of a person's rows those that replace what was asked for without a 管理号: without one, or the same with one.

    None where such a row goes on as it was.
    """
    if any(_repeats(row) and not row.emitted["ZSGLH"] for row in own):
        return []
    return [
        row.row
        for row in own
        if not _repeats(row) and (not row.emitted["ZSGLH"] or but_for_number(row.sent) == but_for_number(sent))
    ]


def _record_findings(
    conn: Connection,
    submission_id: int | None,
    one: "Judged",
    entry_ids: Mapping[tuple[str, int], int],
    row_ids: Mapping[int, int],
) -> None:
    """A finding about an earlier version's photo is one of this file: it speaks of a row in it."""
    own = one.submission.files
    places = {entry.name: (origin, entry) for origin, entry in (*one.submission.earlier_photos, *one.members)}
    values = (
        {
            "file_id": received.file_id, "submission_id": submission_id,
            "row_id": row_ids.get(finding.row) if finding.row is not None else None,
            "entry_id": entry_ids.get((origin.sha256, entry.ordinal)) if entry is not None else None,
            "rule": finding.rule, "severity": finding.severity.value, "scope": finding.scope.value,
            "row_no": finding.row, "field": finding.field, "message": _storable(finding.message),
            "masked": _storable(finding.masked), "remedy": finding.remedy,
            "sent": None if finding.sent is None else _storable(finding.sent),
            "registry": None if finding.registry is None else _storable(finding.registry),
            "rule_set": one.rule_set,
        }
        for finding in one.findings
        for origin, entry in (places.get(finding.entry or "", (own[0], None)),)
        for received in (origin if origin in own else own[0],)
        if received.file_id is not None
    )  # fmt: skip
    for step in steps(values):
        conn.execute(*insert_many(findings, step))


_EARLIER: Any = (
    select(
        rows.c.management_no, rows.c.id, submissions.c.account, submissions.c.month, submissions.c.exam_code,
        submissions.c.version, rows.c.state, rows.c.sent, entries.c.sha256,
    )
    .join(submissions, submissions.c.id == rows.c.submission_id)
    .outerjoin(entries, entries.c.id == rows.c.photo_entry_id)
    .order_by(rows.c.id)
)  # fmt: skip
"""管理号, and every column of `Earlier`."""

_COLUMNS = {
    "ZSGLH": "management_no", "KSXM": "name", "ZJHM": "id_number", "ZJLB": "id_type", "XB": "sex", "BKJB": "level",
    "BKZY": "specialty", "CSNY": "birth_month", "PZRQ": "approved_on", "BMS": "city",
}  # fmt: skip


def _storable(value: str) -> str:
    """Text PostgreSQL can hold: NUL and halves of surrogate pairs (E46) are written as escapes."""
    if value.isprintable():  # nearly all
        return value
    return value.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")

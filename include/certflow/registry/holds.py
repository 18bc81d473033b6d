"""What waits for a person, in one queue: held rows, held files, held photos that belong to no row; and the decisions.

A row or photo of a held file waits inside its file: the file is decided first. Trial files wait for nobody. Set-based;
each function works inside the caller's transaction, and the triggers check and record every move of state.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, text, update

from certflow import keys
from certflow.errors import Conflict
from certflow.registry.contested import CANCELLED
from certflow.registry.packages import Photo
from certflow.registry.schema import certificates, entries, files, hold_decisions, rows, submissions

LIMIT_DAYS = 31
"""What waits for a person longer than a month has missed a whole supplementary batch (I12)."""


UNTIED = "没有对应到证书数据库中的证书，开不出证明；请查明管理号（数据库中没有这本证书的先补录），请该市补填后重报"
"""What is to be done about a row of a cancelled exam that is tied to no certificate, so that no proof can be made."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why something is held, or what else was found about it; `message`, `sent` and `registry` are personal data."""

    rule: str
    field: str | None
    message: str
    masked: str
    remedy: str
    sent: str | None
    registry: str | None
    photo: str | None
    """The photo it is about, as people call it."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One thing that waits for a person."""

    kind: str
    """row | file | photo"""
    id: int
    """In `rows`, `files` or `entries`."""
    record: str
    """What people call it: the record id, ``F000012`` for a file, ``F000012-0007`` for a photo."""
    account: str
    month: str
    """Empty: the file's name does not say."""
    exam_code: str
    file_id: int
    row_no: int | None
    """As Excel shows it."""
    rows: int
    """Held rows that wait with it."""
    since: datetime
    evidence: tuple[Evidence, ...]
    """What holds it; empty for a sound row that waits for the others of its file (setting `partial_files`)."""
    cancelled: bool = False
    """The row's exam is cancelled."""
    tied: bool = True
    """The row is tied to a certificate of the database."""

    @property
    def age_days(self) -> int:
        """Whole days since it was held."""
        return (datetime.now(UTC) - self.since).days

    @property
    def rules(self) -> tuple[str, ...]:
        """Codes of the rules that hold it."""
        return tuple(dict.fromkeys(one.rule for one in self.evidence))


@dataclass(frozen=True, slots=True)
class Told:
    """A decision its city has not been told; carries personal data."""

    id: int
    kind: str
    record: str
    decision: str
    reason: str
    file_id: int
    row_no: int | None
    sent: Mapping[str, str]
    evidence: tuple[Evidence, ...]
    partly: bool
    """A file of which other exams stay."""
    stem: str
    """Name of the row's workbook, as it was read; empty for a file or a photo."""


def queue(
    conn: Connection,
    *,
    account: str | None = None,
    exam_code: str | None = None,
    month: str | None = None,
    records: Sequence[str] | None = None,
    lock: bool = False,
    limit: int | None = None,
) -> list[Hold]:
    """Everything that waits, the oldest first; narrowed where asked, with a `limit` to the first so many of each kind.

    With `lock` nobody else decides about it until the end of the transaction.
    """
    keys = {
        "account": account, "exam": exam_code, "month": month, "records": None if records is None else [*records],
        "limit": limit,
    }  # fmt: skip
    found = []
    for query in (_ROWS, _FILES, _PHOTOS):
        words = f"{query.text} LIMIT :limit{query.lock if lock else ''}"
        found += [row._mapping for row in conn.execute(text(words), keys)]  # noqa: SLF001 (SQLAlchemy's public name for access by column)
    about = _evidence(conn, [submission for one in found for submission in one["submissions"]],
                      [one["id"] for one in found if one["kind"] == "file"])  # fmt: skip
    holds = [
        Hold(
            kind=one["kind"], id=one["id"], record=one["record"], account=one["account"], month=one["month"],
            exam_code=one["exam_code"], file_id=one["file_id"], row_no=one["row_no"], rows=one["rows"],
            since=one["since"], evidence=about.holding(one), cancelled=one["cancelled"],
            tied=one["tied"],
        )
        for one in found
    ]  # fmt: skip
    return sorted(holds, key=lambda one: (one.since, one.record))


def decided(conn: Connection, record: str) -> tuple[str, str, datetime] | None:
    """The last decision about a record: what, who, when; None when nobody decided."""
    row = conn.execute(
        select(hold_decisions.c.decision, hold_decisions.c.by, hold_decisions.c.at)
        .where(hold_decisions.c.record == record)
        .order_by(hold_decisions.c.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else (str(row.decision), str(row.by), row.at)


def unprovable(conn: Connection) -> list[tuple[str, datetime]]:
    """Rows that wait for a proof and are tied to no certificate, so that none can be made: record id, when judged."""
    query = select(rows.c.record_id, submissions.c.judged_at).join(submissions)
    query = query.where(rows.c.state == "PROOF", rows.c.certificate_id.is_(None), submissions.c.lane == "month")
    return [(str(record), at) for record, at in conn.execute(query.order_by(rows.c.id))]


def both_sides(conn: Connection, row_id: int) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The 11 values of a row as its city sent them, and what its certificate in the database says (PII); by field."""
    columns = {field: certificates.c[name] for field, name in _REGISTERED.items()}
    found = conn.execute(
        select(rows.c.sent, rows.c.certificate_id, *columns.values())
        .outerjoin(certificates, certificates.c.id == rows.c.certificate_id)
        .where(rows.c.id == row_id)
    ).one()
    known = {} if found.certificate_id is None else dict(zip(columns, found[2:], strict=True))
    return dict(found.sent), {field: str(value or "") for field, value in known.items()}


def emit(conn: Connection, row_id: int, values: Mapping[str, str]) -> bool:
    """Make these values, by field, what goes up of a held row; False where neither name nor number is the row's."""
    same = (rows.c.name == values["KSXM"]) | (rows.c.id_number == values["ZJHM"])
    columns = {_REGISTERED[field]: value for field, value in values.items()}
    done = update(rows).where(rows.c.id == row_id, rows.c.state == "HELD", same).values(columns)
    return conn.execute(done).rowcount == 1


def photos_of(conn: Connection, hold: Hold) -> dict[str, Photo]:
    """The photos a line of the queue is about, as people call them, the one that would be printed first."""
    if hold.kind == "file":
        return {}
    found = conn.execute(text(_PHOTOS_OF), {"id": hold.id, "ids": [hold.id], "row": hold.kind == "row"})
    return {str(tag): Photo(*rest) for tag, *rest in found}


def rivals(conn: Connection, row_ids: Sequence[int]) -> list[tuple[str, str]]:
    """(record, other record) where the 管理号 of a held row is under way in another row already (I3).

    Without a number: where the person has another such request of the exam and month, or two of these are his.
    """
    found = conn.execute(
        text(
            "SELECT r.record_id, o.record_id FROM rows r JOIN rows o ON o.management_no = r.management_no"
            " AND o.id <> r.id AND o.state IN ('ACCEPTED', 'PACKED', 'SENT', 'PROOF', 'ISSUED')"
            " WHERE r.id = ANY(CAST(:ids AS bigint[])) AND r.management_no <> '' ORDER BY 1, 2"
        ),
        {"ids": [*row_ids]},
    )
    nameless = conn.execute(text(_NAMELESS), {"ids": [*row_ids]})
    return [
        *((str(one), str(other)) for one, other in found),
        *((str(one), str(other)) for one, other, own, their in nameless if keys.id_key(own) == keys.id_key(their)),
    ]


def give_way(conn: Connection, row_ids: Sequence[int]) -> None:
    """Accepted rows in no package are withdrawn: these newer versions of them take their place."""
    gone: dict[int, int] = dict(conn.execute(text(_GIVE_WAY), {"ids": [*row_ids]}).tuples().all())
    for new, old in gone.items():
        conn.execute(update(rows).where(rows.c.id == new, rows.c.replaces.is_(None)).values(replaces=old))
    settle_photos(conn, [*gone.values()])


def move_rows(conn: Connection, row_ids: Sequence[int], state: str) -> None:
    """HELD → ACCEPTED, PROOF or RETURNED, and the photos with them. Conflict when a 管理号 is open elsewhere (I3)."""
    if row_ids:
        conn.execute(update(rows).where(rows.c.id == func.any([*row_ids]), rows.c.state == "HELD").values(state=state))
        settle_photos(conn, row_ids)


def photo_of(conn: Connection, row_id: int, record: str) -> int:
    """The entry of a photo that came with a row, or with another one of its person that goes up with it.

    `record`: what people call it; Conflict when it is none of these photos.
    """
    found = conn.scalar(text(_PHOTO_OF), {"ids": [row_id], "record": record})
    if found is None:
        raise Conflict(f"{record} 不是这一行的照片")
    return int(found)


def choose_photo(conn: Connection, row_id: int, entry_id: int) -> None:
    """Make one of several photos of a row the one that is printed, here and in the rows that go up with it.

    These are the person's other accepted rows of its month and exam that came with a photo.
    """
    others = conn.scalars(text(f"SELECT o.id {_BESIDE} ORDER BY o.id FOR UPDATE OF o"), {"ids": [row_id]}).all()
    mine = rows.c.id.in_([row_id, *others])
    before = conn.scalars(select(rows.c.photo_entry_id).where(mine)).all()
    conn.execute(update(rows).where(mine).values(photo_entry_id=entry_id))
    if others:
        conn.execute(text(_CHOSEN), {"chosen": entry_id, "before": [*before]})


def share_photo(conn: Connection, row_ids: Sequence[int]) -> int:
    """The photo of each of these accepted rows is printed in the rows that go up with it; how many had another one."""
    apart = conn.execute(text(_APART), {"ids": [*row_ids]}).all()
    for row_id, entry_id in apart:
        choose_photo(conn, row_id, entry_id)
    return len(apart)


def accepted_row(conn: Connection, record: str) -> int | None:
    """The id of an accepted row that is in no package; None when there is none."""
    return conn.scalar(select(rows.c.id).where(rows.c.record_id == record, rows.c.state == "ACCEPTED"))


def settle_photos(conn: Connection, row_ids: Sequence[int]) -> None:
    """Held photos of these rows end like them: accepted with the best of their rows, held while one is, else back."""
    conn.execute(text(_SETTLE), {"ids": [*row_ids]})


def judge_file(conn: Connection, file_ids: Sequence[int]) -> tuple[int, int]:
    """HELD → JUDGED: sound rows go on, rows with a hold of their own stay in the queue; how many of each.

    In the queue stays as well what is under way in another row already, or in one of these files (I3).
    """
    keys = {"files": [*file_ids]}
    found = conn.execute(text(_ROWS_OF_FILES), keys).all()
    ends: dict[str, list[int]] = defaultdict(list)
    for row_id, own, cancelled in found:
        ends["HELD" if own else "PROOF" if cancelled else "ACCEPTED"].append(row_id)
    for state in ("ACCEPTED", "PROOF"):
        move_rows(conn, ends[state], state)
    conn.execute(update(files).where(files.c.id.in_(file_ids)).values(state="JUDGED", reason=None))
    conn.execute(text(_REST_OF_FILES), keys | {"outcome": "accepted"})
    conn.execute(text(_VERDICTS), keys)
    return len(found) - len(ends["HELD"]), len(ends["HELD"])


def return_files(conn: Connection, file_ids: Sequence[int]) -> None:
    """HELD → RETURNED, with every row and entry that waited in the file; → JUDGED where other exams in it stay."""
    keys = {"files": [*file_ids]}
    move_rows(conn, [row_id for row_id, *_ in conn.execute(text(_ROWS_OF_FILES), keys)], "RETURNED")
    conn.execute(text(_REST_OF_FILES), keys | {"outcome": "returned"})
    conn.execute(text(_VERDICTS), keys)
    conn.execute(text(_RETURNED), keys)


def return_photos(conn: Connection, entry_ids: Sequence[int]) -> None:
    """Held photos that belong to no row go back."""
    conn.execute(update(entries).where(entries.c.id == func.any([*entry_ids])).values(outcome="returned"))


def companions(conn: Connection, file_id: int) -> list[int]:
    """The file and the held files that make one submission with it."""
    found = conn.scalars(
        text(
            "SELECT DISTINCT f.id FROM submission_files a JOIN submission_files b ON b.submission_id = a.submission_id"
            " JOIN files f ON f.id = b.file_id AND f.state = 'HELD' WHERE a.file_id = :file"
        ),
        {"file": file_id},
    )
    return sorted({file_id, *found})


def not_let_in(conn: Connection, account: str, without: Sequence[int]) -> set[tuple[str, str]]:
    """Receipt number and exam code of an account's files that wait as a whole, or that a person sent back so.

    Not where a newer version took their place. `without`: submissions that do not count, as their files are judged
    again.
    """
    found = conn.execute(text(_NOT_LET_IN), {"account": account, "without": [*without]})
    return {(str(tag), str(exam)) for tag, exam in found}


def close_files(conn: Connection, submission_ids: Sequence[int]) -> None:
    """Rows still held in these submissions end: their files were judged anew under another name."""
    left = conn.scalars(select(rows.c.id).where(rows.c.submission_id.in_(submission_ids), rows.c.state == "HELD")).all()
    move_rows(conn, left, "RETURNED")
    conn.execute(update(submissions).where(submissions.c.id.in_(submission_ids)).values(verdict="returned"))


def submissions_of(conn: Connection, file_ids: Sequence[int]) -> list[int]:
    """Submissions recorded for these files."""
    query = text("SELECT DISTINCT submission_id FROM submission_files WHERE file_id = ANY(CAST(:files AS bigint[]))")
    return sorted(conn.scalars(query, {"files": [*file_ids]}))


def recorded_entries(conn: Connection, file_ids: Sequence[int]) -> set[tuple[int, int]]:
    """File and ordinal of every entry of these files that belongs to a submission."""
    query = select(entries.c.file_id, entries.c.ordinal)
    query = query.where(entries.c.file_id.in_(file_ids), entries.c.submission_id.is_not(None))
    return {(int(file_id), int(ordinal)) for file_id, ordinal in conn.execute(query)}


def record_decisions(conn: Connection, holds: Iterable[Hold], decision: str, by: str, reason: str) -> None:
    """Write down what was decided about each, and by which rules it had been held."""
    conn.execute(
        insert(hold_decisions),
        [
            {
                "kind": one.kind, "object_id": one.id, "record": one.record, "file_id": one.file_id,
                "decision": decision, "by": by, "reason": reason, "rules": list(one.rules),
            }
            for one in holds
        ],
    )  # fmt: skip


def untold(conn: Connection, account: str) -> list[Told]:
    """Decisions about an account's things that no notice speaks of yet, in the order they were made."""
    found = conn.execute(
        select(
            hold_decisions.c.id, hold_decisions.c.kind, hold_decisions.c.record, hold_decisions.c.decision,
            hold_decisions.c.reason, hold_decisions.c.file_id, hold_decisions.c.object_id, rows.c.row_no, rows.c.sent,
            rows.c.submission_id, rows.c.photo_entry_id, files.c.state,
            func.coalesce(submissions.c.stem, "").label("stem"),
        )
        .join(files, files.c.id == hold_decisions.c.file_id)
        .outerjoin(rows, (hold_decisions.c.kind == "row") & (rows.c.id == hold_decisions.c.object_id))
        .outerjoin(submissions, submissions.c.id == rows.c.submission_id)
        .where(files.c.account == account, hold_decisions.c.told_at.is_(None))
        .order_by(hold_decisions.c.id)
    ).all()  # fmt: skip
    about = _evidence(conn, [one.submission_id for one in found if one.submission_id is not None],
                      [one.object_id for one in found if one.kind == "file"])  # fmt: skip
    return [
        Told(
            one.id, one.kind, one.record, one.decision, one.reason, one.file_id, one.row_no, dict(one.sent or {}),
            about.holding(
                {
                    "kind": one.kind, "id": one.object_id, "photo": one.photo_entry_id,
                    "submissions": [] if one.submission_id is None else [one.submission_id],
                }
            ),
            one.kind == "file" and one.decision == "return" and one.state != "RETURNED",
            one.stem,
        )
        for one in found
    ]  # fmt: skip


def mark_told(conn: Connection, decision_ids: Sequence[int], file_ids: Iterable[int]) -> None:
    """The notices are written: the next reply takes them along with the answers to these files."""
    conn.execute(
        update(hold_decisions).where(hold_decisions.c.id == func.any([*decision_ids])).values(told_at=func.now())
    )
    conn.execute(update(files).where(files.c.id.in_(sorted(set(file_ids)))).values(answered_at=None))


@dataclass(frozen=True, slots=True)
class _About:
    """Holding findings by what they are about."""

    of_row: Mapping[int, list[Evidence]]
    of_entry: Mapping[int, list[Evidence]]
    of_submission: Mapping[int, list[Evidence]]
    of_file: Mapping[int, list[Evidence]]

    def holding(self, one: Mapping[Any, Any]) -> tuple[Evidence, ...]:
        """What holds one line of the queue."""
        found: list[Evidence] = []
        if one["kind"] == "file":
            found += self.of_file.get(one["id"], ())
        elif one["kind"] == "photo":
            found += self.of_entry.get(one["id"], ())
        else:
            found += self.of_row.get(one["id"], ())
            found += self.of_entry.get(one["photo"], ())
        if one["kind"] != "photo":
            for submission in one["submissions"]:
                found += self.of_submission.get(submission, ())
        return tuple(dict.fromkeys(found))


def _evidence(conn: Connection, submission_ids: Sequence[int], file_ids: Sequence[int]) -> _About:
    about = _About(defaultdict(list), defaultdict(list), defaultdict(list), defaultdict(list))
    found = conn.execute(
        text(_FINDINGS), {"submissions": sorted(set(submission_ids)), "files": sorted(set(file_ids))}
    )  # fmt: skip
    for one in found:
        held = None if one.registry is None else one.now or one.registry  # it may have been put right since
        values = Evidence(one.rule, one.field, one.message, one.masked, one.remedy, one.sent, held, one.tag)
        if one.scope == "file":
            about.of_file[one.file_id].append(values)
            if one.submission_id is not None:
                about.of_submission[one.submission_id].append(values)
        if one.row_id is not None:
            about.of_row[one.row_id].append(values)
        if one.entry_id is not None:
            about.of_entry[one.entry_id].append(values)
    return about


@dataclass(frozen=True, slots=True)
class _Query:
    text: str
    lock: str


_SINCE = """
    JOIN LATERAL (SELECT m.audit_seq FROM moves m WHERE m.kind = '{kind}' AND m.object_id = {id}
        ORDER BY m.id DESC LIMIT 1) m ON true
    JOIN LATERAL (SELECT CASE WHEN pg_input_is_valid(a.payload, 'jsonb')
        THEN CAST(a.payload::jsonb ->> 'at' AS timestamptz) END AS at FROM audit a WHERE a.seq = m.audit_seq) a ON true
"""
_WANTED = """
    AND (CAST(:account AS text) IS NULL OR {account} = :account)
    AND (CAST(:exam AS text) IS NULL OR {exam} = :exam) AND (CAST(:month AS text) IS NULL OR {month} = :month)
    AND (CAST(:records AS text[]) IS NULL OR {record} = ANY(CAST(:records AS text[])))
"""
_REGISTERED = {
    "ZSGLH": "management_no", "KSXM": "name", "ZJHM": "id_number", "ZJLB": "id_type", "XB": "sex", "BKJB": "level",
    "BKZY": "specialty", "CSNY": "birth_month", "PZRQ": "approved_on", "BMS": "city",
}  # fmt: skip
"""Field of the notice → column of the certificate database."""
_TAG = "'F' || to_char(f.id, 'FM999999999000000')"
_PHOTO_TAG = f"{_TAG} || '-' || to_char(e.ordinal, 'FM999990000')"

_WITH_FILE = "EXISTS (SELECT FROM findings w WHERE w.submission_id = {id} AND w.scope = 'file' AND w.severity = 'hold')"
"""A submission that waits with its file, not row by row: other exams in the same zip may be judged already."""

_ROWS = _Query(
    f"""
    SELECT 'row' AS kind, r.id, r.record_id AS record, s.account, s.month, s.exam_code, r.row_no, 1 AS rows,
        coalesce(a.at, s.judged_at) AS since, ARRAY[r.submission_id] AS submissions, r.photo_entry_id AS photo,
        (SELECT min(x.file_id) FROM submission_files x WHERE x.submission_id = s.id) AS file_id,
        EXISTS (SELECT FROM findings c WHERE c.row_id = r.id AND c.rule = '{CANCELLED}') AS cancelled,
        r.certificate_id IS NOT NULL AS tied
    FROM rows r JOIN submissions s ON s.id = r.submission_id {_SINCE.format(kind="row", id="r.id")}
    WHERE r.state = 'HELD' AND s.lane = 'month'
    AND NOT EXISTS (SELECT FROM submission_files x JOIN files f ON f.id = x.file_id
        WHERE x.submission_id = s.id AND f.state = 'HELD' AND {_WITH_FILE.format(id="s.id")})
    {_WANTED.format(account="s.account", exam="s.exam_code", month="s.month", record="r.record_id")}
    ORDER BY r.id""",  # noqa: S608 (our own words)
    " FOR UPDATE OF r",
)
_FILES = _Query(
    f"""
    SELECT 'file' AS kind, f.id, {_TAG} AS record, f.account, coalesce(f.month, '') AS month,
        coalesce(s.exams[1], '') AS exam_code, NULL AS row_no, coalesce(s.waiting, 0) AS rows,
        coalesce(a.at, f.received_at) AS since, coalesce(s.ids, '{{}}') AS submissions, NULL AS photo, f.id AS file_id,
        false AS cancelled, true AS tied
    FROM files f {_SINCE.format(kind="file", id="f.id")}
    LEFT JOIN LATERAL (SELECT array_agg(DISTINCT s.id) AS ids, array_agg(DISTINCT s.exam_code) AS exams,
            count(r.id) FILTER (WHERE r.state = 'HELD') AS waiting
        FROM submission_files x JOIN submissions s ON s.id = x.submission_id LEFT JOIN rows r ON r.submission_id = s.id
        WHERE x.file_id = f.id AND {_WITH_FILE.format(id="s.id")}) s ON true
    WHERE f.state = 'HELD' AND f.lane = 'month'
    AND (CAST(:exam AS text) IS NULL OR CAST(:exam AS text) = ANY(s.exams))
    {_WANTED.format(account="f.account", exam="CAST(:exam AS text)", month="f.month", record=_TAG)}
    ORDER BY f.id""",  # noqa: S608 (our own words)
    " FOR UPDATE OF f",
)
_PHOTOS = _Query(
    f"""
    SELECT 'photo' AS kind, e.id, {_PHOTO_TAG} AS record, f.account, coalesce(f.month, '') AS month,
        coalesce(s.exam_code, '') AS exam_code, NULL AS row_no, 0 AS rows,
        coalesce(s.judged_at, f.received_at) AS since,
        CASE WHEN s.id IS NULL THEN '{{}}' ELSE ARRAY[s.id] END AS submissions, e.id AS photo, f.id AS file_id,
        false AS cancelled, true AS tied
    FROM entries e JOIN files f ON f.id = e.file_id LEFT JOIN submissions s ON s.id = e.submission_id
    WHERE e.outcome = 'held' AND e.role = 'photo' AND f.lane = 'month'
    AND (f.state <> 'HELD' OR s.id IS NOT NULL AND NOT {_WITH_FILE.format(id="s.id")})
    AND NOT EXISTS (SELECT FROM rows r WHERE r.submission_id = e.submission_id AND r.photo_entry_id = e.id)
    AND NOT EXISTS (SELECT FROM findings n WHERE n.submission_id = e.submission_id AND n.entry_id = e.id
        AND n.row_id IS NOT NULL)
    {_WANTED.format(account="f.account", exam="s.exam_code", month="f.month", record=_PHOTO_TAG)}
    ORDER BY e.id""",  # noqa: S608 (our own words)
    " FOR UPDATE OF e",
)

_BESIDE = """
    FROM rows r JOIN submissions s ON s.id = r.submission_id
    JOIN rows o ON o.id_number IN (r.id_number, upper(r.id_number), lower(r.id_number)) AND o.id <> r.id
        AND o.state = 'ACCEPTED' AND o.photo_entry_id IS NOT NULL
    JOIN submissions t ON t.id = o.submission_id AND (t.month, t.exam_code, t.lane) = (s.month, s.exam_code, 'month')
    WHERE r.id = ANY(CAST(:ids AS bigint[])) AND r.id_number <> ''
"""
_APART = f"""
    SELECT DISTINCT r.id, r.photo_entry_id {_BESIDE} AND EXISTS (SELECT FROM entries a, entries b
        WHERE a.id = r.photo_entry_id AND b.id = o.photo_entry_id AND a.sha256 IS DISTINCT FROM b.sha256)
    ORDER BY r.id
"""  # noqa: S608 (our own words)
_PHOTO_OF = f"""
    SELECT e.id FROM entries e JOIN files f ON f.id = e.file_id
    WHERE e.role = 'photo' AND {_PHOTO_TAG} = :record AND e.id IN (
        SELECT n.entry_id FROM findings n JOIN rows r ON r.id = n.row_id AND r.submission_id = n.submission_id
        WHERE r.id = ANY(CAST(:ids AS bigint[]))
        UNION SELECT o.photo_entry_id {_BESIDE})
"""  # noqa: S608 (our own words)
_CHOSEN = """
    UPDATE entries e SET outcome = CASE WHEN e.id = :chosen THEN 'accepted' ELSE 'ignored' END
    WHERE e.id = :chosen OR e.id = ANY(CAST(:before AS bigint[])) AND NOT EXISTS (
        SELECT FROM rows r WHERE r.photo_entry_id = e.id AND r.state NOT IN ('RETURNED', 'IGNORED', 'WITHDRAWN'))
"""

_PHOTOS_OF = f"""
    SELECT {_PHOTO_TAG} AS tag, f.sha256, e.data_offset, e.packed_size, e.method, e.size, e.crc32, e.sha256
    FROM entries e JOIN files f ON f.id = e.file_id LEFT JOIN rows r ON :row AND r.id = :id
    WHERE e.role = 'photo' AND (e.id = r.photo_entry_id OR NOT :row AND e.id = :id
        OR :row AND EXISTS (SELECT FROM findings n WHERE n.row_id = :id AND n.entry_id = e.id)
        OR :row AND e.id IN (SELECT o.photo_entry_id {_BESIDE}))
    ORDER BY e.id <> coalesce(r.photo_entry_id, 0), e.id
"""  # noqa: S608 (our own words)

_GIVE_WAY = """
    UPDATE rows o SET state = 'WITHDRAWN' FROM rows r, submissions s, submissions t
    WHERE r.id = ANY(CAST(:ids AS bigint[])) AND s.id = r.submission_id AND t.id = o.submission_id
    AND o.state = 'ACCEPTED' AND o.management_no = r.management_no AND r.management_no <> ''
    AND (t.account, t.month, t.exam_code, t.lane) = (s.account, s.month, s.exam_code, s.lane) AND t.version < s.version
    RETURNING r.id, o.id
"""

_NAMELESS = """
    SELECT r.record_id, o.record_id, r.id_number, o.id_number FROM rows r
    JOIN submissions s ON s.id = r.submission_id
    JOIN submissions t ON t.account = s.account AND t.month = s.month AND t.exam_code = s.exam_code AND t.lane = s.lane
    JOIN rows o ON o.submission_id = t.id AND o.management_no = '' AND o.id <> r.id
        AND (o.state IN ('ACCEPTED', 'PACKED', 'SENT', 'PROOF', 'ISSUED') OR o.id = ANY(CAST(:ids AS bigint[])))
    WHERE r.id = ANY(CAST(:ids AS bigint[])) AND r.management_no = '' ORDER BY 1, 2
"""

_NOW = " ".join(f"WHEN '{field}' THEN c.{name}" for field, name in _REGISTERED.items())
_FINDINGS = f"""
    SELECT n.*, {_PHOTO_TAG} AS tag, CASE n.field {_NOW} END AS now FROM findings n
    LEFT JOIN rows r ON r.id = n.row_id LEFT JOIN certificates c ON c.id = r.certificate_id
    LEFT JOIN entries e ON e.id = n.entry_id LEFT JOIN files f ON f.id = e.file_id
    WHERE n.severity = 'hold' AND (n.submission_id = ANY(CAST(:submissions AS bigint[]))
        OR (n.file_id = ANY(CAST(:files AS bigint[])) AND n.scope = 'file'))
    ORDER BY n.id
"""  # noqa: S608 (our own words)

# An exam beside others in a zip that is judged waits row by row, until somebody decides about the zip.
_NOT_LET_IN = f"""
    SELECT {_TAG}, s.exam_code
    FROM submissions s JOIN submission_files x ON x.submission_id = s.id JOIN files f ON f.id = x.file_id
    WHERE s.account = :account AND s.lane = 'month' AND s.id <> ALL(CAST(:without AS bigint[]))
    AND {_WITH_FILE.format(id="s.id")}
    AND (f.state = 'HELD' OR EXISTS (SELECT FROM rows r WHERE r.submission_id = s.id AND r.state = 'HELD')
        OR EXISTS (SELECT FROM hold_decisions d
            WHERE d.kind = 'file' AND d.object_id = f.id AND d.decision = 'return'))
    AND NOT EXISTS (SELECT FROM hold_decisions d WHERE d.kind = 'file' AND d.object_id = f.id AND d.decision = 'judge')
    AND NOT EXISTS (SELECT FROM submissions t WHERE (t.account, t.month, t.exam_code, t.lane)
        = (s.account, s.month, s.exam_code, s.lane) AND t.version > s.version AND t.verdict IN ('accepted', 'partial'))
"""  # noqa: S608 (our own words)

_ROWS_OF_FILES = f"""
    SELECT r.id, bool_or(n.id IS NOT NULL) OR r.management_no <> '' AND EXISTS (
            SELECT FROM rows o WHERE o.management_no = r.management_no AND (
            o.state IN ('ACCEPTED', 'PACKED', 'SENT', 'PROOF', 'ISSUED')
            OR o.state = 'HELD' AND o.id < r.id AND o.submission_id IN (
                SELECT y.submission_id FROM submission_files y WHERE y.file_id = ANY(CAST(:files AS bigint[]))))
        ) AS own,
        EXISTS (SELECT FROM findings c WHERE c.row_id = r.id AND c.rule = '{CANCELLED}') AS cancelled
    FROM submission_files x JOIN rows r ON r.submission_id = x.submission_id AND r.state = 'HELD'
    LEFT JOIN findings n ON n.submission_id = r.submission_id AND n.severity = 'hold' AND n.scope IN ('row', 'photo')
        AND (n.row_id = r.id OR n.entry_id = r.photo_entry_id)
    WHERE x.file_id = ANY(CAST(:files AS bigint[])) AND {_WITH_FILE.format(id="r.submission_id")}
    GROUP BY r.id ORDER BY r.id
"""  # noqa: S608 (our own constant)

# A photo with a hold of its own waits for its row, or by itself; everything else ends with the file.
_REST_OF_FILES = f"""
    UPDATE entries e SET outcome = :outcome, reason = CASE WHEN :outcome = 'accepted' THEN NULL ELSE e.reason END
    WHERE e.file_id = ANY(CAST(:files AS bigint[])) AND e.outcome = 'held'
    AND (e.submission_id IS NULL OR {_WITH_FILE.format(id="e.submission_id")})
    AND (CAST(:outcome AS text) = 'returned' OR NOT (e.role = 'photo' AND (
        EXISTS (SELECT FROM rows r WHERE r.submission_id = e.submission_id AND r.photo_entry_id = e.id
            AND r.state = 'HELD')
        OR EXISTS (SELECT FROM findings n WHERE n.submission_id = e.submission_id AND n.entry_id = e.id
            AND n.severity = 'hold'))))
"""  # noqa: S608 (our own words)

_VERDICTS = """
    UPDATE submissions s SET verdict = CASE
        WHEN v.states <@ ARRAY['RETURNED'] THEN 'returned' WHEN v.states <@ ARRAY['HELD'] THEN 'held'
        WHEN v.states && ARRAY['RETURNED', 'HELD'] THEN 'partial' ELSE 'accepted' END
    FROM (SELECT x.submission_id, coalesce(array_agg(r.state) FILTER (WHERE r.id IS NOT NULL), '{RETURNED}') AS states
        FROM submission_files x LEFT JOIN rows r ON r.submission_id = x.submission_id
        WHERE x.file_id = ANY(CAST(:files AS bigint[])) GROUP BY x.submission_id) v
    WHERE s.id = v.submission_id
"""

_RETURNED = f"""
    UPDATE files f SET state = CASE WHEN v.stay THEN 'JUDGED' ELSE 'RETURNED' END,
        reason = CASE WHEN NOT v.stay THEN f.reason END
    FROM (SELECT f.id, EXISTS (SELECT FROM submission_files x JOIN submissions s ON s.id = x.submission_id
            WHERE x.file_id = f.id AND s.verdict <> 'returned' AND NOT {_WITH_FILE.format(id="s.id")}) AS stay
        FROM files f WHERE f.id = ANY(CAST(:files AS bigint[]))) v
    WHERE f.id = v.id
"""  # noqa: S608 (our own words)

_SETTLE = """
    WITH touched AS (
        SELECT r.photo_entry_id AS id FROM rows r WHERE r.id = ANY(CAST(:ids AS bigint[]))
        UNION SELECT n.entry_id FROM findings n WHERE n.row_id = ANY(CAST(:ids AS bigint[])) AND n.scope = 'photo'
    ), owners AS (
        SELECT t.id, r.state, true AS chosen FROM touched t JOIN rows r ON r.photo_entry_id = t.id
        UNION ALL SELECT n.entry_id, r.state, false FROM findings n JOIN rows r ON r.id = n.row_id
        WHERE n.row_id = ANY(CAST(:ids AS bigint[])) AND n.scope = 'photo' AND r.photo_entry_id <> n.entry_id
    ), ends AS (
        SELECT id, CASE
            WHEN bool_or(chosen AND state NOT IN ('HELD', 'RETURNED', 'IGNORED', 'WITHDRAWN')) THEN 'accepted'
            WHEN bool_or(state = 'HELD') THEN 'held'
            WHEN bool_or(state NOT IN ('RETURNED', 'IGNORED', 'WITHDRAWN')) THEN 'ignored'
            ELSE 'returned' END AS outcome
        FROM owners WHERE id IS NOT NULL GROUP BY id
    )
    UPDATE entries e SET outcome = ends.outcome, reason = CASE WHEN ends.outcome <> 'accepted' THEN e.reason END
    FROM ends WHERE e.id = ends.id AND e.outcome IN ('held', 'accepted')
"""

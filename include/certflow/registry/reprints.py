"""Returns of the authority and the prints they prove: set operations between what was sent and what came back.

Identity fields of certificates and rows are never written here (DOMAIN §4): a return moves rows SENT →
PRINTED or REFUSED and appends print events, nothing else. Everything works inside the caller's transaction.
Lines whose application was taken back (`registry.undos`) keep their `undo_id`: history, read by nobody here.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, text, update

from certflow.registry import transfers
from certflow.registry.schema import return_rows, returns, rows, submissions

BUCKETS = ("printed", "refused", "missing", "extra", "changed", "duplicate")

LINE = ("part", "row_no", "management_no", "name", "id_number", "serial", "result", "reason", "printed_on")
"""Columns of a line as it was read."""


@dataclass(frozen=True, slots=True)
class Return:
    """One file from the authority as the ledger knows it."""

    id: int
    name: str
    sha256: str
    state: str
    """RECEIVED | RECONCILED | APPLIED | HELD | RETURNED | UNDONE"""
    reason: str


@dataclass(frozen=True, slots=True)
class Missing:
    """Rows of one city, sent in one package and not answered yet. `age_days` counts from the day of sending."""

    package_id: int
    month: str
    batch: int
    exam_code: str
    account: str
    city: str
    rows: int
    age_days: int


@dataclass(frozen=True, slots=True)
class MissingRow:
    """One row that was sent and has no answer yet (PII)."""

    month: str
    batch: int
    exam_code: str
    city: str
    management_no: str
    name: str
    id_number: str
    level: str
    specialty: str
    sent_on: str
    """YYYYMMDD"""
    age_days: int
    package: str
    """File name of the package it was sent in."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A returned row a person has to look at; free of personal data.

    `why`: unknown (never sent), number (it may speak of a row without 管理号, but not of exactly one), contradiction
    (twice in the file, different), answered (another answer was applied before), name, id_number, serial (number
    already used), certificate (row without certificate).
    """

    part: int
    row_no: int
    record_id: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A return that waits for a person: it is HELD, or what it says of rows differs from what was sent or answered."""

    return_id: int
    rows: int
    """Rows it gave a doubtful answer to and that have no other yet, or the contrary; 0 when the whole file is held."""
    age_days: int
    """Since the file came."""


def register(conn: Connection, *, name: str, sha256: str, size: int) -> int:
    """The id of the return with this digest; created when it is new."""
    known = conn.scalar(select(returns.c.id).where(returns.c.sha256 == sha256))
    if known is not None:
        return int(known)
    return transfers.record_return(conn, name, sha256, size)


def find(conn: Connection, return_id: int, *, lock: bool = False) -> Return | None:
    """One return by id; `lock` holds it until the transaction ends."""
    query = select(returns.c.id, returns.c.name, returns.c.sha256, returns.c.state, returns.c.reason)
    query = query.where(returns.c.id == return_id)
    row = conn.execute(query.with_for_update() if lock else query).one_or_none()
    return Return(row.id, row.name, row.sha256, row.state, row.reason or "") if row else None


def every(conn: Connection) -> list[Return]:
    """All returns ever received, oldest first."""
    query = select(returns.c.id, returns.c.name, returns.c.sha256, returns.c.state, func.coalesce(returns.c.reason, ""))
    return [Return(*row) for row in conn.execute(query.order_by(returns.c.id))]


def pending(conn: Connection) -> list[int]:
    """Returns that still have something to do (new ones, and ones that waited for a send to end), oldest first."""
    query = select(returns.c.id).where(returns.c.state.in_(("RECEIVED", "RECONCILED")))
    return [int(one) for one in conn.scalars(query.order_by(returns.c.id))]


def settle(conn: Connection, return_id: int, state: str, reason: str = "") -> None:
    """Set the state of a return."""
    conn.execute(update(returns).where(returns.c.id == return_id).values(state=state, reason=reason or None))


def take_turn(conn: Connection) -> None:
    """Returns are applied one after another: two of them may speak of the same certificate."""
    conn.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('certflow:returns', 0))"))


def load(conn: Connection, return_id: int, lines: Iterable[tuple[object, ...]]) -> None:
    """Write the lines of a return (`LINE`) as they were read, in place of an earlier unapplied reading."""
    conn.execute(
        return_rows.delete().where(
            return_rows.c.return_id == return_id, ~return_rows.c.applied, return_rows.c.undo_id.is_(None)
        )
    )
    with conn.connection.cursor().copy(f"COPY return_rows (return_id, {', '.join(LINE)}) FROM STDIN") as copy:
        for line in lines:
            copy.write_row((return_id, *line))
    look_ahead(conn, "rows", "print_events", "deliveries")


def in_flight(conn: Connection, return_id: int) -> int:
    """Lines about rows whose package is on its way: the return is ahead of our own SENT (R06)."""
    return int(conn.scalar(text(_IN_FLIGHT), {"return_id": return_id}) or 0)


def unsent(conn: Connection, return_id: int) -> int:
    """Lines about nothing that was sent, though such a row of ours is about to be (R07): has the ledger forgotten?"""
    return int(conn.scalar(text(_UNSENT), {"return_id": return_id}) or 0)


def look_ahead(conn: Connection, *tables: str) -> None:
    """Let the planner see what this transaction has written: by old statistics it compares all lines with all rows."""
    conn.execute(text(f"ANALYZE {', '.join(('return_rows', *tables))}"))
    conn.execute(text(_LOOK_UP))


def proved(conn: Connection, return_id: int) -> list[tuple[int, int]]:
    """Packages whose delivery was in doubt and which this return speaks of: (package, lines), moved to SENT (R06).

    A package in UNKNOWN, or in SENDING or APPROVED when a try got as far as the rename, has arrived if the authority
    answers to its rows, whatever a person was told: 管理号, name and ID number of a line are those of a row in it.
    What may be a copy of an older answer proves nothing: a line whose 管理号 had that result before, or whose serial is
    known.
    """
    found = conn.execute(text(_PROVED), {"return_id": return_id}).all()
    return [(int(number), int(lines)) for number, lines in found if transfers.prove(conn, int(number), return_id)]


def sort_into_buckets(conn: Connection, return_id: int) -> None:
    """Give every unapplied line of the return its bucket and the row it speaks of.

    Rows without 管理号, which a person accepted, get the certificate they are about first, where it is the only one.
    """
    conn.execute(text(_LOOK_UP))
    conn.execute(text(_LOCATE))
    if conn.execute(text(_SORT), {"return_id": return_id}).rowcount:
        look_ahead(conn)


def apply_buckets(conn: Connection, return_id: int, marks: Mapping[str, str]) -> tuple[int, int]:
    """Keep what is there (before-image), append print events, move rows SENT → PRINTED and SENT → REFUSED.

    `marks`: by rule set what a reissue is marked with; a row is marked by the rule set it was judged by.

    Returns how many of each.
    """
    # What each line finds is looked up once, and kept with statistics: the three changes below only follow it.
    conn.execute(text("DROP TABLE IF EXISTS pg_temp.answered"))
    conn.execute(text(_ANSWERED), {"return_id": return_id, "marks": json.dumps(dict(marks))})
    conn.execute(text("ANALYZE answered"))
    conn.execute(text(_IMAGE))
    printed = conn.execute(text(_PRINT)).rowcount
    # The triggers join what was with what became, of which no statistics exist: by a nested loop that is quadratic.
    conn.execute(text("SET LOCAL enable_nestloop = off"))
    moved = conn.execute(text(_MOVE)).rowcount
    conn.execute(text("SET LOCAL enable_nestloop = on"))
    return printed, moved - printed


def counts(conn: Connection, return_id: int) -> dict[str, int]:
    """Lines per bucket, every bucket but ``missing`` (which is about rows that are *not* in the return)."""
    found = conn.execute(
        select(return_rows.c.bucket, func.count())
        .where(return_rows.c.return_id == return_id, return_rows.c.bucket.is_not(None), return_rows.c.undo_id.is_(None))
        .group_by(return_rows.c.bucket)
    )
    return {bucket: 0 for bucket in BUCKETS if bucket != "missing"} | {str(name): int(many) for name, many in found}


def months_of(conn: Connection, return_id: int) -> list[str]:
    """Months of the rows a return speaks of."""
    found = (
        select(submissions.c.month)
        .select_from(return_rows.join(rows, rows.c.id == return_rows.c.row_id).join(submissions))
        .where(return_rows.c.return_id == return_id)
        .distinct()
        .order_by(submissions.c.month)
    )
    return list(conn.scalars(found))


def missing(conn: Connection, return_id: int | None = None) -> list[Missing]:
    """Sent rows without an answer, by package and city; with `return_id` only in packages that return speaks of."""
    return [Missing(*row) for row in conn.execute(text(_MISSING), {"return_id": return_id})]


def missing_rows(conn: Connection) -> list[MissingRow]:
    """The rows behind `missing`, in the order of their packages."""
    return [MissingRow(*row) for row in conn.execute(text(_MISSING_ROWS), {"return_id": None})]


def doubts(conn: Connection, return_id: int) -> list[Doubt]:
    """The lines in the buckets extra and changed, by line number."""
    return [Doubt(*row) for row in conn.execute(text(_DOUBTS), {"return_id": return_id})]


def waiting(conn: Connection) -> list[Waiting]:
    """Returns that wait for a person, the oldest first; a row that was answered since waits no more."""
    return [Waiting(*row) for row in conn.execute(text(_WAITING))]


IN_FORCE = "p.reverses IS NULL AND NOT EXISTS (SELECT FROM print_events x WHERE x.reverses = p.id)"
"""Which print events ``p`` hold: no reversing entries, and none that was reversed."""

# The default of 4 makes the planner read ten million certificates instead of looking a few up.
_LOOK_UP = "SET LOCAL random_page_cost = 1.1"

_TRIED = "EXISTS (SELECT FROM transfers t WHERE t.package_id = p.id AND t.event = 'verified')"

_IN_FLIGHT = f"""
SELECT count(DISTINCT r.id)
FROM return_rows r
JOIN rows ON rows.management_no = r.management_no AND rows.state = 'PACKED'
    AND (r.management_no <> '' OR (rows.name, rows.id_number) = (r.name, r.id_number))
JOIN package_rows pr ON pr.row_id = rows.id
JOIN packages p ON p.id = pr.package_id
    AND (p.state IN ('SENDING', 'UNKNOWN') OR p.state = 'APPROVED' AND {_TRIED}
        OR p.companion AND p.state = 'SENT')  -- the merged one will follow
WHERE r.return_id = :return_id AND NOT r.applied AND r.undo_id IS NULL
"""  # noqa: S608 (our own condition)

_UNSENT = """
SELECT count(DISTINCT r.id)
FROM return_rows r
JOIN rows ON (rows.management_no, rows.name, rows.id_number) = (r.management_no, r.name, r.id_number)
    AND rows.state IN ('ACCEPTED', 'PACKED')
WHERE r.return_id = :return_id AND r.why = 'unknown' AND r.undo_id IS NULL
"""

_PROVED = f"""
SELECT p.id, count(DISTINCT r.id)
FROM return_rows r
JOIN rows ON (rows.management_no, rows.name, rows.id_number) = (r.management_no, r.name, r.id_number)
    AND rows.state = 'PACKED'
JOIN package_rows pr ON pr.row_id = rows.id
JOIN packages p ON p.id = pr.package_id AND NOT p.companion
WHERE r.return_id = :return_id AND NOT r.applied AND r.undo_id IS NULL AND r.management_no <> ''
    AND (p.state = 'UNKNOWN' OR p.state IN ('SENDING', 'APPROVED') AND {_TRIED})
    AND NOT EXISTS (
        SELECT FROM return_rows e
        WHERE e.management_no = r.management_no AND e.result = r.result AND e.applied AND e.undo_id IS NULL)
    AND NOT EXISTS (SELECT FROM print_events e WHERE e.serial = r.serial)
    AND NOT EXISTS (SELECT FROM certificates c WHERE c.serial = r.serial AND c.serial <> '')
GROUP BY p.id ORDER BY p.id
"""  # noqa: S608 (our own condition)

_LOCATE = """
UPDATE rows SET certificate_id = found.id
FROM (
    SELECT r.id AS row_id, min(c.id) AS id
    FROM rows r
    JOIN submissions f ON f.id = r.submission_id
    JOIN certificates c ON c.management_no IS NULL AND c.id_number = r.id_number AND c.name = r.name
        AND (c.exam_code, c.level, c.specialty) = (f.exam_code, r.level, r.specialty)
    WHERE r.management_no = '' AND r.state = 'SENT' AND r.certificate_id IS NULL
    GROUP BY r.id HAVING count(*) = 1
) found
WHERE rows.id = found.row_id
"""

# One answer per line, the first that fits. `target` is the row the line speaks of: the one that waits for an answer,
# else the newest that had one. A line that was applied before is a duplicate whatever waits now: files may repeat all
# that was ever answered. Only a refusal, which no serial names, answers a waiting row by the same words again, and that
# where the file says nothing else of the row; so `fresh` lines alone can contradict each other.
# A line without 管理号, or with one that nobody knows, speaks of a row that was sent without: the only one that waits
# for this person. A strange number may be a misspelt one as well, so no other row at all of the person may wait then.
# A certificate's own number counts as it was when the row was packed: a refresh may learn of the new one before its
# return comes.
_SORT = f"""
WITH mine AS (
    SELECT r.id, r.part, r.row_no, r.management_no, r.name, r.id_number, r.serial, r.result, r.reason, r.printed_on
    FROM return_rows r
    WHERE r.return_id = :return_id AND NOT r.applied AND r.undo_id IS NULL
), numbered AS (
    SELECT DISTINCT ON (m.id) m.id, rows.id AS row_id, rows.state, rows.name, rows.id_number, rows.certificate_id
    FROM mine m
    JOIN rows ON rows.management_no = m.management_no
        AND rows.state IN ('SENT', 'PRINTED', 'REFUSED', 'DELIVERED', 'CLOSED') AND rows.batch_id IS NOT NULL
    WHERE m.management_no <> ''
    ORDER BY m.id, rows.state = 'SENT' DESC, rows.id DESC
), unnumbered AS (
    SELECT m.id, count(*) AS candidates, min(rows.id) AS row_id
    FROM mine m
    JOIN rows ON rows.state = 'SENT' AND (rows.name, rows.id_number) = (m.name, m.id_number)
        AND (rows.management_no = '' OR m.management_no <> '')
    LEFT JOIN certificates c ON c.management_no = m.management_no
    WHERE NOT EXISTS (SELECT FROM numbered t WHERE t.id = m.id) AND (c.id IS NULL OR c.id = rows.certificate_id)
    GROUP BY m.id HAVING bool_or(rows.management_no = '')
), target AS (
    SELECT * FROM numbered
    UNION ALL SELECT u.id, rows.id, rows.state, rows.name, rows.id_number, rows.certificate_id
    FROM unnumbered u JOIN rows ON rows.id = u.row_id WHERE u.candidates = 1
), earlier AS (
    SELECT DISTINCT m.id
    FROM mine m
    JOIN return_rows e ON e.management_no = m.management_no AND e.applied AND e.undo_id IS NULL
        AND (e.name, e.id_number, e.serial, e.result, e.reason, e.printed_on)
          = (m.name, m.id_number, m.serial, m.result, m.reason, m.printed_on)
), counted AS (
    SELECT m.*, t.row_id, t.state, t.name AS our_name, t.id_number AS our_id_number, t.certificate_id,
           e.id IS NOT NULL AS known,
           row_number() OVER (same ORDER BY m.part, m.row_no) AS nth,
           count(*) OVER same AS alike,
           count(*) OVER row AS times,
           count(*) FILTER (WHERE e.id IS NULL) OVER row AS fresh
    FROM mine m LEFT JOIN target t ON t.id = m.id LEFT JOIN earlier e ON e.id = m.id
    WINDOW row AS (PARTITION BY t.row_id), same AS (
        PARTITION BY t.row_id, m.management_no, m.name, m.id_number, m.serial, m.result, m.reason, m.printed_on)
), packed AS (
    SELECT m.id, pr.serial
    FROM counted m
    JOIN package_rows pr ON pr.row_id = m.row_id
    JOIN packages p ON p.id = pr.package_id AND p.state = 'SENT' AND NOT p.companion
), used AS (
    SELECT m.serial FROM mine m JOIN print_events p ON p.serial = m.serial AND {IN_FORCE}
    UNION SELECT m.serial FROM counted m JOIN certificates c ON c.serial = m.serial AND c.serial <> ''
        LEFT JOIN packed k ON k.id = m.id AND c.id = m.certificate_id
        WHERE k.serial IS NULL OR k.serial = m.serial
    UNION SELECT m.serial FROM counted m JOIN packed k ON (k.id, k.serial) = (m.id, m.serial)
    UNION SELECT m.serial FROM mine m GROUP BY m.serial
        HAVING count(DISTINCT coalesce(nullif(m.management_no, ''), m.id_number)) > 1
), answer AS (
    SELECT n.id, n.result, n.row_id, d.candidates, CASE
        WHEN n.nth > 1 THEN 'duplicate'
        WHEN n.known AND (n.result = '已印制' OR n.state IS DISTINCT FROM 'SENT' OR n.times > n.alike) THEN 'duplicate'
        WHEN n.row_id IS NULL AND (d.id IS NOT NULL OR n.management_no = '') THEN 'number'
        WHEN n.row_id IS NULL THEN 'unknown'
        WHEN n.fresh > n.alike THEN 'contradiction'
        WHEN n.state <> 'SENT' THEN 'answered'
        WHEN n.name <> n.our_name THEN 'name'
        WHEN upper(n.id_number) <> upper(n.our_id_number) THEN 'id_number'
        WHEN n.result = '已印制' AND u.serial IS NOT NULL THEN 'serial'
        WHEN n.result = '已印制' AND n.certificate_id IS NULL THEN 'certificate'
        ELSE '' END AS why
    FROM counted n
    LEFT JOIN unnumbered d ON d.id = n.id
    LEFT JOIN used u ON u.serial = n.serial AND n.serial <> ''
), sorted AS (
    SELECT a.id, a.row_id, CASE WHEN a.why = 'duplicate' THEN '' ELSE a.why END AS why, CASE
        WHEN a.why = 'duplicate' THEN 'duplicate'
        WHEN a.why = 'unknown' OR a.why = 'number' AND a.candidates IS NULL THEN 'extra'
        WHEN a.why <> '' THEN 'changed'
        WHEN a.result = '已印制' THEN 'printed'
        ELSE 'refused' END AS bucket
    FROM answer a
)
UPDATE return_rows r SET row_id = s.row_id, why = s.why, bucket = s.bucket
FROM sorted s WHERE r.id = s.id AND (r.row_id, r.why, r.bucket) IS DISTINCT FROM (s.row_id, s.why, s.bucket)
"""  # noqa: S608 (our own condition)

_DOUBTS = """
SELECT r.part, r.row_no, rows.record_id, r.why FROM return_rows r LEFT JOIN rows ON rows.id = r.row_id
WHERE r.return_id = :return_id AND r.undo_id IS NULL AND r.why <> '' ORDER BY r.part, r.row_no
"""

# A row that was answered before waits for a person where the new answer says the contrary and neither repeats an old
# one nor was overtaken: printed what we hold for refused, and what a city would have printed again, or printed under
# another serial than the one we tell of; or refused what we hold for printed.
_WAITING = f"""
SELECT b.id, count(DISTINCT rows.id), (now() AT TIME ZONE 'Asia/Shanghai')::date
    - (b.received_at AT TIME ZONE 'Asia/Shanghai')::date
FROM returns b
LEFT JOIN return_rows r ON r.return_id = b.id AND r.bucket = 'changed' AND r.undo_id IS NULL AND b.state <> 'HELD'
LEFT JOIN rows ON rows.id = r.row_id AND (rows.state = 'SENT' OR r.why = 'answered' AND CASE r.result
    WHEN '已印制' THEN rows.state IN ('REFUSED', 'PRINTED') AND NOT EXISTS (SELECT FROM print_events p WHERE {IN_FORCE}
        AND (p.serial = r.serial OR p.certificate_id = rows.certificate_id AND p.row_id > rows.id))
    ELSE rows.state = 'PRINTED' AND NOT EXISTS (SELECT FROM return_rows e WHERE e.management_no = r.management_no
        AND e.result = r.result AND e.applied AND e.undo_id IS NULL) END)
WHERE b.state = 'HELD' OR rows.id IS NOT NULL
GROUP BY b.id ORDER BY b.received_at, b.id
"""  # noqa: S608 (our own condition)

_ANSWERED = f"""
CREATE TEMP TABLE answered ON COMMIT DROP AS
SELECT r.id, r.part, r.row_no, r.bucket, r.serial, r.printed_on, rows.id AS row_id, rows.state, rows.certificate_id,
    coalesce(last.serial, CASE WHEN c.serial = r.serial THEN k.serial ELSE c.serial END, '') AS held,
    coalesce(CAST(:marks AS jsonb) ->> f.rule_set, '') AS mark
FROM return_rows r
JOIN rows ON rows.id = r.row_id AND rows.state = 'SENT'
JOIN submissions f ON f.id = rows.submission_id
LEFT JOIN certificates c ON c.id = rows.certificate_id
LEFT JOIN (package_rows k JOIN packages b ON b.id = k.package_id AND b.state = 'SENT' AND NOT b.companion)
    ON k.row_id = rows.id
LEFT JOIN LATERAL (
    SELECT p.serial FROM print_events p WHERE p.certificate_id = c.id AND {IN_FORCE} ORDER BY p.id DESC LIMIT 1
) last ON true
WHERE r.return_id = :return_id AND r.undo_id IS NULL AND NOT r.applied AND r.bucket IN ('printed', 'refused')
"""  # noqa: S608 (our own condition)

_IMAGE = """
UPDATE return_rows r SET applied = true, before = jsonb_build_object('state', a.state, 'serial', a.held)
FROM answered a WHERE r.id = a.id
"""

_PRINT = """
INSERT INTO print_events (certificate_id, row_id, return_row_id, serial, mark, printed_on, voids)
SELECT certificate_id, row_id, id, serial, mark, to_date(printed_on, 'YYYYMMDD'), held
FROM answered WHERE bucket = 'printed' ORDER BY part, row_no
"""

_MOVE = """
UPDATE rows SET state = CASE a.bucket WHEN 'printed' THEN 'PRINTED' ELSE 'REFUSED' END
FROM answered a WHERE rows.id = a.row_id AND rows.state = 'SENT'
"""

_SENT = """
WITH sent AS (
    SELECT p.id, p.exam_code, p.file_name, b.month, b.number, coalesce(max(t.at), p.built_at) AS at
    FROM packages p
    JOIN batches b ON b.id = p.batch_id
    LEFT JOIN transfers t ON t.package_id = p.id AND t.event IN ('sent', 'resolved')
    WHERE p.state = 'SENT' AND NOT p.companion AND (CAST(:return_id AS bigint) IS NULL OR p.id IN (
        SELECT pr.package_id FROM return_rows r JOIN package_rows pr ON pr.row_id = r.row_id
        WHERE r.return_id = :return_id AND r.undo_id IS NULL))
    GROUP BY p.id, p.exam_code, p.file_name, b.month, b.number, p.built_at
), waiting AS (
    SELECT s.*, f.account, f.city, rows.id AS row_id, (s.at AT TIME ZONE 'Asia/Shanghai')::date AS sent_on,
        (now() AT TIME ZONE 'Asia/Shanghai')::date - (s.at AT TIME ZONE 'Asia/Shanghai')::date AS age_days
    FROM sent s
    JOIN package_rows pr ON pr.package_id = s.id
    JOIN rows ON rows.id = pr.row_id AND rows.state = 'SENT'
    JOIN submissions f ON f.id = rows.submission_id
    WHERE NOT EXISTS (
        SELECT FROM return_rows r
        WHERE r.row_id = rows.id AND r.undo_id IS NULL AND r.bucket IN ('printed', 'refused', 'changed'))
)
"""

_MISSING = (
    _SENT
    + """
SELECT id, month, number, exam_code, account, city, count(*), age_days FROM waiting
GROUP BY id, month, number, exam_code, account, city, age_days ORDER BY month, number, exam_code, account, id
"""
)

_MISSING_ROWS = (
    _SENT
    + """
SELECT w.month, w.number, w.exam_code, w.city, r.management_no, r.name, r.id_number, r.level, r.specialty,
       to_char(w.sent_on, 'YYYYMMDD'), w.age_days, w.file_name
FROM waiting w JOIN rows r ON r.id = w.row_id
ORDER BY w.month, w.number, w.exam_code, w.account, r.management_no, r.id
"""
)

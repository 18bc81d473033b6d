"""Take an applied return back: reversing entries for its prints, rows to SENT, its lines become history.

Nothing is deleted. The moves PRINTED → SENT and REFUSED → SENT are lawful only here: the transaction says
``certflow.errand = undo``, and the audit chain keeps that word beside them. What each line found when it was applied
(`return_rows.before`) is what must be there again at the end.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, insert, text

from certflow.registry.ledger import errand
from certflow.registry.reprints import IN_FORCE, look_ahead
from certflow.registry.schema import return_undos

MARK = "撤销"
"""What a reversing entry is marked with."""


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo took back, in rows."""

    id: int
    printed: int
    refused: int


def obstacles(conn: Connection, return_id: int) -> dict[str, int]:
    """Why an applied return cannot be taken back, and for how many rows; empty when nothing stands against it.

    ``delivered`` (handed out), ``posted`` (the new paper left the house), ``requested`` (a newer request of the same
    certificate is open), ``printed`` (a newer request of the certificate was printed since).
    """
    look_ahead(conn, "rows", "print_events", "deliveries")
    found = conn.execute(text(_OBSTACLES), {"return_id": return_id}).mappings().one()
    return {name: int(many) for name, many in found.items() if many}


def undo(conn: Connection, return_id: int, by: str, reason: str) -> Undone:
    """Take the applied lines of a return back; its other lines become history with them.

    Gives the numbers that `restored` is asked about.
    """
    keys = {"return_id": return_id, "mark": MARK}
    counted = conn.execute(text(_COUNT), keys).one()
    undo_id = conn.execute(
        insert(return_undos)
        .values(return_id=return_id, by=by, reason=reason, printed=counted.printed, refused=counted.refused)
        .returning(return_undos.c.id)
    ).scalar_one()
    conn.execute(text(_REVERSE), keys)
    with errand(conn, "undo"):
        conn.execute(text(_BACK), keys)
    conn.execute(text(_HISTORY), keys | {"undo_id": undo_id})
    conn.execute(text(_RECALL), keys | {"undo_id": undo_id})
    return Undone(int(undo_id), int(counted.printed), int(counted.refused))


def restored(conn: Connection, undone: Undone) -> bool:
    """Whether every row and every certificate stands as it did before the return was applied.

    Where no print is left the certificate's serial is the database's own, which may have been refreshed since.
    """
    rows = conn.scalar(text(_RESTORED), {"undo_id": undone.id})
    return bool(rows == undone.printed + undone.refused)


_OBSTACLES = f"""
SELECT count(*) FILTER (WHERE rows.state IN ('DELIVERED', 'CLOSED')) AS delivered,
       count(*) FILTER (WHERE rows.state = 'PRINTED' AND d.state NOT IN ('PRINTED', 'KEPT')) AS posted,
       count(*) FILTER (WHERE newer.id IS NOT NULL) AS requested,
       count(*) FILTER (WHERE later.id IS NOT NULL) AS printed
FROM return_rows r
JOIN rows ON rows.id = r.row_id
LEFT JOIN deliveries d ON d.row_id = rows.id
LEFT JOIN LATERAL (
    SELECT n.id FROM rows n WHERE n.management_no = rows.management_no AND n.management_no <> '' AND n.id <> rows.id
        AND n.state IN ('ACCEPTED', 'PACKED', 'SENT') LIMIT 1
) newer ON true
LEFT JOIN LATERAL (
    SELECT p.id FROM print_events p
    WHERE p.certificate_id = rows.certificate_id AND p.row_id > rows.id AND {IN_FORCE} LIMIT 1
) later ON true
WHERE r.return_id = :return_id AND r.applied AND r.undo_id IS NULL
"""  # noqa: S608 (our own condition)

_COUNT = """
SELECT count(*) FILTER (WHERE bucket = 'printed') AS printed, count(*) FILTER (WHERE bucket = 'refused') AS refused
FROM return_rows WHERE return_id = :return_id AND applied AND undo_id IS NULL
"""

_REVERSE = """
INSERT INTO print_events (certificate_id, row_id, return_row_id, serial, mark, printed_on, voids, reverses)
SELECT e.certificate_id, e.row_id, e.return_row_id, e.serial, :mark, e.printed_on, e.serial, e.id
FROM return_rows r JOIN print_events e ON e.return_row_id = r.id AND e.reverses IS NULL
WHERE r.return_id = :return_id AND r.applied AND r.undo_id IS NULL
ORDER BY e.id
"""

_BACK = """
UPDATE rows SET state = r.before ->> 'state'
FROM return_rows r WHERE r.row_id = rows.id AND r.return_id = :return_id AND r.applied AND r.undo_id IS NULL
"""

_HISTORY = "UPDATE return_rows SET undo_id = :undo_id WHERE return_id = :return_id AND undo_id IS NULL"

_RECALL = "UPDATE return_answers SET undo_id = :undo_id WHERE return_id = :return_id AND undo_id IS NULL"

_RESTORED = f"""
SELECT count(*)
FROM return_rows r
JOIN rows ON rows.id = r.row_id AND rows.state = r.before ->> 'state'
LEFT JOIN LATERAL (
    SELECT p.serial FROM print_events p
    WHERE p.certificate_id = rows.certificate_id AND {IN_FORCE} ORDER BY p.id DESC LIMIT 1
) last ON true
WHERE r.undo_id = :undo_id AND r.applied AND coalesce(last.serial, r.before ->> 'serial') = r.before ->> 'serial'
"""  # noqa: S608 (our own condition)

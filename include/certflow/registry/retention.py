"""What the ledger says about time limits: which originals are closed and old enough, and what was purged.

Closed: nothing about it can still move. Rows of it are in an end state, nothing of it is held or contested, no
other row borrows a photo from it. A list about deliveries that was never applied and evidence that belongs to nobody
known are closed from the beginning: nothing rests on them. Old enough: its last row came to its end so many days ago
(`settings.Retention`). A purged original keeps its line, digest and size in the ledger; what named persons in the lines
about it is emptied.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, text

from certflow.registry.schema import purged

ENDS = "('RETURNED', 'REFUSED', 'WITHDRAWN', 'IGNORED', 'CLOSED')"
"""States of a row in which nothing is owed to anybody any more."""
_OPEN = f"""(r.state NOT IN {ENDS} OR EXISTS (
    SELECT FROM moves m JOIN audit a ON a.seq = m.audit_seq WHERE m.kind = 'row' AND m.object_id = r.id
    AND a.payload::jsonb ->> 'at' >= :before_at))"""
"""A row `r` that may still move, or moved since."""
_FILES = f"""
    f.state IN ('JUDGED', 'RETURNED', 'IGNORED') AND f.shelved_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM entries e WHERE e.file_id = f.id AND e.outcome = 'held')
    AND NOT EXISTS (SELECT FROM submission_files x JOIN rows r ON r.submission_id = x.submission_id
        WHERE x.file_id = f.id AND {_OPEN})
    AND NOT EXISTS (SELECT FROM entries e JOIN rows r ON r.photo_entry_id = e.id WHERE e.file_id = f.id AND {_OPEN})
    AND NOT EXISTS (SELECT FROM proof_requests q JOIN proofs p ON p.id = q.proof_id JOIN rows r ON r.id = p.row_id
        WHERE q.file_id = f.id AND {_OPEN})
    AND NOT EXISTS (SELECT FROM findings n JOIN appeals l ON l.finding_id = n.id WHERE n.file_id = f.id
        AND NOT EXISTS (SELECT FROM appeal_decisions d WHERE d.appeal_id = l.id))"""  # noqa: S608 (our own words)
_DELIVERED = f"SELECT FROM deliveries d JOIN rows r ON r.id = d.row_id WHERE {_OPEN}"

_CLOSED: dict[str, tuple[str, str, str]] = {
    "originals": ("files", "received_at", f"f.lane <> 'trial' AND {_FILES}"),
    "trials": ("files", "received_at", f"f.lane = 'trial' AND {_FILES}"),
    "returns": ("returns", "received_at", f"""f.state IN ('APPLIED', 'RETURNED', 'UNDONE') AND NOT EXISTS (
        SELECT FROM return_rows b JOIN rows r ON r.id = b.row_id WHERE b.return_id = f.id AND {_OPEN})
        AND NOT EXISTS (SELECT FROM return_answers w WHERE w.return_id = f.id AND w.answered_at IS NULL
            AND w.undo_id IS NULL)"""),  # noqa: S608 (our own words)
    "deliveries": ("delivery_files", "received_at", f"""
        NOT EXISTS ({_DELIVERED} AND d.choice_id IN (SELECT id FROM delivery_choices c WHERE c.file_id = f.id))
        AND NOT EXISTS (SELECT FROM delivery_choices c JOIN rows r ON r.management_no = c.management_no
            WHERE c.file_id = f.id AND {_OPEN})
        AND NOT EXISTS ({_DELIVERED} AND d.id IN (
            SELECT delivery_id FROM delivery_events v WHERE v.file_id = f.id))"""),  # noqa: S608 (our own words)
    "orders": ("delivery_orders", "made_at", f"NOT EXISTS ({_DELIVERED} AND d.order_id = f.id)"),
    "exports": ("delivery_exports", "made_at", "f.id < (SELECT max(id) FROM delivery_exports)"),
    "evidence": ("pickup_files", "received_at", f"""
        NOT EXISTS ({_DELIVERED} AND d.id IN (SELECT delivery_id FROM pickup_links k WHERE k.file_id = f.id
            AND NOT EXISTS (SELECT FROM pickup_unlinks u WHERE u.link_id = k.id)))"""),  # noqa: S608 (our own words)
}  # fmt: skip
"""Kind of original → its table, when it came, and the condition under which a line `f` of it is closed."""
KINDS = tuple(_CLOSED)

_PHOTOS_GONE = """
    SELECT DISTINCT pr.package_id FROM package_rows pr JOIN rows r ON r.id = pr.row_id
    JOIN entries e ON e.id = r.photo_entry_id JOIN purged p ON p.kind = 'files' AND p.object_id = e.file_id"""

_EMPTIED: dict[str, tuple[tuple[str, str, str], ...]] = {
    "files": (
        ("entries", "name = '', raw_name = ''", "name <> '' AND file_id = ANY(:ids)"),
        ("portraits", "sketch = ''", """sketch <> '' AND entry_id IN (
            SELECT e.id FROM entries e WHERE e.file_id = ANY(:ids))"""),
        ("findings", "message = masked, sent = NULL, registry = NULL",
         "(sent IS NOT NULL OR registry IS NOT NULL OR message <> masked) AND file_id = ANY(:ids)"),
        ("rows", "sent = '{}'", """sent <> '{}' AND submission_id IN (
            SELECT x.submission_id FROM submission_files x WHERE x.file_id = ANY(:ids))"""),
    ),
    "returns": (
        ("return_rows", "name = '', id_number = ''", "(name <> '' OR id_number <> '') AND return_id = ANY(:ids)"),
    ),
    "delivery_files": (
        ("delivery_choices", "recipient = '', phone = '', postcode = '', address = ''",
         "recipient || phone || postcode || address <> '' AND file_id = ANY(:ids)"),
    ),
    "pickup_files": (("pickup_files", "name = ''", "name <> '' AND id = ANY(:ids)"),),
}  # fmt: skip
"""Table of the original → what is emptied with it: table, columns, where something is left."""


@dataclass(frozen=True, slots=True)
class Due:
    """An original whose time is over; `table` and `id` are its line in the ledger."""

    table: str
    id: int
    sha256: str
    size: int


def due(conn: Connection, kind: str, before: dt.datetime) -> list[Due]:
    """Closed originals of one of `KINDS` that came, and came to their end, before that moment; oldest first."""
    table, came, closed = _CLOSED[kind]
    query = f"""
        SELECT f.id, f.sha256, f.size FROM {table} f WHERE f.{came} < :before AND {closed}
        AND NOT EXISTS (SELECT FROM purged p WHERE p.kind = '{table}' AND p.object_id = f.id) ORDER BY f.id
    """  # noqa: S608 (our own words)
    values = {"before": before, "before_at": f"{before.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%S.%f}"}
    return [Due(table, *row) for row in conn.execute(text(query), values)]


def purge(conn: Connection, found: Sequence[Due]) -> dict[str, int]:
    """Record them as purged and empty what named persons in the lines about them; changed lines by table."""
    emptied: dict[str, int] = {}
    for table in sorted({one.table for one in found}):
        ids = [one.id for one in found if one.table == table]
        lines = [{"kind": table, "object_id": one.id, "sha256": one.sha256, "size": one.size} for one in found
                 if one.table == table]  # fmt: skip
        conn.execute(insert(purged), lines)
        for target, change, left in _EMPTIED.get(table, ()):
            done = conn.execute(text(f"UPDATE {target} SET {change} WHERE {left}"), {"ids": ids})  # noqa: S608 (our own)
            emptied[target] = emptied.get(target, 0) + done.rowcount
    return emptied


def left(conn: Connection) -> dict[str, int]:
    """Lines about purged originals that still name somebody, by table; empty when the purge is proved."""
    found: dict[str, int] = {}
    for table, steps in _EMPTIED.items():
        ids = list(conn.scalars(text("SELECT object_id FROM purged WHERE kind = :kind"), {"kind": table}))
        for target, _, where in steps:
            many = conn.scalar(text(f"SELECT count(*) FROM {target} WHERE {where}"), {"ids": ids})  # noqa: S608 (our own)
            if many:
                found[target] = found.get(target, 0) + int(many)
    return found


def gone(conn: Connection) -> dict[str, int]:
    """Digest → bytes of what must not lie in the home any more: purged, and no other line vouches for it."""
    vouching = " UNION ALL ".join(
        f"SELECT v.sha256 FROM {table} v WHERE NOT EXISTS ("  # noqa: S608 (our own words)
        f"SELECT FROM purged q WHERE q.kind = '{table}' AND q.object_id = v.id)"
        for table in sorted({table for table, *_ in _CLOSED.values()})
    )
    query = f"SELECT DISTINCT p.sha256, p.size FROM purged p WHERE p.sha256 NOT IN ({vouching})"  # noqa: S608 (as above)
    return {digest: int(size) for digest, size in conn.execute(text(query))}


def photos_gone(conn: Connection) -> set[int]:
    """Packages that cannot be built again: a photo in them lay in an original that was purged."""
    return set(conn.scalars(text(_PHOTOS_GONE)))


def open_months(conn: Connection, before: dt.datetime) -> set[tuple[str, str]]:
    """(account, month) with something in it that is not closed yet, or was closed since that moment."""
    query = f"""
        SELECT DISTINCT f.account, coalesce(f.month, '') FROM files f
        WHERE f.lane = 'month' AND NOT (f.received_at < :before AND {_FILES})
    """  # noqa: S608 (our own words)
    values = {"before": before, "before_at": f"{before.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%S.%f}"}
    return {(str(account), str(month)) for account, month in conn.execute(text(query), values)}


def closed_batches(conn: Connection, before: dt.datetime) -> list[tuple[str, int]]:
    """(month, number) of batches with packages all of whose rows came to their end before that moment."""
    query = f"""
        SELECT b.month, b.number FROM batches b WHERE EXISTS (SELECT FROM packages p WHERE p.batch_id = b.id)
        AND b.frozen_at < :before
        AND NOT EXISTS (SELECT FROM packages p WHERE p.batch_id = b.id AND p.state NOT IN ('SENT', 'REJECTED'))
        AND NOT EXISTS (SELECT FROM rows r WHERE r.batch_id = b.id AND {_OPEN}) ORDER BY b.month, b.number
    """  # noqa: S608 (our own words)
    values = {"before": before, "before_at": f"{before.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%S.%f}"}
    return [(str(month), int(number)) for month, number in conn.execute(text(query), values)]

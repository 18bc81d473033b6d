"""What the ledger says about a span of days, as plain lines for an evidence bundle: digests, numbers, moments.

No names of people and no file names but those of packages; the audit rows carry no personal data by themselves.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

Lines = list[dict[str, Any]]


def audit_range(conn: Connection, begin: dt.datetime, end: dt.datetime) -> tuple[int, int] | None:
    """First and last number of the audit rows from `begin` until before `end`; None when there is none."""
    span = {
        "begin": f"{begin.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%S}",
        "end": f"{end.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%S}",
    }
    first, last = conn.execute(text(_RANGE), span).one()
    return None if first is None else (int(first), int(last))


def audit_rows(conn: Connection, first: int, last: int) -> Lines:
    """The links of the chain, as they are stored."""
    return _lines(
        conn, "SELECT seq, prev, payload, hash FROM audit WHERE seq BETWEEN :a AND :b ORDER BY seq", first, last
    )


def move_rows(conn: Connection, first: int, last: int) -> Lines:
    """The moves those links speak of."""
    return _lines(conn, _MOVES, first, last)


def arrivals(conn: Connection, begin: dt.datetime, end: dt.datetime) -> Lines:
    """Everything that came into the store: files of cities, returns, lists about deliveries, evidence of pick-ups."""
    return _lines(conn, _ARRIVALS, begin, end)


def proofs(conn: Connection, begin: dt.datetime, end: dt.datetime) -> Lines:
    """Proofs issued, by number and digest."""
    return _lines(conn, _PROOFS, begin, end)


def packages(conn: Connection, begin: dt.datetime, end: dt.datetime) -> Lines:
    """Packages built or sent, with their signed manifests."""
    return _lines(conn, _PACKAGES, begin, end)


def transfers(conn: Connection, begin: dt.datetime, end: dt.datetime) -> Lines:
    """Every step towards the authority."""
    return _lines(conn, _TRANSFERS, begin, end)


def orders(conn: Connection, begin: dt.datetime, end: dt.datetime) -> Lines:
    """Order lists for EMS, and what the province's system was told (no account), by name and digest."""
    return _lines(conn, _ORDERS, begin, end)


def _lines(conn: Connection, query: str, a: object, b: object) -> Lines:
    return [_plain(row._asdict()) for row in conn.execute(text(query), {"a": a, "b": b})]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.astimezone(dt.UTC).isoformat() if isinstance(value, dt.datetime) else value
        for name, value in row.items()
    }


_RANGE = """
SELECT min(seq), max(seq) FROM audit
WHERE CASE WHEN pg_input_is_valid(payload, 'jsonb') THEN payload::jsonb ->> 'at' END >= :begin
    AND CASE WHEN pg_input_is_valid(payload, 'jsonb') THEN payload::jsonb ->> 'at' END < :end
"""
_MOVES = """
SELECT audit_seq, object_id, from_state, to_state FROM moves
WHERE audit_seq BETWEEN :a AND :b ORDER BY audit_seq, object_id
"""
_ARRIVALS = """
SELECT 'file' AS kind, id, account, sha256, size, received_at AS at FROM files
    WHERE received_at >= :a AND received_at < :b
UNION ALL SELECT 'return', id, '', sha256, size, received_at FROM returns WHERE received_at >= :a AND received_at < :b
UNION ALL SELECT 'delivery', id, account, sha256, size, received_at FROM delivery_files
    WHERE received_at >= :a AND received_at < :b
UNION ALL SELECT 'pickup', id, account, sha256, size, received_at FROM pickup_files
    WHERE received_at >= :a AND received_at < :b
ORDER BY 1, 2
"""
_PROOFS = """
SELECT id, number, account, sha256, size, issued_at AS at FROM proofs
WHERE issued_at >= :a AND issued_at < :b ORDER BY id
"""
_PACKAGES = """
SELECT p.id, b.month, b.number AS batch, p.exam_code, p.file_name, p.sha256, p.size, p.row_count, p.photo_count,
       p.built_at AS at, p.manifest
FROM packages p JOIN batches b ON b.id = p.batch_id
WHERE p.built_at >= :a AND p.built_at < :b OR p.id IN (SELECT package_id FROM transfers WHERE at >= :a AND at < :b)
ORDER BY p.id
"""
_TRANSFERS = """
SELECT id, package_id, token, event, detail, at FROM transfers WHERE at >= :a AND at < :b ORDER BY id
"""
_ORDERS = """
SELECT id, account, name, sha256, size, made_at AS at FROM delivery_orders
WHERE made_at >= :a AND made_at < :b
UNION ALL SELECT id, '', name, sha256, size, made_at FROM delivery_exports WHERE made_at >= :a AND made_at < :b
ORDER BY account, id
"""

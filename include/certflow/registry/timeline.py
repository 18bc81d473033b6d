"""One certificate's story: from the city's file over print and delivery to the signature, with digests, in order."""

import json
from typing import Any

from sqlalchemy import ColumnElement, Connection, select, text

from certflow.registry.schema import batches, certificates, rows, submissions

Fact = dict[str, Any]


def timeline(conn: Connection, management_no: str) -> Fact | None:
    """Everything the database knows of a 管理号, or None when it knows nothing. Carries personal data.

    ``certificate``: the database's values or None; ``requests``: one object per row, newest last, with the ``files``
    it came in (digests), its ``moves`` (at, from, to, by), ``packages`` (digests with ``decisions``, ``transfers``),
    the ``returns`` that spoke of it (digests, undone or not), ``proofs``, and its ``delivery`` (state, waybill, moves,
    choices, tracking, evidence with digests) or None; ``prints``: the print events, those that take one back included.
    """
    return _story(conn, management_no, certificates.c.management_no == management_no,
                  rows.c.management_no == management_no)  # fmt: skip


def timeline_of(conn: Connection, number: str) -> Fact | None:
    """The timeline of a 管理号 or of a record id; of a record without a 管理号 its own row is all there is."""
    found = conn.execute(
        select(rows.c.management_no, rows.c.certificate_id).where(rows.c.record_id == number)
    ).one_or_none()
    if found is None or found.management_no:
        return timeline(conn, number if found is None else found.management_no)
    return _story(conn, "", certificates.c.id == found.certificate_id, rows.c.record_id == number)


def _story(conn: Connection, management_no: str, which: ColumnElement[bool], whose: ColumnElement[bool]) -> Fact | None:
    certificate = conn.execute(select(certificates).where(which)).one_or_none()
    requests = [_request(conn, row._asdict()) for row in conn.execute(_requests(whose))]
    if certificate is None and not requests:
        return None
    return {
        "management_no": management_no,
        "certificate": certificate._asdict() if certificate is not None else None,
        "requests": requests,
        "prints": _facts(conn, _PRINTS, certificate.id) if certificate is not None else [],
    }


def _requests(whose: ColumnElement[bool]) -> Any:  # noqa: ANN401 (a select)
    return (
        select(
            rows.c.id, rows.c.record_id, rows.c.state, rows.c.row_no, submissions.c.month, submissions.c.account,
            submissions.c.city, submissions.c.exam_code, submissions.c.id.label("submission_id"),
            batches.c.number.label("batch"),
        )
        .join(submissions, submissions.c.id == rows.c.submission_id)
        .outerjoin(batches, batches.c.id == rows.c.batch_id)
        .where(whose)
        .order_by(rows.c.id)
    )  # fmt: skip


def _request(conn: Connection, row: Fact) -> Fact:
    row_id, submission_id = row.pop("id"), row.pop("submission_id")
    packages = _facts(conn, _PACKAGES, row_id)
    return row | {
        "files": _facts(conn, _FILES, submission_id),
        "moves": _moves(conn, "row", row_id),
        "packages": [
            one | {"decisions": _facts(conn, _DECISIONS, one["id"]), "transfers": _facts(conn, _TRANSFERS, one["id"])}
            for one in packages
        ],
        "returns": _facts(conn, _RETURNS, row_id),
        "proofs": _facts(conn, _PROOFS, row_id),
        "delivery": _delivery(conn, row_id),
    }


def _delivery(conn: Connection, row_id: int) -> Fact | None:
    found = _facts(conn, _DELIVERY, row_id)
    if not found:
        return None
    number = found[0].pop("id")
    return found[0] | {
        "moves": _moves(conn, "delivery", number),
        "choices": _facts(conn, _CHOICES, number),
        "tracking": _facts(conn, _TRACKING, number),
        "evidence": _facts(conn, _EVIDENCE, number),
    }


def _moves(conn: Connection, kind: str, number: int) -> list[Fact]:
    steps = []
    for before, after, payload in conn.execute(text(_MOVES), {"kind": kind, "id": number}):
        words = json.loads(payload)
        steps.append({"at": words["at"], "from": before, "to": after, "by": words["actor"]})
    return steps


def _facts(conn: Connection, query: str, number: int) -> list[Fact]:
    """Rows as plain values: moments and days in ISO form."""
    return [
        {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row._asdict().items()}
        for row in conn.execute(text(query), {"id": number})
    ]


_FILES = """
SELECT f.id AS file_id, f.received_at, f.sha256, f.size FROM files f
JOIN submission_files s ON s.file_id = f.id WHERE s.submission_id = :id ORDER BY f.id
"""
_MOVES = """
SELECT m.from_state, m.to_state, a.payload FROM moves m JOIN audit a ON a.seq = m.audit_seq
WHERE m.kind = :kind AND m.object_id = :id ORDER BY m.id
"""
_PACKAGES = """
SELECT p.id, p.file_name, p.sha256, p.state, p.built_at FROM packages p
JOIN package_rows r ON r.package_id = p.id WHERE r.row_id = :id ORDER BY p.id
"""
# Until the batch was rejected: what came after speaks of packages built anew.
_DECISIONS = """
SELECT a.decision, a.by, a.reason, a.at FROM packages p JOIN approvals a ON a.batch_id = p.batch_id
WHERE p.id = :id AND a.at >= p.built_at AND NOT EXISTS (
    SELECT FROM approvals e
    WHERE e.batch_id = p.batch_id AND e.at >= p.built_at AND e.decision = 'rejected' AND e.id < a.id)
ORDER BY a.id
"""
_TRANSFERS = "SELECT event, at FROM transfers WHERE package_id = :id ORDER BY id"
_RETURNS = """
SELECT r.id AS return_id, r.sha256, r.received_at, l.row_no, l.bucket, l.result, l.applied, u.at AS undone_at,
       u.by AS undone_by, u.reason AS undo_reason
FROM return_rows l JOIN returns r ON r.id = l.return_id LEFT JOIN return_undos u ON u.id = l.undo_id
WHERE l.row_id = :id ORDER BY l.id
"""
_PROOFS = """
SELECT number, kind, purpose, issued_at, issued_by, sha256, revoked_at, revoked_by, revoke_reason FROM proofs
WHERE row_id = :id ORDER BY id
"""
_DELIVERY = """
SELECT d.id, d.state, coalesce(d.waybill, '') AS waybill, d.attempt, coalesce(o.name, '') AS order_list,
       coalesce(o.sha256, '') AS order_sha256
FROM deliveries d LEFT JOIN delivery_orders o ON o.id = d.order_id WHERE d.row_id = :id
"""
_CHOICES = """
SELECT c.way, c.row_no, f.sha256, coalesce(c.made_at, f.received_at) AS received_at
FROM deliveries d JOIN rows r ON r.id = d.row_id
JOIN delivery_choices c ON c.management_no = r.management_no AND c.account = d.account AND r.management_no <> ''
JOIN delivery_files f ON f.id = c.file_id WHERE d.id = :id ORDER BY c.id
"""
_TRACKING = """
SELECT e.happened_at, e.state, e.waybill, e.effect, e.row_no, f.sha256, f.received_at FROM delivery_events e
JOIN delivery_files f ON f.id = e.file_id WHERE e.delivery_id = :id ORDER BY e.id
"""
_EVIDENCE = """
SELECT f.id AS file_id, l.kind, f.sha256, f.size, f.received_at, l.at AS linked_at, l.by AS linked_by,
       u.at AS unlinked_at, u.by AS unlinked_by, u.reason AS unlink_reason
FROM pickup_links l JOIN pickup_files f ON f.id = l.file_id LEFT JOIN pickup_unlinks u ON u.link_id = l.id
WHERE l.delivery_id = :id ORDER BY l.id
"""
_PRINTS = """
SELECT serial, mark, printed_on, recorded_at FROM print_events WHERE certificate_id = :id ORDER BY id
"""

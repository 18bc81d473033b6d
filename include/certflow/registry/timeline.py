"""One certificate's story: what was asked for, judged, packed, sent and printed, in the order it happened."""

import json
from typing import Any

from sqlalchemy import Connection, select

from certflow.registry.schema import (
    audit,
    batches,
    certificates,
    files,
    moves,
    package_rows,
    packages,
    print_events,
    rows,
    submission_files,
    submissions,
)


def timeline(conn: Connection, management_no: str) -> dict[str, Any] | None:
    """Everything the database knows of a 管理号, or None when it knows nothing. Carries personal data.

    ``certificate``: the database's values or None; ``requests``: one object per row, newest last, with ``moves``
    (at, from, to, by), ``packages`` and the files it came in; ``prints``: the print events.
    """
    certificate = conn.execute(select(certificates).where(certificates.c.management_no == management_no)).one_or_none()
    requests = [_request(conn, row._asdict()) for row in conn.execute(_requests(management_no))]
    if certificate is None and not requests:
        return None
    return {
        "management_no": management_no,
        "certificate": certificate._asdict() if certificate is not None else None,
        "requests": requests,
        "prints": _prints(conn, certificate.id) if certificate is not None else [],
    }


def _requests(management_no: str) -> Any:  # noqa: ANN401 (a select)
    return (
        select(
            rows.c.id, rows.c.record_id, rows.c.state, rows.c.row_no, submissions.c.month, submissions.c.city,
            submissions.c.exam_code, submissions.c.id.label("submission_id"), batches.c.number.label("batch"),
        )
        .join(submissions, submissions.c.id == rows.c.submission_id)
        .outerjoin(batches, batches.c.id == rows.c.batch_id)
        .where(rows.c.management_no == management_no)
        .order_by(rows.c.id)
    )  # fmt: skip


def _request(conn: Connection, row: dict[str, Any]) -> dict[str, Any]:
    row_id, submission_id = row.pop("id"), row.pop("submission_id")
    received = conn.execute(
        select(files.c.id, files.c.received_at)
        .join(submission_files, submission_files.c.file_id == files.c.id)
        .where(submission_files.c.submission_id == submission_id)
        .order_by(files.c.id)
    )
    packed = conn.execute(
        select(packages.c.id, packages.c.file_name, packages.c.sha256, packages.c.state, packages.c.built_at)
        .join(package_rows, package_rows.c.package_id == packages.c.id)
        .where(package_rows.c.row_id == row_id)
        .order_by(packages.c.id)
    )
    return row | {
        "files": [{"file_id": file.id, "received_at": file.received_at.isoformat()} for file in received],
        "moves": _moves(conn, row_id),
        "packages": [one._asdict() | {"built_at": one.built_at.isoformat()} for one in packed],
    }


def _moves(conn: Connection, row_id: int) -> list[dict[str, str]]:
    found = conn.execute(
        select(moves.c.from_state, moves.c.to_state, audit.c.payload)
        .join(audit, audit.c.seq == moves.c.audit_seq)
        .where(moves.c.kind == "row", moves.c.object_id == row_id)
        .order_by(moves.c.id)
    )
    steps = []
    for before, after, payload in found:
        words = json.loads(payload)
        steps.append({"at": words["at"], "from": before, "to": after, "by": words["actor"]})
    return steps


def _prints(conn: Connection, certificate_id: int) -> list[dict[str, str]]:
    found = conn.execute(
        select(print_events.c.serial, print_events.c.mark, print_events.c.printed_on, print_events.c.recorded_at)
        .where(print_events.c.certificate_id == certificate_id)
        .order_by(print_events.c.id)
    )
    return [
        {
            "serial": event.serial,
            "mark": event.mark,
            "printed_on": event.printed_on.isoformat(),
            "recorded_at": event.recorded_at.isoformat(),
        }
        for event in found
    ]

"""Alerts that somebody asked to keep quiet for a while; append-only, each ends by itself."""

from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from certflow.registry.schema import silences


def add(conn: Connection, kind: str, subject: str, *, until: datetime, by: str, reason: str) -> None:
    """Record a silence; of several about one subject the newest counts."""
    conn.execute(insert(silences).values(kind=kind, subject=subject, until=until, by=by, reason=reason))


def in_force(conn: Connection, now: datetime) -> set[tuple[str, str]]:
    """(kind, subject) of every silence whose newest line has not ended at `now`."""
    newest = select(func.max(silences.c.id)).group_by(silences.c.kind, silences.c.subject)
    found = conn.execute(
        select(silences.c.kind, silences.c.subject).where(silences.c.id.in_(newest), silences.c.until >= now)
    )
    return {(str(kind), str(subject)) for kind, subject in found}

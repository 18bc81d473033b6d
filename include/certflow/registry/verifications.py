"""Verifications in the ledger (notice 三(二)): what is on record about each, and how often somebody may ask.

Each function works inside the caller's transaction.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from certflow.month import SHANGHAI
from certflow.registry.schema import certificates, verification_tries, verifications


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the database says (PII)."""

    id: int
    management_no: str
    name: str
    id_number: str
    exam: str
    level: str
    specialty: str
    approved_on: str
    city: str


@dataclass(frozen=True, slots=True)
class Logged:
    """One verification on record; nothing in it says who was asked about."""

    at: dt.datetime
    way: str
    operator: str
    requester: str
    reason: str
    result: str

    @property
    def shown_at(self) -> str:
        """The time in Shanghai, to the minute."""
        return f"{self.at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"


def find(conn: Connection, management_no: str, id_numbers: Sequence[str]) -> list[Certificate]:
    """Certificates with this 管理号, and those whose holder's number is written in one of these ways."""
    query = select(
        certificates.c.id, certificates.c.management_no, certificates.c.name, certificates.c.id_number,
        certificates.c.exam_name, certificates.c.level, certificates.c.specialty, certificates.c.approved_on,
        certificates.c.city,
    ).where(
        or_(certificates.c.management_no == management_no, certificates.c.id_number.in_(id_numbers))
    ).order_by(certificates.c.id)  # fmt: skip
    return [Certificate(number, no or "", *rest) for number, no, *rest in conn.execute(query)]


def count_try(conn: Connection, subject: str, began: dt.datetime) -> tuple[int, int]:
    """Count one more try of the subject in the window that began then, as a miss until `forgive`: (tries, misses)."""
    made = insert(verification_tries).values(subject=subject, began=began, tries=1, misses=1)
    table = verification_tries.c
    counted = made.on_conflict_do_update(
        index_elements=[table.subject, table.began], set_={"tries": table.tries + 1, "misses": table.misses + 1}
    ).returning(table.tries, table.misses)
    tries, misses = conn.execute(counted).one()
    return int(tries), int(misses)


def forgive(conn: Connection, subject: str, began: dt.datetime) -> None:
    """The last try was no miss."""
    table = verification_tries.c
    mine = update(verification_tries).where(table.subject == subject, table.began == began)
    conn.execute(mine.values(misses=table.misses - 1))


def log(conn: Connection, entry: Mapping[str, Any]) -> None:
    """Put one verification on record (columns of `verifications`)."""
    conn.execute(insert(verifications).values(**entry))


def logged(conn: Connection, account: str, limit: int = 100) -> list[Logged]:
    """The newest verifications of a city."""
    table = verifications.c
    query = select(table.at, table.way, table.operator, table.requester, table.reason, table.result)
    found = conn.execute(query.where(table.account == account).order_by(table.id.desc()).limit(limit))
    return [Logged(*row) for row in found]

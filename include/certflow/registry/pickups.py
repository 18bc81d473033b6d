"""Evidence of pick-ups in the ledger: files of the devices at the desk, and which certificate each belongs to.

Append-only; a file that belongs to nothing known stays in `unlinked` until a person links it. A link that was wrong is
taken back by an entry of its own and counts nowhere but in the timeline. File names may hold ID numbers: they stay in
here.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Select, exists, func, select, text
from sqlalchemy.dialects.postgresql import insert

from certflow.registry.ledger import errand
from certflow.registry.schema import deliveries, pickup_files, pickup_links, pickup_unlinks, purged, rows


@dataclass(frozen=True, slots=True)
class Piece:
    """One file. `name` as the device wrote it (may hold personal data), `kind` empty where the name does not say."""

    id: int
    account: str
    name: str
    sha256: str
    size: int
    kind: str
    received_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Place:
    """A delivery a file may belong to (PII in `id_number`)."""

    delivery_id: int
    record_id: str
    management_no: str
    id_number: str
    state: str
    row_state: str


def record(conn: Connection, piece: Mapping[str, object]) -> tuple[Piece, bool]:
    """The file with this account and sha256, and whether it is new; the same bytes are one file."""
    conn.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('certflow:pickups', 0))"))
    made = insert(pickup_files).values(**piece).on_conflict_do_nothing().returning(pickup_files.c.id)
    new = conn.scalar(made) is not None
    where = (pickup_files.c.account == piece["account"], pickup_files.c.sha256 == piece["sha256"])
    return Piece(*conn.execute(select(*_piece()).where(*where)).one()), new


def piece(conn: Connection, file_id: int) -> Piece | None:
    """One file by id."""
    found = conn.execute(select(*_piece()).where(pickup_files.c.id == file_id)).one_or_none()
    return None if found is None else Piece(*found)


def link(conn: Connection, file_id: int, delivery_id: int, kind: str, by: str) -> bool:
    """Say that a file is evidence of this kind for this delivery; False when that is known already.

    The caller holds the turn of `deliveries`.
    """
    same = (pickup_links.c.file_id == file_id, pickup_links.c.delivery_id == delivery_id)
    if conn.scalar(select(exists().where(*same, pickup_links.c.kind == kind, _HOLDS))):
        return False
    conn.execute(insert(pickup_links).values(file_id=file_id, delivery_id=delivery_id, kind=kind, by=by))
    return True


def linked(conn: Connection, ids: Iterable[int]) -> defaultdict[int, set[str]]:
    """File → ID numbers of those whose certificates it belongs or once belonged to; links taken back count, too."""
    found: defaultdict[int, set[str]] = defaultdict(set)
    places = pickup_links.join(deliveries, deliveries.c.id == pickup_links.c.delivery_id)
    places = places.join(rows, rows.c.id == deliveries.c.row_id)
    query = select(pickup_links.c.file_id, rows.c.id_number).select_from(places)
    for file_id, id_number in conn.execute(query.where(pickup_links.c.file_id == func.any(list(ids)))):
        found[file_id].add(id_number)
    return found


def unlink(conn: Connection, file_id: int, name: str, by: str, reason: str) -> list[tuple[int, str]]:
    """Take back what links a file to the certificate of this 管理号 or record id: (delivery, kind) of each link."""
    named = (rows.c.management_no == name) | (rows.c.record_id == name)
    query = select(pickup_links.c.id, pickup_links.c.delivery_id, pickup_links.c.kind)
    query = query.join(deliveries, deliveries.c.id == pickup_links.c.delivery_id)
    query = query.join(rows, rows.c.id == deliveries.c.row_id).where(pickup_links.c.file_id == file_id, named, _HOLDS)
    found = conn.execute(query.order_by(pickup_links.c.id)).all()
    if found:
        values = [{"link_id": one.id, "by": by, "reason": reason} for one in found]
        conn.execute(insert(pickup_unlinks), values)
    return [(int(one.delivery_id), str(one.kind)) for one in found]


def unlinked(conn: Connection, account: str = "") -> list[Piece]:
    """Files that belong to no certificate yet and were not purged, oldest first."""
    gone = exists().where(purged.c.kind == "pickup_files", purged.c.object_id == pickup_files.c.id)
    query = select(*_piece()).where(~exists().where(pickup_links.c.file_id == pickup_files.c.id, _HOLDS), ~gone)
    if account:
        query = query.where(pickup_files.c.account == account)
    return [Piece(*row) for row in conn.execute(query.order_by(pickup_files.c.id))]


def places_by_number(conn: Connection, account: str, keys: Iterable[str]) -> dict[str, Place]:
    """管理号 or record id → the newest delivery of this city."""
    wanted = list(keys)
    named = (rows.c.management_no == func.any(wanted)) | (rows.c.record_id == func.any(wanted))
    found: dict[str, Place] = {}
    for row in conn.execute(_places().where(deliveries.c.account == account, named).order_by(deliveries.c.id)):
        place = Place(*row)
        found[place.management_no] = found[place.record_id] = place
    return found


def places_by_person(conn: Connection, account: str, ids: Iterable[str]) -> dict[str, list[Place]]:
    """ID number → the person's certificates in this city that are not settled yet."""
    open_ones = rows.c.state.in_(("PRINTED", "DELIVERED"))
    where = (deliveries.c.account == account, rows.c.id_number == func.any(list(ids)), open_ones)
    found: defaultdict[str, list[Place]] = defaultdict(list)
    for row in conn.execute(_places().where(*where).order_by(deliveries.c.id)):
        found[Place(*row).id_number].append(Place(*row))
    return found


def signed(conn: Connection, account: str, kind: str, states: Sequence[str]) -> list[Place]:
    """Certificates in one of these states that have evidence of this kind."""
    has = exists().where(pickup_links.c.delivery_id == deliveries.c.id, pickup_links.c.kind == kind, _HOLDS)
    query = _places().where(deliveries.c.state.in_(states), has)
    if account:
        query = query.where(deliveries.c.account == account)
    return [Place(*row) for row in conn.execute(query.order_by(deliveries.c.id))]


def handed(conn: Connection, account: str = "") -> list[Place]:
    """Certificates that were handed out and whose evidence is not complete yet."""
    query = _places().where(deliveries.c.state == "HANDED", rows.c.state == "DELIVERED")
    if account:
        query = query.where(deliveries.c.account == account)
    return [Place(*row) for row in conn.execute(query.order_by(deliveries.c.id))]


def kinds(conn: Connection, ids: Sequence[int]) -> defaultdict[int, set[str]]:
    """Delivery → the kinds of evidence it has."""
    found: defaultdict[int, set[str]] = defaultdict(set)
    query = select(pickup_links.c.delivery_id, pickup_links.c.kind)
    for one, kind in conn.execute(query.where(pickup_links.c.delivery_id == func.any(list(ids)), _HOLDS)):
        found[one].add(kind)
    return found


def close(conn: Connection, ids: Sequence[int]) -> None:
    """DELIVERED → CLOSED for the rows of these deliveries."""
    found = select(deliveries.c.row_id).where(deliveries.c.id == func.any(list(ids)))
    conn.execute(rows.update().where(rows.c.id.in_(found), rows.c.state == "DELIVERED").values(state="CLOSED"))


def reopen(conn: Connection, ids: Sequence[int]) -> None:
    """CLOSED → DELIVERED for the rows of these deliveries that were handed out at the desk."""
    found = select(deliveries.c.row_id).where(deliveries.c.id == func.any(list(ids)), deliveries.c.state == "HANDED")
    with errand(conn, "undo"):
        conn.execute(rows.update().where(rows.c.id.in_(found), rows.c.state == "CLOSED").values(state="DELIVERED"))


_HOLDS = ~exists().where(pickup_unlinks.c.link_id == pickup_links.c.id)
"""Links that nobody took back."""


def _piece() -> list[Column[Any]]:
    return [pickup_files.c[name] for name in ("id", "account", "name", "sha256", "size", "kind", "received_at")]


def _places() -> Select[Any]:
    columns = (rows.c.record_id, rows.c.management_no, rows.c.id_number, deliveries.c.state, rows.c.state)
    return select(deliveries.c.id, *columns).join(rows, rows.c.id == deliveries.c.row_id)

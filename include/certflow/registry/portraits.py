"""The photos of the ledger as they are compared with new ones: their sketches, and whose they are (P17).

A sketch (`certflow.likeness`) is kept of the photo of every row that waits or goes on; nothing here knows a picture.
It is emptied when the photo is purged (`registry.retention`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, select, text

from certflow.findings import Outcome
from certflow.registry.bulk import insert_many, steps
from certflow.registry.packages import Photo
from certflow.registry.schema import entries, files, portraits, rows

if TYPE_CHECKING:
    from certflow.checks.judged import Judged

TURNED_DOWN = ("RETURNED", "REFUSED", "IGNORED", "WITHDRAWN")
"""States of rows whose photo may have been somebody else's by mistake: nothing is compared with them."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """All sketches at once, in the order of `ids`."""

    ids: tuple[int, ...]
    sketches: bytes
    """End to end."""
    newest: int
    """The last id on the shelf; 0: none."""
    persons: tuple[str | None, ...] = ()
    """Whose each is, by the ID number of its rows; None for two people's, and for people who were not asked for."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A row of the ledger that came with a photo (PII)."""

    record: str
    id_number: str
    management_no: str
    photo: Photo


def shelf(conn: Connection, since: int = 0) -> Shelf:
    """Every sketch that was added after the one with the id `since`."""
    return _shelf(conn, since, _SHELF)


def standing(conn: Connection, since: int, persons: Iterable[str], without: Iterable[int] = ()) -> Shelf:
    """Of these the photos some row of which was not turned down; twice the work of `shelf`.

    `persons`: ID numbers of whom it is worth to know which are theirs; `without`: submissions that do not count.
    """
    known = sorted(number for number in persons if number.isprintable())  # others the ledger cannot hold
    asked = {"turned_down": [*TURNED_DOWN], "without": sorted(without), "persons": known}
    return _shelf(conn, since, _STANDING, **asked)


def _shelf(conn: Connection, since: int, query: str, **asked: object) -> Shelf:
    found = conn.execute(text(query), {"since": since, **asked}).one()
    ids = tuple(found.ids or ())
    return Shelf(ids, bytes(found.sketches or b""), max(ids, default=since), tuple(found.persons or ()))


def newest(conn: Connection) -> int:
    """The id of the sketch that was added last; 0: none."""
    return int(conn.scalar(select(func.coalesce(func.max(portraits.c.id), 0))) or 0)


def owners(conn: Connection, ids: Iterable[int], without: Iterable[int] = ()) -> Mapping[int, list[Owner]]:
    """By id of a sketch the rows with this photo that were not turned down, oldest first.

    `without`: submissions that do not count.
    """
    query = (
        select(
            portraits.c.id, rows.c.record_id, rows.c.id_number, rows.c.management_no, files.c.sha256,
            entries.c.data_offset, entries.c.packed_size, entries.c.method, entries.c.size, entries.c.crc32,
            entries.c.sha256.label("photo"),
        )
        .join(entries, entries.c.id == portraits.c.entry_id)
        .join(files, files.c.id == entries.c.file_id)
        .join(rows, rows.c.photo_entry_id == entries.c.id)
        .where(
            portraits.c.id.in_(sorted(set(ids))), rows.c.state.not_in(TURNED_DOWN),
            rows.c.submission_id.not_in(sorted(without)),
        )
        .order_by(rows.c.id)
    )  # fmt: skip
    found: dict[int, list[Owner]] = defaultdict(list)
    for number, record, id_number, management_no, *place in conn.execute(query):
        found[number].append(Owner(record, id_number, management_no, Photo(*place)))
    return found


def record(conn: Connection, one: "Judged", entry_ids: Mapping[tuple[str, int], int]) -> None:
    """Put the photos of a submission's rows on the shelf; one that lies there already stays as it is."""
    drawn = {
        entry_ids[row.photo[0].sha256, row.photo[1].ordinal]: row.sketch
        for row in one.rows
        if row.photo is not None
        and row.sketch is not None
        and row.outcome in (Outcome.ACCEPTED, Outcome.HELD, Outcome.PROOF)
        and (row.photo[0].sha256, row.photo[1].ordinal) in entry_ids
    }
    for step in steps({"entry_id": entry_id, "sketch": sketch} for entry_id, sketch in sorted(drawn.items())):
        new, given = insert_many(portraits, step)
        conn.execute(new.on_conflict_do_nothing(index_elements=["entry_id"]), given)


_SHELF = """
    SELECT array_agg(id ORDER BY id) AS ids, string_agg(sketch, '' ORDER BY id) AS sketches, NULL AS persons
    FROM portraits WHERE id > :since AND sketch <> ''
"""

_STANDING = """
    WITH standing AS (
        SELECT p.id, p.sketch, min(r.id_number) AS first, max(r.id_number) AS last
        FROM portraits p JOIN rows r ON r.photo_entry_id = p.entry_id
        WHERE p.id > :since AND p.sketch <> '' AND r.state <> ALL(:turned_down) AND r.submission_id <> ALL(:without)
        GROUP BY p.id
    )
    SELECT
        array_agg(id ORDER BY id) AS ids, string_agg(sketch, '' ORDER BY id) AS sketches,
        array_agg(CASE WHEN first = last AND last = ANY(:persons) THEN last END ORDER BY id) AS persons
    FROM standing
"""

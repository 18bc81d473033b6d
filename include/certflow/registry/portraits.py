"""The photos of the ledger as they are compared with new ones: their sketches, and whose they are (P17).

A sketch (`certflow.likeness`) is kept of the photo of every row that waits or goes on; nothing here knows a picture.
It is emptied when the photo is purged (`registry.retention`).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
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


_PAGE = 1 << 14
"""Sketches that are brought from the ledger at once: 1 MB, twice that on the way."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Some sketches, in the order of `ids`."""

    ids: tuple[int, ...]
    sketches: bytes
    """End to end."""
    persons: tuple[str | None, ...] = ()
    """Whose each is, by the ID number of its rows; None for two people's, and for people who were not asked for."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A row of the ledger that came with a photo (PII)."""

    record: str
    id_number: str
    management_no: str
    photo: Photo


def shelf(conn: Connection, since: int, upto: int) -> Iterator[Shelf]:
    """Every sketch that was added after the one with the id `since`, the last one `upto`: a few at a time, these first.

    Years of photos are never in memory together.
    """
    return _pages(conn, since, upto, _SHELF)


def standing(
    conn: Connection, since: int, upto: int, persons: Iterable[str], without: Iterable[int] = ()
) -> Iterator[Shelf]:
    """Of these the photos some row of which was not turned down; twice the work of `shelf`.

    `persons`: ID numbers of whom it is worth to know which are theirs; `without`: submissions that do not count.
    """
    known = sorted(number for number in persons if number.isprintable())  # others the ledger cannot hold
    asked = {"turned_down": [*TURNED_DOWN], "without": sorted(without), "persons": known}
    return _pages(conn, since, upto, _STANDING, **asked)


def _pages(conn: Connection, since: int, upto: int, query: str, **asked: object) -> Iterator[Shelf]:
    while True:
        found = conn.execute(text(query), {"since": since, "upto": upto, "page": _PAGE, **asked}).one()
        if found.lowest is None:
            return
        if found.ids:
            yield Shelf(tuple(found.ids), bytes(found.sketches), tuple(found.persons or ()))
        upto = found.lowest - 1


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
            portraits.c.id == func.any(sorted(set(ids))), rows.c.state.not_in(TURNED_DOWN),
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
    WITH page AS (
        SELECT id, sketch FROM portraits WHERE id > :since AND id <= :upto AND sketch <> ''
        ORDER BY id DESC LIMIT :page
    )
    SELECT
        array_agg(id ORDER BY id) AS ids, string_agg(sketch, '' ORDER BY id) AS sketches, NULL AS persons,
        min(id) AS lowest
    FROM page
"""

_STANDING = """
    WITH page AS (
        SELECT id, entry_id, sketch FROM portraits WHERE id > :since AND id <= :upto AND sketch <> ''
        ORDER BY id DESC LIMIT :page
    ), standing AS (
        SELECT p.id, p.sketch, min(r.id_number) AS first, max(r.id_number) AS last
        FROM page p JOIN rows r ON r.photo_entry_id = p.entry_id
        WHERE r.state <> ALL(:turned_down) AND r.submission_id <> ALL(:without)
        GROUP BY p.id, p.sketch
    )
    SELECT
        array_agg(id ORDER BY id) AS ids, string_agg(sketch, '' ORDER BY id) AS sketches,
        array_agg(CASE WHEN first = last AND last = ANY(:persons) THEN last END ORDER BY id) AS persons,
        (SELECT min(id) FROM page) AS lowest
    FROM standing
"""

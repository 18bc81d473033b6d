"""What a refresh of the certificate database would change, shown before anything is written."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text

from certflow.registry.certificates import Progress, identities, stage
from certflow.registry.export import read_export
from certflow.registry.ledger import Registry

SHOWN = 20
"""Differences a preview shows."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that a load would change (PII)."""

    line: int
    field: str
    ours: str | None
    theirs: str | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a load would do, in lines and certificates; nothing has been written."""

    read: int
    inserted: int
    updated: int
    unchanged: int
    refused: list[tuple[int, str]]
    fields: dict[str, int]
    """Column → certificates whose value would change."""
    under_way: int
    """Certificates that would change while a request of theirs is open: what was sent up has the old values."""
    absent: int | None
    """Certificates the file does not hold, where it claims to be the whole database; they would stay."""
    samples: list[Difference]
    """The first of the differences."""


def preview(
    registry: Registry,
    file: Path,
    *,
    encoding: str = "utf-8-sig",
    full: bool = False,
    progress: Progress | None = None,
) -> Preview:
    """What `certificates.load` would change, and where. With `full` the file claims to be the whole database.

    Raises as `load`.
    """
    export = read_export(file, encoding)
    compared = [name for name in export.fields if name != "management_no"]
    fields: Counter[str] = Counter()
    samples: list[Difference] = []
    known = changed = under_way = absent = 0
    with registry.read() as connection:
        read, repeated, refused = stage(connection, export, progress)
        for identity, condition in identities():
            same = " AND ".join(f"c.{name} = i.{name}" for name in identity.split(", "))
            joined = f"incoming i JOIN certificates c ON {same} AND c.{condition} WHERE i.{condition}"
            found = _counted(connection, joined, compared)
            known, changed, under_way = known + found[0], changed + found[1], under_way + found[2]
            fields.update(dict(zip(compared, found[3:], strict=True)))
            samples += _differences(connection, joined, compared)
            if full:
                there = f"SELECT FROM incoming i WHERE {same} AND i.{condition}"
                gone = f"SELECT count(*) FROM certificates c WHERE c.{condition} AND NOT EXISTS ({there})"  # noqa: S608 (our own names)
                absent += int(connection.scalar(text(gone)) or 0)
        staged = int(connection.scalar(text("SELECT count(*) FROM incoming")) or 0)
    return Preview(
        read=read,
        inserted=staged - known,
        updated=changed,
        unchanged=known - changed + repeated,
        refused=sorted(refused),
        fields={name: many for name, many in fields.items() if many},
        under_way=under_way,
        absent=absent if full else None,
        samples=sorted(samples, key=lambda one: one.line)[:SHOWN],
    )


def _differs(compared: Sequence[str]) -> str:
    ours, theirs = (", ".join(f"{side}.{name}" for name in compared) for side in "ci")
    return f"({ours}) IS DISTINCT FROM ({theirs})"


def _counted(connection: Connection, joined: str, compared: Sequence[str]) -> tuple[int, ...]:
    """Certificates known, changed, changed while a request is open, and changed by column."""
    differs = _differs(compared)
    under_way = "c.id IN (SELECT certificate_id FROM rows WHERE state IN ('HELD', 'ACCEPTED', 'PACKED', 'SENT'))"
    filters = [differs, f"{differs} AND {under_way}", *(f"c.{name} IS DISTINCT FROM i.{name}" for name in compared)]
    counts = ", ".join(f"count(*) FILTER (WHERE {one})" for one in filters)
    return tuple(connection.execute(text(f"SELECT count(*), {counts} FROM {joined}")).one())  # noqa: S608 (our own names)


def _differences(connection: Connection, joined: str, compared: Sequence[str]) -> list[Difference]:
    pairs = ", ".join(f"c.{name}, i.{name}" for name in compared)
    query = f"SELECT i.line, {pairs} FROM {joined} AND {_differs(compared)} ORDER BY i.line LIMIT {SHOWN}"  # noqa: S608 (as above)
    return [
        Difference(int(row[0]), name, ours, theirs)
        for row in connection.execute(text(query))
        for name, ours, theirs in zip(compared, row[1::2], row[2::2], strict=True)
        if ours != theirs
    ]

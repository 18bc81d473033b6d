"""Batches and packages in the ledger: which rows go up together, and in which file.

Set-based; each function works inside the caller's transaction. States move by UPDATE alone: the triggers
check the move and write the audit row.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, exists, func, insert, or_, select, text, update

from certflow.registry.schema import (
    batches,
    certificates,
    entries,
    files,
    package_rows,
    packages,
    rows,
    submissions,
)

PACKED_OR_LATER = ("ACCEPTED", "PACKED", "SENT", "PRINTED", "REFUSED", "DELIVERED", "CLOSED")
"""States of a row that belongs to the packages of its batch."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes up together: number 0 is the month, n the n-th 补报."""

    id: int
    month: str
    number: int
    rule_set: str
    reopened: bool = False
    """Its rows are loose again; nothing of it goes up before it is frozen once more."""

    @property
    def folder(self) -> str:
        """Name of the batch's folder, here and at the authority (DESIGN §5)."""
        return self.month if self.number == 0 else f"{self.month}-补报{self.number}"


@dataclass(frozen=True, slots=True)
class PackageFile:
    """One zip of a package."""

    name: str
    sha256: str
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Package:
    """One package as the ledger knows it."""

    id: int
    batch_id: int
    exam_code: str
    revision: int
    stem: str
    file_name: str
    sha256: str
    size: int
    row_count: int
    photo_count: int
    manifest: Mapping[str, Any]
    companion: bool
    """A city's own package beside the merged one: its rows stand in that one too, and move with it."""
    state: str
    built_at: datetime

    @property
    def files(self) -> tuple[PackageFile, ...]:
        """What goes up before the manifest: the zip, and that of the photos where they are two."""
        own = PackageFile(self.file_name, self.sha256, self.size)
        photos = self.manifest.get("photos_zip")
        return (own, PackageFile(photos["file"], photos["sha256"], photos["size"])) if photos else (own,)

    @property
    def digest(self) -> str:
        """What stands for all of it."""
        return whole(*(file.sha256 for file in self.files))


def whole(*digests: str) -> str:
    """One digest for the files of a package: the only one's own, or SHA-256 (hex) over them in order, one a line."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(f"{one}\n" for one in digests).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Photo:
    """Where the photo of a row lies: entry of an original, by content address."""

    original: str
    """SHA-256 of the archive the city sent."""
    data_offset: int
    packed_size: int
    method: int
    size: int
    crc32: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class PackRow:
    """One row as it goes into a package (PII)."""

    id: int
    record_id: str
    folded: bytes
    """Its texts without ZP, UTF-8, with a NUL between them, which no text of a database holds."""
    photo: Photo | None
    account: str
    """Account of the city that sent it."""

    @property
    def values(self) -> dict[str, str]:
        """Its texts by the notice's field names; made anew: kept, they would weigh several times what `folded` does."""
        return dict(zip(_VALUES, self.folded.decode().split("\0"), strict=True))


PACKAGE = select(
    packages.c.id, packages.c.batch_id, packages.c.exam_code, packages.c.revision, packages.c.stem,
    packages.c.file_name, packages.c.sha256, packages.c.size, packages.c.row_count, packages.c.photo_count,
    packages.c.manifest, packages.c.companion, packages.c.state, packages.c.built_at,
)  # fmt: skip
"""Every column of `Package`."""


def batches_of(conn: Connection, month: str) -> list[Batch]:
    """The batches of a month, by number."""
    found = conn.execute(_BATCH.where(batches.c.month == month).order_by(batches.c.number))
    return [Batch(*row) for row in found]


def batch(conn: Connection, batch_id: int) -> Batch | None:
    """One batch by id."""
    row = conn.execute(_BATCH.where(batches.c.id == batch_id)).one_or_none()
    return Batch(*row) if row else None


def rule_set_of(conn: Connection, month: str) -> str:
    """Name of the rule set the month was judged by (the newest, when it changed); "" when nothing came."""
    newest = select(submissions.c.rule_set).where(submissions.c.month == month, submissions.c.lane == "month")
    return str(conn.scalar(newest.order_by(submissions.c.judged_at.desc()).limit(1)) or "")


def waiting_rows(conn: Connection, month: str) -> int:
    """Rows of the month that are accepted and in no batch yet."""
    count = select(func.count()).select_from(rows.join(submissions)).where(_unbatched(month))
    return int(conn.scalar(count) or 0)


def unsent(conn: Connection) -> dict[str, tuple[int, int]]:
    """Month → (its accepted rows in no package, its packages that were neither sent nor rejected), where any are."""
    loose = (
        select(submissions.c.month, func.count())
        .select_from(rows.join(submissions))
        .where(submissions.c.lane == "month", rows.c.state == "ACCEPTED")
        .group_by(submissions.c.month)
    )
    live = (
        select(batches.c.month, func.count())
        .select_from(packages.join(batches))
        .where(packages.c.state.not_in(("SENT", "REJECTED")))
        .group_by(batches.c.month)
    )
    waiting = {str(month): int(count) for month, count in conn.execute(loose)}
    under_way = {str(month): int(count) for month, count in conn.execute(live)}
    return {month: (waiting.get(month, 0), under_way.get(month, 0)) for month in sorted({*waiting, *under_way})}


def open_batch(conn: Connection, month: str, number: int, rule_set: str) -> Batch:
    """Create the batch and take every accepted row of the month that has none."""
    made = insert(batches).values(month=month, number=number, rule_set=rule_set).returning(batches.c.id)
    batch_id = int(conn.execute(made).scalar_one())
    _fill(conn, batch_id, month)
    return Batch(batch_id, month, number, rule_set)


def loosen(conn: Connection, batch_id: int) -> int:
    """Reopen a batch: its accepted rows are in no batch again; returns how many."""
    conn.execute(update(batches).where(batches.c.id == batch_id).values(reopened_at=func.now()))
    freed = update(rows).where(rows.c.batch_id == batch_id, rows.c.state == "ACCEPTED")
    return conn.execute(freed.values(batch_id=None)).rowcount


def close_again(conn: Connection, batch: Batch, rule_set: str) -> Batch:
    """Freeze a reopened batch once more, with every accepted row of the month that is in none."""
    closed = update(batches).where(batches.c.id == batch.id)
    conn.execute(closed.values(reopened_at=None, frozen_at=func.now(), rule_set=rule_set))
    _fill(conn, batch.id, batch.month)
    return replace(batch, rule_set=rule_set, reopened=False)


def exams_of(conn: Connection, batch_id: int) -> dict[str, int]:
    """Exam code → rows of the batch that belong to its package, whether packed already or not; sorted."""
    found = conn.execute(
        select(submissions.c.exam_code, func.count())
        .select_from(rows.join(submissions))
        .where(rows.c.batch_id == batch_id, rows.c.state.in_(PACKED_OR_LATER))
        .group_by(submissions.c.exam_code)
        .order_by(submissions.c.exam_code.collate("C"))
    )
    return {str(code): int(count) for code, count in found}


def unpacked(conn: Connection, batch_id: int) -> int:
    """Rows of the batch that are accepted but in no package."""
    count = select(func.count()).select_from(rows).where(rows.c.batch_id == batch_id, rows.c.state == "ACCEPTED")
    return int(conn.scalar(count) or 0)


def half_packed(conn: Connection, month: str) -> Batch | None:
    """The oldest batch of the month with packages and accepted rows in none of them: they went back, or one failed."""
    some = exists().where(packages.c.batch_id == batches.c.id)
    loose = exists().where(rows.c.batch_id == batches.c.id, rows.c.state == "ACCEPTED")
    query = _BATCH.where(batches.c.month == month, some, loose).order_by(batches.c.number).limit(1)
    row = conn.execute(query).one_or_none()
    return Batch(*row) if row else None


def rows_to_pack(conn: Connection, batch_id: int, exam_code: str, *, lock: bool = False) -> Iterator[PackRow]:
    """The accepted rows of one exam in the order of the notice, as they come: 批准日期, then 管理号 (附件二 3).

    `lock` holds them until the transaction ends, so that what is compared is what is packed.
    """
    query = _PACK_ROW.where(
        rows.c.batch_id == batch_id, submissions.c.exam_code == exam_code, rows.c.state == "ACCEPTED"
    ).order_by(*_ORDER)
    if lock:
        query = query.with_for_update(of=rows)
    yield from _pack_rows(conn, query)


def packed_rows(conn: Connection, package_id: int) -> list[PackRow]:
    """The rows of a package in the order in which they stand in it."""
    query = (
        _PACK_ROW.join(package_rows, package_rows.c.row_id == rows.c.id)
        .where(package_rows.c.package_id == package_id)
        .order_by(package_rows.c.ordinal)
    )
    return list(_pack_rows(conn, query))


def sample_rows(conn: Connection, package_id: int, most: int) -> list[PackRow]:
    """At most so many rows of a package, chosen by the digest of their record ids: always the same ones."""
    query = (
        _PACK_ROW.join(package_rows, package_rows.c.row_id == rows.c.id)
        .where(package_rows.c.package_id == package_id)
        .order_by(func.md5(rows.c.record_id))
        .limit(most)
    )
    return list(_pack_rows(conn, query))


def package(conn: Connection, package_id: int) -> Package | None:
    """One package by id."""
    row = conn.execute(PACKAGE.where(packages.c.id == package_id)).one_or_none()
    return as_package(row) if row else None


def as_package(row: Row[*tuple[Any, ...]]) -> Package:
    """A row of the query `PACKAGE`."""
    return Package(*row)


def packages_of(conn: Connection, batch_id: int, exam_code: str | None = None) -> list[Package]:
    """Every package of a batch, rejected ones included, by exam and revision."""
    query = PACKAGE.where(packages.c.batch_id == batch_id)
    if exam_code is not None:
        query = query.where(packages.c.exam_code == exam_code)
    return [
        as_package(row)
        for row in conn.execute(query.order_by(packages.c.exam_code, packages.c.revision, packages.c.part))
    ]


def corrected(conn: Connection, batch_id: int) -> Iterator[tuple[str, tuple[tuple[str, str, int], ...]]]:
    """Packed rows whose certificate says by now what they do not: record id, dates as (the row's, its own, digits).

    Of those that differ in a date alone the caller tells whether it is another one or written otherwise; no dates: the
    rest differs. Where the certificate says nothing of sex, birth and city, the row's own value is all there is.
    """
    mine, known = rows.c, certificates.c
    other = or_(
        *(mine[name] != known[name] for name in ("name", "id_number", "id_type", "level", "specialty")),
        and_(known.sex.in_(("男", "女")), mine.sex != known.sex),
        and_(known.city != "", mine.city != known.city),
    )
    dates = {"approved_on": 8, "birth_month": 6}
    written = (func.translate(known[name], "-/.年月日", "") != mine[name] for name in dates)
    query = (
        select(mine.record_id, other, *(column[name] for name in dates for column in (mine, known)))
        .join(certificates, known.id == mine.certificate_id)
        .where(mine.batch_id == batch_id, mine.state == "PACKED", or_(other, *written))
        .order_by(mine.record_id)
    )
    conn.execute(text("SET LOCAL random_page_cost = 1.1"))  # as in `registry.certificates`: a few of ten million
    for record, differs, *told in conn.execute(query):
        yield str(record), () if differs else tuple(zip(told[::2], told[1::2], dates.values(), strict=True))


def levels(conn: Connection, batch_id: int) -> list[tuple[str, str, int]]:
    """Exam code, level and number of the packed rows of a batch."""
    found = conn.execute(
        select(submissions.c.exam_code, rows.c.level, func.count())
        .select_from(rows.join(submissions))
        .where(rows.c.batch_id == batch_id, rows.c.state == "PACKED")
        .group_by(submissions.c.exam_code, rows.c.level)
        .order_by(submissions.c.exam_code, rows.c.level)
    )
    return [(str(code), str(level), int(count)) for code, level, count in found]


def sent_before(conn: Connection, package: Package) -> bool:
    """Whether an earlier batch went up with the very bytes of one of the package's files."""
    digests = [file.sha256 for file in package.files]
    same = or_(packages.c.sha256.in_(digests), packages.c.manifest["photos_zip"]["sha256"].astext.in_(digests))
    query = select(exists().where(same, packages.c.state == "SENT", packages.c.id != package.id))
    return bool(conn.scalar(query))


def all_packages(conn: Connection) -> list[tuple[Batch, Package]]:
    """Every package there ever was, rejected ones included, by id."""
    known = {one.id: one for one in (Batch(*row) for row in conn.execute(_BATCH))}
    found = (as_package(row) for row in conn.execute(PACKAGE.order_by(packages.c.id)))
    return [(known[one.batch_id], one) for one in found]


def differences(conn: Connection, old_id: int, new_id: int) -> tuple[list[str], list[str]]:
    """Record ids of the rows a package has more, and has less, than an earlier one; a row's values never change."""
    found: dict[int, set[str]] = {old_id: set(), new_id: set()}
    query = select(package_rows.c.package_id, rows.c.record_id).join(rows, rows.c.id == package_rows.c.row_id)
    for package_id, record_id in conn.execute(query.where(package_rows.c.package_id.in_((old_id, new_id)))):
        found[package_id].add(record_id)
    return sorted(found[new_id] - found[old_id]), sorted(found[old_id] - found[new_id])


def record_package(
    conn: Connection,
    *,
    batch_id: int,
    exam_code: str,
    part: int,
    revision: int,
    stem: str,
    sha256: str,
    size: int,
    photo_count: int,
    manifest: Mapping[str, Any],
    row_ids: Sequence[int],
    companion: bool = False,
) -> int:
    """Write the package as BUILT, its rows in order, and move them ACCEPTED → PACKED unless it is a companion."""
    package_id = int(
        conn.execute(
            insert(packages)
            .values(
                batch_id=batch_id,
                exam_code=exam_code,
                part=part,
                revision=revision,
                stem=stem,
                file_name=f"{stem}.zip",
                sha256=sha256,
                size=size,
                row_count=len(row_ids),
                photo_count=photo_count,
                manifest=manifest,
                companion=companion,
            )
            .returning(packages.c.id)
        ).scalar_one()
    )
    conn.execute(text("SET LOCAL random_page_cost = 1.1"))  # as in `registry.certificates`: a few of ten million
    conn.execute(text(_PACK), {"package_id": package_id, "row_ids": list(row_ids)})
    if not companion:
        packed = update(rows).where(rows.c.id == package_rows.c.row_id, package_rows.c.package_id == package_id)
        conn.execute(packed.values(state="PACKED"))
    return package_id


_BATCH = select(batches.c.id, batches.c.month, batches.c.number, batches.c.rule_set, batches.c.reopened_at.is_not(None))

_VALUES = {
    "ZSGLH": rows.c.management_no,
    "KSXM": rows.c.name,
    "ZJHM": rows.c.id_number,
    "ZJLB": rows.c.id_type,
    "XB": rows.c.sex,
    "BKJB": rows.c.level,
    "BKZY": rows.c.specialty,
    "CSNY": rows.c.birth_month,
    "PZRQ": rows.c.approved_on,
    "BMS": rows.c.city,
}

_PACK = """
INSERT INTO package_rows (package_id, row_id, ordinal, serial)
SELECT :package_id, r.id, listed.ordinal, c.serial
FROM unnest(CAST(:row_ids AS bigint[])) WITH ORDINALITY listed (id, ordinal)
JOIN rows r ON r.id = listed.id LEFT JOIN certificates c ON c.id = r.certificate_id
"""

_FETCHED = 2_000
"""Rows that are brought from the database at once."""
_PACK_ROW = (
    select(
        rows.c.id, rows.c.record_id, *(column.label(field) for field, column in _VALUES.items()),
        files.c.sha256.label("original"), entries.c.data_offset, entries.c.packed_size, entries.c.method,
        entries.c.size, entries.c.crc32, entries.c.sha256.label("photo_sha256"), submissions.c.account,
    )
    .select_from(rows)
    .join(submissions, submissions.c.id == rows.c.submission_id)
    .outerjoin(entries, entries.c.id == rows.c.photo_entry_id)
    .outerjoin(files, files.c.id == entries.c.file_id)
)  # fmt: skip

# Byte order, not a locale's: the same rows stand in the same order on every server.
_ORDER = (
    rows.c.approved_on.collate("C"),
    rows.c.management_no.collate("C"),
    rows.c.id_number.collate("C"),
    rows.c.record_id.collate("C"),
)


def _fill(conn: Connection, batch_id: int, month: str) -> None:
    loose = update(rows).where(rows.c.submission_id == submissions.c.id, _unbatched(month))
    conn.execute(loose.values(batch_id=batch_id))


def _unbatched(month: str) -> Any:  # noqa: ANN401 (a SQL condition; SQLAlchemy's own type is longer than the line)
    return and_(
        submissions.c.month == month,
        submissions.c.lane == "month",
        rows.c.state == "ACCEPTED",
        rows.c.batch_id.is_(None),
    )


def _pack_rows(conn: Connection, query: Select[*tuple[Any, ...]]) -> Iterator[PackRow]:
    shared: dict[str, str] = {}  # an original or an account is one text for all who have it
    for row in conn.execute(query, execution_options={"yield_per": _FETCHED}):
        yield _pack_row(row, shared)


def _pack_row(row: Row[*tuple[Any, ...]], shared: dict[str, str]) -> PackRow:
    values = row._mapping  # noqa: SLF001 (SQLAlchemy's public name for access by column)
    photo = None
    if values["original"] is not None:
        size, packed = values["size"], values["packed_size"]
        photo = Photo(
            shared.setdefault(values["original"], values["original"]),
            values["data_offset"],
            size if packed == size else packed,  # one number for both: nearly all photos are stored
            values["method"],
            size,
            values["crc32"],
            values["photo_sha256"],
        )
    folded = "\0".join([values[field] for field in _VALUES]).encode()
    account = shared.setdefault(values["account"], values["account"])
    return PackRow(values["id"], values["record_id"], folded, photo, account)

"""Build the package of one exam: its `.XLS` and its photos in a zip, or two, whose bytes follow from the content alone.

Source: notice 附件二; DESIGN §3 "Deterministic packages".

Order of writing: temporary file → flushed → read back against the ledger's rows, which are held meanwhile →
renamed → ledger BUILT and rows PACKED in one transaction. Died anywhere: the next run starts over and gets
the same bytes.

Photos are moved from the originals as they lie there. That each is the one that was judged is held once, by the
read-back; a package that is built again is held against the digest in the ledger.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import certflow
from certflow import excel, signing, vault
from certflow.dispatch.readback import Judge, read_back, strictly
from certflow.errors import ConfigurationError, Conflict, DigestMismatch
from certflow.findings import FIELDS
from certflow.heap import MadeAnew, give_back, without_collector
from certflow.month import Month
from certflow.naming import PackageName
from certflow.reference import load_reference
from certflow.registry import packages
from certflow.registry.ledger import Actor, Registry, note
from certflow.registry.packages import Batch, Package, PackRow, Photo
from certflow.settings import Settings
from certflow.zips import Archives, Names, Packed, write_zip

_MOST_BYTES = 3 << 30
"""Most bytes of photos in one package; a zip without zip64 ends at 4 GiB."""


@dataclass(frozen=True, slots=True)
class _Order:
    """Which package is to be built."""

    batch: Batch
    exam_code: str
    part: int
    revision: int
    stem: str
    rows: tuple[PackRow, ...]
    companion: bool
    copy_of: tuple[str, ...]
    """Of a companion: the merged packages its rows stand in too, by file name."""


@dataclass(frozen=True, slots=True)
class _Built:
    """A package that lies in the work folder, written and read back."""

    order: _Order
    content: "_Content"
    temporary: tuple[Path, ...]
    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Share:
    """Rows that make one package, and what stands in the city's place of its name."""

    place: str
    rows: tuple[PackRow, ...]
    companion: bool = False


@dataclass(frozen=True, slots=True)
class _Content:
    """What goes into a package, in the words of the notice (PII)."""

    stem: str
    rows: Sequence[Mapping[str, str]]
    photos: Mapping[str, Photo]
    """Photo file name → where its bytes lie; in the order of the zip."""


@without_collector()
def assemble(
    settings: Settings, registry: Registry, batch_id: int, exam_code: str, actor: Actor, *, judge: Judge = strictly
) -> list[int]:
    """Build the packages of one exam of a frozen batch and return their ids; run again, it returns the same ones.

    One package, as a rule; one per city, or both (the cities' as companions) with the setting `packaging`; further,
    numbered ones where there are more rows or bytes than one can hold. They come into being together or not at all. A
    package whose file was lost or damaged on our disk is built again and must give the recorded digest. After a
    rejection the rows are packed anew as the next revision. `judge` decides over the read-back.

    Raises:
        Busy: the packages are being built at this moment.
        Conflict: no rows, two different photos under one name, or rows that are neither in a package nor in
            another batch.
        ConfigurationError: the exam is not in the exam table.
        DigestMismatch: an original or the result differs from what the ledger recorded.
    """
    with registry.lock(f"assemble:{batch_id}:{exam_code}"):
        with registry.read() as conn:
            batch = packages.batch(conn, batch_id)
            built = packages.packages_of(conn, batch_id, exam_code)
            rows = list(packages.rows_to_pack(conn, batch_id, exam_code))
        if batch is None:
            raise Conflict(f"没有编号为 {batch_id} 的批次，请先冻结月份")
        live = [one for one in built if one.state != "REJECTED"]
        if live:
            if rows:
                raise Conflict(f"批次 {batch.folder} 考试 {exam_code} 已组包，另有 {len(rows)} 行未入包，请核对")
            for one in live:
                if one.state != "SENT":  # what was sent may have been purged since, and stays so
                    _restore(settings, registry, batch, one)
            return [one.id for one in live]
        if not rows:
            raise Conflict(f"批次 {batch.folder} 考试 {exam_code} 没有可组包的数据")
        revision = 1 + max((one.revision for one in built), default=0)
        orders = _orders(settings, batch, exam_code, revision, rows)
        return _build(settings, registry, rows, orders, judge=judge, actor=actor)


@without_collector()
def rebuild(settings: Settings, registry: Registry, package_id: int, target: Path) -> str:
    """Build a package again from the ledger and the originals into `target`; returns its digest (invariant I8).

    The photos' zip, where there is one, lies beside `target`.
    """
    with registry.read() as conn:
        package = packages.package(conn, package_id)
        rows = packages.packed_rows(conn, package_id)
    if package is None:
        raise Conflict(f"没有编号为 {package_id} 的数据包")
    content, names = _content(package.stem, rows), package.manifest.get("zip_names", "utf-8")
    written, _ = _write(settings, target, content, names, two=len(package.files) > 1)
    return packages.whole(*map(vault.sha256, written))


def package_path(settings: Settings, batch: Batch, package: Package) -> Path:
    """Where the package's zip lies; its manifest lies beside it as ``<stem>.manifest.json``."""
    return settings.packages / batch.folder / package.file_name


def says(content: bytes, manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest file's content is this manifest."""
    try:
        return bool(json.loads(content) == manifest)
    except ValueError:
        return False


def _orders(settings: Settings, batch: Batch, exam_code: str, revision: int, rows: Sequence[PackRow]) -> list[_Order]:
    shares = list(_shares(settings, rows))
    stems = [_stem(settings, batch, exam_code, share.place, len(share.rows)) for share in shares]
    merged = tuple(f"{stem}.zip" for stem, share in zip(stems, shares, strict=True) if not share.companion)
    return [
        _Order(batch, exam_code, part, revision, stem, share.rows, share.companion, merged if share.companion else ())
        for part, (stem, share) in enumerate(zip(stems, shares, strict=True), start=1)
    ]


def _build(
    settings: Settings,
    registry: Registry,
    rows: Sequence[PackRow],
    orders: Sequence[_Order],
    *,
    judge: Judge,
    actor: Actor,
) -> list[int]:
    batch, exam_code = orders[0].batch, orders[0].exam_code
    folder = settings.packages / batch.folder
    try:
        built = [_prepare(settings, order) for order in orders]
        with registry.begin(actor) as conn:
            held = packages.rows_to_pack(conn, batch.id, exam_code, lock=True)
            if any(row != now for row, now in zip_longest(rows, held)):
                raise Conflict(f"批次 {batch.folder} 考试 {exam_code} 的数据在组包期间有变动，请重新运行")
            _clear(folder, batch, exam_code)
            for one in built:
                _read_back(settings, one, judge)
            ids = [_record(conn, one) for one in built]  # from the first on, nobody else gets at the audit chain
            for one in built:
                _publish(one.temporary, folder / f"{one.order.stem}.zip", one.manifest)
    finally:
        for order in orders:
            _take_away(_temporary(settings, order))
    return ids


def _prepare(settings: Settings, order: _Order) -> _Built:
    content = _content(order.stem, order.rows)
    written, workbook_digest = _write(
        settings, _temporary(settings, order), content, settings.zip_names, two=settings.package_zips == "two"
    )
    described = _manifest(order, content) | _described(written[0])
    described |= {"workbook_sha256": workbook_digest, "zip_names": settings.zip_names}
    give_back()
    if written[1:]:
        described["photos_zip"] = {"file": _photos_zip(Path(described["file"])).name} | _described(written[1])
    return _Built(order, content, written, signing.sign(settings, described))


def _read_back(settings: Settings, one: _Built, judge: Judge) -> None:
    order, photos = one.order, {name: photo.sha256 for name, photo in one.content.photos.items()}
    label = f"package-{order.batch.folder}-{order.exam_code}-{order.part}-{order.revision}"
    try:
        read_back(
            one.temporary, order.stem, one.content.rows, photos, judge=judge, label=label, names=settings.zip_names
        )
    except DigestMismatch:
        _name_a_damaged_original(settings, one.content)
        raise


def _described(path: Path) -> dict[str, Any]:
    return {"sha256": vault.sha256(path), "size": vault.size(path)}


def _record(conn: Any, one: _Built) -> int:  # noqa: ANN401 (a connection; its type is SQL's own)
    order = one.order
    package_id = packages.record_package(
        conn,
        batch_id=order.batch.id,
        exam_code=order.exam_code,
        part=order.part,
        revision=order.revision,
        stem=order.stem,
        sha256=one.manifest["sha256"],
        size=one.manifest["size"],
        photo_count=len(one.content.photos),
        manifest=one.manifest,
        row_ids=[row.id for row in order.rows],
        companion=order.companion,
    )
    note(
        conn, "assemble", package=package_id, batch=order.batch.folder, exam=order.exam_code, part=order.part,
        revision=order.revision, rows=len(order.rows), photos=len(one.content.photos), sha256=one.manifest["sha256"],
        companion=order.companion,
    )  # fmt: skip
    return package_id


def _temporary(settings: Settings, order: _Order) -> Path:
    return settings.work / f"package-{order.batch.id}-{order.exam_code}-{order.part}.zip"


def _shares(settings: Settings, rows: Sequence[PackRow]) -> Iterator[_Share]:
    """What goes into which package: the province's, the cities', or the province's with the cities' as companions."""
    if settings.packaging != "per_city":
        yield from _parts(settings, settings.province, rows)
    if settings.packaging == "merged":
        return
    groups: dict[str, list[PackRow]] = {}
    cities = load_reference(settings).cities
    for row in rows:
        city = cities.get(row.account)
        groups.setdefault(city.name if city else settings.province, []).append(row)
    for place, group in sorted(groups.items(), key=lambda item: item[1][0].account):
        for share in _parts(settings, place, group):
            yield replace(share, companion=settings.packaging == "both")


def _parts(settings: Settings, place: str, rows: Sequence[PackRow]) -> Iterator[_Share]:
    """The rows in as many packages as it takes; a number stands behind the place where one is not enough."""
    shares: list[list[PackRow]] = [[]]
    size = 0
    for row in rows:
        extra = row.photo.size if row.photo else 0
        if len(shares[-1]) >= min(settings.package_rows or 1, excel.XLS_ROWS) or size + extra > _MOST_BYTES:
            shares.append([])
            size = 0
        shares[-1].append(row)
        size += extra
    for number, share in enumerate(shares, start=1):
        yield _Share(place if len(shares) == 1 else f"{place}第{number}包", tuple(share))


def _restore(settings: Settings, registry: Registry, batch: Batch, package: Package) -> None:
    final = package_path(settings, batch, package)
    places = [final.with_name(file.name) for file in package.files]
    if all(vault.holds(path, file.size, file.sha256) for path, file in zip(places, package.files, strict=True)):
        beside = _manifest_path(final)
        if not (beside.is_file() and says(vault.read_bytes(beside), package.manifest)):
            _write_manifest(final, package.manifest)
        return
    temporary = settings.work / f"package-{batch.id}-{package.exam_code}.zip"
    try:
        if rebuild(settings, registry, package.id, temporary) != package.digest:
            with registry.read() as conn:
                _name_a_damaged_original(settings, _content(package.stem, packages.packed_rows(conn, package.id)))
            raise DigestMismatch(f"数据包 {package.id} 的文件已丢失或损坏，重建后摘要与台账不符，请勿发送")
        written = (temporary, _photos_zip(temporary))[: len(places)]
        _publish(written, final, package.manifest)
    finally:
        _take_away(temporary)


def _stem(settings: Settings, batch: Batch, exam_code: str, place: str, count: int) -> str:
    exam = load_reference(settings).exams.get(exam_code)
    if exam is None:
        raise ConfigurationError(f"考试代码 {exam_code} 不在考试代码表中，无法组包（certflow reference load exams）")
    return PackageName(Month.parse(batch.month), exam.code, exam.name, place, count).stem


def _content(stem: str, rows: Sequence[PackRow]) -> _Content:
    """Texts and photos of a package; Conflict before anything is written when one name stands for two photos."""
    texts = row_texts(rows)
    photos: dict[str, Photo] = {}
    seen: dict[str, PackRow] = {}
    for row, values in zip(rows, texts, strict=True):
        if row.photo is not None:
            name = values["ZP"]
            photos.setdefault(name, row.photo)
            # Names that differ in case alone are one file on the receiver's Windows.
            folded = name.casefold()
            first = seen.setdefault(name if name == folded else folded, row)
            if first.photo is not None and _identity(first.photo) != _identity(row.photo):
                record = first.record_id
                raise Conflict(
                    f"记录 {record} 与 {row.record_id} 证件号码相同而照片不同。请先核定照片：照片正确的那一条，"
                    f"运行 certflow holds photo {record}（或 {row.record_id}）--by 姓名 --reason 原因，再重新组包"
                )
    return _Content(stem, texts, dict(sorted(photos.items(), key=lambda item: item[0].encode())))


def row_texts(rows: Sequence[PackRow]) -> Sequence[Mapping[str, str]]:
    """The 11 texts of each row as in its package's workbook, ZP included; a package of 65 535 rows holds them once.

    To look at an unusable photo name is a Conflict.
    """
    return MadeAnew(rows, _texts)


def _texts(row: PackRow) -> Mapping[str, str]:
    values = row.values
    values["ZP"] = "" if row.photo is None else _photo_name(row.record_id, values["ZJHM"])
    return {field: values[field] for field in FIELDS}


def _photo_name(record: str, id_number: str) -> str:
    if not id_number or not id_number.isprintable() or set(id_number) & set('/\\:*?"<>|'):
        raise Conflict(f"记录 {record} 的证件号码不能作为照片文件名，请核对")
    return f"{id_number}.jpg"


def _identity(photo: Photo) -> tuple[int, int, str | None]:
    return photo.size, photo.crc32, photo.sha256


def _write(
    settings: Settings, target: Path, content: _Content, names: Names, *, two: bool
) -> tuple[tuple[Path, ...], str]:
    """Write the zip to `target` and flush it to disk; the files written, and the workbook's SHA-256.

    With `two` the photos, where there are any, go into a zip of their own beside it.
    """
    workbook = excel.write_xls(FIELDS, ([row[field] for field in FIELDS] for row in content.rows))
    members = [(f"{content.stem}.XLS", workbook)]
    photos = _photos(settings, content)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    plan: dict[Path, Iterable[Any]] = {target: chain(members, photos)}
    if two and content.photos:
        plan = {target: members, _photos_zip(target): photos}
    for path, entries in plan.items():
        with vault.create(path) as stream:
            write_zip(stream, entries, names)
            vault.finish(stream)
    return tuple(plan), hashlib.sha256(workbook).hexdigest()


def _photos_zip(package: Path) -> Path:
    """Where the photos of a package lie when they are a zip of their own; both names read as the package's stem."""
    return package.with_name(f"{package.name.removesuffix('.zip')}.JPG.zip")


def _take_away(temporary: Path) -> None:
    temporary.unlink(missing_ok=True)
    _photos_zip(temporary).unlink(missing_ok=True)


def _photos(settings: Settings, content: _Content) -> Iterator[tuple[str, Packed]]:
    """Name of each photo and where it lies in the original that its city sent."""
    originals = {photo.original for photo in content.photos.values()}
    places = {original: settings.original(original) for original in originals}
    for name, photo in content.photos.items():
        place = Packed(
            places[photo.original], photo.data_offset, photo.packed_size, photo.method, photo.size, photo.crc32
        )
        yield f"{content.stem}/{name}", place


def _name_a_damaged_original(settings: Settings, content: _Content) -> None:
    """DigestMismatch that says which original holds a photo other than the one that was judged, where one does."""
    with Archives() as archives:
        for (_, place), photo in zip(_photos(settings, content), content.photos.values(), strict=True):
            archives.read(place, photo.sha256)


def _manifest(order: _Order, content: _Content) -> dict[str, Any]:
    """What the receiver needs to check the package, digests and size still to come; free of personal data."""
    told: dict[str, Any] = {
        "format": 1,
        "file": f"{content.stem}.zip",
        "rows": len(content.rows),
        "photos": len(content.photos),
        "month": order.batch.month,
        "batch": order.batch.number,
        "exam": order.exam_code,
        "part": order.part,
        "revision": order.revision,
        "rule_set": order.batch.rule_set,
        "program": f"certflow {certflow.__version__}",
    }
    if order.companion:
        told["copy_of"] = list(order.copy_of)  # whoever takes both must not print its rows twice
    return told


def _publish(written: Sequence[Path], final: Path, manifest: Mapping[str, Any]) -> None:
    """Manifest and zips under their final names, in an order that never shows a zip without its manifest."""
    final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_manifest(final, manifest)
    for temporary, place in zip(written, (final, _photos_zip(final)), strict=False):
        temporary.replace(place)
    _flush_folder(final.parent)


def _write_manifest(final: Path, manifest: Mapping[str, Any]) -> None:
    target = _manifest_path(final)
    draft = target.with_name(target.name + ".part")
    with vault.create(draft) as stream:
        stream.write(json.dumps(manifest, ensure_ascii=False, indent=2, sort_keys=True).encode() + b"\n")
        vault.finish(stream)
    draft.replace(target)


def _clear(folder: Path, batch: Batch, exam_code: str) -> None:
    """Take away what an earlier run or a rejected revision left of this exam: it counts for nothing."""
    for leftover in folder.glob(f"{batch.month}-{exam_code}-*"):
        leftover.unlink()


def _manifest_path(package: Path) -> Path:
    return package.with_name(package.name.removesuffix(".zip") + ".manifest.json")


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # Windows cannot open a folder
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

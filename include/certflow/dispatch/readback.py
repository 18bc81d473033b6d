"""Read a built package back with other readers than the ones that wrote it, and measure it against the ledger.

The writers are `certflow.zips` and xlwt; here Python's `zipfile` and our own record walker read, which the tests hold
against calamine and xlrd. The province sends without re-checking line by line (notice 二(一)3): this is the last look
before the authority's.

What is measured here is judged outside this room: whoever composes the steps hands a `Judge` in (the suite
``package``, by `certflow.checks.package`). `strictly` is the judge where none is given: it lets no difference
pass, and costs no import.
"""

import hashlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

from certflow import biff, excel, naming, vault
from certflow.errors import DigestMismatch, SubmissionError
from certflow.findings import FIELDS, Scope
from certflow.heap import give_back
from certflow.zips import Names

Measured = Mapping[Scope, Mapping[str, Sequence[object]]]
"""Scope → column → values: one line for the package, one per row, one per photo. Numbers of faults and, for
people, row numbers, field names and counts; never a personal value."""

Judge = Callable[[str, Measured], Sequence[str]]
"""Takes a label (no personal data) and what was measured; says in Chinese what does not hold."""

_MOST_TOLD = 5


def read_back(
    files: Sequence[Path],
    stem: str,
    rows: Sequence[Mapping[str, str]],
    photos: Mapping[str, str | None],
    *,
    judge: Judge,
    label: str = "package",
    names: Names = "utf-8",
) -> None:
    """Measure the package and have it judged.

    Args:
        files: its zip; or two, of which the second one holds the photos.
        stem: its canonical name without extension.
        rows: the 11 texts of every row by field name, in order.
        photos: photo name (PII) → SHA-256 as recorded at intake, None when none was recorded; in the zip's order.
        judge: who decides whether what was measured will do.
        label: how the judge files what it saw.
        names: how the zip is meant to spell its entries.

    Raises:
        DigestMismatch: anything does not hold; the message names the row number or the count, never a value.
    """
    measured = measure(files, stem, rows, photos, names=names)
    faults = judge(label, measured)
    # Photos are moved into a package unverified: here is where they are held against what was judged, and no suite
    # that a steward has edited may let one pass.
    if not faults and (wrong := sum(map(bool, measured[Scope.PHOTO]["photo_bytes"]))):
        faults = [f"{wrong} 张照片与核验过的照片不同"]
    if faults:
        more = f"（共 {len(faults)} 处）" if len(faults) > _MOST_TOLD else ""
        raise DigestMismatch(f"回读：{'；'.join(faults[:_MOST_TOLD])}{more}")


def strictly(_label: str, measured: Measured) -> list[str]:
    """The judge that lets nothing pass: every measured number has to be 0, and the longest path within Windows'."""
    return [
        f"{scope.value} {line + 1}：{column} = {value}"
        for scope, columns in measured.items()
        for column, values in columns.items()
        for line, value in enumerate(values)
        if column not in _DESCRIPTIVE and isinstance(value, int) and value > _MOST.get(column, 0)
    ]


_DESCRIPTIVE = frozenset({"row", "photo", "fields", "rows_found", "rows_wanted", "entries_found"})
"""Columns that describe a line and are no count of faults."""
_MOST = {"path_length": 200}
"""UTF-16 units; Windows ends at 260, and the receiver unpacks somewhere."""


def measure(
    files: Sequence[Path],
    stem: str,
    rows: Sequence[Mapping[str, str]],
    photos: Mapping[str, str | None],
    *,
    names: Names = "utf-8",
) -> Measured:
    """What the other readers see, line by line against the ledger; never raises for what lies in the files."""
    whole = dict.fromkeys(_WHOLE, 0)
    whole["rows_wanted"] = len(rows)
    parsed = naming.parse(stem).name
    whole["name_form"] = int(parsed is None or parsed.stem != stem)
    whole["name_count"] = abs((parsed.count if parsed else 0) - len(rows))
    row_columns: dict[str, list[object]] = {"row": [], "row_fields": [], "fields": [], "row_type": [], "row_format": []}
    photo_columns: dict[str, list[object]] = {"photo": [], "photo_missing": [], "photo_bytes": []}
    try:
        workbook = _measure_zips(files, stem, photos, names=names, whole=whole, columns=photo_columns)
        if workbook is not None:
            _measure_workbook(workbook, rows, whole, row_columns)
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error, NotImplementedError):
        whole["zip_damaged"] = 1
    return {
        Scope.FILE: {name: [value] for name, value in whole.items()},
        Scope.ROW: row_columns,
        Scope.PHOTO: photo_columns,
    }


_WHOLE = (
    "zip_damaged", "name_form", "name_count", "workbook_missing", "entries_extra", "entries_order", "entries_packed",
    "names_unreadable", "names_gbk", "path_length", "entries_found", "workbook_damaged", "workbook_sheets",
    "workbook_hidden", "workbook_formulas", "workbook_active", "header", "rows_gap", "rows_found", "rows_wanted",
)  # fmt: skip


def _measure_zips(
    files: Sequence[Path],
    stem: str,
    photos: Mapping[str, str | None],
    *,
    names: Names,
    whole: dict[str, int],
    columns: dict[str, list[object]],
) -> bytes | None:
    """Entries and photos; the workbook, where there is one. What was known of the entries is gone before it is read."""
    with ExitStack() as stack:
        archives = [stack.enter_context(zipfile.ZipFile(stack.enter_context(vault.reader(file)))) for file in files]
        listed = [_spell(archive, names) for archive in archives]
        # Where workbook and photos are two zips, each of them has to hold its own.
        inside, book = f"{stem}/", f"{stem}.XLS"
        pictured = sum(name[len(inside) :] in photos for name in listed[-1] if name.startswith(inside))
        shares = [(int(book in listed[0]), 1), (pictured, len(photos))]
        if len(archives) == 1:
            shares = [(sum(there for there, _ in shares), 1 + len(photos))]
        for archive, spelled, folder, share in zip(archives, listed, (stem, f"{stem}.JPG"), shares, strict=False):
            _measure_entries(archive, spelled, folder, share, whole)
        workbook = listed[0].get(book)
        whole["workbook_missing"] = int(workbook is None)
        _measure_photos(archives[-1], listed[-1], inside, photos, columns)
        listed.clear()
        for archive in archives:
            archive.filelist.clear()
        give_back()
        return None if workbook is None else archives[0].read(workbook)


def _spell(archive: zipfile.ZipFile, names: Names) -> dict[str, zipfile.ZipInfo]:
    """Entries by name, as a reader of our spelling sees them (`zipfile` itself takes unflagged names for CP437)."""
    found = {}
    for info in archive.infolist():
        name = info.orig_filename
        if names == "gb18030" and not info.flag_bits & 0x800:
            name = name.encode("cp437", "replace").decode("gb18030", "replace")
        found[name] = info
    archive.NameToInfo.clear()  # the same under zipfile's own names
    return found


def _measure_entries(
    archive: zipfile.ZipFile,
    spelled: Mapping[str, zipfile.ZipInfo],
    folder: str,
    share: tuple[int, int],
    whole: dict[str, int],
) -> None:
    """Add what one zip shows to what the others showed.

    `share`: how many of the names that belong into it are there, and how many there should be.
    """
    listed = archive.infolist()
    whole["entries_found"] += len(listed)
    whole["entries_extra"] += len(listed) - share[0]
    whole["entries_order"] += int(any(one > other for one, other in pairwise(map(str.encode, spelled))))
    whole["entries_packed"] += sum(info.compress_type != zipfile.ZIP_STORED for info in listed)
    whole["names_gbk"] += sum(not _in_gbk(name) for name in spelled)
    whole["names_unreadable"] += share[1] - share[0]
    # Windows unpacks into a folder of the zip's name; its paths are counted in UTF-16 units.
    paths = (len(f"{folder}/{name}".encode("utf-16-le")) // 2 for name in spelled)
    whole["path_length"] = max(whole["path_length"], *paths, 0)


def _in_gbk(name: str) -> bool:
    """Whether a reader that knows GBK alone can hold the name."""
    try:
        return name.encode("gbk").decode("gbk") == name
    except UnicodeError:
        return False


def _measure_photos(
    archive: zipfile.ZipFile,
    spelled: Mapping[str, zipfile.ZipInfo],
    inside: str,
    photos: Mapping[str, str | None],
    columns: dict[str, list[object]],
) -> None:
    """Each photo in the folder `inside` of the zip."""
    for ordinal, (photo, digest) in enumerate(photos.items(), start=1):
        info = spelled.get(inside + photo)
        columns["photo"].append(ordinal)
        columns["photo_missing"].append(int(info is None))
        differs = 0
        if info is not None:
            try:  # read() checks the CRC; the digest is the one taken when the city's file was judged
                differs = int(digest is not None and hashlib.sha256(archive.read(info)).hexdigest() != digest)
            except (zipfile.BadZipFile, zlib.error, EOFError):
                differs = 1
        columns["photo_bytes"].append(differs)


def _measure_workbook(
    data: bytes, rows: Sequence[Mapping[str, str]], whole: dict[str, int], columns: dict[str, list[object]]
) -> None:
    try:
        seen, grids = biff.read(data, rows=1 << 16, columns=256)
        give_back()
        by_type, by_format = biff.not_text(data)
        lines = excel.read_own(data) if grids is None else grids[0].rows()
    except (SubmissionError, struct.error, ValueError, IndexError):
        whole["workbook_damaged"] = 1
        return
    sheets = seen.sheets
    whole["workbook_sheets"] = len(sheets) - 1
    whole["workbook_hidden"] = sum(
        len(sheet.hidden_rows) + len(sheet.hidden_columns) + (sheet.state != "visible") for sheet in sheets
    )
    whole["workbook_formulas"] = sum(len(sheet.formulas) for sheet in sheets)
    whole["workbook_active"] = len(seen.active) + seen.images + seen.comments
    whole["header"] = int(next(lines, None) != list(FIELDS))
    wrong_type = _by_row(by_type)
    wrong_format = _by_row(by_format)
    wanted = iter(rows)
    for number, found in enumerate(lines, start=2):
        whole["rows_found"] += 1
        if (row := next(wanted, None)) is None:
            continue
        wrong = [] if found == list(row.values()) else _differing(found, row)
        columns["row"].append(number)
        columns["row_fields"].append(len(wrong))
        columns["fields"].append("、".join(wrong))
        columns["row_type"].append(wrong_type.get(number, 0))
        columns["row_format"].append(wrong_format.get(number, 0))
    whole["rows_gap"] = abs(whole["rows_found"] - len(rows))
    whole["header"] += wrong_type.get(1, 0) + wrong_format.get(1, 0)


def _differing(found: Sequence[str], row: Mapping[str, str]) -> list[str]:
    padded = [*found, *[""] * (len(FIELDS) - len(found))]
    wrong = [field for field, text in zip(FIELDS, padded, strict=False) if text != row[field]]
    return [*wrong, "多余的列"] if len(found) > len(FIELDS) else wrong


def _by_row(cells: set[tuple[int, int]]) -> dict[int, int]:
    """Row as Excel shows it → cells of it."""
    found: dict[int, int] = {}
    for row, _ in cells:
        found[row + 1] = found.get(row + 1, 0) + 1
    return found

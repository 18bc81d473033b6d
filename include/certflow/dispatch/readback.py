"""Read a built package back with other readers than the ones that wrote it, and compare it with the ledger.

The writer is `certflow.zips` and xlwt; here Python's `zipfile` and calamine read. The province sends without
re-checking line by line (notice 二(一)3): this comparison is the last look before the authority's.
"""

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from certflow import excel, naming
from certflow.errors import Conflict, DigestMismatch, SubmissionError
from certflow.findings import FIELDS


def read_back(package: Path, stem: str, rows: Sequence[Mapping[str, str]], photos: Mapping[str, str | None]) -> None:
    """Compare the file with what the ledger says it holds.

    Args:
        package: the zip.
        stem: its canonical name without extension.
        rows: the 11 texts of every row by field name, in order.
        photos: photo name (PII) → SHA-256 as recorded at intake, None when none was recorded.

    Raises:
        DigestMismatch: anything differs; the message names the row number or the count, never a value.
    """
    name = naming.parse(stem).name
    if name is None or name.stem != stem or name.count != len(rows):
        raise DigestMismatch(f"回读：包名不是规范写法或人数不是 {len(rows)}")
    try:
        with zipfile.ZipFile(package) as archive:
            _compare_names(archive, stem, photos)
            _compare_rows(archive.read(f"{stem}.XLS"), rows)
            for ordinal, (photo, digest) in enumerate(sorted(photos.items()), start=1):
                # read() checks the CRC; the digest is the one taken when the city's file was judged.
                found = hashlib.sha256(archive.read(f"{stem}/{photo}")).hexdigest()
                if digest is not None and found != digest:
                    raise DigestMismatch(f"回读：包内第 {ordinal} 张照片与核验过的照片不同")
    except zipfile.BadZipFile:
        raise DigestMismatch("回读：数据包不是完好的 zip") from None


def _compare_names(archive: zipfile.ZipFile, stem: str, photos: Mapping[str, str | None]) -> None:
    names = [info.filename for info in archive.infolist()]
    if names[:1] != [f"{stem}.XLS"] or len(names) != len(photos) + 1:
        raise DigestMismatch(f"回读：包内有 {len(names)} 个文件，应为一个工作簿和 {len(photos)} 张照片")
    if set(names[1:]) != {f"{stem}/{photo}" for photo in photos}:
        raise DigestMismatch("回读：包内照片与各行所列照片不一致")


def _compare_rows(workbook: bytes, rows: Sequence[Mapping[str, str]]) -> None:
    try:
        grid = excel.read_xls_text(workbook)
    except (SubmissionError, Conflict) as error:
        raise DigestMismatch(f"回读：工作簿无法读取（{error}）") from None
    if not grid or grid[0] != list(FIELDS):
        raise DigestMismatch("回读：工作簿表头不是规定的 11 列")
    if len(grid) - 1 != len(rows):
        raise DigestMismatch(f"回读：工作簿有 {len(grid) - 1} 行，台账有 {len(rows)} 行")
    for number, (found, row) in enumerate(zip(grid[1:], rows, strict=True), start=2):
        for field, text in zip(FIELDS, found, strict=True):
            if text != row[field]:
                raise DigestMismatch(f"回读：第 {number} 行 {field} 与台账不一致")

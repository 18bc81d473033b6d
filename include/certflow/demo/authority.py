"""A simulated printing authority: takes packages, checks them in its own way, prints, refuses, forgets and errs.

Works on its own SFTP tree on the disk, like the people at the other end. Its checks share no code with ours:
`zipfile`, calamine and Pillow read what we wrote with other means.
"""

import csv
import hashlib
import io
import json
import random
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import openpyxl
from PIL import Image
from python_calamine import CalamineWorkbook

from certflow.demo.cities import COLUMNS
from certflow.demo.workbooks import timeless

RETURN_COLUMNS: Final = ("ZSGLH", "KSXM", "ZJHM", "证书编号", "结果", "原因", "印制日期")
"""The default profile of a return (DOMAIN §4)."""
PRINTED_ON: Final = "20200810"
_STEM: Final = re.compile(
    r"(?P<month>\d{6})-(?P<code>\w+)-(?P<exam>.+)\(证书补换印制信息\)数据\(山东省\)\((?P<count>\d+)人\)"
)
_REASONS: Final = ("照片不清晰", "批准文件待核", "姓名用字待核")


@dataclass(frozen=True, slots=True)
class Taken:
    """One package as the authority found it."""

    folder: str
    stem: str
    exam: str
    sha256: str
    rows: tuple[Mapping[str, str], ...]
    """The 11 columns of every row, in the order of the workbook."""
    photos: Mapping[str, str]
    """Photo file name → SHA-256."""
    problems: tuple[str, ...]
    """What is wrong with it, without personal data; empty when it was taken for printing."""


@dataclass(slots=True)
class Answers:
    """What the authority has put into 返回, by management number."""

    printed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    duplicate: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Rows by bucket."""
        buckets = ("printed", "refused", "missing", "extra", "changed", "duplicate")
        return {bucket: len(getattr(self, bucket)) for bucket in buckets}


def take_packages(tree: Path, upward: str = "上报", archive: str = "归档") -> list[Taken]:
    """Check every complete package (zip and manifest) and move it to the archive; the rest is left alone."""
    taken = []
    for manifest in sorted((tree / upward).glob("*/*.manifest.json")):
        package = manifest.with_name(manifest.name.replace(".manifest.json", ".zip"))
        if not package.is_file():
            continue
        found = examine(package, json.loads(manifest.read_text(encoding="utf-8")))
        shelf = tree / archive / manifest.parent.name
        shelf.mkdir(parents=True, exist_ok=True)
        for file in (package, manifest):
            file.rename(shelf / file.name)
        taken.append(found)
    return taken


def examine(package: Path, manifest: Mapping[str, Any]) -> Taken:
    """Look at one package: digest, structure, workbook, photos. A fault is a problem, never an exception."""
    data = package.read_bytes()
    stem = package.name.removesuffix(".zip")
    digest = hashlib.sha256(data).hexdigest()
    name = _STEM.fullmatch(stem)
    problems: list[str] = []
    if name is None:
        problems.append("file name is not of the agreed form")
    if manifest.get("sha256") != digest or manifest.get("file") != package.name:
        problems.append("manifest does not fit the file")
    rows, photos = _unpack(data, stem, problems)
    counts = {len(rows), manifest.get("rows"), int(name["count"]) if name else len(rows)}
    if len(counts) > 1:
        problems.append("number of rows differs from name or manifest")
    if {row["ZP"] for row in rows} - {""} != set(photos) or manifest.get("photos") != len(photos):
        problems.append("photos differ from the workbook or the manifest")
    problems += _row_problems(rows)
    if not all(map(_portrait, photos.values())):
        problems.append("a photo is no 295×413 JPEG")
    return Taken(
        package.parent.name,
        stem,
        name["code"] if name else "",
        digest,
        tuple(rows),
        {one: hashlib.sha256(photo).hexdigest() for one, photo in photos.items()},
        tuple(problems),
    )


def _unpack(data: bytes, stem: str, problems: list[str]) -> tuple[list[dict[str, str]], dict[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if archive.testzip() is not None or len(names) != len(set(names)):
                problems.append("zip is damaged or names an entry twice")
            rows = _workbook(archive.read(f"{stem}.XLS"), problems)
            others = [one for one in names if one != f"{stem}.XLS"]
            if any(not one.startswith(f"{stem}/") or not one.endswith(".jpg") for one in others):
                problems.append("zip holds something else than the workbook and its photos")
            return rows, {one.removeprefix(f"{stem}/"): archive.read(one) for one in others}
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        problems.append(f"zip cannot be read: {type(error).__name__}")
        return [], {}


def _row_problems(rows: Sequence[Mapping[str, str]]) -> list[str]:
    order = [(row["PZRQ"], row["ZSGLH"]) for row in rows]
    checks = {
        "a photo is not named by its ID number": all(row["ZP"] in ("", f"{row['ZJHM']}.jpg") for row in rows),
        "a photo is missing": all(row["ZP"] or row["PZRQ"] >= "2017" for row in rows),
        "rows are not ordered by approval date": order == sorted(order),
    }
    return [problem for problem, fine in checks.items() if not fine]


def answer(tree: Path, packages: Sequence[Taken], seed: int, returned: str = "返回") -> Answers:
    """Write one return per sound package: nearly all printed, some refused, left out, changed; one never sent.

    The first return also names one row twice. Small packages are printed whole.
    """
    draw = random.Random(f"certflow-authority-{seed}")
    answers = Answers()
    serial = 0
    for number, package in enumerate(one for one in packages if not one.problems):
        fates = ["printed"] * len(package.rows)
        if len(fates) >= 20:
            fates[:6] = ["refused", "refused", "refused", "missing", "missing", "changed"]
            draw.shuffle(fates)
        lines: list[list[str]] = []
        for row, fate in zip(package.rows, fates, strict=True):
            getattr(answers, fate).append(row["ZSGLH"])
            if fate == "missing":
                continue
            serial += 1
            lines.append(_line(row, fate, f"B2020{serial:08d}", draw))
        if number == 0:
            twice = next(line for line in lines if line[4] == "已印制" and line[0] not in answers.changed)
            lines.append(list(twice))
            answers.duplicate.append(twice[0])
            stranger = f"201806{package.exam}378888888"
            lines.append([stranger, "查无此人", "11010519491231002X", "B202099999999", "已印制", "", PRINTED_ON])
            answers.extra.append(stranger)
        file = (
            tree / returned / f"{package.stem.partition('-')[0]}-{package.exam}-返回.{'xlsx' if number % 2 else 'csv'}"
        )
        _publish(file, [list(RETURN_COLUMNS), *lines])
        answers.files.append(file.name)
    return answers


def _line(row: Mapping[str, str], fate: str, serial: str, draw: random.Random) -> list[str]:
    if fate == "refused":
        return [row["ZSGLH"], row["KSXM"], row["ZJHM"], "", "退回", draw.choice(_REASONS), ""]
    number = row["ZJHM"]
    if fate == "changed":
        number = number[:-1] + ("1" if number[-1] != "1" else "2")
    return [row["ZSGLH"], row["KSXM"], number, serial, "已印制", "", PRINTED_ON]


def _workbook(data: bytes, problems: list[str]) -> list[dict[str, str]]:
    if not data.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        problems.append("workbook is no real XLS")
        return []
    cells = CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0).to_python(skip_empty_area=False)
    if not cells or tuple(cells[0]) != COLUMNS:
        problems.append("header is not the 11 columns")
        return []
    if any(not isinstance(cell, str) for row in cells for cell in row):
        problems.append("a cell is no text")
    return [dict(zip(COLUMNS, map(str, row), strict=True)) for row in cells[1:]]


def _portrait(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            image.load()
            return image.size == (295, 413)
    except OSError:
        return False


def _publish(file: Path, lines: Sequence[Sequence[str]]) -> None:
    """Complete before it is seen: written beside and renamed."""
    stream = io.BytesIO()
    if file.suffix == ".csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerows(lines)
        stream.write(text.getvalue().encode("utf-8-sig"))
        data = stream.getvalue()
    else:
        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet("返回")
        for line in lines:
            sheet.append(list(line))
        book.save(stream)
        data = timeless(stream.getvalue())
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.part")
    draft.write_bytes(data)
    draft.rename(file)

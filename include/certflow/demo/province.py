"""The synthetic province: a registry, one month of submissions of 16 cities, and the answers they must get.

Seeded: the same seed, month and size give the same bytes (with the same versions of Pillow and numpy). Knows
the reference tables and nothing of the checking code, so that it can bear witness against it.
"""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from certflow.demo import file_defects, photo_defects, row_defects, row_oddities
from certflow.demo.cities import STYLES, Drop, Parcel, Style, write
from certflow.demo.people import LAST_YEAR, People
from certflow.demo.planting import Label, Planter
from certflow.demo.portraits import Gallery
from certflow.month import Month
from certflow.reference import City, Exam, Reference, load_reference
from certflow.settings import Settings

MONTH: Final = Month(2020, 5)
SEED: Final = 2020
ROWS: Final = 20_000
"""Certificates in the registry."""
MAIN_EXAMS: Final = {"034": 24, "901": 9, "902": 6}
"""Exam code → sound applications per city, before anything is planted."""
FILE_EXAMS: Final = ("931", "932", "933")
"""Exams whose parcels carry the file defects."""


@dataclass(frozen=True, slots=True)
class Province:
    """Everything generated, in memory."""

    month: Month
    people: People
    drops: tuple[Drop, ...]
    nil: tuple[str, str]
    """Account and file name of the nil report."""
    parcels: tuple[Parcel, ...]
    labels: tuple[Label, ...]
    accounts: tuple[str, ...]

    def answers(self) -> dict[str, Any]:
        """What ``answers.json`` holds: every planted thing, and every row and file that must pass."""
        files: dict[int, list[str]] = {}
        for drop in self.drops:
            for parcel in drop.parcels:
                files.setdefault(id(parcel), []).append(drop.name)
        spoilt = {id(label.row) for label in self.labels if label.row is not None}
        good = [parcel for parcel in self.parcels if not parcel.defect or parcel.zip_name]
        return {
            "month": str(self.month),
            "accounts": list(self.accounts),
            "nil": {"account": self.nil[0], "file": self.nil[1]},
            "labels": [label.as_json(files) for label in self.labels],
            "sound": [
                {
                    "account": parcel.city.account,
                    "exam": parcel.exam.code,
                    "files": files[id(parcel)],
                    "outcome": "proof" if parcel.exam.is_cancelled(row.certificate.level) else "accepted",
                    "row": row.number,
                }
                for parcel in good
                for row in parcel.rows
                if id(row) not in spoilt
            ],
            "files": [
                {
                    "account": drop.account,
                    "file": drop.name,
                    "sha256": hashlib.sha256(drop.data).hexdigest(),
                    "defect": drop.defect,
                }
                for drop in self.drops
            ],
        }


def build(reference: Reference, rows: int = ROWS, seed: int = SEED, month: Month = MONTH) -> Province:
    """Generate everything; `rows` certificates in the registry. ValueError when the month needs more than that."""
    plant, parcels = begin(reference, seed, month, FILE_EXAMS)
    draw = random.Random(f"certflow-province-{seed}")
    for parcel in list(parcels):
        for _ in range(MAIN_EXAMS[parcel.exam.code] + draw.randint(-2, 2)):
            years = _years(parcel.exam, draw)
            plant.fresh(parcel=parcel, photo=years[1] < 2017 or draw.random() < 0.08, years=years)
    for catalogue in (row_defects, photo_defects, file_defects):
        for kind in catalogue.DEFECTS:
            kind(plant)
    for odd in (*row_oddities.ODDITIES, *photo_defects.ODDITIES):
        odd(plant)
    return finish(plant, parcels, month, rows)


def begin(reference: Reference, seed: int, month: Month, file_exams: Sequence[str]) -> tuple[Planter, list[Parcel]]:
    """The empty parcels of the main exams of every city that reports, and who plants in them.

    The list grows by the parcels a file defect opens, one per city and exam of `file_exams` at most.
    """
    reporting = _cities(reference)[:-1]
    parcels = [
        Parcel(city, reference.exams[code], month, STYLES[index % len(STYLES)])
        for index, city in enumerate(reporting)
        for code in MAIN_EXAMS
    ]
    carriers = [Parcel(city, reference.exams[code], month, Style()) for code in file_exams for city in reporting]

    def open_parcel(_kind: str) -> Parcel:
        parcels.append(carriers.pop(0))
        return parcels[-1]

    return Planter(People(seed), Gallery(seed), reference, list(parcels), open_parcel), parcels


def finish(plant: Planter, parcels: Sequence[Parcel], month: Month, rows: int) -> Province:
    """Write the parcels, let the last city report nil, and fill the registry up to `rows` certificates."""
    reference = plant.reference
    *reporting, silent = cities = _cities(reference)
    exams = [reference.exams[code] for code in (*MAIN_EXAMS, *FILE_EXAMS)]
    drops = [drop for city in reporting for drop in write([parcel for parcel in parcels if parcel.city is city])]
    drops += [
        replace(drop, name=label.file, defect=label.kind, parcels=())
        for label in plant.labels
        if label.file
        for drop in drops
        if label.parcel in drop.parcels
    ]
    drops = [replace(drop, defect="") if drop.parcels and drop.parcels[0].zip_name else drop for drop in drops]
    nil = Drop(silent.account, f"{month}-零报({silent.name}).txt", "本月无证书补换申请。\r\n".encode())
    plant.people.bystanders(exams, [city.name for city in reference.all_cities], rows)
    return Province(
        month, plant.people, (*drops, nil), (nil.account, nil.name), tuple(parcels), tuple(plant.labels),
        tuple(city.account for city in cities),
    )  # fmt: skip


def generate(
    target_dir: Path, rows: int = ROWS, seed: int = SEED, month: Month = MONTH, reference: Reference | None = None
) -> Province:
    """Write ``registry.csv``, ``cities/<account>/…`` and ``answers.json`` into `target_dir`."""
    province = build(reference or load_reference(Settings(home=target_dir)), rows, seed, month)
    lay_down(province, target_dir)
    text = json.dumps(province.answers(), ensure_ascii=False, indent=1)
    (target_dir / "answers.json").write_text(text + "\n", encoding="utf-8")
    return province


def lay_down(province: Province, target_dir: Path) -> None:
    """Write the registry and every city's files."""
    target_dir.mkdir(parents=True, exist_ok=True)
    province.people.write_registry(target_dir / "registry.csv")
    for drop in province.drops:
        folder = target_dir / "cities" / drop.account
        folder.mkdir(parents=True, exist_ok=True)
        (folder / drop.name).write_bytes(drop.data)


def _years(exam: Exam, draw: random.Random) -> tuple[int, int]:
    if exam.cancelled_levels:
        return 1999, 2014
    return (2017, LAST_YEAR) if draw.random() < 0.4 else (2004, 2016)


def _cities(reference: Reference) -> list[City]:
    return sorted(reference.cities.values(), key=lambda city: city.account)

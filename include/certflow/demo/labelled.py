"""The labelled province: one month of tens of thousands of applications, and for every one of them what must come out.

Everything the demo plants, again and again, the edges of every rule, and what naive software refuses; the rest are
sound applications. Like the rest of this room it knows the reference tables and nothing of the checking code.

``labels.jsonl`` has one line for every row, and for every photo and file of which something must be said::

    {"file": "370100/….zip", "exam": "034", "row": 12, "entry": null, "scope": "row", "kind": "性别与证件号码矛盾",
     "sound": false, "verdict": ["held"], "rules": ["ID-SEX"]}

`verdict`: what it may end as. `rules`: all of them must be found there; where `sound`, no other may. Rows of a file
that goes back, is held or ignored as a whole have no line of their own.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from certflow.demo import edge_oddities, file_defects, photo_defects, rare_defects, row_defects, row_oddities
from certflow.demo.cities import Parcel
from certflow.demo.planting import Label, Planter
from certflow.demo.province import MONTH, SEED, Province, begin, finish, lay_down
from certflow.month import Month
from certflow.reference import Reference, load_reference
from certflow.settings import Settings

ROWS: Final = 50_000
"""Applications."""
PHOTO_SHARE: Final = 0.02
"""Share of the plain sound applications whose certificate is so old that it needs a photo. Each photo is drawn for its
person, as no two people may share one; the others were approved in 2017 or later and need none."""
SOUND: Final = "正常"
CANCELLED: Final = "已取消的考试"
_FILE_EXAMS: Final = ("931", "932", "933", "903")
_PER_ROUND: Final = 2_500
"""Applications for which every kind of row is planted once more."""
_PHOTOS_PER_ROUND: Final = 8_000
_PROOFS: Final = 4
"""Applications of a cancelled exam per city."""
_SHARES: Final = {"034": 4, "901": 1}


@dataclass(frozen=True, slots=True)
class Labelled:
    """What was written."""

    province: Province
    rows: int
    photos: int
    kinds: int
    """Kinds of defects."""
    sound_kinds: int


def build(reference: Reference, rows: int = ROWS, seed: int = SEED, month: Month = MONTH) -> Province:
    """Generate everything; `rows` applications. ValueError when what is planted alone needs more."""
    plant, parcels = begin(reference, seed, month, _FILE_EXAMS)
    own = list(parcels)
    for kind in (*file_defects.DEFECTS, *rare_defects.ONCE, *edge_oddities.ONCE):
        kind(plant)
    for _ in range(max(1, rows // _PER_ROUND)):
        for kind in (*row_defects.DEFECTS, *row_oddities.ODDITIES):
            kind(plant)
    for _ in range(max(1, rows // _PHOTOS_PER_ROUND)):
        for kind in (
            *photo_defects.DEFECTS, *photo_defects.ODDITIES, *rare_defects.ROWS, *edge_oddities.ODDITIES,
        ):  # fmt: skip
            kind(plant)
    _fill(plant, own, rows, sum(len(parcel.rows) for parcel in parcels), random.Random(f"certflow-labelled-{seed}"))
    edge_oddities.styles(plant, own)
    return finish(plant, parcels, month, len(plant.people.certificates) * 11 // 10)


def generate(
    target_dir: Path, rows: int = ROWS, seed: int = SEED, month: Month = MONTH, reference: Reference | None = None
) -> Labelled:
    """Write ``registry.csv``, ``cities/<account>/…`` and ``labels.jsonl`` into `target_dir`."""
    province = build(reference or load_reference(Settings(home=target_dir)), rows, seed, month)
    lay_down(province, target_dir)
    kinds: dict[bool, set[str]] = {True: set(), False: set()}
    with (target_dir / "labels.jsonl").open("w", encoding="utf-8") as stream:
        for line in labels(province):
            kinds[line["sound"]].add(line["kind"])
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
    photos = {id(row.photo) for parcel in province.parcels for row in parcel.rows if row.photo is not None}
    photos |= {id(photo) for parcel in province.parcels for photo in parcel.photos}
    return Labelled(
        province, sum(len(parcel.rows) for parcel in province.parcels), len(photos), len(kinds[False]), len(kinds[True])
    )


def labels(province: Province) -> Iterator[dict[str, Any]]:
    """The lines of ``labels.jsonl``: what was planted, then every other row."""
    files: dict[int, str] = {}
    for drop in province.drops:
        for parcel in drop.parcels:
            files.setdefault(id(parcel), f"{drop.account}/{drop.name}")  # the first one holds the workbook
    for label in province.labels:
        yield _line(label, files)
    told = {id(label.row) for label in province.labels if label.row is not None and label.scope == "row"}
    told |= {id(label.row) for label in province.labels if label.row is not None and not label.sound}
    for parcel in province.parcels:
        if parcel.defect and not parcel.zip_name:
            continue
        for row in parcel.rows:
            if id(row) in told:
                continue
            cancelled = parcel.exam.is_cancelled(row.certificate.level)
            plain = Label(
                CANCELLED if cancelled else SOUND, ("EXAM-CANCELLED",) if cancelled else (),
                ("proof" if cancelled else "accepted",), "row", parcel, row, sound=True,
            )  # fmt: skip
            yield _line(plain, files)


def _line(label: Label, files: dict[int, str]) -> dict[str, Any]:
    return {
        "file": f"{label.parcel.city.account}/{label.file}" if label.file else files[id(label.parcel)],
        "exam": label.parcel.exam.code,
        "row": label.row.number if label.row else None,
        "entry": label.photo.name if label.photo else None,
        "scope": label.scope,
        "kind": label.kind,
        "sound": label.sound,
        "verdict": list(label.outcomes),
        "rules": list(label.rules),
    }


def _fill(plant: Planter, parcels: list[Parcel], rows: int, planted: int, draw: random.Random) -> None:
    """Sound applications until there are as many rows as wanted, spread over the cities' parcels."""
    proofs = [parcel for parcel in parcels if parcel.exam.cancelled_levels]
    wanted = rows - planted
    if wanted < len(proofs) * _PROOFS:
        message = f"埋下的错误和特例就超过了 {rows} 行，至少再加 {len(proofs) * _PROOFS - wanted} 行"
        raise ValueError(message)
    for parcel in proofs:
        for _ in range(_PROOFS):
            plant.fresh(parcel=parcel, photo=True, years=(1999, 2014))
    turns = [parcel for parcel in parcels for _ in range(_SHARES.get(parcel.exam.code, 0))]
    for turn in range(wanted - len(proofs) * _PROOFS):
        plant.fresh(parcel=turns[turn % len(turns)], photo=draw.random() < PHOTO_SHARE)

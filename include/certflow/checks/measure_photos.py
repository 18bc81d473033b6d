"""Measures photos and matches them with rows (suite ``photo``; notice 附件二 3).

A photo belongs to the rows whose ID number it is named by; a name that says less than that is matched only where one
row can be meant, and said to be so. Photos are decoded here, in threads, each once.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from certflow import faces, identity, keys, likeness, photo, portrait, vault
from certflow.checks import columns
from certflow.checks.measure_files import Standing
from certflow.checks.measure_rows import Rows
from certflow.checks.thumbnails import Thumbnails
from certflow.errors import SubmissionError
from certflow.intake import archive
from certflow.intake.submission import Entry, Measures, Received, Submission
from certflow.reference import RuleSet
from certflow.settings import Settings

if TYPE_CHECKING:
    from certflow.registry.contested import Pictured

LARGE = ("ruankao", "tongxin")
"""Families of exams whose photos are larger (notice 附件二 3)."""
COLUMNS = frozenset({
    "photo_fault", "photo_bytes", "photo_core_bytes", "photo_width", "photo_height", "photo_components",
    "photo_progressive", "photo_orientation", "photo_trailing", "photo_exif", "photo_border_white", "photo_border_min",
    "photo_border_level", "photo_border_chroma", "photo_blank", "photo_bytes_normal", "photo_bytes_large",
    "photo_core_normal", "photo_core_large", "photo_figures", "photo_figure_height", "photo_upside_down",
    "photo_dimensions", "photo_difference", "photo_border_gradient", "photo_border_score", "photo_blur", "photo_light",
    "photo_glare", "photo_colour", "photo_faces", "photo_face_width", "photo_face_x", "photo_face_y",
    "photo_zero_run",
})  # fmt: skip
"""Columns of the photo frame beside those named after a rule's code (``photo_extra``, ``zip_case``)."""
_EXTENSIONS = re.compile(r"(?:\.jpe?g|\.jpe)+$", re.IGNORECASE)


@dataclass(slots=True)
class Photos:
    """All photos of one call; `columns` is the photo frame."""

    owner: list[int] = field(default_factory=list)
    members: list[tuple[Received, Entry]] = field(default_factory=list)
    rows: list[list[int]] = field(default_factory=list)
    """Lines of the row frame each photo belongs to."""
    columns: dict[str, list[object]] = field(default_factory=dict)
    sketches: list[bytes | None] = field(default_factory=list)
    """What each is compared by (`certflow.likeness`)."""
    smalls: list[int | None] = field(default_factory=list)
    """The place of each among the thumbnails, where these were asked for."""
    alike: list[tuple[str, ...]] = field(default_factory=list)
    """Records of the ledger that came with too like a photo of another person, the likest first."""

    def __len__(self) -> int:
        return len(self.members)

    def of_rows(self, rows: Rows) -> list[str | None]:
        """Per row the SHA-256 of its photo."""
        return [
            None if position is None else self.members[position][1].sha256  # type: ignore[call-overload]
            for position in rows.columns["photo"]
        ]


def measure(
    submissions: Sequence[Submission],
    standings: Sequence[Standing],
    rows: Rows,
    settings: Settings,
    rule_sets: Sequence[RuleSet],
    *,
    thumbnails: Thumbnails | None = None,
) -> Photos:
    """The photo frame; adds ``photo_*`` columns to the row frame, and each photo to `thumbnails`.

    `rule_sets`: per submission.
    """
    photos = Photos()
    for position, submission in enumerate(submissions):
        for member in (*submission.photos, *submission.earlier_photos):
            photos.owner.append(position)
            photos.members.append(member)
    with_faces = settings.faces == "on"
    if with_faces:
        faces.require()
    with ThreadPoolExecutor(max_workers=max(1, settings.photo_threads)) as pool:
        pieces = [photos.members[at : at + photo.TOGETHER] for at in range(0, len(photos), photo.TOGETHER)]
        look = partial(_measure, with_faces=with_faces, with_small=thumbnails is not None)
        _take(photos, chain.from_iterable(pool.map(look, pieces)), thumbnails)
    _derive(photos, standings)
    photos.alike = [()] * len(photos)
    matches = _match(photos, rows, len(submissions))
    _measure_rows(photos, rows, matches, [one.photo_free_from for one in rule_sets])
    return photos


def measure_others(
    photos: Photos,
    rows: Rows,
    standings: Sequence[Standing],
    counted: Sequence[bool],
    pictured: "Mapping[str, Sequence[Pictured]]",
) -> None:
    """Add `photo_other` and where: the same person's photo of another certificate is another one.

    A package has one photo a person. `counted`: per submission whether its rows count; `pictured`: what the ledger has
    accepted, by ID number.
    """
    known: dict[tuple[str, str, str], list[tuple[str, str | None, str]]] = defaultdict(list)
    for number, ones in pictured.items():
        for one in ones:
            known[keys.id_key(number), one.month, one.exam_code].append((one.management_no, one.photo, one.record))
    others: list[object] = [0] * len(photos)
    places: list[object] = [None] * len(photos)
    numbers, of_rows = rows.text("clean_ZSGLH"), photos.of_rows(rows)
    for line, (owner, person, digest) in enumerate(zip(rows.owner, rows.persons, of_rows, strict=True)):
        standing = standings[owner]
        issued = rows.columns["exam_live"][line] is not False
        if not (person and digest and counted[owner] and issued and standing.exam is not None):
            continue
        key = (person, str(standing.month), standing.exam.code)
        other = next((where for number, photo, where in known[key] if number != numbers[line] and photo != digest), "")
        if other:
            at = rows.columns["photo"][line]
            others[at], places[at] = 1, other  # type: ignore[call-overload]
        else:
            known[key].append((numbers[line], digest, f"同时报送的第 {rows.number[line]} 行"))
    photos.columns |= {"photo_other": others, "photo_other_where": places}


def _take(photos: Photos, measured: Iterable[Measures], thumbnails: Thumbnails | None) -> None:
    """Into columns, photo by photo as they come: a city's sixty thousand sets of measures are never held."""
    size = len(photos)
    found: dict[str, list[object]] = defaultdict(lambda: [None] * size)
    photos.sketches, photos.smalls = [None] * size, [None] * size
    for line, one in enumerate(measured):
        if isinstance(sketch := one.pop("photo_sketch", None), bytes):
            photos.sketches[line] = sketch
        if isinstance(small := one.pop("photo_small", None), bytes) and thumbnails is not None:
            photos.smalls[line] = thumbnails.add(small)
        for name, value in one.items():
            found[name][line] = value
    photos.columns = dict(sorted(found.items()))


def _measure(members: Sequence[tuple[Received, Entry]], *, with_faces: bool, with_small: bool) -> list[Measures]:
    with ExitStack() as stack:
        opened = cache(lambda path: stack.enter_context(vault.reader(path, buffering=0)))
        look = partial(_sample, opened, with_faces=with_faces, with_small=with_small)
        found = photo.measured([look(received.path, entry) for received, entry in members])
    thumbed = [(one, thumb) for one in found if isinstance(thumb := one.pop("photo_thumb", None), bytes)]
    drawn = likeness.sketches([thumb for _, thumb in thumbed], portrait.THUMB)
    for (one, _), sketch in zip(thumbed, drawn, strict=True):
        one["photo_sketch"] = sketch
    return [{**entry.measures, **one} for (_, entry), one in zip(members, found, strict=True)]


def _sample(
    opened: Callable[[Path], BinaryIO], path: Path, entry: Entry, *, with_faces: bool, with_small: bool
) -> photo.Sampled:
    try:
        return photo.sample(archive.read_from(opened(path), entry), with_faces=with_faces, with_small=with_small)
    except SubmissionError:
        return photo.Sampled({"photo_fault": "PHOTO-DAMAGED", "photo_detail": "读取失败"})
    except Exception as error:  # noqa: BLE001 (whatever a decoder raises ends this photo, never the city's month)
        return photo.Sampled({"photo_unreadable": 1, "photo_unreadable_detail": type(error).__name__})


def _derive(photos: Photos, standings: Sequence[Standing]) -> None:
    measured, size = photos.columns, len(photos)
    nothing: list[object] = [None] * size
    large = [(exam := standings[owner].exam) is not None and exam.family in LARGE for owner in photos.owner]
    for source, stem in (("photo_bytes", "photo_bytes"), ("photo_core_bytes", "photo_core")):
        values = measured.get(source, nothing)
        measured[f"{stem}_normal"] = [None if big else value for big, value in zip(large, values, strict=True)]
        measured[f"{stem}_large"] = [value if big else None for big, value in zip(large, values, strict=True)]
    measured["photo_dimensions"] = [
        f"{width}×{height}" if width is not None and height is not None else None
        for width, height in zip(
            measured.get("photo_width", nothing), measured.get("photo_height", nothing), strict=True
        )
    ]


@dataclass(slots=True)
class _Applicants:
    """Lines of the row frame of one submission, by what a photo may be named after."""

    persons: Sequence[str]
    """`Rows.persons`."""
    by_id: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    by_name: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    by_column: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def alone(self, lines: Sequence[int]) -> Sequence[int]:
        """These lines if they are one person's, who may have several certificates (D25); else none."""
        return lines if len({self.persons[line] or line for line in lines}) == 1 else ()


def _match(photos: Photos, rows: Rows, count: int) -> dict[int, int]:
    """Line of the row frame → line of the photo frame, where there is one; fills `Photos.rows` and the name columns."""
    applicants = [_Applicants(rows.persons) for _ in range(count)]
    lines = zip(rows.owner, rows.persons, rows.text("clean_KSXM"), rows.text("clean_ZP"), strict=True)
    pictured = set(photos.owner)
    for line, (owner, person, name, given) in enumerate(lines):
        if owner not in pictured:
            continue
        if person:
            applicants[owner].by_id[person].append(line)
        if name:
            applicants[owner].by_name[keys.name_key(name)].append(line)
        if given:
            applicants[owner].by_column[base_name(given).casefold()].append(line)
    for column in ("photo_extra", "photo_nameless", "photo_renamed", "photo_double", "photo_repeated"):
        photos.columns[column] = [0] * len(photos)
    photos.rows = []
    for position, (owner, (_, entry)) in enumerate(zip(photos.owner, photos.members, strict=True)):
        found, remark = _owners(base_name(entry.base_name), applicants[owner])
        if not remark and entry.base_name != f"{rows.text('clean_ZJHM')[found[0]]}.jpg":
            remark = "photo_renamed"  # P19, P20
        if remark:
            photos.columns[remark][position] = 1
        photos.rows.append(list(found))
    return _settle_doubles(photos)


def numbers_in(name: str) -> set[str]:
    """The ID numbers a photo's file name may say, as comparison keys."""
    stem = _stem(name)
    return {keys.id_key(stem), *keys.id_keys_in(stem)}


def _stem(name: str) -> str:
    return _EXTENSIONS.sub("", base_name(name)).strip()


def _owners(name: str, applicants: _Applicants) -> tuple[Sequence[int], str]:
    """The rows a photo belongs to by its file name, and the column that says what is odd about the name."""
    stem = _stem(name)
    if found := applicants.by_id.get(keys.id_key(stem)):
        return found, ""
    tokens = keys.id_keys_in(stem)
    named = [applicants.by_id[token] for token in tokens if token in applicants.by_id]
    if len(named) == 1:
        return named[0], "photo_renamed"
    if by_column := applicants.alone(applicants.by_column.get(name.casefold(), ())):  # D36
        others = [*tokens]  # a sound number is another person's, and so may be the face
        sound = identity.checksum_ok(others) & identity.date_ok(others)
        return by_column, "photo_nameless" if sound.any() else "photo_renamed"
    if tokens:
        return (), "photo_extra"  # P22
    return applicants.alone(applicants.by_name.get(keys.name_key(stem), ())), "photo_nameless"  # P20


def _settle_doubles(photos: Photos) -> dict[int, int]:
    """The first photo of a row counts; equal others are repeats, different ones make a person decide (P23, Z29)."""
    matches: dict[int, int] = {}
    repeats: set[int] = set()
    case_twins = photos.columns.get("zip_case", [None] * len(photos))
    for line, (first, *others) in _by_row(photos).items():
        matches[line] = first
        for other in others:
            if photos.members[other][1].sha256 == photos.members[first][1].sha256:
                repeats.add(other)
            elif not case_twins[other]:
                photos.columns["photo_double"][first] = photos.columns["photo_double"][other] = 1
    for other in repeats.difference(matches.values()):
        photos.columns["photo_repeated"][other] = 1
    return matches


def base_name(text: str) -> str:
    """The last part of a path as a city may write it."""
    return unicodedata.normalize("NFC", re.split(r"[\\/]", text)[-1]).strip()


def _by_row(photos: Photos) -> dict[int, list[int]]:
    """Line of the row frame → its photos, as they lie in the zip."""
    found: dict[int, list[int]] = defaultdict(list)
    for position, lines in enumerate(photos.rows):
        for line in lines:
            found[line].append(position)
    return found


def _approved(rows: Rows) -> list[object]:
    """The year each certificate was approved in: the database's where it knows, for that date is printed (D32)."""
    known = columns.by_value(
        lambda day: int(value[:4]) if day is not None and (value := keys.parse_date(str(day)).value) else None,
        rows.columns["db_PZRQ"],
    )
    years = zip(rows.columns["db_person_ok"], known, rows.columns["approved_year"], strict=True)
    return [held if right and held is not None else sent for right, held, sent in years]


def _measure_rows(photos: Photos, rows: Rows, matches: dict[int, int], free_from: Sequence[int]) -> None:
    """`free_from`: per submission the first year of certificates that need no photo."""
    size = len(rows)
    present: list[object] = [None] * size
    named_right: list[object] = [None] * size
    exact: list[object] = [None] * size
    names = columns.by_value(base_name, rows.text("clean_ZP"))
    for line, (year, given) in enumerate(zip(_approved(rows), names, strict=True)):
        needed = year is None or int(str(year)) < free_from[rows.owner[line]]
        if not needed and not given and line not in matches:
            continue
        canonical = f"{rows.text('clean_ZJHM')[line]}.jpg"
        if line in matches:
            present[line], exact[line] = True, given == canonical
        elif needed:
            present[line] = None if year is None else False
            named_right[line] = None if given in ("", canonical) else False  # D36
        elif given:
            named_right[line] = False
    repeated, lines = photos.columns["photo_repeated"], _by_row(photos)
    rows.columns |= {
        "photo_lines": [[one for one in lines.get(line, ()) if not repeated[one]] for line in range(size)],
        "photo": [matches.get(line) for line in range(size)],
        "photo_present": present, "photo_zp_ok": named_right, "photo_zp_exact": exact,
    }  # fmt: skip

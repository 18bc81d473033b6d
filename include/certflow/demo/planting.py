"""Planting defects with known answers: what was done where, and what the province must say about it.

A `Planter` makes fresh sound applications, the catalogues (`row_defects`, `photo_defects`, `file_defects`)
spoil them and leave a `Label` each. After the files are written, labels know file and row number.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from certflow.demo.cities import Parcel, Photo, Row, sound_values
from certflow.demo.people import LAST_YEAR, Certificate, People, Person
from certflow.demo.portraits import LARGE, NORMAL, Band, Gallery, Pixels, encode
from certflow.reference import Exam, Reference

NEEDS_NONE: Final = (2017, LAST_YEAR)
"""Years of approval whose certificates need no photo."""
NEEDS_ONE: Final = (2003, 2016)


@dataclass(slots=True)
class Label:
    """One planted thing and the answer it must get."""

    kind: str
    rules: tuple[str, ...]
    """One of these must be found there; empty: only the outcome counts."""
    outcomes: tuple[str, ...]
    """accepted | held | returned | ignored | proof: what the thing may end as."""
    scope: str
    """file | row | photo"""
    parcel: Parcel
    row: Row | None = None
    photo: Photo | None = None
    sound: bool = False
    """Odd but sound: goes on with a warning."""
    file: str = ""
    """Name of the dropped file, where the parcel's own does not tell."""

    def as_json(self, files: Mapping[int, Sequence[str]]) -> dict[str, Any]:
        """The answer as it stands in ``answers.json``; `files` gives the names of a parcel's files by its id."""
        return {
            "kind": self.kind,
            "rules": list(self.rules),
            "outcomes": list(self.outcomes),
            "scope": self.scope,
            "account": self.parcel.city.account,
            "city": self.parcel.city.name,
            "exam": self.parcel.exam.code,
            "files": [self.file] if self.file else list(files[id(self.parcel)]),
            "row": self.row.number if self.row else None,
            "entry": self.photo.name if self.photo else None,
            "sound": self.sound,
        }


class Planter:
    """Fresh applications in the cities' parcels, turn by turn, and the labels of what is spoilt."""

    def __init__(
        self,
        people: People,
        gallery: Gallery,
        reference: Reference,
        parcels: Sequence[Parcel],
        open_parcel: Callable[[str], Parcel],
    ) -> None:
        """`open_parcel` starts a further parcel of its own for a file defect of the given kind."""
        self.people = people
        self.reference = reference
        self.labels: list[Label] = []
        self.open_parcel = open_parcel
        self._gallery = gallery
        self._parcels = parcels
        self._turns: dict[str, int] = {}
        self._portraits: dict[int, Pixels] = {}

    def parcel(self, exam: str = "034", *, plain: bool = False) -> Parcel:
        """The next city's parcel of the exam; `plain` wants one whose workbook is a real XLS."""
        choice = [item for item in self._parcels if item.exam.code == exam and not (plain and item.style.xlsx)]
        turn = self._turns.get(exam, 0)
        self._turns[exam] = turn + 1
        return choice[turn * 4 % len(choice)]

    def fresh(
        self,
        exam: str = "034",
        *,
        photo: bool = False,
        parcel: Parcel | None = None,
        person: Person | None = None,
        holder: Mapping[str, Any] | None = None,
        plain: bool = False,
        **wishes: Any,  # noqa: ANN401 (handed to People.certificate as they are)
    ) -> tuple[Parcel, Row]:
        """One more sound application; `holder` are wishes for `People.person`, `wishes` for the certificate."""
        parcel = parcel or self.parcel(exam, plain=plain)
        if person is None and holder is not None:
            person = self.people.person(**holder)
        wishes.setdefault("years", NEEDS_ONE if photo else NEEDS_NONE)
        certificate = self.people.certificate(parcel.exam, parcel.city.name, person=person, **wishes)
        return parcel, self.apply(parcel, certificate, photo=photo)

    def apply(self, parcel: Parcel, certificate: Certificate, *, photo: bool) -> Row:
        """A sound application for this certificate in this parcel."""
        row = Row(certificate, sound_values(certificate, photo=photo))
        if photo:
            row.photo = Photo(f"{certificate.person.id_number}.jpg", self.portrait(certificate.person, parcel.exam))
        parcel.rows.append(row)
        return row

    def portrait(self, person: Person, exam: Exam) -> bytes:
        """The person's photo in the size the exam asks for."""
        return encode(self.pixels(person), self.band(exam))

    def pixels(self, person: Person) -> Pixels:
        """The person's portrait before encoding."""
        if person.number not in self._portraits:
            self._portraits[person.number] = self._gallery.portrait(person.number)
        return self._portraits[person.number]

    def band(self, exam: Exam) -> Band:
        """Sizes in bytes a photo of this exam may have."""
        return NORMAL if exam.family == "normal" else LARGE

    def row(self, kind: str, rules: str, outcome: str, parcel: Parcel, row: Row) -> None:
        """Label a spoilt row; `rules` and `outcome` may name several, parted by a blank."""
        self.labels.append(Label(kind, tuple(rules.split()), tuple(outcome.split()), "row", parcel, row))

    def photo(
        self, kind: str, rules: str, outcome: str, parcel: Parcel, photo: Photo, *, row: Row | None = None
    ) -> None:
        """Label a spoilt photo, and the row it belongs to."""
        self.labels.append(Label(kind, tuple(rules.split()), tuple(outcome.split()), "photo", parcel, row, photo))

    def file(self, kind: str, rules: str, outcome: str, parcel: Parcel, file: str = "") -> None:
        """Label a spoilt file."""
        parcel.defect = kind
        self.labels.append(Label(kind, tuple(rules.split()), tuple(outcome.split()), "file", parcel, file=file))

    def odd(self, kind: str, rules: str, parcel: Parcel, row: Row, *, photo: Photo | None = None) -> None:
        """Label a row that is odd but sound, with its photo where that is what is odd."""
        self.labels.append(Label(kind, tuple(rules.split()), ("accepted",), "row", parcel, row, photo, sound=True))

    def manner(self, kind: str, rules: str, parcel: Parcel) -> None:
        """Label a way of making files that is tolerated; `rules` are what is said of it."""
        self.labels.append(Label(kind, tuple(rules.split()), ("accepted",), "file", parcel, sound=True))


def renumber(row: Row, number: str) -> None:
    """The city typed another ID number, and named the photo by it."""
    row.values["ZJHM"] = number
    if row.photo is not None:
        row.photo.name = f"{number}.jpg"
        row.values["ZP"] = row.photo.name

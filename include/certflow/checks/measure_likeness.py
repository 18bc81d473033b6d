"""Measures whose photo is somebody else's: within one call, and against every photo of the ledger (P17).

`photo_difference` says how much of a photo another person's photo leaves unexplained, in percent; 0 is the same
picture. Compared are persons, by their ID numbers: who sends his own photo again, in any month, is like himself.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from certflow import keys, likeness, photo
from certflow.checks.measure_files import Standing
from certflow.checks.measure_photos import Photos
from certflow.checks.measure_rows import Rows
from certflow.errors import DigestMismatch, SubmissionError
from certflow.findings import listed
from certflow.intake import archive
from certflow.settings import Settings
from certflow.zips import Packed, read_packed

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from certflow.registry.ledger import Registry
    from certflow.registry.portraits import Owner, Shelf


_Whose = TypeVar("_Whose")
_Source = tuple[str, Callable[[], bytes]]
"""SHA-256 of a photo ("" where nobody took it), and how it is read."""
_KEPT = 2_000
"""Pictures that are kept for another look: 20 MB."""


@dataclass(slots=True)
class Album:
    """The photos of one call as they are compared; `difference` and `detail` are columns of the photo frame."""

    photos: Photos
    rows: Rows
    settings: Settings
    bound: float
    """Photos of two people that differ by less are too alike (of the suite, in percent)."""
    difference: list[object] = field(init=False)
    detail: list[object] = field(init=False)
    newest: int = 0
    """The ledger's last sketch that was looked at."""
    _seen: dict[str, likeness.Plane | None] = field(default_factory=dict)
    """By SHA-256."""
    _numbers: list[str] = field(init=False)
    """管理号 of every row."""

    def __post_init__(self) -> None:
        self.difference, self.detail = [None] * len(self.photos), [None] * len(self.photos)
        self._numbers = self.rows.text("clean_ZSGLH")

    def compare(self, standings: Sequence[Standing]) -> None:
        """The photos of the call with each other; two of which each is too like another one already are let be."""
        pairs = (
            ((one, other), self._own(one), self._own(other))
            for one, other in self._pairs()
            if not (self._too_alike(one) and self._too_alike(other))
        )
        for (one, other), apart in self._apart(pairs):
            for here, there in ((one, other), (other, one)):
                self._note(here, apart, self._place(here, there, standings))

    def look_up(self, conn: "Connection", without: Sequence[int]) -> None:
        """The photos of the call with those of the ledger; `without`: submissions that do not count."""
        near: dict[int, list[tuple[float, str]]] = defaultdict(list)
        for line, apart, record in self._known(conn, without):
            self._note(line, apart, record)
            if apart < self.bound:
                near[line].append((apart, record))
        for line, found in near.items():
            self.photos.alike[line] = tuple(dict.fromkeys(record for _, record in sorted(found)))
            self.detail[line] = listed(self.photos.alike[line])

    def let_go(self) -> None:
        """Forget what was measured of rows and photos: the album lives on until the verdicts are recorded."""
        self.photos, self.rows = replace(self.photos, columns={}), replace(self.rows, columns={})

    def overlooked(self, conn: "Connection", without: Sequence[int]) -> bool:
        """Whether the ledger has got a photo since that is too like one of these: another city was as fast."""
        return any(apart < self.bound for _, apart, _ in self._known(conn, without))

    def _known(self, conn: "Connection", without: Sequence[int]) -> Iterator[tuple[int, float, str]]:
        """(photo, difference, record id) for everything on the shelf since the last look that is worth a second one."""
        from certflow.registry import portraits

        mine = [line for line, lines in enumerate(self.photos.rows) if lines and self.photos.sketches[line]]
        since, self.newest = self.newest, portraits.newest(conn)
        if not mine or self.newest <= since:
            return
        strangers, crowded = self._strangers(conn, mine, portraits.shelf(conn, since, self.newest), without)
        if crowded:
            persons = {self._person(line) for line in crowded}
            strangers = [(line, known) for line, known in strangers if line not in crowded]
            shelf = portraits.standing(conn, since, self.newest, persons, without)
            strangers += self._strangers(conn, sorted(crowded), shelf, without)[0]
        pairs = (((line, known), self._own(line), self._kept(known[0])) for line, known in strangers)
        for (line, known), apart in self._apart(pairs):
            yield from ((line, apart, one.record) for one in known)

    def _strangers(
        self, conn: "Connection", lines: Sequence[int], shelf: "Iterable[Shelf]", without: Sequence[int]
    ) -> "tuple[list[tuple[int, list[Owner]]], set[int]]":
        """(photo, other people's rows with a photo of the shelf) for each second look.

        And the photos whose every look was spent, and some on photos that nobody else has: these may hide one.
        """
        from certflow.registry import portraits

        sketches = [self.photos.sketches[line] or b"" for line in lines]
        nearest = likeness.Nearest(sketches, [self._person(line) for line in lines])
        for page in shelf:
            nearest.look(page.ids, page.sketches, page.persons)
        looks = list(nearest.pairs())
        owners = portraits.owners(conn, {known for _, known in looks}, without)
        seen = ((lines[number], owners.get(known, ())) for number, known in looks)
        found = [(line, [one for one in known if self._other(line, one)]) for line, known in seen]
        spent, useful = Counter(line for line, _ in found), Counter(line for line, known in found if known)
        crowded = {line for line in spent if spent[line] == likeness.NEAREST > useful[line]}
        return [(line, known) for line, known in found if known], crowded

    def _pairs(self) -> Iterator[tuple[int, int]]:
        """Photos of two people that have the same bytes, or are worth a second look; each pair once.

        Not of a photo no row asks for: it is held itself, and whose it is nobody knows (P22). One pair of each photo,
        then another of each: most know early that they are too like somebody's.
        """
        persons = {line: self._person(line) for line, lines in enumerate(self.photos.rows) if lines}
        same: dict[str | None, list[int]] = defaultdict(list)
        for line in persons:
            same[self.photos.members[line][1].sha256].append(line)
        twins = {
            (line, other)
            for digest, lines in same.items() if digest and len(lines) > 1
            for line in lines
            if (other := next((one for one in lines if persons[one] != persons[line]), None)) is not None
        }  # fmt: skip
        drawn = [line for line in persons if self.photos.sketches[line]]
        sketches = [self.photos.sketches[line] or b"" for line in drawn]
        whose = [persons[line] for line in drawn]
        likest = likeness.likest(sketches, b"".join(sketches), whose, whose)
        looks = {(drawn[one], drawn[other]) for one, other in likest}
        turns: Counter[int] = Counter()
        ordered: list[tuple[int, int, int]] = []
        for one, other in sorted({(min(pair), max(pair)) for pair in twins | looks}):
            if persons[one] != persons[other]:
                ordered.append((turns[one], one, other))
                turns[one] += 1
        yield from ((one, other) for _, one, other in sorted(ordered))

    def _person(self, line: int) -> str:
        """Whose the photo is; a row asks for it."""
        return self.rows.persons[self.photos.rows[line][0]]

    def _other(self, line: int, owner: "Owner") -> bool:
        """Whether a row of the ledger is another person's: another ID number, and another certificate."""
        lines = self.photos.rows[line]
        numbers = {self._numbers[one] for one in lines} - {""}
        return keys.id_key(owner.id_number) != self._person(line) and owner.management_no not in numbers

    def _own(self, line: int) -> _Source:
        received, entry = self.photos.members[line]
        return entry.sha256 or "", lambda: archive.read_entry(received, entry)

    def _kept(self, owner: "Owner") -> _Source:
        kept = owner.photo
        place = Packed(
            self.settings.original(kept.original), kept.data_offset, kept.packed_size, kept.method, kept.size,
            kept.crc32,
        )  # fmt: skip
        return kept.sha256 or "", lambda: read_packed(place)

    def _apart(self, pairs: Iterable[tuple[_Whose, _Source, _Source]]) -> Iterator[tuple[_Whose, float]]:
        """Each pair's difference, in order; nothing is said where a picture is not there any more."""
        left = iter(pairs)
        while piece := list(islice(left, likeness.TOGETHER)):
            apart: dict[int, float] = {}
            ones, others, looks = [], [], []
            for number, (_, (digest, read), (digest_too, read_too)) in enumerate(piece):
                if digest and digest == digest_too:
                    apart[number] = 0.0
                    continue
                one, other = self._picture(digest, read), self._picture(digest_too, read_too)
                if one is not None and other is not None:
                    ones.append(one)
                    others.append(other)
                    looks.append(number)
            apart |= zip(looks, likeness.apart(ones, others), strict=True)
            yield from ((piece[number][0], apart[number]) for number in sorted(apart))

    def _picture(self, digest: str, read: Callable[[], bytes]) -> likeness.Plane | None:
        if digest not in self._seen:
            if len(self._seen) == _KEPT:
                self._seen.clear()
            try:
                self._seen[digest] = photo.detail(read(), likeness.DETAIL)
            except (SubmissionError, DigestMismatch):
                self._seen[digest] = None
        return self._seen[digest]

    def _too_alike(self, line: int) -> bool:
        nearest = self.difference[line]
        return isinstance(nearest, float) and nearest < self.bound

    def _note(self, line: int, apart: float, whose: str) -> None:
        nearest = self.difference[line]
        if nearest is None or apart < float(str(nearest)):
            self.difference[line], self.detail[line] = apart, whose

    def _place(self, line: int, other: int, standings: Sequence[Standing]) -> str:
        """Where the other photo of the call is, as seen from the one."""
        lines, owner = self.photos.rows[other], self.photos.owner[other]
        row = f"第 {self.rows.number[lines[0]]} 行"
        if owner == self.photos.owner[line]:
            return row
        standing = standings[owner]
        names = [
            str(standing.month or ""), standing.exam.code if standing.exam else "",
            standing.city.name if standing.city else "",
        ]  # fmt: skip
        return f"另一文件（{'-'.join(name for name in names if name)}）{row}"


def measure(
    photos: Photos,
    rows: Rows,
    standings: Sequence[Standing],
    settings: Settings,
    *,
    bound: float,
    registry: "Registry | None",
    without: tuple[int, ...],
) -> Album:
    """Add `photo_difference` to the photo frame, with where the other photo is; fills `Photos.alike`."""
    album = Album(photos, rows, settings, bound)
    album.compare(standings)
    if registry is not None:
        with registry.read() as conn:
            album.look_up(conn, without)
    photos.columns |= {"photo_difference": album.difference, "photo_difference_detail": album.detail}
    return album

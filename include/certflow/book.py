"""What a workbook holds: its cells as `excel` reads them, and what `biff` and `ooxml` find beside their texts.

In looks rows and columns are 1-based, as Excel shows them.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

GRID_CELLS = 8_000_000
"""Largest rows × columns of one sheet a reader may lay out densely (about 250 MB in calamine; E27)."""

_NUMBERS, _FIRST = 256, 1024
"""Different texts whose numbers a byte holds, and cells that are looked at before all of them are counted."""


@dataclass(frozen=True, slots=True)
class Column:
    """The cells of one column: one long text, because nothing else is as cheap to hand over; at least one cell."""

    joined: str
    """The texts, with `between` between them: one a cell, or each different one once."""
    between: str
    """A sign that is in none of the texts."""
    kinds: str
    """One letter a cell: t text, n number, d date, b bool, space for empty. Formula and error cells are told apart by
    the looks of `biff` and `ooxml`, not here."""
    which: bytes = b""
    """Of a column of few different texts: the number of each cell's text in `joined`. Else empty."""

    @property
    def texts(self) -> list[str]:
        """The texts, top to bottom; of few different ones equal ones are one object."""
        texts = self.joined.split(self.between)
        return list(map(texts.__getitem__, self.which)) if self.which else texts

    @property
    def size(self) -> int:
        """Characters of all cells together."""
        if not self.which:
            return len(self.joined) - len(self.kinds) + 1
        return sum(len(text) * self.which.count(at) for at, text in enumerate(self.joined.split(self.between)))

    def top(self, count: int) -> list[str]:
        """The first texts, so many at most."""
        if not self.which:
            return self.joined.split(self.between, count)[:count]
        return list(map(self.joined.split(self.between).__getitem__, self.which[:count]))

    def __iter__(self) -> Iterator[str]:
        """The texts one by one: all of them weigh four times what the column does."""
        if self.which:
            yield from self.texts
            return
        begin = 0
        while (end := self.joined.find(self.between, begin)) >= 0:
            yield self.joined[begin:end]
            begin = end + 1
        yield self.joined[begin:]


def join(texts: Sequence[str], kinds: str | None = None) -> Column:
    """Put a column together; TypeError where there is anything but text. Without `kinds` all is text or empty."""
    different, which = _few(texts)
    between = "\0"
    joined = between.join(different)
    if joined.count(between) >= len(different):
        used = set(joined)
        between = next(sign for sign in map(chr, range(1, sys.maxunicode)) if sign not in used)
        joined = between.join(different)
    if kinds is None:
        full = 2 * between not in joined and joined[:1] not in ("", between) and joined[-1] != between
        kinds = "t" * len(texts) if full else "".join(["t" if text else " " for text in texts])
    return Column(joined, between, kinds, which)


def _few(texts: Sequence[str]) -> tuple[Sequence[str], bytes]:
    """Each different text once and the number of each cell's, where a byte holds it; else the texts as they are."""
    if len(set(texts[:_FIRST])) > _NUMBERS:
        return texts, b""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return ([*numbers], bytes(map(numbers.__getitem__, texts))) if len(numbers) <= _NUMBERS else (texts, b"")


@dataclass(frozen=True, slots=True)
class Grid:
    """One sheet as calamine gives it, from `first_row`, `first_column` (0-based); all columns are equally long."""

    name: str
    first_row: int
    first_column: int
    columns: list[Column]
    """None where there is no content."""

    @property
    def texts(self) -> list[list[str]]:
        """The texts row by row."""
        return list(map(list, zip(*(column.texts for column in self.columns), strict=True)))

    def rows(self) -> Iterator[list[str]]:
        """The texts row by row, one at a time, each from the first column a sheet can have."""
        within = [""] * self.first_column
        return ([*within, *row] for row in zip(*self.columns, strict=True))

    @property
    def kinds(self) -> list[str]:
        """The kinds row by row, a string a row."""
        return list(map("".join, zip(*(column.kinds for column in self.columns), strict=True)))


@dataclass(slots=True)
class SheetLook:
    """One sheet: where its content ends, and what hides in it."""

    name: str
    state: str = "visible"
    """visible | hidden | veryHidden"""
    kind: str = "worksheet"
    """worksheet | chart | macro | dialog"""
    last_row: int = 0
    last_column: int = 0
    hidden_rows: list[int] = field(default_factory=list)
    """Hidden, filtered away, or of height 0 (E23)."""
    hidden_columns: list[tuple[int, int]] = field(default_factory=list)
    merged: list[tuple[int, int, int, int]] = field(default_factory=list)
    """First row, first column, last row, last column (E18)."""
    formulas: list[tuple[int, int]] = field(default_factory=list)
    """Row and column of each formula (E34)."""
    errors: list[tuple[int, int]] = field(default_factory=list)
    """Row and column of each error value such as #N/A (E41)."""


@dataclass(slots=True)
class Look:
    """One workbook. `active` names what could act or reach out (E36, E37); empty when there is nothing."""

    format: str
    """xls | xlsx"""
    sheets: list[SheetLook] = field(default_factory=list)
    active: list[str] = field(default_factory=list)
    images: int = 0
    comments: int = 0
    date1904: bool = False

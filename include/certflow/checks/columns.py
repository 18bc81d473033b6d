"""Work on whole columns of text: what most rows have in common is told by arrays, and each other value is read once.

The measures ask here which lines need a closer look; a month in which all is in order never runs a loop over its rows.
"""

import operator
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from certflow.identity import Bools

_Value = TypeVar("_Value", bound=Hashable)
_Made = TypeVar("_Made")

DIGITS = (0x30, 0x39)
CAPITALS = (0x41, 0x5A)
IDEOGRAPHS = (0x3400, 0x9FFF)
"""Those that have no other form: none of them is changed by NFKC."""
HAN = ((0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
PLAIN = (DIGITS, CAPITALS, IDEOGRAPHS)
"""Signs that every way of reading a cell leaves as they are."""


def by_value(function: Callable[[_Value], _Made], values: Sequence[_Value]) -> list[_Made]:
    """The function of each value, called once for each different one."""
    made = {value: function(value) for value in dict.fromkeys(values)}
    return list(map(made.__getitem__, values))


def lengths(values: Sequence[str]) -> NDArray[np.int64]:
    """How long each text is, in characters."""
    return np.fromiter(map(len, values), dtype=np.int64, count=len(values))


def only(values: Sequence[str], *ranges: tuple[int, int]) -> Bools:
    """Whether each text has no other signs than those of these ranges of code points; an empty one has none."""
    return ~_having(values, ~_within(_signs(values), ranges))


def having(values: Sequence[str], *ranges: tuple[int, int]) -> Bools:
    """Whether each text has at least one sign of these ranges of code points."""
    return _having(values, _within(_signs(values), ranges))


def _signs(values: Sequence[str]) -> NDArray[np.uint32]:
    return np.frombuffer("".join(values).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def _within(signs: NDArray[np.uint32], ranges: Iterable[tuple[int, int]]) -> Bools:
    found = np.zeros(len(signs), dtype=np.bool_)
    for low, high in ranges:
        found |= (signs >= low) & (signs <= high)
    return found


def _having(values: Sequence[str], told: Bools) -> Bools:
    """Which texts a sign of which this was told belongs to."""
    found = np.zeros(len(values), dtype=np.bool_)
    if told.any():
        found[np.searchsorted(np.cumsum(lengths(values)), np.flatnonzero(told), side="right")] = True
    return found


def lines(mask: Bools) -> list[int]:
    """The lines on which something is so, ascending."""
    return np.flatnonzero(mask).tolist()


def spread(where: Bools, values: Iterable[object]) -> list[object]:
    """A column that says these values, in order, where it is so, and nothing elsewhere."""
    column = np.full(len(where), None, dtype=object)
    column[where] = list(values)
    return column.tolist()


def groups(values: Sequence[Hashable | None]) -> list[list[int]]:
    """The lines of each value that several lines share, in the order of the first ones; None is no value."""
    repeated = {value for value, times in Counter(values).items() if times > 1} - {None}
    found: dict[Hashable, list[int]] = defaultdict(list)
    for line in (line for line, value in enumerate(values) if value in repeated) if repeated else ():
        found[values[line]].append(line)
    return [*found.values()]


def equal(one: Sequence[Any], other: Sequence[Any]) -> Bools:
    """Line by line, whether two columns say the same."""
    return np.fromiter(map(operator.eq, one, other), dtype=np.bool_, count=len(one))

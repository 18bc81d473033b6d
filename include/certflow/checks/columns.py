"""Work on whole columns of text: what most rows have in common is told by arrays, and each other value is read once.

The measures ask here which lines need a closer look; a month in which all is in order never runs a loop over its rows.
"""

import operator
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
PLAIN = (DIGITS, CAPITALS, IDEOGRAPHS)
"""Signs that every way of reading a cell leaves as they are."""
_WIDTH = 32
"""Signs of a text that are looked at; a longer one is never told to be plain."""


def by_value(function: Callable[[_Value], _Made], values: Sequence[_Value]) -> list[_Made]:
    """The function of each value, called once for each different one."""
    made = {value: function(value) for value in dict.fromkeys(values)}
    return list(map(made.__getitem__, values))


def lengths(values: Sequence[str]) -> NDArray[np.int64]:
    """How long each text is, in characters."""
    return np.fromiter(map(len, values), dtype=np.int64, count=len(values))


def only(values: Sequence[str], *ranges: tuple[int, int]) -> Bools:
    """Whether each text has no other signs than those of these ranges of code points; an empty one has none.

    Texts beyond 32 characters, and any with a NUL, are False.
    """
    sizes = lengths(values)
    width = max(1, min(_WIDTH, int(sizes.max(initial=0))))
    codes = np.array(values, dtype=f"U{width}").view(np.uint32).reshape(len(values), width)
    fits = codes == 0
    for low, high in ranges:
        fits |= (codes >= low) & (codes <= high)
    return np.asarray(fits.all(axis=1) & (np.count_nonzero(codes, axis=1) == sizes), dtype=np.bool_)


def lines(mask: Bools) -> list[int]:
    """The lines on which something is so, ascending."""
    return np.flatnonzero(mask).tolist()


def spread(where: Bools, values: Iterable[object]) -> list[object]:
    """A column that says these values, in order, where it is so, and nothing elsewhere."""
    column = np.full(len(where), None, dtype=object)
    column[where] = list(values)
    return column.tolist()


def equal(one: Sequence[Any], other: Sequence[Any]) -> Bools:
    """Line by line, whether two columns say the same."""
    return np.fromiter(map(operator.eq, one, other), dtype=np.bool_, count=len(one))

"""How alike two photos are, whatever was done to one of them in between: saved, resized, cropped, lit anew (P17).

Two looks. A *sketch* is what a photo is known by afterwards, 63 bytes from which nobody is recognised: `likest`
compares very many of them at once and names the few that are worth the second look. That one, `apart`, needs both
pictures: it moves, stretches and exposes the one until it fits the other, and says how much of it is left (tangent
distance after Simard, LeCun and Denker, 1993, coarse to fine). Pure arithmetic; what is too alike stands in the suite.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

DETAIL = (96, 108)
"""Rows and columns of the picture that `apart` looks at, a multiple of the small picture sketches are made of."""
FIRST = 0.96
"""Least correlation of two sketches for a second look."""
NEAREST = 12
"""Second looks one photo gets at most: what is copied was among the first three of a hundred like-looking faces."""
_WAVES = 8
"""A sketch is made of so many waves down and across."""
_ONES, _OTHERS = 512, 8_192
"""Sketches that are compared at once: 17 MB, however many there are."""
_STEPS = ((4, 25), (4, 20), (2, 12), (2, 12), (1, 0))
"""The steps of the second look: pixels that are one, and the percent left after which no further step is made.

Of drawn portraits with all that docs/photos.md does to them, 12, 11, 7 and 7 were left at most where the last step
left less than 6.
"""
_FARTHEST = 0.15
"""How far one picture is moved or stretched to fit the other, as a share of half its side."""

Plane = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def sketch(thumb: bytes, shape: tuple[int, int]) -> bytes:
    """63 signed bytes: the slow waves of a grey picture of `shape`, the quicker ones weighed more.

    Neither exposure nor contrast is in them. All zero for a blank picture, which is like nothing.
    """
    grey = np.frombuffer(thumb, dtype=np.uint8).reshape(shape).astype(np.float32)
    order = np.add.outer(np.arange(_WAVES), np.arange(_WAVES))
    waves = (_waves(shape[0]) @ grey @ _waves(shape[1]).T * order).ravel()[1:]
    largest = float(np.abs(waves).max())
    return np.round(waves * (127 / largest if largest > 1 else 0)).astype(np.int8).tobytes()


def likest(ones: Sequence[bytes], others: bytes) -> Iterator[tuple[int, int]]:
    """(number of one, number of another) for each second look that is worth it; `others`: sketches end to end."""
    known = _unit(b"".join(ones))
    scores: dict[int, list[tuple[float, int]]] = {}
    width = _WAVES * _WAVES - 1
    for start in range(0, len(others) // width, _OTHERS):
        chunk = _unit(others[start * width : (start + _OTHERS) * width]).T
        for first in range(0, len(known), _ONES):
            score = known[first : first + _ONES] @ chunk
            for one, other in np.argwhere(score >= FIRST):
                scores.setdefault(first + int(one), []).append((float(score[one, other]), start + int(other)))
    for one, found in sorted(scores.items()):
        yield from ((one, other) for _, other in sorted(found, reverse=True)[:NEAREST])


def apart(one: Plane, other: Plane) -> float:
    """0 the same picture, 100 nothing in common: percent of what varies in a `DETAIL` that stays unexplained."""
    return min(_left(one, other), _left(other, one))


def _left(one: Plane, other: Plane) -> float:
    """What of the other no move, stretch or exposure of the one explains; the whole of the other lies in the one."""
    place = np.zeros(4, dtype=np.float32)  # down, taller, across, wider; 1 is half the picture
    here, there = one.astype(np.float32), other.astype(np.float32)
    left = 100.0
    for size, hopeless in _STEPS:
        (rows, columns), (down, across) = one.shape, (_smooth(side, size) for side in one.shape)
        ways = _ways(_moved(rows, size, place[0], place[1]) @ here @ _moved(columns, size, place[2], place[3]).T)
        wanted = (down @ there @ across.T).ravel().astype(np.float64)
        found, *_ = np.linalg.lstsq(ways @ ways.T, ways @ wanted, rcond=None)  # seven unknowns: the normal equations
        varies = float(np.linalg.norm(wanted - wanted.mean()))
        left = 100 * float(np.linalg.norm(wanted - found @ ways)) / varies if varies > len(down) else 100.0
        if left > hopeless:
            break
        gain = found[1] + 2 * found[2] * ways[1].mean() / 255
        if gain > 0.2:
            place = np.clip(place + np.clip(found[3:] / gain, -0.06, 0.06), -_FARTHEST, _FARTHEST)
    return left


def _ways(picture: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """What small changes make of a picture, one to a line: lighter, more contrast, moved and stretched both ways."""
    rows, columns = picture.shape
    ways = np.empty((7, rows, columns))
    ways[0] = 1
    ways[1] = picture
    np.multiply(ways[1], ways[1] / 255, out=ways[2])
    ways[3], ways[5] = np.gradient(ways[1], 2 / (rows - 1), 2 / (columns - 1))
    np.multiply(ways[3], _line(rows)[:, None], out=ways[4])
    np.multiply(ways[5], _line(columns), out=ways[6])
    return ways.reshape(7, -1)


def _moved(side: int, size: int, by: float, wider: float) -> Floats:
    """Reads a line as `_smooth` does, but at other places: moved by so much and stretched, 1 being half the line."""
    count = side // size
    places = ((_line(count) * (1 + wider) + by + 1) / 2 * (count - 1)).clip(0, count - 1)
    left = np.minimum(places.astype(np.intp), count - 2)
    move = np.zeros((count, count), dtype=np.float32)
    move[np.arange(count), left] = 1 - (places - left)
    move[np.arange(count), left + 1] = places - left
    return np.asarray(_smear(count) @ move @ _shrunk(side, size), dtype=np.float32)


@lru_cache(maxsize=16)
def _smooth(side: int, size: int) -> Floats:
    """Reads a line of `side` pixels, `size` of them as one, smeared."""
    return _smear(side // size) @ _shrunk(side, size)


@lru_cache(maxsize=16)
def _shrunk(side: int, size: int) -> Floats:
    """Means `size` pixels of a line each."""
    return np.repeat(np.eye(side // size, dtype=np.float32), size, axis=1) / np.float32(size)


@lru_cache(maxsize=16)
def _line(size: int) -> npt.NDArray[np.float64]:
    """The places of a line's pixels, −1 to 1."""
    return np.linspace(-1, 1, size)


@lru_cache(maxsize=16)
def _smear(size: int) -> Floats:
    """Smears a line by a pixel (Gauss, σ = 1): only what is smooth can be moved by its slope."""
    made = np.zeros((size, size), dtype=np.float32)
    for step in range(-4, 5):
        np.add.at(made, (np.arange(size), (np.arange(size) + step).clip(0, size - 1)), np.exp(-(step**2) / 2))
    return np.asarray(made / made.sum(axis=1, keepdims=True), dtype=np.float32)


@lru_cache(maxsize=16)
def _waves(size: int) -> Floats:
    """The first waves of the cosine transform of a line."""
    at = np.pi * (2 * np.arange(size) + 1) / (2 * size)
    return np.asarray(np.cos(np.outer(np.arange(_WAVES), at)), dtype=np.float32)


def _unit(sketches: bytes) -> Floats:
    lines = np.frombuffer(sketches, dtype=np.int8).reshape(-1, _WAVES * _WAVES - 1).astype(np.float32)
    length = np.linalg.norm(lines, axis=1, keepdims=True)
    return np.asarray(np.divide(lines, length, where=length > 0, out=np.zeros_like(lines)), dtype=np.float32)

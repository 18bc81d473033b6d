"""How alike two photos are, whatever was done to one of them in between: saved, resized, cropped, lit anew (P17).

Two looks. A *sketch* is what a photo is known by afterwards, 63 bytes from which nobody is recognised: `likest`
compares very many of them at once and names the few that are worth the second look. That one, `apart`, needs both
pictures: it moves, stretches and exposes the one until it fits the other, and says how much of it is left (tangent
distance after Simard, LeCun and Denker, 1993, coarse to fine). Sketches are fitted so too, by one step, where they are
alike as they are. Pure arithmetic; what is too alike stands in the suite.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

DETAIL = (96, 108)
"""Rows and columns of the picture that `apart` looks at, a multiple of the small picture sketches are made of."""
FIRST = 0.96
"""Least correlation of two sketches for a second look."""
GLANCE = 21.0
"""Percent of a sketch that may be left, for a second look, when the other is fitted to it.

Of the copies of docs/photos.md whose sketches are alike as they are 20.0 was left at most; of such strangers among
18 000 made photos four in five leave more.
"""
_CERTAIN = 1 - (GLANCE / 100) ** 2 / 2
"""Sketches of this correlation leave less than `GLANCE` as they are, and fitted no more."""
NEAREST = 12
"""Second looks one photo gets at most: what is copied was among the first three of a hundred like-looking faces."""
_WAVES = 8
"""A sketch is made of so many waves down and across."""
_AXES, _ROUNDING = 16, 1e-5
"""Axes of the quick bound, on which nine tenths of what made photos' sketches vary by lie; its error at most."""
_SIDE, _PAIRS = 512, 2_048
"""So many sketches are compared with as many others at once, 1 MB of results, which stays in a core's own cache: three
times as quick as with 8 192 others. And pairs that are fitted at once."""
_GRID = 16
"""Pixels of the small square that a sketch is drawn on again."""
_STEPS = ((4, 25), (4, 20), (2, 12), (2, 12), (1, 0))
"""The steps of the second look: pixels that are one, and the percent left after which no further step is made.

Of drawn portraits with all that docs/photos.md does to them, 12, 11, 7 and 7 were left at most where the last step
left less than 6.
"""
TOGETHER = 16
"""Pairs that `apart` fits at once, three times as quick as one by one: 21 MB where all are copies."""
_LEAST_GAIN = 0.2
"""Contrast that must be left for a step to mean anything."""
_FARTHEST = 0.15
"""How far one picture is moved or stretched to fit the other, as a share of half its side."""

Plane = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.intp]
_Asked = Callable[[Numbers, Numbers], npt.NDArray[np.bool_]]


def sketches(thumbs: Sequence[bytes], shape: tuple[int, int]) -> list[bytes]:
    """Of each grey picture of `shape` 63 signed bytes: its slow waves, the quicker ones weighed more.

    Neither exposure nor contrast is in them. All zero for a blank picture, which is like nothing. A fifth of the time
    when many are given at once.
    """
    if not thumbs:
        return []
    greys = np.frombuffer(b"".join(thumbs), dtype=np.uint8).reshape(-1, *shape).astype(np.float32)
    order = np.add.outer(np.arange(_WAVES), np.arange(_WAVES))
    waves = (_waves(shape[0]) @ greys @ _waves(shape[1]).T * order).reshape(len(thumbs), -1)[:, 1:]
    largest = np.abs(waves).max(axis=1, keepdims=True)
    scaled = np.round(waves * np.where(largest > 1, 127 / np.maximum(largest, 1), 0))
    return [line.tobytes() for line in scaled.astype(np.int8)]


def likest(
    ones: Sequence[bytes], others: bytes, persons: Sequence[str] = (), theirs: Sequence[str | None] = ()
) -> Iterator[tuple[int, int]]:
    """(number of one, number of another) for each second look that is worth it, as `Nearest` finds them."""
    nearest = Nearest(ones, persons)
    nearest.look(range(len(_lines(others))), others, theirs)
    return nearest.pairs()


class Nearest:
    """Which of very many sketches, brought page by page, are worth a second look beside each of some.

    For each of the ones the likest first, of equally like ones the last of the others: so the last page comes first,
    and each is gone through backwards. Two of the same person are no pair: `persons` is whose each of the ones is.
    """

    def __init__(self, ones: Sequence[bytes], persons: Sequence[str] = ()) -> None:
        self._known = _unit(_lines(b"".join(ones)))
        self._persons = persons or [""] * len(self._known)
        self._axes = np.linalg.eigh(self._known.T @ self._known)[1][:, ::-1]
        self._found: list[list[tuple[float, int, int]]] = [[] for _ in ones]
        self._worth = np.full(len(self._known), FIRST)
        """Per one the least score that is still of interest: of many that are all alike a few are enough."""
        self._passed = 0

    def look(self, names: Sequence[int], others: bytes, theirs: Sequence[str | None] = ()) -> None:
        """Among one page: sketches end to end, how each is called, and whose it is (None: nobody's of the ones)."""
        seen = _lines(others)[::-1]
        strangers = _strangers(self._persons, [*reversed(theirs)] or [None] * len(seen))
        for here, there, score in _close(self._known, self._axes, seen, self._worth, strangers):
            near = score >= _CERTAIN
            unsure = np.flatnonzero(~near)
            near[unsure] = _glance(self._known[here[unsure]], _unit(seen[there[unsure]])) < GLANCE
            for one, other, alike in _likest_of_each(here[near], there[near], score[near]):
                more = (-alike, self._passed + other, names[-1 - other])
                nearest = self._found[one] = sorted([*self._found[one], more])[:NEAREST]
                if len(nearest) == NEAREST:
                    self._worth[one] = np.nextafter(-nearest[-1][0], 2)
        self._passed += len(seen)

    def pairs(self) -> Iterator[tuple[int, int]]:
        """(number of one, name of another), one by one."""
        for one, nearest in enumerate(self._found):
            yield from ((one, name) for _, _, name in nearest)


def _strangers(persons: Sequence[str], theirs: Sequence[str | None]) -> _Asked:
    """Says of pairs whether they are two people's."""
    numbers = {person: number for number, person in enumerate(dict.fromkeys(persons))}
    mine = np.asarray([numbers[one] for one in persons])
    owners = np.asarray([-1 if one is None else numbers.get(one, -1) for one in theirs])
    return lambda here, there: mine[here] != owners[there]


def _likest_of_each(here: Numbers, there: Numbers, score: Floats) -> Iterator[tuple[int, int, float]]:
    order = np.lexsort((there, -score, here))
    begins = np.flatnonzero(np.diff(here[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
    few = order[rank < NEAREST]
    yield from zip(here[few].tolist(), there[few].tolist(), score[few].tolist(), strict=True)


def _close(
    known: Floats, axes: Floats, others: npt.NDArray[np.int8], worth: Doubles, strangers: _Asked
) -> Iterator[tuple[Numbers, Numbers, Floats]]:
    """Pairs that are alike as they are, at most `_PAIRS` at once: which of the ones, which of the others, how alike.

    First a bound is asked, in a quarter of the time: the product along the axes on which the sketches vary most, and
    of what remains the lengths (Cauchy and Schwarz).
    """
    short = _shortened(known @ axes)
    waiting: list[tuple[Numbers, Numbers, Floats]] = []
    count = 0
    for start in range(0, len(others), _SIDE):
        chunk = _unit(others[start : start + _SIDE])
        bounds = _shortened(chunk @ axes).T
        for first in range(0, len(known), _SIDE):
            bound = (short[first : first + _SIDE] @ bounds).ravel()
            places = np.flatnonzero(bound >= FIRST - _ROUNDING)  # far quicker than on two axes
            here, there = np.divmod(places, len(chunk))
            for at in range(0, len(places), _PAIRS):
                which, other = first + here[at : at + _PAIRS], there[at : at + _PAIRS]
                score = np.einsum("ij,ij->i", known[which], chunk[other])
                kept = (score >= worth[which]) & strangers(which, start + other)
                if count + np.count_nonzero(kept) > _PAIRS:
                    yield _joined(waiting)
                    waiting, count = [], 0
                waiting.append((which[kept], start + other[kept], score[kept]))
                count += len(waiting[-1][0])
    if waiting:
        yield _joined(waiting)


def _shortened(sketches: Floats) -> Floats:
    """The first `_AXES` places of each, and how long the rest is: no product of two is smaller than their own."""
    rest = np.linalg.norm(sketches[:, _AXES:], axis=1, keepdims=True)
    return np.asarray(np.concatenate([sketches[:, :_AXES], rest], axis=1), dtype=np.float32)


def _joined(parts: Sequence[tuple[Numbers, Numbers, Floats]]) -> tuple[Numbers, Numbers, Floats]:
    here, there, score = (np.concatenate(one) for one in zip(*parts, strict=True))
    return here, there, score


def apart(ones: Sequence[Plane], others: Sequence[Plane]) -> list[float]:
    """Of each pair of `DETAIL` pictures, in percent of what varies, what stays unexplained: 0 is the same picture."""
    nearest: list[float] = []
    for first in range(0, len(ones), TOGETHER):
        here, there = (np.stack(side[first : first + TOGETHER]) for side in (ones, others))
        left = _left(np.concatenate([here, there]), np.concatenate([there, here]))
        nearest += left.reshape(2, -1).min(axis=0).tolist()
    return nearest


def _glance(ones: Floats, others: Floats) -> Doubles:
    """Of each pair of sketches what is left, in percent, when one is moved, stretched and exposed to fit the other."""
    return np.minimum(_sketch_left(ones, others), _sketch_left(others, ones))


def _sketch_left(ones: Floats, others: Floats) -> Doubles:
    seen, sketched, moved = _redrawn()
    squares = (ones @ seen) ** 2 @ sketched
    ways = np.concatenate([ones[:, None], squares[:, None], np.tensordot(ones, moved, 1)], axis=1)
    ways /= np.linalg.norm(ways, axis=2, keepdims=True) + 1e-12
    wanted = others[:, :, None].astype(np.float64)
    alike = ways @ ways.transpose(0, 2, 1) + 1e-9 * np.eye(ways.shape[1])
    fitted = ways.transpose(0, 2, 1) @ np.linalg.solve(alike, ways @ wanted)
    left: Doubles = np.linalg.norm(wanted - fitted, axis=(1, 2)) / np.linalg.norm(wanted, axis=(1, 2))
    return 100 * left


@lru_cache(maxsize=1)
def _redrawn() -> tuple[Doubles, ...]:
    """What each byte of a sketch paints on a small square, the sketch of each of its pixels, and how each byte changes.

    By what: the square is moved down, stretched down, moved across, stretched across.
    """
    places, order = (np.arange(_GRID) + 0.5) / _GRID, np.add.outer(np.arange(_WAVES), np.arange(_WAVES))
    angle = np.outer(places * np.pi, np.arange(_WAVES))
    waves, slopes = np.cos(angle), -np.sin(angle) * np.arange(_WAVES)
    height = np.where(np.arange(_WAVES) == 0, 1, 2)

    def paint(down: Doubles, across: Doubles) -> Doubles:
        weight = np.outer(height, height) / np.maximum(order, 1)
        made: Doubles = np.einsum("gu,hv,uv->uvgh", down, across, weight)
        return made.reshape(-1, _GRID, _GRID)[1:]

    def draw(pictures: Doubles) -> Doubles:
        made: Doubles
        made = np.einsum("gu,...gh,hv,uv->...uv", waves, pictures, waves, order, optimize=True)
        return made.reshape(*made.shape[:-2], -1)[..., 1:]

    line = 2 * places - 1
    down, across = paint(slopes, waves), paint(waves, slopes)
    moved = draw(np.stack([down, down * line[:, None], across, across * line], axis=1))
    pixels = np.eye(_GRID * _GRID).reshape(-1, _GRID, _GRID)
    return paint(waves, waves).reshape(-1, _GRID * _GRID), draw(pixels), moved


def _left(ones: Plane, others: Plane) -> Doubles:
    """What of each of the others no move, stretch or exposure of the one explains; all of the other lies in the one."""
    left, places = np.full(len(ones), 100.0), np.zeros((len(ones), 4))  # down, taller, across, wider; 1: half of it
    still, size = np.arange(len(ones)), 0
    for pixels, hopeless in _STEPS:
        if pixels != size:
            size = pixels
            here, there = _shrunk(ones[still], size), _smeared(_shrunk(others[still], size))
            varies = np.linalg.norm(there - there.mean(axis=(1, 2), keepdims=True, dtype=np.float64), axis=(1, 2))
        down, taller, across, wider = places[still].T
        moved = _moved(_moved(here, down, taller).transpose(0, 2, 1), across, wider).transpose(0, 2, 1)
        lines = _ways(_smeared(moved), there)
        ways, wanted = lines[:, :-1], lines[:, -1]
        alike = ways @ lines.transpose(0, 2, 1)  # seven unknowns: the normal equations
        found = (np.linalg.pinv(alike[:, :, :-1], hermitian=True) @ alike[:, :, -1:])[:, :, 0]
        rest = np.linalg.norm(wanted - (found[:, None] @ ways)[:, 0], axis=1)
        left[still] = np.where(varies > there.shape[1], 100 * rest / np.maximum(varies, 1), 100)
        gain = found[:, 1] + 2 * found[:, 2] * ways[:, 1].mean(axis=1) / 255
        steps = (found[:, 3:] / np.where(gain > _LEAST_GAIN, gain, np.inf)[:, None]).clip(-0.06, 0.06)
        places[still] = (places[still] + steps).clip(-_FARTHEST, _FARTHEST)
        goes_on = left[still] <= hopeless
        still, here, there, varies = still[goes_on], here[goes_on], there[goes_on], varies[goes_on]
        if not len(still):
            break
    return left


def _ways(pictures: Floats, wanted: Floats) -> Doubles:
    """What small changes make of each picture, one to a line: lighter, more contrast, moved and stretched both ways.

    The last line is what is wanted.
    """
    count, rows, columns = pictures.shape
    ways = np.empty((count, 8, rows, columns))
    ways[:, 0] = 1
    ways[:, 1] = pictures
    np.multiply(ways[:, 1], ways[:, 1] / 255, out=ways[:, 2])
    ways[:, 3], ways[:, 5] = np.gradient(ways[:, 1], 2 / (rows - 1), 2 / (columns - 1), axis=(1, 2))
    np.multiply(ways[:, 3], _line(rows)[:, None], out=ways[:, 4])
    np.multiply(ways[:, 5], _line(columns), out=ways[:, 6])
    ways[:, 7] = wanted
    return ways.reshape(count, 8, -1)


def _shrunk(pictures: Plane, size: int) -> Floats:
    """Means of `size` pixels down and across."""
    down, across = (_means(side, size) for side in pictures.shape[1:])
    return np.asarray(down @ pictures.astype(np.float32) @ across.T, dtype=np.float32)


def _moved(pictures: Floats, by: Doubles, taller: Doubles) -> Floats:
    """The lines of each read at other places: moved down by so much and stretched, 1 being half the picture."""
    count = pictures.shape[1]
    places = ((np.outer(1 + taller, _line(count)) + by[:, None] + 1) / 2 * (count - 1)).clip(0, count - 1)
    above = np.minimum(places.astype(np.intp), count - 2)
    share = (places - above).astype(np.float32)[:, :, None]
    picture = np.arange(len(pictures))[:, None]
    return np.asarray(pictures[picture, above] * (1 - share) + pictures[picture, above + 1] * share, dtype=np.float32)


def _smeared(pictures: Floats) -> Floats:
    """Smeared by a pixel (Gauss, σ = 1): only what is smooth can be moved by its slope."""
    down, across = map(_smear, pictures.shape[1:])
    return np.asarray(down @ pictures @ across.T, dtype=np.float32)


@lru_cache(maxsize=16)
def _means(side: int, size: int) -> Floats:
    """Means `size` pixels of a line each."""
    return np.repeat(np.eye(side // size, dtype=np.float32), size, axis=1) / np.float32(size)


@lru_cache(maxsize=16)
def _line(size: int) -> Doubles:
    """The places of a line's pixels, −1 to 1."""
    return np.linspace(-1, 1, size)


@lru_cache(maxsize=16)
def _smear(size: int) -> Floats:
    """Smears a line by a pixel."""
    made = np.zeros((size, size), dtype=np.float32)
    for step in range(-4, 5):
        np.add.at(made, (np.arange(size), (np.arange(size) + step).clip(0, size - 1)), np.exp(-(step**2) / 2))
    return np.asarray(made / made.sum(axis=1, keepdims=True), dtype=np.float32)


@lru_cache(maxsize=16)
def _waves(size: int) -> Floats:
    """The first waves of the cosine transform of a line."""
    at = np.pi * (2 * np.arange(size) + 1) / (2 * size)
    return np.asarray(np.cos(np.outer(np.arange(_WAVES), at)), dtype=np.float32)


def _lines(sketches: bytes) -> npt.NDArray[np.int8]:
    return np.frombuffer(sketches, dtype=np.int8).reshape(-1, _WAVES * _WAVES - 1)


def _unit(sketches: npt.NDArray[np.int8]) -> Floats:
    lines = sketches.astype(np.float32)
    length = np.linalg.norm(lines, axis=1, keepdims=True)
    return np.asarray(np.divide(lines, length, where=length > 0, out=np.zeros_like(lines)), dtype=np.float32)

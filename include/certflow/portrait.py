"""What a portrait shows, from its decoded pixels: background, sharpness, light, colour, outline. numpy alone.

Measures, never verdicts: thresholds live in the suite ``photo``. Every photo goes through here, so no measure looks at
more pixels than it needs: one gather takes the samples of all of them, at places that are worked out once for every
size of picture. What the measures miss and what they wrongly suspect stands in ``docs/photos.md``.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import dist, hypot
from operator import mul

import numpy as np
import numpy.typing as npt

Measures = dict[str, object]
Plane = npt.NDArray[np.uint8]
Places = npt.NDArray[np.intp]

THUMB = (24, 27)
"""Rows and columns of the small picture that photos are compared by first (P17), in pixels."""
BORDER = 12
"""Thickness of the border strips in pixels of a 295×413 photo, scaled with the width."""
HEAD_SHARE = 0.45
"""Left and right strips reach down this share of the height: beside the head, above the shoulders."""
WHITE = 245
"""A pixel counts as white when every channel reaches this."""
FIGURE = 225
"""A block of the thumbnail darker than this belongs to the person, before a light background (P15)."""
FACE = ((0.20, 0.65), (0.25, 0.75))
"""Rows and columns, as shares of height and width, between which the face of a standard photo lies."""
SKIN = ((0.28, 0.60), (0.36, 0.64))
"""The same for what is skin in most photos, without the background."""
BLANK = 24
"""P16: a picture whose thumbnail spans less than this shows nothing."""
SMEAR = 9
"""Pixels over which a line is averaged to see how much sharpness it had to lose."""
_LEAST = 4 * SMEAR
"""Narrower or lower pictures have no middle to look at; their size sends them back anyway (P11)."""

# How many samples are taken: rows and columns, or every so many pixels.
_OF_BLOCK = 6, 4
"""In each block of the thumbnail."""
_OF_ZONE = 5, 5
"""In each zone of the border."""
_OF_SKIN = 24, 20
_OF_BORDER, _OF_ALL = 3, 16
_LINES = 24
"""Lines of the face, along and across, whose sharpness is measured."""
_BLURRED = 4
"""Photos whose lines are compared at once: arrays of more are so large that each is asked of the system anew."""

_DARK = bytes(level < FIGURE for level in range(256))
_RUN = re.compile(rb"\x01(?:\x00?\x01)*")
"""An outline in a row of the thumbnail; one block of light does not part it."""
_LINEAR = [
    share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in (n / 255 for n in range(256))
]
"""sRGB level → linear light."""
_XYZ = ((0.4125, 0.3576, 0.1804), (0.2127, 0.7152, 0.0722), (0.0193, 0.1192, 0.9503))


def samples(pixels: Plane) -> Plane:
    """What `measure` needs of contiguous pixels (rows, columns, 1 or 3 channels): a fortieth of them."""
    return pixels.reshape(-1).take(_plan(*pixels.shape).places, mode="clip")  # none is outside: it need not look twice


def measure(shape: tuple[int, ...], samples: Sequence[Plane]) -> list[Measures]:
    """Columns of the photo frame for each of these photos, all of one shape; many at once cost less than one by one.

    `photo_thumb`: 24 rows × 27 columns of the green channel, 648 bytes: block means.

    `photo_border_white`: share 0-1 of border pixels with every channel ≥ 245; `photo_border_min`: 5th percentile of
    their smallest channel, `photo_border_level`: its median. In CIELAB (D65) over the seven zones of the border:
    `photo_border_chroma`: largest C*, `photo_border_gradient`: largest ΔE*ab between two zones, `photo_border_score`:
    100 less the largest ΔE*ab from white.

    `photo_blank`: nothing to be seen (P16). `photo_colour`: mean of largest − smallest channel of what is not white,
    None for a blank picture and one of a single channel.

    Over the middle, where the face lies, None for blank pictures and those too small to have one: `photo_blur`:
    share 0-1 of its sharpness a picture does not lose when smeared (0.4 as a camera makes it, above 0.7 out of
    focus), `photo_light`: 90th percentile of the luminance (0-255) of what is not white, `photo_glare`: share of
    pixels above 250.

    From the outline, None before a dark background or where there is nobody: `photo_figures` (outlines side by side
    at the height of the head), `photo_figure_height` (share of the picture's height), `photo_upside_down`.
    """
    plan, found = _plan(*shape), np.stack(samples)
    blocks = found[:, : plan.lines].reshape(len(found), -1, THUMB[0] * THUMB[1])
    thumbs = (np.add.reduce(blocks, axis=1, dtype=np.uint16) // blocks.shape[1]).astype(np.uint8)
    blank = (thumbs.max(axis=1) - thumbs.min(axis=1) < BLANK).tolist()
    colours = found[:, plan.colours :].reshape(len(found), shape[2], -1)
    lowest = _lowest(colours[:, :, : plan.zones])
    shown = [thumb.tobytes() for thumb in thumbs]
    columns: dict[str, Sequence[object]] = {
        "photo_thumb": shown,
        "photo_blank": blank,
        **_border(lowest[:, : plan.body]),
    }
    seen = _colour(colours[:, :, plan.body : plan.zones], lowest[:, plan.body :])
    if plan.lines < plan.colours:
        seen |= _middle(found[:, plan.lines : plan.colours], plan.skin)
    for name, values in seen.items():
        columns[name] = [None if nothing else value for nothing, value in zip(blank, values, strict=True)]
    each = zip(*columns.values(), strict=True)
    tints = _tints(colours[:, :, plan.zones :])
    return [
        {**dict(zip(columns, values, strict=True)), **tint, **_outline(thumb)}
        for values, tint, thumb in zip(each, tints, shown, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where the samples lie in a picture, and where they come to lie."""

    places: Places
    """In the picture's bytes: of the thumbnail (from 0), of lines and skin, of colours channel by channel."""
    lines: int
    colours: int
    skin: int
    """Begins here among what begins at `lines`; a picture too small for lines has neither."""
    body: int
    """Begins here within one channel of the colours, after the border."""
    zones: int
    """The same: the zones of the border."""


@lru_cache(maxsize=16)
def _plan(height: int, width: int, channels: int) -> _Plan:
    def at(rows: Places, columns: Places) -> Places:
        """Number of the pixel in each of these rows and columns."""
        return (rows[:, None].clip(max=height - 1) * width + columns).ravel()

    blocks = [
        at(rows, columns)
        for rows in _inside(height, THUMB[0], _OF_BLOCK[0])
        for columns in _inside(width, THUMB[1], _OF_BLOCK[1])
    ]
    lines, skin = _lines(height, width), np.empty(0, dtype=np.intp)
    if lines.size:
        skin = at(*(_spread(*ends, many) for ends, many in zip(_part(height, width, SKIN), _OF_SKIN, strict=True)))
    thick = min(height, max(1, round(width * BORDER / 295)))
    down = max(thick, round(height * HEAD_SHARE))
    strips = (0, thick, 0, width), (thick, down, 0, thick), (thick, down, width - thick, width)
    border = np.concatenate([
        at(np.arange(top, bottom, _OF_BORDER), np.arange(left, right, _OF_BORDER))
        for top, bottom, left, right in strips
    ])  # fmt: skip
    body = at(np.arange(0, height, _OF_ALL), np.arange(0, width, _OF_ALL))
    zones = [at(_spread(top, bottom, _OF_ZONE[0]), _spread(left, right, _OF_ZONE[1]))
             for top, bottom, left, right in _zones(width, thick, down)]  # fmt: skip
    colours = np.concatenate([border, body, *zones])
    green = channels // 2  # near enough to luminance
    grey = np.concatenate([*blocks, lines.ravel(), skin]) * channels + green
    places = np.concatenate([grey, *(colours * channels + channel for channel in range(channels))])
    begins = sum(map(len, blocks))
    return _Plan(places, begins, len(grey), lines.size, len(border), len(border) + len(body))


def _inside(size: int, parts: int, many: int) -> Iterator[Places]:
    """The first, second … of so many samples in each of so many parts of a line; a part has a pixel at least."""
    begins = np.arange(parts) * size // parts
    long = np.diff(begins, append=size).clip(1)
    return (begins + (2 * step + 1) * long // (2 * many) for step in range(many))


def _spread(begin: int, end: int, many: int) -> Places:
    """So many places between two, evenly; the same one again where there are fewer."""
    return begin + (2 * np.arange(many) + 1) * (end - begin) // (2 * many)


def _lines(height: int, width: int) -> Places:
    """Pixels of the lines in the face: (place in the line, line), first those along the rows; empty if too small."""
    (top, bottom), (left, right) = _part(height, width, FACE)
    long = min(bottom - top, right - left)
    if long < _LEAST:
        return np.empty((0, 0), dtype=np.intp)
    along = _spread(top, bottom, _LINES) * width + (left + right - long) // 2 + np.arange(long)[:, None]
    across = _spread(left, right, _LINES) + ((top + bottom - long) // 2 + np.arange(long)[:, None]) * width
    return np.concatenate([along, across], axis=1)


def _part(height: int, width: int, share: tuple[tuple[float, float], tuple[float, float]]) -> list[tuple[int, int]]:
    return [(int(size * one), int(size * other)) for size, (one, other) in zip((height, width), share, strict=True)]


def _zones(width: int, thick: int, down: int) -> Iterator[tuple[int, int, int, int]]:
    """Top, bottom, left and right of the border's zones: three along the top, two beside the head on each side."""
    for at in range(3):
        yield 0, thick, at * width // 3, max((at + 1) * width // 3, at * width // 3 + 1)
    middle = (thick + down) // 2
    for left in (0, width - thick):
        yield thick, middle, left, left + thick
        yield middle, down, left, left + thick


def _lowest(colours: Plane) -> Plane:
    """The smallest channel of each pixel (photos, channels, pixels)."""
    low: Plane = colours[:, 0]
    for channel in range(1, colours.shape[1]):
        low = np.minimum(low, colours[:, channel])
    return low


def _border(low: Plane) -> dict[str, Sequence[object]]:
    """Top strip over the full width, left and right strips beside the head (P14), from their smallest channel."""
    size = low.shape[1]
    levels = np.sort(low.astype(np.int32), axis=1)  # by vectors, where bytes go one by one
    return {
        "photo_border_white": [one / size for one in np.count_nonzero(low >= WHITE, axis=1).tolist()],
        "photo_border_min": levels[:, int(0.05 * size)].tolist(),
        "photo_border_level": levels[:, size // 2].tolist(),
    }


def _tints(zones: Plane) -> Iterator[Measures]:
    """What the colours of the border's zones (photos, channels, pixels zone by zone) are in CIELAB."""
    photos, channels, _ = zones.shape
    count = _OF_ZONE[0] * _OF_ZONE[1]
    middle = np.partition(zones.reshape(photos, channels, -1, count), count // 2)[..., count // 2]  # no stray hair
    return (_in_lab(one.tobytes(), channels) for one in middle)


@lru_cache(maxsize=4096)
def _in_lab(middle: bytes, channels: int) -> Measures:
    """Of colours, channel by channel. Many photos have the same ones: a border cut out white."""
    count = len(middle) // channels
    planes = [middle[at : at + count] for at in range(0, len(middle), count)]
    lab = {_lab(*colour) for colour in zip(*planes * (3 // channels), strict=True)}
    return {
        "photo_border_chroma": max(hypot(a, b) for _, a, b in lab),
        "photo_border_gradient": max((dist(*pair) for pair in combinations(lab, 2)), default=0.0),
        "photo_border_score": max(0.0, 100 - max(dist(one, (100, 0, 0)) for one in lab)),
    }


@lru_cache(maxsize=1 << 14)
def _lab(red: int, green: int, blue: int) -> tuple[float, float, float]:
    """A colour (0-255 sRGB) in CIELAB."""
    light = (_LINEAR[red], _LINEAR[green], _LINEAR[blue])
    shares = (sum(map(mul, row, light)) / sum(row) for row in _XYZ)  # 255, 255, 255 is white without a tint
    x, y, z = (share ** (1 / 3) if share > 216 / 24389 else (24389 / 27 * share + 16) / 116 for share in shares)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _middle(samples: Plane, skin: int) -> dict[str, Sequence[object]]:
    """Of the lines in the face, and from `skin` on of what is skin."""
    levels = np.sort(samples[:, skin:].astype(np.int32), axis=1)
    shown = np.count_nonzero(levels <= WHITE, axis=1).tolist()
    glare = np.count_nonzero(levels > 250, axis=1) / levels.shape[1]
    return {
        "photo_blur": [
            share for at in range(0, len(samples), _BLURRED) for share in _blur(samples[at : at + _BLURRED, :skin])
        ],
        "photo_light": [
            int(ours[int(0.9 * count)]) if count else 255 for ours, count in zip(levels, shown, strict=True)
        ],
        "photo_glare": glare.tolist(),
    }


def _colour(colours: Plane, low: Plane) -> dict[str, Sequence[object]]:
    """`low`: their smallest channel."""
    if colours.shape[1] == 1:
        return {}
    highest = np.maximum(np.maximum(colours[:, 0], colours[:, 1]), colours[:, 2])
    shown = low < WHITE
    spread = np.add.reduce((highest - low) * shown, axis=1, dtype=np.uint32).tolist()
    counts = np.count_nonzero(shown, axis=1).tolist()
    return {"photo_colour": [total / count if count else None for total, count in zip(spread, counts, strict=True)]}


def _blur(lines: Plane) -> list[float]:
    """How much of the steps along lines stays when each line is smeared (after Crété et al., 2007).

    The first, second … pixels of all lines follow each other: a step along every line is one stride. The larger of
    what stays of the lines along and of those across the face.
    """
    levels, stride, half = lines.astype(np.float32), 2 * _LINES, SMEAR // 2 * 2 * _LINES  # whole numbers, all exact
    steps = levels[:, half + stride : -half] - levels[:, half : -half - stride]
    np.abs(steps, out=steps)
    steps *= SMEAR
    # Two neighbouring means over SMEAR pixels differ by what enters and what leaves: no sum is needed.
    smeared = levels[:, SMEAR * stride :] - levels[:, : -SMEAR * stride]
    np.abs(smeared, out=smeared)
    stays = np.minimum(steps, smeared, out=smeared)
    ones = np.ones(steps.shape[1] // stride, dtype=np.float32)
    left, whole = (
        (ones @ changes.reshape(len(lines), -1, stride)).reshape(-1, 2, _LINES).sum(axis=2)
        for changes in (stays, steps)
    )
    shares: list[float] = np.divide(left, whole, out=np.ones_like(left), where=whole > 0).max(axis=1).tolist()
    return shares


def _outline(thumb: bytes) -> Measures:
    """What the person's outline tells before a light background (P15); no recognition of faces.

    The head begins in the first row the outline fills for two columns; it is looked at over the three rows below.
    """
    across = THUMB[1]
    person = thumb.translate(_DARK)
    begins = range(0, len(person), across)
    top = next((at for at in begins if person.count(1, at, at + across) >= 2), None)
    if top is None or min(_filled(person[: 10 * across], 0), _filled(person[-10 * across :], 9)) > 0.5:
        return {}
    head = (person[at : at + across] for at in begins[top // across + 1 :][:3])
    outlines = sorted(len(_RUN.findall(row)) for row in head)
    edge = 2 * across
    return {
        "photo_figures": (outlines[len(outlines) // 2] + outlines[(len(outlines) - 1) // 2]) // 2 if outlines else 0,
        "photo_figure_height": 1 - top / len(person),
        "photo_upside_down": person.count(1, 0, edge) > 0.4 * edge and person.count(1, -edge) < 0.1 * edge,
    }


def _filled(rows: bytes, edge: int) -> float:
    """Share of the row that is the edge, and of the outer columns, that the outline fills."""
    across = THUMB[1]
    sides = rows[::across] + rows[across - 1 :: across]
    return (rows.count(1, edge * across, (edge + 1) * across) + sides.count(1)) / (across + len(sides))

"""What a portrait shows, from its decoded pixels: background, sharpness, light, colour, outline. numpy alone.

Measures, never verdicts: thresholds live in the suite ``photo``. Every photo goes through here, so no measure looks at
more pixels than it needs; what they miss and what they wrongly suspect stands in ``docs/photos.md``.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Measures = dict[str, object]
Plane = npt.NDArray[np.uint8]

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
_SAMPLES = 12, 8
"""Rows and columns of pixels looked at in each zone of the border."""

_SHARE = np.arange(256) / 255
_LINEAR = np.where(_SHARE <= 0.04045, _SHARE / 12.92, ((_SHARE + 0.055) / 1.055) ** 2.4)
"""sRGB level → linear light."""
_XYZ = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])
_XYZ /= _XYZ.sum(axis=1, keepdims=True)  # 255, 255, 255 is white without a tint
_LAB = np.array([[0, 116, 0], [500, -500, 0], [0, 200, -200]])


def measure(pixels: Plane, thumb: Plane) -> Measures:
    """Columns of the photo frame for the pixels (rows, columns, 1 or 3 channels) and their thumbnail (green channel).

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
    blank = int(thumb.max()) - int(thumb.min()) < BLANK
    return {
        **_border(pixels),
        "photo_blank": blank,
        **({} if blank else {"photo_colour": _colour(pixels[::8, ::8]), **_middle(pixels)}),
        **_outline(thumb),
    }


def _border(pixels: Plane) -> Measures:
    """Top strip over the full width, left and right strips beside the head (P14)."""
    height, width = pixels.shape[:2]
    thick = max(1, round(width * BORDER / 295))
    down = max(thick, round(height * HEAD_SHARE))
    strips = (pixels[:thick], pixels[thick:down, :thick], pixels[thick:down, -thick:])
    low = np.concatenate([_lowest(strip).ravel() for strip in strips])
    levels = np.bincount(low, minlength=256).cumsum()
    samples = pixels[_zones(height, width, thick, down)]
    middle = np.partition(samples, samples.shape[1] // 2, axis=1)[:, samples.shape[1] // 2]  # a stray hair is none
    return {
        "photo_border_white": float(1 - levels[WHITE - 1] / low.size),
        "photo_border_min": int(np.searchsorted(levels, 0.05 * low.size)),
        "photo_border_level": int(np.searchsorted(levels, 0.5 * low.size)),
        **_tint(middle.tobytes(), pixels.shape[2]),
    }


def _lowest(pixels: Plane) -> Plane:
    """The smallest channel of each pixel."""
    low = pixels[:, :, 0]
    for channel in range(1, pixels.shape[2]):
        low = np.minimum(low, pixels[:, :, channel])
    return low


@lru_cache(maxsize=4096)
def _tint(colours: bytes, channels: int) -> Measures:
    """What the colours of the border's zones are in CIELAB. Many photos have the same ones: a border cut out white."""
    lab = _lab(np.frombuffer(colours, dtype=np.uint8).reshape(-1, channels))
    apart = np.sqrt(((lab[:, None] - lab[None]) ** 2).sum(axis=2))
    from_white = np.sqrt(((lab - (100, 0, 0)) ** 2).sum(axis=1))
    return {
        "photo_border_chroma": float(np.hypot(lab[:, 1], lab[:, 2]).max()),
        "photo_border_gradient": float(apart.max()),
        "photo_border_score": float(max(0, 100 - from_white.max())),
    }


@lru_cache(maxsize=16)
def _zones(height: int, width: int, thick: int, down: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns of samples, zone by zone: three along the top, two beside the head on each side."""
    middle = (thick + down) // 2
    boxes = [(0, thick, at * width // 3, (at + 1) * width // 3) for at in range(3)]
    boxes += [
        (top, bottom, *side)
        for side in ((0, thick), (width - thick, width))
        for top, bottom in ((thick, middle), (middle, down))
    ]
    rows, columns = [], []
    for top, bottom, left, right in boxes:
        across, along = _SAMPLES[::-1] if right - left > bottom - top else _SAMPLES
        y = np.linspace(top, max(top, bottom - 1), across).astype(np.intp).clip(0, height - 1)
        x = np.linspace(left, max(left, right - 1), along).astype(np.intp).clip(0, width - 1)
        grid = np.meshgrid(y, x, indexing="ij")
        rows.append(grid[0].ravel())
        columns.append(grid[1].ravel())
    return np.array(rows), np.array(columns)


def _lab(colours: Plane) -> npt.NDArray[np.float64]:
    """Colours (n, 1 or 3 channels, 0-255 sRGB) in CIELAB."""
    light = _LINEAR[np.broadcast_to(colours, (len(colours), 3))] @ _XYZ.T
    bent = np.where(light > 216 / 24389, np.cbrt(light), (24389 / 27 * light + 16) / 116)
    lab: npt.NDArray[np.float64] = bent @ _LAB.T - (16, 0, 0)
    return lab


def _middle(pixels: Plane) -> Measures:
    face = _part(pixels, FACE)
    if min(face.shape[:2]) < _LEAST:
        return {}
    plane = face[:, :, face.shape[2] // 2]  # green is near enough to luminance
    skin = _part(pixels, SKIN)[::2, ::2]
    levels = np.bincount(skin[:, :, skin.shape[2] // 2].ravel(), minlength=256).cumsum()
    return {
        "photo_blur": max(_blur(plane[::4]), _blur(plane.T[::4])),
        "photo_light": int(np.searchsorted(levels, 0.9 * levels[WHITE])) if levels[WHITE] else 255,
        "photo_glare": float(1 - levels[250] / levels[-1]),
    }


def _colour(pixels: Plane) -> float | None:
    if pixels.shape[2] == 1:
        return None
    red, green, blue = np.ascontiguousarray(pixels.reshape(-1, 3).T)
    low = np.minimum(np.minimum(red, green), blue)
    spread = (np.maximum(np.maximum(red, green), blue) - low)[low < WHITE]
    return float(spread.mean()) if spread.size else None


def _part(pixels: Plane, share: tuple[tuple[float, float], tuple[float, float]]) -> Plane:
    height, width = pixels.shape[:2]
    (top, bottom), (left, right) = share
    return pixels[int(height * top) : int(height * bottom), int(width * left) : int(width * right)]


def _blur(lines: Plane) -> float:
    """How much of the steps along these lines stays when each line is smeared (after Crété et al., 2007)."""
    levels = lines.astype(np.int16, order="C")
    steps = np.abs(np.diff(levels[:, SMEAR // 2 : -(SMEAR // 2)], axis=1)) * SMEAR
    whole = int(steps.sum())
    # Two neighbouring means over SMEAR pixels differ by what enters and what leaves: no sum is needed.
    steps -= np.abs(levels[:, SMEAR:] - levels[:, :-SMEAR])
    return 1 - int(np.maximum(steps, 0, out=steps).sum()) / whole if whole else 1.0


def _outline(thumb: Plane) -> Measures:
    """What the person's outline tells before a light background (P15); no recognition of faces.

    The head begins in the first row the outline fills for two columns; it is looked at over the three rows below.
    """
    person = thumb < FIGURE
    filled = np.flatnonzero(np.count_nonzero(person, axis=1) >= 2)
    if not filled.size or min(_filled(person[0], person[:10]), _filled(person[-1], person[-10:])) > 0.5:
        return {}
    top = int(filled[0])
    head = person[top + 1 : top + 4]
    begins = head.copy()
    begins[:, 1:] &= ~head[:, :-1]
    begins[:, 2:] &= ~head[:, :-2]
    outlines = sorted(np.count_nonzero(begins, axis=1).tolist())
    return {
        "photo_figures": (outlines[len(outlines) // 2] + outlines[(len(outlines) - 1) // 2]) // 2 if outlines else 0,
        "photo_figure_height": float(1 - top / thumb.shape[0]),
        "photo_upside_down": bool(person[:2].mean() > 0.4 and person[-2:].mean() < 0.1),
    }


def _filled(row: npt.NDArray[np.bool_], sides: npt.NDArray[np.bool_]) -> float:
    """Share of a row, and of the outer columns beside it, that the outline fills."""
    found = np.count_nonzero(row) + np.count_nonzero(sides[:, 0]) + np.count_nonzero(sides[:, -1])
    return found / (row.size + 2 * len(sides))

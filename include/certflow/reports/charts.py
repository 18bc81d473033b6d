"""Pictures as SVG, for pages and PDF alike: no script, no font of their own, readable without colours.

Colours are of the Okabe–Ito set, told apart by people with any colour vision; every series has its own dash or
marker besides, and values stand beside what they measure.
"""

import math
from collections.abc import Sequence
from html import escape

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
_FONT = "Noto Sans CJK SC, Noto Sans SC, Microsoft YaHei, sans-serif"


def trend(
    labels: Sequence[str], city: Sequence[float | None], province: Sequence[float | None], *, names: tuple[str, str],
    marks: Sequence[int] = (), title: str = "",
) -> str:  # fmt: skip
    """Two lines of shares (0–1) over time, `None` a gap; `marks` are positions to point at (change-points)."""
    width, height, left, right, top, bottom = 720, 190, 46, 70, 16, 34
    ceiling = _ceiling([value for value in (*city, *province) if value is not None])
    step = (width - left - right) / max(1, len(labels) - 1)

    def x(at: int) -> float:
        return left + at * step

    def y(value: float) -> float:
        return top + (height - top - bottom) * (1 - value / ceiling)

    parts = [_open(width, height, title or f"{names[0]}与{names[1]}的差错率")]
    for tick in range(5):
        value = ceiling * tick / 4
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>')
        parts.append(_text(left - 6, y(value) + 4, _share(value), anchor="end"))
    every = max(1, math.ceil(len(labels) / 12))
    for at, label in enumerate(labels):
        if at % every == 0:
            parts.append(_text(x(at), height - bottom + 18, label))
    ends = []
    for values, colour, dash, name in ((province, GREY, "5 4", names[1]), (city, BLUE, "", names[0])):
        points = [(x(at), y(value)) if value is not None else None for at, value in enumerate(values)]
        parts += _line(points, colour, dash)
        ends += [(point[1], point[0], name, colour) for point in points if point is not None][-1:]
    parts += _ends(ends)
    for at in marks:
        place = f'cx="{x(at):.1f}" cy="{y(city[at] or 0):.1f}"'
        parts.append(f'<circle {place} r="8" fill="none" stroke="{ORANGE}" stroke-width="2"/>')
    return "".join([*parts, "</svg>"])


def spark(counts: Sequence[tuple[int, int]], *, title: str) -> str:
    """Small columns of counts, one per month; those that changed (not 0) stand out by colour and by a dot above."""
    each, height, most = 6, 26, max((count for count, _ in counts), default=0) or 1
    parts = [_open(each * len(counts), height, title)]
    for at, (count, change) in enumerate(counts):
        tall = max(1.0, (height - 6) * count / most) if count else 0.5
        colour, x, y = ORANGE if change else BLUE, at * each, height - tall
        parts.append(f'<rect x="{x}" y="{y:.1f}" width="{each - 2}" height="{tall:.1f}" fill="{colour}"/>')
        if change:
            parts.append(f'<circle cx="{x + 2}" cy="{max(2.0, y - 4):.1f}" r="2" fill="{ORANGE}"/>')
    return "".join([*parts, "</svg>"])


def bars(rows: Sequence[tuple[str, float, str, tuple[float, float] | None]], *, line: float | None, title: str) -> str:
    """Horizontal bars: name, share, words behind it, interval; `line` is drawn through all of them (province)."""
    width, left, right, each, top = 720, 90, 150, 19, 26
    height = top + each * len(rows) + 8
    ends = [interval[1] if interval else share for _, share, _, interval in rows]
    ceiling = _ceiling([*ends, line or 0.0])
    room = width - left - right

    def x(value: float) -> float:
        return left + room * min(value / ceiling, 1.0)

    parts = [_open(width, height, title)]
    for at, (name, share, words, interval) in enumerate(rows):
        y = top + at * each
        parts.append(_text(left - 8, y + 14, name, anchor="end"))
        parts.append(
            f'<rect x="{left}" y="{y + 3}" width="{max(0.5, x(share) - left):.1f}" height="{each - 8}" fill="{BLUE}"/>'
        )
        if interval is not None:
            low, high, middle = x(interval[0]), x(interval[1]), y + each / 2 - 1
            parts.append(f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#222" stroke-width="1.2"/>')
        parts.append(_text(width - right + 8, y + 14, words, anchor="start"))
    if line is not None:
        parts.append(
            f'<line x1="{x(line):.1f}" x2="{x(line):.1f}" y1="{top - 4}" y2="{height - 6}" stroke="{ORANGE}"'
            ' stroke-width="1.6" stroke-dasharray="6 3"/>'
        )
        parts.append(_text(x(line), top - 9, f"全省 {_share(line)}", colour=ORANGE))
    return "".join([*parts, "</svg>"])


def _open(width: int, height: int, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" font-family="{_FONT}" font-size="12"><title>{escape(title)}</title>'
    )


def _text(x: float, y: float, words: str, *, anchor: str = "middle", colour: str = "#222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def _line(points: Sequence[tuple[float, float] | None], colour: str, dash: str) -> list[str]:
    parts, run = [], []
    for point in (*points, None):
        if point is not None:
            run.append(point)
        elif run:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
            style = f' stroke-dasharray="{dash}"' if dash else ""
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{style}/>')
            if not dash:
                parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in run]
            run = []
    return parts


def _ends(ends: Sequence[tuple[float, float, str, str]]) -> list[str]:
    """Names behind the ends of lines (y, x, name, colour), moved down where they would lie on each other."""
    parts, low = [], -math.inf
    for y, x, name, colour in sorted(ends):
        low = max(y, low + 14)
        parts.append(_text(x + 8, low + 4, name, colour=colour, anchor="start"))
    return parts


def _ceiling(values: Sequence[float]) -> float:
    """The next round share above all values."""
    most = max(values, default=0.0)
    return next((step for step in (0.01, 0.02, 0.04, 0.1, 0.2, 0.4, 0.6, 0.8) if step >= most), 1.0)


def _share(value: float) -> str:
    return f"{value:.1%}" if value and value < 0.1 else f"{value:.0%}"

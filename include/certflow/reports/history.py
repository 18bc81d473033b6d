"""Quality over time: requests per rule, city, exam and month, and the months in which a rate clearly changed."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from certflow.registry import quality
from certflow.registry.ledger import Registry

_BASE = 12
"""Months a month is compared with, at most."""
_LEAST = 3
"""Months there must be to compare with."""
_ALPHA = 0.001
"""Largest probability of such a difference by chance, both sides together."""


@dataclass(frozen=True, slots=True)
class Point:
    """One month of a series: `count` of `requests` concerned; `change` +1 or -1 where the rate clearly changed."""

    month: str
    count: int
    requests: int
    change: int = 0


@dataclass(frozen=True, slots=True)
class Series:
    """One rule over time; account or exam code empty: all of them."""

    rule: str
    severity: str
    account: str
    exam_code: str
    points: tuple[Point, ...]


def history(registry: Registry, first: str, last: str, *, by: Sequence[str] = ("account",)) -> list[Series]:
    """Series of every rule between two months, apart by `by` (of ``account``, ``exam_code``), by rule and key."""
    with registry.read() as conn:
        return series(quality.city_months(conn, first, last), quality.causes(conn, first, last), by)


def series(months: Sequence[quality.CityMonth], causes: Sequence[quality.Cause], by: Sequence[str]) -> list[Series]:
    """As `history`, of what was counted already."""
    requests: dict[tuple[str, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    counts: dict[tuple[str, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for one in months:
        requests[_key(one, by)][one.month] += one.requests
    for cause in causes:
        counts[cause.rule, cause.severity, *_key(cause, by)][cause.month] += cause.requests
    made = []
    for (rule, severity, *key), found in sorted(counts.items()):
        total = requests[tuple(key)]
        points = change_points([Point(month, found.get(month, 0), total[month]) for month in sorted(total)])
        made.append(Series(rule, severity, key[0], key[1], tuple(points)))
    return made


def change_points(points: Sequence[Point]) -> list[Point]:
    """The same points, marked where a month differs from those before it (Fisher's exact test, 1922, p < 0.001).

    A month is compared with up to twelve months before it, back to the last change: a new level is told once.
    """
    made: list[Point] = []
    start = 0
    for at, one in enumerate(points):
        base = [old for old in points[max(start, at - _BASE) : at] if old.requests]
        change = 0
        if len(base) >= _LEAST and one.requests:
            count, total = sum(old.count for old in base), sum(old.requests for old in base)
            if fisher(one.count, one.requests, count, total) < _ALPHA:
                change = 1 if one.count * total > count * one.requests else -1
                start = at
        made.append(Point(one.month, one.count, one.requests, change))
    return made


@lru_cache(maxsize=1 << 16)  # pages ask the same again until a month changes
def fisher(count: int, total: int, base_count: int, base_total: int) -> float:
    """Twice the smaller tail of the hypergeometric distribution, at most 1: two shares being one by chance."""
    every, hits = total + base_total, count + base_count
    low, high = max(0, hits - base_total), min(total, hits)
    whole = _log_choose(every, total)

    def chance(hit: int) -> float:
        return math.exp(_log_choose(hits, hit) + _log_choose(every - hits, total - hit) - whole)

    return min(
        1.0,
        2 * min(sum(map(chance, range(low, count + 1))), sum(map(chance, range(count, high + 1)))),
    )


def _log_choose(total: int, count: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(count + 1) - math.lgamma(total - count + 1)


def _key(one: quality.CityMonth | quality.Cause, by: Sequence[str]) -> tuple[str, str]:
    return one.account if "account" in by else "", one.exam_code if "exam_code" in by else ""

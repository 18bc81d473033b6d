"""What was counted for a month, remembered until something in that month changes: for pages that people wait for.

Whatever changes a figure leaves a link in the audit chain, and links are committed in their order (the chain's lock is
held until commit): months of rows that moved since the last look are counted anew, all of them after a judged appeal.
"""

from collections import defaultdict
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING

from certflow.month import Month
from certflow.registry import appeals, quality
from certflow.registry.quality import Cause, CityMonth

if TYPE_CHECKING:
    from sqlalchemy import Connection


class Counted:
    """Figures by month; one for each process that shows pages."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._link = self._judged = 0
        self._months: dict[str, tuple[list[CityMonth], list[Cause]]] = {}

    def between(self, conn: "Connection", first: str, last: str) -> tuple[list[CityMonth], list[Cause]]:
        """As `quality.city_months` and `quality.causes` between two months, both included."""
        with self._lock:
            self._forget(conn)
            wanted = _months(first, last)
            unknown = [month for month in wanted if month not in self._months]
            if unknown:
                self._count(conn, unknown)
            found = [self._months[month] for month in wanted]
        return [one for months, _ in found for one in months], [one for _, causes in found for one in causes]

    def _forget(self, conn: "Connection") -> None:
        # Looked up before anything is counted: what is committed in between is counted twice, never missed.
        judged = appeals.judged(conn)
        link, changed = quality.changed_months(conn, self._link)
        if judged != self._judged:
            self._months.clear()
        for month in changed:
            self._months.pop(month, None)
        self._link, self._judged = link, judged

    def _count(self, conn: "Connection", unknown: Sequence[str]) -> None:
        months: dict[str, list[CityMonth]] = defaultdict(list)
        causes: dict[str, list[Cause]] = defaultdict(list)
        for one in quality.city_months(conn, unknown[0], unknown[-1]):
            months[one.month].append(one)
        for cause in quality.causes(conn, unknown[0], unknown[-1]):
            causes[cause.month].append(cause)
        for month in unknown:
            self._months[month] = months[month], causes[month]


def _months(first: str, last: str) -> list[str]:
    found = [Month.parse(first)]
    while str(found[-1]) < last:
        found.append(found[-1].plus(1))
    return [str(month) for month in found]

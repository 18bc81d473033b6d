"""How long the cities still have: the month ends with its last day in Shanghai; offices are closed on some days."""

import datetime as dt
from calendar import monthrange
from dataclasses import dataclass

from certflow.month import SHANGHAI, Month
from certflow.reference import Reference


@dataclass(frozen=True, slots=True)
class Day:
    """One day of the clock's picture."""

    number: int
    works: bool
    past: bool
    today: bool
    name: str
    """Of the holiday, or of the weekend day that is worked for it."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The deadline of a month as it stands at one moment."""

    deadline: dt.datetime
    """Exclusive: the first moment that is late."""
    words: str
    urgent: bool
    """Less than three working days are left."""
    over: bool
    days: tuple[Day, ...]


def clock(month: Month, tables: Reference, now: dt.datetime) -> Clock:
    """The clock of a month at an aware moment; today counts as a working day until it is over."""
    now = now.astimezone(SHANGHAI)
    first, last = dt.date(month.year, month.number, 1), monthrange(month.year, month.number)[1]
    end = first + dt.timedelta(last)
    deadline = dt.datetime(end.year, end.month, end.day, tzinfo=SHANGHAI)
    days = []
    for day in (first + dt.timedelta(offset) for offset in range(last)):
        holiday = tables.holidays.get(day)
        name = "" if holiday is None else f"{holiday.name}{'调休上班' if holiday.works else ''}"
        days.append(Day(day.day, tables.works(day), day < now.date(), day == now.date(), name))
    open_days = sum(day.works and not day.past for day in days)
    over = now >= deadline
    if over:
        words = f"已截止 {(now - deadline).days} 天，之后收到的进入补报"
    elif now.date() < first:
        words = f"{(first - now.date()).days} 天后开始"
    else:
        words = f"还有 {_span(deadline - now)}，其中工作日 {open_days} 天"
    return Clock(deadline, words, not over and open_days < 3 and now.date() >= first, over, tuple(days))


def _span(left: dt.timedelta) -> str:
    hours = int(left.total_seconds()) // 3600
    if hours < 1:
        return f"{int(left.total_seconds()) // 60} 分钟"
    return f"{hours // 24} 天 {hours % 24} 小时" if hours >= 24 else f"{hours} 小时"

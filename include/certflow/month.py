"""申报年月: the month an application is reported for, the value type every room speaks (notice 附件二 4).

A month comes from a file name, a parameter or a partition key, never from the clock.
"""

import calendar
import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Self
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")
_PATTERN = re.compile(r"([0-9]{4})([0-9]{2})")


@dataclass(frozen=True, order=True, slots=True)
class Month:
    """One calendar month, written ``YYYYMM``."""

    year: int
    number: int

    def __post_init__(self) -> None:
        if not (1 <= self.number <= 12 and 1000 <= self.year <= 9999):
            message = f"no such month: {self.year}-{self.number}"
            raise ValueError(message)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``YYYYMM`` in ASCII digits; anything else is a ValueError."""
        match = _PATTERN.fullmatch(text)
        if match is None:
            message = "a month is written YYYYMM, for instance 202005"
            raise ValueError(message)
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, moment: datetime) -> Self:
        """The month in Shanghai of an aware moment (only to compare with, never to choose a month by)."""
        local = moment.astimezone(SHANGHAI)
        return cls(local.year, local.month)

    @property
    def last_day(self) -> date:
        """The day on which the month's applications are reported."""
        return date(self.year, self.number, calendar.monthrange(self.year, self.number)[1])

    def plus(self, months: int) -> "Month":
        """The month `months` later (earlier when negative)."""
        index = self.year * 12 + self.number - 1 + months
        return Month(index // 12, index % 12 + 1)

    def __str__(self) -> str:
        return f"{self.year:04d}{self.number:02d}"

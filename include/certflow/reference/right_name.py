"""The naming doctor: from a wrong name and what else is known of a submission, the name it should bear.

Nothing is guessed that two sources contradict; where a part stays unknown there is no proposal.
"""

import re
from collections.abc import Iterable

from certflow import naming
from certflow.keys import text_key
from certflow.month import Month
from certflow.reference.model import City, Exam, Reference

_MONTHS = re.compile(r"(?<![0-9])(20[0-9]{2})\s*[-.年/_]?\s*(1[0-2]|0?[1-9])\s*月?(?![0-9])")
_COUNT = re.compile(r"([0-9]{1,6})\s*(?:人|名|条|份)")
_CODE = re.compile(r"(?<![0-9A-Za-z])[0-9]{2,3}(?![0-9A-Za-z])")


def propose(
    text: str,
    reference: Reference,
    *,
    month: Month | None = None,
    exam: Exam | None = None,
    city: City | None = None,
    count: int | None = None,
) -> tuple[str, ...]:
    """The canonical stem this name should have; none when a part is unknown, several when code and exam disagree.

    What is given counts more than what `text` says; `count` is the number of rows.
    """
    folded = naming.fold(text)
    month = month or _month(text)
    city = city or _city(folded, reference.cities.values())
    found = _COUNT.search(folded)
    count = count or (int(found[1]) if found else None)
    exams = (exam,) if exam is not None else _exams(folded, reference)
    if month is None or city is None or count is None:
        return ()
    return tuple(naming.PackageName(month, one.code, naming.fold(one.name), city.name, count).stem for one in exams)


def _month(text: str) -> Month | None:
    found = {(year, int(month)) for year, month in _MONTHS.findall(text)}
    if len(found) != 1:
        return None
    year, month = found.pop()
    return Month.parse(f"{year}{month:02d}")


def _city(folded: str, cities: Iterable[City]) -> City | None:
    named = {city.account: city for city in cities for name in (city.name, *city.aliases) if text_key(name) in folded}
    return next(iter(named.values())) if len(named) == 1 else None


def _exams(folded: str, reference: Reference) -> tuple[Exam, ...]:
    """By the longest name the text holds (N09: 税务师 stands in 注册税务师), and by its code where that differs."""
    named = [exam for exam in reference.exams.values() if naming.fold(exam.name) in folded]
    longest = max((len(exam.name) for exam in named), default=0)
    by_name = [exam for exam in named if len(exam.name) == longest]
    if len(by_name) > 1:
        return ()
    codes = {code.zfill(3) for code in _CODE.findall(folded)}
    by_code = [exam for code, exam in reference.exams.items() if code in codes and exam not in by_name]
    return (*by_name, *by_code[:1])

"""What the reference tables say, as values; `certflow.reference` loads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from certflow.identity import Numbers, areas
from certflow.keys import text_key
from certflow.month import Month
from certflow.naming import fold

ALL_LEVELS = "*"
"""In `Exam.cancelled_levels`: the exam as a whole is cancelled."""


@dataclass(frozen=True, slots=True)
class Exam:
    """One exam of the operator's table."""

    code: str
    name: str
    family: str
    """normal | ruankao | tongxin: which form and which photo size apply (notice 附件一, 附件二 3)."""
    cancelled_levels: frozenset[str]
    """Levels of the 15 cancelled exams (notice 二(二)2); `ALL_LEVELS` for all."""
    levels: Mapping[str, frozenset[str]]
    """Level → its specialties; an empty mapping or an empty set means any."""
    first_year: int | None
    """First year a certificate can have been approved in; None: not known."""
    last_year: int | None

    def is_cancelled(self, level: str) -> bool:
        """Whether a certificate of this level gets a proof instead of a reissue."""
        return ALL_LEVELS in self.cancelled_levels or level in self.cancelled_levels

    def has_level(self, level: str) -> bool:
        """Whether the level exists; `level` as `certflow.keys.level_key` writes it."""
        return not self.levels or level in self.levels

    def has_specialty(self, level: str, specialty: str) -> bool:
        """Whether the specialty exists at the level; `specialty` as `certflow.keys.text_key` writes it."""
        specialties = self.levels.get(level)
        return not specialties or specialty in specialties


@dataclass(frozen=True, slots=True)
class City:
    """One city; a historic one has no account and names its successor."""

    code: str
    name: str
    account: str
    aliases: tuple[str, ...]
    valid_until: str
    """``YYYYMM`` of its end; empty for a city of today."""
    successor: str
    """Name of the city it was merged into."""

    @property
    def historic(self) -> bool:
        """Whether the city no longer exists (莱芜市 since 2019)."""
        return self.valid_until != ""


@dataclass(frozen=True, slots=True)
class IdType:
    """One type of identity document; `kind` is one of `certflow.identity`'s."""

    name: str
    kind: str
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Holiday:
    """One day of the State Council's holiday plan."""

    name: str
    works: bool
    """A weekend day that is worked for another one."""


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules in force from a day on (DOMAIN §3.10)."""

    name: str
    title: str
    """The regulation."""
    in_force: date
    photo_free_from: int
    """Certificates approved in this year or later need no photo."""
    electronic_replaces_paper: bool
    """A certificate with an electronic one is not reissued on paper."""
    reissue_mark: str
    """What a reissue is marked with; empty: with nothing."""
    keep_unclaimed_years: int | None
    """How long unclaimed paper is kept; None: no limit named."""


DATED = "dated"
"""Chosen instead of a rule set's name: each month by the rules of its time."""


@dataclass(frozen=True)
class Reference:
    """All tables, and the questions one asks them."""

    exams: Mapping[str, Exam]
    """By code."""
    all_cities: tuple[City, ...]
    """With the historic ones, in the order of the table."""
    id_types: Mapping[str, IdType]
    """By name."""
    level_aliases: Mapping[str, str]
    """Any listed spelling, as `text_key` writes it → the level."""
    name_variants: Mapping[str, str]
    """Character → the one that stands for its group of variants, traditional forms and old code points."""
    area_prefixes: frozenset[str]
    """First four digits of area codes, of today and retired; for warnings only."""
    rule_sets: Mapping[str, RuleSet]
    holidays: Mapping[date, Holiday]

    def judged_from(self, rule_set: str) -> Month | None:
        """First month that is judged by a rule set where months go by their date; None: the oldest, for all before."""
        in_force = self.rule_sets[rule_set].in_force
        if in_force == min(one.in_force for one in self.rule_sets.values()):
            return None
        return Month(in_force.year, in_force.month)

    def rule_set_of(self, month: Month | None, chosen: str) -> RuleSet:
        """What a month is judged by: the chosen rule set; `DATED`: the newest in force on the month's last day.

        Without a month, and for months before all of them, `DATED` is the oldest. KeyError when there is none of that
        name.
        """
        return self.rule_set_on(None if month is None else month.last_day, chosen)

    def rule_set_on(self, day: date | None, chosen: str) -> RuleSet:
        """The chosen rule set; `DATED`: the newest in force on the day, the oldest before all of them or without a day.

        KeyError when there is none of that name.
        """
        if chosen != DATED:
            return self.rule_sets[chosen]
        oldest, *later = sorted(self.rule_sets.values(), key=lambda one: one.in_force)
        return next((one for one in reversed(later) if day is not None and one.in_force <= day), oldest)

    def works(self, day: date) -> bool:
        """Whether offices are open; in a year that the plan does not know, on every day but the weekend."""
        holiday = self.holidays.get(day)
        return day.weekday() < 5 if holiday is None else holiday.works

    @cached_property
    def cities(self) -> Mapping[str, City]:
        """The cities of today, by SFTP account."""
        return {city.account: city for city in self.all_cities if not city.historic}

    def exam_by_code(self, code: str) -> Exam | None:
        """The exam of exactly this code."""
        return self.exams.get(code)

    def exam_by_name(self, name: str) -> Exam | None:
        """The exam of exactly this name (width of brackets aside, never by substring); None when two share it (N09)."""
        exams = self._exams_by_name.get(fold(name), ())
        return exams[0] if len(exams) == 1 else None

    def city_named(self, text: str) -> City | None:
        """The city with this name or short form, a historic one included (N10)."""
        return self._cities_by_name.get(text_key(text))

    def city_today(self, city: City) -> City:
        """The city itself, or the one it was merged into."""
        successor = self.city_named(city.successor) if city.historic else None
        return successor or city

    def id_type_named(self, text: str) -> IdType | None:
        """The type with this name, alias or code."""
        return self._id_types_by_name.get(text_key(text))

    def areas_known(self, ids: Sequence[str] | Numbers) -> NDArray[np.bool_]:
        """Whether the area of each 18- or 15-digit number is or was one (D06); True for other forms."""
        prefixes = areas(ids).astype("U4")
        known = {prefix: prefix == "" or prefix in self.area_prefixes for prefix in np.unique(prefixes).tolist()}
        return np.fromiter((known[prefix] for prefix in prefixes.tolist()), dtype=np.bool_, count=len(ids))

    @cached_property
    def _exams_by_name(self) -> Mapping[str, tuple[Exam, ...]]:
        names: dict[str, tuple[Exam, ...]] = {}
        for exam in self.exams.values():
            names[exam.name] = (*names.get(exam.name, ()), exam)
        return names

    @cached_property
    def _cities_by_name(self) -> Mapping[str, City]:
        return {text_key(name): city for city in self.all_cities for name in (city.name, *city.aliases)}

    @cached_property
    def _id_types_by_name(self) -> Mapping[str, IdType]:
        return {text_key(name): kind for kind in self.id_types.values() for name in (kind.name, *kind.aliases)}

"""The figures that judge a city: pure arithmetic on what `registry.quality` counted, and how each is defined.

The definitions are printed on every card, so that whoever is judged can count again.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

from certflow.registry.quality import Cause, CityFiles, CityMonth

DEFINITIONS = (
    ("申请件", "一个申报年月中一个考试的一个管理号算一件，不论报送几次；没有管理号的按证件号码算。试投不计。"),
    ("差错件", "至少有一行因“错误”级别的问题被退回的申请件；申诉成立的问题不再计入。待核实后由人工退回的不计入。"),
    ("差错率", "差错件 ÷ 申请件。方括号内为 95% 置信区间（Wilson 法）：件数少时区间宽，不宜仅凭差错率比较。"),
    ("待核实率", "至少有一行须由人工确认的申请件 ÷ 申请件。"),
    ("按时率", "首次报送在申报年月最后一天（北京时间 24:00）以前收到的申请件 ÷ 申请件。"),
    ("平均轮次", "各考试的报送版次之和 ÷ 考试数（按月计）；一次报清为 1。"),
    ("未了结", "被退回或待核实、此后没有任何一行通过的申请件。"),
    ("退回文件", "整个文件因“错误”级别的问题被退回；重复报送的文件不计。"),
    ("未报月数", "全省有地市报送的月份中，本市既没有可用的报送、也没有零报的月数。"),
    ("名次", "按差错率由低到高；差错率相同名次相同，其后名次顺延；没有申请件的不排名。"),
)
"""Figure → how it is counted, as printed on every card."""
TOP = 5
_Z = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Score:
    """The figures of one account (or of the whole province: account empty) for one period."""

    period: str
    account: str
    city: str
    requests: int
    faulty: int
    held: int
    on_time: int
    unresolved: int
    versions: int
    exams: int
    """Exam-months with judged rows."""
    files: int
    files_returned: int
    months_missing: int
    causes: tuple[tuple[str, int], ...]
    """Rule code and requests it sent back, most frequent first; at most `TOP`."""
    rank: int | None = None

    def share(self, count: int) -> float | None:
        """`count` per request; None without requests."""
        return count / self.requests if self.requests else None

    @property
    def rounds(self) -> float | None:
        """Mean number of versions an exam took."""
        return self.versions / self.exams if self.exams else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the error rate."""
        return wilson(self.faulty, self.requests) if self.requests else None

    def as_json(self) -> dict[str, Any]:
        """Plain data, as kept for closed periods."""
        return asdict(self) | {"causes": [list(one) for one in self.causes]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Score":
        """The score that `as_json` wrote."""
        return cls(**{**data, "causes": tuple((str(rule), int(count)) for rule, count in data["causes"])})


def wilson(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (E. B. Wilson 1927); `total` at least 1."""
    share, z2 = count / total, _Z * _Z
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total)) / (1 + z2 / total)
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def ranked(scores: Iterable[Score]) -> dict[str, int]:
    """Account → rank by error rate, lowest first; equal rates share a rank and the next ones move back (1, 2, 2, 4)."""
    rates = {one.account: Fraction(one.faulty, one.requests) for one in scores if one.requests}
    return {account: 1 + sum(other < rate for other in rates.values()) for account, rate in rates.items()}


def scores(
    period: str,
    cities: Mapping[str, str],
    months: Sequence[CityMonth],
    files: Sequence[CityFiles],
    causes: Sequence[Cause],
) -> tuple[list[Score], Score]:
    """The score of every city (account → name) by account, with ranks, and the one of the province."""
    usable = {(one.month, one.account) for one in months if one.usable} | {
        (one.month, one.account) for one in files if one.nil
    }
    expected = {one.month for one in files} | {one.month for one in months}
    by_account: dict[str, list[CityMonth]] = defaultdict(list)
    for one in months:
        by_account[one.account].append(one)
    boxes: dict[str, list[CityFiles]] = defaultdict(list)
    for box in files:
        boxes[box.account].append(box)
    wrong: dict[str, Counter[str]] = defaultdict(Counter)
    for cause in causes:
        if cause.severity == "error":
            wrong[cause.account][cause.rule] += cause.requests
    made = [
        _score(
            (period, account, city), by_account[account], boxes[account], wrong[account],
            sum((month, account) not in usable for month in expected),
        )
        for account, city in sorted(cities.items())
    ]  # fmt: skip
    ranks = ranked(made)
    made = [replace(one, rank=ranks.get(one.account)) for one in made]
    total: Counter[str] = Counter()
    for account in cities:
        total += wrong[account]
    here = [one for one in months if one.account in cities]
    province = _score(
        (period, "", "全省"), here, [box for box in files if box.account in cities], total,
        sum(one.months_missing for one in made),
    )  # fmt: skip
    return made, province


def corrected(kept: Mapping[str, Score], before: Mapping[str, Score], after: Mapping[str, Score]) -> list[Score]:
    """Kept scores (by account) of which some changed by an appeal, with ranks anew.

    `before`, `after`: what changes, counted without and with the appeal from the rows that the kept scores count.
    """
    made = dict(kept)
    for account in kept.keys() & after.keys():
        old, was, now = kept[account], before[account], after[account]
        made[account] = replace(
            old,
            faulty=old.faulty + now.faulty - was.faulty,
            files_returned=old.files_returned + now.files_returned - was.files_returned,
            causes=old.causes if now.causes == was.causes else now.causes,
        )
    ranks = ranked(one for one in made.values() if one.account)
    return [replace(one, rank=ranks.get(one.account)) for one in made.values()]


def _score(
    place: tuple[str, str, str], months: Sequence[CityMonth], files: Sequence[CityFiles], wrong: Counter[str],
    missing: int,
) -> Score:  # fmt: skip
    def total(name: str) -> int:
        return sum(int(getattr(one, name)) for one in months)

    return Score(
        *place, total("requests"), total("faulty"), total("held"), total("on_time"),
        total("unresolved"), total("versions"), len(months),
        sum(box.files for box in files), sum(box.returned for box in files), missing,
        tuple(sorted(wrong.items(), key=lambda item: (-item[1], item[0]))[:TOP]),
    )  # fmt: skip


def percent(share: float | None) -> str:
    """A share for people: one decimal, a dash where there is none."""
    return "—" if share is None else f"{share:.1%}"


def fraction(count: int, total: int) -> str:
    """A share with the numbers behind it: ``3/120（2.5%）``."""
    return f"{count}/{total}（{percent(count / total)}）" if total else "—"

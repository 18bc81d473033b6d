"""Scorecards: one per city and period (month or year), and the province's ranking; as workbook and as PDF.

A closed period shows its newest kept figures and which version they are; an open one shows what the ledger says now.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from certflow.checks import suites
from certflow.errors import Conflict
from certflow.excel import Page
from certflow.month import SHANGHAI, Month
from certflow.pdf import press
from certflow.reference import load_reference
from certflow.registry import appeals, quality
from certflow.registry.appeals import Kept
from certflow.registry.ledger import Registry
from certflow.reports import charts, printing
from certflow.reports.counted import Counted
from certflow.reports.figures import DEFINITIONS, Score, fraction, percent, scores
from certflow.reports.history import Point, change_points
from certflow.reports.printing import Report, Section
from certflow.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

_TREND = 24
"""Months of the trend picture, at most."""
_RECORD_LINES = 20_000
"""Lines of evidence in a workbook, at most."""
RANKING = (
    "名次", "地市", "申请件", "差错件 / 差错率", "95% 置信区间", "待核实率", "按时率", "平均轮次", "未了结", "退回文件",
    "未报月数",
)  # fmt: skip
"""Columns of the ranking."""
_DEFINED = Section(
    "指标怎样计算", ("指标", "怎样计算"), DEFINITIONS, (10, 80), whole=True, small=True,
    words=(
        "对“差错明细”中的任何一条有异议，可凭问题编号向省人事考试中心申诉。",
        "申诉成立的不计入评分，已结账的期间另出新版，旧版保留。",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Standing:
    """The figures of a period as they count now."""

    period: str
    cities: tuple[Score, ...]
    province: Score
    at: dt.datetime
    """When the newest of these figures was counted."""
    kept: Mapping[str, Kept] = field(default_factory=dict)
    """Account (``""``: the province) → its newest version; empty while the period is open."""
    closed_at: dt.datetime | None = None
    """What was judged later is not in the figures; None: the period is open."""

    def version(self, account: str) -> int:
        """Which version a city's figures are; 0: the period is open, these are the figures of this moment."""
        return self.kept[account].version if account in self.kept else 0

    def state(self, account: str) -> str:
        """In words: whether the figures of a city (``""``: of the province) are closed, as what and since when."""
        kept = self.kept.get(account)
        moment = f"{(self.at if kept is None else kept.at).astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
        if kept is None:
            return f"未结账，为 {moment} 的实时数字"
        return f"已结账，第 {kept.version} 版（{kept.cause}），{moment}"


def figures_of(
    settings: Settings,
    conn: "Connection",
    period: str,
    counted: Counted | None = None,
    *,
    until: dt.datetime | None = None,
) -> tuple[list[Score], Score]:
    """Every living city's score and the province's, counted now, of what was judged `until` then.

    Conflict when `period` is no month and no year.
    """
    first, last = _months(period)
    cities = {a: city.name for a, city in sorted(load_reference(settings).cities.items()) if not city.historic}
    if until is None:
        months, causes = (counted or Counted()).between(conn, first, last)
    else:
        months, causes = quality.city_months(conn, first, last, until), quality.causes(conn, first, last, until)
    return scores(period, cities, months, quality.city_files(conn, first, last, until), causes)


def standing(settings: Settings, registry: Registry, period: str, counted: Counted | None = None) -> Standing:
    """The newest kept figures of a closed period, else those of this moment."""
    _months(period)
    with registry.read() as conn:
        kept = appeals.kept(conn, period)
        if not kept:
            cities, province = figures_of(settings, conn, period, counted)
            return Standing(period, tuple(cities), province, dt.datetime.now(dt.UTC))
        closed_at = appeals.closed_at(conn, period)
    newest = {one.account: one for one in kept}
    found = [Score.from_json(one.figures) for account, one in sorted(newest.items()) if account]
    province = Score.from_json(newest[""].figures)
    return Standing(period, tuple(found), province, max(one.at for one in kept), newest, closed_at)


def card(settings: Settings, registry: Registry, period: str, account: str, counted: Counted) -> Report:
    """The card of one city as it stands now; what `write_cards` prints, without the evidence."""
    now = standing(settings, registry, period, counted)
    _present(now, [account])
    (one,) = (score for score in now.cities if score.account == account)
    _, last = _months(period)
    with registry.read() as conn:
        months, _ = counted.between(conn, str(Month.parse(last).plus(1 - _TREND)), last)
    return _card(now, one, months, {rule.code: rule.title for rule in suites.load(settings)})


def write_cards(settings: Settings, registry: Registry, period: str, accounts: Sequence[str] = ()) -> list[Path]:
    """The cards of these cities (none named: all, and the ranking) below ``reports/scores/<period>/``."""
    now = standing(settings, registry, period)
    _present(now, accounts)
    first, last = _months(period)
    begin = str(Month.parse(last).plus(1 - _TREND))
    titles = {rule.code: rule.title for rule in suites.load(settings)}
    with registry.read() as conn:
        months = quality.city_months(conn, begin, last)
        evidence = {
            one.account: quality.evidence(conn, first, last, one.account, now.closed_at)
            for one in now.cities
            if not accounts or one.account in accounts
        }
    house, folder = press(settings), settings.path("reports", "scores", period)
    written: list[Path] = []
    for one in now.cities:
        if one.account in evidence:
            stem = folder / f"{period}-{one.account}-{one.city}-评分表"
            details = _evidence_page(evidence[one.account], titles)
            written += printing.write(house, stem, _card(now, one, months, titles), at=now.at, more=[details])
    if not accounts:
        written += printing.write(house, folder / f"{period}-全省排名", _ranking(now), at=now.at)
    return written


def counts(one: quality.Evidence) -> str:
    """Whether a finding is in the figures, in words."""
    return "申诉成立，不计" if one.excused else "结账后，未计入" if one.late else "计入"


def period_name(period: str) -> str:
    """``2020年`` or ``2020年5月``."""
    return f"{period[:4]}年" + (f"{int(period[4:])}月" if len(period) == 6 else "")


def _months(period: str) -> tuple[str, str]:
    try:
        return quality.months_of(period)
    except ValueError:
        raise Conflict("期间写成年月 YYYYMM 或年份 YYYY，如 202005、2020") from None


def _present(now: Standing, accounts: Sequence[str]) -> None:
    """Conflict for a city that the figures do not know: none of the table, or added after the period was closed."""
    if unknown := sorted(set(accounts) - {one.account for one in now.cities}):
        names = "、".join(unknown)
        raise Conflict(
            f"{period_name(now.period)}结账时还没有这个地市：{names}" if now.kept else f"没有账号为 {names} 的地市"
        )


def _card(now: Standing, one: Score, months: Sequence[quality.CityMonth], titles: Mapping[str, str]) -> Report:
    whole = now.province
    ranks = [score.rank for score in now.cities if score.rank is not None]
    rank = "本期没有申请件，不排名。"
    if one.rank is not None:
        rank = f"名次：第 {one.rank} 名{'（并列）' if ranks.count(one.rank) > 1 else ''}，共 {len(ranks)} 个地市。"
    figures = [
        ("申请件", str(one.requests), str(whole.requests)),
        ("差错件 / 差错率", fraction(one.faulty, one.requests), fraction(whole.faulty, whole.requests)),
        ("差错率 95% 置信区间", _interval(one), _interval(whole)),
        ("待核实件 / 待核实率", fraction(one.held, one.requests), fraction(whole.held, whole.requests)),
        ("按时件 / 按时率", fraction(one.on_time, one.requests), fraction(whole.on_time, whole.requests)),
        ("平均轮次", _round(one.rounds), _round(whole.rounds)),
        ("未了结", str(one.unresolved), str(whole.unresolved)),
        ("退回文件 / 文件", fraction(one.files_returned, one.files), fraction(whole.files_returned, whole.files)),
        ("未报月数", str(one.months_missing), str(whole.months_missing)),
    ]
    causes = [
        (str(at), rule, titles.get(rule, ""), str(count), percent(count / one.faulty if one.faulty else None))
        for at, (rule, count) in enumerate(one.causes, start=1)
    ]
    sections = (
        Section("指标", ("指标", "本市", "全省"), figures, (24, 26, 26), frozenset({1, 2})),
        Section(
            "差错率走势", picture=_trend(one, months), whole=True,
            words=("实线带圆点为本市，虚线为全省；圆圈标出比此前各月明显变化的月份（Fisher 精确检验，p < 0.001）。",),
        ),
        Section(
            "主要原因", ("序号", "规则", "说明", "差错件", "占差错件"), causes, (8, 22, 34, 10, 12), frozenset({3, 4}),
            empty="本期没有计入评分的差错。", whole=True,
        ),
        _DEFINED,
    )  # fmt: skip
    subtitle = f"{period_name(now.period)}　　{now.state(one.account)}"
    return Report(f"证书补换报送质量评分表：{one.city}", subtitle, (rank, _compare(one, whole)), sections)


def _compare(one: Score, whole: Score) -> str:
    """What may be said about a city against the province, and what may not."""
    interval = one.interval
    if interval is None or not whole.requests:
        return "本期没有申请件，不作比较。"
    rate = whole.faulty / whole.requests
    if interval[0] > rate:
        return "差错率明显高于全省（全省差错率低于本市的置信区间）。"
    if interval[1] < rate:
        return "差错率明显低于全省（全省差错率高于本市的置信区间）。"
    return "差错率与全省没有明显差别（全省差错率在本市的置信区间内）。"


def _trend(one: Score, months: Sequence[quality.CityMonth]) -> str:
    every = sorted({month.month for month in months})
    mine = {label: [0, 0] for label in every}
    whole = {label: [0, 0] for label in every}
    for month in months:
        for counted in (whole, mine) if month.account == one.account else (whole,):
            counted[month.month][0] += month.faulty
            counted[month.month][1] += month.requests
    points = change_points([Point(label, *mine[label]) for label in every])
    return charts.trend(
        [f"{label[2:4]}-{label[4:]}" for label in every],
        [_rate(mine[label]) for label in every], [_rate(whole[label]) for label in every],
        names=(one.city, "全省"), marks=[at for at, point in enumerate(points) if point.change],
    )  # fmt: skip


def _ranking(now: Standing) -> Report:
    ordered = sorted(now.cities, key=lambda one: (one.rank is None, one.rank or 0, one.account))
    whole = now.province
    picture = charts.bars(
        [
            (one.city, one.share(one.faulty) or 0.0, fraction(one.faulty, one.requests), one.interval)
            for one in ordered
            if one.requests
        ],
        line=whole.share(whole.faulty),
        title="各市差错率",
    )
    sections = (
        Section(
            "排名", RANKING, [ranking_line(one) for one in (*ordered, whole)],
            (6, 9, 8, 16, 17, 10, 9, 9, 8, 12, 9), frozenset(range(2, 11)),
        ),
        Section("各市差错率", picture=picture, words=("横线为 95% 置信区间，竖虚线为全省差错率。",), whole=True),
        _DEFINED,
    )  # fmt: skip
    title = f"证书补换报送质量：各市排名（{period_name(now.period)}）"
    return Report(title, now.state(""), (), sections, landscape=True)


def ranking_line(one: Score) -> list[str]:
    """A city's (or the province's) figures in the columns of `RANKING`."""
    return [
        "" if not one.account else "—" if one.rank is None else str(one.rank), one.city, str(one.requests),
        fraction(one.faulty, one.requests), _interval(one), percent(one.share(one.held)),
        percent(one.share(one.on_time)), _round(one.rounds), str(one.unresolved),
        fraction(one.files_returned, one.files), str(one.months_missing),
    ]  # fmt: skip


def _evidence_page(found: Sequence[quality.Evidence], titles: Mapping[str, str]) -> Page:
    head = (
        "问题编号",
        "申报年月",
        "考试",
        "记录编号",
        "行",
        "规则",
        "说明",
        "字段",
        "内容（已掩码）",
        "收到",
        "计入评分",
    )
    lines = [
        [
            str(one.finding_id), one.month, one.exam_code, one.record_id or f"文件 {one.file_sha256[:12]}",
            str(one.row_no or ""), one.rule, titles.get(one.rule, ""), one.field, one.masked,
            f"{one.at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}", counts(one),
        ]
        for one in found[:_RECORD_LINES]
    ]  # fmt: skip
    if len(found) > _RECORD_LINES:
        lines.append([f"另有 {len(found) - _RECORD_LINES} 条未列出"])
    return printing.lines_page("差错明细", head, lines, (10, 10, 8, 30, 6, 20, 24, 10, 50, 17, 16))


def _interval(one: Score) -> str:
    found = one.interval
    return "—" if found is None else f"[{found[0]:.1%}，{found[1]:.1%}]"


def _round(value: float | None) -> str:
    return "—" if value is None else f"{value:.2f}"


def _rate(counted: Sequence[int]) -> float | None:
    return counted[0] / counted[1] if counted[1] else None

"""The report of one month: who sent what and when, where every row stands, what went up, what is open, what changed."""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from certflow.checks import suites
from certflow.dispatch.month import month_status
from certflow.month import SHANGHAI, Month
from certflow.pdf import press
from certflow.reference import load_reference
from certflow.registry import holds, months, quality, reprints
from certflow.registry.ledger import Registry
from certflow.reports import charts, printing
from certflow.reports.figures import fraction, wilson
from certflow.reports.history import history
from certflow.reports.printing import Report, Section
from certflow.settings import Settings

STATES = {
    "ACCEPTED": "已受理", "HELD": "待核实", "RETURNED": "已退回", "PROOF": "转证明", "IGNORED": "忽略",
    "PACKED": "已组包", "SENT": "已上报", "PRINTED": "已印制", "REFUSED": "上级退回", "DELIVERED": "已送达",
    "CLOSED": "已办结", "ISSUED": "已出证明", "WITHDRAWN": "已撤回",
}  # fmt: skip
"""States of a row in the words of the office, in the order in which they are counted."""
_STATUS = {"reported": "已报送", "nil": "零报", "missing": "未报"}
PACKAGES = {
    "BUILT": "待批准", "APPROVED": "已批准", "REJECTED": "已退回", "SENDING": "发送中", "SENT": "已送达",
    "UNKNOWN": "待确认是否送达",
}  # fmt: skip
"""States of a package, likewise."""
_DECISIONS = {"prepared": "经办", "approved": "批准", "rejected": "退回"}
_YEAR = 12


def write(settings: Settings, registry: Registry, month: Month) -> list[Path]:
    """The month's report as page, PDF and workbook below ``reports/<month>/``; may be written again at any time."""
    stem = settings.path("reports", str(month), f"{month}-月报")
    return printing.write(
        press(settings), stem, month_report(settings, registry, month), at=dt.datetime.now(dt.UTC), page=True
    )


def month_report(settings: Settings, registry: Registry, month: Month) -> Report:
    """What the ledger says about the month now; no personal data."""
    status = month_status(registry, settings, month)
    last = str(month.plus(-1))
    with registry.read() as conn:
        now, before = quality.city_months(conn, str(month), str(month)), quality.city_months(conn, last, last)
        causes = quality.causes(conn, str(month), str(month))
        arrivals = months.arrivals(conn, str(month))
        waiting = holds.queue(conn, month=str(month))
        open_there = reprints.missing(conn)
    titles = {rule.code: rule.title for rule in suites.load(settings)}
    reference = load_reference(settings)
    exams = {code: f"{code} {exam.name}" for code, exam in reference.exams.items()}
    names = {one["account"]: one["city"] for one in status["cities"]}
    moment = f"{dt.datetime.now(SHANGHAI):%Y-%m-%d %H:%M}"
    return Report(
        f"证书补换月报：{month.year}年{month.number}月",
        f"{moment} 的数字；只含计数、规则和摘要，不含个人信息",
        _lead(status, now, waiting),
        (
            _cities(status, arrivals),
            _by_state("各考试的行", {exams.get(k, k): v for k, v in status["exams"].items()}, status["rows"]),
            _rates(now, names),
            _causes("退回的主要原因", "error", causes, titles),
            _causes("待核实的主要原因", "hold", causes, titles),
            _packages(status, exams),
            _open_there(open_there, exams),
            _changes(now, before, names, last),
            _jumps(registry, month, names, titles),
        ),
        landscape=True,
    )


def _lead(
    status: Mapping[str, Any], now: Sequence[quality.CityMonth], waiting: Sequence[holds.Hold]
) -> tuple[str, ...]:
    counted = Counter(one["status"] for one in status["cities"])
    missing = "、".join(one["city"] for one in status["cities"] if one["status"] == "missing")
    requests, faulty = sum(one.requests for one in now), sum(one.faulty for one in now)
    live = [one for batch in status["batches"] for one in batch["packages"] if one["state"] != "REJECTED"]
    sent = [one for one in live if one["state"] == "SENT"]
    oldest = max((one.age_days for one in waiting), default=0)
    return (
        f"{counted['reported']} 个地市报送，{counted['nil']} 个零报，{counted['missing']} 个未报"
        + (f"：{missing}。" if missing else "。"),
        f"申请件 {requests}，差错率 {fraction(faulty, requests)}。",
        f"待核实 {len(waiting)} 项" + (f"，最久的已 {oldest} 天。" if waiting else "。"),
        f"数据包 {len(live)} 个，已送达 {len(sent)} 个，共 {sum(one['rows'] for one in sent)} 行。"
        if live
        else "本月尚未组包。",
    )


def _cities(status: Mapping[str, Any], arrivals: Mapping[str, months.Arrivals]) -> Section:
    lines, total = [], Counter[str]()
    states = _present(status["rows"])
    for one in status["cities"]:
        counts = sum((Counter(exam) for exam in one["exams"].values()), Counter[str]())
        total += counts
        came = arrivals.get(one["account"])
        lines.append(
            [
                one["city"], _STATUS[one["status"]], str(came.files) if came else "0",
                _moment(came.first) if came else "", _moment(came.last) if came else "",
                str(sum(counts.values())), *(_number(counts[state]) for state in states),
            ]
        )  # fmt: skip
    lines.append(
        ["合计", "", str(sum(one.files for one in arrivals.values())), "", "", str(sum(total.values())),
         *(_number(total[state]) for state in states)]
    )  # fmt: skip
    head = ("地市", "报送", "文件", "最早收到", "最晚收到", "行", *(STATES[state] for state in states))
    widths = (9, 8, 6, 13, 13, 7, *(8 for _ in states))
    return Section("各市报送与处理", head, lines, widths, frozenset({2, *range(5, len(head))}))


def _by_state(title: str, groups: Mapping[str, Mapping[str, int]], total: Mapping[str, int]) -> Section:
    states = _present(total)
    lines = [
        [name, str(sum(counts.values())), *(_number(counts.get(state, 0)) for state in states)]
        for name, counts in (*sorted(groups.items()), ("合计", total))
    ]
    head = ("考试", "行", *(STATES[state] for state in states))
    return Section(title, head, lines if groups else [], (34, 8, *(8 for _ in states)), frozenset(range(1, len(head))))


def _rates(now: Sequence[quality.CityMonth], names: Mapping[str, str]) -> Section:
    counted: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for one in now:
        counted[one.account][0] += one.faulty
        counted[one.account][1] += one.requests
    ordered = sorted(counted.items(), key=lambda item: (-item[1][0] / item[1][1], item[0]))
    bars = [(names.get(a, a), bad / every, fraction(bad, every), wilson(bad, every)) for a, (bad, every) in ordered]
    every = sum(one.requests for one in now)
    line = sum(one.faulty for one in now) / every if every else None
    words = ("横线为 95% 置信区间，竖虚线为全省差错率；怎样计算见评分表。",)
    if not bars:
        return Section("各市差错率", words=("本月没有申请件。",))
    return Section("各市差错率", words=words, picture=charts.bars(bars, line=line, title="各市差错率"), whole=True)


def _causes(title: str, severity: str, causes: Iterable[quality.Cause], titles: Mapping[str, str]) -> Section:
    counted, places = Counter[str](), defaultdict[str, set[str]](set)
    for one in causes:
        if one.severity == severity:
            counted[one.rule] += one.requests
            places[one.rule].add(one.account)
    lines = [
        [rule, titles.get(rule, ""), str(count), str(len(places[rule]))]
        for rule, count in sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    ]
    return Section(title, ("规则", "说明", "申请件", "地市"), lines, (22, 50, 10, 8), frozenset({2, 3}))


def _packages(status: Mapping[str, Any], exams: Mapping[str, str]) -> Section:
    lines, words = [], []
    for batch in status["batches"]:
        name = "本月" if batch["number"] == 0 else f"补报 {batch['number']}"
        lines += [
            [
                name, exams.get(one["exam"], one["exam"]), PACKAGES[one["state"]], str(one["rows"]),
                str(one["photos"]), str(one["revision"]), one["sha256"],
            ]
            for one in batch["packages"]
        ]  # fmt: skip
        words += [
            f"{name}：{_moment(dt.datetime.fromisoformat(one['at']))} {_DECISIONS[one['decision']]}，{one['by']}"
            + (f"，理由：{one['reason']}" if one["reason"] else "")
            for one in batch["approvals"]
        ]
    head = ("批次", "考试", "状态", "行", "照片", "版次", "SHA-256")
    return Section(
        "数据包与批准", head, lines, (8, 26, 11, 6, 6, 6, 80), frozenset({3, 4, 5}), words=tuple(words),
        empty="尚未组包。",
    )  # fmt: skip


def _open_there(found: Iterable[reprints.Missing], exams: Mapping[str, str]) -> Section:
    counted: dict[tuple[str, int, str], list[int]] = defaultdict(lambda: [0, 0])
    for one in found:
        place = counted[one.month, one.batch, one.exam_code]
        place[0] += one.rows
        place[1] = max(place[1], one.age_days)
    lines = [
        [f"{month}{f'-补报{batch}' if batch else ''}", exams.get(exam, exam), str(rows), str(age)]
        for (month, batch, exam), (rows, age) in sorted(counted.items())
    ]
    head = ("批次", "考试", "未返回的行", "发出后天数")
    return Section("在上级处未返回（各月）", head, lines, (16, 40, 12, 12), frozenset({2, 3}))


def _changes(
    now: Sequence[quality.CityMonth], before: Sequence[quality.CityMonth], names: Mapping[str, str], last: str
) -> Section:
    def by_city(found: Sequence[quality.CityMonth]) -> dict[str, tuple[int, int]]:
        total: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for one in found:
            faulty, requests = total[one.account]
            total[one.account] = faulty + one.faulty, requests + one.requests
        return total

    mine, old = by_city(now), by_city(before)
    lines = [
        [names.get(one, one), str(mine[one][1]), str(old[one][1]), f"{mine[one][1] - old[one][1]:+d}",
         fraction(*mine[one]), fraction(*old[one])]
        for one in sorted({*mine, *old})
    ]  # fmt: skip
    head = ("地市", "本月申请件", "上月申请件", "增减", "本月差错率", "上月差错率")
    return Section(
        f"与上月（{last}）相比",
        head,
        lines,
        (12, 12, 12, 8, 18, 18),
        frozenset(range(1, 6)),
        empty="两个月都没有申请件。",
    )


def _jumps(registry: Registry, month: Month, names: Mapping[str, str], titles: Mapping[str, str]) -> Section:
    lines = []
    for by in ((), ("account",)):
        for one in history(registry, str(month.plus(-_YEAR)), str(month), by=by):
            point = one.points[-1]
            if point.month == str(month) and point.change:
                where = names.get(one.account, one.account) if one.account else "全省"
                word = "上升" if point.change > 0 else "下降"
                lines.append([where, one.rule, titles.get(one.rule, ""), fraction(point.count, point.requests), word])
    words = ("与此前最多十二个月相比（Fisher 精确检验，p < 0.001）；可能是数据、规则或名单有了变化，宜查明原因。",)
    head = ("范围", "规则", "说明", "本月", "方向")
    return Section("明显变化", head, lines, (12, 22, 40, 16, 8), words=words, empty="没有。")


def _present(total: Mapping[str, int]) -> list[str]:
    return [state for state in STATES if total.get(state)]


def _number(count: int) -> str:
    return str(count) if count else ""


def _moment(at: dt.datetime) -> str:
    return f"{at.astimezone(SHANGHAI):%m-%d %H:%M}"

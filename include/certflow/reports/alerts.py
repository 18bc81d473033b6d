"""What somebody has to do and has not done in time: one message per recipient and day, never one per fact.

An alert is derived from the ledger each time; nothing has to be reset when the cause is gone. A *silence* keeps one
kind of alert about one subject quiet until its day comes; it ends by itself.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from certflow.dispatch.month import reporting
from certflow.errors import Conflict
from certflow.month import SHANGHAI, Month
from certflow.registry import holds, packages, quality, reprints, silences
from certflow.registry.ledger import Actor, Registry, note
from certflow.settings import Settings

PROVINCE = "province"
"""Recipient of what is the province's own turn; every other recipient is a city's account."""
KINDS = {  # anchors and titles of the run book's pages
    "city-missing": "地市未报",
    "month-not-sent": "月份未上报",
    "returns-overdue": "上级逾期未返回",
    "held-too-long": "待核实超期",
}
_CITY_DAYS = 3
"""Days before the end of the month from which a city that has sent nothing is reminded."""
_SEND_DAYS = 5
"""Days after the end of the month by which it should have been sent."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that is late. `subject` is an account, a month, a record id or ``return-7``; `text` says what to do."""

    kind: str
    subject: str
    recipient: str
    text: str
    since: dt.date


def due(settings: Settings, registry: Registry, now: dt.datetime) -> list[Alert]:
    """Everything that is late at `now` and not silenced, by recipient."""
    today = now.astimezone(SHANGHAI).date()
    found = [
        *_missing_cities(settings, registry, today),
        *_unsent(registry, today),
        *_overdue(registry, today, settings.missing_late_days),
        *_held(registry, today),
    ]
    with registry.read() as conn:
        quiet = silences.in_force(conn, now)
    loud = [one for one in found if (one.kind, one.subject) not in quiet and (one.kind, "") not in quiet]
    return sorted(loud, key=lambda one: (one.recipient, one.kind, one.subject))


def silence(registry: Registry, kind: str, subject: str, *, until: dt.date, by: str, reason: str, actor: Actor) -> None:
    """Keep a kind of alert about a subject ("" every one) quiet through a day; Conflict when that day is past."""
    if kind not in KINDS:
        raise Conflict(f"没有这种提醒：{kind}；可选：{'、'.join(KINDS)}")
    if until < dt.datetime.now(SHANGHAI).date() or not by.strip() or not reason.strip():
        raise Conflict("静默须写明今天或以后的截止日期、经办人和理由")
    ends = dt.datetime.combine(until, dt.time.max, SHANGHAI)
    with registry.begin(actor) as conn:
        silences.add(conn, kind, subject, until=ends, by=by, reason=reason)
        note(conn, "silence", kind=kind, subject=subject, until=until.isoformat(), by=by)


def write(settings: Settings, alerts: Sequence[Alert], now: dt.datetime) -> list[Path]:
    """One message per recipient below ``reports/alerts/<day>/``; written again on the same day it replaces itself."""
    folder = settings.path("reports", "alerts", f"{now.astimezone(SHANGHAI):%Y%m%d}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    by_recipient: dict[str, list[Alert]] = defaultdict(list)
    for one in alerts:
        by_recipient[one.recipient].append(one)
    for stale in folder.glob("*.txt"):
        if stale.stem not in by_recipient:
            stale.unlink()
    written = []
    for recipient, ones in sorted(by_recipient.items()):
        path = folder / f"{recipient}.txt"
        path.write_text(message(ones), encoding="utf-8")
        written.append(path)
    return written


def message(alerts: Iterable[Alert]) -> str:
    """One recipient's message: kinds as headings, one line per alert; the province's names their run-book pages."""
    lines: list[str] = []
    by_kind: dict[str, list[Alert]] = defaultdict(list)
    for one in alerts:
        by_kind[one.kind].append(one)
    for kind, ones in sorted(by_kind.items()):
        lines.append(f"【{KINDS[kind]}】{len(ones)} 项")
        lines += [f"  {one.text}" for one in ones]
        if any(one.recipient == PROVINCE for one in ones):
            lines.append(f"  怎么办：见运维手册“{KINDS[kind]}”（docs/runbook.zh-CN.md#{kind}）")
    return "\n".join(lines) + "\n"


def _missing_cities(settings: Settings, registry: Registry, today: dt.date) -> list[Alert]:
    """Reminders before the month ends, then word to the province about who did not report."""
    here = Month(today.year, today.month)
    begins = _first(here.plus(1)) - dt.timedelta(days=_CITY_DAYS)
    found = []
    if today >= begins:
        what = f"{here} 尚未收到贵市报送；截止本月最后一天 24:00，无人申请请报零报"
        found += [
            Alert("city-missing", one.account, one.account, f"{what}（{here}-零报({one.city}).txt）", begins)
            for one in reporting(settings, registry, here)
            if one.status == "missing"
        ]
    last = here.plus(-1)
    with registry.read() as conn:
        anybody = bool(quality.city_files(conn, str(last), str(last)))
    if anybody:
        found += [
            Alert("city-missing", one.account, PROVINCE, f"{one.city} {last} 未报；请催报或确认零报", _first(here))
            for one in reporting(settings, registry, last)
            if one.status == "missing"
        ]
    return found


def _unsent(registry: Registry, today: dt.date) -> list[Alert]:
    found = []
    with registry.read() as conn:
        unsent = packages.unsent(conn)
    for month, (waiting, live) in unsent.items():
        limit = _first(Month.parse(month).plus(1)) + dt.timedelta(days=_SEND_DAYS)
        if today >= limit:
            text = f"{month} 尚有 {waiting} 行未组包、{live} 个数据包未送达；请查看月末流程"
            found.append(Alert("month-not-sent", month, PROVINCE, text, limit))
    return found


def _overdue(registry: Registry, today: dt.date, days: int) -> list[Alert]:
    counted: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    with registry.read() as conn:
        for one in reprints.missing(conn):
            if one.age_days >= days:
                place = counted[one.month]
                place[0] += one.rows
                place[1] = max(place[1], one.age_days)
    return [
        Alert("returns-overdue", month, PROVINCE, f"{month} 上报的 {rows} 行已 {age} 天未返回；请向上级查询",
              today - dt.timedelta(days=age - days))
        for month, (rows, age) in sorted(counted.items())
    ]  # fmt: skip


def _held(registry: Registry, today: dt.date) -> list[Alert]:
    with registry.read() as conn:
        late = [(one.record, one.record, one.age_days, "请作出决定") for one in holds.queue(conn)]
        late += [
            (f"return-{one.return_id}", f"返回文件 {one.return_id}{f' 的 {one.rows} 行' if one.rows else ''}",
             one.age_days, "请看【上级返回】中的原因，向上级核实")
            for one in reprints.waiting(conn)
        ]  # fmt: skip
        stuck = holds.unprovable(conn)
    return [
        Alert("held-too-long", subject, PROVINCE, f"{what} 已待核实 {age} 天；{remedy}",
              today - dt.timedelta(days=age - holds.LIMIT_DAYS))
        for subject, what, age, remedy in late
        if age >= holds.LIMIT_DAYS
    ] + [
        Alert("held-too-long", record, PROVINCE, f"{record} 已转开证明，但{holds.UNTIED}",
              at.astimezone(SHANGHAI).date())
        for record, at in stuck
    ]  # fmt: skip


def _first(month: Month) -> dt.date:
    return dt.date(month.year, month.number, 1)

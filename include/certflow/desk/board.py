"""The month board: sixteen cities by exams as one picture, the clock, and whose turn it is."""

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from certflow.desk.approvals import PACKAGES
from certflow.desk.clock import Clock, clock
from certflow.desk.desk import Desk, Link, newest
from certflow.desk.failures import open_failures
from certflow.desk.people import Person
from certflow.desk.runs import month_of
from certflow.dispatch.month import month_status
from certflow.errors import Conflict, TransferError
from certflow.logins import VIEWER
from certflow.month import Month
from certflow.registry import approvals, months
from certflow.registry.approvals import BatchState

LINKS = (Link("/", "月度总览", province=False),)


@dataclass(frozen=True, slots=True)
class Group:
    """States that look alike on the board."""

    mark: str
    words: str
    look: str
    states: tuple[str, ...]


GROUPS = (
    Group("核", "待人工核实", "wait", ("HELD",)),
    Group("退", "已退回", "bad", ("RETURNED", "REFUSED")),
    Group("收", "已受理，未上报", "good", ("JUDGED", "ACCEPTED", "PACKED")),
    Group("报", "已上报", "sent", ("SENT",)),
    Group("回", "已返回", "done", ("PRINTED", "DELIVERED", "CLOSED")),
    Group("证", "转开证明", "", ("PROOF", "ISSUED")),
    Group("略", "不计（重复、撤回）", "", ("IGNORED", "WITHDRAWN")),
)
"""What needs somebody stands first."""
STATUS = {
    "reported": ("已报", "good"), "nil": ("零报", "good"), "missing": ("未报", "bad"), "returned": ("整份退回", "bad"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """Something that waits, whose turn it is, and where to press: a page to open, or a form to send."""

    words: str
    turn: str
    look: str
    path: str = ""
    press: str = ""
    order: str = ""
    """Address of the form behind the button; empty: `press` is a link to `path`."""
    roles: tuple[str, ...] = (VIEWER,)


def routes(desk: Desk) -> APIRouter:
    """The page of a month; without one, the newest that the ledger knows."""
    router = APIRouter()
    viewer = desk.may(VIEWER)

    @router.get("/")
    def board(request: Request, person: Annotated[Person, viewer], month: str = "") -> HTMLResponse:
        with desk.registry.read() as conn:
            known = months.known(conn)
        if not month and not known:
            return desk.show(request, "board", month=None)
        chosen = month_of(month) if month else newest(known)
        status = month_status(desk.registry, desk.settings, chosen)
        with desk.registry.read() as conn:
            waiting, batches = months.unjudged(conn), approvals.overview(conn, str(chosen))
        lines = [
            _line(one, waiting.get(one["account"], 0))
            for one in status["cities"]
            if person.account in ("", one["account"])
        ]
        by_exam = {exam: Counter[str]() for exam in sorted({exam for one in lines for exam in one["cells"]})}
        for exam, counts in ((exam, counts) for one in lines for exam, counts in one["cells"].items()):
            by_exam[exam] += counts
        total = sum(by_exam.values(), Counter[str]())
        ticking = clock(chosen, desk.tables, dt.datetime.now(dt.UTC))
        steps: list[Step] = []
        if not person.account:
            steps = [*_failed(desk, request), *_steps(chosen, status, lines, batches, ticking)]
        return desk.show(
            request, "board", month=chosen, known=known, lines=lines, groups=GROUPS, words=STATUS, clock=ticking,
            exams={code: desk.tables.exams[code].name if code in desk.tables.exams else "" for code in by_exam},
            totals=by_exam, total=total, marks=_marks, counted=Counter(one["status"] for one in lines), steps=steps,
            batches=batches, packages=PACKAGES,
        )  # fmt: skip

    return router


def _line(city: Mapping[str, Any], waiting: int) -> dict[str, Any]:
    """One city of the board: its status, its cells by exam, its sum, and files that nobody looked into yet."""
    cells = {exam: Counter(counts) for exam, counts in city["exams"].items()}
    status = "returned" if city["status"] == "missing" and city["submissions"] else city["status"]
    return {
        "account": city["account"], "city": city["city"], "status": status, "cells": cells, "waiting": waiting,
        "total": sum(cells.values(), Counter[str]()),
    }  # fmt: skip


def _marks(counts: Mapping[str, int]) -> list[tuple[Group, int]]:
    """The groups that occur, with their rows."""
    found = [(group, sum(counts.get(state, 0) for state in group.states)) for group in GROUPS]
    return [(group, rows) for group, rows in found if rows]


def _failed(desk: Desk, request: Request) -> list[Step]:
    if desk.airflow is None:
        return []
    try:
        count = len(open_failures(desk.airflow.as_person(request)))
    except (Conflict, TransferError) as error:
        return [Step(f"看不到任务的情况：{error}", "管理员", "wait")]
    if not count:
        return []
    return [Step(f"{count} 个任务失败", "看失败任务页的说明", "bad", "/failures", "看是谁的事")]


def _steps(
    month: Month, status: Mapping[str, Any], lines: list[dict[str, Any]], batches: list[BatchState], ticking: Clock
) -> list[Step]:
    """What waits in this month, in the order in which it should be done."""
    found = []
    if held := status["rows"].get("HELD", 0):
        found.append(Step(f"{held} 行待人工核实", "经办", "wait", f"/holds?month={month}", "去核实"))
    back = [line["city"] for line in lines if line["status"] == "returned"]
    if back:
        found.append(Step(f"{'、'.join(back)} 整份退回，还没有重报", "地市（点地市名看原因）", "bad"))
    missing = [line["city"] for line in lines if line["status"] == "missing"]
    if missing and not batches:
        found.append(Step(f"{len(missing)} 个地市未报", "地市", "bad" if ticking.urgent or ticking.over else ""))
    loose, prepare = status["waiting_for_batch"], f"/months/{month}/prepare"
    if loose and (ticking.over or batches):
        words = f"{loose} 行已受理，还不在任何一批里"
        press = "组补报批次" if batches and not batches[0].batch.reopened else "冻结并组包"
        order = "" if any(one.half_packed for one in batches) else prepare  # that batch comes first
        found.append(Step(words, "经办", "wait", press=press, order=order, roles=("operator",)))
    for one in reversed(batches):
        page, name = f"/approvals/{one.batch.id}", one.batch.folder
        if one.half_packed:
            words = f"{name} 有 {one.unpacked} 行未组包{'，数据包已退回' if one.packages.get('REJECTED') else ''}"
            found.append(Step(words, "经办", "wait", press="冻结并组包", order=prepare, roles=("operator",)))
        if one.packages.get("BUILT"):
            words = f"{name} 等待复核（{one.by} 已经办）" if one.decision == "prepared" else f"{name} 等待批准"
            found.append(Step(words, "审批", "wait", page, "去审批"))
        elif one.packages.get("UNKNOWN"):
            found.append(Step(f"{name} 有数据包无法确认是否送达", "经办，与上级核对", "bad", page, "写明结果"))
        elif one.packages.get("APPROVED") or one.packages.get("SENDING"):
            found.append(Step(f"{name} 已批准，还没有送达", "系统（不动时看运行）", "good", page, "看进展"))
    return found

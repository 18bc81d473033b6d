"""The month board: sixteen cities by exams as one picture, the clock, and whose turn it is."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse

from certflow.desk.desk import Desk, Link
from certflow.desk.people import Person
from certflow.dispatch.month import month_status
from certflow.logins import VIEWER
from certflow.month import Month
from certflow.registry import months

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
STATUS = {"reported": "已报", "nil": "零报", "missing": "未报", "returned": "整份退回"}


def routes(desk: Desk) -> APIRouter:
    """The page of a month; without one, the newest that the ledger knows."""
    router = APIRouter()
    viewer = desk.may(VIEWER)

    @router.get("/")
    def board(request: Request, person: Annotated[Person, viewer], month: str = "") -> HTMLResponse:
        with desk.registry.read() as conn:
            known = months.known(conn)
        if month:
            chosen = _month(month)
        elif known:
            chosen = Month.parse(known[0])
        else:
            return desk.show(request, "board", month=None, known=known)
        status = month_status(desk.registry, desk.settings, chosen)
        with desk.registry.read() as conn:
            waiting = months.unjudged(conn)
        lines = [
            _line(one, waiting.get(one["account"], 0))
            for one in status["cities"]
            if person.account in ("", one["account"])
        ]
        by_exam = {exam: Counter[str]() for exam in sorted({exam for one in lines for exam in one["cells"]})}
        for exam, counts in ((exam, counts) for one in lines for exam, counts in one["cells"].items()):
            by_exam[exam] += counts
        return desk.show(
            request, "board", month=chosen, known=known, lines=lines, groups=GROUPS,
            exams={code: desk.tables.exams[code].name if code in desk.tables.exams else "" for code in by_exam},
            totals={exam: _marks(counts) for exam, counts in by_exam.items()},
            total=_marks(sum(by_exam.values(), Counter())),
            counted=Counter(one["status"] for one in lines), words=STATUS, marks=_marks,
        )  # fmt: skip

    return router


def _month(text: str) -> Month:
    try:
        return Month.parse(text)
    except ValueError:
        raise HTTPException(404, "没有这个月份：申报年月写成六位数字，如 202005") from None


def _line(city: Mapping[str, Any], waiting: int) -> dict[str, Any]:
    """One city of the board: its status, its cells by exam, its sum, and files that nobody looked into yet."""
    cells = {exam: Counter(counts) for exam, counts in city["exams"].items()}
    status = "returned" if city["status"] == "missing" and city["submissions"] else city["status"]
    return {
        "account": city["account"], "city": city["city"], "status": status, "cells": cells, "waiting": waiting,
        "total": sum(cells.values(), Counter()),
    }  # fmt: skip


def _marks(counts: Mapping[str, int]) -> list[tuple[Group, int]]:
    """The groups that occur, with their rows."""
    found = [(group, sum(counts.get(state, 0) for state in group.states)) for group in GROUPS]
    return [(group, rows) for group, rows in found if rows]

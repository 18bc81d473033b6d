"""One exam in one month: where its rows stand in each city, its packages, what was wrong with it over time."""

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse

from certflow.checks import suites
from certflow.desk.desk import Desk, Link, newest
from certflow.desk.people import Person
from certflow.logins import VIEWER
from certflow.month import Month
from certflow.registry import months, packages
from certflow.registry.quality import CityMonth
from certflow.reports import charts
from certflow.reports.month import STATES
from certflow.reports.story import PACKAGES

LINKS = (Link("/exams", "考试", province=False),)
SPAN = 24
"""Months of the trend."""
FAMILIES = {"normal": "一般", "ruankao": "计算机软件", "tongxin": "通信"}


def routes(desk: Desk) -> APIRouter:
    """The exams of the table, and one of them."""
    router = APIRouter()
    viewer = desk.may(VIEWER)

    @router.get("/exams")
    def listed(request: Request, _person: Annotated[Person, viewer]) -> HTMLResponse:
        return desk.show(request, "exams", exams=desk.tables.exams, families=FAMILIES)

    @router.get("/exams/{code}")
    def latest(request: Request, _person: Annotated[Person, viewer], code: str) -> Response:
        _known(desk, code)
        with desk.registry.read() as conn:
            known = months.known(conn)
        return desk.to(request, f"/exams/{code}/{newest(known)}" if known else "/exams")

    @router.get("/exams/{code}/{month}")
    def exam(request: Request, person: Annotated[Person, viewer], code: str, month: str) -> HTMLResponse:
        _known(desk, code)
        chosen = _month(month)
        with desk.registry.read() as conn:
            known = months.known(conn)
            states = [one for one in months.states(conn, month) if one.exam_code == code]
            made = [
                (batch, one)
                for batch in ([] if person.account else packages.batches_of(conn, month))
                for one in packages.packages_of(conn, batch.id)
                if one.exam_code == code
            ]
            sent, causes = desk.counted.between(conn, str(chosen.plus(1 - SPAN)), month)
        by_city: dict[str, Counter[str]] = {}
        for one in states:
            if person.account in ("", one.account):
                by_city.setdefault(one.account, Counter())[one.state] += one.rows
        wrong = Counter[str]()
        for cause in causes:
            if (cause.month, cause.exam_code) == (month, code) and person.account in ("", cause.account):
                wrong[cause.rule] += cause.requests
        rules = {rule.code: rule for rule in suites.load(desk.settings)}
        return desk.show(
            request, "exam", code=code, exam=desk.tables.exams.get(code), month=chosen, known=known, by_city=by_city,
            cities=desk.tables.cities, words=STATES, packages=made, package_words=PACKAGES, families=FAMILIES,
            shown=[one for one in STATES if any(line[one] for line in by_city.values())],
            total=sum(by_city.values(), Counter()), wrong=wrong.most_common(12), rules=rules,
            trend=_trend([one for one in sent if person.account in ("", one.account)], code),
        )  # fmt: skip

    return router


def _trend(sent: list[CityMonth], code: str) -> str:
    """Error rate of the exam, with all exams as the dashed line; empty without two months."""
    every = sorted({one.month for one in sent})
    if len(every) < 2:
        return ""
    shares = []
    for wanted in ({code}, {one.exam_code for one in sent}):
        counts = {month: [0, 0] for month in every}
        for one in sent:
            if one.exam_code in wanted:
                counts[one.month][0] += one.faulty
                counts[one.month][1] += one.requests
        shares.append([faulty / requests if requests else None for faulty, requests in counts.values()])
    labels = [f"{month[2:4]}-{month[4:]}" for month in every]
    return charts.trend(labels, shares[0], shares[1], names=(code, "全部考试"))


def _known(desk: Desk, code: str) -> None:
    if not code.isascii() or not code.isalnum() or len(code) > 16:
        raise HTTPException(404, "没有这个考试")
    if code not in desk.tables.exams:
        with desk.registry.read() as conn:
            if not months.exam_seen(conn, code):
                raise HTTPException(404, "没有这个考试")


def _month(text: str) -> Month:
    try:
        return Month.parse(text)
    except ValueError:
        raise HTTPException(404, "没有这个月份：申报年月写成六位数字，如 202005") from None

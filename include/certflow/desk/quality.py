"""Quality over time: every rule by month, where it clearly changed, where it comes from; and the Data Docs."""

import re
from typing import Annotated

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse

from certflow.checks import suites
from certflow.desk.desk import Desk, Link, newest
from certflow.desk.people import Person
from certflow.logins import VIEWER
from certflow.registry import months
from certflow.reports import charts
from certflow.reports.history import Series, series

LINKS = (Link("/quality", "质量", province=False),)
SPAN = 24
"""Months looked back."""
SEVERITIES = {"error": "错误", "hold": "待核", "warning": "提醒", "info": "说明"}
_DOCS = (
    "default-src 'none'; style-src 'unsafe-inline'; sandbox allow-same-origin allow-top-navigation-by-user-activation"
)
"""Data Docs bring their styles in the page; nothing else of them is let in, no script least of all."""
_WORD = re.compile(r"{\w+}")
"""Stands in a message for what a row holds."""
_DOC = re.compile(r"(?:[0-9]{4}/)?[0-9A-Za-z_-]+\.html")


def routes(desk: Desk) -> APIRouter:
    """All rules, one rule, the Data Docs."""
    router = APIRouter()
    viewer, province = desk.may(VIEWER), desk.may(VIEWER, province=True)

    def span() -> tuple[str, str]:
        with desk.registry.read() as conn:
            known = months.known(conn)
        last = newest(known) if known else None
        return ("", "") if last is None else (str(last.plus(1 - SPAN)), str(last))

    def histories(person: Person, by: tuple[str, ...], rule: str = "") -> list[Series]:
        first, last = span()
        if not last:
            return []
        with desk.registry.read() as conn:
            sent, causes = desk.counted.between(conn, first, last)
        return series(
            [one for one in sent if person.account in ("", one.account)],
            [one for one in causes if person.account in ("", one.account) and rule in ("", one.rule)],
            by,
        )

    @router.get("/quality")
    def every_rule(request: Request, person: Annotated[Person, viewer]) -> HTMLResponse:
        rules = {rule.code: rule for rule in suites.load(desk.settings)}
        found = histories(person, ())
        order = list(SEVERITIES)
        found.sort(key=lambda one: (order.index(one.severity), -one.points[-1].count, one.rule))
        return desk.show(
            request, "quality", lines=[(one, _spark(one)) for one in found], rules=rules, severities=SEVERITIES,
            silent=[rule for code, rule in rules.items() if code not in {one.rule for one in found}],
            docs=not person.account and (desk.settings.reports / "data-docs" / "index.html").is_file(),
        )  # fmt: skip

    @router.get("/quality/docs")
    def docs_index(request: Request, _person: Annotated[Person, province]) -> Response:
        return desk.to(request, "/quality/docs/index.html")

    @router.get("/quality/docs/{path:path}")
    def docs(_person: Annotated[Person, province], path: str) -> Response:
        # The pattern leaves no way out of the folder: one year at most, then a name without dots.
        page = desk.settings.reports / "data-docs" / path
        if not _DOC.fullmatch(path) or not page.is_file():
            raise HTTPException(404, "没有这一页数据质量文档")
        return FileResponse(page, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": _DOCS})

    @router.get("/quality/{code}")
    def one_rule(request: Request, person: Annotated[Person, viewer], code: str) -> HTMLResponse:
        rules = [rule for rule in suites.load(desk.settings) if rule.code == code]
        if not rules:
            raise HTTPException(404, "没有这条规则")
        whole = histories(person, (), code)
        return desk.show(
            request, "rule", rule=rules[0], message=_WORD.sub("…", rules[0].message),
            severities=SEVERITIES, whole=[(one, _chart(one)) for one in whole],
            by_city=[(one, _spark(one)) for one in histories(person, ("account",), code)],
            by_exam=[(one, _spark(one)) for one in histories(person, ("exam_code",), code)],
            cities=desk.tables.cities, exams=desk.tables.exams,
        )  # fmt: skip

    return router


def _spark(one: Series) -> str:
    return charts.spark([(point.count, point.change) for point in one.points], title=one.rule)


def _chart(one: Series) -> str:
    labels = [f"{point.month[2:4]}-{point.month[4:]}" for point in one.points]
    shares = [point.count / point.requests if point.requests else None for point in one.points]
    marks = [at for at, point in enumerate(one.points) if point.change]
    return charts.trend(
        labels, shares, [None] * len(shares), names=(one.rule, ""), marks=marks, title=f"{one.rule} 涉及的申请件"
    )

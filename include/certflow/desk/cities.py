"""One city: where its month stands, its scorecard and trend, the findings behind it, its appeals, its papers."""

import re
from collections import Counter
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse

from certflow.checks import suites
from certflow.desk.desk import Desk, Link, newest
from certflow.desk.people import Person
from certflow.logins import APPROVER, OPERATOR, VIEWER
from certflow.privacy import mask_text
from certflow.registry import appeals as ledger
from certflow.registry import months, quality
from certflow.registry import standing as stands
from certflow.reports import appeals, scorecard
from certflow.reports.month import STATES

LINKS = (Link("/cities", "地市", province=False),)
SHOWN = 200
"""Findings of one period on the page; all of them stand in the workbook."""
_PERIOD = re.compile(r"[1-9][0-9]{3}(0[1-9]|1[0-2])?")
_TYPES = {
    ".pdf": "application/pdf", ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}  # fmt: skip


def routes(desk: Desk) -> APIRouter:  # noqa: C901, PLR0915 (one nested function per route)
    """The ranking, one city, its appeals, its papers."""
    router = APIRouter()
    viewer, operator = desk.may(VIEWER), desk.may(OPERATOR, province=True)
    judge = desk.may(OPERATOR, APPROVER, province=True)

    def latest() -> str:
        with desk.registry.read() as conn:
            known = months.known(conn)
        return str(newest(known)) if known else ""

    @router.get("/cities")
    def ranking(request: Request, person: Annotated[Person, viewer], period: str = "") -> Response:
        if person.account:
            return desk.to(request, f"/cities/{person.account}")
        period = _period(period or latest() or "2020")
        now = scorecard.standing(desk.settings, desk.registry, period, desk.counted)
        ordered = sorted(now.cities, key=lambda one: (one.rank is None, one.rank or 0, one.account))
        return desk.show(
            request, "cities", period=period, title=scorecard.period_name(period), state=now.state(""),
            lines=[(one, scorecard.ranking_line(one)) for one in (*ordered, now.province)], head=scorecard.RANKING,
            files=[path.name for path in _papers(desk, period) if "全省排名" in path.name],
        )  # fmt: skip

    @router.get("/cities/{account}")
    def newest_month(request: Request, person: Annotated[Person, viewer], account: str) -> Response:
        desk.own_city(person, account)
        period = latest()
        if period:
            return desk.to(request, f"/cities/{account}/{period}")
        return desk.show(request, "city", city=desk.tables.cities[account], period="", card=None)

    @router.get("/cities/{account}/{period}")
    def city(request: Request, person: Annotated[Person, viewer], account: str, period: str) -> HTMLResponse:
        desk.own_city(person, account)
        period = _period(period)
        card = scorecard.card(desk.settings, desk.registry, period, account, desk.counted)
        stand, states, files = None, [], []
        with desk.registry.read() as conn:
            known = months.known(conn)
            evidence = quality.evidence(conn, *quality.months_of(period), account, ledger.closed_at(conn, period))
            contested = {one.finding_id for one in ledger.all_appeals(conn, account=account)}
            if len(period) == 6:
                stand = stands.standing(conn, account, period)
                states = [one for one in months.states(conn, period) if one.account == account]
                files = stands.sent_for(conn, account, period)
            filed = [one for one in ledger.all_appeals(conn, account=account) if one.month.startswith(period)]
        by_exam: dict[str, Counter[str]] = {}
        for one in states:
            by_exam.setdefault(one.exam_code, Counter())[one.state] += one.rows
        rules = {rule.code: rule for rule in suites.load(desk.settings)}
        return desk.show(
            request, "city", city=desk.tables.cities[account], period=period, card=card, known=known, stand=stand,
            years=sorted({month[:4] for month in known}, reverse=True),
            by_exam=by_exam, words=STATES, shown=[one for one in STATES if any(line[one] for line in by_exam.values())],
            files=[(one, mask_text(one.name), rules.get(one.reason or "")) for one in files], rules=rules,
            exams=desk.tables.exams, evidence=evidence[-SHOWN:][::-1], many=len(evidence), contested=contested,
            counts=scorecard.counts,
            appeals=filed[::-1],
            title=scorecard.period_name(period), papers=[one.name for one in _mine(desk, period, account)],
            files_appeals=_may_file(person, account), judges=person.may(OPERATOR, APPROVER, province=True),
        )  # fmt: skip

    @router.post("/cities/{account}/{period}/appeals")
    def file_appeal(
        request: Request, person: Annotated[Person, viewer], account: str, period: str, *,
        finding: Annotated[int, Form()], reason: Annotated[str, Form()] = "",
    ) -> Response:  # fmt: skip
        desk.own_city(person, account)
        if not _may_file(person, account):
            raise HTTPException(403, "申诉由该市或省里的经办登记")
        with desk.registry.read() as conn:
            found = ledger.finding(conn, finding) if finding < 1 << 63 else None
        if found is None or found[1] != account:
            raise HTTPException(404, "本市没有这个编号的问题")
        appeals.file_appeal(desk.registry, finding, by=person.name, reason=reason[:500], actor=desk.actor(person))
        return desk.to(request, f"/cities/{account}/{_period(period)}#appeals")

    @router.post("/cities/{account}/{period}/appeals/{number}")
    def decide(
        request: Request, person: Annotated[Person, judge], account: str, period: str, *, number: int,
        verdict: Annotated[str, Form()] = "", reason: Annotated[str, Form()] = "",
    ) -> Response:  # fmt: skip
        desk.own_city(person, account)
        with desk.registry.read() as conn:
            found = ledger.appeal(conn, number) if number < 1 << 63 else None
        if found is None or found.account != account:
            raise HTTPException(404, "本市没有这个编号的申诉")
        if verdict not in ("upheld", "rejected"):
            raise HTTPException(400, "请选择成立或不成立")
        appeals.decide(
            desk.settings, desk.registry, number, upheld=verdict == "upheld", by=person.name, reason=reason[:500],
            actor=desk.actor(person),
        )  # fmt: skip
        return desk.to(request, f"/cities/{account}/{_period(period)}#appeals")

    @router.post("/cities/{account}/{period}/papers")
    def write_papers(request: Request, person: Annotated[Person, operator], account: str, period: str) -> Response:
        desk.own_city(person, account)
        scorecard.write_cards(desk.settings, desk.registry, _period(period), [account])
        return desk.to(request, f"/cities/{account}/{period}#papers")

    @router.get("/cities/{account}/{period}/papers/{name}")
    def paper(person: Annotated[Person, viewer], account: str, period: str, name: str) -> Response:
        desk.own_city(person, account)
        return _given(_mine(desk, _period(period), account), name)

    @router.get("/papers/{period}/{name}")
    def province_paper(_person: Annotated[Person, desk.may(VIEWER, province=True)], period: str, name: str) -> Response:
        return _given(_papers(desk, _period(period)), name)

    return router


def _period(text: str) -> str:
    if not _PERIOD.fullmatch(text):
        raise HTTPException(404, "没有这个期间：写成年月或年份，如 202005、2020")
    return text


def _may_file(person: Person, account: str) -> bool:
    return person.account == account or person.may(OPERATOR, province=True)


def _papers(desk: Desk, period: str) -> list[Path]:
    """What `scorecard.write_cards` and the month report wrote for a period: nothing in it names a person."""
    folders = (desk.settings.reports / "scores" / period, desk.settings.reports / period)
    found = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    return [path for path in found if path.suffix in _TYPES and not path.name.startswith(".") and path.is_file()]


def _mine(desk: Desk, period: str, account: str) -> list[Path]:
    return [path for path in _papers(desk, period) if path.name.startswith(f"{period}-{account}-")]


def _given(papers: list[Path], name: str) -> Response:
    """One of these files by its name: what an address says is compared, never joined to a folder."""
    found = next((path for path in papers if path.name == name), None)
    if found is None:
        raise HTTPException(404, "没有这个文件")
    named = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(found.name)}"}
    return FileResponse(found, media_type=_TYPES[found.suffix], headers=named)

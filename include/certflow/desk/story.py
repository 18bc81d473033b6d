"""One certificate from the city's file to the signature: masked, or unmasked for a reason that is on record."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse

from certflow.desk.desk import Desk, Link
from certflow.desk.people import Person
from certflow.logins import AUDITOR, OPERATOR, VIEWER
from certflow.registry.ledger import note
from certflow.registry.timeline import timeline_of
from certflow.reports import story as teller

LINKS = (Link("/trace", "证书全程", province=False),)


def routes(desk: Desk) -> APIRouter:
    """The search and the story; the story once more with its personal data."""
    router = APIRouter()
    viewer, unmasks = desk.may(VIEWER), desk.may(OPERATOR, AUDITOR, province=True)

    def find(person: Person, number: str) -> dict[str, Any] | None:
        with desk.registry.read() as conn:
            story = timeline_of(conn, number) if number and number.isprintable() else None
        return story if story is None or not person.account else _of_city(desk, story, person.account)

    def show(request: Request, number: str, story: dict[str, Any], *, full: bool) -> HTMLResponse:
        return desk.show(
            request, "trace", number=number, story=story, events=teller.events(story), full=full, states=teller.ROWS,
            delivered=teller.delivered, unmasks=request.state.person.may(OPERATOR, AUDITOR, province=True),
        )  # fmt: skip

    @router.get("/trace")
    def trace(request: Request, person: Annotated[Person, viewer], number: str = "") -> HTMLResponse:
        number = number.strip()
        story = find(person, number)
        if story is None:
            return desk.show(request, "trace", status=404 if number else 200, number=number, story=None)
        teller.mask(story)
        return show(request, number, story, full=False)

    @router.post("/trace")
    def unmask(
        request: Request, person: Annotated[Person, unmasks], number: Annotated[str, Form()] = "",
        reason: Annotated[str, Form()] = "",
    ) -> HTMLResponse:  # fmt: skip
        story = find(person, number.strip())
        if story is None:
            raise HTTPException(404, "证书数据库和台账里都没有这个编号")
        if not reason.strip():
            raise HTTPException(400, "显示完整信息须写明理由")
        with desk.registry.begin(desk.actor(person)) as conn:
            note(
                conn, "unmasked", page="trace", by=person.name, reason=reason.strip()[:500],
                certificate=story["certificate"]["id"] if story["certificate"] else None,
                records=[one["record_id"] for one in story["requests"]],
            )  # fmt: skip
        return show(request, number.strip(), story, full=True)

    return router


def _of_city(desk: Desk, story: dict[str, Any], account: str) -> dict[str, Any] | None:
    """What a login of one city may know: its own certificates and requests, nothing when there is neither."""
    certificate = story["certificate"]
    home = desk.tables.city_named(certificate["city"]) if certificate else None
    ours = home is not None and desk.tables.city_today(home).account == account
    requests = [one for one in story["requests"] if one["account"] == account]
    if not ours and not requests:
        return None
    return story | {
        "certificate": certificate if ours else None, "requests": requests, "prints": story["prints"] if ours else [],
    }  # fmt: skip

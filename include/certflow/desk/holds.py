"""What waits for a person: the queue, and one hold with its evidence side by side and the decision below it.

Who decides sees full values and photos, for a decision cannot be made without them; that they looked is noted in the
audit chain. Everybody else sees masked values and no photo.
"""

import time
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.responses import HTMLResponse

from certflow import vault
from certflow.checks import holds, suites
from certflow.checks.notices import DECISIONS
from certflow.desk.desk import Desk, Link
from certflow.desk.people import Person
from certflow.logins import OPERATOR, VIEWER
from certflow.registry import holds as ledger
from certflow.registry import months
from certflow.registry.ledger import note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LINKS = (Link("/holds", "待核实", province=False),)
SHOWN = 200
"""Lines of the queue on one page."""
MOST = 1000
"""Rows, and files, and photos of the queue that are looked at for it."""
_FILTERS = ("city", "exam", "month", "rule")
_LOOKED = 600.0
"""Seconds in which looking at one hold again is the same look."""
_SHEET = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
"""What the page of photos may do: its pictures and its style stand in it."""
_KEYS = {"accept": "a", "proof": "p", "judge": "j", "return": "r"}


def routes(desk: Desk) -> APIRouter:  # noqa: C901, PLR0915 (one nested function per route)
    """Queue, one hold, its photos, the decision."""
    router = APIRouter()
    viewer, operator = desk.may(VIEWER), desk.may(OPERATOR, province=True)
    looked: dict[tuple[str, str], float] = {}

    def queue(person: Person, asked: "Mapping[str, str]", record: str | None = None) -> "list[ledger.Hold]":
        account = person.account or asked.get("city")
        return holds.queue(
            desk.registry, account=account or None, exam_code=asked.get("exam"), month=asked.get("month"),
            rule=asked.get("rule"), record=record, limit=MOST,
        )  # fmt: skip

    def waiting(person: Person, record: str) -> ledger.Hold | None:
        return next(iter(queue(person, {}, record)), None) if record.isprintable() else None

    def find(person: Person, record: str) -> ledger.Hold:
        found = waiting(person, record)
        if found is None:
            raise HTTPException(404, "没有这一项，或它已不在待核实之列")
        return found

    def look(person: Person, hold: ledger.Hold) -> None:
        """Note that somebody sees what is not masked: once for a look, not for each picture of it."""
        now, key = time.monotonic(), (person.name, hold.record)
        if now - looked.get(key, -_LOOKED) < _LOOKED:
            return
        with desk.registry.begin(desk.actor(person)) as conn:
            note(conn, "unmasked", page="hold", records=[hold.record], by=person.name, reason="处理待核实")
        for old in [one for one, at in looked.items() if now - at > _LOOKED]:
            del looked[old]
        looked[key] = now

    @router.get("/holds")
    def listed(request: Request, person: Annotated[Person, viewer], done: str = "") -> HTMLResponse:
        asked = _asked(request, person)
        found = queue(person, asked)
        with desk.registry.read() as conn:
            known = months.known(conn)
        return desk.show(
            request, "holds", asked=asked, query=_query(asked), total=len(found), most=MOST, titles=_titles(desk),
            lines=[(one, holds.shown(desk.settings, one, unmasked=False)) for one in found[:SHOWN]],
            months=known, exams=sorted({*desk.tables.exams, *(one.exam_code for one in found)} - {""}),
            rules=sorted({rule for one in found for rule in one.rules} | {asked.get("rule", "")} - {""}),
            cities=desk.tables.cities, done=_done(desk, person, done),
        )  # fmt: skip

    @router.get("/holds/{record}")
    def one_hold(request: Request, person: Annotated[Person, viewer], record: str, done: str = "") -> HTMLResponse:
        asked = _asked(request, person)
        decision = _done(desk, person, record)
        if decision is not None and waiting(person, record) is None:
            return desk.show(request, "hold_done", record=record, decision=decision, query=_query(asked))
        hold, full = find(person, record), person.may(OPERATOR, province=True)
        line = [one.record for one in queue(person, asked)]
        at = line.index(record) if record in line else None
        if full:
            look(person, hold)
        with desk.registry.read() as conn:
            photos = list(ledger.photos_of(conn, hold)) if full else []
        return desk.show(
            request, "hold", hold=hold, asked=asked, query=_query(asked), at=at, total=len(line), most=MOST,
            before=line[at - 1] if at else "", after="" if at is None or at + 1 == len(line) else line[at + 1],
            shown=holds.shown(desk.settings, hold, unmasked=full), full=full, photos=photos,
            done=_done(desk, person, done),
            compared=holds.compared(desk.registry, hold, unmasked=full), titles=_titles(desk), decisions=DECISIONS,
            remedies=_remedies(hold), keys=_KEYS,
            sheet=full and holds.photo_page(desk.settings, hold) is not None, misnamed=_misnamed(hold),
            cities=desk.tables.cities,
        )  # fmt: skip

    @router.post("/holds/{record}")
    def decide(
        request: Request, person: Annotated[Person, operator], record: str, *, decision: Annotated[str, Form()] = "",
        reason: Annotated[str, Form()] = "", name: Annotated[str, Form()] = "", photo: Annotated[str, Form()] = "",
    ) -> Response:  # fmt: skip
        asked = _asked(request, person)
        before = [one.record for one in queue(person, asked)]
        made = holds.Decision(
            decision, person.name, reason[:500], name.strip() or None if decision == "judge" else None,
            photo or None if decision == "accept" else None,
        )  # fmt: skip
        holds.decide(desk.settings, desk.registry, [record], made, desk.actor(person))
        left = {one.record for one in queue(person, asked)}
        behind = before[before.index(record) + 1 :] if record in before else []
        following = next((one for one in [*behind, *before] if one in left), "")
        query = urlencode({**asked, "done": record})
        return desk.to(request, f"/holds/{quote(following, safe='')}?{query}" if following else f"/holds?{query}")

    @router.get("/holds/{record}/photo/{tag}")
    def photo(person: Annotated[Person, operator], record: str, tag: str) -> Response:
        hold = find(person, record)
        data = holds.photo(desk.settings, desk.registry, hold, tag)
        if data is None:
            raise HTTPException(404, "这张照片不能显示")
        look(person, hold)
        return Response(data, media_type="image/jpeg")

    @router.get("/holds/{record}/photos")
    def photos(person: Annotated[Person, operator], record: str) -> Response:
        hold = find(person, record)
        page = holds.photo_page(desk.settings, hold)
        if page is None:
            raise HTTPException(404, "这个文件没有照片核对单")
        look(person, hold)
        return HTMLResponse(vault.read_text(page), headers={"Content-Security-Policy": _SHEET})

    return router


def _asked(request: Request, person: Person) -> dict[str, str]:
    asked = {name: request.query_params.get(name, "") for name in _FILTERS if not (name == "city" and person.account)}
    return {name: text for name, text in asked.items() if text and text.isprintable()}


def _query(asked: "Mapping[str, str]") -> str:
    return f"?{urlencode(asked)}" if asked else ""


def _titles(desk: Desk) -> dict[str, str]:
    return {rule.code: rule.title for rule in suites.load(desk.settings)}


def _remedies(hold: ledger.Hold) -> list[str]:
    """What is to be done about it; why a row of a cancelled exam becomes no proof is said first."""
    unproved = [holds.unfit(hold, "proof")] if hold.cancelled and not hold.tied else []
    return list(dict.fromkeys([*unproved, *(one.remedy for one in hold.evidence if one.remedy)]))


def _misnamed(hold: ledger.Hold) -> bool:
    return hold.kind == "file" and any(rule.startswith("NAME-") for rule in hold.rules)


def _done(desk: Desk, person: Person, record: str) -> "Sequence[object] | None":
    """Record, decision in words, who and when: what the ledger says, whatever an address claims."""
    if not record or not record.isprintable() or person.account:
        return None
    with desk.registry.read() as conn:
        found = ledger.decided(conn, record)
    return None if found is None else (record, DECISIONS[found[0]], *found[1:])

"""The new certificates on their way to their holders: how many are where, and which; a decision about one."""

from collections import Counter
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.responses import HTMLResponse

from certflow.delivery import take
from certflow.delivery.states import BY_HAND, WAYS, WORDS
from certflow.delivery.walk import MOVES
from certflow.desk.desk import Desk, Link
from certflow.desk.people import Person
from certflow.logins import OPERATOR, VIEWER
from certflow.privacy import mask_name
from certflow.registry import deliveries

LINKS = (Link("/deliveries", "发放", province=False),)
SHOWN = 200


def routes(desk: Desk) -> APIRouter:
    """The register and the decision."""
    router = APIRouter()
    viewer, operator = desk.may(VIEWER), desk.may(OPERATOR, province=True)

    @router.get("/deliveries")
    def listed(request: Request, person: Annotated[Person, viewer], city: str = "", state: str = "") -> HTMLResponse:
        account = person.account or city
        if account:
            desk.own_city(person, account)
        if state and state not in WORDS:
            raise HTTPException(404, "没有这个发放状态")
        with desk.registry.read() as conn:
            counts = deliveries.counts(conn, person.account)
            chosen = bool(account or state)
            found = (
                deliveries.standing(
                    conn, account, [state] if state else [], desk.settings.delivery_way, limit=SHOWN + 1
                )
                if chosen and state != "AWAITING"
                else []
            )
            late = deliveries.overtaken(conn, account)
            quick = deliveries.punctuality(conn, desk.settings.push_days, account) if account else []
        sums = Counter[str]()
        for (_, where), many in counts.items():
            sums[where] += many
        return desk.show(
            request, "deliveries", counts=counts, sums=sums, shown=[one for one in WORDS if sums[one]], words=WORDS,
            accounts=sorted({one for one, _ in counts}), cities=desk.tables.cities, city=account, state=state,
            lines=[(one, mask_name(one.name), _next(one.state)) for one in found[:SHOWN]], more=len(found) > SHOWN,
            chosen=chosen, ways=WAYS, late=late, quick=quick[0] if quick else None, days=desk.settings.push_days,
        )  # fmt: skip

    @router.post("/deliveries/move")
    def move(
        request: Request, person: Annotated[Person, operator], *, record: Annotated[str, Form()] = "",
        shown: Annotated[str, Form()] = "", state: Annotated[str, Form()] = "", reason: Annotated[str, Form()] = "",
    ) -> Response:  # fmt: skip
        if state not in BY_HAND or shown not in WORDS or not reason.strip() or not record.isprintable():
            raise HTTPException(400, "须选定状态并写明理由")
        found = take.move(
            desk.registry, record, state, shown=shown, by=person.name, reason=reason.strip()[:500],
            actor=desk.actor(person),
        )  # fmt: skip
        return desk.to(request, f"/deliveries?{urlencode({'city': found.account, 'state': state})}")

    return router


def _next(state: str) -> list[str]:
    return [after for after in BY_HAND if (state, after) in MOVES]

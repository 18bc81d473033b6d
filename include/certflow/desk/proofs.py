"""The register of proofs: which were issued, what they are worth now; a page to print, a proof to revoke."""

from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.responses import HTMLResponse

from certflow.desk.desk import Desk, Link
from certflow.desk.people import Person
from certflow.logins import AUDITOR, OPERATOR, VIEWER
from certflow.privacy import mask_name
from certflow.proofs.issue import page_of, revoke
from certflow.registry.ledger import note
from certflow.registry.proofs import Proof, by_number, register

LINKS = (Link("/proofs", "证明", province=False),)
SHOWN = 200
KINDS = {"score": "成绩合格证明", "qualification": "职/执业资格证明"}
STATUS = {"valid": "有效", "ended": "已失效", "revoked": "已撤销"}


def routes(desk: Desk) -> APIRouter:
    """The register, one proof's page, its revocation."""
    router = APIRouter()
    viewer = desk.may(VIEWER)
    operator, unmasks = desk.may(OPERATOR, province=True), desk.may(OPERATOR, AUDITOR, province=True)

    def find(number: str) -> Proof:
        with desk.registry.read() as conn:
            found = by_number(conn, number.strip()) if number.isprintable() else None
        if found is None:
            raise HTTPException(404, "登记簿中没有这个编号")
        return found

    @router.get("/proofs")
    def listed(request: Request, person: Annotated[Person, viewer], city: str = "", number: str = "") -> HTMLResponse:
        account = person.account or city
        if account:
            desk.own_city(person, account)
        number = number.strip()
        with desk.registry.read() as conn:
            wanted = number if number.isprintable() else ""
            found = register(conn, account or None, wanted or None, limit=SHOWN + 1)
        lines = [
            (one, KINDS[one.kind], one.status(desk.settings.proof_ends), mask_name(one.printed["name"]))
            for one in found[:SHOWN]
        ]
        return desk.show(
            request, "proofs", lines=lines, more=len(found) > SHOWN, city=account, number=number,
            cities=desk.tables.cities, words=STATUS, unmasks=person.may(OPERATOR, AUDITOR, province=True),
        )  # fmt: skip

    @router.post("/proofs/page")
    def page(
        person: Annotated[Person, unmasks], number: Annotated[str, Form()] = "", reason: Annotated[str, Form()] = ""
    ) -> Response:
        """The PDF as it was issued, with everything that stands on it."""
        proof = find(number)
        if not reason.strip():
            raise HTTPException(400, "取出证明须写明理由")
        data = page_of(desk.settings, proof)
        with desk.registry.begin(desk.actor(person)) as conn:
            note(conn, "unmasked", page="proof", number=proof.number, by=person.name, reason=reason.strip()[:500])
        named = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(proof.number.replace('/', '_'))}.pdf"}
        return Response(data, media_type="application/pdf", headers=named)

    @router.post("/proofs/revoke")
    def take_back(
        request: Request, person: Annotated[Person, operator], number: Annotated[str, Form()] = "",
        reason: Annotated[str, Form()] = "",
    ) -> Response:  # fmt: skip
        proof = revoke(
            desk.registry, find(number).number, by=person.name, reason=reason[:500], actor=desk.actor(person)
        )
        return desk.to(request, f"/proofs?{urlencode({'city': proof.account})}")

    return router

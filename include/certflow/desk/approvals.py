"""The approval page: what goes up, compared, sampled and with digests; the answer; and what became of it."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from certflow.desk.airflow import AsPerson
from certflow.desk.desk import Desk, Link
from certflow.desk.people import Person
from certflow.desk.runs import NO, SEND, YES, runs_of
from certflow.dispatch.approve import approve, gate, reject
from certflow.dispatch.arrivals import WORDS as PAPER
from certflow.dispatch.dossier import dossier
from certflow.dispatch.send import resolve_unknown
from certflow.errors import Conflict, TransferError
from certflow.logins import APPROVER, OPERATOR, VIEWER
from certflow.privacy import mask_id, mask_name
from certflow.registry import approvals, packages
from certflow.registry.packages import Batch, PackRow

LINKS = (Link("/approvals", "审批上报"),)
PACKAGES = {
    "BUILT": ("待批准", "wait"), "APPROVED": ("已批准，未上报", "good"), "REJECTED": ("已退回组包", ""),
    "SENDING": ("发送中", "sent"), "SENT": ("已送达", "sent"), "UNKNOWN": ("待确认是否送达", "bad"),
}  # fmt: skip
"""State of a package → words and look."""
_DECISIONS = {"prepared": "经办", "approved": "批准", "rejected": "退回"}
_SAMPLES = 5
"""Rows shown of each package."""


def routes(desk: Desk) -> APIRouter:
    """All batches, one batch, the answer, and the word on a package of which nobody knows whether it arrived."""
    router = APIRouter()
    viewer, approver = desk.may(VIEWER, province=True), desk.may(APPROVER)
    either = desk.may(OPERATOR, APPROVER)

    @router.get("/approvals")
    def batches(request: Request, _person: Annotated[Person, viewer]) -> HTMLResponse:
        with desk.registry.read() as conn:
            found = approvals.overview(conn)
        return desk.show(request, "approvals", batches=found, states=PACKAGES, decisions=_DECISIONS)

    @router.get("/approvals/{batch_id:int}")
    def batch(request: Request, person: Annotated[Person, viewer], batch_id: int) -> HTMLResponse:
        chosen = _batch(desk, batch_id)
        with desk.registry.read() as conn:
            every = packages.packages_of(conn, batch_id)
            live = [one for one in every if one.state != "REJECTED"]
            said = approvals.decisions(conn, batch_id)
            samples = {one.id: [_masked(row) for row in packages.sample_rows(conn, one.id, _SAMPLES)] for one in live}
        shown, problem = None, ""
        try:
            shown = dossier(desk.settings, desk.registry, batch_id)
        except Conflict as conflict:  # reopened, or not all of it is packed: nothing to approve yet
            problem = str(conflict)
        runs, silent = _runs(desk, request, chosen)
        prepared = said[-1] if said and said[-1]["decision"] == "prepared" else None
        return desk.show(
            request, "approval", batch=chosen, found=shown, problem=problem, packages=live, samples=samples,
            said=said, decisions=_DECISIONS, states=PACKAGES, paper=PAPER, runs=runs, silent=silent, prepared=prepared,
            two=desk.settings.two_person == "yes", exams=desk.tables.exams,
            may_answer=shown is not None and any(one.state == "BUILT" for one in live) and person.may(APPROVER),
            to_send=shown is not None and shown["approved_by"]
            and any(one.state in ("APPROVED", "SENDING") for one in live),
        )  # fmt: skip

    @router.post("/approvals/{batch_id:int}/answer")
    def answer(
        request: Request,
        person: Annotated[Person, approver],
        batch_id: int,
        choice: Annotated[Literal["approve", "reject"], Form()],
        digest: Annotated[str, Form()],
        *,
        reason: Annotated[str, Form()] = "",
    ) -> RedirectResponse:
        chosen, actor = _batch(desk, batch_id), desk.actor(person)
        if choice == "reject":
            reject(desk.registry, batch_id, person.name, reason[:500], actor, digest=digest)
            settled = True
        else:
            approve(
                desk.registry, batch_id, person.name, actor, reason=reason[:500], digest=digest, settings=desk.settings
            )
            settled = gate(desk.settings, desk.registry, batch_id).approved_by is not None
        if settled and desk.airflow is not None:
            # The answer stands in the ledger; the page shows that nothing runs, with the button that starts it.
            with suppress(Conflict, TransferError):
                _go_on(desk.airflow.as_person(request), chosen, choice)
        return desk.to(request, f"/approvals/{batch_id}")

    @router.post("/approvals/{batch_id:int}/packages/{package_id:int}")
    def resolve(
        request: Request,
        person: Annotated[Person, either],
        batch_id: int,
        package_id: int,
        arrived: Annotated[Literal["yes", "no"], Form()],
        *,
        reason: Annotated[str, Form()],
    ) -> RedirectResponse:
        with desk.registry.read() as conn:
            package = packages.package(conn, package_id)
        if package is None or package.batch_id != batch_id:
            raise HTTPException(404)
        if not reason.strip():
            raise Conflict("请写明依据，如与上级何人、何时核对")
        resolve_unknown(
            desk.registry, package_id, delivered=arrived == "yes", by=person.name, reason=reason[:500],
            actor=desk.actor(person),
        )  # fmt: skip
        return desk.to(request, f"/approvals/{batch_id}")

    return router


def _batch(desk: Desk, batch_id: int) -> Batch:
    with desk.registry.read() as conn:
        found = packages.batch(conn, batch_id) if batch_id < 1 << 62 else None  # PostgreSQL counts no further
    if found is None:
        raise HTTPException(404, "没有这个批次")
    return found


def _go_on(api: AsPerson, batch: Batch, choice: str) -> None:
    """Answer the runs that wait; with a yes and no run at all under way, start one.

    A run that has not asked yet finds the answer in the ledger; two that send one package get in each other's way.
    """
    api.wake(SEND)
    told = api.answer(SEND, batch.month, batch.number, YES if choice == "approve" else NO)
    under_way = told or not all(run.over for run in runs_of(api, SEND, batch.month, batch.number))
    if choice == "approve" and not under_way:
        api.start(SEND, {"month": batch.month, "batch": batch.number})


def _runs(desk: Desk, request: Request, batch: Batch) -> tuple[list[Any], bool]:
    """Runs that send this batch, and whether Airflow was silent about them."""
    if desk.airflow is None:
        return [], True
    try:
        return runs_of(desk.airflow.as_person(request), SEND, batch.month, batch.number), False
    except (Conflict, TransferError):
        return [], True


def _masked(row: PackRow) -> Mapping[str, str]:
    """One row as a page may show it to whoever approves."""
    return {
        "record": row.record_id, "name": mask_name(row.values["KSXM"]), "id_number": mask_id(row.values["ZJHM"]),
        "level": row.values["BKJB"], "specialty": row.values["BKZY"], "approved_on": row.values["PZRQ"],
        "city": row.values["BMS"], "photo": "有" if row.photo else "—",
    }  # fmt: skip

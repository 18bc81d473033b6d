"""Starting what the board asks for, and one page that shows a run to its end."""

import re
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from certflow.desk.airflow import AsPerson, Run, Task
from certflow.desk.desk import Desk, Link
from certflow.desk.people import Person
from certflow.dispatch.approve import gate
from certflow.errors import Conflict
from certflow.logins import APPROVER, OPERATOR, VIEWER
from certflow.month import Month
from certflow.registry import packages
from certflow.registry.ledger import note

LINKS: tuple[Link, ...] = ()
SEND = "month_end_send"
YES, NO = "批准", "退回"
"""Options of the question that `month_end_send` asks."""
STATES = {
    "success": ("✓ 完成", "good"), "failed": ("✗ 失败", "bad"), "upstream_failed": ("✗ 前面失败，没有做", "bad"),
    "running": ("… 正在做", "sent"), "queued": ("排队", ""), "scheduled": ("排队", ""), "": ("还没有轮到", ""),
    "skipped": ("不需要做", ""), "awaiting_input": ("等待批准", "wait"), "up_for_retry": ("稍后自动重试", "wait"),
    "restarting": ("重新开始", "wait"), "deferred": ("等待", "wait"), "removed": ("不需要做", ""),
}  # fmt: skip
"""State of a run or a task in Airflow → words and look."""


def routes(desk: Desk) -> APIRouter:
    """One order a route; each leads to the page of its run."""
    router = APIRouter()
    viewer, operator = desk.may(VIEWER, province=True), desk.may(OPERATOR)
    sender = desk.may(OPERATOR, APPROVER)

    @router.post("/cities/{account}/intake")
    def intake(request: Request, person: Annotated[Person, operator], account: str) -> RedirectResponse:
        desk.own_city(person, account)
        return _start(desk, request, person, "submission_intake", city=account)

    @router.post("/months/{month}/prepare")
    def prepare(request: Request, person: Annotated[Person, operator], month: str) -> RedirectResponse:
        return _start(desk, request, person, "month_end_prepare", month=str(month_of(month)))

    @router.post("/approvals/{batch_id:int}/send")
    def send(request: Request, person: Annotated[Person, sender], batch_id: int) -> RedirectResponse:
        with desk.registry.read() as conn:
            batch = packages.batch(conn, batch_id) if batch_id < 1 << 62 else None  # PostgreSQL counts no further
        if batch is None:
            raise HTTPException(404)
        approved = gate(desk.settings, desk.registry, batch_id).approved_by is not None
        if approved and _api(desk, request).answer(SEND, batch.month, batch.number, YES):
            return desk.to(request, f"/approvals/{batch_id}")  # a run still waited for the answer that the ledger has
        return _start(desk, request, person, SEND, month=batch.month, batch=batch.number)

    @router.get("/runs/{dag_id}/{run_id}")
    def run(request: Request, _person: Annotated[Person, viewer], dag_id: str, run_id: str) -> HTMLResponse:
        api = _api(desk, request)
        found, tasks = api.run(dag_id, run_id), api.tasks(dag_id, run_id, limit=300)
        with desk.registry.read() as conn:
            batches = packages.batches_of(conn, found.month) if found.month else []
        wanted = [one for one in batches if found.batch in (None, one.number)]
        return desk.show(
            request, "run", run=found, tasks=_steps(tasks), states=STATES, batch=wanted[-1] if wanted else None,
            paused=found.state == "queued", failed=any(one.state == "failed" for one in tasks),
        )  # fmt: skip

    return router


def month_of(text: str) -> Month:
    """The month of an address, or 404 in words."""
    try:
        return Month.parse(text)
    except ValueError:
        raise HTTPException(404, "没有这个月份：申报年月写成六位数字，如 202005") from None


def runs_of(api: AsPerson, dag_id: str, month: str, batch: int) -> list[Run]:
    """The runs of a DAG about one batch, the newest first."""
    return [run for run in api.runs(dag_id) if (run.month, run.batch or 0) == (month, batch)]


def _api(desk: Desk, request: Request) -> AsPerson:
    if desk.airflow is None:
        raise Conflict("工作台没有连上 Airflow")
    return desk.airflow.as_person(request)


def _start(desk: Desk, request: Request, person: Person, dag_id: str, **conf: object) -> RedirectResponse:
    run_id = _api(desk, request).start(dag_id, conf)
    with desk.registry.begin(desk.actor(person)) as conn:
        note(conn, "start run", dag=dag_id, run=run_id, **conf)
    return desk.to(request, f"/runs/{dag_id}/{quote(run_id, safe='')}")


def _steps(tasks: list[Task]) -> list[tuple[str, str, int, list[Task]]]:
    """Tasks by title and state in the order in which they began: title, state, how many, those with a label."""
    found: dict[tuple[str, str], list[Task]] = {}
    begun = sorted(tasks, key=lambda one: (one.began is None, one.began.timestamp() if one.began else 0.0))
    for task in begun:
        found.setdefault((task.title, task.state), []).append(task)
    return [
        (title, state, len(alike), [one for one in alike if re.fullmatch(r"\w+", one.label)])
        for (title, state), alike in found.items()
    ]

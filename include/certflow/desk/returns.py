"""What the authority sent back: a file is previewed, applied, taken back or dismissed; what stays open is told."""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi import Path as FromPath
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from certflow import vault
from certflow.checks.returned import return_judge
from certflow.desk.desk import Desk, Link
from certflow.desk.people import Person
from certflow.errors import Conflict
from certflow.logins import OPERATOR, VIEWER
from certflow.registry import reprints
from certflow.registry.ledger import Actor
from certflow.returns import answers, words
from certflow.returns.ageing import level, missing
from certflow.returns.apply import apply, receive
from certflow.returns.reconcile import Reconciliation, existing, preview, reconcile, report
from certflow.returns.undo import dismiss, undo

T = TypeVar("T")
Number = Annotated[int, FromPath(le=1 << 62)]
"""Of a return; PostgreSQL counts no further."""
LINKS = (Link("/returns", "上级返回"),)
MOST = 16 << 20
"""Bytes of a file that is brought in over a page: some 100 000 lines."""
CARRIED = MOST * 4 // 3 + (64 << 10)
"""Bytes of the form that carries a previewed file."""
_SHOWN = 200


def routes(desk: Desk) -> APIRouter:  # noqa: C901 (one nested function per route)
    """The returns, one of them, the preview of a file, and the four things one can do."""
    router = APIRouter()
    viewer, operator = desk.may(VIEWER, province=True), desk.may(OPERATOR, province=True)

    @router.get("/returns")
    def listed(request: Request, _person: Annotated[Person, viewer]) -> HTMLResponse:
        with desk.registry.read() as conn:
            found = reprints.every(conn)[::-1]
        late = [(one, level(desk.settings, one.age_days)) for one in missing(desk.registry)]
        late.sort(key=lambda pair: -pair[0].age_days)
        return desk.show(
            request, "returns", found=found[:_SHOWN], total=len(found), late=late[:_SHOWN], words=words,
            most=MOST >> 20,
        )  # fmt: skip

    @router.get("/returns/{number}")
    def one_return(request: Request, _person: Annotated[Person, viewer], number: Number) -> HTMLResponse:
        with desk.registry.read() as conn:
            try:
                found = report(conn, existing(reprints.find(conn, number), number))
            except Conflict:
                raise HTTPException(404, "没有这个返回文件") from None
        return show(request, found)

    # The two forms with a file read their body themselves: nobody's file is taken in before it is known whose it is.

    @router.post("/returns/preview")
    async def look(request: Request, person: Annotated[Person, operator]) -> HTMLResponse:
        async with request.form(max_files=1, max_fields=4) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise HTTPException(400, "请选择一个返回文件")
            name, data = _plain(file.filename or ""), await file.read(MOST + 1)
        if len(data) > MOST:
            raise HTTPException(413, f"文件超过 {MOST >> 20} MB，请用 certflow returns apply 入账")
        found = await run_in_threadpool(
            _with_file, desk.settings.work, name, data, lambda path: _preview(desk, path, desk.actor(person))
        )
        return show(request, found, name=name, data=data)

    @router.post("/returns")
    async def take(request: Request, person: Annotated[Person, operator]) -> Response:
        async with request.form(max_files=0, max_fields=6, max_part_size=CARRIED) as form:
            name, data = _plain(str(form.get("name", ""))), _carried(form.get("content"), form.get("sha256"))
        actor = desk.actor(person)
        number = await run_in_threadpool(
            _with_file, desk.settings.work, name, data, lambda path: receive(desk.settings, desk.registry, path, actor)
        )
        await run_in_threadpool(_apply, desk, number, actor)
        return desk.to(request, f"/returns/{number}")

    @router.post("/returns/{number}/again")
    def again(request: Request, person: Annotated[Person, operator], number: Number) -> Response:
        _apply(desk, number, desk.actor(person))
        return desk.to(request, f"/returns/{number}")

    @router.post("/returns/{number}/undo")
    def take_back(
        request: Request, person: Annotated[Person, operator], number: Number, reason: Annotated[str, Form()] = ""
    ) -> Response:
        undo(desk.registry, number, by=person.name, reason=reason[:500], actor=desk.actor(person))
        answers.write(desk.settings, desk.registry)
        return desk.to(request, f"/returns/{number}")

    @router.post("/returns/{number}/dismiss")
    def send_back(
        request: Request, person: Annotated[Person, operator], number: Number, reason: Annotated[str, Form()] = ""
    ) -> Response:
        dismiss(desk.registry, number, by=person.name, reason=reason[:500], actor=desk.actor(person))
        return desk.to(request, f"/returns/{number}")

    def show(request: Request, found: Reconciliation, *, name: str = "", data: bytes = b"") -> HTMLResponse:
        carried: dict[str, Any] = {"name": name, "content": "", "sha256": ""}
        if data and found.state in ("RECONCILED", "RECEIVED"):
            carried |= {"content": base64.b64encode(data).decode(), "sha256": hashlib.sha256(data).hexdigest()}
        return desk.show(
            request, "return", found=found, preview=bool(data) and not found.return_id, carried=carried, words=words,
            doubts=found.doubts[:_SHOWN], left=max(0, len(found.doubts) - _SHOWN), cities=desk.tables.cities,
        )  # fmt: skip

    return router


def _preview(desk: Desk, path: Path, actor: Actor) -> Reconciliation:
    return preview(desk.settings, desk.registry, path, actor, judge=return_judge(desk.settings))


def _apply(desk: Desk, number: int, actor: Actor) -> None:
    """Read, sort and apply a received return, and write what the cities are told; what cannot be applied waits."""
    found = reconcile(desk.settings, desk.registry, number, actor, judge=return_judge(desk.settings))
    if found.state == "RECONCILED":
        apply(desk.settings, desk.registry, number, actor)
    answers.write(desk.settings, desk.registry)


def _with_file(work_folder: Path, name: str, data: bytes, work: Callable[[Path], T]) -> T:
    """Do something with an uploaded file that has the name the authority gave it; gone afterwards."""
    with vault.shelf(work_folder) as shelf:
        path = Path(shelf) / name
        vault.write_bytes(path, data)
        return work(path)


def _plain(name: str) -> str:
    """The file's own name, whatever folders a browser or somebody else puts before it."""
    last = re.split(r"[\\/]", name)[-1].strip()
    if not last.strip(".") or not last.isprintable() or len(last.encode("utf-8", "replace")) > 200:
        raise HTTPException(400, "文件名不能使用，请用上级给出的文件名")
    return last


def _carried(content: object, digest: object) -> bytes:
    try:
        data = base64.b64decode(str(content or ""), validate=True)
    except binascii.Error:
        data = b""
    if not data or hashlib.sha256(data).hexdigest() != digest:
        raise HTTPException(400, "没有收到预览过的文件，请重新预览")
    return data

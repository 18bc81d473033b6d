"""A zip is dropped, the verdict comes back, nothing is stored: what the city would be told, before it sends."""

import shutil
from pathlib import Path
from threading import Lock
from typing import Annotated

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from certflow import vault
from certflow.checks import suites
from certflow.checks.run import check
from certflow.desk.desk import Desk, Link
from certflow.desk.people import Person
from certflow.errors import Busy
from certflow.intake.submission import Received
from certflow.logins import VIEWER

LINKS = (Link("/trial", "试检", province=False),)
_FILES = 4
"""Files of one trial: a zip with the workbook and one with its photos belong together."""
_FINDINGS = 500


def routes(desk: Desk) -> APIRouter:
    """The form and the verdict."""
    router = APIRouter()
    viewer = desk.may(VIEWER)
    turn = Lock()

    @router.get("/trial")
    def form(request: Request, _person: Annotated[Person, viewer]) -> HTMLResponse:
        return desk.show(request, "trial", found=None)

    @router.post("/trial")
    async def verdict(request: Request, person: Annotated[Person, viewer]) -> HTMLResponse:
        if not turn.acquire(blocking=False):  # a large file takes minutes and all of a processor
            raise Busy("另一个人正在试检，请稍后再试")
        try:
            async with request.form(max_files=_FILES, max_fields=2) as form:
                files = [one for one in form.getlist("file") if isinstance(one, UploadFile) and one.filename]
                if not files:
                    raise HTTPException(400, "请选择要试检的压缩包")
                found = await run_in_threadpool(_judge, desk, person, files)
        finally:
            turn.release()
        titles = {rule.code: rule.title for rule in suites.load(desk.settings)}
        return desk.show(request, "trial", found=found, titles=titles, most=_FINDINGS)

    return router


def _judge(desk: Desk, person: Person, files: list[UploadFile]) -> list[dict[str, object]]:
    """The verdicts as ``certflow check --json`` gives them, masked; the files are gone afterwards."""
    received = []
    with vault.shelf(desk.settings.work) as shelf:
        for number, one in enumerate(files):
            path = Path(shelf) / f"{number}.zip"
            with vault.create(path) as stream:
                shutil.copyfileobj(one.file, stream, 1 << 20)
            name = (one.filename or "").replace("\\", "/").rpartition("/")[2]
            received.append(Received(path, name, vault.sha256(path), vault.size(path), person.account or None))
        names = {one.path: one.name for one in received}
        judged = check(received, desk.settings, desk.tables, registry=desk.registry)
        return [
            one.as_json(rows=False, unmasked=False) | {"file": names.get(one.submission.files[0].path, "")}
            for one in judged
        ]

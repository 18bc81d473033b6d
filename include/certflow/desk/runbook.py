"""The run book (``docs/runbook.zh-CN.md``) as a page of the desk, so that a failure leads to its section."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse
from markdown_it import MarkdownIt

from certflow.airflow_home import checkout
from certflow.desk.desk import Desk, Link
from certflow.desk.people import Person
from certflow.logins import VIEWER

LINKS = (Link("/runbook", "手册"),)


def routes(desk: Desk) -> APIRouter:
    """The whole run book; its anchors are its sections."""
    router = APIRouter()
    viewer = desk.may(VIEWER, province=True)

    @router.get("/runbook")
    def runbook(request: Request, _person: Annotated[Person, viewer]) -> HTMLResponse:
        file = checkout() / "docs" / "runbook.zh-CN.md"
        if not file.is_file():
            raise HTTPException(404, "安装中没有运维手册：见源码的 docs/runbook.zh-CN.md")
        # Its own HTML is nothing but anchors, and the file is ours.
        text = MarkdownIt("commonmark", {"html": True}).enable("table").render(file.read_text(encoding="utf-8"))
        return desk.show(request, "runbook", text=text)

    return router

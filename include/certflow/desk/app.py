"""The desk as one FastAPI app: behind a login whichever way it is mounted, every page a module of its own."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from fastapi import FastAPI

from certflow.desk import (
    approvals,
    board,
    cities,
    deliveries,
    exams,
    failures,
    holds,
    proofs,
    quality,
    returns,
    runbook,
    runs,
    story,
    trial,
)
from certflow.desk.airflow import Airflow
from certflow.desk.desk import Desk
from certflow.reference import load_reference
from certflow.registry.ledger import Registry
from certflow.settings import Settings
from certflow.webpages import guard

_PAGES: tuple[ModuleType, ...] = (
    board, holds, approvals, failures, cities, exams, story, returns, proofs, deliveries, quality, trial, runbook, runs,
)  # fmt: skip
"""Each with ``LINKS`` for the navigation and ``routes(desk)``; in the order of the navigation."""

_FORM = 256 << 10
"""Bytes of a form without a file, at most."""


def create_app(
    settings: Settings,
    registry: Registry,
    login: Callable[..., Any],
    *,
    airflow: Airflow | None = None,
    sign_in: str = "",
    sign_out: str = "",
) -> FastAPI:
    """The desk for whom `login` names (a dependency giving the `Person`, or 401); `airflow` lets pages run things.

    `sign_in`: where a person without login is sent, as an address that the quoted address of the page is appended to.
    `sign_out`: where somebody goes who leaves.
    """
    desk = Desk(settings, registry, load_reference(settings), login, airflow, sign_out=sign_out)
    app = FastAPI(title="工作台", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[desk.entrance()])
    files = {"/trial": settings.limits.archive_bytes, "/returns/preview": returns.CARRIED, "/returns": returns.CARRIED}
    guard(app, desk.pages, body_bytes=_FORM, larger=files, sign_in=sign_in)
    for page in _PAGES:
        desk.links += page.LINKS
        app.include_router(page.routes(desk))
    return app

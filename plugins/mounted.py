"""An app that is mounted into Airflow's API server and built when it is first asked."""

import logging
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send


class Mounted:
    """An app that is built when it is first asked: every process of Airflow reads the plugins, one serves pages."""

    def __init__(self, build: "Callable[[], ASGIApp]") -> None:
        self._build, self._lock = build, Lock()
        self._app: ASGIApp | None = None

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Hand the request on; 503 while the app cannot be built, and the next request tries again."""
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import PlainTextResponse

        from certflow.errors import CertflowError

        try:
            app = self._app or await run_in_threadpool(self._ready)
        except CertflowError as error:
            logging.getLogger(__name__).error("the pages cannot be opened: %s", error)  # noqa: TRY400 (it says all)
            await PlainTextResponse("页面暂时打不开，请稍后再试", 503)(scope, receive, send)
            return
        await app(scope, receive, send)

    def _ready(self) -> "ASGIApp":
        with self._lock:
            self._app = self._app or self._build()
        return self._app

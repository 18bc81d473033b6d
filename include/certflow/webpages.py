"""What every app of pages shares: the guard before its routes, errors answered in words, pages out of templates.

No script, nothing from elsewhere, nothing kept by a browser; forms are accepted from our own pages alone, and a body
is measured before anybody reads it.
"""

import datetime as dt
import logging
import secrets
import traceback
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote, urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader
from starlette.exceptions import HTTPException as AnyHTTPException

from certflow.errors import Busy, CertflowError, Conflict, SubmissionError
from certflow.lists import told
from certflow.month import SHANGHAI

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'nonce-{nonce}'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
_FAILED = "系统出错，未能完成；请稍后再试，仍然如此请把时间告诉管理员，原因记在日志里"
_PLACES = 8
"""Of an error nobody foresaw, how many of the innermost places are logged."""
_WORDS = {401: "请先登录", 403: "没有权限", 404: "没有这个页面", 405: "没有这个页面"}


_log = logging.getLogger(__name__)


class Pages:
    """Templates of one app, in one folder; ``message.html`` among them is shown with ``text`` and ``sign_in``.

    `frame` gives what every page of the app shows besides its own values, errors included.
    """

    def __init__(
        self,
        folder: Path,
        *,
        filters: Mapping[str, Callable[..., object]] | None = None,
        frame: Callable[[Request], Mapping[str, object]] = lambda _request: {},
    ) -> None:
        self._frame = frame
        loader = FileSystemLoader(folder)
        self._environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
        self._environment.filters.update(filters or {})

    def show(self, request: Request, name: str, *, status: int = 200, **values: object) -> HTMLResponse:
        """The template ``<name>.html``; it also knows ``root`` (path of the app), ``now`` and ``nonce``."""
        root = request.scope.get("root_path", "").rstrip("/")
        now = f"{dt.datetime.now(SHANGHAI):%Y-%m-%d %H:%M}"
        template = self._environment.get_template(f"{name}.html")
        shared = {"root": root, "now": now, "nonce": request.state.nonce, **self._frame(request)}
        html = template.render(shared | values)
        return HTMLResponse(html, status_code=status)


def guard(
    app: FastAPI,
    pages: Pages,
    *,
    body_bytes: int,
    larger: Mapping[str, int] = MappingProxyType({}),
    sign_in: str = "",
) -> None:
    """Put the guard before every route of the app and answer every error with a page.

    No body may have more than `body_bytes`, but for the paths in `larger`: a form is taken in before its route asks for
    a login, so only routes that read their body themselves stand there. `sign_in`: where a person without login is
    sent, as an address that the quoted address of the page is appended to.
    """

    @app.middleware("http")
    async def look(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        response: Response
        request.state.nonce = secrets.token_urlsafe(16)
        asks = request.method in ("GET", "HEAD")
        size = request.headers.get("content-length", "0" if asks else "")
        if not asks and not _from_ourselves(request):
            response = pages.show(request, "message", status=403, text="请从本系统的页面提交")
        elif not size.isdecimal():  # a body of unknown length would be taken in whole before anybody is asked
            response = pages.show(request, "message", status=411, text="提交的内容须注明长度")
        elif int(size) > (most := larger.get(_path(request), body_bytes)):
            response = pages.show(request, "message", status=413, text=f"提交的内容超过 {_size(most)}")
        else:
            try:
                response = await go_on(request)
            except Exception as error:  # noqa: BLE001 (nobody foresaw it; whoever waits is told in words all the same)
                _log.error("page failed: %s", _where(error))
                response = pages.show(request, "message", status=500, text=_FAILED)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value.replace("{nonce}", request.state.nonce))
        return response

    @app.exception_handler(CertflowError)
    async def explain(request: Request, error: CertflowError) -> Response:
        status = 503 if isinstance(error, Busy) else 400 if isinstance(error, Conflict | SubmissionError) else 500
        text = (
            told(error) if isinstance(error, SubmissionError) else str(error) if status < 500 else "系统忙，请稍后再试"
        )
        return pages.show(request, "message", status=status, text=text)

    @app.exception_handler(AnyHTTPException)
    async def turn_away(request: Request, error: AnyHTTPException) -> Response:
        ours = error.detail and not error.detail.isascii()
        text = error.detail if ours else _WORDS.get(error.status_code, "请求无效")
        back = f"{sign_in}{quote(request.url.path, safe='')}" if sign_in and error.status_code == 401 else ""
        response = pages.show(request, "message", status=error.status_code, text=text, sign_in=back)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    async def refuse(request: Request, _error: RequestValidationError) -> Response:
        return pages.show(request, "message", status=400, text="提交的内容不完整")


def _where(error: Exception) -> str:
    """What kind of error it is and where it happened, the innermost place first; no value of it."""
    places = traceback.extract_tb(error.__traceback__)[-_PLACES:]
    return " < ".join([type(error).__name__, *(f"{one.name} ({one.filename}:{one.lineno})" for one in places[::-1])])


def _path(request: Request) -> str:
    return request.url.path.removeprefix(request.scope.get("root_path", "").rstrip("/"))


def _size(most: int) -> str:
    return f"{most >> 20} MB" if most >> 20 else f"{most >> 10} KB"


def _from_ourselves(request: Request) -> bool:
    """Whether a form was sent by a page of this service (or by a program, which no foreign page can steer)."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")

"""Where somebody says who they are: the page of the login, and the same for programs that use Airflow's API.

Airflow mounts this app at ``/auth`` for its login manager. Wrong passwords are counted like wrong guesses at the
verification pages (`certflow.verify.limits`), names that do not exist all on one count.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Body, FastAPI, Form, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from certflow.desk.people import Person
from certflow.logins import Login, logins, recognise
from certflow.registry.ledger import Actor, Registry, note
from certflow.settings import Settings
from certflow.verify.limits import Slowed, take_turn
from certflow.webpages import Pages, guard

_BODY = 16 << 10
"""Bytes of a login form, at most."""
_WRONG = "用户名或口令不对"


@dataclass(frozen=True, slots=True)
class Ticket:
    """How a login is remembered: `write` makes the token; cookie's name and path, and whether it is for HTTPS only."""

    write: Callable[[Login], str]
    cookie: str
    path: str
    https: bool


def create_app(settings: Settings, registry: Registry, ticket: Ticket, *, home: str) -> FastAPI:
    """The login; `home` is the path somebody comes to who did not say where they want to go."""
    app = FastAPI(title="登录", docs_url=None, redoc_url=None, openapi_url=None)
    nobody = {"person": Person("", frozenset()), "links": (), "sign_out": ""}
    pages = Pages(Path(__file__).with_name("pages"), frame=lambda _request: nobody)
    guard(app, pages, body_bytes=_BODY)

    def enter(name: str, password: str) -> Login | None:
        """Slowed after too many wrong passwords; a right one is put on record."""
        known = name if name in logins(settings) else ""
        actor = Actor(known or "login")
        turn = take_turn(registry, actor, f"login:{known or '?'}")
        login = recognise(settings, name, password)
        if login is not None:
            turn.met()
            with registry.begin(actor) as conn:
                note(conn, "signed-in")
        return login

    def page(request: Request, wanted: str, problem: str = "", status: int = 200, typed: str = "") -> Response:
        wanted = _within(wanted, home)
        return pages.show(request, "sign_in", status=status, wanted=wanted, problem=problem, typed=typed)

    @app.exception_handler(Slowed)
    async def slow_down(request: Request, error: Slowed) -> Response:
        response = page(request, home, f"连续多次口令不对，请 {max(1, error.seconds // 60)} 分钟后再试", 429)
        response.headers["Retry-After"] = str(error.seconds)
        return response

    @app.get("/login")
    def ask(request: Request, wanted: Annotated[str, Query(alias="next")] = "") -> Response:
        return page(request, wanted)

    @app.post("/login")
    def sign_in(
        request: Request, username: Annotated[str, Form()] = "", password: Annotated[str, Form()] = "",
        wanted: Annotated[str, Form(alias="next")] = "",
    ) -> Response:  # fmt: skip
        login = enter(username.strip(), password)
        if login is None:
            return page(request, wanted, _WRONG, 401, username)
        response = RedirectResponse(_within(wanted, home), 303)
        https = ticket.https or request.base_url.scheme == "https"
        response.set_cookie(
            ticket.cookie, ticket.write(login), path=ticket.path, secure=https, httponly=True, samesite="lax"
        )
        return response

    @app.post("/token")
    def token(username: Annotated[str, Body()], password: Annotated[str, Body()]) -> Response:
        login = enter(username, password)
        if login is None:
            return JSONResponse({"detail": _WRONG}, 401)
        return JSONResponse({"access_token": ticket.write(login)}, 201)

    return app


def _within(wanted: str, home: str) -> str:
    """The wanted address as a path of this server: nobody is led elsewhere."""
    parts = urlsplit(wanted.replace("\\", "/"))
    if not parts.path.startswith("/") or parts.path.startswith("//"):
        return home
    return parts.path + (f"?{parts.query}" if parts.query else "")

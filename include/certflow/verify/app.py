"""The verification pages (FastAPI): a proof's code for whoever holds it, certificates for the cities' operators.

The app knows no login of its own: `create_app` is given a dependency that names the operator or answers 401, Airflow's
in the plugin and `operators` when it runs alone. With a `door` every route asks it first; without one the code check,
and it alone, is open to everybody. No script, nothing from elsewhere; forms are accepted from our own pages alone.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, File, Form, HTTPException, Request, Response, UploadFile
from fastapi.responses import HTMLResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from certflow.privacy import reference, reference_key
from certflow.proofs.codes import typed
from certflow.reference import load_reference
from certflow.registry.ledger import Registry
from certflow.settings import Settings
from certflow.verify import operators
from certflow.verify.certificates import FIELDS, LIST_BYTES, Counter, Operator
from certflow.verify.certificates import Request as Asked
from certflow.verify.limits import Slowed, take_turn
from certflow.verify.proofs import UNKNOWN, check_code
from certflow.webpages import Pages, guard

Login = Callable[..., Any]
"""A FastAPI dependency: gives the `Operator`, or raises HTTPException 401 (403 when the login has no city)."""

_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_BODY = LIST_BYTES + (64 << 10)


def create_app(  # noqa: C901 (one nested function per route)
    settings: Settings, registry: Registry, login: Login, *, door: Login | None = None, sign_in: str = ""
) -> FastAPI:
    """The service: the cities' pages ask `login` for the `Operator`; every route asks `door` first, where there is one.

    `sign_in`: where a person without login is sent, as an address that the quoted address of the page is appended to.
    """
    asked_by_all = [] if door is None else [Depends(door)]
    app = FastAPI(title="证书查询验证", docs_url=None, redoc_url=None, openapi_url=None, dependencies=asked_by_all)
    pages = Pages(Path(__file__).with_name("pages"))
    tables = load_reference(settings)
    who = Depends(login)

    def counter(operator: Annotated[Operator, who]) -> Counter:
        return Counter(settings, registry, tables, operator)

    def at_counter(request: Request, at: Counter, page: str, **values: Any) -> HTMLResponse:  # noqa: ANN401 (a template's)
        city = tables.cities.get(at.operator.account)
        return pages.show(
            request, page, here=f"/{page}", operator=at.operator, city=city.name if city else "", **values
        )

    AtCounter = Annotated[Counter, Depends(counter)]  # noqa: N806 (a type)

    guard(app, pages, body_bytes=_BODY, sign_in=sign_in)

    @app.exception_handler(Slowed)
    async def slow_down(request: Request, error: Slowed) -> Response:
        response = pages.show(request, "message", status=429, text=str(error))
        response.headers["Retry-After"] = str(error.seconds)
        return response

    @app.get("/")
    def home(request: Request) -> HTMLResponse:
        return pages.show(request, "code", here="/", code="", answer=None, asked=False)

    @app.post("/code")
    def code_form(
        request: Request, code: Annotated[str, Form()], name: Annotated[str, Form()] = "",
        id_number: Annotated[str, Form()] = "",
    ) -> HTMLResponse:  # fmt: skip
        return _code(request, code, name[:100], id_number[:50])

    @app.get("/certificate")
    def certificate_form(request: Request, at: AtCounter) -> HTMLResponse:
        return at_counter(request, at, "certificate", fields=FIELDS, answer=None, asker=Asked("", ""))

    @app.post("/certificate")
    async def certificate(request: Request, at: AtCounter) -> HTMLResponse:
        from starlette.concurrency import run_in_threadpool

        form = await request.form(max_files=0, max_fields=20)
        asked = {name: str(form.get(key, ""))[:200] for name, key in FIELDS.items()}
        who_asks = Asked(str(form.get("requester", "")), str(form.get("reason", "")))
        answer = await run_in_threadpool(at.verify, who_asks, asked)
        return at_counter(request, at, "certificate", fields=FIELDS, answer=answer, asker=who_asks)

    @app.post("/list")
    def certificate_list(
        at: AtCounter, requester: Annotated[str, Form()], reason: Annotated[str, Form()],
        file: Annotated[UploadFile, File()],
    ) -> Response:  # fmt: skip
        answer = at.verify_list(Asked(requester, reason), file.file.read(LIST_BYTES + 1))
        name = quote(f"核对结果-{answer.sha256[:12]}.xlsx")
        headers = {
            "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
            "X-Content-SHA256": answer.sha256,
        }
        return Response(answer.workbook, media_type=_XLSX, headers=headers)

    @app.get("/log")
    def log(request: Request, at: AtCounter) -> HTMLResponse:
        return at_counter(request, at, "log", lines=at.log())

    if door is None:

        @app.get("/{code}")
        def code_link(request: Request, code: str) -> HTMLResponse:
            """Where the QR code on a proof leads; not behind a door, where whoever serves may log addresses."""
            if typed(code) is None:  # what a browser asks for by itself (favicon.ico) is no guess
                raise HTTPException(404)
            return _code(request, code, "", "")

    def _code(request: Request, code: str, name: str, id_number: str) -> HTMLResponse:
        address = request.client.host if request.client else "?"
        subject = f"address:{reference(reference_key(settings), address)[:24]}"
        answer = check_code(settings, registry, subject, code[:64], name=name, id_number=id_number)
        return pages.show(
            request,
            "code",
            status=200 if answer else 404,
            here="/",
            code=code[:64],
            answer=answer,
            asked=True,
            unknown=UNKNOWN,
        )

    return app


def own_login(settings: Settings, registry: Registry) -> Login:
    """HTTP Basic against the service's own operators; wrong passwords are slowed like wrong guesses."""
    from certflow.registry.ledger import Actor

    ask = HTTPBasic(auto_error=False, realm="certflow")

    def login(request: Request, given: Annotated[HTTPBasicCredentials | None, Depends(ask)]) -> Operator:
        if given is not None:
            stored = operators.stored_digest(settings, given.username)
            # with what is stored: a removed login and an old password find nothing here
            key = hashlib.sha256(f"{given.username}\0{given.password}\0{stored}".encode()).digest()
            if (operator := known.get(key)) is not None:
                return operator
            address = request.client.host if request.client else "?"
            subject = f"login:{reference(reference_key(settings), f'{address} {given.username}')[:24]}"
            turn = take_turn(registry, Actor("verify:login"), subject)
            found = operators.recognise(settings, given.username, given.password)
            if found is not None:
                turn.met()
                known.clear()
                known[key] = found
                return found
        raise HTTPException(401, "请登录", {"WWW-Authenticate": 'Basic realm="certflow", charset="UTF-8"'})

    known: dict[bytes, Operator] = {}
    return login

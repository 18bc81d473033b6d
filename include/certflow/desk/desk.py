"""What every page of the desk is given: settings, ledger, tables, the template house, and who may come in."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from certflow.desk.airflow import Airflow
from certflow.desk.people import Person
from certflow.logins import VIEWER
from certflow.month import SHANGHAI, Month
from certflow.privacy import mask_text
from certflow.reference import Reference
from certflow.registry.ledger import Actor, Registry
from certflow.reports.counted import Counted
from certflow.settings import Settings
from certflow.webpages import Pages

Login = Callable[..., Any]
"""A FastAPI dependency: gives the `Person`, or raises HTTPException 401."""


@dataclass(frozen=True, slots=True)
class Link:
    """An entry of the navigation: where it leads, its words, and who sees it."""

    path: str
    words: str
    roles: tuple[str, ...] = (VIEWER,)
    province: bool = True
    """Not for a login of a single city."""


class Desk:
    """Given to every page module; `login` names the person or answers 401."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        tables: Reference,
        login: Login,
        airflow: Airflow | None,
        *,
        sign_out: str,
    ) -> None:
        self.settings, self.registry, self.tables, self.airflow = settings, registry, tables, airflow
        self.sign_out = sign_out
        filters = {"moment": moment, "masked": mask_text}
        self.pages = Pages(Path(__file__).with_name("pages"), filters=filters, frame=self._frame)
        self.links: list[Link] = []
        self.counted = Counted()
        self._login = login

    def show(self, request: Request, name: str, *, status: int = 200, **values: Any) -> HTMLResponse:  # noqa: ANN401 (a template's)
        """A page in the desk's frame; templates know ``person``, ``links`` and ``here`` besides what is given."""
        return self.pages.show(request, name, status=status, **values)

    def may(self, *roles: str, province: bool = False) -> Any:  # noqa: ANN401 (a FastAPI dependency)
        """The dependency of a route: gives the `Person`, or 403 when they can stand in for none of the roles.

        With `province` a login of a single city is turned away too.
        """

        def ask(request: Request) -> Person:
            person: Person = request.state.person
            if not person.may(*roles, province=province):
                raise HTTPException(403, "此登录没有这项权限，请管理员在 logins.toml 中写明它的角色")
            return person

        return Depends(ask)

    def own_city(self, person: Person, account: str) -> None:
        """404 when the city is not one of the table, or not the only one that the person sees."""
        if account not in self.tables.cities or person.account not in ("", account):
            raise HTTPException(404)

    def actor(self, person: Person) -> Actor:
        """Under whose name the ledger records what is done on a page."""
        return Actor(person.name)

    def to(self, request: Request, path: str) -> RedirectResponse:
        """After a form: the page to look at (Post/Redirect/Get)."""
        return RedirectResponse(request.scope.get("root_path", "").rstrip("/") + path, 303)

    def entrance(self) -> Any:  # noqa: ANN401 (a FastAPI dependency)
        """The dependency of the whole app: nobody goes on without a login, whoever goes on is known."""
        login = Depends(self._login)

        def enter(request: Request, person: Annotated[Person, login]) -> None:
            request.state.person = person

        return Depends(enter)

    def _frame(self, request: Request) -> dict[str, object]:
        person: Person = getattr(request.state, "person", Person("", frozenset()))
        links = [link for link in self.links if person.may(*link.roles, province=link.province)]
        path = request.url.path.removeprefix(request.scope.get("root_path", ""))
        here = max((link.path for link in links if _below(path, link.path)), key=len, default="")
        return {"person": person, "links": links, "here": here, "sign_out": self.sign_out}


def moment(at: dt.datetime | str | None) -> str:
    """A moment, or its ISO form, as people in Shanghai read it; "—" where there is none."""
    if isinstance(at, str):
        at = dt.datetime.fromisoformat(at)
    return "—" if at is None else f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"


def newest(known: Sequence[str]) -> Month:
    """The newest of these months (newest first) that has begun; a file may name one that has not."""
    begun = [month for month in known if month <= str(Month.of(dt.datetime.now(dt.UTC)))]
    return Month.parse((begun or known)[0])


def _below(path: str, link: str) -> bool:
    return path == link if link == "/" else path == link or path.startswith(f"{link}/")

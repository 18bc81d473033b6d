"""Airflow's logins: the people of ``logins.toml``, with the rights of their roles (``AIRFLOW__CORE__AUTH_MANAGER``).

| role | in Airflow |
|---|---|
| viewer, approver, operator, auditor, admin of the province | look at DAGs, runs, task logs, pools |
| operator | trigger, clear, mark, pause |
| approver | answer what a run asks; trigger and unpause the sending |
| auditor | look at the audit log, connections, variables, configuration too |
| admin | everything but answering what a run asks |
| whoever is of one city | nothing: their pages are the desk and the verification |

Roles are read anew for each request; a login that is taken out, or whose password is renewed, is out at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.app import AUTH_MANAGER_FASTAPI_APP_PREFIX, get_cookie_path
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN, BaseAuthManager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity
from airflow.api_fastapi.common.types import MenuItem
from airflow.configuration import conf
from jwt import ExpiredSignatureError

from certflow import passwords
from certflow.logins import ADMIN, APPROVER, AUDITOR, OPERATOR, Login, logins
from certflow.settings import Settings
from mounted import Mounted

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
    from fastapi import FastAPI
    from starlette.types import ASGIApp

SEND = "month_end_send"
"""The DAG that an approver may start."""
_SYSTEM = frozenset({AUDITOR, ADMIN})
"""Who looks at how Airflow itself is set up, and at its audit log."""
_OF_THE_SYSTEM = frozenset(
    {
        MenuItem.AUDIT_LOG,
        MenuItem.CONFIG,
        MenuItem.CONNECTIONS,
        MenuItem.PLUGINS,
        MenuItem.PROVIDERS,
        MenuItem.VARIABLES,
    }
)


class User(BaseUser):
    """Somebody logged in, as Airflow asks for them."""

    def __init__(self, login: Login) -> None:
        self.login = login
        self.roles = frozenset() if login.account else login.roles
        """Roles that count in Airflow: there is no Airflow of one city."""

    def get_id(self) -> str:
        """The login."""
        return self.login.name

    def get_name(self) -> str:
        """The login: it is what the ledger records."""
        return self.login.name


class CertflowLogin(BaseAuthManager[User]):
    """The manager that Airflow uses."""

    def __init__(self) -> None:
        super().__init__()
        self._settings = Settings.load()

    def serialize_user(self, user: User) -> dict[str, Any]:
        """What the token says: the login, and which password it came in by."""
        name = user.login.name
        return {"sub": name, "key": passwords.stamp(self._settings, name)}

    def deserialize_user(self, token: dict[str, Any]) -> User:
        """The login as the file has it now; one that is gone or has another password by now has to come in again."""
        name = token["sub"]
        login = logins(self._settings).get(name)
        if login is None or not token.get("key") or token["key"] != passwords.stamp(self._settings, name):
            raise ExpiredSignatureError("the login was taken out or its password renewed")
        return User(login)

    def get_url_login(self, **_more: object) -> str:
        """The page of `certflow.desk.sign_in`."""
        return f"{AUTH_MANAGER_FASTAPI_APP_PREFIX}/login"

    def get_fastapi_app(self) -> FastAPI | None:
        """The login's page and the tokens of programs, below ``/auth``."""
        return Mounted(self._pages)  # type: ignore[return-value] # it is mounted, nothing else

    def _pages(self) -> ASGIApp:
        from certflow.desk.sign_in import Ticket, create_app
        from certflow.privacy import install_log_masking
        from certflow.registry import open_registry

        install_log_masking()
        https = bool(conf.get("api", "ssl_cert", fallback="")) or conf.get("api", "base_url").startswith("https:")
        ticket = Ticket(lambda login: self.generate_jwt(User(login)), COOKIE_NAME_JWT_TOKEN, get_cookie_path(), https)
        home = get_cookie_path().rstrip("/") + "/desk/"
        return create_app(self._settings, open_registry(self._settings), ticket, home=home)

    def is_authorized_dag(
        self,
        *,
        method: str,
        user: User,
        access_entity: DagAccessEntity | None = None,
        details: DagDetails | None = None,
    ) -> bool:
        """DAGs, their runs, tasks, logs and questions."""
        if method == "GET":
            return bool(user.roles & _SYSTEM if access_entity is DagAccessEntity.AUDIT_LOG else user.roles)
        if access_entity is DagAccessEntity.HITL_DETAIL:
            return APPROVER in user.roles
        if ADMIN in user.roles:
            return True
        if method == "DELETE" or access_entity is DagAccessEntity.XCOM:
            return False
        sending = details is not None and details.id == SEND and access_entity in {None, DagAccessEntity.RUN}
        return OPERATOR in user.roles or (APPROVER in user.roles and sending)

    def is_authorized_configuration(self, *, method: str, user: User, **_details: object) -> bool:
        """Airflow's configuration."""
        return self._of_the_system(method, user)

    def is_authorized_connection(self, *, method: str, user: User, **_details: object) -> bool:
        """Connections; none of ours stands there."""
        return self._of_the_system(method, user)

    def is_authorized_variable(self, *, method: str, user: User, **_details: object) -> bool:
        """Variables; none of ours stands there."""
        return self._of_the_system(method, user)

    def is_authorized_pool(self, *, method: str, user: User, **_details: object) -> bool:
        """Pools."""
        return ADMIN in user.roles or (method == "GET" and bool(user.roles))

    def is_authorized_asset(self, *, method: str, user: User, **_details: object) -> bool:
        """Assets: what a month's move starts."""
        return ADMIN in user.roles or (method == "GET" and bool(user.roles))

    def is_authorized_asset_alias(self, *, method: str, user: User, **_details: object) -> bool:
        """Aliases of assets; we have none."""
        return self.is_authorized_asset(method=method, user=user)

    def is_authorized_view(self, *, access_view: AccessView, user: User) -> bool:
        """The frame of Airflow's pages and the links of its navigation are for whoever is logged in."""
        return bool(user.roles) or access_view in {AccessView.WEBSITE, AccessView.PLUGINS}

    def is_authorized_custom_view(self, *, method: str, user: User, **_resource: object) -> bool:
        """Views of other plugins."""
        return self._of_the_system(method, user)

    def filter_authorized_menu_items(self, menu_items: list[MenuItem], *, user: User) -> list[MenuItem]:
        """Nobody is shown a menu whose pages turn them away."""
        return [item for item in menu_items if (user.roles & _SYSTEM if item in _OF_THE_SYSTEM else user.roles)]

    @staticmethod
    def _of_the_system(method: str, user: User) -> bool:
        return bool(user.roles & (_SYSTEM if method == "GET" else {ADMIN}))

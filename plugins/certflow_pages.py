"""certflow's own pages inside Airflow: mounted into its API server, behind its login, linked in its navigation.

A route that a plugin mounts is open to everybody unless the plugin closes it. Here every route asks Airflow's own user
dependency first, and what a login may do beyond that stands in ``CERTFLOW_HOME/logins.toml`` (`certflow.logins`).
"""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

from mounted import Mounted

if TYPE_CHECKING:
    from starlette.types import ASGIApp

ROOT = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
"""Path below which Airflow itself is served."""
SIGN_IN = f"{ROOT}/api/v2/auth/login?next="
"""Airflow's login, which goes on to the quoted path behind it."""
SIGN_OUT = f"{ROOT}/api/v2/auth/logout"


def own_address() -> str:
    """Where this server reaches itself: its public name may lead to a proxy that is not reached from inside."""
    if conf.get("api", "ssl_cert", fallback=""):
        return str(conf.get("api", "base_url")).rstrip("/")  # the name its certificate is for
    host = str(conf.get("api", "host", fallback=""))
    host = host if host.strip("0.:") else "127.0.0.1"  # it listens on all of its addresses
    return f"http://{host}:{conf.getint('api', 'port', fallback=8080)}{ROOT}"


def verification() -> "ASGIApp":
    """The verification pages: every login of Airflow may check a code, the cities' verifiers certificates."""
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import Depends, HTTPException

    from certflow.logins import VERIFIER, logins
    from certflow.privacy import install_log_masking
    from certflow.registry import open_registry
    from certflow.settings import Settings
    from certflow.verify.app import create_app
    from certflow.verify.certificates import Operator

    install_log_masking()
    settings = Settings.load()

    def verifier(user: Annotated[BaseUser, Depends(get_user)]) -> Operator:
        known = logins(settings).get(user.get_name())
        if known is None or VERIFIER not in known.roles:
            raise HTTPException(403, "此登录没有现场核对的权限，请管理员在 logins.toml 中写明它的地市")
        return Operator(known.name, known.account)

    return create_app(settings, open_registry(settings), verifier, door=get_user, sign_in=SIGN_IN)


def desk() -> "ASGIApp":
    """The desk: what a login may do there, its line in ``logins.toml`` says."""
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import Depends

    from certflow.desk.airflow import Airflow
    from certflow.desk.app import create_app
    from certflow.desk.people import Person, person
    from certflow.logins import logins
    from certflow.privacy import install_log_masking
    from certflow.registry import open_registry
    from certflow.settings import Settings

    install_log_masking()
    settings = Settings.load()

    def known(user: Annotated[BaseUser, Depends(get_user)]) -> Person:
        return person(logins(settings).get(user.get_name()), user.get_name())

    return create_app(
        settings, open_registry(settings), known, airflow=Airflow(own_address()), sign_in=SIGN_IN, sign_out=SIGN_OUT
    )


class CertflowPages(AirflowPlugin):
    """What Airflow mounts and shows in its navigation."""

    name = "certflow"
    fastapi_apps: ClassVar[list[Any]] = [
        {"name": "工作台", "app": Mounted(desk), "url_prefix": "/desk"},
        {"name": "查询验证", "app": Mounted(verification), "url_prefix": "/verify"},
    ]
    external_views: ClassVar[list[Any]] = [
        {"name": "工作台", "href": f"{ROOT}/desk/", "destination": "nav"},
        {"name": "查询验证", "href": f"{ROOT}/verify/", "destination": "nav"},
    ]

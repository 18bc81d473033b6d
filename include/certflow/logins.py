"""What a login of Airflow may do on certflow's own pages: a file the operator writes, ``CERTFLOW_HOME/logins.toml``.

::

    [wanghong]                       # as Airflow knows the person; in quotes where it has dots: ["wang@city"]
    roles = ["verifier"]             # 各市现场核对
    account = "370100"               # the only city this login sees

Who a person is, Airflow says; this file only says what that person may do here. A login that does not stand in it
may do nothing. The file is read anew for every question, so a line taken out counts at once.
"""

import tomllib
from dataclasses import dataclass

from certflow.errors import ConfigurationError
from certflow.settings import Settings

VERIFIER = "verifier"
"""May verify certificates of the own city for employers (notice 三(二))."""
ROLES = frozenset({VERIFIER})
FILE = "logins.toml"


@dataclass(frozen=True, slots=True)
class Login:
    """A login with its roles, and the account of the only city it sees."""

    name: str
    roles: frozenset[str]
    account: str


def logins(settings: Settings) -> dict[str, Login]:
    """Every login of the file by its name; ConfigurationError names the line's login and what is wrong with it."""
    path = settings.path(FILE)
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{FILE} 不是正确的 TOML：{error}") from None
    return {name: _login(name, entry) for name, entry in sorted(found.items())}


def _login(name: str, entry: object) -> Login:
    if not isinstance(entry, dict) or set(entry) != {"roles", "account"}:
        raise ConfigurationError(f"{FILE} [{name}] 须有且只有 roles 和 account")
    roles, account = entry["roles"], entry["account"]
    if not isinstance(roles, list) or not roles or not set(map(str, roles)) <= ROLES:
        raise ConfigurationError(f"{FILE} [{name}] roles 须为列表，可选：{'、'.join(sorted(ROLES))}")
    if not isinstance(account, str) or not account:
        raise ConfigurationError(f'{FILE} [{name}] account 须为地市账号，如 "370100"')
    return Login(name, frozenset(map(str, roles)), account)

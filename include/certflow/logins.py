"""What a login of Airflow may do on certflow's own pages: a file the operator writes, ``CERTFLOW_HOME/logins.toml``.

::

    [wanghong]                       # as Airflow knows the person; in quotes where it has dots: ["wang@city"]
    roles = ["viewer", "verifier"]   # 查看、现场核对
    account = "370100"               # the only city this login sees

    [liqiang]
    roles = ["operator"]             # the whole province: no account

Who a person is, Airflow says; this file only says what that person may do here (`ROLES`). A login that does not stand
in it may do nothing. The file is read anew for every question, so a line taken out counts at once.
"""

import tomllib
from dataclasses import dataclass

from certflow.errors import ConfigurationError
from certflow.settings import Settings

VERIFIER = "verifier"
"""May verify certificates of the own city for employers (notice 三(二)); always of one city."""
VIEWER = "viewer"
"""May look at the desk, personal data masked; of one city when an account stands beside it, else of all."""
OPERATOR = "operator"
"""Also decides holds, runs things again, applies and undoes returns; may see full values for a reason, on record."""
APPROVER = "approver"
"""Also approves batches or sends them back to assembly."""
AUDITOR = "auditor"
"""Looks at everything, full values for a reason and on record; changes nothing."""
OF_A_CITY = frozenset({VERIFIER, VIEWER})
"""Roles that an `account` may stand beside; all others are of the whole province."""
ROLES = OF_A_CITY | {OPERATOR, APPROVER, AUDITOR}
FILE = "logins.toml"


@dataclass(frozen=True, slots=True)
class Login:
    """A login with its roles, and the account of the only city it sees ("": the whole province)."""

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


def begin(settings: Settings, name: str) -> None:
    """Seat the login that `certflow up` makes at the desk; a file that is there already says what it says."""
    path = settings.path(FILE)
    if not path.exists():
        path.write_text(f'[{name}]\nroles = ["{OPERATOR}", "{APPROVER}"]\n', encoding="utf-8")


def _login(name: str, entry: object) -> Login:
    if not isinstance(entry, dict) or not {"roles"} <= set(entry) <= {"roles", "account"}:
        raise ConfigurationError(f"{FILE} [{name}] 须有 roles，可有 account，别无其他")
    roles, account = entry["roles"], entry.get("account", "")
    if not isinstance(roles, list) or not roles or not set(map(str, roles)) <= ROLES:
        raise ConfigurationError(f"{FILE} [{name}] roles 须为列表，可选：{'、'.join(sorted(ROLES))}")
    if not isinstance(account, str) or (not account and ("account" in entry or VERIFIER in roles)):
        raise ConfigurationError(f'{FILE} [{name}] account 须为地市账号，如 "370100"')
    if account and not set(roles) <= OF_A_CITY:
        raise ConfigurationError(f"{FILE} [{name}] 只属一个地市的登录只可有：{'、'.join(sorted(OF_A_CITY))}")
    return Login(name, frozenset(map(str, roles)), account)

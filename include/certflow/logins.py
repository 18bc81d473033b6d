"""Who may log in, and what a login may do, here and in Airflow: ``CERTFLOW_HOME/logins.toml``.

::

    [wanghong]                       # as Airflow knows the person; in quotes where it has dots: ["wang@city"]
    roles = ["viewer", "verifier"]   # 查看、现场核对
    account = "370100"               # the only city this login sees

    [liqiang]
    roles = ["operator"]             # the whole province: no account

The operator writes it, by hand or with `certflow logins`, which also gives the password (`certflow.passwords`). A login
that does not stand in it may do nothing. The file is read anew for every question, so a line taken out counts at once.
"""

import json
import os
import re
import secrets
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from certflow import passwords
from certflow.errors import ConfigurationError, Conflict
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
ADMIN = "admin"
"""Keeps Airflow: connections, variables, pools, deleting; approves nothing and has no place at the desk by it."""
OF_A_CITY = frozenset({VERIFIER, VIEWER})
"""Roles that an `account` may stand beside; all others are of the whole province."""
ROLES = OF_A_CITY | {OPERATOR, APPROVER, AUDITOR, ADMIN}
FILE = "logins.toml"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{1,63}")


@dataclass(frozen=True, slots=True)
class Login:
    """A login with its roles, and the account of the only city it sees ("": the whole province)."""

    name: str
    roles: frozenset[str]
    account: str


def logins(settings: Settings) -> dict[str, Login]:
    """Every login of the file by its name; ConfigurationError names the line's login and what is wrong with it."""
    return {name: _login(name, entry) for name, entry in sorted(_parse(_text(settings)).items())}


def begin(settings: Settings, name: str) -> str:
    """Seat the login that `certflow up` makes, and give its first password; "" where it has another by now.

    A file that is there already says what it says: a login that does not stand in it gets no password.
    """
    if not settings.path(FILE).exists():
        _write(settings, _block(name, (OPERATOR, APPROVER, ADMIN), ""))
    return passwords.first(settings, name) if name in logins(settings) else ""


def add(settings: Settings, name: str, roles: Sequence[str], account: str = "") -> str:
    """Write a new login into the file; gives its password, which is shown this once. Conflict when there is one."""
    if not _NAME.fullmatch(name):
        raise Conflict("登录名为 2 到 64 位字母、数字、点、横线、下划线或 @")
    if name in logins(settings):
        raise Conflict(f"已有登录 {name}；换口令请用 certflow logins password {name}")
    block = _block(name, tuple(dict.fromkeys(roles)), account)
    _login(name, _parse(block)[name])
    _write(settings, f"{_text(settings).rstrip()}\n\n{block}".lstrip())
    return passwords.renew(settings, name)


def remove(settings: Settings, name: str) -> None:
    """Take a login and its password away; Conflict when there is none, or its lines are not as `add` writes them."""
    before = logins(settings)
    passwords.forget(settings, name)  # whatever the file looks like: nobody comes in any more
    if name not in before:
        raise Conflict(f"没有登录 {name}")
    heading = rf"\[(?:{re.escape(name)}|{re.escape(json.dumps(name))})\]"
    text = _text(settings)
    left = re.sub(rf"(?m)^{heading}[^\n]*\n(?:(?:roles|account)[^\n]*(?:\n|\Z))*\n?", "", text)
    others = {key: entry for key, entry in _parse(text).items() if key != name}
    with suppress(tomllib.TOMLDecodeError):
        if tomllib.loads(left) == others:
            _write(settings, left)
            return
    raise Conflict(f"口令已取消；请用编辑器删去 {FILE} 中的 [{name}]")


def renew(settings: Settings, name: str) -> str:
    """A new password for a login of the file, shown this once; Conflict when the file does not know it."""
    if name not in logins(settings):
        raise Conflict(f"没有登录 {name}；请先用 certflow logins add {name} 登记")
    return passwords.renew(settings, name)


def recognise(settings: Settings, name: str, password: str) -> Login | None:
    """The login of this name and password; as slow for an unknown name as for a wrong password."""
    found = logins(settings).get(name)
    return found if passwords.right(settings, name if found else "", password) else None


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


def _text(settings: Settings) -> str:
    try:
        return settings.path(FILE).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{FILE} 不是 UTF-8：{error.reason}") from None


def _parse(text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{FILE} 不是正确的 TOML：{error}") from None


def _block(name: str, roles: Sequence[str], account: str) -> str:
    heading = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
    lines = [
        f"[{heading}]",
        f"roles = {json.dumps(list(roles))}",
        *([f"account = {json.dumps(account)}"] if account else []),
    ]
    return "\n".join(lines) + "\n"


def _write(settings: Settings, text: str) -> None:
    path = settings.path(FILE)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{FILE}-{secrets.token_hex(8)}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
        handle.write(text)
    fresh.replace(path)

"""Who may verify: the cities' operators of the service when it runs on its own, without Airflow's login.

Kept in ``keys/verifiers.json`` (0600): login → city, and a salted scrypt digest of a password the program itself made.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
from pathlib import Path

from certflow.errors import ConfigurationError, Conflict
from certflow.settings import Settings
from certflow.verify.certificates import Operator

_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,31}")
_COST = {"n": 1 << 14, "r": 8, "p": 1}


def add_operator(settings: Settings, login: str, account: str) -> str:
    """Make or renew a login for a city; gives its password, which is shown this once."""
    if not _LOGIN.fullmatch(login):
        raise Conflict("登录名为 2 到 32 位字母、数字、点、横线")
    password, salt = secrets.token_urlsafe(18), secrets.token_bytes(16)
    known = _read(settings)
    known[login] = {"account": account, "salt": salt.hex(), "digest": _digest(password, salt)}
    _write(settings, known)
    return password


def remove_operator(settings: Settings, login: str) -> None:
    """Take a login away; Conflict when there is none."""
    known = _read(settings)
    if known.pop(login, None) is None:
        raise Conflict("没有这个登录名")
    _write(settings, known)


def operators(settings: Settings) -> dict[str, str]:
    """Login → account."""
    return {login: entry["account"] for login, entry in sorted(_read(settings).items())}


def stored_digest(settings: Settings, login: str) -> str:
    """What is stored of a login's password, "" for an unknown login; another one each time a password is made."""
    return _read(settings).get(login, {}).get("digest", "")


def recognise(settings: Settings, login: str, password: str) -> Operator | None:
    """The operator with this login and password; as slow for an unknown login as for a wrong password."""
    entry = _read(settings).get(login)
    salt = bytes.fromhex(entry["salt"]) if entry else bytes(16)
    right = hmac.compare_digest(_digest(password, salt), entry["digest"] if entry else "")
    return Operator(login, entry["account"]) if entry and right else None


def _digest(password: str, salt: bytes) -> str:
    return hashlib.scrypt(password.encode(), salt=salt, **_COST).hex()


def _file(settings: Settings) -> Path:
    return settings.keys / "verifiers.json"


def _read(settings: Settings) -> dict[str, dict[str, str]]:
    file = _file(settings)
    if not file.exists():
        return {}
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise ConfigurationError(f"{file} 已损坏，请从备份恢复") from None
    return {str(login): dict(entry) for login, entry in known.items()}


def _write(settings: Settings, known: dict[str, dict[str, str]]) -> None:
    file = _file(settings)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = file.with_suffix(".part")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(known, stream, ensure_ascii=False, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(file)

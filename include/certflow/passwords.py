"""Passwords of the logins (`certflow.logins`): made by the program, shown once, kept as bcrypt digests.

``keys/logins.json`` (0600): login → digest. The one login that `certflow up` makes by itself also has its first
password in ``keys/airflow-login.json`` (0600), so that every `up` can print it, until somebody renews it.
"""

import hashlib
import json
import os
import secrets
from pathlib import Path

from certflow.errors import ConfigurationError
from certflow.settings import Settings

_ROUNDS = 12
"""Cost of one guess: about 0.2 s of a core."""
_NOBODY = "$2b$12$" + "." * 21 + "O" + "." * 30 + "a"
"""Compared against where a login has no password: an unknown name takes as long as a wrong password."""


def renew(settings: Settings, name: str) -> str:
    """Give a login a new password; what was open under the old one is closed with it."""
    made = secrets.token_urlsafe(18)
    _keep(settings, name, made)
    if name in _read(_first(settings)):
        _first(settings).unlink()
    return made


def first(settings: Settings, name: str) -> str:
    """The password that the program itself made for this login; "" once somebody has renewed it."""
    shown = _read(_first(settings)).get(name, "")
    if name not in _read(_file(settings)):
        shown = shown or secrets.token_urlsafe(18)
        _write(_first(settings), {name: shown})
        _keep(settings, name, shown)
    return shown


def forget(settings: Settings, name: str) -> None:
    """Take a login's password away; nothing to take away is no error."""
    for file in (_file(settings), _first(settings)):
        known = _read(file)
        if known.pop(name, None) is not None:
            _write(file, known)


def right(settings: Settings, name: str, password: str) -> bool:
    """Whether this is the login's password."""
    import bcrypt

    digest = _read(_file(settings)).get(name, _NOBODY)
    try:
        return bcrypt.checkpw(password.encode("utf-8", "surrogatepass"), digest.encode()) and digest != _NOBODY
    except ValueError:  # longer than bcrypt takes: none of ours
        return False


def known(settings: Settings) -> frozenset[str]:
    """Logins that have a password."""
    return frozenset(_read(_file(settings)))


def stamp(settings: Settings, name: str) -> str:
    """Changes with the login's password and tells nothing about it; "" where there is none."""
    digest = _read(_file(settings)).get(name)
    return hashlib.sha256(digest.encode()).hexdigest()[:16] if digest else ""


def _keep(settings: Settings, name: str, password: str) -> None:
    import bcrypt

    known = _read(_file(settings))
    known[name] = bcrypt.hashpw(password.encode(), bcrypt.gensalt(_ROUNDS)).decode()
    _write(_file(settings), known)


def _file(settings: Settings) -> Path:
    return settings.keys / "logins.json"


def _first(settings: Settings) -> Path:
    return settings.keys / "airflow-login.json"


def _read(file: Path) -> dict[str, str]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise ConfigurationError(f"{file} 已损坏，请从备份恢复") from None
    return {str(name): str(value) for name, value in found.items()}


def _write(file: Path, values: dict[str, str]) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}-{secrets.token_hex(8)}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
        json.dump(values, handle, indent=1)
        handle.flush()
        os.fsync(handle.fileno())
    fresh.replace(file)

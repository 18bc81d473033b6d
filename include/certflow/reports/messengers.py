"""Today's alerts on their way to people: by mail and by webhook, to whom ``CERTFLOW_HOME/recipients.toml`` names.

::

    [province]                          # the province's own; every other table is a city's account
    mail = ["bmb@example.org"]
    webhook = ["https://robot.example.org/send?key=..."]

    [370100]
    mail = ["jinan@example.org"]

A message is delivered to an address once a day: a mark beside the message is set before it goes out and taken away
when it could not, so the next run tries again and a crash in between costs one day's message, never a second copy.
What is still late tomorrow stands in tomorrow's message. Messages carry counts, months and record ids (masked again
on their way out); an address never comes into a log.
"""

import datetime as dt
import hashlib
import json
import smtplib
import ssl
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from certflow.errors import ConfigurationError
from certflow.month import SHANGHAI
from certflow.privacy import mask_text
from certflow.reports.alerts import PROVINCE
from certflow.settings import Settings

FILE = "recipients.toml"
WAYS = ("mail", "webhook")
_PATIENCE = 20.0
"""Seconds to wait for a server."""
_HERE = frozenset({"127.0.0.1", "localhost", "::1"})
_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}

State = Literal["sent", "before", "failed", "planned"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one message for one address: sent now, `before` today, failed, or `planned` in a dry run."""

    recipient: str
    way: str
    address: str
    """For the operator's screen, never for a log."""
    state: State
    reason: str = ""
    """Why it failed: the kind of error, no address."""


def addresses(settings: Settings) -> dict[str, dict[str, tuple[str, ...]]]:
    """Recipient → way → addresses; ConfigurationError names what is wrong with the file."""
    try:
        found = tomllib.loads(settings.path(FILE).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{FILE} 不是正确的 TOML：{error}") from None
    return {recipient: _ways(recipient, entry) for recipient, entry in found.items()}


def deliver(settings: Settings, messages: Sequence[Path], now: dt.datetime, *, dry_run: bool = False) -> list[Delivery]:
    """Bring today's messages (as `alerts.write` left them) to everybody who has not got today's yet.

    A server that does not take one is no error here: its state is ``failed``, and the next run tries again.
    ConfigurationError before anything is sent when a setting or the file of recipients is wrong.
    """
    known = addresses(settings)
    if any(ways["mail"] for ways in known.values()):
        _mail_server(settings)
    return [
        _one(settings, message, way, address, now, dry_run=dry_run)
        for message in messages
        for way in WAYS
        for address in known.get(message.stem, {}).get(way, ())
    ]


def _one(settings: Settings, message: Path, way: str, address: str, now: dt.datetime, *, dry_run: bool) -> Delivery:
    mark = message.with_name(f".{message.stem}-{hashlib.sha256(f'{way} {address}'.encode()).hexdigest()[:16]}")
    if mark.exists():
        return Delivery(message.stem, way, address, "before")
    if dry_run:
        return Delivery(message.stem, way, address, "planned")
    try:
        mark.touch(mode=0o600, exist_ok=False)
    except FileExistsError:  # another run is at it
        return Delivery(message.stem, way, address, "before")
    text = mask_text(message.read_text(encoding="utf-8"))
    try:
        if way == "mail":
            _send_mail(settings, address, message.stem, text, now)
        else:
            _post(address, message.stem, text, now)
    except (OSError, smtplib.SMTPException, ValueError) as error:
        mark.unlink()
        return Delivery(message.stem, way, address, "failed", _why(error))
    return Delivery(message.stem, way, address, "sent")


def _send_mail(settings: Settings, address: str, recipient: str, text: str, now: dt.datetime) -> None:
    kind, host, port, user = _mail_server(settings)
    mail = EmailMessage()
    mail["Subject"] = _subject(recipient, now)
    mail["From"], mail["To"] = settings.mail_from, address
    mail["Date"] = format_datetime(now.astimezone(SHANGHAI))
    mail["Message-ID"] = make_msgid(domain=settings.mail_from.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text)
    secure = ssl.create_default_context()
    server = (
        smtplib.SMTP_SSL(host, port, timeout=_PATIENCE, context=secure)
        if kind == "smtps"
        else smtplib.SMTP(host, port, timeout=_PATIENCE)
    )
    with server:
        if kind == "smtp+starttls":
            server.starttls(context=secure)
        if user:
            server.login(user, settings.mail_password)
        server.send_message(mail)


def _post(address: str, recipient: str, text: str, now: dt.datetime) -> None:
    """POST JSON as the usual chat robots take it; ValueError when the answer says that it was not taken."""
    body = {
        "msgtype": "text",
        "text": {"content": f"{_subject(recipient, now)}\n{text}"},
        "recipient": recipient,
        "day": f"{now.astimezone(SHANGHAI):%Y-%m-%d}",
    }
    request = urllib.request.Request(  # noqa: S310 (scheme checked where the file is read)
        address,
        json.dumps(body, ensure_ascii=False).encode(),
        {"Content-Type": "application/json; charset=utf-8"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=_PATIENCE) as reply:  # noqa: S310 (see above)
        answer = reply.read(4096)
    try:
        code = json.loads(answer)["errcode"]
    except (ValueError, KeyError, TypeError):
        return
    if code != 0:
        raise ValueError(f"errcode {code}")


def _subject(recipient: str, now: dt.datetime) -> str:
    whom = "" if recipient == PROVINCE else f"（{recipient}）"
    return f"证书补换 {now.astimezone(SHANGHAI):%Y-%m-%d} 逾期提醒{whom}"


def _why(error: Exception) -> str:
    """The kind of failure and the server's number; its words may repeat the address."""
    code = getattr(error, "smtp_code", None) or getattr(error, "code", None)
    return f"{type(error).__name__}{f' {code}' if code else ''}"


def _mail_server(settings: Settings) -> tuple[str, str, int, str]:
    """Kind, host, port and user of ``CERTFLOW_MAIL_SERVER``; a password never goes over an open line."""
    parts = urlsplit(settings.mail_server)
    if parts.scheme not in _PORTS or not parts.hostname or "@" not in settings.mail_from:
        raise ConfigurationError(
            "发邮件须设 CERTFLOW_MAIL_SERVER（smtp://主机、smtp+starttls://用户@主机 或 smtps://用户@主机）"
            "和 CERTFLOW_MAIL_FROM（发件地址）"
        )
    if parts.password or (parts.username and parts.scheme == "smtp" and parts.hostname not in _HERE):
        raise ConfigurationError(
            "CERTFLOW_MAIL_SERVER 中不写口令（用 CERTFLOW_MAIL_PASSWORD_FILE）；有用户名的须用 smtp+starttls 或 smtps"
        )
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme], unquote(parts.username or "")


def _ways(recipient: str, entry: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(entry, dict) or not set(entry) <= set(WAYS):
        raise ConfigurationError(f"{FILE} [{recipient}] 只可有 {'、'.join(WAYS)}")
    return {way: tuple(_checked(recipient, way, entry)) for way in WAYS}


def _checked(recipient: str, way: str, entry: Mapping[str, object]) -> Iterator[str]:
    listed = entry.get(way, [])
    for address in listed if isinstance(listed, list) else [None]:
        parts = urlsplit(address) if isinstance(address, str) else urlsplit("")
        good = (
            isinstance(address, str)
            and address.isprintable()
            and (
                "@" in address.strip("@")
                if way == "mail"
                else bool(parts.hostname)
                and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HERE))
            )
        )
        if not good:
            raise ConfigurationError(f"{FILE} [{recipient}] {way} 须为列表：邮件写地址，webhook 写 https:// 网址")
        yield str(address)

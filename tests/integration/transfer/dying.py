"""A process that sends a package and dies, really, at its k-th remote call or commit (`os._exit`)."""

import os
from collections.abc import Callable
from typing import Any

import paramiko

from certflow import sftp
from certflow.dispatch.send import send
from certflow.registry import open_registry
from certflow.registry.ledger import Actor, Registry
from certflow.settings import Settings

DIED = 70
CALLS = ("list_raw", "lstat", "open", "mkdir", "rename", "remove")
"""What a session asks of the server; the point lies before the call, and what follows it is before the next one."""


def send_and_die(settings: Settings, package_id: int, k: int) -> None:
    """Exit with DIED at point k, or return when the send has fewer points."""
    left = k

    def point() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os._exit(DIED)

    registry = open_registry(settings)
    for name in CALLS:
        setattr(sftp._Client, name, _before(getattr(sftp._Client, name), point))
    for name in ("write", "close"):
        setattr(paramiko.SFTPFile, name, _before(getattr(paramiko.SFTPFile, name), point))
    sftp.BulkReader.read = _before(sftp.BulkReader.read, point)  # type: ignore[method-assign]
    begin = Registry.begin
    Registry.begin = lambda self, actor: _Commit(begin(self, actor), point)  # type: ignore[assignment]
    send(settings, registry, package_id, Actor("tester", run="dies", attempt=k))
    point()
    os._exit(0)


def _before(call: Callable[..., Any], point: Callable[[], None]) -> Callable[..., Any]:
    def wrapped(*args: Any, **named: Any) -> Any:
        point()
        return call(*args, **named)

    return wrapped


class _Commit:
    """A transaction with a point before its commit."""

    def __init__(self, manager: Any, point: Callable[[], None]) -> None:
        self._manager = manager
        self._point = point

    def __enter__(self) -> Any:
        return self._manager.__enter__()

    def __exit__(self, *error: object) -> Any:
        self._point()
        return self._manager.__exit__(*error)

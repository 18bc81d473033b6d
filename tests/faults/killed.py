"""A process that sends, and may be stopped or killed at any moment; it knows neither Airflow nor Great Expectations."""

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from certflow.dispatch.approve import approve
from certflow.dispatch.assemble import assemble
from certflow.dispatch.freeze import freeze
from certflow.dispatch.send import send
from certflow.errors import CertflowError
from certflow.month import Month
from certflow.registry import open_registry
from certflow.registry.ledger import Actor, Registry
from certflow.settings import Settings
from certflow.sftp import Session

REFUSED = 71


def send_whole(settings: Settings, package_id: int) -> None:
    """Exit 0 when the send said SENT or UNKNOWN, REFUSED when it gave up."""
    assert not {"airflow", "great_expectations"} & set(sys.modules)
    registry = open_registry(settings)
    try:
        send(settings, registry, package_id, Actor("tester", run="killed"))
    except CertflowError:
        os._exit(REFUSED)
    os._exit(0)


DIED = 70


def run_month_and_die(settings: Settings, month: str, k: int) -> None:
    """Freeze, assemble, approve and send; exit with DIED before the k-th commit, flush or rename, or 0 at the end."""
    left = k

    def point() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os._exit(DIED)

    def before(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **named: Any) -> Any:
            point()
            return call(*args, **named)

        return wrapped

    registry = open_registry(settings)
    begin = Registry.begin

    @contextlib.contextmanager
    def begin_and_die(self: Registry, actor: Actor) -> Any:
        with begin(self, actor) as conn:
            yield conn
            point()

    Registry.begin = begin_and_die  # type: ignore[method-assign]
    os.fsync = before(os.fsync)
    Path.replace = before(Path.replace)  # type: ignore[method-assign]
    Session.rename = before(Session.rename)  # type: ignore[method-assign]
    run_month(settings, registry, month)
    os._exit(0)


def run_month(settings: Settings, registry: Registry, month: str) -> str:
    """One month from freezing to sending; the state of its package."""
    actor = Actor("tester", run="killed")
    batch = freeze(registry, Month.parse(month), actor)
    (package,) = assemble(settings, registry, batch.id, "034", actor)
    approve(registry, batch.id, "值班员", actor)
    return send(settings, registry, package, actor)

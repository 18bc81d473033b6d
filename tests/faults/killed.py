"""Processes that may be stopped or killed at any moment; they know neither Airflow nor Great Expectations."""

import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event, text

from certflow.dispatch.approve import approve
from certflow.dispatch.assemble import assemble
from certflow.dispatch.freeze import freeze
from certflow.dispatch.send import send
from certflow.errors import CertflowError, Conflict
from certflow.month import Month
from certflow.registry import open_registry
from certflow.registry.ledger import Actor, Registry
from certflow.returns.answers import write
from certflow.returns.apply import apply, receive
from certflow.returns.reconcile import reconcile
from certflow.returns.undo import undo
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
    registry = open_registry(settings)
    _arm(k)
    run_month(settings, registry, month)
    os._exit(0)


def take_return_and_die(settings: Settings, file: Path, k: int) -> None:
    """Take a return in to the lists for the cities; DIED before the k-th statement, commit, flush or rename, or 0."""
    registry = open_registry(settings)
    _arm(k, registry)
    take_return(settings, registry, file)
    os._exit(0)


def take_back_and_die(settings: Settings, return_id: int, k: int) -> None:
    """Undo a return to the recalls for the cities; DIED before the k-th statement, commit, flush or rename, or 0."""
    registry = open_registry(settings)
    _arm(k, registry)
    take_back(settings, registry, return_id)
    os._exit(0)


def wait_for_locks(registry: Registry) -> None:
    """Until PostgreSQL has let go of what a dead process held; a task is tried again minutes later, not at once."""
    held = text(
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE locktype = 'advisory' AND datname = current_database()"
    )
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with registry.read() as conn:
            if conn.scalar(held) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("the dead process still holds a lock")


def _arm(k: int, statements_of: Registry | None = None) -> None:
    """From now on count every commit, flush and rename, and the statements of a registry; die before the k-th."""
    left = k

    def point(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os._exit(DIED)

    def before(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **named: Any) -> Any:
            point()
            return call(*args, **named)

        return wrapped

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
    if statements_of is not None:
        event.listen(statements_of.engine, "before_cursor_execute", point)


def run_month(settings: Settings, registry: Registry, month: str) -> str:
    """One month from freezing to sending; the state of its package."""
    actor = Actor("tester", run="killed")
    batch = freeze(registry, Month.parse(month), actor)
    (package,) = assemble(settings, registry, batch.id, "034", actor)
    approve(registry, batch.id, "值班员", actor)
    return send(settings, registry, package, actor)


def take_return(settings: Settings, registry: Registry, file: Path) -> int:
    """A file of the authority, from the disk to the lists for the cities; its number."""
    actor = Actor("tester", run="killed")
    number = receive(settings, registry, file, actor)
    if reconcile(settings, registry, number, actor).state == "RECONCILED":
        apply(settings, registry, number, actor)
    write(settings, registry)
    return number


def take_back(settings: Settings, registry: Registry, return_id: int) -> None:
    """Undo a return unless that is done, and write the recalls."""
    with contextlib.suppress(Conflict):
        undo(registry, return_id, by="值班员", reason="上级更正", actor=Actor("tester", run="killed"))
    write(settings, registry)

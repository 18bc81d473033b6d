"""Where a task works: settings, registry and the name under which the ledger records what it does.

Everything heavy is imported when a task enters, never when a DAG file is read.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowSkipException

from certflow.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certflow.month import Month
    from certflow.registry.ledger import Actor, Registry
    from certflow.settings import Settings


@dataclass(frozen=True, slots=True)
class Workplace:
    """What every use-case asks for."""

    settings: Settings
    registry: Registry
    actor: Actor


@contextmanager
def workplace() -> Iterator[Workplace]:
    """Open the registry for the running task.

    A task whose work another run is doing at this moment (Busy, `Registry.lock`) ends as skipped: nothing is lost.
    """
    from certflow.privacy import install_log_masking
    from certflow.registry import open_registry
    from certflow.registry.ledger import Actor
    from certflow.settings import Settings

    os.umask(0o077)  # what a task writes is nobody else's
    install_log_masking()
    instance = get_current_context()["ti"]
    settings = Settings.load()
    registry = open_registry(settings)
    try:
        actor = Actor(f"airflow:{instance.dag_id}.{instance.task_id}", instance.run_id, instance.try_number)
        yield Workplace(settings, registry, actor)
    except Busy as busy:
        raise AirflowSkipException("另一个运行正在做同一件事，本任务结束，没有遗漏") from busy
    finally:
        registry.close()


def this_month() -> Month:
    """The month of the running task's run, from its form or its partition key."""
    from certflow.month import Month
    from run_form import month_of

    context = get_current_context()
    return Month.parse(month_of(context["params"], context["dag_run"].partition_key))


def city_accounts() -> list[str]:
    """Accounts of the cities that report, sorted; historic cities have none."""
    from certflow.reference import load_reference
    from certflow.settings import Settings

    return sorted(account for account, city in load_reference(Settings.load()).cities.items() if not city.historic)

"""Month end as the DAGs need it: each function one use-case, with ids, counts and digests as its answer."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowSkipException

from certflow.errors import Busy, Conflict, TransferError
from run_form import tell_moved
from workplace import this_month

if TYPE_CHECKING:
    from certflow.registry.packages import Batch
    from workplace import Workplace

APPROVE = "批准"
REJECT = "退回"
"""The two answers on Airflow's page."""
_PATIENCE, _PAUSE = 600.0, 5.0
"""Seconds to wait for another run that takes in the same city, and between two looks."""


def count_reported(place: Workplace) -> dict[str, int]:
    """How many cities reported, reported nil, or are missing."""
    from certflow.dispatch.month import reporting

    status = [city.status for city in reporting(place.settings, place.registry, this_month())]
    return {one: status.count(one) for one in ("reported", "nil", "missing")}


def final_pull(place: Workplace, account: str) -> dict[str, Any]:
    """Take the city in; the freeze comes next, so whoever does it already (the intake of these minutes) is awaited.

    TransferError after `_PATIENCE` seconds: the task is tried again later. A skipped one would skip the freeze with it.
    """
    from city_work import take_in

    begun = time.monotonic()
    while True:
        try:
            return take_in(place, account)
        except Busy as busy:
            if time.monotonic() - begun > _PATIENCE:
                raise TransferError("该市仍在由另一个运行收取，稍后重试") from busy
        time.sleep(_PAUSE)


def freeze(place: Workplace) -> dict[str, Any]:
    """Freeze the run's month; the batch the form names, or the one whose turn it is."""
    from certflow.dispatch.freeze import freeze

    number = get_current_context()["params"]["batch"]
    batch = freeze(place.registry, this_month(), place.actor, number=number)
    return {"id": batch.id, "month": str(batch.month), "number": batch.number, "exams": batch.exams}


def assemble(place: Workplace, batch_id: int, exam: str) -> list[int]:
    """Build the packages of one exam, judged by the suite ``package``, and the paper that goes with them.

    None where its last row was contested since the freeze: the other exams go up without it.
    """
    from certflow.checks.package import package_judge
    from certflow.dispatch.assemble import assemble
    from certflow.dispatch.papers import write_package_forms
    from certflow.registry.packages import exams_of

    with place.registry.read() as conn:
        if exam not in exams_of(conn, batch_id):
            return []
    judge = package_judge(place.settings)
    built = assemble(place.settings, place.registry, batch_id, exam, place.actor, judge=judge)
    for package in built:
        write_package_forms(place.settings, place.registry, package, place.actor)
    return built


def write_report(place: Workplace, month: str, number: int) -> None:
    """The month's state, counts only, as JSON below the reports folder."""
    from certflow.dispatch.month import month_status
    from certflow.month import Month

    status = month_status(place.registry, place.settings, Month.parse(month))
    folder = place.settings.reports / month
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(status, ensure_ascii=False, indent=2, sort_keys=True, default=str)
    (folder / f"month-{number}.json").write_text(text + "\n", encoding="utf-8")
    tell_moved([month])


def pass_gate(place: Workplace) -> bool:
    """Whether the run's batch may go up at once; if not, what a person has to know is left for the next task."""
    from certflow.dispatch.approve import pass_gate
    from certflow.dispatch.dossier import as_markdown, dossier

    found = pass_gate(place.settings, place.registry, _batch(place).id, place.actor)
    get_current_context()["ti"].xcom_push("reasons", "；".join(found.reasons))
    get_current_context()["ti"].xcom_push("digest", found.digest)
    if found.needs_approval:
        shown = dossier(place.settings, place.registry, found.batch_id)
        get_current_context()["ti"].xcom_push("dossier", as_markdown(shown))
    return not found.needs_approval


def record_decision(place: Workplace, answer: dict[str, Any]) -> str:
    """Write the answer given on Airflow's page into the ledger; a rejected batch ends here.

    The decision counts for the packages that were shown: when they changed meanwhile it is a Conflict.
    """
    from certflow.dispatch.approve import approve, gate, reject

    user = answer.get("responded_by_user") or {}
    by = user.get("name") or user.get("id") or "Airflow"
    shown = get_current_context()["ti"].xcom_pull(task_ids="gate", key="digest")
    if answer["chosen_options"] == [APPROVE]:
        batch = _batch(place).id
        digest = approve(place.registry, batch, by, place.actor, digest=shown, settings=place.settings)
        if gate(place.settings, place.registry, batch).approved_by is None:
            raise AirflowSkipException("已记经办，等待另一人复核：复核人用 certflow month approve，或再触发一次本流程")
        return digest
    reject(place.registry, _batch(place).id, by, "在 Airflow 页面退回", place.actor, digest=shown)
    raise AirflowSkipException("本批已退回，不上报")


def packages_to_send(place: Workplace) -> list[int]:
    """The batch's packages in a stable order, those already sent included: sending looks first."""
    from certflow.registry.packages import packages_of

    batch = _batch(place)
    with place.registry.read() as conn:
        return [package.id for package in packages_of(conn, batch.id) if package.state != "REJECTED"]


def send(place: Workplace, package_id: int) -> str:
    """Send one package; Conflict when it cannot be told whether it arrived."""
    from certflow.dispatch.send import send
    from certflow.registry.packages import package
    from work_metrics import sent

    with place.registry.read() as conn:
        order = package(conn, package_id)
    state = send(place.settings, place.registry, package_id, place.actor)
    if state != "SENT":
        raise Conflict(f"数据包 {package_id} 的状态为 {state}：请与上级核对是否已收到，再处理")
    if order is not None and order.state != "SENT":
        sent(order)
    return state


def _batch(place: Workplace) -> Batch:
    from certflow.registry.packages import batches_of

    month, number = this_month(), get_current_context()["params"]["batch"]
    with place.registry.read() as conn:
        for batch in batches_of(conn, str(month)):
            if batch.number == number:
                return batch
    raise Conflict(f"{month} 还没有批次 {number}：请先运行「月末准备」")

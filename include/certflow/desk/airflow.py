"""Airflow's API as the person at the desk: with their own login, so they may do here what Airflow lets them do."""

import datetime as dt
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request

from certflow.errors import Conflict, TransferError

_PATIENCE = 20.0
"""Seconds to wait for an answer."""
_SETTLING = 12.0
"""Seconds that a question must have stood: Airflow 3.3 loses an answer that comes while the asking process ends."""
_COOKIE = "_token"
"""Where Airflow's pages keep the login."""
_OVER = ("success", "failed")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a DAG."""

    dag_id: str
    run_id: str
    title: str
    state: str
    began: dt.datetime
    """Or when it is due, while it waits."""
    month: str
    """From its form or its partition key; empty: it is about no month."""
    batch: int | None
    by: str

    @property
    def over(self) -> bool:
        """Whether nothing of it will happen any more."""
        return self.state in _OVER


@dataclass(frozen=True, slots=True)
class Task:
    """One task of one run; a mapped one has an index and a label (a city, an exam, a package)."""

    dag_id: str
    run_id: str
    task_id: str
    index: int
    label: str
    title: str
    dag_title: str
    state: str
    attempt: int
    began: dt.datetime | None


class Airflow:
    """The API server at `base_url`, for example ``http://127.0.0.1:8080``."""

    def __init__(self, base_url: str) -> None:
        self.url = base_url.rstrip("/")

    def as_person(self, request: Request) -> "AsPerson":
        """The API with the login that this request carries."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            token = request.cookies.get(_COOKIE, "")
        return AsPerson(self.url, token)


class AsPerson:
    """What the desk asks and orders. Conflict where Airflow refuses, TransferError where it does not answer."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token

    def wake(self, dag_id: str) -> None:
        """See to it that runs of this DAG go on; Conflict while it is paused and has a schedule.

        Unpausing such a one would also make up for the slot it missed last, which is for a person to want.
        """
        dag = self._ask("GET", f"/dags/{dag_id}")
        if not dag["is_paused"]:
            return
        if dag["timetable_summary"] is not None:
            name = dag["dag_display_name"]
            raise Conflict(f"流程“{name}”已暂停：请先在 Airflow 的流程页面打开它（打开后会补上错过的最近一次定时运行）")
        self._ask("PATCH", f"/dags/{dag_id}", {"is_paused": False})

    def start(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        """Start a run with this form and give its id; Conflict as `wake`."""
        self.wake(dag_id)
        run = self._ask("POST", f"/dags/{dag_id}/dagRuns", {"conf": dict(conf), "logical_date": None})
        return str(run["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> Run:
        """One run."""
        return _run(self._ask("GET", f"/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"))

    def runs(self, dag_id: str, *, limit: int = 30) -> list[Run]:
        """The newest runs of a DAG, the newest first."""
        found = self._ask("GET", f"/dags/{dag_id}/dagRuns", query=[("order_by", "-run_after"), ("limit", limit)])
        return [_run(one) for one in found["dag_runs"]]

    def tasks(
        self, dag_id: str = "~", run_id: str = "~", *, states: Iterable[str] = (), limit: int = 100, **more: str
    ) -> list[Task]:
        """Tasks, the newest first: of one run, or with ``~`` of all."""
        query: list[tuple[str, str | int]] = [("order_by", "-start_date"), ("limit", limit), *more.items()]
        query += [("state", state) for state in states]
        path = f"/dags/{quote(dag_id, safe='~')}/dagRuns/{quote(run_id, safe='~')}/taskInstances"
        return [_task(one) for one in self._ask("GET", path, query=query)["task_instances"]]

    def task(self, dag_id: str, run_id: str, task_id: str, index: int) -> Task:
        """One task; `index` -1 where it is not mapped."""
        return _task(self._ask("GET", f"{_place(dag_id, run_id, task_id)}/{index}"))

    def title(self, dag_id: str, task_id: str) -> str:
        """A task's title: Airflow names some mapped tasks by their id only."""
        return str(
            self._ask("GET", f"/dags/{quote(dag_id, safe='')}/tasks/{quote(task_id, safe='')}")["task_display_name"]
        )

    def error(self, task: Task) -> tuple[str, str]:
        """Type and words of the error that ended the task's last try; empty where its log tells none."""
        path = f"{_place(task.dag_id, task.run_id, task.task_id)}/logs/{task.attempt}"
        lines = self._ask("GET", path, query=[("full_content", "true"), ("map_index", task.index)])["content"]
        for line in reversed(lines):
            if isinstance(line, dict) and line.get("error_detail"):
                found = line["error_detail"][0]
                return str(found["exc_type"]), str(found["exc_value"])
        return "", ""

    def doc(self, dag_id: str) -> str:
        """A DAG's own documentation (Markdown)."""
        return str(self._ask("GET", f"/dags/{quote(dag_id, safe='')}/details")["doc_md"] or "")

    def run_again(self, task: Task) -> None:
        """Clear one task, a mapped one alone, and what comes after it."""
        body = {
            "dry_run": False,
            "only_failed": False,
            "include_downstream": True,
            "dag_run_id": task.run_id,
            "task_ids": [[task.task_id, task.index] if task.index >= 0 else task.task_id],
        }
        self._ask("POST", f"/dags/{quote(task.dag_id, safe='')}/clearTaskInstances", body)

    def answer(self, dag_id: str, month: str, batch: int, choice: str) -> int:
        """Answer every run of a DAG that waits for a person about this batch; gives how many were told."""
        query = [("state", "awaiting_input"), ("response_received", "false"), ("limit", 50)]
        asked = self._ask("GET", f"/dags/{dag_id}/dagRuns/~/hitlDetails", query=query)["hitl_details"]
        told = 0
        for one in asked:
            place = one["task_instance"]
            run = self.run(dag_id, place["dag_run_id"])
            if (run.month, run.batch or 0) != (month, batch):
                continue
            stood = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(one["created_at"])
            time.sleep(max(0.0, _SETTLING - stood.total_seconds()))
            path = f"{_place(dag_id, run.run_id, place['task_id'])}/{place['map_index']}/hitlDetails"
            self._ask("PATCH", path, {"chosen_options": [choice]})
            told += 1
        return told

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, query: Iterable[tuple[str, object]] = ()
    ) -> Any:  # noqa: ANN401 (JSON)
        asked = urlencode(list(query))
        request = urllib.request.Request(  # noqa: S310 (the configured address of our own Airflow)
            f"{self._url}/api/v2{path}{'?' if asked else ''}{asked}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as reply:  # noqa: S310 (see above)
                return json.load(reply)
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                raise Conflict("此登录在 Airflow 中没有这项权限，请管理员开通") from None
            if error.code == http.client.NOT_FOUND:
                raise Conflict("Airflow 中没有这个运行或任务，请刷新页面") from None
            raise Conflict(f"Airflow 没有接受（{error.code}）：请刷新页面，看它现在的状态") from None
        except (OSError, ValueError, http.client.HTTPException):
            raise TransferError("Airflow 没有应答，请稍后再试") from None


def _place(dag_id: str, run_id: str, task_id: str) -> str:
    parts = (quote(part, safe="") for part in (dag_id, run_id, task_id))
    return "/dags/{}/dagRuns/{}/taskInstances/{}".format(*parts)


def _run(found: Mapping[str, Any]) -> Run:
    conf = found["conf"] or {}
    return Run(
        found["dag_id"], found["dag_run_id"], found["dag_display_name"], found["state"],
        dt.datetime.fromisoformat(found["start_date"] or found["run_after"]),
        str(conf.get("month") or found["partition_key"] or ""), conf.get("batch"), found["triggering_user_name"] or "",
    )  # fmt: skip


def _task(found: Mapping[str, Any]) -> Task:
    return Task(
        found["dag_id"], found["dag_run_id"], found["task_id"], found["map_index"], found["rendered_map_index"] or "",
        found["task_display_name"], found["dag_display_name"], found["state"] or "", found["try_number"],
        _moment(found["start_date"]),
    )  # fmt: skip


def _moment(text: str | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(text) if text else None

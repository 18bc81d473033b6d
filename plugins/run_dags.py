"""Run DAGs to their end without a scheduler: JSON lines in, JSON lines out.

``{"dag_id": "submission_intake", "conf": {}}`` → ``{"dag_id", "state", "seconds", "tasks": {id: state}}``.
Airflow and the heavy libraries are imported once for all requests. Started by `certflow.airflow_home.DagRunner`
with Airflow's environment set; standard output carries answers only, everything else goes to standard error.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import DAG

_log = logging.getLogger(__name__)


def run(dag: DAG, conf: Mapping[str, Any]) -> dict[str, Any]:
    """Run one DAG; a failure of any kind is a state, never an exception (`dag.test` does not raise either)."""
    begun = time.monotonic()
    state, tasks = "failed", {}
    try:
        finished = dag.test(run_conf=dict(conf))
        state = str(finished.state)
        for instance in finished.get_task_instances():
            index = f"[{instance.map_index}]" if instance.map_index >= 0 else ""
            tasks[f"{instance.task_id}{index}"] = str(instance.state)
    except Exception:  # noqa: BLE001 (the answer is a state, whatever went wrong)
        _log.exception("%s could not be run", dag.dag_id)
    return {"dag_id": dag.dag_id, "state": state, "seconds": round(time.monotonic() - begun, 2), "tasks": tasks}


def serve(requests: TextIO, answers: TextIO) -> None:
    """Bring Airflow's metadata up to date, then answer every request line until there are no more."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import upgradedb

    upgradedb()
    dags = DagBag().dags
    _warm_up()
    for line in requests:
        request = json.loads(line)
        dag = dags.get(request["dag_id"])
        answer = run(dag, request.get("conf") or {}) if dag else _unknown(request["dag_id"])
        answers.write(json.dumps(answer, ensure_ascii=False) + "\n")
        answers.flush()


def _unknown(dag_id: str) -> dict[str, Any]:
    return {"dag_id": dag_id, "state": "unknown", "seconds": 0.0, "tasks": {}}


def _warm_up() -> None:
    """Import now what every city's task would import first."""
    import certflow.checks.judge
    import certflow.checks.run
    import certflow.intake.pull  # noqa: F401 (imported so that it is there)


def main() -> None:
    """Keep standard output for the answers: whatever a task prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()

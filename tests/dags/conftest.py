"""Airflow for tests: its home in a temporary folder, set before anything imports it."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_HOME = tempfile.TemporaryDirectory(prefix="certflow-airflow-")
os.environ |= {"AIRFLOW_HOME": _HOME.name, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
sys.path.insert(0, str(ROOT / "plugins"))

_LOOK = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
before = set(sys.modules)
bag = DagBag(sys.argv[1])
print(json.dumps({
    "errors": bag.import_errors,
    "seconds": {item.file.lstrip("/"): item.duration.total_seconds() for item in bag.dagbag_stats},
    "modules": sorted(sys.modules),
    "dags": {
        dag.dag_id: {
            "file": dag.fileloc.rsplit("/", 1)[-1],
            "title": dag.dag_display_name,
            "doc": dag.doc_md or "",
            "tags": sorted(dag.tags),
            "catchup": dag.catchup,
            "schedule": repr(dag.timetable),
            "params": {name: dag.params.get_param(name).schema for name in dag.params},
            "serializes": bool(DagSerialization.serialize_dag(dag)),
            "tasks": {
                task.task_id: {
                    "title": task.task_display_name,
                    "owner": task.owner,
                    "retries": task.retries,
                    "policy": type(task.retry_policy).__name__,
                    "label": getattr(task, "map_index_template", None),
                    "mapped": task.is_mapped or task.get_closest_mapped_task_group() is not None,
                }
                for task in dag.tasks
            },
        }
        for dag in bag.dags.values()
    },
}))
"""


@pytest.fixture(scope="session")
def bag():
    """The DAG folder as Airflow reads it, in a process of its own, so that its imports can be counted."""
    seen = subprocess.run(
        [sys.executable, "-c", _LOOK, str(ROOT / "dags")],
        env=os.environ | {"PYTHONPATH": str(ROOT / "plugins")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert seen.returncode == 0, seen.stderr
    return json.loads(seen.stdout.strip().splitlines()[-1])

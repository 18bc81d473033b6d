"""A task finds imported what it asks for: the scheduler that forks it has imported it before."""

import json
import os
import subprocess
import sys
from pathlib import Path

from preloaded import asked_for

ROOT = Path(__file__).parents[2]
_LOOK = """
import json, sys
from pathlib import Path
sys.argv = ["airflow", "scheduler"]
import airflow.jobs.scheduler_job_runner, airflow.executors.local_executor, airflow.sdk.execution_time.supervisor
import airflow_local_settings
before = set(sys.modules)
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.sdk.execution_time import task_runner
import preloaded
dags = Path(preloaded.__file__).parents[1] / "dags"
for file in dags.glob("*.py"):
    BundleDagBag(dag_folder=str(file), safe_mode=False, load_op_links=False, bundle_path=dags, bundle_name="dags")
for name in preloaded.asked_for(dags):
    __import__(name)
imported = sorted(name for name in set(sys.modules) - before if not name.startswith("unusual_prefix_"))
from certflow import pdf
from certflow.checks import judge, run
from certflow.settings import Settings
looked_through = pdf._covered.cache_info().misses
pdf.render("#data.name", {"name": "王"})
asked = judge._question.cache_info()
run.prepare(Settings.load())
print(json.dumps([
    imported, pdf._covered.cache_info().misses - looked_through,
    asked.currsize > 50, judge._question.cache_info().misses - asked.misses,
]))
"""


def test_no_task_imports_or_looks_through_what_its_scheduler_has_not():
    """But for the DAG file itself, which Airflow reads anew in each task."""
    named = {"CORE__DAGS_FOLDER": "dags", "CORE__PLUGINS_FOLDER": "plugins"}
    look = subprocess.run(
        [sys.executable, "-c", _LOOK],
        env=os.environ
        | {f"AIRFLOW__{key}": str(ROOT / folder) for key, folder in named.items()}
        | {"PYTHONPATH": str(ROOT / "plugins"), "CERTFLOW_DEMO": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert look.returncode == 0, look.stderr[-3000:]
    assert json.loads(look.stdout.strip().splitlines()[-1]) == [
        [], 0, True, 0,
    ], "modules, fonts looked through, rules known, rules asked anew"  # fmt: skip


def test_imports_inside_functions_count_and_those_for_type_checkers_do_not(tmp_path):
    (tmp_path / "one.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import pandas\n"
        "def task():\n    import city_work\n    from certflow.checks.run import check_city\n",
        encoding="utf-8",
    )
    (tmp_path / "broken.py").write_text("def (", encoding="utf-8")
    found = asked_for(tmp_path)
    assert "pandas" not in found
    assert {"city_work", "certflow.checks.run", "certflow.intake.pull"} <= found, "what city_work imports, too"

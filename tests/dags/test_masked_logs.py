"""Every line a task writes passes the masking before it reaches the log file; so does Airflow's own logging."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NUMBER = "11010519491231002X"

_WRITE = """
import io, json, logging, sys
from airflow.sdk.log import logging_processors
import structlog
number = sys.argv[1]
file = io.BytesIO()
task_log = structlog.wrap_logger(structlog.BytesLogger(file), processors=logging_processors(json_output=True))
task_log.info("stdout", printed=f"photo {number}.jpg", nested=[{"id": number}])
task_log.error("failed", exception=[{"exc_value": f"no photo for {number}"}])
logging.getLogger("somewhere").error("refused %s", number)
try:
    raise ValueError(number)
except ValueError:
    logging.getLogger("airflow.task").exception("traceback")
print(json.dumps(file.getvalue().decode()))
"""


def test_i10_task_lines_and_standard_logging_are_masked(tmp_path):
    written = subprocess.run(
        [sys.executable, "-c", _WRITE, NUMBER],
        env=os.environ
        | {
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS": "masked_logs.LOGGING_CONFIG",
            "PYTHONPATH": str(ROOT / "plugins"),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    lines = json.loads(written.stdout.strip().splitlines()[-1])
    assert "failed" in lines
    assert "no photo for" in lines
    everything = lines + written.stdout + written.stderr
    assert "refused" in everything
    assert "traceback" in everything
    assert NUMBER not in everything

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
number = sys.stdin.read()
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
        [sys.executable, "-c", _WRITE],
        input=NUMBER,
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


_LAST_WORDS = """
import gc, logging, os, sys, threading, warnings
os.environ["AIRFLOW_HOME"] = sys.argv[1]
import airflow.settings
airflow.settings.initialize()
import psycopg, structlog
from sqlalchemy import create_engine, text
number, name = sys.stdin.read().split()
structlog.get_logger("airflow.scheduler").error("service line", file=f"{number}.jpg", row={"KSXM": name})
warnings.warn(f"odd number {number}")
try:
    with create_engine("sqlite://").connect() as connection:
        connection.execute(text("INSERT INTO nowhere VALUES (:number)"), {"number": number})
except Exception:
    logging.getLogger("x").exception("the database said")
logging.getLogger("x").error("psycopg said %s", psycopg.errors.UniqueViolation(f"Key (id_number)=({number}) exists"))
structlog.get_logger("y").exception("bound", exc_info=KeyError(number))

class Late:
    def __del__(self):
        raise ValueError(f"late {number}")

late = Late()
late.me = late
del late
gc.collect()
thread = threading.Thread(target=lambda: {}[number])
thread.start()
thread.join()
print("so far", flush=True)
raise RuntimeError(f"no certificate for {number}, KSXM={name}")
"""


def test_i10_a_services_lines_and_its_last_words_are_masked(tmp_path):
    """structlog, warnings, errors of the database with their parameters, a thread, a finaliser, the process itself."""
    ended = subprocess.run(
        [sys.executable, "-c", _LAST_WORDS, str(tmp_path)],
        input=f"{NUMBER} 欧阳测试",
        env={name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        | {
            "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS": "masked_logs.LOGGING_CONFIG",
            "PYTHONPATH": str(ROOT / "plugins"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    everything = ended.stdout + ended.stderr
    for words in ("service line", "odd number", "the database said", "psycopg said", "bound", "late", "so far",
                  "Exception in thread", "no certificate for"):  # fmt: skip
        assert words in everything, everything[-3000:]
    assert ended.returncode == 1
    assert NUMBER not in everything
    assert "欧阳测试" not in everything

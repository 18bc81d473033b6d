"""Airflow's home below ours: its environment, its keys, its metadata database, and a runner for single DAGs.

Imports nothing of Airflow. Airflow reads its configuration when it is imported, so a process that is to run
Airflow is started with `environment`; whoever already imported Airflow cannot be helped any more.
"""

import json
import os
import secrets
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from certflow.errors import CertflowError, ConfigurationError
from certflow.registry.server import url
from certflow.settings import Settings

LOGIN = "operator"
"""User name of the login that `certflow up` prints."""
PORT = 8080
"""Port of the pages, on the loopback interface."""
_LOGIN_SECONDS = 8 * 3600
"""How long a login lasts: a working day."""
_CHECKOUT = Path(__file__).resolve().parents[2]


def airflow_folder(settings: Settings) -> Path:
    """AIRFLOW_HOME: logs and state of Airflow."""
    return settings.path("airflow")


def checkout() -> Path:
    """The folder with ``dags/`` and ``plugins/``; ConfigurationError when certflow was installed without them."""
    if not (_CHECKOUT / "dags" / "submission_intake.py").is_file():
        raise ConfigurationError("找不到 dags/ 与 plugins/：请在 certflow 的源码目录中运行")
    return _CHECKOUT


def environment(settings: Settings, *, port: int = PORT) -> dict[str, str]:
    """The environment of every Airflow process of this home, to be set before Airflow is imported.

    The database server of the home must be running (`certflow.registry.server.hold`). Nobody outside this
    machine can reach what listens; nothing is reported to anybody.
    """
    folder, source = airflow_folder(settings), checkout()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    address = _psycopg(url(settings, "airflow"))
    values = {
        "CORE__DAGS_FOLDER": str(source / "dags"),
        "CORE__PLUGINS_FOLDER": str(source / "plugins"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",  # unpausing runs the last missed slot at once
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": str(max(2, min(8, os.cpu_count() or 2))),
        "CORE__DEFAULT_TIMEZONE": "Asia/Shanghai",
        "CORE__FERNET_KEY": secret(settings, "airflow-fernet", 32),
        "CORE__XCOM_BACKEND": "guarded_xcom.GuardedXCom",
        "CORE__AUTH_MANAGER": "certflow_login.CertflowLogin",
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        # Both, or Airflow wants a second driver for its asynchronous engine.
        "DATABASE__SQL_ALCHEMY_CONN": address,
        "DATABASE__SQL_ALCHEMY_CONN_ASYNC": address,
        "API__HOST": "127.0.0.1",
        "API__PORT": str(port),
        "API__BASE_URL": f"http://127.0.0.1:{port}",
        "API__WORKERS": "1",
        "API__SECRET_KEY": secret(settings, "airflow-api"),
        "API_AUTH__JWT_SECRET": secret(settings, "airflow-jwt"),
        "API_AUTH__JWT_EXPIRATION_TIME": str(_LOGIN_SECONDS),
        "LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
        "LOGGING__LOGGING_CONFIG_CLASS": "masked_logs.LOGGING_CONFIG",
        "LOGGING__COLORED_CONSOLE_LOG": "False",
        "LOGGING__NAMESPACE_LEVELS": "great_expectations=warning alembic=warning",
        "LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS": "0o700",
        "LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": "0o600",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        # Reading all DAG files anew takes seconds of CPU; one that has changed is read at once all the same.
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
        # A task outlasts four minutes without an API server before that counts as a try, not ten seconds (F35).
        "WORKERS__EXECUTION_API_RETRIES": "12",
        # Also how late a task's end may be noticed: with Airflow's five seconds every second task of a city took
        # that much longer than its work.
        "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    }
    if settings.statsd:
        host, _, listening = settings.statsd.rpartition(":")
        values |= {"METRICS__STATSD_ON": "True", "METRICS__STATSD_HOST": host, "METRICS__STATSD_PORT": listening}
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    return (
        inherited
        | {f"AIRFLOW__{key}": value for key, value in values.items()}
        | {
            "AIRFLOW_HOME": str(folder),
            "CERTFLOW_HOME": str(settings.home),
            # Airflow adds its plugins folder to sys.path itself, but only after it has set up logging.
            "PYTHONPATH": os.pathsep.join(
                part for part in (str(source / "plugins"), os.environ.get("PYTHONPATH", "")) if part
            ),
            "PYTHONUNBUFFERED": "1",
            # Airflow's own check of the embedded Python on macOS; harmless elsewhere.
            "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",
        }
    )


def secret(settings: Settings, name: str, size: int = 64) -> str:
    """A key of `size` random bytes in URL-safe Base64; made once, kept in ``keys/``."""
    file = settings.keys / name
    if not file.is_file():
        _write_private(file, urlsafe_b64encode(secrets.token_bytes(size)).decode())
    return file.read_text(encoding="ascii").strip()


def migrate(settings: Settings, env: Mapping[str, str]) -> None:
    """Bring Airflow's metadata database up to the installed version; at once when it is already."""
    from importlib.metadata import version

    stamp = airflow_folder(settings) / "metadata-version"
    wanted = f"{version('apache-airflow-core')} {url(settings, 'airflow').rpartition('@')[2]}"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        check=False,
        env=dict(env),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        log = airflow_folder(settings) / "migrate.log"
        log.write_text(done.stdout + done.stderr, encoding="utf-8")
        raise ConfigurationError(f"Airflow 元数据库未能升级，详见 {log}")
    stamp.write_text(wanted, encoding="utf-8")


@dataclass(frozen=True, slots=True)
class DagRun:
    """How one run of a DAG ended. `tasks`: task id, with ``[index]`` when mapped → state."""

    dag_id: str
    state: str
    seconds: float
    tasks: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether the run succeeded."""
        return self.state == "success"


class DagRunner:
    """Runs DAGs to their end without a scheduler, in one process of its own that imports Airflow once.

    The process needs some 10 s to get ready, and does so while the caller goes on with other work.
    Task logs lie below ``airflow/logs``, the process's own output in ``airflow/run-dags.log``.
    """

    def __init__(self, settings: Settings) -> None:
        env = environment(settings)
        self.log = airflow_folder(settings) / "run-dags.log"
        with self.log.open("ab") as log:
            self._process: subprocess.Popen[str] = subprocess.Popen(  # noqa: S603 (our own interpreter and file)
                [sys.executable, str(checkout() / "plugins" / "run_dags.py")],
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
                start_new_session=True,
            )

    def run(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> DagRun:
        """Run one DAG with the given form values; CertflowError when the process is gone."""
        requests, answers = self._pipes()
        try:
            requests.write(json.dumps({"dag_id": dag_id, "conf": dict(conf or {})}) + "\n")
            requests.flush()
            answer = answers.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise CertflowError(f"运行流程的进程已退出，详见 {self.log}")
        return DagRun(**json.loads(answer))

    def close(self) -> None:
        """End the process."""
        requests, _answers = self._pipes()
        if self._process.poll() is None:
            requests.close()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        if self._process.stdin is None or self._process.stdout is None:
            raise CertflowError("运行流程的进程没有管道")
        return self._process.stdin, self._process.stdout


def _psycopg(address: str) -> str:
    return "postgresql+psycopg://" + address.split("://", 1)[1]


def _write_private(file: Path, text: str) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as handle:
        handle.write(text)

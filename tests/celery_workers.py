"""Several machines on one: Redis, Airflow with the CeleryExecutor, and workers that share one work area.

`Workers` takes the place of `certflow.airflow_home.DagRunner`: the same month, its tasks spread by a queue.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import yaml
from processes import Processes, free_port
from real_airflow import Api

from certflow import airflow_home, logins, stack
from certflow.airflow_home import DagRun

ROOT = Path(__file__).parents[1]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))["services"]
FAST = {
    # A worker that is gone is noticed after half a minute instead of five.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
}


class Workers(Processes):
    """Two workers, and everything they need; the second one is killed in the middle of its second task."""

    def __init__(self, settings):
        super().__init__(settings.path("airflow", "workers"))
        self.tries = {}
        """DAG → the most tries that one of its tasks took."""
        self.killed_in = ""
        """What the second worker was at when it was killed."""
        broker, port = free_port(), free_port()
        url = self._redis(broker)
        environment = airflow_home.environment(settings, port=port)
        self.env = environment | FAST | {
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CELERY__BROKER_URL_CMD": f"cat {url}",
            "HOME": "/nonexistent",  # as in a container: nothing is written but below the work area and /tmp
        }  # fmt: skip
        self.url = f"http://127.0.0.1:{port}"
        airflow_home.migrate(settings, self.env)
        login = stack.Pages(self.url, airflow_home.LOGIN, logins.begin(settings, airflow_home.LOGIN))
        for name in ("api-server", "dag-processor", "scheduler"):
            self._start(name, SERVICES[name]["command"].split())
        for name in ("one", "two"):
            line = SERVICES["worker"]["command"].replace("--concurrency 2", "--concurrency 1").split()
            self._start(name, [*line, "--celery-hostname", f"celery@{name}"])
        deadline = time.monotonic() + stack.START_LIMIT
        while not stack.answers(self.url):
            assert time.monotonic() < deadline, self.tail("api-server")
            time.sleep(0.5)
        self._api = Api(login)
        asked = ("api-server", "scheduler", "dag-processor", "triggerer", "worker")
        self.health = {name: self._healthy(name, "one") for name in asked}
        """What each service's own health check says, once everything but a triggerer runs."""

    def run(self, dag_id, conf=None):
        """Start a run by the public API and wait for its end, as `DagRunner.run` does."""
        begun, over = time.monotonic(), threading.Event()
        killer = threading.Thread(target=self._kill_in_the_middle, args=(over,))
        if dag_id == "submission_intake":
            killer.start()
        run, tasks = self._api.run(dag_id, conf or {})
        self._api("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": True})
        over.set()
        if killer.ident:
            killer.join()
        self.tries[dag_id] = max(task["try_number"] for task in tasks)
        states = {f"{task['task_id']}[{task['map_index']}]": task["state"] for task in tasks}
        return DagRun(dag_id, run["state"], time.monotonic() - begun, states)

    def done(self, worker):
        """How many tasks a worker ended."""
        return self.text(worker).count(" succeeded in ")

    def _healthy(self, service, worker=""):
        """The answer to a service's own health check of docker-compose.yaml, asked here."""
        line = SERVICES[service]["healthcheck"]["test"]
        command = line[1] if line[0] == "CMD-SHELL" else " ".join(line[1:])
        command = command.replace("$$", "$").replace("http://api-server:8080", self.url)
        if service == "api-server":
            command += f" {self.url}"
        env = self.env | {"HOSTNAME": worker, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        return (
            subprocess.run(["sh", "-c", command], cwd=ROOT, env=env, capture_output=True, check=False).returncode == 0
        )

    def _kill_in_the_middle(self, over):
        """SIGKILL for the second worker and all its children, 1.5 s after it began its second task."""
        while not over.wait(0.1):
            if self.done("two") >= 1 and self.text("two").count(" received") > self.done("two"):
                break
        if over.wait(1.5):
            return
        self.killed_in = self.kill("two")

    def _redis(self, port):
        """The server as the container starts it, with the configuration that `deploy/secrets.sh` writes."""
        secrets = self.log / "secrets"
        subprocess.run(["sh", ROOT / "deploy" / "secrets.sh", secrets], check=True, stderr=subprocess.DEVNULL)
        place = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(self.log)]
        self.spawn("redis", ["redis-server", str(secrets / "redis.conf"), *place], os.environ)
        url = secrets / "broker_url"
        url.write_text(url.read_text().replace("@redis:6379", f"@127.0.0.1:{port}"))
        return url

    def _start(self, name, line):
        assert line[0] == "airflow"
        self.spawn(name, [sys.executable, "-m", *line], self.env)


def missing():
    """Why this machine cannot play several machines; "" when it can."""
    return "" if shutil.which("redis-server") else "no redis-server on this machine"

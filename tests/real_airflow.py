"""The real Airflow as tests meet it: its public API with a login, and one certificate that a city reports over SFTP."""

import contextlib
import io
import json
import os
import signal
import threading
import time
import urllib.request
import zipfile
from urllib.parse import quote, urlencode

from certflow.demo.servers import addresses
from certflow.sftp import connect

PERSON = "测试甲"
NUMBER = "11010519491231002X"
REGISTRY = (
    "ZSGLH,KSXM,ZJHM,ZJLB,XB,KSDM,KSMC,BKJB,BKZY,CSNY,PZRQ,BMS\n"
    f"2018034370000001,{PERSON},{NUMBER},居民身份证,女,034,一级建造师,,建筑工程,194912,20180916,济南市\n"
)
ROW = ["2018034370000001", PERSON, NUMBER, "居民身份证", "女", "", "建筑工程", "194912", "20180916", "", "济南市"]
STEM = "202005-034-一级建造师(证书补换印制信息)数据(济南市)(1人)"


def zipped(name, content):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, content)
    return packed.getvalue()


class Api:
    """Airflow's public API as a logged-in operator."""

    def __init__(self, pages):
        self._url = pages.url
        self._token = ""
        login = {"username": pages.login, "password": pages.password}
        self._token = self("POST", "/auth/token", login)["access_token"]

    def __call__(self, method, path, body=None):
        request = urllib.request.Request(
            self._url + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"},
        )
        with urllib.request.urlopen(request, timeout=120) as reply:
            return json.load(reply)

    def page(self, path, form=None):
        """A page as the same person's browser gets it."""
        data = None if form is None else urlencode(form).encode()
        headers = {"Authorization": f"Bearer {self._token}", "Sec-Fetch-Site": "same-origin"}
        request = urllib.request.Request(self._url + path, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.read().decode()

    def run(self, dag_id, conf):
        """Trigger, unpause and wait; the run and its task instances."""
        run = self("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"conf": conf, "logical_date": None})
        # Only now: unpausing starts the last missed slot at once, and that run shall wait behind ours.
        self("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})
        return self.end(dag_id, run["dag_run_id"])

    def end(self, dag_id, run_id):
        """Wait for the end of a run; the run and its task instances."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}"
        run = self.wait(path, lambda run: run["state"] not in {"queued", "running"})
        return run, self("GET", f"{path}/taskInstances?limit=100")["task_instances"]

    def wait(self, path, done, limit=600):
        """Ask until the answer is as it should be, or the time is over."""
        deadline = time.monotonic() + limit
        while not done(answer := self("GET", path)) and time.monotonic() < deadline:
            time.sleep(1)
        return answer

    def question(self, path):
        """What a run asks a person, once it waits for the answer."""
        self.wait(f"{path}/taskInstances/ask", lambda task: task["state"] == "awaiting_input")
        [question] = self("GET", f"{path}/hitlDetails")["hitl_details"]
        return question

    def answer(self, path, choice):
        """Answer at a person's pace: Airflow 3.3 loses what comes while the asking process is still ending."""
        time.sleep(10)
        self("PATCH", f"{path}/taskInstances/ask/-1/hitlDetails", {"chosen_options": [choice]})

    def clear(self, dag_id, run_id):
        """Clear every task of a finished run, as an operator does, and wait for its end."""
        self("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", {
            "dry_run": False, "only_failed": False, "dag_run_id": run_id,
        })  # fmt: skip
        return self.end(dag_id, run_id)


def drop(settings, account, name, content, tmp_path):
    """Upload as the city does: with its own login, into its own 报送."""
    remote = addresses(settings.home)[0].remote(account)
    local = tmp_path / "upload"
    local.write_bytes(content)
    with connect(remote, 20) as session:
        part = session.put_part(local, f"/{settings.folders.inbox}/{name}")
        session.rename(part.path, f"/{settings.folders.inbox}/{name}")


@contextlib.contextmanager
def frozen_at_the_first_part(folder, processes):
    """Stop the processes that answer once an unfinished upload lies there (the event), wake them at the end."""
    frozen, over = threading.Event(), threading.Event()
    stopped = []

    def watch():
        while not over.is_set() and not frozen.is_set():
            if any(folder.rglob("*.part")):
                stopped.extend(processes())
                for pid in stopped:
                    os.kill(pid, signal.SIGSTOP)
                frozen.set()
            time.sleep(0.001)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield frozen
    finally:
        over.set()
        watching.join()
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

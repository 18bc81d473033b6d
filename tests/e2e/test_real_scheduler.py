"""The real Airflow: scheduler, LocalExecutor, API server and pages, driving the intake of real cities over SFTP."""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from real_airflow import NUMBER, PERSON, REGISTRY, ROW, STEM, Api, drop, zipped
from sqlalchemy import text
from tests import real_sshd

from certflow import stack
from certflow.demo.servers import addresses
from certflow.excel import write_xls
from certflow.findings import FIELDS
from certflow.registry import open_registry
from certflow.registry.certificates import load
from certflow.registry.doctor import examine
from certflow.registry.ledger import Actor
from certflow.settings import Folders, Settings

pytestmark = pytest.mark.slow

DROPS = {
    "370100": (f"{STEM}.zip", zipped(f"{STEM}.XLS", write_xls(FIELDS, [ROW]))),
    "370200": ("202005-零报(青岛市).txt", b""),
    "370300": ("202005-034.zip", zipped("../../evil.XLS", b"climbs out")),
}


@dataclasses.dataclass(frozen=True)
class Authority:
    """The far end as it lies on this machine; `processes` are those that answer logins."""

    tree: Path
    processes: Callable[[], list[int]]


@pytest.fixture
def sshd(tmp_path):
    """A real OpenSSH as the authority's server, where one is installed; else None, and the embedded one is taken."""
    if not real_sshd.sshd():
        yield None
        return
    server = real_sshd.OpenSsh(tmp_path / "authority")
    for name in (Folders().upward, Folders().returned, Folders().archive):
        (server.tree / name).mkdir()
    yield server
    server.close()


@pytest.fixture
def settings(tmp_path, monkeypatch, sshd):
    monkeypatch.setenv("CERTFLOW_LOOK_SECONDS", "0.3")
    if sshd is not None:
        remote = sshd.remote
        url = f"sftp://{remote.user}@{remote.host}:{remote.port}{remote.root}"
        monkeypatch.setenv("CERTFLOW_AUTHORITY_SFTP", url)
        monkeypatch.setenv("CERTFLOW_AUTHORITY_SFTP_KEY", str(remote.key))
        monkeypatch.setenv("CERTFLOW_AUTHORITY_SFTP_KNOWN_HOSTS", str(remote.known_hosts))
    monkeypatch.setenv("CERTFLOW_HOME", str(tmp_path / "home"))
    return Settings.load()


@pytest.fixture
def authority(settings, pages, sshd):
    """Where packages go: OpenSSH's tree and sessions, or the embedded servers' (one process for all)."""
    if sshd is not None:
        return Authority(sshd.tree, sshd.sessions)
    embedded = addresses(settings.home)[1]
    return Authority(embedded.tree, lambda: [embedded.pid])


@pytest.fixture
def pages(settings):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        yield stack.up(settings, port=port)
    finally:
        stack.down(settings)


def processes_of(home):
    """Command lines of processes that were started for this home (Linux)."""
    mark, found = f"CERTFLOW_HOME={home}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def month_is_sent_once(api, registry, settings, authority):
    """Month end with a person's answer on Airflow's page, then every task of it cleared (F33)."""
    prepare, tasks = api.run("month_end_prepare", {"month": "202005"})
    assert prepare["state"] == "success", tasks
    send = "/api/v2/dags/month_end_send"
    api("PATCH", send, {"is_paused": False})
    api.wait(f"{send}/dagRuns", handed_over)
    [run] = handed_over(api("GET", f"{send}/dagRuns"))
    path = f"{send}/dagRuns/{quote(run['dag_run_id'])}"
    question = api.question(path)
    assert "未报" in question["body"], "fourteen cities are missing: a person decides"
    assert sent(registry) == []
    upward = authority.tree / settings.folders.upward
    with frozen_at_the_first_part(upward, authority.processes) as frozen:
        api.answer(path, "批准")
        assert frozen.wait(120)
        # Nothing answers any more: the send is in the middle of its work when an operator gives up on it (F28).
        assert api("GET", f"{path}/taskInstances/send/0")["state"] == "running"
        api("PATCH", f"{path}/taskInstances/send/0", {"new_state": "failed"})
        failed, _tasks = api.end("month_end_send", run["dag_run_id"])
        assert failed["state"] == "failed"
    assert sent(registry) == []
    # The operator clears it while somebody else starts the month once more: both send, one delivers (F32).
    other = api("POST", f"{send}/dagRuns", {"conf": {"month": "202005"}, "logical_date": None})
    done, tasks = api.clear("month_end_send", run["dag_run_id"])
    twin, more = api.end("month_end_send", other["dag_run_id"])
    assert "success" in (done["state"], twin["state"]), [(task["task_id"], task["state"]) for task in tasks + more]
    [package] = sent(registry)
    assert package[1] == 1
    files = {path.name: path.stat().st_mtime_ns for path in upward.rglob("*") if path.is_file()}
    assert sorted(Path(name).suffix for name in files) == [".json", ".zip"]

    for dag_id, run_id in (("month_end_prepare", prepare["dag_run_id"]), ("month_end_send", run["dag_run_id"])):
        again, tasks = api.clear(dag_id, run_id)
        assert again["state"] == "success", [(task["task_id"], task["state"]) for task in tasks]
    month_is_filled_back(api)
    assert sent(registry) == [package]
    assert {path.name: path.stat().st_mtime_ns for path in upward.rglob("*") if path.is_file()} == files


def month_is_reported(api, settings, move):
    """What moved a month starts the reports by itself."""
    reports = "/api/v2/dags/quality_report"
    api("PATCH", reports, {"is_paused": False})
    move(api)
    started = f"{reports}/dagRuns?run_type=asset_triggered"
    answer = api.wait(started, lambda answer: any(run["state"] == "success" for run in answer["dag_runs"]))
    assert {run["state"] for run in answer["dag_runs"]} <= {"success", "running", "queued"}
    assert {path.suffix for path in (settings.reports / "202005").glob("*-月报.*")} == {".xlsx", ".pdf", ".html"}
    for run in answer["dag_runs"]:
        api.end("quality_report", run["dag_run_id"])


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


def month_is_filled_back(api):
    """A backfill of the month by its partition, and the send it hands over to (both find everything done)."""
    window = {"dag_id": "month_end_prepare", "from_date": "2020-05-01T00:00:00+08:00"}
    window |= {"to_date": "2020-05-31T00:00:00+08:00", "reprocess_behavior": "none", "max_active_runs": 1}
    window |= {"run_backwards": False, "dag_run_conf": {}}
    api("POST", "/api/v2/backfills", window)
    found = "/api/v2/dags/month_end_prepare/dagRuns?run_type=backfill"
    api.wait(found, lambda answer: answer["dag_runs"])
    [run] = api("GET", found)["dag_runs"]
    assert run["partition_key"] == "202005"
    done, tasks = api.end("month_end_prepare", run["dag_run_id"])
    assert done["state"] == "success", [(task["task_id"], task["state"]) for task in tasks]
    for handed in handed_over(api("GET", "/api/v2/dags/month_end_send/dagRuns")):
        api.end("month_end_send", handed["dag_run_id"])


def handed_over(answer):
    """Runs of our month; unpausing the preparation also started the slot that was missed last."""
    return [run for run in answer["dag_runs"] if run["conf"]["month"] == "202005"]


def sent(registry):
    """(package, times it was sent) of every package the ledger calls sent."""
    query = "SELECT package_id, count(*) FROM transfers WHERE event = 'sent' GROUP BY package_id"
    with registry.read() as conn:
        return conn.execute(text(query)).all()


def pages_are_behind_the_login(api, pages, settings):
    """The verification pages in Airflow's own server: closed, then open, then for the login's own city."""
    with pytest.raises(urllib.error.HTTPError) as closed:
        urllib.request.urlopen(f"{pages.url}/verify/", timeout=30)
    assert closed.value.code == 401
    assert "查验码" in api.page("/verify/")
    asked = {"requester": "某某建设集团有限公司", "reason": "投标"}
    asked |= {"management_no": ROW[0], "name": PERSON, "id_number": NUMBER}
    with pytest.raises(urllib.error.HTTPError) as forbidden:
        api.page("/verify/certificate", asked)
    assert forbidden.value.code == 403
    settings.path("logins.toml").write_text(f'[{pages.login}]\nroles = ["verifier"]\naccount = "370100"\n')
    assert "<strong>✓ 一致" in api.page("/verify/certificate", asked)
    menu = api("GET", "/api/v2/plugins")["plugins"]
    assert ["/desk/", "/verify/"] in [[view["href"] for view in one["external_views"]] for one in menu]


def test_the_cities_are_answered_and_the_month_is_sent_by_the_real_scheduler(settings, pages, authority, tmp_path):
    assert stack.up(settings, say=lambda _line: None) == pages, "a second call finds what runs"
    registry = open_registry(settings)
    export = tmp_path / "registry.csv"
    export.write_text(REGISTRY, encoding="utf-8")
    assert load(registry, Actor("test"), export).inserted == 1
    for account, (name, content) in DROPS.items():
        drop(settings, account, name, content, tmp_path)

    run, tasks = Api(pages).run("submission_intake", {})

    assert run["state"] == "success", tasks
    assert sum(task["task_id"] == "take_in" for task in tasks) == 16
    assert {task["rendered_map_index"] for task in tasks if task["task_id"] == "take_in"} >= set(DROPS)
    tree = addresses(settings.home)[0].tree
    for account, (name, _content) in DROPS.items():
        assert not list((tree / account / settings.folders.inbox).iterdir()), "taken"
        assert list((tree / account / settings.folders.replies).iterdir()), f"{account} has its answer"
        assert [path.name for path in (tree / account / settings.folders.received).rglob("*") if path.is_file()] == [
            name
        ]
    with registry.read() as conn:
        files = dict(conn.execute(text("SELECT account, state FROM files")).all())
        rows = conn.execute(text("SELECT state, count(*) FROM rows GROUP BY state")).all()
    assert files == {"370100": "JUDGED", "370200": "JUDGED", "370300": "RETURNED"}
    assert rows == [("ACCEPTED", 1)]

    pages_are_behind_the_login(Api(pages), pages, settings)
    month_is_reported(Api(pages), settings, lambda api: month_is_sent_once(api, registry, settings, authority))
    assert {name: lines for name, lines in examine(registry, settings).items() if lines} == {}
    registry.close()

    logs = [path for path in settings.path("airflow").rglob("*.log") if path.is_file()]
    assert any("take_in" in str(path) for path in logs)
    for path in logs:
        written = path.read_text(encoding="utf-8", errors="replace")
        assert NUMBER not in written, path
        assert PERSON not in written, path

    stack.down(settings)
    assert processes_of(settings.home) == []
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(pages.url, timeout=2)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes by /proc")
def test_down_also_stops_what_a_killed_keeper_left_behind(settings, pages):
    keeper = json.loads(settings.path("airflow", "run", "keeper.json").read_text(encoding="utf-8"))["pid"]
    os.kill(keeper, 9)
    assert len(processes_of(settings.home)) >= len(stack.AIRFLOW)
    stack.down(settings)
    assert processes_of(settings.home) == []

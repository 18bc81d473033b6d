"""A service of Airflow dies in the middle of a month: its runs go on once it is back, and one package arrives."""

import time
from urllib.parse import quote

import pytest
from airflow_services import Services
from real_airflow import REGISTRY, ROW, STEM, drop, frozen_at_the_first_part, zipped
from sqlalchemy import text

from certflow.excel import write_xls
from certflow.findings import FIELDS
from certflow.registry import open_registry
from certflow.registry.certificates import load
from certflow.registry.doctor import examine
from certflow.registry.ledger import Actor
from certflow.settings import Settings

pytestmark = [pytest.mark.long, pytest.mark.slow]

FAST = {
    # A scheduler that died counts as dead after 15 s and is looked for every 5 s; in service it is 30 s and 300 s,
    # Airflow's own values.
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
}
OUTAGE = 300
"""Seconds without an API server; how long tasks wait and try again is as in service."""
INTAKE, PREPARE, SEND = "submission_intake", "month_end_prepare", "month_end_send"


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("CERTFLOW_LOOK_SECONDS", "0.3")
    monkeypatch.setenv("CERTFLOW_APPROVAL", "never")
    monkeypatch.setenv("CERTFLOW_HOME", str(tmp_path / "home"))
    return Settings.load()


@pytest.fixture
def begun(settings, tmp_path):
    """A function that starts every service, with a certificate in the database and its row in a city's folder."""
    running = []

    def start(**more):
        only_ours = {"AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False"}  # no run but those of the test
        services = Services(settings, only_ours | more)
        running.append(services)
        export = tmp_path / "registry.csv"
        export.write_text(REGISTRY, encoding="utf-8")
        with open_registry(settings) as registry:
            assert load(registry, Actor("test"), export).inserted == 1
        drop(settings, "370100", f"{STEM}.zip", zipped(f"{STEM}.XLS", write_xls(FIELDS, [ROW])), tmp_path)
        return services

    yield start
    for services in running:
        services.__exit__()


def trigger(api, dag_id, conf=None):
    """Start a run; its path in the API."""
    run = api("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"conf": conf or {}, "logical_date": None})
    api("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})
    return f"/api/v2/dags/{dag_id}/dagRuns/{quote(run['dag_run_id'])}"


def tasks(api, path):
    return api("GET", f"{path}/taskInstances?limit=100")["task_instances"]


def ended(api, path):
    """Wait for the end of a run, a good one; the tries of its tasks."""
    run = api.wait(path, lambda run: run["state"] in {"success", "failed"}, 1200)
    assert run["state"] == "success", [
        (task["task_id"], task["state"], task["try_number"]) for task in tasks(api, path)
    ]
    return [task["try_number"] for task in tasks(api, path)]


def under_way(api):
    """The sending that the preparation has started: its path, and the id (the title of the process) of its task."""
    [run] = api("GET", f"/api/v2/dags/{SEND}/dagRuns")["dag_runs"]
    path = f"/api/v2/dags/{SEND}/dagRuns/{quote(run['dag_run_id'])}"
    [sending] = [task for task in tasks(api, path) if task["task_id"] == "send"]
    assert sending["state"] == "running"
    return path, sending["id"]


def one_delivery(settings, services, answered):
    """What ledger and far sides hold in the end: one package, an answer to each city; the doctor has nothing to say."""
    for account in answered:
        replies = services.cities.tree / account / settings.folders.replies
        assert [path for path in replies.rglob("*") if path.is_file()], account
    upward = services.authority.tree / settings.folders.upward
    assert sorted(path.suffix for path in upward.rglob("*") if path.is_file()) == [".json", ".zip"]
    with open_registry(settings) as registry:
        with registry.read() as conn:
            sent = "SELECT package_id, count(*) FROM transfers WHERE event = 'sent' GROUP BY package_id"
            assert [times for _, times in conn.execute(text(sent)).all()] == [1]
            assert conn.execute(text("SELECT state, count(*) FROM rows GROUP BY state")).all() == [("SENT", 1)]
        assert {name: lines for name, lines in examine(registry, settings).items() if lines} == {}


def test_f34_a_scheduler_killed_in_the_middle_and_started_again_goes_on_with_its_runs(settings, begun):
    """Once the scheduler alone, whose tasks go on without it; once with every task it runs, in the middle of a send."""
    services = begun(**FAST)
    api = services.api

    intake = trigger(api, INTAKE)
    api.wait(f"{intake}/taskInstances?limit=100", lambda found: answered(found["task_instances"]) >= 3)
    assert "airflow worker" in services.kill("scheduler", alone=True)
    assert answered(tasks(api, intake)) < 16, "in the middle"
    services.start("scheduler")
    ended(api, intake)

    ended(api, trigger(api, PREPARE, {"month": "202005"}))
    with frozen_at_the_first_part(
        services.authority.tree / settings.folders.upward, lambda: [services.authority.pid]
    ) as frozen:
        api("PATCH", f"/api/v2/dags/{SEND}", {"is_paused": False})
        assert frozen.wait(120)
        path, sending = under_way(api)
        assert sending in services.kill("scheduler"), "a task died with a half upload in its hands"
    services.start("scheduler")
    assert max(ended(api, path)) == 2, "sent again from the start"
    one_delivery(settings, services, ["370100"])


def test_f35_tasks_outlast_five_minutes_without_an_api_server(settings, begun, tmp_path):
    """It dies while one task sends and sixteen others are at work; nobody does anything but start it again."""
    services = begun()
    api = services.api
    ended(api, trigger(api, INTAKE))
    ended(api, trigger(api, PREPARE, {"month": "202005"}))
    drop(settings, "370200", "202005-零报(青岛市).txt", b"", tmp_path)

    with frozen_at_the_first_part(
        services.authority.tree / settings.folders.upward, lambda: [services.authority.pid]
    ) as frozen:
        api("PATCH", f"/api/v2/dags/{SEND}", {"is_paused": False})
        assert frozen.wait(120)
        intake = trigger(api, INTAKE)
        found = api.wait(f"{intake}/taskInstances?limit=100", lambda found: at_work(found["task_instances"]))
        assert at_work(found["task_instances"])
        path, _sending = under_way(api)
        services.kill("api-server")
    time.sleep(OUTAGE)
    services.start("api-server")
    services.wait()

    ended(api, path)
    ended(api, intake)
    one_delivery(settings, services, ["370100", "370200"])


def answered(found):
    """How many cities are done."""
    return sum(task["task_id"] == "take_in" and task["state"] == "success" for task in found)


def at_work(found):
    """Whether a city's task runs."""
    return any(task["task_id"] == "take_in" and task["state"] == "running" for task in found)

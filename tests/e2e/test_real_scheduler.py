"""The real Airflow: scheduler, LocalExecutor, API server and pages, driving the intake of real cities over SFTP."""

import dataclasses
import json
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from browser import needs_browser, operator_at
from planted_people import NAMES, NUMBERS, PLANTED, Heard, Titles, in_background
from planted_people import dag as planted_dag
from processes import free_port
from real_airflow import NUMBER, PERSON, REGISTRY, ROW, Api, drop, frozen_at_the_first_part, zipped
from sqlalchemy import text
from tests import real_sshd

from certflow import logins, stack
from certflow.airflow_home import airflow_folder
from certflow.demo import leaks
from certflow.demo.servers import addresses
from certflow.excel import write_xls
from certflow.findings import FIELDS
from certflow.registry import open_registry
from certflow.registry.certificates import load
from certflow.registry.doctor import examine
from certflow.registry.ledger import Actor
from certflow.settings import Folders, Settings

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

STEM = "202005-034-一级建造师(证书补换印制信息)数据(济南市)(5人)"
KINDS = {"十五位": "居民身份证"}
OTHERS = [
    [f"20180343700000{place:02}", NAMES[place % 2], number, KINDS.get(kind, kind), "男", "", "建筑工程", "199003",
     "20180916", "", "济南市"]
    for place, (kind, number) in enumerate(NUMBERS.items(), 11)
]  # fmt: skip
"""A person of each kind of document; only the first is beyond doubt in the certificate database."""
KNOWN = f"{OTHERS[0][0]},{OTHERS[0][1]},{OTHERS[0][2]},居民身份证,男,034,一级建造师,,建筑工程,199003,20180916,济南市\n"
DROPS = {
    "370100": (f"{STEM}.zip", zipped(f"{STEM}.XLS", write_xls(FIELDS, [ROW, *OTHERS]))),
    "370200": ("202005-零报(青岛市).txt", b""),
    "370300": ("202005-034.zip", zipped("../../evil.XLS", b"climbs out")),
}
BUSY = """
import signal
import time

from airflow.sdk import dag, get_current_context, task


@dag(dag_id="busy", schedule=None, params={"stubborn": False})
def busy():
    @task(retries=0)
    def work():
        if get_current_context()["params"]["stubborn"]:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)

    work()


busy()
"""
"""A task that has no end, and, where it is asked to, does not listen when it is told to end."""


@dataclasses.dataclass(frozen=True)
class Authority:
    """The far end as it lies on this machine; `processes` are those that answer logins."""

    tree: Path
    processes: Callable[[], list[int]]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    """A real OpenSSH as the authority's server, where one is installed; else None, and the embedded one is taken."""
    if not real_sshd.sshd():
        yield None
        return
    server = real_sshd.OpenSsh(tmp_path_factory.mktemp("sshd") / "authority")
    for name in (Folders().upward, Folders().returned, Folders().archive):
        (server.tree / name).mkdir()
    yield server
    server.close()


@pytest.fixture(scope="module")
def heard():
    """What a StatsD server is told."""
    server = Heard()
    with in_background(server.listen):
        yield server


@pytest.fixture(scope="module")
def titles(settings):
    """Command lines of everything that runs for this home meanwhile."""
    looking = Titles(settings.home)
    with in_background(looking.look):
        yield looking


@pytest.fixture(scope="module")
def settings(tmp_path_factory, sshd, heard):
    place = tmp_path_factory.mktemp("airflow")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CERTFLOW_LOOK_SECONDS", "0.3")
        environment.setenv("CERTFLOW_INTAKE_MINUTES", "59")
        if sshd is not None:
            remote = sshd.remote
            url = f"sftp://{remote.user}@{remote.host}:{remote.port}{remote.root}"
            environment.setenv("CERTFLOW_AUTHORITY_SFTP", url)
            environment.setenv("CERTFLOW_AUTHORITY_SFTP_KEY", str(remote.key))
            environment.setenv("CERTFLOW_AUTHORITY_SFTP_KNOWN_HOSTS", str(remote.known_hosts))
        environment.setenv("CERTFLOW_HOME", str(place / "home"))
        environment.setenv("CERTFLOW_STATSD", f"127.0.0.1:{heard.port}")
        settings = Settings.load()
        planted_dag(place / "planted", airflow_folder(settings))
        (place / "planted" / "busy.py").write_text(BUSY, encoding="utf-8")
        yield settings


@pytest.fixture(scope="module")
def authority(settings, pages, sshd):
    """Where packages go: OpenSSH's tree and sessions, or the embedded servers' (one process for all)."""
    if sshd is not None:
        return Authority(sshd.tree, sshd.sessions)
    embedded = addresses(settings.home)[1]
    return Authority(embedded.tree, lambda: [embedded.pid])


@pytest.fixture(scope="module")
def pages(settings):
    """One Airflow for all tests of this file, which go on from one to the next."""
    try:
        yield stack.up(settings, port=free_port())
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
    """The verification pages in Airflow's own server: closed, then open, then for a login of the city."""
    with pytest.raises(urllib.error.HTTPError) as closed:
        urllib.request.urlopen(f"{pages.url}/verify/", timeout=30)
    assert closed.value.code == 401
    assert "查验码" in api.page("/verify/")
    asked = {"requester": "某某建设集团有限公司", "reason": "投标"}
    asked |= {"management_no": ROW[0], "name": PERSON, "id_number": NUMBER}
    with pytest.raises(urllib.error.HTTPError) as forbidden:
        api.page("/verify/certificate", asked)
    assert forbidden.value.code == 403
    password = logins.add(settings, "jinan", ["verifier"], "370100")
    city = Api(dataclasses.replace(pages, login="jinan", password=password))
    assert "<strong>✓ 一致" in city.page("/verify/certificate", asked)
    for path in ("/api/v2/connections", "/api/v2/eventLogs", "/api/v2/dags/submission_intake"):
        with pytest.raises(urllib.error.HTTPError) as forbidden:
            city("GET", path)
        assert forbidden.value.code == 403, "there is no Airflow of one city"
    logins.remove(settings, "jinan")
    with pytest.raises(urllib.error.HTTPError) as gone:
        city.page("/verify/")
    assert gone.value.code == 401
    menu = api("GET", "/api/v2/plugins")["plugins"]
    assert ["/desk/", "/verify/"] in [[view["href"] for view in one["external_views"]] for one in menu]


def work_is_measured(heard):
    """What the tasks told a StatsD server: Airflow's own lines, and ours."""
    assert heard.total("certflow.files.received") == 3
    assert heard.total("certflow.bytes.received") == sum(len(content) for _name, content in DROPS.values())
    assert heard.total("certflow.rows.accepted") == 2
    assert heard.total("certflow.findings.error") >= 3
    assert (heard.total("certflow.packages.sent"), heard.total("certflow.rows.sent")) == (1, 2)
    assert heard.total("certflow.bytes.sent") > 1000
    assert (heard.last("certflow.authority.rows"), heard.last("certflow.authority.days")) == (2, 0)
    assert heard.last("certflow.alerts.open") >= 0
    named = set(re.findall(r"`(?:certflow)?(\.[a-z.]+)`", (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")))
    told = {line.partition(":")[0].removeprefix("airflow.certflow") for line in heard.lines if ".certflow." in line}
    assert {name for name in told if name not in named and f".{name.rpartition('.')[2]}" not in named} == set()
    assert any(line.startswith("airflow.dag.submission_intake.take_in.duration:") for line in heard.lines)


def nobody_else_reads(settings):
    """What the processes wrote is their user's alone."""
    below = [path for path in settings.home.rglob("*") if not path.is_symlink()]
    assert len(below) > 500
    assert [str(path) for path in below if path.exists() and path.stat().st_mode & 0o077] == []


def nobody_stands_anywhere(api, registry, settings, heard, titles):
    """F51: tasks that fail with people in every way a task can; afterwards only the work's own places know them."""
    run, tasks = api.run("planted", {})
    assert (run["state"], {task["state"] for task in tasks}) == ("failed", {"failed"})
    said = {"metrics": "\n".join(heard.lines), "titles of processes": b"\n".join(titles.seen)}
    assert len(said["metrics"]) > 1000
    assert b"airflow scheduler" in said["titles of processes"]
    assert leaks.search(settings, registry, planted=PLANTED | {NUMBER, PERSON}, heard=said) == []
    spoken = next(settings.path("airflow").rglob("dag_id=planted/**/task_id=speak/*.log")).read_text(encoding="utf-8")
    for words in ("row {", "photo", "odd: ", "printed", "complained", "child", "no certificate for"):
        assert words in spoken, "it was said, and masked"


def test_the_cities_are_answered_and_the_month_is_sent_by_the_real_scheduler(
    settings, heard, titles, pages, authority, tmp_path
):
    assert stack.up(settings, say=lambda _line: None) == pages, "a second call finds what runs"
    registry = open_registry(settings)
    export = tmp_path / "registry.csv"
    export.write_text(REGISTRY + KNOWN, encoding="utf-8")
    assert load(registry, Actor("test"), export).inserted == 2
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
    assert dict(rows) == {"ACCEPTED": 2, "RETURNED": 3}

    pages_are_behind_the_login(Api(pages), pages, settings)
    month_is_reported(Api(pages), settings, lambda api: month_is_sent_once(api, registry, settings, authority))
    assert {name: lines for name, lines in examine(registry, settings).items() if lines} == {}
    Api(pages).run("reprint_reconciliation", {})
    work_is_measured(heard)
    nobody_stands_anywhere(Api(pages), registry, settings, heard, titles)
    nobody_else_reads(settings)
    registry.close()


@needs_browser
def test_behind_the_login_every_page_opens_in_a_browser_without_script_and_without_a_sideways_scroll(pages):
    """Every page of the navigation, wide and narrow; the browser says nothing about refused content."""
    with operator_at(pages) as operator:
        every_page_opens(operator, pages)


def every_page_opens(operator, pages):
    complaints = []
    operator.page.on("console", lambda message: complaints.append(message.text))
    operator.page.on("pageerror", lambda error: complaints.append(str(error)))
    links = operator.page.locator("nav a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert len(links) > 8
    for link in links:
        answer = operator.page.goto(f"{pages.url}{link}")
        assert answer.status == 200, link
        assert operator.page.locator("h1").count() == 1, link
        assert operator.page.locator("nav a[aria-current]").count() == 1, link
        operator.page.set_viewport_size({"width": 390, "height": 844})
        assert operator.page.evaluate("document.documentElement.scrollWidth") <= 390, link
        operator.page.set_viewport_size({"width": 1280, "height": 800})
        operator.page.keyboard.press("Tab")
        assert operator.page.evaluate("document.activeElement.textContent") == "跳到正文", link
    assert complaints == []
    stranger = operator.page.context.browser.new_context()
    for link in links:
        assert stranger.request.get(f"{pages.url}{link}").status == 401, link
    stranger.close()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes by /proc")
def test_down_ends_everything_in_the_middle_of_a_task_and_what_a_killed_keeper_left_behind(
    settings, pages, monkeypatch
):
    at_work(Api(pages), {"stubborn": True})
    keeper = json.loads(settings.path("airflow", "run", "keeper.json").read_text(encoding="utf-8"))["pid"]
    os.kill(keeper, signal.SIGKILL)
    assert len(processes_of(settings.home)) > len(stack.AIRFLOW)
    monkeypatch.setattr(stack, "STOP_LIMIT", 5)  # nobody waits for it to listen
    stack.down(settings)
    assert processes_of(settings.home) == []

    again = stack.up(settings, port=free_port())
    at_work(Api(again), {})
    stack.down(settings)
    assert processes_of(settings.home) == []
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(again.url, timeout=2)


def at_work(api, conf):
    """Start the task that has no end, and wait until it is in the middle of its work."""
    api("PATCH", "/api/v2/dags/busy", {"is_paused": False})
    run = api("POST", "/api/v2/dags/busy/dagRuns", {"conf": conf, "logical_date": None})
    path = f"/api/v2/dags/busy/dagRuns/{quote(run['dag_run_id'])}/taskInstances/work"
    assert api.wait(path, lambda task: task["state"] == "running")["state"] == "running"

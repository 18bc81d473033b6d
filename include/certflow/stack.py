"""`certflow up` and `certflow down`: Airflow with its pages, and the embedded servers it needs, on one machine.

::

    certflow up ── starts ──> keeper (python -m certflow.stack), detached
                                ├── holds the embedded PostgreSQL (unless CERTFLOW_DATABASE_URL names another)
                                ├── SFTP servers of the cities and the authority (unless CERTFLOW_CITY_SFTP is set)
                                └── Airflow: dag-processor, scheduler, api-server, triggerer

Every child leads its own session and leaves ``airflow/run/<name>.json``; so `down` also finds what a killed keeper
left behind, tasks included (each leads a process group of its own, but stays in the scheduler's session), and never
touches a process that merely got an old number.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from certflow import airflow_home, logins
from certflow.errors import Busy, CertflowError, ConfigurationError
from certflow.registry import server
from certflow.settings import Settings

KEEPER = "keeper"
SFTP = "sftp"
AIRFLOW = {
    "dag-processor": ("dag-processor",),
    # Task logs lie on this machine and are read from its disk: nothing has to serve them on a port of its own.
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "api-server": ("api-server",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
"""Airflow's processes and their command lines."""
REFUSED = "certflow 拒绝启动"
"""How the words begin with which a service of Airflow ends that has settings for developers."""
START_LIMIT = 600.0
"""Seconds until the pages must answer: a busy machine is no failure, and a process that ends is noticed at once."""
STOP_LIMIT = 30.0
"""Seconds a service and its tasks have to end before they are killed."""


@dataclass(frozen=True, slots=True)
class Pages:
    """Where Airflow's pages are and how to log in; no password once somebody has renewed the first one."""

    url: str
    login: str
    password: str


def up(settings: Settings, *, port: int = airflow_home.PORT, say: Callable[[str], None] = print) -> Pages:
    """Start everything and return when the pages answer; a second call finds what runs.

    Raises:
        ConfigurationError: the port is taken, or there is no checkout to take the DAGs from.
        CertflowError: it did not come up; the message names the log.
    """
    password = logins.begin(settings, airflow_home.LOGIN)
    if _alive(settings, KEEPER):
        note = _read(settings, KEEPER)
        pages = Pages(f"http://127.0.0.1:{note['port']}", airflow_home.LOGIN, password)
        if answers(pages.url):
            say("已在运行")
            return pages
        raise CertflowError("Airflow 正在启动或没有应答：稍候再试，或先运行 certflow down")
    down(settings, say=lambda _line: None)  # what a killed keeper left behind
    airflow_home.checkout()
    _refuse_taken(port)
    for name in AIRFLOW:
        _log(settings, name).unlink(missing_ok=True)  # what it says is about another start
    log = _run_folder(settings) / "keeper.log"
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output:
        keeper = subprocess.Popen(  # noqa: S603 (our own interpreter)
            [sys.executable, "-m", "certflow.stack", str(port)],
            env=os.environ | {"CERTFLOW_HOME": str(settings.home)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    pages = Pages(f"http://127.0.0.1:{port}", airflow_home.LOGIN, password)
    say("正在启动数据库、SFTP 与 Airflow（约半分钟）")
    for _ in _patience(START_LIMIT):
        if keeper.poll() is not None:
            raise CertflowError(_refused(settings) or f"没有启动成功，详见 {log}")
        if answers(pages.url):
            return pages
    down(settings, say=say)
    raise CertflowError(f"{START_LIMIT:.0f} 秒内没有启动成功，详见 {log}")


def down(settings: Settings, *, say: Callable[[str], None] = print) -> None:
    """Stop everything that `up` started, whatever state it is in; nothing to stop is no error."""
    stopped = False
    keeper = _read(settings, KEEPER)  # it takes its note away before it ends
    if _lives(keeper):
        os.kill(int(str(keeper["pid"])), signal.SIGTERM)
        stopped = True
        for _ in _patience(STOP_LIMIT * 2):
            if not _lives(keeper):
                break
    left = _sessions(settings)
    _end(left)
    for name in (*AIRFLOW, SFTP, KEEPER):
        _note_file(settings, name).unlink(missing_ok=True)
    stopped = stopped or bool(left)
    if stopped:
        with suppress(Busy):  # somebody else works with the database: theirs to stop
            server.stop(settings)
    say("已全部停止" if stopped else "没有在运行")


def answers(url: str) -> bool:
    """Whether Airflow's API server, its scheduler and its page are there."""
    try:
        with urllib.request.urlopen(f"{url}/api/v2/monitor/health", timeout=5) as reply:  # noqa: S310 (loopback)
            health = json.load(reply)
        with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310 (loopback)
            page = reply.status == 200
    except (OSError, urllib.error.URLError, ValueError):
        return False
    return page and all(health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor"))


def keep(settings: Settings, port: int) -> int:
    """The keeper's life: start, watch, stop. Ends on SIGTERM, or with everything when one of its children ends."""
    ending = False

    def end(_number: int, _frame: object) -> None:
        nonlocal ending
        ending = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    _write(settings, KEEPER, os.getpid(), port=port)
    children: dict[str, subprocess.Popen[bytes]] = {}
    lease = server.hold(settings)
    failed = ""
    try:
        env = airflow_home.environment(settings, port=port)
        if settings.city_sftp is None or settings.authority_sftp is None:
            children[SFTP] = _start(settings, SFTP, ["-m", "certflow.demo.servers", str(settings.home)], env)
            env |= _sftp_environment(settings, children[SFTP], lambda: ending)
        airflow_home.migrate(settings, env)
        for name, arguments in AIRFLOW.items():
            children[name] = _start(settings, name, ["-m", "airflow", *arguments], env)
        while not ending and not failed:
            time.sleep(0.5)
            failed = next((name for name, child in children.items() if child.poll() is not None), "")
        if failed and not ending:
            print(f"{failed} ended by itself, see {_log(settings, failed)}; stopping the rest", flush=True)  # noqa: T201 (the keeper's log)
    finally:
        _end({child.pid for child in children.values()})
        for name in children:
            _note_file(settings, name).unlink(missing_ok=True)
        if lease is not None:
            lease.close()
        _note_file(settings, KEEPER).unlink(missing_ok=True)
    return 1 if failed and not ending else 0


def _sftp_environment(
    settings: Settings, process: subprocess.Popen[bytes], ended: Callable[[], bool]
) -> dict[str, str]:
    """Wait for the embedded SFTP servers and say how to reach them; a server that is configured stays."""
    from certflow.demo.servers import addresses

    for _ in _patience(60):
        if process.poll() is not None or ended():
            break
        with suppress(OSError, ValueError, KeyError):
            city, authority = addresses(settings.home)
            if city.pid == process.pid:
                found = city.environment("CERTFLOW_CITY_SFTP") if settings.city_sftp is None else {}
                return found | (
                    authority.environment("CERTFLOW_AUTHORITY_SFTP") if settings.authority_sftp is None else {}
                )
    raise CertflowError("内置 SFTP 没有启动")


def _start(settings: Settings, name: str, arguments: list[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with _log(settings, name).open("wb") as output:
        child = subprocess.Popen(  # noqa: S603 (our own interpreter)
            [sys.executable, *arguments],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _write(settings, name, child.pid)
    return child


def _end(sessions: Collection[int]) -> None:
    """Ask the leaders of these sessions to end, with their groups; kill whatever is left of the sessions after a while.

    A service hands the signal on to its tasks as it sees fit.
    """
    for number in sessions:
        with suppress(ProcessLookupError):
            os.killpg(number, signal.SIGTERM)
    for _ in _patience(STOP_LIMIT):
        if not _processes(sessions):
            return
    for _ in _patience(STOP_LIMIT):  # what is killed may just have started another
        left = _processes(sessions)
        if not left:
            return
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _sessions(settings: Settings) -> set[int]:
    """Sessions that `up` began and of which something lives: the leader itself, or without it a process of our home."""
    found = set()
    for name in (*AIRFLOW, SFTP, KEEPER):
        note = _read(settings, name)
        if note and (_lives(note) or any(_of_home(pid, settings.home) for pid in _processes({int(str(note["pid"]))}))):
            found.add(int(str(note["pid"])))
    return found


def _processes(sessions: Collection[int]) -> list[int]:
    """Every living process of these sessions."""
    if Path("/proc/self/stat").exists():
        numbers = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    else:
        shown = subprocess.run(["/bin/ps", "-A", "-o", "pid="], check=False, capture_output=True, text=True)
        numbers = shown.stdout.split()
    found = []
    for pid in map(int, numbers):
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) in sessions and _born(pid):
                found.append(pid)
    return found


def _of_home(pid: int, home: Path) -> bool:
    """Whether a process was started for this home, where its environment can be seen (Linux)."""
    with suppress(OSError):
        return f"CERTFLOW_HOME={home}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False


def _refused(settings: Settings) -> str:
    """Why one of Airflow's services would not start with these settings (`plugins/start_check.py`); "" if it did."""
    for name in AIRFLOW:
        with suppress(FileNotFoundError):
            _, found, reason = _log(settings, name).read_text(encoding="utf-8", errors="replace").partition(REFUSED)
            if found:
                return (found + reason).strip()
    return ""


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ConfigurationError(f"端口 {port} 已被占用：请用 certflow up --port 换一个") from None


def _run_folder(settings: Settings) -> Path:
    folder = airflow_home.airflow_folder(settings) / "run"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _note_file(settings: Settings, name: str) -> Path:
    return _run_folder(settings) / f"{name}.json"


def _log(settings: Settings, name: str) -> Path:
    return _run_folder(settings) / f"{name}.log"


def _write(settings: Settings, name: str, pid: int, **more: int) -> None:
    note = {"pid": pid, "born": _born(pid), **more}
    _note_file(settings, name).write_text(json.dumps(note), encoding="utf-8")


def _read(settings: Settings, name: str) -> dict[str, object]:
    try:
        note: dict[str, object] = json.loads(_note_file(settings, name).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return note


def _alive(settings: Settings, name: str) -> bool:
    return _lives(_read(settings, name))


def _lives(note: Mapping[str, object]) -> bool:
    """Whether the process of a note still lives: same number and same birth."""
    return bool(note) and note["born"] != "" and _born(int(str(note["pid"]))) == note["born"]


def _born(pid: int) -> str:
    """When a process began, as a token to compare; empty when there is none (a zombie has ended)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return ""
        shown = subprocess.run(  # noqa: S603 (macOS: no /proc)
            ["/bin/ps", "-o", "state=,lstart=", "-p", str(pid)], check=False, capture_output=True, text=True
        )
        state, _, born = shown.stdout.strip().partition(" ")
        return "" if state.startswith("Z") else born.strip()
    return "" if fields[0] == "Z" else fields[19]


def _patience(seconds: float) -> Iterator[float]:
    """Ticks until the time is over."""
    begun = time.monotonic()
    while (waited := time.monotonic() - begun) < seconds:
        yield waited
        time.sleep(0.25)


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(keep(Settings.load(), int(sys.argv[1])))

"""The embedded PostgreSQL server: started by the first user of a home, stopped by the last one.

Every user holds a shared flock on ``users.lock`` (`hold`); whoever starts or stops holds ``start.lock`` alone.
A process that is killed loses its flock with its life; the server it leaves behind is adopted by the next
user. Only a Unix socket in a private folder, only a generated password: see `registry.cluster`.
"""

import atexit
import contextlib
import fcntl
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url

from certflow.errors import Busy, ConfigurationError
from certflow.registry.cluster import APPLICATION, OWNER, SOCKET_FILE, Cluster, Runner, binaries
from certflow.settings import Settings

DATABASES = ("certflow", "airflow")
"""Ours, and the one for Airflow's metadata."""
START_LIMIT = 300.0
"""Seconds a start may take: recovery after a crash on a slow disk is not a failure."""
STARTS = 3
"""Tries: a server that was killed is followed by its orphans, which keep a new one out for a second or two."""
STOP_LIMIT = 60.0
"""Seconds after which a stop becomes an immediate one (nothing is lost, the next start recovers)."""

_log = logging.getLogger(__name__)


class Lease:
    """One user's hold on the server; `close` (or the end of the process) gives it back."""

    def __init__(self, cluster: Cluster, descriptor: int) -> None:
        self._cluster = cluster
        self._descriptor: int | None = descriptor
        self._process = os.getpid()
        atexit.register(self.close)

    def close(self) -> None:
        """Give the hold back; the last one stops the server. In a forked child only the copy is closed."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        atexit.unregister(self.close)
        if os.getpid() != self._process:
            os.close(descriptor)
            return
        with _alone(self._cluster):
            os.close(descriptor)
            if _unused(self._cluster):
                _stop(self._cluster)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def hold(settings: Settings) -> Lease | None:
    """Make sure the home's server runs, with its databases, and hold it; None when the database is elsewhere.

    ConfigurationError says why it cannot run. Takes some milliseconds on a running server, 2 s the first time.
    """
    if settings.database_url is not None:
        return None
    cluster = Cluster(settings.home)
    cluster.claim()
    with _alone(cluster):
        descriptor = _open_lock(cluster.users_lock)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            _ensure_running(cluster)
        except BaseException:
            os.close(descriptor)
            raise
        return Lease(cluster, descriptor)


def stop(settings: Settings) -> bool:
    """Stop the home's server now; False when it was not running. Busy while somebody holds it."""
    cluster = Cluster(settings.home)
    if settings.database_url is not None or not cluster.root.is_dir():
        return False
    cluster.claim()
    with _alone(cluster):
        if not _unused(cluster):
            raise Busy(f"{cluster.home} 的数据库正在被其他进程使用，没有停止")
        return _stop(cluster)


def url(settings: Settings, database: str = "certflow", *, owner: bool = False) -> str:
    """SQLAlchemy URL of one of `DATABASES`, for other processes too, while somebody holds the server.

    Our own database is opened with the application's login, or with its owner's; any other with the owner's. It
    carries no password: libpq reads it from the protected file the URL names. With an external server
    (`Settings.database_url`) ``certflow`` is the database of that URL, any other name lies beside it.
    """
    if settings.database_url is not None:
        named = settings.database_owner_url if owner and settings.database_owner_url else settings.database_url
        address = make_url(named).set(drivername="postgresql+psycopg")
        if database != "certflow":
            address = address.set(database=database)
    else:
        cluster = Cluster(settings.home)
        query = {"host": str(cluster.socket_folder), "passfile": str(cluster.password_file)}
        role = APPLICATION if database == "certflow" and not owner else OWNER
        address = URL.create("postgresql+psycopg", username=role, database=database, query=query)
    return address.render_as_string(hide_password=False)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


@contextlib.contextmanager
def _alone(cluster: Cluster) -> Iterator[None]:
    """Be the only process that starts or stops this server."""
    descriptor = _open_lock(cluster.start_lock)
    try:
        for _ in _patience(START_LIMIT + STOP_LIMIT, "等待另一个进程启动或停止数据库"):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                continue
        else:
            raise Busy(f"另一个进程一直在启动或停止 {cluster.home} 的数据库；请稍后再试")
        yield
    finally:
        os.close(descriptor)


def _unused(cluster: Cluster) -> bool:
    """Whether nobody holds the server; only true for as long as ``start.lock`` is ours."""
    descriptor = _open_lock(cluster.users_lock)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def _ensure_running(cluster: Cluster) -> None:
    started = False
    for _ in range(STARTS):
        if not ((cluster.data / "PG_VERSION").is_file() and _answers(cluster)):
            runner = cluster.prepare()
            _wait_for_the_old_one(cluster)
            _start(cluster, runner)
            started = True
        if _becomes_ready(cluster):
            break
    else:
        raise ConfigurationError(f"数据库启动失败：{_tail(cluster.log)}；完整日志见 {cluster.log}")
    with _connect(cluster) as connection:
        there = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
        for name in DATABASES:
            if name not in there:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        _admit(connection, cluster, anew=started)


def _admit(connection: psycopg.Connection[tuple[object, ...]], cluster: Cluster, *, anew: bool) -> None:
    """The application's login exists and takes the password in the file; what it may do, the migration says."""
    there = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (APPLICATION,)).fetchone() is not None
    if there and not anew:
        return
    order = "ALTER ROLE {} LOGIN PASSWORD {}" if there else "CREATE ROLE {} LOGIN PASSWORD {}"
    word = sql.Literal(cluster.password(APPLICATION))
    connection.execute(sql.SQL(order).format(sql.Identifier(APPLICATION), word))


def _answers(cluster: Cluster) -> bool:
    """Whether a postmaster listens, ready or not; asked by socket, since a process id means nothing in a container."""
    try:
        path = cluster.socket_folder / SOCKET_FILE
    except ConfigurationError:
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _process(cluster: Cluster) -> tuple[int, bool] | None:
    """Process id in ``postmaster.pid`` and whether that living process is this cluster's; None when nobody lives."""
    try:
        pid = int((cluster.data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").split("\n", 1)[0])
        os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    except PermissionError:
        return pid, False
    command = Path(f"/proc/{pid}/cmdline")
    if command.parent.parent.joinpath("self").exists():
        try:
            words = command.read_bytes().replace(b"\0", b" ")
        except FileNotFoundError:
            return None
    else:
        found = subprocess.run(["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)  # noqa: S603 (a number)
        words = found.stdout
    return pid, b"postgres" in words and os.fsencode(cluster.data) in words


def _wait_for_the_old_one(cluster: Cluster) -> None:
    """Let a server that is just coming up or going down finish; clear what a killed one left behind."""
    for _ in _patience(STOP_LIMIT, "等待上一个数据库进程结束"):
        found = _process(cluster)
        if found is None:
            return
        pid, ours = found
        if not ours:
            # After kill -9 or a reboot the number belongs to somebody else, and PostgreSQL would refuse to start.
            _log.warning("清除失效的 postmaster.pid（进程号 %s 已属于其他程序）", pid)
            (cluster.data / "postmaster.pid").unlink(missing_ok=True)
            with contextlib.suppress(ConfigurationError):
                (cluster.socket_folder / f"{SOCKET_FILE}.lock").unlink(missing_ok=True)
            return
        if _answers(cluster):
            os.kill(pid, signal.SIGINT)
    raise ConfigurationError(f"{cluster.home} 有一个旧的数据库进程没有结束；请查看 {cluster.log}")


def _start(cluster: Cluster, runner: Runner) -> None:
    done = runner.run(binaries() / "pg_ctl", "start", "-W", "-s", "-D", cluster.data, "-l", cluster.log)
    if done.returncode != 0:
        raise ConfigurationError(f"数据库无法启动：{done.stderr.strip()[-300:]}；日志见 {cluster.log}")


def _becomes_ready(cluster: Cluster) -> bool:
    """Wait until the server takes connections; False when it died instead."""
    said = ""
    for waited in _patience(START_LIMIT, "数据库正在启动"):
        try:
            _connect(cluster).close()
        except psycopg.OperationalError as error:
            said = str(error).strip()
        else:
            return True
        if "authentication failed" in said or "no password supplied" in said:
            raise ConfigurationError(
                f"数据库不接受 {cluster.password_file} 中的口令；该文件须与 {cluster.data} 一起保存、一起恢复"
            )
        if waited > 2 and _process(cluster) is None and not _answers(cluster):
            return False
    raise ConfigurationError(f"数据库在 {START_LIMIT:.0f} 秒内没有就绪（{said[-200:]}）；日志见 {cluster.log}")


def _connect(cluster: Cluster) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host=str(cluster.socket_folder),
        user=OWNER,
        dbname="postgres",
        passfile=str(cluster.password_file),
        connect_timeout=10,
        autocommit=True,
    )


def _stop(cluster: Cluster) -> bool:
    found = _process(cluster)
    if found is None or not found[1]:
        return False
    pid = found[0]
    for order in (signal.SIGINT, signal.SIGQUIT):  # fast: roll back and check-point; immediate: recover later
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, order)
        for _ in _patience(STOP_LIMIT, "数据库正在停止"):
            if _process(cluster) is None:
                return True
    raise ConfigurationError(f"数据库进程 {pid} 无法停止；日志见 {cluster.log}")


def _patience(limit: float, what: str) -> Iterator[float]:
    """Yield the seconds waited so far, in ever longer steps up to `limit`; says every 5 s what is waited for."""
    began = time.monotonic()
    step, spoken = 0.01, 0.0
    while (waited := time.monotonic() - began) < limit:
        yield waited
        if waited - spoken >= 5:
            _log.info("%s（已等 %.0f 秒，上限 %.0f 秒）", what, waited, limit)
            spoken = waited
        time.sleep(step)
        step = min(step * 1.5, 0.25)


def _tail(path: Path) -> str:
    try:
        return " / ".join(path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:])
    except OSError:
        return "没有日志"

"""The embedded PostgreSQL, really started: one server per home, whoever comes, goes, dies or moves."""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

import certflow
from certflow.errors import Busy, ConfigurationError
from certflow.registry import open_registry, server
from certflow.registry.upgrade import owner
from certflow.settings import Settings

pytestmark = pytest.mark.slow

PACKAGE_ROOT = Path(certflow.__file__).parents[1]
PROGRAM = """
import sys, time
from pathlib import Path
from certflow.registry import open_registry, server
from certflow.settings import Settings
registry = open_registry(Settings(home=Path(sys.argv[1])))
print("open", flush=True)
sys.stdin.readline()
registry.close()
print("closed", flush=True)
"""


@pytest.fixture
def home(tmp_path):
    """A home of this test's own; whatever server it still has at the end is stopped."""
    settings = Settings(home=tmp_path / "home")
    yield settings
    server.stop(settings)


def postmaster(settings):
    """Process id of the home's server, None when there is none."""
    try:
        pid = int((settings.home / "postgres/cluster/data/postmaster.pid").read_text().split()[0])
        os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return pid


def other_process(settings, **options):
    environment = {"PYTHONPATH": os.pathsep.join([str(PACKAGE_ROOT), *filter(None, sys.path)]), "PATH": os.defpath}
    return subprocess.Popen(
        [options.pop("python", sys.executable), "-c", PROGRAM, str(settings.home)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options,
    )  # fmt: skip


def answer(settings):
    engine = create_engine(server.url(settings))
    with engine.connect() as connection:
        number = connection.scalar(text("SELECT 42"))
    engine.dispose()
    return number


def test_the_first_user_starts_it_and_the_last_one_stops_it(home):
    first = server.hold(home)
    pid = postmaster(home)
    second = server.hold(home)
    assert postmaster(home) == pid
    first.close()
    assert answer(home) == 42
    with pytest.raises(Busy):
        server.stop(home)
    second.close()
    second.close()
    assert postmaster(home) is None
    assert server.stop(home) is False


def test_many_processes_open_a_fresh_home_at_once(home):
    users = [other_process(home) for _ in range(4)]
    assert [user.stdout.readline() for user in users] == ["open\n"] * 4
    for user in users:
        out, err = user.communicate("\n", timeout=60)
        assert (out, err) == ("closed\n", "")
    assert postmaster(home) is None


def test_f26_a_killed_user_leaves_a_server_that_the_next_one_adopts_and_stops(home):
    user = other_process(home)
    assert user.stdout.readline() == "open\n"
    user.kill()
    user.wait()
    pid = postmaster(home)
    assert pid is not None
    with server.hold(home):
        assert postmaster(home) == pid
    assert postmaster(home) is None


def test_f36_a_killed_server_is_started_again_and_what_was_committed_is_there(home):
    with server.hold(home):
        with psycopg.connect(server.url(home, owner=True).replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
        killed = postmaster(home)
        os.kill(killed, signal.SIGKILL)
        with server.hold(home):
            assert postmaster(home) not in (killed, None)
            with psycopg.connect(server.url(home, owner=True).replace("+psycopg", "")) as connection:
                assert connection.execute("SELECT n FROM kept").fetchone() == (42,)


def test_a_stale_pid_file_whose_number_somebody_else_has_now_is_cleared(home):
    with server.hold(home):
        pid_file = home.home / "postgres/cluster/data/postmaster.pid"
        lines = pid_file.read_text().splitlines()
        mode = pid_file.stat()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:], ""]))
    os.chown(pid_file, mode.st_uid, mode.st_gid)
    with server.hold(home):
        assert answer(home) == 42


def test_a_forked_child_that_leaves_does_not_take_the_server_along(home):
    with server.hold(home) as lease:
        child = os.fork()
        if child == 0:
            lease.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert answer(home) == 42
    assert postmaster(home) is None


def test_nothing_listens_on_tcp_and_nobody_enters_without_the_password(home, tmp_path):
    with server.hold(home):
        folder = Path(create_engine(server.url(home)).url.query["host"])
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((home.keys / "postgres.pgpass").stat().st_mode) == 0o600
        with psycopg.connect(server.url(home, owner=True).replace("+psycopg", "")) as connection:
            shown = connection.execute(
                "SELECT current_setting('listen_addresses'), current_setting('TimeZone'), current_setting('fsync'),"
                " current_setting('random_page_cost'), (SELECT count(*) FROM pg_hba_file_rules WHERE auth_method <>"
                " 'scram-sha-256')"
            ).fetchone()
        assert shown == ("", "UTC", "on", "1.1", 0)
        wrong = tmp_path / "wrong"
        wrong.write_text("*:*:*:certflow:wrong\n")
        wrong.chmod(0o600)
        with pytest.raises(psycopg.OperationalError, match="authentication"):
            psycopg.connect(host=str(folder), user="certflow", dbname="certflow", passfile=str(wrong))


def test_airflows_database_is_there_for_sync_and_async_drivers(home):
    async def ask(url):
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            found = await connection.scalar(text("SELECT current_database()"))
        await engine.dispose()
        return found

    with server.hold(home):
        url = server.url(home, "airflow")
        assert "certflow:" not in url
        assert asyncio.run(ask(url)) == "airflow"
        engine = create_engine(url)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT current_database()")) == "airflow"
        engine.dispose()


def test_an_external_server_is_used_as_it_is(tmp_path):
    settings = Settings(home=tmp_path, database_url="postgresql://someone:secret@db.example/main")
    assert server.hold(settings) is None
    assert server.url(settings) == "postgresql+psycopg://someone:secret@db.example/main"
    assert server.url(settings, "airflow") == "postgresql+psycopg://someone:secret@db.example/airflow"
    assert list(tmp_path.iterdir()) == []


def test_a_home_too_deep_or_too_chinese_for_a_socket_gets_a_short_private_folder(tmp_path):
    settings = Settings(home=tmp_path / ("深" * 40) / "home")
    with server.hold(settings):
        folder = Path(create_engine(server.url(settings)).url.query["host"])
        assert len(str(folder)) < 80
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert answer(settings) == 42
    shutil.rmtree(folder)  # what cleans /tmp may clean it
    with server.hold(settings):
        assert answer(settings) == 42
        copy = Settings(home=tmp_path / "副本")
        shutil.copytree(settings.home, copy.home, ignore=shutil.ignore_patterns("cluster"))
        with server.hold(copy):
            assert server.url(copy) != server.url(settings)
            assert postmaster(copy) != postmaster(settings)
        second = Path(create_engine(server.url(copy)).url.query["host"])
    for left in (folder, Path(create_engine(server.url(settings)).url.query["host"]), second):
        shutil.rmtree(left, ignore_errors=True)


def test_a_lost_password_file_is_named(home):
    server.hold(home).close()
    (home.keys / "postgres.pgpass").unlink()
    with pytest.raises(ConfigurationError, match="口令"):
        server.hold(home)


def test_a_database_from_a_newer_program_is_refused(home):
    registry = open_registry(home)
    with owner(home).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    registry.close()
    with pytest.raises(ConfigurationError, match="9999"):
        open_registry(home)
    assert postmaster(home) is None


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def modes(path):
    return [(each, each.stat().st_mode, each.stat().st_uid) for each in path.parents if each != each.parent]


@needs_root
def test_root_below_a_closed_folder_runs_it_enclosed_and_opens_no_folder_up(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    settings = Settings(home=closed / "home")
    before = modes(closed / "home")
    with server.hold(settings):
        pid = postmaster(settings)
        assert answer(settings) == 42
        assert Path(f"/proc/{pid}").stat().st_uid == 0
        assert Path(f"/proc/{pid}/ns/user").readlink() != Path("/proc/self/ns/user").readlink()
    assert modes(closed / "home") == before


@needs_root
def test_root_below_an_open_folder_drops_to_an_unprivileged_user(tmp_path_factory):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        for each in (Path(folder), home):
            each.chmod(0o755)  # whatever this process leaves out of the modes it makes
        settings = Settings(home=home)
        with server.hold(settings):
            assert Path(f"/proc/{postmaster(settings)}").stat().st_uid != 0
            assert answer(settings) == 42


@needs_root
def test_a_home_belongs_to_the_user_who_made_it(tmp_path):
    import tempfile

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = [sys.executable, shutil.which(f"python{version}", path="/usr/local/bin:/usr/bin")]
    as_nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    python = next((p for p in found if p and runs(p, as_nobody)), None)
    if python is None:
        pytest.skip("no Python that an unprivileged user may run")
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, 65534, 65534)
        settings = Settings(home=Path(folder) / "home")
        user = other_process(settings, python=python, **as_nobody)
        assert user.stdout.readline() == "open\n", user.stderr.read()
        user.communicate("\n", timeout=60)
        with pytest.raises(ConfigurationError, match="属于用户"):
            server.hold(settings)
        for path in (settings.home, *settings.home.rglob("*")):
            os.chown(path, 0, 0, follow_symlinks=False)
        Path(folder).chmod(0o755)
        os.chown(folder, 0, 0)
        with server.hold(settings):
            assert answer(settings) == 42
        again = other_process(settings, python=python, **as_nobody)
        _, said = again.communicate("\n", timeout=60)
        assert "ConfigurationError" in said


def runs(python, identity):
    try:
        done = subprocess.run([python, "-c", "import sys"], check=False, capture_output=True, **identity)
    except PermissionError:
        return False
    return done.returncode == 0

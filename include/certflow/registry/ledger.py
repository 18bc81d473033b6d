"""Transactions on the certificate database and the ledger: who acts is always known, what happened is chained.

The database itself checks every change of state against the graphs and writes `moves` and `audit` (see
``migrations/versions/0001_ledger.sql``); this module sets who acts, carries each new head of the chain out of
the database after commit, and turns PostgreSQL's errors into ours.

PostgreSQL quotes values in its errors, and values are personal data. No such error leaves this module: what
does names the SQLSTATE, the constraint and the line of ours that asked.
"""

import contextlib
import json
import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import psycopg
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from certflow.errors import Busy, CertflowError, ConfigurationError, Conflict, TransferError
from certflow.privacy import mask_text
from certflow.registry import server
from certflow.settings import Settings

T = TypeVar("T")

LOCK_TIMEOUT_SECONDS = 60
"""Longest wait for another transaction's lock (fault 39); then `TransferError`: who waited has done nothing yet."""
IDLE_TIMEOUT_SECONDS = 600
"""Longest pause inside a transaction before the server ends it: a stuck process must not block the others."""
ATTEMPTS = 5
"""Tries of `Registry.run` when PostgreSQL says 40001 (serialisation) or 40P01 (deadlock)."""

_PLAIN = {
    "uq_rows_open_management_no": "同一管理号已有另一行在办（已受理、已组包或已上报），一本证书不能同时补换两次，"
    "本次未保存任何内容",
    "42501": "数据库不允许此操作（42501）：台账的证据只增不改",  # 0001_roles.sql
    "22003": "编号或数字太大，没有这样的记录，请核对",
}
"""What a constraint, a missing right, or more digits than a number of ours has, means to the person it stops."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does it: a person's or a program's name, the run it belongs to, and which try of it this is."""

    who: str
    run: str = ""
    attempt: int = 0


class Registry:
    """The open certificate database and ledger; made by `registry.open_registry`."""

    def __init__(self, settings: Settings, lease: server.Lease | None, role: str = "") -> None:
        self._heads = settings.audit_heads
        self._lease = lease
        self.engine: Engine = create_engine(
            server.url(settings),
            hide_parameters=True,
            pool_pre_ping=True,
            connect_args={
                "application_name": "certflow",
                "connect_timeout": 30,
                "options": f"-c lock_timeout={LOCK_TIMEOUT_SECONDS}s -c timezone=UTC"
                f" -c idle_in_transaction_session_timeout={IDLE_TIMEOUT_SECONDS}s"
                + (f" -c role={role}" if role else ""),
            },
        )

    @contextlib.contextmanager
    def begin(self, actor: Actor) -> Iterator[Connection]:
        """One transaction of `actor`: committed at the end, rolled back by any exception.

        Raises Conflict (a move the graph does not know, a broken constraint, an overtaken transaction),
        TransferError (connection lost, a lock held for too long), CertflowError (any other refusal).
        """
        with _translated():
            with self.engine.begin() as connection:
                self._introduce(connection, actor)
                yield connection
                head = connection.scalar(text("SELECT current_setting('certflow.head', true)"))
            self._keep_head(head)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that is rolled back at the end whatever happens: for looking, with temporary tables."""
        with _translated(), self.engine.connect() as connection:
            yield connection

    def run(self, actor: Actor, work: Callable[[Connection], T]) -> T:
        """`work` in one transaction, again from its beginning after a deadlock or a serialisation failure."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self.begin(actor) as connection:
                    return work(connection)
            except Overtaken:
                if attempt == ATTEMPTS:
                    raise
                time.sleep(0.05 * 2**attempt)
        raise AssertionError  # the loop returns or raises

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock `name` across transactions and processes; Busy at once when somebody else has it."""
        key = {"name": f"certflow:{name}"}
        engine = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        with _translated(), engine.connect() as connection:
            if not connection.scalar(text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))"), key):
                raise Busy(f"另一个运行正在处理“{name}”，本次不做任何事")
            try:
                yield
            finally:
                # A session that died has lost its locks already.
                with contextlib.suppress(DBAPIError):
                    connection.execute(text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))"), key)

    def close(self) -> None:
        """Close all connections and give the server back; may be called twice."""
        self.engine.dispose()
        if self._lease is not None:
            self._lease.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @staticmethod
    def _introduce(connection: Connection, actor: Actor) -> None:
        connection.execute(
            text(
                "SELECT set_config('certflow.actor', :who, true), set_config('certflow.run', :run, true),"
                " set_config('certflow.attempt', :attempt, true), set_config('certflow.head', '', true)"
            ),
            {"who": actor.who, "run": actor.run, "attempt": str(actor.attempt)},
        )

    def _keep_head(self, head: str | None) -> None:
        if not head:
            return
        try:
            append_line(self._heads, head)
        except OSError as error:
            # The work is committed and must not be reported as failed; the next head vouches for this one too.
            _log.warning("审计链头未能写入 %s：%s", self._heads, error.strerror)


class Overtaken(Conflict):
    """PostgreSQL gave this transaction up for another (40001, 40P01); doing it again is right."""


@contextlib.contextmanager
def errand(conn: Connection, word: str) -> Iterator[None]:
    """Moves that lead back (`schema.ERRANDS`) are lawful in here, and the chain keeps the word beside them."""
    conn.execute(text("SELECT set_config('certflow.errand', :word, true)"), {"word": word})
    yield
    conn.execute(text("SELECT set_config('certflow.errand', '', true)"))


def note(conn: Connection, event: str, **detail: object) -> None:
    """Chain something that is no move of state (an approval, an undo, a load): counts, ids, digests, a person's words.

    Texts are masked on their way in: a reason that a person typed may quote an ID number, and the chain is for ever.
    """
    detail = {key: mask_text(value) if isinstance(value, str) else value for key, value in detail.items()}
    conn.execute(
        text("SELECT certflow_append(:event, CAST(:detail AS jsonb))"),
        {"event": event, "detail": json.dumps(detail, ensure_ascii=False)},
    )


def append_line(path: Path, line: str) -> None:
    """Append one line and bring it to the disk; a torn line before it (full disk) is closed first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, f"{chr(10) if torn else ''}{line}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        cause = error.orig if isinstance(error.orig, psycopg.Error) else psycopg.Error()
        raise _ours(cause, _place(error)) from None
    except psycopg.Error as error:  # COPY goes past SQLAlchemy
        raise _ours(error, _place(error)) from None


def _ours(error: psycopg.Error, place: str) -> CertflowError:
    """Our error for PostgreSQL's, without the values that one quotes."""
    state = error.sqlstate or ""
    kind = type(error).__name__
    if state.startswith("CF"):  # our own triggers quote states and table names only
        said = error.diag.message_primary
        return ConfigurationError(f"{said}（{place}）") if state == "CF002" else Conflict(f"{said}（{place}）")
    if state in ("40001", "40P01"):
        return Overtaken(f"数据库让另一个事务先行（{state}，{place}），本次未保存任何内容")
    if state == "55P03":
        return TransferError(
            f"等待数据库中另一个事务的锁超过 {LOCK_TIMEOUT_SECONDS} 秒（{place}），本次未保存任何内容，稍后重试"
        )
    if state in ("42501", "22003") or state.startswith("23"):
        name = error.diag.constraint_name or state
        return Conflict(_PLAIN.get(name, f"数据库约束 {name} 不允许此操作（{place}）"))
    if state[:2] in ("08", "53", "57", "58") or (not state and isinstance(error, psycopg.OperationalError)):
        full = state == "53100"
        said = "数据库所在的磁盘已满，请腾出空间后再试" if full else "与数据库的连接中断，或数据库暂不可用"
        return TransferError(f"{said}（{state or kind}，{place}）")
    return CertflowError(f"数据库拒绝了请求（{state} {kind}，{place}）")


def _place(error: Exception) -> str:
    """The innermost line of certflow, other than this module's, that the error passed through."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if "certflow" in path.parts and path != Path(__file__):
            return f"{path.name}:{frame.lineno}"
    return "ledger.py"

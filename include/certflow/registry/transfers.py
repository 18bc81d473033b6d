"""What crossed a border, in the ledger: files that came from cities, packages that go up, returns that came down.

Set-based; each function works inside the caller's transaction, and no caller talks to a network while one is
open (B04). `transfers` is the append-only evidence of a send; which steps it knows is told in `dispatch.send`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, exists, func, insert, select, text, update

from certflow.registry.schema import files, package_rows, packages, returns, rows, transfers


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file of a city as it lies in our store."""

    account: str
    lane: str
    """``month``, ``trial`` or ``proofs``."""
    name: str
    raw_name: bytes
    sha256: str
    size: int
    """Bytes."""
    kind: str
    """submission | nil | proof | other"""
    month: str | None = None
    """YYYYMM of a nil report, else None."""


def receive(conn: Connection, arrival: Arrival) -> tuple[int, bool]:
    """Record a file as RECEIVED; its id, and whether it repeats one that is known already.

    The same bytes again in the same lane of the same account count for nothing: they are IGNORED at once
    (T11). A trial never makes the real delivery a duplicate. What a nil report says is its name: its bytes may be none.
    A request for proofs is no duplicate: a line that was refused until its row is decided is asked for again with the
    same file, and nobody gets two proofs for one purpose.
    """
    nil = arrival.kind == "nil"
    first = conn.scalar(
        select(func.min(files.c.id)).where(
            files.c.account == arrival.account,
            files.c.lane == arrival.lane,
            files.c.kind != "proof",
            files.c.sha256 == arrival.sha256,
            files.c.duplicate_of.is_(None),
            files.c.name == arrival.name if nil else files.c.kind != "nil",
        )
    )
    made = insert(files).values(
        account=arrival.account,
        lane=arrival.lane,
        name=arrival.name,
        raw_name=arrival.raw_name,
        sha256=arrival.sha256,
        size=arrival.size,
        kind=arrival.kind,
        month=arrival.month,
        duplicate_of=first,
    )
    file_id = int(conn.execute(made.returning(files.c.id)).scalar_one())
    if first is not None:
        conn.execute(update(files).where(files.c.id == file_id).values(state="IGNORED", reason="FILE-DUPLICATE"))
    return file_id, first is not None


@dataclass(frozen=True, slots=True)
class Owed:
    """A file that is recorded but, as far as the ledger knows, not yet moved away on the city's server."""

    file_id: int
    lane: str
    raw_name: bytes
    sha256: str


def owed(conn: Connection, account: str) -> list[Owed]:
    """Moves an earlier pull still owes: it died between its commit and the move, or the move was refused."""
    found = conn.execute(
        select(files.c.id, files.c.lane, files.c.raw_name, files.c.sha256)
        .where(files.c.account == account, files.c.shelved_at.is_(None))
        .order_by(files.c.id)
    )
    return [Owed(int(file_id), str(lane), bytes(raw_name), str(sha256)) for file_id, lane, raw_name, sha256 in found]


def shelve(conn: Connection, file_ids: Sequence[int]) -> None:
    """The city's copies have left its inbox."""
    conn.execute(update(files).where(files.c.id.in_(file_ids)).values(shelved_at=func.now()))


def taken(conn: Connection) -> list[tuple[str, bytes, int]]:
    """Account, name and size of every file that was ever taken from a city, whatever became of it."""
    found = conn.execute(select(files.c.account, files.c.raw_name, files.c.size))
    return [(str(account), bytes(raw_name), int(size)) for account, raw_name, size in found]


def begin_send(conn: Connection, package_id: int) -> int | None:
    """APPROVED → SENDING, or SENDING once more after a crash; the new fencing token, None in any other state."""
    token: int | None = conn.scalar(
        update(packages)
        .where(packages.c.id == package_id, packages.c.state.in_(("APPROVED", "SENDING")))
        .values(state="SENDING", token=packages.c.token + 1)
        .returning(packages.c.token)
    )
    return token


def holds(conn: Connection, package_id: int, token: int) -> bool:
    """True while no later send has taken the package over."""
    mine = exists().where(packages.c.id == package_id, packages.c.token == token, packages.c.state == "SENDING")
    return bool(conn.scalar(select(mine)))


def step(conn: Connection, package_id: int, token: int, event: str, **detail: Any) -> None:  # noqa: ANN401 (JSON values)
    """One line of evidence; `detail` carries digests, counts and kinds of error, never a name."""
    conn.execute(insert(transfers).values(package_id=package_id, token=token, event=event, detail=detail))


def steps(conn: Connection, package_id: int) -> list[tuple[int, str, Mapping[str, Any]]]:
    """The evidence so far: (token, event, detail) in order."""
    found = conn.execute(
        select(transfers.c.token, transfers.c.event, transfers.c.detail)
        .where(transfers.c.package_id == package_id)
        .order_by(transfers.c.id)
    )
    return [(int(token), str(event), detail) for token, event, detail in found]


def answered(conn: Connection, package_id: int) -> bool:
    """Whether a return that came since the package was built answers its rows, which the ledger never sent (F42).

    What a person has decided since stands.
    """
    return bool(conn.scalar(text(_ANSWERED), {"package_id": package_id}))


def finish(conn: Connection, package_id: int, token: int) -> bool:
    """SENDING → SENT with all its rows PACKED → SENT (a companion's rows stay); False when the token is not mine."""
    return _close(conn, package_id, "SENDING", "SENT", token)


def doubt(conn: Connection, package_id: int, token: int) -> bool:
    """SENDING → UNKNOWN: a person decides; False when the token is no longer mine."""
    return _close(conn, package_id, "SENDING", "UNKNOWN", token)


def resolve(conn: Connection, package_id: int, *, delivered: bool) -> bool:
    """A person's decision on UNKNOWN: → SENT with its rows, or → APPROVED to be sent again."""
    return _close(conn, package_id, "UNKNOWN", "SENT" if delivered else "APPROVED")


def prove(conn: Connection, package_id: int, return_id: int) -> bool:
    """A return speaks of the package's rows: UNKNOWN or SENDING → SENT with its rows (R06).

    So does one that was to be sent again (APPROVED). A try that is still under way no longer holds the package, so it
    stops before its rename.
    """
    if not _close(conn, package_id, "UNKNOWN", "SENT"):
        begin_send(conn, package_id)
        if not _close(conn, package_id, "SENDING", "SENT"):
            return False
    token = conn.scalar(select(packages.c.token).where(packages.c.id == package_id)) or 0
    step(conn, package_id, token, "resolved", delivered=True, by=f"return:{return_id}")
    return True


_ANSWERED = """
SELECT EXISTS (
    SELECT FROM packages p
    JOIN package_rows pr ON pr.package_id = p.id
    JOIN rows ON rows.id = pr.row_id
    JOIN return_rows r ON (r.management_no, r.name, r.id_number) = (rows.management_no, rows.name, rows.id_number)
        AND r.why = 'unknown' AND r.undo_id IS NULL
    JOIN returns b ON b.id = r.return_id AND b.state IN ('HELD', 'APPLIED') AND b.received_at > p.built_at
    WHERE p.id = :package_id AND NOT EXISTS (
        SELECT FROM transfers t WHERE t.package_id = p.id AND t.event = 'resolved'))
"""


def _close(conn: Connection, package_id: int, now: str, then: str, token: int | None = None) -> bool:
    mine = [packages.c.id == package_id, packages.c.state == now]
    if token is not None:
        mine.append(packages.c.token == token)
    if conn.execute(update(packages).where(*mine).values(state=then)).rowcount == 0:
        return False
    if then == "SENT":
        conn.execute(
            update(rows)
            .where(rows.c.id == package_rows.c.row_id, package_rows.c.package_id == package_id)
            .where(packages.c.id == package_rows.c.package_id, ~packages.c.companion, rows.c.state == "PACKED")
            .values(state="SENT")
        )
    return True


def known_returns(conn: Connection) -> dict[str, int | None]:
    """Digests of all returns recorded so far; with its size (bytes) where the file is still to be read."""
    read = returns.c.state.in_(("APPLIED", "RETURNED", "UNDONE"))
    return {digest: None if done else size for digest, size, done in conn.execute(
        select(returns.c.sha256, returns.c.size, read))}  # fmt: skip


def record_return(conn: Connection, name: str, sha256: str, size: int) -> int:
    """Record a new file of the authority as RECEIVED; its id."""
    made = insert(returns).values(name=name, sha256=sha256, size=size)
    return int(conn.execute(made.returning(returns.c.id)).scalar_one())

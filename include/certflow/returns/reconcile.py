"""Compare what came back with what was sent: printed, refused, missing, extra, changed, duplicate (DOMAIN §4).

Reading and sorting change no certificate and no row of ours; `certflow.returns.apply` does, in a step of its own.
"""

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from certflow.errors import Conflict, DigestMismatch, SubmissionError
from certflow.registry import reprints
from certflow.registry.ledger import Actor, Registry, note
from certflow.registry.reprints import Doubt, Missing, Return
from certflow.returns.profile import UNREADABLE, Line, load_profile, read_return
from certflow.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Where one return stands; free of personal data."""

    return_id: int
    file: str
    state: str
    """RECEIVED (waits for a send to end), RECONCILED, APPLIED, HELD (a person), RETURNED (to the authority)."""
    reason: str
    counts: dict[str, int]
    """Lines by bucket; ``missing`` counts sent rows of the same packages without an answer."""
    waiting: int
    """Lines about rows that are on their way to the authority at this moment (R06)."""
    missing: tuple[Missing, ...]
    doubts: tuple[Doubt, ...]
    """The lines behind ``extra`` and ``changed``: a person looks at each."""

    def as_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return dataclasses.asdict(self)


def reconcile(settings: Settings, registry: Registry, return_id: int, actor: Actor) -> Reconciliation:
    """Read a received return and sort its lines into the buckets; may be run again at any time.

    A file that cannot be read ends as RETURNED (R08), one with an unknown word or column, or with nothing we
    ever sent, is HELD; a file that speaks of rows whose package is still on its way stays RECEIVED (R06).

    Raises:
        Conflict: no such return.
        DigestMismatch: the stored file is not the one that was received.
        ConfigurationError: the operator's profile is wrong.
    """
    with registry.read() as conn:
        found = existing(reprints.find(conn, return_id), return_id)
        if found.state in ("APPLIED", "RETURNED"):
            return report(conn, found)
    try:
        lines = _read(settings, found)
    except SubmissionError as fault:
        with registry.begin(actor) as conn:
            _settle(conn, found, "RETURNED" if fault.fault in UNREADABLE else "HELD", str(fault))
            return report(conn, existing(reprints.find(conn, return_id), return_id))
    with registry.begin(actor) as conn:
        reprints.take_turn(conn)
        found = existing(reprints.find(conn, return_id, lock=True), return_id)
        if found.state == "APPLIED":
            return report(conn, found)
        reprints.load(conn, return_id, [dataclasses.asdict(line) for line in lines])
        waiting = reprints.in_flight(conn, return_id)
        if waiting:
            _settle(conn, found, "RECEIVED", f"有 {waiting} 行所在的数据包正在发送，发送完成后再对账")
        else:
            reprints.sort_into_buckets(conn, return_id)
            counts = reprints.counts(conn, return_id)
            if counts["extra"] == len(lines):
                _settle(conn, found, "HELD", f"RETURN-FOREIGN: {len(lines)} 行均不是本单位发出的数据")
            else:
                _settle(conn, found, "RECONCILED", "")
        return report(conn, existing(reprints.find(conn, return_id), return_id))


def report(conn: "Connection", found: Return) -> Reconciliation:
    """Where a return stands now, counted from the ledger."""
    sorted_in = found.state in ("RECONCILED", "APPLIED", "HELD")
    missing = reprints.missing(conn, found.id) if sorted_in else []
    counts = reprints.counts(conn, found.id)
    return Reconciliation(
        return_id=found.id,
        file=found.name,
        state=found.state,
        reason=found.reason,
        counts={bucket: counts.get(bucket, 0) for bucket in reprints.BUCKETS}
        | {"missing": sum(one.rows for one in missing)},
        waiting=reprints.in_flight(conn, found.id) if found.state == "RECEIVED" else 0,
        missing=tuple(missing),
        doubts=tuple(reprints.doubts(conn, found.id)) if sorted_in else (),
    )


def existing(found: Return | None, return_id: int) -> Return:
    """The return, or Conflict when the id is unknown."""
    if found is None:
        raise Conflict(f"没有编号为 {return_id} 的返回文件")
    return found


def _read(settings: Settings, found: Return) -> list[Line]:
    original = settings.original(found.sha256)
    if not original.is_file():
        raise DigestMismatch(f"返回文件 {found.id} 的原件不在了，请从上级重新取得")
    with original.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != found.sha256:
            raise DigestMismatch(f"返回文件 {found.id} 的原件与收到时不同，请从上级重新取得")
    return read_return(load_profile(settings), original, settings.limits)


def _settle(conn: "Connection", found: Return, state: str, reason: str) -> None:
    if (found.state, found.reason) == (state, reason):
        return
    reprints.settle(conn, found.id, state, reason)
    note(conn, "reconcile", return_id=found.id, state=state, reason=reason, **reprints.counts(conn, found.id))

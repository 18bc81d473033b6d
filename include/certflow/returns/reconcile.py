"""Compare what came back with what was sent: printed, refused, missing, extra, changed, duplicate (DOMAIN §4).

Reading and sorting change no certificate and no state of a row; `certflow.returns.apply` does, in a step of its own.
Two things are learnt on the way: a return that speaks of a package whose delivery was in doubt proves that it arrived
(R06), and a row that was sent without 管理号 is told which certificate it is about.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certflow import vault
from certflow.errors import ConfigurationError, Conflict, DigestMismatch, SubmissionError
from certflow.naming import readable
from certflow.registry import reprints
from certflow.registry.ledger import Actor, Registry, note
from certflow.registry.reprints import Doubt, Missing, Return
from certflow.returns.files import UNREADABLE, Line, read_return
from certflow.returns.profile import load_profiles
from certflow.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

Judge = Callable[[Sequence[Line]], list[str]]
"""Looks at the lines of a return before they are sorted; what it finds (Chinese, free of values) holds the file."""

_AS_READ = attrgetter(*reprints.LINE)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Where one return stands; free of personal data."""

    return_id: int
    """0: a preview, nothing was recorded."""
    file: str
    state: str
    """RECEIVED (waits for a send to end), RECONCILED, APPLIED, HELD (a person), RETURNED (to the authority), UNDONE."""
    reason: str
    counts: dict[str, int]
    """Lines by bucket; ``missing`` counts rows we sent in the packages concerned that no return has answered."""
    waiting: int
    """Lines about packages that are on their way at this moment (R06)."""
    missing: tuple[Missing, ...]
    doubts: tuple[Doubt, ...]
    """Lines a person has to look at: the buckets extra and changed."""

    def as_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return dataclasses.asdict(self)


class _Enough(Exception):
    """Rolls a preview back."""


def reconcile(
    settings: Settings, registry: Registry, return_id: int, actor: Actor, *, judge: Judge | None = None
) -> Reconciliation:
    """Read a received return and sort its lines into the buckets; may be run again at any time.

    A file that cannot be read ends as RETURNED (R08), one with an unknown word or column, with nothing we ever sent, or
    with rows that have yet to go up, is HELD; a file that speaks of rows whose package is still on its way stays
    RECEIVED (R06). A return whose application was taken back is read anew, by the profiles of today.

    Raises:
        Conflict: no such return.
        DigestMismatch: the stored file is not the one that was received.
        ConfigurationError: one of the operator's profiles is wrong.
    """
    with registry.read() as conn:
        found = existing(reprints.find(conn, return_id), return_id)
        if found.state == "APPLIED":
            return report(conn, found)
    try:
        lines = read_return(load_profiles(settings), _original(settings, found), found.name, settings.limits)
    except SubmissionError as fault:
        with registry.begin(actor) as conn:
            _settle(conn, found, "RETURNED" if fault.fault in UNREADABLE else "HELD", str(fault))
            return report(conn, existing(reprints.find(conn, return_id), return_id))
    told = judge(lines) if judge else []
    with registry.begin(actor) as conn:
        reprints.take_turn(conn)
        found = existing(reprints.find(conn, return_id, lock=True), return_id)
        if found.state != "APPLIED":
            _sort(conn, found, lines, told)
        return report(conn, existing(reprints.find(conn, return_id), return_id))


def preview(
    settings: Settings, registry: Registry, file: Path, actor: Actor, *, judge: Judge | None = None
) -> Reconciliation:
    """What reconciling and applying this file would come to; nothing is kept, neither the file nor a row of it.

    Raises as `reconcile`.
    """
    digest, size = _digest(file)
    name = readable(file.name)
    try:
        lines = read_return(load_profiles(settings), file, name, settings.limits)
    except SubmissionError as fault:
        state = "RETURNED" if fault.fault in UNREADABLE else "HELD"
        return Reconciliation(0, name, state, str(fault), dict.fromkeys(reprints.BUCKETS, 0), 0, (), ())
    told = judge(lines) if judge else []
    seen: list[Reconciliation] = []
    try:
        with registry.begin(actor) as conn:
            reprints.take_turn(conn)
            number = reprints.register(conn, name=name, sha256=digest, size=size)
            found = existing(reprints.find(conn, number, lock=True), number)
            if found.state != "APPLIED":
                _sort(conn, found, lines, told)
            seen.append(report(conn, existing(reprints.find(conn, number), number)))
            raise _Enough  # noqa: TRY301 (leaving the block by an exception is what rolls back)
    except _Enough:
        return seen[0] if seen[0].state == "APPLIED" else dataclasses.replace(seen[0], return_id=0)


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


def _sort(conn: "Connection", found: Return, lines: Sequence[Line], told: Sequence[str]) -> None:
    reprints.load(conn, found.id, map(_AS_READ, lines))
    if told:
        _settle(conn, found, "HELD", "；".join(told))
        return
    for package, count in reprints.proved(conn, found.id):
        note(conn, "send.resolved", package=package, delivered=True, by=f"return:{found.id}", lines=count)
    if waiting := reprints.in_flight(conn, found.id):
        _settle(conn, found, "RECEIVED", f"有 {waiting} 行所在的数据包正在发送，发送完成后再对账")
        return
    reprints.sort_into_buckets(conn, found.id)
    if reprints.counts(conn, found.id)["extra"] == len(lines):
        _settle(conn, found, "HELD", f"RETURN-FOREIGN: {len(lines)} 行均不是本单位发出的数据")
    elif unsent := reprints.unsent(conn, found.id):
        told = f"RETURN-UNSENT: {unsent} 行还没有上报，上级却已答复，请与上级核实"
        _settle(conn, found, "HELD", f"{told}；数据库恢复过备份的，先运行 certflow registry restored，上报之后再次对账")
    else:
        _settle(conn, found, "RECONCILED", "")


def _original(settings: Settings, found: Return) -> Path:
    original = settings.original(found.sha256)
    if not original.is_file():
        raise DigestMismatch(f"返回文件 {found.id} 的原件不在了，请从上级重新取得")
    if _digest(original)[0] != found.sha256:
        raise DigestMismatch(f"返回文件 {found.id} 的原件与收到时不同，请从上级重新取得")
    return original


def _digest(file: Path) -> tuple[str, int]:
    try:
        return vault.sha256(file), vault.size(file)
    except OSError as error:
        raise ConfigurationError(f"返回文件 {readable(file.name)} 无法读取：{error.strerror}") from None


def _settle(conn: "Connection", found: Return, state: str, reason: str) -> None:
    if (found.state, found.reason) == (state, reason):
        return
    reprints.settle(conn, found.id, state, reason)
    note(conn, "reconcile", return_id=found.id, state=state, reason=reason, **reprints.counts(conn, found.id))

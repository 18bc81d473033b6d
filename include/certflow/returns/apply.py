"""Take a reconciled return into the ledger: rows become PRINTED or REFUSED, prints are appended as events.

Append-only. What the certificate database holds of a person is never touched; whatever differs stays SENT
and waits for a person.
"""

from pathlib import Path

from certflow import originals, vault
from certflow.errors import ConfigurationError, Conflict
from certflow.naming import readable
from certflow.reference import load_reference
from certflow.registry import reprints, return_answers
from certflow.registry.ledger import Actor, Registry, note
from certflow.returns.reconcile import Reconciliation, existing, report
from certflow.settings import Settings


def apply(settings: Settings, registry: Registry, return_id: int, actor: Actor) -> Reconciliation:
    """Apply the printed and refused lines of a reconciled return in one transaction; once, however often it is run.

    Each line keeps what it found (before-image), so that `undo` can restore it; a print is marked as the rule set of
    its row says (DOMAIN §3.10); the cities are owed an answer.

    Raises:
        Conflict: no such return, or it is not reconciled (held, returned, still waiting).
    """
    marks = {name: one.reissue_mark for name, one in load_reference(settings).rule_sets.items()}
    with registry.begin(actor) as conn:
        reprints.take_turn(conn)
        found = existing(reprints.find(conn, return_id, lock=True), return_id)
        if found.state == "APPLIED":
            return report(conn, found)
        if found.state != "RECONCILED":
            raise Conflict(f"返回文件 {return_id} 尚不能入账（状态 {found.state}）：{found.reason or '请先对账'}")
        # Sorted again: another return may have been applied since.
        reprints.sort_into_buckets(conn, return_id)
        counts = reprints.counts(conn, return_id)
        if reprints.apply_buckets(conn, return_id, marks) != (counts["printed"], counts["refused"]):
            raise Conflict(f"返回文件 {return_id} 入账时台账有变动，未作任何更改，请重新运行")
        return_answers.owe(conn, return_id)
        reprints.settle(conn, return_id, "APPLIED")
        note(conn, "apply", return_id=return_id, **counts)
        return report(conn, existing(reprints.find(conn, return_id), return_id))


def receive(settings: Settings, registry: Registry, file: Path, actor: Actor) -> int:
    """Take a local file (from a disk, not from the authority's folder) as a return; the same bytes are one return.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    try:
        data = vault.read_bytes(file)
    except OSError as error:
        raise ConfigurationError(f"返回文件 {readable(file.name)} 无法读取：{error.strerror}") from None
    digest = originals.keep(settings, data)
    with registry.begin(actor) as conn:
        return reprints.register(conn, name=readable(file.name), sha256=digest, size=len(data))


def pending(registry: Registry) -> list[int]:
    """Returns with something left to do, oldest first."""
    with registry.read() as conn:
        return reprints.pending(conn)

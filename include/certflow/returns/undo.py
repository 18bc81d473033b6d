"""What a person takes back of a return: an applied one whole, by new entries, and a held one before it counts.

The audit chain says who and why.
"""

from certflow.errors import Conflict
from certflow.registry import reprints, undos
from certflow.registry.ledger import Actor, Registry, note
from certflow.registry.reprints import Return
from certflow.registry.undos import Undone
from certflow.returns.reconcile import existing

_OBSTACLES = {
    "delivered": "{0} 行的新证书已经发放",
    "posted": "{0} 行的新证书已经交寄、待领或签收",
    "requested": "{0} 行的管理号已有新的申报在办",
    "printed": "{0} 行的证书此后又有新的印制记录",
}
_DISMISSED = " 决定，原来的问题："


def undo(registry: Registry, return_id: int, *, by: str, reason: str, actor: Actor) -> Undone:
    """Rows of an applied return are SENT again, its prints reversed; afterwards the same file may be applied again.

    All or nothing, in one transaction. The return itself ends as UNDONE: no scheduled run takes it up again, a person
    does (`reconcile` reads it anew).

    Raises:
        Conflict: no such return, it is not applied, or rows of it have moved on since; the message says how many.
    """
    if not by.strip() or not reason.strip():
        raise Conflict("撤销须写明由谁决定和原因")
    with registry.begin(actor) as conn:
        reprints.take_turn(conn)
        found = existing(reprints.find(conn, return_id, lock=True), return_id)
        if found.state != "APPLIED":
            raise Conflict(f"返回文件 {return_id} 没有入账（状态 {found.state}），没有可以撤销的内容")
        if against := undos.obstacles(conn, return_id):
            told = "，".join(_OBSTACLES[name].format(count) for name, count in against.items())
            raise Conflict(f"返回文件 {return_id} 不能撤销：{told}。未作任何更改")
        undone = undos.undo(conn, return_id, by, reason)
        if not undos.restored(conn, undone):
            raise Conflict(f"返回文件 {return_id} 撤销后与入账前不一致，未作任何更改，请运行 certflow doctor")
        reprints.settle(conn, return_id, "UNDONE", f"由 {by} 撤销")
        note(
            conn, "return.undone", return_id=return_id, undo=undone.id, by=by, reason=reason, printed=undone.printed,
            refused=undone.refused,
        )  # fmt: skip
    return undone


def dismiss(registry: Registry, return_id: int, *, by: str, reason: str, actor: Actor) -> None:
    """A held return waits for nobody any more: it is RETURNED to the authority, and nothing of it counts.

    It may be read anew all the same (`reconcile`); otherwise its lines go when the months after which a return is
    purged have passed.

    Raises:
        Conflict: no such return, or it is not held.
    """
    if not by.strip() or not reason.strip():
        raise Conflict("退回上级须写明由谁决定和原因")
    with registry.begin(actor) as conn:
        found = existing(reprints.find(conn, return_id, lock=True), return_id)
        if found.state != "HELD":
            raise Conflict(f"返回文件 {return_id} 不在等待人工处理（状态 {found.state}），未作任何更改")
        reprints.settle(conn, return_id, "RETURNED", f"由 {by}{_DISMISSED}{found.reason}")
        note(conn, "return.dismissed", return_id=return_id, by=by, reason=reason)


def dismissed(found: Return) -> bool:
    """Whether a person said that nothing of it counts; what nobody could read is RETURNED as well."""
    return found.state == "RETURNED" and _DISMISSED in found.reason

"""A city contests a finding, a person judges it, and the figures of closed periods follow as new versions.

A person's words go into reports and the pack of the year: ID numbers in them are masked on their way in.
Nothing is overwritten: an upheld appeal leaves the finding where it is and takes it out of the score, and every
closed period it touches gets a further version that says why.
"""

from typing import TYPE_CHECKING

from certflow.errors import Conflict
from certflow.privacy import mask_text
from certflow.registry import appeals
from certflow.registry.appeals import Appeal
from certflow.registry.ledger import Actor, Registry, note
from certflow.reports.scorecard import figures_of
from certflow.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection


def file_appeal(registry: Registry, finding_id: int, *, by: str, reason: str, actor: Actor) -> Appeal:
    """Contest a finding of severity ``error``; Conflict when it cannot be contested, with the reason."""
    _said(by, reason)
    with registry.begin(actor) as conn:
        found = appeals.finding(conn, finding_id)
        if found is None:
            raise Conflict(f"没有编号为 {finding_id} 的问题；编号见评分表的“差错明细”")
        severity, account, lane = found
        if severity != "error" or lane != "month":
            raise Conflict(f"问题 {finding_id} 不影响评分，无须申诉")
        if earlier := appeals.contested(conn, finding_id):
            raise Conflict(f"问题 {finding_id} 已有申诉 {earlier}")
        appeal_id = appeals.file_appeal(conn, finding_id, by, mask_text(reason))
        note(conn, "appeal", appeal=appeal_id, finding=finding_id, account=account, by=by)
        made = appeals.appeal(conn, appeal_id)
    assert made is not None  # noqa: S101 (written in this transaction)
    return made


def decide(
    settings: Settings, registry: Registry, appeal_id: int, *, upheld: bool, by: str, reason: str, actor: Actor
) -> list[str]:
    """Judge an appeal; the closed periods whose figures changed by it. Conflict when it was judged already."""
    _said(by, reason)
    with registry.begin(actor) as conn:
        found = appeals.appeal(conn, appeal_id)
        if found is None:
            raise Conflict(f"没有编号为 {appeal_id} 的申诉")
        if found.upheld is not None:
            word = "成立" if found.upheld else "不成立"
            raise Conflict(f"申诉 {appeal_id} 已由 {found.decided_by} 判为{word}")
        appeals.decide(conn, appeal_id, upheld=upheld, by=by, reason=mask_text(reason))
        note(conn, "appeal decided", appeal=appeal_id, upheld=upheld, by=by)
        touched = [period for period in (found.month, found.month[:4]) if period in appeals.kept_periods(conn)]
        cause = f"申诉 {appeal_id} 成立"
        return [period for period in touched if upheld and _keep(settings, conn, period, cause=cause, by=by)]


def close(settings: Settings, registry: Registry, period: str, *, by: str, actor: Actor) -> int:
    """Keep the figures of a period; how many cities' figures are new.

    May be called again: what did not change gets no further version.
    """
    _said(by, "—")
    with registry.begin(actor) as conn:
        cause = "结账" if period not in appeals.kept_periods(conn) else "重新结账"
        return _keep(settings, conn, period, cause=cause, by=by)


def _keep(settings: Settings, conn: "Connection", period: str, *, cause: str, by: str) -> int:
    cities, province = figures_of(settings, conn, period)
    written = appeals.keep(
        conn, period, {one.account: one.as_json() for one in (*cities, province)}, cause=cause, by=by
    )
    if written:
        note(conn, "scores kept", period=period, versions=written, cause=cause, by=by)
    return written


def _said(by: str, reason: str) -> None:
    if not by.strip() or not reason.strip():
        raise Conflict("须写明经办人和理由")

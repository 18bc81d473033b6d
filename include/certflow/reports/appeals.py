"""A city contests a finding, a person judges it, and the figures of closed periods follow as new versions.

A person's words go into reports and the pack of the year: ID numbers in them are masked on their way in.
Nothing is overwritten: an upheld appeal leaves the finding where it is and takes it out of the score, and every
closed period it touches gets a further version that says why: of the city's and the province's figures, and of ranks.
What came after a period was closed stays out of it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from certflow.errors import Conflict
from certflow.privacy import mask_text
from certflow.registry import appeals
from certflow.registry.appeals import Appeal
from certflow.registry.ledger import Actor, Registry, note
from certflow.reports.figures import Score, corrected
from certflow.reports.scorecard import figures_of
from certflow.settings import Settings

if TYPE_CHECKING:
    import datetime as dt

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
        appeals.lock(conn)
        found = appeals.appeal(conn, appeal_id)
        if found is None:
            raise Conflict(f"没有编号为 {appeal_id} 的申诉")
        if found.upheld is not None:
            word = "成立" if found.upheld else "不成立"
            raise Conflict(f"申诉 {appeal_id} 已由 {found.decided_by} 判为{word}")
        places, periods = (found.account, ""), (found.month, found.month[:4])
        closed = {period: at for period in periods if upheld and (at := appeals.closed_at(conn, period))}
        before = {period: _counted(settings, conn, period, at, places) for period, at in closed.items()}
        appeals.decide(conn, appeal_id, upheld=upheld, by=by, reason=mask_text(reason))
        note(conn, "appeal decided", appeal=appeal_id, upheld=upheld, by=by)
        changed = []
        for period, at in closed.items():
            kept = {one.account: Score.from_json(one.figures) for one in appeals.kept(conn, period)}
            scores = corrected(kept, before[period], _counted(settings, conn, period, at, places))
            if _keep(conn, period, scores, cause=f"申诉 {appeal_id} 成立", by=by):
                changed.append(period)
        return changed


def close(settings: Settings, registry: Registry, period: str, *, by: str, actor: Actor) -> int:
    """Keep the figures of a period; how many cities' figures are new.

    May be called again: what did not change gets no further version.
    """
    _said(by, "—")
    with registry.begin(actor) as conn:
        cause = appeals.CLOSED if period not in appeals.kept_periods(conn) else appeals.CLOSED_AGAIN
        cities, province = figures_of(settings, conn, period)
        return _keep(conn, period, [*cities, province], cause=cause, by=by)


def _counted(
    settings: Settings, conn: "Connection", period: str, until: "dt.datetime", places: Sequence[str]
) -> dict[str, Score]:
    cities, province = figures_of(settings, conn, period, until=until)
    return {one.account: one for one in (*cities, province) if one.account in places}


def _keep(conn: "Connection", period: str, scores: Sequence[Score], *, cause: str, by: str) -> int:
    written = appeals.keep(conn, period, {one.account: one.as_json() for one in scores}, cause=cause, by=by)
    if written:
        note(conn, "scores kept", period=period, versions=written, cause=cause, by=by)
    return written


def _said(by: str, reason: str) -> None:
    if not by.strip() or not reason.strip():
        raise Conflict("须写明经办人和理由")

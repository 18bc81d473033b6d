"""The gate before sending: does a person have to look, and what did the person say.

An approval is a fact of the ledger about a *set of package digests*: whoever answers (command line, desk,
Airflow's page), it is the same fact, and a set that was approved stays approved when a task runs again.
"""

import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certflow import keys
from certflow.dispatch import arrivals
from certflow.dispatch.month import reporting
from certflow.errors import Conflict
from certflow.findings import listed
from certflow.reference import load_reference
from certflow.registry import approvals, months, packages
from certflow.registry.ledger import Actor, Registry, note
from certflow.registry.packages import Batch, Package
from certflow.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

AUTOMATIC = "系统自动放行"
"""Stands in the place of a name where the settings ask for no person."""

_HISTORY = 12  # months to compare with
_FAR = 3.0  # times the usual
_SHARE_WITHOUT_HISTORY = 0.20
_MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a batch waits for a person. `reasons` are for people, without personal data."""

    batch_id: int
    digest: str
    """SHA-256 over the sorted digests of the batch's packages."""
    needs_approval: bool
    reasons: tuple[str, ...]
    approved_by: str | None
    """Who approved exactly this set already."""


def digest_of(digests: Iterable[str]) -> str:
    """The key of an approval: SHA-256 (hex) over the sorted package digests, one a line."""
    return hashlib.sha256("".join(f"{one}\n" for one in sorted(digests)).encode()).hexdigest()


def gate(settings: Settings, registry: Registry, batch_id: int) -> Gate:
    """Look at a batch before it is sent; changes nothing.

    It waits for a person when the setting `approval` is ``always``, when this very set was rejected before, or
    when it is ``on_anomaly`` and a city is missing, the share of returned rows is far above the months before,
    the number of rows is far from them, or since rows were judged their certificates were corrected in the database or
    their exam was cancelled.

    Raises:
        Conflict: no such batch, or an exam of it has no package yet.
    """
    with registry.read() as conn:
        batch = _batch(packages.batch(conn, batch_id), batch_id)
        live = [one for one in packages.packages_of(conn, batch_id) if one.state != "REJECTED"]
        _complete(batch, packages.unpacked(conn, batch_id))
        digest = digest_of(one.digest for one in live)
        decision = approvals.last_decision(conn, batch_id, digest)
        if decision is not None and decision[0] == "approved":
            return Gate(batch_id, digest, needs_approval=False, reasons=(), approved_by=decision[1])
        reasons: list[str] = []
        if decision is not None:
            reasons.append(
                f"已由{decision[1]}经办，等待另一人复核"
                if decision[0] == "prepared"
                else f"这组数据包曾被{decision[1]}退回，内容未变"
            )
        if settings.approval == "always":
            reasons.append("设置要求每批数据均须人工批准")
        if settings.approval != "never":
            reasons += _corrected_reasons(conn, batch)
            reasons += _cancelled_reasons(settings, conn, batch)
        if settings.approval == "on_anomaly" and batch.number == 0:
            share = months.judged(conn, upto=batch.month, months=_HISTORY + 1)
            counts = months.frozen_rows(conn, before=batch.month, months=_HISTORY)
            reasons += _error_reasons(batch, share)
            reasons += _count_reasons(sum(one.row_count for one in live if not one.companion), counts)
    if settings.paper_blocks == "yes":
        reasons += arrivals.reasons(arrivals.arrivals(settings, registry, batch))
    if settings.approval == "on_anomaly" and batch.number == 0:
        reasons = _missing_reasons(settings, registry, batch) + reasons
    return Gate(batch_id, digest, needs_approval=bool(reasons), reasons=tuple(reasons), approved_by=None)


def pass_gate(settings: Settings, registry: Registry, batch_id: int, actor: Actor) -> Gate:
    """`gate`, and when nobody has to look, the approval is recorded in the program's own name."""
    found = gate(settings, registry, batch_id)
    if not found.needs_approval:
        approve(registry, batch_id, found.approved_by or AUTOMATIC, actor)
    return found


def approve(
    registry: Registry,
    batch_id: int,
    by: str,
    actor: Actor,
    *,
    reason: str = "",
    digest: str | None = None,
    settings: Settings | None = None,
) -> str:
    """Approve the batch's packages and return the digest that stands for them; saying yes twice is one approval.

    `digest` is what the person was shown (`Gate.digest`); without it the packages are approved as they are now.
    `settings` are given where a person answers: with `two_person` the first yes is 经办 and approves nothing, the
    yes of somebody else (复核) does; with `paper_blocks` nobody can say yes while paper is missing.

    Raises:
        Conflict: no such batch, nobody named, an exam of it has no package yet, the packages are no longer the
            ones that were shown, one person answers for both, or paper is missing that blocks.
    """
    by = _person(by)
    if settings is not None and settings.paper_blocks == "yes":
        with registry.read() as conn:
            owing = _batch(packages.batch(conn, batch_id), batch_id)
        if missing := arrivals.reasons(arrivals.arrivals(settings, registry, owing)):
            raise Conflict(f"批次 {owing.folder} 不能批准：{'；'.join(missing)}")
    with registry.begin(actor) as conn:
        batch = _batch(packages.batch(conn, batch_id), batch_id)
        live = approvals.lock_packages(conn, batch_id)
        _complete(batch, packages.unpacked(conn, batch_id))
        now = _shown(batch, live, digest)
        decision = approvals.last_decision(conn, batch_id, now)
        if settings is not None and settings.two_person == "yes" and (decision is None or decision[0] != "approved"):
            if decision is None or decision[0] != "prepared":
                approvals.decide(conn, batch_id, digest=now, decision="prepared", by=by, reason=reason.strip())
                note(conn, "prepare", batch=batch.folder, packages=len(live), digest=now, by=by)
                return now
            if _same_person(decision[1], by):
                raise Conflict(f"批次 {batch.folder} 已由{by}经办，复核须为另一人")
        if decision is None or decision[0] != "approved":
            approvals.decide(conn, batch_id, digest=now, decision="approved", by=by, reason=reason.strip())
            note(conn, "approve", batch=batch.folder, packages=len(live), digest=now, by=by)
        approvals.approve_packages(conn, batch_id)
        return now


def reject(registry: Registry, batch_id: int, by: str, reason: str, actor: Actor, *, digest: str | None = None) -> str:
    """Send the batch's packages back to assembly: they end as REJECTED, their rows are accepted rows again.

    Raises:
        Conflict: no such batch, nobody named, no reason, a package is approved already, or the packages are no
            longer the ones that were shown (`digest`).
    """
    by = _person(by)
    if not reason.strip():
        raise Conflict("退回数据包须写明原因")
    with registry.begin(actor) as conn:
        batch = _batch(packages.batch(conn, batch_id), batch_id)
        live = approvals.lock_packages(conn, batch_id)
        settled = [one for one in live if one.state != "BUILT"]
        if settled:
            raise Conflict(f"批次 {batch.folder} 有 {len(settled)} 个数据包已批准或已发送，不能退回")
        if not live:
            return digest or digest_of(())  # said twice, or nothing to send back
        now = _shown(batch, live, digest)
        approvals.decide(conn, batch_id, digest=now, decision="rejected", by=by, reason=reason.strip())
        note(conn, "reject", batch=batch.folder, packages=len(live), digest=now, by=by)
        approvals.reject_packages(conn, batch_id)
        return now


def _shown(batch: Batch, live: list[Package], shown: str | None) -> str:
    now = digest_of(one.digest for one in live)
    if shown is not None and shown != now:
        raise Conflict(f"批次 {batch.folder} 的数据包在查看之后有变动，请重新查看后再决定")
    return now


def _batch(batch: Batch | None, batch_id: int) -> Batch:
    if batch is None:
        raise Conflict(f"没有编号为 {batch_id} 的批次，请先冻结月份")
    if batch.reopened:
        raise Conflict(f"批次 {batch.folder} 已重新开放，请先再次冻结并组包")
    return batch


def _complete(batch: Batch, unpacked: int) -> None:
    if unpacked:
        raise Conflict(f"批次 {batch.folder} 还有 {unpacked} 行未组包，请先完成组包")


def _same_person(one: str, other: str) -> bool:
    """Names that differ in width, case or blanks alone are one person's."""
    first, second = ("".join(unicodedata.normalize("NFKC", name).casefold().split()) for name in (one, other))
    return first == second


def _person(by: str) -> str:
    if not by.strip():
        raise Conflict("请写明由谁决定（--by 姓名）")
    return by.strip()


def _missing_reasons(settings: Settings, registry: Registry, batch: Batch) -> list[str]:
    cities = reporting(settings, registry, batch.month)
    silent = [one.city for one in cities if one.status == "missing" and not one.submissions]
    sent_back = [one.city for one in cities if one.status == "missing" and one.submissions]
    reasons = []
    if silent:
        reasons.append(f"未报送也未零报：{'、'.join(silent)}")
    if sent_back:
        reasons.append(f"报送已全部退回、尚未重报：{'、'.join(sent_back)}")
    return reasons


def _corrected_reasons(conn: "Connection", batch: Batch) -> list[str]:
    """The package prints what the database said when a row was judged; a person knows whether that may still go up."""
    records = [
        record
        for record, dates in packages.corrected(conn, batch.id)
        if not dates or any(keys.parse_date(known).value[:digits] not in (own, "") for own, known, digits in dates)
    ]
    if not records:
        return []
    told = f"受理以后证书数据库有更正、数据包中仍是原值的 {len(records)} 行：{listed(records, _MOST_TOLD)}"
    return [f"{told}；须按更正后的值印制的，请退回组包，由该市重报"]


def _cancelled_reasons(settings: Settings, conn: "Connection", batch: Batch) -> list[str]:
    """Rows of exams that the table calls cancelled by now: they end in a proof and not at the authority (二(二)2)."""
    reference = load_reference(settings)
    gone = [
        (code, level, rows)
        for code, level, rows in packages.levels(conn, batch.id)
        if (exam := reference.exams.get(code)) is not None
        and exam.is_cancelled(keys.level_key(level, reference.level_aliases))
    ]
    return [
        f"国家已取消、上级不再受理的 {rows} 行（{code}{f' {level}' if level else ''}）："
        "请退回组包，由该市把这些行重报一次，在【待核实】转开证明"
        for code, level, rows in gone
    ]


def _error_reasons(batch: Batch, share: list[months.PastMonth]) -> list[str]:
    now = next((one for one in share if one.month == batch.month), None)
    past = [one.error_share for one in share if one.month != batch.month][:_HISTORY]
    if now is None:
        return []
    if not past:
        if now.error_share <= _SHARE_WITHOUT_HISTORY:
            return []
        return [f"退回率 {now.error_share:.1%}，超过 {_SHARE_WITHOUT_HISTORY:.0%}（尚无往月可比）"]
    usual = sum(past) / len(past)
    if now.error_share <= _FAR * usual:
        return []
    return [f"退回率 {now.error_share:.1%}，超过往月平均 {usual:.1%} 的 {_FAR:.0f} 倍"]


def _count_reasons(count: int, past: list[int]) -> list[str]:
    if not past:
        return []
    usual = sum(past) / len(past)
    if usual / _FAR <= count <= usual * _FAR:
        return []
    return [f"本月 {count} 行，往月平均 {usual:.0f} 行，相差悬殊"]

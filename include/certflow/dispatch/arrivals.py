"""Stamped paper per city, month and exam: has it arrived, and does it say what the data says (notice 附件二).

A person records it; the scan itself stays where it is, its digest is kept. The approver sees what is missing.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from certflow.errors import Conflict
from certflow.month import Month
from certflow.reference import load_reference
from certflow.registry import papers
from certflow.registry.ledger import Actor, Registry, note
from certflow.registry.packages import Batch
from certflow.settings import Settings

WORDS = {"arrived": "已到", "missing": "未到", "differs": "不符"}


@dataclass(frozen=True, slots=True)
class Arrival:
    """The paper of one city and exam of a batch; without a record it is missing."""

    account: str
    city: str
    exam_code: str
    rows: int
    state: str
    by: str
    note: str
    scan_sha256: str | None


def record_arrival(
    settings: Settings,
    registry: Registry,
    month: Month,
    account: str,
    exam_code: str,
    *,
    state: str,
    by: str,
    actor: Actor,
    remark: str = "",
    scan: Path | None = None,
) -> None:
    """Record what arrived; a later record replaces it, and both stay in the ledger.

    `state` is one of `WORDS`. Raises Conflict: another state, nobody named, account or exam unknown, or ``differs``
    without a remark.
    """
    reference = load_reference(settings)
    if not by.strip():
        raise Conflict("请写明由谁登记（--by 姓名）")
    if state not in WORDS:
        raise Conflict("纸质材料的状态只有 arrived、missing、differs")
    if account not in reference.cities or exam_code not in reference.exams:
        raise Conflict("账号或考试代码不存在，请核对地市表和考试代码表")
    if state == "differs" and not remark.strip():
        raise Conflict("登记为不符时须写明哪里不符")
    digest = None
    if scan is not None:
        with scan.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    with registry.begin(actor) as conn:
        papers.record(
            conn, str(month), account, exam_code, state=state, by=by.strip(), note=remark.strip(), scan_sha256=digest
        )
        note(conn, "paper", month=str(month), account=account, exam=exam_code, state=state, scan=digest)


def arrivals(settings: Settings, registry: Registry, batch: Batch) -> list[Arrival]:
    """The paper every city and exam of a batch owes, by account and exam."""
    cities = load_reference(settings).cities
    with registry.read() as conn:
        owed = papers.expected(conn, batch.id)
        known = papers.latest(conn, batch.month)
    found = []
    for (account, exam), rows in owed.items():
        paper = known.get((account, exam))
        city = cities[account].name if account in cities else account
        if paper is None:
            found.append(Arrival(account, city, exam, rows, "missing", "", "", None))
        else:
            found.append(Arrival(account, city, exam, rows, paper.state, paper.by, paper.note, paper.scan_sha256))
    return found


def reasons(found: list[Arrival]) -> list[str]:
    """What an approver is told about paper that is not there or not right."""
    told = []
    for state in ("missing", "differs"):
        ones = [f"{one.city}（{one.exam_code}）" for one in found if one.state == state]
        if ones:
            told.append(f"纸质材料{WORDS[state]}：{'、'.join(ones)}")
    return told

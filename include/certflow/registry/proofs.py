"""The register of proofs in the ledger (notice 二(二)): who may have one, which were issued, what they are worth now.

Whether a proof still holds is never stored: a 成绩合格证明 holds while its request is open, so it ends by itself the
moment the new certificate arrives (DOMAIN §6). Set-based; each function works inside the caller's transaction.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, func, insert, literal_column, select, text, update

from certflow.registry.schema import certificates, files, proof_requests, proofs, rows, submissions
from certflow.settings import Settings

Kind = Literal["score", "qualification"]
SCORE: Kind = "score"
QUALIFICATION: Kind = "qualification"
Status = Literal["valid", "ended", "revoked"]

OPEN = ("ACCEPTED", "PACKED", "SENT")
"""States of a checked request whose certificate has not come back."""
PROVED = ("PROOF", "ISSUED", "CLOSED")
"""States of a request that a 职/执业资格证明 may rest on."""
_REGISTER_LOCK = "SELECT pg_advisory_xact_lock(4849336, 3)"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A request a proof may rest on (PII): what the database says, with our dates."""

    row_id: int
    certificate_id: int
    account: str
    state: str
    management_no: str
    name: str
    id_type: str
    id_number: str
    exam_code: str
    exam: str
    level: str
    specialty: str
    approved_on: str
    """YYYYMMDD"""
    city: str
    proved: bool
    """Whether a 职/执业资格证明 stands in the register for it, revoked or not."""

    @property
    def cancelled_exam(self) -> bool:
        """Whether it ends in a 职/执业资格证明 and not in a certificate."""
        return self.state in ("PROOF", "ISSUED") or (self.state == "CLOSED" and self.proved)


@dataclass(frozen=True, slots=True)
class Proof:
    """One line of the register (PII in `printed`)."""

    id: int
    kind: Kind
    number: str
    code: str
    account: str
    printed: Mapping[str, str]
    purpose: str
    issued_at: dt.datetime
    issued_by: str
    sha256: str
    bundle: str | None
    revoked_at: dt.datetime | None
    revoke_reason: str | None
    row_id: int
    row_state: str

    @property
    def handed_out(self) -> bool:
        """Whether a person recorded that this 职/执业资格证明 is in its holder's or the city's hands."""
        return self.kind == QUALIFICATION and self.row_state == "CLOSED" and self.revoked_at is None

    def status(self, ends: str) -> Status:
        """What it is worth now; `ends` as `Settings.proof_ends`."""
        if self.revoked_at is not None:
            return "revoked"
        if self.kind == SCORE and self.row_state not in open_states(ends):
            return "ended"
        return "valid"


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one line of a request file."""

    row_no: int
    management_no: str
    purpose: str
    proof_id: int | None
    reason: str = ""


def open_states(ends: str) -> tuple[str, ...]:
    """States of a row that keep its 成绩合格证明 alive; `ends` as `Settings.proof_ends`."""
    return (*OPEN, "PRINTED") if ends == "delivered" else OPEN


def page_path(settings: Settings, number: str, year: int) -> Path:
    """Where the page of a proof lies; `year` of issue."""
    return settings.path("proofs", str(year), f"{number.replace('/', '_')}.pdf")


def requests_for(conn: Connection, account: str, management_nos: Sequence[str]) -> dict[str, Candidate]:
    """By 管理号 the account's newest request that was neither returned nor withdrawn."""
    query = _CANDIDATE.where(
        rows.c.management_no == func.any(_clean(management_nos)),
        submissions.c.account == account,
        rows.c.state.not_in(("JUDGED", "RETURNED", "IGNORED", "WITHDRAWN")),
    ).order_by(rows.c.id)
    return {row.management_no: Candidate(*row) for row in conn.execute(query)}


def waiting_qualifications(conn: Connection, account: str) -> list[Candidate]:
    """The account's rows of cancelled exams that wait for their 职/执业资格证明, oldest first; one of a certificate.

    None of a certificate for which one was issued, to whichever city, that is neither revoked nor handed out.
    """
    other = rows.alias()
    live = select(proofs.c.id).where(
        proofs.c.row_id == other.c.id, proofs.c.kind == QUALIFICATION, proofs.c.revoked_at.is_(None),
        other.c.certificate_id == rows.c.certificate_id, other.c.state != "CLOSED",
    )  # fmt: skip
    query = _CANDIDATE.where(rows.c.state == "PROOF", submissions.c.account == account, ~live.exists())
    oldest: dict[int, Candidate] = {}
    for row in conn.execute(query.order_by(rows.c.id)):
        oldest.setdefault(row.certificate_id, Candidate(*row))
    return [*oldest.values()]


def still(conn: Connection, row_ids: Sequence[int], states: Sequence[str]) -> set[int]:
    """Those of the rows that are in one of the states, and stay there until the transaction ends."""
    query = select(rows.c.id).where(rows.c.id == func.any([*row_ids]), rows.c.state.in_(states)).order_by(rows.c.id)
    return set(conn.scalars(query.with_for_update(read=True)))


def begin_register(conn: Connection, kind: Kind, year: int) -> int:
    """The next serial number; nobody else gets one until the transaction ends, so the register has no gaps."""
    conn.execute(text(_REGISTER_LOCK))
    last = conn.scalar(select(func.max(proofs.c.serial)).where(proofs.c.kind == kind, proofs.c.year == year))
    return int(last or 0) + 1


def enter(conn: Connection, entry: Mapping[str, Any]) -> int:
    """Write one line of the register (columns of `proofs`); its id."""
    return int(conn.execute(insert(proofs).values(**entry).returning(proofs.c.id)).scalar_one())


def issued(conn: Connection, row_ids: Sequence[int]) -> None:
    """Rows of cancelled exams whose proof is in the register: PROOF → ISSUED."""
    conn.execute(update(rows).where(rows.c.id == func.any([*row_ids]), rows.c.state == "PROOF").values(state="ISSUED"))


def closed(conn: Connection, row_ids: Sequence[int]) -> int:
    """Rows whose 职/执业资格证明 was handed out: ISSUED → CLOSED; how many moved."""
    moved = update(rows).where(rows.c.id == func.any([*row_ids]), rows.c.state == "ISSUED").values(state="CLOSED")
    return len(conn.execute(moved.returning(rows.c.id)).all())


def live(conn: Connection, row_id: int, kind: Kind, purpose: str) -> Proof | None:
    """The proof of this request and purpose that was not revoked."""
    query = _PROOF.where(
        proofs.c.row_id == row_id, proofs.c.kind == kind, proofs.c.purpose == purpose, proofs.c.revoked_at.is_(None)
    )
    return _one(conn, query)


def by_code(conn: Connection, code: str) -> Proof | None:
    """The proof with this verification code."""
    return _one(conn, _PROOF.where(proofs.c.code == code))


def by_number(conn: Connection, number: str, *, lock: bool = False) -> Proof | None:
    """The proof with this register number."""
    query = _PROOF.where(proofs.c.number == number)
    return _one(conn, query.with_for_update(of=proofs) if lock else query)


def register(
    conn: Connection, account: str | None = None, management_no: str | None = None, limit: int | None = None
) -> list[Proof]:
    """The register, newest first; of one city, or about one certificate; at most so many lines."""
    query = _PROOF.order_by(proofs.c.id.desc()).limit(limit)
    if account is not None:
        query = query.where(proofs.c.account == account)
    if management_no is not None:
        query = query.where(rows.c.management_no == management_no)
    return [Proof(*row) for row in conn.execute(query)]


def unbundled(conn: Connection, account: str, ends: str, *, lock: bool = False) -> list[Proof]:
    """Proofs of a city that hold (`ends` as `Settings.proof_ends`) and are in no paper bundle, by register number."""
    query = _PROOF.where(proofs.c.account == account, proofs.c.bundle.is_(None), proofs.c.revoked_at.is_(None))
    query = query.order_by(proofs.c.kind.desc(), proofs.c.year, proofs.c.serial)
    found = [Proof(*row) for row in conn.execute(query.with_for_update(of=proofs) if lock else query)]
    return [proof for proof in found if proof.status(ends) == "valid"]


def bundled(conn: Connection, name: str, *, lock: bool = False) -> list[Proof]:
    """The proofs of one bundle, in its order."""
    query = _PROOF.where(proofs.c.bundle == name).order_by(proofs.c.kind.desc(), proofs.c.year, proofs.c.serial)
    return [Proof(*row) for row in conn.execute(query.with_for_update(of=proofs) if lock else query)]


def put_in_bundle(conn: Connection, proof_ids: Sequence[int], name: str) -> None:
    """Record the bundle proofs went out in."""
    conn.execute(update(proofs).where(proofs.c.id == func.any([*proof_ids])).values(bundle=name))


def bundles(conn: Connection, prefix: str) -> int:
    """How many bundles there are whose name begins so."""
    found = select(func.count(func.distinct(proofs.c.bundle))).where(
        proofs.c.bundle.startswith(prefix, autoescape=True)
    )
    return int(conn.scalar(found) or 0)


def revoke(conn: Connection, proof_id: int, by: str, reason: str) -> None:
    """Take a proof back for good."""
    values = {"revoked_at": func.now(), "revoked_by": by, "revoke_reason": reason}
    conn.execute(update(proofs).where(proofs.c.id == proof_id).values(**values))


def decide(conn: Connection, file_id: int, state: str, reason: str, decisions: Sequence[Decision]) -> None:
    """Record what became of a request file (RECEIVED → `state`) and of each of its lines."""
    conn.execute(update(files).where(files.c.id == file_id, files.c.state == "RECEIVED").values(state="UNPACKED"))
    conn.execute(update(files).where(files.c.id == file_id).values(state=state, reason=reason or None))
    if decisions:
        conn.execute(
            insert(proof_requests),
            [
                {
                    "file_id": file_id,
                    "row_no": one.row_no,
                    "management_no": one.management_no,
                    "purpose": one.purpose,
                    "proof_id": one.proof_id,
                    "reason": one.reason,
                }
                for one in decisions
            ],
        )


_CANDIDATE: Any = (
    select(
        rows.c.id, rows.c.certificate_id, submissions.c.account, rows.c.state, rows.c.management_no, rows.c.name,
        rows.c.id_type, rows.c.id_number, certificates.c.exam_code, certificates.c.exam_name, rows.c.level,
        rows.c.specialty, rows.c.approved_on, rows.c.city,
        select(proofs.c.id).where(proofs.c.row_id == rows.c.id, proofs.c.kind == QUALIFICATION).exists(),
    )
    .select_from(rows)
    .join(submissions, submissions.c.id == rows.c.submission_id)
    .join(certificates, certificates.c.id == rows.c.certificate_id)
    .where(submissions.c.lane == "month")
)  # fmt: skip
"""Every column of `Candidate`. A row without a certificate in the database can never be proved."""

_STATE: Any = literal_column("""
    CASE WHEN rows.state <> 'WITHDRAWN' THEN rows.state ELSE (
        WITH RECURSIVE line AS (SELECT rows.id, rows.state UNION ALL
            SELECT n.id, n.state FROM line l JOIN rows n ON n.replaces = l.id AND l.state = 'WITHDRAWN')
        SELECT state FROM line ORDER BY id DESC LIMIT 1) END""").label("row_state")
"""Of a proof's request; where it was withdrawn, of the one that took its place."""

_PROOF: Any = (
    select(
        proofs.c.id, proofs.c.kind, proofs.c.number, proofs.c.code, proofs.c.account, proofs.c.printed,
        proofs.c.purpose, proofs.c.issued_at, proofs.c.issued_by, proofs.c.sha256, proofs.c.bundle, proofs.c.revoked_at,
        proofs.c.revoke_reason, proofs.c.row_id, _STATE,
    )
    .select_from(proofs)
    .join(rows, rows.c.id == proofs.c.row_id)
)  # fmt: skip


def _one(conn: Connection, query: Any) -> Proof | None:  # noqa: ANN401 (a select)
    row = conn.execute(query).one_or_none()
    return Proof(*row) if row else None


def _clean(numbers: Sequence[str]) -> list[str]:
    """Numbers PostgreSQL can hold, each once."""
    return sorted({number for number in numbers if number and number.isprintable()})

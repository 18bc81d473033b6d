"""Issue proofs: a number in the register, a page, a digest; all of it or nothing.

Everything is one transaction per `CHUNK` proofs: numbers are gapless, a page under its final name that the register
does not know is overwritten by the next proof of that number, and a digest in the register is that of the page.
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certflow import pdf, vault
from certflow.errors import Conflict, DigestMismatch
from certflow.month import SHANGHAI
from certflow.proofs import codes
from certflow.registry import proofs as ledger
from certflow.registry.ledger import Actor, Registry, note
from certflow.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

CHUNK = 100
PURPOSE_LENGTH = 60
"""Characters of 用途 that fit the page."""
TITLES = {ledger.SCORE: "成绩合格证明", ledger.QUALIFICATION: "职/执业资格证明"}
_WORDS = {ledger.SCORE: "成", ledger.QUALIFICATION: "资"}
_ENDS = {"printed": "新证书印制完成", "delivered": "新证书发放"}
_TEMPLATES = {ledger.SCORE: "proof-score", ledger.QUALIFICATION: "proof-qualification"}


@dataclass(frozen=True, slots=True)
class Office:
    """What every use-case of this room works with."""

    settings: Settings
    registry: Registry
    press: pdf.Press
    actor: Actor


def open_office(settings: Settings, registry: Registry, actor: Actor) -> Office:
    """An office with this installation's templates and fonts; ConfigurationError when they cannot be used."""
    return Office(settings, registry, pdf.press(settings), actor)


@dataclass(frozen=True, slots=True)
class Draft:
    """A proof that may be issued; the caller has checked the request."""

    kind: ledger.Kind
    candidate: ledger.Candidate
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class Issued:
    """A proof as it now stands in the register."""

    id: int
    number: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Why there is no proof, in the words the city reads. `unprintable`: characters no font at hand has."""

    reason: str
    unprintable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unprinted:
    """A proof that is owed but cannot be printed before somebody adds a font; for the province's eyes."""

    management_no: str
    reason: str


def issue(
    office: Office, drafts: Sequence[Draft], *, progress: Callable[[int], None] = lambda _done: None
) -> list[Issued | Refused]:
    """Issue every draft, in order; one that has a proof for the same purpose already gets that one back.

    May be run again after any failure. Raises ConfigurationError when a template is wrong.
    """
    answers: list[Issued | Refused] = []
    for start in range(0, len(drafts), CHUNK):
        part = drafts[start : start + CHUNK]
        with office.registry.begin(office.actor) as conn:
            answers += _Chunk(office, conn).issue(part)
        progress(len(answers))
    return answers


def issue_one(office: Office, account: str, management_no: str, purpose: str) -> Issued:
    """One proof, whatever kind the account's request calls for; Conflict says why there is none."""
    from certflow.proofs.requests import refusal

    with office.registry.read() as conn:
        candidate = ledger.requests_for(conn, account, [management_no]).get(management_no)
    if candidate is not None and candidate.cancelled_exam:
        draft = Draft(ledger.QUALIFICATION, candidate, purpose)
    else:
        if (reason := refusal(candidate, office.settings.proof_ends)) or candidate is None:
            raise Conflict(reason)
        draft = Draft(ledger.SCORE, candidate, purpose)
    (answer,) = issue(office, [draft])
    if isinstance(answer, Refused):
        raise Conflict(pdf.unprintable(answer.unprintable) if answer.unprintable else answer.reason)
    return answer


def unprinted(drafts: Sequence[Draft], answers: Sequence[Issued | Refused]) -> tuple[Unprinted, ...]:
    """Those of the drafts that no font at hand can show."""
    return tuple(
        Unprinted(draft.candidate.management_no, pdf.unprintable(answer.unprintable))
        for draft, answer in zip(drafts, answers, strict=True)
        if isinstance(answer, Refused) and answer.unprintable
    )


def page_of(settings: Settings, proof: ledger.Proof) -> bytes:
    """The page as it was issued; DigestMismatch when the file is gone or no longer the one in the register."""
    file = ledger.page_path(settings, proof.number, proof.issued_at.astimezone(SHANGHAI).year)
    data = vault.read_bytes(file) if file.is_file() else b""
    if hashlib.sha256(data).hexdigest() != proof.sha256:
        raise DigestMismatch(f"证明 {proof.number} 的文件缺失或与登记的摘要不符，请从备份恢复")
    return data


def page_data(settings: Settings, printed: Mapping[str, str], code: str) -> dict[str, Any]:
    """What a template is given: the printed values and the QR code."""
    address = settings.verify_url.rstrip("/")
    return {**printed, "qr": pdf.qr_svg(f"{address}/{code}" if address else code)}


def source_of(press: pdf.Press, kind: ledger.Kind) -> str:
    """The template of a kind of proof."""
    return press.template(_TEMPLATES[kind])


class _Chunk:
    """Drafts that share a transaction."""

    def __init__(self, office: Office, conn: "Connection") -> None:
        self._settings, self._press, self._conn, self._who = office.settings, office.press, conn, office.actor.who
        self._now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        self._year = self._now.astimezone(SHANGHAI).year
        self._next: dict[ledger.Kind, int] = {}

    def issue(self, drafts: Sequence[Draft]) -> list[Issued | Refused]:
        row_ids = [draft.candidate.row_id for draft in drafts]
        states: dict[ledger.Kind, tuple[str, ...]] = {
            ledger.SCORE: ledger.open_states(self._settings.proof_ends),
            ledger.QUALIFICATION: ledger.PROVED,
        }
        fit = {kind: ledger.still(self._conn, row_ids, states[kind]) for kind in {draft.kind for draft in drafts}}
        answers = [self._one(draft, fit[draft.kind]) for draft in drafts]
        done = [
            draft.candidate.row_id
            for draft, answer in zip(drafts, answers, strict=True)
            if draft.kind == ledger.QUALIFICATION and isinstance(answer, Issued)
        ]
        ledger.issued(self._conn, done)
        if self._next:
            note(self._conn, "proofs", issued=sum(isinstance(answer, Issued) for answer in answers))
        return answers

    def _one(self, draft: Draft, fit: set[int]) -> Issued | Refused:
        candidate = draft.candidate
        if candidate.row_id not in fit:
            return Refused("申请的状态刚刚改变，请重新提出")
        if len(draft.purpose) > PURPOSE_LENGTH:
            return Refused(f"用途超过 {PURPOSE_LENGTH} 字")
        if draft.kind not in self._next:
            self._next[draft.kind] = ledger.begin_register(self._conn, draft.kind, self._year)
        if (known := ledger.live(self._conn, candidate.row_id, draft.kind, draft.purpose)) is not None:
            return Issued(known.id, known.number, known.sha256)
        code, serial = codes.new_code(), self._next[draft.kind]
        number = f"{self._settings.proof_prefix}〔{self._year}〕{_WORDS[draft.kind]}{serial:05d}号"
        printed = _printed(self._settings, draft, number, code, self._now)
        data = page_data(self._settings, printed, code)
        if lost := self._press.missing(list(printed.values())):
            codes_of = pdf.code_points(lost)
            return Refused(f"现有字体没有这些字：{codes_of}；请与省人事考试中心联系，补充字体后再提出", tuple(lost))
        page = self._press.print(_TEMPLATES[draft.kind], data, title=TITLES[draft.kind], at=self._now)
        digest = hashlib.sha256(page).hexdigest()
        _write(ledger.page_path(self._settings, number, self._year), page)
        proof_id = ledger.enter(
            self._conn,
            {
                "kind": draft.kind, "year": self._year, "serial": serial, "number": number, "code": code,
                "account": candidate.account, "certificate_id": candidate.certificate_id, "row_id": candidate.row_id,
                "printed": printed, "purpose": draft.purpose, "issued_at": self._now, "issued_by": self._who,
                "sha256": digest, "size": len(page),
            },
        )  # fmt: skip
        self._next[draft.kind] += 1
        return Issued(proof_id, number, digest)


def _printed(settings: Settings, draft: Draft, number: str, code: str, now: dt.datetime) -> dict[str, str]:
    one = draft.candidate
    return {
        "number": number,
        "name": one.name,
        "id_type": one.id_type,
        "id_number": one.id_number,
        "management_no": one.management_no,
        "exam": one.exam,
        "level": one.level or "—",
        "specialty": one.specialty or "—",
        "approved_on": chinese_date(one.approved_on),
        "city": one.city,
        "purpose": draft.purpose,
        "ends": _ENDS[settings.proof_ends],
        "issued_on": chinese_date(f"{now.astimezone(SHANGHAI):%Y%m%d}"),
        "code": codes.shown(code),
        "verify": settings.verify_url.rstrip("/"),
    }


def chinese_date(value: str) -> str:
    """``20100920`` → ``2010年9月20日``, ``201009`` → ``2010年9月``; anything else as it is."""
    if not value.isdecimal() or len(value) not in (6, 8):
        return value
    day = f"{int(value[6:])}日" if len(value) == 8 else ""
    return f"{value[:4]}年{int(value[4:6])}月{day}"


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = file.with_suffix(".part")
    with vault.create(fresh, 0o666) as stream:
        stream.write(data)
        vault.finish(stream)
    fresh.replace(file)


def revoke(registry: Registry, number: str, *, by: str, reason: str, actor: Actor) -> ledger.Proof:
    """Take a proof back for good; whoever checks its code is told so from now on. Conflict when it cannot be."""
    if not reason.strip():
        raise Conflict("撤销证明须写明原因")
    with registry.begin(actor) as conn:
        proof = ledger.by_number(conn, number.strip(), lock=True)
        if proof is None:
            raise Conflict("登记簿中没有这个编号")
        if proof.revoked_at is not None:
            raise Conflict(f"{proof.number} 已经撤销")
        ledger.revoke(conn, proof.id, by, reason.strip())
        note(conn, "proof revoked", proof=proof.id, by=by, reason=reason.strip())
    return proof

"""The paper bundle of a city: one PDF with a list in front and every proof behind it, to print, seal and hand out.

A page in the bundle is the page that was issued: it is drawn again and must have the digest in the register.
"""

import datetime as dt
import hashlib
from dataclasses import dataclass
from pathlib import Path

from certflow import vault
from certflow.errors import Conflict
from certflow.month import SHANGHAI
from certflow.proofs import issue as press_room
from certflow.proofs.codes import typed
from certflow.proofs.issue import Office
from certflow.registry import proofs as ledger
from certflow.registry.ledger import Actor, Registry, note
from certflow.settings import Settings

LIMIT = 500
"""Proofs in one bundle; the next ones come into the next."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was made now."""

    name: str
    file: Path
    proofs: int


@dataclass(frozen=True, slots=True)
class HandedOut:
    """What a person recorded as handed out: `proofs` in all, requests `closed` by it now.

    Left out: proofs that were `revoked` or had `ended` before.
    """

    proofs: int
    closed: int
    revoked: int
    ended: int


def bundle(office: Office, account: str, city: str) -> Bundle | None:
    """Bind what the city has not got yet; None when there is nothing. A draft (``.part``) until the ledger knows it.

    Raises:
        Conflict: a template or a font was changed after a proof was issued: the bundle would not show what the
            register holds.
        Busy: the city's proofs are being bound at this moment.
    """
    settings, registry = office.settings, office.registry
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    with registry.lock(f"bundle:{account}"):
        _settle_drafts(settings, registry, account)
        with registry.begin(office.actor) as conn:
            proofs = ledger.unbundled(conn, account, settings.proof_ends, lock=True)[:LIMIT]
            if not proofs:
                return None
            prefix = f"{account}-{_today(now)}-"
            name = f"{prefix}{ledger.bundles(conn, prefix) + 1}"
            made = _bind(office, name, city, proofs, now)
            file = bundle_file(settings, name)
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with vault.create(file.with_suffix(".part"), 0o666) as stream:
                stream.write(made)
                vault.finish(stream)
            ledger.put_in_bundle(conn, [proof.id for proof in proofs], name)
            note(conn, "proof bundle", bundle=name, proofs=len(proofs), sha256=hashlib.sha256(made).hexdigest())
        _settle_drafts(settings, registry, account)
    return Bundle(name, file, len(proofs))


def _settle_drafts(settings: Settings, registry: Registry, account: str) -> None:
    """Give bundles the ledger knows their final name, and take away the others: their proofs are bound anew."""
    for draft in sorted(settings.path("proofs", "bundles").glob(f"{account}-*.part")):
        with registry.read() as conn:
            known = ledger.bundled(conn, draft.stem)
        if known:
            draft.replace(draft.with_suffix(".pdf"))
        else:
            draft.unlink()


def _today(now: dt.datetime) -> str:
    return f"{now.astimezone(SHANGHAI):%Y%m%d}"


def hand_out(settings: Settings, registry: Registry, name: str, *, by: str, actor: Actor) -> HandedOut:
    """Record that a bundle, or one proof by its number, was handed out; may be recorded again.

    A 职/执业资格证明 ends its request with that (ISSUED → CLOSED); a 成绩合格证明 does not, it ends when the
    certificate arrives. A proof that was revoked or has ended is not handed out. Conflict when there is no such bundle
    or number, or nothing to hand out.
    """
    with registry.begin(actor) as conn:
        one = ledger.by_number(conn, name, lock=True)
        found = [one] if one is not None else ledger.bundled(conn, name, lock=True)
        if not found:
            raise Conflict("没有这一册，登记簿中也没有这个编号")
        worth = [proof.status(settings.proof_ends) for proof in found]
        good = [proof for proof, status in zip(found, worth, strict=True) if status == "valid"]
        if not good:
            raise Conflict("这些证明都已撤销或已失效，不能发放")
        closed = ledger.closed(conn, [proof.row_id for proof in good if proof.kind == ledger.QUALIFICATION])
        note(conn, "proofs handed out", bundle=found[0].bundle, proofs=[proof.id for proof in good], by=by)
    return HandedOut(len(good), closed, worth.count("revoked"), worth.count("ended"))


def bundle_file(settings: Settings, name: str) -> Path:
    """Where a bundle lies."""
    return settings.path("proofs", "bundles", f"{name}.pdf")


def _bind(office: Office, name: str, city: str, proofs: list[ledger.Proof], now: dt.datetime) -> bytes:
    settings, press = office.settings, office.press
    parts = []
    for proof in proofs:
        data = press_room.page_data(settings, proof.printed, typed(proof.printed["code"]) or "")
        source = press_room.source_of(press, proof.kind)
        title = press_room.TITLES[proof.kind]
        page = press.bind([(source, data)], title=title, at=proof.issued_at)
        if hashlib.sha256(page).hexdigest() != proof.sha256:
            raise Conflict(
                f"证明 {proof.number} 出具后模板、字体或查验地址有改动，无法原样装订；"
                f"请恢复原来的设置，或撤销后重新出具"
            )
        parts.append((source, data))
    lines = [
        {
            "kind": press_room.TITLES[proof.kind], "name": proof.printed["name"],
            "management_no": proof.printed["management_no"], "number": proof.number,
        }
        for proof in proofs
    ]  # fmt: skip
    cover = {
        "title": "证明发放清单", "city": city, "bundle": name, "lines": lines,
        "issued_on": press_room.chinese_date(_today(now)),
    }  # fmt: skip
    return press.bind([(press.template("proof-list"), cover), *parts], title=f"证明发放清单 {name}", at=now)

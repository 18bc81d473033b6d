"""The code on a proof: what the proof is worth now, and whether name and number on the paper are the ones issued.

Whoever has the code has the paper; the answer still shows no more than it must. A code that is wrong and one that
never was get the same answer, and guessing is slowed (30^16 codes, 20 misses in ten minutes).
"""

from dataclasses import dataclass

from certflow import keys
from certflow.month import SHANGHAI
from certflow.privacy import mask_name, reference_key
from certflow.privacy import reference as keyed
from certflow.proofs.codes import typed
from certflow.proofs.issue import TITLES
from certflow.registry import proofs, verifications
from certflow.registry.ledger import Actor, Registry
from certflow.settings import Settings
from certflow.verify.limits import take_turn

STATUSES = {
    "valid": "有效",
    "ended": "已失效（补换的证书已经印制或发放，或申请已经终止）",
    "revoked": "已撤销",
}
UNKNOWN = "没有查到：查验码不存在或填写有误"


@dataclass(frozen=True, slots=True)
class CodeAnswer:
    """What a code says. `same`: asked field → whether it agrees; nothing that was not asked is disclosed."""

    status: str
    kind: str
    number: str
    issued_on: str
    name: str
    """Masked."""
    exam: str
    same: dict[str, bool]

    @property
    def text(self) -> str:
        """The answer in words: what was asked and differs comes before what the proof is worth."""
        differs = "、".join(field for field, same in self.same.items() if not same)
        return f"{differs}与证明不一致（该证明{STATUSES[self.status]}）" if differs else STATUSES[self.status]

    @property
    def good(self) -> bool:
        """Whether the paper can be relied on, as far as it was asked about."""
        return self.status == "valid" and all(self.same.values())


def check_code(
    settings: Settings, registry: Registry, subject: str, code: str, *, name: str = "", id_number: str = ""
) -> CodeAnswer | None:
    """The proof with this code, None when there is none; Slowed when `subject` asked too often."""
    actor = Actor("verify:code")
    turn = take_turn(registry, actor, subject)
    wanted = typed(code)
    with registry.read() as conn:
        proof = proofs.by_code(conn, wanted or "-")
    answer = None
    if proof is not None:
        same = {}
        if name.strip():
            same["姓名"] = keys.name_key(name) == keys.name_key(proof.printed["name"])
        if id_number.strip():
            same["证件号码"] = keys.id_key(id_number) == keys.id_key(proof.printed["id_number"])
        answer = CodeAnswer(
            proof.status(settings.proof_ends), TITLES[proof.kind], proof.number,
            f"{proof.issued_at.astimezone(SHANGHAI):%Y-%m-%d}", mask_name(proof.printed["name"]), proof.printed["exam"],
            same,
        )  # fmt: skip
        if all(same.values()):
            turn.met()
    with registry.begin(actor) as conn:
        verifications.log(
            conn,
            {
                "way": "code", "operator": "", "account": "", "requester": "", "reason": "",
                "asked": keyed(reference_key(settings), wanted or ""), "result": answer.status if answer else "unknown",
                "fields": dict(answer.same) if answer else {}, "proof_id": proof.id if proof else None,
            },
        )  # fmt: skip
    return answer

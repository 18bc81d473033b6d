"""Proofs of one city, as the DAG needs them: take its requests, issue, answer, bind. Counts and ids come back."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workplace import Workplace


def issue_proofs(place: Workplace, account: str) -> dict[str, Any]:
    """Everything a city's proofs need today; every step picks up what the ledger says is open.

    Whoever takes the city in or answers it at this moment (the intake of these minutes) does that for this task, too.
    """
    from certflow.errors import Busy, Conflict
    from certflow.intake.pull import pull, reply
    from certflow.proofs.bundle import bundle
    from certflow.proofs.issue import open_office
    from certflow.proofs.requests import answer_qualifications, answer_requests
    from certflow.reference import load_reference

    settings, registry, actor = place.settings, place.registry, place.actor
    reference = load_reference(settings)
    office = open_office(settings, registry, actor)
    with suppress(Busy):
        pull(settings, registry, account, actor)
    report = answer_requests(office, reference, account)
    qualified, waiting = answer_qualifications(office, account)
    with suppress(Busy):
        reply(settings, registry, account, actor)
    bound = bundle(office, account, reference.cities[account].name)
    if unprinted := (*report.unprinted, *waiting):
        raise Conflict(f"{len(unprinted)} 份证明未能开具：{'；'.join(sorted({one.reason for one in unprinted}))}")
    return {
        "account": account,
        "files": len(report.files),
        "returned": len(report.returned),
        "issued": report.issued,
        "refused": report.refused,
        "qualifications": qualified,
        "bundle": bound.name if bound else None,
    }

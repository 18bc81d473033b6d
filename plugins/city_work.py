"""One city's turn, as two DAGs need it: pull, check, reply. Counts and ids only come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workplace import Workplace


def take_in(place: Workplace, account: str) -> dict[str, Any]:
    """Pull the city's new files, judge everything that waits for it, put the answers into its folder.

    Every step picks up what the ledger says is open, so a repeated call continues where the last one ended.
    """
    from certflow.checks.run import check_city
    from certflow.errors import DigestMismatch
    from certflow.intake.pull import pull, reply
    from work_metrics import taken_in

    settings, registry, actor = place.settings, place.registry, place.actor
    pulled = pull(settings, registry, account, actor)
    try:
        judged = check_city(settings, registry, account, actor)
    except DigestMismatch:  # what could be judged all the same is answered
        reply(settings, registry, account, actor)
        raise
    answered = reply(settings, registry, account, actor)
    taken_in(place, account, pulled, judged)
    return {"account": account, "pull": counts(pulled), "check": counts(judged), "reply": counts(answered)}


def counts(report: object) -> Any:  # noqa: ANN401 (a report or a number, as JSON takes it)
    """A use-case's report as numbers: lists become their lengths, text is left out."""
    from dataclasses import fields, is_dataclass

    if isinstance(report, bool | int | float):
        return report
    if isinstance(report, dict):
        return {str(key): counts(value) for key, value in report.items()}
    if isinstance(report, list | tuple | set | frozenset):
        return len(report)
    if is_dataclass(report):
        return {
            item.name: counts(value)
            for item in fields(report)
            if not isinstance(value := getattr(report, item.name), str | None)
        }
    return None

"""Returns as the DAG needs them: ids and counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workplace import Workplace


def fetch(place: Workplace) -> list[int]:
    """Take new files from the authority; ids of all returns that are not settled yet, sorted."""
    from certflow.returns.fetch import fetch

    return sorted(fetch(place.settings, place.registry, place.actor))


def reconcile(place: Workplace, return_id: int) -> int:
    """Sort the rows of one return into their buckets; the id goes on."""
    from certflow.returns.reconcile import reconcile

    reconcile(place.settings, place.registry, return_id, place.actor)
    return return_id


def apply(place: Workplace, return_id: int) -> Any:  # noqa: ANN401 (the use-case's report as numbers)
    """Record the prints of one return, once."""
    from certflow.returns.apply import apply
    from city_work import counts

    return counts(apply(place.registry, return_id, place.actor))

"""The purge as its DAG needs it: counts come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certflow.errors import Conflict

if TYPE_CHECKING:
    from workplace import Workplace


def purge(place: Workplace) -> dict[str, int]:
    """Delete what is due; fails for a person when something of it is left. Things deleted, by kind."""
    import datetime as dt

    from certflow.registry import purge as room

    steps, proof = room.purge(place.settings, place.registry, dt.datetime.now(dt.UTC), place.actor)
    if not proof.holds:
        raise Conflict(f"到期的材料没有删净：还剩 {proof.found} 个文件、{sum(proof.columns.values())} 行")
    return {one.kind: one.count for one in steps if one.count}

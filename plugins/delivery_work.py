"""Delivery as the DAG needs it: one city's day, and what concerns the province. Counts and ids come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from certflow.errors import Conflict

if TYPE_CHECKING:
    from workplace import Workplace


def deliver(place: Workplace, account: str) -> dict[str, Any]:
    """Take in, order, keep, hand out; fails for a person when a list or a line of it is his to judge."""
    from certflow.delivery.daily import run_city
    from certflow.reference import load_reference

    reference = load_reference(place.settings)
    day = run_city(place.settings, place.registry, reference, account, place.actor)
    left = [f"{len(day.held)} 份名单未采用（编号 {'、'.join(map(str, day.held))}）"] if day.held else []
    left += [f"{len(day.against)} 本的 EMS 回传与已知矛盾（{'、'.join(day.against)}）"] if day.against else []
    left += [f"{len(day.foreign)} 份 EMS 回传中没有一行是我们的"] if day.foreign else []
    left += [f"{day.unread} 个文件或文件夹没有读取权限"] if day.unread else []
    left += [f"{day.refused} 个凭证的类型或大小不对，留在原处"] if day.refused else []
    if left:
        raise Conflict(f"有 {'，'.join(left)}，其余工作已完成")
    return day.as_json()


def settle(place: Workplace) -> dict[str, int]:
    """What was kept too long becomes overdue; the states go out to the province's system."""
    from certflow.delivery.orders import expire, export_states
    from certflow.reference import load_reference

    expired = expire(place.settings, place.registry, load_reference(place.settings), place.actor)
    made = export_states(place.settings, place.registry, place.actor)
    return {"expired": expired, "exported": made.lines if made else 0}

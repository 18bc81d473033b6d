"""Returns as the DAG needs them: ids and counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowSkipException

from certflow.errors import Conflict
from run_form import tell_moved

if TYPE_CHECKING:
    from workplace import Workplace


def fetch(place: Workplace) -> int:
    """Take new files from the authority; how many."""
    from certflow.returns.fetch import fetch

    return len(fetch(place.settings, place.registry, place.actor))


def pending(place: Workplace) -> list[int]:
    """Ids of every return with something left to do, oldest first; whether or not all could be fetched."""
    from certflow.returns.apply import pending

    return pending(place.registry)


def reconcile(place: Workplace, return_id: int) -> int:
    """Sort the rows of one return into their buckets; the id goes on.

    A return about packages that are just being sent is left to the next run; one that cannot be used as it
    is fails here, for a person. One that a person has taken back or dismissed is left to a person, whatever task is
    cleared.
    """
    from certflow.checks.returned import return_judge
    from certflow.registry.reprints import find
    from certflow.returns.reconcile import existing, reconcile
    from certflow.returns.undo import dismissed

    with place.registry.read() as conn:
        before = existing(find(conn, return_id), return_id)
    if before.state == "UNDONE":
        raise AirflowSkipException(
            f"返回文件 {return_id} 的入账已撤销；再次入账请运行 certflow returns again {return_id}"
        )
    if dismissed(before):
        raise AirflowSkipException(
            f"返回文件 {return_id} 已决定不入账；仍要入账请运行 certflow returns again {return_id}"
        )
    judge = return_judge(place.settings)
    found = reconcile(place.settings, place.registry, return_id, place.actor, judge=judge)
    if found.state == "RECEIVED":
        raise AirflowSkipException("相关数据包正在发送，下一次运行再对账")
    if found.state in ("HELD", "RETURNED"):
        raise Conflict(f"返回文件 {return_id} 不能对账：{found.reason}")
    return return_id


def apply(place: Workplace, return_id: int) -> dict[str, int]:
    """Record the prints of one return, once; rows by bucket."""
    from certflow.registry.reprints import months_of
    from certflow.returns.answers import write
    from certflow.returns.apply import apply
    from work_metrics import applied

    counts = apply(place.settings, place.registry, return_id, place.actor).counts
    write(place.settings, place.registry)  # the next round of intake brings them to the cities
    with place.registry.read() as conn:
        tell_moved(months_of(conn, return_id))
    applied(counts)
    return counts


def count_missing(place: Workplace) -> dict[str, int]:
    """Rows sent and not answered yet, the age of the oldest in days, and how many are `late` or past the `alarm`.

    Answers to the cities that an earlier run could not write any more are written now.
    """
    from certflow.returns.ageing import level, missing
    from certflow.returns.answers import write
    from work_metrics import standing

    write(place.settings, place.registry)
    found = missing(place.registry)
    counts = {"rows": 0, "days": max((one.age_days for one in found), default=0), "late": 0, "alarm": 0}
    for one in found:
        counts["rows"] += one.rows
        if where := level(place.settings, one.age_days):
            counts[where] += one.rows
    standing(place, counts)
    return counts

"""Freeze a month: from here on it is settled which rows go up together.

What is accepted later (a held row decided, a late file) falls into the next 补报. May be run again at any
time: nothing is frozen twice.
"""

from dataclasses import dataclass
from datetime import datetime

from certflow.errors import Conflict
from certflow.month import SHANGHAI, Month
from certflow.registry import packages
from certflow.registry.ledger import Actor, Registry, note


@dataclass(frozen=True, slots=True)
class Batch:
    """A frozen batch: number 0 is the month, n the n-th 补报. `exams`: exam code → rows that go into its package."""

    id: int
    month: Month
    number: int
    exams: dict[str, int]

    @property
    def rows(self) -> int:
        """Rows of all its packages together."""
        return sum(self.exams.values())


def freeze(registry: Registry, month: Month, actor: Actor, *, number: int | None = None) -> Batch:
    """Settle the accepted rows of `month` that are in no batch yet, and return the batch.

    Without `number`: the month itself the first time (even when nothing came: an empty month is a fact too), then a
    batch that is to be packed again before any other, the next 补报 when there are new accepted rows, else the newest
    batch as it stands. With `number`: exactly that batch, so that a task which is run again never opens another one.

    A batch that was reopened is frozen once more, with everything accepted since.

    Raises:
        Busy: the month is being frozen at this moment.
        Conflict: the month has not begun in Shanghai, `number` is neither frozen nor the next one, the newest batch is
            reopened, or a 补报 would be empty.
    """
    if month > Month.of(datetime.now(SHANGHAI)):  # else all of it, when its time comes, is a 补报 nobody looks at
        raise Conflict(f"{month} 还没有开始，不能冻结：请核对申报年月")
    with registry.lock(f"month:{month}"), registry.begin(actor) as conn:
        known = packages.batches_of(conn, str(month))
        following = known[-1].number + 1 if known else 0
        if known and known[-1].reopened and number in (None, known[-1].number):
            batch = packages.close_again(conn, known[-1], packages.rule_set_of(conn, str(month)))
            note(conn, "freeze", month=str(month), batch=batch.number, rows=packages.unpacked(conn, batch.id))
            return Batch(batch.id, month, batch.number, packages.exams_of(conn, batch.id))
        if known and known[-1].reopened and number == following:
            raise Conflict(
                f"{known[-1].folder} 已重新开放，还没有再次冻结：请先运行 certflow month prepare {month}，"
                f"再冻结第 {number} 批"
            )
        if number is not None and number > following:
            raise Conflict(f"{month} 的下一批是第 {following} 批，不能先冻结第 {number} 批")
        owing = packages.half_packed(conn, str(month)) if number is None else None
        if owing is not None:
            batch = owing
        elif number is not None and number < following:
            batch = next(one for one in known if one.number == number)
        elif known and packages.waiting_rows(conn, str(month)) == 0:
            if number is not None:
                raise Conflict(f"{month} 没有新的已受理数据，无需第 {number} 次补报")
            batch = known[-1]
        else:
            batch = packages.open_batch(conn, str(month), following, packages.rule_set_of(conn, str(month)))
            note(conn, "freeze", month=str(month), batch=following, rows=packages.unpacked(conn, batch.id))
        return Batch(batch.id, month, batch.number, packages.exams_of(conn, batch.id))


def reopen(registry: Registry, month: Month, by: str, reason: str, actor: Actor) -> Batch:
    """Reopen the newest batch of a month after its packages were rejected: late files may still come into it.

    Its rows are accepted rows in no batch until the month is frozen again. `by` and `reason` go into the audit chain.

    Raises:
        Busy: the month is being frozen at this moment.
        Conflict: nobody or no reason named, nothing is frozen, or a package of it was not rejected.
    """
    if not by.strip() or not reason.strip():
        raise Conflict("重新开放须写明由谁决定和原因")
    with registry.lock(f"month:{month}"), registry.begin(actor) as conn:
        known = packages.batches_of(conn, str(month))
        if not known:
            raise Conflict(f"{month} 还没有冻结，无需重新开放")
        batch = known[-1]
        live = [one for one in packages.packages_of(conn, batch.id) if one.state != "REJECTED"]
        if live:
            raise Conflict(f"{batch.folder} 有 {len(live)} 个数据包未退回，请先退回再重新开放")
        if not batch.reopened:
            freed = packages.loosen(conn, batch.id)
            note(conn, "reopen", month=str(month), batch=batch.number, rows=freed, by=by.strip(), reason=reason.strip())
        return Batch(batch.id, month, batch.number, {})

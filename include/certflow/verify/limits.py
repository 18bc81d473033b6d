"""How often somebody may ask: what makes guessing worthless.

A try counts as a miss before it is answered and is forgiven when it was none, so a thousand at once learn no more
than one after another. The counts lie in the database: every process of the service sees the same ones.
"""

import datetime as dt
from dataclasses import dataclass

from certflow.errors import Conflict
from certflow.registry import verifications as ledger
from certflow.registry.ledger import Actor, Registry

WINDOW = dt.timedelta(minutes=10)
TRIES = 1000
"""Questions somebody may ask in one window."""
MISSES = 20
"""Of them, questions that met nothing."""
ALL_MISSES = 400
"""Misses of the whole public in one window: many addresses together guess no better."""
PUBLIC = "public"


class Slowed(Conflict):
    """Too many misses, or too many questions (`often`); `seconds` says when to come again."""

    def __init__(self, seconds: int, *, often: bool) -> None:
        why = "十分钟内查询过多" if often else "查询多次不符"
        super().__init__(f"{why}，请 {max(1, seconds // 60)} 分钟后再试")
        self.seconds, self.often = seconds, often


@dataclass(frozen=True, slots=True)
class Turn:
    """One permitted question; `met` says that it was no guess."""

    registry: Registry
    actor: Actor
    subjects: tuple[str, ...]
    began: dt.datetime

    def met(self) -> None:
        """Forgive the miss that was counted in advance."""
        with self.registry.begin(self.actor) as conn:
            for subject in self.subjects:
                ledger.forgive(conn, subject, self.began)


def take_turn(registry: Registry, actor: Actor, subject: str) -> Turn:
    """Count a question of `subject` (``operator:…`` or ``address:…``); Slowed when it may not be asked now."""
    now = dt.datetime.now(dt.UTC)
    seconds = int(now.timestamp()) % int(WINDOW.total_seconds())
    began = now.replace(microsecond=0) - dt.timedelta(seconds=seconds)
    allowed = {subject: MISSES}
    with registry.begin(actor) as conn:
        tries, misses = ledger.count_try(conn, subject, began)
        free = tries <= TRIES and misses <= allowed[subject]
        if free and subject.startswith("address:"):
            allowed[PUBLIC] = ALL_MISSES
            free = ledger.count_try(conn, PUBLIC, began)[1] <= ALL_MISSES
    if not free:
        raise Slowed(int(WINDOW.total_seconds()) - seconds, often=tries > TRIES)
    return Turn(registry, actor, tuple(allowed), began)

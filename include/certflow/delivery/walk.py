"""Tracking lines of one certificate, in whatever order and number they come: what they move it to. No database here."""

import datetime as dt
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from certflow.delivery.profile import Line
from certflow.delivery.states import TRACKED
from certflow.registry.schema import ERRANDS, TRANSITIONS

MOVES = frozenset(step for step in TRANSITIONS["delivery"] if ("delivery", *step) not in ERRANDS)
EFFECTS = ("moved", "waybill", "late", "against")

_LEFT_OUT = ("PUSHED", "KEPT")
"""Steps another system may have left out: it tells 已签收 of what still counts as 已印制 here."""
_ENDS = ("SIGNED", "RETURNED", "HANDED")
_BEGINNING = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
"""The moment of a line that gives a waybill and no time: before everything that happens to the parcel."""

Told = tuple[str, str, dt.datetime]
"""Waybill, state, moment: what makes two lines the same."""


class Event(NamedTuple):
    """One line that was not told before."""

    row_no: int
    waybill: str
    state: str
    happened_at: dt.datetime
    effect: Literal["moved", "waybill", "late", "against"]
    """``waybill``: only gave the number; ``late``: what is known is further; ``against``: contradicts it."""


@dataclass(frozen=True, slots=True)
class Walk:
    """What the lines come to: the steps to take, one after the other, and the waybill that was given, or empty."""

    steps: tuple[str, ...]
    waybill: str
    events: tuple[Event, ...]
    repeated: int


def walk(state: str, waybill: str, lines: Iterable[Line], told: Collection[Told]) -> Walk:
    """Walk a delivery from `state` along its graph; never backwards, never twice over the same line.

    Lines about a waybill that is not its own (any more) move nothing. An order has one waybill: a line that gives it
    another one contradicts what is known.
    """
    steps: list[str] = []
    events: list[Event] = []
    seen = set(told)
    given = ""
    repeated = 0
    for line in sorted(lines, key=_when):
        number, said, moment = line.texts.get("waybill", ""), line.word or "PUSHED", line.at or _BEGINNING
        if (number, said, moment) in seen:
            repeated += 1
            continue
        seen.add((number, said, moment))
        if number and not waybill and (line.texts.get("order") or line.texts.get("management_no")):
            waybill = given = number
        effect: Literal["moved", "waybill", "late", "against"] = "waybill"
        if line.texts.get("order") and number != waybill:
            effect = "against"
        elif line.word:
            way = [] if number != waybill and number else _way(state, said)
            effect = "moved" if way else "against" if said in _ENDS and said != state else "late"
            steps += way
            state = said if way else state
        events.append(Event(line.row_no, number, said, moment, effect))
    return Walk(tuple(steps), given, tuple(events), repeated)


def _when(line: Line) -> tuple[dt.datetime, int, int]:
    rank = TRACKED.index(line.word) if line.word in TRACKED else -1
    return line.at or _BEGINNING, rank, line.row_no


def _way(now: str, state: str) -> list[str]:
    """The steps from here to there, at most one of them left out by the sender; empty when there is no way."""
    if now == "RETURNED" and state in TRACKED:
        return []  # whether the sender or the addressee signed then is a person's question
    if (now, state) in MOVES:
        return [state]
    if now in ("PRINTED", "KEPT"):
        return next(([step, state] for step in _LEFT_OUT if {(now, step), (step, state)} <= MOVES), [])
    return []

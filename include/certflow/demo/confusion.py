"""Compare what was judged with the labels: per rule planted, found, missed, false alarms; per kind how many were met.

Nothing here decides what is right: ``labels.jsonl`` does. Lines name places, never people.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from certflow.checks.judged import Judged
from certflow.findings import Scope

_NO_RULE: Final = "—"
"""Stands for the rule where a thing ended otherwise than it must and no rule can be blamed."""


GUESSES: Final = frozenset({"PHOTO-BLUR", "PHOTO-EXPOSURE", "PHOTO-FACE", "PHOTO-FIGURE"})
"""Warnings that guess at a person in a picture. The people here are drawn, so nothing can be said for or against
them; their error rates are published with the photo measures."""


@dataclass(slots=True)
class Rule:
    """How one rule did."""

    planted: int = 0
    found: int = 0
    false_alarms: int = 0

    @property
    def missed(self) -> int:
        """Planted and not found."""
        return self.planted - self.found

    @property
    def precision(self) -> float | None:
        """Share of what was found that was planted; None where nothing was found."""
        total = self.found + self.false_alarms
        return self.found / total if total else None

    @property
    def recall(self) -> float | None:
        """Share of what was planted that was found; None where nothing was planted."""
        return self.found / self.planted if self.planted else None


@dataclass(slots=True)
class Kind:
    """How one kind of planted thing did."""

    sound: bool
    planted: int = 0
    met: int = 0


@dataclass(slots=True)
class Confusion:
    """The whole comparison."""

    rows: int = 0
    """Rows judged."""
    rules: dict[str, Rule] = field(default_factory=lambda: defaultdict(Rule))
    kinds: dict[str, Kind] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    """Planted and not found, or ended otherwise: place, kind, what happened."""
    false_alarms: list[str] = field(default_factory=list)
    """Said of a sound thing, or a sound thing that did not go on."""

    guesses: int = 0
    """Findings of `GUESSES`, which are not graded."""

    @property
    def clean(self) -> bool:
        """Whether nothing was missed and nothing sound refused."""
        return not self.missed and not self.false_alarms

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "rows": self.rows,
            "not_graded": self.guesses,
            "missed": self.missed,
            "false_alarms": self.false_alarms,
            "rules": {
                code: {
                    "planted": one.planted, "found": one.found, "missed": one.missed, "false_alarms": one.false_alarms,
                    "precision": one.precision, "recall": one.recall,
                }
                for code, one in sorted(self.rules.items())
            },
            "kinds": {
                kind: {"sound": one.sound, "planted": one.planted, "met": one.met}
                for kind, one in sorted(self.kinds.items())
            },
        }  # fmt: skip


@dataclass(slots=True)
class _Place:
    """What was found in one place."""

    rules: set[str] = field(default_factory=set)
    outcome: str = "absent"


@dataclass(slots=True)
class _Found:
    """One submission, by place."""

    rows: dict[int, _Place] = field(default_factory=lambda: defaultdict(_Place))
    entries: dict[str, _Place] = field(default_factory=lambda: defaultdict(_Place))
    file: _Place = field(default_factory=_Place)


def compare(judged: Sequence[Judged], labels: Iterable[Mapping[str, Any]]) -> Confusion:
    """Look for every label in what was judged, and for findings where none belong."""
    told = Confusion(rows=sum(len(one.rows) for one in judged))
    found = [_read(one) for one in judged]
    places: dict[str, list[int]] = defaultdict(list)
    for position, one in enumerate(judged):
        for file in one.submission.files:
            places[f"{file.account}/{file.name}"].append(position)
    allowed = [_Allowed() for _ in judged]
    for label in labels:
        here = [at for at in places[label["file"]] if judged[at].exam_code == label["exam"]] or places[label["file"]]
        _look(told, label, [found[at] for at in here])
        for at in here:
            allowed[at].add(label)
    for one, made, may in zip(judged, found, allowed, strict=True):
        _strays(told, one, made, may)
    return told


def _read(one: Judged) -> _Found:
    made = _Found()
    made.file.outcome = one.file_outcome.value
    for row in one.rows:
        made.rows[row.row].outcome = row.outcome.value
    for received, entry in one.members:
        outcome, _ = one.entries[received.sha256, entry.ordinal]
        made.entries[entry.base_name].outcome = outcome.value
    for finding in one.findings:
        if finding.scope in (Scope.FILE, Scope.ENTRY):
            made.file.rules.add(finding.rule)
            continue
        if finding.row is not None:
            made.rows[finding.row].rules.add(finding.rule)
        if finding.entry is not None:
            made.entries[finding.entry.rpartition("/")[2]].rules.add(finding.rule)
    return made


def _look(told: Confusion, label: Mapping[str, Any], here: Sequence[_Found]) -> None:
    """One label: is everything found that must be, and did it end as it must?"""
    kind = told.kinds.setdefault(label["kind"], Kind(label["sound"]))
    kind.planted += 1
    spots = [spot for found in here for spot in _spots(found, label)]
    rules = {rule for spot in spots for rule in spot.rules}
    lacking = [rule for rule in label["rules"] if rule not in rules]
    for rule in label["rules"]:
        told.rules[rule].planted += 1
        told.rules[rule].found += rule not in lacking
    outcomes = {spot.outcome for spot in spots[:1]} if label["scope"] != "file" else {spot.outcome for spot in spots}
    wrong = not outcomes or not outcomes <= set(label["verdict"])
    place = f"{_where(label)} {label['kind']}"
    if lacking:
        told.missed.append(f"{place}: no {', '.join(lacking)} ({', '.join(sorted(rules))})")
    elif wrong:
        ended = f"{place}: ended {'/'.join(sorted(outcomes)) or 'absent'} instead of {'/'.join(label['verdict'])}"
        (told.false_alarms if label["sound"] else told.missed).append(f"{ended} ({', '.join(sorted(rules))})")
        if label["sound"]:
            for rule in sorted(rules - set(label["rules"])) or [_NO_RULE]:
                told.rules[rule].false_alarms += 1
    else:
        kind.met += 1


def _spots(found: _Found, label: Mapping[str, Any]) -> list[_Place]:
    """Where a label looks; the first one's outcome counts."""
    if label["scope"] == "file":
        return [found.file]
    spots = []
    if label["row"] is not None and label["row"] in found.rows:
        spots.append(found.rows[label["row"]])
    if label["entry"] is not None and label["entry"] in found.entries:
        spots.append(found.entries[label["entry"]])
    return spots


class _Allowed:
    """What may be said of the places of one submission."""

    def __init__(self) -> None:
        self.rows: dict[int, set[str]] = defaultdict(set)
        self.entries: dict[str, set[str]] = defaultdict(set)
        self.file: set[str] = set()
        self.spoilt_rows: set[int] = set()
        self.spoilt_entries: set[str] = set()
        self.spoilt = False
        self.kinds: dict[int | None, str] = {}

    def add(self, label: Mapping[str, Any]) -> None:
        """One label more: its rules where it is sound, else anything (one fault may be told in many ways)."""
        if label["scope"] == "file":
            self.spoilt |= not label["sound"]
            self.file |= set(label["rules"])
            return
        self.kinds[label["row"]] = label["kind"]
        if label["row"] is not None:
            self.rows[label["row"]] |= set(label["rules"])
            if not label["sound"]:
                self.spoilt_rows.add(label["row"])
        if label["entry"] is not None:
            self.entries[label["entry"]] |= set(label["rules"])
            if not label["sound"]:
                self.spoilt_entries.add(label["entry"])


def _strays(told: Confusion, one: Judged, found: _Found, may: _Allowed) -> None:
    """Findings of whatever severity that nothing planted explains."""
    if may.spoilt:
        return
    where = f"{one.account} {one.exam_code}"
    strays = [(where, rule) for rule in sorted(found.file.rules - may.file)]
    for finding in one.findings:
        if finding.scope in (Scope.FILE, Scope.ENTRY):
            continue
        entry = (finding.entry or "").rpartition("/")[2]
        if finding.row in may.spoilt_rows or entry in may.spoilt_entries:
            continue
        rules = (may.rows[finding.row] if finding.row is not None else set()) | may.entries[entry]
        if finding.rule in GUESSES:
            told.guesses += 1
        elif finding.rule not in rules:
            strays.append((f"{where} {_line(finding.row)} {may.kinds.get(finding.row, '')}", finding.rule))
    for place, rule in strays:
        told.rules[rule].false_alarms += 1
        told.false_alarms.append(f"{place}: {rule} on a sound thing")
    if unknown := [row.row for row in one.rows if row.row not in may.rows]:
        told.missed.append(f"{where}: {len(unknown)} rows without a label, the first one is {unknown[0]}")


def _where(label: Mapping[str, Any]) -> str:
    return f"{label['file'].partition('/')[0]} {label['exam']} {_line(label['row'])}".rstrip()


def _line(row: int | None) -> str:
    return f"第 {row} 行" if row else ""

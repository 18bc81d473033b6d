"""Compare what the province found with what was planted: found, missed, false alarms.

Reads the ledger as anybody could, by plain SQL, and the registry file the generator wrote. Nothing here
decides what is right: `answers.json` does.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from sqlalchemy import Connection, text

from certflow.demo.authority import Taken
from certflow.demo.cities import COLUMNS
from certflow.demo.people import REGISTRY_COLUMNS

_ROW_OUTCOMES: Final = {
    "ACCEPTED": "accepted", "PACKED": "accepted", "SENT": "accepted", "PRINTED": "accepted", "REFUSED": "accepted",
    "DELIVERED": "accepted", "CLOSED": "accepted", "HELD": "held", "RETURNED": "returned", "PROOF": "proof",
    "ISSUED": "proof", "IGNORED": "ignored",
}  # fmt: skip
_FILE_OUTCOMES: Final = {"JUDGED": "accepted", "RETURNED": "returned", "HELD": "held", "IGNORED": "ignored"}
_GRAVE: Final = ("error", "hold")


@dataclass(slots=True)
class Grade:
    """How the province did. Lines name places, never people."""

    planted: int = 0
    kinds: int = 0
    found: int = 0
    missed: list[str] = field(default_factory=list)
    false_alarms: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The part ``defects`` of the summary."""
        return {
            "planted": self.planted, "kinds": self.kinds, "found": self.found, "missed": self.missed,
            "false_alarms": self.false_alarms,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """One finding of the ledger."""

    rule: str
    severity: str
    row: int | None
    entry: str | None


@dataclass(slots=True)
class Ledger:
    """What the ledger says about the files of the month, by the names the cities gave them."""

    files: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """(account, file name) → outcome, deciding rule."""
    submissions: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)
    """(account, file name, exam) → ids, oldest first."""
    rows: dict[tuple[int, int], str] = field(default_factory=dict)
    """(submission, row number) → outcome."""
    entries: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """(account, file name, entry without folders) → outcome."""
    by_submission: dict[int, list[Found]] = field(default_factory=lambda: defaultdict(list))
    by_file: dict[tuple[str, str], list[Found]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def read(cls, conn: Connection) -> Self:
        """Everything the ledger holds of the month lane."""
        ledger = cls()
        names: dict[int, tuple[str, str]] = {}
        for key, account, name, state, reason in conn.execute(
            text("SELECT id, account, name, state, coalesce(reason, '') FROM files ORDER BY id")
        ):
            names[key] = (account, name)
            ledger.files[account, name] = (_FILE_OUTCOMES.get(state, state.lower()), reason)
        for submission, exam, file in conn.execute(
            text(
                "SELECT s.id, s.exam_code, f.file_id FROM submissions s JOIN submission_files f"
                " ON f.submission_id = s.id WHERE s.lane = 'month' ORDER BY s.id"
            )
        ):
            ledger.submissions.setdefault((*names[file], exam), []).append(submission)
        for submission, number, state in conn.execute(
            text("SELECT submission_id, row_no, state FROM rows WHERE state <> 'WITHDRAWN' ORDER BY id")
        ):
            ledger.rows[submission, number] = _ROW_OUTCOMES.get(state, state.lower())
        places: dict[int, str] = {}
        for key, file, name, outcome in conn.execute(
            text("SELECT id, file_id, name, outcome FROM entries ORDER BY id")
        ):
            places[key] = name.rpartition("/")[2]
            ledger.entries[(*names[file], places[key])] = outcome
        for file, submission, entry, rule, severity, row in conn.execute(
            text("SELECT file_id, submission_id, entry_id, rule, severity, row_no FROM findings ORDER BY id")
        ):
            one = Found(rule, severity, row, places[entry] if entry is not None else None)
            ledger.by_file[names[file]].append(one)
            if submission is not None:
                ledger.by_submission[submission].append(one)
        return ledger

    def counts(self) -> dict[str, int]:
        """Rows by their outcome at intake, ``received`` being all of them."""
        found = Counter(self.rows.values())
        outcomes = ("accepted", "held", "returned", "proof", "ignored")
        return {"received": found.total()} | {outcome: found[outcome] for outcome in outcomes}

    def submission(self, place: Mapping[str, Any]) -> int | None:
        """The latest submission of a labelled place."""
        found = [
            one for file in place["files"] for one in self.submissions.get((place["account"], file, place["exam"]), ())
        ]
        return max(found, default=None)

    def entry_outcome(self, place: Mapping[str, Any]) -> str:
        """Outcome of a labelled archive entry."""
        keys = [(place["account"], file, place["entry"]) for file in place["files"]]
        return next((self.entries[key] for key in keys if key in self.entries), "absent")


def grade(ledger: Ledger, answers: Mapping[str, Any]) -> Grade:
    """Look for every planted thing under its rule, and for grave findings on everything else."""
    labels = answers["labels"]
    result = Grade(
        planted=sum(not label["sound"] for label in labels),
        kinds=len({label["kind"] for label in labels if not label["sound"]}),
    )
    for label in labels:
        fault = _fault(ledger, label)
        if not fault:
            result.found += not label["sound"]
        elif label["sound"] and not fault.startswith("no "):
            result.false_alarms.append(f"{_place(label)} {label['kind']}: {fault}")
        else:
            result.missed.append(f"{_place(label)} {label['kind']}: {fault}")
    result.false_alarms += _refused_sound_rows(ledger, answers["sound"])
    result.false_alarms += _stray_findings(ledger, answers)
    return result


def per_city(conn: Connection) -> list[tuple[str, str, Counter[str]]]:
    """Account, exam, rows by outcome (ACCEPTED, HELD, RETURNED, PROOF, IGNORED), in this order of account and exam."""
    query = text(
        "SELECT s.account, s.exam_code, CASE WHEN r.state IN ('HELD', 'RETURNED', 'PROOF', 'IGNORED') THEN r.state"
        " ELSE 'ACCEPTED' END, count(*) FROM rows r JOIN submissions s ON s.id = r.submission_id"
        " WHERE r.state <> 'WITHDRAWN' AND s.lane = 'month' GROUP BY 1, 2, 3 ORDER BY 1, 2"
    )
    found: dict[tuple[str, str], Counter[str]] = {}
    for account, exam, state, count in conn.execute(query):
        found.setdefault((account, exam), Counter())[state] += count
    return [(account, exam, counts) for (account, exam), counts in found.items()]


def check_packages(packages: Sequence[Taken], lines: Iterable[Sequence[str]], answers: Mapping[str, Any]) -> list[str]:
    """What is wrong with the packages, compared with the registry file and the expected number of rows per exam."""
    registry = {line[0]: dict(zip(REGISTRY_COLUMNS, line, strict=True)) for line in lines}
    expected: Counter[str] = Counter()
    for one in (*answers["sound"], *(label for label in answers["labels"] if label["sound"])):
        outcome = one.get("outcome") or one["outcomes"][0]
        expected[one["exam"]] += outcome == "accepted"
    counted = Counter({package.exam: len(package.rows) for package in packages})
    problems = [
        f"{exam}: {counted[exam]} rows packed, {expected[exam]} expected"
        for exam in sorted(expected | counted)
        if expected[exam] != counted[exam]
    ]
    for package in packages:
        problems += [f"{package.exam}: {problem}" for problem in package.problems]
        for number, row in enumerate(package.rows, start=1):
            held = registry.get(row["ZSGLH"])
            differing = [
                column for column in COLUMNS if column != "ZP" and (held is None or row[column] != held[column])
            ]
            if differing:
                problems.append(f"{package.exam}: row {number} differs from the registry in {', '.join(differing)}")
    return problems


def _fault(ledger: Ledger, label: Mapping[str, Any]) -> str:
    """Why a label was not answered as it must be; empty when it was. Begins with ``no `` when nothing was found."""
    if label["scope"] == "file":
        return _file_fault(ledger, label)
    submission = ledger.submission(label)
    if submission is None:
        return "no submission"
    rules, outcomes = label["rules"], label["outcomes"]
    there = [
        one
        for one in ledger.by_submission.get(submission, ())
        if (label["row"] is not None and one.row == label["row"]) or (label["entry"] and one.entry == label["entry"])
    ]
    outcome = (
        ledger.rows.get((submission, label["row"]), "absent")
        if label["row"] is not None
        else ledger.entry_outcome(label)
    )
    if outcome not in outcomes:
        return f"ended {outcome} instead of {'/'.join(outcomes)} ({', '.join(sorted({one.rule for one in there}))})"
    if rules and not any(one.rule in rules for one in there):
        return f"no {'/'.join(rules)} ({', '.join(sorted({one.rule for one in there}))})"
    if label["sound"] and (grave := sorted({one.rule for one in there if one.severity in _GRAVE})):
        return f"refused by {', '.join(grave)}"
    return ""


def _file_fault(ledger: Ledger, label: Mapping[str, Any]) -> str:
    for name in label["files"]:
        outcome, reason = ledger.files.get((label["account"], name), ("absent", ""))
        rules = {one.rule for one in ledger.by_file.get((label["account"], name), ())} | {reason}
        if outcome not in label["outcomes"]:
            return f"ended {outcome} instead of {'/'.join(label['outcomes'])} ({', '.join(sorted(rules))})"
        if not rules & set(label["rules"]):
            return f"no {'/'.join(label['rules'])} ({', '.join(sorted(rules))})"
    return ""


def _refused_sound_rows(ledger: Ledger, sound: Iterable[Mapping[str, Any]]) -> list[str]:
    faults = []
    for one in sound:
        submission = ledger.submission(one)
        outcome = ledger.rows.get((submission, one["row"]), "absent") if submission is not None else "absent"
        if outcome != one["outcome"]:
            faults.append(f"{_place(one)}: ended {outcome} instead of {one['outcome']}")
    return faults


def _stray_findings(ledger: Ledger, answers: Mapping[str, Any]) -> list[str]:
    """Grave findings on rows, photos and files on which nothing was planted."""
    spoilt_files = {
        (label["account"], name) for label in answers["labels"] if label["scope"] == "file" for name in label["files"]
    }
    spoilt: dict[int, set[object]] = defaultdict(set)
    for label in answers["labels"]:
        if label["scope"] != "file" and not label["sound"] and (submission := ledger.submission(label)) is not None:
            spoilt[submission] |= {label["row"], label["entry"]} - {None}
    faults: list[str] = []
    for (account, name, exam), submissions in ledger.submissions.items():
        if (account, name) in spoilt_files:
            continue
        faults += [
            f"{account} {exam}{_line(one.row)}: {one.rule} on a sound thing"
            for submission in submissions
            for one in ledger.by_submission.get(submission, ())
            if one.severity in _GRAVE and not {one.row, one.entry} & spoilt[submission]
        ]
    for (account, name), found in ledger.by_file.items():
        if (account, name) not in spoilt_files and not any(key[:2] == (account, name) for key in ledger.submissions):
            faults += [f"{account}: {one.rule} on a sound file" for one in found if one.severity in _GRAVE]
    return sorted(set(faults))


def _place(label: Mapping[str, Any]) -> str:
    return f"{label['account']} {label['exam']}{_line(label.get('row'))}"


def _line(row: int | None) -> str:
    return f" 第 {row} 行" if row else ""

"""From findings to outcomes: first the file, then each row with its photo, then every entry (DOMAIN §3, severity)."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from certflow import keys
from certflow.checks import columns
from certflow.checks.judged import Judged, JudgedRow
from certflow.checks.measure_files import Standing, is_nil
from certflow.checks.measure_photos import Photos
from certflow.checks.measure_registry import SOURCES
from certflow.checks.measure_rows import Rows
from certflow.findings import FIELDS, Finding, Outcome, Scope, Severity, Verdict, gravest, verdict_of
from certflow.intake.submission import Submission
from certflow.settings import Settings

_GRAVITY = {severity: rank for rank, severity in enumerate(Severity)}
_SCOPES = {scope: rank for rank, scope in enumerate((Scope.FILE, Scope.ENTRY, Scope.PHOTO, Scope.ROW))}
SHIFTED = "BOOK-SHIFTED"
"""Swapped columns are one diagnosis: nothing is said of the single rows and photos of such a file (D38)."""
_End = tuple[Outcome, tuple[str, ...]]
"""How something ends by itself, and the codes that speak of it, gravest first."""
_FIRST = (Outcome.ACCEPTED, Outcome.PROOF, Outcome.HELD, Outcome.RETURNED, Outcome.IGNORED)
"""A photo shared by several rows ends like the best of them."""


@dataclass(slots=True)
class Found:
    """Findings of one call by the line they are about."""

    files: dict[int, list[Finding]] = field(default_factory=lambda: defaultdict(list))
    entries: dict[int, list[Finding]] = field(default_factory=lambda: defaultdict(list))
    rows: dict[int, list[Finding]] = field(default_factory=lambda: defaultdict(list))
    photos: dict[int, list[Finding]] = field(default_factory=lambda: defaultdict(list))


def file_outcome(findings: Iterable[Finding]) -> tuple[Outcome, str | None]:
    """Outcome of a file by its own findings, and the rule that decided; ACCEPTED: its rows decide."""
    ranked = sorted(findings, key=lambda finding: _GRAVITY[finding.severity])
    if any(finding.rule == "FILE-DUPLICATE" for finding in ranked):
        return Outcome.IGNORED, "FILE-DUPLICATE"
    outcome = gravest(ranked)
    return outcome, ranked[0].rule if outcome is not Outcome.ACCEPTED else None


@dataclass(frozen=True, slots=True)
class Case:
    """Everything one call measured and found."""

    submissions: Sequence[Submission]
    standings: Sequence[Standing]
    rows: Rows
    photos: Photos
    found: Found
    entry_lines: Sequence[tuple[int, str, int]]
    """Per line of the entry frame: submission, sha256 of the file, ordinal."""
    settings: Settings
    rule_sets: Sequence[str]
    """Per submission the name of the rule set it was judged by."""


def conclude(case: Case) -> list[Judged]:
    """One `Judged` per submission."""
    ends = _ends(case.rows, case.found)
    sent = list(zip(*(case.rows.text(name) for name in FIELDS), strict=True))
    emitted = list(zip(*_emitted(case.rows), strict=True))
    lines, pictures = _lines_by_owner(case.rows.owner), _lines_by_owner(case.photos.owner)
    entries: dict[int, dict[tuple[str, int], list[Finding]]] = defaultdict(dict)
    for line, (owner, sha256, ordinal) in enumerate(case.entry_lines):
        entries[owner][sha256, ordinal] = case.found.entries[line]
    return [
        _conclude(
            case,
            position,
            lines[position],
            pictures[position],
            entries[position],
            own=ends,
            sent=sent,
            emitted=emitted,
        )
        for position in range(len(case.submissions))
    ]


def _lines_by_owner(owners: Sequence[int]) -> dict[int, list[int]]:
    lines: dict[int, list[int]] = defaultdict(list)
    for line, owner in enumerate(owners):
        lines[owner].append(line)
    return lines


def _conclude(
    case: Case,
    position: int,
    lines: Sequence[int],
    pictures: Sequence[int],
    others: Mapping[tuple[str, int], list[Finding]],
    *,
    own: Sequence[_End],
    sent: Sequence[tuple[str, ...]],
    emitted: Sequence[tuple[str, ...]],
) -> Judged:
    """`own`, `sent`, `emitted`: per line of the row frame, of all submissions."""
    submission, standing = case.submissions[position], case.standings[position]
    rows, photos, found, settings = case.rows, case.photos, case.found, case.settings
    outcome, reason = file_outcome(found.files[position])
    ends = {line: _with_file(own[line][0], outcome) for line in lines}
    if outcome is Outcome.ACCEPTED and settings.partial_files == "hold" and Outcome.RETURNED in ends.values():
        ends = {line: _with_file(end, Outcome.HELD) for line, end in ends.items()}
    judged_rows = tuple(
        JudgedRow(
            row=rows.number[line],
            outcome=ends[line],
            rules=own[line][1] if reason != SHIFTED else (SHIFTED,),
            sent_texts=sent[line],
            emitted_texts=emitted[line],
            certificate_id=rows.columns["certificate_id"][line],  # type: ignore[arg-type]
            **_picture(photos, rows.columns["photo"][line]),  # type: ignore[arg-type]
        )
        for line in lines
    )
    findings = [
        *found.files[position],
        *(finding for group in others.values() for finding in group),
    ]
    if reason != SHIFTED:
        findings += [finding for line in pictures for finding in found.photos[line]]
        findings += [finding for line in lines if line in found.rows for finding in _row_findings(line, rows, found)]
    findings.sort(key=lambda one: (_SCOPES[one.scope], one.row or 0, _GRAVITY[one.severity]))
    verdict = Verdict(outcome.value) if outcome is not Outcome.ACCEPTED else verdict_of(ends.values())
    return Judged(
        submission=submission,
        verdict=verdict,
        findings=tuple(findings),
        rows=judged_rows,
        entries=_entry_outcomes(submission, (outcome, reason or ""), others)
        | _photo_outcomes(case, (outcome, reason or ""), pictures, own, ends),
        rule_set=case.rule_sets[position],
        file_outcome=outcome,
        file_reason=reason,
        month=standing.month,
        exam_code=standing.exam.code if standing.exam else (submission.name.exam_code if submission.name else None),
        city=standing.city.name if standing.city else (submission.name.city if submission.name else None),
        account=standing.city.account if standing.city else None,
        nil=is_nil(submission),
        counts=Counter(ends.values()),
        looks=_looks(photos, pictures),
    )


def _picture(photos: Photos, line: int | None) -> dict[str, Any]:
    """The photo of a row, as `JudgedRow` names what is known of it."""
    if line is None:
        return {"photo": None}
    return {"photo": photos.members[line], "sketch": photos.sketches[line], "alike": photos.alike[line]}


def _looks(photos: Photos, pictures: Iterable[int]) -> list[tuple[float, int] | None]:
    white = photos.columns.get("photo_border_white", [None] * len(photos))
    return [
        (share, small)
        if isinstance(share := white[line], float) and (small := photos.smalls[line]) is not None
        else None
        for line in pictures
    ]


def _ends(rows: Rows, found: Found) -> list[_End]:
    """How each row ends by itself; a closer look is taken at those of which something is said."""
    ends: list[_End] = [
        (Outcome.PROOF if live is False else Outcome.ACCEPTED, ()) for live in rows.columns["exam_live"]
    ]
    pictured = rows.columns["photo_lines"]
    spoken = {position for position, findings in found.photos.items() if findings}
    for line, (repeated, pictures) in enumerate(zip(rows.columns["dup_row"], pictured, strict=True)):
        if line in found.rows or repeated is False or not spoken.isdisjoint(pictures):  # type: ignore[arg-type]
            ends[line] = _row_outcome(line, rows, found)
    return ends


def _row_outcome(line: int, rows: Rows, found: Found) -> _End:
    """How a row ends, and the codes that speak of it, gravest first."""
    if rows.columns["dup_row"][line] is False:
        return Outcome.IGNORED, tuple(finding.rule for finding in _row_findings(line, rows, found))
    return by_itself(line, rows, found)


def by_itself(line: int, rows: Rows, found: Found) -> _End:
    """Outcome of a row by what was found of it and its photo, and the codes that speak of it, gravest first."""
    findings = list(found.rows[line])
    for position in rows.columns["photo_lines"][line]:  # type: ignore[attr-defined]
        findings += found.photos[position]
    findings.sort(key=lambda one: _GRAVITY[one.severity])
    outcome = gravest(findings)
    if outcome is Outcome.ACCEPTED and rows.columns["exam_live"][line] is False:
        outcome = Outcome.PROOF
    return outcome, tuple(dict.fromkeys(finding.rule for finding in findings))


def _row_findings(line: int, rows: Rows, found: Found) -> list[Finding]:
    """A repeated row is only said to be one: whatever else is wrong with it is said of the first."""
    if rows.columns["dup_row"][line] is False:
        return [finding for finding in found.rows[line] if finding.rule == "DUP-ROW"]
    return list(found.rows[line])


def _with_file(row: Outcome, file: Outcome) -> Outcome:
    """What a row ends as when its file ended otherwise than by its rows."""
    if file is Outcome.ACCEPTED:
        return row
    if file is Outcome.HELD:
        return Outcome.HELD if row in (Outcome.ACCEPTED, Outcome.PROOF) else row
    return file


def _emitted(rows: Rows) -> list[list[str]]:
    """What we would print: the database wins (DOMAIN §3.1); dates in the form the notice's fields are printed in.

    Sex, birth and city may be missing in old records of the database: then the city's value is all there is.
    """
    emitted = {name: rows.text(f"clean_{name}") for name in FIELDS}
    emitted["KSXM"] = [name.strip() for name in rows.text("KSXM")]
    known = rows.columns["db_person_ok"]
    for name in SOURCES:
        helds = rows.text(f"db_{name}")
        told = columns.by_value(_SAYS[name], helds) if name in _SAYS else known
        pairs = zip(known, told, helds, emitted[name], strict=True)
        emitted[name] = [held if right and says else own for right, says, held, own in pairs]
    for name, signs in _SIGNS.items():
        emitted[name] = columns.by_value(partial(_dated, signs), emitted[name])
    pictured = zip(emitted["ZJHM"], rows.columns["photo"], rows.text("ZP"), strict=True)
    emitted["ZP"] = [_the_same(f"{number}.jpg", sent) if photo is not None else "" for number, photo, sent in pictured]
    return [*emitted.values()]


def printed(known: Mapping[str, str]) -> dict[str, str]:
    """What is printed of a certificate as the database has it, by field; without what it has nothing to say about."""
    said = {name: known.get(name, "") for name in SOURCES}
    return {
        name: _dated(_SIGNS[name], text) if name in _SIGNS else text
        for name, text in said.items()
        if name not in _SAYS or _SAYS[name](text)
    }


_SIGNS = {"CSNY": 6, "PZRQ": 8}
"""Digits of a date as it is printed."""
_SAYS: Mapping[str, Callable[[str | None], bool]] = {
    "XB": lambda held: held in ("男", "女"),
    "CSNY": lambda held: held is not None and keys.parse_date(held).value != "",
    "BMS": bool,
}
"""Fields the database may have nothing to say about, and when it has."""


def _the_same(made: str, sent: str) -> str:
    """The text that is there already, where it is equal: a row's values are held once."""
    return sent if sent == made else made


def _dated(signs: int, text: str) -> str:
    return keys.parse_date(text).value[:signs] or text


def _entry_outcomes(
    submission: Submission, file: tuple[Outcome, str], others: Mapping[tuple[str, int], list[Finding]]
) -> dict[tuple[str, int], tuple[Outcome, str]]:
    """What is no photo: the workbook ends like its file, the rest is ignored."""
    ended: dict[tuple[str, int], tuple[Outcome, str]] = {}
    for received, entry in submission.others:
        key = (received.sha256, entry.ordinal)
        rule = others[key][0].rule if others[key] else ""
        ended[key] = (Outcome.IGNORED, rule) if entry.role != "folder" else file
    if submission.workbook is not None and submission.workbook_file is not None:
        ended[submission.workbook_file.sha256, submission.workbook.ordinal] = file
    return ended


def _photo_outcomes(
    case: Case,
    file: tuple[Outcome, str],
    pictures: Sequence[int],
    own: Sequence[_End],
    ends: Mapping[int, Outcome],
) -> dict[tuple[str, int], tuple[Outcome, str]]:
    ended: dict[tuple[str, int], tuple[Outcome, str]] = {}
    for line in pictures:
        received, entry = case.photos.members[line]
        findings = sorted(case.found.photos[line], key=lambda one: _GRAVITY[one.severity])
        itself = gravest(findings)
        if file[0] is not Outcome.ACCEPTED:
            end = file
        elif itself is Outcome.HELD and _all_returned(case.photos.rows[line], ends):
            end = (Outcome.RETURNED, findings[0].rule)  # nobody has to decide about it any more
        elif itself is not Outcome.ACCEPTED:
            end = (itself, findings[0].rule)
        elif case.photos.columns["photo_repeated"][line] or not case.photos.rows[line]:
            end = (Outcome.IGNORED, findings[0].rule if findings else "")
        else:
            end = _like_rows(case.photos.rows[line], own, ends)
        ended[received.sha256, entry.ordinal] = end
    return ended


def _all_returned(lines: Sequence[int], ends: Mapping[int, Outcome]) -> bool:
    return bool(lines) and all(ends[line] is Outcome.RETURNED for line in lines)


def _like_rows(lines: Sequence[int], own: Sequence[_End], ends: Mapping[int, Outcome]) -> tuple[Outcome, str]:
    """A good photo goes where its rows go."""
    best = min(lines, key=lambda line: _FIRST.index(ends[line]))
    end = ends[best]
    if end in (Outcome.ACCEPTED, Outcome.PROOF):
        return Outcome.ACCEPTED, ""
    return end, own[best][1][0] if own[best][1] else ""

"""What a corrected file changed against what the city had sent before for the same month and exam.

A row that did not change gets no second verdict of its own: accepted, it ends as a repeat (DUP-ROW); waiting for a
person, it goes on waiting where it is (`JudgedRow.stands`); returned, it is returned as before. Only where the rules,
the database or what others sent changed meanwhile does it end otherwise, and the receipt says so. A photo that was
sound and is not sent again is taken from the earlier version. A 退回单 that comes back corrected is such a file too.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from certflow import identity, keys
from certflow.checks.judged import Judged, JudgedRow
from certflow.checks.measure_photos import base_name, numbers_in
from certflow.checks.measure_rows import clean
from certflow.findings import FIELDS, Outcome, Severity
from certflow.intake.submission import Entry, Received, Submission
from certflow.settings import Settings

if TYPE_CHECKING:
    from certflow.registry.versions import Before, EarlierPhoto

_CONTENT = tuple(name for name in FIELDS if name != "ZP")
_ENDS = {
    "RETURNED": Outcome.RETURNED, "REFUSED": Outcome.RETURNED, "WITHDRAWN": Outcome.RETURNED, "HELD": Outcome.HELD,
    "IGNORED": Outcome.IGNORED, "PROOF": Outcome.PROOF, "ISSUED": Outcome.PROOF,
}  # fmt: skip
_WORDS = {
    Outcome.ACCEPTED: "接收", Outcome.HELD: "待人工确认", Outcome.RETURNED: "退回", Outcome.PROOF: "转开证明",
    Outcome.IGNORED: "忽略",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Changes:
    """One version against all before it; rows by their numbers as Excel shows them."""

    version: int
    repeated: tuple[int, ...]
    """Unchanged and under way already: not registered again."""
    standing: tuple[int, ...]
    """Unchanged, and still waiting for a person since an earlier version."""
    unmended: tuple[int, ...]
    """Unchanged, and returned or held as before."""
    ended_otherwise: tuple[tuple[int, Outcome, Outcome], ...]
    """Unchanged, but the rules, the database or other files say something else by now: row, before, now."""
    corrected: tuple[int, ...]
    added: tuple[int, ...]
    absent: int
    """Rows sent before that this version does not hold; they stay what they were."""
    old_photos: tuple[int, ...]
    """Rows whose photo was taken from an earlier version."""


def earlier_photos(
    submission: Submission, found: "Sequence[EarlierPhoto]", settings: Settings, account: str
) -> tuple[tuple[Received, Entry], ...]:
    """As `Submission.earlier_photos`, with those of earlier versions, by ID number; of each what came last."""
    if submission.sheet is None or not found:
        return submission.earlier_photos
    sheet = submission.sheet
    persons = [keys.id_key(clean("ZJHM", text)) for text in sheet.values["ZJHM"]]
    here = (*submission.photos, *submission.earlier_photos)
    sent = {number for _, entry in here for number in numbers_in(entry.base_name)}
    files = {base_name(entry.base_name).casefold() for _, entry in here}
    given = zip(persons, sheet.values["ZP"], strict=True)
    sent |= {person for person, name in given if base_name(clean("ZP", name)).casefold() in files}  # D36
    wanted = {*persons} - sent - {""}
    rows = zip(sheet.values["ZSGLH"], sheet.values["KSXM"], persons, strict=True)
    asked = {_certificate({"ZSGLH": number, "KSXM": name}): person for number, name, person in rows}
    names: dict[tuple[int, int], set[str]] = defaultdict(set)
    for one in found:
        names[one.file_id, one.entry.ordinal].add(_certificate(one.sent)[1] if one.sent else "")
    newest: dict[str, dict[tuple[int, int], EarlierPhoto]] = {}
    for one in found:
        place = one.file_id, one.entry.ordinal
        number, entry = _meant(one, wanted, asked if len(names[place]) == 1 else {})
        if number:
            same = {known: photo for known, photo in newest.get(number, {}).items() if photo.version == one.version}
            newest[number] = same | {place: replace(one, entry=entry)}
    taken = {place: photo for number in sorted(newest) for place, photo in newest[number].items()}
    return (
        *submission.earlier_photos,
        *(
            (Received(settings.original(one.file_sha256), one.file_name, one.file_sha256, one.file_size, account,
                      one.file_id), one.entry)
            for one in taken.values()
        ),
    )  # fmt: skip


def _meant(one: "EarlierPhoto", wanted: AbstractSet[str], asked: Mapping[tuple[str, str], str]) -> tuple[str, Entry]:
    """The number of those who want a photo that this one is taken over for, and the photo; "" for none.

    The number of its row, or the one its name says; where the row's was mistyped, that of the same certificate's row
    now (`asked`). In the photo's name the right number stands for the mistyped one.
    """
    named = numbers_in(one.entry.base_name)
    own, again = (_person(one.sent), asked.get(_certificate(one.sent), "")) if one.sent else ("", "")
    if own in wanted:
        number = own
    elif len(named & wanted) == 1:
        (number,) = named & wanted
    elif again in wanted and _mistyped(own):
        number = again
    else:
        return "", one.entry
    name = one.entry.name
    for other in filter(_mistyped, named if number not in named else ()):
        name = re.sub(other, number, name, flags=re.IGNORECASE)
    return number, replace(one.entry, name=name)


def _mistyped(number: str) -> bool:
    """Whether a resident's number was meant and it is nobody's; any other may be another person's."""
    return re.fullmatch("[0-9]{15,20}X?", number) is not None and not identity.checksum_ok([number])[0]


def _certificate(sent: Mapping[str, str]) -> tuple[str, str]:
    return clean("ZSGLH", sent.get("ZSGLH", "")), keys.name_key(sent.get("KSXM", ""))


def with_news(one: Judged, version: int, before: "Sequence[Before]") -> Judged:
    """A submission that will be this `version`, with what it changed; the first version stays as it is."""
    if version < 2:
        return one
    known: dict[str, list[Before]] = defaultdict(list)
    for earlier in before:
        known[_key(earlier.sent)].append(earlier)
    held: dict[int | None, set[str]] = defaultdict(set)
    for finding in one.findings:
        if finding.severity is Severity.HOLD:
            held[finding.row].add(finding.rule)
    left = known.keys() - {_key(row.sent) for row in one.rows}
    for row in one.rows:
        key, person = _key(row.sent), _person(row.sent)
        if key not in known and person in left:  # the number was filled in
            left.discard(person)
            known[key] = known.pop(person)
    same = {row.row: found for row in one.rows if (found := _unchanged(row, known[_key(row.sent)])) is not None}
    standing = {
        row.row
        for row in one.rows
        if one.file_outcome is Outcome.ACCEPTED
        and row.outcome is Outcome.HELD
        and row.row in same
        and same[row.row].state == "HELD"
        and same[row.row].holds == held[row.row] != set()
    }
    changes = _changes(one, version, same, standing, known)
    rows = tuple(replace(row, stands=row.row in standing) for row in one.rows)
    return replace(one, rows=rows, entries=_without_repeats(one, rows), news=tuple(_words(changes)))


def _changes(
    one: Judged, version: int, same: "Mapping[int, Before]", standing: set[int], known: "Mapping[str, Sequence[Before]]"
) -> Changes:
    repeated, unmended, otherwise = [], [], []
    for row in one.rows:
        if row.row not in same or row.row in standing:
            continue
        then = _ENDS.get(same[row.row].state, Outcome.ACCEPTED)
        if row.outcome is Outcome.IGNORED:
            repeated.append(row.row)
        elif row.outcome is then:
            unmended.append(row.row)
        else:
            otherwise.append((row.row, then, row.outcome))
    changed = [row.row for row in one.rows if row.row not in same]
    corrected = [row.row for row in one.rows if row.row in changed and known.get(_key(row.sent))]
    old = {
        (received.sha256, entry.ordinal)
        for received, entry in one.submission.earlier_photos
        if received not in one.submission.files
    }
    return Changes(
        version,
        tuple(repeated),
        tuple(sorted(standing)),
        tuple(unmended),
        tuple(otherwise),
        tuple(corrected),
        tuple(number for number in changed if number not in corrected),
        len({key for key, rows in known.items() if rows} - {_key(row.sent) for row in one.rows}),
        tuple(row.row for row in one.rows if row.photo and (row.photo[0].sha256, row.photo[1].ordinal) in old),
    )


def _without_repeats(one: Judged, rows: Sequence[JudgedRow]) -> dict[tuple[str, int], tuple[Outcome, str]]:
    """Photos sent again for rows that go on waiting as they were are repeats."""
    used: dict[tuple[str, int], list[bool]] = defaultdict(list)
    for row in rows:
        if row.photo is not None:
            used[row.photo[0].sha256, row.photo[1].ordinal].append(row.stands)
    own = {(received.sha256, entry.ordinal) for received, entry in one.submission.photos}
    repeats = {key: (Outcome.IGNORED, "DUP-ROW") for key, stands in used.items() if all(stands) and key in own}
    return {**one.entries, **repeats}


def _words(changes: Changes) -> list[str]:
    """The changes as lines of a receipt."""
    unchanged = [
        (changes.repeated, "已在办理，不再重复登记", False),
        (changes.standing, "仍待人工确认，沿用此前的登记", True),
        (changes.unmended, "问题未更正，处理结果不变", True),
    ]
    count = sum(len(numbers) for numbers, *_ in unchanged) + len(changes.ended_otherwise)
    lines = [
        f"版本：本月该考试的第 {changes.version} 版，与此前各版相比：",
        f"  未变 {count} 行，按此前的处理结果，不另行审核",
    ]
    lines += [
        f"    其中 {len(numbers)} 行{_listed(numbers) if named else ''}{what}"
        for numbers, what, named in unchanged
        if numbers
    ]
    lines += [
        f"    第 {row} 行虽未变，因规则、证书数据库或其他报送情况已有变化，由{_WORDS[then]}改为{_WORDS[now]}"
        for row, then, now in changes.ended_otherwise
    ]
    lines += [
        f"  {title} {len(numbers)} 行{_listed(numbers)}"
        for title, numbers in (("更正", changes.corrected), ("新增", changes.added))
    ]
    if changes.absent:
        lines.append(f"  此前报送、本版没有的 {changes.absent} 行保持原处理结果")
    if changes.old_photos:
        lines.append(f"  沿用此前报送的照片 {len(changes.old_photos)} 行{_listed(changes.old_photos)}")
    return lines


def _listed(numbers: Sequence[int]) -> str:
    return f"（第 {'、'.join(map(str, numbers))} 行）" if numbers else ""


def _unchanged(row: JudgedRow, before: "Sequence[Before]") -> "Before | None":
    """The last time the very row was sent with this photo, or with one where none comes now."""
    photo = row.photo[1].sha256 if row.photo is not None else None
    content = _content(row.sent)
    same = [one for one in before if _content(one.sent) == content and photo in (None, one.photo)]
    return next((one for one in reversed(same) if one.state != "IGNORED"), same[-1] if same else None)


def _key(sent: Mapping[str, str]) -> str:
    """管理号; where a row has none, the person."""
    return clean("ZSGLH", sent.get("ZSGLH", "")) or _person(sent)


def _person(sent: Mapping[str, str]) -> str:
    return keys.id_key(clean("ZJHM", sent.get("ZJHM", "")))


def _content(sent: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(clean(name, sent.get(name, "")) for name in _CONTENT)

"""Measures what rows have in common: within one call, and with what is still open in the ledger (D22-D27, D39)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING

from certflow import keys
from certflow.checks.measure_files import Standing
from certflow.checks.measure_rows import Rows, clean
from certflow.findings import FIELDS
from certflow.reference import City

if TYPE_CHECKING:
    from certflow.checks.measure_photos import Photos
    from certflow.registry.submissions import Earlier

_CONTENT = tuple(name for name in FIELDS if name != "ZP")
_REISSUED = ("PRINTED", "DELIVERED", "CLOSED")
"""States of a request whose new certificate was printed."""


@dataclass(slots=True)
class _Marks:
    """The columns under way; None everywhere, False where a rule is to speak."""

    size: InitVar[int]
    same: list[object] = field(init=False)
    different: list[object] = field(init=False)
    city: list[object] = field(init=False)
    person: list[object] = field(init=False)
    open: list[object] = field(init=False)
    where: list[object] = field(init=False)
    open_where: list[object] = field(init=False)

    def __post_init__(self, size: int) -> None:
        for name in ("same", "different", "city", "person", "open", "where", "open_where"):
            setattr(self, name, [None] * size)


def measure(
    rows: Rows,
    standings: Sequence[Standing],
    counted: Sequence[bool],
    earlier: "Mapping[str, Sequence[Earlier]]",
    photos: Sequence[str | None],
    *,
    elsewhere: Mapping[str, AbstractSet[tuple[str, str]]],
    cities: Mapping[str, City],
) -> None:
    """Add the ``dup_*`` columns, and `reissues`: how often the certificate was asked for in a year, this time too.

    `counted`: per submission whether its rows count (those of a returned or repeated file do not); `earlier`: by
    管理号 what the ledger holds of it; `photos`: per row the SHA-256 of its photo; `elsewhere`: by ID number the
    accounts and months it has requests of; `cities`: by account.
    """
    marks = _Marks(len(rows))
    contents = list(zip(*(rows.text(f"clean_{name}") for name in _CONTENT), strict=True))
    numbers = rows.text("clean_ZSGLH")
    groups: dict[object, list[int]] = defaultdict(list)
    for line in range(len(rows)):
        if counted[rows.owner[line]]:
            groups[numbers[line] or contents[line]].append(line)
    for lines in groups.values():
        if len(lines) > 1:
            _compare(rows, standings, contents, lines, marks)
    for line, number in enumerate(numbers):
        if number in earlier and counted[rows.owner[line]] and marks.same[line] is None:
            sent = (contents[line], photos[line])
            _compare_earlier(earlier[number], standings[rows.owner[line]], sent, line, marks)
    _measure_person(rows, counted, marks)
    single = [
        here if city is None else False
        for here, city in zip((counted[owner] for owner in rows.owner), marks.city, strict=True)
    ]
    _measure_cities(rows, standings, single, elsewhere, cities)
    rows.columns["reissues"] = [
        _reissues(earlier.get(number, ()), standings[owner]) for number, owner in zip(numbers, rows.owner, strict=True)
    ]
    rows.columns |= {
        "dup_row": marks.same, "dup_different": marks.different, "dup_city": marks.city, "dup_open": marks.open,
        "dup_person": marks.person, "dup_where": marks.where, "open_where": marks.open_where,
    }  # fmt: skip


def measure_portraits(rows: Rows, photos: "Photos", portraits: Mapping[str, AbstractSet[str]]) -> None:
    """Set `photo_difference` to 0 where the ledger has exactly this photo for another person (P17).

    `portraits`: by SHA-256 the ID numbers of requests that came with it.
    """
    for position, ((_, entry), lines) in enumerate(zip(photos.members, photos.rows, strict=True)):
        person = keys.id_key(rows.text("clean_ZJHM")[lines[0]]) if lines else None
        if any(keys.id_key(number) != person for number in portraits.get(entry.sha256 or "", ())):
            photos.columns["photo_difference"][position] = 0.0


def repeated_share(
    rows: Rows, standings: Sequence[Standing], earlier: "Mapping[str, Sequence[Earlier]]"
) -> list[float | None]:
    """Per submission the share of rows whose content the same account sent for an earlier month (D39)."""
    contents = zip(*(rows.text(f"clean_{name}") for name in _CONTENT), strict=True)
    counts = [0] * len(standings)
    for owner, number, content in zip(rows.owner, rows.text("clean_ZSGLH"), contents, strict=True):
        standing = standings[owner]
        if standing.month is not None and number:
            counts[owner] += any(
                one.account == _city(standing) and one.month < str(standing.month) and _content(one) == content
                for one in earlier.get(number, ())
            )
    return [count / standing.rows if standing.rows else None for count, standing in zip(counts, standings, strict=True)]


def _compare(
    rows: Rows,
    standings: Sequence[Standing],
    contents: list[tuple[str, ...]],
    lines: list[int],
    marks: _Marks,
) -> None:
    """One 管理号 on several lines of one call."""
    kinds: dict[tuple[object, ...], int] = {}
    cities = {_city(standings[rows.owner[line]]) for line in lines}
    for line in lines:
        standing = standings[rows.owner[line]]
        kind = (contents[line], _city(standing), standing.exam.code if standing.exam else None, standing.month)
        first = kinds.setdefault(kind, line)
        if first != line:
            marks.same[line], marks.where[line] = False, _place(rows, line, first)
    if len(cities) > 1:
        for line in lines:
            marks.city[line] = False
    firsts: dict[str | None, list[int]] = defaultdict(list)
    for line in kinds.values():
        firsts[_city(standings[rows.owner[line]])].append(line)
    for group in firsts.values():
        if len(group) > 1:
            for line in group:
                other = next(one for one in group if one != line)
                marks.different[line], marks.where[line] = False, _place(rows, line, other)


def _compare_earlier(
    before: "Sequence[Earlier]",
    standing: Standing,
    sent: tuple[tuple[str, ...], str | None],
    line: int,
    marks: _Marks,
) -> None:
    """One line, its content and photo, against what the ledger holds under its 管理号."""
    account = standing.city.account if standing.city is not None else standing.account
    content, photo = sent
    for one in before:
        same_exam = standing.exam is not None and one.exam_code == standing.exam.code
        same_place = one.account == account and one.month == str(standing.month) and same_exam
        if not one.open:
            if same_place and one.done and _content(one) == content:
                marks.same[line], marks.where[line] = False, f"已收到的第 {one.version} 版"
            continue
        if one.account != account:
            marks.city[line] = False  # D24
        elif same_place:
            if one.state == "HELD":
                continue  # the city sends a held row again: see `checks.versions`
            if _content(one) != content:
                marks.open[line], marks.open_where[line] = False, f"已在本月第 {one.version} 版中申报，内容不同"
            elif photo not in (None, one.photo):
                marks.open[line], marks.open_where[line] = False, f"已在本月第 {one.version} 版中申报，照片不同"
            else:
                marks.same[line], marks.where[line] = False, f"已收到的第 {one.version} 版"
        else:
            marks.open[line], marks.open_where[line] = False, f"已在 {one.month} 申报"  # D27


def _measure_person(rows: Rows, counted: Sequence[bool], marks: _Marks) -> None:
    groups: dict[tuple[int, str], list[int]] = defaultdict(list)
    for line, number in enumerate(rows.text("clean_ZJHM")):
        if number and marks.same[line] is None and counted[rows.owner[line]]:
            groups[rows.owner[line], keys.id_key(number)].append(line)
    for lines in groups.values():
        if len(lines) > 1:
            for line in lines:
                marks.person[line] = False


def _measure_cities(
    rows: Rows,
    standings: Sequence[Standing],
    counted: Sequence[bool],
    elsewhere: Mapping[str, AbstractSet[tuple[str, str]]],
    cities: Mapping[str, City],
) -> None:
    """`dup_person_city` and `person_where`: the same person from another city in the same month.

    `counted`: per row; where two cities sent the same 管理号 that is said already.
    """
    accounts = {_city(one) for one in standings} | {city for places in elsewhere.values() for city, _ in places}
    if len(accounts) < 2:
        rows.columns |= {name: [None] * len(rows) for name in ("dup_person_city", "person_where")}
        return
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    for known, places in elsewhere.items():
        for city, when in places:
            seen[keys.id_key(known), when].add(city)
    persons = []
    for line, number in enumerate(rows.text("clean_ZJHM")):
        standing = standings[rows.owner[line]]
        account, month = _city(standing), standing.month
        person = None
        if number and account is not None and month is not None and counted[line]:
            person = (keys.id_key(number), str(month), account)
            seen[person[:2]].add(account)
        persons.append(person)
    others = [[] if one is None else sorted(seen[one[:2]] - {one[2]}) for one in persons]
    rows.columns |= {
        "dup_person_city": [None if one is None else not found for one, found in zip(persons, others, strict=True)],
        "person_where": [
            "、".join(cities[one].name if one in cities else one for one in found) or None for found in others
        ],
    }


def _reissues(before: "Sequence[Earlier]", standing: Standing) -> int | None:
    """Printed reissues of the 12 months up to the standing's month, and this request; None without a month."""
    if standing.month is None:
        return None
    year_ago = f"{standing.month.year - 1}{standing.month.number:02d}"
    return 1 + sum(one.state in _REISSUED and year_ago < one.month <= str(standing.month) for one in before)


def _place(rows: Rows, line: int, other: int) -> str:
    here = "" if rows.owner[line] == rows.owner[other] else "另一文件"
    return f"{here}第 {rows.number[other]} 行"


def _city(standing: Standing) -> str | None:
    return standing.city.account if standing.city is not None else standing.account


def _content(one: "Earlier") -> tuple[str, ...]:
    return tuple(clean(name, one.sent.get(name, "")) for name in _CONTENT)

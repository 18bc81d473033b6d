"""Measures what rows have in common: within one call, and with what is still open in the ledger (D22-D27, D39).

A row repeats only what is under way: of identical rows the one that ends best by itself counts (`outcome.by_itself`),
and where one of two files waits for a person, so do the rows that both hold.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING

from certflow import keys
from certflow.checks import columns
from certflow.checks.measure_files import Standing
from certflow.checks.measure_rows import DATES, Rows, clean
from certflow.findings import FIELDS, Outcome
from certflow.month import Month
from certflow.reference import City

if TYPE_CHECKING:
    from certflow.registry.submissions import Earlier

_CONTENT = tuple(name for name in FIELDS if name != "ZP")
_REISSUED = ("PRINTED", "DELIVERED", "CLOSED")
"""States of a request whose new certificate was printed."""
COLUMNS = frozenset({
    "dup_row", "dup_different", "dup_city", "dup_open", "dup_person", "dup_person_city", "dup_where", "open_where",
    "person_where", "reissues",
})  # fmt: skip
"""Columns this module adds, once it is known how rows end by themselves."""
_Where = tuple[str | None, str | None, Month | None]
"""City, exam and month of a row; None where its file does not say."""
_COUNTS = (Outcome.ACCEPTED, Outcome.PROOF, Outcome.HELD, Outcome.RETURNED)
"""Of identical rows the one whose end comes first here counts."""


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


def shared(rows: Rows, files: Sequence[Outcome]) -> list[list[int]]:
    """The lines of each 管理号, and of each content without one, that several rows that count have in common.

    `files`: per submission how its file ends; the rows of a returned or repeated one do not count.
    """
    here = _counted(rows, files)
    return columns.groups(
        [(number or _sent(rows, line)) if here[line] else None for line, number in enumerate(rows.text("clean_ZSGLH"))]
    )


def measure(
    rows: Rows,
    standings: Sequence[Standing],
    earlier: "Mapping[str, Sequence[Earlier]]",
    photos: Sequence[str | None],
    *,
    files: Sequence[Outcome],
    ends: Mapping[int, Outcome],
    unnumbered: "Mapping[str, Sequence[Earlier]]",
    elsewhere: Mapping[str, AbstractSet[tuple[str, str]]],
    cities: Mapping[str, City],
) -> None:
    """Add the ``dup_*`` columns, and `reissues`: how often the certificate was asked for in a year, this time too.

    `earlier`: by 管理号 what the ledger holds of it; `photos`: per row the SHA-256 of its photo; `files`: as in
    `shared`; `ends`: how each shared row ends by itself; `unnumbered`: by person what is under way without a 管理号;
    `elsewhere`: by ID number the accounts and months it has requests of; `cities`: by account.
    """
    marks = _Marks(len(rows))
    here = _counted(rows, files)
    numbers = rows.text("clean_ZSGLH")
    known = [line for line, number in enumerate(numbers) if number in earlier]
    for lines in shared(rows, files):
        _compare(rows, standings, lines, marks, files=files, ends=ends)
    for line in known:
        if here[line] and marks.same[line] is None:
            sent = (_sent(rows, line), photos[line])
            live = rows.columns["exam_live"][line] is not False
            _compare_earlier(earlier[numbers[line]], standings[rows.owner[line]], sent, line, marks, live=live)
    _compare_unnumbered(rows, standings, here, unnumbered, marks)
    for lines in columns.groups(
        [
            (owner, person) if person and same is None and count else None
            for owner, person, same, count in zip(rows.owner, rows.persons, marks.same, here, strict=True)
        ]
    ):
        if len({numbers[line] for line in lines}) > 1:
            for line in lines:
                marks.person[line] = False
    single = [count and city is None for count, city in zip(here, marks.city, strict=True)]
    _measure_cities(rows, standings, single, elsewhere, cities)
    first = [_reissues((), standing) for standing in standings]
    reissues: list[object] = [first[owner] for owner in rows.owner]
    for line in known:
        reissues[line] = _reissues(earlier[numbers[line]], standings[rows.owner[line]])
    rows.columns["reissues"] = reissues
    rows.columns |= {
        "dup_row": marks.same, "dup_different": marks.different, "dup_city": marks.city, "dup_open": marks.open,
        "dup_person": marks.person, "dup_where": marks.where, "open_where": marks.open_where,
    }  # fmt: skip


def repeated_share(
    rows: Rows, standings: Sequence[Standing], earlier: "Mapping[str, Sequence[Earlier]]"
) -> list[float | None]:
    """Per submission the share of rows whose content the same account sent for an earlier month (D39).

    What the authority refused may come again as it was, with another photo or paper.
    """
    counts = [0] * len(standings)
    for line, number in enumerate(rows.text("clean_ZSGLH")):
        if number not in earlier:
            continue
        standing = standings[rows.owner[line]]
        if standing.month is not None:
            counts[rows.owner[line]] += any(
                one.account == _city(standing)
                and one.month < str(standing.month)
                and one.state != "REFUSED"
                and _content(one) == _sent(rows, line)
                for one in earlier[number]
            )
    return [count / standing.rows if standing.rows else None for count, standing in zip(counts, standings, strict=True)]


def _compare(
    rows: Rows,
    standings: Sequence[Standing],
    lines: list[int],
    marks: _Marks,
    *,
    files: Sequence[Outcome],
    ends: Mapping[int, Outcome],
) -> None:
    """One 管理号 on several lines of one call.

    In a sheet whatever differs is held (D23); across files nothing is held by a row that goes back.
    """
    kinds: dict[tuple[tuple[str, ...], _Where], list[int]] = defaultdict(list)
    for line in lines:
        standing = standings[rows.owner[line]]
        where = (_city(standing), standing.exam.code if standing.exam else None, standing.month)
        kinds[_sent(rows, line), where].append(line)
    sheets: dict[int, list[list[int]]] = defaultdict(list)
    places: dict[_Where, list[list[int]]] = defaultdict(list)
    for (_, where), copies in kinds.items():
        _compare_copies(rows, copies, marks, files=files, ends=ends)
        counting = [line for line in copies if marks.same[line] is None]
        for line in counting:
            sheets[rows.owner[line]].append([line])
        if going := [line for line in counting if ends[line] is not Outcome.RETURNED]:
            places[where].append(going)
    for group in (*sheets.values(), *places.values()):
        _compare_contents(rows, group, marks)
    _compare_places(rows, places, marks)


def _compare_contents(rows: Rows, group: Sequence[list[int]], marks: _Marks) -> None:
    """Rows of one city, exam and month, by their content (D23)."""
    for position, copies in enumerate(group if len(group) > 1 else ()):
        other = group[1 if position == 0 else 0][0]
        for line in copies:
            marks.different[line], marks.where[line] = False, _place(rows, line, other)


def _compare_places(rows: Rows, places: Mapping[_Where, Sequence[list[int]]], marks: _Marks) -> None:
    """Rows of several cities (D24), and of several exams or months of one city (D27)."""
    several = len({city for city, *_ in places}) > 1
    for where, group in places.items():
        others = (
            _asked(rows, where, other, found[0][0])
            for other, found in places.items()
            if other != where and other[0] == where[0]
        )
        asked = next((words for words in others if words), None)
        for line in (line for copies in group for line in copies):
            if several:
                marks.city[line] = False
            if asked is not None:
                marks.open[line], marks.open_where[line] = False, asked


def _asked(rows: Rows, where: _Where, other: _Where, line: int) -> str:
    """Where the certificate was asked for as well: on this line, of another exam or month; "" where that was later."""
    (_, exam, month), (_, exam_too, month_too) = where, other
    if month is not None and month_too is not None and month != month_too:
        return f"已在 {month_too} 申报" if month_too < month else ""
    different = exam is not None and exam_too is not None and exam != exam_too
    return f"已在另一文件第 {rows.number[line]} 行{f'（考试代码 {exam_too}）' if different else ''}申报"


def _compare_copies(
    rows: Rows, copies: list[int], marks: _Marks, *, files: Sequence[Outcome], ends: Mapping[int, Outcome]
) -> None:
    """Rows of one content, city, exam and month: in each sheet one of them counts, and in one file of several.

    Unless a person decides about one of the files: then all are held, and none repeats what may be turned down.
    """
    sheets: dict[int, list[int]] = defaultdict(list)
    for line in copies:
        sheets[rows.owner[line]].append(line)
    counts = [_repeat(rows, lines, marks, ends) for lines in sheets.values()]
    best = [line for line in counts if ends[line] is not Outcome.RETURNED]
    if len(best) < 2:
        return
    if all(files[rows.owner[line]] is Outcome.ACCEPTED for line in best):
        _repeat(rows, best, marks, ends)
        return
    for line in best:
        if files[rows.owner[line]] is Outcome.ACCEPTED:  # the others wait with their file
            other = next(one for one in best if one != line)
            marks.open[line], marks.open_where[line] = False, f"已在{_place(rows, line, other)}申报"


def _repeat(rows: Rows, lines: Sequence[int], marks: _Marks, ends: Mapping[int, Outcome]) -> int:
    """Of these identical lines the one that counts; the others repeat it."""
    counts = min(lines, key=lambda line: _COUNTS.index(ends[line]))
    for line in lines:
        if line != counts:
            marks.same[line], marks.where[line] = False, _place(rows, line, counts)
    return counts


def _compare_earlier(
    before: "Sequence[Earlier]",
    standing: Standing,
    sent: tuple[tuple[str, ...], str | None],
    line: int,
    marks: _Marks,
    *,
    live: bool,
) -> None:
    """One line, its content and photo, against what the ledger holds under its 管理号; `live`: its exam still is."""
    account = standing.city.account if standing.city is not None else standing.account
    content, photo = sent
    for one in before:
        same_exam = standing.exam is not None and one.exam_code == standing.exam.code
        same_place = one.account == account and one.month == str(standing.month) and same_exam
        if not one.open:
            if same_place and one.done:
                _compare_done(one, content, photo, line, marks)
            continue
        if one.account != account:
            marks.city[line] = False  # D24
        elif same_place:
            if one.state == "HELD":
                continue  # the city sends a held row again: see `checks.versions`
            if one.state == "ACCEPTED" and not live:
                marks.open[line], marks.open_where[line] = False, f"已在本月第 {one.version} 版中受理，其后该考试取消"
            elif _content(one) != content:
                marks.open[line], marks.open_where[line] = False, f"已在本月第 {one.version} 版中申报，内容不同"
            elif photo not in (None, one.photo):
                marks.open[line], marks.open_where[line] = False, f"已在本月第 {one.version} 版中申报，照片不同"
            else:
                marks.same[line], marks.where[line] = False, f"已收到的第 {one.version} 版"
        else:
            marks.open[line], marks.open_where[line] = False, f"已在 {one.month} 申报"  # D27


def _compare_done(one: "Earlier", content: tuple[str, ...], photo: str | None, line: int, marks: _Marks) -> None:
    """One line against a request of the same file that led to its certificate: a correction that came too late."""
    where, alike = f"已收到的第 {one.version} 版", photo in (None, one.photo)
    if _content(one) == content and alike:
        marks.same[line], marks.where[line] = False, where
        return
    ended = "已经办结" if one.state == "CLOSED" else "新证书已经印制"
    marks.different[line] = False
    marks.where[line] = f"{where}（{ended}{'' if alike else '，照片不同'}）"


def _compare_unnumbered(
    rows: Rows,
    standings: Sequence[Standing],
    here: Sequence[bool],
    unnumbered: "Mapping[str, Sequence[Earlier]]",
    marks: _Marks,
) -> None:
    """Rows of persons whose request of the exam is under way without a 管理号: it may be the same certificate."""
    for line in [line for line, person in enumerate(rows.persons) if person in unnumbered] if unnumbered else ():
        if not here[line] or marks.same[line] is not None or marks.open[line] is not None:
            continue
        standing, number = standings[rows.owner[line]], rows.text("clean_ZSGLH")[line]
        sent = {name: rows.text(name)[line] for name in FIELDS}
        for one in unnumbered[rows.persons[line]]:
            if standing.exam is None or one.exam_code != standing.exam.code:
                continue
            same_place = one.account == _city(standing) and one.month == str(standing.month)
            if same_place and one.state == "HELD" and (not number or one.but_for_number(sent)):
                continue  # replaced by this one: see `registry.submissions`
            if same_place and not number and _content(one) == _sent(rows, line):
                marks.same[line], marks.where[line] = False, f"已收到的第 {one.version} 版"
                break
            whose = "的持证人" if number else "未填，持证人"
            marks.open[line] = False
            marks.open_where[line] = f"{whose}在 {one.month} 已有同一考试、没有填管理号的申报"


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
    months = [str(one.month) if one.month is not None and _city(one) is not None else "" for one in standings]
    persons = [
        (person, months[owner]) if person and months[owner] and count else None
        for person, owner, count in zip(rows.persons, rows.owner, counted, strict=True)
    ]
    own = [_city(one) or "" for one in standings]
    for lines in columns.groups(persons):
        seen[persons[lines[0]] or ("", "")] |= {own[rows.owner[line]] for line in lines}
    alone: list[object] = [None if one is None else True for one in persons]
    where: list[object] = [None] * len(rows)
    for line, one in [(line, one) for line, one in enumerate(persons) if one is not None and one in seen]:
        if found := sorted(seen[one] - {own[rows.owner[line]]}):
            alone[line] = False
            where[line] = "、".join(cities[one].name if one in cities else one for one in found)
    rows.columns |= {"dup_person_city": alone, "person_where": where}


def _reissues(before: "Sequence[Earlier]", standing: Standing) -> int | None:
    """Printed reissues of the 12 months up to the standing's month, and this request; None without a month."""
    if standing.month is None:
        return None
    year_ago = f"{standing.month.year - 1}{standing.month.number:02d}"
    return 1 + sum(one.state in _REISSUED and year_ago < one.month <= str(standing.month) for one in before)


def _counted(rows: Rows, files: Sequence[Outcome]) -> list[bool]:
    return [files[owner] in (Outcome.ACCEPTED, Outcome.HELD) for owner in rows.owner]


def _sent(rows: Rows, line: int) -> tuple[str, ...]:
    """The content of a row as it is compared."""
    return tuple(_read(name, rows.text(f"clean_{name}")[line]) for name in _CONTENT)


def _read(name: str, text: str) -> str:
    """A cell as it is read, however it is spelt (D22)."""
    if name == "KSXM":
        return keys.name_key(text)
    if name == "ZJHM":
        return keys.id_key(text)
    if name in DATES:
        return keys.parse_date(text).value or text
    return text


def _place(rows: Rows, line: int, other: int) -> str:
    here = "" if rows.owner[line] == rows.owner[other] else "另一文件"
    return f"{here}第 {rows.number[other]} 行"


def _city(standing: Standing) -> str | None:
    return standing.city.account if standing.city is not None else standing.account


def _content(one: "Earlier") -> tuple[str, ...]:
    return tuple(_read(name, clean(name, one.sent.get(name, ""))) for name in _CONTENT)

"""Measures files and entries (suite ``submission`` and the file rules of ``workbook``).

What a name means against the reference tables is settled here: `Standing` is what a submission is taken for, and
every other measure builds on it.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date

from certflow import naming
from certflow.intake.submission import Entry, Received, Submission
from certflow.month import Month
from certflow.reference import City, Exam, Reference
from certflow.reference.right_name import propose

COLUMNS = frozenset({
    "file_fault", "file_detail", "book_fault", "book_detail", "file_unreadable", "name_account", "book_missing",
    "months_ahead", "name_month", "rows", "shift_share", "file_repeated", "db_on", "book_comments",
    "book_hidden_column", "right_name",
})  # fmt: skip
"""Columns of the file frame beside those named after a rule's code (``name_count``, ``zip_junk``)."""


@dataclass(frozen=True, eq=False, slots=True)
class Standing:
    """What a submission is taken for; None where its name does not say or the tables do not know."""

    month: Month | None
    exam: Exam | None
    city: City | None
    account: str | None
    """SFTP account that uploaded it."""
    today: date
    rows: int


def stand(submission: Submission, reference: Reference, today: date) -> Standing:
    """Settle month, exam and city of one submission."""
    name, rows = submission.name, len(submission.sheet.row_numbers) if submission.sheet else 0
    account = submission.files[0].account
    if is_nil(submission):
        city = reference.city_named(str(submission.measures["nil_city"]))
        month = Month.parse(str(submission.measures["nil_month"]))
        return Standing(month, None, None if city is None or city.historic else city, account, today, rows)
    if name is None:
        return Standing(None, None, None, account, today, rows)
    city = reference.city_named(name.city)
    exam = reference.exam_by_code(name.exam_code)
    if exam is None:
        named = reference.exam_by_name(name.exam_name)
        exam = named if named is not None and named.code == name.exam_code.zfill(len(named.code)) else None  # N08
    return Standing(name.month, exam, None if city is None or city.historic else city, account, today, rows)


def is_nil(submission: Submission) -> bool:
    """Whether this is a nil report (``YYYYMM-零报(城市).txt``)."""
    return submission.measures.get("nil_month") is not None


def measure(
    submissions: Sequence[Submission],
    standings: Sequence[Standing],
    reference: Reference,
    *,
    codes: frozenset[str],
    known: Mapping[str, str],
    waiting: AbstractSet[tuple[str, str]],
    database: bool,
) -> dict[str, list[object]]:
    """Columns of the file frame, one line per submission.

    `codes` are the codes of all rules (an unlisted fault becomes `file_unreadable`); `known` maps digests the ledger
    already has to a word of where (FILE-DUPLICATE); `waiting`: receipt number and exam code of files of the account
    that no person let in as a whole; `database`: whether rows are compared with the database.
    """
    observed = sorted({name for one in submissions for name in one.measures})
    columns: dict[str, list[object]] = {name: [one.measures.get(name) for one in submissions] for name in observed}
    columns |= {name: [None] * len(submissions) for name in ("file_fault", "file_detail", "book_fault", "book_detail")
                if name not in columns}  # fmt: skip
    for position, submission in enumerate(submissions):
        standing = standings[position]
        facts = dict(_facts(submission, standing, reference)) | _waits(submission, standing, waiting)
        for column in ("file_fault", "book_fault"):
            token = submission.measures.get(column)
            if token is None:
                continue
            observation = str(token).lower().replace("-", "_")
            facts.setdefault(observation, 1)
            facts.setdefault(f"{observation}_detail", submission.measures.get(column.replace("fault", "detail")))
            if token not in codes:
                facts |= {"file_unreadable": 1, "file_unreadable_detail": str(token)}
        if facts.get("name_tolerated") and submission.measures.get("name_tolerated"):
            details = (submission.measures.get("name_tolerated_detail"), facts["name_tolerated_detail"])
            facts["name_tolerated_detail"] = "、".join(str(detail) for detail in details)
        for name, value in facts.items():
            columns.setdefault(name, [None] * len(submissions))[position] = value
    columns["rows"] = [standing.rows for standing in standings]
    columns["right_name"] = [_right_name(*pair, reference) for pair in zip(submissions, standings, strict=True)]
    columns["db_on"] = [database] * len(submissions)
    _measure_repetition(submissions, standings, columns, known)
    return columns


def measure_entries(
    submissions: Sequence[Submission],
) -> tuple[list[tuple[int, Received, Entry]], dict[str, list[object]]]:
    """The entry frame: per line (submission, file, entry) of what is neither workbook nor photo, and its columns."""
    lines = [
        (position, received, entry)
        for position, submission in enumerate(submissions)
        for received, entry in submission.others
    ]
    reasons = [entry.measures.get("junk_reason") for *_, entry in lines]
    columns: dict[str, list[object]] = {
        "zip_junk": [int(entry.role == "junk") for *_, entry in lines],
        "zip_junk_detail": [reason or "系统自动生成" for reason in reasons],
        "zip_other": [int(entry.role == "other") for *_, entry in lines],
    }
    return lines, columns


def _facts(submission: Submission, standing: Standing, reference: Reference) -> dict[str, object]:
    """What can be said of one submission's name and workbook."""
    facts: dict[str, object] = {}
    measures = submission.measures
    if measures.get("file_fault") is not None:
        return facts
    if is_nil(submission):
        facts |= _month_facts(Month.parse(str(measures["nil_month"])), standing)
        return facts | _city_facts(str(measures["nil_city"]), standing, reference)
    sheet = submission.sheet
    if submission.workbook is None and sheet is None and measures.get("book_fault") is None:
        facts["book_missing"] = 1
    if sheet is not None and not sheet.row_numbers and measures.get("book_fault") is None:
        facts["book_fault"] = "BOOK-EMPTY"
    parsed = naming.parse(submission.stem)
    name = submission.name
    if name is None:
        facts["name_form"] = int(parsed.fault != "NAME-MONTH")
        if parsed.fault == "NAME-MONTH":
            facts |= {"months_ahead": 9999, "name_month": _impossible(submission.stem)}
        return facts
    slip = "slip" in parsed.notes
    if slip:  # what it looks like is our own doing, which the city is asked to leave as it is
        facts |= dict.fromkeys(("book_title_row", "book_extra_column", "book_format"), 0)
    elif parsed.notes:
        facts |= {"name_tolerated": 1, "name_tolerated_detail": "、".join(_NOTES.get(n, n) for n in parsed.notes)}
    facts |= _month_facts(name.month, standing)
    whole = not slip and submission.earlier_book is None
    if sheet is not None and sheet.row_numbers and whole:
        facts["name_count"] = abs(name.count - standing.rows)
        facts["name_count_detail"] = f"{name.count} 人，表内 {standing.rows} 行"
    return facts | _exam_facts(name, standing, reference) | _city_facts(name.city, standing, reference)


def _waits(submission: Submission, standing: Standing, waiting: AbstractSet[tuple[str, str]]) -> dict[str, object]:
    """A 退回单 goes on no sooner than what it was written for: it does not show why that file is doubtful."""
    tag = naming.slip_of(submission.stem)
    if tag is None or standing.exam is None or (tag, standing.exam.code) not in waiting:
        return {}
    return {"file_waits": 1, "file_waits_detail": tag}


def _right_name(submission: Submission, standing: Standing, reference: Reference) -> str:
    """Words that end a message about a name: the right name, ready to copy; empty where it cannot be known."""
    if is_nil(submission) or submission.measures.get("file_fault") is not None:
        return ""
    city = standing.city or reference.cities.get(standing.account or "")
    if city is None and submission.sheet is not None:
        named = {one.name: one for text in submission.sheet.values["BMS"] if (one := reference.city_named(text))}
        city = next(iter(named.values())) if len(named) == 1 else None
    exam = standing.exam
    if exam is not None and submission.name is not None and naming.fold(exam.name) != submission.name.exam_name:
        exam = None  # N07: code and name disagree, so both are proposed
    found = propose(submission.stem, reference, month=standing.month, exam=exam, city=city, count=standing.rows or None)
    return f"正确名称：{' 或 '.join(found)}" if found else ""


def _exam_facts(name: naming.PackageName, standing: Standing, reference: Reference) -> dict[str, object]:
    detail = f"{name.exam_code}，{name.exam_name}"
    named = reference.exam_by_name(name.exam_name)
    if standing.exam is None:
        code = "name_exam_unknown" if named is None else "name_exam"
        return {code: 1, f"{code}_detail": detail}
    if naming.fold(name.exam_name) != naming.fold(standing.exam.name):  # N07, N09
        return {"name_exam": 1, "name_exam_detail": detail}
    if name.exam_code != standing.exam.code:
        return {"name_tolerated": 1, "name_tolerated_detail": "考试代码少前导零"}  # N08
    return {}


def _month_facts(month: Month, standing: Standing) -> dict[str, object]:
    ahead = (month.year - standing.today.year) * 12 + month.number - standing.today.month
    return {"months_ahead": ahead, "name_month": str(month)}


def _city_facts(city: str, standing: Standing, reference: Reference) -> dict[str, object]:
    if standing.city is None:
        return {"name_city": 1, "name_city_detail": city}
    facts: dict[str, object] = {}
    if standing.account is not None and standing.account != standing.city.account:
        facts["name_account"] = 1  # N11
    if reference.city_named(city) is not None and city != standing.city.name:
        facts |= {"name_tolerated": 1, "name_tolerated_detail": "城市简称"}  # N10
    return facts


def _measure_repetition(
    submissions: Sequence[Submission],
    standings: Sequence[Standing],
    columns: dict[str, list[object]],
    known: Mapping[str, str],
) -> None:
    """The same file again (Z50), and one exam's rows over several workbooks (Z45)."""
    duplicate = columns.setdefault("file_duplicate", [None] * len(submissions))
    detail = columns.setdefault("file_duplicate_detail", [None] * len(submissions))
    second = columns["book_second"] = [None] * len(submissions)
    seen: dict[tuple[str, ...], frozenset[str]] = {}
    for position, submission in enumerate(submissions):
        digests = tuple(received.sha256 for received in submission.files)
        paths = frozenset(str(received.path) for received in submission.files)
        if not is_nil(submission) and all(digest in known for digest in digests):
            duplicate[position], detail[position] = 1, known[digests[0]]
        elif seen.setdefault((*digests, submission.stem), paths) != paths:
            duplicate[position], detail[position] = 1, "本次一并提交的另一个文件"
    kinds = [
        (standing.month, standing.exam.code, naming.fold(submission.name.exam_name), standing.city.account)
        if submission.workbook is not None
        and submission.name is not None
        and standing.exam is not None
        and standing.city is not None
        and duplicate[position] is None
        else None
        for position, (submission, standing) in enumerate(zip(submissions, standings, strict=True))
    ]
    counts = Counter(kind for kind in kinds if kind is not None)
    for position, kind in enumerate(kinds):
        if kind is not None and counts[kind] > 1:
            second[position] = counts[kind]


def _impossible(stem: str) -> str:
    digits = re.match(r"\D*([0-9０-９]{1,8})", stem)
    return digits[1] if digits else ""


_NOTES = {
    "brackets": "全角括号",
    "dash": "连接号",
    "blanks": "空格",
    "width": "全角字符",
    "copy-suffix": "副本等后缀",
    "count-style": "人数写法",
    "composed": "字符编码形式",
}

"""What the city gets back: 退回单 (the rows to mend, as a workbook) and 回执 (what became of every file and entry).

Unmasked: it is the city's own data, in the protected feedback folder and later in the city's own SFTP folder
(DOMAIN §9). Written to a temporary name and renamed, so that an answer is whole or not there.
"""

import os
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from certflow import excel, naming, vault
from certflow.checks.judged import Judged, JudgedRow
from certflow.excel import Cell, Page
from certflow.findings import FIELD_NAMES, FIELDS, Finding, Outcome, Scope, Severity, Verdict
from certflow.intake.submission import Entry, Received, Submission
from certflow.month import SHANGHAI
from certflow.settings import Settings

if TYPE_CHECKING:
    from certflow.registry.contested import Contested

UNKNOWN_MONTH = "月份未定"
"""Folder of answers to files whose name does not say the month."""

_OUTCOMES = {
    Outcome.ACCEPTED: "接收",
    Outcome.HELD: "待人工确认",
    Outcome.RETURNED: "退回",
    Outcome.PROOF: "转开证明",
    Outcome.IGNORED: "忽略",
}
_VERDICTS = {
    Verdict.ACCEPTED: "全部接收",
    Verdict.PARTIAL: "部分接收（其余见退回单）",
    Verdict.HELD: "待人工确认",
    Verdict.RETURNED: "退回",
    Verdict.IGNORED: "重复报送，未再处理",
}
_SEVERITIES = {Severity.ERROR: "错误", Severity.HOLD: "待确认", Severity.WARNING: "提醒", Severity.INFO: "说明"}
_BESIDE = (("原行号", 7), ("处理结果", 11), ("问题", 38), ("更正办法", 28), ("证书数据库记载", 22))
"""What stands beside the city's own columns: heading and width in characters."""
_WIDTHS = {
    "ZSGLH": 20, "KSXM": 10, "ZJHM": 20, "ZJLB": 11, "XB": 6, "BKJB": 7, "BKZY": 12, "CSNY": 9, "PZRQ": 10, "ZP": 13,
    "BMS": 8,
}  # fmt: skip
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f\\/:*?"<>|\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]')
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NAME_BYTES = 180


def clear(settings: Settings, account: str, file_ids: Iterable[int]) -> None:
    """Take away what was written about files that have no verdict: by runs that died before they recorded one."""
    tags = "|".join(map(_tag, file_ids))
    ours = re.compile(f"(?<![0-9A-Za-z])(?:{tags})(?![0-9A-Za-z])")
    for folder in (settings.feedback / account, settings.contact_sheets / account) if tags else ():
        for path in folder.rglob("*"):
            if ours.search(path.name) and path.is_file():
                path.unlink(missing_ok=True)


def write(settings: Settings, account: str, lane: str, judged: Sequence[Judged], *, part: bool = False) -> list[Path]:
    """Write the answers to these submissions below ``feedback/<account>/<month>/``; returns the files.

    `part`: their file holds other exams as well, whose receipt stays beside theirs.
    """
    by_file: dict[int, list[Judged]] = defaultdict(list)
    files: dict[int, Received] = {}
    for one in judged:
        for received in one.submission.files:
            if received.file_id is not None:
                by_file[received.file_id].append(one)
                files[received.file_id] = received
    written = []
    for file_id, ones in sorted(by_file.items()):
        stem = answer_path(settings.feedback / account, lane, files[file_id], ones)
        if part:
            stem = exam_path(stem, lane, files[file_id], ones[0].submission.name)
        written.append(write_text(stem.with_name(f"{stem.name}-回执.txt"), _receipt(files[file_id], ones, lane)))
        for one in ones:
            if one.submission.files[0].file_id == file_id and _needs_slip(one):
                slip = exam_path(stem, lane, files[file_id], one.submission.name)
                written.append(write_book(_unused(slip, written), [_page(one, lane)]))
    return written


def write_repeat(
    settings: Settings, account: str, received: Received, duplicate_of: int | None, still_returned: int
) -> Path:
    """Tell the city that a file's bytes had been received before; `still_returned`: rows of it that it has to mend."""
    stem = answer_path(settings.feedback / account, "month", received, ())
    before = f"（此前的回执编号 {_tag(duplicate_of)}）" if duplicate_of is not None else ""
    lines = [*_title(received), "", f"结论：与此前收到的文件完全相同{before}，本次不再处理。"]
    if still_returned:
        lines += [
            f"没有重新审核，此前退回的 {still_returned} 行仍为退回。",
            "更正办法：请更正后重新压缩报送，或把退回单传回；没有要更正的（例如证书数据库已经更正），退回单原样传回即可。",
        ]
    return write_text(stem.with_name(f"{stem.name}-回执.txt"), lines)


def write_waiting(settings: Settings, account: str, one: Submission) -> list[Path]:
    """Tell the city that photos came and wait for their workbook, and what to do where none is to come (Z45)."""
    lines = [
        f"结论：收到照片 {len(one.photos)} 张，等待同名的数据表（Excel），数据表收到后一并审核，照片不必重报。",
        "更正办法：数据表此前已经报送的，其中没有等待这些照片的行；请把数据表（或退回单）与照片一起压缩，重新报送。",
    ]
    month = str(one.name.month) if one.name is not None else None
    stems = [(file, answer_path(settings.feedback / account, "month", file, (), month)) for file in one.files]
    return [
        write_text(stem.with_name(f"{stem.name}-等待通知.txt"), [*_title(file), "", *lines]) for file, stem in stems
    ]


def write_opened(settings: Settings, account: str, lane: str, received: Received, names: Sequence[str]) -> Path:
    """Tell the city that a zip of zips was opened, and that each exam gets an answer of its own (Z16)."""
    stem = answer_path(settings.feedback / account, lane, received, ())
    lines = [*_title(received), "", f"结论：内含 {len(names)} 个考试数据包，已逐个接收，分别回执："]
    return write_text(stem.with_name(f"{stem.name}-回执.txt"), [*lines, *(f"  {name}" for name in names)])


def write_contested(settings: Settings, contested: "Iterable[Contested]") -> list[Path]:
    """Tell other cities that rows of theirs wait for a person, because this city sent the same 管理号 (D24)."""
    by_file: dict[tuple[str, str, int], list[Contested]] = defaultdict(list)
    for one in contested:
        by_file[one.account, one.month, one.file_id].append(one)
    written = []
    for (account, month, file_id), ones in sorted(by_file.items()):
        lines = ["证书补换数据补充通知", f"通知时间：{now()}", ""]
        lines += [f"第 {one.row_no} 行：{one.reason}，改为待人工确认。" for one in ones]
        lines += ["", "更正办法：请与申请人核实，并告知省中心。"]
        name = f"补充通知-{_tag(file_id)}-{ones[0].record_id}.txt"
        written.append(write_text(settings.feedback / account / month / name, lines))
    return written


def answer_path(
    folder: Path, lane: str, received: Received, ones: Sequence[Judged], known_month: str | None = None
) -> Path:
    """Where the answers to a file go, without what they are; `known_month` as the ledger has it."""
    name = received.name
    parsed, nil = naming.parse(name).name, naming.parse_nil(name)
    month = next((str(one.month) for one in ones if one.month is not None), known_month)
    if month is None:
        month = str(parsed.month) if parsed is not None else str(nil[0]) if nil is not None else UNKNOWN_MONTH
    label = _label(parsed.stem if parsed is not None else name.rpartition(".")[0] or name)
    return folder / month / f"{naming.TRIAL if lane == 'trial' else ''}{label or '文件'}-{_tag(received.file_id or 0)}"


def exam_path(beside: Path, lane: str, received: Received, name: naming.PackageName | None) -> Path:
    """As `answer_path`, whose result `beside` is, of one exam in the file; the same where its name is not known."""
    if name is None:
        return beside
    return beside.with_name(
        f"{naming.TRIAL if lane == 'trial' else ''}{_label(name.stem)}-{_tag(received.file_id or 0)}"
    )


def _label(text: str) -> str:
    """What a text becomes in the name of a file."""
    label = _UNSAFE.sub("_", text).strip(" .")
    while len(label.encode("utf-8", "replace")) > _NAME_BYTES:
        label = label[:-1]
    return label


def _title(received: Received) -> list[str]:
    return [
        "证书补换数据回执",
        f"文件：{received.name}",
        f"大小：{received.size} 字节，SHA-256：{received.sha256}",
        f"判定时间：{now()}",
    ]


def _receipt(received: Received, ones: Sequence[Judged], lane: str) -> list[str]:
    lines = _title(received)
    if lane == "trial":
        lines.append("试投：只作检查，没有报送；合格后请把完整的数据包放入“报送”。")
    for one in ones:
        lines += ["", f"—— {_subject(one)} ——", f"结论：{_VERDICTS[one.verdict]}"]
        if one.nil:
            lines.append("零报：本月没有申请。")
        if one.submission.earlier_book is not None:
            book = _tag(one.submission.earlier_book[0].file_id or 0)
            lines.append(f"数据表：此前报送的文件（回执编号 {book}），其中 {len(one.rows)} 行等待这些照片")
        if one.rows:
            counts = "，".join(f"{_OUTCOMES[outcome]} {one.counts[outcome]}" for outcome in Outcome)
            lines.append(f"数据行：共 {len(one.rows)} 行；{counts}")
        lines += one.news
        lines += _problems(one)
        for outcome in (Outcome.RETURNED, Outcome.HELD, Outcome.PROOF, Outcome.IGNORED):
            numbers = [str(row.row) for row in one.rows if row.outcome is outcome]
            if numbers:
                lines.append(f"{_OUTCOMES[outcome]}的行：{'、'.join(numbers)}")
        members = [entry for file, entry in one.members if file.sha256 == received.sha256]
        if members:
            lines.append(f"包内条目（{len(members)} 个）：")
        lines += _ended(one, received, members)
        shared = [entry for file, entry in one.submission.earlier_photos if file.sha256 == received.sha256]
        if shared:
            lines.append(f"与其他考试共用的照片（{len(shared)} 张）：")
        lines += _ended(one, received, shared)
    return lines


def _ended(one: Judged, received: Received, members: Iterable[Entry]) -> Iterator[str]:
    for entry in members:
        outcome, rule = one.entries[received.sha256, entry.ordinal]
        yield f"  {entry.name}：{_OUTCOMES[outcome]}{f'（{rule}）' if rule else ''}"


def _subject(one: Judged) -> str:
    return " ".join(filter(None, (str(one.month or ""), one.exam_code, one.city))) or "无法确定月份、考试和城市"


def _problems(one: Judged) -> list[str]:
    lines = [
        f"[{_SEVERITIES[finding.severity]}] {finding.rule} {_where(finding)}{finding.message}"
        + (f" 更正办法：{finding.remedy}" if finding.remedy else "")
        for finding in one.findings
        if finding.scope is not Scope.ROW
    ]
    of_rows = [finding for finding in one.findings if finding.scope is Scope.ROW]
    counted = Counter((finding.severity, finding.rule) for finding in of_rows)
    for (severity, rule), times in sorted(counted.items()):
        lines.append(f"[{_SEVERITIES[severity]}] {rule}：{times} 处")
        if severity in (Severity.WARNING, Severity.INFO):  # graver ones stand in the 退回单
            lines += _by_message(found for found in of_rows if (found.severity, found.rule) == (severity, rule))
    return lines


def _by_message(findings: Iterable[Finding]) -> Iterator[str]:
    """What is said of rows, once for all of which it is said."""
    rows: dict[str, dict[int | None, None]] = defaultdict(dict)
    for finding in findings:
        remedy = f" 更正办法：{finding.remedy}" if finding.remedy else ""
        rows[f"{finding.message}{remedy}"][finding.row] = None
    return (f"  第 {'、'.join(map(str, numbers))} 行：{words}" for words, numbers in rows.items())


def _where(finding: Finding) -> str:
    return f"{finding.entry}：" if finding.entry else ""


def _needs_slip(one: Judged) -> bool:
    return any(row.outcome in (Outcome.RETURNED, Outcome.HELD) for row in one.rows)


def _unused(slip: Path, written: Sequence[Path]) -> Path:
    """A name for a slip that no other one bears: workbooks of one name, or without one, in the same file."""
    names = (slip.with_name(f"{slip.name}-退回单{f'-{number}' if number > 1 else ''}.xlsx") for number in count(1))
    return next(name for name in names if name not in written)


def write_book(path: Path, pages: Sequence[Page]) -> Path:
    """A workbook, whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".answer-", suffix=".xlsx")
    os.close(handle)
    try:
        excel.write_xlsx(Path(name), pages)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
    return path


def _page(one: Judged, lane: str) -> Page:
    back = "更正后可直接把本表传回，或连同照片重新打包报送；列和顺序与报送时相同。"
    if lane == "trial":  # nothing of a trial is kept for what comes next: neither its sound rows nor its photos
        back = "试投的数据没有报送：请照本表改正原来的 Excel 和照片，再把完整的数据包重新试投或报送。"
    elif one.submission.name is None:
        back = "本表不能直接传回：请按规定的名称，连同照片重新打包报送。"
    rows: list[list[Cell | str]] = [
        [Cell(f"退回单：{_subject(one)}", "title")],
        [Cell(writable(f"文件：{one.submission.files[0].name}"), "line")],
        [Cell(f"红底的格子须更正。{back}", "line")],
        [Cell("“待人工确认”的行由省中心处理，不必重报；如确有错误，也可更正后重报。", "line")],
    ]
    rows += [
        [Cell(writable(f"【{_SEVERITIES[finding.severity]}】{finding.message} 更正办法：{finding.remedy}"), "line")]
        for finding in one.findings
        if finding.scope is Scope.FILE and finding.severity in (Severity.ERROR, Severity.HOLD)
    ]
    headings = one.submission.sheet.headings if one.submission.sheet is not None else {}
    fields = list(headings) or list(FIELDS)
    head = [writable(headings.get(name) or f"{name}\n{FIELD_NAMES[name]}") for name in fields]
    rows.append([Cell(text, "head") for text in (*head, *(text for text, _ in _BESIDE))])
    above = len(rows)
    about = _by_row(one)
    rows += [
        _line(row, fields, about.get(row.row, ()))
        for row in one.rows
        if row.outcome in (Outcome.RETURNED, Outcome.HELD)
    ]
    widths = [*(_WIDTHS[name] for name in fields), *(width for _, width in _BESIDE)]
    return Page(
        one.exam_code or "退回单",
        rows,
        widths,
        freeze=f"A{above + 1}",
        landscape=True,
        repeat_rows=above,
        footer="第 &P 页/共 &N 页",
    )


def _by_row(one: Judged) -> Mapping[int | None, Sequence[Finding]]:
    """Findings by row number; a photo's findings stand at every row it belongs to."""
    found: dict[int | None, list[Finding]] = defaultdict(list)
    photos: dict[str, list[int | None]] = defaultdict(list)
    for row in one.rows:
        if row.photo is not None:
            photos[row.photo[1].name].append(row.row)
    for finding in one.findings:
        numbers = {finding.row} - {None}
        if finding.scope is Scope.PHOTO and finding.entry is not None:
            numbers |= set(photos[finding.entry])
        for number in numbers:
            found[number].append(finding)
    return found


def _line(row: JudgedRow, fields: Sequence[str], about: Sequence[Finding]) -> list[Cell | str]:
    marks: dict[str | None, str] = {}
    for finding in about:
        mark = "bad" if finding.severity in (Severity.ERROR, Severity.HOLD) else "note"
        if marks.get(finding.field) != "bad":
            marks[finding.field] = mark
    serious = [one for one in about if one.severity in (Severity.ERROR, Severity.HOLD)]
    texts = serious or [one for one in about if one.severity is Severity.WARNING]
    known = {one.field: one.registry for one in about if one.registry is not None and one.field is not None}
    sent = row.sent
    return [
        *(Cell(writable(sent[name]), marks.get(name, "")) for name in fields),
        str(row.row),
        Cell(_OUTCOMES[row.outcome], "bad" if row.outcome is Outcome.RETURNED else "note"),
        writable("\n".join(dict.fromkeys(one.message for one in texts)) or "随整个文件处理，见上方说明。"),
        Cell(writable("\n".join(dict.fromkeys(one.remedy for one in texts if one.remedy))), "fix"),
        writable("\n".join(f"{FIELD_NAMES[name]}：{value or '（空）'}" for name, value in known.items())),
    ]


def writable(text: str) -> str:
    """Signs no workbook can hold (E46) are shown as escapes."""
    return _UNWRITABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def write_text(path: Path, lines: Sequence[str]) -> Path:
    """UTF-8 with a mark, CRLF: what opens everywhere on a city's PC."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    data = "\r\n".join([*lines, ""]).encode("utf-8-sig", "backslashreplace")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".answer-")
    with vault.writer(handle, Path(name)) as target:
        target.write(data)
    Path(name).replace(path)
    return path


def now() -> str:
    """The time of day in China, as answers show it."""
    return datetime.now(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")


def _tag(file_id: int) -> str:
    """The mark by which the answers to a file are found again (imported late: a city's PC has no database driver)."""
    from certflow.registry.submissions import answer_tag

    return answer_tag(file_id)

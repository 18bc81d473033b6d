"""What a person decided about a city's held rows and files, told to the city with its next reply.

A 决定通知 for each file concerned, and for rows that went back a further 退回单 that may be sent in again corrected.
Unmasked, in the protected feedback folder, like every answer (DOMAIN §9).
"""

from collections import defaultdict
from typing import TYPE_CHECKING

from certflow import naming
from certflow.checks import feedback
from certflow.excel import Cell, Page
from certflow.findings import FIELD_NAMES, FIELDS
from certflow.intake.submission import Received
from certflow.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from certflow.registry.holds import Told
    from certflow.registry.ledger import Actor, Registry

DECISIONS = {"accept": "接收", "return": "退回", "proof": "转开证明", "judge": "受理"}
"""What can be decided, and how it is said."""
_HEAD = ("行号", "处理结果", *(f"{name}\n{FIELD_NAMES[name]}" for name in FIELDS), "省中心的意见", "问题", "更正办法",
         "证书数据库记载")  # fmt: skip
_WIDTHS = (6, 9, 20, 10, 20, 11, 6, 7, 12, 9, 10, 13, 8, 20, 34, 28, 20)


def write_decisions(settings: Settings, registry: "Registry", account: str, actor: "Actor") -> int:
    """Write the notices about decisions an account was not told of; how many decisions they tell.

    The files they belong to count as unanswered again, so the next reply uploads them. Written before it is recorded:
    whoever dies in between writes the same notice once more.
    """
    from certflow.registry import holds, submissions

    with registry.read() as conn:
        untold = holds.untold(conn, account)
        files = {one.id: one for one in submissions.received_files(conn, [told.file_id for told in untold])}
    by_file: dict[int, list[Told]] = defaultdict(list)
    for told in untold:
        by_file[told.file_id].append(told)
    for file_id, decisions in sorted(by_file.items()):
        file = files[file_id]
        received = Received(settings.original(file.sha256), file.name, file.sha256, file.size, account, file_id)
        stem = feedback.answer_path(settings.feedback / account, "month", received, (), file.month)
        number = f"{decisions[0].id:06d}"
        feedback.write_text(stem.with_name(f"{stem.name}-决定通知-{number}.txt"), _notice(received, decisions))
        by_exam: dict[str, list[Told]] = defaultdict(list)
        for one in decisions:
            if one.kind == "row" and one.decision == "return":
                by_exam[one.stem].append(one)
        for name, returned in by_exam.items():
            slip = feedback.exam_path(stem, "month", received, naming.parse(name).name)
            _write_slip(slip.with_name(f"{slip.name}-退回单({returned[0].id % 1000}).xlsx"), file.name, returned)
    if untold:
        with registry.begin(actor) as conn:
            holds.mark_told(conn, [one.id for one in untold], by_file)
    return len(untold)


def _notice(received: Received, decisions: "Sequence[Told]") -> list[str]:
    lines = ["证书补换数据决定通知", f"文件：{received.name}", f"通知时间：{feedback.now()}", ""]
    lines.append("以下原为“待人工确认”，省中心已经决定：")
    for one in decisions:
        file = "文件的待确认部分" if one.partly else "整个文件"
        place = {"row": f"第 {one.row_no} 行", "file": file, "photo": f"照片（{one.record}）"}[one.kind]
        lines.append(f"  {place}：{DECISIONS[one.decision]}。意见：{one.reason}")
        if one.decision == "return":
            lines += [f"    {found.rule} {found.message}" for found in one.evidence]
            lines += [f"    更正办法：{text}" for text in dict.fromkeys(found.remedy for found in one.evidence) if text]
    if any(one.decision == "return" and one.kind == "row" for one in decisions):
        lines += ["", "退回的行见同时下发的退回单：更正后可直接把退回单传回，或连同照片重新打包报送。"]
    return lines


def _write_slip(path: "Path", name: str, returned: "Sequence[Told]") -> None:
    rows: list[list[Cell | str]] = [
        [Cell("退回单：人工确认后退回的行", "title")],
        [Cell(feedback.writable(f"文件：{name}"), "line")],
        [Cell("更正后可直接把本表传回，或连同照片重新打包报送。", "line")],
        [Cell(text, "head") for text in _HEAD],
    ]
    head = len(rows)
    for one in returned:
        bad = {found.field for found in one.evidence}
        known = {found.field: found.registry for found in one.evidence if found.field and found.registry is not None}
        rows.append(
            [
                str(one.row_no),
                Cell("退回", "bad"),
                *(Cell(feedback.writable(one.sent.get(field, "")), "bad" if field in bad else "") for field in FIELDS),
                Cell(feedback.writable(one.reason), "fix"),
                feedback.writable("\n".join(dict.fromkeys(found.message for found in one.evidence))),
                Cell(feedback.writable("\n".join(dict.fromkeys(f.remedy for f in one.evidence if f.remedy))), "fix"),
                feedback.writable("\n".join(f"{FIELD_NAMES[field]}：{value}" for field, value in known.items())),
            ]
        )
    page = Page("退回单", rows, _WIDTHS, freeze=f"C{head + 1}", landscape=True, footer="第 &P 页/共 &N 页")
    feedback.write_book(path, [page])

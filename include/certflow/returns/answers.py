"""What a city gets back about the authority's answers: 退回单 and 发放清单 in one workbook, or the recall of one.

Written below ``feedback/<account>/<month>/``, unmasked (the city's own data, DOMAIN §9); `intake.pull.reply` brings
them to the city's 回执, once.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from certflow import excel, vault
from certflow.excel import Cell, Page
from certflow.heap import without_collector
from certflow.month import SHANGHAI
from certflow.registry import return_answers
from certflow.registry.ledger import Registry
from certflow.registry.return_answers import AnsweredRow, ReturnAnswer
from certflow.settings import Settings

_REFUSED = (
    ("序号", 6), ("记录编号", 30), ("原文件行号", 11), ("考试", 7), ("管理号", 24), ("姓名", 14), ("证件号码", 22),
    ("级别", 8), ("专业", 18), ("上级退回的原因", 44),
)  # fmt: skip
_PRINTED = (
    ("序号", 6), ("考试", 7), ("管理号", 24), ("姓名", 14), ("证件号码", 22), ("级别", 8), ("专业", 18),
    ("新证书编号", 20), ("印制日期", 11), ("领取人签名", 16), ("领取日期", 12),
)  # fmt: skip


@without_collector()
def write(settings: Settings, registry: Registry) -> list[Path]:
    """Write every answer and recall that is owed; returns the files. May be run at any time.

    What lies there already may be of another return, where the ledger was restored without the files (F42); the same
    answer gives the same bytes.
    """
    written = []
    with registry.read() as conn:
        return_answers.take_turn(conn)
        for answer in return_answers.owed(conn):
            folder = settings.feedback / answer.account / answer.month
            path = folder / f"{answer.month}-{_named(answer)}"
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if answer.undone_at:
                written.append(_write_recall(path, answer, answer.undone_at))
            elif rows := return_answers.answered_rows(conn, answer):
                written.append(_write_lists(path, answer, rows))
    return written


def _named(answer: ReturnAnswer) -> str:
    return f"撤销通知-{answer.tag}.txt" if answer.recall else f"上级返回结果-{answer.tag}.xlsx"


def _write_lists(path: Path, answer: ReturnAnswer, rows: Sequence[AnsweredRow]) -> Path:
    refused: list[list[Cell | str]] = [
        [row.record_id, str(row.row_no), row.exam_code, row.management_no, row.name, row.id_number, row.level,
         row.specialty, Cell(row.reason or "（上级未写原因）", "bad")]
        for row in rows if row.bucket == "refused"
    ]  # fmt: skip
    printed: list[list[Cell | str]] = [
        [row.exam_code, row.management_no, row.name, row.id_number, row.level, row.specialty, row.serial,
         row.printed_on, "", ""]
        for row in rows if row.bucket == "printed"
    ]  # fmt: skip
    pages = []
    if refused:
        line = "下列申报已被上级退回，本次申报到此结束。按退回原因更正后，请列入以后月份的申报重新报送。"
        pages.append(_page("退回单", answer, line, _REFUSED, refused))
    if printed:
        line = "下列证书已印制。“领取人签名”“领取日期”供现场领取时填写；以实际收到的证书为准发放。"
        pages.append(_page("发放清单", answer, line, _PRINTED, printed))
    excel.write_xlsx(path, pages)
    return path


def _page(
    title: str,
    answer: ReturnAnswer,
    line: str,
    columns: Sequence[tuple[str, int]],
    rows: Sequence[Sequence[Cell | str]],
) -> Page:
    top: list[list[Cell | str]] = [
        [Cell(f"证书补换{title}：{answer.city} {answer.month} 申报", "title")],
        [Cell(f"依据上级返回文件第 {answer.return_id} 号，编号 {answer.tag}，共 {len(rows)} 人次。{line}", "line")],
        [Cell(name, "head") for name, _ in columns],
    ]
    body = [[str(number), *row] for number, row in enumerate(rows, start=1)]
    widths = [width for _, width in columns]
    return Page(title, [*top, *body], widths, freeze="A4", landscape=True, repeat_rows=3, footer="第 &P 页/共 &N 页")


def _write_recall(path: Path, answer: ReturnAnswer, at: datetime) -> Path:
    told = f"R{answer.id:06d}"
    lines = [
        f"证书补换撤销通知：{answer.city} {answer.month} 申报",
        f"撤销时间：{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}",
        "",
        f"此前的上级返回结果（编号 {told}）登记有误，已由省中心撤销，请停止使用其中的退回单和发放清单，",
        "尚未发放的证书暂缓发放。更正后的结果将另行下发，以新的编号为准。",
        "",
    ]
    draft = path.with_name(f"{path.name}.part")
    vault.write_bytes(draft, "\r\n".join(lines).encode("utf-8-sig"))
    draft.replace(path)
    return path

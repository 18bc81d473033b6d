"""Sent and not back: what the authority still owes, how old it is, and the list that goes with the letter (R03)."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from certflow import excel
from certflow.excel import Cell, Page
from certflow.month import SHANGHAI
from certflow.registry import reprints
from certflow.registry.ledger import Registry
from certflow.registry.reprints import Missing, MissingRow
from certflow.settings import Settings

Level = Literal["", "late", "alarm"]

_SUMMARY = (("申报年月", 10), ("批次", 12), ("考试代码", 10), ("地市", 12), ("人次", 8), ("已过天数", 10))
_LIST = (
    ("序号", 6), ("申报年月", 10), ("批次", 10), ("考试代码", 9), ("地市", 10), ("管理号", 24), ("姓名", 14),
    ("证件号码", 22), ("级别", 8), ("专业", 18), ("上报日期", 11), ("已过天数", 9), ("数据包", 34),
)  # fmt: skip


def missing(registry: Registry, days: int = 0) -> list[Missing]:
    """Sent rows without an answer, by package and city, that are at least so many days old."""
    with registry.read() as conn:
        return [one for one in reprints.missing(conn) if one.age_days >= days]


def level(settings: Settings, age_days: int) -> Level:
    """``late``: the authority is to be asked; ``alarm``: the doctor names it (I12) until an answer comes."""
    if age_days >= settings.missing_alarm_days:
        return "alarm"
    return "late" if age_days >= settings.missing_late_days else ""


def write_list(registry: Registry, days: int, path: Path) -> int:
    """Write the workbook that goes to the authority with a letter, unmasked; how many rows it lists.

    Raises OSError when it cannot be written.
    """
    with registry.read() as conn:
        groups = [one for one in reprints.missing(conn) if one.age_days >= days]
        rows = [one for one in reprints.missing_rows(conn) if one.age_days >= days]
    excel.write_xlsx(path, [_summary(groups, days), _list(rows)])
    return len(rows)


def _summary(groups: Sequence[Missing], days: int) -> Page:
    today = datetime.now(SHANGHAI)
    told = f"截至 {today.year} 年 {today.month} 月 {today.day} 日，下列"
    told += f"上报已满 {days} 天的" if days else "已上报的"
    rows: list[list[Cell | str]] = [
        [Cell("补换证书印制结果催询汇总", "title")],
        [Cell(f"{told}补换证书数据尚未收到印制结果，请协助查询。明细见“清单”。", "line")],
        [Cell(name, "head") for name, _ in _SUMMARY],
    ]
    rows += [
        [one.month, _batch(one.batch), one.exam_code, one.city, str(one.rows), str(one.age_days)] for one in groups
    ]
    rows.append([Cell("合计", "head"), "", "", "", Cell(str(sum(one.rows for one in groups)), "head"), ""])
    widths = [width for _, width in _SUMMARY]
    return Page("汇总", rows, widths, freeze="A4", repeat_rows=3, footer="第 &P 页/共 &N 页")


def _list(rows: Sequence[MissingRow]) -> Page:
    head: list[list[Cell | str]] = [
        [Cell("补换证书印制结果催询清单", "title")], [Cell(name, "head") for name, _ in _LIST],
    ]  # fmt: skip
    body: list[list[Cell | str]] = [
        [str(number), one.month, _batch(one.batch), one.exam_code, one.city, one.management_no, one.name, one.id_number,
         one.level, one.specialty, one.sent_on, str(one.age_days), one.package]
        for number, one in enumerate(rows, start=1)
    ]  # fmt: skip
    widths = [width for _, width in _LIST]
    return Page("清单", [*head, *body], widths, freeze="A3", landscape=True, repeat_rows=2, footer="第 &P 页/共 &N 页")


def _batch(number: int) -> str:
    return f"第 {number} 次补报" if number else "当月"

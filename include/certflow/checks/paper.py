"""The paper forms of a judged submission, beside its receipt: what the city prints, stamps and sends in.

They list the rows that go on, with the values that will be printed on the certificates, in the order of the notice;
rows that went back or wait are told on the sheet and stand on the forms of the file that corrects them.
"""

from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

from certflow import forms
from certflow.checks.feedback import answer_path
from certflow.checks.judged import Judged
from certflow.findings import Outcome
from certflow.heap import MadeAnew
from certflow.settings import Settings


def write_forms(settings: Settings, account: str, lane: str, judged: Sequence[Judged]) -> list[Path]:
    """Write 申请表 and 统计汇总表 of each submission with accepted rows below ``feedback/<account>/<month>/``."""
    written: list[Path] = []
    for one in judged:
        first = one.submission.files[0]
        accepted = (row for row in one.rows if row.outcome is Outcome.ACCEPTED)
        rows = MadeAnew(sorted(accepted, key=lambda row: forms.place(row.emitted)), attrgetter("emitted"))
        if not rows or one.file_outcome is not Outcome.ACCEPTED or first.file_id is None or one.exam_code is None:
            continue
        rest = sum(row.outcome in (Outcome.HELD, Outcome.RETURNED) for row in one.rows)
        name = one.submission.name
        lines = [
            f"申报年月：{one.month}　　考试：{one.exam_code} {name.exam_name if name else ''}　　报送单位：{one.city}",
            f"数据文件：{one.submission.stem}" + (f"（另有 {rest} 行退回或待核，不在本表）" if rest else ""),
        ]
        stem = answer_path(settings.feedback / account, lane, first, [one])
        pair = forms.lay_out(settings, rows, lines)
        written += forms.write(settings, pair, stem.parent, f"{stem.name}-{one.exam_code}")[0]
    return written

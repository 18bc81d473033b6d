"""Load the certificate database and report on it: what changed, what was refused, what suite ``registry`` warns of."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from certflow.checks.certificates import Warned, judge_export
from certflow.month import SHANGHAI
from certflow.pdf import press
from certflow.privacy import mask_text
from certflow.registry import certificates
from certflow.registry.certificates import LoadReport
from certflow.registry.ledger import Actor, Registry
from certflow.reports import printing
from certflow.reports.printing import Report, Section
from certflow.settings import Settings

_KINDS = {"error": "须更正", "hold": "须核实", "warning": "提醒", "info": "说明"}
_LINES = 20_000
"""Refused lines that the workbook names, at most; all are counted."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load did, what it warns of, and where both can be read."""

    report: LoadReport
    warnings: list[Warned]
    written: list[Path]


def load(
    settings: Settings, registry: Registry, actor: Actor, file: Path, *,
    encoding: str = "utf-8-sig", progress: Callable[[int], None] | None = None,
) -> Loaded:  # fmt: skip
    """Load an export, judge its lines, and write workbook and PDF below ``reports/registry/``.

    Raises what `certificates.load` raises for a file that is none, and ConfigurationError for a broken suite.
    """
    report = certificates.load(registry, actor, file, encoding=encoding, progress=progress)
    warnings = judge_export(settings, file, encoding)
    at = dt.datetime.now(dt.UTC)
    stem = settings.path("reports", "registry", f"{at.astimezone(SHANGHAI):%Y%m%d-%H%M%S}-证书库检查")
    pages = [
        printing.lines_page(
            "拒绝的行", ("行", "原因"), [(str(line), reason) for line, reason in report.refused[:_LINES]], (10, 80)
        ),
        printing.lines_page(
            "提醒的行", ("规则", "说法", "行"),
            [(one.rule, one.message, str(line)) for one in warnings for line in one.lines], (24, 70, 10),
        ),
    ]  # fmt: skip
    shown = _shown(mask_text(file.name), report, warnings, at)
    return Loaded(report, warnings, printing.write(press(settings), stem, shown, at=at, more=pages))


def _shown(name: str, report: LoadReport, warnings: list[Warned], at: dt.datetime) -> Report:
    ignored = f"未采用的列：{'、'.join(report.ignored_columns)}。" if report.ignored_columns else ""
    changes = (
        ("读取", report.read), ("新增", report.inserted), ("更新", report.updated), ("未变", report.unchanged),
        ("拒绝（未装入）", len(report.refused)),
    )  # fmt: skip
    refused: dict[str, list[int]] = {}
    for line, reason in report.refused:
        refused.setdefault(reason, []).append(line)
    most = sorted(refused.items(), key=lambda one: (-len(one[1]), one[0]))
    return Report(
        "证书数据库装入检查",
        f"{name}，{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}；只列行号，不含个人信息",
        (
            f"读取 {report.read} 行，拒绝 {len(report.refused)} 行；{len(warnings)} 条规则有提醒。",
            "提醒的行已照常装入：历史数据以库中为准，是否更正由省中心决定。" if warnings else "没有提醒。",
            *([ignored] if ignored else []),
        ),
        (
            Section("装入结果", ("", "行"), [(word, str(count)) for word, count in changes], (24, 12), frozenset({1})),
            Section(
                "拒绝的行", ("原因", "行数", "行号（前几行）"),
                [(reason, str(len(lines)), _first(lines, len(lines))) for reason, lines in most],
                (50, 8, 36), frozenset({1}),
            ),
            Section(
                "规则集 registry 的提醒", ("规则", "类别", "行数", "说法", "行号（前几行）"),
                [
                    (one.rule, _KINDS[one.severity], str(one.count), one.message, _first(one.lines, one.count))
                    for one in warnings
                ],
                (20, 8, 8, 50, 30), frozenset({2}),
            ),
        ),
        landscape=True,
    )  # fmt: skip


def _first(lines: list[int], count: int) -> str:
    return "、".join(map(str, lines[:5])) + ("……" if count > 5 else "")

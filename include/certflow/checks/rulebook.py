"""The rules as a page for people, ``docs/rules.md``: ``python -m certflow.checks.rulebook > docs/rules.md``."""

import json
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby

from certflow.checks import suites
from certflow.checks.suites import Rule
from certflow.findings import FIELD_NAMES
from certflow.settings import Settings

_SUITES = {
    "submission": "数据包与文件名",
    "workbook": "Excel 数据表",
    "application": "申请信息",
    "registry_match": "与证书数据库核对",
    "photo": "照片",
    "package": "上报数据包（回读）",
    "return": "上级返回数据（入账前）",
    "registry": "证书数据库（装入时，只提醒）",
}
_SEVERITIES = {"error": "错误（退回）", "hold": "待人工确认", "warning": "提醒", "info": "说明"}
_SCOPES = {"file": "文件", "entry": "条目", "row": "行", "photo": "照片"}
_HEAD = """# 规则

本页由 `expectations/*.json` 生成（`python -m certflow.checks.rulebook > docs/rules.md`），
请勿手改：改规则请改套件文件。依据栏为鲁人社函〔2020〕24号的条款；规则集栏为该规则起用的规则集。
"""


def render(rules: Iterable[Rule]) -> str:
    """The page: one table per suite, one line per rule and threshold."""
    parts = [_HEAD]
    for suite, members in groupby(rules, key=lambda rule: rule.suite):
        parts += ["", f"## {_SUITES[suite]}（`{suite}`）", ""]
        parts += [
            "| 代码 | 轻重 | 对象 | 字段 | 说法 | 更正办法 | 条件 | 依据 | 规则集 |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        parts += [_line(rule) for rule in members]
    return "\n".join([*parts, ""])


def _line(rule: Rule) -> str:
    field = "各字段" if rule.field == suites.EVERY_FIELD else FIELD_NAMES.get(rule.field or "", "")
    since = rule.since if rule.until is None else f"{rule.since} 起，{rule.until} 止"
    cells: Sequence[str] = (
        f"`{rule.code}`", _SEVERITIES[rule.severity], _SCOPES[rule.scope], field, rule.message, rule.remedy,
        f"`{_condition(rule)}`", rule.clause, since,
    )  # fmt: skip
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _condition(rule: Rule) -> str:
    """The expectation in one short line: what must hold, and when."""
    arguments = {name: value for name, value in rule.kwargs.items() if name not in ("column", "condition_parser")}
    when = arguments.pop("row_condition", None)
    said = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items())
    short = rule.expectation.removeprefix("expect_column_").removeprefix("values_to_")
    return f"{rule.column}: {short}({said})" + (f" when {when}" if when else "")


if __name__ == "__main__":
    sys.stdout.write(render(suites.load(Settings.load())))

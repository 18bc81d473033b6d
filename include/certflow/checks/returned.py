"""Judge what the authority sent back by the suite ``return``, before a line of it is applied (DOMAIN §4).

`returns` reads and knows no suite; whoever composes the two hands `return_judge(settings)` to it. A single odd line is
sorted out by reconciling; what stands here means that the file as a whole was written or read wrongly.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from certflow.checks import suites
from certflow.findings import Scope
from certflow.month import SHANGHAI
from certflow.reference import load_reference
from certflow.settings import Settings

if TYPE_CHECKING:
    from certflow.checks.judge import Breach

_SHOWN = 10
_DIGITS = re.compile("[0-9]{4}")
_HAN = re.compile("[\u3400-\u9fff]")


class Line(Protocol):
    """One returned row, as `certflow.returns` reads it."""

    @property
    def row_no(self) -> int:
        """As Excel shows it."""

    @property
    def management_no(self) -> str:
        """管理号."""

    @property
    def name(self) -> str:
        """姓名."""

    @property
    def id_number(self) -> str:
        """证件号码."""

    @property
    def serial(self) -> str:
        """证书编号 of the new print; empty when refused."""

    @property
    def printed_on(self) -> str:
        """``YYYYMMDD`` or empty."""


def return_judge(settings: Settings) -> Callable[[Sequence[Line]], list[str]]:
    """A judge of returns: gives what holds the file, in Chinese, free of values.

    ConfigurationError when the suite is broken.
    """
    rule_set = load_reference(settings).rule_set_of(None, settings.rule_set).name
    rules = [one for one in suites.load(settings, (suites.RETURN,)) if one.belongs_to(rule_set)]

    def judge_return(lines: Sequence[Line]) -> list[str]:
        from certflow.checks import frame, judge  # late: pandas and Great Expectations take seconds to import

        told: list[str] = []
        for scope, columns in ((Scope.FILE, _measure_file(lines)), (Scope.ROW, _measure_rows(lines))):
            chosen = [rule for rule in rules if rule.scope is scope]
            length = 1 if scope is Scope.FILE else len(lines)
            suites.require_columns(chosen, frozenset(columns))
            if not chosen or not length:
                continue
            wanted = {name for rule in chosen for name in rule.columns}
            told += [
                _told(breach, columns, lines if scope is Scope.ROW else ())
                for judgement in judge.judge(frame.build(columns, wanted, length), chosen)
                for breach in judgement.breaches
                if breach.rule.severity in ("error", "hold")
            ]
        return told

    return judge_return


def _measure_file(lines: Sequence[Line]) -> dict[str, Sequence[object]]:
    """Shares of lines whose columns hold what belongs elsewhere."""
    printed = [line for line in lines if line.serial]
    serials = Counter(line.serial for line in printed)
    wrong = {
        "管理号": sum(_HAN.search(line.management_no) is not None for line in lines),
        "姓名": sum(_DIGITS.search(line.name) is not None for line in lines),
        "证件号码": sum(_HAN.search(line.id_number) is not None for line in lines),
    }
    worst = max(wrong, key=lambda column: wrong[column])
    return {
        "lines": [len(lines)],
        "shift_share": [wrong[worst] / len(lines) if lines else None],
        "shift_share_detail": [worst],
        "serial_share": [sum(serials[line.serial] > 1 for line in printed) / len(printed) if printed else None],
        "number_share": [
            sum(line.serial == line.management_no for line in printed) / len(printed) if printed else None
        ],
    }


def _measure_rows(lines: Sequence[Line]) -> dict[str, Sequence[object]]:
    today = datetime.now(SHANGHAI).strftime("%Y%m%d")
    days = [line.printed_on or None for line in lines]
    return {
        "printed_past": [None if day is None else day <= today for day in days],
        "printed_year": [None if day is None else int(day[:4]) for day in days],
    }


def _told(breach: "Breach", columns: dict[str, Sequence[object]], lines: Sequence[Line]) -> str:
    rule = breach.rule
    message = rule.message.format_map({"detail": columns.get(f"{rule.column}_detail", [""])[0]})
    shown = "、".join(str(lines[line].row_no) for line in breach.lines[:_SHOWN]) if lines else ""
    more = f"等 {len(breach.lines)} 行" if len(breach.lines) > _SHOWN else "行"
    return f"{rule.code} {f'第 {shown} {more}：' if lines else ''}{message}"

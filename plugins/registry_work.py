"""Loading the certificate database as the DAG needs it: one file of the load folder, counts back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certflow.errors import ConfigurationError, SubmissionError

if TYPE_CHECKING:
    from workplace import Workplace


def load(place: Workplace, name: str, encoding: str) -> dict[str, int]:
    """Load ``load/<name>``; what was refused or looks odd stands in ``reports/registry/``."""
    from certflow.reports.load import load

    file = place.settings.path("load", name)
    if not name or not file.is_file():
        raise ConfigurationError("数据目录的 load/ 下没有表单所填的文件")
    loaded = load(place.settings, place.registry, place.actor, file, encoding=encoding)
    report = loaded.report
    return {
        "read": report.read,
        "inserted": report.inserted,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "refused": len(report.refused),
        "warned": sum(one.count for one in loaded.warnings),
    }


def confirm(loaded: dict[str, int]) -> dict[str, int]:
    """Fail the run when lines were refused, so that somebody looks."""
    if loaded["refused"]:
        raise SubmissionError(
            "ROWS-REFUSED", f"{loaded['refused']} 行被拒绝，行号与原因见 reports/registry/ 中最新的证书库检查"
        )
    return loaded

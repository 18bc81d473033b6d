"""Loading the certificate database as the DAG needs it: one file of the load folder, counts back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certflow.errors import ConfigurationError, SubmissionError

if TYPE_CHECKING:
    from workplace import Workplace


def load(place: Workplace, name: str, encoding: str) -> dict[str, int]:
    """Load ``load/<name>``; refused lines go with their reasons into ``reports/registry-load.txt``."""
    from certflow.registry.certificates import load

    file = place.settings.path("load", name)
    if not name or not file.is_file():
        raise ConfigurationError("数据目录的 load/ 下没有表单所填的文件")
    report = load(place.registry, place.actor, file, encoding=encoding)
    place.settings.reports.mkdir(parents=True, exist_ok=True)
    listing = "".join(f"第 {line} 行：{reason}\n" for line, reason in report.refused)
    (place.settings.reports / "registry-load.txt").write_text(listing, encoding="utf-8")
    return {
        "read": report.read,
        "inserted": report.inserted,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "refused": len(report.refused),
    }


def confirm(loaded: dict[str, int]) -> dict[str, int]:
    """Fail the run when lines were refused, so that somebody looks."""
    if loaded["refused"]:
        raise SubmissionError("ROWS-REFUSED", f"{loaded['refused']} 行被拒绝，行号与原因见 reports/registry-load.txt")
    return loaded

"""What the work amounts to, as metrics of Airflow's own (StatsD or OpenTelemetry); names in ``docs/metrics.md``.

Counts, bytes, ages and seconds; the one tag is a city's account. Airflow itself sends how long each task takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.observability import stats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from certflow.checks.run import CityReport
    from certflow.intake.pull import PullReport
    from certflow.registry.packages import Package
    from certflow.reports.messengers import Delivery
    from workplace import Workplace


def taken_in(place: Workplace, account: str, pulled: PullReport, judged: CityReport) -> None:
    """One city's turn: files and bytes that came, rows by outcome, findings by severity."""
    from certflow.registry import measures

    _count("files.received", len(pulled.new), account)
    _count("files.repeated", len(pulled.duplicates), account)
    with place.registry.read() as conn:
        _count("bytes.received", measures.size_of(conn, pulled.new), account)
        for severity, number in measures.findings_of(conn, judged.files).items():
            _count(f"findings.{severity}", number, account)
    for outcome, number in (judged.rows or {}).items():
        _count(f"rows.{outcome.lower()}", number, account)


def sent(package: Package) -> None:
    """One package that has arrived at the authority."""
    _count("packages.sent", 1)
    _count("rows.sent", package.row_count)
    _count("bytes.sent", sum(file.size for file in package.files))


def applied(counts: Mapping[str, int]) -> None:
    """One return of the authority: rows by bucket."""
    for bucket, number in counts.items():
        _count(f"returned.{bucket}", number)


def standing(place: Workplace, missing: Mapping[str, int]) -> None:
    """How much is open and how old the oldest of it is, in days: at the authority, and in the queue of holds."""
    from certflow.registry import measures

    with place.registry.read() as conn:
        held = measures.waiting(conn)
    for name, number in missing.items():
        stats.gauge(f"certflow.authority.{name}", number)
    stats.gauge("certflow.holds.open", held.holds)
    stats.gauge("certflow.holds.days", held.oldest_days)


def alarmed(alerts: int, deliveries: Sequence[Delivery]) -> None:
    """Alerts of today, and messages that could not be delivered."""
    stats.gauge("certflow.alerts.open", alerts)
    stats.gauge("certflow.alerts.undelivered", sum(one.state == "failed" for one in deliveries))


def _count(name: str, number: int, account: str = "") -> None:
    if number:
        stats.incr(f"certflow.{name}", number, tags={"city": account} if account else None)

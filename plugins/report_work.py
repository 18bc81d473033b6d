"""Reports as the DAG needs them: each function one use-case, with months and counts as its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import get_current_context

from run_form import MONTH_MOVED

if TYPE_CHECKING:
    from workplace import Workplace


def write_months(place: Workplace) -> list[str]:
    """Month report and scorecards of the form's month, else of the months whose change started this run."""
    from certflow.month import Month
    from certflow.reports import month as month_report
    from certflow.reports import scorecard

    context = get_current_context()
    named = {str(context["params"]["month"])} if context["params"].get("month") else set()
    for event in context["triggering_asset_events"].get(MONTH_MOVED, ()):
        named |= set(event.extra.get("months", ()))
    for one in sorted(named):
        month_report.write(place.settings, place.registry, Month.parse(one))
        scorecard.write_cards(place.settings, place.registry, one)
    return sorted(named)


def write_data_docs(place: Workplace) -> int:
    """Render the Data Docs from the value-free results of all checks; pages written."""
    from certflow.checks.run import render_quality

    return render_quality(place.settings)


def write_alerts(place: Workplace) -> int:
    """Today's messages about what is late, one per recipient; recipients."""
    import datetime as dt

    from certflow.reports import alerts

    now = dt.datetime.now(dt.UTC)
    return len(alerts.write(place.settings, alerts.due(place.settings, place.registry, now), now))


def export_audit_head(place: Workplace) -> int:
    """The head of the audit chain, signed, into the folder outside; its number, 0 where no folder is set."""
    import datetime as dt

    from certflow.registry import anchors

    folder = place.settings.audit_export
    made = anchors.export(place.settings, place.registry, folder, dt.datetime.now(dt.UTC)) if folder else None
    return made.seq if made else 0

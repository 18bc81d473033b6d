"""Reports as the DAG needs them: each function one use-case, with months and counts as its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import get_current_context

from certflow.errors import TransferError
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
    """Today's messages about what is late, one per recipient, written and sent to whoever has an address; recipients.

    TransferError when one could not be delivered: the next try delivers what is left, nothing twice.
    """
    import datetime as dt

    from certflow.reports import alerts, messengers
    from work_metrics import alarmed

    now = dt.datetime.now(dt.UTC)
    found = alerts.due(place.settings, place.registry, now)
    written = alerts.write(place.settings, found, now)
    deliveries = messengers.deliver(place.settings, written, now)
    alarmed(len(found), deliveries)
    if failed := [one for one in deliveries if one.state == "failed"]:
        reasons = "、".join(sorted({f"{one.way} {one.reason}" for one in failed}))
        raise TransferError(f"{len(failed)} 份提醒没有送出（{reasons}），稍后重试；内容在 reports/alerts 中")
    return len(written)


def export_audit_head(place: Workplace) -> int:
    """The head of the audit chain, signed, into the folder outside; its number, 0 where no folder is set."""
    import datetime as dt

    from certflow.registry import anchors

    folder = place.settings.audit_export
    made = anchors.export(place.settings, place.registry, folder, dt.datetime.now(dt.UTC)) if folder else None
    return made.seq if made else 0

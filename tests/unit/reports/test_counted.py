"""Figures that are remembered are the figures that are counted, whatever changed in between."""

import pytest
from sqlalchemy import text
from tests.simulated_years import Years

from certflow.registry import quality
from certflow.reports import appeals, history
from certflow.reports.counted import Counted

ACCOUNTS = ["370100", "370200", "370300"]
SPAN = ("202001", "202006")


def same(registry, counted):
    with registry.read() as conn:
        assert counted.between(conn, *SPAN) == (quality.city_months(conn, *SPAN), quality.causes(conn, *SPAN))


@pytest.fixture
def years(registry):
    made = Years(registry, ACCOUNTS)
    made.run("202001", 4, rows=6)
    return made


def test_rows_that_move_new_months_and_judged_appeals_are_seen_at_once(settings, registry, years, actor):
    counted = Counted()
    same(registry, counted)
    with registry.begin(actor) as conn:
        conn.execute(text("UPDATE rows SET state = 'ACCEPTED' WHERE state = 'HELD' AND record_id LIKE '%-202002-%'"))
    same(registry, counted)
    years.run("202005", 1, rows=6)
    same(registry, counted)
    with registry.read() as conn:
        error = conn.scalar(text("SELECT min(id) FROM findings WHERE severity = 'error' AND scope = 'row'"))
    filed = appeals.file_appeal(registry, error, by="某市", reason="数据库当时有误", actor=actor)
    appeals.decide(settings, registry, filed.id, upheld=True, by="钱二", reason="属实", actor=actor)
    same(registry, counted)


def test_a_month_that_did_not_change_is_not_counted_again(registry, years, actor, monkeypatch):
    counted, asked = Counted(), []
    with registry.read() as conn:
        counted.between(conn, *SPAN)
    count = quality.city_months
    monkeypatch.setattr(quality, "city_months", lambda conn, *span: asked.append(span) or count(conn, *span))
    with registry.read() as conn:
        counted.between(conn, *SPAN)
    with registry.begin(actor) as conn:
        conn.execute(text("UPDATE rows SET state = 'ACCEPTED' WHERE state = 'HELD' AND record_id LIKE '%-202003-%'"))
    with registry.read() as conn:
        counted.between(conn, *SPAN)
    assert asked == [("202003", "202003")]


def test_a_series_of_what_was_counted_is_the_history(registry, years):
    with registry.read() as conn:
        months, causes = Counted().between(conn, *SPAN)
    for by in ((), ("account",), ("exam_code",)):
        assert history.series(months, causes, by) == history.history(registry, *SPAN, by=by)

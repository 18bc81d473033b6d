"""The task that builds the packages of one exam, when the ledger has moved on since the freeze that named the exam."""

from small_month import Person, SmallMonth
from sqlalchemy import text

import month_work
from certflow.dispatch.freeze import freeze
from certflow.month import Month
from workplace import Workplace


def test_d24_an_exam_whose_last_row_is_contested_after_the_freeze_does_not_stop_the_month(settings, registry, actor):
    month = SmallMonth(settings, registry)
    month.submit([Person(1), Person(2)])
    (gone,) = month.submit([Person(3)], exam="901", account="370200")
    batch = freeze(registry, Month(2020, 5), actor)
    assert sorted(batch.exams) == ["034", "901"]
    with registry.begin(actor) as conn:
        conn.execute(text(f"UPDATE rows SET state = 'WITHDRAWN' WHERE id = {gone}"))
    place = Workplace(settings, registry, actor)
    assert [len(month_work.assemble(place, batch.id, exam)) for exam in sorted(batch.exams)] == [1, 0]

"""A return that a person has taken back stays so, whatever task of its run is cleared."""

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from returned import Authority, printed, sent
from small_month import Person, SmallMonth

import return_work
from certflow.errors import Conflict
from certflow.returns.undo import undo
from workplace import Workplace


def test_f33_a_cleared_task_does_not_apply_an_undone_return_again(settings, registry, actor, tmp_path):
    month = SmallMonth(settings, registry)
    ids = sent(settings, registry, actor, month, [Person(1)])
    number = Authority(settings, registry, actor, tmp_path).applied(printed(Person(1))).return_id
    undo(registry, number, by="李主任", reason="上级通知返回有误", actor=actor)
    place = Workplace(settings, registry, actor)
    with pytest.raises(AirflowSkipException, match="已撤销"):
        return_work.reconcile(place, number)
    with pytest.raises(Conflict, match="UNDONE"):
        return_work.apply(place, number)
    assert month.states(ids) == ["SENT"]

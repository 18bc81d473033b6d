"""A return that a person has taken back or dismissed stays so, whatever task of its run is cleared."""

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from returned import Authority, printed, sent
from small_month import Person, SmallMonth

import return_work
from certflow.errors import Conflict
from certflow.registry.reprints import find
from certflow.returns.reconcile import existing
from certflow.returns.undo import dismiss, undo
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


def test_f33_a_cleared_task_leaves_a_dismissed_return_dismissed(settings, registry, actor, tmp_path):
    sent(settings, registry, actor, SmallMonth(settings, registry), [Person(1)])
    number = Authority(settings, registry, actor, tmp_path).reconciled(printed(Person(99))).return_id
    place = Workplace(settings, registry, actor)
    with pytest.raises(Conflict, match="RETURN-FOREIGN"):
        return_work.reconcile(place, number)
    dismiss(registry, number, by="李主任", reason="不是本省的", actor=actor)
    with pytest.raises(AirflowSkipException, match="已决定不入账"):
        return_work.reconcile(place, number)
    with registry.read() as conn:
        assert existing(find(conn, number), number).state == "RETURNED"

"""The last intake before the freeze: it waits for whoever takes the city in already, and is never skipped."""

import pytest

import city_work
import month_work
from certflow.errors import Busy, TransferError


@pytest.fixture
def busy(monkeypatch):
    """How often the city is being taken in by somebody else; the accounts that were taken in at last."""
    turns, taken = [], []

    def take_in(_place, account):
        if turns:
            turns.pop()
            raise Busy("另一个运行正在处理")
        taken.append(account)
        return {"account": account}

    monkeypatch.setattr(city_work, "take_in", take_in)
    monkeypatch.setattr(month_work, "_PAUSE", 0.001)
    return turns, taken


def test_the_last_intake_waits_for_the_one_under_way(busy):
    turns, taken = busy
    turns += [1, 2, 3]
    assert month_work.final_pull(None, "370100") == {"account": "370100"}
    assert taken == ["370100"]


def test_it_is_tried_again_later_rather_than_skipped(busy, monkeypatch):
    busy[0].extend(range(10))
    monkeypatch.setattr(month_work, "_PATIENCE", 0.0)
    with pytest.raises(TransferError):
        month_work.final_pull(None, "370100")

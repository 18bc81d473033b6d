"""What `make bench-check` calls a loss."""

import json

import pytest
from tests.bench import compare, rounds

ACCEPTED = {"zip": {"against_usual": 20.0, "against_limit": 2.0}, "rules": {"against_usual": 4.0}}


@pytest.mark.parametrize(
    ("stage", "key", "value", "lost"),
    [
        ("zip", "against_usual", 17.1, False),
        ("zip", "against_usual", 16.9, True),
        ("zip", "against_usual", 90.0, False),
        ("zip", "against_limit", 2.34, False),
        ("zip", "against_limit", 2.36, True),
        ("zip", "against_limit", 0.5, False),
        ("rules", "against_usual", 3.3, True),
    ],
)
def test_a_ratio_may_lose_fifteen_percent(stage, key, value, lost):
    now = {name: dict(ratios) for name, ratios in ACCEPTED.items()}
    now[stage][key] = value
    found = compare.losses(ACCEPTED, now)
    assert bool(found) is lost
    assert all(stage in line for line in found)


def test_a_stage_that_was_not_measured_is_a_loss_and_a_new_one_is_none():
    assert compare.losses(ACCEPTED, {"zip": ACCEPTED["zip"], "new": {"against_usual": 1.0}}) == [
        "rules: against_usual was not measured"
    ]


def test_sides_take_turns_and_a_sample_counts_per_item(capsys):
    order = []
    sides = [
        rounds.Side(name, "", lambda name=name: order.append(name), items)
        for name, items in (("ours", 1), ("usual", 4))
    ]
    stage = rounds.race("sums", "sum", sides, rounds=2)
    assert order == ["ours", "usual"] * 3, "the first turn warms up"
    assert [(one.items, len(one.rounds)) for one in stage.took] == [(1, 2), (4, 2)]
    assert stage.against_limit is None
    assert "sums" in capsys.readouterr().out


def test_what_was_accepted_is_what_the_benchmark_measures():
    accepted = json.loads(compare.ACCEPTED.read_text(encoding="utf-8"))
    assert all(set(ratios) <= {"against_usual", "against_limit"} for ratios in accepted.values())
    assert {"photo check", "zip", "match", "reconcile update"} <= set(accepted)

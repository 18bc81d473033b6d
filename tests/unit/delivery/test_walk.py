"""Tracking lines move a certificate forward along its graph, whatever order, number and files they come in."""

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certflow.delivery.profile import Line
from certflow.delivery.states import STATES, TRACKED, WORDS
from certflow.delivery.walk import MOVES, walk
from certflow.registry.schema import TRANSITIONS

NOON = dt.datetime(2020, 9, 1, 12, tzinfo=dt.UTC)
ROUTE = ("COLLECTED", "UNDERWAY", "SIGNED")


def line(state, hour=0, waybill="W1", row=2, **texts):
    at = NOON + dt.timedelta(hours=hour) if state else None
    return Line(row, {"waybill": waybill, **texts}, state, at)


def apply(state, walked):
    for step in walked.steps:
        assert (state, step) in MOVES
        state = step
    return state


def test_every_state_has_one_word_and_the_graph_names_no_other():
    states = {state for move in TRANSITIONS["delivery"] for state in move} - {""}
    assert states == set(WORDS)
    assert len(STATES) == len(WORDS)


def test_lines_of_one_file_are_taken_in_the_order_they_happened():
    lines = [line(state, hour, row=hour + 2) for hour, state in enumerate(ROUTE)]
    assert walk("PUSHED", "W1", reversed(lines), set()).steps == ROUTE


def test_two_lines_of_one_moment_are_taken_in_the_order_of_the_graph():
    assert walk("PUSHED", "W1", [line("SIGNED"), line("UNDERWAY")], set()).steps == ("UNDERWAY", "SIGNED")


def test_what_was_told_before_counts_for_nothing():
    walked = walk("PUSHED", "W1", [line("COLLECTED"), line("COLLECTED")], {("W1", "COLLECTED", NOON)})
    assert (walked.steps, walked.events, walked.repeated) == ((), (), 2)


@pytest.mark.parametrize(
    ("now", "said", "effect"),
    [
        ("SIGNED", "UNDERWAY", "late"), ("SIGNED", "SIGNED", "late"), ("SIGNED", "RETURNED", "against"),
        ("RETURNED", "SIGNED", "against"), ("RETURNED", "COLLECTED", "late"), ("PICKUP", "SIGNED", "against"),
        ("HANDED", "RETURNED", "against"), ("WITHHELD", "UNDERWAY", "late"), ("PUSHED", "SIGNED", "moved"),
    ],
)  # fmt: skip
def test_a_line_moves_comes_late_or_contradicts(now, said, effect):
    walked = walk(now, "W1", [line(said)], set())
    assert [event.effect for event in walked.events] == [effect]
    assert bool(walked.steps) is (effect == "moved")


def test_another_system_may_leave_out_a_step():
    assert walk("PRINTED", "", [line("SIGNED", waybill="", management_no="1")], set()).steps == ("PUSHED", "SIGNED")
    assert walk("PRINTED", "", [line("HANDED", waybill="", management_no="1")], set()).steps == ("KEPT", "HANDED")
    assert walk("PICKUP", "", [line("SIGNED", waybill="", management_no="1")], set()).steps == ()


def test_a_waybill_that_is_not_its_own_any_more_moves_nothing():
    walked = walk("PUSHED", "W2", [line("SIGNED", waybill="W1")], set())
    assert (walked.steps, walked.waybill) == ((), "")
    assert walk("PUSHED", "", [line("UNDERWAY", waybill="W1", order="")], set()).waybill == ""


def test_an_order_gets_one_waybill():
    assert walk("PUSHED", "", [line("", order="E-1"), line("COLLECTED")], set()).waybill == "W1"
    for state in ("", "SIGNED"):
        walked = walk("PUSHED", "W1", [line(state, waybill="W2", order="E-1")], set())
        assert (walked.steps, walked.waybill, walked.events[0].effect) == ((), "", "against")


lines = st.lists(st.tuples(st.sampled_from(ROUTE), st.integers(0, 5)), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(lines, st.randoms(use_true_random=False), st.integers(1, 4))
def test_the_end_is_the_same_in_any_order_and_over_any_number_of_files(told, chance, files):
    """A route without contradiction ends at its furthest state, however it is shuffled, cut and repeated."""
    furthest = max((state for state, _ in told), key=TRACKED.index)
    told = [*told, *told]
    chance.shuffle(told)
    state, seen = "PUSHED", set()
    for part in (told[at::files] for at in range(files)):
        walked = walk(state, "W1", [line(one, hour) for one, hour in part], seen)
        state = apply(state, walked)
        seen |= {(event.waybill, event.state, event.happened_at) for event in walked.events}
        assert all(event.effect in ("moved", "late") for event in walked.events)
    assert state == furthest

"""Change-points and shares: small numbers are not news, clear jumps are told once."""

from hypothesis import given
from hypothesis import strategies as st

from certflow.reports.figures import Score, ranked, wilson
from certflow.reports.history import Point, change_points, fisher


def _points(*counts, requests=100):
    return [Point(f"2020{at:02d}", count, requests) for at, count in enumerate(counts, start=1)]


def _changes(points):
    return [one.change for one in change_points(points)]


def test_a_jump_is_told_once_and_its_end_too():
    assert _changes(_points(3, 2, 4, 3, 25, 24, 26, 27, 3)) == [0, 0, 0, 0, 1, 0, 0, 0, -1]


def test_what_chance_does_is_no_change():
    assert not any(_changes(_points(3, 5, 2, 4, 6, 1, 3, 5, 4, 2)))


def test_three_of_four_after_none_of_nine_is_not_yet_news_but_thirty_of_forty_is():
    assert not any(_changes([*_points(0, 0, 0, requests=3), Point("202004", 2, 4)]))
    assert _changes([*_points(0, 0, 0, requests=30), Point("202004", 30, 40)])[-1] == 1


def test_months_without_requests_are_passed_over():
    assert _changes([*_points(2, 2, 2), Point("202004", 0, 0), Point("202005", 40, 100)]) == [0, 0, 0, 0, 1]


def test_fisher_agrees_with_the_tea_of_the_lady():
    # R. A. Fisher 1935: 3 of 4 against 1 of 4, one tail 17/70.
    assert abs(fisher(3, 4, 1, 4) - 2 * 17 / 70) < 1e-12


@given(st.integers(1, 5000), st.data())
def test_wilson_holds_the_share(total, data):
    count = data.draw(st.integers(0, total))
    low, high = wilson(count, total)
    assert 0 <= low <= count / total <= high + 1e-12
    assert high <= 1


def _score(account, faulty, requests):
    return Score("2020", account, account, requests, faulty, 0, 0, 0, 1, 1, 1, 0, 0, ())


def test_equal_rates_share_a_rank_and_the_next_moves_back():
    found = ranked([_score("a", 1, 10), _score("b", 2, 20), _score("c", 0, 5), _score("d", 5, 10), _score("e", 0, 0)])
    assert found == {"c": 1, "a": 2, "b": 2, "d": 4}


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), max_size=16))
def test_ranks_follow_the_rates(pairs):
    scores = [_score(str(at), min(faulty, every), every) for at, (faulty, every) in enumerate(pairs)]
    ranks = ranked(scores)
    for one in scores:
        better = sum(other.faulty * one.requests < one.faulty * other.requests for other in scores)
        assert ranks[one.account] == 1 + better


def test_a_score_survives_being_kept():
    one = _score("a", 1, 10)
    assert Score.from_json(one.as_json()) == one

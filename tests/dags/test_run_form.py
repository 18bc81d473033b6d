"""Which month a run works on: from the form or the partition key, never from the clock."""

import pytest

from certflow.errors import ConfigurationError
from run_form import chosen, month_of


@pytest.mark.parametrize(
    ("form", "key", "month"),
    [("202005", None, "202005"), (None, "202005", "202005"), ("202005", "202005", "202005"), ("", "202012", "202012")],
)
def test_the_month_comes_from_form_or_key(form, key, month):
    assert month_of({"month": form}, key) == month


@pytest.mark.parametrize(
    ("form", "key"),
    [(None, None), ("", None), ("202005", "202006"), ("202013", None), ("２０２００５", None), (None, "2020-05")],
)
def test_anything_else_fails(form, key):
    with pytest.raises(ConfigurationError):
        month_of({"month": form}, key)


def test_a_form_without_the_field_needs_a_key():
    with pytest.raises(ConfigurationError):
        month_of({}, None)


def test_cities_are_sorted_so_that_map_indices_stay_the_same():
    assert chosen(["370200", "370100"], None) == ["370100", "370200"]


def test_one_city_can_be_chosen_and_an_unknown_one_is_refused():
    assert chosen(["370100", "370200"], "370200") == ["370200"]
    with pytest.raises(ConfigurationError):
        chosen(["370100"], "999999")

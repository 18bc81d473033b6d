"""What a reader in the jail hands over arrives as it was, and what an overrun one says is not believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certflow import jail
from certflow.book import Column, Grid, join
from certflow.errors import SubmissionError

TEXTS = st.lists(st.text(st.characters(), max_size=6), min_size=1, max_size=40)
FEW = ["男", "女", "", "男"] * 300
MANY = [str(number) for number in range(1200)]
LATE = ["一级"] * 1100 + MANY  # few at first sight


def handed_over(*columns, most=jail.TEXT):
    shapes, texts, numbers = jail._packed([Grid("表", 1, 2, [join(one) for one in columns])], most)
    return jail._unpacked(shapes, len(texts), memoryview(texts + numbers))


@pytest.mark.parametrize("texts", [FEW, MANY, LATE, [""], ["\0", "a"], ["\0"] * 3, ["a\0b", "a", "b", "a"] * 90])
def test_a_column_arrives_as_it_was(texts):
    check(texts)


@given(TEXTS)
def test_any_column_arrives_as_it_was(texts):
    check(texts)


def check(texts):
    [grid] = handed_over(texts, texts)
    assert grid == Grid("表", 1, 2, [join(texts)] * 2)
    for column in grid.columns:
        assert column.texts == [*column] == texts
        assert column.top(3) == texts[:3]
        assert column.size == sum(map(len, texts))
        assert column.kinds == "".join("t" if text else " " for text in texts)


def test_equal_texts_of_a_column_of_few_are_one_object():
    [grid] = handed_over(FEW)
    assert len({id(text) for text in grid.columns[0].texts}) == 3


@pytest.mark.parametrize("texts", [["x" * 100] * 11, ["x" * 100 + text for text in MANY[:11]]])
def test_e40_text_is_counted_cell_by_cell_however_often_it_comes_again(texts):
    with pytest.raises(SubmissionError, match="BOOK-LIMIT"):
        handed_over(texts, most=1_099)


@pytest.mark.parametrize("column", [
    [3, "\0", "t", 0],  # two texts for one cell
    [3, "\0", "tt", 3],  # more numbers than cells
    [3, "\0", "tx", 2],  # a kind nobody knows
    [1, "\0", "tt", 2],  # a number nobody knows
])  # fmt: skip
def test_an_answer_that_does_not_fit_together_is_not_believed(column):
    with pytest.raises(ValueError):  # noqa: PT011 (the caller says what it means)
        jail._unpacked([["表", 0, 0, [column]]], 3, memoryview(b"a\0b\0\1\1"))


def test_an_answer_that_stands_for_more_text_than_may_be_is_not_believed(monkeypatch):
    monkeypatch.setattr(jail, "TEXT", 5)
    with pytest.raises(ValueError):  # noqa: PT011 (as above)
        jail._unpacked([["表", 0, 0, [[3, "\0", "ttt", 3]]]], 3, memoryview(b"aaa\0\0\0"))
    assert Column("aaa", "\0", "ttt", bytes(3)).size == 9

"""The deadline clock: the month's last day in Shanghai, holidays and worked weekends included."""

import datetime as dt

import pytest

from certflow.desk.clock import clock
from certflow.month import SHANGHAI, Month
from certflow.reference import load_reference
from certflow.settings import Settings


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return load_reference(Settings(home=tmp_path_factory.mktemp("home")))


def at(*moment):
    return dt.datetime(*moment, tzinfo=SHANGHAI)


@pytest.mark.parametrize(
    ("month", "now", "words", "urgent"),
    [
        ("202005", at(2020, 5, 31, 23, 30), "还有 30 分钟，其中工作日 0 天", True),
        ("202005", at(2020, 5, 31, 20, 0), "还有 4 小时，其中工作日 0 天", True),
        ("202005", at(2020, 5, 6, 0, 0), "还有 26 天 0 小时，其中工作日 19 天", False),
        ("202005", at(2020, 6, 1, 0, 0), "已截止 0 天，之后收到的进入补报", False),
        ("202005", at(2020, 4, 29, 12, 0), "2 天后开始", False),
        ("202010", at(2020, 10, 1, 0, 0), "还有 31 天 0 小时，其中工作日 17 天", False),
    ],
)
def test_what_is_left_is_told_in_working_days(tables, month, now, words, urgent):
    found = clock(Month.parse(month), tables, now)
    assert (found.words, found.urgent) == (words, urgent)


def test_the_clock_reads_shanghai_wherever_the_moment_comes_from(tables):
    utc = dt.datetime(2020, 5, 31, 16, 0, tzinfo=dt.UTC)  # midnight in Shanghai
    assert clock(Month.parse("202005"), tables, utc).over


def test_the_picture_knows_holidays_and_worked_weekends(tables):
    days = clock(Month.parse("202005"), tables, at(2020, 5, 9, 8)).days
    assert (days[0].works, days[0].name) == (False, "劳动节")
    assert (days[8].works, days[8].name, days[8].today) == (True, "劳动节调休上班", True)
    assert [day.number for day in days if day.past] == list(range(1, 9))

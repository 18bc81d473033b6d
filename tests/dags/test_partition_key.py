"""The month that a scheduled month end works on comes from its partition key: the month before, Shanghai time."""

from datetime import UTC, datetime

import pytest


@pytest.mark.parametrize(
    ("run_at", "key"),
    [
        (datetime(2020, 5, 31, 18, 0, tzinfo=UTC), "202005"),  # 1 June 02:00 in Shanghai
        (datetime(2020, 12, 31, 18, 0, tzinfo=UTC), "202012"),  # over the end of the year
        (datetime(2024, 2, 29, 18, 0, tzinfo=UTC), "202402"),  # leap year
    ],
)
def test_the_run_of_the_first_names_the_month_before(run_at, key):
    import pendulum
    from airflow.timetables.trigger import CronPartitionTimetable

    timetable = CronPartitionTimetable("0 2 1 * *", timezone="Asia/Shanghai", run_offset=-1, key_format="%Y%m")
    assert timetable._get_partition_info(run_date=pendulum.instance(run_at))[1] == key

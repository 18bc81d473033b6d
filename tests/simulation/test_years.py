"""Months on end with sixteen cities, an authority that answers late, in part, twice and wrongly, and the post."""

import gc
import os
import random
import statistics
import time
from pathlib import Path

import pytest
from round_trip import ACCOUNTS, Province, province
from sqlalchemy import text

from certflow.registry import schema
from certflow.registry.upgrade import owner

LATE = 3
"""Months until the authority begins to answer."""
PHOTOS = 200
"""In the drawer the cities take photos from; one in twenty is a new one each month."""


def _resident() -> float:
    """Resident memory of this process in MB."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / (1 << 20)


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (nothing else is to be opened)


def _database(one: Province) -> tuple[float, int]:
    """Its size without dead lines in bytes, and how many lines all tables have."""
    with owner(one.settings).connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("VACUUM FULL"))
        lines = sum(int(conn.scalar(text(f"SELECT count(*) FROM {name}")) or 0) for name in schema.metadata.tables)
        return float(conn.scalar(text("SELECT pg_database_size(current_database())")) or 0), lines


def _handed_in(one: Province, draw: random.Random, rows: int, photos: list[bytes]) -> None:
    """Sixteen cities, what is held is decided, and a month that goes up; sometimes the worker dies over it."""
    for at in draw.sample(range(PHOTOS), PHOTOS // 20):
        photos[at] = draw.randbytes(15_000)
    for account in ACCOUNTS:
        states = draw.choices(("ACCEPTED", "HELD", "RETURNED"), (8, 1, 1), k=rows)
        one.upload(account, states, photos=draw.sample(photos, rows))
        if draw.random() < 0.2:
            one.upload_again()
        if draw.random() < 0.5:
            one.correct(draw.randrange(1_000), account)
    for _ in range(rows):
        one.decide(draw.randrange(1_000), draw.choice(("ACCEPTED", "RETURNED")))
    one.prepare("approve")
    one.send(draw.choice((0, 0, 4, 9, 12)))
    one.send()
    one.resolve()
    one.send()


def _taken(one: Province, draw: random.Random) -> None:
    """The newest returns, sometimes an old one again, sometimes one is taken back."""
    for file in one.files[-2:]:
        one.take(file)
    if one.files and draw.random() < 0.3:
        one.take(draw.choice(one.files))
    if draw.random() < 0.3:
        one.take_back(draw.randrange(1_000))


@pytest.mark.parametrize(
    ("months", "rows"),
    [pytest.param(3, 50, id="3-months"), pytest.param(24, 10, id="24-months", marks=pytest.mark.long)],
)
def test_f52_every_row_stays_in_one_state_and_no_month_costs_more_than_the_one_before(postgres, tmp_path, months, rows):
    draw = random.Random(months)
    photos = [draw.randbytes(15_000) for _ in range(PHOTOS)]
    late = LATE if months > LATE else 1
    seconds, memory, files, database = [], [], [], []
    with province(postgres, tmp_path) as one:
        for number in range(months + late):
            begun = time.process_time()
            if number < months:
                _handed_in(one, draw, rows, photos)
            if number >= late:
                told = one.month.plus(-late)
                for share in (0.6, 0.7):  # in part, and what was answered already once more
                    one.answer(draw, share, folder=f"{told}*")
            _taken(one, draw)
            for _ in ACCOUNTS[:4]:
                one.deliver(draw)
            one.month = one.month.plus(1)
            seconds.append(time.process_time() - begun)
            memory.append(_resident())
            files.append(_open_files())
            database.append(_database(one))
            one.check()
            one.examine()
        ends = [state for state, _, _ in one.ends.values()]
        delivered = {state for (state,) in one._sql("SELECT DISTINCT state FROM deliveries")}
    assert {"PRINTED", "REFUSED"} <= set(ends)
    assert months <= LATE or {"SIGNED", "HANDED", "KEPT"} <= delivered
    assert len(set(files[late:])) == 1, files
    if months > LATE:
        busy = seconds[late:months]  # from the first answer to the last upload
        third = len(busy) // 3
        assert statistics.median(busy[-third:]) < 1.5 * statistics.median(busy[:third]), seconds
        half = (late + months) // 2
        assert memory[months - 1] < 1.05 * memory[half], memory
        # What a line takes, its share of indexes and audit with it: no month leaves more behind than another.
        earlier, later = (
            (database[end][0] - database[begin][0]) / (database[end][1] - database[begin][1])
            for begin, end in ((late, half), (half, months - 1))
        )
        assert later < 1.05 * earlier, database

"""One city sends everything a city can send; the fifteen others notice nothing.

16 cities × 20 files, judged city by city in two workers, as the scheduler's mapped tasks are: once with sixteen sound
cities, once with the first one hostile.
"""

import json
import multiprocessing
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "cases"))

FILES = 20
WORKERS = 2


def sound(city: int, serial: int) -> tuple[str, bytes]:
    from kit import CITIES, Desk, book, zipped

    desk = Desk(serial * len(CITIES) + city)
    row = desk.person(photo=True)
    stem, rows = desk.stem(3), [row, desk.person(), desk.person(XB="?")]
    return f"{stem}.zip", zipped({f"{stem}.XLS": book(*rows), f"{stem}/{row['ZJHM']}.jpg": desk.picture()})


def hostile() -> list[tuple[str, bytes]]:
    """The worst of each family, 20 files."""
    import test_book_cases
    import test_zip_cases
    from kit import CITIES, Desk

    wanted = {"Z13", "Z14", "Z15", "Z17", "Z18", "Z22", "Z24", "Z28", "Z39", "Z49"}
    wanted |= {"E26", "E27", "E28", "E34", "E38", "E39", "E40", "E46", "E47", "E48"}
    cases = {case.case: case for case in (*test_zip_cases.CASES, *test_book_cases.CASES) if case.case in wanted}
    found = []
    for serial, case in enumerate(cases.values()):
        made = case.make(Desk(serial * len(CITIES)))
        found += [(f"{serial}.zip", data) for data in ([made] if isinstance(made, bytes) else made.values())]
    return found[:FILES]


def judge(folder: Path) -> tuple[float, list[str]]:
    """Judge one city's folder; seconds and verdicts. Runs in a worker."""
    from made_submissions import received

    from certflow.checks import frame, judge  # noqa: F401 (the import of the judge is not the city's time)
    from certflow.checks.run import check
    from certflow.reference import load_reference
    from certflow.settings import Settings

    settings = Settings(home=folder / "home")
    files = [received(path, path.read_bytes(), None) for path in sorted(folder.glob("*.zip"))]
    reference = load_reference(settings)
    began = time.perf_counter()
    judged = check(files, settings, reference, registry=None)
    took = time.perf_counter() - began
    return took, [json.dumps(one.as_json(rows=True, unmasked=True), ensure_ascii=False) for one in judged]


@pytest.mark.long
def test_fifteen_cities_are_judged_the_same_beside_a_hostile_one(tmp_path):
    from certflow.settings import Limits

    assert Limits().jail_cpu_seconds == 5
    folders = []
    for city in range(16):
        folders.append(tmp_path / f"{city:02d}")
        folders[-1].mkdir()
        for serial in range(FILES):
            name, data = sound(city, serial)
            (folders[-1] / name).write_bytes(data)
    bad = tmp_path / "hostile"
    bad.mkdir()
    for name, data in hostile():
        (bad / name).write_bytes(data)
    assert len(list(bad.iterdir())) == FILES
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(judge, folders[:WORKERS]))  # both workers have imported what they need
        before = list(pool.map(judge, folders))
        beside = list(pool.map(judge, [bad, *folders[1:]]))
    assert [verdicts for _, verdicts in beside[1:]] == [verdicts for _, verdicts in before[1:]]
    verdicts = [json.loads(line)["verdict"] for line in beside[0][1]]
    assert len(verdicts) >= FILES
    assert all(verdict in ("returned", "held", "accepted") for verdict in verdicts)
    slow, calm = (percentile([seconds for seconds, _ in runs[1:]]) for runs in (beside, before))
    print(f"95th percentile {calm:.2f} s alone, {slow:.2f} s beside the hostile city ({beside[0][0]:.2f} s itself)")
    assert slow <= 2 * calm


def percentile(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20, method="inclusive")[-1]

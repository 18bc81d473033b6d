"""Benchmark of intake with memory: ``python tests/bench/bench_intake.py``; prints a table, judges nothing.

Three loads, each in a process of its own: a submission of 1 000 rows with 1 000 photos, a workbook of 20 000 rows, and
the worst zip that is still accepted (close to every limit: produced bytes, ratio, entries).
"""

import multiprocessing
import random
import resource
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "cases")]

from kit import Desk  # noqa: E402 (the tests' own folders come first)
from made_submissions import Made, person, portrait, received  # noqa: E402
from made_zips import DEFLATED, Member, zip_bytes  # noqa: E402

from certflow.settings import Limits, Settings  # noqa: E402


def with_photos(folder: Path) -> object:
    made = Made()
    for serial in range(1, 1001):
        row = person(serial, photo=True)
        made.add(row, portrait(serial))
    return made.write(folder, None)


def long_workbook(folder: Path) -> object:
    made = Made()
    made.rows = [person(serial % 1000) | {"ZSGLH": f"2018090343{serial:08d}"} for serial in range(1, 20_001)]
    return made.write(folder, None)


def worst_zip(folder: Path) -> object:
    """A sound workbook beside members that produce nearly 4 GiB at nearly the highest ratio."""
    limits, desk = Limits(), Desk(0)
    noise = random.Random(1).randbytes(6_000)  # one such piece per MiB keeps the ratio below the limit
    whole = (noise + bytes((1 << 20) - len(noise))) * (limits.entry_bytes >> 20)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflate.compress(whole) + deflate.flush()
    assert len(whole) / len(packed) < limits.ratio
    count = limits.unpacked_bytes // limits.entry_bytes - 1
    crc = zlib.crc32(whole)
    members = [
        Member(f"说明/{number}.txt", b"", DEFLATED, packed=packed, size=len(whole), crc=crc) for number in range(count)
    ]
    data = zip_bytes(Member(f"{desk.stem()}.XLS", desk.book()), *members)
    return received(folder / f"{desk.stem()}.zip", data, None)


def measure(make: Callable[[Path], object]) -> tuple[float, float, int, int, str]:
    """Wall and CPU seconds, peak of this process and of its largest child in MB, and the verdict."""
    from certflow.checks import frame, judge  # noqa: F401 (their import is paid once per process, not per file)
    from certflow.checks.run import check
    from certflow.reference import load_reference

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = made_apart(make, folder)
        settings = Settings(home=folder / "home")
        reference = load_reference(settings)
        wall, cpu = time.perf_counter(), time.process_time()
        (judged, *_) = check([file], settings, reference, registry=None)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    own, child = (resource.getrusage(who).ru_maxrss >> 10 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return wall, cpu, own, child, judged.verdict.value


def made_apart(make: Callable[[Path], object], folder: Path) -> object:
    """The sample, by a process of its own: what making it takes is not measured."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(make, folder).result()


def main() -> None:
    """Measure all three and print them."""
    print(f"{'load':<34}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}{'child MB':>10}  verdict")
    for make in (with_photos, long_workbook, worst_zip):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            wall, cpu, own, child, verdict = pool.submit(measure, make).result()
        print(f"{make.__name__:<34}{wall:>8.2f}{cpu:>8.2f}{own:>9}{child:>10}  {verdict}", flush=True)


if __name__ == "__main__":
    main()

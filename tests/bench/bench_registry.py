"""The certificate database at its real size: ``python tests/bench/bench_registry.py [HOME] [--certificates N]``.

Load from a CSV file, refresh with a newer one (one certificate in a hundred changed), match 100 000 rows: wall, CPU,
memory of this process, CPU of the server. `bench_returns.py` has reconciling and undoing at the same size. 10 000 000
certificates take 7 GB below HOME (by default a temporary folder that is removed afterwards).
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

import rounds  # noqa: E402 (the tests' own folders come first)
from bench_stages import _cluster  # noqa: E402
from made_month import REGISTRY  # noqa: E402
from rounds import OURS, Stage, Took  # noqa: E402

from certflow.registry import certificates, open_registry  # noqa: E402
from certflow.registry import server as database  # noqa: E402
from certflow.registry.ledger import Actor  # noqa: E402
from certflow.settings import Settings  # noqa: E402

ACTOR = Actor("bench")


def write(path: Path, count: int, *, newer: bool) -> None:
    """A registry file; in the newer one each hundredth person has another specialty."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write(REGISTRY + "\n")
        for number in range(count):
            specialty = "市政公用工程" if newer and number % 100 == 0 else "建筑工程"
            stream.write(
                f"2018{number:015d},合成{number % 997},9{number:017d},外国人永久居留身份证,男,034,一级建造师,一级,"
                f"{specialty},199001,20180915,济南市,OLD{number},否\n"
            )


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("home", nargs="?", type=Path)
    asked.add_argument("--certificates", type=int, default=1_000_000)
    asked.add_argument("--rows", type=int, default=100_000)
    given = asked.parse_args()
    stages: list[Stage] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as spare:
        home = (given.home or Path(spare) / "home").absolute()
        home.mkdir(parents=True, exist_ok=True)
        settings, file = Settings(home=home), Path(spare) / "registry.csv"
        lease = database.hold(settings)
        pid = int((_cluster(settings) / "postmaster.pid").read_text().split("\n", 1)[0])

        def step(name: str, unit: int, work: Callable[[], object]) -> None:
            rounds._forget_peak()
            begun, used = time.perf_counter(), rounds.processor(pid)
            said = work()
            used, begun = rounds.processor(pid) - used, time.perf_counter() - begun
            took = Took(OURS, str(said), unit, used / unit, begun / unit, rounds.memory(), (used / unit,))
            stages.append(Stage(name, "certificate" if unit == given.certificates else "row", (took,)))
            print(f"{name:<10}{begun:>9.1f} s wall{used:>9.1f} s CPU{rounds.memory():>6} MB  {said}", flush=True)

        with open_registry(settings) as registry:

            def load() -> str:
                told = certificates.load(registry, ACTOR, file)
                return f"{told.inserted} new, {told.updated} changed, {len(told.refused)} refused"

            def match() -> str:
                every = max(1, given.certificates // given.rows)
                numbers = [f"2018{number * every:015d}" for number in range(given.rows)]
                with registry.read() as conn:
                    found = certificates.match(conn, numbers)["certificate_id"]
                return f"{sum(one is not None for one in found)} of {len(found)} found"

            for name, newer in (("load", False), ("refresh", True)):
                write(file, given.certificates, newer=newer)
                step(name, given.certificates, load)
            step("match", given.rows, match)
        lease.close()
        rounds.keep("registry", stages, certificates=given.certificates)
    return 0


if __name__ == "__main__":
    sys.exit(main())

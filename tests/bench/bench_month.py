"""A whole month through the use-cases, at several sizes: ``python tests/bench/bench_month.py``.

Pull → check → reply for 16 cities, freeze, assemble, send, fetch, reconcile, apply, against a real sshd where one is
installed; every row with a photo. A task is a process forked from one that has everything imported, as Airflow's
scheduler does it; the largest of them is the peak. Beside it the usual spelling end to end (`usual.month`), and the
sum of what the stages can come to at best on this machine: decode every photo, copy every package, move every zip
with OpenSSH, COPY every row in and out. The database is filled once and its folder copied for each size
(`--certificates 10000000`: 6 GB for the database, 6 GB for the copy at work); below `--home` the filled one and the
cities' zips stay for the next run. `--sizes 1000,10000,100000 --usual-up-to 100000` is the whole comparison,
`--cities 1 --sizes 60000 --usual-up-to 0` the largest city there can be.

The spellings take turns, `--rounds` times; the median counts. Prints CPU per row, growth, fixed share and peak memory
per size.
"""

import argparse
import csv
import dataclasses
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

import bench_returns  # noqa: E402 (the tests' own folders come first)
import made_month  # noqa: E402
import rounds  # noqa: E402
from bench_stages import _cluster, _server  # noqa: E402
from rounds import LIMIT, OURS, USUAL, Stage, Took  # noqa: E402

from certflow.registry import certificates, open_registry  # noqa: E402
from certflow.registry import server as database  # noqa: E402
from certflow.registry.ledger import Actor, Registry  # noqa: E402
from certflow.settings import Folders, Settings  # noqa: E402

ACTOR = Actor("bench")
NAMES = Folders()
CPU, WALL = 0, 1


def padded(base: Path, count: int) -> Path:
    """A home whose database has its real size, of people nobody asks about; stopped, to be copied for each month."""
    home = base / f"padded-{count}"
    if not (home / "filled").is_file():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        with open_registry(Settings(home=home)):
            bench_returns.fill(Settings(home=home), count)
        (home / "filled").touch()
    return home


def copied(source: Path, target: Path) -> Path:
    """A home like `source` for one month alone: whoever runs the server keeps its files."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True)
    return target


def lay_out(tree: Path, month: made_month.Month) -> None:
    """The cities' folders with their zips in 报送, and the authority's."""
    for account, path in month.zips.items():
        for name in (NAMES.inbox, NAMES.trial, NAMES.received, NAMES.replies, NAMES.proofs):
            (tree / account / name).mkdir(parents=True, exist_ok=True)
        os.link(path, tree / account / NAMES.inbox / path.name)
    for name in (NAMES.upward, NAMES.returned, NAMES.archive):
        (tree / name).mkdir(exist_ok=True)


def answers(path: Path, registry: Path) -> None:
    """What the authority returns: everything printed but one row in fifty."""
    with registry.open(encoding="utf-8", newline="") as source, path.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(bench_returns.HEADER)
        for number, one in enumerate(csv.DictReader(source)):
            end = ("", "退回", "照片不清晰", "") if number % 50 == 0 else (f"NEW{number:08d}", "已印制", "", "20200801")
            writer.writerow((one["ZSGLH"], one["KSXM"], one["ZJHM"], *end))


class Steps:
    """CPU and wall clock of each step, of everything that belongs to this process and to the database."""

    def __init__(self, server: int) -> None:
        self._server = server
        self.took: dict[str, tuple[float, float]] = {}

    def __call__(self, name: str, work, *args, **more):
        begun, used = time.perf_counter(), rounds.processor(self._server)
        result = work(*args, **more)
        cpu, wall = self.took.get(name, (0.0, 0.0))
        self.took[name] = (cpu + rounds.processor(self._server) - used, wall + time.perf_counter() - begun)
        return result


class Tasks:
    """Runs one task after the other, each in a process of its own with a registry of its own."""

    def __init__(self, settings: Settings, server: int) -> None:
        self._settings, self._server = settings, server
        self.took: dict[str, tuple[float, float]] = {}
        self.peak = 0
        """MB of the largest."""

    def __call__(self, work: Callable[[Steps, Registry], object]) -> object:
        whole = Steps(self._server)
        result, took, peak = whole("task", self._forked, work)
        self.peak = max(self.peak, peak)
        rest = tuple(whole.took["task"][what] - summed(took, what) for what in (CPU, WALL))
        for name, spent in {**took, "start": rest}.items():
            cpu, wall = self.took.get(name, (0.0, 0.0))
            self.took[name] = (cpu + spent[CPU], wall + spent[WALL])
        return result

    def _forked(self, work: Callable[[Steps, Registry], object]) -> tuple[object, dict, int]:
        forked = get_context("fork")
        receiver, sender = forked.Pipe(duplex=False)

        def run() -> None:
            step = Steps(self._server)
            with open_registry(self._settings) as registry:
                result = work(step, registry)
            sender.send((result, step.took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10))

        process = forked.Process(target=run)
        process.start()
        sender.close()
        told = receiver.recv()
        process.join()
        return told


def ours(settings: Settings, month: made_month.Month, tree: Path, pid: int) -> tuple[dict, int, str]:
    """Steps, peak of the largest task in MB, what came out; the imports are paid before."""
    import fontTools.ttLib.ttCollection  # noqa: F401 (what `preloaded` imports for the tasks, here as well)
    import python_calamine  # noqa: F401
    import simplejpeg  # noqa: F401
    import typst  # noqa: F401
    import xlsxwriter  # noqa: F401
    import xlwt  # noqa: F401

    from certflow import pdf
    from certflow.checks import frame, judge, run  # noqa: F401
    from certflow.checks.package import package_judge
    from certflow.checks.returned import return_judge
    from certflow.dispatch import approve, assemble, send
    from certflow.dispatch.freeze import freeze
    from certflow.intake import pull
    from certflow.month import Month
    from certflow.registry.packages import packages_of
    from certflow.returns import answers as replies
    from certflow.returns.apply import apply
    from certflow.returns.fetch import fetch
    from certflow.returns.reconcile import reconcile

    def city(account: str) -> Callable[[Steps, Registry], None]:
        def work(step: Steps, registry: Registry) -> None:
            step("pull", pull.pull, settings, registry, account, ACTOR)
            step("check", run.check_city, settings, registry, account, ACTOR)
            step("reply", pull.reply, settings, registry, account, ACTOR)

        return work

    def sent(step: Steps, registry: Registry) -> None:
        step("approve", approve.approve, registry, batch.id, "bench", ACTOR, settings=settings)
        with registry.read() as conn:
            ids = [one.id for one in packages_of(conn, batch.id)]
        for package in ids:
            assert step("send", send.send, settings, registry, package, ACTOR) == "SENT"

    def answered(step: Steps, registry: Registry) -> str:
        [back] = step("fetch", fetch, settings, registry, ACTOR)
        step("reconcile", reconcile, settings, registry, back, ACTOR, judge=return_judge(settings))
        counts = step("apply", apply, settings, registry, back, ACTOR).counts
        step("answers", replies.write, settings, registry)
        return f"{counts['printed']} printed, {counts['refused']} refused, {counts['extra']} unknown"

    pdf.know_fonts()
    run.prepare(settings)
    task = Tasks(settings, pid)
    for account in sorted(month.zips):
        task(city(account))
    batch = task(lambda step, registry: step("freeze", freeze, registry, Month.parse(made_month.MONTH), ACTOR))
    for exam in batch.exams:
        task(lambda step, registry, exam=exam: step(
            "assemble", assemble.assemble, settings, registry, batch.id, exam, ACTOR, judge=package_judge(settings)
        ))  # fmt: skip
    task(sent)
    answers(tree / NAMES.returned / "returned.csv", month.registry)
    said = task(answered)
    return task.took, task.peak, said


def theirs(settings: Settings, month: made_month.Month, tree: Path, pid: int) -> tuple[dict, int, str]:
    """The usual spelling of the same month."""
    import psycopg
    import usual

    step = Steps(pid)
    folder = settings.home / "usual"
    with psycopg.connect(database.url(settings, owner=True).replace("+psycopg", "")) as connection:
        sent = step("month", usual.month, settings, settings.city_sftp, folder, connection=connection)
        step("forms", usual.forms, folder, sent)
        answers(folder / "returned.csv", month.registry)
        step("return", usual.take_return, connection, folder / "returned.csv")
        step("lists", usual.lists, folder, folder / "returned.csv", sent)
    shutil.rmtree(folder)
    return step.took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, f"{sum(map(len, sent.values()))} sent"


def floor(settings: Settings, month: made_month.Month, tree: Path, pid: int) -> tuple[dict, int, str]:
    """What no spelling can save: the bytes through SFTP and disk, every photo decoded, every row in and out by COPY."""
    import zipfile

    import psycopg
    import simplejpeg

    from certflow import excel

    step = Steps(pid)
    folder = settings.home / "floor"
    folder.mkdir()
    remote, count = settings.city_sftp, 0

    def openssh(order: str) -> None:
        words = ["sftp", "-q", "-b", "-", "-c", "aes128-gcm@openssh.com", "-i", str(remote.key), "-P", str(remote.port),
                 "-o", f"UserKnownHostsFile={remote.known_hosts}", f"{remote.user}@{remote.host}"]  # fmt: skip
        subprocess.run(words, input=order.encode(), check=True, stdout=subprocess.DEVNULL)

    def decode(path: Path) -> list:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            for name in members:
                if name.endswith(".jpg"):
                    simplejpeg.decode_jpeg(archive.read(name), colorspace="RGB", strict=True)
            return excel.read_sheets(archive.read(next(one for one in members if one.endswith(".XLS"))))[0].texts[1:]

    with psycopg.connect(database.url(settings, owner=True).replace("+psycopg", "")) as connection:
        connection.execute("CREATE TEMP TABLE floor_rows (management_no text, id bigint, state text)")
        connection.execute("SET random_page_cost = 1.1")
        packed = []
        for account, path in sorted(month.zips.items()):
            if has_openssh():
                step("get", openssh, f'get "{tree}/{account}/{NAMES.received}/{path.name}" "{folder}/in.zip"\n')
            rows = step("decode", decode, path)
            count += len(rows)
            packed.append(path)

            def copied(rows=rows) -> None:
                with connection.cursor().copy("COPY floor_rows (management_no) FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row((row[0],))

            step("rows", copied)
        step("match", connection.execute, "UPDATE floor_rows f SET id = c.id FROM certificates c"
             " WHERE c.management_no = f.management_no")  # fmt: skip
        joined = folder / "package.zip"
        step("copy", subprocess.run, ["sh", "-c", 'cat "$@" > "$0"', str(joined), *map(str, packed)], check=True)
        if has_openssh():
            step("put", openssh, f'put "{joined}" "{tree}/{NAMES.upward}/floor.bin"\n')
            step("read back", openssh, f'get "{tree}/{NAMES.upward}/floor.bin" "{folder}/back.bin"\n')
            (tree / NAMES.upward / "floor.bin").unlink()
        step("update", connection.execute, "UPDATE floor_rows SET state = 'PRINTED'")
        connection.rollback()
    shutil.rmtree(folder)
    return step.took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, f"{count} rows"


def has_openssh() -> bool:
    """Whether the limit of the transfers can be measured here."""
    return shutil.which("sftp") is not None


def summed(steps: dict, what: int) -> float:
    """Seconds of all steps of a month."""
    return sum(one[what] for one in steps.values())


def one_size(
    base: Path, home: Path, rows: int, spellings: list[str], *, cities: int = 16
) -> dict[str, tuple[dict, int, str]]:
    """One month of `rows` rows in each spelling, each in a process of its own, on one server and database."""
    begun = time.perf_counter()
    month = made_month.make(base / f"month-{rows}", rows, cities=cities)
    print(f"{rows:>8} rows  made in {time.perf_counter() - begun:.0f} s", flush=True)
    found = {}
    with ExitStack() as stack:
        own = Settings(home=home)
        stack.callback(database.hold(own).close)
        pid = int((_cluster(own) / "postmaster.pid").read_text().split("\n", 1)[0])
        with open_registry(own) as registry:
            certificates.load(registry, ACTOR, month.registry)
        remote, tree, _ = stack.enter_context(_server(base / f"server-{rows}"))
        lay_out(tree, month)
        settings = dataclasses.replace(own, city_sftp=remote, authority_sftp=remote, look_seconds=0.0)
        for name in spellings:
            if name == USUAL:
                put_back(tree, month)
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                found[name] = pool.submit(SPELLINGS[name], settings, month, tree, pid).result()
            cpu, wall = summed(found[name][0], CPU), summed(found[name][0], WALL)
            print(f"{rows:>8} rows  {name:<6}{cpu / rows * 1e3:>9.2f} ms CPU a row{wall:>9.1f} s wall"
                  f"{found[name][1]:>7} MB  {found[name][2]}", flush=True)  # fmt: skip
            for step, (used, took) in found[name][0].items():
                print(f"{'':>22}{step:<12}{used / rows * 1e3:>8.3f} ms{took:>9.1f} s")
    return found


def put_back(tree: Path, month: made_month.Month) -> None:
    """The zips lie in 报送 again, for whoever comes next."""
    for account, path in month.zips.items():
        place = tree / account / NAMES.inbox / path.name
        if not place.exists():
            os.link(path, place)


SPELLINGS = {OURS: ours, USUAL: theirs, LIMIT: floor}


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--home", type=Path, help="where the database lies; by default a temporary folder")
    asked.add_argument("--sizes", default="1000,10000", help="rows, with commas (1000,10000,100000: 10 GB of disk)")
    asked.add_argument("--certificates", type=int, default=200_000)
    asked.add_argument("--cities", type=int, default=16, help="1: what the largest city takes, in memory above all")
    asked.add_argument("--rounds", type=int, default=1, help="whole months of each size; the middle one counts")
    asked.add_argument("--usual-up-to", type=int, default=10_000, help="largest size for the usual spelling")
    given = asked.parse_args()
    stages, growth = [], []
    with tempfile.TemporaryDirectory(prefix="bench-") as spare:
        base = given.home or Path(spare)
        begun = time.perf_counter()
        whole = padded(base.absolute(), given.certificates)
        print(f"{given.certificates:>8} certificates filled in {time.perf_counter() - begun:.0f} s", flush=True)
        for rows in map(int, given.sizes.split(",")):
            spellings = [OURS, LIMIT, *([USUAL] if rows <= given.usual_up_to else [])]
            rounds_of: dict[str, list[tuple[dict, int, str]]] = {name: [] for name in spellings}
            for _ in range(given.rounds):
                home = copied(whole, base.absolute() / f"home-{rows}")
                for name, one in one_size(base.absolute(), home, rows, spellings, cities=given.cities).items():
                    rounds_of[name].append(one)
                shutil.rmtree(base / f"server-{rows}")
                shutil.rmtree(home)
            took, middle = [], {}
            for name, found in rounds_of.items():
                found.sort(key=lambda one: summed(one[0], CPU))
                middle[name], _, said = found[len(found) // 2]
                cpus = tuple(summed(steps, CPU) / rows for steps, _, _ in found)
                took.append(Took(name, said, rows, summed(middle[name], CPU) / rows, summed(middle[name], WALL) / rows,
                                 max(peak for _, peak, _ in found), cpus))  # fmt: skip
            stages.append(Stage(f"month of {rows:,} rows", "row", tuple(took)))
            growth.append({"rows": rows, "steps": middle})
            if not given.home:
                shutil.rmtree(base / f"month-{rows}")
        print(rounds.HEAD)
        for stage in stages:
            print(rounds.line(stage))
        rounds.keep("month", stages, certificates=given.certificates, growth=growth, **told(stages))
    return 0


def told(stages: list[Stage]) -> dict[str, float]:
    """Growth per row and of memory over the last tenfold step, and the fixed CPU seconds by a straight line."""
    if len(stages) < 2:
        return {}
    (small, large) = (next(one for one in stage.took if one.side == OURS) for stage in stages[-2:])
    each = (large.cpu * large.items - small.cpu * small.items) / (large.items - small.items)
    fixed = max(0.0, small.cpu * small.items - each * small.items)
    found = {
        "time_growth": large.cpu / small.cpu - 1, "memory_growth": large.peak / small.peak - 1,
        "fixed_seconds": fixed, "fixed_share": fixed / (small.cpu * small.items),
    }  # fmt: skip
    print("  ".join(f"{name} {value:.3f}" for name, value in found.items()))
    return found


if __name__ == "__main__":
    sys.exit(main())

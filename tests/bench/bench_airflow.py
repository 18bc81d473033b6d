"""A month of 16 cities under the real scheduler, and its own share: ``python tests/bench/bench_airflow.py``.

Wall clock from the first trigger to the end of the last run (intake, month end, sending, reconciliation), less the
same use-cases one after another in one process (`bench_month.ours`). Airflow's start is told apart. Of each run it says
how long no task was running (the scheduler's turn) and what a task takes that does next to nothing; of each service,
the CPU it took meanwhile, which other work on the machine does not touch.
"""

import argparse
import datetime as dt
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

import bench_month  # noqa: E402 (the tests' own folders come first)
import made_month  # noqa: E402
import rounds  # noqa: E402
from bench_stages import _cluster  # noqa: E402
from real_airflow import Api  # noqa: E402
from rounds import OURS, Stage, Took  # noqa: E402

from certflow import stack  # noqa: E402
from certflow.demo.servers import addresses  # noqa: E402
from certflow.registry import certificates, open_registry  # noqa: E402
from certflow.registry.ledger import Actor  # noqa: E402
from certflow.settings import Settings  # noqa: E402


def scheduled(settings: Settings, month: made_month.Month) -> tuple[dict[str, float], dict[str, float]]:
    """Wall seconds of the start and of each run; CPU seconds of each service during the runs."""
    took: dict[str, float] = {}

    def timed(name: str, work) -> object:
        begun = time.perf_counter()
        result = work()
        took[name] = time.perf_counter() - begun
        print(f"{name:<24}{took[name]:>8.1f} s", flush=True)
        return result

    def ran(name: str, work) -> None:
        run, tasks = timed(name, work)
        assert run["state"] == "success", [(task["task_id"], task["state"]) for task in tasks]
        print("    " + where_it_went(run, tasks), flush=True)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        pages = timed("start", lambda: stack.up(settings, port=port, say=lambda _line: None))
        with open_registry(settings) as registry:
            certificates.load(registry, Actor("bench"), month.registry)
        cities, authority = addresses(settings.home)
        for account, path in month.zips.items():
            os.link(path, cities.tree / account / settings.folders.inbox / path.name)
        api = Api(pages)
        before = processors(settings)
        ran("submission_intake", lambda: api.run("submission_intake", {}))
        ran("month_end_prepare", lambda: api.run("month_end_prepare", {"month": made_month.MONTH}))
        ran("month_end_send", lambda: handed_over(api))
        bench_month.answers(authority.tree / settings.folders.returned / "returned.csv", month.registry)
        ran("reprint_reconciliation", lambda: api.run("reprint_reconciliation", {}))
        cpu = {name: seconds - before[name] for name, seconds in processors(settings).items()}
        print("CPU seconds: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in cpu.items()), flush=True)
    finally:
        stack.down(settings)
    return took, cpu


def where_it_went(run: dict, tasks: list[dict]) -> str:
    """How many tasks a run had, how long none of them was running, how long the quickest that did something took."""
    spans = sorted((moment(task["start_date"]), moment(task["end_date"])) for task in tasks if task["start_date"])
    nobody, last = 0.0, moment(run["queued_at"])
    for first, end in spans:
        nobody += max(first - last, 0.0)
        last = max(last, end)
    nobody += moment(run["end_date"]) - last
    quick = sorted(end - first for first, end in spans if end - first > 0.05)[:3]
    shown = ", ".join(f"{one:.2f}" for one in quick)
    return f"{len(spans)} tasks, none running for {nobody:.1f} s, the quickest {shown} s"


def moment(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()


def processors(settings: Settings) -> dict[str, float]:
    """CPU seconds so far of each service with all its children; the scheduler's are the tasks."""
    notes = settings.path("airflow", "run")
    pids = {name: json.loads((notes / f"{name}.json").read_text())["pid"] for name in (*stack.AIRFLOW, stack.SFTP)}
    pids["database"] = int((_cluster(settings) / "postmaster.pid").read_text().split("\n", 1)[0])
    return {name: rounds.family({pid}) for name, pid in pids.items()}


def handed_over(api: Api) -> object:
    """The sending that the preparation has started."""
    runs = "/api/v2/dags/month_end_send/dagRuns"
    api("PATCH", "/api/v2/dags/month_end_send", {"is_paused": False})
    [run, *_] = api.wait(runs, lambda answer: answer["dag_runs"])["dag_runs"]
    return api.end("month_end_send", run["dag_run_id"])


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rows", type=int, default=1_600)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as spare:
        base = Path(spare)
        month = made_month.make(base / "month", given.rows)
        home = base / "home"
        os.environ |= {"CERTFLOW_HOME": str(home), "CERTFLOW_LOOK_SECONDS": "0", "CERTFLOW_APPROVAL": "never"}
        took, cpu = scheduled(Settings.load(), month)
        shutil.rmtree(home, ignore_errors=True)
        found = bench_month.one_size(base, base / "alone", given.rows, [OURS])
    runs = sum(seconds for name, seconds in took.items() if name != "start")
    alone = sum(wall for _, wall in found[OURS][0].values())
    print(f"under Airflow {runs:.1f} s, in one process {alone:.1f} s: own share {runs - alone:.1f} s")
    sides = (Took(OURS, "under the scheduler", 1, 0.0, runs, 0, ()), Took("alone", "one process", 1, 0.0, alone, 0, ()))
    rounds.keep("airflow", [Stage("month of 16 cities", "month", sides)], rows=given.rows, steps=took,
                cpu=cpu, alone=alone, own_share=runs - alone)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())

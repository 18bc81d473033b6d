"""The whole demo as a user runs it, and what happens when everything of its month is run a second time."""

import json
import os
import secrets
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import celery_workers
import pytest
from rich.console import Console
from rich.progress import Progress
from sqlalchemy import text

from certflow.demo import leaks, run
from certflow.registry.doctor import examine
from certflow.registry.sealing import standing
from certflow.settings import Settings
from certflow.vault.keyring import key_id

pytestmark = pytest.mark.slow
ROWS, SEED = 3000, 7

COUNTS = """
SELECT 'row ' || state, count(*) FROM rows GROUP BY state
UNION ALL SELECT 'file ' || state, count(*) FROM files GROUP BY state
UNION ALL SELECT 'package ' || state, count(*) FROM packages GROUP BY state
UNION ALL SELECT 'transfer ' || event, count(*) FROM transfers GROUP BY event
UNION ALL SELECT 'moves', count(*) FROM moves
UNION ALL SELECT 'prints', count(*) FROM print_events
UNION ALL SELECT 'batches', count(*) FROM batches
UNION ALL SELECT 'returned lines', count(*) FROM return_rows
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    place = tmp_path_factory.mktemp("demo-home")
    certflow = Path(sys.executable).with_name("certflow")
    done = subprocess.run(
        [certflow, "demo", "run", "--rows", str(ROWS), "--seed", str(SEED)],
        env=os.environ | {"CERTFLOW_HOME": str(place)},
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return place


def test_every_planted_defect_is_found_and_nothing_sound_refused(home):
    summary = json.loads((home / "demo" / "summary.json").read_text(encoding="utf-8"))
    assert summary["cities"] == 16
    assert summary["defects"]["kinds"] >= 25
    assert summary["defects"]["found"] == summary["defects"]["planted"]
    assert (summary["defects"]["missed"], summary["defects"]["false_alarms"]) == ([], [])
    assert {package["exam"] for package in summary["packages"]} >= {"034", "901"}
    assert summary["sent"] == len(summary["packages"])
    assert summary["returns"]["printed"] > 0
    assert summary["delivery"]["handed"]
    assert summary["doctor"] == {"ok": True, "invariants": {f"I{number}": 0 for number in range(1, 13)}}
    for package in summary["packages"]:
        assert Path(package["file"]).is_file()


def test_f33_a_finished_month_run_again_sends_and_counts_nothing_twice(home):
    with Progress(console=Console(quiet=True)) as progress, ExitStack() as parts:
        told = run._Report(Console(quiet=True), progress)
        month = run._Month(run._own(Settings(home=home), home / "demo"), told, parts, ROWS, SEED)
        runner = month.start()
        authority = month.authority.address.tree

        def now():
            with month.registry.read() as conn:
                counts = dict(conn.execute(text(COUNTS)).all())
            return counts, sorted(path.relative_to(authority) for path in authority.rglob("*") if path.is_file())

        before = now()
        for dag_id, conf in (
            ("submission_intake", {}),
            ("month_end_prepare", {"month": "202005"}),
            ("month_end_send", {"month": "202005", "batch": 0}),
            ("reprint_reconciliation", {}),
        ):
            done = runner.run(dag_id, conf)
            assert done.ok, (dag_id, done.tasks)
            assert now() == before, dag_id
        assert {name: lines for name, lines in examine(month.registry, month.settings).items() if lines} == {}

        # The search that calls the month clean finds a leak where there is one.
        assert leaks.search(month.settings, month.registry) == []
        with month.registry.read() as conn:
            number = conn.scalar(text("SELECT id_number FROM rows ORDER BY md5(record_id) LIMIT 1"))
        log = month.settings.path("airflow", "planted.log")
        log.write_text(f"KeyError: '{number}.jpg'", encoding="utf-8")
        assert len(leaks.search(month.settings, month.registry)) == 1


@pytest.mark.long
def test_the_month_is_the_same_with_every_file_under_a_key(home, tmp_path):
    key = secrets.token_hex(32)
    assert run.run_demo(Settings(home=tmp_path, vault_key=key), ROWS, SEED) == 0, "every answer met, the doctor clean"
    assert set(standing(Settings(home=tmp_path / "demo", vault_key=key))) == {key_id(bytes.fromhex(key)).hex()}
    assert month_of(tmp_path) == month_of(home), "the same bytes arrived"


@pytest.mark.long
@pytest.mark.skipif(bool(celery_workers.missing()), reason=celery_workers.missing())
def test_the_month_is_the_same_on_two_workers_of_which_one_dies(home, tmp_path, monkeypatch):
    started = []

    class Workers(celery_workers.Workers):
        def __enter__(self):
            started.append(self)
            return super().__enter__()

    monkeypatch.setattr(run, "DagRunner", Workers)
    assert run.run_demo(Settings(home=tmp_path), ROWS, SEED) == 0, "every answer met, the doctor clean"

    [workers] = started
    assert workers.health == {
        "api-server": True, "scheduler": True, "dag-processor": True, "triggerer": False, "worker": True,
    }  # fmt: skip
    assert "airflow worker" in workers.killed_in, "it died with a task in its hands"
    assert workers.tries["submission_intake"] == 2, "which was tried once more"
    assert min(workers.done("one"), workers.done("two")) >= 1, "both had their share"
    assert month_of(tmp_path) == month_of(home), "the same bytes"


def month_of(home):
    """What a month came to, wherever its home lies: packages with their digests, rows, what was sent and returned."""
    summary = json.loads((home / "demo" / "summary.json").read_text(encoding="utf-8"))
    packages = [package | {"file": Path(package["file"]).name} for package in summary["packages"]]
    return packages, summary["rows"], summary["sent"], summary["returns"]

"""Every rule the demo plants a defect for is needed: switched off, the demo says which defect was missed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long
SUITES = Path(__file__).parents[2] / "expectations"
ROWS, SEED = 3000, 7
WALLED = ("DUP-", "FILE-DUPLICATE", "FILE-REPEATED", "BOOK-SECOND", "NAME-EXAM-UNKNOWN", "DB-NO-NUMBER")
"""Rules with a second wall behind them, which stops the month: the ledger takes no certificate twice (I3), an exam
without a code in the table is not packed, what has no 管理号 cannot be reconciled."""


def codes():
    """Every rule code that is judged, in order."""
    suites = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(SUITES.glob("*.json"))]
    return sorted({rule["meta"]["code"] for suite in suites for rule in suite["expectations"]})


def without(off, folder):
    """A copy of the suites with these rules switched off."""
    shutil.copytree(SUITES, folder)
    for path in folder.glob("*.json"):
        suite = json.loads(path.read_text(encoding="utf-8"))
        kept = [rule for rule in suite["expectations"] if rule["meta"]["code"] not in off]
        suite["expectations"] = kept or suite["expectations"][:1]  # a suite is never empty
        path.write_text(json.dumps(suite, ensure_ascii=False), encoding="utf-8")
    return folder


def demo_without(off, tmp_path):
    """Run the demo with these rules switched off; the finished process and the demo's folder."""
    home = tmp_path / "home"
    suites = without(off, tmp_path / "expectations")
    done = subprocess.run(
        [Path(sys.executable).with_name("certflow"), "demo", "run", "--rows", str(ROWS), "--seed", str(SEED)],
        env=os.environ | {"CERTFLOW_HOME": str(home), "CERTFLOW_EXPECTATIONS": str(suites)},
        capture_output=True, text=True, check=False, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-2000:]
    return done, home / "demo"


@pytest.mark.parametrize("half", [0, 1])
def test_each_rule_switched_off_makes_the_demo_fail_by_name(half, tmp_path):
    off = {code for code in codes()[half::2] if not code.startswith(WALLED)}
    _done, demo = demo_without(off, tmp_path)
    answers = json.loads((demo / "province" / "answers.json").read_text(encoding="utf-8"))
    missed = "\n".join(json.loads((demo / "summary.json").read_text(encoding="utf-8"))["defects"]["missed"])
    hit = [label["kind"] for label in answers["labels"] if label["rules"] and set(label["rules"]) <= off]
    assert len(hit) > 20
    assert [kind for kind in hit if kind not in missed] == []


def test_i3_without_the_duplicate_rules_the_ledger_still_refuses_two_open_requests(tmp_path):
    done, _demo = demo_without({code for code in codes() if code.startswith(WALLED)}, tmp_path)
    assert "submission_intake" in done.stdout + done.stderr

"""Ten minutes of coverage-guided fuzzing for each parser (``make long``); CERTFLOW_FUZZ_SECONDS changes the time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = int(os.environ.get("CERTFLOW_FUZZ_SECONDS", "600"))


@pytest.mark.long
@pytest.mark.parametrize("target", ["archive", "workbook", "photo"])
def test_no_input_makes_a_parser_crash_hang_or_eat(target, tmp_path):
    pytest.importorskip("atheris", reason="no wheel of the fuzzer for this system")
    harness = Path(__file__).with_name("harness.py")
    found = subprocess.run(
        [sys.executable, str(harness), target, str(SECONDS)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr[-4000:]
    assert not list(tmp_path.iterdir())

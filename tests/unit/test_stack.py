"""`certflow down` and processes: Airflow itself is in tests/e2e/test_real_scheduler.py."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import of_sessions

from certflow import stack

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes by /proc")

SERVICE = """
import os, signal, time
if not os.fork():
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("at work", flush=True)
time.sleep(600)
"""
"""A service whose task leads a process group of its own, as Airflow's do, and does not end when it is told to."""


@pytest.fixture
def service(settings, monkeypatch):
    """One that is noted as the scheduler, with its task at work."""
    monkeypatch.setattr(stack, "STOP_LIMIT", 1)
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE],
        env=os.environ | {"CERTFLOW_HOME": str(settings.home)},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    process.stdout.readline()
    stack._write(settings, "scheduler", process.pid)
    yield process
    for pid in of_sessions({process.pid}):
        os.kill(pid, signal.SIGKILL)
    process.communicate()


def test_down_ends_a_task_that_does_not_listen(settings, service):
    said = []
    stack.down(settings, say=said.append)
    service.wait(5)
    assert (of_sessions({service.pid}), said) == ([], ["已全部停止"])


def test_down_ends_a_task_whose_service_was_killed(settings, service):
    service.kill()
    service.wait()
    assert len(of_sessions({service.pid})) == 1
    stack.down(settings, say=lambda _line: None)
    assert of_sessions({service.pid}) == []


def test_down_leaves_processes_alone_that_have_only_an_old_number(settings, tmp_path, service):
    other = tmp_path / "other"
    note = stack._note_file(type(settings)(home=other), "scheduler")
    note.write_text(f'{{"pid": {service.pid}, "born": "1"}}', encoding="utf-8")
    said = []
    stack.down(type(settings)(home=other), say=said.append)
    service.kill()
    service.wait()
    stack.down(type(settings)(home=other), say=said.append)
    assert said == ["没有在运行"] * 2
    assert len(of_sessions({service.pid})) == 1, "the task"

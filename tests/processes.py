"""Processes that a test starts, kills one by one, and leaves none of behind."""

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path


class Processes:
    """Each leads a session of its own and writes ``<name>.log``; at the end whatever is left of the sessions is killed.

    A task of Airflow leads a process group of its own, and outlives the scheduler that forked it: it is found by its
    session.
    """

    def __init__(self, folder):
        self.log = folder
        self.log.mkdir(parents=True)
        self._processes = {}
        self._sessions = set()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        for pid in of_sessions(self._sessions):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self._processes.values():
            process.wait()

    def spawn(self, name, line, env):
        """Start a process; its log goes on where an earlier one of that name ended."""
        with (self.log / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                line, env=dict(env), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._processes[name] = process
        self._sessions.add(process.pid)

    def kill(self, name, *, alone=False):
        """SIGKILL for a process and all its children, or for itself alone; what the children were at."""
        process = self._processes[name]
        children = descendants(process.pid)
        working = " ".join(command(pid) for pid in children)
        for pid in (process.pid, *([] if alone else children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        return working

    def text(self, name):
        """What a process has said."""
        return (self.log / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def tail(self, name):
        """The last of it."""
        return self.text(name)[-3000:]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def command(pid):
    """A process's command line; "" when it has gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def of_sessions(sessions):
    """Every living process of these sessions."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
            if os.getsid(int(entry.name)) in sessions and state != "Z":
                found.append(int(entry.name))
    return found


def descendants(above):
    """Every process below this one."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
    found, todo = [], [above]
    while todo:
        parent = todo.pop()
        children = [pid for pid, other in parents.items() if other == parent]
        found += children
        todo += children
    return found

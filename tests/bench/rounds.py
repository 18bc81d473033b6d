"""Several spellings of one piece of work, side by side: rounds in turn, medians, CPU, wall clock and peak memory.

The machine's noise hits all sides of a round alike, so ratios of CPU time mean something where absolute times do not.
CPU of a side: this process with all its threads, its children and their children, and the database server where one
is given. Every run leaves one JSON file in ``var/bench/``.
"""

import contextlib
import gc
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HISTORY = Path(os.environ.get("CERTFLOW_HOME", "var")) / "bench"
OURS, USUAL, LIMIT = "ours", "usual", "limit"


@dataclass(frozen=True)
class Side:
    """One spelling of the work. `items`: how many of the stage's things one call does (a slow side takes a sample).

    `before` runs in front of each round and is not measured.
    """

    name: str
    spelling: str
    work: Callable[[], object]
    items: int
    before: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Took:
    """Medians of one side, seconds per item; peak of this process in MB while it ran."""

    side: str
    spelling: str
    items: int
    cpu: float
    wall: float
    peak: int
    rounds: tuple[float, ...] = field(repr=False)
    """CPU seconds per item, round by round."""


@dataclass(frozen=True)
class Stage:
    """One row of the table."""

    name: str
    unit: str
    took: tuple[Took, ...]
    note: str = ""

    def cpu(self, side: str) -> float | None:
        return next((one.cpu for one in self.took if one.side == side), None)

    @property
    def against_usual(self) -> float | None:
        """How many times less CPU than the usual spelling; larger is better."""
        usual = self.cpu(USUAL)
        return None if usual is None else usual / (self.cpu(OURS) or 1e-9)

    @property
    def against_limit(self) -> float | None:
        """How many times the CPU of the limit; 1 is the best there is."""
        limit = self.cpu(LIMIT)
        return None if limit is None else (self.cpu(OURS) or 0.0) / max(limit, 1e-9)


def race(
    name: str, unit: str, sides: Sequence[Side], *, rounds: int = 5, server: int | None = None,
    apart: int | None = None, note: str = "",
) -> Stage:  # fmt: skip
    """Run all sides in turn, `rounds` times; the first turn only warms up.

    `server`: process whose family counts too. `apart`: a child of this process whose family does not count. What was
    there before is kept from the collector of cycles: a stage takes as long behind others as alone.
    """
    gc.collect()
    gc.freeze()
    cpu: dict[str, list[float]] = {side.name: [] for side in sides}
    wall: dict[str, list[float]] = {side.name: [] for side in sides}
    peak: dict[str, int] = dict.fromkeys(cpu, 0)
    for turn in range(rounds + 1):
        for side in sides:
            side.before()
            _forget_peak()
            begun, used = time.perf_counter(), processor(server, apart)
            side.work()
            used, begun = processor(server, apart) - used, time.perf_counter() - begun
            peak[side.name] = max(peak[side.name], memory())
            if turn:
                cpu[side.name].append(used / side.items)
                wall[side.name].append(begun / side.items)
    took = tuple(
        Took(side.name, side.spelling, side.items, statistics.median(cpu[side.name]),
             statistics.median(wall[side.name]), peak[side.name], tuple(cpu[side.name]))
        for side in sides
    )  # fmt: skip
    gc.unfreeze()
    stage = Stage(name, unit, took, note)
    print(line(stage), flush=True)
    return stage


def processor(server: int | None = None, apart: int | None = None) -> float:
    """CPU seconds so far of this process, its family without that of `apart`, and of the family of `server`."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    living = family({os.getpid(), *([server] if server else [])}, apart)
    return time.process_time() + ended.ru_utime + ended.ru_stime + living


def family(roots: set[int], apart: int | None = None) -> float:
    """CPU seconds of all living descendants, what their ended children took included; of roots other than us too."""
    stats, parents = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                parents[int(entry.name)] = int(fields[1])
                stats[int(entry.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    found, todo = set(), list(roots)
    while todo:
        above = todo.pop()
        children = [pid for pid, parent in parents.items() if parent == above and pid != apart]
        found.update(children)
        todo += children
    return sum(stats[pid] for pid in (found | roots) - {os.getpid()} if pid in stats)


def memory() -> int:
    """Most memory of this process in MB since `_forget_peak`; since its start where the system cannot forget."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(one for one in lines if one.startswith("VmHWM")).split()[1]) >> 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


HEAD = f"{'stage':<28}{'ours':>10}{'usual':>10}{'limit':>10}{'× usual':>9}{'× limit':>9}{'peak MB':>9}  µs of CPU per"


def line(stage: Stage) -> str:
    micro = [stage.cpu(side) for side in (OURS, USUAL, LIMIT)]
    cells = "".join(f"{'–' if one is None else f'{one * 1e6:.1f}':>10}" for one in micro)
    ratios = "".join(f"{'–' if one is None else f'{one:.2f}':>9}" for one in (stage.against_usual, stage.against_limit))
    peak = next(one.peak for one in stage.took if one.side == OURS)
    return f"{stage.name:<28}{cells}{ratios}{peak:>9}  {stage.unit}" + (f" ({stage.note})" if stage.note else "")


def keep(bench: str, stages: Iterable[Stage], **more: object) -> Path:
    """Write a run down; the file."""
    told = [
        {
            "name": stage.name, "unit": stage.unit, "note": stage.note,
            "against_usual": stage.against_usual, "against_limit": stage.against_limit,
            "sides": [vars(one) for one in stage.took],
        }
        for stage in stages
    ]  # fmt: skip
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    HISTORY.mkdir(parents=True, exist_ok=True)
    file = HISTORY / f"{bench}-{at}.json"
    content = {"bench": bench, "at": at, "machine": machine, "stages": told, **more}
    file.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(f"kept as {file}")
    return file


def newest(bench: str) -> dict | None:
    """The last run that was kept."""
    files = sorted(HISTORY.glob(f"{bench}-*.json"))
    return json.loads(files[-1].read_text(encoding="utf-8")) if files else None

"""Write ``docs/performance.md`` and its pictures from the last benchmarks: ``python tests/bench/report.py``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from rounds import newest

from certflow.reports import charts

DOCS = Path(__file__).parents[2] / "docs"
TARGETS: dict[str, tuple[float | None, float | None]] = {
    "photo check": (3.4, 1.25),
    "sheet read, xls": (3.0, None),
    "sheet read, xlsx": (7.0, None),
    "zip": (20.0, 3.0),
    "SFTP get": (2.0, 2.5),
    "SFTP put": (1.4, 2.5),
    "match": (4.5, 1.3),
    "reconcile update": (20.0, 1.2),
    "month of 10,000 rows": (2.5, None),
    "month of 100,000 rows": (4.0, 1.5),
}
"""What was promised: at least so many times less CPU than usual, at most so many times the CPU of the limit."""
_SHORT = {
    "sheet read, xls": "xls read", "sheet read, xlsx": "xlsx read", "package write": "package",
    "zip, from a deflated zip": "zip, deflated", "reconcile update": "reconcile",
}  # fmt: skip
"""Names that have room beside a bar."""
_COLUMNS = "| | unit | ours, µs | usual, µs | limit, µs | × usual | × limit | peak MB | promised |"
HEAD = """# How fast it is

Written by `python tests/bench/report.py` from the last runs of the benchmarks; do not edit. How the work splits over
machines stands in [scale.md](scale.md).

## Method

* `make bench` measures side by side, in one run: **ours** (the production function itself, never a copy), the **usual**
  spelling (`tests/bench/usual.py`: pandas with openpyxl and xlrd, Pillow, zipfile, paramiko as it comes, SQL row by
  row) and the **limit** of the machine (decoding alone, `cp`, OpenSSH's `sftp`, SQL written by hand).
* The sides take turns, round by round; the table gives medians. Ratios are of CPU time (this process with its threads,
  its children, the database server), so other work on the machine hits all sides alike. Seconds of one machine say
  little about another; the ratios do. What earlier stages left in the process is kept from Python's collector of
  cycles, for all sides: each takes as long as in a process of its own.
* `make bench-check` compares these ratios with the accepted ones (`tests/bench/accepted.json`) and fails when one lost
  more than 15 %. Every run is kept in `var/bench/`.
* Over a whole month both make what the notice wants: the package, the paper forms of every city, the lists of what came
  back. What ours does besides, and the usual spelling does not: limits against hostile files, every measure and finding
  of the rules, digests of everything read and written, flushing to the disk, ledger, audit chain, receipts, the forms
  as PDF too, a page of every photo.
"""


def main() -> None:
    """Tables and pictures, in the order of a month."""
    runs = {name: newest(name) for name in ("stages", "month", "registry", "airflow")}
    parts = [HEAD]
    for name, write in (("stages", stages), ("month", months), ("registry", registry), ("airflow", airflow)):
        if (run := runs[name]) is not None:
            parts.append(write(run))
    (DOCS / "performance.md").write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def stages(run: dict) -> str:
    """One row per stage, and a picture of its share of the usual spelling."""
    rows = [
        (
            _SHORT.get(stage["name"], stage["name"]),
            1 / stage["against_usual"],
            f"{stage['against_usual']:.1f} times less",
            None,
        )
        for stage in run["stages"]
        if stage["against_usual"]
    ]
    _draw("performance-stages.svg", charts.bars(rows, line=None, title="CPU of each stage as a share of the usual"))
    facts = f"{run['rows']:,} rows, {run['certificates']:,} certificates, {_machine(run)}."
    return f"## Stage by stage\n\n{facts}\n\n{_table(run)}\n\n![share of the usual CPU](performance-stages.svg)\n"


def months(run: dict) -> str:
    """A month end to end at several sizes, and how its cost grows."""
    facts = f"{run['certificates']:,} certificates, every row with a photo, {_machine(run)}"
    tasks = "each task of ours a process forked from one that has everything imported, as Airflow has it"
    found = [f"## A whole month\n\n{facts}, {tasks}; the peak is that of the largest."]
    found += ["", _table(run), ""]
    if "time_growth" in run:
        small, large = (f"{one['rows']:,}" for one in run["growth"][-2:])
        found.append(
            f"From {small} to {large} rows the CPU per row changes by {run['time_growth']:+.0%} (promised: at most"
            f" +10 %), peak memory by {run['memory_growth']:+.0%} (promised: at most +20 %). Fixed costs are about"
            f" {run['fixed_seconds']:.1f} CPU seconds, {run['fixed_share']:.0%} of a month of {small} rows.\n"
        )
    each = {side: [_cpu(stage, side) for stage in run["stages"]] for side in ("ours", "usual")}
    most = max(value for values in each.values() for value in values if value is not None)
    lines = [[None if value is None else value / most for value in each[side]] for side in ("ours", "usual")]
    labels = [f"{one['rows']:,}" for one in run["growth"]]
    title = "CPU per row by size of the month, as a share of the largest"
    drawn = charts.trend(labels, lines[0], lines[1], names=("certflow", "usual"), title=title)
    _draw("performance-month.svg", drawn)
    found += ["![CPU per row](performance-month.svg)", "", "Milliseconds of CPU per row, step by step:", ""]
    steps = list(run["growth"][-1]["steps"]["ours"])
    found += ["| rows | " + " | ".join(steps) + " |", "|---|" + "---|" * len(steps)]
    for one in run["growth"]:
        mine = one["steps"]["ours"]
        cells = (f"{mine[step][0] / one['rows'] * 1e3:.2f}" if step in mine else "–" for step in steps)
        found.append(f"| {one['rows']:,} | " + " | ".join(cells) + " |")
    return "\n".join(found) + "\n"


def registry(run: dict) -> str:
    """Loading and asking the certificate database."""
    lines = [f"## The certificate database\n\n{run['certificates']:,} certificates, {_machine(run)}.", ""]
    lines += ["| step | items | µs of CPU each | wall s | peak MB | |", "|---|---|---|---|---|---|"]
    for stage in run["stages"]:
        [one] = stage["sides"]
        cells = (stage["name"], f"{one['items']:,}", f"{one['cpu'] * 1e6:.0f}", f"{one['wall'] * one['items']:.1f}",
                 str(one["peak"]), one["spelling"])  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def airflow(run: dict) -> str:
    """What the scheduler takes for itself."""
    steps = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in run["steps"].items())
    return (
        f"## Airflow's own share\n\n16 cities, {run['rows']:,} rows, {_machine(run)}: {steps}. The same in one process"
        f" takes {run['alone']:.0f} s of wall clock; the scheduler's own share is {run['own_share']:.0f} s"
        " (promised: below 60 s; its start is not part of it).\n"
    )


def _table(run: dict) -> str:
    lines = [_COLUMNS, "|---" * 9 + "|"]
    for stage in run["stages"]:
        micro = [_cpu(stage, side) for side in ("ours", "usual", "limit")]
        cells = [stage["name"], stage["unit"], *("–" if one is None else f"{one * 1e6:,.1f}" for one in micro)]
        ratios = (stage["against_usual"], stage["against_limit"])
        cells += ["–" if one is None else f"{one:.2f}" for one in ratios]
        cells += [str(next(one["peak"] for one in stage["sides"] if one["side"] == "ours"))]
        cells += [_verdict(ratios, TARGETS.get(stage["name"], (None, None)))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _verdict(measured: tuple[float | None, float | None], wanted: tuple[float | None, float | None]) -> str:
    """Each promise and whether it is kept."""
    told = []
    for value, bound, sign, kept in zip(
        measured, wanted, "≥≤", (lambda a, b: a >= b, lambda a, b: a <= b), strict=True
    ):
        if bound is not None:
            met = "not measured" if value is None else "met" if kept(value, bound) else "**not met**"
            told.append(f"{sign} {bound:g}: {met}")
    return "; ".join(told)


def _cpu(stage: dict, side: str) -> float | None:
    return next((one["cpu"] for one in stage["sides"] if one["side"] == side), None)


def _machine(run: dict) -> str:
    machine = run["machine"]
    return f"{machine['cpus']} cores, Python {machine['python']}, {run['at'][:8]}"


def _draw(name: str, svg: str) -> None:
    (DOCS / name).write_text(svg + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""The tables ``docs/cases.md`` and ``docs/faults.md``, from the tests: ``python tests/cases/table.py`` writes both.

A case is named by a `Case` in this folder or by a test function (``test_t14_a_file_from_2096_is_received_now``); a
parametrized value of another test names it in a comment (``# D05``).
"""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "cases.md"
FAULT_PAGE = PAGE.with_name("faults.md")
FAMILIES = {
    "Z": ("The zip", 50), "N": ("The file name", 14), "E": ("The workbook", 50), "P": ("The photos", 27),
    "T": ("Transfer", 18), "D": ("The rows", 40), "R": ("Returns", 9),
}  # fmt: skip
"""Letter → (what it is about, number of cases)."""
HEAD = """# Cases

What a city can send and what can break, how it must end, and the test that shows it. Generated from the tests by
`python tests/cases/table.py`; a test keeps the page in step. Verdicts are those of `certflow check --json`
(see [rules.md](rules.md) for the rule codes). What breaks on the way: [faults.md](faults.md).
"""
FAULT_HEAD = """# Faults

What breaks on the way, what must hold then, and the tests that break it. Generated from the tests by
`python tests/cases/table.py`; a test keeps the page in step. A line holds when the run it names is green: `make test`
(what the build server runs), `make long` (minutes to hours). Tests marked † need an OpenSSH server and are skipped where
none is installed.
"""
FAULTS = {
    1: ("cut at any byte of a download", "tried again; nothing of a part counts"),
    2: ("cut during an upload", "no part under a final name; one delivery"),
    3: ("cut between upload and rename", "one delivery"),
    4: ("cut after the rename, before its reply", "one delivery, found by looking first"),
    5: ("a reply that does not come", "a timeout and no double"),
    6: ("connections reset", "errors for now, then it arrives"),
    7: ("sshd killed in the middle of an upload", "no part under a final name; one delivery"),
    8: ("the far disk is full", "an error with its reason; nothing is SENT"),
    9: ("the far disk has room again", "it completes by itself"),
    10: ("no permission to write, rename or remove", "an alarm and no loop"),
    11: ("the same bytes lie under the final name", "taken as delivered"),
    12: ("other bytes lie under the final name", "a person is asked; nothing is overwritten"),
    13: ("a server that cannot rename over a file", "files come and go all the same"),
    14: ("another host key", "an alarm; not a byte is sent"),
    15: ("our key was taken away", "one try and an alarm"),
    16: ("the authority takes a file away within a millisecond", "one delivery"),
    17: ("taken away, reply lost, and no archive to look into", "UNKNOWN: a person decides, nothing is sent again"),
    18: ("half an upload by a city, standing still", "not picked up"),
    19: ("a city overwrites a file while we read", "read again; no version is lost"),
    20: ("a city deletes a file after we listed it", "no crash"),
    21: ("a name in GBK bytes beside good ones", "taken like the others, or reported; the others go on"),
    22: ("links and folders in the inbox", "refused, and the city is told once"),
    23: ("very many files in one inbox", "time and memory grow with their number, no faster"),
    24: ("our disk is full while a file is taken in", "a clean stop; the next run goes on"),
    25: ("the disk of the logs is full", "no send is half done"),
    26: ("killed before any commit, statement, flush or rename", "no violation, whatever the place"),
    27: ("killed at random, 200 times", "every package arrives once"),
    28: ("told to end, or marked failed in Airflow", "nothing half done; the next run goes on"),
    29: ("a workbook eats the memory of its reader", "the child dies, the file goes back, the parent stays small"),
    30: ("a workbook's reader never ends", "killed at its limit, the file goes back"),
    31: ("a sending process sleeps and wakes up late", "the second run wins, the first is refused by its token"),
    32: ("two runs of one month at once", "one delivers"),
    33: ("every task of a finished month run again", "nothing is sent or counted twice"),
    34: ("Airflow's scheduler killed and started again", "the run goes on; one delivery"),
    35: ("Airflow's API server does not answer for minutes", "tasks wait or try again; one delivery"),
    36: ("the database server killed", "what was committed is there; the rest was never there"),
    37: ("the database ends our session in the middle", "nothing or everything is saved; the next run goes on"),
    38: ("a deadlock", "tried again, a few times"),
    39: ("somebody holds a lock for long", "an error after the limit, nothing is saved"),
    40: ("the database's disk is full, or it only reads", "an error, nothing is marked"),
    41: ("many writers at once", "no update is lost, the chain has no fork"),
    42: ("the database of yesterday is restored", "nothing is sent before both sides were compared"),
    43: ("the clock is a day off; midnight at the month's end", "the month comes from the file, never from the clock"),
    44: ("a return comes before the send is recorded", "resolved, once"),
    45: ("a return comes twice; comes with a changed field", "counted once; a person is asked"),
    46: ("a return is cut off, then comes whole", "the first is refused, the second applied"),
    47: ("a bit flips in a package before it is sent", "its digest stops it"),
    48: ("a bit flips in the audit chain", "verification fails and names the link"),
    49: ("a manifest is altered on the way", "its signature does not fit"),
    50: ("whole collections of foreign files come as uploads", "no crash, no hang, every verdict of a listed rule"),
    51: (
        "all of the above, with people who can be recognised",
        "nobody's name, number or photo name in any log or trace",
    ),
    52: ("years of months, one after another", "a month costs no more time, memory or open files than the one before"),
}
"""Fault → (what breaks, what must hold): docs/faults.md."""
REMARKS = {
    8: "the full disk is mounted as root; elsewhere a limit on file sizes takes its place",
    34: "with Airflow's waiting shortened: a scheduler that died is looked for every 5 s, not every 300 s",
    35: "five minutes, with the waiting of tasks as in service",
    50: "one file of every kind that is installed; fetched collections are given to `tests/sweep/sweep.py` by hand",
    51: "the same in the real Airflow: `tests/e2e/test_real_scheduler.py`",
}
"""Where a test cannot do here all that the fault says."""
_NAMED = re.compile(r"(?<![a-z0-9])([znepdtfr])([0-9]{2})(?![0-9])")
_NOTED = re.compile(r"#.*?\b([ZNEPDTFR][0-9]{2}\b.*)")


@cache
def rows() -> dict[str, list[tuple[str, str, str]]]:
    """Case id → (what, outcome, test), in the order of the tests."""
    found: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        place = path.relative_to(TESTS.parent).as_posix()
        if path.parent == Path(__file__).parent:
            for case in getattr(import_module(path.stem), "CASES", ()):
                verdicts = [case.verdict] if isinstance(case.verdict, str) else case.verdict
                rules = f": {', '.join(case.rules)}" if case.rules else ""
                for name in case.case.split():
                    found[name].append((case.what, " + ".join(verdicts) + rules, f"`{place}`"))
        source = path.read_text(encoding="utf-8")
        for name, words, test in _functions(_tree(path)):
            found[name].append((words, "", f"`{place}::{test}`"))
        for noted in _NOTED.findall(source):
            for name in re.findall(r"\b[ZNEPDTFR][0-9]{2}\b", noted):
                if not any(place in test for *_, test in found[name]):
                    found[name].append(("", "", f"`{place}`"))
    return found


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _functions(tree: ast.AST) -> Iterator[tuple[str, str, str]]:
    for node in _tests(tree):
        names = [f"{letter}{digits}".upper() for letter, digits in _NAMED.findall(node.name.replace("_", " "))]
        if len(names) > 1 and " to " in node.name.replace("_", " "):
            names = [f"{names[0][0]}{at:02d}" for at in range(int(names[0][1:]), int(names[1][1:]) + 1)]
        words = _NAMED.sub("", node.name.removeprefix("test_").replace("_", " "))
        words = re.sub(r"^(?:\s|to )+", "", words)
        yield from ((name, words, node.name) for name in names)


def _tests(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node


def render() -> str:
    """The page of the cases."""
    found, lines = rows(), [HEAD]
    for letter, (title, count) in FAMILIES.items():
        lines += [f"## {letter}: {title}", "", "| case | what arrives | how it ends | test |", "|---|---|---|---|"]
        for number in range(1, count + 1):
            name = f"{letter}{number:02d}"
            for what, outcome, test in found.get(name, ()):
                cells = (name, *(re.sub(r"([|*_\\\\])", r"\\\\\1", text) for text in (what, outcome)), test)
                lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def render_faults() -> str:
    """The page of the faults."""
    found, lines = rows(), [FAULT_HEAD]
    lines += ["| fault | what breaks | what must hold | shown by | runs in |", "|---|---|---|---|---|"]
    for number, (broken, holds) in FAULTS.items():
        tests = [test for _, _, test in found.get(f"F{number:02d}", ())]
        marks = [_marks(*test.strip("`").partition("::")[::2]) for test in tests]
        shown = "<br>".join(
            f"{test}{' †' if 'openssh' in mark else ''}" for test, mark in zip(tests, marks, strict=True)
        )
        runs = sorted({run for mark in marks for run in mark - {"openssh"}}, key=("make test", "make long").index)
        where = "; ".join([", ".join(f"`{run}`" for run in runs), REMARKS.get(number, "")])
        lines.append(f"| F{number} | {broken} | {holds} | {shown} | {where.strip('; ')} |")
    return "\n".join(lines) + "\n"


def _marks(place: str, test: str) -> set[str]:
    """What runs a test (a whole file's, without a name), and "openssh" where it needs that."""
    tree = _tree(TESTS.parent / place)
    module = [
        ast.unparse(node) for node in tree.body if isinstance(node, ast.Assign) and "pytestmark" in ast.unparse(node)
    ]
    own = [ast.unparse(mark) for node in _tests(tree) if node.name == test for mark in node.decorator_list]
    every = " ".join([*module, *own])
    runs = {"make long"} if "mark.long" in every else {"make test"}
    if any("parametrize" in mark and "mark.long" in mark for mark in own):
        runs = {"make test", "make long"}  # a few in one, all in the other
    return runs | ({"openssh"} if "mark.openssh" in every else set())


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    PAGE.write_text(render(), encoding="utf-8")
    FAULT_PAGE.write_text(render_faults(), encoding="utf-8")

"""The case table ``docs/cases.md``, from the tests that name the cases: ``python tests/cases/table.py``.

A case is named by a `Case` in this folder or by a test function (``test_t14_a_file_from_2096_is_received_now``); a
parametrized value of another test names it in a comment (``# D05``).
"""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "cases.md"
FAMILIES = {
    "Z": ("The zip", 50), "N": ("The file name", 14), "E": ("The workbook", 50), "P": ("The photos", 27),
    "T": ("Transfer", 18), "D": ("The rows", 40), "F": ("Faults on the way", 52), "R": ("Returns", 9),
}  # fmt: skip
"""Letter → (what it is about, number of cases)."""
HEAD = """# Cases

What a city can send and what can break, how it must end, and the test that shows it. Generated from the tests by
`python tests/cases/table.py`; a test keeps the page in step. Verdicts are those of `certflow check --json`
(see [rules.md](rules.md) for the rule codes).
"""
_NAMED = re.compile(r"(?<![a-z0-9])([znepdtfr])([0-9]{2})(?![0-9])")
_NOTED = re.compile(r"#.*?\b([ZNEPDTFR][0-9]{2}\b.*)")


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
        for name, words, test in _functions(ast.parse(source)):
            found[name].append((words, "", f"`{place}::{test}`"))
        for noted in _NOTED.findall(source):
            for name in re.findall(r"\b[ZNEPDTFR][0-9]{2}\b", noted):
                if not any(place in test for *_, test in found[name]):
                    found[name].append(("", "", f"`{place}`"))
    return found


def _functions(tree: ast.AST) -> Iterator[tuple[str, str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            names = [f"{letter}{digits}".upper() for letter, digits in _NAMED.findall(node.name.replace("_", " "))]
            if len(names) > 1 and " to " in node.name.replace("_", " "):
                names = [f"{names[0][0]}{at:02d}" for at in range(int(names[0][1:]), int(names[1][1:]) + 1)]
            words = _NAMED.sub("", node.name.removeprefix("test_").replace("_", " "))
            words = re.sub(r"^(?:\s|to )+", "", words)
            yield from ((name, words, node.name) for name in names)


def render() -> str:
    """The page."""
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


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    PAGE.write_text(render(), encoding="utf-8")

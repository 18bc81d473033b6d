"""What the process that forks the tasks imports and makes at its start, so that each of them finds it there.

Sixteen cities would pay for it every five minutes: Great Expectations takes seconds to import and 0.1 s to be asked all
rules, what Airflow itself needs to read a DAG file a quarter of a second for the smallest task, and the fonts' tables
of characters 0.14 s.
"""

from __future__ import annotations

import ast
import importlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from certflow import pdf
from certflow.checks import run
from certflow.errors import CertflowError
from certflow.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

_AIRFLOW = (
    "airflow.dag_processing.dagbag",
    "airflow.providers.standard.decorators.branch_python",
    "airflow.providers.standard.decorators.python",
    "airflow.sdk.definitions.decorators.task_group",
    "airflow.version",
)
"""How a task reads its DAG file, and what stands behind ``@task`` there."""
_HEAVY = (
    "certflow.checks.judge",
    # What a city's sheet is read and its answers are written with; the program imports these where it uses them.
    "fontTools.ttLib.ttCollection",
    "python_calamine",
    "xlsxwriter",
    "simplejpeg",
    "typst",
    "xlwt",
)


def preload(dags: Path) -> None:
    """Import all of it: the libraries, and whatever the DAG files of this folder ask for, in functions too."""
    for name in (*_AIRFLOW, *_HEAVY):
        importlib.import_module(name)
    pdf.know_fonts()
    with suppress(CertflowError, KeyError):  # settings or suites that are broken: each task says so itself
        run.prepare(Settings.load())
    for name in sorted(asked_for(dags)):
        with suppress(ImportError):  # a file that cannot be read is shown on Airflow's page, and fails its own tasks
            importlib.import_module(name)


def asked_for(dags: Path) -> set[str]:
    """Modules that the DAG files import anywhere, and those that our modules beside this one import for them."""
    found: set[str] = set()
    todo = sorted(dags.glob("*.py"))
    while todo:
        for name in set(_imports(todo.pop())) - found:
            found.add(name)
            beside = Path(__file__).with_name(f"{name}.py")
            if beside.is_file():
                todo.append(beside)
    return found


def _imports(file: Path) -> Iterator[str]:
    with suppress(SyntaxError):
        nodes = [ast.parse(file.read_bytes())]
        while nodes:
            node = nodes.pop()
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                continue
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module
            nodes += ast.iter_child_nodes(node)

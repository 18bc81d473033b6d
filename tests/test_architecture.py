"""The house of DESIGN §1, read from the source: who may import whom, and where each heavy library may stand."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "include" / "certflow"
BASE = {
    "errors",
    "month",
    "findings",
    "settings",
    "logins",
    "passwords",
    "naming",
    "identity",
    "keys",
    "privacy",
    "reference",
    "zips",
    "sniff",
    "vault",
    "heap",
}
ADAPTERS = {
    "registry",
    "sftp",
    "excel",
    "book",
    "ole",
    "biff",
    "ooxml",
    "photo",
    "portrait",
    "likeness",
    "faces",
    "pdf",
    "signing",
    "originals",
    "jail",
    "lists",
    "forms",
    "webpages",
}
USE_CASES = {"intake", "checks", "dispatch", "returns", "acceptance", "proofs", "verify", "delivery", "reports"}
FACES = {"cli", "desk", "airflow_home", "stack", "demo"}
HOME = {
    "pandas": "checks.frame",
    "great_expectations": "checks.judge",
    "python_calamine": "excel",
    "openpyxl": "demo",
    "xlsxwriter": "excel",
    "xlwt": "excel",
    "PIL": "photo",
    "simplejpeg": "photo",
    "cv2": "faces",
    "paramiko": "sftp",
    "asyncssh": "sftp.bulk",
    "uvloop": "sftp.bulk",
    "typst": "pdf",
    "cryptography": ("signing", "vault.sealed"),
    "bcrypt": "passwords",
}
"""Heavy library → the only module, or modules, that may import it (`demo` excepted, it plays other people)."""
PRELOADED = {"python_calamine": "jail"}
"""Heavy library → the module that imports it once for the forks that then read with it."""
KEEPS_PEOPLE = {
    "originals", "zips", "excel", "forms", "intake", "checks", "dispatch", "returns", "proofs", "verify", "delivery",
    "desk",
}  # fmt: skip
"""Rooms that write and read files with personal data below the home."""
OPENING = {
    "open", "fdopen", "read_bytes", "write_bytes", "read_text", "write_text", "copyfile", "copy2", "TemporaryDirectory",
    "NamedTemporaryFile", "FileResponse",
}  # fmt: skip
OPENS_OTHERS = {
    "originals": "a lock, a folder to flush it, and what the last looks saw, as digests",
    "forms": "the operator's layout",
    "checks.city_page": "the page's template",
    "checks.feedback": "its own write_text goes through the vault",
    "checks.notices": "write_text of feedback",
    "checks.judge": "results without values",
    "checks.suites": "rules",
    "dispatch.assemble": "a folder to flush it",
    "dispatch.arrivals": "a scan that stays with its owner",
    "dispatch.restored": "audit heads; manifests on their way",
    "dispatch.verify_package": "runs alone, at the receiver's",
    "returns.profile": "profiles",
    "verify.operators": "logins",
    "delivery.bundle": "audit heads",
    "delivery.profile": "profiles",
    "delivery.verify_evidence": "runs alone, at the examiner's",
    "desk.cities": "reports, free of personal data",
    "desk.quality": "Data Docs, free of personal data",
    "desk.runbook": "the run book",
}
"""Modules of those rooms that open something else themselves → what."""
SQL = {"sqlalchemy", "psycopg", "alembic"}
HEAVY = {*HOME, *SQL, "numpy", "segno", "mplfonts"}
_SQL_VERB = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM)\b")


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, *, top_only: bool = False) -> Iterator[str]:
    """Every imported module of a tree; what stands under ``if TYPE_CHECKING`` does not count."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from (name for part in node.orelse for name in imports(part, top_only=top_only))
        elif top_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield str(node.module)
            if node.module and node.module.startswith("certflow"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            elif node.module == "certflow":
                yield from (f"certflow.{alias.name}" for alias in node.names)
        else:
            yield from imports(node, top_only=top_only)


def rooms(path: Path) -> set[str]:
    """Rooms of certflow that a module imports."""
    names = (name.split(".") for name in imports(ast.parse(path.read_text(encoding="utf-8"))))
    return {parts[1] for parts in names if parts[0] == "certflow" and len(parts) > 1}


def libraries(path: Path, *, top_only: bool = False) -> set[str]:
    found = imports(ast.parse(path.read_text(encoding="utf-8")), top_only=top_only)
    return {name.split(".")[0] for name in found}


def room(path: Path) -> str:
    return dotted(path).split(".")[0]


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_arrows_point_one_way(path):
    mine, seen = room(path), rooms(path) - {"__version__"}
    if mine in BASE:
        allowed = BASE
    elif mine in ADAPTERS:
        # The registry records submissions: it may know the values intake and the checks hand over.
        allowed = BASE | ADAPTERS | ({"intake", "checks"} if mine == "registry" else set())
    elif mine == "intake":
        allowed = BASE | ADAPTERS | {"intake"}
    elif mine == "checks":
        allowed = BASE | ADAPTERS | {"intake", "checks"}
    elif mine == "dispatch":
        allowed = BASE | ADAPTERS | {mine}
    elif mine == "returns":  # opens the authority's zips with the hands that open the cities'
        allowed = BASE | ADAPTERS | {mine, "intake"}
    else:
        allowed = BASE | ADAPTERS | USE_CASES | FACES
    assert seen <= allowed, f"{dotted(path)} may not import {sorted(seen - allowed)}"


def test_every_room_has_a_place_in_the_house():
    known = BASE | ADAPTERS | USE_CASES | FACES | {""}
    assert {room(path) for path in modules()} <= known


@pytest.mark.parametrize("library", HOME)
def test_a_heavy_library_is_imported_in_one_module(library):
    users = {dotted(path) for path in modules() if library in libraries(path) and room(path) != "demo"}
    homes = HOME[library] if isinstance(HOME[library], tuple) else (HOME[library],)
    assert users <= {*homes, PRELOADED.get(library, homes[0])}


def test_only_the_registry_speaks_sql():
    users = {dotted(path) for path in modules() if SQL & libraries(path) and room(path) != "demo"}
    assert all(user.split(".")[0] == "registry" for user in users), users


def test_sql_is_made_of_our_own_words():
    """Into the text of a statement go constants, or what a line says with its reason (S608); values are parameters."""
    found = []
    for path in modules():
        source = path.read_text(encoding="utf-8")
        lines = source.splitlines()
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.JoinedStr) or not _SQL_VERB.search(ast.unparse(node)):
                continue
            if any("noqa: S608 (" in line for line in lines[node.lineno - 1 : node.end_lineno + 1]):
                continue
            put_in = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
            if not all(isinstance(value, ast.Name) and value.id.isupper() for value in put_in):
                found.append(f"{dotted(path)}:{node.lineno}")
    assert not found


def test_no_archive_is_unpacked_by_name():
    """`extractall` writes where an archive says; ours are read entry by entry."""
    calls = (node for path in modules() for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    assert not [
        node.lineno for node in calls if isinstance(node, ast.Attribute) and node.attr in {"extract", "extractall"}
    ]


@pytest.mark.parametrize("path", [one for one in modules() if room(one) in KEEPS_PEOPLE], ids=dotted)
def test_files_with_personal_data_are_opened_by_the_vault_alone(path):
    """Who opens them himself reads ciphertext where files are sealed, and leaves plain text where he writes."""
    direct = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in OPENING:
            direct += [node.lineno] * (ast.unparse(node.func.value) != "vault")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OPENING:
            direct.append(node.lineno)
    assert not direct or dotted(path) in OPENS_OTHERS, f"{dotted(path)}:{direct} opens files past certflow.vault"
    assert direct or dotted(path) not in OPENS_OTHERS, "opens nothing itself any more"


def test_certflow_never_imports_airflow():
    assert not [dotted(path) for path in modules() if "airflow" in libraries(path)]


def test_nobody_imports_the_demo_but_the_faces():
    users = {dotted(path) for path in modules() if "demo" in rooms(path) and room(path) not in {"demo", "cli", "stack"}}
    assert not users


@pytest.mark.parametrize("path", sorted((ROOT / "dags").glob("*.py")), ids=lambda path: path.stem)
def test_a_dag_file_imports_nothing_heavy_and_stays_short(path):
    assert not HEAVY & libraries(path, top_only=True)
    seen = {name for name in imports(ast.parse(path.read_text(encoding="utf-8")), top_only=True) if "certflow" in name}
    assert all(name.startswith(("certflow.settings", "certflow.errors", "certflow.month")) for name in seen), seen
    assert len(path.read_text(encoding="utf-8").splitlines()) < 120


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").glob("*.py")), ids=lambda path: path.stem)
def test_a_plugin_imports_nothing_heavy_at_its_top(path):
    assert not HEAVY & libraries(path, top_only=True)

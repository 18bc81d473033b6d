"""Reference data: exams, cities, document types, spellings, rule sets (DOMAIN §8).

The tables that came with the program lie beside this file. The operator's own, once loaded, lie below the
home as numbered versions and replace a table as a whole::

    reference/exams/1.csv  2.csv  current      # `current` holds the file name of the version in force
"""

import functools
import os
import tempfile
from pathlib import Path
from typing import Any

from certflow.errors import ConfigurationError
from certflow.reference.model import ALL_LEVELS, DATED, City, Exam, IdType, Reference, RuleSet
from certflow.reference.tables import READERS
from certflow.settings import Settings

__all__ = [
    "ALL_LEVELS",
    "DATED",
    "TABLES",
    "City",
    "Exam",
    "IdType",
    "Reference",
    "RuleSet",
    "load_reference",
    "load_table",
]

TABLES = tuple(READERS)
"""Names of the tables that can be loaded."""
_SHIPPED = Path(__file__).parent
_File = tuple[str, Path, int, int]


def load_reference(settings: Settings) -> Reference:
    """All tables in force: the operator's where one was loaded, else the ones that came with the program.

    ConfigurationError when a loaded table was damaged since, or the chosen rule set does not exist.
    """
    return _loaded(settings.rule_set, tuple(_marked(table, _in_force(settings, table)) for table in TABLES))


@functools.lru_cache(maxsize=4)
def _loaded(rule_set: str, files: tuple[_File, ...]) -> Reference:
    """The tables of these files; asked for many times a page, and read again only when a file is another one."""
    tables: dict[str, Any] = {table: _read(table, file) for table, file, _, _ in files}
    if rule_set not in (DATED, *tables["rule_sets"]):
        message = f"没有规则集 {rule_set}；可选：{'、'.join((*tables['rule_sets'], DATED))}（CERTFLOW_RULE_SET）"
        raise ConfigurationError(message)
    return Reference(
        exams=tables["exams"],
        all_cities=tables["cities"],
        id_types=tables["id_types"],
        level_aliases=tables["level_aliases"],
        name_variants=tables["name_variants"],
        area_prefixes=tables["areas"],
        rule_sets=tables["rule_sets"],
        holidays=tables["holidays"],
    )


def load_table(settings: Settings, table: str, file: Path) -> int:
    """Validate a file and put it in force as the table's next version; gives the version's number.

    ConfigurationError names the line and the reason; nothing is half loaded, earlier versions stay.
    """
    if table not in READERS:
        message = f"没有名为 {table} 的表；可选：{'、'.join(TABLES)}"
        raise ConfigurationError(message)
    _read(table, file)
    folder = settings.path("reference", table)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    suffix = Path(READERS[table][0]).suffix
    data = file.read_bytes()
    number = max((int(path.stem) for path in folder.glob(f"*{suffix}") if path.stem.isdecimal()), default=0) + 1
    while not _written(folder / f"{number}{suffix}", data):
        number += 1
    _replace(folder / "current", f"{number}{suffix}\n".encode())
    return number


def _marked(table: str, file: Path) -> _File:
    """A file with its time of change (ns) and size; zeros where there is none, so that reading it says so."""
    try:
        found = file.stat()
    except OSError:
        return table, file, 0, 0
    return table, file, found.st_mtime_ns, found.st_size


def _in_force(settings: Settings, table: str) -> Path:
    current = settings.path("reference", table, "current")
    if current.exists():
        return current.with_name(current.read_text("utf-8").strip())
    return _SHIPPED / READERS[table][0]


def _read(table: str, file: Path) -> object:
    try:
        text = _decoded(file.read_bytes())
        return READERS[table][1](text)
    except OSError as error:
        message = f"{table} 表读不了：{error.strerror or '未知原因'}"
        raise ConfigurationError(message) from None
    except ConfigurationError as error:
        message = f"{table} 表，{error}"
        raise ConfigurationError(message) from None


def _decoded(data: bytes) -> str:
    """UTF-8, else GB18030: what Excel and WPS write as CSV on a Chinese Windows."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("gb18030")
    except UnicodeDecodeError:
        message = "文件既不是 UTF-8 也不是 GB18030 编码"
        raise ConfigurationError(message) from None


def _written(path: Path, data: bytes) -> bool:
    """Whether the version number was still free; two loads at once get two numbers."""
    try:
        with path.open("xb") as target:
            target.write(data)
    except FileExistsError:
        return False
    return True


def _replace(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".current-")
    with os.fdopen(handle, "wb") as target:
        target.write(data)
    Path(name).replace(path)

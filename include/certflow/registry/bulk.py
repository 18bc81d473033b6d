"""Many rows into a table by few statements with one parameter each."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Table, Text, bindparam, cast, column, func, literal_column, select
from sqlalchemy.dialects.postgresql import JSON, Insert, insert

STEP = 4_000
"""Rows of one statement: 18 000 at once, with their copies on the way, took 120 MB."""


def steps(values: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """So many rows at a time, each for one `insert_many`; no step is empty."""
    left = iter(values)
    while step := list(islice(left, STEP)):
        yield step


def insert_many(table: Table, values: Sequence[Mapping[str, Any]]) -> tuple[Insert, dict[str, str]]:
    """INSERT of these rows, at least one, all with the names of the first, and what it is executed with.

    They travel as a JSON document that PostgreSQL takes apart by the table's own types: to write and to read some
    ten thousand parameters took longer than the rows themselves. Bytes go into BYTEA columns. The document is no part
    of the statement: columns name their tables and these their columns, and nobody looks for cycles meanwhile.
    """
    names = list(values[0])
    document = json.dumps(values, ensure_ascii=False, separators=(",", ":"), default=_bytea)
    found = func.json_populate_recordset(
        literal_column(f"NULL::{table.name}"), cast(bindparam("rows", type_=Text), JSON)
    )
    columns = found.table_valued(*map(column, names)).c
    return insert(table).from_select(names, select(*(columns[name] for name in names))), {"rows": document}


def _bytea(value: object) -> str:
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    raise TypeError(type(value).__name__)

"""Frames: the measured columns as the judge reads them (the only import of pandas).

A column is tri-state: a value to judge, or None, "not applicable", over which every rule is silent. Truth values
become nullable booleans, numbers floats, everything else stays the Python object it is: no type is guessed (E43, E44).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

Columns = Mapping[str, Sequence[object]]
"""Column name → values, all of one length."""

INDEX = "record"
"""The column that names a line of a frame to the judge: its position, free of personal data."""


def build(columns: Columns, wanted: Iterable[str], length: int) -> pd.DataFrame:
    """The frame of the `wanted` columns, `length` lines; a column that was not measured is silent."""
    nothing: list[object] = [None] * length
    data = {name: _series(columns.get(name, nothing)) for name in sorted(set(wanted))}
    return pd.DataFrame({INDEX: pd.RangeIndex(length)} | data)


def _series(values: Sequence[object]) -> Any:  # noqa: ANN401 (a series of whatever was measured)
    sample = next((value for value in values if value is not None), None)
    if isinstance(sample, bool):
        return pd.Series(pd.array(list(values), dtype="boolean"))  # type: ignore[call-overload]
    if isinstance(sample, int | float):
        return pd.Series(list(values), dtype="float64")
    return pd.Series(list(values), dtype=object)

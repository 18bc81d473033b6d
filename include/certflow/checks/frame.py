"""Frames: the measured columns as the judge reads them (the only import of pandas).

A column is tri-state: a value to judge, or None, "not applicable", over which every rule is silent. Truth values
become nullable booleans, numbers floats, everything else categories of the Python objects they are: no type is guessed
(E43, E44).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
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
    given = np.array(values, dtype=object)
    if isinstance(sample, bool):
        absent = np.fromiter((value is None for value in values), dtype=np.bool_, count=len(values))
        return pd.Series(pd.arrays.BooleanArray(np.where(absent, False, given).astype(np.bool_), absent))
    if isinstance(sample, int | float):
        return pd.Series(given.astype(np.float64))
    if sample is None:
        return pd.Series(given)
    codes, texts = pd.factorize(given)
    return pd.Series(pd.Categorical.from_codes(codes, pd.Index(texts)))

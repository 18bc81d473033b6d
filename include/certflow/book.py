"""What a workbook holds beside the texts of its cells: the words `biff` and `ooxml` answer in.

Rows and columns are 1-based here, as Excel shows them.
"""

from dataclasses import dataclass, field

GRID_CELLS = 8_000_000
"""Largest rows × columns of one sheet a reader may lay out densely (about 250 MB in calamine; E27)."""


@dataclass(slots=True)
class SheetLook:
    """One sheet: where its content ends, and what hides in it."""

    name: str
    state: str = "visible"
    """visible | hidden | veryHidden"""
    kind: str = "worksheet"
    """worksheet | chart | macro | dialog"""
    last_row: int = 0
    last_column: int = 0
    hidden_rows: list[int] = field(default_factory=list)
    """Hidden, filtered away, or of height 0 (E23)."""
    hidden_columns: list[tuple[int, int]] = field(default_factory=list)
    merged: list[tuple[int, int, int, int]] = field(default_factory=list)
    """First row, first column, last row, last column (E18)."""
    formulas: list[tuple[int, int]] = field(default_factory=list)
    """Row and column of each formula (E34)."""
    errors: list[tuple[int, int]] = field(default_factory=list)
    """Row and column of each error value such as #N/A (E41)."""


@dataclass(slots=True)
class Look:
    """One workbook. `active` names what could act or reach out (E36, E37); empty when there is nothing."""

    format: str
    """xls | xlsx"""
    sheets: list[SheetLook] = field(default_factory=list)
    active: list[str] = field(default_factory=list)
    images: int = 0
    comments: int = 0
    date1904: bool = False

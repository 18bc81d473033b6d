"""What intake hands to the checks: one `Submission` per file × exam, measured but not judged.

Measures are plain values by column name. None means "not applicable": a rule over such a column is silent.
The suites in ``expectations/`` decide what a value means.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from certflow.naming import PackageName

Measures = dict[str, object]


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of an archive; nothing of it ever touches the file system under its own name."""

    ordinal: int
    name: str
    raw_name: bytes
    role: str
    """workbook | photo | junk | folder | other; archive only in `certflow.intake.nest`"""
    size: int
    """Bytes produced."""
    packed_size: int
    method: int
    """0 stored, 8 deflated."""
    data_offset: int
    """Where the entry's bytes begin in the archive."""
    crc32: int
    sha256: str | None = None
    measures: Measures = field(default_factory=dict)
    """Columns of the entry and photo frames (suites ``submission`` and ``photo``)."""

    @property
    def base_name(self) -> str:
        """The name without its folders."""
        return self.name.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Sheet:
    """The data sheet of a workbook, cell by cell as typed; fields by the notice's names."""

    row_numbers: list[int]
    """Row numbers as Excel shows them."""
    values: Mapping[str, list[str]]
    """Field → text per row; empty string for an empty cell."""
    kinds: Mapping[str, list[str]]
    """Field → cell type per row: text | number | date | bool | error | formula | empty."""
    hidden: frozenset[int] = frozenset()
    """Row numbers that are hidden or filtered away (E23)."""
    merged: frozenset[int] = frozenset()
    """Row numbers touched by a merged cell (E18)."""
    ignored: Mapping[int, str] = field(default_factory=dict)
    """Total and signature rows left out of `row_numbers`: number → what it is (E29)."""
    headings: Mapping[str, str] = field(default_factory=dict)
    """Field → its heading as sent, in the order of the columns as sent."""


@dataclass(frozen=True, slots=True)
class Received:
    """One file as it lies on disk, with what is known of where it came from."""

    path: Path
    name: str
    """The name the city gave it."""
    sha256: str
    size: int
    account: str | None = None
    """SFTP account that uploaded it; None for ``certflow check``."""
    file_id: int | None = None
    """Ledger id; None for ``certflow check``."""
    origin: Path | None = None
    """The city zip it lay in, where one level of zips in a zip is agreed (Z16)."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One exam of one city as sent: a workbook and its photos, from one archive or two."""

    files: tuple[Received, ...]
    """The archive(s); the first one names the submission in reports."""
    name: PackageName | None
    """Parsed from the workbook's (or folder's) name; None when no name parses."""
    stem: str
    """The name as sent, without extension."""
    workbook: Entry | None
    workbook_file: Received | None
    sheet: Sheet | None
    """None when the workbook could not be read; `measures` says why."""
    photos: tuple[tuple[Received, Entry], ...]
    measures: Measures
    """Columns of the file frame (suite ``submission`` and ``workbook``), `file_fault` and `book_fault` among them."""
    others: tuple[tuple[Received, Entry], ...] = ()
    """The remaining members (folders, junk, what nobody asked for). Every member of every archive stands in exactly
    one submission: as workbook, as photo or here, so that each gets its one outcome."""
    earlier_photos: tuple[tuple[Received, Entry], ...] = ()
    """Photos of earlier versions, or of another exam in the same archive, for rows that come without one; they are
    members of another submission."""
    earlier_book: tuple[Received, Entry] | None = None
    """The workbook that `sheet` was read from, where it was judged before its photos came (Z45): no member either."""


@dataclass(frozen=True, slots=True)
class Archive:
    """One received file after unpacking: its entries, or the reason why there are none."""

    received: Received
    entries: tuple[Entry, ...]
    measures: Measures

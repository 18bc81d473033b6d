"""What a corrected file changed against what the city had sent before for the same month and exam.

Rows that did not change are not judged again: they end as repeats of their first version (DUP-ROW). A 退回单 that
comes back corrected is such a file too: it holds only the rows that were sent back.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from certflow.checks.judged import Judged
from certflow.checks.measure_rows import clean
from certflow.findings import FIELDS

_CONTENT = tuple(name for name in FIELDS if name != "ZP")


@dataclass(frozen=True, slots=True)
class Changes:
    """One version against all before it; rows by their numbers as Excel shows them."""

    version: int
    same: tuple[int, ...]
    corrected: tuple[int, ...]
    added: tuple[int, ...]
    absent: int
    """Rows sent before that this version does not hold; they stay what they were."""


def compare(one: Judged, version: int, before: Iterable[Mapping[str, str]]) -> Changes | None:
    """The changes of a submission that will be this `version`; `before`: rows as sent earlier. None for the first."""
    if version < 2:
        return None
    known: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for sent in before:
        known[_key(sent)].add(_content(sent))
    same: list[int] = []
    corrected: list[int] = []
    added: list[int] = []
    for row in one.rows:
        earlier = known.get(_key(row.sent))
        kind = added if earlier is None else same if _content(row.sent) in earlier else corrected
        kind.append(row.row)
    absent = len(known.keys() - {_key(row.sent) for row in one.rows})
    return Changes(version, tuple(same), tuple(corrected), tuple(added), absent)


def words(changes: Changes) -> list[str]:
    """The changes as lines of a receipt."""
    lines = [f"版本：本月该考试的第 {changes.version} 版，与此前各版相比："]
    for title, numbers in (("未变", changes.same), ("更正", changes.corrected), ("新增", changes.added)):
        lines.append(f"  {title} {len(numbers)} 行{_listed(numbers) if title != '未变' else ''}")
    if changes.absent:
        lines.append(f"  此前报送、本版没有的 {changes.absent} 行保持原处理结果")
    return lines


def _listed(numbers: Sequence[int]) -> str:
    return f"（第 {'、'.join(map(str, numbers))} 行）" if numbers else ""


def _key(sent: Mapping[str, str]) -> str:
    """管理号; where a row has none, the person."""
    return clean("ZSGLH", sent.get("ZSGLH", "")) or clean("ZJHM", sent.get("ZJHM", ""))


def _content(sent: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(clean(name, sent.get(name, "")) for name in _CONTENT)

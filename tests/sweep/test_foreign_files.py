"""Files of strangers, whatever lies on this machine, each in the three ways a file arrives."""

import sys
from pathlib import Path

import pytest
import sweep

KINDS = 72
"""Kinds of files, by suffix."""


def installed(root: Path) -> list[Path]:
    """One file of every kind below a folder."""
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in found and path.is_file() and 0 < path.stat().st_size < 2 << 20:
            found[path.suffix.lower()] = path
    return list(found.values())[:KINDS]


@pytest.mark.long
def test_f50_no_foreign_file_crashes_hangs_or_ends_untyped(tmp_path, capsys):
    for number, path in enumerate(installed(Path(sys.prefix))):
        (tmp_path / f"{number:03d}{path.suffix}").write_bytes(path.read_bytes())
    assert len(list(tmp_path.iterdir())) > KINDS // 2
    ended = sweep.main([str(tmp_path)])
    print(capsys.readouterr().out)
    assert ended == 0

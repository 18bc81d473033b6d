"""A zip of zips, where the province has agreed to take one: city zip → exam zips, exactly one level (Z16).

Each inner zip becomes a received file of its own, as if the city had sent it alone: its own receipt, its own verdict,
the same digest when it is sent again. Anything deeper, or anything else beside, is left as it is and returned whole.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from certflow import vault
from certflow.intake import archive
from certflow.intake.submission import Received
from certflow.settings import Settings


def expand(files: Sequence[Received], settings: Settings, shelf: Path) -> list[Received]:
    """The files, a zip of zips replaced by what it holds; inner zips are written to `shelf` under their digests."""
    return [inner for file in files for inner in open_nest(file, settings, shelf) or [file]]


def open_nest(outer: Received, settings: Settings, shelf: Path) -> list[Received]:
    """The exam zips in a city zip; none when it is no such thing, or nothing was agreed."""
    if settings.nested_zip == "refuse":
        return []
    whole = archive.unpack(outer, settings.limits, nest=True)
    inner = [entry for entry in whole.entries if entry.role == "archive"]
    if not inner or any(entry.role not in ("archive", "folder", "junk") for entry in whole.entries):
        return []
    found = []
    for entry in inner:
        data = archive.read_entry(outer, entry)
        digest = hashlib.sha256(data).hexdigest()
        path = shelf / digest[:2] / f"{digest}.bin"
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            with vault.create(part) as stream:
                stream.write(data)
            part.replace(path)
        found.append(Received(path, entry.base_name, digest, len(data), outer.account, outer.file_id, outer.path))
    return found

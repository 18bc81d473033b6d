"""Drop folders: files that people and devices leave for us, taken only when nobody is writing them any more."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from certflow import vault


def files_below(folder: Path) -> Iterator[Path]:
    """Plain files below a folder, in a fixed order; links are not followed."""
    for root, names, files in os.walk(folder):
        names.sort()
        for name in sorted(files):
            path = Path(root, name)
            if not path.is_symlink() and path.is_file():
                yield path


def quiet(path: Path, seconds: float) -> bool:
    """Whether a file has not been written to for so long; one that lies in the future counts as old enough."""
    age = time.time() - path.stat().st_mtime
    return age >= seconds or age < -seconds


def take_away(path: Path, digest: str) -> None:
    """Remove a file whose bytes (SHA-256) are in the store; one written anew since stays for the next round."""
    if vault.sha256(path) == digest:
        path.unlink()

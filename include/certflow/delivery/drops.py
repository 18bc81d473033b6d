"""Drop folders: files that people and devices leave for us, taken only when nobody is writing them any more."""

import os
import time
from pathlib import Path

from certflow import vault
from certflow.naming import JUNK_FILES


def files_below(folder: Path, seconds: float = 0.0) -> tuple[list[Path], int]:
    """Plain files below a folder that nobody wrote to for so long, in a fixed order, and how many we may not read.

    Links are not followed, what a desktop leaves in a folder is passed over, and a folder that we may not read
    counts as one more. A file that lies in the future is old enough.
    """
    found: list[Path] = []
    closed: list[object] = []
    for root, names, files in os.walk(folder, onerror=closed.append):
        names.sort()
        for name in sorted(name for name in files if name.lower() not in JUNK_FILES):
            path = Path(root, name)
            try:
                age = time.time() - path.lstat().st_mtime
            except FileNotFoundError:  # a device took it away meanwhile
                continue
            if path.is_symlink() or not path.is_file():
                continue
            if not os.access(path, os.R_OK):
                closed.append(path)
            elif age >= seconds or age < -seconds:
                found.append(path)
    return found, len(closed)


def take_away(path: Path, digest: str) -> None:
    """Remove a file whose bytes (SHA-256) are in the store; one written anew since stays for the next round."""
    if vault.sha256(path) == digest:
        path.unlink()

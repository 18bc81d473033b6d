"""A whole home under the present key: what is plain is sealed, what is under an earlier key is brought under this one.

Runs beside the daily work and may be killed and run again at any time: each file is done by itself (`vault.seal`).
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from certflow import vault
from certflow.errors import ConfigurationError, SealBroken
from certflow.registry.ledger import Actor, Registry, note
from certflow.registry.premises import SETTLED
from certflow.settings import Settings

DAMAGED = "damaged"
_DRAFT = "seal-"


@dataclass(slots=True)
class Share:
    """Files that stand under one key, or under none."""

    files: int = 0
    size: int = 0
    """Bytes on the disk."""


@dataclass(slots=True)
class Done:
    """What a round did."""

    sealed: int = 0
    """Files that were plain or under an earlier key."""
    kept: int = 0
    """Files that were under the present key already."""
    broken: list[str] = field(default_factory=list)
    """What of files that cannot be brought under it: damaged, or of a key that was not given."""


def standing(settings: Settings) -> dict[str, Share]:
    """Per key id in hex, under "" what is plain, under `DAMAGED` what cannot be told: how much. Needs no key."""
    found: dict[str, Share] = {}
    for path in _files(settings):
        try:
            key_id, size = (vault.sealed_with(path) or b"").hex(), path.stat().st_size
        except SealBroken:
            key_id, size = DAMAGED, path.stat().st_size
        except FileNotFoundError:  # purged meanwhile
            continue
        share = found.setdefault(key_id, Share())
        share.files += 1
        share.size += size
    return found


def seal_all(
    settings: Settings,
    registry: Registry,
    actor: Actor,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Done:
    """Bring every file under the present key; `progress` is told files done and files in all.

    Raises:
        ConfigurationError: no key is set.
        Busy: the purge is running, or another of these.
    """
    if not settings.vault_key:
        raise ConfigurationError("没有设置 CERTFLOW_VAULT_KEY，无从加密；见 docs/data-protection.zh-CN.md")
    done = Done()
    with registry.lock("retention"):  # what is purged meanwhile must not come back
        settings.work.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in settings.work.glob(f"{_DRAFT}*"):
            leftover.unlink()
        paths = list(_files(settings))
        for number, path in enumerate(paths, start=1):
            draft = settings.work / f"{_DRAFT}{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}"
            try:
                if vault.seal(path, draft):
                    done.sealed += 1
                else:
                    done.kept += 1
            except (SealBroken, ConfigurationError) as error:
                done.broken.append(str(error))
            progress(number, len(paths))
        if done.sealed:
            with registry.begin(actor) as conn:
                note(conn, "vault.sealed", files=done.sealed, broken=len(done.broken))
    return done


def _files(settings: Settings) -> Iterator[Path]:
    """Files that belong under the key; not those that others leave for us, nor what is being written."""
    for name in vault.FOLDERS:
        top = settings.path(name)
        for root, folders, found in os.walk(top):
            if name == "delivery":
                folders[:] = [one for one in folders if one not in vault.DROPS]
            for path in (Path(root, one) for one in sorted(found)):
                draft = top == settings.work or path.name.startswith(".") or path.suffix == ".part"
                if not path.name.endswith(vault.PLAIN) and not path.is_symlink() and not (draft and _young(path)):
                    yield path


def _young(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < SETTLED
    except FileNotFoundError:
        return True

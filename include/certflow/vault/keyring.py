"""The keys of the homes this process works in, and which of their files are sealed.

Settings bring them (`hold`), whoever opens a file finds them by its path: no caller has to carry keys about.
"""

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from certflow.errors import ConfigurationError

FOLDERS = ("originals", "packages", "forms", "feedback", "contact-sheets", "proofs", "delivery", "persons", "work")
"""Folders of the home whose files hold personal data; all others are free of it, or are not ours to seal."""
DROPS = ("收件名单", "EMS回传", "领取凭证")
"""Folders below ``delivery/<account>`` where others leave files for us (`delivery.daily`): plain until we take them."""
PLAIN = (".manifest.json",)
"""Ends of names that stay readable for everybody: digests and counts, signed."""
KEY, OLD_KEYS = "CERTFLOW_VAULT_KEY", "CERTFLOW_VAULT_OLD_KEYS"
ID = 16
"""Bytes of a key's id."""
_CHANGED = 16
"""Most bits of 128 that damage changes; two ids that have nothing to do with each other differ in about 64."""


@dataclass(frozen=True, slots=True)
class Ring:
    """The keys of one home."""

    home: Path
    current: bytes = b""
    """Id of the key that new files are sealed with; empty: they stay plain."""
    keys: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    """Id and key, 32 bytes, of this and earlier keys."""
    active: bool = False
    """Whether there may be sealed files here."""

    def key(self, key_id: bytes) -> bytes | None:
        """The key of this id, None when it was not given."""
        return dict(self.keys).get(key_id)

    @property
    def ids(self) -> Path:
        """Where the ids of all keys ever used in this home stand: no secret, they tell a sealed file from others."""
        return self.home / "keys" / "vault.ids"

    def used(self) -> set[bytes]:
        """The ids of all keys ever used here."""
        try:
            return {bytes.fromhex(line) for line in self.ids.read_text(encoding="ascii").split()}
        except (FileNotFoundError, NotADirectoryError, PermissionError):  # nothing here, or nothing for us
            return set()
        except ValueError:
            raise ConfigurationError(f"{self.ids} 的内容不是密钥编号，请从备份恢复该文件") from None

    def known(self, key_id: bytes) -> bytes | None:
        """The id of a key in use here that this is, or was before a few of its bits changed; None for any other.

        Only a file that names such a key counts as sealed: nobody outside knows one.
        """
        if self.key(key_id) is not None:
            return key_id
        ours = self.used() | {one for one, _ in self.keys}
        number = int.from_bytes(key_id, "big")
        return next((one for one in ours if (int.from_bytes(one, "big") ^ number).bit_count() <= _CHANGED), None)

    def note(self) -> None:
        """Record, before the first file is sealed with it, that the present key is in use."""
        if self.current in self.used():
            return
        self.ids.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(self.ids, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb", buffering=0) as stream:
            stream.write(f"{self.current.hex()}\n".encode())
            os.fsync(stream.fileno())


_rings: dict[Path, Ring] = {}
_ids: set[bytes] = set()
"""Of all keys of all these homes."""


def hold(home: Path, key: str, old_keys: str) -> None:
    """Take the keys of a home as its settings name them; ConfigurationError for what is no key."""
    current = [_parse(KEY, key)] if key else []
    older = [_parse(OLD_KEYS, one) for one in old_keys.replace(",", " ").split()]
    keys = tuple((key_id(one), one) for one in current + older)
    ring = Ring(Path(os.path.realpath(home)), key_id(current[0]) if current else b"", keys)
    ids = {one for one, _ in keys} | ring.used()
    _rings[ring.home] = replace(ring, active=bool(ids))
    _ids.update(ids)


def key_id(key: bytes) -> bytes:
    """Name of a key: tells nothing about it."""
    return hashlib.sha256(b"certflow vault key id\0" + key).digest()[:ID]


def anything_sealed() -> bool:
    """Whether any home of this process may hold sealed files."""
    return any(ring.active for ring in _rings.values())


def is_id(named: bytes) -> bool:
    """Whether this is the id of a key of any of these homes."""
    return named in _ids


def ring_of(path: Path) -> Ring | None:
    """The keys of the home that `path` lies in."""
    real = Path(os.path.realpath(path))
    return next((_rings[folder] for folder in (real, *real.parents) if folder in _rings), None)


def ring_for_new(path: Path) -> Ring | None:
    """The keys to seal a new file with, None when it stays plain."""
    if not any(ring.current for ring in _rings.values()):
        return None
    ring = ring_of(path)
    if ring is None or not ring.current or path.name.removesuffix(".part").endswith(PLAIN):
        return None
    if Path(os.path.realpath(path)).relative_to(ring.home).parts[0] not in FOLDERS:
        return None
    ring.note()
    return ring


def missing(place: str, key_id: bytes) -> ConfigurationError:
    """What to say of a file whose key was not given."""
    return ConfigurationError(
        f"{place} 已加密，而编号 {key_id.hex()[:8]} 的密钥没有给出：请在 {KEY}（或旧密钥 {OLD_KEYS}）中"
        "设置该密钥后再运行；文件没有改动"
    )


def _parse(variable: str, text: str) -> bytes:
    """32 bytes from 64 hex digits or base64; the message never shows what was given."""
    text = text.strip()
    try:
        key = bytes.fromhex(text) if len(text) == 64 else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != 32 or len(set(key)) < 8:
        raise ConfigurationError(f"{variable} 须为 32 个随机字节（base64 或 64 位十六进制）：openssl rand -base64 32")
    return key

"""Sign what leaves the house: Ed25519 over canonical JSON (the only import of cryptography).

The key is made on first use below the home's ``keys`` (0600). A key is named by its id, the first 16 hex digits of
the SHA-256 of the 32 public bytes; public keys stay there by id, so that what an earlier key signed can be verified
after the key was changed. The same content under the same key has the same signature.
"""

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from certflow.errors import ConfigurationError, DigestMismatch
from certflow.settings import Settings

_PRIVATE = "manifest.pem"


def sign(settings: Settings, document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with ``key_id`` and ``signature`` (base64); the signature covers everything but itself."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    path = _private_key(settings)
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):
        raise ConfigurationError(f"签名密钥读不了：{path.name}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"签名密钥须为 Ed25519：{path.name}")
    signed = {**document, "key_id": _keep_public(settings, key.public_key().public_bytes_raw())}
    return signed | {"signature": base64.b64encode(key.sign(canonical(signed))).decode()}


def verify(settings: Settings, document: Mapping[str, Any]) -> None:
    """DigestMismatch unless the document carries a good signature of one of this home's keys."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    unsigned = {name: value for name, value in document.items() if name != "signature"}
    try:
        public = Ed25519PublicKey.from_public_bytes(public_key(settings, str(document.get("key_id", ""))))
        public.verify(base64.b64decode(str(document.get("signature", "")), validate=True), canonical(unsigned))
    except (InvalidSignature, ValueError):
        raise DigestMismatch("清单的签名不正确，内容可能被改动，已停止") from None


def public_key(settings: Settings, key_id: str = "") -> bytes:
    """The 32 public bytes of a key by id, or of the present one; DigestMismatch when no such key is known."""
    if not key_id:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        key = load_pem_private_key(_private_key(settings).read_bytes(), password=None)
        return bytes(key.public_key().public_bytes_raw())  # type: ignore[union-attr]  # Ed25519: made here
    path = settings.keys / f"manifest-{key_id}.pub"
    if not key_id.isalnum() or not path.is_file():
        raise DigestMismatch("清单由未知的密钥签名，已停止")
    public = bytes.fromhex(path.read_text(encoding="ascii").strip())
    if key_id_of(public) != key_id:
        raise DigestMismatch("公钥文件与密钥编号不符，已停止")
    return public


def key_id_of(public: bytes) -> str:
    """Name of a key: 16 hex digits."""
    return hashlib.sha256(public).hexdigest()[:16]


def canonical(document: Mapping[str, Any]) -> bytes:
    """The one spelling of a JSON object that is signed: sorted keys, no blanks, UTF-8."""
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _private_key(settings: Settings) -> Path:
    path = settings.keys / _PRIVATE
    if not path.exists():
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        fresh = Ed25519PrivateKey.generate()
        _settle(path, fresh.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def _keep_public(settings: Settings, public: bytes) -> str:
    key_id = key_id_of(public)
    path = settings.keys / f"manifest-{key_id}.pub"
    if not path.exists():
        _settle(path, f"{public.hex()}\n".encode())
    return key_id


def _settle(path: Path, content: bytes) -> None:
    """Write a file that is whole from the moment it is seen; of two writers at once the first one counts."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
        target.write(content)
        target.flush()
        os.fsync(target.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not path.exists():
            draft.replace(path)
            return
    draft.unlink(missing_ok=True)

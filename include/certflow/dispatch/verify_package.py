"""核对上报数据包 (stand-alone; needs Python 3.7 or newer and nothing else: no package, no network, no certflow).

    python verify_package.py --key PUBLIC-KEY PACKAGE.zip [PACKAGE.zip …]

PUBLIC-KEY: the sender's public key as 64 hex digits, or a file with them; obtain it by another way than the packages.
Beside each package lies its manifest, ``<name>.manifest.json``; the photos may be a zip of their own beside it, which
the manifest names too. Checked: signature (Ed25519, RFC 8032) and key id, file names, sizes, SHA-256, every entry's
CRC, and that one workbook and as many photos lie in it as the manifest says.
Prints one line a package, without personal data. Exit: 0 all good, 1 not, 2 wrong usage.
"""

from __future__ import annotations

import base64
import hashlib
import json
import string
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

PHOTOS = ".JPG.zip"
"""How the zip of a package's photos ends, where it is one of its own."""

# Ed25519 as RFC 8032 §5.1 and its §6 give it. Only verification: nothing here is secret, so plain integers will do.
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def recover_x(y: int, sign: int) -> int | None:
    """The x of a point of the curve by its y and the lowest bit of x; None when there is none."""
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if square == 0:
        return None if sign else 0
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P:
        return None
    return P - x if x & 1 != sign else x


def decompress(data: bytes) -> tuple[int, int, int, int] | None:
    """A point out of its 32 bytes, in extended coordinates (X, Y, Z, T)."""
    number = int.from_bytes(data, "little")
    y = number & ((1 << 255) - 1)
    x = recover_x(y, number >> 255)
    return None if x is None else (x, y, 1, x * y % P)


def add(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """The sum of two points."""
    a = (one[1] - one[0]) * (other[1] - other[0]) % P
    b = (one[1] + one[0]) * (other[1] + other[0]) % P
    c = 2 * one[3] * other[3] * D % P
    d = 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(factor: int, point: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """A point added to itself so many times."""
    product = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            product = add(product, point)
        point = add(point, point)
        factor >>= 1
    return product


_Y = 4 * pow(5, P - 2, P) % P
BASE = decompress(_Y.to_bytes(32, "little")) or (0, 1, 1, 0)


def signature_holds(public: bytes, message: bytes, signature: bytes) -> bool:
    """RFC 8032 §5.1.7."""
    if len(public) != 32 or len(signature) != 64:
        return False
    key, point = decompress(public), decompress(signature[:32])
    factor = int.from_bytes(signature[32:], "little")
    if key is None or point is None or factor >= ORDER:
        return False
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    challenge = int.from_bytes(digest, "little") % ORDER
    left, right = times(factor, BASE), add(point, times(challenge, key))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def faults(package: Path, public: bytes) -> list[str]:
    """What does not hold for one package; empty when all is good."""
    if package.name.endswith(PHOTOS) and not manifest_of(package).is_file():
        package = package.with_name(package.name[: -len(PHOTOS)] + ".zip")  # photos are verified with their package
    if package.suffix != ".zip" or not package.is_file():
        return ["没有这个数据包"]
    try:
        manifest = json.loads(manifest_of(package).read_bytes())
        signature = base64.b64decode(manifest.pop("signature"), validate=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ["清单缺失、读不出或没有签名"]
    if manifest.get("key_id") != hashlib.sha256(public).hexdigest()[:16]:
        return ["清单不是用这把密钥签名的"]
    signed = json.dumps(manifest, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")
    if not signature_holds(public, signed, signature):
        return ["签名不正确：清单被改动过"]
    return file_faults(package, manifest)


def manifest_of(package: Path) -> Path:
    """Where the manifest of a package lies."""
    return package.with_name(package.name[: -len(".zip")] + ".manifest.json")


def file_faults(package: Path, manifest: dict[str, Any]) -> list[str]:
    """What does not hold between a manifest whose signature is good and the files it speaks of."""
    found = [] if manifest.get("file") == package.name else ["文件名与清单不符"]
    photos = manifest.get("photos_zip")
    files = [(package, manifest)] + ([(package.with_name(str(photos.get("file"))), photos)] if photos else [])
    for path, told in files:
        if not path.is_file():
            return [*found, "缺少照片压缩包"]
        if told.get("size") != path.stat().st_size or told.get("sha256") != sha256_of(path):
            return [*found, "大小或 SHA-256 与清单不符：数据包被改动过"]
    return found + content_faults([path for path, _ in files], manifest.get("photos", -1))


def content_faults(files: list[Path], photos: int) -> list[str]:
    """What does not hold inside the zips; where they are two, the second one holds the photos."""
    found = []
    counts = []
    for path in files:
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    found.append("压缩包内有文件损坏")
                counts.append(len(archive.infolist()))
        except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError):
            return [*found, "压缩包损坏"]
    if counts != ([1 + photos] if len(files) == 1 else [1, photos]):
        found.append("包内文件数与清单不符")
    return found


def read_key(text: str) -> bytes:
    """The 32 public bytes; ValueError when it is no key."""
    if len(text) != 64 or set(text) - set(string.hexdigits):
        text = Path(text).read_text(encoding="ascii").strip()
    key = bytes.fromhex(text)
    if len(key) != 32:
        raise ValueError
    return key


def main(arguments: list[str]) -> int:
    """Verify the packages named on the command line."""
    if len(arguments) < 3 or arguments[0] != "--key":
        sys.stderr.buffer.write((__doc__ or "").encode())
        return 2
    try:
        public = read_key(arguments[1])
    except (OSError, ValueError):
        sys.stderr.buffer.write("公钥应为 64 位十六进制数，或内有这些数字的文件\n".encode())
        return 2
    bad = 0
    for name in arguments[2:]:
        found = faults(Path(name), public)
        bad += bool(found)
        line = "{}  {}\n".format("；".join(found) if found else "正确", Path(name).name)
        sys.stdout.buffer.write(line.encode("utf-8"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

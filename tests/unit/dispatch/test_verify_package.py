"""A signed manifest is verified by one script that knows nothing of this program, and by the program before sending."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from certflow import signing
from certflow.dispatch import verify_package
from certflow.errors import DigestMismatch
from certflow.zips import write_zip

SCRIPT = Path(verify_package.__file__)


@pytest.fixture
def package(settings, tmp_path):
    """A package with its signed manifest, as they lie at the authority; the public key beside them."""
    path = tmp_path / "202005-034-试(1人).zip"
    with path.open("wb") as stream:
        write_zip(stream, [("a.XLS", b"workbook"), ("a/1.jpg", b"photo")])
    manifest = {
        "file": path.name,
        "size": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "photos": 1,
    }
    manifest = signing.sign(settings, manifest)
    path.with_name("202005-034-试(1人).manifest.json").write_text(json.dumps(manifest, ensure_ascii=False, indent=2))
    (tmp_path / "key").write_text(signing.public_key(settings).hex() + "\n")
    return path


@pytest.fixture
def two(settings, package):
    """The same with the photos in a zip of their own."""
    photos = package.with_name(f"{package.stem}.JPG.zip")
    for path, members in ((package, [("a.XLS", b"workbook")]), (photos, [("a/1.jpg", b"photo")])):
        with path.open("wb") as stream:
            write_zip(stream, members)
    told = [
        {"file": path.name, "size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in (package, photos)
    ]
    manifest = signing.sign(settings, told[0] | {"photos": 1, "photos_zip": told[1]})
    package.with_name(f"{package.stem}.manifest.json").write_text(json.dumps(manifest))
    return package, photos


def run(package, python=sys.executable):
    done = subprocess.run(
        [python, "-I", SCRIPT, "--key", package.with_name("key"), package], capture_output=True, check=False
    )
    return done.returncode, done.stdout.decode() + done.stderr.decode()


def test_a_package_as_it_was_signed_is_good(package):
    assert run(package) == (0, f"正确  {package.name}\n")


def test_a_key_is_digits_or_a_file_however_long_its_path_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for length in (63, 64, 65):
        Path("k" * length).write_text("ab" * 32 + "\n")
        assert verify_package.read_key("k" * length) == bytes.fromhex("ab" * 32)
    assert verify_package.read_key("ab" * 32) == bytes.fromhex("ab" * 32)


@pytest.mark.parametrize("version", ["3.8", "3.12", "3.13"])
def test_the_script_runs_on_whatever_python_the_receiver_has(package, version):
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-V"], capture_output=True, check=False).returncode:
        pytest.skip(f"Python {version} is not installed")
    assert run(package, python)[0] == 0


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("count", "签名不正确"),
        ("signature", "签名不正确"),
        ("key", "不是用这把密钥"),
        ("unsigned", "没有签名"),
        ("gone", "缺失"),
    ],
)
def test_f49_an_altered_manifest_is_refused(package, what, told):
    path = package.with_name(package.stem + ".manifest.json")
    manifest = json.loads(path.read_text())
    if what == "count":
        manifest["photos"] = 2
    elif what == "signature":
        raw = bytearray(base64.b64decode(manifest["signature"]))
        raw[40] ^= 1
        manifest["signature"] = base64.b64encode(raw).decode()
    elif what == "key":
        package.with_name("key").write_text("00" * 32)
    elif what == "unsigned":
        del manifest["signature"]
    path.write_text(json.dumps(manifest, ensure_ascii=False))
    if what == "gone":
        path.unlink()
    code, said = run(package)
    assert code == 1
    assert told in said


def test_f47_a_flipped_bit_in_the_package_is_found(package):
    data = bytearray(package.read_bytes())
    data[data.index(b"photo")] ^= 1
    package.write_bytes(data)
    assert run(package)[0] == 1
    assert "SHA-256" in run(package)[1]


def test_photos_in_a_zip_of_their_own_are_verified_with_their_package(two):
    package, photos = two
    assert run(package) == (0, f"正确  {package.name}\n")
    assert run(photos) == (0, f"正确  {photos.name}\n")
    photos.write_bytes(photos.read_bytes().replace(b"photo", b"Photo"))
    assert "SHA-256" in run(package)[1]
    assert "SHA-256" in run(photos)[1]
    photos.unlink()
    assert run(package) == (1, f"缺少照片压缩包  {package.name}\n")


def test_wrong_usage_is_2(package):
    assert subprocess.run([sys.executable, SCRIPT], capture_output=True, check=False).returncode == 2
    package.with_name("key").write_text("no key")
    assert run(package)[0] == 2


def test_its_ed25519_agrees_with_another_implementation():
    for length in range(40):
        key, message = Ed25519PrivateKey.generate(), os.urandom(length)
        public, signature = key.public_key().public_bytes_raw(), key.sign(message)
        assert verify_package.signature_holds(public, message, signature)
        assert not verify_package.signature_holds(public, message + b"x", signature)
        flipped = bytes([signature[0] ^ 1]) + signature[1:]
        assert not verify_package.signature_holds(public, message, flipped)
        # RFC 8032 §5.1.7: S below the order, or the same signature would have a second spelling.
        large = int.from_bytes(signature[32:], "little") + verify_package.ORDER
        assert not verify_package.signature_holds(public, message, signature[:32] + large.to_bytes(32, "little"))


def test_rfc_8032_section_7_1_test_3():
    public = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
    signature = bytes.fromhex(
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )
    assert verify_package.signature_holds(public, bytes.fromhex("af82"), signature)


def test_the_key_is_private_made_once_and_old_signatures_stay_good_after_a_new_one(settings):
    old = signing.sign(settings, {"a": "中"})
    assert signing.sign(settings, {"a": "中"}) == old
    assert (settings.keys / "manifest.pem").stat().st_mode & 0o777 == 0o600
    (settings.keys / "manifest.pem").unlink()
    new = signing.sign(settings, {"a": "中"})
    assert new["key_id"] != old["key_id"]
    signing.verify(settings, old)
    signing.verify(settings, new)
    for wrong in (old | {"a": "文"}, old | {"key_id": new["key_id"]}, {"a": "中"}, old | {"key_id": "../x"}):
        with pytest.raises(DigestMismatch):
            signing.verify(settings, wrong)

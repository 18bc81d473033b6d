"""Files at rest under a key: read anywhere as they were written, refused when anything about them changed."""

import base64
import hashlib
import io
import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as some

from certflow import excel, originals, vault
from certflow.delivery import daily
from certflow.errors import ConfigurationError, DigestMismatch, SealBroken
from certflow.settings import Settings
from certflow.zips import Packed, read_packed

CHUNK, HEADER, TAG = vault.CHUNK, 92, 16
KEY, OTHER = (base64.b64encode(hashlib.sha256(word).digest()).decode() for word in (b"one", b"two"))
EDGES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 3 * CHUNK + 7]


@pytest.fixture
def home(tmp_path):
    """A home under `KEY`."""
    return Settings(home=tmp_path / "home", vault_key=KEY)


def write(settings, data, name="one", folder="originals"):
    path = settings.path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    vault.write_bytes(path, data)
    return path


def noise(size, seed=b""):
    return hashlib.shake_128(seed).digest(size)


@pytest.mark.parametrize("size", EDGES)
def test_what_was_written_is_read_and_stands_nowhere_on_the_disk(home, size):
    data = noise(size)
    path = write(home, data)
    raw = path.read_bytes()
    assert len(raw) == HEADER + size + TAG * max(1, -(-size // CHUNK))
    assert size < 8 or not any(data[at : at + 8] in raw for at in range(0, size - 8, 4096))
    assert vault.read_bytes(path) == data
    assert (vault.size(path), vault.sha256(path)) == (size, hashlib.sha256(data).hexdigest())


def test_two_files_of_the_same_bytes_share_no_byte_of_text(home):
    first, second = (write(home, bytes(CHUNK), name).read_bytes()[HEADER:] for name in ("a", "b"))
    assert sum(one == other for one, other in zip(first, second, strict=True)) < CHUNK / 100


@effort(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    size=some.sampled_from(EDGES) | some.integers(0, 4 * CHUNK),
    parts=some.lists(some.integers(0, 2 * CHUNK), max_size=6),
    looks=some.lists(
        some.tuples(some.sampled_from([0, 1, 2]), some.integers(-3 * CHUNK, 4 * CHUNK), some.integers(-1, 2 * CHUNK)),
        max_size=12,
    ),
    buffering=some.sampled_from([-1, 0]),
)
def test_any_writes_seeks_and_reads_are_those_of_a_plain_file(home, size, parts, looks, buffering):
    data = noise(size, b"property")
    path = home.path("work", "property")
    path.parent.mkdir(parents=True, exist_ok=True)
    with vault.create(path) as stream:
        begin = 0
        for part in parts:
            stream.write(data[begin : begin + part])
            begin += part
        stream.write(memoryview(data)[begin:])
        assert stream.tell() == size
        vault.finish(stream)
    plain = io.BytesIO(data)
    with vault.reader(path, buffering) as opened:
        for whence, offset, count in looks:
            place = {0: offset, 1: plain.tell() + offset, 2: size + offset}[whence]
            if place < 0:
                continue
            assert opened.seek(offset, whence) == plain.seek(place)
            assert opened.read(count) == plain.read(count)
            assert opened.tell() == plain.tell()
        buffer, told = bytearray(size), bytearray(size)
        opened.seek(0)
        assert opened.readinto(buffer) == io.BytesIO(data).readinto(told)
        assert buffer == told


@pytest.mark.parametrize("size", [0, 5, CHUNK + 5])
def test_every_flipped_bit_is_refused(home, size):
    path = write(home, noise(size))
    raw = path.read_bytes()
    at = [*range(HEADER), *(place for place in range(HEADER, len(raw)) if place % 997 == 0 or len(raw) < 200)]
    for place in [*at, len(raw) - 1]:
        for bit in (1, 128):
            spoilt = bytearray(raw)
            spoilt[place] ^= bit
            path.write_bytes(spoilt)
            with pytest.raises(SealBroken, match="请从备份恢复"):
                vault.read_bytes(path)
    spoilt = raw[:5] + b"?" + raw[6:]
    path.write_bytes(spoilt)
    with pytest.raises(SealBroken):
        vault.seal(path, path.with_name("draft"))  # what is damaged is not sealed once more
    assert path.read_bytes() == spoilt
    path.write_bytes(raw)
    assert vault.read_bytes(path) == noise(size)


def test_a_file_that_was_cut_off_is_refused_at_every_length(home):
    path = write(home, noise(2 * CHUNK + 5))
    raw = path.read_bytes()
    blocks = [HEADER + number * (CHUNK + TAG) for number in range(3)]
    for length in {24, 50, HEADER, HEADER + 1, HEADER + TAG, len(raw) - 1, *blocks, *(one + 1 for one in blocks)}:
        path.write_bytes(raw[:length])
        with pytest.raises(SealBroken), vault.reader(path):
            pass  # refused when it is opened, before anybody reads a part of it


def test_chunks_that_changed_places_or_files_are_refused(home):
    first, second = write(home, noise(3 * CHUNK), "a"), write(home, noise(3 * CHUNK), "b")
    raw, other = first.read_bytes(), second.read_bytes()
    cut = [slice(HEADER + number * (CHUNK + TAG), HEADER + (number + 1) * (CHUNK + TAG)) for number in range(3)]
    for mixed in (
        raw[:HEADER] + raw[cut[1]] + raw[cut[0]] + raw[cut[2]],  # changed places
        raw[:HEADER] + raw[cut[0]] + raw[cut[2]],  # one left out
        raw[:HEADER] + raw[cut[0]] + raw[cut[0]] + raw[cut[1]] + raw[cut[2]],  # one twice
        raw[:HEADER] + other[cut[0]] + raw[cut[1]] + raw[cut[2]],  # from another file
        other[:HEADER] + raw[HEADER:],  # under the header of another file
        raw + raw[cut[2]],
        raw + b"\0",
    ):
        first.write_bytes(mixed)
        with pytest.raises(SealBroken):
            vault.read_bytes(first)


def test_what_was_left_half_written_is_never_read_as_a_whole_file(home):
    path = home.path("work", "half")
    path.parent.mkdir(parents=True)

    def die_while_writing(size):
        with vault.create(path) as stream:
            stream.write(noise(size))
            raise KeyboardInterrupt

    for size in (0, 5, CHUNK, 3 * CHUNK):
        with pytest.raises(KeyboardInterrupt):
            die_while_writing(size)
        with pytest.raises(SealBroken):
            vault.read_bytes(path)


def test_without_a_key_files_are_plain_and_plain_files_of_before_stay_readable(tmp_path):
    off = Settings(home=tmp_path)
    path = write(off, b"plain of before")
    assert path.read_bytes() == b"plain of before"
    assert not off.path("keys").exists()
    on = Settings(home=tmp_path, vault_key=KEY)
    assert vault.read_bytes(path) == b"plain of before"
    assert (vault.size(path), vault.sealed_with(path)) == (15, None)
    assert b"written since" not in write(on, b"written since", "two").read_bytes()


def test_a_missing_or_a_wrong_key_is_named_and_nothing_is_lost(home):
    path = write(home, b"secret")
    raw = path.read_bytes()
    for key in ("", OTHER):
        Settings(home=home.home, vault_key=key)
        for look in (vault.read_bytes, vault.sha256, vault.size):
            with pytest.raises(ConfigurationError, match=r"CERTFLOW_VAULT_KEY.*设置该密钥"):
                look(path)
        assert vault.sealed_with(path)  # what it is sealed with can be said all the same
    assert path.read_bytes() == raw
    Settings(home=home.home, vault_key=KEY)
    assert vault.read_bytes(path) == b"secret"


def test_an_original_whose_key_is_missing_is_not_taken_for_a_damaged_one(home):
    digest = originals.keep(home, b"of a city")
    Settings(home=home.home)
    place = Packed(home.original(digest), 0, 9, 0, 9, 0)
    with pytest.raises(ConfigurationError):
        read_packed(place)


def test_bytes_of_a_city_that_only_look_sealed_are_what_they_are(tmp_path):
    raw = write(Settings(home=tmp_path / "elsewhere", vault_key=OTHER), b"x").read_bytes()
    here = Settings(home=tmp_path / "here")
    path = here.path("originals", "crafted")
    path.parent.mkdir(parents=True)
    path.write_bytes(raw)
    for key in ("", KEY):
        settings = Settings(home=here.home, vault_key=key)
        assert vault.read_bytes(path) == raw
        digest = originals.keep(settings, raw)
        assert vault.read_bytes(settings.original(digest)) == raw
        settings.original(digest).unlink()


def test_only_what_holds_personal_data_is_sealed(home):
    for folder in ("reports", "quality", "inbox", "reference"):
        assert write(home, b"counts", folder=folder).read_bytes() == b"counts"
    for name in ("p.manifest.json", "p.manifest.json.part"):
        assert write(home, b"{}", name, "packages").read_bytes() == b"{}"
    outside = home.home.parent / "copy.txt"
    vault.write_bytes(outside, b"to go")
    assert outside.read_bytes() == b"to go"
    for folder in vault.FOLDERS:
        assert b"personal" not in write(home, b"personal", folder=folder).read_bytes()


def test_an_earlier_key_reads_until_nothing_is_under_it(home, tmp_path):
    path = write(home, noise(CHUNK + 3))
    old = path.read_bytes()
    os.utime(path, (1e9, 1e9))
    rotated = Settings(home=home.home, vault_key=OTHER, vault_old_keys=KEY)
    assert vault.read_bytes(path) == noise(CHUNK + 3)
    fresh = write(rotated, b"new", "new")
    assert vault.sealed_with(fresh) != vault.sealed_with(path)
    assert vault.seal(path, tmp_path / "draft")
    assert not vault.seal(path, tmp_path / "draft")
    assert path.read_bytes()[HEADER:] == old[HEADER:]  # the header alone
    assert path.stat().st_mtime == 1e9
    Settings(home=home.home, vault_key=OTHER)
    assert vault.read_bytes(path) == noise(CHUNK + 3)
    Settings(home=home.home, vault_key=KEY)
    with pytest.raises(ConfigurationError):
        vault.read_bytes(path)


def test_a_plain_file_is_sealed_in_place_and_keeps_its_day_and_its_mode(tmp_path):
    path = write(Settings(home=tmp_path), noise(CHUNK + 3))
    path.chmod(0o640)
    os.utime(path, (1e9, 1e9))
    home = Settings(home=tmp_path, vault_key=KEY)
    home.work.mkdir()
    draft = home.work / "seal-1"
    assert vault.seal(path, draft)
    assert not draft.exists()
    assert (path.stat().st_mtime, path.stat().st_mode & 0o777) == (1e9, 0o640)
    assert vault.sealed_with(path)
    assert vault.read_bytes(path) == noise(CHUNK + 3)
    path.unlink()
    assert not vault.seal(path, draft)  # purged meanwhile


def test_what_somebody_wrote_meanwhile_is_not_overwritten_by_its_older_self(tmp_path, monkeypatch):
    path = write(Settings(home=tmp_path), b"older")
    home = Settings(home=tmp_path, vault_key=KEY)
    home.work.mkdir()
    copy = vault._copy

    def meanwhile(source, draft):
        copy(source, draft)
        write(home, b"newer", "fresh").replace(path)

    monkeypatch.setattr(vault, "_copy", meanwhile)
    assert not vault.seal(path, home.work / "draft")
    assert vault.read_bytes(path) == b"newer"


def test_a_zip_of_any_size_is_read_through_the_vault(home):
    path = home.path("packages", "p.zip")
    path.parent.mkdir(parents=True)
    with vault.create(path) as stream, zipfile.ZipFile(stream, "w") as archive:
        for number in range(40):
            archive.writestr(f"{number}.jpg", noise(9000, bytes([number])))
    with vault.reader(path) as stream, zipfile.ZipFile(stream) as archive:
        assert archive.testzip() is None
        assert archive.read("39.jpg") == noise(9000, bytes([39]))
    assert not zipfile.is_zipfile(path)


def test_a_workbook_is_written_sealed_and_read_back(home):
    path = home.path("forms", "一.xlsx")
    path.parent.mkdir(parents=True)
    excel.write_xlsx(path, [excel.Page("表", [["姓名", "测试"]], (10, 10))])
    assert not path.read_bytes().startswith(b"PK")
    assert [cell for row in excel.read_table(path) for cell in row][:2] == ["姓名", "测试"]


def test_a_sealed_file_has_no_descriptor_to_copy_from(home):
    """Whoever copies between descriptors must find out, not copy what is sealed."""
    with vault.reader(write(home, b"secret"), buffering=0) as stream, pytest.raises(io.UnsupportedOperation):
        stream.fileno()


def test_temporary_folders_lie_below_the_work_folder_where_files_are_sealed(home, tmp_path):
    with vault.shelf(home.work) as folder:
        assert Path(folder).parent == home.work
        vault.write_bytes(Path(folder) / "x.zip", b"uploaded")
        assert b"uploaded" not in (Path(folder) / "x.zip").read_bytes()
    assert not any(home.work.iterdir())
    plain = Settings(home=tmp_path / "plain")
    with vault.shelf(plain.work):
        assert not plain.home.exists()


def test_the_drop_folders_are_those_of_the_deliveries():
    assert {*daily.DROPS.values(), daily.EVIDENCE_DROP} == set(vault.DROPS)


@pytest.mark.parametrize("text", ["x", KEY[:-4], "00" * 32, KEY + KEY, "密钥", hashlib.sha256(b"").hexdigest()[:-2]])
def test_what_is_no_key_is_refused_and_never_shown(tmp_path, text):
    with pytest.raises(ConfigurationError, match="openssl rand -base64 32") as told:
        Settings(home=tmp_path, vault_key=text)
    assert text not in str(told.value)


def test_a_key_is_read_from_a_file_in_either_spelling_but_not_from_the_home_it_locks(tmp_path):
    key = hashlib.sha256(b"one").digest()
    outside, inside = tmp_path / "secret", tmp_path / "home" / "keys" / "secret"
    inside.parent.mkdir(parents=True)
    for text in (KEY, key.hex()):
        for file in (outside, inside):
            file.write_text(f"{text}\n")
        loaded = Settings.load({"CERTFLOW_HOME": str(tmp_path / "home"), "CERTFLOW_VAULT_KEY_FILE": str(outside)})
        assert text not in repr(loaded)
        path = write(loaded, b"secret", hashlib.sha256(text.encode()).hexdigest())
        assert vault.read_bytes(path) == b"secret"
        for name in ("CERTFLOW_VAULT_KEY_FILE", "CERTFLOW_VAULT_OLD_KEYS_FILE"):
            with pytest.raises(ConfigurationError, match="不能与加密的文件放在一起"):
                Settings.load({"CERTFLOW_HOME": str(tmp_path / "home"), name: str(inside)})


def test_a_broken_seal_is_a_digest_that_differs():
    assert issubclass(SealBroken, DigestMismatch)

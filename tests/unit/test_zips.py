"""Zips whose bytes follow from the content alone, and entries read by their place."""

import hashlib
import io
import zipfile
import zlib

import pytest

from certflow.errors import DigestMismatch
from certflow.zips import DEFLATED, STORED, Packed, read_packed, write_zip

MEMBERS = [("甲.XLS", b"workbook"), ("甲/110105.jpg", b"\xff\xd8photo"), ("甲/空.jpg", b"")]


def written(members):
    target = io.BytesIO()
    write_zip(target, members)
    return target.getvalue()


def test_same_content_gives_the_same_bytes_on_every_machine():
    # The digest is written down: a change of Python, platform or zlib must not show.
    digest = hashlib.sha256(written(MEMBERS)).hexdigest()
    assert digest == "ae67f79ee327087f350271e2267f3503a07832ec0a24914d4530edbd9f7c5dcd"


def test_other_readers_find_the_names_in_utf8_and_the_content():
    with zipfile.ZipFile(io.BytesIO(written(MEMBERS))) as archive:
        assert archive.testzip() is None
        assert [(info.filename, archive.read(info)) for info in archive.infolist()] == MEMBERS
        assert all(info.flag_bits == 0x800 and info.compress_type == STORED for info in archive.infolist())
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_an_empty_zip_is_a_zip():
    with zipfile.ZipFile(io.BytesIO(written([]))) as archive:
        assert archive.infolist() == []


@pytest.mark.parametrize(
    "names", [["b", "a"], ["a", "a"], ["/a"], ["a/../b"], ["a\\b"], [""]],
    ids=["order", "twice", "absolute", "parent", "backslash", "empty"],
)  # fmt: skip
def test_names_that_would_not_be_one_spelling_or_lead_outside_are_refused(names):
    with pytest.raises(ValueError, match="ascending"):
        written([(name, b"") for name in names])


@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_an_entry_is_read_by_its_place_and_inflated_once(tmp_path, method):
    content = b"photo" * 1000
    entry = planted(tmp_path, content, method)
    assert read_packed(entry) == content


@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_a_flipped_bit_in_the_original_stops_the_work(tmp_path, method):
    entry = planted(tmp_path, b"photo" * 1000, method)
    damaged = bytearray(entry.archive.read_bytes())
    damaged[entry.data_offset + entry.packed_size // 2] ^= 1
    entry.archive.write_bytes(damaged)
    with pytest.raises(DigestMismatch):
        read_packed(entry)


def test_an_entry_that_inflates_to_more_than_recorded_is_refused(tmp_path):
    entry = planted(tmp_path, b"0" * 100_000, DEFLATED)
    lying = Packed(entry.archive, entry.data_offset, entry.packed_size, DEFLATED, 10, zlib.crc32(b"0" * 10))
    with pytest.raises(DigestMismatch):
        read_packed(lying)


def test_a_missing_original_is_a_digest_mismatch_not_a_traceback(tmp_path):
    with pytest.raises(DigestMismatch):
        read_packed(Packed(tmp_path / "gone.bin", 0, 1, STORED, 1, 0))


def planted(folder, content, method):
    packed = content
    if method == DEFLATED:
        engine = zlib.compressobj(wbits=-15)
        packed = engine.compress(content) + engine.flush()
    archive = folder / f"{'ab' * 32}.bin"
    archive.write_bytes(b"before" + packed + b"after")
    return Packed(archive, 6, len(packed), method, len(content), zlib.crc32(content))

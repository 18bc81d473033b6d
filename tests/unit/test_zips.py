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


def moved(members):
    target = io.BytesIO()
    count = write_zip(target, members)
    return count, target.getvalue()


@pytest.mark.parametrize("method", [STORED, DEFLATED])
@pytest.mark.parametrize("size", [0, 1000, 300_000, 2_000_000], ids=["empty", "small", "over a block", "over many"])
def test_moving_an_entry_gives_the_bytes_of_writing_its_content(tmp_path, method, size):
    content = bytes(range(250)) * (size // 250)
    entry = planted(tmp_path, content, method)
    neighbours = [("a", b"1"), ("c", b"2" * 200_000), ("d", b"")]
    count, data = moved(sorted([*neighbours, ("b", entry)]))
    assert (count, data) == moved(sorted([*neighbours, ("b", content)]))


def test_thousands_of_entries_come_out_as_they_went_in():
    members = [(f"{number:05d}.jpg", b"%d" % number * (number % 700)) for number in range(5000)]
    with zipfile.ZipFile(io.BytesIO(written(members))) as archive:
        assert [(info.filename, archive.read(info)) for info in archive.infolist()] == members


def test_damage_in_an_original_shows_to_every_reader_of_the_zip(tmp_path):
    entry = planted(tmp_path, b"photo" * 1000, STORED)
    entry.archive.write_bytes(entry.archive.read_bytes().replace(b"photo", b"phot0", 1))
    _, data = moved([("a", entry)])
    with zipfile.ZipFile(io.BytesIO(data)) as archive, pytest.raises(zipfile.BadZipFile, match="CRC"):
        archive.read("a")


@pytest.mark.parametrize("method", [STORED, DEFLATED])
@pytest.mark.parametrize("harm", ["cut", "gone", "other length"])
def test_what_cannot_be_moved_as_recorded_stops_the_zip(tmp_path, method, harm):
    entry = planted(tmp_path, b"photo" * 1000, method)
    if harm == "cut":
        entry.archive.write_bytes(entry.archive.read_bytes()[: 6 + entry.packed_size // 2])
    elif harm == "gone":
        entry.archive.unlink()
    else:
        entry = Packed(entry.archive, 6, entry.packed_size, method, entry.size - 1, entry.crc32)
    with pytest.raises(DigestMismatch, match="原件 abababababab"):
        moved([("a", entry)])

"""Zips as cities send them, and as attackers would: BAD-INPUTS §1.1, case by case."""

import dataclasses
import gzip
import io
import stat
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest
from made_zips import DEFLATED, STEM, UTF8, Member, received, unicode_path, zip_bytes

from certflow.errors import SubmissionError
from certflow.intake import archive
from certflow.intake.submission import Archive
from certflow.settings import Limits

BOOK = f"{STEM}.XLS"
PHOTO = f"{STEM}/11010519491231002X.jpg"
JPEG = b"\xff\xd8\xff" + b"photo" * 50


@pytest.fixture
def unpack(tmp_path: Path):
    def run(data: bytes, **limits: int) -> Archive:
        return archive.unpack(received(tmp_path, data), Limits(**limits))

    return run


@pytest.fixture
def fault(unpack):
    def run(data: bytes, **limits: int) -> object:
        result = unpack(data, **limits)
        assert result.entries == () or result.measures["file_fault"] is None
        return result.measures["file_fault"]

    return run


def names(result: Archive) -> list[str]:
    assert result.measures["file_fault"] is None, result.measures
    return [entry.name for entry in result.entries]


def test_an_ordinary_zip_gives_every_byte_back(unpack, tmp_path):
    data = zip_bytes(Member(BOOK, b"book" * 100, DEFLATED), Member(PHOTO, JPEG))
    file = received(tmp_path, data)
    result = archive.unpack(file, Limits())
    assert names(result) == [BOOK, PHOTO]
    assert [entry.role for entry in result.entries] == ["workbook", "photo"]
    assert [archive.read_entry(file, entry) for entry in result.entries] == [b"book" * 100, JPEG]
    assert data[result.entries[1].data_offset :].startswith(JPEG)


def test_read_entry_refuses_bytes_that_changed_since(tmp_path):
    file = received(tmp_path, zip_bytes(Member(PHOTO, JPEG)))
    entry = archive.unpack(file, Limits()).entries[0]
    with pytest.raises(SubmissionError, match="ZIP-DAMAGED"):
        archive.read_entry(file, dataclasses.replace(entry, crc32=entry.crc32 ^ 1))


# names


def test_z01_gbk_names_without_flag_are_read(unpack):
    data = zip_bytes(Member(BOOK.encode("gbk"), flags=0), Member(PHOTO.encode("gbk"), JPEG, flags=0))
    assert names(unpack(data)) == [BOOK, PHOTO]


def test_z02_four_byte_gb18030_names_are_read(unpack):
    raw = "𬎆𠮷.jpg".encode("gb18030")
    assert names(unpack(zip_bytes(Member(raw, JPEG, flags=0)))) == ["𬎆𠮷.jpg"]


def test_z03_utf8_names_without_flag_are_read(unpack):
    assert names(unpack(zip_bytes(Member(BOOK, flags=0), Member(PHOTO, JPEG, flags=0)))) == [BOOK, PHOTO]


def test_z04_words_of_the_notice_decide_where_both_encodings_fit(unpack):
    # Every name here is valid in both; the notice's own words can be read in one only.
    both = "模模".encode("gbk")
    assert both.decode("utf-8") == "ģģ"
    told = zip_bytes(Member(both + b".jpg", JPEG, flags=0), Member(BOOK.encode("gbk"), flags=0))
    assert names(unpack(told)) == ["模模.jpg", BOOK]
    assert names(unpack(zip_bytes(Member(both + b".jpg", JPEG, flags=0)))) == ["ģģ.jpg"]


def test_z05_a_lying_utf8_flag_is_mended_and_reported(unpack):
    result = unpack(zip_bytes(Member(BOOK.encode("gbk"), flags=UTF8), Member(PHOTO.encode("gbk"), JPEG, flags=UTF8)))
    assert names(result) == [BOOK, PHOTO]
    assert result.measures["zip_encoding"] == 2


def test_z05_names_no_encoding_fits_are_returned(fault):
    assert fault(zip_bytes(Member(b"\xff\xff\xfe.jpg", flags=UTF8))) == "ZIP-NAMES"
    assert fault(zip_bytes(Member(b"\xff\xff\xfe.jpg", flags=0))) == "ZIP-NAMES"


def test_z06_cp437_mojibake_is_undone_and_reported(unpack):
    baked = BOOK.encode("gbk").decode("cp437")
    result = unpack(zip_bytes(Member(baked)))
    assert names(result) == [BOOK]
    assert result.measures["zip_encoding"] == 1


def test_unicode_path_field_is_used_where_its_crc_fits(unpack):
    raw = b"????.XLS"
    assert names(unpack(zip_bytes(Member(raw, flags=0, extra=unicode_path(raw, BOOK))))) == [BOOK]


def test_z07_unicode_path_that_contradicts_the_name_is_returned(fault):
    raw = b"a.jpg"
    assert fault(zip_bytes(Member(raw, flags=0, extra=unicode_path(raw, "b.exe")))) == "ZIP-NAMES"
    assert fault(zip_bytes(Member(raw, flags=0, extra=unicode_path(raw, "b.jpg", crc=1)))) == "ZIP-NAMES"
    assert fault(zip_bytes(Member(raw, flags=0, extra=unicode_path(raw, "../../b.jpg")))) == "ZIP-TRAVERSAL"


@pytest.mark.parametrize(
    "name",
    ["../x.xls", "a/../../x.xls", "..\\x.xls", "/etc/x.xls", "C:\\x.xls", "c:x.xls", "\\\\server\\share\\x.xls",
     "a/.. /x.xls"],
)  # fmt: skip
def test_z08_z09_z10_paths_that_leave_the_archive_are_returned(fault, name):
    assert fault(zip_bytes(Member(name))) == "ZIP-TRAVERSAL"


def test_z10_backslashes_become_slashes(unpack):
    assert names(unpack(zip_bytes(Member(f"{STEM}\\11010519491231002X.jpg", JPEG)))) == [PHOTO]


def test_z10_the_second_byte_of_a_gbk_sign_is_no_backslash(unpack):
    raw = "誠.jpg".encode("gbk")
    assert b"\\" in raw
    assert names(unpack(zip_bytes(Member(raw, JPEG, flags=0)))) == ["誠.jpg"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_z11_z12_links_and_devices_are_returned(fault, kind):
    assert fault(zip_bytes(Member(BOOK, attributes=(kind | 0o644) << 16))) == "ZIP-SPECIAL"


def test_z12_setuid_and_hard_links_are_returned(fault):
    assert fault(zip_bytes(Member(BOOK, attributes=(stat.S_IFREG | stat.S_ISUID | 0o755) << 16))) == "ZIP-SPECIAL"
    link = struct.pack("<HH", 0x000D, 18) + bytes(12) + b"target"
    assert fault(zip_bytes(Member(BOOK, extra=link))) == "ZIP-SPECIAL"


# bombs


def test_z13_a_bomb_is_returned_before_it_goes_off(fault):
    data = zip_bytes(Member("x.xls", bytes(50 << 20), DEFLATED))
    tracemalloc.start()
    assert fault(data) == "ZIP-BOMB"
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_z13_many_small_bombs_are_counted_together(fault):
    members = [Member(f"{number}.jpg", JPEG + bytes(10_000), DEFLATED) for number in range(20)]
    assert fault(zip_bytes(*members), unpacked_bytes=100_000) == "ZIP-BOMB"
    assert fault(zip_bytes(*members)) is None


def test_z14_a_header_that_lies_about_the_size_is_returned(fault):
    data = zip_bytes(Member("x.xls", bytes(50 << 20), DEFLATED, size=10))
    tracemalloc.start()
    assert fault(data) == "ZIP-BOMB"
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_z15_overlapping_entries_are_returned(fault):
    data = bytearray(zip_bytes(Member("a.jpg", JPEG), Member("b.jpg", JPEG)))
    second = data.rindex(b"PK\x01\x02")
    data[second + 42 : second + 46] = struct.pack("<L", 0)
    data[second + 46 : second + 51] = b"a.jpg"
    assert fault(bytes(data)) in ("ZIP-OVERLAP", "ZIP-DUPLICATE")
    inner = zip_bytes(Member("b.jpg", JPEG))
    header = len(inner[: inner.index(b"PK\x01\x02")])
    outer = bytearray(zip_bytes(Member("a.jpg", inner[:header]), Member("b.jpg", JPEG)))
    second = outer.rindex(b"PK\x01\x02")
    outer[second + 42 : second + 46] = struct.pack("<L", 30 + len("a.jpg"))
    assert fault(bytes(outer)) == "ZIP-OVERLAP"


def test_z16_z17_zips_in_zips_are_returned(fault):
    inner = zip_bytes(Member(BOOK))
    assert fault(zip_bytes(Member("inner.zip", inner))) == "ZIP-NESTED"
    assert fault(zip_bytes(Member("inner.dat", inner))) == "ZIP-NESTED"
    assert fault(zip_bytes(Member("inner.rar", b"Rar!\x1a\x07\x00"))) == "ZIP-NESTED"


def test_z18_too_many_entries_are_returned_by_count(fault):
    members = [Member(f"{number}.jpg", b"\xff\xd8\xff") for number in range(30)]
    assert fault(zip_bytes(*members), entries=29) == "ZIP-ENTRIES"
    assert fault(zip_bytes(*members), entries=30) is None


def test_z19_z20_z21_encrypted_entries_return_the_whole(fault):
    assert fault(zip_bytes(Member("a.jpg", JPEG), Member("b.jpg", JPEG, flags=UTF8 | 1))) == "ZIP-ENCRYPTED"
    assert fault(zip_bytes(Member("b.jpg", JPEG, method=99, flags=UTF8 | 1))) == "ZIP-ENCRYPTED"


# structure


@pytest.mark.parametrize("cut", [1, 10, 22, 60, 200, 400])
def test_z22_truncated_zips_are_returned(fault, cut):
    assert fault(zip_bytes(Member(BOOK, b"x" * 300), Member(PHOTO, JPEG))[:-cut]) == "ZIP-DAMAGED"


def test_z23_a_tail_is_returned(fault):
    assert fault(zip_bytes(Member(BOOK), tail=b"\x00")) == "ZIP-DAMAGED"
    assert fault(zip_bytes(Member(BOOK), tail=bytes(70_000))) == "ZIP-DAMAGED"


def test_a_comment_is_no_tail(fault):
    assert fault(zip_bytes(Member(BOOK), comment=b"made by a zip program")) is None


def test_z24_two_zips_in_one_file_are_returned(fault):
    one, other = zip_bytes(Member("a.jpg", JPEG)), zip_bytes(Member("b.jpg", JPEG))
    assert fault(one + other) == "ZIP-DAMAGED"
    # the same with offsets mended, as some tools leave it: the first zip lies unseen before the second
    out = io.BytesIO(one)
    out.seek(0, 2)
    with zipfile.ZipFile(out, "a") as appended:
        appended.writestr("c.jpg", JPEG)
    assert fault(out.getvalue()) is None  # a real append keeps the first directory
    hidden = bytearray(other)
    directory = hidden.index(b"PK\x01\x02")
    hidden[directory + 42 : directory + 46] = struct.pack("<L", len(one))
    end = hidden.index(b"PK\x05\x06")
    hidden[end + 16 : end + 20] = struct.pack("<L", len(one) + directory)
    assert fault(one + bytes(hidden)) == "ZIP-DAMAGED"


def test_z24_bytes_before_the_directory_that_belong_to_no_entry_are_returned(fault):
    data = zip_bytes(Member(BOOK), Member(PHOTO, JPEG, descriptor=True))
    directory, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")

    def with_gap(hidden: bytes) -> bytes:
        moved = bytearray(data[:directory] + hidden + data[directory:])
        moved[end + len(hidden) + 16 : end + len(hidden) + 20] = struct.pack("<L", directory + len(hidden))
        return bytes(moved)

    assert fault(with_gap(b"")) is None
    assert fault(with_gap(b"MZ" + bytes(99))) == "ZIP-DAMAGED"


def test_z25_local_and_central_names_must_agree(fault):
    assert fault(zip_bytes(Member("a.jpg", JPEG, local_name=b"b.jpg"))) == "ZIP-NAMES"


def test_z26_nul_in_a_name_is_returned(fault):
    assert fault(zip_bytes(Member(b"a.jpg\x00.exe", JPEG))) == "ZIP-NAMES"


def test_z27_a_wrong_crc_returns_the_whole_and_names_the_entry(unpack):
    result = unpack(zip_bytes(Member(BOOK), Member(PHOTO, JPEG, crc=1)))
    assert result.measures["file_fault"] == "ZIP-DAMAGED"
    assert result.measures["file_entry"] == 1
    assert "11010519491231002X" not in str(result.measures["file_detail"])


def test_z27_broken_deflate_is_returned(fault):
    assert fault(zip_bytes(Member(BOOK, b"x" * 99, DEFLATED, packed=b"\xff\xff\xff"))) == "ZIP-DAMAGED"
    whole = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = whole.compress(b"x" * 99) + whole.flush()
    assert fault(zip_bytes(Member(BOOK, b"x" * 99, DEFLATED, packed=packed + b"hidden"))) == "ZIP-DAMAGED"
    assert fault(zip_bytes(Member(BOOK, b"x" * 99, DEFLATED, packed=packed[:-1]))) == "ZIP-DAMAGED"


def test_z28_one_name_twice_is_returned(fault):
    assert fault(zip_bytes(Member(PHOTO, JPEG), Member(PHOTO, JPEG + b"x"))) == "ZIP-DUPLICATE"
    assert fault(zip_bytes(Member("a", JPEG), Member("a/b.jpg", JPEG), Member("a/", b""))) == "ZIP-DUPLICATE"


@pytest.mark.parametrize("other", ["37x.JPG", "37X.jpg ", "37X.jpg."])
def test_z29_z30_names_that_differ_in_case_or_form_only(unpack, other):
    same = unpack(zip_bytes(Member("37X.jpg", JPEG), Member(other, JPEG)))
    assert [entry.role for entry in same.entries] == ["photo", "junk"]
    assert same.entries[1].measures["twin_of"] == 0
    differing = unpack(zip_bytes(Member("37X.jpg", JPEG), Member(other, JPEG + b"x")))
    assert [entry.measures.get("zip_case") for entry in differing.entries] == [1, 1]


def test_z30_composed_and_decomposed_names_are_one(unpack):
    result = unpack(zip_bytes(Member("é.jpg", JPEG), Member("e\u0301.jpg", JPEG + b"x")))
    assert result.measures["zip_case"] == 2


@pytest.mark.parametrize(
    "name",
    ["__MACOSX/._11010519491231002X.jpg", "._11010519491231002X.jpg", ".DS_Store", "Thumbs.db", "desktop.ini",
     "~$a.xls", ".~a.et", "Icon\r"],
)  # fmt: skip
def test_z31_leftovers_of_systems_are_junk_and_no_photo(unpack, name):
    result = unpack(zip_bytes(Member(BOOK), Member(name, JPEG)))
    assert [entry.role for entry in result.entries] == ["workbook", "junk"]
    assert result.measures["zip_junk"] == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"Rar!\x1a\x07\x01\x00" + bytes(99), "RAR"), (b"7z\xbc\xaf\x27\x1c" + bytes(99), "7z"),
        (gzip.compress(b"x" * 99, mtime=0), "gzip"), (b"\r\n<!DOCTYPE html><html>404</html>", "网页"),
        (b"MZ" + bytes(99) + zip_bytes(Member(BOOK)), "程序"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "Excel"),
        (zip_bytes(Member("[Content_Types].xml"), Member("xl/workbook.xml"), Member("xl/media/1.jpg", JPEG)), "xlsx"),
        (zip_bytes(Member("mimetype"), Member("content.xml"), Member("Thumbnails/thumbnail.png", JPEG),
                   Member("META-INF/manifest.xml")), "ods"),
        (b"%PDF-1.7", "PDF"), ("你好".encode("gbk"), "文本"), (b"\x01\x02\x03\x04", "未知"),
    ],
)  # fmt: skip
def test_z32_z33_z40_other_files_are_named_for_what_they_are(unpack, data, words):
    found = unpack(data)
    measures = found.measures
    assert (measures["file_fault"], found.entries) == ("FILE-TYPE", ())
    assert words in str(measures["file_detail"])


def test_z34_an_empty_file_is_returned(fault):
    assert fault(b"") == "FILE-EMPTY"


def test_z35_empty_archives_are_returned(fault):
    assert fault(zip_bytes()) == "ZIP-EMPTY"
    assert fault(zip_bytes(Member("a/", b""), Member("Thumbs.db", b"x"))) == "ZIP-EMPTY"


def test_z36_split_archives_are_returned(fault):
    assert fault(b"PK\x07\x08" + zip_bytes(Member(BOOK))) == "ZIP-SPLIT"
    data = bytearray(zip_bytes(Member(BOOK)))
    end = data.index(b"PK\x05\x06")
    data[end + 4 : end + 6] = b"\x01\x00"
    assert fault(bytes(data)) == "ZIP-SPLIT"


def test_z37_zip64_is_read(unpack):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made, made.open(zipfile.ZipInfo(BOOK), "w", force_zip64=True) as member:
        member.write(b"book")
    assert names(unpack(out.getvalue())) == [BOOK]
    plain = zip_bytes(Member(BOOK, b"book"))
    end = plain.index(b"PK\x05\x06")
    _, _, _, _, count, length, offset, _ = struct.unpack_from("<4s4H2LH", plain, end)
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, length, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    last = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    assert names(unpack(plain[:end] + record + locator + last)) == [BOOK]


def test_z38_data_descriptors_are_read(unpack):
    data = zip_bytes(Member(BOOK, b"x" * 99, DEFLATED, descriptor=True), Member(PHOTO, JPEG, descriptor=True))
    assert names(unpack(data)) == [BOOK, PHOTO]
    out = io.BytesIO()

    class Pipe(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, block: bytes) -> int:
            return out.write(block)

    with zipfile.ZipFile(Pipe(), "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(BOOK, b"x" * 1000)
        made.writestr(PHOTO, JPEG)
    assert names(unpack(out.getvalue())) == [BOOK, PHOTO]


@pytest.mark.parametrize(("method", "word"), [(9, "Deflate64"), (14, "LZMA"), (93, "zstd"), (98, "PPMd"), (77, "77")])
def test_z39_other_methods_are_returned_by_name(unpack, method, word):
    measures = unpack(zip_bytes(Member(BOOK, method=method))).measures
    assert measures["file_fault"] == "ZIP-METHOD"
    assert word in str(measures["file_detail"])


@pytest.mark.parametrize(
    "name",
    ["ab:c.jpg", "a*.jpg", "a\nb.jpg", "-rf.jpg", "CON", "con.jpg", "a/NUL.txt", "gpj.\u202eexe", "a?.jpg", "x/-a.jpg"],
)
def test_z46_names_no_system_bears_are_returned(fault, name):
    assert fault(zip_bytes(Member(name, JPEG))) == "ZIP-NAMES"


def test_z47_names_too_long_for_a_file_system_are_returned(fault):
    assert fault(zip_bytes(Member("汉" * 86 + ".jpg", JPEG))) == "ZIP-NAMES"
    assert fault(zip_bytes(Member("汉" * 80 + ".jpg", JPEG))) is None


@pytest.mark.parametrize("time", [(0, 0), (0, 0x21), (0xFFFF, 0xFFFF)])
def test_z48_times_do_not_matter(fault, time):
    assert fault(zip_bytes(Member(BOOK, time=time))) is None


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("setup.exe", b"x"), ("a.bat", b"x"), ("a.js", b"x"), ("照片.lnk", b"x"), ("a.jpg", b"\x7fELF" + bytes(99)),
        ("b.jpg", b"MZ" + bytes(58) + struct.pack("<L", 64) + b"PE\x00\x00"),
        ("c.txt", b"X5O!P%@AP[4\\PZX54(P^)7CC)7}" + b"$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"),
    ],
)  # fmt: skip
def test_z49_programs_are_returned_whatever_their_name(fault, name, data):
    assert fault(zip_bytes(Member(BOOK), Member(name, data))) == "ZIP-EXECUTABLE"


def test_other_documents_are_kept_as_other(unpack):
    result = unpack(zip_bytes(Member(BOOK), Member("说明.docx", b"PK\x03\x04"), Member("说明.txt", b"x")))
    assert [entry.role for entry in result.entries] == ["workbook", "other", "other"]


def test_every_truncation_and_every_flipped_byte_is_a_verdict_not_a_crash(unpack):
    data = zip_bytes(Member(BOOK, b"book" * 9, DEFLATED), Member(PHOTO, JPEG[:40]))
    for cut in range(0, len(data), 7):
        assert unpack(data[:cut]).measures["file_fault"]
    for at in range(len(data)):
        broken = bytearray(data)
        broken[at] ^= 0x5A
        unpack(bytes(broken))

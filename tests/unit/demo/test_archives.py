import io
import zipfile

import pytest

from certflow.demo.archives import LINK_MODE, Member, pack


def opened(*members):
    return zipfile.ZipFile(io.BytesIO(pack(members)))


def test_a_plain_archive_reads_back_stored_and_deflated():
    archive = opened(Member("一.txt", b"one" * 99), Member("二/two.txt", b"two" * 99, method=8))
    assert archive.testzip() is None
    assert archive.namelist() == ["一.txt", "二/two.txt"]
    assert archive.read("二/two.txt") == b"two" * 99


def test_z01_gbk_names_carry_no_utf8_flag():
    archive = opened(Member("照片.jpg", b"x", "gb18030"))
    (info,) = archive.infolist()
    assert not info.flag_bits & 0x800
    assert info.filename.encode("cp437") == "照片.jpg".encode("gb18030")


def test_z11_a_link_is_a_link():
    (info,) = opened(Member("l.jpg", b"/etc/motd", mode=LINK_MODE)).infolist()
    assert info.external_attr >> 16 == LINK_MODE


def test_z19_encryption_is_the_real_one():
    archive = opened(Member("a.txt", b"secret text", password=b"123456"))
    with pytest.raises(RuntimeError, match="encrypted"):
        archive.read("a.txt")
    assert archive.read("a.txt", pwd=b"123456") == b"secret text"


def test_z27_a_claimed_crc_is_wrong():
    with pytest.raises(zipfile.BadZipFile, match="CRC"):
        opened(Member("a.txt", b"abc", crc=1)).read("a.txt")


def test_one_content_has_one_spelling():
    members = (Member("b", b"1", method=8), Member("a", b"2"))
    assert pack(members) == pack(members)

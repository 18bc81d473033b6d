"""A package is read back by other readers and every difference from the ledger stops it."""

import hashlib

import pytest

from certflow import excel
from certflow.dispatch.readback import read_back
from certflow.errors import DigestMismatch
from certflow.findings import FIELDS
from certflow.zips import write_zip

STEM = "202005-034-一级建造师(证书补换印制信息)数据(山东省)(2人)"
PHOTO = b"\xff\xd8 a photo"
DIGESTS = {"110105194912310021.jpg": hashlib.sha256(PHOTO).hexdigest()}


def row(**values):
    # E35: text that looks like a formula must come back as the same text.
    return dict.fromkeys(FIELDS, "") | {"ZSGLH": "2010", "KSXM": "=1+1", "ZJHM": "11010519491231002X"} | values


ROWS = [row(), row(ZSGLH="2011", KSXM="王晓[沛]·𠮷")]


def package(folder, *, rows=ROWS, header=FIELDS, photos=None, stem=STEM):
    path = folder / "package.zip"
    workbook = excel.write_xls(header, [[one[field] for field in FIELDS] for one in rows])
    members = [(f"{stem}.XLS", workbook)]
    members += [(f"{stem}/{name}", data) for name, data in (photos or dict.fromkeys(DIGESTS, PHOTO)).items()]
    with path.open("wb") as stream:
        write_zip(stream, members)
    return path


def test_a_package_that_says_what_the_ledger_says_passes(tmp_path):
    read_back(package(tmp_path), STEM, ROWS, DIGESTS)


def test_e35_text_that_looks_like_a_formula_is_never_a_formula(tmp_path):
    grid = excel.read_sheets(excel.write_xls(FIELDS, [[row()[field] for field in FIELDS]]))[0]
    assert grid.texts[1][1] == "=1+1"
    assert set("".join(grid.kinds)) <= {"t", " "}


@pytest.mark.parametrize(
    "change",
    [
        {"rows": [ROWS[0]]},
        {"rows": [ROWS[1], ROWS[0]]},
        {"rows": [ROWS[0], row(ZSGLH="2011", KSXM="王晓沛")]},
        {"header": (*FIELDS[:-2], "BMS", "ZP")},
        {"photos": {"110105194912310021.jpg": b"another photo"}},
        {"photos": {"110105194912310022.jpg": PHOTO}},
        {"photos": dict.fromkeys([*DIGESTS, "440524188001010014.jpg"], PHOTO)},
        {"stem": STEM.replace("2人", "3人")},
    ],
    ids=["row-lost", "order", "cell", "header", "photo-bytes", "photo-name", "photo-extra", "stem"],
)
def test_any_difference_stops_the_package(tmp_path, change):
    with pytest.raises(DigestMismatch) as caught:
        read_back(package(tmp_path, **change), STEM, ROWS, DIGESTS)
    assert "110105" not in str(caught.value)


def test_a_name_that_says_another_count_stops_the_package(tmp_path):
    stem = STEM.replace("2人", "3人")
    with pytest.raises(DigestMismatch):
        read_back(package(tmp_path, stem=stem), stem, ROWS, DIGESTS)


def test_a_truncated_zip_stops_the_package(tmp_path):
    path = package(tmp_path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DigestMismatch):
        read_back(path, STEM, ROWS, DIGESTS)


def test_a_flipped_bit_in_a_photo_stops_the_package(tmp_path):
    path = package(tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(PHOTO) + 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(DigestMismatch):
        read_back(path, STEM, ROWS, DIGESTS)

"""A package is read back by other readers and every difference from the ledger stops it."""

import hashlib

import pytest

from certflow import excel
from certflow.checks.package import package_judge
from certflow.dispatch import readback
from certflow.dispatch.readback import strictly
from certflow.errors import DigestMismatch
from certflow.findings import FIELDS
from certflow.settings import Settings
from certflow.zips import write_zip

STEM = "202005-034-一级建造师(证书补换印制信息)数据(山东省)(2人)"
PHOTO = b"\xff\xd8 a photo"
DIGESTS = {"110105194912310021.jpg": hashlib.sha256(PHOTO).hexdigest()}


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    return package_judge(Settings(home=tmp_path_factory.mktemp("home")))


@pytest.fixture(params=["suite", "strictly"])
def read_back(request):
    """The read-back under both judges: the suite, and the one that needs no library."""
    judge = strictly if request.param == "strictly" else request.getfixturevalue("suite")

    def read(path, *args, **named):
        files = path if isinstance(path, list) else [path]
        readback.read_back(files, *args, judge=judge, **named)

    return read


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


def test_a_package_that_says_what_the_ledger_says_passes(read_back, tmp_path):
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
def test_any_difference_stops_the_package(read_back, tmp_path, change):
    with pytest.raises(DigestMismatch) as caught:
        read_back(package(tmp_path, **change), STEM, ROWS, DIGESTS)
    assert "110105" not in str(caught.value)


def test_a_name_that_says_another_count_stops_the_package(read_back, tmp_path):
    stem = STEM.replace("2人", "3人")
    with pytest.raises(DigestMismatch):
        read_back(package(tmp_path, stem=stem), stem, ROWS, DIGESTS)


def test_a_truncated_zip_stops_the_package(read_back, tmp_path):
    path = package(tmp_path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DigestMismatch):
        read_back(path, STEM, ROWS, DIGESTS)


@pytest.mark.parametrize("spoil", [lambda data: data[:3000], lambda data: data.replace(b"\n\0\0\0", b"\r\0\0\0")])
def test_a_workbook_no_reader_can_follow_stops_the_package(read_back, tmp_path, spoil):
    """Whatever a reader raises over broken records: the step says so, it does not end with a bare error."""
    whole = excel.write_xls(FIELDS, [[one[field] for field in FIELDS] for one in ROWS])
    path = tmp_path / "package.zip"
    with path.open("wb") as stream:
        write_zip(stream, [(f"{STEM}.XLS", spoil(whole)), *((f"{STEM}/{name}", PHOTO) for name in DIGESTS)])
    with pytest.raises(DigestMismatch, match=r"workbook_damaged|PKG-"):
        read_back(path, STEM, ROWS, DIGESTS)


def test_a_flipped_bit_in_a_photo_stops_the_package(read_back, tmp_path):
    path = package(tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(PHOTO) + 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(DigestMismatch):
        read_back(path, STEM, ROWS, DIGESTS)


def test_what_does_not_hold_is_told_by_rule_code_and_row_number(tmp_path, suite):
    changed = [ROWS[0], row(ZSGLH="2011", KSXM="王晓沛")]
    with pytest.raises(DigestMismatch, match=r"PKG-CELL 第 3 行 KSXM 与台账不一致"):
        readback.read_back([package(tmp_path, rows=changed)], STEM, ROWS, DIGESTS, judge=suite)


def test_cells_that_are_no_text_are_told_by_another_reader_than_the_writer(tmp_path, suite):
    import io

    import xlwt

    book = xlwt.Workbook()
    sheet = book.add_sheet("Sheet1")
    for column, field in enumerate(FIELDS):
        sheet.write(0, column, field, xlwt.easyxf(num_format_str="@"))
        sheet.write(1, column, ROWS[0][field], xlwt.easyxf(num_format_str="General" if column == 1 else "@"))
    sheet.write(2, 0, 2011, xlwt.easyxf(num_format_str="@"))
    out = io.BytesIO()
    book.save(out)
    path = tmp_path / "package.zip"
    with path.open("wb") as stream:
        write_zip(stream, [(f"{STEM}.XLS", out.getvalue()), *((f"{STEM}/{name}", PHOTO) for name in DIGESTS)])
    with pytest.raises(DigestMismatch) as caught:
        readback.read_back([path], STEM, ROWS, DIGESTS, judge=suite)
    assert "PKG-CELL-TYPE 第 3 行有 1 个单元格不是文本" in str(caught.value)
    assert "PKG-CELL-TYPE 第 2 行有 1 个单元格的格式不是“文本”" in str(caught.value)


def test_names_are_tried_through_a_gbk_reader_and_a_utf8_reader(tmp_path, read_back):
    stem = STEM.replace("建造师", "建造师𠮷")
    with pytest.raises(DigestMismatch, match=r"GBK|names_gbk"):
        read_back(package(tmp_path, stem=stem), stem, ROWS, DIGESTS)
    workbook = excel.write_xls(FIELDS, [[one[field] for field in FIELDS] for one in ROWS])
    path = tmp_path / "old.zip"
    with path.open("wb") as stream:
        write_zip(stream, [(f"{STEM}.XLS", workbook), *((f"{STEM}/{n}", PHOTO) for n in DIGESTS)], "gb18030")
    read_back(path, STEM, ROWS, DIGESTS, names="gb18030")
    with pytest.raises(DigestMismatch):
        read_back(path, STEM, ROWS, DIGESTS, names="utf-8")


def test_a_path_too_long_for_windows_stops_the_package(tmp_path, read_back):
    stem = STEM.replace("一级建造师", "很长的考试名称" * 11)
    with pytest.raises(DigestMismatch, match=r"PKG-PATH|names_unreadable|path_length") as caught:
        read_back(package(tmp_path, stem=stem), stem, ROWS, DIGESTS)
    assert "110105" not in str(caught.value)


@pytest.fixture
def two(tmp_path):
    """Workbook and photos in two zips, made by hand: what lies in which, and under which names."""

    def write(first, second):
        for name, members in (("a.zip", first), ("b.zip", second)):
            with (tmp_path / name).open("wb") as stream:
                write_zip(stream, members)
        return [tmp_path / "a.zip", tmp_path / "b.zip"]

    return write


BOOK = (f"{STEM}.XLS", excel.write_xls(FIELDS, [[one[field] for field in FIELDS] for one in ROWS]))
PHOTOS = [(f"{STEM}/{name}", PHOTO) for name in DIGESTS]


def test_workbook_and_photos_in_two_zips_pass(two, read_back):
    read_back(two([BOOK], PHOTOS), STEM, ROWS, DIGESTS)


@pytest.mark.parametrize(
    ("first", "second"),
    [([BOOK, *PHOTOS], []), ([], [BOOK, *PHOTOS]), (PHOTOS, [BOOK]), ([BOOK], [BOOK, *PHOTOS]), ([BOOK], [])],
    ids=["all in the first", "all in the second", "changed places", "workbook twice", "no photos"],
)
def test_of_two_zips_each_holds_its_own(two, read_back, first, second):
    with pytest.raises(DigestMismatch):
        read_back(two(first, second), STEM, ROWS, DIGESTS)

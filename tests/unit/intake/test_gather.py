"""Files become submissions, whatever way a city zipped them (Z41-Z45, Z50, DOMAIN §2)."""

import itertools

import pytest
from made_books import row
from made_zips import DEFLATED, STEM, Member, received, zip_bytes

from certflow import excel
from certflow.findings import FIELDS
from certflow.intake.gather import gather
from certflow.intake.submission import Received, Submission
from certflow.reference import load_reference

SOFT = "202005-901-软考示例(合成)(证书补换印制信息)数据(济南市)(1人)"
ID, OTHER_ID = "11010519491231002X", "440524188001010014"
BOOK = excel.write_xls(FIELDS, [row(1)])
JPEG = b"\xff\xd8\xff" + b"p" * 50


@pytest.fixture
def send(tmp_path, settings):
    """Gather zips given as name → {member: bytes}; checks that no member is lost and none counted twice."""
    numbers = itertools.count(1)

    def run(**zips: dict[str, bytes] | bytes) -> list[Submission]:
        files: list[Received] = []
        for name, members in zips.items():
            folder = tmp_path / str(next(numbers))
            folder.mkdir()
            data = members if isinstance(members, bytes) else zip_bytes(
                *(Member(member, data, DEFLATED) for member, data in members.items())
            )  # fmt: skip
            files.append(received(folder, data, name))
        made = gather(files, settings, load_reference(settings))
        assert {file.path for one in made for file in one.files} == {file.path for file in files}
        members = [
            (file.path, entry.ordinal)
            for one in made
            for file, entry in (
                *one.photos,
                *one.others,
                *([(one.workbook_file, one.workbook)] if one.workbook else []),
            )
        ]
        assert len(members) == len(set(members))
        expected = sum(
            len(zips[file.name]) for one in {f.path: (o, f) for o in made for f in o.files}.values()
            for file in one[1:] if isinstance(zips[file.name], dict) and one[0].measures["file_fault"] is None
        )  # fmt: skip
        assert len(members) == expected
        return made

    return run


def test_one_zip_with_workbook_and_folder_is_one_submission(send):
    (one,) = send(**{f"{STEM}.zip": {f"{STEM}.XLS": BOOK, f"{STEM}/{ID}.jpg": JPEG}})
    assert one.name.stem == one.stem == STEM
    assert one.sheet.values["ZJHM"] == [ID]
    assert [entry.base_name for _, entry in one.photos] == [f"{ID}.jpg"]
    for column in ("zip_wrapper", "name_folder", "zip_junk", "zip_encoding"):
        assert one.measures[column] == 0
    assert one.measures["file_fault"] is None
    assert one.measures["book_fault"] is None
    assert "name_tolerated" not in one.measures


def test_z41_wrapping_folders_are_seen_through(send):
    wrapped = {"新建文件夹/": b"", f"新建文件夹/{STEM}.XLS": BOOK, f"新建文件夹/{STEM}/{ID}.jpg": JPEG}
    (one,) = send(**{"a.zip": wrapped})
    assert one.name.stem == STEM
    assert one.measures["zip_wrapper"] == 1
    assert len(one.photos) == len(one.others) == 1
    (same,) = send(**{"a.zip": {f"{STEM}/{STEM}.XLS": BOOK, f"{STEM}/{ID}.jpg": JPEG}})
    assert same.measures["name_folder"] == 0


@pytest.mark.parametrize("folder", ["", "照片/"])
def test_z42_photos_beside_the_workbook_are_taken_and_noted(send, folder):
    (one,) = send(**{"a.zip": {f"{STEM}.XLS": BOOK, f"{folder}{ID}.jpg": JPEG}})
    assert len(one.photos) == 1
    assert one.measures["name_tolerated"] == 1
    assert one.measures["name_folder"] == 0


def test_z43_a_folder_for_another_city_is_marked(send):
    other = STEM.replace("济南", "青岛")
    (one,) = send(**{"a.zip": {f"{STEM}.XLS": BOOK, f"{other}/{ID}.jpg": JPEG}})
    assert one.measures["name_folder"] == 1
    assert len(one.photos) == 1
    (odd,) = send(**{"a.zip": {f"{STEM}.XLS": BOOK, f"五月的/{ID}.jpg": JPEG}})
    assert odd.measures["name_folder"] == 1


@pytest.mark.parametrize("change", [("(", "（"), ("1人", "2人"), ("济南市", "济南"), ("-034-", "－034－")])
def test_z43_brackets_width_or_count_are_tolerated(send, change):
    (one,) = send(**{"a.zip": {f"{STEM}.XLS": BOOK, f"{STEM.replace(*change)}/{ID}.jpg": JPEG}})
    assert one.measures["name_folder"] == 0
    assert one.measures["name_tolerated"] == 1
    assert len(one.photos) == 1


def test_z44_several_exams_in_one_zip_are_split(send):
    two = {
        f"{STEM}.XLS": BOOK,
        f"{STEM}/{ID}.jpg": JPEG,
        f"{SOFT}.xls": BOOK,
        f"{SOFT}/{ID}.jpg": JPEG,
        "Thumbs.db": b"x",
    }
    first, second = send(**{"五月.zip": two})
    assert [one.name.exam_code for one in (first, second)] == ["034", "901"]
    assert len(first.photos) == len(second.photos) == 1
    assert first.measures["book_fault"] is second.measures["book_fault"] is None


def test_z44_loose_photos_of_several_exams_go_by_id_number(send):
    other = excel.write_xls(FIELDS, [row(2, ZJHM=OTHER_ID)])
    two = {f"{STEM}.XLS": BOOK, f"{SOFT}.xls": other, f"{ID.lower()}.jpg": JPEG, f"{OTHER_ID}.jpg": JPEG}
    first, second = send(**{"五月.zip": two})
    assert [entry.base_name for _, entry in first.photos] == [f"{ID.lower()}.jpg"]
    assert [entry.base_name for _, entry in second.photos] == [f"{OTHER_ID}.jpg"]


@pytest.mark.parametrize("place", ["{}.jpg", "照片/{} 测试.jpg", "照片/{}(2).jpg"])
def test_z44_d25_a_loose_photo_goes_to_every_exam_that_names_it(send, place):
    """One owns it, the others borrow it: it has one place among the members all the same."""
    other = excel.write_xls(FIELDS, [row(2, ZJHM=OTHER_ID), row(3, ZJHM=ID)])
    mine, theirs = place.format(ID), place.format(OTHER_ID)
    first, second = send(**{"五月.zip": {f"{STEM}.XLS": BOOK, f"{SOFT}.xls": other, mine: JPEG, theirs: JPEG}})
    assert [entry.name for _, entry in first.photos] == [mine]
    assert [entry.name for _, entry in second.photos] == [theirs]
    assert [entry.name for _, entry in second.earlier_photos] == [mine]
    assert first.earlier_photos == ()


def test_z44_d36_a_loose_photo_may_be_named_by_the_column(send):
    other = excel.write_xls(FIELDS, [row(2, ZJHM=OTHER_ID, ZP="照片\\DSC1.JPG")])
    first, second = send(**{"五月.zip": {f"{STEM}.XLS": BOOK, f"{SOFT}.xls": other, "DSC1.jpg": JPEG}})
    assert [len(one.photos) for one in (first, second)] == [0, 1]


@pytest.mark.parametrize("photos", [f"{STEM}/{ID}.jpg", f"照片/{ID}.jpg", f"{ID}.jpg"])
def test_z45_workbook_and_photos_in_two_zips_meet(send, photos):
    made = send(**{f"{STEM}.XLS.zip": {f"{STEM}.XLS": BOOK}, f"{STEM}.zip": {photos: JPEG}})
    assert len(made) == 1
    assert [file.name for file in made[0].files] == [f"{STEM}.XLS.zip", f"{STEM}.zip"]
    assert len(made[0].photos) == 1
    assert made[0].measures["zip_entries"] == 2


def test_z45_the_order_of_the_two_zips_does_not_matter(send):
    (one,) = send(**{"photos.zip": {f"{STEM}/{ID}.jpg": JPEG}, "book.zip": {f"{STEM}.XLS": BOOK}})
    assert one.workbook_file.name == "book.zip"
    assert len(one.photos) == 1


def test_z45_one_exam_over_two_workbooks_marks_both(send):
    other = excel.write_xls(FIELDS, [row(2)])
    made = send(**{"a.zip": {f"{STEM}.XLS": BOOK}, "b.zip": {f"{STEM}.XLS": other}})
    assert [one.measures["book_second"] for one in made] == [2, 2]


def test_photos_without_a_workbook_wait_as_a_submission_of_their_own(send):
    (one,) = send(**{"b.zip": {f"{STEM}/{ID}.jpg": JPEG, f"{STEM}/{OTHER_ID}.jpg": JPEG}})
    assert one.workbook is None
    assert one.name.stem == STEM
    assert len(one.photos) == 2
    assert one.measures["file_fault"] is None


def test_a_workbook_whose_name_says_nothing_takes_the_folders_name_and_is_marked(send):
    (one,) = send(**{"a.zip": {"数据.xls": BOOK, f"{STEM}/{ID}.jpg": JPEG}})
    assert one.name.stem == STEM
    assert one.measures["name_folder"] == 1
    (nameless,) = send(**{"a.zip": {"数据.xls": BOOK}})
    assert nameless.name is None
    assert nameless.sheet is not None


def test_a_broken_zip_is_a_submission_that_says_so(send):
    (one,) = send(**{f"{STEM}.zip": b"PK\x03\x04 and nothing else"})
    assert one.measures["file_fault"] == "ZIP-DAMAGED"
    assert one.name.stem == STEM
    assert one.sheet is None
    (other,) = send(**{f"{STEM}.XLS": BOOK})
    assert other.measures["file_fault"] == "FILE-TYPE"


def test_a_workbook_that_cannot_be_read_is_a_submission_that_says_so(send):
    (one,) = send(**{"a.zip": {f"{STEM}.XLS": b"<html>"}})
    assert one.sheet is None
    assert one.measures["book_fault"] == "BOOK-TYPE"


def test_a_nil_report_is_no_fault(send):
    (one,) = send(**{"202005-零报(济南市).txt": b""})
    assert (one.measures["nil_month"], one.measures["nil_city"]) == ("202005", "济南市")
    assert one.measures["file_fault"] is None
    (other,) = send(**{"零报.txt": b"x"})
    assert other.measures["file_fault"] == "FILE-TYPE"


def test_results_stand_in_the_order_of_the_files(send):
    names = [STEM.replace("济南", city) for city in ("青岛", "济南", "淄博")]
    made = send(**{f"{name}.zip": {f"{name}.XLS": BOOK} for name in names})
    assert [one.stem for one in made] == names


def test_z50_the_same_zip_twice_stays_two_submissions_for_the_checks_to_see(send):
    data = {f"{STEM}.XLS": BOOK}
    assert len(send(**{"a.zip": data, "b.zip": data})) == 2

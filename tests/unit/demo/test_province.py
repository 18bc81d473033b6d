import json
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import xlrd

from certflow.demo import labelled, row_defects
from certflow.demo.people import People
from certflow.demo.province import build, generate
from certflow.reference import load_reference
from certflow.settings import Settings

ROWS = 2_500


@pytest.fixture(scope="module")
def reference():
    return load_reference(Settings(home=Path("nowhere")))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("province")
    return folder, generate(folder, rows=ROWS, seed=7)


@pytest.fixture(scope="module")
def answers(made):
    return json.loads((made[0] / "answers.json").read_text(encoding="utf-8"))


def test_one_seed_gives_the_same_bytes(made, tmp_path):
    def everything(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    generate(tmp_path / "again", rows=ROWS, seed=7)
    assert everything(tmp_path / "again") == everything(made[0])


def test_another_seed_makes_other_people():
    assert People(7).person().id_number != People(8).person().id_number


def test_all_sixteen_cities_report_and_one_of_them_nil(answers):
    assert len(answers["accounts"]) == 16
    assert {one["account"] for one in answers["files"]} == set(answers["accounts"])
    assert answers["nil"]["file"] == "202005-零报(菏泽市).txt"
    assert Counter(one["account"] for one in answers["files"])[answers["nil"]["account"]] == 1


def test_enough_kinds_are_planted_and_every_one_has_an_answer(answers):
    defects = [label for label in answers["labels"] if not label["sound"]]
    assert len({label["kind"] for label in defects}) >= 90
    assert {label["scope"] for label in defects} == {"file", "row", "photo"}
    assert all(label["rules"] and set(label["outcomes"]) <= {"held", "returned", "ignored"} for label in defects)
    assert all(label["outcomes"] == ["accepted"] for label in answers["labels"] if label["sound"])


def test_every_labelled_place_exists_in_the_dropped_files(made, answers):
    folder = made[0]
    for label in answers["labels"]:
        paths = [folder / "cities" / label["account"] / name for name in label["files"]]
        assert paths
        assert all(path.is_file() for path in paths), label
        if label["entry"]:
            names = [name for path in paths for name in zipfile.ZipFile(path).namelist()]
            assert any(name.endswith(f"/{label['entry']}") for name in names), label


def test_no_place_carries_two_labels_of_different_kinds(answers):
    kinds = {}
    for label in answers["labels"]:
        if label["row"]:
            place = (label["account"], label["exam"], label["row"])
            assert kinds.setdefault(place, label["kind"]) == label["kind"], place


def test_a_label_names_the_row_number_that_excel_shows(made):
    # The city with a title row above its header: the first row of data is row 3.
    _, province = made
    parcel = next(one for one in province.parcels if one.style.title and not one.style.xlsx)
    drop = next(one for one in province.drops if parcel in one.parcels)
    with zipfile.ZipFile(made[0] / "cities" / drop.account / drop.name) as archive:
        book = next(name for name in archive.namelist() if name.endswith(".XLS"))
        sheet = xlrd.open_workbook(file_contents=archive.read(book)).sheet_by_index(0)
    for row in parcel.rows:
        assert sheet.cell(row.number - 1, 0).value == row.values["ZSGLH"]


def test_e10_a_numeric_id_cell_really_is_a_number(made):
    _, province = made
    label = next(one for one in province.labels if one.kind == "证件号码为数字单元格")
    drop = next(one for one in province.drops if label.parcel in one.parcels)
    if label.parcel.style.xlsx:
        pytest.skip("this seed put the kind into an xlsx")
    with zipfile.ZipFile(made[0] / "cities" / drop.account / drop.name) as archive:
        book = next(name for name in archive.namelist() if name.endswith(".XLS"))
        sheet = xlrd.open_workbook(file_contents=archive.read(book)).sheet_by_index(0)
    kinds = {cell.ctype for cell in sheet.row(label.row.number - 1)}
    assert xlrd.XL_CELL_NUMBER in kinds


def test_the_registry_holds_every_certificate_that_may_pass(made, answers):
    import csv

    with (made[0] / "registry.csv").open(encoding="utf-8-sig", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == ROWS
    numbers = Counter(line["ZSGLH"] for line in lines)
    assert max(count for number, count in numbers.items() if number) == 1
    assert numbers[""] >= 1, "a very old certificate has no number"
    assert {line["ZJLB"] for line in lines} >= {"居民身份证", "护照", "军官证", "台湾居民来往大陆通行证"}
    assert {len(line["ZJHM"]) for line in lines if line["ZJLB"] == "居民身份证"} == {15, 18}
    assert any(sign >= "\U00020000" for line in lines for sign in line["KSXM"]), "characters beyond the BMP"
    assert any(line["BMS"] == "莱芜市" for line in lines)


def test_too_small_a_registry_is_refused_with_the_number_that_is_needed(reference):
    with pytest.raises(ValueError, match=r"^演示的一个月就有 \d{3} 份证书，--rows 不能更小$"):
        build(reference, rows=10)
    with pytest.raises(ValueError, match=r"^埋下的错误和特例就超过了 300 行，至少再加 \d+ 行$"):
        labelled.build(reference, rows=300)


def test_the_generator_imports_nothing_of_the_checking_code():
    import ast

    folder = Path(row_defects.__file__).parent
    allowed = ("certflow.demo", "certflow.month", "certflow.reference", "certflow.settings")
    for name in (
        "archives", "authority", "cities", "file_defects", "people", "photo_defects", "planting", "portraits",
        "edge_oddities", "labelled", "province", "rare_defects", "row_defects", "row_oddities", "workbooks",
    ):  # fmt: skip
        tree = ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            found = []
            if isinstance(node, ast.ImportFrom):
                found = [node.module or ""]
            elif isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            for module in found:
                assert not module.startswith("certflow") or module.startswith(allowed), (name, module)

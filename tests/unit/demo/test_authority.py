import csv
import hashlib
import io
import json

import pytest
from python_calamine import CalamineWorkbook

from certflow.demo import authority
from certflow.demo.archives import Member, pack
from certflow.demo.cities import COLUMNS
from certflow.demo.people import RESIDENT, People
from certflow.demo.portraits import Gallery, encode
from certflow.demo.workbooks import Line, write_xls

SEED = 5


def package(folder, *, rows=24, count=None, exam="034", spoil=None):
    """A package as the province sends it: zip and manifest in 上报/202005."""
    people, gallery = People(1), Gallery(1)
    lines, photos = [], {}
    for number in range(rows):
        person = people.person(kind=RESIDENT)
        photo = f"{person.id_number}.jpg" if number < 2 else ""
        if photo:
            photos[photo] = encode(gallery.portrait(person.number))
        approved = "20160601" if photo else "20180601"
        lines.append([
            f"2018060343700{number:05d}", person.name, person.id_number, RESIDENT, person.sex, "一级", "建筑工程",
            f"{person.born:%Y%m}", approved, photo, "济南市",
        ])  # fmt: skip
    stem = f"202005-{exam}-一级建造师(证书补换印制信息)数据(山东省)({count or rows}人)"
    grid = [Line(0, COLUMNS), *(Line(at, tuple(line)) for at, line in enumerate(lines, start=1))]
    members = [Member(f"{stem}.XLS", write_xls(grid))]
    members += [Member(f"{stem}/{name}", data) for name, data in photos.items()]
    data = pack(spoil(members) if spoil else members)
    shelf = folder / "上报" / "202005"
    shelf.mkdir(parents=True, exist_ok=True)
    (shelf / f"{stem}.zip").write_bytes(data)
    manifest = {
        "file": f"{stem}.zip",
        "sha256": hashlib.sha256(data).hexdigest(),
        "rows": rows,
        "photos": len(photos),
    }
    (shelf / f"{stem}.manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return stem


def no_photo(members):
    return [Member(one.name, b"\xff\xd8broken") if one.name.endswith("jpg") else one for one in members]


def wrong_crc(members):
    return [Member(members[0].name, members[0].data, crc=1), *members[1:]]


def test_a_sound_package_is_taken_into_the_archive(tmp_path):
    stem = package(tmp_path)
    (taken,) = authority.take_packages(tmp_path)
    assert taken.problems == ()
    assert (taken.exam, len(taken.rows), len(taken.photos)) == ("034", 24, 2)
    assert sorted(path.name for path in (tmp_path / "归档" / "202005").iterdir()) == [
        f"{stem}.manifest.json", f"{stem}.zip",
    ]  # fmt: skip
    assert list((tmp_path / "上报" / "202005").iterdir()) == []


def test_a_zip_without_its_manifest_is_left_alone(tmp_path):
    stem = package(tmp_path)
    (tmp_path / "上报" / "202005" / f"{stem}.manifest.json").unlink()
    assert authority.take_packages(tmp_path) == []
    assert (tmp_path / "上报" / "202005" / f"{stem}.zip").is_file()


@pytest.mark.parametrize(
    ("wishes", "problem"),
    [
        ({"count": 25}, "number of rows"),
        ({"spoil": lambda members: members[:-1]}, "photos differ"),
        ({"spoil": lambda members: [*members, Member("readme.txt", b"hello")]}, "something else"),
        ({"spoil": no_photo}, "no 295×413 JPEG"),
        ({"spoil": lambda members: [Member(members[0].name, b"PK\x03\x04"), *members[1:]]}, "no real XLS"),
        ({"spoil": wrong_crc}, "damaged|cannot be read"),
    ],
)  # fmt: skip
def test_whatever_is_wrong_with_a_package_is_a_problem(tmp_path, wishes, problem):
    import re

    package(tmp_path, **wishes)
    (taken,) = authority.take_packages(tmp_path)
    assert any(re.search(problem, one) for one in taken.problems), taken.problems


def test_a_manifest_of_other_bytes_is_a_problem(tmp_path):
    stem = package(tmp_path)
    with (tmp_path / "上报" / "202005" / f"{stem}.zip").open("ab") as stream:
        stream.write(b"\0")
    (taken,) = authority.take_packages(tmp_path)
    assert "manifest does not fit the file" in taken.problems


def test_the_answer_prints_most_and_errs_as_planned(tmp_path):
    package(tmp_path)
    package(tmp_path, exam="901")
    answers = authority.answer(tmp_path, authority.take_packages(tmp_path), SEED)
    assert answers.counts() == {
        "printed": 36, "refused": 6, "missing": 4, "extra": 1, "changed": 2, "duplicate": 1,
    }  # fmt: skip
    first, second = (tmp_path / "返回" / name for name in answers.files)
    lines = list(csv.DictReader(io.StringIO(first.read_bytes().decode("utf-8-sig"), newline="")))
    assert tuple(lines[0]) == authority.RETURN_COLUMNS
    assert len(lines) == 24 - 2 + 1 + 1  # without the missing ones, with one twice and one never sent
    grid = CalamineWorkbook.from_path(second).get_sheet_by_index(0).to_python()
    assert tuple(grid[0]) == authority.RETURN_COLUMNS
    assert len(grid) == 1 + 24 - 2


def test_one_seed_gives_one_answer(tmp_path):
    for name in ("one", "two"):
        package(tmp_path / name)
        authority.answer(tmp_path / name, authority.take_packages(tmp_path / name), SEED)
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "返回").iterdir()} for name in ("one", "two")
    )
    assert one == two


def test_a_package_with_a_problem_is_not_printed(tmp_path):
    package(tmp_path, count=99)
    answers = authority.answer(tmp_path, authority.take_packages(tmp_path), SEED)
    assert answers.files == []
    assert sum(answers.counts().values()) == 0

"""What receivers open our packages with: LibreOffice, unzip, 7-Zip, Python, and readers that know GBK alone."""

import shutil
import subprocess
import zipfile

import pytest

from certflow import biff, excel
from certflow.findings import FIELDS
from certflow.zips import write_zip

STEM = "202005-034-一级建造师(证书补换印制信息)数据(山东省)(8人)"
NAMES = (
    "张三",
    "买买提·艾力江·阿不都热合曼·吐尔逊·" + "阿" * 30,
    "王晓[沛]",
    "\U00020bb7野\u4dae\U0002c07b",  # 𠮷, 䶮 and one of Extension E
    "=1+1",
    "'0001",
    "00012",
    "1e5",
)


@pytest.fixture
def workbook():
    row = dict.fromkeys(FIELDS, "") | {"ZSGLH": "201001034370000001", "ZJHM": "11010519491231002X", "PZRQ": "20100101"}
    return excel.write_xls(FIELDS, [list((row | {"KSXM": name}).values()) for name in NAMES])


@pytest.fixture
def package(tmp_path, workbook):
    def write(names="utf-8"):
        path = tmp_path / f"package-{names}.zip"
        with path.open("wb") as stream:
            write_zip(stream, [(f"{STEM}.XLS", workbook), (f"{STEM}/11010519491231002X.jpg", b"photo")], names)
        return path

    return write


def run(*command, **named):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, capture_output=True, check=True, timeout=120, **named).stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["xls:MS Excel 97", "xlsx:Calc MS Excel 2007 XML"])
def test_libreoffice_opens_it_without_repair_and_keeps_every_value_when_it_saves(tmp_path, workbook, kind):
    path = tmp_path / "in" / "数据.XLS"
    path.parent.mkdir()
    path.write_bytes(workbook)
    profile = f"-env:UserInstallation=file://{tmp_path}/profile"
    run("soffice", profile, "--headless", "--convert-to", kind, "--outdir", tmp_path / "out", path)
    (saved,) = (tmp_path / "out").iterdir()
    before, after = excel.read_sheets(workbook)[0], excel.read_sheets(saved.read_bytes())[0]
    assert after.texts == before.texts
    assert [row[1] for row in after.texts[1:]] == list(NAMES)
    assert set("".join(after.kinds)) <= {"t", " "}
    if saved.suffix == ".xls":
        assert biff.not_text(saved.read_bytes()) == (set(), set())


def test_unzip_and_7zip_list_the_right_names(package):
    for names in ("utf-8", "gb18030"):
        listed = run("unzip", "-Z1", package(names), env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}).decode()
        assert listed.splitlines() == [f"{STEM}.XLS", f"{STEM}/11010519491231002X.jpg"], names
    listed = run("7z", "l", "-ba", "-slt", package()).decode()
    assert f"Path = {STEM}.XLS" in listed
    assert f"{STEM}/11010519491231002X.jpg" in listed


def test_python_lists_the_right_names_and_so_does_a_reader_that_knows_gbk_alone(package):
    wanted = [f"{STEM}.XLS", f"{STEM}/11010519491231002X.jpg"]
    with zipfile.ZipFile(package()) as archive:
        assert archive.namelist() == wanted
        assert archive.testzip() is None
    with zipfile.ZipFile(package("gb18030"), metadata_encoding="gbk") as archive:
        assert archive.namelist() == wanted
        assert archive.testzip() is None
    # An old reader takes the raw bytes for the code page of its Windows, whatever the flags say.
    data = package("gb18030").read_bytes()
    assert f"{STEM}.XLS".encode("gbk") in data
    assert data.count(f"{STEM}.XLS".encode("gbk")) == 2

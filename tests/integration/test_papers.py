"""Paper and data come from the same rows: for a package, for a city's submission, and before it is sent."""

import subprocess
import sys
import zipfile

import pypdfium2
import pytest
from small_month import Person, SmallMonth
from sqlalchemy import func, select, update
from typer.testing import CliRunner

from certflow import excel, forms
from certflow.cli import app
from certflow.dispatch.approve import reject
from certflow.dispatch.assemble import assemble, package_path
from certflow.dispatch.freeze import freeze, reopen
from certflow.dispatch.papers import write_package_forms
from certflow.errors import Conflict
from certflow.findings import FIELDS
from certflow.month import Month
from certflow.registry import packages, schema

MAY = Month(2020, 5)
STEM = "202005-034-一级建造师(证书补换印制信息)数据(济南市)(2人)"


def test_the_forms_of_a_package_list_its_rows_in_its_order(settings, registry, actor):
    month = SmallMonth(settings, registry)
    month.submit([Person(3, approved_on="20120101"), Person(2, name="买买提·艾力")])
    month.submit([Person(1, approved_on="20110101", photo=None)], account="370200")
    package_id = assemble(settings, registry, freeze(registry, Month(2020, 5), actor).id, "034", actor)[0]
    written = write_package_forms(settings, registry, package_id, actor)
    assert [path.suffix for path in written] == [".xlsx", ".pdf"] * 2
    with registry.read() as conn:
        package = packages.package(conn, package_id)
        path = package_path(settings, packages.batch(conn, package.batch_id), package)
        notes = select(func.count()).select_from(schema.audit).where(schema.audit.c.payload.contains('"forms"'))
        noted = conn.scalar(notes)
    with zipfile.ZipFile(path) as archive:
        sent = list(excel.read_own(archive.read(f"{package.stem}.XLS")))[1:]
    table = list(excel.read_table(written[0]))[4:7]
    at = [FIELDS.index(field) for field in ("KSXM", "XB", "ZJLB", "ZJHM", "ZSGLH", "BKJB", "BKZY", "PZRQ", "BMS")]
    assert [row[1:10] for row in table] == [[row[index] for index in at] for row in sent]
    assert noted == 1
    before = [path.stat().st_mtime_ns for path in written]
    assert sorted(write_package_forms(settings, registry, package_id, actor)) == sorted(written)
    assert [path.stat().st_mtime_ns for path in written] == before
    whole = written[0].read_bytes()
    for left in (None, b"", b"PK\3\4 nothing", whole[:2_000]):  # gone, or what a full disk left of it
        written[0].unlink() if left is None else written[0].write_bytes(left)
        assert sorted(write_package_forms(settings, registry, package_id, actor)) == sorted(written)
        assert written[0].read_bytes() == whole
    with pytest.raises(Conflict):
        write_package_forms(settings, registry, package_id + 1, actor)


def rejected(registry, actor, batch):
    reject(registry, batch.id, "张工", "漏了一市", actor)
    reopen(registry, MAY, "张工", "漏了一市", actor)


def test_forms_of_a_rejected_package_do_not_stay_beside_the_valid_ones(settings, registry, actor):
    month = SmallMonth(settings, registry)
    month.submit([Person(1)])
    batch = freeze(registry, MAY, actor)
    (old,) = assemble(settings, registry, batch.id, "034", actor)
    write_package_forms(settings, registry, old, actor)
    folder = settings.path("forms", "202005")
    others = folder / "202005-035-别的考试(证书补换印制信息)数据(山东省)(1人)-申请表.xlsx"
    others.write_bytes(b"")
    rejected(registry, actor, batch)
    month.submit([Person(2)])
    (new,) = assemble(settings, registry, freeze(registry, MAY, actor).id, "034", actor)
    written = write_package_forms(settings, registry, new, actor)
    assert sorted(folder.iterdir()) == sorted([*written, others])
    with pytest.raises(Conflict, match="退回"):
        write_package_forms(settings, registry, old, actor)
    assert sorted(folder.iterdir()) == sorted([*written, others])


def test_a_pdf_of_other_rows_does_not_stay_beside_a_workbook_that_has_none(settings, registry, actor, monkeypatch):
    month = SmallMonth(settings, registry)
    (first,) = month.submit([Person(1)])
    batch = freeze(registry, MAY, actor)
    write_package_forms(settings, registry, assemble(settings, registry, batch.id, "034", actor)[0], actor)
    rejected(registry, actor, batch)
    with registry.begin(actor) as conn:
        conn.execute(update(schema.rows).where(schema.rows.c.id == first).values(state="WITHDRAWN"))
    month.submit([Person(2)])
    monkeypatch.setattr(forms, "MOST_PRINTED", 0)
    (new,) = assemble(settings, registry, freeze(registry, MAY, actor).id, "034", actor)
    written = write_package_forms(settings, registry, new, actor)
    assert sorted(settings.path("forms", "202005").iterdir()) == sorted(written)


def test_forms_too_long_for_the_typesetter_stay_as_they_are_too(settings, registry, actor, monkeypatch):
    monkeypatch.setattr(forms, "MOST_PRINTED", 0)
    SmallMonth(settings, registry).submit([Person(1)])
    package_id = assemble(settings, registry, freeze(registry, Month(2020, 5), actor).id, "034", actor)[0]
    written = write_package_forms(settings, registry, package_id, actor)
    assert [path.suffix for path in written] == [".xlsx"] * 2
    before = [path.stat().st_mtime_ns for path in written]
    write_package_forms(settings, registry, package_id, actor)
    assert [path.stat().st_mtime_ns for path in written] == before


def test_a_city_prints_the_forms_of_a_zip_it_has_not_sent_yet(tmp_path, monkeypatch):
    monkeypatch.setenv("CERTFLOW_HOME", str(tmp_path / "home"))
    blank = dict.fromkeys(FIELDS, "")
    people = [blank | {"ZSGLH": "2", "KSXM": "李四", "PZRQ": "2012-05-01"}, blank | {"ZSGLH": "1", "PZRQ": "20110101"}]
    with zipfile.ZipFile(tmp_path / f"{STEM}.zip", "w") as archive:
        archive.writestr(f"{STEM}.XLS", excel.write_xls(FIELDS, [list(one.values()) for one in people]))
    done = CliRunner().invoke(app, ["forms", str(tmp_path / f"{STEM}.zip"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        f"{STEM}-{form}.{kind}" for form in ("申请表", "统计汇总表") for kind in ("xlsx", "pdf")
    )
    document = pypdfium2.PdfDocument((tmp_path / "out" / f"{STEM}-申请表.pdf").read_bytes())
    text = document[0].get_textpage().get_text_bounded()
    document.close()
    assert text.index("20110101") < text.index("2012-05-01")
    assert "李四" in text
    assert "第 1 页/共 1 页" in text


def test_the_receiver_gets_a_script_and_a_key_that_are_enough(settings, registry, actor, tmp_path, monkeypatch):
    SmallMonth(settings, registry).submit([Person(1)])
    package_id = assemble(settings, registry, freeze(registry, Month(2020, 5), actor).id, "034", actor)[0]
    monkeypatch.setenv("CERTFLOW_HOME", str(settings.home))
    assert CliRunner().invoke(app, ["verifier", str(tmp_path / "give")]).exit_code == 0
    with registry.read() as conn:
        package = packages.package(conn, package_id)
        path = package_path(settings, packages.batch(conn, package.batch_id), package)
    command = [sys.executable, "-I", "verify_package.py", "--key", "certflow-公钥.txt", path]
    done = subprocess.run(command, cwd=tmp_path / "give", capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode()) == (0, f"正确  {path.name}\n")


def test_a_zip_that_cannot_be_read_gets_no_forms(tmp_path, monkeypatch):
    monkeypatch.setenv("CERTFLOW_HOME", str(tmp_path / "home"))
    (tmp_path / f"{STEM}.zip").write_bytes(b"no zip")
    done = CliRunner().invoke(app, ["forms", str(tmp_path / f"{STEM}.zip"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert not (tmp_path / "out").exists()

"""One package for the province, the cities' own beside it, workbook and photos in two zips: the ledger stays one."""

import dataclasses
import json
import subprocess
import sys
import zipfile
from collections import Counter
from functools import partial

import pytest
from as_owner import as_owner
from small_month import Person, SmallMonth
from sqlalchemy import text

from certflow import forms, signing
from certflow.demo.servers import AuthoritySftp
from certflow.dispatch import verify_package
from certflow.dispatch.approve import approve, gate, reject
from certflow.dispatch.assemble import assemble, package_path, rebuild
from certflow.dispatch.dossier import as_markdown, dossier
from certflow.dispatch.freeze import freeze
from certflow.dispatch.papers import write_package_forms
from certflow.dispatch.send import send
from certflow.errors import DigestMismatch
from certflow.intake.gather import gather
from certflow.intake.submission import Received
from certflow.month import Month
from certflow.reference import load_reference
from certflow.registry import packages, reprints
from certflow.registry.doctor import examine
from certflow.registry.ledger import note
from certflow.returns.apply import apply, receive
from certflow.returns.reconcile import reconcile

MAY = Month(2020, 5)
STEM = "202005-034-一级建造师(证书补换印制信息)数据({})({}人)"
PEOPLE = [Person(1, photo=b"a" * 900), Person(2, photo=None, approved_on="20180101"), Person(3, photo=b"c" * 900)]


@pytest.fixture
def month(settings, registry):
    """Two rows of 济南市 and one of 青岛市."""
    month = SmallMonth(settings, registry)
    month.ids = month.submit(PEOPLE[:2]) + month.submit(PEOPLE[2:], account="370200")
    return month


@pytest.fixture
def office(settings, tmp_path):
    """Settings with an authority behind them; call it with what differs."""
    with AuthoritySftp(tmp_path / "authority") as server:
        remote = {"authority_sftp": server.remote(), "transfer_timeout": 10}
        yield lambda **changes: dataclasses.replace(settings, **remote, **changes), server.address.tree


def sound(settings, registry):
    found = examine(registry, settings, rebuild=partial(rebuild, settings, registry))
    assert {name: told for name, told in found.items() if told} == {}
    return True


def known(registry, ids):
    with registry.read() as conn:
        return [packages.package(conn, one) for one in ids]


def test_nobody_waits_for_the_audit_chain_while_packages_are_read_back(settings, registry, actor, month):
    batch = freeze(registry, MAY, actor)
    read = []

    def judge(label, _measured):
        registry.run(actor, lambda conn: note(conn, "meanwhile", package=label))
        read.append(label)
        return []

    assemble(dataclasses.replace(settings, packaging="both"), registry, batch.id, "034", actor, judge=judge)
    assert len(read) == 3


def test_the_cities_packages_stand_beside_the_merged_one_and_move_no_row(office, registry, actor, month):
    settings = office[0](packaging="both")
    batch = freeze(registry, MAY, actor)
    ids = assemble(settings, registry, batch.id, "034", actor)
    assert assemble(settings, registry, batch.id, "034", actor) == ids
    merged, *cities = known(registry, ids)
    assert merged.stem == STEM.format("山东省", 3)
    assert [one.stem for one in cities] == [STEM.format("济南市", 2), STEM.format("青岛市", 1)]
    assert [one.companion for one in (merged, *cities)] == [False, True, True]
    assert "copy_of" not in merged.manifest
    assert [one.manifest["copy_of"] for one in cities] == [[f"{merged.stem}.zip"]] * 2
    assert month.states(month.ids) == ["PACKED"] * 3
    assert sound(settings, registry)
    shown = dossier(settings, registry, batch.id)
    assert (shown["rows"], shown["photos"], len(shown["packages"])) == (3, 2, 3)
    assert as_markdown(shown).count("（市包，已计入省包）") == 2
    approve(registry, batch.id, "王处长", actor)
    for city in cities:
        assert send(settings, registry, city.id, actor) == "SENT"
        assert month.states(month.ids) == ["PACKED"] * 3
        assert sound(settings, registry)
    assert send(settings, registry, merged.id, actor) == "SENT"
    assert month.states(month.ids) == ["SENT"] * 3
    assert sound(settings, registry)
    assert sorted(path.name for path in office[1].rglob("*.zip")) == sorted(one.file_name for one in (merged, *cities))


def test_the_paper_of_each_package_names_who_reports_it(office, registry, actor, month, monkeypatch):
    settings = office[0](packaging="both", package_rows=2)
    batch = freeze(registry, MAY, actor)
    printed = []
    monkeypatch.setattr(forms, "write", lambda _settings, pair, *_: (printed.append(pair[0].lines[0]) or [], ""))
    for one in assemble(settings, registry, batch.id, "034", actor):
        write_package_forms(settings, registry, one, actor)
    assert [line.rpartition("报送单位：")[2] for line in printed] == ["山东省", "山东省", "济南市", "青岛市"]


def test_sent_first_the_merged_package_carries_the_rows_and_the_cities_follow(office, registry, actor, month):
    settings = office[0](packaging="both")
    batch = freeze(registry, MAY, actor)
    ids = assemble(settings, registry, batch.id, "034", actor)
    approve(registry, batch.id, "王处长", actor)
    for one in ids:
        assert send(settings, registry, one, actor) == "SENT"
        assert month.states(month.ids) == ["SENT"] * 3
        assert sound(settings, registry)


def test_a_rejection_takes_back_all_of_them_and_revisions_are_compared_place_by_place(office, registry, actor, month):
    settings = office[0](packaging="both")
    batch = freeze(registry, MAY, actor)
    assemble(settings, registry, batch.id, "034", actor)
    reject(registry, batch.id, "王处长", "重新核对", actor)
    assert month.states(month.ids) == ["ACCEPTED"] * 3
    assert sound(settings, registry)
    with registry.begin(actor) as conn:  # 济南市 is left with nothing to send
        conn.execute(text("UPDATE rows SET state = 'WITHDRAWN' WHERE id IN (:one, :two)"), dict(zip(
            ("one", "two"), month.ids, strict=False)))  # fmt: skip
    ids = assemble(settings, registry, batch.id, "034", actor)
    assert [one.stem for one in known(registry, ids)] == [STEM.format("山东省", 1), STEM.format("青岛市", 1)]
    shown = {one["id"]: one for one in dossier(settings, registry, batch.id)["packages"]}
    assert [len(shown[one]["removed"]) for one in ids] == [2, 0]
    assert sound(settings, registry)


def returned(settings, registry, actor, folder, people):
    file = folder / f"returned{len(list(folder.iterdir()))}.csv"
    lines = [f"{one.management_no},{one.name},{one.identity},SD{one.number},已印制,,20200801" for one in people]
    file.write_text("\n".join(["ZSGLH,KSXM,ZJHM,证书编号,结果,原因,印制日期", *lines, ""]), encoding="utf-8")
    return reconcile(settings, registry, receive(settings, registry, file, actor), actor)


def owed(registry):
    """Rows without an answer, by package."""
    found = Counter()
    with registry.read() as conn:
        for one in reprints.missing(conn):
            found[one.package_id] += one.rows
    return found


def test_a_return_waits_for_the_merged_package_and_counts_what_is_missing_once(
    office, registry, actor, month, tmp_path
):
    settings = office[0](packaging="both")
    batch = freeze(registry, MAY, actor)
    merged, *cities = assemble(settings, registry, batch.id, "034", actor)
    approve(registry, batch.id, "王处长", actor)
    send(settings, registry, cities[0], actor)
    early = returned(settings, registry, actor, tmp_path, PEOPLE[:1])
    assert (early.state, early.waiting) == ("RECEIVED", 1)
    for one in (merged, cities[1]):
        send(settings, registry, one, actor)
    assert owed(registry) == {merged: 3}
    later = reconcile(settings, registry, early.return_id, actor)
    assert apply(settings, registry, later.return_id, actor).counts["printed"] == 1
    assert owed(registry) == {merged: 2}
    assert sound(settings, registry)


def test_the_doctor_sees_a_row_in_two_city_packages_or_one_that_moved_without_its_merged_package(
    office, registry, actor, month
):
    settings = office[0](packaging="both")
    batch = freeze(registry, MAY, actor)
    merged, *cities = assemble(settings, registry, batch.id, "034", actor)
    add = text("INSERT INTO package_rows (package_id, row_id, ordinal) VALUES (:package, :row, 9)")
    with registry.begin(actor) as conn:
        conn.execute(add, {"package": cities[1], "row": month.ids[0]})
    assert any("同时在 2 个" in line for line in examine(registry, settings)["I4"])
    with as_owner(registry) as conn:
        conn.execute(text("DELETE FROM package_rows WHERE ordinal = 9"))
    with registry.begin(actor) as conn:
        conn.execute(text("UPDATE packages SET state = 'REJECTED' WHERE id = :id"), {"id": merged})
    assert any("不在任何有效的数据包" in line for line in examine(registry, settings)["I4"])


def two_zips(office, registry, actor, **changes):
    settings = office[0](package_zips="two", **changes)
    batch = freeze(registry, MAY, actor)
    (package_id,) = assemble(settings, registry, batch.id, "034", actor)
    (package,) = known(registry, [package_id])
    with registry.read() as conn:
        path = package_path(settings, packages.batch(conn, batch.id), package)
    return settings, batch, package, path, path.with_name(f"{package.stem}.JPG.zip")


def test_workbook_and_photos_in_two_zips_go_up_and_are_verified_at_the_other_end(office, registry, actor, month):
    settings, batch, package, path, photos = two_zips(office, registry, actor)
    assert [file.name for file in package.files] == [path.name, photos.name]
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [f"{package.stem}.XLS"]
    with zipfile.ZipFile(photos) as archive:
        assert sorted(archive.namelist()) == sorted(
            f"{package.stem}/{one.identity}.jpg" for one in PEOPLE if one.photo is not None
        )
    assert package.manifest["photos_zip"]["file"] == photos.name
    assert sound(settings, registry)
    approve(registry, batch.id, "王处长", actor)
    assert send(settings, registry, package.id, actor) == "SENT"
    assert sound(settings, registry)
    arrived = sorted(office[1].rglob("202005-*"))
    assert len(arrived) == 3
    check = [sys.executable, "-I", verify_package.__file__, "--key", signing.public_key(settings).hex()]
    done = subprocess.run([*check, *(one for one in arrived if one.suffix == ".zip")], capture_output=True, check=False)
    assert done.stdout.decode().splitlines() == [f"正确  {photos.name}", f"正确  {path.name}"]


def test_our_own_intake_takes_the_two_zips_for_one_submission(office, registry, actor, month):
    settings, _, package, path, photos = two_zips(office, registry, actor)
    files = [Received(file, file.name, "", file.stat().st_size) for file in (photos, path)]
    (one,) = gather(files, settings, load_reference(settings))
    assert one.name is not None
    assert one.name.stem == package.stem
    assert {file.name for file in one.files} == {path.name, photos.name}
    assert len(one.photos) == 2
    assert not any(one.measures.get(column) for column in ("name_folder", "name_tolerated", "zip_wrapper"))


@pytest.mark.parametrize("harm", ["workbook", "photos", "photos flipped"])
def test_either_zip_lost_or_damaged_is_told_and_built_again(office, registry, actor, month, harm):
    settings, batch, package, path, photos = two_zips(office, registry, actor)
    whole = {one: one.read_bytes() for one in (path, photos)}
    if harm == "photos flipped":
        photos.write_bytes(whole[photos].replace(b"aaa", b"aba", 1))
    else:
        (path if harm == "workbook" else photos).unlink()
    assert examine(registry, settings)["I5"]
    assert assemble(settings, registry, batch.id, "034", actor) == [package.id]
    assert {one: one.read_bytes() for one in (path, photos)} == whole
    assert list(settings.work.iterdir()) == []
    assert sound(settings, registry)


def test_an_approval_speaks_of_both_zips(office, registry, actor, month):
    settings, batch, package, path, photos = two_zips(office, registry, actor)
    with_both = gate(settings, registry, batch.id).digest
    photos.write_bytes(b"other")
    approve(registry, batch.id, "王处长", actor)
    with pytest.raises(DigestMismatch):
        send(settings, registry, package.id, actor)
    assert list(office[1].rglob("*.zip")) == []
    assert package.digest != package.sha256
    told = json.loads(path.with_name(f"{package.stem}.manifest.json").read_bytes())["photos_zip"]["sha256"]
    assert packages.whole(package.sha256, told) == package.digest
    assert with_both != package.digest


def test_a_package_without_photos_is_one_zip(office, registry, actor, settings):
    month = SmallMonth(settings, registry)
    month.submit([Person(1, photo=None)])
    settings, _, package, path, photos = two_zips(office, registry, actor)
    assert [file.name for file in package.files] == [path.name]
    assert not photos.exists()
    assert sound(settings, registry)


def test_both_settings_together(office, registry, actor, month):
    settings = office[0](packaging="both", package_zips="two")
    batch = freeze(registry, MAY, actor)
    ids = assemble(settings, registry, batch.id, "034", actor)
    approve(registry, batch.id, "王处长", actor)
    assert {send(settings, registry, one, actor) for one in ids} == {"SENT"}
    assert len(list(office[1].rglob("*.JPG.zip"))) == 3
    assert month.states(month.ids) == ["SENT"] * 3
    assert sound(settings, registry)

"""From accepted rows to a package that says what the ledger says, whatever happens on the way."""

import dataclasses
import datetime as dt
import hashlib
import json
import zipfile
import zlib

import pytest
from small_month import Person, SmallMonth, id_number
from sqlalchemy import text, update
from typer.testing import CliRunner

from certflow import excel
from certflow.cli import app
from certflow.dispatch.approve import reject
from certflow.dispatch.assemble import assemble, package_path, rebuild
from certflow.dispatch.freeze import freeze
from certflow.dispatch.readback import strictly
from certflow.errors import Busy, ConfigurationError, Conflict, DigestMismatch
from certflow.findings import FIELDS
from certflow.month import Month
from certflow.registry import packages, schema
from certflow.registry.doctor import examine
from certflow.zips import write_zip

MAY = Month(2020, 5)
STEM = "202005-034-一级建造师(证书补换印制信息)数据(山东省)({}人)"
PHOTO = b"x" * 1000


@pytest.fixture
def month(settings, registry):
    return SmallMonth(settings, registry)


def built(settings, registry, package_id):
    with registry.read() as conn:
        package = packages.package(conn, package_id)
        return package, package_path(settings, packages.batch(conn, package.batch_id), package)


def test_packages_hold_the_rows_of_all_cities_in_the_order_of_the_notice(settings, registry, actor, month):
    month.submit([Person(3, approved_on="20120101", photo=b"c"), Person(2, photo=b"b")])
    month.submit(
        [Person(1, photo=b"a", approved_on="20150101"), Person(4, photo=None, approved_on="20180101")],
        account="370200",
        deflate=True,
    )
    batch = freeze(registry, MAY, actor)
    package, path = built(settings, registry, assemble(settings, registry, batch.id, "034", actor)[0])
    assert (package.state, package.row_count, package.photo_count) == ("BUILT", 4, 3)
    assert path == settings.packages / "202005" / f"{STEM.format(4)}.zip"
    with zipfile.ZipFile(path) as archive:
        grid = list(excel.read_own(archive.read(f"{STEM.format(4)}.XLS")))
        photos = {name: archive.read(name) for name in archive.namelist()[1:]}
    assert grid[0] == list(FIELDS)
    assert [row[0][-1] for row in grid[1:]] == ["2", "3", "1", "4"]
    assert [row[9] for row in grid[1:]] == [f"{id_number(number)}.jpg" for number in (2, 3, 1)] + [""]
    assert photos == {f"{STEM.format(4)}/{id_number(n)}.jpg": data for n, data in ((1, b"a"), (2, b"b"), (3, b"c"))}
    assert package.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_manifest_lies_beside_the_package_and_names_nobody(settings, registry, actor, month):
    month.submit([Person(1)])
    package, path = built(
        settings, registry, assemble(settings, registry, freeze(registry, MAY, actor).id, "034", actor)[0]
    )
    manifest = json.loads(path.with_name(f"{STEM.format(1)}.manifest.json").read_bytes())
    assert manifest == package.manifest
    assert manifest["sha256"] == package.sha256
    assert (manifest["rows"], manifest["photos"], manifest["month"], manifest["batch"]) == (1, 1, "202005", 0)
    assert id_number(1) not in json.dumps(manifest)
    assert "张三" not in json.dumps(manifest, ensure_ascii=False)


def test_stored_and_deflated_originals_give_the_same_package(settings, registry, actor, month, tmp_path):
    ids = month.submit([Person(1, photo=b"x" * 5000), Person(2, photo=b"y" * 5000)], deflate=True)
    first = assemble(settings, registry, freeze(registry, MAY, actor).id, "034", actor)[0]
    digest = built(settings, registry, first)[0].sha256
    with registry.begin(actor) as conn:  # the same people, the same photos, stored this time, in another month
        conn.execute(update(schema.packages).where(schema.packages.c.id == first).values(state="REJECTED"))
        conn.execute(update(schema.rows).where(schema.rows.c.id.in_(ids)).values(state="ACCEPTED"))
        conn.execute(update(schema.rows).where(schema.rows.c.id.in_(ids)).values(state="WITHDRAWN"))
    month.submit([Person(1, photo=b"x" * 5000), Person(2, photo=b"y" * 5000)])
    second = assemble(settings, registry, freeze(registry, MAY, actor).id, "034", actor)[0]
    assert built(settings, registry, second)[0].sha256 == digest


def test_running_again_returns_the_same_package_and_rebuilding_gives_the_same_bytes(
    settings, registry, actor, month, tmp_path
):
    month.submit([Person(1), Person(2)])
    batch = freeze(registry, MAY, actor)
    first = assemble(settings, registry, batch.id, "034", actor)[0]
    assert assemble(settings, registry, batch.id, "034", actor)[0] == first
    package, path = built(settings, registry, first)
    assert rebuild(settings, registry, first, tmp_path / "again.zip") == package.sha256
    assert (tmp_path / "again.zip").read_bytes() == path.read_bytes()
    assert list(settings.work.iterdir()) == []


@pytest.mark.parametrize("harm", ["removed", "flipped"])
def test_a_package_lost_or_damaged_on_our_disk_is_built_again(settings, registry, actor, month, harm):
    month.submit([Person(1), Person(2)])
    batch = freeze(registry, MAY, actor)
    package, path = built(settings, registry, assemble(settings, registry, batch.id, "034", actor)[0])
    whole = path.read_bytes()
    if harm == "removed":
        path.unlink()
    else:
        path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    assert assemble(settings, registry, batch.id, "034", actor)[0] == package.id
    assert path.read_bytes() == whole


@pytest.mark.parametrize("left", [None, b"", b'{"batch": 0, "exam"', b'{"file": "x"}'])
def test_f49_a_manifest_lost_or_damaged_on_our_disk_is_written_again(settings, registry, actor, month, left):
    """Who sends is told to pack again, and has to get somewhere by it."""
    month.submit([Person(1)])
    batch = freeze(registry, MAY, actor)
    package, path = built(settings, registry, assemble(settings, registry, batch.id, "034", actor)[0])
    beside = path.with_name(f"{package.stem}.manifest.json")
    whole = beside.read_bytes()
    beside.unlink() if left is None else beside.write_bytes(left)
    assert assemble(settings, registry, batch.id, "034", actor) == [package.id]
    assert beside.read_bytes() == whole


def test_one_photo_for_two_certificates_of_one_person_is_enclosed_once(settings, registry, actor, month):
    month.submit([Person(1, id_number=id_number(7)), Person(2, id_number=id_number(7))])
    batch = freeze(registry, MAY, actor)
    package, path = built(settings, registry, assemble(settings, registry, batch.id, "034", actor)[0])
    assert (package.row_count, package.photo_count) == (2, 1)
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 2


def test_two_different_photos_under_one_name_stop_before_anything_is_written(settings, registry, actor, month):
    month.submit([Person(1, id_number=id_number(7))])
    ids = month.submit([Person(2, id_number=id_number(7), photo=b"another")], account="370200")
    batch = freeze(registry, MAY, actor)
    with pytest.raises(Conflict, match="照片") as caught:
        assemble(settings, registry, batch.id, "034", actor)
    assert id_number(7) not in str(caught.value)
    assert not settings.packages.exists()
    assert month.states(ids) == ["ACCEPTED"]


def test_a_person_chooses_the_photo_of_two_accepted_rows_and_the_package_is_built(
    settings, registry, actor, month, monkeypatch
):
    month.submit([Person(1, id_number=id_number(7)), Person(3)])
    month.submit([Person(2, id_number=id_number(7), photo=b"another")], account="370200")
    batch = freeze(registry, MAY, actor)
    record = "370200-202005-034-v1-000001"
    with pytest.raises(Conflict, match=f"certflow holds photo .*{record}"):
        assemble(settings, registry, batch.id, "034", actor)
    monkeypatch.setenv("CERTFLOW_HOME", str(settings.home))
    monkeypatch.setenv("CERTFLOW_DATABASE_URL", settings.database_url)
    words = ["--by", "王处长", "--reason", "已看过照片"]
    for wrong in ("370100-202005-034-v1-000002", "370100-202005-034-v1-000009"):
        assert CliRunner().invoke(app, ["holds", "photo", wrong, *words]).exit_code == 1
    assert CliRunner().invoke(app, ["holds", "photo", record, *words]).exit_code == 0
    package, path = built(settings, registry, assemble(settings, registry, batch.id, "034", actor)[0])
    assert (package.row_count, package.photo_count) == (3, 2)
    with zipfile.ZipFile(path) as archive:
        assert archive.read(f"{package.stem}/{id_number(7)}.jpg") == b"another"
    assert not any(examine(registry, settings).values())


@pytest.mark.parametrize("number", ["../../etc/passwd", "a\\b", "a:b", "a\nb", "con|"])
def test_an_id_number_that_is_no_file_name_never_becomes_one(settings, registry, actor, month, number):
    month.submit([Person(1, id_number=number)])
    batch = freeze(registry, MAY, actor)
    with pytest.raises(Conflict, match="370100-202005-034-v1-000001"):
        assemble(settings, registry, batch.id, "034", actor)


def test_e35_a_name_that_looks_like_a_formula_goes_up_as_text(settings, registry, actor, month):
    month.submit([Person(1, name="=HYPERLINK(1)")])
    batch = freeze(registry, MAY, actor)
    _, path = built(settings, registry, assemble(settings, registry, batch.id, "034", actor)[0])
    with zipfile.ZipFile(path) as archive:
        grid = excel.read_sheets(archive.read(f"{STEM.format(1)}.XLS"))[0]
    assert grid.texts[1][1] == "=HYPERLINK(1)"
    assert set("".join(grid.kinds)) <= {"t", " "}


def every_judge(_label, _measured):
    return []


@pytest.mark.parametrize("deflate", [False, True], ids=["stored", "deflated"])
@pytest.mark.parametrize("judge", [strictly, every_judge], ids=["strict", "lets everything pass"])
def test_a_damaged_original_builds_nothing_and_leaves_nothing(settings, registry, actor, month, judge, deflate):
    ids = month.submit([Person(1, photo=PHOTO)], deflate=deflate)
    batch = freeze(registry, MAY, actor)
    original = harmed(settings, deflate=deflate)
    with pytest.raises(DigestMismatch, match=rf"原件 {original.stem[:12]}… .*请勿继续"):
        assemble(settings, registry, batch.id, "034", actor, judge=judge)
    assert month.states(ids) == ["ACCEPTED"]
    assert list(settings.work.iterdir()) == []
    assert list(settings.packages.rglob("*.zip")) == []


@pytest.mark.parametrize("judge", [strictly, every_judge], ids=["strict", "lets everything pass"])
def test_an_original_damaged_so_that_its_crc_agrees_builds_nothing(settings, registry, actor, month, judge):
    # CRC-32 is no protection against purpose: the digest taken when the photo was judged is.
    month.submit([Person(1, photo=PHOTO)])
    batch = freeze(registry, MAY, actor)
    original = harmed(settings, deflate=False)
    harm = PHOTO.replace(b"xxx", b"xyx", 1)
    with registry.begin(actor) as conn:
        conn.execute(update(schema.entries).values(crc32=zlib.crc32(harm)).where(schema.entries.c.size == len(PHOTO)))
    with pytest.raises(DigestMismatch, match=f"原件 {original.stem[:12]}"):
        assemble(settings, registry, batch.id, "034", actor, judge=judge)
    assert list(settings.packages.rglob("*.zip")) == []


def test_a_lost_package_is_not_built_again_from_a_damaged_original(settings, registry, actor, month):
    month.submit([Person(1, photo=PHOTO)])
    batch = freeze(registry, MAY, actor)
    _, path = built(settings, registry, assemble(settings, registry, batch.id, "034", actor)[0])
    path.unlink()
    original = harmed(settings, deflate=False)
    with pytest.raises(DigestMismatch, match=f"原件 {original.stem[:12]}"):
        assemble(settings, registry, batch.id, "034", actor)
    assert not path.exists()
    assert list(settings.work.iterdir()) == []


def harmed(settings, *, deflate):
    """The original with another photo of the same length under its name, or with an entry that inflates no more."""
    [original] = settings.originals.rglob("*.bin")
    data = original.read_bytes()
    if deflate:
        with zipfile.ZipFile(original) as archive:
            [info] = [one for one in archive.infolist() if one.filename.endswith(".jpg")]
        at = info.header_offset + 30 + int.from_bytes(data[info.header_offset + 26 : info.header_offset + 28], "little")
        data = data[: at + 4] + bytes([data[at + 4] ^ 0xFF]) + data[at + 5 :]
    else:
        data = data.replace(b"xxx", b"xyx", 1)
    original.write_bytes(data)
    return original


def test_dying_between_the_file_and_the_ledger_is_mended_by_running_again(
    settings, registry, actor, month, monkeypatch
):
    month.submit([Person(1), Person(2)])
    batch = freeze(registry, MAY, actor)

    def die(folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # The file lies under its final name; the ledger's transaction is never committed.
        patch.setattr("certflow.dispatch.assemble._flush_folder", die)
        with pytest.raises(KeyboardInterrupt):
            assemble(settings, registry, batch.id, "034", actor)
    assert len(list(settings.packages.rglob("*.zip"))) == 1
    with registry.read() as conn:
        assert packages.packages_of(conn, batch.id) == []
    package, path = built(settings, registry, assemble(settings, registry, batch.id, "034", actor)[0])
    assert package.revision == 1
    assert hashlib.sha256(path.read_bytes()).hexdigest() == package.sha256


def test_a_row_withdrawn_while_its_package_is_built_stops_the_package(settings, registry, actor, month, monkeypatch):
    ids = month.submit([Person(1), Person(2)])
    batch = freeze(registry, MAY, actor)

    def write_and_withdraw(target, members, names):
        count = write_zip(target, members, names)
        with registry.begin(actor) as conn:
            conn.execute(update(schema.rows).where(schema.rows.c.id == ids[0]).values(state="WITHDRAWN"))
        return count

    with monkeypatch.context() as patch:
        patch.setattr("certflow.dispatch.assemble.write_zip", write_and_withdraw)
        with pytest.raises(Conflict, match="变动"):
            assemble(settings, registry, batch.id, "034", actor)
    package, _ = built(settings, registry, assemble(settings, registry, batch.id, "034", actor)[0])
    assert package.row_count == 1


def test_a_leftover_of_another_size_does_not_stay_beside_the_package(settings, registry, actor, month):
    month.submit([Person(1)])
    folder = settings.packages / "202005"
    folder.mkdir(parents=True)
    (folder / f"{STEM.format(9)}.zip").write_bytes(b"from a run that died")
    (folder / "202005-901-another exam.zip").write_bytes(b"not ours")
    assemble(settings, registry, freeze(registry, MAY, actor).id, "034", actor)
    assert {path.name for path in folder.glob("*.zip")} == {f"{STEM.format(1)}.zip", "202005-901-another exam.zip"}


def test_after_a_rejection_the_rows_are_packed_anew_as_the_next_revision(settings, registry, actor, month):
    ids = month.submit([Person(1), Person(2)])
    batch = freeze(registry, MAY, actor)
    first = assemble(settings, registry, batch.id, "034", actor)[0]
    reject(registry, batch.id, "王处长", "人数不对", actor)
    assert month.states(ids) == ["ACCEPTED", "ACCEPTED"]
    with registry.begin(actor) as conn:
        conn.execute(update(schema.rows).where(schema.rows.c.id == ids[1]).values(state="WITHDRAWN"))
    second = assemble(settings, registry, batch.id, "034", actor)[0]
    package, path = built(settings, registry, second)
    assert second != first
    assert (package.revision, package.row_count) == (2, 1)
    assert [one.name for one in path.parent.glob("*.zip")] == [f"{STEM.format(1)}.zip"]
    assert month.states(ids) == ["PACKED", "WITHDRAWN"]


def test_an_exam_without_confirmed_code_cannot_be_packaged(settings, registry, actor, month):
    month.submit([Person(1)], exam="777")
    with pytest.raises(ConfigurationError, match="777"):
        assemble(settings, registry, freeze(registry, MAY, actor).id, "777", actor)


def test_two_runs_at_once_build_one_package(settings, registry, actor, month):
    month.submit([Person(1)])
    batch = freeze(registry, MAY, actor)
    with registry.lock(f"assemble:{batch.id}:034"), pytest.raises(Busy):
        assemble(settings, registry, batch.id, "034", actor)


def test_every_move_of_a_package_and_its_rows_is_in_the_audit(settings, registry, actor, month):
    month.submit([Person(1), Person(2)])
    package_id = assemble(settings, registry, freeze(registry, MAY, actor).id, "034", actor)[0]
    with registry.read() as conn:
        moves = conn.execute(
            text("SELECT kind, to_state, count(*) FROM moves WHERE to_state IN ('BUILT', 'PACKED') GROUP BY 1, 2")
        ).all()
        payloads = "".join(conn.scalars(text("SELECT payload FROM audit")))
    assert sorted(map(tuple, moves)) == [("package", "BUILT", 1), ("row", "PACKED", 2)]
    assert f'"package": {package_id}' in payloads
    assert id_number(1) not in payloads


def test_the_first_batch_is_the_month_even_when_nothing_came(registry, actor):
    batch = freeze(registry, MAY, actor)
    assert (batch.number, batch.rows, batch.exams) == (0, 0, {})
    assert freeze(registry, MAY, actor) == batch


def test_a_month_that_has_not_begun_is_not_frozen(registry, actor):
    here = Month.of(dt.datetime.now(dt.UTC))
    with pytest.raises(Conflict, match="还没有开始"):
        freeze(registry, here.plus(1), actor)
    assert freeze(registry, here, actor).number == 0


def test_rows_accepted_after_the_freeze_fall_into_the_next_batch(settings, registry, actor, month):
    month.submit([Person(1), Person(2)])
    (held,) = month.submit([Person(3, state="HELD")], account="370200")
    first = freeze(registry, MAY, actor)
    assert (first.number, first.exams) == (0, {"034": 2})
    assert freeze(registry, MAY, actor) == first
    with registry.begin(actor) as conn:
        conn.execute(update(schema.rows).where(schema.rows.c.id == held).values(state="ACCEPTED"))
    assert freeze(registry, MAY, actor, number=0) == first  # the task of the month itself, cleared and run again
    second = freeze(registry, MAY, actor)
    assert (second.number, second.exams) == (1, {"034": 1})
    _, path = built(settings, registry, assemble(settings, registry, second.id, "034", actor)[0])
    assert path.parent.name == "202005-补报1"
    with pytest.raises(Conflict, match="没有新的"):
        freeze(registry, MAY, actor, number=2)
    with pytest.raises(Conflict, match="第 2 批"):
        freeze(registry, MAY, actor, number=3)


def test_a_freeze_takes_no_row_of_another_month(settings, registry, actor, month):
    month.submit([Person(1)])
    SmallMonth(settings, registry, month="202006").submit([Person(2)])
    assert freeze(registry, MAY, actor).rows == 1
    assert freeze(registry, MAY.plus(1), actor).rows == 1


def test_per_city_packages_carry_the_citys_name_and_its_rows_alone(settings, registry, actor, month):
    month.submit([Person(1), Person(2)])
    month.submit([Person(3, photo=None)], account="370200")
    own = dataclasses.replace(settings, packaging="per_city")
    batch = freeze(registry, MAY, actor)
    ids = assemble(own, registry, batch.id, "034", actor)
    assert assemble(own, registry, batch.id, "034", actor) == ids
    stems = [built(own, registry, one)[0].stem for one in ids]
    assert stems == [STEM.replace("山东省", city).format(count) for city, count in (("济南市", 2), ("青岛市", 1))]
    with registry.read() as conn:
        assert [len(packages.packed_rows(conn, one)) for one in ids] == [2, 1]
    reject(registry, batch.id, "张工", "重来", actor)
    again = assemble(own, registry, batch.id, "034", actor)
    assert [built(own, registry, one)[0].revision for one in again] == [2, 2]
    assert [built(own, registry, one)[1].is_file() for one in again] == [True, True]


def test_more_rows_than_one_package_holds_go_into_numbered_ones_all_or_none(
    settings, registry, actor, month, monkeypatch
):
    small = dataclasses.replace(settings, package_rows=2)
    ids = month.submit([Person(number) for number in range(5)])
    batch = freeze(registry, MAY, actor)
    honest = packages.record_package

    def fail_at_the_last(conn, **values):
        if values["part"] == 3:
            raise KeyboardInterrupt
        return honest(conn, **values)

    with monkeypatch.context() as patch:
        patch.setattr(packages, "record_package", fail_at_the_last)
        with pytest.raises(KeyboardInterrupt):
            assemble(small, registry, batch.id, "034", actor)
    assert set(month.states(ids)) == {"ACCEPTED"}
    assert list(settings.work.iterdir()) == []
    made = [built(small, registry, one) for one in assemble(small, registry, batch.id, "034", actor)]
    assert [package.stem for package, _ in made] == [
        STEM.replace("山东省", f"山东省第{number}包").format(count) for number, count in ((1, 2), (2, 2), (3, 1))
    ]
    assert [package.manifest["part"] for package, _ in made] == [1, 2, 3]
    assert set(month.states(ids)) == {"PACKED"}


def test_a_package_is_rebuilt_with_the_spelling_it_was_built_with(settings, registry, actor, month, tmp_path):
    month.submit([Person(1)])
    old = dataclasses.replace(settings, zip_names="gb18030")
    package_id = assemble(old, registry, freeze(registry, MAY, actor).id, "034", actor)[0]
    package, _ = built(settings, registry, package_id)
    assert rebuild(settings, registry, package_id, tmp_path / "again.zip") == package.sha256

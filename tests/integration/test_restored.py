"""A database restored from yesterday's backup: nothing goes up before it was compared, and nothing goes up twice."""

import contextlib
import dataclasses
import datetime as dt
import os
import subprocess

import pytest
from returned import Authority, printed
from small_month import Person, SmallMonth
from sqlalchemy import create_engine, make_url, text

from certflow.dispatch import restored, send
from certflow.dispatch.approve import approve
from certflow.dispatch.assemble import assemble
from certflow.dispatch.freeze import freeze
from certflow.errors import Conflict
from certflow.month import Month
from certflow.registry import anchors, packages, server
from certflow.registry.cluster import binaries
from certflow.registry.doctor import examine
from certflow.returns.apply import apply
from certflow.settings import Remote, Settings

MAY = Month(2020, 5)


@pytest.fixture
def office(settings, tmp_path):
    far = Remote("far", 22, "us", tmp_path / "key", tmp_path / "hosts")
    return Settings(home=settings.home, database_url=settings.database_url, authority_sftp=far)


@pytest.fixture
def far(tmp_path, monkeypatch):
    """The authority's folder, reached without a network."""
    from round_trip import FolderSession

    session = FolderSession(tmp_path / "far")
    session.root.mkdir()
    for module in (send, restored):
        monkeypatch.setattr(module, "connect", lambda *_: contextlib.nullcontext(session))
    return session.root


@pytest.fixture
def backup(settings, postgres, tmp_path):
    """Two calls: make a backup of the database, and put it in the place of the database."""
    url, file = make_url(settings.database_url), tmp_path / "yesterday.dump"
    where = ["--host", url.query["host"], "--username", url.username]
    environment = {**os.environ, "PGPASSFILE": url.query["passfile"]}

    def run(program, *words):
        subprocess.run([binaries() / program, *where, *words], check=True, env=environment, timeout=120)

    def restore():
        engine = create_engine(server.url(postgres, "postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as conn:
            conn.execute(text(f'DROP DATABASE "{url.database}" WITH (FORCE)'))
            conn.execute(text(f'CREATE DATABASE "{url.database}"'))
        engine.dispose()
        run("pg_restore", "--dbname", url.database, file)

    return lambda: run("pg_dump", "--format=custom", "--file", file, url.database), restore


def prepared(office, registry, actor, people, account="370100", month=None):
    """A batch of these people, built and approved; its package."""
    (month or SmallMonth(office, registry)).submit(people, account=account)
    batch = freeze(registry, MAY, actor)
    (package,) = assemble(office, registry, batch.id, "034", actor)
    approve(registry, batch.id, "王处长", actor)
    return package


def zips(far):
    return sorted(path.name for path in far.rglob("*.zip"))


def sick(registry, office):
    return {name: problems for name, problems in examine(registry, office).items() if problems}


def test_b06_f42_a_restored_database_sends_nothing_before_it_was_compared_and_nothing_twice(
    office, registry, actor, far, backup
):
    make, restore = backup
    first = prepared(office, registry, actor, [Person(1), Person(2)])
    make()
    assert send.send(office, registry, first, actor) == "SENT"
    second = prepared(office, registry, actor, [Person(3)], account="370200")
    assert send.send(office, registry, second, actor) == "SENT"
    there = zips(far)
    assert len(there) == 2
    registry.engine.dispose()
    restore()
    with pytest.raises(Conflict, match="恢复过备份"):
        send.send(office, registry, first, actor)
    assert any("恢复到较早的状态" in line for line in sick(registry, office)["I7"])
    found = restored.compare(office, registry)
    assert (found.restored, found.known, len(found.unknown)) == (True, 1, 1)
    with pytest.raises(Conflict, match="台账不知道"):
        restored.accept(office, registry, by="值班员", reason="磁盘损坏", actor=actor)
    # The cities' files of that day are taken in once more; the same rows give the same package.
    prepared(office, registry, actor, [Person(3)], account="370200")
    assert restored.compare(office, registry).unknown == ()
    restored.accept(office, registry, by="值班员", reason="磁盘损坏", actor=actor)
    with registry.read() as conn:
        waiting = [one.id for _, one in packages.all_packages(conn)]
    assert [send.send(office, registry, one, actor) for one in waiting] == ["SENT", "SENT"]
    assert zips(far) == there
    assert sick(registry, office) == {}
    with pytest.raises(Conflict, match="没有恢复过"):
        restored.accept(office, registry, by="值班员", reason="再来一次", actor=actor)
    assert len(list(office.home.glob("audit-heads*.log"))) == 2  # the old heads are kept


def restored_without(office, registry, actor, far, backup, lose):
    """A database that has forgotten a 补报 of one row; `lose` is called before, with the folders of both packages."""
    make, restore = backup
    first = prepared(office, registry, actor, [Person(1)])
    assert send.send(office, registry, first, actor) == "SENT"
    make()
    second = prepared(office, registry, actor, [Person(2)], account="370200")
    assert send.send(office, registry, second, actor) == "SENT"
    lose(far / "上报" / "202005", far / "上报" / "202005-补报1")
    registry.engine.dispose()
    restore()
    return restored.compare(office, registry)


def test_f42_a_package_of_the_same_name_in_the_archive_does_not_hide_an_unknown_one(
    office, registry, actor, far, backup
):
    def taken(first, _second):
        (far / "归档").mkdir()
        first.rename(far / "归档" / first.name)

    found = restored_without(office, registry, actor, far, backup, taken)
    (name,) = {path.name for path in far.rglob("*.zip")}
    assert (found.known, found.unknown) == (1, (f"上报/202005-补报1/{name}",))
    with pytest.raises(Conflict, match="台账不知道"):
        restored.accept(office, registry, by="值班员", reason="磁盘损坏", actor=actor)


def test_f42_an_archive_in_years_and_months_is_looked_through(office, registry, actor, far, backup):
    def filed(first, second):
        for folder, place in ((first, "归档/2020年/05月"), (second, "归档/2020年/06月")):
            (far / place).parent.mkdir(parents=True, exist_ok=True)
            folder.rename(far / place)

    found = restored_without(office, registry, actor, far, backup, filed)
    assert (found.known, [place.rsplit("/", 1)[0] for place in found.unknown]) == (1, ["归档/2020年/06月"])


@pytest.mark.parametrize("arrived", [True, False])
def test_f42_a_package_whose_rows_the_authority_has_answered_goes_up_on_a_persons_word_alone(
    office, registry, actor, far, tmp_path, arrived
):
    """It was sent after the backup, and where the authority keeps it nobody can see."""
    package = prepared(office, registry, actor, [Person(1), Person(2)])
    authority = Authority(office, registry, actor, tmp_path)
    number = authority.reconciled(printed(Person(1))).return_id
    assert send.send(office, registry, package, actor) == "UNKNOWN"
    assert zips(far) == []
    if arrived:
        assert apply(office, registry, authority.again(number).return_id, actor).counts["printed"] == 1
    else:
        send.resolve_unknown(registry, package, delivered=False, by="值班员", reason="对方未收到", actor=actor)
    assert send.send(office, registry, package, actor) == "SENT"
    assert len(zips(far)) == (not arrived)
    assert sick(registry, office) == {}


def test_f42_a_zip_without_manifest_counts_by_its_own_digest(office, registry, actor, far, backup):
    def tidied(*folders):
        for folder in folders:
            for manifest in folder.glob("*.manifest.json"):
                manifest.unlink()

    found = restored_without(office, registry, actor, far, backup, tidied)
    assert (found.known, [place.split("/")[1] for place in found.unknown]) == (1, ["202005-补报1"])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"file": "a.zip"}', b'"\xff"', b"7"])
def test_f42_a_manifest_that_names_nothing_is_told_and_the_rest_is_compared(office, registry, actor, far, content):
    package = prepared(office, registry, actor, [Person(1)])
    assert send.send(office, registry, package, actor) == "SENT"
    (far / "上报" / "外来11010519491231002X.manifest.json").write_bytes(content)
    found = restored.compare(office, registry)
    assert (found.known, found.unknown) == (1, ("上报/外来110105********002X.manifest.json",))


def test_f42_what_cities_sent_since_the_backup_is_taken_in_again_before_anything_goes_up(
    office, registry, actor, far, backup
):
    def shelved(name):
        with registry.read() as conn:
            size = conn.scalar(text("SELECT size FROM files ORDER BY id DESC LIMIT 1"))
        (shelf / name).write_bytes(b"0" * size)

    make, restore = backup
    office = dataclasses.replace(office, city_sftp=office.authority_sftp)
    shelf = far / "370100" / "已接收"
    shelf.mkdir(parents=True)
    month = SmallMonth(office, registry)
    month.submit([Person(1)])
    shelved("x")
    make()
    month.submit([Person(2)])
    shelved("x~2")
    registry.engine.dispose()
    restore()
    assert restored.compare(office, registry).forgotten == ("370100/已接收/x~2",)
    with pytest.raises(Conflict, match="移回报送"):
        restored.accept(office, registry, by="值班员", reason="磁盘损坏", actor=actor)
    SmallMonth(office, registry, versions={("370100", "034"): 1}).submit([Person(2)])  # moved back, and taken in
    restored.accept(office, registry, by="值班员", reason="磁盘损坏", actor=actor)


def test_f42_heads_that_are_gone_count_as_a_restored_database(office, registry, actor, far):
    package = prepared(office, registry, actor, [Person(1)])
    office.audit_heads.unlink()
    with pytest.raises(Conflict, match="恢复过备份"):
        send.send(office, registry, package, actor)
    assert zips(far) == []


def test_f42_a_whole_home_of_yesterday_sends_nothing_where_its_heads_were_exported(
    office, registry, actor, far, backup, tmp_path
):
    make, restore = backup
    (tmp_path / "elsewhere").mkdir()
    office = dataclasses.replace(office, audit_export=tmp_path / "elsewhere")
    package = prepared(office, registry, actor, [Person(1)])
    make()
    yesterday = office.audit_heads.read_bytes()
    assert send.send(office, registry, package, actor) == "SENT"
    anchors.export(office, registry, office.audit_export, dt.datetime.now(dt.UTC))
    there = zips(far)
    registry.engine.dispose()
    restore()
    office.audit_heads.write_bytes(yesterday)  # all of the home went back, its own heads too
    with pytest.raises(Conflict, match="恢复过备份"):
        send.send(office, registry, package, actor)
    assert ["台账比导出时旧" in line for line in sick(registry, office)["I7"]] == [True]
    restored.accept(office, registry, by="值班员", reason="磁盘损坏", actor=actor)
    assert send.send(office, registry, package, actor) == "SENT"
    assert zips(far) == there
    anchors.export(office, registry, office.audit_export, dt.datetime.now(dt.UTC))
    assert sick(registry, office) == {}

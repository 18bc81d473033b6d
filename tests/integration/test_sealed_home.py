"""A whole month with everything at rest under a key: nothing of anybody stands on the disk, everybody is served.

The database's own files are left out (they belong on an encrypted disk), and so are the far sides' copies.
"""

import csv
import dataclasses
import datetime as dt
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from functools import partial
from pathlib import Path

import pytest
from at_the_desk import sit_down
from made_submissions import Made, person, portrait, write_registry
from printed_month import print_month
from small_month import Person
from sqlalchemy import text
from typer.testing import CliRunner

from certflow import excel, signing, vault
from certflow.checks.run import check_city
from certflow.cli import app
from certflow.delivery import verify_evidence
from certflow.delivery.bundle import export
from certflow.delivery.daily import run_city
from certflow.delivery.pickup import original_of
from certflow.delivery.take import take_file
from certflow.demo import authority
from certflow.demo.servers import AuthoritySftp, CitySftp
from certflow.dispatch import verify_package
from certflow.dispatch.approve import approve
from certflow.dispatch.assemble import assemble, rebuild
from certflow.dispatch.freeze import freeze
from certflow.dispatch.papers import write_package_forms
from certflow.dispatch.send import send
from certflow.errors import ConfigurationError, DigestMismatch
from certflow.intake.pull import pull, reply
from certflow.month import SHANGHAI, Month
from certflow.proofs import bundle as binding
from certflow.proofs import issue, requests
from certflow.reference import load_reference
from certflow.registry import certificates, deliveries, premises, purge, sealing
from certflow.registry.doctor import examine
from certflow.reports import person as persons
from certflow.returns import answers
from certflow.returns.apply import apply
from certflow.returns.fetch import fetch
from certflow.returns.reconcile import reconcile
from certflow.settings import Settings

HERE = "370100"
KEY, OTHER = (hashlib.sha256(word).hexdigest() for word in (b"one", b"two"))
SOUND = [person(1, photo=True), person(2), person(4, photo=True)]
WRONG = person(3)
ADDRESS = "济南市历下区某路1号"
PLANTED = [row[name] for row in (*SOUND, WRONG) for name in ("KSXM", "ZJHM")] + [ADDRESS]
MAGICS = (b"PK\3\4", b"\xff\xd8\xff", b"%PDF", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
TODAY = dt.datetime.now(SHANGHAI).date()


@dataclasses.dataclass
class Office:
    """The province at work, and both far sides."""

    settings: Settings
    registry: object
    actor: object
    city: Path
    authority: Path
    folder: Path

    def with_key(self, key, old=""):
        return dataclasses.replace(self.settings, vault_key=key, vault_old_keys=old)

    def intake(self):
        pull(self.settings, self.registry, HERE, self.actor)
        check_city(self.settings, self.registry, HERE, self.actor)
        return reply(self.settings, self.registry, HERE, self.actor)

    def send(self):
        batch = freeze(self.registry, Month(2020, 5), self.actor)
        (package,) = assemble(self.settings, self.registry, batch.id, "034", self.actor)
        approve(self.registry, batch.id, "王处长", self.actor)
        assert send(self.settings, self.registry, package, self.actor) == "SENT"
        return package

    def receive(self):
        (number,) = fetch(self.settings, self.registry, self.actor)
        reconcile(self.settings, self.registry, number, self.actor)
        apply(self.settings, self.registry, number, self.actor)
        return answers.write(self.settings, self.registry)

    def deliver(self):
        """All are mailed and signed for; somebody also scanned a paper."""
        folder = self.settings.path("delivery", HERE)
        lines = [("管理号", "领取方式", "收件人", "联系电话", "邮编", "收件地址")]
        lines += [(row["ZSGLH"], "邮寄", row["KSXM"], "13800000000", "250000", ADDRESS) for row in SOUND]
        self.drop(folder / "收件名单" / "名单.csv", "".join(",".join(line) + "\n" for line in lines).encode())
        self.drop(folder / "领取凭证" / "扫描.jpg", portrait(7))
        day = run_city(self.settings, self.registry, load_reference(self.settings), HERE, self.actor)
        with self.registry.read() as conn:
            found = deliveries.by_number(conn, [row["ZSGLH"] for row in SOUND])
        told = [f"{one.order},W{n},已签收,2020-09-03 10:00" for n, one in enumerate(found.values())]
        self.drop(folder / "EMS回传" / "回传.csv", "\n".join(["订单号,运单号,状态,时间", *told]).encode("utf-8-sig"))
        run_city(self.settings, self.registry, load_reference(self.settings), HERE, self.actor)
        return day

    def drop(self, path, data):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (1e9, 1e9))

    def run(self, *words, code=0, **changes):
        env = {
            "CERTFLOW_HOME": str(self.settings.home), "CERTFLOW_DATABASE_URL": self.settings.database_url,
            "CERTFLOW_VAULT_KEY": KEY, **changes,
        }  # fmt: skip
        done = CliRunner().invoke(app, list(words), env=env)
        assert done.exit_code == code, (words, done.output, done.exception)
        return done

    def examine(self):
        """What the doctor finds."""
        found = examine(self.registry, self.settings, rebuild=partial(rebuild, self.settings, self.registry))
        return {name: lines for name, lines in found.items() if lines}

    def ask(self, query):
        with self.registry.read() as conn:
            return list(conn.scalars(text(query)))


@pytest.fixture
def office(settings, registry, actor, tmp_path):
    certificates.load(registry, actor, write_registry(tmp_path / "registry.csv", [*SOUND, WRONG]))
    with CitySftp(tmp_path / "city", [HERE]) as city, AuthoritySftp(tmp_path / "authority") as above:
        keyed = dataclasses.replace(
            settings, vault_key=KEY, city_sftp=city.remote(), authority_sftp=above.remote(), look_seconds=0.05,
            transfer_timeout=10, photo_threads=1,
        )  # fmt: skip
        yield Office(keyed, registry, actor, city.address.tree / HERE, above.address.tree, tmp_path)


def upload(office):
    """A zip with three sound applications and one with another name than the database's."""
    wrong = WRONG | {"KSXM": "改名"}
    made = Made(rows=[*SOUND, wrong], photos={row["ZP"]: portrait(n) for n, row in enumerate(SOUND) if row["ZP"]})
    data = made.write(office.folder / "made").path.read_bytes()
    (office.city / "报送" / f"{made.stem}.zip").write_bytes(data)
    return data


def plain(home):
    """What of anybody stands in the files of a home: planted values, and the beginnings of zips, photos and papers."""
    problems = []
    for path in premises._walk(home):
        data = path.read_bytes()
        shown = f"{path.relative_to(home).parts[0]}/{hashlib.sha256(path.name.encode()).hexdigest()[:6]}"
        said = [value for value in PLANTED if value.encode() in data or value.encode("gb18030") in data]
        said += [value for value in PLANTED if value in str(path.relative_to(home))]
        if said or (path.relative_to(home).parts[0] not in ("reports", "quality") and data.startswith(MAGICS)):
            problems.append((shown, len(said)))
    return problems


def test_a_whole_month_leaves_nothing_of_anybody_on_the_disk_and_everybody_is_served(office):  # noqa: PLR0915 (a month)
    settings, registry, actor = office.settings, office.registry, office.actor
    sent = upload(office)
    office.intake()
    digest = hashlib.sha256(sent).hexdigest()
    assert settings.original(digest).read_bytes() != sent
    assert vault.read_bytes(settings.original(digest)) == sent  # the name is the digest of the plain bytes

    # The city got its answers as plain files.
    books = list((office.city / "回执").glob("*.xlsx"))
    assert books
    assert all(zipfile.is_zipfile(path) for path in books)
    assert any(WRONG["ZJHM"] in "".join(map("".join, excel.read_table(path))) for path in books)
    assert plain(settings.home) == []

    # The authority got a package it can use; the papers stand beside it.
    package = office.send()
    papers = write_package_forms(settings, registry, package, actor)
    assert sorted(papers) == write_package_forms(settings, registry, package, actor)  # found again, not made again
    (delivered,) = (office.authority / "上报").glob("*/*.zip")
    assert verify_package.faults(delivered, signing.public_key(settings)) == []
    taken = authority.take_packages(office.authority)
    assert [one.problems for one in taken] == [()]
    assert len(taken[0].photos) == 2

    # What it printed comes back, is told to the city and goes out.
    lines = [[row["ZSGLH"], row["KSXM"], row["ZJHM"], f"B{n}", "已印制", "", "20200810"] for n, row in enumerate(SOUND)]
    table = io.StringIO()
    csv.writer(table).writerows([authority.RETURN_COLUMNS, *lines])
    (office.authority / "返回" / "202005-034-返回.csv").write_bytes(table.getvalue().encode("utf-8-sig"))
    assert office.receive()
    assert office.intake().lists
    assert any("发放清单" in "".join(map("".join, excel.read_table(path)))[:99] for path in
               (office.city / "回执").glob("*.xlsx"))  # fmt: skip
    day = office.deliver()
    assert (day.applied, day.evidence, day.ordered, day.handed) == (1, 1, 3, 0)
    assert not list(settings.path("delivery", HERE, "收件名单").iterdir())
    ((_, scan),) = [original_of(settings, registry, number) for number in office.ask("SELECT id FROM pickup_files")]
    assert scan == portrait(7)

    assert office.ask("SELECT DISTINCT state FROM packages") == ["SENT"]
    assert plain(settings.home) == []
    assert office.examine() == {}
    standing = sealing.standing(settings)
    assert len(standing) == 1
    assert min(one.files for one in standing.values()) > 10

    # What leaves by a person's hand is plain.
    made = export(settings, registry, (TODAY - dt.timedelta(1), TODAY), office.folder / "evidence.zip", actor=actor)
    assert verify_evidence.faults(made.file, signing.public_key(settings)) == []
    copied = office.run("vault", "copy", *map(str, papers), "--to", str(office.folder / "打印"))
    assert {Path(line).suffix for line in copied.output.split()} == {".xlsx", ".pdf"}
    assert (office.folder / "打印" / next(one.name for one in papers if one.suffix == ".pdf")).read_bytes()[
        :4
    ] == b"%PDF"
    zipped = persons.export(
        settings, registry, SOUND[0]["ZJHM"], dt.datetime.now(dt.UTC), by="王处长", reason="本人", actor=actor
    )
    assert not zipped.read_bytes().startswith(b"PK")
    with vault.reader(zipped) as stream, zipfile.ZipFile(stream) as archive:
        assert "个人数据.xlsx" in archive.namelist()
    office.run("trace", SOUND[0]["ZSGLH"])
    office.run("doctor")
    office.run("vault", "status")
    assert plain(settings.home) == []

    # What is old goes, and the purge can prove it.
    with registry.begin(actor) as conn:
        conn.execute(text("UPDATE files SET shelved_at = now() WHERE shelved_at IS NULL"))
    for path in premises._walk(settings.home):
        os.utime(path, (1, 1))
    steps, proof = purge.purge(settings, registry, dt.datetime.now(dt.UTC) + dt.timedelta(4000), actor)
    assert proof.holds
    assert {one.kind for one in steps if one.count} >= {"originals", "packages", "feedback"}
    assert not settings.original(digest).exists()
    vault.write_bytes(settings.path("feedback", "forgotten.bin"), sent)
    assert purge.prove(settings, registry).found == 1  # a sealed copy is known by its plain bytes


def test_pages_of_the_desk_show_what_lies_sealed(office):
    made = Made(rows=[dict(SOUND[0]) | {"KSXM": "改名"}], photos={SOUND[0]["ZP"]: portrait(0)})
    at = sit_down(office.settings, office.registry)
    with (office.folder / "t.zip").open("wb") as stream:
        stream.write(made.write(office.folder / "trial").path.read_bytes())
    answer = at.post("/trial", files={"file": (f"{made.stem}.zip", (office.folder / "t.zip").read_bytes())})
    assert answer.status_code == 200
    assert "DB-NAME" in answer.text
    assert not list(office.settings.work.glob("*"))
    assert plain(office.settings.home) == []


def test_proofs_are_sealed_and_given_out_plain(office):
    from small_month import SmallMonth

    month = SmallMonth(office.settings, office.registry)
    month.submit([Person(1, photo=None, state="PROOF", name="证明人")], exam="902")
    room = issue.open_office(office.settings, office.registry, office.actor)
    assert requests.answer_qualifications(room, HERE)[0] == 1
    bound = binding.bundle(room, HERE, "济南市")
    for path in premises._walk(office.settings.path("proofs")):
        assert not path.read_bytes().startswith(b"%PDF")
    assert vault.read_bytes(bound.file).startswith(b"%PDF")
    (number,) = office.ask("SELECT number FROM proofs")
    target = office.folder / "proof.pdf"
    office.run("proofs", "show", number, str(target))
    assert target.read_bytes().startswith(b"%PDF")
    assert office.examine() == {}


def test_without_its_key_a_home_refuses_in_words_and_goes_on_when_the_key_is_back(office):
    upload(office)
    office.intake()
    office.send()
    before = {path: path.read_bytes() for path in premises._walk(office.settings.home)}
    for key in ("", OTHER):
        keyless = office.with_key(key)
        with pytest.raises(ConfigurationError, match="CERTFLOW_VAULT_KEY"):
            examine(office.registry, keyless)
        refused = office.run("doctor", code=1, CERTFLOW_VAULT_KEY=key)
        assert isinstance(refused.exception, ConfigurationError)
    office.with_key(KEY)
    assert {path: path.read_bytes() for path in premises._walk(office.settings.home)} == before
    assert office.examine() == {}


def test_a_package_whose_seal_was_broken_is_not_sent_and_the_doctor_names_it(office):
    upload(office)
    office.intake()
    batch = freeze(office.registry, Month(2020, 5), office.actor)
    (package,) = assemble(office.settings, office.registry, batch.id, "034", office.actor)
    approve(office.registry, batch.id, "王处长", office.actor)
    (path,) = office.settings.packages.glob("*/*.zip")
    spoilt = bytearray(path.read_bytes())
    spoilt[-1] ^= 1
    path.write_bytes(spoilt)
    assert "内容与台账的摘要不符" in office.examine()["I5"][0]
    with pytest.raises(DigestMismatch):
        send(office.settings, office.registry, package, office.actor)
    assert not list((office.authority / "上报").rglob("*.zip"))
    assemble(office.settings, office.registry, batch.id, "034", office.actor)  # built again from the originals
    assert send(office.settings, office.registry, package, office.actor) == "SENT"
    assert office.examine() == {}


def test_a_plain_home_is_sealed_killed_in_the_middle_and_sealed_to_the_end(settings, registry, actor, tmp_path):
    people = [Person(number, photo=bytes([number]) * 3000) for number in range(1, 9)]
    print_month(settings, registry, people, tmp_path)
    for number in range(300):
        settings.path("feedback", HERE, "202005").mkdir(parents=True, exist_ok=True)
        settings.path("feedback", HERE, "202005", f"{number}-回执.txt").write_text("张三" * 2000)
    for path in premises._walk(settings.home):
        os.utime(path, (1e9, 1e9))
    before = {path: path.read_bytes() for name in vault.FOLDERS for path in premises._walk(settings.path(name))}
    env = {
        **os.environ, "CERTFLOW_HOME": str(settings.home), "CERTFLOW_DATABASE_URL": settings.database_url,
        "CERTFLOW_VAULT_KEY": KEY,
    }  # fmt: skip
    words = [sys.executable, "-m", "certflow", "vault", "seal"]
    keyed = dataclasses.replace(settings, vault_key=KEY)
    child = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(sealing.standing(keyed)) < 2 and child.poll() is None:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    half = sealing.standing(keyed)
    assert half[""].files > 0, "it was not killed in the middle"
    assert {path: vault.read_bytes(path) for path in before if path.exists()} == before
    assert not any(lines for name, lines in examine(registry, keyed).items() if name != "I11")
    done = sealing.seal_all(keyed, registry, actor)
    assert (done.sealed, done.broken) == (half[""].files, [])
    assert list(sealing.standing(keyed)) != [""]
    assert len(sealing.standing(keyed)) == 1
    assert not list(settings.work.glob("*"))
    sealed = {path: path.read_bytes() for path in before if not path.name.endswith(vault.PLAIN)}
    assert all(data != before[path] for path, data in sealed.items())
    assert {path: vault.read_bytes(path) for path in before} == before
    assert {path.stat().st_mtime for path in before} == {1e9}
    found = examine(registry, keyed, rebuild=partial(rebuild, keyed, registry))
    assert not any(found.values())

    # Another key, the old one beside it: headers alone change, and then the old one is no longer needed.
    rotated = dataclasses.replace(settings, vault_key=OTHER, vault_old_keys=KEY)
    assert not any(examine(registry, rotated).values())
    assert sealing.seal_all(rotated, registry, actor).sealed == done.sealed + done.kept
    alone = dataclasses.replace(settings, vault_key=OTHER)
    assert sealing.seal_all(alone, registry, actor).sealed == 0
    assert {path: vault.read_bytes(path) for path in before} == before
    assert not any(examine(registry, alone).values())


def test_status_says_what_is_plain_and_fails_until_nothing_is(office):
    path = office.settings.path("feedback", HERE, "a.txt")
    path.parent.mkdir(parents=True)
    path.write_text("plain")
    found = json.loads(office.run("vault", "status", "--json", code=1).output)
    assert [(one["key"], one["files"]) for one in found["files"]] == [("", 1)]
    office.run("vault", "seal")
    found = json.loads(office.run("vault", "status", "--json").output)
    assert [(one["key"], one["files"]) for one in found["files"]] == [(found["current"], 1)]
    assert "没有设置 CERTFLOW_VAULT_KEY" in str(office.run("vault", "seal", code=1, CERTFLOW_VAULT_KEY="").exception)
    path.write_bytes(path.read_bytes()[:-1])
    assert "其他密钥" in office.run("vault", "status", code=1, CERTFLOW_VAULT_KEY=OTHER).output
    office.run("vault", "copy", str(path), "--to", str(office.settings.home / "x"), code=2)


def test_what_others_drop_for_us_is_left_alone_until_it_is_taken(office, actor):
    settings = office.settings
    dropped = settings.path("delivery", HERE, "领取凭证", "扫描.jpg")
    office.drop(dropped, portrait(7))
    with (settings.home / "delivery" / HERE / "list.csv.part").open("wb") as stream:
        stream.write(b"under way")
    assert sealing.seal_all(settings, office.registry, actor).sealed == 0
    assert dropped.read_bytes() == portrait(7)
    taken = take_file(settings, office.registry, "choices", dropped, actor=actor, account=HERE)
    assert taken.size == len(portrait(7))

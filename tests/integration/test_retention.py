"""What is closed and old leaves the home, byte for byte; what is open stays; the doctor tells them apart."""

import dataclasses
import datetime as dt
import json
import os
import zipfile
from functools import partial

import pytest
from printed_month import print_month
from small_month import Person, SmallMonth
from sqlalchemy import insert, literal, select, text, update
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from certflow.cli import app
from certflow.delivery import orders, pickup
from certflow.delivery.bundle import export
from certflow.delivery.daily import run_city
from certflow.delivery.profile import copy_profile
from certflow.delivery.take import take_file
from certflow.dispatch.assemble import rebuild
from certflow.errors import CertflowError, Conflict
from certflow.month import SHANGHAI
from certflow.originals import keep
from certflow.reference import load_reference
from certflow.registry import deliveries, portraits, premises, purge, schema
from certflow.registry.doctor import examine
from certflow.reports import person

NOW = dt.datetime.now(dt.UTC)
PEOPLE = [Person(1, photo=b"planted-photo-1", name="赵甲"), Person(2, photo=b"planted-photo-2", name="钱乙")]
ADDRESS = "济南市历下区某路1号"
PLANTED = [
    *(one.identity for one in PEOPLE), *(one.photo.decode() for one in PEOPLE), *(one.name for one in PEOPLE), ADDRESS
]  # fmt: skip


@pytest.fixture
def home(settings, registry, actor, tmp_path):
    place = Home(settings, registry, actor, tmp_path)
    yield place
    place.age()
    found = examine(registry, settings, rebuild=partial(rebuild, settings, registry))
    assert {name: lines for name, lines in found.items() if lines} == {}


class Home:
    """A city whose month went up, came back printed, was mailed and, when said, signed for."""

    def __init__(self, settings, registry, actor, folder):
        self.settings, self.registry, self.actor, self.folder = settings, registry, actor, folder

    def print_and_mail(self):
        print_month(self.settings, self.registry, PEOPLE, self.folder)
        lines = [f"{one.management_no},邮寄,{one.name},13800000000,250000,{ADDRESS}" for one in PEOPLE]
        self.take("choices", "管理号,领取方式,收件人,联系电话,邮编,收件地址", *lines, account="370100")
        run_city(self.settings, self.registry, load_reference(self.settings), "370100", self.actor)
        with self.registry.begin(self.actor) as conn:
            conn.execute(update(schema.files).values(shelved_at=text("now()")))
            conn.execute(update(schema.return_answers).values(answered_at=text("now()")))
            sketches = select(schema.entries.c.id, literal(b"planted-sketch"))
            conn.execute(insert(schema.portraits).from_select(["entry_id", "sketch"], sketches))
        for place in ("feedback", "contact-sheets"):
            self.write(f"{place}/370100/202005/{PEOPLE[0].identity}.txt", "".join(PLANTED))
        self.write("work/take-1", PLANTED[0])
        self.write("reports/empty.txt", "")  # so was a file that a city sent
        self.write("airflow/logs/dag/1.log", "a line")

    def sign(self):
        with self.registry.read() as conn:
            found = deliveries.by_number(conn, [one.management_no for one in PEOPLE])
        orders = [found[one.management_no].order for one in PEOPLE]
        self.take(
            "ems",
            "订单号,运单号,状态,时间",
            *(f"{order},W{n},已签收,2020-09-03 10:00" for n, order in enumerate(orders)),
        )
        run_city(self.settings, self.registry, load_reference(self.settings), "370100", self.actor)
        self.age()

    def take(self, kind, *lines, account=""):
        file = self.folder / f"{kind}.csv"
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8-sig")
        take_file(self.settings, self.registry, kind, file, actor=self.actor, account=account)

    def write(self, place, content):
        path = self.settings.path(*place.split("/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def age(self):
        """Every file of the home lies there for years."""
        for path in premises._walk(self.settings.home):
            os.utime(path, (1, 1))

    def purge(self, days=4000):
        steps, proof = purge.purge(self.settings, self.registry, NOW + dt.timedelta(days), self.actor)
        return {one.kind: one.count for one in steps if one.count}, proof

    def leaks(self):
        """Files of the home with something planted in them; zips are looked into."""
        texts = {}
        for path in self.settings.home.rglob("*.bin"):
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    texts |= {f"{path.name}/{n}": archive.read(name) for n, name in enumerate(archive.namelist())}
        return premises.scan([self.settings.home], texts, PLANTED)

    def audited(self):
        with self.registry.read() as conn:
            return "\n".join(conn.scalars(select(schema.audit.c.payload)))


def test_what_is_closed_and_old_leaves_the_home_and_its_names_the_ledger(home):
    home.print_and_mail()
    with home.registry.begin(home.actor) as conn:
        conn.execute(insert(schema.files).values(
            account="370100", lane="trial", name="空.zip", raw_name=b"x", sha256=keep(home.settings, b""), size=0,
            reason="FILE-EMPTY", shelved_at=text("now()")))  # fmt: skip
        conn.execute(update(schema.files).where(schema.files.c.lane == "trial").values(state="RETURNED"))
    home.sign()
    assert home.leaks()
    done, proof = home.purge()
    assert set(done) == set(purge.WORDS) - {"exports", "evidence", "keeping", "persons"}
    assert done["originals"] == done["returns"] == done["orders"] == 1
    assert (proof.holds, proof.found, proof.waiting, proof.columns) == (True, 0, 0, {})
    assert proof.searched > 0
    assert home.leaks() == []
    assert list(home.settings.originals.glob("*/*.bin")) == []
    with home.registry.read() as conn:
        assert not [*portraits.shelf(conn, 0, 1 << 40)], "of a photo that has gone no sketch is kept either"
        for table, column in (("entries", "name"), ("return_rows", "id_number"), ("delivery_choices", "address")):
            assert set(conn.scalars(text(f"SELECT {column} FROM {table}"))) == {""}
        assert set(conn.scalars(select(schema.rows.c.state))) == {"CLOSED"}
    assert premises.scan([], {"audit": home.audited()}, PLANTED) == []
    assert home.audited().count("retention.purged") == len(done)
    assert home.purge() == ({}, dataclasses.replace(proof, searched=home.purge()[1].searched))


def test_evidence_of_a_pick_up_goes_after_its_years_and_so_does_what_is_linked_to_nobody(home):
    print_month(home.settings, home.registry, PEOPLE, home.folder)
    cities = load_reference(home.settings)
    run_city(home.settings, home.registry, cities, "370100", home.actor)
    number = PEOPLE[0].identity
    for name in (f"{number}_签名.png", f"{number}_身份证.jpg", "IMG_0001.jpg"):
        home.write(f"delivery/370100/领取凭证/{name}", f"planted {name}")
        os.utime(home.settings.path("delivery", "370100", "领取凭证", name), (1, 1))
    assert run_city(home.settings, home.registry, cities, "370100", home.actor).closed == 1
    home.age()
    assert "evidence" not in home.purge(days=1800)[0]
    done, proof = home.purge(days=1900)
    assert (done["evidence"], proof.holds) == (3, True)
    with home.registry.read() as conn:
        assert conn.scalars(select(schema.pickup_files.c.name)).all() == [""] * 3
    assert not [path for path in home.settings.originals.glob("*/*.bin") if b"planted IMG" in path.read_bytes()]
    assert pickup.status(home.settings, home.registry) == ([], [])
    by = {"kind": "签名", "by": "李四", "actor": home.actor}
    for number in (1, 2, 3):
        with pytest.raises(Conflict, match="保存期限已满"):
            pickup.original_of(home.settings, home.registry, number)
        with pytest.raises(Conflict, match="保存期限已满"):
            pickup.link(home.settings, home.registry, number, PEOPLE[1].management_no, **by)
    # The very picture comes once more, under a name that says whose it is: its time is over all the same.
    home.write(f"delivery/370100/领取凭证/{PEOPLE[1].identity}_签名.png", "planted IMG_0001.jpg")
    os.utime(home.settings.path("delivery", "370100", "领取凭证", f"{PEOPLE[1].identity}_签名.png"), (1, 1))
    assert run_city(home.settings, home.registry, cities, "370100", home.actor).handed == 0
    home.age()
    assert home.purge(days=1900)[1].holds


def test_a_list_that_was_never_applied_goes_after_its_time_and_says_nothing_afterwards(home):
    print_month(home.settings, home.registry, PEOPLE, home.folder)
    lines = (
        "管理号,领取方式,收件人,联系电话,邮编,收件地址",
        f"{PEOPLE[0].management_no},专人送达,{PEOPLE[0].name},1,2,{ADDRESS}",
    )
    home.write("delivery/370100/收件名单/list.csv", "\n".join(lines))
    drop = home.settings.path("delivery", "370100", "收件名单", "list.csv")
    os.utime(drop, (1, 1))
    cities = load_reference(home.settings)
    assert len(run_city(home.settings, home.registry, cities, "370100", home.actor).held) == 1
    data = drop.read_bytes()
    home.age()
    assert home.purge(days=360)[0] == {}
    done, proof = home.purge(days=370)
    assert (done, proof.holds, drop.exists()) == ({"deliveries": 1}, True, False)
    own = copy_profile(home.settings, "choices")  # the word is known by now
    own.write_text(own.read_text("utf-8").replace('"快递"', '"快递", "专人送达"'), encoding="utf-8")
    drop.write_bytes(data)
    os.utime(drop, (1, 1))
    taken = take_file(home.settings, home.registry, "choices", drop, actor=home.actor, account="370100")
    assert (taken.state, "保存期限已满" in taken.reason) == ("HELD", True)
    home.age()
    assert home.purge(days=370)[1].holds


def test_lists_of_what_lies_at_a_desk_and_copies_of_persons_data_are_not_kept_for_ever(home):
    print_month(home.settings, home.registry, PEOPLE, home.folder)
    reference = load_reference(home.settings)
    run_city(home.settings, home.registry, reference, "370100", home.actor)
    listed, _ = orders.keeping_list(home.settings, home.registry, reference, "370100")
    by = {"by": "李四", "reason": "本人申请", "actor": home.actor}
    copied = person.export(home.settings, home.registry, PEOPLE[0].identity, NOW, **by)
    assert home.purge(days=364)[0] == {}
    assert listed.exists()
    assert copied.exists()
    assert home.purge(days=366)[0] == {"keeping": 1, "persons": 1}
    assert not listed.exists()
    assert not copied.exists()


def test_nothing_goes_before_its_time(home):
    home.print_and_mail()
    home.sign()
    done, proof = home.purge(days=364)
    assert set(done) <= {"feedback", "contact_sheets", "work", "logs"}  # files as old as 1970
    assert proof.holds
    done, _ = home.purge(days=400)
    assert set(done) == {"deliveries", "orders", "feedback"}
    assert home.purge(days=1090)[0] == {}
    assert {"originals", "returns", "packages"} <= set(home.purge(days=1100)[0])


def test_what_is_on_its_way_stays_however_old(home):
    home.print_and_mail()
    home.age()
    done, proof = home.purge()
    assert set(done) == {"work", "logs"}
    assert proof.holds
    assert home.leaks()


def test_what_is_held_or_contested_or_lends_a_photo_stays(home):
    month = SmallMonth(home.settings, home.registry)
    (held,) = month.submit([Person(1, state="HELD")], verdict="held")
    (contested,) = month.submit([Person(2, state="RETURNED")], account="370200", verdict="returned")
    (lender,) = month.submit([Person(3, state="RETURNED")], account="370300", verdict="returned")
    (borrower,) = month.submit([Person(4, photo=None)], exam="035")
    with home.registry.begin(home.actor) as conn:
        conn.execute(update(schema.files).values(shelved_at=text("now()")))
        finding = conn.scalar(insert(schema.findings).values(
            file_id=2, row_id=contested, rule="DB-NAME", severity="error", scope="row", message="赵甲", masked="赵*",
            remedy="", rule_set="2020").returning(schema.findings.c.id))  # fmt: skip
        appeal = conn.scalar(insert(schema.appeals).values(finding_id=finding, by="济南", reason="无误")
                             .returning(schema.appeals.c.id))  # fmt: skip
        lent = select(schema.rows.c.photo_entry_id).where(schema.rows.c.id == lender).scalar_subquery()
        conn.execute(update(schema.rows).where(schema.rows.c.id == borrower).values(photo_entry_id=lent))
    home.age()
    assert home.purge()[0] == {}
    with home.registry.begin(home.actor) as conn:
        conn.execute(
            insert(schema.appeal_decisions).values(appeal_id=appeal, upheld=False, by="张主任", reason="核对过")
        )
    assert home.purge()[0] == {"originals": 1}
    with home.registry.begin(home.actor) as conn:
        conn.execute(update(schema.rows).where(schema.rows.c.id == borrower).values(state="WITHDRAWN"))
        conn.execute(update(schema.rows).where(schema.rows.c.id == held).values(state="RETURNED"))
        assert conn.scalar(select(schema.findings.c.message)) == "赵*"
    assert home.purge()[0] == {"originals": 3}


@pytest.mark.parametrize("where", ["sweep", "_remove_empty", "prove"])
def test_f26_killed_anywhere_the_next_run_finishes(home, monkeypatch, where):
    home.print_and_mail()
    home.sign()

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(purge, where, die)
        with pytest.raises(KeyboardInterrupt):
            home.purge()
    home.age()
    if where == "sweep":
        assert "请再运行 certflow retention purge" in "\n".join(examine(home.registry, home.settings)["I11"])
        assert purge.prove(home.settings, home.registry).found > 0
    assert home.purge()[1].holds
    assert home.leaks() == []


def test_bytes_that_something_open_still_needs_stay_and_bytes_that_come_again_are_judged_anew(home):
    month = SmallMonth(home.settings, home.registry)
    month.submit([Person(1, state="RETURNED")], verdict="returned")
    with home.registry.begin(home.actor) as conn:
        conn.execute(update(schema.files).values(shelved_at=text("now()")))
        digest, size = conn.execute(select(schema.files.c.sha256, schema.files.c.size)).one()
        conn.execute(insert(schema.delivery_files).values(
            kind="ems", account="", name="same.csv", sha256=digest, size=size, state="APPLIED",
            received_at=NOW + dt.timedelta(3900)))  # fmt: skip
    home.age()
    data = home.settings.original(digest).read_bytes()
    assert home.purge()[0] == {"originals": 1}
    assert home.settings.original(digest).read_bytes() == data  # the list that came later is the same bytes
    with home.registry.begin(home.actor) as conn:
        conn.execute(update(schema.delivery_files).values(received_at=NOW))
    assert home.purge()[0] == {"deliveries": 1}
    assert not home.settings.original(digest).exists()
    assert keep(home.settings, data) == digest
    assert home.purge()[1].waiting == 1  # stored a moment ago: somebody may be about to record it
    home.age()
    assert home.purge()[1].waiting == 0
    assert not home.settings.original(digest).exists()


def test_what_was_emptied_cannot_be_written_again(home):
    home.print_and_mail()
    home.settings.path("work", "take-1").unlink()
    for change in ("recipient = '别人'", "way = 'pickup'"):
        with pytest.raises((CertflowError, DBAPIError)), home.registry.begin(home.actor) as conn:
            conn.execute(text(f"UPDATE delivery_choices SET {change}"))


def test_the_evidence_of_those_days_can_still_be_exported(home, tmp_path):
    home.print_and_mail()
    home.sign()
    home.purge()
    day = NOW.astimezone(SHANGHAI).date()
    days = (day - dt.timedelta(1), day + dt.timedelta(1))
    assert export(home.settings, home.registry, days, tmp_path / "out.zip", actor=home.actor).originals == 0


def test_the_commands_show_and_purge(home, monkeypatch):
    month = SmallMonth(home.settings, home.registry)
    month.submit([Person(1, state="RETURNED")], verdict="returned")
    with home.registry.begin(home.actor) as conn:
        conn.execute(update(schema.files).values(shelved_at=text("now()"), received_at=text("now()")))
    home.age()
    for name, value in (
        ("CERTFLOW_HOME", str(home.settings.home)), ("CERTFLOW_DATABASE_URL", home.settings.database_url),
        ("CERTFLOW_RETENTION_LOGS", "30"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    run = CliRunner().invoke
    shown = json.loads(run(app, ["retention", "show", "--json"]).output)
    assert {one["kind"]: one["days"] for one in shown} | {"logs": 30, "originals": 1095} == {
        one["kind"]: one["days"] for one in shown
    }
    assert "CERTFLOW_RETENTION_ORIGINALS" in run(app, ["retention", "show"]).output
    home.write("airflow/logs/old.log", "a line")
    home.age()
    dry = json.loads(run(app, ["retention", "purge", "--dry-run", "--json"]).output)
    assert dry["purged"] == [{"kind": "logs", "count": 1, "bytes": 6}]
    done = run(app, ["retention", "purge"])
    assert (done.exit_code, "已删除的还剩 0 个" in done.output) == (0, True)
    assert not home.settings.path("airflow", "logs", "old.log").exists()

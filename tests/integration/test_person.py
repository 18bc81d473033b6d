"""One person: everything found, a copy handed over, what may go goes, what stays says why (个人信息保护法 44–47)."""

import datetime as dt
import json
import os
import zipfile
from functools import partial

import pytest
from printed_month import print_month
from small_month import Person, SmallMonth
from sqlalchemy import insert, select, text, update
from typer.testing import CliRunner

from certflow import keys
from certflow.cli import app
from certflow.delivery.take import take_file
from certflow.dispatch.assemble import rebuild
from certflow.errors import Conflict
from certflow.registry import premises, schema
from certflow.registry.doctor import examine
from certflow.reports import person as room

BY = {"by": "张主任", "reason": "本人申请"}
HER = Person(1, name="赵甲", photo=b"planted-photo-1")
HIM = Person(2, name="钱乙", photo=b"planted-photo-2")
ADDRESS = "济南市历下区某路1号"


@pytest.fixture
def home(settings, registry, actor, tmp_path):
    place = Home(settings, registry, actor, tmp_path)
    yield place
    found = examine(registry, settings, rebuild=partial(rebuild, settings, registry))
    assert {name: lines for name, lines in found.items() if lines} == {}


def now():
    return dt.datetime.now(dt.UTC)


class Home:
    def __init__(self, settings, registry, actor, folder):
        self.settings, self.registry, self.actor, self.folder = settings, registry, actor, folder

    def print(self):
        """Both printed; what the city sent and what the checks said of her stands in the ledger."""
        print_month(self.settings, self.registry, [HER, HIM], self.folder)
        file = self.folder / "choices.csv"
        lines = [f"{one.management_no},邮寄,{one.name},1380000000{one.number},250000,{ADDRESS}" for one in (HER, HIM)]
        file.write_text("\n".join(("管理号,领取方式,收件人,联系电话,邮编,收件地址", *lines, "")), encoding="utf-8-sig")
        take_file(self.settings, self.registry, "choices", file, actor=self.actor, account="370100")
        with self.registry.begin(self.actor) as conn:
            conn.execute(update(schema.files).values(shelved_at=text("now()")))
            conn.execute(text("UPDATE rows SET sent = jsonb_build_object('ZJHM', id_number, 'KSXM', name)"))
            conn.execute(insert(schema.findings).values(
                file_id=1, row_id=1, rule="DB-NAME", severity="warning", scope="row", message=f"{HER.name} 不同",
                masked="赵* 不同", remedy="", sent=HER.name, registry="赵假", rule_set="2020"))  # fmt: skip

    def close(self):
        with self.registry.begin(self.actor) as conn:
            conn.execute(update(schema.deliveries).values(state="PUSHED"))
            conn.execute(update(schema.deliveries).values(state="SIGNED"))
            for state in ("DELIVERED", "CLOSED"):
                conn.execute(update(schema.rows).values(state=state))
        for path in premises._walk(self.settings.home):
            os.utime(path, (1, 1))

    def places(self, number=HER.identity):
        found = room.search(self.settings, self.registry, number, **BY, actor=self.actor)
        return {one.place.name: len(one.lines) for one in found}

    def erase(self, number=HER.identity):
        return room.erase(self.settings, self.registry, number, now(), **BY, actor=self.actor)

    def audited(self):
        with self.registry.read() as conn:
            return "\n".join(conn.scalars(select(schema.audit.c.payload)))


EVERYWHERE = {
    "certificates": 1, "rows": 1, "sent": 1, "findings": 1, "entries": 1, "files": 1, "packages": 1, "return_rows": 1,
    "print_events": 1, "deliveries": 1, "choices": 1,
}  # fmt: skip


def test_every_place_is_found_by_either_form_of_the_number(home):
    home.print()
    found = home.places()
    assert found.pop("moves") >= 6
    assert found == EVERYWHERE
    short = HER.identity[:6] + HER.identity[8:17]
    assert set(keys.id_spellings(short)) == {short, HER.identity} <= set(keys.id_spellings(HER.identity))
    assert home.places(short).keys() == home.places().keys()
    with home.registry.begin(home.actor) as conn:
        conn.execute(insert(schema.old_certificates).values(
            account="370100", reference="A-1", form="专业技术资格考试登记表",
            fields={"证件号码": HER.identity}, ticks={}, state="OPEN", by="李四"))  # fmt: skip
    assert home.places()["old_certificates"] == 1
    assert home.places(f" {HER.identity.lower()} ") == home.places()
    assert "old_certificates" not in home.places(HIM.identity)
    assert home.places("110105194912310021") == {}
    with home.registry.begin(home.actor) as conn:
        conn.execute(update(schema.certificates).values(id_number="H12345678(01)").where(schema.certificates.c.id == 2))
    assert home.places("h1234567801")["certificates"] == 1


def test_evidence_that_belongs_to_nobody_yet_is_found_by_what_its_name_says(settings, registry, actor, tmp_path):
    home = Home(settings, registry, actor, tmp_path)  # without the doctor, who would miss the pictures
    home.print()
    for at, name in enumerate((f"杂项/{HER.identity.lower()}.png", f"{HER.management_no}.jpg", "IMG.jpg"), start=1):
        piece = {"account": "370100", "name": name, "sha256": f"{at:064x}", "size": 1, "kind": ""}
        with home.registry.begin(home.actor) as conn:
            conn.execute(insert(schema.pickup_files).values(**piece))
            if name.endswith(".jpg"):  # a link that was taken back is none
                link = conn.scalar(text("INSERT INTO pickup_links (file_id, delivery_id, kind, by)"
                                        " VALUES (:file, 2, 'photo', '李四') RETURNING id"), {"file": at})  # fmt: skip
                conn.execute(insert(schema.pickup_unlinks).values(link_id=link, by="李四", reason="关联错了"))
    assert home.places()["loose_evidence"] == 2
    assert "loose_evidence" not in home.places(HIM.identity)


def test_a_number_that_is_part_of_another_persons_finds_nothing_of_hers(settings, registry, actor, tmp_path):
    home = Home(settings, registry, actor, tmp_path)  # without the doctor, who would miss the picture
    home.print()
    home.close()
    with home.registry.begin(home.actor) as conn:
        conn.execute(insert(schema.pickup_files).values(
            account="370100", name=f"IMG{HER.identity}.png", sha256="1" * 64, size=1, kind=""))  # fmt: skip
        conn.execute(insert(schema.old_certificates).values(
            account="370100", reference="A-1", form="专业技术资格考试登记表",
            fields={"证件号码": HER.identity}, ticks={}, state="OPEN", by="李四"))  # fmt: skip
    hers = home.places()
    assert (hers["loose_evidence"], hers["old_certificates"], hers["entries"]) == (1, 1, 1)
    for number in (HER.identity[3:11], HER.identity[:6], HER.identity[:-1]):  # a 台胞证, and what was typed too short
        assert home.places(number) == {}
        with pytest.raises(Conflict, match="没有这个人"):
            home.erase(number)
    assert home.places() == hers


def test_the_copy_holds_her_data_and_nobody_elses(home):
    home.print()
    target = room.export(home.settings, home.registry, HER.identity, now(), **BY, actor=home.actor)
    assert target.parent == home.settings.path("persons")
    assert target.stat().st_mode & 0o777 == 0o600
    assert HER.identity not in target.name
    with zipfile.ZipFile(target) as archive:
        listed = archive.read("文件清单.txt").decode()
        archive.extract("个人数据.xlsx", home.folder)
    assert "报送的压缩包" in listed
    texts = "\n".join("\t".join(line) for line in sheets(home.folder / "个人数据.xlsx"))
    assert all(value in texts for value in (HER.name, HER.identity, ADDRESS, "13800000001"))
    assert not any(value in texts for value in (HIM.name, HIM.identity, "13800000002"))
    with pytest.raises(Conflict, match="没有这个人"):
        room.export(home.settings, home.registry, "110105194912310021", now(), **BY, actor=home.actor)


def test_the_copy_names_no_evidence_of_somebody_else(settings, registry, actor, tmp_path):
    home = Home(settings, registry, actor, tmp_path)  # without the doctor, who would miss the pictures
    home.print()
    # One proxy's letter for both came under her number; his signature was taken for hers, until somebody saw it.
    with home.registry.begin(home.actor) as conn:
        for at, (name, links) in enumerate(
            ((f"{HER.identity}_委托书.png", (1, 2)), (f"{HIM.identity}_签名.png", (1, 2)))
        ):
            piece = {"account": "370100", "name": name, "sha256": f"{at:064x}", "size": 1, "kind": ""}
            file = conn.execute(insert(schema.pickup_files).values(**piece)).inserted_primary_key[0]
            for delivery in links:
                link = {"file_id": file, "delivery_id": delivery, "kind": "letter", "by": "李四"}
                conn.execute(insert(schema.pickup_links).values(**link))
        conn.execute(insert(schema.pickup_unlinks).values(link_id=3, by="李四", reason="关联错了"))

    def copy(number):
        target = room.export(home.settings, home.registry, number, now(), **BY, actor=home.actor)
        with zipfile.ZipFile(target) as archive:
            listed = archive.read("文件清单.txt").decode()
            archive.extract("个人数据.xlsx", home.folder)
        return listed + "\n".join("\t".join(line) for line in sheets(home.folder / "个人数据.xlsx"))

    assert HIM.identity not in copy(HER.identity)
    assert HER.identity not in copy(HIM.identity)
    assert (home.places()["evidence"], home.places(HIM.identity)["evidence"]) == (1, 2)


def sheets(path):
    from openpyxl import load_workbook

    for sheet in load_workbook(path):
        yield from ([str(value) for value in row] for row in sheet.iter_rows(values_only=True))


def test_what_a_city_asked_for_and_contested_on_her_behalf_is_found(home):
    home.print()
    with home.registry.begin(home.actor) as conn:
        conn.execute(insert(schema.proof_requests).values(
            file_id=1, row_no=2, management_no=HER.management_no, purpose="投标", reason="申请正在核实"))  # fmt: skip
        finding = conn.scalar(select(schema.findings.c.id).where(schema.findings.c.row_id == 1))
        appeal = insert(schema.appeals).values(finding_id=finding, by="济南", reason="数据库当时有误")
        appeal_id = conn.execute(appeal).inserted_primary_key[0]
        decision = {"appeal_id": appeal_id, "upheld": True, "by": "张主任", "reason": "核实属实"}
        conn.execute(insert(schema.appeal_decisions).values(**decision))
    assert (home.places()["proof_requests"], home.places()["appeals"]) == (1, 1)
    assert not {"proof_requests", "appeals"} & home.places(HIM.identity).keys()
    home.close()
    assert {"proof_requests", "appeals"} <= {one.place.name for one in home.erase().kept}


def test_nothing_is_erased_while_something_is_under_way(home):
    home.print()
    before = home.places()
    with pytest.raises(Conflict, match=r"还有 1 项没有办结.*（PRINTED）") as refused:
        home.erase()
    assert HER.identity not in str(refused.value)
    assert home.places() == before


def test_what_may_go_goes_what_stays_says_why_and_others_keep_theirs(home):
    home.print()
    home.close()
    his = home.places(HIM.identity)
    made = home.erase()
    assert made.done == {"sent": 1, "findings": 1, "entries": 1, "return_rows": 1, "choices": 1}
    assert all(one.place.kept for one in made.kept)
    assert {one.place.name for one in made.kept} == {
        "certificates", "rows", "files", "packages", "print_events", "deliveries", "moves"
    }  # fmt: skip
    assert home.places(HIM.identity) == his
    assert home.erase().done == {}
    with home.registry.read() as conn:
        left = [str(row) for table in ("findings", "entries", "return_rows", "delivery_choices")
                for row in conn.execute(text(f"SELECT * FROM {table}"))]  # fmt: skip
    assert not [row for row in left if HER.identity in row or HER.name in row or "13800000001" in row]
    assert premises.scan([], {"audit": home.audited()}, [HER.identity, HER.name, ADDRESS]) == []
    for event in ("person.searched", "person.erased"):
        assert event in home.audited()


def test_an_original_that_holds_nobody_else_goes_with_its_answers(home):
    month = SmallMonth(home.settings, home.registry)
    month.submit([Person(1, name="赵甲", photo=b"planted-photo-1", state="RETURNED")], verdict="returned")
    month.submit([Person(2, name="钱乙", state="RETURNED")], account="370200", verdict="returned")
    with home.registry.begin(home.actor) as conn:
        conn.execute(update(schema.files).values(shelved_at=text("now()")))
    for folder in ("feedback/370100/202005", "contact-sheets/370100/202005"):
        for file_id in (1, 2):
            answer = home.settings.path(*folder.split("/"), f"stem-F{file_id:06d}.xlsx")
            answer.parent.mkdir(parents=True, exist_ok=True)
            answer.write_text(HER.name if file_id == 1 else "")
    assert home.places()["answers"] == 2
    made = room.export(home.settings, home.registry, HER.identity, now(), **BY, actor=home.actor)
    with zipfile.ZipFile(made) as archive:
        assert "stem-F000001.xlsx" in archive.read("文件清单.txt").decode()
    for path in premises._walk(home.settings.home):
        os.utime(path, (1, 1))
    assert home.erase().done == {"entries": 1, "files": 1}
    assert len(list(home.settings.originals.glob("*/*.bin"))) == 1
    assert premises.scan([home.settings.home], {}, [HER.identity, HER.name, "planted-photo-1"]) == []
    assert len(list(home.settings.home.glob("*/370100/202005/stem-F000002.xlsx"))) == 2


def test_the_commands_take_the_number_from_standard_input_only(home, monkeypatch):
    home.print()
    monkeypatch.setenv("CERTFLOW_HOME", str(home.settings.home))
    monkeypatch.setenv("CERTFLOW_DATABASE_URL", home.settings.database_url)
    words = ["--by", "张主任", "--reason", "本人申请"]

    def run(*command, number=HER.identity):
        return CliRunner().invoke(app, ["person", *command, *words], input=f"{number}\n")

    found = run("search")
    assert found.exit_code == 0
    assert "收件人、电话、地址" in found.output
    assert HER.identity not in found.output
    assert run("search", number="110105194912310021").exit_code == 1
    assert zipfile.is_zipfile(json.loads(run("export", "--json").output)["file"])
    assert "还有 1 项没有办结" in str(run("erase").exception)
    home.close()
    done = run("erase", "--json")
    assert json.loads(done.output)["erased"]["choices"] == 1
    assert CliRunner().invoke(app, ["person", "search", HER.identity, *words]).exit_code == 2

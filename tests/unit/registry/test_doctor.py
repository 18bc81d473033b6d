"""`certflow doctor` finds nothing in a sound home, and each invariant names what was broken by hand."""

import hashlib
import json
import time
import zipfile

import pytest
from as_owner import as_owner
from sqlalchemy import insert, select, text, update

from certflow.registry import chain, doctor, holds, premises, schema
from certflow.registry.ledger import Actor, note

STEM = "202005-034-一级建造师(证书补换印制信息)数据(山东省)(2人)"


@pytest.fixture
def ledger(registry, settings):
    """A sound month: one file of two rows, packed, sent; the first row printed."""
    return Month(registry, settings)


class Month:
    def __init__(self, registry, settings):
        self.registry, self.settings = registry, settings
        self.actor = Actor("tester", "run", 1)
        original = self.store(b"a city's zip")
        with registry.begin(self.actor) as c:
            file = self.add(
                c, "files", account="370100", lane="month", name="a.zip", raw_name=b"a", sha256=original, size=12
            )
            self.move(c, "files", "UNPACKED", "JUDGED")
            submission = self.add(
                c, "submissions", month="202005", account="370100", city="济南市", exam_code="034", version=1,
                lane="month", stem="", verdict="accepted", rule_set="2020",
            )  # fmt: skip
            c.execute(insert(schema.submission_files).values(submission_id=submission, file_id=file))
            photos = [
                self.add(
                    c, "entries", file_id=file, submission_id=submission, ordinal=n, name="", raw_name=b"",
                    role="photo", size=1, packed_size=1, method=0, data_offset=0, crc32=0, outcome="accepted",
                )
                for n in (1, 2)
            ]  # fmt: skip
            certificates = [
                self.add(c, "certificates", **self.person(n), management_no=f"no{n}", exam_code="034", exam_name="")
                for n in (1, 2)
            ]
            batch = self.add(c, "batches", month="202005", number=0, rule_set="2020")
            rows = [
                self.add(
                    c, "rows", **self.person(n), submission_id=submission, record_id=f"370100-202005-034-{n:06}",
                    row_no=n + 1, sent={}, management_no=f"no{n}", certificate_id=certificate, photo_entry_id=photo,
                    batch_id=batch,
                )
                for n, (certificate, photo) in enumerate(zip(certificates, photos, strict=True), start=1)
            ]  # fmt: skip
            self.move(c, "rows", "ACCEPTED", "PACKED")
            digest, size = self.pack()
            package = self.add(
                c, "packages", batch_id=batch, exam_code="034", stem=STEM, file_name=f"{STEM}.zip", sha256=digest,
                size=size, row_count=2, photo_count=2, manifest={},
            )  # fmt: skip
            c.execute(
                insert(schema.package_rows),
                [{"package_id": package, "row_id": row, "ordinal": n} for n, row in enumerate(rows, start=1)],
            )
            note(c, "approved", batch=0)
            self.move(c, "packages", "APPROVED", "SENDING")
        with registry.begin(self.actor) as c:
            c.execute(insert(schema.transfers).values(package_id=package, token=1, event="sent"))
            self.move(c, "packages", "SENT")
            self.move(c, "rows", "SENT")
            back = self.add(c, "returns", name="r", sha256=self.store(b"a return"), size=8)
            line = self.add(
                c, "return_rows", return_id=back, row_no=2, management_no="no1", name="", id_number="", serial="S1",
                result="已印制", reason="", printed_on="20200801", bucket="printed", row_id=rows[0], applied=True,
            )  # fmt: skip
            self.add(
                c, "print_events", certificate_id=certificates[0], row_id=rows[0], return_row_id=line, serial="S1",
                mark="补发", printed_on="2020-08-01", voids="",
            )  # fmt: skip
            c.execute(update(schema.rows).where(schema.rows.c.id == rows[0]).values(state="PRINTED"))

    @staticmethod
    def person(number):
        columns = ("name", "id_number", "id_type", "sex", "level", "specialty", "birth_month", "approved_on", "city")
        return {column: f"{column}{number}" for column in columns}

    @staticmethod
    def add(connection, table, **values):
        target = getattr(schema, table)
        return connection.scalar(insert(target).values(values).returning(target.c.id))

    @staticmethod
    def move(connection, table, *states):
        for state in states:
            connection.execute(update(getattr(schema, table)).values(state=state))

    def store(self, data):
        digest = hashlib.sha256(data).hexdigest()
        path = self.settings.original(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return digest

    @property
    def package(self):
        return self.settings.packages / "202005" / f"{STEM}.zip"

    def pack(self):
        self.package.parent.mkdir(parents=True)
        with zipfile.ZipFile(self.package, "w") as archive:
            for name in (f"{STEM}.XLS", f"{STEM}/1.jpg", f"{STEM}/2.jpg"):
                archive.writestr(name, b"")
        data = self.package.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        self.package.with_name(f"{STEM}.manifest.json").write_text(json.dumps({"sha256": digest}))
        return digest, len(data)

    def tamper(self, *statements, triggers="replica"):
        """Change the database as its owner could, past every trigger."""
        with as_owner(self.registry, triggers=triggers != "replica") as connection:
            for statement in statements:
                connection.execute(text(statement))

    def examine(self, **options):
        found = doctor.examine(self.registry, self.settings, **options)
        return {name: lines for name, lines in found.items() if lines}


def test_a_sound_home_has_no_problem(ledger):
    found = doctor.examine(ledger.registry, ledger.settings)
    assert found == {f"I{n}": [] for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12)}


def test_an_empty_home_has_no_problem(registry, settings):
    assert not any(doctor.examine(registry, settings).values())


def test_i1_a_lost_or_altered_original_is_named(ledger):
    paths = sorted(ledger.settings.originals.glob("*/*.bin"))
    paths[0].unlink()
    paths[1].write_bytes(b"0" * paths[1].stat().st_size)
    assert set(ledger.examine()) == {"I1"}
    assert len(ledger.examine()["I1"]) == 2


@pytest.mark.parametrize(
    ("invariant", "statement", "said"),
    [
        ("I2", "UPDATE entries SET outcome = '' WHERE ordinal = 1", "没有结论"),
        ("I2", "DELETE FROM entries WHERE ordinal = 1", "成员没有记录"),
        ("I2", "DELETE FROM submission_files", "没有对应的申报"),
        ("I2", "DELETE FROM deliveries", "PRINTED，它的证书发放状态却是 （没有）"),
        ("I2", "UPDATE deliveries SET state = 'SIGNED'", "PRINTED，它的证书发放状态却是 SIGNED"),
        ("I4", "DELETE FROM transfers", "没有送出"),
        ("I4", "INSERT INTO transfers (package_id, token, event) SELECT package_id, 2, 'sent' FROM transfers", "2 条"),
        ("I4", "DELETE FROM package_rows WHERE ordinal = 2", "不在任何有效的数据包"),
        ("I6", "UPDATE rows SET state = 'ACCEPTED' WHERE state = 'SENT'", "最后一次变更到 SENT"),
        ("I6", "DELETE FROM transitions WHERE from_state = 'HELD'", "状态图"),
        ("I6", "ALTER TABLE rows DISABLE TRIGGER rows_changed", "rows_changed 已停用"),
        ("I6", "DROP TRIGGER audit_kept ON audit", "表 audit 缺少触发器"),
        ("I6", "GRANT UPDATE, DELETE ON audit TO certflow_app_rw", "有权对表 audit 执行 DELETE、UPDATE"),
        ("I8", "UPDATE packages SET row_count = 3", "与名称或台账的人数不符"),
        ("I8", "UPDATE packages SET photo_count = 1", "照片"),
        ("I9", "UPDATE return_rows SET applied = false", "补发记录"),
        ("I9", "DELETE FROM print_events", "有 0 条有效的补发记录"),
        ("I9", "UPDATE print_events SET certificate_id = (SELECT max(id) FROM certificates)", "证书不符"),
    ],
)  # fmt: skip
def test_a_broken_invariant_is_named(ledger, invariant, statement, said):
    ledger.tamper(statement)
    found = ledger.examine()
    assert said in "\n".join(found[invariant])


def test_i3_two_open_rows_of_one_number_are_named_even_without_the_index(ledger):
    ledger.tamper(
        "DROP INDEX uq_rows_open_management_no",
        "UPDATE rows SET management_no = 'no1', state = 'SENT'",
    )
    assert "2 行同时在办" in ledger.examine()["I3"][0]


def test_i5_a_bit_flip_in_a_package_is_named(ledger):
    data = bytearray(ledger.package.read_bytes())
    data[3] ^= 1
    ledger.package.write_bytes(data)
    assert len(ledger.examine()["I5"]) == 2  # ledger and manifest
    ledger.package.rename(ledger.package.with_name("other.zip"))
    assert "台账没有的数据包" in ledger.examine()["I5"][0]


def test_i7_f48_a_tampered_audit_row_is_found_and_named(ledger):
    ledger.tamper("UPDATE audit SET payload = replace(payload, 'tester', 'nobody') WHERE seq = 3")
    assert "审计记录 3 的内容被改动" in ledger.examine()["I7"]


def test_i7_a_chain_rewritten_from_its_middle_is_betrayed_by_the_heads(ledger):
    with ledger.registry.read() as connection:
        links = connection.execute(select(schema.audit).order_by(schema.audit.c.seq)).all()
    previous, rewritten = chain.GENESIS, []
    for link in links:
        payload = link.payload.replace("tester", "nobody") if link.seq >= 3 else link.payload
        digest = hashlib.sha256((previous + payload).encode()).hexdigest()
        rewritten.append({"seq": link.seq, "prev": previous, "payload": payload, "hash": digest})
        previous = digest
    with as_owner(ledger.registry, triggers=False) as connection:
        connection.execute(text("DELETE FROM audit"))
        connection.execute(insert(schema.audit), rewritten)
    problems = ledger.examine()["I7"]
    assert problems
    assert all("曾被重写" in problem for problem in problems)


def test_i7_missing_links_and_moves_are_named(ledger):
    ledger.tamper("DELETE FROM audit WHERE seq = 4", "DELETE FROM moves WHERE id = (SELECT min(id) FROM moves)")
    problems = "\n".join(ledger.examine()["I7"])
    assert "审计记录 4 至 4 缺失" in problems
    assert "审计记录 5 与前一条不相连" in problems
    assert "审计记录 1 所述的状态变更与变更表不符" in problems


def test_i7_f42_a_database_restored_from_yesterday_is_noticed(ledger):
    ledger.tamper("DELETE FROM moves WHERE audit_seq > 2", "DELETE FROM audit WHERE seq > 2")
    assert "恢复到较早的状态" in "\n".join(ledger.examine()["I7"])


def test_i7_heads_torn_or_gone_are_named(ledger):
    heads = ledger.settings.audit_heads
    heads.write_text(heads.read_text()[:-10])
    assert "无法辨认" in "\n".join(ledger.examine()["I7"])
    with ledger.registry.begin(ledger.actor) as connection:
        note(connection, "after the tear")
    assert len(ledger.examine()["I7"]) == 1  # the new head stands on a line of its own
    heads.unlink()
    assert "不存在" in ledger.examine()["I7"][0]


def test_i8_a_package_that_cannot_be_built_again_alike_is_named(ledger):
    def rebuild(package_id, target):
        target.write_bytes(b"")
        return "0" * 64

    assert set(ledger.examine(rebuild=rebuild)) == {"I8"}


def test_i11_leftovers_are_named_but_not_those_still_young(ledger):
    for name in ("work/take-1", "feedback/370100/202005/reply.xlsx.part"):
        path = ledger.settings.path(*name.split("/"))
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    assert len(ledger.examine()["I11"]) == 2
    assert ledger.examine(older_than=60) == {}


def test_i12_what_waits_too_long_is_named(ledger, monkeypatch):
    ledger.tamper(
        "UPDATE rows SET state = 'HELD' WHERE state = 'SENT'",
        "UPDATE moves SET to_state = 'HELD' WHERE to_state = 'SENT' AND kind = 'row'",
    )
    assert "I12" not in ledger.examine()
    monkeypatch.setattr(holds, "LIMIT_DAYS", 0)
    time.sleep(1.1)
    assert "HELD" in ledger.examine()["I12"][0]


def test_i10_planted_values_are_found_in_files_names_and_texts(tmp_path):
    number, name = "11010519491231002X", "欧阳测试"
    logs = tmp_path / "logs"
    (logs / "deep").mkdir(parents=True)
    (logs / "deep" / "a.log").write_text(f"row 3: {number}", encoding="utf-8")
    (logs / "b.log").write_text(json.dumps({"who": name}))
    (logs / f"{number}.jpg.log").write_text("")
    (logs / "wide.log").write_text("１１０１０５１９４９１２３１００２Ｘ", encoding="utf-8")
    (logs / "small.log").write_text(number.lower())
    (logs / "clean.log").write_text("110105********002X 欧*", encoding="utf-8")
    found = premises.scan([logs], {"xcom": "nothing here", "rendered": name.encode()}, [number, name, ""])
    assert len(found) == 6
    assert not any(number in line or name in line for line in found)
    assert premises.scan([logs / "clean.log"], {}, [number, name]) == []

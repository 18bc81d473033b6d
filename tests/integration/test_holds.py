"""What is held waits in one queue, a person decides, and it flows on: to the month, to the next 补报, or back."""

import datetime as dt
import io
import json
import threading
from dataclasses import dataclass
from pathlib import Path

import openpyxl
import pytest
from at_the_desk import sit_down, words
from made_submissions import Made, Row, person, portrait, write_registry
from returned import Authority
from small_month import SmallMonth
from sqlalchemy import text
from test_check_city import deliver
from typer.testing import CliRunner

from certflow import excel
from certflow.checks.holds import Decision, decide, queue, shown
from certflow.checks.rule_diff import compare
from certflow.checks.run import check_city
from certflow.cli import app
from certflow.dispatch.approve import approve, gate, reject
from certflow.dispatch.assemble import assemble
from certflow.dispatch.freeze import freeze
from certflow.errors import CertflowError, Conflict
from certflow.findings import FIELDS
from certflow.month import SHANGHAI, Month
from certflow.reference import load_table
from certflow.registry import certificates, holds, submissions, transfers
from certflow.registry.doctor import examine
from certflow.registry.ledger import Actor, Registry
from certflow.reports import alerts
from certflow.settings import Settings

PEOPLE = [person(serial) for serial in range(1, 13)]
VARIANT = PEOPLE[0] | {"KSXM": "阎哲"}
CANCELLED = PEOPLE[11] | {"BKJB": "", "BKZY": ""}
CONSULTANT = person(30) | {"ZSGLH": "201809324370000030", "BKJB": "", "BKZY": ""}
STEM = "202005-034-一级建造师(证书补换印制信息)数据(济南市)"


@pytest.fixture
def office(settings: Settings, registry: Registry, actor: Actor, tmp_path: Path) -> "Office":
    people = [VARIANT, *PEOPLE[1:11], *(person(serial, photo=True) for serial in (21, 22, 23))]
    certificates.load(registry, actor, write_registry(tmp_path / "r.csv", people))
    cancelled = write_registry(tmp_path / "c.csv", [CANCELLED | {"KSDM": "902", "KSMC": "注册税务师"}])
    certificates.load(registry, actor, cancelled)
    consultant = write_registry(tmp_path / "k.csv", [CONSULTANT | {"KSDM": "932", "KSMC": "咨询工程师(投资)"}])
    certificates.load(registry, actor, consultant)
    return Office(settings, registry, actor)


class Office:
    """The province's desk: takes files in as the intake does, answers, decides."""

    def __init__(self, settings: Settings, registry: Registry, actor: Actor) -> None:
        self.settings, self.registry, self.actor = settings, registry, actor

    def take(self, made: Made, account: str = "370100", name: str | None = None) -> str:
        """Receive and judge a file; its tag."""
        file = made.write(self.settings.path("incoming", account), account, name)
        target = self.settings.original(file.sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.path.read_bytes())
        arrival = transfers.Arrival(
            account, "month", file.name, file.name.encode(), file.sha256, file.size, "submission"
        )
        with self.registry.begin(self.actor) as conn:
            file_id = transfers.receive(conn, arrival)[0]
        check_city(self.settings, self.registry, account, self.actor)
        return submissions.answer_tag(file_id)

    def hold(self, what: str, *records: str, by: str = "王处长", **more: str) -> None:
        decide(self.settings, self.registry, records, Decision(what, by, "已与该市电话核实", **more), self.actor)

    @property
    def waiting(self) -> list[str]:
        return [one.record for one in queue(self.registry)]

    def states(self) -> list[str]:
        return self.ask("SELECT state FROM rows ORDER BY id")

    def ask(self, query: str) -> list[object]:
        with self.registry.read() as conn:
            return list(conn.scalars(text(query)))

    def answers(self, account: str = "370100") -> dict[str, Path]:
        """What the next reply uploads, by the last part of its name; then it counts as told."""
        check_city(self.settings, self.registry, account, self.actor)
        with self.registry.begin(self.actor) as conn:
            owed = submissions.unanswered(conn, account)
            submissions.mark_answered(conn, [one.file_id for one in owed])
        tags = [one.tag for one in owed]
        paths = sorted((self.settings.feedback / account).rglob("*.*"))
        return {
            path.name.split("-F", 1)[1].split("-", 1)[1]: path for path in paths if any(t in path.name for t in tags)
        }

    def sound(self) -> bool:
        return {name: found for name, found in examine(self.registry, self.settings).items() if found} == {}


@dataclass
class Named(Made):
    """A submission whose workbook has a name of its own."""

    name: str = ""

    @property
    def stem(self) -> str:
        return self.name


@pytest.fixture
def held(office: Office) -> str:
    """A row that differs by a variant character only (D20)."""
    office.take(Made(rows=[PEOPLE[0] | {"KSXM": "闫喆"}, dict(PEOPLE[1])]))
    office.answers()
    assert office.states() == ["HELD", "ACCEPTED"]
    return "370100-202005-034-000001"


def test_d20_the_queue_shows_both_values_and_the_age_masked_unless_asked(
    office: Office, held: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = queue(office.registry)
    assert (one.record, one.rules, one.age_days, one.row_no) == (held, ("DB-NAME-VARIANT",), 0, 2)
    (evidence,) = shown(settings, one, unmasked=True)["evidence"]
    assert (evidence["sent"], evidence["registry"]) == ("闫喆", "阎哲")
    assert queue(office.registry, account="370200") == queue(office.registry, rule="DB-NAME") == []
    assert queue(office.registry, account="370100", exam_code="034", month="202005", rule="DB-NAME-VARIANT") == [one]
    monkeypatch.setenv("CERTFLOW_HOME", str(settings.home))
    monkeypatch.setenv("CERTFLOW_DATABASE_URL", settings.database_url or "")
    told = CliRunner().invoke(app, ["holds", "list", "--city", "济南市", "--json"])
    assert told.exit_code == 0, told.output
    found = json.loads(told.output)
    assert found["evidence"][0]["registry"] == "阎*"
    assert (found["record"], found["limit_days"]) == (held, 31)
    assert "闫喆" not in told.output
    plain = CliRunner().invoke(app, ["holds", "list", "--unmasked"]).output
    assert "市报：闫喆    证书数据库：阎哲" in plain
    done = CliRunner().invoke(app, ["holds", "decide", held, "accept", "--by", "王处长", "--reason", "同一人"])
    assert (done.exit_code, office.states()) == (0, ["ACCEPTED", "ACCEPTED"])
    assert "没有待确认的数据" in CliRunner().invoke(app, ["holds", "list"]).output


def test_r01_a_very_old_certificate_without_number_that_was_accepted_gets_its_print(
    office: Office, actor: Actor, tmp_path: Path
) -> None:
    old, other = person(31) | {"ZSGLH": ""}, PEOPLE[1]
    certificates.load(office.registry, actor, write_registry(tmp_path / "old.csv", [old]))
    office.take(Made(rows=[old, other]))
    office.hold("accept", *office.waiting)
    batch = freeze(office.registry, Month(2020, 5), actor)
    (package,) = assemble(office.settings, office.registry, batch.id, "034", actor)
    approve(office.registry, batch.id, "王处长", actor)
    SmallMonth(office.settings, office.registry).send(package)
    authority = Authority(office.settings, office.registry, actor, tmp_path)
    answers = [f"{one['ZSGLH']},{one['KSXM']},{one['ZJHM']},SD{one['ZJHM']},已印制,,20200801" for one in (old, other)]
    assert authority.applied(*answers).counts["printed"] == 2
    assert office.states() == ["PRINTED", "PRINTED"]
    printed = "SELECT c.id_number FROM print_events p JOIN certificates c ON c.id = p.certificate_id ORDER BY 1"
    assert office.ask(printed) == sorted(one["ZJHM"] for one in (old, other))


def test_d20_what_a_person_accepts_is_printed_as_the_database_says_by_now(
    office: Office, held: str, actor: Actor, tmp_path: Path
) -> None:
    mended = PEOPLE[0] | {"KSXM": "闫喆", "PZRQ": "2018-09-16"}  # the database was wrong, and was put right
    certificates.load(office.registry, actor, write_registry(tmp_path / "mended.csv", [mended]))
    (waiting,) = queue(office.registry)
    assert [(one.sent, one.registry) for one in waiting.evidence] == [("闫喆", "闫喆")], "both values as they are"
    office.hold("accept", held)
    assert office.ask("SELECT name || approved_on || birth_month || city FROM rows ORDER BY id")[0] == (
        "闫喆20180916199001济南市"
    )
    assert office.sound()


def test_d27_a_correction_that_is_accepted_takes_the_place_of_what_is_in_no_package_yet(
    office: Office, actor: Actor
) -> None:
    row = person(21, photo=True)
    for picture in (5, 7):  # the first photo was another person's
        sent = Made()
        sent.add(row, portrait(picture))
        office.take(sent)
    assert office.states() == ["ACCEPTED", "HELD"]
    batch = freeze(office.registry, Month(2020, 5), actor)
    assemble(office.settings, office.registry, batch.id, "034", actor)
    (waiting,) = office.waiting
    with pytest.raises(Conflict, match="已有另一行在办"):
        office.hold("accept", waiting)
    reject(office.registry, batch.id, "王处长", "照片用错", actor)
    assert "原来一行随即撤下" in words(sit_down(office.settings, office.registry).get(f"/holds/{waiting}"))
    office.hold("accept", waiting)
    assert office.states() == ["WITHDRAWN", "ACCEPTED"]
    assert office.ask("SELECT o.row_no FROM rows r JOIN rows o ON o.id = r.replaces") == [2]
    assert freeze(office.registry, Month(2020, 5), actor).number == 1
    assert office.sound()


def test_d30_an_exam_that_is_cancelled_before_its_rows_go_up_ends_in_proofs(
    office: Office, actor: Actor, tmp_path: Path
) -> None:
    office.take(Made(rows=[dict(PEOPLE[1])]))
    batch = freeze(office.registry, Month(2020, 5), actor)
    assemble(office.settings, office.registry, batch.id, "034", actor)
    told = "国家已取消、上级不再受理的 1 行（034 一级）"
    assert not any(told in one for one in gate(office.settings, office.registry, batch.id).reasons)
    table = tmp_path / "exams.csv"
    table.write_text("code,name,family,cancelled_levels,levels\n034,一级建造师,normal,*,\n", encoding="utf-8")
    load_table(office.settings, "exams", table)
    assert any(told in one for one in gate(office.settings, office.registry, batch.id).reasons)
    reject(office.registry, batch.id, "王处长", "考试已取消", actor)
    office.take(Made(rows=[dict(PEOPLE[1]), dict(PEOPLE[2])]))  # the same row once more, as the run book asks
    assert office.states() == ["ACCEPTED", "HELD", "PROOF"]
    office.hold("proof", *office.waiting)
    assert office.states() == ["WITHDRAWN", "PROOF", "PROOF"]
    assert freeze(office.registry, Month(2020, 5), actor).exams == {}
    assert office.sound()


def test_d23_of_two_lines_of_one_sheet_a_person_still_accepts_one(office: Office) -> None:
    row = dict(PEOPLE[1])
    office.take(Made(rows=[row]))
    office.take(Made(rows=[row | {"ZJLB": "身份证"}, row | {"BMS": "济南"}]))
    first, second = office.waiting
    office.hold("accept", first)
    with pytest.raises(Conflict, match="已有另一行在办"):
        office.hold("accept", second)
    assert office.states() == ["WITHDRAWN", "ACCEPTED", "HELD"]


def test_d28_a_number_that_is_another_persons_by_now_is_not_accepted(
    office: Office, held: str, actor: Actor, tmp_path: Path
) -> None:
    other = person(77) | {"ZSGLH": PEOPLE[0]["ZSGLH"]}
    certificates.load(office.registry, actor, write_registry(tmp_path / "other.csv", [other]))
    with pytest.raises(Conflict, match="另一人"):
        office.hold("accept", held)
    assert office.states() == ["HELD", "ACCEPTED"]
    office.hold("return", held)


def test_an_accepted_row_joins_the_month_and_after_the_freeze_the_next_supplement(
    office: Office, held: str, actor: Actor
) -> None:
    assert freeze(office.registry, Month(2020, 5), actor).exams == {"034": 1}
    office.hold("accept", held)
    assert office.states() == ["ACCEPTED", "ACCEPTED"]
    supplement = freeze(office.registry, Month(2020, 5), actor)
    assert (supplement.number, supplement.exams) == (1, {"034": 1})
    assert office.ask("SELECT name FROM rows ORDER BY id")[0] == "阎哲"
    notice = office.answers()["决定通知-000001.txt"].read_text("utf-8-sig")
    assert "第 2 行：接收" in notice
    assert office.answers() == {}
    assert office.sound()


def test_a_returned_row_goes_back_on_a_slip_that_may_come_back_corrected(office: Office, held: str) -> None:
    office.hold("return", held)
    answers = office.answers()
    slip = answers["退回单(1).xlsx"]
    book = openpyxl.load_workbook(slip)
    words = [str(cell.value) for row in book.active.iter_rows() for cell in row if cell.value]
    assert "已与该市电话核实" in words
    assert "姓名：阎哲" in words
    head = next(row for row in book.active.iter_rows() if row[0].value == "行号")
    place = next(cell for cell in head if str(cell.value).startswith("KSXM"))
    book.active.cell(head[0].row + 1, place.column, "阎哲")
    out = io.BytesIO()
    book.save(out)
    office.take(Named(book=out.getvalue(), name=slip.stem), name=f"{slip.stem}.zip")
    assert office.states() == ["RETURNED", "ACCEPTED", "ACCEPTED"]
    assert office.sound()


def test_the_second_of_two_people_hears_who_decided_first(office: Office, held: str) -> None:
    office.hold("accept", held)
    with pytest.raises(Conflict, match=r"已由 王处长 于 .* 决定：接收"):
        office.hold("return", held, by="李主任")
    assert office.ask("SELECT decision FROM hold_decisions") == ["accept"]


def test_of_two_decisions_at_once_one_counts(office: Office, held: str) -> None:
    heard: list[str] = []

    def decide_as(who: str, what: str) -> None:
        try:
            office.hold(what, held, by=who)
        except Conflict as conflict:
            heard.append(str(conflict))

    people = [threading.Thread(target=decide_as, args=one) for one in (("甲", "accept"), ("乙", "return"))]
    for one in people:
        one.start()
    for one in people:
        one.join()
    assert len(heard) == len(office.ask("SELECT decision FROM hold_decisions")) == 1
    assert office.sound()


def test_a_decision_is_chained_without_personal_data_and_stays(office: Office, held: str) -> None:
    reason = f"证件 {PEOPLE[0]['ZJHM']} 已看"
    decide(office.settings, office.registry, [held], Decision("accept", "王处长", reason), office.actor)
    (payload,) = office.ask("SELECT payload FROM audit WHERE payload LIKE '%hold.decided%'")
    assert held in str(payload)
    assert PEOPLE[0]["ZJHM"] not in str(payload)
    assert office.ask("SELECT rules FROM hold_decisions") == [["DB-NAME-VARIANT"]]
    for statement in ("DELETE FROM hold_decisions", "UPDATE hold_decisions SET reason = ''"):
        with pytest.raises(CertflowError, match="42501"), office.registry.begin(office.actor) as conn:
            conn.execute(text(statement))


def test_a_decision_that_says_too_little_or_does_not_fit_changes_nothing(office: Office, held: str) -> None:
    for what, by, reason, message in (
        ("accept", " ", "x", "由谁"),
        ("accept", "王处长", "", "原因"),
        ("judge", "王处长", "x", "是数据行"),
        ("proof", "王处长", "x", "没有取消"),
        ("wave", "王处长", "x", "决定只能是"),
    ):
        with pytest.raises(Conflict, match=message):
            decide(office.settings, office.registry, [held], Decision(what, by, reason), office.actor)
    assert office.waiting == [held]


def test_d24_of_two_cities_with_one_certificate_only_one_is_accepted(office: Office, actor: Actor) -> None:
    office.take(Made(rows=[dict(PEOPLE[1])]))
    office.take(Made(rows=[PEOPLE[1] | {"BMS": "青岛市"}], city="青岛市"), "370200")
    mine, theirs = "370100-202005-034-000001-H", "370200-202005-034-000001"
    assert sorted(office.waiting) == [mine, theirs]
    with pytest.raises(Conflict, match="不能同时补换两次"):
        office.hold("accept", mine, theirs)
    assert sorted(office.waiting) == [mine, theirs]
    office.hold("accept", mine)
    with pytest.raises(Conflict, match=f"{theirs} 的管理号已有另一行在办：{mine}"):
        office.hold("accept", theirs)
    with pytest.raises(Conflict, match="不能同时补换两次"), office.registry.begin(actor) as conn:
        holds.move_rows(conn, office.ask("SELECT id FROM rows WHERE state = 'HELD'"), "ACCEPTED")
    office.hold("return", theirs)
    assert office.states() == ["WITHDRAWN", "RETURNED", "ACCEPTED"]
    assert office.sound()


@pytest.mark.parametrize("about", ["number", "photo"])
def test_d24_p17_what_a_person_decided_stands_when_the_other_city_sends_its_file_again(
    office: Office, about: str
) -> None:
    def send(row: Row, city: str, account: str, *more: Row) -> None:
        sent = Made(city=city, rows=[dict(one) for one in more])
        sent.add(row | {"BMS": city}, portrait(5))
        office.take(sent, account)

    own = person(21, photo=True)
    other = own if about == "number" else person(22, photo=True)
    send(own, "济南市", "370100")
    send(other, "青岛市", "370200")
    mine, theirs = "370100-202005-034-000001-H", "370200-202005-034-000001"
    assert sorted(office.waiting) == [mine, theirs]
    office.hold("accept", mine)
    office.hold("return", theirs)
    send(other, "青岛市", "370200", PEOPLE[2] | {"BMS": "青岛市"})
    assert len(office.waiting) == 1
    assert office.ask(f"SELECT state FROM rows WHERE record_id = '{mine}'") == ["ACCEPTED"]
    send(other | {"ZJLB": "身份证"}, "青岛市", "370200")  # what it says now a person has not seen
    assert len(office.waiting) == 2
    assert office.sound()


def together(office: Office, *mades: Made, account: str = "370100") -> list[str]:
    """Receive files and judge them in one look; their tags."""
    ids = [deliver(office.settings, office.registry, office.actor, made, account) for made in mades]
    check_city(office.settings, office.registry, account, office.actor)
    return [submissions.answer_tag(file_id) for file_id in ids]


@pytest.mark.parametrize("right", [0, 1])
def test_z45_whichever_of_two_workbooks_of_an_exam_a_person_chooses_no_sound_row_is_lost(
    office: Office, right: int
) -> None:
    one, other = [PEOPLE[1], PEOPLE[2], PEOPLE[3] | {"XB": ""}], [PEOPLE[1], PEOPLE[2], PEOPLE[3]]
    tags = together(office, Made(rows=one), Made(rows=other, extra={"说明.txt": b"2"}))
    assert office.states() == ["HELD", "HELD", "RETURNED", "HELD", "HELD", "HELD"]
    assert sorted(office.waiting) == tags
    office.hold("return", tags.pop(1 - right))
    office.hold("judge", *tags)
    chosen = office.states()[3 * right : 3 * right + 3]
    assert chosen == ["ACCEPTED", "ACCEPTED", "ACCEPTED" if right else "RETURNED"]
    assert office.sound()


@pytest.mark.parametrize("at_once", [True, False])
def test_z45_two_workbooks_that_are_both_right_are_accepted_and_what_both_hold_waits_once(
    office: Office, at_once: bool
) -> None:
    tags = together(office, Made(rows=PEOPLE[1:4]), Made(rows=PEOPLE[2:6]))
    for chosen in [tags] if at_once else [[tag] for tag in tags]:
        office.hold("judge", *chosen)
    assert office.states() == ["ACCEPTED"] * 3 + ["HELD", "HELD", "ACCEPTED", "ACCEPTED"]
    repeats = office.waiting
    assert len(repeats) == 2
    with pytest.raises(Conflict, match="不能同时补换两次"):
        office.hold("accept", *repeats)
    office.hold("return", *repeats)
    assert office.sound()


def test_rows_that_a_misnamed_file_holds_as_well_wait_and_can_be_accepted(office: Office) -> None:
    wrong, _ = together(office, Made(rows=PEOPLE[1:3], exam="二级建造师"), Made(rows=PEOPLE[1:3]))
    assert office.states() == ["HELD"] * 4
    office.hold("return", wrong)
    office.hold("accept", *office.waiting)
    assert office.states() == ["RETURNED", "RETURNED", "ACCEPTED", "ACCEPTED"]
    assert office.sound()


def cancelled(month: str = "202005", city: str = "济南市", **values: str) -> Made:
    rows = [CANCELLED | {"BMS": city} | values]
    return Made(rows=rows, code="902", exam="注册税务师", month=month, city=city)


@pytest.mark.parametrize("issued", [False, True])
def test_d24_two_cities_do_not_both_get_a_proof_for_one_certificate(office: Office, issued: bool) -> None:
    office.take(cancelled())
    if issued:
        with office.registry.begin(office.actor) as conn:
            conn.execute(text("UPDATE rows SET state = 'ISSUED'"))
    office.take(cancelled(city="青岛市"), "370200")
    assert office.states() == (["ISSUED", "HELD"] if issued else ["WITHDRAWN", "HELD", "HELD"])
    theirs = "370200-202005-902-000001"
    if not issued:
        with pytest.raises(Conflict, match="已取消"):
            office.hold("accept", "370100-202005-902-000001-H")
        office.hold("proof", "370100-202005-902-000001-H")
    with pytest.raises(Conflict, match="不能同时开具两份证明"):
        office.hold("proof", theirs)
    office.hold("return", theirs)
    assert office.waiting == []
    assert office.sound()


@pytest.mark.parametrize("state", ["PROOF", "ISSUED"])
def test_d27_a_certificate_whose_proof_is_under_way_is_asked_for_once(office: Office, state: str) -> None:
    office.take(cancelled())
    if state == "ISSUED":
        with office.registry.begin(office.actor) as conn:
            conn.execute(text("UPDATE rows SET state = 'ISSUED'"))
    office.take(cancelled(ZJLB="身份证"))
    office.take(cancelled("202006"))
    assert office.states() == [state, "HELD", "HELD"]
    said = [one.evidence[0].message for one in queue(office.registry)]
    assert said == [
        "该管理号已在本月第 1 版中申报，内容不同，尚未办结。", "该管理号已在 202005 申报，尚未办结。",
    ]  # fmt: skip
    assert office.sound()


def test_a_number_that_is_filled_in_replaces_the_held_row_without_one(office: Office) -> None:
    office.take(Made(rows=[PEOPLE[1] | {"ZSGLH": ""}, PEOPLE[2] | {"ZSGLH": ""}]))
    office.take(Made(rows=[dict(PEOPLE[1]), PEOPLE[2] | {"ZSGLH": "", "KSXM": "王五"}]))
    assert office.states() == ["RETURNED", "RETURNED", "ACCEPTED", "HELD"]
    assert office.ask("SELECT replaces FROM rows ORDER BY id") == [None, None, 1, 2]
    [receipt] = office.settings.feedback.rglob("*F000002*回执.txt")
    assert "更正 2 行（第 2、3 行）" in receipt.read_text("utf-8-sig")
    assert office.sound()


@pytest.mark.parametrize("decided", [True, False])
def test_a_row_of_a_person_whose_request_without_a_number_is_under_way_is_held(office: Office, decided: bool) -> None:
    office.take(Made(rows=[PEOPLE[1] | {"ZSGLH": ""}]))
    if decided:
        office.hold("accept", *office.waiting)
    office.take(Made(rows=[PEOPLE[1] | ({} if decided else {"XB": "男"}), dict(PEOPLE[2])]))
    office.take(Made(rows=[PEOPLE[1] | {"ZSGLH": ""}], month="202006"))
    assert office.states() == ["ACCEPTED" if decided else "HELD", "HELD", "ACCEPTED", "HELD"]
    said = [one.message for found in queue(office.registry) for one in found.evidence if one.rule == "DUP-OPEN"]
    assert said == [
        "该管理号的持证人在 202005 已有同一考试、没有填管理号的申报，尚未办结。",
        "该管理号未填，持证人在 202005 已有同一考试、没有填管理号的申报，尚未办结。",
    ]
    assert office.sound()


def test_two_rows_of_one_person_without_a_number_are_not_both_accepted(office: Office) -> None:
    office.take(Made(rows=[PEOPLE[1] | {"ZSGLH": ""}, PEOPLE[1] | {"ZSGLH": "", "BKZY": "公路工程"}]))
    one, other = office.waiting
    with pytest.raises(Conflict, match="不能同时补换两次"):
        office.hold("accept", one, other)
    office.hold("accept", one)
    with pytest.raises(Conflict, match=f"{other} .*另一行在办：{one}"):
        office.hold("accept", other)
    office.take(Made(rows=[PEOPLE[1] | {"ZSGLH": ""}], extra={"说明.txt": b"2"}))
    assert office.states() == ["ACCEPTED", "HELD", "IGNORED"]
    assert office.sound()


def test_d30_a_held_row_of_a_cancelled_exam_can_only_become_a_proof(office: Office) -> None:
    office.take(Made(rows=[CANCELLED | {"BMS": "青岛市"}], code="902", exam="注册税务师"))
    (record,) = office.waiting
    with pytest.raises(Conflict, match="已取消"):
        office.hold("accept", record)
    office.hold("proof", record)
    assert office.states() == ["PROOF"]
    assert office.sound()


def test_a_row_that_is_tied_to_no_certificate_becomes_no_proof(office: Office, actor: Actor, tmp_path: Path) -> None:
    old = CANCELLED | {"ZSGLH": "", "ZJHM": PEOPLE[10]["ZJHM"], "KSXM": PEOPLE[10]["KSXM"], "XB": PEOPLE[10]["XB"]}
    known = write_registry(tmp_path / "o.csv", [old | {"KSDM": "902", "KSMC": "注册税务师"}])
    certificates.load(office.registry, actor, known)
    office.take(Made(rows=[old], code="902", exam="注册税务师"))
    (hold,) = queue(office.registry)
    assert shown(office.settings, hold, unmasked=False)["choices"] == ["return"]
    with pytest.raises(Conflict, match=r"没有对应到证书数据库中的证书.*请该市补填后重报"):
        office.hold("proof", hold.record)
    assert office.states() == ["HELD"]
    page = sit_down(office.settings, office.registry).get(f"/holds/{hold.record}")
    assert "请该市补填后重报" in words(page)

    def told() -> list[str]:
        found = alerts.due(office.settings, office.registry, dt.datetime.now(SHANGHAI))
        return [one.text for one in found if one.subject == hold.record]

    assert told() == []
    with office.registry.begin(actor) as conn:  # as it could be decided in earlier versions
        holds.move_rows(conn, [hold.id], "PROOF")
    (text_,) = told()
    assert "已转开证明" in text_
    assert "请该市补填后重报" in text_
    assert office.sound()


def test_n04_a_file_with_a_wrong_count_is_accepted_as_a_whole_but_for_rows_with_a_hold_of_their_own(
    office: Office,
) -> None:
    variant = PEOPLE[0] | {"KSXM": "闫喆"}
    tag = office.take(Made(rows=[dict(PEOPLE[1]), variant, PEOPLE[2] | {"XB": ""}], count=9))
    assert office.waiting == [tag]
    with pytest.raises(Conflict, match="请先决定文件"):
        office.hold("accept", "370100-202005-034-000001")
    office.hold("judge", tag)
    assert office.states() == ["ACCEPTED", "HELD", "RETURNED"]
    assert office.ask("SELECT state FROM files") == ["JUDGED"]
    assert office.ask("SELECT verdict FROM submissions") == ["partial"]
    assert office.waiting == ["370100-202005-034-000002"]
    assert office.ask("SELECT outcome FROM entries") == ["accepted"]
    assert "整个文件：受理" in office.answers()["决定通知-000001.txt"].read_text("utf-8-sig")
    assert office.sound()


def test_n04_a_held_file_that_is_returned_takes_its_rows_and_photos_along(office: Office) -> None:
    made = Made(count=9)
    made.add(made.add(person(21, photo=True), portrait(21)))  # the same row twice: one is ignored
    tag = office.take(made)
    office.hold("return", tag)
    assert (office.states(), office.ask("SELECT state FROM files")) == (["RETURNED", "IGNORED"], ["RETURNED"])
    assert set(office.ask("SELECT outcome FROM entries")) == {"returned"}
    notice = office.answers()["决定通知-000001.txt"].read_text("utf-8-sig")
    assert "NAME-COUNT" in notice
    assert office.sound()


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ("五月一建", "NAME-FORM"),  # N01
        ("202005-999-没有的考试(证书补换印制信息)数据(济南市)(2人)", "NAME-EXAM-UNKNOWN"),
        ("202013-034-一级建造师(证书补换印制信息)数据(济南市)(2人)", "NAME-MONTH"),  # N06
    ],
)
def test_a_file_under_a_wrong_name_is_judged_under_the_right_one(office: Office, wrong: str, code: str) -> None:
    made = Made(rows=[dict(PEOPLE[1]), dict(PEOPLE[2])])
    tag = office.take(Named(made.rows, name=wrong), name="a.zip")
    (one,) = queue(office.registry)
    assert (one.record, code in one.rules) == (tag, True)
    with pytest.raises(Conflict, match="--as"):
        office.hold("judge", tag)
    with pytest.raises(Conflict, match="仍不能受理"):
        office.hold("judge", tag, name=f"{STEM}(7人)".replace("济南市", "青岛市"))
    office.hold("judge", tag, name=f"{STEM}(2人)")
    assert [state for state in office.states() if state != "RETURNED"] == ["ACCEPTED", "ACCEPTED"]
    assert office.waiting == []
    assert office.ask("SELECT outcome FROM entries") == ["accepted"]
    assert {"决定通知-000001.txt", "回执.txt"} <= office.answers().keys()
    assert office.sound()


def misnamed_beside(office: Office, *rows: Row, name: str = "咨询5月") -> str:
    """A zip with a sound exam and a workbook under another name that says nothing; its tag."""
    book = excel.write_xls(FIELDS, [[CONSULTANT[field] for field in FIELDS]])
    return office.take(Made(rows=[dict(row) for row in rows], extra={f"{name}.XLS": book}), name="五月.zip")


def test_z44_a_misnamed_exam_among_several_waits_and_is_judged_under_its_right_name(office: Office) -> None:
    tag = misnamed_beside(office, PEOPLE[1], PEOPLE[0] | {"KSXM": "闫喆"})
    row = "370100-202005-034-000002"
    assert (office.states(), office.ask("SELECT state FROM files")) == (["ACCEPTED", "HELD"], ["HELD"])
    assert office.waiting == [tag, row], "the row of the sound exam does not wait for the other one"
    assert "咨询5月.XLS：待人工确认" in office.answers()["回执.txt"].read_text("utf-8-sig")
    office.hold("judge", tag, name="202005-932-咨询工程师(投资)(证书补换印制信息)数据(济南市)(1人)")
    assert (office.states(), office.ask("SELECT state FROM files")) == (["ACCEPTED", "HELD", "ACCEPTED"], ["JUDGED"])
    assert office.waiting == [row]
    assert office.ask("SELECT outcome FROM entries") == ["accepted", "accepted"]
    assert office.ask("SELECT verdict FROM submissions ORDER BY id") == ["partial", "accepted"]
    receipts = [path.read_text("utf-8-sig") for path in office.settings.feedback.rglob("*回执.txt")]
    assert sorted("—— 202005 034 济南市 ——" in receipt for receipt in receipts) == [False, True], "both stay"
    changes = compare(office.settings, office.registry, Month.parse("202005"), "2020", "2023")
    assert changes.rows == 3
    assert office.sound()


def test_z44_a_misnamed_exam_that_goes_back_takes_nothing_of_the_others_along(office: Office) -> None:
    tag = misnamed_beside(office, PEOPLE[1], PEOPLE[0] | {"KSXM": "闫喆"})
    office.hold("return", tag)
    assert (office.states(), office.ask("SELECT state FROM files")) == (["ACCEPTED", "HELD"], ["JUDGED"])
    assert sorted(office.ask("SELECT outcome FROM entries")) == ["accepted", "returned"]
    assert office.waiting == ["370100-202005-034-000002"]
    assert "文件的待确认部分：退回" in office.answers()["决定通知-000001.txt"].read_text("utf-8-sig")
    assert office.sound()


def test_z44_two_misnamed_exams_of_one_zip_are_judged_one_after_the_other(office: Office) -> None:
    books = {
        "一建.XLS": [PEOPLE[1], PEOPLE[2] | {"XB": ""}],
        "咨询.XLS": [CONSULTANT],
        f"{STEM.replace('202005', '202004')}(1人).XLS": [PEOPLE[3]],
    }
    extra = {
        name: excel.write_xls(FIELDS, [[row[field] for field in FIELDS] for row in people])
        for name, people in books.items()
    }
    tag = office.take(Made(rows=[dict(PEOPLE[4])], extra=extra), name="五月.zip")
    assert office.states() == ["ACCEPTED", "ACCEPTED"]
    assert office.waiting == [tag]
    consultant = "202005-932-咨询工程师(投资)(证书补换印制信息)数据(济南市)(1人)"
    june = f"{STEM.replace('202005', '202006')}(2人)"
    for wrong in (f"{STEM}(3人)", consultant.replace("(1人)", "(2人)"), june.replace("济南市", "青岛市")):
        with pytest.raises(Conflict, match="没有一个可以按此名称受理"):
            office.hold("judge", tag, name=wrong)
    office.hold("judge", tag, name=consultant)
    assert (office.states()[2:], office.waiting) == (["ACCEPTED"], [tag])
    with pytest.raises(Conflict, match="仍不能受理"):
        office.hold("judge", tag, name=consultant)
    office.hold("judge", tag, name=june)
    assert (office.states()[3:], office.waiting) == (["ACCEPTED", "RETURNED"], [])
    assert office.ask("SELECT state FROM files") == ["JUDGED"]
    assert office.ask("SELECT DISTINCT outcome FROM entries") == ["accepted"]
    slips = [path.name for path in office.settings.feedback.rglob("*退回单*")]
    assert f"{june}-{tag}-退回单.xlsx" in slips
    assert office.sound()


def test_z44_rows_of_two_exams_that_go_back_stand_on_two_slips(office: Office) -> None:
    rows = [[(CONSULTANT | {"XB": "男"})[field] for field in FIELDS]]
    other = Named(name="202005-932-咨询工程师(投资)(证书补换印制信息)数据(济南市)(1人)").stem
    made = Made(rows=[PEOPLE[0] | {"KSXM": "闫喆"}], extra={f"{other}.XLS": excel.write_xls(FIELDS, rows)})
    tag = office.take(made, name="五月.zip")
    office.hold("return", *office.waiting)
    office.answers()
    slips = sorted(path.name for path in office.settings.feedback.rglob("*退回单(*"))
    assert slips == [f"{STEM}(1人)-{tag}-退回单(1).xlsx", f"{other}-{tag}-退回单(2).xlsx"]


def test_rows_of_an_exam_nobody_knows_are_not_accepted(office: Office) -> None:
    misnamed_beside(office, PEOPLE[1], name="202005-777-没有的师(证书补换印制信息)数据(济南市)(1人)")
    (one,) = queue(office.registry)
    assert (one.kind, one.exam_code) == ("row", "777")
    assert shown(office.settings, one, unmasked=False)["choices"] == ["return"]
    with pytest.raises(Conflict, match="名称"):
        office.hold("accept", one.record)
    office.hold("return", one.record)
    assert office.states() == ["ACCEPTED", "RETURNED"]
    assert office.sound()


def test_p17_the_photos_of_a_row_end_like_the_row(office: Office) -> None:
    made = Made()
    made.add(person(21, photo=True), portrait(21))
    made.add(person(22, photo=True), portrait(21))
    office.take(made)
    assert office.states() == ["HELD", "HELD"]
    one, other = office.waiting
    assert shown(office.settings, queue(office.registry)[0], unmasked=False)["photo"]
    office.hold("accept", one)
    office.hold("return", other)
    assert office.ask("SELECT outcome FROM entries WHERE role = 'photo' ORDER BY ordinal") == ["accepted", "returned"]
    assert office.sound()


def test_p23_of_two_photos_the_person_says_which(office: Office) -> None:
    made = Made()
    row = made.add(person(21, photo=True), portrait(21))
    made.photos[f"{row['ZJHM']}.jpeg"] = portrait(22)
    tag = office.take(made)
    (record,) = office.waiting
    with pytest.raises(Conflict, match="不是这一行的照片"):
        office.hold("accept", record, photo=f"{tag}-0099")
    (one,) = queue(office.registry)
    assert [found.photo for found in one.evidence] == [f"{tag}-0001", f"{tag}-0002"]
    office.hold("accept", record, photo=f"{tag}-0002")
    assert office.ask("SELECT ordinal FROM rows r JOIN entries e ON e.id = r.photo_entry_id") == [2]
    assert office.ask("SELECT outcome FROM entries WHERE role = 'photo' ORDER BY ordinal") == ["ignored", "accepted"]
    assert office.sound()


def test_p22_a_photo_of_nobody_waits_by_itself_and_goes_back(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(rows=[dict(PEOPLE[1])], photos={"37010219600101001X.jpg": portrait(22)})
    tag = office.take(made)
    (record,) = office.waiting
    assert record.startswith(f"{tag}-")
    with monkeypatch.context() as short:
        short.setattr(holds, "LIMIT_DAYS", -1)
        assert any(f"照片 {record}" in line for line in examine(office.registry, office.settings)["I12"])
    with pytest.raises(Conflict, match="是照片"):
        office.hold("accept", record)
    office.hold("return", record)
    assert (office.waiting, office.states()) == ([], ["ACCEPTED"])
    assert office.sound()

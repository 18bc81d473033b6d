"""A city's files against a real database and a real ledger: the rules of the database, and every state they lead to."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import openpyxl
import pytest
from made_submissions import Made, Row, id_number, person, portrait, write_registry
from sqlalchemy import text
from typer.testing import CliRunner

from certflow.checks import suites
from certflow.checks.rule_diff import compare
from certflow.checks.run import check, check_city, render_quality
from certflow.cli import app
from certflow.errors import ConfigurationError, DigestMismatch, TransferError
from certflow.findings import Outcome, Verdict
from certflow.intake import pull
from certflow.month import Month
from certflow.reference import load_reference
from certflow.registry import certificates, months, submissions, transfers
from certflow.registry.doctor import examine
from certflow.registry.ledger import Actor, Registry
from certflow.settings import Settings

PEOPLE = [person(serial) for serial in range(1, 41)]


@pytest.fixture
def loaded(registry: Registry, actor: Actor, tmp_path: Path) -> Registry:
    certificates.load(registry, actor, write_registry(tmp_path / "registry.csv", PEOPLE))
    return registry


def deliver(
    settings: Settings,
    registry: Registry,
    actor: Actor,
    made: Made,
    account: str = "370100",
    lane: str = "month",
    name: str | None = None,
) -> int:
    """Put a file where `pull` leaves it."""
    folder = settings.path("incoming", account)
    file = made.write(folder, account, name)
    target = settings.original(file.sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(file.path.read_bytes())
    with registry.begin(actor) as conn:
        arrival = transfers.Arrival(account, lane, file.name, file.name.encode(), file.sha256, file.size, "submission")
        return transfers.receive(conn, arrival)[0]


def states(registry: Registry) -> list[tuple[str, str]]:
    """(管理号, state) of every row, in the order in which they came."""
    with registry.read() as conn:
        return [tuple(row) for row in conn.execute(text("SELECT management_no, state FROM rows ORDER BY id"))]


def file_states(registry: Registry) -> dict[int, tuple[str, str | None]]:
    with registry.read() as conn:
        return {
            row[0]: (row[1], row[2]) for row in conn.execute(text("SELECT id, state, reason FROM files ORDER BY id"))
        }


def sound(registry: Registry, settings: Settings) -> bool:
    return not any(examine(registry, settings).values())


def changed(field: str, value: str | Callable[[Row], str]) -> Callable[[Row], None]:
    def spoil(row: Row) -> None:
        row[field] = value(row) if callable(value) else value

    return spoil


SPOILT: Mapping[str, tuple[Outcome, Callable[[Row], None]]] = {
    "DB-MISSING": (Outcome.RETURNED, changed("ZSGLH", "201809034379999999")),  # D28
    "DB-OTHER": (Outcome.RETURNED, changed("ZSGLH", PEOPLE[39]["ZSGLH"])),  # D28
    "DB-NAME": (Outcome.RETURNED, changed("KSXM", "改名")),  # D21
    "DB-NAME-VARIANT": (Outcome.HELD, changed("KSXM", "闫喆")),  # D20
    "DB-ID": (Outcome.RETURNED, changed("ZJHM", lambda row: id_number(901 if row["XB"] == "男" else 900))),
    "DB-LEVEL": (Outcome.RETURNED, changed("BKJB", "二级")),  # D29
    "DB-SPECIALTY": (Outcome.RETURNED, changed("BKZY", "公路工程")),
    "DB-DATE": (Outcome.RETURNED, changed("PZRQ", "20180916")),
}


def spoilt_people() -> list[Row]:
    people = [dict(row) for row in PEOPLE[: len(SPOILT)]]
    people[list(SPOILT).index("DB-NAME-VARIANT")]["KSXM"] = "阎哲"
    return people


def test_d28_d29_whatever_differs_from_the_database_goes_back_with_both_values(
    registry: Registry, actor: Actor, settings: Settings, tmp_path: Path
) -> None:
    people = spoilt_people()
    certificates.load(registry, actor, write_registry(tmp_path / "r.csv", [*people, PEOPLE[39]]))
    made = Made(rows=[dict(row) for row in people])
    for row, (_, spoil) in zip(made.rows, SPOILT.values(), strict=True):
        spoil(row)
    file = made.write(tmp_path)
    (judged,) = check([file], settings, load_reference(settings), registry=registry)
    for row, (code, (outcome, _)) in zip(judged.rows, SPOILT.items(), strict=True):
        assert (code, row.outcome) == (code, outcome)
        grave = {one.rule for one in judged.findings if one.row == row.row and one.severity in ("error", "hold")}
        assert grave - {"REF-LEVEL"} == {code}
    both = next(one for one in judged.findings if one.rule == "DB-DATE")
    assert (both.sent, both.registry) == ("20180916", "20180915")
    off = switched_off(settings, tmp_path / "rules", {*SPOILT, "REF-LEVEL"})
    (without,) = check([file], off, load_reference(settings), registry=registry)
    assert {row.outcome for row in without.rows} == {Outcome.ACCEPTED}


def test_d28_a_certificate_is_not_called_anothers_where_nothing_sound_says_who_asks(
    loaded: Registry, settings: Settings, tmp_path: Path
) -> None:
    number = PEOPLE[0]["ZJHM"]
    broken = number[:17] + ("0" if number[17] != "0" else "1")
    for row in (PEOPLE[0] | {"KSXM": "", "ZJHM": broken}, PEOPLE[0] | {"KSXM": "", "ZJHM": number[:17]}):
        file = Made(rows=[row]).write(tmp_path)
        (judged,) = check([file], settings, load_reference(settings), registry=loaded)
        assert judged.rows[0].outcome is Outcome.RETURNED
        assert "DB-OTHER" not in judged.rows[0].rules
    file = Made(rows=[PEOPLE[0] | {"KSXM": "", "ZJHM": PEOPLE[1]["ZJHM"]}]).write(tmp_path)
    (judged,) = check([file], settings, load_reference(settings), registry=loaded)
    assert "DB-OTHER" in judged.rows[0].rules


@pytest.mark.parametrize(
    ("held", "sent", "code", "outcome"),
    [
        ({"XB": "女"}, {}, "ID-SEX", Outcome.HELD),  # D07
        ({"CSNY": "199002"}, {}, "ID-BIRTH", Outcome.HELD),  # D08
        ({"PZRQ": "不详"}, {}, "DB-DATE", Outcome.RETURNED),  # D34
        ({}, {"BKZY": "无"}, "DB-SPECIALTY", Outcome.RETURNED),  # E35
    ],
)
def test_d07_d08_d34_what_the_number_of_a_passport_does_not_say_the_database_does(
    registry: Registry, actor: Actor, settings: Settings, tmp_path: Path, *, held: Row, sent: Row, code: str,
    outcome: Outcome,
) -> None:  # fmt: skip
    row = PEOPLE[0] | {"ZJHM": "EJ1234567", "ZJLB": "护照", "XB": "男"}
    certificates.load(registry, actor, write_registry(tmp_path / "r.csv", [row | held]))
    (judged,) = check([Made(rows=[row | sent]).write(tmp_path)], settings, load_reference(settings), registry=registry)
    assert (judged.rows[0].outcome, code in judged.rows[0].rules) == (outcome, True)


def switched_off(settings: Settings, folder: Path, codes: set[str]) -> Settings:
    folder.mkdir()
    for path in suites.folder(settings).glob("*.json"):
        suite = json.loads(path.read_text(encoding="utf-8"))
        suite["expectations"] = [one for one in suite["expectations"] if one["meta"]["code"] not in codes]
        (folder / path.name).write_text(json.dumps(suite), encoding="utf-8")
    return replace(settings, expectations=folder)


def test_d15_d17_d29_other_spellings_go_on_and_the_database_value_is_printed(
    registry: Registry, actor: Actor, settings: Settings, tmp_path: Path
) -> None:
    people = [dict(row) for row in PEOPLE[:5]]
    people[0]["KSXM"] = "买买提·艾力"
    people[2]["ZJHM"] = "370102900101003"  # D03: the database holds 15 digits
    certificates.load(registry, actor, write_registry(tmp_path / "r.csv", people))
    rows = [dict(row) for row in people]
    rows[0]["KSXM"] = "买买提•艾力"
    rows[1]["BKJB"] = "1级"
    rows[3]["CSNY"] = "1990年1月"
    (judged,) = check([Made(rows=rows).write(tmp_path)], settings, load_reference(settings), registry=registry)
    assert judged.verdict is Verdict.ACCEPTED, [one.rule for one in judged.findings]
    assert judged.rows[0].emitted["KSXM"] == "买买提·艾力"
    assert judged.rows[1].emitted["BKJB"] == "一级"
    assert judged.rows[2].emitted["ZJHM"] == "370102900101003"
    assert judged.rows[3].emitted["CSNY"] == "199001"
    assert judged.rows[0].sent["KSXM"] == "买买提•艾力"


def test_d01_a_wrong_check_digit_that_the_database_holds_as_well_is_a_warning(
    registry: Registry, actor: Actor, settings: Settings, tmp_path: Path
) -> None:
    row = dict(PEOPLE[0])
    row["ZJHM"] = row["ZJHM"][:17] + ("1" if row["ZJHM"][17] != "1" else "2")
    certificates.load(registry, actor, write_registry(tmp_path / "r.csv", [row]))
    (judged,) = check([Made(rows=[row]).write(tmp_path)], settings, load_reference(settings), registry=registry)
    assert (judged.rows[0].outcome, judged.rows[0].rules) == (Outcome.ACCEPTED, ("ID-CHECKDIGIT-KNOWN",))


def test_the_rule_set_of_2023_sends_rows_with_an_electronic_certificate_back(
    registry: Registry, actor: Actor, settings: Settings, tmp_path: Path
) -> None:
    certificates.load(registry, actor, write_registry(tmp_path / "r.csv", PEOPLE[:1], DZZS=lambda _: "是"))
    file = Made(rows=[dict(PEOPLE[0])]).write(tmp_path)
    (old,) = check([file], settings, load_reference(settings), registry=registry)
    (new,) = check([file], replace(settings, rule_set="2023"), load_reference(settings), registry=registry)
    assert old.rows[0].outcome is Outcome.ACCEPTED
    assert (new.rows[0].outcome, new.rows[0].rules) == (Outcome.RETURNED, ("DB-ECERT",))
    assert new.rule_set == "2023"


def test_each_month_of_one_call_is_judged_by_the_rules_of_its_time(
    registry: Registry, actor: Actor, settings: Settings, tmp_path: Path
) -> None:
    certificates.load(registry, actor, write_registry(tmp_path / "r.csv", PEOPLE[:3], DZZS=lambda _: "是"))
    different = dict(PEOPLE[2]) | {"BKZY": f" {PEOPLE[2]['BKZY']}"}
    made = [Made(rows=[PEOPLE[0]], month="202305"), Made(rows=[PEOPLE[1], different], month="202306")]
    files = [one.write(tmp_path) for one in made]
    by_default = check(files, settings, load_reference(settings), registry=registry)
    assert [one.rule_set for one in by_default] == ["2020", "2020"]  # what came later is switched on by the operator
    settings = replace(settings, rule_set="dated")
    old, new = check(files, settings, load_reference(settings), registry=registry)
    assert (old.rule_set, [row.outcome for row in old.rows]) == ("2020", [Outcome.ACCEPTED])
    assert (new.rule_set, [row.outcome for row in new.rows]) == ("2023", [Outcome.RETURNED] * 2)
    assert not any(finding.rule == "DB-ECERT" for finding in old.findings)


def test_a_city_is_judged_once_recorded_and_answered(loaded: Registry, actor: Actor, settings: Settings) -> None:
    made = Made()
    made.rows = [dict(PEOPLE[0]), dict(PEOPLE[1]) | {"XB": ""}, dict(PEOPLE[2]) | {"KSXM": "甲□"}, dict(PEOPLE[0])]
    file_id = deliver(settings, loaded, actor, made)
    report = check_city(settings, loaded, "370100", actor)
    assert (report.files, dict(report.rows)) == (
        (file_id,), {"accepted": 1, "returned": 2, "ignored": 1},
    )  # fmt: skip
    assert [state for _, state in states(loaded)] == ["ACCEPTED", "RETURNED", "RETURNED", "IGNORED"]
    assert file_states(loaded) == {file_id: ("JUDGED", None)}
    again = check_city(settings, loaded, "370100", actor)
    assert (again.files, len(states(loaded))) == ((), 4)
    with loaded.read() as conn:
        (answer,) = submissions.unanswered(conn, "370100")
        records = list(conn.scalars(text("SELECT record_id FROM rows ORDER BY id")))
    assert records[0] == "370100-202005-034-000001"
    names = sorted(path.name for path in (settings.feedback / "370100" / "202005").iterdir())
    assert sorted(name.rsplit("-", 1)[1] for name in names) == sorted(
        ["回执.txt", "退回单.xlsx", "申请表.xlsx", "申请表.pdf", "统计汇总表.xlsx", "统计汇总表.pdf"]
    )
    assert all(answer.tag in name for name in names)
    with loaded.begin(actor) as conn:
        submissions.mark_answered(conn, [answer.file_id])
        assert submissions.unanswered(conn, "370100") == []
    assert sound(loaded, settings)


@pytest.mark.parametrize(("field", "held"), [("XB", ""), ("XB", "1"), ("CSNY", ""), ("CSNY", "不详"), ("BMS", "")])
def test_where_the_database_says_nothing_of_sex_birth_or_city_what_the_city_says_is_printed(
    registry: Registry, actor: Actor, settings: Settings, tmp_path: Path, field: str, held: str
) -> None:
    certificates.load(registry, actor, write_registry(tmp_path / "r.csv", [PEOPLE[0] | {field: held}]))
    file = Made(rows=[dict(PEOPLE[0])]).write(tmp_path / "in")
    (judged,) = check([file], settings, load_reference(settings), registry=registry)
    assert judged.rows[0].outcome is Outcome.ACCEPTED
    assert judged.rows[0].emitted[field] == PEOPLE[0][field]


@pytest.mark.parametrize("left", [None, b"", b"PK\3\4", "cut", "flipped"])
def test_a_file_that_is_damaged_on_our_disk_is_not_blamed_on_the_city(
    loaded: Registry, actor: Actor, settings: Settings, left: bytes | str | None
) -> None:
    file_id = deliver(settings, loaded, actor, Made(rows=PEOPLE[:2]))
    [original] = settings.originals.rglob("*.bin")
    whole = original.read_bytes()
    harmed = {"cut": whole[:-40], "flipped": whole[:60] + bytes([whole[60] ^ 1]) + whole[61:]}.get(str(left), left)
    original.unlink() if harmed is None else original.write_bytes(harmed)
    with pytest.raises(DigestMismatch, match=f"原件 {original.stem[:12]} .*请从备份取回"):
        check_city(settings, loaded, "370100", actor)
    assert file_states(loaded) == {file_id: ("RECEIVED", None)}
    assert not list(settings.feedback.rglob("*.*"))
    original.write_bytes(whole)
    assert check_city(settings, loaded, "370100", actor).verdicts == {"accepted": 1}
    assert sound(loaded, settings)


def test_a_file_that_is_damaged_on_our_disk_keeps_back_its_own_exam_only(
    loaded: Registry, actor: Actor, settings: Settings
) -> None:
    damaged = deliver(settings, loaded, actor, Made(rows=PEOPLE[:2]))
    [original] = settings.originals.rglob("*.bin")
    whole = original.read_bytes()
    original.write_bytes(whole[:-40])
    beside = deliver(settings, loaded, actor, Made(rows=PEOPLE[2:3]))
    other = deliver(settings, loaded, actor, Made(rows=PEOPLE[3:4], month="202004"))
    with pytest.raises(DigestMismatch, match=f"原件 {original.stem[:12]} .*它和同一考试的文件未作判定"):
        check_city(settings, loaded, "370100", actor)
    assert [file_states(loaded)[one][0] for one in (damaged, beside, other)] == ["RECEIVED", "RECEIVED", "JUDGED"]
    assert [one.file_id for one in unanswered(loaded, actor)] == [other]
    unnamed = deliver(settings, loaded, actor, Made(rows=PEOPLE[4:5], month="202003"), name="五月.zip")
    with pytest.raises(DigestMismatch):
        check_city(settings, loaded, "370100", actor)
    assert file_states(loaded)[unnamed][0] == "RECEIVED", "its exam may be that of the damaged one"
    original.write_bytes(whole)
    check_city(settings, loaded, "370100", actor)
    assert {state for state, _ in file_states(loaded).values()} == {"HELD", "JUDGED"}
    assert sound(loaded, settings)


def test_one_citys_trouble_keeps_no_other_from_being_taken_in(
    loaded: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def pull_(_settings: Settings, _registry: Registry, account: str, _actor: Actor) -> pull.PullReport:
        asked.append(account)
        if account in ("370100", "370200"):
            raise TransferError("连接中断")
        return pull.PullReport()

    monkeypatch.setattr(pull, "pull", pull_)
    monkeypatch.setattr(pull, "reply", lambda *_: pull.ReplyReport())
    monkeypatch.setenv("CERTFLOW_HOME", str(settings.home))
    monkeypatch.setenv("CERTFLOW_DATABASE_URL", settings.database_url)
    told = CliRunner().invoke(app, ["intake", "370100", "370200", "370300"])
    assert (asked, told.exit_code) == (["370100", "370200", "370300"], 1)
    assert "certflow：济南市、青岛市：连接中断" in told.output
    assert "淄博市：新收 0" in told.output


def test_answers_of_an_attempt_that_recorded_nothing_are_taken_away(
    loaded: Registry, actor: Actor, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before it recorded anything; before it runs again the database is loaded anew, and says otherwise."""
    deliver(settings, loaded, actor, Made(rows=[PEOPLE[0] | {"BKZY": "公路工程"}, PEOPLE[1]]))
    with monkeypatch.context() as dying:
        dying.setattr(submissions, "record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            check_city(settings, loaded, "370100", actor)
    answers = settings.feedback / "370100"
    assert len(list(answers.rglob("*退回单*"))) == 1
    anew = write_registry(tmp_path / "new.csv", [PEOPLE[0] | {"BKZY": "公路工程"}, PEOPLE[1]])
    certificates.load(loaded, actor, anew)
    assert check_city(settings, loaded, "370100", actor).rows == {"accepted": 2}
    assert not list(answers.rglob("*退回单*"))
    assert len(list(answers.rglob("*回执*"))) == 1
    assert sound(loaded, settings)


def test_d35_the_receipt_says_what_goes_on_with_a_warning_and_in_which_rows(
    loaded: Registry, actor: Actor, settings: Settings, tmp_path: Path
) -> None:
    """No 退回单 names a row that is accepted: what the city is asked to look at stands in the receipt alone."""
    elsewhere = person(500)
    certificates.load(loaded, actor, write_registry(tmp_path / "more.csv", [elsewhere], BMS=lambda _: "青岛市"))
    rows = [PEOPLE[0] | {"CSNY": "1990年1月"}, elsewhere, PEOPLE[1] | {"CSNY": "1990-1"}]
    file = deliver(settings, loaded, actor, Made(rows=rows))
    check_city(settings, loaded, "370100", actor)
    receipt = next(settings.feedback.rglob(f"*F{file:06d}-回执.txt")).read_text("utf-8-sig")
    assert "结论：全部接收" in receipt
    assert "  第 3 行：证书数据库中的报名市“青岛市”不是报送城市，按数据库印制。 更正办法：请核对" in receipt
    assert "  第 2、4 行：出生年月（CSNY）的写法不规范，已按规范读取。" in receipt


def test_the_slip_marks_the_bad_cell_and_shows_the_database_value(
    loaded: Registry, actor: Actor, settings: Settings
) -> None:
    import openpyxl

    deliver(settings, loaded, actor, Made(rows=[dict(PEOPLE[0]) | {"KSXM": "=cmd|' /C calc'!A0"}]))  # E35
    check_city(settings, loaded, "370100", actor)
    (slip,) = settings.feedback.rglob("*.xlsx")
    sheet = openpyxl.load_workbook(slip).active
    head = next(row for row in sheet.iter_rows() if row[0].value == "ZSGLH")
    line = sheet[head[0].row + 1]
    by_title = {str(title.value).split("\n")[0]: cell for title, cell in zip(head, line, strict=True)}
    assert (by_title["原行号"].value, by_title["处理结果"].value) == ("2", "退回")
    assert (by_title["KSXM"].value, by_title["KSXM"].data_type) == ("=cmd|' /C calc'!A0", "s")
    assert by_title["KSXM"].fill.start_color.rgb != by_title["XB"].fill.start_color.rgb
    assert PEOPLE[0]["KSXM"] in by_title["证书数据库记载"].value


def test_the_answers_to_a_trial_say_that_nothing_was_reported_and_ask_for_the_whole(
    loaded: Registry, actor: Actor, settings: Settings
) -> None:
    """Sent back alone it would report the mended rows without the sound ones, and without any photo."""
    rows = [PEOPLE[0], PEOPLE[1] | {"XB": ""}]
    for lane in ("trial", "month"):
        file = deliver(settings, loaded, actor, Made(rows=rows), lane=lane)
        check_city(settings, loaded, "370100", actor)
        slip = next(settings.feedback.rglob(f"*F{file:06d}-退回单.xlsx"))
        words = str([cell.value for row in openpyxl.load_workbook(slip).active.iter_rows() for cell in row])
        assert ("直接把本表传回" in words) is (lane == "month")
        assert ("完整的数据包重新试投或报送" in words) is (lane == "trial")
        receipt = next(settings.feedback.rglob(f"*F{file:06d}-回执.txt")).read_text("utf-8-sig")
        assert ("没有报送" in receipt) is (lane == "trial")


def test_the_slip_shows_what_the_database_says_of_every_bad_cell_but_not_of_another_persons_certificate(
    loaded: Registry, actor: Actor, settings: Settings
) -> None:
    import openpyxl

    bad = {"PZRQ": "2018", "XB": "女", "BKZY": "公路工程"}
    foreign = {name: PEOPLE[3][name] for name in ("KSXM", "ZJHM")} | {"XB": "未知"}
    deliver(settings, loaded, actor, Made(rows=[dict(PEOPLE[0]) | bad, dict(PEOPLE[2]) | foreign]))
    check_city(settings, loaded, "370100", actor)
    (slip,) = settings.feedback.rglob("*.xlsx")
    own, other = [row[-1].value for row in openpyxl.load_workbook(slip).active.iter_rows()][-2:]
    assert set(own.split("\n")) == {"批准日期：20180915", "性别：男", "专业：建筑工程"}
    assert not other


def test_z45_photos_wait_for_their_workbook_and_meet_it_in_a_later_zip(
    loaded: Registry, actor: Actor, settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    row = person(500, photo=True)
    certificates.load(registry, actor, write_registry(tmp_path / "more.csv", [row]))
    whole = Made(rows=[row], photos={f"{row['ZJHM']}.jpg": portrait(1)})
    photos = file_of(settings, whole, workbook=False)
    first = receive_bytes(settings, loaded, actor, *photos)
    report = check_city(settings, loaded, "370100", actor)
    assert (report.waiting, file_states(loaded)[first][0]) == ((first,), "WAITING")
    assert [one.file_id for one in unanswered(loaded, actor)] == [first], "the city hears what they wait for"
    (notice,) = settings.feedback.rglob(f"*F{first:06d}*")
    assert "等待同名的数据表" in notice.read_text("utf-8-sig")
    check_city(settings, loaded, "370100", actor)
    assert unanswered(loaded, actor) == []
    second = receive_bytes(settings, loaded, actor, *file_of(settings, whole, workbook=True))
    report = check_city(settings, loaded, "370100", actor)
    assert dict(report.verdicts) == {"accepted": 1}
    assert {state for state, _ in file_states(loaded).values()} == {"JUDGED"}
    assert not notice.exists()
    assert [one.file_id for one in unanswered(loaded, actor)] == [first, second]
    with loaded.read() as conn:
        assert conn.scalar(text("SELECT e.file_id FROM rows r JOIN entries e ON e.id = r.photo_entry_id")) == first
    assert second != first
    assert sound(loaded, settings)


def test_z45_photos_that_come_after_their_workbook_complete_its_rows(
    loaded: Registry, actor: Actor, settings: Settings, tmp_path: Path
) -> None:
    """A row without a fault in its photo is none of theirs, a photo nobody asked for waits for a person."""
    first, second, third = (person(serial, photo=True) for serial in (500, 501, 502))
    certificates.load(loaded, actor, write_registry(tmp_path / "more.csv", [first, second, third]))
    sent = Made(rows=[first, PEOPLE[0] | {"XB": ""}, second, third, dict(PEOPLE[1])])
    sent.photos = {f"{row['ZJHM']}.jpg": portrait(number) for number, row in enumerate((first, second), start=1)}
    receive_bytes(settings, loaded, actor, *file_of(settings, sent, workbook=True))
    check_city(settings, loaded, "370100", actor)
    assert [state for _, state in states(loaded)] == ["RETURNED", "RETURNED", "RETURNED", "RETURNED", "ACCEPTED"]
    late = receive_bytes(settings, loaded, actor, *file_of(settings, sent, workbook=False))
    report = check_city(settings, loaded, "370100", actor)
    assert (report.waiting, dict(report.rows)) == ((), {"accepted": 2})
    assert states(loaded)[5:] == [(row["ZSGLH"], "ACCEPTED") for row in (first, second)]
    assert file_states(loaded)[late] == ("JUDGED", None)
    receipt = next(settings.feedback.rglob(f"*F{late:06d}-回执.txt")).read_text("utf-8-sig")
    assert "数据表：此前报送的文件（回执编号 F000001），其中 2 行等待这些照片" in receipt
    with loaded.read() as conn:
        assert list(conn.scalars(text("SELECT row_no FROM rows WHERE id > 5 ORDER BY id"))) == [2, 4]
        assert list(conn.scalars(text("SELECT version FROM submissions ORDER BY id"))) == [1, 2]
    changes = compare(settings, loaded, Month.parse("202005"), "2020", "2023")
    assert changes.rows == 7
    assert sound(loaded, settings)


def unanswered(registry: Registry, actor: Actor) -> list[submissions.Answer]:
    """What the next reply takes along; then it counts as told."""
    with registry.begin(actor) as conn:
        found = submissions.unanswered(conn, "370100")
        submissions.mark_answered(conn, [one.file_id for one in found])
    return found


def file_of(settings: Settings, made: Made, *, workbook: bool) -> tuple[str, bytes]:
    import io
    import zipfile

    file = made.write(settings.path("incoming"))
    stream = io.BytesIO()
    with zipfile.ZipFile(file.path) as source, zipfile.ZipFile(stream, "w") as target:
        for name in source.namelist():
            if name.endswith(".XLS") == workbook:
                target.writestr(name, source.read(name))
    return file.name, stream.getvalue()


def receive_bytes(
    settings: Settings, registry: Registry, actor: Actor, name: str, data: bytes, nil: str | None = None
) -> int:
    """`nil`: the month of a nil report."""
    import hashlib

    digest = hashlib.sha256(data).hexdigest()
    target = settings.original(digest)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    with registry.begin(actor) as conn:
        kind = "submission" if nil is None else "nil"
        arrival = transfers.Arrival("370100", "month", name, name.encode(), digest, len(data), kind, nil)
        return transfers.receive(conn, arrival)[0]


@pytest.mark.parametrize("content", [b"", "本月没有人申请".encode()])
def test_t11_a_nil_report_counts_in_every_month_whatever_its_bytes(
    loaded: Registry, actor: Actor, settings: Settings, content: bytes
) -> None:
    """An empty text file is what the guide asks for; neither last month's nor an upload that broke off is the same."""
    receive_bytes(settings, loaded, actor, "未传完.zip", content)
    told = []
    for month in ("202005", "202006", "202005"):
        told.append(receive_bytes(settings, loaded, actor, f"{month}-零报(济南市).txt", content, month))
        check_city(settings, loaded, "370100", actor)
    assert [file_states(loaded)[file] for file in told] == [("JUDGED", None)] * 2 + [("IGNORED", "FILE-DUPLICATE")]
    with loaded.read() as conn:
        assert [months.cities(conn, month)["370100"].nil for month in ("202005", "202006")] == [True, True]
    again = receive_bytes(settings, loaded, actor, "又没传完.zip", content)
    check_city(settings, loaded, "370100", actor)
    assert file_states(loaded)[again][0] == "IGNORED"
    assert sound(loaded, settings)


def test_t12_a_corrected_version_adds_what_is_new_and_counts_nothing_twice(
    loaded: Registry, actor: Actor, settings: Settings
) -> None:
    first, second, third = (dict(row) for row in PEOPLE[:3])
    deliver(
        settings,
        loaded,
        actor,
        Made(rows=[first, second | {"XB": ""}, third | {"KSXM": third["KSXM"], "CSNY": "199002"}]),
    )
    check_city(settings, loaded, "370100", actor)
    assert [state for _, state in states(loaded)] == ["ACCEPTED", "RETURNED", "HELD"]
    deliver(settings, loaded, actor, Made(rows=[first, second, third]))
    check_city(settings, loaded, "370100", actor)
    assert [state for _, state in states(loaded)] == [
        "ACCEPTED", "RETURNED", "RETURNED",  # the held row was replaced by its correction
        "IGNORED", "ACCEPTED", "ACCEPTED",
    ]  # fmt: skip
    with loaded.read() as conn:
        assert list(conn.scalars(text("SELECT version FROM submissions ORDER BY id"))) == [1, 2]
        assert list(conn.scalars(text("SELECT replaces FROM rows ORDER BY id")))[-1] == 3
    assert sound(loaded, settings)


def test_t12_a_changed_copy_of_an_accepted_row_is_held(loaded: Registry, actor: Actor, settings: Settings) -> None:
    deliver(settings, loaded, actor, Made(rows=[dict(PEOPLE[0])]))
    check_city(settings, loaded, "370100", actor)
    deliver(settings, loaded, actor, Made(rows=[dict(PEOPLE[0]) | {"PZRQ": "201809"}]))
    check_city(settings, loaded, "370100", actor)
    assert [state for _, state in states(loaded)] == ["ACCEPTED", "HELD"]


def test_d27_a_number_that_is_open_from_an_earlier_month_is_held(
    loaded: Registry, actor: Actor, settings: Settings
) -> None:
    for month in ("202004", "202005"):
        deliver(settings, loaded, actor, Made(rows=[dict(PEOPLE[0])], month=month))
        check_city(settings, loaded, "370100", actor)
    assert [state for _, state in states(loaded)] == ["ACCEPTED", "HELD"]
    with loaded.read() as conn:
        assert conn.scalar(text("SELECT count(*) FROM findings WHERE rule = 'DUP-OPEN'")) == 1


def test_d39_last_months_file_under_a_new_name_is_held_as_a_whole(
    loaded: Registry, actor: Actor, settings: Settings
) -> None:
    rows = [dict(row) for row in PEOPLE[:12]]
    for month in ("202004", "202005"):
        file_id = deliver(settings, loaded, actor, Made(rows=rows, month=month))
        check_city(settings, loaded, "370100", actor)
    assert file_states(loaded)[file_id] == ("HELD", "FILE-REPEATED")


def test_d39_what_the_authority_refused_may_be_asked_for_again_as_it_was(
    loaded: Registry, actor: Actor, settings: Settings
) -> None:
    rows = [dict(row) for row in PEOPLE[:12]]
    deliver(settings, loaded, actor, Made(rows=rows, month="202004"))
    check_city(settings, loaded, "370100", actor)
    with loaded.begin(actor) as conn:
        for state in ("PACKED", "SENT", "REFUSED"):
            conn.execute(text("UPDATE rows SET state = :state"), {"state": state})
    file_id = deliver(settings, loaded, actor, Made(rows=rows, month="202005"))
    check_city(settings, loaded, "370100", actor)
    assert file_states(loaded)[file_id] == ("JUDGED", None)
    assert {state for _, state in states(loaded)[12:]} == {"ACCEPTED"}


def test_d24_a_second_city_with_the_same_number_holds_the_row_of_both(
    loaded: Registry, actor: Actor, settings: Settings
) -> None:
    deliver(settings, loaded, actor, Made(rows=[dict(PEOPLE[0]), dict(PEOPLE[1])]))
    check_city(settings, loaded, "370100", actor)
    with loaded.begin(actor) as conn:
        submissions.mark_answered(conn, [1])
    other = Made(rows=[dict(PEOPLE[0]) | {"BMS": "青岛市"}], city="青岛市")
    deliver(settings, loaded, actor, other, account="370200")
    report = check_city(settings, loaded, "370200", actor)
    assert report.contested == 1
    number = PEOPLE[0]["ZSGLH"]
    assert [state for no, state in states(loaded) if no == number] == ["WITHDRAWN", "HELD", "HELD"]
    assert [state for no, state in states(loaded) if no == PEOPLE[1]["ZSGLH"]] == ["ACCEPTED"]
    with loaded.read() as conn:
        assert [answer.file_id for answer in submissions.unanswered(conn, "370100")] == [1]  # told again
    (note,) = settings.feedback.glob("370100/202005/补充通知-*")
    assert "第 2 行" in note.read_text("utf-8-sig")
    assert sound(loaded, settings)


def test_d24_a_returned_row_holds_nobody_elses(loaded: Registry, actor: Actor, settings: Settings) -> None:
    deliver(settings, loaded, actor, Made(rows=[dict(PEOPLE[0])]))
    check_city(settings, loaded, "370100", actor)
    bad = Made(rows=[dict(PEOPLE[0]) | {"BMS": "青岛市", "KSXM": "旁人"}], city="青岛市")
    deliver(settings, loaded, actor, bad, account="370200")
    assert check_city(settings, loaded, "370200", actor).contested == 0
    assert [state for _, state in states(loaded)] == ["ACCEPTED", "RETURNED"]


def test_d24_two_cities_at_the_same_moment_never_both_get_the_number_accepted(
    loaded: Registry, actor: Actor, settings: Settings
) -> None:
    rows = [dict(row) for row in PEOPLE[:5]]
    deliver(settings, loaded, actor, Made(rows=rows))
    deliver(
        settings, loaded, actor, Made(rows=[row | {"BMS": "青岛市"} for row in rows], city="青岛市"), account="370200"
    )
    failures: list[BaseException] = []

    def run(account: str) -> None:
        try:
            check_city(settings, loaded, account, actor)
        except BaseException as error:  # noqa: BLE001 (shown by the assertion below)
            failures.append(error)

    threads = [threading.Thread(target=run, args=(account,)) for account in ("370100", "370200")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = states(loaded)
    for row in rows:
        assert sorted(state for number, state in found if number == row["ZSGLH"]) == ["HELD", "HELD", "WITHDRAWN"]
    assert sound(loaded, settings)


def test_a_trial_is_answered_and_leaves_no_row(loaded: Registry, actor: Actor, settings: Settings) -> None:
    file_id = deliver(settings, loaded, actor, Made(rows=[dict(PEOPLE[0]) | {"XB": ""}]), lane="trial")
    report = check_city(settings, loaded, "370100", actor)
    assert (report.files, states(loaded)) == ((file_id,), [])
    assert any(path.name.startswith("试投-") for path in settings.feedback.rglob("*回执.txt"))
    with loaded.read() as conn:
        assert conn.scalar(text("SELECT count(*) FROM findings WHERE rule = 'ROW-REQUIRED'")) == 1


def test_e46_values_no_database_can_hold_are_recorded_as_escapes(
    loaded: Registry, actor: Actor, settings: Settings
) -> None:
    deliver(settings, loaded, actor, Made(rows=[dict(PEOPLE[0]) | {"BKZY": "建筑\x01工程"}]))
    check_city(settings, loaded, "370100", actor)
    assert [state for _, state in states(loaded)] == ["RETURNED"]


def test_an_empty_certificate_database_accepts_nobody(registry: Registry, actor: Actor, settings: Settings) -> None:
    deliver(settings, registry, actor, Made(rows=[dict(PEOPLE[0])]))
    with pytest.raises(ConfigurationError, match="证书数据库为空"):
        check_city(settings, registry, "370100", actor)


@pytest.mark.parametrize("left", ["", '{"results": [{"succ'])
def test_half_a_quality_result_stops_no_page(loaded: Registry, actor: Actor, settings: Settings, left: str) -> None:
    """A full disk, or a process that was killed while it wrote."""
    deliver(settings, loaded, actor, Made(rows=[dict(PEOPLE[0])]))
    check_city(settings, loaded, "370100", actor)
    results = sorted(settings.path("quality").rglob("*.json"))
    results[0].write_text(left)
    assert render_quality(settings) == len(results)
    [page] = settings.reports.rglob(f"{results[0].stem}.html")
    assert "已损坏" in page.read_text("utf-8")
    assert not [*settings.path("quality").rglob("*.part"), *settings.reports.rglob("*.part")]


def test_i10_quality_results_and_data_docs_hold_no_value_and_load_nothing_from_the_network(
    loaded: Registry, actor: Actor, settings: Settings
) -> None:
    row = dict(PEOPLE[0]) | {"KSXM": "金丝雀甲", "XB": "金丝雀乙"}
    deliver(settings, loaded, actor, Made(rows=[row]))
    check_city(settings, loaded, "370100", actor)
    assert render_quality(settings) > 0
    assert render_quality(settings) == 0  # pages that stand are not drawn again
    written = [*settings.path("quality").rglob("*.json"), *settings.reports.rglob("*.html")]
    for path in written:
        content = path.read_text("utf-8")
        assert "金丝雀" not in content
        assert row["ZJHM"] not in content
        assert "http://" not in content.replace("http://www.w3.org", "")
        assert "https://" not in content

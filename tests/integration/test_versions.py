"""A city sends again what it mended: the next version, told apart row by row; months in any order; photos on a page."""

import base64
import hashlib
import io
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import openpyxl
import pytest
from made_submissions import Made, person, portrait, received, write_registry
from returned import Authority
from small_month import SmallMonth
from sqlalchemy import text

from certflow import excel, photo
from certflow.checks import holds
from certflow.checks.run import check, check_city
from certflow.dispatch.approve import approve
from certflow.dispatch.assemble import assemble
from certflow.dispatch.freeze import freeze
from certflow.errors import DigestMismatch
from certflow.findings import FIELDS
from certflow.month import Month
from certflow.reference import load_reference
from certflow.registry import certificates, transfers
from certflow.registry import holds as ledger
from certflow.registry.doctor import examine

PEOPLE = [person(serial) for serial in range(1, 6)] + [person(6, photo=True)]
OTHER = person(7, photo=True)


@pytest.fixture
def office(registry, actor, settings, tmp_path):
    """A loaded registry; called with a file, it receives and judges it, and gives the receipt and the slip."""
    certificates.load(registry, actor, write_registry(tmp_path / "registry.csv", [*PEOPLE, OTHER]))

    def send(file, here=settings, lane="month", account="370100"):
        target = settings.original(file.sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.path.read_bytes())
        with registry.begin(actor) as conn:
            arrival = transfers.Arrival(
                account, lane, file.name, file.name.encode(), file.sha256, file.size, "submission"
            )
            number, _ = transfers.receive(conn, arrival)
        check_city(here, registry, account, actor)
        assert not any(examine(registry, settings).values())
        answers = {path.stem.rpartition("-")[2]: path for path in settings.feedback.rglob(f"*F{number:06d}*")}
        assert "照片" not in answers, "the contact sheet is not uploaded to the city"
        return answers

    return send


@pytest.fixture
def states(registry):
    def ask():
        with registry.read() as conn:
            return [state for (state,) in conn.execute(text("SELECT state FROM rows ORDER BY id"))]

    return ask


def made(folder: Path, *rows, month="202005", city="济南市"):
    return Made(rows=[dict(row) for row in rows], month=month, city=city).write(folder)


def test_the_receipt_of_a_second_version_lists_what_changed(office, states, tmp_path):
    first, second, third, fourth = PEOPLE[:4]
    assert "版本" not in office(made(tmp_path / "1", first, second | {"XB": ""}, third))["回执"].read_text("utf-8-sig")
    receipt = office(made(tmp_path / "2", first, second, fourth))["回执"].read_text("utf-8-sig")
    assert "第 2 版" in receipt
    assert "未变 1 行，" in receipt
    assert "更正 1 行（第 3 行）" in receipt
    assert "新增 1 行（第 4 行）" in receipt
    assert "本版没有的 1 行" in receipt
    assert states() == ["ACCEPTED", "RETURNED", "ACCEPTED", "IGNORED", "ACCEPTED", "ACCEPTED"]


def test_an_unchanged_row_keeps_its_verdict_and_a_waiting_one_its_place(office, states, registry, tmp_path):
    first, second, third, fourth = PEOPLE[:4]
    waiting = third | {"XB": "女"}  # held: the number is a man's
    office(made(tmp_path / "1", first, second | {"XB": ""}, waiting))
    receipt = office(made(tmp_path / "2", first, second | {"XB": ""}, waiting, fourth))["回执"].read_text("utf-8-sig")
    assert "未变 3 行，按此前的处理结果" in receipt
    assert "其中 1 行已在办理，不再重复登记" in receipt
    assert "其中 1 行（第 4 行）仍待人工确认，沿用此前的登记" in receipt
    assert "其中 1 行（第 3 行）问题未更正，处理结果不变" in receipt
    assert "更正 0 行" in receipt
    assert "待人工确认的行：4" in receipt
    assert states() == ["ACCEPTED", "RETURNED", "HELD", "IGNORED", "RETURNED", "IGNORED", "ACCEPTED"]
    receipt = office(made(tmp_path / "3", third))["回执"].read_text("utf-8-sig")
    assert "更正 1 行（第 2 行）" in receipt
    assert states()[2:3] + states()[-1:] == ["RETURNED", "ACCEPTED"]  # the waiting one is replaced


def test_d24_a_waiting_row_that_waits_for_one_thing_more_does_not_stand_as_it_was(office, states, registry, tmp_path):
    """What the person sees who decides is why it waits by now: another city has sent its number meanwhile."""
    waiting = PEOPLE[2] | {"XB": "女"}
    office(made(tmp_path / "1", waiting))
    office(made(tmp_path / "2", PEOPLE[2], city="青岛市"), account="370200")
    office(made(tmp_path / "3", waiting, PEOPLE[3]))
    with registry.read() as conn:
        held = [one for one in ledger.queue(conn) if one.account == "370100"]
    assert [set(one.rules) for one in held] == [{"ID-SEX", "DUP-CITY"}]
    assert states() == ["RETURNED", "HELD", "HELD", "ACCEPTED"]


def test_an_unchanged_row_is_judged_anew_where_the_facts_have_changed(office, states, registry, actor, tmp_path):
    stranger = person(9)
    office(made(tmp_path / "1", PEOPLE[0], stranger))
    assert states() == ["ACCEPTED", "RETURNED"]
    certificates.load(registry, actor, write_registry(tmp_path / "more.csv", [stranger]))
    receipt = office(made(tmp_path / "2", stranger))["回执"].read_text("utf-8-sig")
    assert "第 2 行虽未变，因规则、证书数据库或其他报送情况已有变化，由退回改为接收" in receipt
    assert states() == ["ACCEPTED", "RETURNED", "ACCEPTED"]


def test_t11_the_same_file_again_says_that_nothing_was_judged_again(office, states, registry, actor, tmp_path):
    stranger = person(9)
    first = made(tmp_path / "1", PEOPLE[0], stranger)
    slip = office(first)["退回单"]
    certificates.load(registry, actor, write_registry(tmp_path / "more.csv", [stranger]))
    receipt = office(first)["回执"].read_text("utf-8-sig")
    assert "没有重新审核，此前退回的 1 行仍为退回" in receipt
    assert states() == ["ACCEPTED", "RETURNED"]
    office(mended(slip, tmp_path, "XB", stranger["XB"]))  # as it was
    assert states()[2:] == ["ACCEPTED"]
    assert "没有重新审核" not in office(first)["回执"].read_text("utf-8-sig")


def with_photos(folder: Path, **pictures) -> Made:
    sent = Made()
    sent.rows = [PEOPLE[5], OTHER]
    sent.photos = {
        row["ZP"]: pictures[name] for name, row in zip(("one", "two"), sent.rows, strict=True) if name in pictures
    }
    return sent.write(folder)


def test_another_photo_of_an_accepted_row_is_a_change_a_person_decides(office, states, tmp_path):
    office(with_photos(tmp_path / "1", one=portrait(5), two=portrait(6)))
    answers = office(with_photos(tmp_path / "2", one=portrait(5), two=portrait(7)))
    receipt = answers["回执"].read_text("utf-8-sig")
    assert "其中 1 行已在办理" in receipt
    assert "更正 1 行（第 3 行）" in receipt
    assert states() == ["ACCEPTED", "ACCEPTED", "IGNORED", "HELD"]


def test_an_earlier_versions_photo_that_is_damaged_on_our_disk_is_not_blamed_on_the_city(
    office, states, settings, tmp_path
):
    first = Made()
    first.rows = [PEOPLE[5] | {"XB": ""}]
    first.photos = {PEOPLE[5]["ZP"]: portrait(5)}
    slip = office(first.write(tmp_path / "1"))["退回单"]
    [original] = settings.originals.rglob("*.bin")
    whole = original.read_bytes()
    at = whole.index(portrait(5)) + 5_000
    original.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(DigestMismatch, match=f"原件 {original.stem[:12]} .*请从备份取回"):
        office(mended(slip, tmp_path, "XB", PEOPLE[5]["XB"]))
    assert states() == ["RETURNED"]


@pytest.mark.parametrize(("changed", "picture"), [({"ZJLB": "身份证"}, 5), ({}, 7)], ids=["spelling", "photo"])
def test_d27_what_was_printed_and_comes_again_otherwise_waits_for_a_person(
    office, states, registry, actor, settings, tmp_path, changed, picture
):
    def send(folder, row, photo):
        sent = Made()
        sent.add(row, portrait(photo))
        return office(sent.write(folder))

    send(tmp_path / "1", dict(PEOPLE[5]), 5)
    batch = freeze(registry, Month(2020, 5), actor)
    (package,) = assemble(settings, registry, batch.id, "034", actor)
    approve(registry, batch.id, "王处长", actor)
    SmallMonth(settings, registry).send(package)
    answer = "{ZSGLH},{KSXM},{ZJHM},SD1,已印制,,20200801".format(**PEOPLE[5])
    Authority(settings, registry, actor, tmp_path).applied(answer)
    send(tmp_path / "2", PEOPLE[5] | changed, picture)
    assert states() == ["PRINTED", "HELD"]
    with registry.read() as conn:
        (said,) = conn.scalars(text("SELECT message FROM findings WHERE rule = 'DUP-DIFFERENT'"))
    assert "已收到的第 1 版（新证书已经印制" in said


def test_a_slip_takes_the_sound_photos_of_the_earlier_version(office, states, registry, settings, tmp_path):
    """One row to mend, its photo sound; the other's photo was bad and has to come again."""
    first = Made()
    first.rows = [PEOPLE[5] | {"XB": ""}, OTHER, PEOPLE[0]]
    first.photos = {PEOPLE[5]["ZP"]: portrait(5), OTHER["ZP"]: b"\xff\xd8\xff no photo"}
    slip = office(first.write(tmp_path / "1"))["退回单"]
    assert states() == ["RETURNED", "RETURNED", "ACCEPTED"]
    answers = office(mended(slip, tmp_path, "XB", PEOPLE[5]["XB"]))
    receipt = answers["回执"].read_text("utf-8-sig")
    assert "沿用此前报送的照片 1 行" in receipt
    assert "PHOTO-MISSING：1 处" in receipt
    assert states() == ["RETURNED", "RETURNED", "ACCEPTED", "ACCEPTED", "RETURNED"]
    with registry.read() as conn:
        photo, outcome = conn.execute(
            text("SELECT e.sha256, e.outcome FROM rows r JOIN entries e ON e.id = r.photo_entry_id WHERE r.id = 4")
        ).one()
    assert (photo, outcome) == (hashlib.sha256(portrait(5)).hexdigest(), "accepted")
    sheets = [page.read_text("utf-8") for page in settings.contact_sheets.rglob("*F000002*.html")]
    assert sum(page.count("<figure") for page in sheets) == 1


def mended(slip: Path, folder: Path, field: str, value: str, *, row: int = 1):
    """The slip with one cell of its first row, or another one, corrected, sent back as it is."""
    book = openpyxl.load_workbook(slip)
    cells = next(row for row in book.active.iter_rows() if any(str(cell.value).startswith("ZSGLH") for cell in row))
    (column,) = [cell.column for cell in cells if str(cell.value).partition("\n")[0] == field]
    book.active.cell(cells[0].row + row, column, value).number_format = "@"
    target = folder / slip.name
    folder.mkdir(parents=True, exist_ok=True)
    book.save(target)
    return received(target, target.read_bytes())


@pytest.mark.parametrize(("end", "row"), [(".jpeg", {}), (".JPG", {"KSXM": "改名"})])
def test_p23_z29_two_photos_of_a_row_still_wait_when_its_slip_comes_back(
    office, states, registry, settings, tmp_path, end, row
):
    """Held or returned: nobody has said which of the two is meant, so that no slip without a photo settles it."""
    number = PEOPLE[5]["ZJHM"]
    first = Made(rows=[PEOPLE[5] | row, PEOPLE[0] | {"XB": ""}])
    first.photos = {f"{number}.jpg": portrait(5), f"{number}{end}": portrait(6)}
    slip = office(first.write(tmp_path / "1"))["退回单"]
    for version in ("2", "3"):
        file = mended(slip, tmp_path / version, "KSXM", PEOPLE[5]["KSXM"])
        file = mended(file.path, tmp_path / f"{version}-too", "XB", PEOPLE[0]["XB"], row=2)
        slip = office(file)["退回单"]
        assert "待人工确认的行：6" in next(settings.feedback.rglob(f"*F00000{version}-回执.txt")).read_text("utf-8-sig")
    assert states().count("HELD") == 1
    (hold,) = [one for one in holds.queue(registry) if one.kind == "row"]
    with registry.read() as conn:
        assert len(ledger.photos_of(conn, hold)) == 2, "a person can see both"
    alone = Made(rows=[PEOPLE[5]], photos={f"{number}.jpg": portrait(6)})
    office(alone.write(tmp_path / "4"))
    assert states().count("HELD") == 0
    with registry.read() as conn:
        printed = "SELECT e.sha256 FROM rows r JOIN entries e ON e.id = r.photo_entry_id WHERE r.state = 'ACCEPTED'"
        assert list(conn.scalars(text(printed))) == [hashlib.sha256(portrait(6)).hexdigest()]


def test_p23_the_photo_a_person_chose_stays_chosen_when_the_sheet_comes_again(
    office, states, registry, settings, actor, tmp_path
):
    number = PEOPLE[5]["ZJHM"]
    first = Made(rows=[PEOPLE[5], PEOPLE[0] | {"XB": ""}])
    first.photos = {f"{number}.jpg": portrait(5), f"{number}.jpeg": portrait(6)}
    slip = office(first.write(tmp_path / "1"))["退回单"]
    office(mended(slip, tmp_path / "2", "XB", PEOPLE[0]["XB"], row=2))
    (hold,) = [one for one in holds.queue(registry) if one.kind == "row"]
    with registry.read() as conn:
        other = list(ledger.photos_of(conn, hold))[1]
    decision = holds.Decision("accept", "王处长", "核对过", photo=other)
    holds.decide(settings, registry, [hold.record], decision, actor)
    office(made(tmp_path / "3", PEOPLE[5], PEOPLE[0]))
    assert states() == ["ACCEPTED", "RETURNED", "IGNORED", "ACCEPTED", "IGNORED", "IGNORED"]
    with registry.read() as conn:
        printed = conn.scalar(
            text("SELECT e.sha256 FROM rows r JOIN entries e ON e.id = r.photo_entry_id WHERE r.id = 1")
        )
    assert printed == hashlib.sha256(portrait(6)).hexdigest()


@pytest.mark.parametrize("zipped", [False, True])
def test_a_slip_sent_back_corrected_is_the_next_version(office, states, tmp_path, zipped):
    bad = PEOPLE[1] | {"XB": ""}
    slip = office(made(tmp_path / "1", PEOPLE[0], bad, PEOPLE[2]))["退回单"]
    book = openpyxl.load_workbook(slip)
    (head,) = [row for row in book.active.iter_rows() if row[0].value == "ZSGLH"]
    place = {str(cell.value).partition("\n")[0]: cell for cell in head}
    book.active.cell(head[0].row + 1, place["XB"].column, PEOPLE[1]["XB"]).number_format = "@"
    mended = tmp_path / slip.name
    book.save(mended)
    if zipped:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.write(mended, slip.name)
        file = received(tmp_path / slip.with_suffix(".zip").name, out.getvalue())
    else:
        file = received(mended, mended.read_bytes())
    receipt = office(file)["回执"].read_text("utf-8-sig")
    assert "结论：全部接收" in receipt
    assert "第 2 版" in receipt
    assert states() == ["ACCEPTED", "RETURNED", "ACCEPTED", "ACCEPTED"]
    assert "更正办法" not in receipt, "nothing about the slip's own name, title, columns and format"


def test_n04_z44_the_slip_of_a_file_that_waits_as_a_whole_waits_with_it(
    office, states, registry, settings, actor, tmp_path
):
    held = Made(rows=[PEOPLE[0], PEOPLE[1] | {"XB": ""}, PEOPLE[2]], count=4)
    slip = office(held.write(tmp_path / "1"))["退回单"]
    again = office(mended(slip, tmp_path / "2", "XB", PEOPLE[1]["XB"], row=2))["回执"].read_text("utf-8-sig")
    assert "接收 0" in again
    assert "FILE-WAITS 退回单所属的文件（回执编号 F000001）没有整个受理" in again
    assert "已有变化" not in again
    assert [(one.record, one.rows) for one in holds.queue(registry)] == [("F000001", 0), ("F000002", 3)]
    for record in ("F000001", "F000002"):
        decision = holds.Decision("judge", "王处长", "少报的一人另行申报")
        holds.decide(settings, registry, [record], decision, actor)
    assert states()[3:] == ["ACCEPTED"] * 3
    assert not any(examine(registry, settings).values())


def test_z44_the_slip_of_a_held_exam_beside_others_waits_with_it(office, states, registry, actor, settings, tmp_path):
    advisors = [person(serial) | {"ZSGLH": f"20180932437000000{serial}", "BKJB": "", "BKZY": ""} for serial in (8, 9)]
    known = [one | {"KSDM": "932", "KSMC": "咨询工程师(投资)"} for one in advisors]
    certificates.load(registry, actor, write_registry(tmp_path / "more.csv", known))
    both = Made(rows=[PEOPLE[0]])
    other = Made(code="932", exam="咨询工程师(投资)", rows=[advisors[0], advisors[1] | {"XB": ""}], count=9)
    both.extra[f"{other.stem}.XLS"] = excel.write_xls(FIELDS, [[row[name] for name in FIELDS] for row in other.rows])
    slip = office(both.write(tmp_path))["退回单"]
    assert states() == ["ACCEPTED", "HELD", "RETURNED"]
    office(mended(slip, tmp_path, "XB", advisors[1]["XB"], row=2))
    assert [(one.record, one.rows) for one in holds.queue(registry)] == [("F000002", 2)]


def test_n04_the_slip_of_a_file_that_a_person_sent_back_as_a_whole_waits(
    office, states, registry, actor, settings, tmp_path
):
    slip = office(Made(rows=[PEOPLE[0], PEOPLE[1] | {"XB": ""}], count=4).write(tmp_path / "1"))["退回单"]
    holds.decide(settings, registry, ["F000001"], holds.Decision("return", "王处长", "少报两人"), actor)
    receipt = office(mended(slip, tmp_path / "2", "XB", PEOPLE[1]["XB"], row=2))["回执"].read_text("utf-8-sig")
    assert "回执编号 F000001）没有整个受理" in receipt
    assert [(one.record, one.rows) for one in holds.queue(registry)] == [("F000002", 2)]
    office(Made(rows=[PEOPLE[0], PEOPLE[1]]).write(tmp_path / "3"))
    assert states()[4:] == ["ACCEPTED", "ACCEPTED"]


def test_n04_the_slip_of_the_version_that_took_a_waiting_ones_place_goes_on(office, states, tmp_path):
    rows = [PEOPLE[0], PEOPLE[1] | {"XB": ""}]
    first = office(Made(rows=rows, count=4).write(tmp_path / "1"))["退回单"]
    slip = office(Made(rows=rows).write(tmp_path / "2"))["退回单"]
    assert states() == ["RETURNED", "RETURNED", "ACCEPTED", "RETURNED"]
    office(mended(slip, tmp_path / "3", "XB", PEOPLE[1]["XB"]))
    assert states()[4:] == ["ACCEPTED"]
    again = office(mended(first, tmp_path / "4", "XB", PEOPLE[1]["XB"], row=2))["回执"].read_text("utf-8-sig")
    assert "忽略 2" in again


def test_n04_the_slip_of_a_file_that_a_person_let_in_goes_on(office, states, registry, actor, settings, tmp_path):
    held = Made(rows=[PEOPLE[0], PEOPLE[1] | {"XB": ""}, PEOPLE[2] | {"XB": "女"}], count=4)
    slip = office(held.write(tmp_path / "1"))["退回单"]
    holds.decide(settings, registry, ["F000001"], holds.Decision("judge", "王处长", "人数写错"), actor)
    assert states() == ["ACCEPTED", "RETURNED", "HELD"]
    office(mended(slip, tmp_path / "2", "XB", PEOPLE[1]["XB"], row=2))
    assert states() == ["ACCEPTED", "RETURNED", "HELD", "IGNORED", "ACCEPTED", "IGNORED"]


@pytest.mark.parametrize("lane", ["month", "trial"])
def test_the_slip_of_a_zip_under_any_name_comes_back_as_it_is(office, tmp_path, lane):
    sent = Made(rows=[PEOPLE[0] | {"XB": ""}]).write(tmp_path, name="5月一建.zip")
    slip = office(sent, lane=lane)["退回单"]
    receipt = office(mended(slip, tmp_path, "XB", PEOPLE[0]["XB"]), lane=lane)["回执"].read_text("utf-8-sig")
    assert "结论：全部接收" in receipt


def test_each_exam_of_one_zip_has_a_slip_of_its_own_that_comes_back(
    office, states, registry, actor, settings, tmp_path
):
    advisor = person(8) | {"ZSGLH": "201809324370000008", "BKJB": "", "BKZY": ""}
    known = write_registry(tmp_path / "more.csv", [advisor | {"KSDM": "932", "KSMC": "咨询工程师(投资)"}])
    certificates.load(registry, actor, known)
    both = Made(rows=[PEOPLE[0] | {"XB": ""}])
    other = Made(rows=[advisor | {"XB": ""}], code="932", exam="咨询工程师(投资)")
    both.extra[f"{other.stem}.XLS"] = excel.write_xls(FIELDS, [[row[name] for name in FIELDS] for row in other.rows])
    office(both.write(tmp_path))
    slips = sorted(settings.feedback.rglob("*退回单*"))
    assert [slip.name for slip in slips] == [f"{one.stem}-F000001-退回单.xlsx" for one in (both, other)]
    for slip, row in zip(slips, (PEOPLE[0], advisor), strict=True):
        office(mended(slip, tmp_path, "XB", row["XB"]))
    assert states() == ["RETURNED", "RETURNED", "ACCEPTED", "ACCEPTED"]


def test_d25_one_photo_of_a_person_with_two_exams_serves_both(office, states, registry, actor, settings, tmp_path):
    photo_of, again = PEOPLE[5], PEOPLE[5] | {"ZSGLH": "201009324370000009", "BKJB": "", "BKZY": ""}
    known = write_registry(tmp_path / "more.csv", [again | {"KSDM": "932", "KSMC": "咨询工程师(投资)"}])
    certificates.load(registry, actor, known)
    both, other = Made(rows=[photo_of | {"XB": ""}]), Made(code="932", exam="咨询工程师(投资)", rows=[again])
    both.extra[f"{other.stem}.XLS"] = excel.write_xls(FIELDS, [[again[name] for name in FIELDS]])
    both.extra[photo_of["ZP"]] = portrait(5)
    receipt = office(both.write(tmp_path, name="五月.zip"))["回执"].read_text("utf-8-sig")
    assert states() == ["RETURNED", "ACCEPTED"]
    assert f"与其他考试共用的照片（1 张）：\r\n  {photo_of['ZP']}：接收" in receipt.replace("\n", "\r\n")
    assert "沿用此前" not in receipt
    with registry.read() as conn:
        outcomes = list(conn.scalars(text("SELECT outcome FROM entries WHERE role = 'photo'")))
        used = list(conn.scalars(text("SELECT photo_entry_id IS NOT NULL FROM rows ORDER BY id")))
    assert (outcomes, used) == (["accepted"], [True, True])


def test_no_slip_replaces_another_and_none_promises_what_no_name_can_keep(office, settings, tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, person_ in zip(("一建.XLS", "二建.XLS"), PEOPLE, strict=False):
            archive.writestr(name, excel.write_xls(FIELDS, [[person_[field] for field in FIELDS]]))
    office(received(tmp_path / "五月.zip", out.getvalue()))
    slips = sorted(slip.name for slip in settings.feedback.rglob("*退回单*"))
    assert slips == ["五月-F000001-退回单-2.xlsx", "五月-F000001-退回单.xlsx"]
    for slip in settings.feedback.rglob("*退回单*"):
        words = [str(cell.value) for row in openpyxl.load_workbook(slip).active.iter_rows() for cell in row]
        assert not any("直接把本表传回" in word for word in words)


def test_t13_a_later_month_may_come_before_an_earlier_one(office, states, registry, tmp_path):
    office(made(tmp_path / "1", PEOPLE[0], month="202006"))
    office(made(tmp_path / "2", PEOPLE[1], month="202005"))
    assert states() == ["ACCEPTED", "ACCEPTED"]
    with registry.read() as conn:
        assert list(conn.scalars(text("SELECT month FROM submissions ORDER BY id"))) == ["202006", "202005"]


def test_photos_of_a_submission_lie_on_one_page(office, settings, tmp_path):
    sent = Made()
    sent.add(PEOPLE[5], portrait(5))
    sent.photos["37010219600101001X.jpg"] = portrait(6)
    sent.photos["坏.jpg"] = b"\xff\xd8\xff no photo"
    office(sent.write(tmp_path / "1"))
    [page] = settings.contact_sheets.rglob("*.*")
    words = page.read_text("utf-8")
    assert words.count("<figure") == 3
    assert "第 2 行" in words
    assert "白边 100%" in words
    assert "无法解码" in words
    assert "PHOTO-EXTRA" in words
    assert PEOPLE[5]["ZJHM"] not in words
    assert "370102" not in words
    pictures = [base64.b64decode(one) for one in re.findall(r"base64,([^\"]+)", words)]
    assert [photo.measure(one)["photo_width"] for one in pictures] == [99, 99]
    assert page.stat().st_mode & 0o077 == 0


def test_every_field_of_the_slip_is_read_back_under_its_heading():
    from certflow.findings import FIELD_NAMES
    from certflow.intake.workbook import header_field

    assert [header_field(f"{name}\n{FIELD_NAMES[name]}") for name in FIELDS] == list(FIELDS)


def test_each_exam_of_one_zip_has_a_page_of_its_own(office, settings, tmp_path):
    one, other = Made(), Made(code="902", exam="注册税务师")
    one.add(PEOPLE[5], portrait(5))
    other.add(PEOPLE[5] | {"ZSGLH": "200909034370009999"}, portrait(5))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for part in (one, other):
            with zipfile.ZipFile(part.write(tmp_path / part.code).path) as whole:
                for name in whole.namelist():
                    archive.writestr(name, whole.read(name))
    office(received(tmp_path / "两个考试.zip", out.getvalue()))
    assert len(list(settings.contact_sheets.rglob("*.html"))) == 2


def test_many_photos_go_on_several_pages(office, settings, tmp_path, monkeypatch):
    monkeypatch.setattr("certflow.checks.contact_sheet.PER_PAGE", 1)
    sent = Made()
    sent.add(PEOPLE[5], portrait(5))
    sent.photos["37010219600101001X.jpg"] = portrait(6)
    office(sent.write(tmp_path / "1"))
    names = sorted(path.name.partition("照片")[2] for path in settings.contact_sheets.rglob("*.*"))
    assert names == ["-2.html", ".html"]


def nested(path, *inner):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in inner:
            archive.writestr(file.name, file.path.read_bytes())
    return received(path, out.getvalue())


def test_z16_an_agreed_zip_of_zips_is_received_exam_by_exam(registry, actor, settings, office, states, tmp_path):
    agreed = replace(settings, nested_zip="one-level")
    with_photo = Made(month="202006")
    with_photo.add(PEOPLE[5], portrait(5))
    inner = [made(tmp_path / "1", *PEOPLE[:2]), with_photo.write(tmp_path / "2")]
    outer = nested(tmp_path / "济南市.zip", *inner)
    answers = office(outer, agreed)
    assert "内含 2 个考试数据包" in answers["回执"].read_text("utf-8-sig")
    assert states() == ["ACCEPTED"] * 3
    answers = office(inner[1], agreed)
    assert "完全相同" in answers["回执"].read_text("utf-8-sig")
    assert states() == ["ACCEPTED"] * 3


@pytest.mark.parametrize("agreement", ["refuse", "one-level"])
def test_z16_z17_deeper_or_not_agreed_a_zip_of_zips_is_returned(settings, tmp_path, agreement):
    one = made(tmp_path / "1", PEOPLE[0])
    flat = nested(tmp_path / "济南市.zip", one)
    (tmp_path / "2").mkdir()
    deep = nested(tmp_path / "2" / one.name, one)
    deeper = nested(tmp_path / "济南市2.zip", deep)
    agreed = replace(settings, nested_zip=agreement)
    found = check([flat, deeper], agreed, load_reference(agreed), registry=None)
    wanted = ["returned", "returned"] if agreement == "refuse" else ["accepted", "returned"]
    assert [one.verdict for one in found] == wanted
    assert [one.as_json(rows=False, unmasked=False)["file"] for one in found] == [str(flat.path), str(deeper.path)]


def test_p22_a_photo_that_waits_for_its_row_is_taken_when_the_number_is_mended(office, registry, tmp_path):
    """The number in the sheet was mistyped, the photo named rightly: it waits as nobody's until the row comes."""
    right = PEOPLE[5]
    wrong = Made(rows=[right | {"ZJHM": OTHER["ZJHM"], "ZP": ""}], photos={f"{right['ZJHM']} 照片.jpg": portrait(6)})
    office(wrong.write(tmp_path / "1"))
    office(made(tmp_path / "2", right))
    with registry.read() as conn:
        assert list(conn.execute(text("SELECT state FROM rows ORDER BY id")).scalars()) == ["RETURNED", "ACCEPTED"]
        assert list(conn.execute(text("SELECT outcome FROM entries WHERE role = 'photo'")).scalars()) == ["accepted"]


def mistyped(row):
    """The row with a number that can be nobody's."""
    return row | {"ZJHM": row["ZJHM"][:17] + ("0" if row["ZJHM"][17] != "0" else "1")}


@pytest.mark.parametrize("called", ["as the sheet", "rightly"])
def test_d01_the_photo_of_a_mistyped_number_comes_along_when_the_slip_is_corrected(
    office, states, registry, tmp_path, called
):
    """What the answer asks for is done, the number mended: nothing else is wrong with the row."""
    wrong = mistyped(PEOPLE[5])
    name = f"{(wrong if called == 'as the sheet' else PEOPLE[5])['ZJHM']}.jpg"
    first = Made(rows=[wrong | {"ZP": name, "XB": ""}], photos={name: portrait(5)})
    slip = office(first.write(tmp_path / "1"))["退回单"]
    slip = office(mended(slip, tmp_path / "2", "ZJHM", PEOPLE[5]["ZJHM"]))["退回单"]  # XB was forgotten
    receipt = office(mended(slip, tmp_path / "3", "XB", PEOPLE[5]["XB"]))["回执"].read_text("utf-8-sig")
    assert "沿用此前报送的照片 1 行" in receipt
    assert states() == ["RETURNED", "RETURNED", "ACCEPTED"]
    with registry.read() as conn:
        assert list(conn.scalars(text("SELECT outcome FROM entries WHERE role = 'photo'"))) == ["accepted"]


def test_d01_a_photo_under_a_number_that_may_be_anothers_comes_along_for_nobody_else(office, states, tmp_path):
    """A sound number in the wrong row: the photo is its owner's. Nor does one serve two rows of one mistyped number."""
    taken = Made(rows=[PEOPLE[5] | {"ZJHM": OTHER["ZJHM"]}], photos={f"{OTHER['ZJHM']}.jpg": portrait(7)})
    slip = office(taken.write(tmp_path / "1"))["退回单"]
    office(mended(slip, tmp_path / "2", "ZJHM", PEOPLE[5]["ZJHM"]))
    wrong = mistyped(PEOPLE[5])["ZJHM"]
    both = Made(rows=[PEOPLE[5] | {"ZJHM": wrong}, OTHER | {"ZJHM": wrong}], photos={f"{wrong}.jpg": portrait(5)})
    slip = office(both.write(tmp_path / "3"))["退回单"]
    office(mended(slip, tmp_path / "4", "ZJHM", PEOPLE[5]["ZJHM"]))
    assert set(states()) == {"RETURNED"}


def test_d01_a_photo_under_one_mistyped_number_of_two_people_comes_along_for_neither(office, states, tmp_path):
    wrong = mistyped(PEOPLE[5])["ZJHM"]
    both = Made(rows=[PEOPLE[5] | {"ZJHM": wrong}, OTHER | {"ZJHM": wrong}], photos={f"{wrong}.jpg": portrait(5)})
    office(both.write(tmp_path / "1"))
    office(made(tmp_path / "2", PEOPLE[5], OTHER))
    assert set(states()) == {"RETURNED"}


def test_d36_a_new_photo_that_the_sheet_names_takes_the_place_of_the_earlier_one(office, states, registry, tmp_path):
    """There is one photo in the zip: nobody is told to leave one out."""
    first = Made(rows=[PEOPLE[5] | {"XB": ""}], photos={PEOPLE[5]["ZP"]: portrait(5)})
    office(first.write(tmp_path / "1"))
    again = Made(rows=[PEOPLE[5] | {"ZP": "新照片.jpg"}], photos={"新照片.jpg": portrait(6)})
    assert "PHOTO-DOUBLE" not in office(again.write(tmp_path / "2"))["回执"].read_text("utf-8-sig")
    assert states() == ["RETURNED", "ACCEPTED"]
    with registry.read() as conn:
        printed = conn.scalar(
            text("SELECT e.sha256 FROM rows r JOIN entries e ON e.id = r.photo_entry_id WHERE r.id = 2")
        )
    assert printed == hashlib.sha256(portrait(6)).hexdigest()


def test_d38_the_photos_of_a_file_with_swapped_columns_come_along_with_its_slip(
    office, states, registry, actor, tmp_path
):
    """Nobody's in the returned file, whose numbers were none; the answer asks for the columns alone."""
    people = [person(serial, photo=True) | {"ZP": ""} for serial in range(300, 320)]
    certificates.load(registry, actor, write_registry(tmp_path / "more.csv", people))
    first = Made(rows=[row | {"KSXM": row["ZJHM"], "ZJHM": row["KSXM"]} for row in people])
    first.photos = {f"{row['ZJHM']}.jpg": portrait(100 + at) for at, row in enumerate(people)}
    slip = office(first.write(tmp_path / "1"))["退回单"]
    for at, row in enumerate(people, start=1):
        for field in ("KSXM", "ZJHM"):
            slip = mended(slip, tmp_path / "2", field, row[field], row=at).path
    office(received(slip, slip.read_bytes()))
    assert states() == ["RETURNED"] * 20 + ["ACCEPTED"] * 20

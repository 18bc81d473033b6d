"""What shows only across files, cities and months (BAD-INPUTS D24-D27, D38, D39)."""

import hashlib
import io

import pytest
from made_submissions import Made, person, portrait, write_registry
from PIL import Image, ImageEnhance
from sqlalchemy import text
from test_check_city import deliver, sound, states

from certflow import likeness
from certflow.checks import run
from certflow.checks.holds import Decision, decide
from certflow.checks.run import check, check_city
from certflow.dispatch.assemble import assemble
from certflow.dispatch.freeze import freeze
from certflow.month import Month
from certflow.reference import load_reference
from certflow.registry import certificates, holds, packages, portraits, proofs

PEOPLE = [person(serial) for serial in range(1, 31)]


@pytest.fixture
def office(settings, registry, actor, tmp_path):
    """Take one file of a city in; the rules its rows were said to break, by row."""
    more = [PEOPLE[0] | {"ZSGLH": f"20180903437000900{n}", "BKZY": "公路工程"} for n in (1, 2)]
    pictured = [person(serial, photo=True) for serial in range(41, 57)]
    # Old records say no city: with one, each of the other city's rows would be told so as well.
    known = write_registry(tmp_path / "r.csv", [*PEOPLE, *more, *pictured], BMS=lambda _: "")
    certificates.load(registry, actor, known)

    def take(made, account="370100"):
        deliver(settings, registry, actor, made, account)
        report = check_city(settings, registry, account, actor)
        with registry.read() as conn:
            query = "SELECT row_no, rule FROM findings WHERE file_id = :file AND row_no IS NOT NULL ORDER BY row_no, id"
            found = conn.execute(text(query), {"file": report.files[0]})
            return [(row.row_no, row.rule) for row in found]

    return take


def test_one_person_in_two_cities_in_one_month_is_said_to_be(office, registry, settings):
    assert office(Made(rows=[dict(PEOPLE[0])])) == []
    other = {"ZSGLH": "201809034370009001", "BKZY": "公路工程"}
    third = {"ZSGLH": "201809034370009002", "BKZY": "公路工程"}
    next_month = Made(rows=[PEOPLE[0] | third | {"BMS": "青岛市"}], city="青岛市", month="202006")
    assert office(next_month, "370200") == []
    same_month = Made(rows=[PEOPLE[0] | other | {"BMS": "淄博市"}], city="淄博市")
    assert (2, "DUP-PERSON-CITY") in office(same_month, "370300")
    with registry.read() as conn:
        message = conn.scalar(text("SELECT message FROM findings WHERE rule = 'DUP-PERSON-CITY'"))
    assert message == "同一人本月还在济南市申报。"
    assert sound(registry, settings)


@pytest.fixture
def together(office, settings, registry, actor):
    """Take files of one city in at one look; state and what is said of repeats, of each row in turn."""

    def take(*mades):
        for made in mades:
            deliver(settings, registry, actor, made, "370100")
        check_city(settings, registry, "370100", actor)
        query = """SELECT r.state, array_remove(array_agg(n.message ORDER BY n.id), NULL) FROM rows r
            LEFT JOIN findings n ON n.row_id = r.id AND n.rule LIKE 'DUP-%' GROUP BY r.id ORDER BY r.id"""
        with registry.read() as conn:
            return [tuple(row) for row in conn.execute(text(query))]

    return take


@pytest.mark.parametrize("turned", [False, True])
def test_d27_of_two_months_in_one_look_only_the_later_is_held(together, registry, settings, turned):
    mades = [Made(rows=[dict(PEOPLE[0])], month=month) for month in ("202004", "202005")]
    found = together(*(reversed(mades) if turned else mades))
    assert sorted(found) == [("ACCEPTED", []), ("HELD", ["该管理号已在 202004 申报，尚未办结。"])]
    assert sound(registry, settings)


def test_a_copy_under_another_exam_that_goes_back_holds_nobody(together, registry, settings):
    wrong = Made(rows=[dict(PEOPLE[0]), dict(PEOPLE[1])], code="932", exam="咨询工程师(投资)")
    found = together(wrong, Made(rows=[dict(PEOPLE[0])]))
    assert found == [("RETURNED", []), ("RETURNED", []), ("ACCEPTED", [])]
    assert sound(registry, settings)


def test_d24_a_row_that_goes_back_holds_nobodys_in_one_call_either(settings, tmp_path):
    one, other = Made(rows=[dict(PEOPLE[0])]), Made(rows=[PEOPLE[0] | {"BMS": "青岛市", "XB": ""}], city="青岛市")
    files = [one.write(tmp_path / "a"), other.write(tmp_path / "b", account="370200")]
    judged = check(files, settings, load_reference(settings), registry=None)
    assert [one.verdict for one in judged] == ["accepted", "returned"]


def test_one_number_under_two_exams_is_held_in_both_and_said_to_be(settings, tmp_path):
    row = {"BKJB": "", "BKZY": ""}
    one, other = (
        Made(rows=[PEOPLE[0] | row], code=code, exam=exam)
        for code, exam in (("902", "注册税务师"), ("907", "价格鉴证师"))
    )
    files = [one.write(tmp_path / "a"), other.write(tmp_path / "b")]
    judged = check(files, settings, load_reference(settings), registry=None)
    said = [found.message for one in judged for found in one.findings if found.rule.startswith("DUP-")]
    assert [one.verdict for one in judged] == ["held", "held"]
    assert said == [f"该管理号已在另一文件第 2 行（考试代码 {code}）申报，尚未办结。" for code in ("907", "902")]


def test_a_corrected_row_is_not_held_by_what_it_corrects_in_another_file(together, registry, settings):
    found = together(Made(rows=[PEOPLE[0] | {"XB": ""}]), Made(rows=[dict(PEOPLE[0])], extra={"说明.txt": b"2"}))
    assert found == [("RETURNED", []), ("HELD", [])]  # with its file alone: two workbooks of one exam (Z45)
    assert sound(registry, settings)


def test_a_third_reissue_within_a_year_is_held_and_one_of_two_years_ago_counts_no_more(
    office, registry, actor, settings
):
    for month in ("201812", "201908", "201911"):
        office(Made(rows=[PEOPLE[0] | {"PZRQ": "20180915"}], month=month))
        with registry.begin(actor) as conn:
            for state in ("PACKED", "SENT", "REFUSED" if month == "201812" else "PRINTED"):
                conn.execute(text("UPDATE rows SET state = :state WHERE state <> 'REFUSED'"
                                  " AND id = (SELECT max(id) FROM rows)"), {"state": state})  # fmt: skip
    assert office(Made(rows=[dict(PEOPLE[0])], month="202008")) == []
    with registry.begin(actor) as conn:
        conn.execute(text("UPDATE rows SET state = 'WITHDRAWN' WHERE state = 'ACCEPTED'"))
    assert office(Made(rows=[dict(PEOPLE[0])], month="202005")) == [(2, "DUP-THIRD")]
    assert [state for _, state in states(registry)][-1] == "HELD"


def evidence(registry):
    """Record → the message of its PHOTO-SAME hold, as a person who may see it reads it."""
    with registry.read() as conn:
        return {one.record: one.evidence[0].message for one in holds.queue(conn) if "PHOTO-SAME" in one.rules}


def test_p17_one_photo_for_two_people_in_two_months_and_cities_holds_both(office, registry, settings):
    first, second = Made(month="202004"), Made(city="青岛市")
    first.add(person(41, photo=True), portrait(41))
    second.add(person(42, photo=True) | {"BMS": "青岛市"}, portrait(41))
    second.add(person(43, photo=True) | {"BMS": "青岛市"}, portrait(43))
    assert office(first) == []
    assert office(second, "370200") == [(2, "PHOTO-SAME")]
    assert [state for _, state in states(registry)] == ["WITHDRAWN", "HELD", "ACCEPTED", "HELD"]
    (notice,) = settings.feedback.rglob("补充通知*.txt")
    assert "另一人的申报用了相同或几乎相同的照片" in notice.read_text("utf-8-sig")
    assert sound(registry, settings)


def two_certificates(registry, actor, tmp_path, cities=("济南市", "青岛市")):
    """A person's two certificates, as two submissions with a photo each."""
    first = person(41, photo=True)
    second = first | {"ZSGLH": f"{first['ZSGLH'][:-3]}777", "BKZY": "公路工程", "BMS": cities[1]}
    certificates.load(registry, actor, write_registry(tmp_path / "two.csv", [second]))
    one, other = Made(city=cities[0]), Made(city=cities[1])
    one.add(first, portrait(5))
    other.add(second, portrait(6))
    return one, other


def printed(registry):
    """The photo of each row, in the order of the rows, and how every photo ended."""
    with registry.read() as conn:
        query = "SELECT e.sha256 FROM rows r JOIN entries e ON e.id = r.photo_entry_id ORDER BY r.id"
        ends = conn.scalars(text("SELECT outcome FROM entries WHERE role = 'photo' ORDER BY id"))
        return [*conn.scalars(text(query))], [*ends]


def digests(*photos):
    return [hashlib.sha256(photo).hexdigest() for photo in photos]


def test_another_photo_of_a_person_for_another_certificate_of_the_month_waits_for_a_person(
    office, registry, settings, actor, tmp_path
):
    one, other = two_certificates(registry, actor, tmp_path)
    assert office(one) == []
    assert (2, "PHOTO-OTHER") in office(other, "370200")
    assert [state for _, state in states(registry)] == ["ACCEPTED", "HELD"]
    with registry.read() as conn:
        (hold,) = holds.queue(conn)
        assert len(holds.photos_of(conn, hold)) == 2
    assert "370100-202005-034-000001" in hold.evidence[0].masked
    assert sound(registry, settings)


@pytest.mark.parametrize("change", ["the same photo", "another month"])
def test_the_same_photo_and_another_month_are_no_hold(office, registry, actor, tmp_path, change):
    one, other = two_certificates(registry, actor, tmp_path)
    if change == "another month":
        other.month = "202006"
    else:
        other.photos = dict(one.photos)
    office(one)
    assert "PHOTO-OTHER" not in {rule for _, rule in office(other, "370200")}
    assert [state for _, state in states(registry)] == ["ACCEPTED", "ACCEPTED"]


def test_of_two_files_that_are_judged_together_the_second_waits(settings, registry, actor, tmp_path):
    one, other = two_certificates(registry, actor, tmp_path, ("济南市", "济南市"))
    certificates.load(registry, actor, write_registry(tmp_path / "r.csv", one.rows))
    files = [one.write(tmp_path / "1"), other.write(tmp_path / "2")]
    judged = check(files, settings, load_reference(settings), registry=registry)
    assert ["PHOTO-OTHER" in row.rules for one in judged for row in one.rows] == [False, True]


@pytest.mark.parametrize("choice", ["its own", "the first"])
def test_the_photo_a_person_accepts_is_printed_for_both_certificates(
    office, registry, settings, actor, tmp_path, choice
):
    one, other = two_certificates(registry, actor, tmp_path)
    office(one)
    office(other, "370200")
    with registry.read() as conn:
        (hold,) = holds.queue(conn)
        tags = list(holds.photos_of(conn, hold))
    decision = Decision("accept", "王处长", "已看过照片", photo=tags[1] if choice == "the first" else None)
    decide(settings, registry, [hold.record], decision, actor)
    photo = portrait(5 if choice == "the first" else 6)
    ends = ["accepted", "ignored"] if choice == "the first" else ["ignored", "accepted"]
    assert printed(registry) == (digests(photo, photo), ends)
    assert sound(registry, settings)
    batch = freeze(registry, Month(2020, 5), actor)
    (package,) = assemble(settings, registry, batch.id, "034", actor)
    with registry.read() as conn:
        assert packages.package(conn, package).photo_count == 1
    assert sound(registry, settings)


def again(data, change):
    """A photo opened, changed and saved in the size a photo may have."""
    image = change(Image.open(io.BytesIO(data)).convert("RGB")).resize((295, 413), Image.Resampling.BICUBIC)
    for quality in range(95, 40, -5):
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality)
        if 10_240 <= out.tell() <= 30_720:
            return out.getvalue()
    raise AssertionError


CHANGES = {
    "saved": lambda image: image,
    "resized": lambda image: image.resize((180, 252)),
    "cropped": lambda image: image.crop((6, 4, 290, 405)),
    "brightened": lambda image: ImageEnhance.Brightness(image).enhance(1.08),
}


@pytest.mark.parametrize("change", CHANGES)
def test_p17_nearly_the_same_photo_in_another_city_and_month_holds_both_and_each_names_the_other(
    office, registry, settings, change
):
    first, second = Made(month="202004"), Made(city="青岛市")
    first.add(person(41, photo=True), portrait(41))
    second.add(person(42, photo=True) | {"BMS": "青岛市"}, again(portrait(41), CHANGES[change]))
    second.add(person(43, photo=True) | {"BMS": "青岛市"}, portrait(43))
    assert office(first) == []
    assert office(second, "370200") == [(2, "PHOTO-SAME")]
    assert [state for _, state in states(registry)] == ["WITHDRAWN", "HELD", "ACCEPTED", "HELD"]
    older, newer = "370100-202004-034-000001", "370200-202005-034-000001"
    assert evidence(registry) == {
        newer: f"与另一人的照片相同或几乎相同（{older}），请人工确认。",
        f"{older}-H": f"与另一人的照片相同或几乎相同（{newer}），请人工确认。",
    }
    assert sound(registry, settings)


def test_p17_the_other_photo_stays_where_it_is_when_its_request_is_settled(office, registry, settings, actor):
    first, second = Made(month="202004"), Made(city="青岛市")
    first.add(person(41, photo=True), portrait(41))
    second.add(person(42, photo=True) | {"BMS": "青岛市"}, again(portrait(41), CHANGES["cropped"]))
    office(first)
    with registry.begin(actor) as conn:
        for state in ("PACKED", "SENT", "PRINTED"):
            conn.execute(text("UPDATE rows SET state = :state"), {"state": state})
    assert office(second, "370200") == [(2, "PHOTO-SAME")]
    assert [state for _, state in states(registry)] == ["PRINTED", "HELD"]
    assert list(evidence(registry)) == ["370200-202005-034-000001"]


def test_p17_ones_own_photo_again_and_one_that_was_sent_back_are_no_hold(office, registry, settings, actor):
    first, second, third = Made(month="202004"), Made(month="202006"), Made(month="202007", city="青岛市")
    first.add(person(41, photo=True), portrait(41))
    office(first)
    with registry.begin(actor) as conn:
        for state in ("PACKED", "SENT", "REFUSED"):
            conn.execute(text("UPDATE rows SET state = :state"), {"state": state})
    second.add(person(41, photo=True), again(portrait(41), CHANGES["cropped"]))
    assert office(second) == []  # the same person, in a later month
    with registry.begin(actor) as conn:
        conn.execute(text("UPDATE rows SET state = 'WITHDRAWN' WHERE state = 'ACCEPTED'"))
    third.add(person(42, photo=True) | {"BMS": "青岛市"}, portrait(41))
    assert office(third, "370200") == []  # whoever had sent it with the wrong name took it back
    assert [state for _, state in states(registry)] == ["REFUSED", "WITHDRAWN", "ACCEPTED"]


@pytest.mark.parametrize(("change", "page"), [(None, 1 << 14), ("saved", 1 << 14), ("saved", 5)])
def test_p17_photos_that_were_sent_back_do_not_hide_an_older_one_that_goes_on(
    office, registry, settings, actor, monkeypatch, change, page
):
    """However many there are, and however few are brought at once: a photo gets no more than some second looks."""
    monkeypatch.setattr(portraits, "_PAGE", page)
    first, many, last = Made(month="202004"), Made(city="青岛市"), Made(month="202006", city="淄博市")
    first.add(person(41, photo=True), portrait(41))
    for serial in range(42, 42 + likeness.NEAREST + 1):
        many.add(person(serial, photo=True) | {"BMS": "青岛市"}, portrait(41))
    sent = again(portrait(41), CHANGES[change]) if change else portrait(41)
    last.add(person(56, photo=True) | {"BMS": "淄博市"}, sent)
    office(first)
    office(many, "370200")
    with registry.begin(actor) as conn:
        conn.execute(text("UPDATE rows SET state = 'RETURNED' WHERE record_id LIKE '370200-%'"))
    assert office(last, "370300") == [(2, "PHOTO-SAME")]
    assert evidence(registry)["370300-202006-034-000001"].startswith("与另一人的照片相同或几乎相同（370100-202004-")
    assert sound(registry, settings)


def test_p17_ones_own_photos_do_not_hide_anothers_that_is_older(office, registry, settings):
    own = {"BMS": "青岛市"}
    months = [f"{year}{month:02d}" for year in (2018, 2019) for month in range(1, 13)][: likeness.NEAREST + 2]
    first = Made(month="201712")
    first.add(person(41, photo=True), portrait(41))
    office(first)
    for month in months:
        later = Made(month=month, city="青岛市")
        later.add(person(42, photo=True) | own, portrait(41))
        found = office(later, "370200")
        assert (2, "PHOTO-SAME") in found, month
    said = evidence(registry)[f"370200-{months[-1]}-034-000001"]
    assert said.startswith("与另一人的照片相同或几乎相同（370100-201712-")
    assert sound(registry, settings)


def test_p17_e46_an_id_number_no_ledger_can_hold_is_nobodys(office, registry):
    first, someone = Made(month="202004"), person(41, photo=True)
    first.add(someone, portrait(41))
    office(first)
    with registry.read() as conn:
        [shelf] = portraits.standing(conn, 0, portraits.newest(conn), {"1\0", "\ud800", someone["ZJHM"]})
    assert shelf.persons == (someone["ZJHM"],)
    assert len(shelf.ids) == 1


def test_more_rows_than_a_statement_has_parameters_are_asked_for_and_moved(registry, actor):
    many = range(1, 70_000)
    with registry.begin(actor) as conn:
        assert portraits.owners(conn, many) == {}
        assert proofs.still(conn, many, ["PROOF"]) == set()
        assert proofs.closed(conn, many) == 0
        proofs.issued(conn, many)
        proofs.put_in_bundle(conn, many, "a bundle")
        holds.move_rows(conn, many, "ACCEPTED")
        holds.return_photos(conn, many)
        holds.mark_told(conn, many, [])


def test_p17_two_cities_at_once_do_not_miss_each_other(office, registry, settings, actor, monkeypatch):
    first, second = Made(month="202004"), Made(city="青岛市")
    first.add(person(41, photo=True), portrait(41))
    second.add(person(42, photo=True) | {"BMS": "青岛市"}, again(portrait(41), CHANGES["saved"]))
    deliver(settings, registry, actor, first, "370100")
    honest, turns = run.feedback.write, []

    def write(settings, account, lane, judged, **more):
        if account == "370200" and not turns:  # judged and not recorded yet: the other city is faster
            turns.append(check_city(settings, registry, "370100", actor))
        return honest(settings, account, lane, judged, **more)

    monkeypatch.setattr(run.feedback, "write", write)
    assert office(second, "370200") == [(2, "PHOTO-SAME")]
    assert len(turns) == 1
    assert not list((settings.feedback / "370200").rglob("*申请表*")), "the first attempt would have accepted it"
    assert [state for _, state in states(registry)] == ["WITHDRAWN", "HELD", "HELD"]
    assert sound(registry, settings)


SWAPS = {
    "姓名（KSXM）与证件号码": ("KSXM", "ZJHM"),
    "管理号（ZSGLH）与证件号码（ZJHM）": ("ZSGLH", "ZJHM"),
    "出生年月（CSNY）与批准日期（PZRQ）": ("CSNY", "PZRQ"),
    "级别（BKJB）与专业（BKZY）": ("BKJB", "BKZY"),
    "性别": ("XB", "ZJHM"),
}


@pytest.mark.parametrize("name", SWAPS)
def test_d38_swapped_columns_are_one_diagnosis_and_no_finding_per_row(name, settings, tmp_path):
    one, other = SWAPS[name]
    made = Made()
    for serial in range(1, 41):
        row = made.add(person(serial))
        if serial % 4:
            row[one], row[other] = row[other], row[one]
    (judged,) = check([made.write(tmp_path)], settings, load_reference(settings), registry=None)
    assert (judged.verdict, judged.file_reason) == ("returned", "BOOK-SHIFTED")
    serious = [found for found in judged.findings if found.severity in ("error", "hold")]
    assert [(found.rule, found.scope) for found in serious] == [("BOOK-SHIFTED", "file")]
    assert other in serious[0].message
    assert {row.rules for row in judged.rows} == {("BOOK-SHIFTED",)}


def test_d38_many_rows_with_one_fault_that_is_no_swap_are_judged_one_by_one(settings, tmp_path):
    made = Made(rows=[person(serial) | {"PZRQ": "20100915"} for serial in range(1, 26)])
    (judged,) = check([made.write(tmp_path)], settings, load_reference(settings), registry=None)
    assert judged.file_outcome == "accepted"
    assert {row.rules for row in judged.rows} == {("PHOTO-MISSING",)}

"""One certificate's story, proofs, deliveries, the city's page and the quality pages: what they show, and on record."""

import json
import os
import threading
import zipfile
from functools import cache
from io import BytesIO
from pathlib import Path

import pytest
from at_the_desk import sit_down, words
from desk_world import MARKUP, build
from openpyxl import load_workbook

from certflow import reference
from certflow.delivery import orders
from certflow.delivery.take import take_file
from certflow.registry.doctor import examine
from certflow.reports import appeals, scorecard
from certflow.reports.printing import DRAFT


@pytest.fixture
def world(settings, registry, actor, tmp_path):
    return build(settings, registry, actor, tmp_path)


@pytest.fixture
def plain(settings, registry, actor, tmp_path):
    """The province without prints and proofs: quicker."""
    return build(settings, registry, actor, tmp_path, papers=False)


@pytest.fixture
def at(settings, registry):
    return cache(lambda name="operator": sit_down(settings, registry, name))


def test_a_story_is_found_by_either_number_masked_and_unmasked_for_a_reason_on_record(world, at):
    number, name, record = world.ask(
        "SELECT ARRAY[r.management_no, r.name, r.record_id] FROM rows r WHERE r.state = 'PRINTED' ORDER BY id LIMIT 1"
    )[0]
    for asked in (number, record):
        page = at("viewer").get("/trace", params={"number": asked})
        assert "新证书：证书编号 SD" in words(page)
        assert "SENT" not in words(page)
        assert name not in page.text
    assert world.noted == []
    assert at("operator").post("/trace", data={"number": number, "reason": " "}).status_code == 400
    assert at("viewer").post("/trace", data={"number": number, "reason": "x"}).status_code == 403
    full = at("auditor").post("/trace", data={"number": number, "reason": f"信访件，{number}"})
    assert name in full.text
    (told,) = map(json.loads, world.noted)
    assert (told["by"], told["records"], number in told["reason"]) == ("auditor", [record], False)
    assert at("viewer").get("/trace", params={"number": "x" * 64}).status_code == 404
    assert "输入管理号" in words(at("viewer").get("/trace"))


def test_a_record_without_a_number_tells_its_own_story_alone(plain, at, registry, actor):
    from sqlalchemy import update

    from certflow.registry.schema import rows

    first, second = sorted(plain.held.values())
    with registry.begin(actor) as conn:
        conn.execute(update(rows).where(rows.c.record_id.in_([first, second])).values(management_no=""))
    page = words(at("viewer").get("/trace", params={"number": first}))
    assert first in page
    assert second not in page
    assert at("viewer").get("/trace", params={"number": ""}).status_code == 200


def test_a_city_sees_its_own_certificates_story_and_no_other(world, at):
    mine, theirs = (
        world.ask(f"SELECT record_id FROM rows WHERE record_id LIKE '{account}%' AND state = 'PRINTED'")[0]
        for account in ("370100", "370200")
    )
    assert at("jinan").get("/trace", params={"number": mine}).status_code == 200
    assert at("jinan").get("/trace", params={"number": theirs}).status_code == 404


def test_a_proof_is_taken_out_for_a_reason_on_record_and_revoked(world, at):
    number = world.ask("SELECT number FROM proofs WHERE account = '370100'")[0]
    page = at("viewer").get("/proofs")
    assert number in page.text
    assert "证济" not in page.text
    assert "证*" in page.text
    assert at("viewer").post("/proofs/page", data={"number": number, "reason": "x"}).status_code == 403
    assert at().post("/proofs/page", data={"number": number, "reason": ""}).status_code == 400
    pdf = at().post("/proofs/page", data={"number": number, "reason": "补打"})
    assert (pdf.headers["content-type"], pdf.content[:5]) == ("application/pdf", b"%PDF-")
    assert [json.loads(one)["number"] for one in world.noted] == [number]
    done = at().post("/proofs/revoke", data={"number": number, "reason": "姓名有误"}, follow_redirects=True)
    assert "已撤销" in words(done)
    assert at().post("/proofs/page", data={"number": "无此号", "reason": "x"}).status_code == 404


def test_deliveries_are_counted_listed_and_moved_along_the_graph_alone(world, at):
    page = at().get("/deliveries")
    assert "/deliveries?city=370100&amp;state=PRINTED" in page.text
    listed = at().get("/deliveries", params={"city": "370100", "state": "PRINTED"})
    assert "印*" in listed.text
    assert "印济" not in listed.text
    record = world.ask("SELECT r.record_id FROM rows r JOIN deliveries d ON d.row_id = r.id AND d.account = '370100'")
    form = {"record": record[0], "shown": "PRINTED", "state": "WITHHELD", "reason": "信息待核"}
    for name, value in (("record", record[0]), ("shown", "PRINTED")):
        assert f'<input type="hidden" name="{name}" value="{value}">' in listed.text
    assert at("viewer").post("/deliveries/move", data=form).status_code == 403
    assert at().post("/deliveries/move", data=form | {"state": "SENT"}).status_code == 400
    assert at().post("/deliveries/move", data=form | {"state": "SIGNED"}).status_code == 400  # no such step
    assert "暂扣" in words(at().post("/deliveries/move", data=form, follow_redirects=True))
    late = at().post("/deliveries/move", data=form | {"state": "KEPT"})  # the page was opened before that
    assert (late.status_code, "现在的状态是“暂扣”" in words(late)) == (400, True)
    assert at("viewer").get("/deliveries", params={"state": "nowhere"}).status_code == 404


def test_who_chooses_otherwise_after_the_order_for_ems_is_named(world, at, settings, registry, actor, tmp_path):
    query = "SELECT ARRAY[r.management_no, r.record_id] FROM rows r JOIN deliveries d ON d.row_id = r.id LIMIT 1"
    number, record = world.ask(query)[0]
    file, account = tmp_path / "choice.csv", record[:6]
    for way in ("邮寄,张三,13800000000,250000,某路1号", "自取,,,,"):
        assert "下单以后" not in words(at().get("/deliveries"))
        file.write_text(f"管理号,领取方式,收件人,联系电话,邮编,收件地址\n{number},{way}\n", encoding="utf-8")
        take_file(settings, registry, "choices", file, actor=actor, account=account)
        orders.order_list(settings, registry, account, "济南市", actor)
    page = at("viewer").get("/deliveries")
    assert "下单以后改了方式或地址：1 本" in words(page)
    assert f"/trace?number={record}" in page.text
    form = {"record": record, "shown": "PUSHED", "state": "PICKUP", "reason": "EMS 已撤单"}
    assert "下单以后" not in words(at().post("/deliveries/move", data=form, follow_redirects=True))


def test_an_appeal_is_filed_by_its_city_judged_by_the_province_and_leaves_the_score(plain, at, settings, registry):
    place = "/cities/370100/202006"
    page = words(at("jinan").get(place))
    assert "差错明细：1 条" in page
    finding = plain.errors["370100"]
    form = {"finding": str(finding), "reason": '=HYPERLINK("x")'}
    assert at("viewer").post(f"{place}/appeals", data=form).status_code == 403
    other = at("jinan").post(f"{place}/appeals", data=form | {"finding": str(plain.errors["370200"])})
    assert other.status_code == 404
    assert "等待判定" in words(at("jinan").post(f"{place}/appeals", data=form, follow_redirects=True))
    again = at("jinan").post(f"{place}/appeals", data=form)
    assert (again.status_code, "已有申诉" in words(again)) == (400, True)
    judged = {"verdict": "upheld", "reason": "属实"}
    assert at("jinan").post(f"{place}/appeals/1", data=judged).status_code == 403
    assert at().post("/cities/370200/202006/appeals/1", data=judged).status_code == 404
    assert at("approver").post(f"{place}/appeals/1", data=judged, follow_redirects=True).status_code == 200
    assert "申诉成立，不计" in words(at("jinan").get(place))
    (one,) = (score for score in scorecard.standing(settings, registry, "202006").cities if score.account == "370100")
    assert one.faulty == 0
    assert {name: lines for name, lines in examine(registry, settings).items() if lines} == {}


def test_papers_are_written_and_taken_by_their_own_names_alone(plain, at, settings):
    place = "/cities/370100/202006"
    assert "还没有写出这一期的评分表" in words(at("jinan").get(place))
    assert at("jinan").post(f"{place}/papers").status_code == 403
    at().post(f"{place}/papers")
    at().post("/cities/370200/202006/papers")
    name = "202006-370100-济南市-评分表.xlsx"
    assert name in at("jinan").get(place).text
    book = at("jinan").get(f"{place}/papers/{name}")
    assert (book.status_code, "attachment" in book.headers["content-disposition"]) == (200, True)
    cells = [cell for sheet in load_workbook(BytesIO(book.content)) for row in sheet.iter_rows() for cell in row]
    assert not [cell for cell in cells if cell.data_type == "f"]
    assert zipfile.ZipFile(BytesIO(book.content)).testzip() is None
    theirs = "202006-370200-青岛市-评分表.xlsx"
    assert at().get(f"/cities/370200/202006/papers/{theirs}").status_code == 200
    (settings.reports / "scores" / "secret.pdf").write_bytes(b"x")
    for path in (
        f"{place}/papers/{theirs}", f"/cities/370200/202006/papers/{theirs}", f"{place}/papers/..%2Fsecret.pdf",
        f"{place}/papers/..%2F..%2F..%2Faudit-heads.log", f"/cities/370100/..%2F/papers/{name}",
        f"/papers/202006/{name}",
        "/quality/docs/..%2F..%2F..%2Faudit-heads.log", "/quality/docs/2020/../../x.html",
    ):  # fmt: skip
        assert at("jinan").get(path).status_code in (403, 404), path
    for path in (f"{place}/papers/..%2Fsecret.pdf", "/papers/202006/..%2Fsecret.pdf", "/papers/..%2Fx/secret.pdf"):
        assert at().get(path).status_code == 404, path


def test_two_people_write_the_same_papers_at_once(plain, settings, registry):
    gate, told = threading.Barrier(3), []

    def press():
        at = sit_down(settings, registry)
        gate.wait()
        told.append(at.post("/cities/370100/202006/papers", follow_redirects=False).status_code)

    people = [threading.Thread(target=press) for _ in range(gate.parties)]
    for one in people:
        one.start()
    for one in people:
        one.join()
    assert told == [303] * gate.parties
    folder = settings.reports / "scores" / "202006"
    stem = "202006-370100-济南市-评分表"
    assert sorted(path.name for path in folder.iterdir()) == [f"{stem}.pdf", f"{stem}.xlsx"]
    assert zipfile.ZipFile(folder / f"{stem}.xlsx").testzip() is None


def test_the_draft_of_an_attempt_that_died_is_taken_away(plain, at, settings):
    folder = settings.reports / "scores" / "202006"
    folder.mkdir(parents=True)
    old, young = (folder / f"{DRAFT}{name}.part" for name in ("old", "young"))
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    at().post("/cities/370100/202006/papers")
    assert (old.exists(), young.exists()) == (False, True)


def test_a_city_that_came_after_closing_is_told_so_in_words(plain, settings, registry, actor, tmp_path):
    appeals.close(settings, registry, "202006", by="赵一", actor=actor)
    shipped = next(Path(reference.__file__).parent.rglob("cities.csv")).read_text("utf-8-sig").rstrip("\n")
    line = {"code": "370001", "name": "省直", "account": "370001"}
    file = tmp_path / "cities.csv"
    head = shipped.splitlines()[1].split(",")
    file.write_text(f"{shipped}\n{','.join(line.get(name, '') for name in head)}\n", "utf-8")
    reference.load_table(settings, "cities", file)
    at = sit_down(settings, registry)
    assert at.get("/cities/370001/202005").status_code == 200
    for answer in (at.get("/cities/370001/202006"), at.post("/cities/370001/202006/papers")):
        assert answer.status_code == 400
        assert "2020年6月结账时还没有这个地市：370001" in words(answer)


def test_an_error_nobody_foresaw_is_told_in_words_and_logged_without_values(plain, at, monkeypatch, caplog):
    def break_down(*_, **__):
        raise ValueError("110105********002X 张三")

    monkeypatch.setattr(scorecard, "standing", break_down)
    answer = at().get("/cities/370100/202006")
    assert answer.status_code == 500
    assert "系统出错，未能完成" in words(answer)
    assert answer.headers["cache-control"] == "no-store"
    assert "ValueError" in caplog.text
    assert "break_down" in caplog.text
    assert "张三" not in caplog.text + answer.text


def test_quality_tells_each_rules_history_and_shows_data_docs_without_their_scripts(plain, at, settings):
    page = words(at("viewer").get("/quality"))
    assert "DB-NAME" in page
    assert "2/" in page  # 济南 and 青岛
    assert "1/" in words(at("jinan").get("/quality"))
    rule = words(at("viewer").get("/quality/DB-NAME"))
    assert "各市" in rule
    assert "各市" not in words(at("jinan").get("/quality/DB-NAME"))
    assert at("viewer").get("/quality/NO-RULE").status_code == 404
    docs = settings.reports / "data-docs" / "2020"
    docs.mkdir(parents=True)
    (docs.parent / "index.html").write_text("<a href='2020/x.html'>2020</a>", encoding="utf-8")
    (docs / "x.html").write_text("<script>alert(1)</script>", encoding="utf-8")
    shown = at("viewer").get("/quality/docs", follow_redirects=True)
    assert "2020/x.html" in shown.text
    policy = at("viewer").get("/quality/docs/2020/x.html").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "allow-scripts" not in policy
    assert at("jinan").get("/quality/docs/2020/x.html").status_code == 403


def test_an_exam_shows_its_cities_packages_and_unknown_codes_are_said_in_words(plain, at):
    page = words(at("viewer").get("/exams/034/202006"))
    assert "济南市" in page
    assert "青岛市" in page
    assert "青岛市" not in words(at("jinan").get("/exams/034/202006"))
    assert "还没有组包" in page
    for path in ("/exams/ZZZ", "/exams/034/202013", "/cities/999999", "/cities/370100/2020-05", "/cities/370100/0000"):
        answer = at("viewer").get(path)
        assert (answer.status_code, "没有这" in answer.text) == (404, True), path


def test_nothing_on_these_pages_runs_what_a_city_wrote(plain, at):
    for path in (
        "/cities/370100/202006",
        "/exams/034/202006",
        f"/trace?number={plain.held['370100']}",
        "/deliveries?city=370100",
    ):
        text = at().get(path).text
        assert "<script" not in text
        assert MARKUP not in text
        assert ">49<" not in text

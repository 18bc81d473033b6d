"""The verification service: says whether what is asked agrees, gives nothing away, and lets nobody guess."""

import hashlib
import io
import re
from urllib.parse import quote

import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient
from openpyxl import Workbook
from small_month import Person, SmallMonth
from sqlalchemy import func, insert, select, update

from certflow import excel
from certflow.errors import CertflowError, Conflict
from certflow.proofs import codes, issue, requests
from certflow.reference import load_reference
from certflow.registry import proofs, schema
from certflow.verify import limits, operators
from certflow.verify.app import create_app, own_login
from certflow.verify.certificates import FIELDS, LIST_LIMIT, Counter, Operator, Request
from certflow.verify.limits import MISSES, Slowed

ASKS = Request("某某建设集团有限公司", "投标资格审查")
ALICE = Operator("jinan", "370100")
EXTRA = {"考试名称": "一级建造师", "级别": "一级", "专业": "建筑工程", "批准日期": "2010-01-01"}


def certificate(registry, actor, number, city="济南市", **values):
    """Put one certificate into the database; what an employer would read off it."""
    entry = {
        "management_no": f"20100103437{number:07d}", "name": f"王某{number}",
        "id_number": f"11010519900101{number:04d}", "id_type": "居民身份证", "sex": "男",
        "exam_code": "034", "exam_name": "一级建造师", "level": "一级", "specialty": "建筑工程",
        "birth_month": "199001", "approved_on": "20100101", "city": city,
    } | values  # fmt: skip
    with registry.begin(actor) as conn:
        conn.execute(insert(schema.certificates).values(entry))
    return {"管理号": entry["management_no"] or "", "姓名": entry["name"], "证件号码": entry["id_number"]}


@pytest.fixture
def counter(settings, registry):
    return Counter(settings, registry, load_reference(settings), ALICE)


@pytest.fixture
def web(settings, registry):
    """The service as it runs alone: an operator of 济南, the code check open."""
    password = operators.add_operator(settings, "jinan", "370100")
    app = create_app(settings, registry, own_login(settings, registry))
    with TestClient(app, headers={"sec-fetch-site": "same-origin"}) as client:
        client.password = password
        yield client


@pytest.fixture
def proof(settings, registry, actor):
    month = SmallMonth(settings, registry)
    month.submit([Person(1, state="PROOF", name="阿卜杜热依木·买买提")], exam="902")
    requests.answer_qualifications(issue.open_office(settings, registry, actor), "370100")
    with registry.read() as conn:
        return proofs.register(conn)[0]


def test_what_agrees_is_a_match_and_what_differs_is_named(counter, registry, actor):
    asked = certificate(registry, actor, 1)
    assert counter.verify(ASKS, asked | EXTRA).result == "match"
    answer = counter.verify(ASKS, asked | EXTRA | {"专业": "矿业工程"})
    assert (answer.result, answer.fields["专业"], answer.fields["级别"]) == ("differs", False, True)
    assert "建筑工程" not in answer.text


def test_spelling_that_means_the_same_agrees(counter, registry, actor):
    asked = certificate(registry, actor, 1, name="买买提·艾力", id_number="34052419800101001X")
    spelled = asked | {"姓名": "买买提•艾力", "证件号码": "34052419800101001x", "批准日期": "2010.1.1", "级别": "1级"}
    assert counter.verify(ASKS, spelled).result == "match"


@pytest.mark.parametrize("held", ["201001034370000001", "鲁（2010）0001", "a-2010 0001"])
def test_a_number_is_found_with_blanks_and_wide_signs_as_it_is_copied_from_a_page(counter, registry, actor, held):
    asked = certificate(registry, actor, 1, management_no=held)
    wide = held.translate({ord(sign): ord(sign) + 0xFEE0 for sign in "0123456789"})
    for number in (
        held,
        wide,
        f"{held[:6]} {held[6:]}",
        f"\u200b{held}\u3000",
        held.replace("（", "(").replace("）", ")"),
    ):
        assert counter.verify(ASKS, asked | {"管理号": number}).result == "match", number
    for number in ("", held[:-1]):
        assert counter.verify(ASKS, asked | {"管理号": number, "考试名称": "一级建造师"}).result == "unknown"


@pytest.mark.parametrize(
    ("held", "shown", "result"),
    [
        ("20100101", "2010年1月", "match"), ("201001", "2010-01-01", "match"), ("2010年1月", "20100131", "match"),
        ("20100101", "2010年2月", "differs"), ("201001", "2010-02-01", "differs"), ("20100101", "20100102", "differs"),
        ("20100101", "2", "differs"), ("", "20100101", "differs"),
    ],
)  # fmt: skip
def test_d34_a_date_agrees_on_what_certificate_and_database_both_say(counter, registry, actor, held, shown, result):
    asked = certificate(registry, actor, 1, approved_on=held)
    assert counter.verify(ASKS, asked | {"批准日期": shown}).result == result


@pytest.mark.parametrize("said", ["无", "—", "/", "——"])
def test_e35_signs_for_nothing_are_nothing(counter, registry, actor, said):
    asked = certificate(registry, actor, 1, level="", specialty="/")
    assert counter.verify(ASKS, asked | {"级别": said, "专业": said}).result == "match"
    other = certificate(registry, actor, 2)
    assert counter.verify(ASKS, other | {"专业": said}).result == "differs"


def test_an_old_certificate_without_number_is_found_by_person_and_exam(counter, registry, actor):
    asked = certificate(registry, actor, 1, management_no=None)
    assert counter.verify(ASKS, asked | {"考试名称": "一级建造师"}).result == "match"
    with pytest.raises(Conflict):
        counter.verify(ASKS, asked)


@pytest.mark.parametrize("held", ["110105491231002", "11010519491231002X", "11010519491231002x"])
@pytest.mark.parametrize("shown", ["110105491231002", "11010519491231002X"])
def test_d03_an_old_certificate_without_number_is_found_however_its_id_number_is_written(
    counter, registry, actor, held, shown
):
    asked = certificate(registry, actor, 1, management_no=None, id_number=held, exam_name="咨询工程师（投资）")
    asked |= {"证件号码": shown, "考试名称": "咨询工程师(投资)"}
    assert counter.verify(ASKS, asked).result == "match"
    assert counter.verify(ASKS, asked | {"考试名称": "一级建造师"}).result == "unknown"
    assert counter.verify(ASKS, asked | {"姓名": "别人"}).result == "unknown"


@pytest.mark.parametrize("held", ["H12345678(01)", "H12345678（01）", "H1234567801"])
def test_d11_an_old_certificate_of_a_permit_is_found_with_and_without_brackets(counter, registry, actor, held):
    asked = certificate(registry, actor, 1, management_no=None, id_number=held) | {"考试名称": "一级建造师"}
    assert counter.verify(ASKS, asked | {"证件号码": "H1234567801"}).result == "match"


def test_of_two_old_certificates_of_one_exam_the_one_that_agrees_is_meant(counter, registry, actor):
    for level in ("一级", "二级"):
        asked = certificate(registry, actor, 1, management_no=None, level=level)
    for level, result in (("一级", "match"), ("二级", "match"), ("三级", "differs")):
        assert counter.verify(ASKS, asked | {"考试名称": "一级建造师", "级别": level}).result == result


def test_who_asks_and_why_is_needed_and_on_record_without_the_person(counter, registry, actor):
    asked = certificate(registry, actor, 1)
    for request in (Request("", "投标"), Request("某某建设集团有限公司", " ")):
        with pytest.raises(Conflict):
            counter.verify(request, asked)
    counter.verify(ASKS, asked)
    counter.verify(ASKS, asked | {"姓名": "别人"})
    (second, first) = counter.log()
    assert (first.requester, first.reason, first.operator, first.result) == (
        ASKS.requester,
        ASKS.reason,
        "jinan",
        "match",
    )
    assert second.result == "unknown"
    with registry.read() as conn:
        record = str(conn.execute(select(schema.verifications)).all())
    assert not any(value in record for value in asked.values())


def test_the_record_only_grows(counter, registry, actor):
    counter.verify(ASKS, certificate(registry, actor, 1))
    for change in (update(schema.verifications).values(result="match"), schema.verifications.delete()):
        with pytest.raises(CertflowError, match="42501"), registry.begin(actor) as conn:
            conn.execute(change)


def test_every_way_of_being_wrong_gets_the_same_answer(counter, registry, actor):
    mine = certificate(registry, actor, 1)
    other = certificate(registry, actor, 2, city="青岛市")
    answers = [
        counter.verify(ASKS, mine | {"姓名": "别人"}),
        counter.verify(ASKS, mine | {"证件号码": "110105199001019999"}),
        counter.verify(ASKS, mine | {"管理号": "20990103437000000000"}),
        counter.verify(ASKS, other),
        counter.verify(ASKS, mine | {"姓名": "别人", "专业": "建筑工程"}),
        counter.verify(ASKS, mine | {"管理号": "x\0y"}),
    ]
    assert {(answer.result, answer.text, len(answer.fields)) for answer in answers} == {("unknown", answers[0].text, 0)}


def test_the_certificates_of_every_other_city_are_out_of_reach(settings, registry, actor):
    tables = load_reference(settings)
    asked = {
        city.account: certificate(registry, actor, number, city=city.name)
        for number, city in enumerate(tables.cities.values(), start=1)
    }
    for account in asked:
        at = {other: Counter(settings, registry, tables, Operator(f"op-{account}", account)) for other in asked}
        seen = {other: at[other].verify(ASKS, asked[other]).result for other in asked}
        assert seen == {other: "match" if other == account else "unknown" for other in asked}


def test_a_historic_citys_certificates_are_verified_by_its_successor(counter, registry, actor):
    assert counter.verify(ASKS, certificate(registry, actor, 1, city="莱芜市")).result == "match"


def test_guessing_at_the_counter_is_slowed(counter, registry, actor):
    asked = certificate(registry, actor, 1)
    for guess in range(MISSES):
        assert counter.verify(ASKS, asked | {"姓名": f"猜{guess}"}).result == "unknown"
    with pytest.raises(Slowed) as caught:
        counter.verify(ASKS, asked)
    assert 0 < caught.value.seconds <= 600


def book(rows, header=("管理号", "姓名", "证件号码", "专业")):
    made = Workbook()
    for row in (header, *rows):
        made.active.append(row)
    buffer = io.BytesIO()
    made.save(buffer)
    return buffer.getvalue()


def test_a_list_comes_back_answered_with_its_digest(counter, registry, actor, tmp_path):
    good, other = certificate(registry, actor, 1), certificate(registry, actor, 2, city="青岛市")
    data = book([
        [*good.values(), "建筑工程"], [*good.values(), "矿业工程"], [*other.values(), ""], [good["管理号"], "", "", ""],
        [int(good["管理号"]), good["姓名"], good["证件号码"], ""],
    ])  # fmt: skip
    answer = counter.verify_list(ASKS, data)
    assert (answer.rows, answer.matched, answer.unanswered) == (5, 1, 2)
    assert answer.sha256 == hashlib.sha256(answer.workbook).hexdigest()
    path = tmp_path / "answer.xlsx"
    path.write_bytes(answer.workbook)
    lines = list(excel.read_table(path))
    assert hashlib.sha256(data).hexdigest() in str(lines[2])
    assert [line[-1][:3] for line in lines[4:]] == ["一致", "不一致", "不一致", "未核对", "未核对"]
    with registry.read() as conn:
        chained = conn.scalar(select(schema.audit.c.payload).order_by(schema.audit.c.seq.desc()).limit(1))
    assert answer.sha256 in chained


def test_a_list_is_no_way_round_the_limit(counter, registry, actor):
    good = certificate(registry, actor, 1)
    answer = counter.verify_list(ASKS, book([[good["管理号"], f"猜{n}", good["证件号码"], ""] for n in range(100)]))
    assert answer.unanswered == 100 - MISSES


def test_a_list_that_was_cut_off_says_by_what(counter, registry, actor, monkeypatch, tmp_path):
    assert LIST_LIMIT <= limits.TRIES
    monkeypatch.setattr(limits, "TRIES", 3)
    good = [[*certificate(registry, actor, n).values(), ""] for n in range(1, 6)]
    answer = counter.verify_list(ASKS, book(good))
    assert (answer.matched, answer.unanswered) == (3, 2)
    path = tmp_path / "answer.xlsx"
    path.write_bytes(answer.workbook)
    told = [line[-1] for line in excel.read_table(path)][4:]
    assert told[:3] == ["一致"] * 3
    assert all(words.startswith("未核对：十分钟内核对过多，请") for words in told[3:])
    with pytest.raises(Slowed, match="十分钟内查询过多"):
        counter.verify(ASKS, certificate(registry, actor, 6))


ROUTES = [("GET", "/certificate"), ("POST", "/certificate"), ("POST", "/list"), ("GET", "/log")]
CODE_ROUTES = [("GET", "/"), ("POST", "/code")]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_nobody_unknown_comes_past_the_login(web, method, path):
    assert web.request(method, path).status_code == 401
    assert web.request(method, path, auth=("jinan", "wrong")).status_code == 401
    assert web.request(method, path, auth=("nobody", web.password)).status_code == 401


@pytest.mark.parametrize(("method", "path"), [*ROUTES, *CODE_ROUTES])
def test_behind_a_door_every_route_asks_it(settings, registry, method, path):
    def nobody():
        raise HTTPException(401)

    app = create_app(settings, registry, lambda: ALICE, door=nobody, sign_in="/login?next=")
    with TestClient(app, headers={"sec-fetch-site": "same-origin"}) as client:
        answer = client.request(method, path)
        assert answer.status_code == 401
        assert f"/login?next={quote(path, safe='')}" in answer.text


def test_no_route_was_forgotten_above(settings, registry):
    def served(**how):
        app = create_app(settings, registry, lambda: ALICE, **how)
        return {(method, route.path) for route in app.routes for method in route.methods if method != "HEAD"}

    assert served(door=lambda: ALICE) == {*ROUTES, *CODE_ROUTES}
    assert served() == {*ROUTES, *CODE_ROUTES, ("GET", "/{code}")}


def test_a_page_that_is_not_there_says_so_in_words(web):
    assert "没有这个页面" in web.get("/no/such/page").text
    assert "没有这个页面" in web.get("/list").text


def test_what_a_browser_asks_for_by_itself_is_no_guess(web, proof):
    for _ in range(MISSES + 1):
        assert web.get("/favicon.ico").status_code == 404
    assert web.get(f"/{codes.typed(proof.printed['code'])}").status_code == 200


def test_a_body_of_unknown_length_is_refused_before_it_is_read(web):
    def endless():
        yield b"code="
        raise AssertionError("it was read")

    answer = web.post("/code", content=endless(), headers={"content-type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 411


def test_an_operator_verifies_on_the_page(web, registry, actor):
    asked = certificate(registry, actor, 1)
    form = {"requester": ASKS.requester, "reason": ASKS.reason}
    form |= {FIELDS[name]: value for name, value in asked.items()}
    page = web.post("/certificate", data=form, auth=("jinan", web.password))
    assert page.status_code == 200
    assert "<strong>✓ 一致</strong>" in page.text
    assert "不具备同等法律效力" in page.text
    assert "登记表" in page.text
    assert asked["姓名"] not in page.text
    files = {"file": ("名单.xlsx", book([[*asked.values(), ""]]))}
    listed = web.post(
        "/list", data={"requester": ASKS.requester, "reason": ASKS.reason}, files=files, auth=("jinan", web.password)
    )
    assert listed.headers["x-content-sha256"] == hashlib.sha256(listed.content).hexdigest()
    assert web.get("/log", auth=("jinan", web.password)).text.count("<tr>") == 3


@pytest.mark.parametrize("body", [b"", b"PK\x03\x04nonsense", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600])
def test_a_list_that_is_no_workbook_is_refused_in_words(web, body):
    answer = web.post(
        "/list", data={"requester": ASKS.requester, "reason": "x"}, files={"file": ("a.xlsx", body)},
        auth=("jinan", web.password),
    )  # fmt: skip
    assert answer.status_code == 400
    assert "文件" in answer.text


def test_forms_of_other_sites_are_refused(web):
    for headers in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "", "origin": "https://evil.example"}):
        assert web.post("/code", data={"code": "x"}, headers=headers).status_code == 403


def test_a_removed_operator_is_out_at_once(web, settings):
    assert web.get("/log", auth=("jinan", web.password)).status_code == 200
    operators.remove_operator(settings, "jinan")
    assert web.get("/log", auth=("jinan", web.password)).status_code == 401


def test_an_old_password_is_out_at_once(web, settings):
    assert web.get("/log", auth=("jinan", web.password)).status_code == 200
    fresh = operators.add_operator(settings, "jinan", "370100")
    assert web.get("/log", auth=("jinan", web.password)).status_code == 401
    assert web.get("/log", auth=("jinan", fresh)).status_code == 200


def test_a_code_shows_the_status_and_a_masked_name(web, proof, settings, registry, actor):
    page = web.get(f"/{codes.typed(proof.printed['code'])}")
    assert page.status_code == 200
    assert "有效" in page.text
    assert "阿*" in page.text
    assert proof.number in page.text
    assert "买买提" not in page.text
    assert proof.printed["id_number"] not in page.text
    issue.revoke(registry, proof.number, by="李四", reason="重复", actor=actor)
    assert "已撤销" in web.post("/code", data={"code": proof.printed["code"].lower()}).text


def test_name_and_number_are_only_compared(web, proof):
    form = {"code": proof.printed["code"], "name": "阿卜杜热依木・买买提", "id_number": "34052419800101001X"}
    page = web.post("/code", data=form)
    assert "姓名核对</th><td>✓ 与证明一致" in page.text
    assert "证件号码核对</th><td>✗ 与证明不一致" in page.text
    assert "<strong>✗ 证件号码与证明不一致（该证明有效）" in page.text, "the paper is not the one that was issued"


def test_nothing_on_the_pages_comes_from_elsewhere_or_runs(web, proof):
    for page in (
        web.get("/"),
        web.get(f"/{codes.typed(proof.printed['code'])}"),
        web.get("/certificate", auth=("jinan", web.password)),
    ):
        assert "<script" not in page.text
        assert not re.search(r"(?:src|url\()\s*=?\s*[\"']?https?:", page.text)
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert page.headers["cache-control"] == "no-store"


def test_what_is_typed_is_shown_as_text(web):
    page = web.post("/code", data={"code": '"><script>alert(1)</script>'})
    assert "<script>" not in page.text


def guess_codes(web, tries):
    answers = {}
    for _ in range(tries):
        status = web.get(f"/{codes.new_code()}").status_code
        answers[status] = answers.get(status, 0) + 1
    return answers


def test_guessing_codes_is_slowed_and_finds_nothing(web, proof):
    answers = guess_codes(web, 100)
    assert answers == {404: MISSES, 429: 100 - MISSES}
    slowed = web.get(f"/{codes.typed(proof.printed['code'])}")
    assert slowed.status_code == 429
    assert int(slowed.headers["retry-after"]) > 0


@pytest.mark.long
def test_ten_thousand_guesses_yield_nothing(web, counter, registry, actor, proof):
    """Codes at the page, ID numbers and names at the counter: after 20 misses a window there are no answers at all."""
    asked = certificate(registry, actor, 7)
    answers = guess_codes(web, 4000)
    assert set(answers) == {404, 429}
    assert answers[404] <= 2 * MISSES  # the tries may reach over the edge of a window
    seen = {"unknown": 0, "slowed": 0}
    for guess in range(6000):
        wrong = {"证件号码": f"11010519900101{guess % 7:04d}"} if guess % 2 else {"姓名": f"王某{guess}x"}
        try:
            seen[counter.verify(ASKS, asked | wrong).result] += 1
        except Slowed:
            seen["slowed"] += 1
    assert seen["unknown"] <= 2 * MISSES
    assert sum(seen.values()) == 6000
    with registry.read() as conn:
        answered = conn.scalar(select(func.count()).select_from(schema.verifications))
    assert answered == seen["unknown"] + answers[404]


def test_a_wrong_password_is_slowed_too(web):
    statuses = [web.get("/log", auth=("jinan", f"guess{n}")).status_code for n in range(MISSES + 2)]
    assert statuses[-1] == 429
    assert set(statuses) == {401, 429}

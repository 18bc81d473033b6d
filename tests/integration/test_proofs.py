"""Proofs on a real ledger: asked for by a city's file, issued into a register, ended by the certificate, revoked."""

import hashlib
import json
import re
import time
from dataclasses import replace

import printed
import pytest
from small_month import Person, SmallMonth
from sqlalchemy import insert, select, update

from certflow import excel, pdf
from certflow.errors import Conflict, DigestMismatch
from certflow.intake.pull import _answers
from certflow.proofs import bundle as binding
from certflow.proofs import codes, issue, requests
from certflow.reference import load_reference
from certflow.registry import proofs, schema, submissions, transfers
from certflow.registry.doctor import examine

SCORE, QUALIFICATION = proofs.SCORE, proofs.QUALIFICATION


@pytest.fixture
def month(settings, registry):
    return SmallMonth(settings, registry)


@pytest.fixture
def office(settings, registry, actor):
    return issue.open_office(settings, registry, actor)


def deliver(month, rows, *, name="202005-成绩合格证明(济南市).xlsx", account="370100", header=("管理号", "用途")):
    """A request file as `pull` would leave it: in the store and in the ledger."""
    path = month.settings.home / "request.xlsx"
    path.parent.mkdir(parents=True, exist_ok=True)
    excel.write_xlsx(path, [excel.Page("Sheet1", [header, *rows], (20, 20))])
    data = path.read_bytes()
    path.unlink()
    digest = hashlib.sha256(data).hexdigest()
    month.settings.original(digest).parent.mkdir(parents=True, exist_ok=True)
    month.settings.original(digest).write_bytes(data)
    with month.registry.begin(month.actor) as conn:
        return conn.execute(
            insert(schema.files)
            .values(
                account=account, lane="proofs", kind="proof", name=name, raw_name=b"x", sha256=digest, size=len(data)
            )
            .returning(schema.files.c.id)
        ).scalar_one()


def answer(month, file_id, account="370100"):
    """The lines of the answer workbook, without title and header."""
    tag = submissions.answer_tag(file_id)
    (path,) = _answers(month.settings.feedback / account, [tag])[tag]
    if path.suffix == ".txt":
        return path.read_text("utf-8-sig")
    return list(excel.read_table(path))[2:]


def ask(office, month, rows, **where):
    file_id = deliver(month, rows, **where)
    report = requests.answer_requests(office, load_reference(month.settings), where.get("account", "370100"))
    return report, answer(month, file_id, where.get("account", "370100"))


def register(month):
    with month.registry.read() as conn:
        return proofs.register(conn)


def proofs_of(month):
    return [proof.status("printed") for proof in register(month)]


def test_a_checked_request_gets_a_numbered_proof_and_the_city_an_answer(office, month):
    person = Person(1, name="王䶮𬱖")
    month.submit([person])
    report, lines = ask(office, month, [[person.management_no, "投标"]])
    assert (report.issued, report.refused) == (1, 0)
    (proof,) = register(month)
    assert re.fullmatch(r"鲁人考证〔20\d\d〕成00001号", proof.number)
    assert lines[0][:5] == ["2", person.management_no, "投标", "已开具", proof.number]
    page = issue.page_of(month.settings, proof)
    assert "王䶮𬱖" in printed.text(page)
    assert person.identity in printed.text(page)
    assert printed.codes(page) == [codes.typed(proof.printed["code"])]
    assert min(printed.likeness(page, "王䶮𬱖").values()) > 0.95


def test_a_request_that_ended_while_its_proof_was_made_gets_none(office, month):
    (row,) = month.submit([Person(1)])
    with month.registry.read() as conn:
        candidate = proofs.requests_for(conn, "370100", [Person(1).management_no])[Person(1).management_no]
    with month.registry.begin(month.actor) as conn:
        conn.execute(update(schema.rows).where(schema.rows.c.id == row).values(state="WITHDRAWN"))
    (refused,) = issue.issue(office, [issue.Draft(SCORE, candidate, "投标")])
    assert refused == issue.Refused("申请的状态刚刚改变，请重新提出")
    assert register(month) == []


def test_each_line_is_refused_with_its_own_reason(office, month):
    held, printed_one, good = Person(1, state="HELD"), Person(2), Person(3)
    month.submit([held, printed_one, good])
    other_city = Person(4)
    month.submit([other_city], account="370200")
    cancelled = Person(5, state="PROOF")
    month.submit([cancelled], exam="902")
    returned = Person(6, state="RETURNED")
    month.submit([returned])
    _, lines = ask(office, month, [
        [held.management_no, "甲"], [other_city.management_no, "甲"], [cancelled.management_no, "甲"],
        [returned.management_no, "甲"], ["20990103437000000000", "甲"], ["", "甲"], [good.management_no, "甲"],
        [good.management_no, "甲"], [good.management_no, "用" * 61],
    ])  # fmt: skip
    reasons = [line[5] if len(line) > 5 else "" for line in lines]
    assert [line[3] for line in lines] == ["不予开具"] * 6 + ["已开具"] + ["不予开具"] * 2
    assert "正在核实" in reasons[0]
    assert "没有正在办理" in reasons[1]
    assert "已取消" in reasons[2]
    assert "没有正在办理" in reasons[3]
    assert reasons[4] == reasons[1], "of another city, or of nobody"
    assert "没有填写" in reasons[5]
    assert "前面一行相同" in reasons[7]
    assert "超过 60 字" in reasons[8]
    assert len(register(month)) == 1


def test_t11_what_was_to_be_asked_for_later_may_be_asked_for_with_the_same_file(office, month, registry, actor):
    person = Person(1, state="HELD")
    (row,) = month.submit([person])
    _, lines = ask(office, month, [[person.management_no, "投标"]])
    assert "核实后再提出" in lines[0][5]
    with registry.begin(actor) as conn:
        conn.execute(update(schema.rows).where(schema.rows.c.id == row).values(state="ACCEPTED"))
        first = conn.execute(select(schema.files).where(schema.files.c.lane == "proofs")).one()
        again = transfers.Arrival("370100", "proofs", first.name, b"x", first.sha256, first.size, "proof")
        received = [transfers.receive(conn, again) for _ in range(2)]
    assert [repeated for _, repeated in received] == [False, False]
    report = requests.answer_requests(office, load_reference(month.settings), "370100")
    assert (report.issued, len(register(month))) == (2, 1), "twice the same proof"
    (proof,) = register(month)
    assert [answer(month, number)[0][4] for number, _ in received] == [proof.number] * 2


def test_a_request_without_reissue_of_this_city_tells_nothing_about_other_cities(office, month):
    """The same words whether another city works on it or nobody does."""
    elsewhere, nowhere = Person(1), Person(2, state="RETURNED")
    month.submit([elsewhere], account="370200")
    month.submit([nowhere])
    _, lines = ask(office, month, [[elsewhere.management_no, ""], [nowhere.management_no, ""]])
    assert lines[0][5] == lines[1][5]


def test_e10_a_number_stored_as_a_number_is_refused(office, month, monkeypatch):
    from openpyxl import Workbook

    person = Person(1)
    month.submit([person])
    book = Workbook()
    book.active.append(["管理号", "用途"])
    book.active.append([int(person.management_no), "甲"])
    path = month.settings.home / "n.xlsx"
    book.save(path)
    data = path.read_bytes()
    monkeypatch.setattr(excel, "write_xlsx", lambda target, pages, real=excel.write_xlsx: (
        target.write_bytes(data) if target.name == "request.xlsx" else real(target, pages)))  # fmt: skip
    _, lines = ask(office, month, [])
    assert "文本格式" in lines[0][5]
    assert register(month) == []


def test_e46_a_request_with_a_sign_that_no_database_holds_goes_back_and_holds_up_no_other(office, month, monkeypatch):
    import io

    import xlwt

    person = Person(1)
    month.submit([person])
    book = xlwt.Workbook()
    sheet = book.add_sheet("1")
    for number, row in enumerate([("管理号", "用途"), (person.management_no, "投\x00标")]):
        for column, value in enumerate(row):
            sheet.write(number, column, value)
    out = io.BytesIO()
    book.save(out)
    with monkeypatch.context() as patch:
        patch.setattr(excel, "write_xlsx", lambda target, _: target.write_bytes(out.getvalue()))
        file_id = deliver(month, [])
    report, lines = ask(office, month, [[person.management_no, "投标"]])
    assert (report.returned, report.issued, lines[0][3]) == ((file_id,), 1, "已开具")
    assert "第 2 行有不能使用的字符" in answer(month, file_id)


@pytest.mark.parametrize(
    ("name", "header", "words"),
    [
        ("成绩合格证明.xlsx", ("管理号", "用途"), "文件名须为"),
        ("202013-成绩合格证明(济南市).xlsx", ("管理号", "用途"), "年月不存在"),
        ("202005-成绩合格证明(青岛市).xlsx", ("管理号", "用途"), "城市与本账号不符"),
        ("202005-成绩合格证明(济南市).xlsx", ("编号", "用途"), "没有找到表头"),
    ],
)
def test_a_file_that_is_no_request_goes_back_with_the_reason(office, month, name, header, words):
    report, text = ask(office, month, [["20100103437", "甲"]], name=name, header=header)
    assert len(report.returned) == 1
    assert words in text


def test_the_name_is_read_tolerantly(office, month):
    person = Person(1)
    month.submit([person])
    report, _ = ask(office, month, [[person.management_no, ""]], name="２０２００５－成绩合格证明（济南）.XLSX")
    assert report.issued == 1


def test_asking_again_gives_the_same_proof_and_a_crash_in_between_none_twice(office, month, settings, registry):
    person = Person(1)
    month.submit([person])
    ask(office, month, [[person.management_no, "投标"]])
    with registry.begin(month.actor) as conn:  # the same rows in another file, and a round that died before its end
        conn.execute(update(schema.files).where(schema.files.c.lane == "proofs").values(answered_at=None))
    _, lines = ask(office, month, [[person.management_no, "投标"], [person.management_no, "升学"]])
    first, second = lines[0][4], lines[1][4]
    assert [proof.number for proof in register(month)] == [second, first]
    assert requests.answer_requests(office, load_reference(settings), "370100").files == ()


def test_it_ends_by_itself_when_the_certificate_arrives(office, month, settings):
    person = Person(1)
    (row_id,) = month.submit([person])
    ask(office, month, [[person.management_no, ""]])
    with month.registry.begin(month.actor) as conn:
        for state in ("PACKED", "SENT"):
            conn.execute(update(schema.rows).where(schema.rows.c.id == row_id).values(state=state))
    assert register(month)[0].status("printed") == "valid"
    with month.registry.begin(month.actor) as conn:
        conn.execute(update(schema.rows).where(schema.rows.c.id == row_id).values(state="PRINTED"))
    (proof,) = register(month)
    assert proof.status("printed") == "ended"
    assert proof.status("delivered") == "valid"
    _, lines = ask(office, month, [[person.management_no, "又一次"]])
    assert "已经印制" in lines[0][5]


def test_it_holds_on_where_the_request_goes_on_in_another_row(office, month, registry, actor):
    def change(row, **values):
        with registry.begin(actor) as conn:
            conn.execute(update(schema.rows).where(schema.rows.c.id == row).values(**values))

    (row,) = month.submit([Person(1)])
    ask(office, month, [(Person(1).management_no, "投标")])
    for state in ("HELD", "ACCEPTED"):  # contested and accepted by a person, then replaced by a correction
        change(row, state="WITHDRAWN")
        old, (row,) = row, month.submit([Person(1, state=state)])
        change(row, replaces=old, state="ACCEPTED")
        (proof,) = register(month)
        assert (proof.row_state, proof.status("printed")) == ("ACCEPTED", "valid")
    for state in ("PACKED", "SENT", "PRINTED"):
        change(row, state=state)
    assert register(month)[0].status("printed") == "ended"


def test_rows_of_cancelled_exams_get_their_proof_without_being_asked(office, month):
    people = [Person(number, state="PROOF", name="阿卜杜热依木·买买提") for number in (1, 2)]
    ids = month.submit(people, exam="902")
    assert requests.answer_qualifications(office, "370100") == (2, ())
    assert month.states(ids) == ["ISSUED", "ISSUED"]
    assert requests.answer_qualifications(office, "370100") == (0, ())
    page = issue.page_of(month.settings, register(month)[0])
    text = printed.text(page)
    assert "职/执业资格证明" in text.replace(" ", "")
    assert "鲁人社函〔2020〕24" in text.replace(" ", "")
    assert "阿卜杜热依木·买买提" in text


def test_one_certificate_of_a_cancelled_exam_gets_one_proof_however_often_it_was_asked_for(office, month):
    person = Person(1, state="PROOF")
    ids = month.submit([person], exam="902") + month.submit([person], exam="902", account="370200")
    assert requests.answer_qualifications(office, "370200") == (1, ())
    assert requests.answer_qualifications(office, "370100") == (0, ())
    assert month.states(ids) == ["PROOF", "ISSUED"]


def test_a_name_no_font_can_show_is_refused_and_the_others_go_on(office, month):
    nobody = Person(1, state="PROOF", name="王𰻝")
    ids = month.submit([nobody, Person(2, state="PROOF")], exam="902")
    done, (unprinted,) = requests.answer_qualifications(office, "370100")
    assert done == 1
    assert unprinted.management_no == nobody.management_no
    assert "U+30EDD" in unprinted.reason
    assert month.states(ids) == ["PROOF", "ISSUED"]
    assert [proof.number[-6:] for proof in register(month)] == ["00001号"]


def test_a_city_is_told_whom_to_ask_when_a_font_lacks_a_character_of_a_name(office, month):
    person = Person(1, name="王𰻝")
    month.submit([person])
    report, lines = ask(office, month, [[person.management_no, ""]])
    assert (report.issued, [one.management_no for one in report.unprinted]) == (0, [person.management_no])
    assert "U+30EDD" in lines[0][5]
    assert "省人事考试中心" in lines[0][5]
    assert "CERTFLOW_HOME" not in lines[0][5]


def test_a_bundle_that_was_handed_out_closes_the_requests_of_cancelled_exams(office, month, registry, actor):
    score, cancelled, wrong = Person(1), Person(2, state="PROOF"), Person(3, state="PROOF")
    ids = month.submit([score]) + month.submit([cancelled, wrong], exam="902")
    ask(office, month, [[score.management_no, ""]])
    requests.answer_qualifications(office, "370100")
    made = binding.bundle(office, "370100", "济南市")
    bad = next(proof for proof in register(month) if proof.printed["management_no"] == wrong.management_no)
    issue.revoke(registry, bad.number, by="李四", reason="照片有误", actor=actor)

    done = binding.hand_out(month.settings, registry, made.name, by="李四", actor=actor)
    assert (done.proofs, done.closed, done.revoked) == (2, 1, 1)
    assert month.states(ids) == ["ACCEPTED", "CLOSED", "ISSUED"]
    assert binding.hand_out(month.settings, registry, made.name, by="李四", actor=actor).closed == 0
    good = [proof for proof in register(month) if proof.number != bad.number]
    assert {proof.kind: proof.handed_out for proof in good} == {SCORE: False, QUALIFICATION: True}
    with registry.read() as conn:
        chained = conn.scalar(select(schema.audit.c.payload).order_by(schema.audit.c.seq.desc()).limit(1))
    assert json.loads(chained)["by"] == "李四"
    assert {name: lines for name, lines in examine(registry, month.settings).items() if lines} == {}


def test_one_proof_is_handed_out_by_its_number_and_revoked_ones_are_not(office, month, registry, actor):
    (row_id,) = month.submit([Person(1, state="PROOF")], exam="902")
    requests.answer_qualifications(office, "370100")
    (proof,) = register(month)
    with pytest.raises(Conflict, match="没有这一册"):
        binding.hand_out(month.settings, registry, "370100-20200601-1", by="李四", actor=actor)
    binding.hand_out(month.settings, registry, proof.number, by="李四", actor=actor)
    assert month.states([row_id]) == ["CLOSED"]
    assert proofs_of(month) == ["valid"]
    issue.revoke(registry, proof.number, by="李四", reason="写错", actor=actor)
    with pytest.raises(Conflict, match="撤销"):
        binding.hand_out(month.settings, registry, proof.number, by="李四", actor=actor)


def test_a_proof_that_was_wrong_is_issued_anew_even_after_it_was_handed_out(office, month, registry, actor):
    person = Person(1, state="PROOF")
    (row_id,) = month.submit([person], exam="902")
    requests.answer_qualifications(office, "370100")
    number = register(month)[0].number
    binding.hand_out(month.settings, registry, number, by="李四", actor=actor)
    assert issue.issue_one(office, "370100", person.management_no, "").number == number
    _, lines = ask(office, month, [[person.management_no, ""]])
    assert "职/执业资格证明已经发放" in lines[0][5]
    issue.revoke(registry, number, by="李四", reason="写错", actor=actor)
    assert issue.issue_one(office, "370100", person.management_no, "").number != number
    assert proofs_of(month) == ["valid", "revoked"]
    assert month.states([row_id]) == ["CLOSED"]


def test_a_certificate_that_was_delivered_is_no_reason_for_a_proof(office, month):
    person = Person(1)
    (row_id,) = month.submit([person])
    with month.registry.begin(month.actor) as conn:
        for state in ("PACKED", "SENT", "PRINTED", "DELIVERED", "CLOSED"):
            conn.execute(update(schema.rows).where(schema.rows.c.id == row_id).values(state=state))
    with pytest.raises(Conflict, match="新证书已经发放"):
        issue.issue_one(office, "370100", person.management_no, "")


def test_a_revoked_proof_stays_in_the_register_and_can_be_issued_anew(office, month, registry, actor):
    person = Person(1)
    month.submit([person])
    ask(office, month, [[person.management_no, ""]])
    number = register(month)[0].number
    with pytest.raises(Conflict, match="原因"):
        issue.revoke(registry, number, by="李四", reason=" ", actor=actor)
    issue.revoke(registry, number, by="李四", reason="用途写错", actor=actor)
    with pytest.raises(Conflict, match="已经撤销"):
        issue.revoke(registry, number, by="李四", reason="再来", actor=actor)
    assert register(month)[0].status("printed") == "revoked"
    ask(office, month, [[person.management_no, ""], ["", ""]])
    assert [proof.status("printed") for proof in register(month)] == ["valid", "revoked"]


def test_a_line_of_the_register_can_be_neither_changed_nor_deleted(office, month, registry, actor):
    person = Person(1)
    month.submit([person])
    ask(office, month, [[person.management_no, ""]])
    for change in (
        update(schema.proofs).values(printed={}),
        update(schema.proofs).values(sha256=""),
        schema.proofs.delete(),
    ):
        with pytest.raises(Conflict), registry.begin(actor) as conn:
            conn.execute(change)


def test_a_page_that_was_touched_is_not_given_out(office, month, settings):
    person = Person(1)
    month.submit([person])
    ask(office, month, [[person.management_no, ""]])
    (proof,) = register(month)
    (file,) = settings.path("proofs").rglob("*.pdf")
    assert examine(month.registry, settings)["I5"] == []
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(DigestMismatch):
        issue.page_of(settings, proof)
    assert examine(month.registry, settings)["I5"] == ["证明 1 的文件与登记的摘要不符"]
    file.unlink()
    assert "证明 1 的文件不在" in examine(month.registry, settings)["I5"][0]


def test_the_paper_bundle_holds_a_list_and_every_proof_once(office, month):
    people = [Person(number, state="PROOF", name=f"张{'甲乙丙'[number - 1]}") for number in (1, 2, 3)]
    month.submit(people, exam="902")
    requests.answer_qualifications(office, "370100")
    made = binding.bundle(office, "370100", "济南市")
    assert made.proofs == 3
    with printed.opened(made.file.read_bytes()) as document:
        assert len(document) == 4
    assert [printed.codes(made.file.read_bytes(), page)[0] for page in (1, 2, 3)] == [
        codes.typed(proof.printed["code"]) for proof in reversed(register(month))
    ]
    assert binding.bundle(office, "370100", "济南市") is None


@pytest.mark.parametrize("recorded", [False, True])
def test_a_bundle_that_was_not_recorded_never_lies_under_its_name(office, month, monkeypatch, recorded):
    """Died before its commit, it is bound anew, the next day under another name; died after it, it is finished."""
    month.submit([Person(1, state="PROOF")], exam="902")
    requests.answer_qualifications(office, "370100")
    with monkeypatch.context() as dying:
        place, name = (binding.Path, "replace") if recorded else (binding.ledger, "put_in_bundle")
        dying.setattr(place, name, lambda *_: (_ for _ in ()).throw(OSError("gone")))
        with pytest.raises(OSError, match="gone"):
            binding.bundle(office, "370100", "济南市")
    folder = month.settings.path("proofs", "bundles")
    assert [one.suffix for one in folder.iterdir()] == [".part"]
    with monkeypatch.context() as later:
        later.setattr(binding, "_today", lambda now: "20991231")
        bound = binding.bundle(office, "370100", "济南市")
    (file,) = folder.iterdir()
    assert file.suffix == ".pdf"
    assert (bound is None) is recorded
    assert [proof.bundle for proof in register(month)] == [file.stem]


def test_a_proof_that_has_ended_is_neither_bound_nor_handed_out(office, month, registry, actor):
    early, late, cancelled = Person(1), Person(2), Person(3, state="PROOF")
    ids = month.submit([early, late])
    month.submit([cancelled], exam="902")
    ask(office, month, [[early.management_no, ""]])
    requests.answer_qualifications(office, "370100")
    bound = binding.bundle(office, "370100", "济南市")
    assert bound.proofs == 2
    ask(office, month, [[late.management_no, ""]])
    with registry.begin(month.actor) as conn:
        for state in ("PACKED", "SENT", "PRINTED"):
            conn.execute(update(schema.rows).where(schema.rows.c.id.in_(ids)).values(state=state))
    assert sorted(proofs_of(month)) == ["ended", "ended", "valid"]
    assert binding.bundle(office, "370100", "济南市") is None
    done = binding.hand_out(month.settings, registry, bound.name, by="李四", actor=actor)
    assert (done.proofs, done.closed, done.revoked, done.ended) == (1, 1, 0, 1)
    number = next(proof.number for proof in register(month) if proof.printed["management_no"] == late.management_no)
    with pytest.raises(Conflict, match="失效"):
        binding.hand_out(month.settings, registry, number, by="李四", actor=actor)
    longer = replace(month.settings, proof_ends="delivered")
    assert binding.hand_out(longer, registry, bound.name, by="李四", actor=actor).proofs == 2
    assert binding.bundle(replace(office, settings=longer), "370100", "济南市").proofs == 1


def test_a_bundle_is_never_bound_from_pages_that_changed_since(office, month, settings):
    month.submit([Person(1, state="PROOF")], exam="902")
    requests.answer_qualifications(office, "370100")
    own = pdf.export_template(settings, "proof-qualification")
    own.write_text(own.read_text("utf-8").replace("特此证明", "特此出证"), "utf-8")
    with pytest.raises(Conflict, match="改动"):
        binding.bundle(issue.open_office(settings, month.registry, month.actor), "370100", "济南市")
    assert register(month)[0].bundle is None


def test_the_qr_code_leads_to_the_verification_page(month, settings, registry, actor):
    person = Person(1, state="PROOF")
    month.submit([person], exam="902")
    office = issue.open_office(replace(settings, verify_url="https://zs.example/verify/"), registry, actor)
    requests.answer_qualifications(office, "370100")
    (proof,) = register(month)
    assert printed.codes(issue.page_of(settings, proof)) == [
        f"https://zs.example/verify/{codes.typed(proof.printed['code'])}"
    ]


def test_codes_are_read_as_people_type_them():
    code = codes.new_code()
    assert codes.typed(codes.shown(code)) == code
    assert codes.typed(f" {codes.shown(code).lower()} ") == code
    assert codes.typed("７Ｋ３Ｍ-9QXC-2TRB-VW4H") == "7K3M9QXC2TRBVW4H"
    assert codes.typed("7K3M9QXC2TRBVW4") is None
    assert codes.typed("0000-0000-0000-0000") is None
    assert len({codes.new_code() for _ in range(1000)}) == 1000


@pytest.mark.long
def test_a_thousand_proofs_take_less_than_a_minute(office, month):
    people = [Person(number, state="PROOF", photo=None, id_number=f"{number:018d}") for number in range(1, 1001)]
    month.submit(people, exam="902")
    began = time.perf_counter()
    done, refused = requests.answer_qualifications(office, "370100")
    seconds = time.perf_counter() - began
    assert (done, refused) == (1000, ())
    assert seconds < 60, seconds
    assert [proof.number[-6:-1] for proof in register(month)][::-1] == [f"{number:05d}" for number in range(1, 1001)]
    assert len({proof.printed["code"] for proof in register(month)}) == 1000


def test_the_command_line_issues_shows_checks_and_revokes(month, settings, monkeypatch, tmp_path):
    from typer.testing import CliRunner

    from certflow.cli import app

    monkeypatch.setenv("CERTFLOW_HOME", str(settings.home))
    monkeypatch.setenv("CERTFLOW_DATABASE_URL", settings.database_url)
    person, cancelled = Person(1), Person(2, state="PROOF")
    month.submit([person])
    month.submit([cancelled], exam="902")

    def run(*words):
        return CliRunner().invoke(app, words)

    issued = run("proofs", "issue", person.management_no, "--account", "370100", "--purpose", "投标")
    number = issued.stdout.strip()
    assert (issued.exit_code, number[-7:]) == (0, "成00001号")
    assert run("proofs", "issue", cancelled.management_no, "--account", "370100").stdout.strip().endswith("资00001号")
    assert isinstance(run("proofs", "issue", person.management_no, "--account", "370200").exception, Conflict)
    assert run("proofs", "show", number, str(tmp_path / "p.pdf")).exit_code == 0
    (code,) = printed.codes((tmp_path / "p.pdf").read_bytes())
    assert "有效" in run("verify", "code", code).stdout
    assert run("proofs", "revoke", number, "--by", "李四", "--reason", "写错").exit_code == 0
    assert "已撤销" in run("verify", "code", code).stdout
    assert run("verify", "code", "AAAA-AAAA-AAAA-AAAA").exit_code == 1
    listed = run("proofs", "list").stdout
    assert "已撤销" in listed
    assert person.name not in listed
    bound = run("proofs", "run", "370100", "--bundle")
    assert bound.exit_code == 0, bound.output
    (file,) = settings.path("proofs", "bundles").glob("*.pdf")
    handed = run("proofs", "hand-out", file.stem, "--by", "李四", "--json")
    assert json.loads(handed.stdout) == {"proofs": 1, "closed": 1, "revoked": 0, "ended": 0}
    assert [one["handed_out"] for one in json.loads(run("proofs", "list", "--json").stdout)] == [True, False]


def test_i10_the_register_masks_numbers_in_purpose_and_reason(office, month, settings, registry, actor):
    from at_the_desk import sit_down
    from typer.testing import CliRunner

    from certflow.cli import app

    person = Person(1)
    month.submit([person])
    ask(office, month, [[person.management_no, f"投标，本人{person.identity}，电话13800138000"]])
    (proof,) = register(month)
    issue.revoke(registry, proof.number, by="李四", reason=f"{person.identity}姓名有误", actor=actor)
    page = sit_down(settings, registry, "viewer").get("/proofs").text
    home = {"CERTFLOW_HOME": str(settings.home), "CERTFLOW_DATABASE_URL": settings.database_url, "COLUMNS": "200"}
    told = [CliRunner().invoke(app, ["proofs", "list", *more], env=home).output for more in ([], ["--json"])]
    for text in (page, *told):
        assert "投标，本人110105" in text
        assert person.identity not in text
        assert "13800138000" not in text

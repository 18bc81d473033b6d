"""What comes back: six buckets, applied once, and nobody's identity ever overwritten."""

import os
from contextlib import contextmanager

import pytest
from as_owner import as_owner
from returned import HEADER, Authority, events, identities, printed, refused, sent
from small_month import Person, SmallMonth, id_number
from sqlalchemy import insert, select, text, update
from typer.testing import CliRunner

from certflow.cli import app
from certflow.dispatch.approve import approve, reject
from certflow.dispatch.assemble import assemble
from certflow.dispatch.freeze import freeze
from certflow.dispatch.send import resolve_unknown
from certflow.errors import Conflict, DigestMismatch, TransferError
from certflow.month import Month
from certflow.registry import schema, transfers
from certflow.registry.doctor import examine
from certflow.returns.ageing import missing
from certflow.returns.apply import apply, pending, receive
from certflow.returns.profile import copy_shipped
from certflow.returns.reconcile import preview, reconcile
from certflow.returns.undo import undo


def sick(registry, settings, without=""):
    found = examine(registry, settings)
    return {name: problems for name, problems in found.items() if problems and name != without}


@pytest.fixture
def authority(settings, registry, actor, tmp_path):
    return Authority(settings, registry, actor, tmp_path)


@pytest.fixture
def month(settings, registry):
    return SmallMonth(settings, registry)


def test_printed_refused_and_missing_are_told_apart(settings, registry, actor, month, authority):
    people = [Person(number) for number in range(1, 6)]
    ids = sent(settings, registry, actor, month, people)
    before = identities(registry)
    report = authority.applied(printed(people[0]), refused(people[1]), printed(people[2]))
    assert report.state == "APPLIED"
    assert report.counts == {"printed": 2, "refused": 1, "missing": 2, "extra": 0, "changed": 0, "duplicate": 0}
    assert month.states(ids) == ["PRINTED", "REFUSED", "PRINTED", "SENT", "SENT"]
    assert events(registry) == [("SD1", "", "OLD1"), ("SD3", "", "OLD3")]
    assert identities(registry) == before


def test_a_print_is_marked_as_the_rule_set_of_its_row_says(settings, registry, actor, month, authority):
    old, new = Person(1), Person(2)
    sent(settings, registry, actor, month, [old])
    month.rule_set = "2023"
    sent(settings, registry, actor, month, [new])
    authority.applied(printed(old), printed(new))
    assert events(registry) == [("SD1", "", "OLD1"), ("SD2", "补发", "OLD2")]


def test_reconciling_alone_changes_no_row(settings, registry, actor, month, authority):
    people = [Person(1), Person(2)]
    ids = sent(settings, registry, actor, month, people)
    report = authority.reconciled(printed(people[0]), refused(people[1]))
    assert (report.state, report.counts["printed"], report.counts["refused"]) == ("RECONCILED", 1, 1)
    assert month.states(ids) == ["SENT", "SENT"]
    assert events(registry) == []
    assert pending(registry) == [report.return_id]


def test_a_preview_says_what_would_happen_and_keeps_nothing(settings, registry, actor, month, authority, tmp_path):
    people = [Person(1), Person(2), Person(3)]
    ids = sent(settings, registry, actor, month, people)
    file = tmp_path / "preview.csv"
    lines = (HEADER, printed(people[0]), refused(people[1]), printed(Person(99)))
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    seen = preview(settings, registry, file, actor)
    assert (seen.return_id, seen.state) == (0, "RECONCILED")
    assert seen.counts == {"printed": 1, "refused": 1, "missing": 1, "extra": 1, "changed": 0, "duplicate": 0}
    with registry.read() as conn:
        assert conn.scalar(text("SELECT count(*) FROM returns")) == 0
        assert conn.scalar(text("SELECT count(*) FROM return_rows")) == 0
    assert month.states(ids) == ["SENT", "SENT", "SENT"]
    assert sick(registry, settings) == {}  # nor does an original lie about
    file.write_text("姓名\n甲\n", encoding="utf-8")
    assert preview(settings, registry, file, actor).state == "HELD"


def test_what_a_judge_finds_holds_the_file(settings, registry, actor, month, authority):
    people = [Person(1), Person(2)]
    ids = sent(settings, registry, actor, month, people)
    number = authority.returns(printed(people[0]), printed(people[1]))
    judged = []
    report = reconcile(
        settings, registry, number, actor, judge=lambda lines: judged.extend(lines) or ["印制日期在未来"]
    )
    assert (report.state, report.reason) == ("HELD", "印制日期在未来")
    assert [line.row_no for line in judged] == [2, 3]
    assert month.states(ids) == ["SENT", "SENT"]
    assert reconcile(settings, registry, number, actor, judge=lambda _: []).state == "RECONCILED"


def test_applying_twice_is_applying_once(settings, registry, actor, month, authority):
    people = [Person(1), Person(2)]
    sent(settings, registry, actor, month, people)
    report = authority.applied(printed(people[0]))
    assert apply(settings, registry, report.return_id, actor) == report
    assert authority.again(report.return_id) == report
    assert len(events(registry)) == 1
    assert pending(registry) == []


def test_r01_a_number_nobody_sent_is_extra_and_waits(settings, registry, actor, month, authority):
    people = [Person(1)]
    ids = sent(settings, registry, actor, month, people)
    report = authority.applied(printed(Person(99)), printed(people[0]))
    assert (report.counts["extra"], report.counts["printed"]) == (1, 1)
    assert [(one.row_no, one.record_id, one.why) for one in report.doubts] == [(2, None, "unknown")]
    assert month.states(ids) == ["PRINTED"]


def test_r02_f45_returned_twice_alike_is_ignored(settings, registry, actor, month, authority):
    people = [Person(1), Person(2)]
    sent(settings, registry, actor, month, people)
    authority.applied(printed(people[0]), refused(people[1]))
    report = authority.applied(refused(people[1]), printed(people[0]), printed(people[0]))
    assert report.counts == {"printed": 0, "refused": 0, "missing": 0, "extra": 0, "changed": 0, "duplicate": 3}
    assert len(events(registry)) == 1


def test_r02_a_line_repeated_in_one_file_counts_once(settings, registry, actor, month, authority):
    people = [Person(1), Person(2)]
    ids = sent(settings, registry, actor, month, people)
    report = authority.applied(
        printed(people[0]), printed(people[0]), refused(people[1]), refused(people[1]), refused(people[1])
    )
    assert report.counts == {"printed": 1, "refused": 1, "missing": 0, "extra": 0, "changed": 0, "duplicate": 3}
    assert month.states(ids) == ["PRINTED", "REFUSED"]


def test_r02_the_same_file_again_is_the_same_return(settings, registry, actor, month, authority):
    people = [Person(1)]
    sent(settings, registry, actor, month, people)
    assert authority.returns(printed(people[0])) == authority.returns(printed(people[0]))


@pytest.mark.parametrize("second", [lambda one: printed(one, "SD-OTHER"), refused], ids=["serial", "result"])
def test_r02_f45_returned_twice_with_another_answer_waits(settings, registry, actor, month, authority, second):
    people = [Person(1), Person(2)]
    ids = sent(settings, registry, actor, month, people)
    authority.applied(printed(people[0]))
    report = authority.applied(second(people[0]))
    assert [one.why for one in report.doubts] == ["answered"]
    assert month.states(ids) == ["PRINTED", "SENT"]
    assert events(registry) == [("SD1", "", "OLD1")]


def test_t16_a_file_from_a_disk_may_have_its_name_in_gbk(settings, registry, actor, month, authority, tmp_path):
    (person,) = people = [Person(1)]
    sent(settings, registry, actor, month, people)
    file = tmp_path / os.fsdecode("返回.csv".encode("gbk"))
    file.write_bytes(f"{HEADER}\r\n{printed(person)}\r\n".encode("gb18030"))
    assert preview(settings, registry, file, actor).file == "返回.csv"
    number = receive(settings, registry, file, actor)
    assert (reconcile(settings, registry, number, actor).file, apply(settings, registry, number, actor).state) == (
        "返回.csv", "APPLIED",
    )  # fmt: skip


def test_r02_two_answers_in_one_file_apply_neither(settings, registry, actor, month, authority):
    people = [Person(1), Person(2)]
    ids = sent(settings, registry, actor, month, people)
    report = authority.applied(printed(people[0]), refused(people[0]), printed(people[1]))
    assert report.counts["changed"] == 2
    assert {one.why for one in report.doubts} == {"contradiction"}
    assert month.states(ids) == ["SENT", "PRINTED"]


def test_r03_a_partial_return_counts_the_missing_with_their_age(settings, registry, actor, month, authority):
    people = [Person(1), Person(2), Person(3)]
    sent(settings, registry, actor, month, people)
    with as_owner(registry) as conn:  # evidence may not change: the clock is turned back under it
        conn.execute(text("ALTER TABLE transfers DISABLE TRIGGER USER"))
        conn.execute(text("UPDATE transfers SET at = at - interval '40 days'"))
        conn.execute(text("ALTER TABLE transfers ENABLE TRIGGER USER"))
    report = authority.applied(printed(people[0]))
    assert [(one.month, one.exam_code, one.rows, one.age_days) for one in report.missing] == [("202005", "034", 2, 40)]
    assert [(one.rows, one.age_days) for one in missing(registry)] == [(2, 40)]
    authority.applied(printed(people[1]), printed(people[2]))
    assert missing(registry) == []


@pytest.mark.parametrize(
    ("changed", "why"), [({"name": "张叁"}, "name"), ({"id": id_number(50)}, "id_number")], ids=["name", "id"]
)
def test_r04_a_changed_identity_waits_and_the_database_is_untouched(
    settings, registry, actor, month, authority, changed, why
):
    people = [Person(1), Person(2)]
    ids = sent(settings, registry, actor, month, people)
    before = identities(registry)
    report = authority.applied(printed(people[0], **changed), printed(people[1]))
    assert [(one.row_no, one.record_id, one.why) for one in report.doubts] == [(2, "370100-202005-034-v1-000001", why)]
    assert report.counts["missing"] == 0  # it came back, with a question
    assert month.states(ids) == ["SENT", "PRINTED"]
    assert identities(registry) == before


def test_r04_a_small_x_in_an_id_number_is_no_other_number(settings, registry, actor, month, authority):
    people = [Person(1, id_number="11010519491231002X"), Person(2)]
    ids = sent(settings, registry, actor, month, people)
    before = identities(registry)
    report = authority.applied(printed(people[0], id="11010519491231002x"), printed(people[1], id=id_number(3)))
    assert [(one.row_no, one.why) for one in report.doubts] == [(3, "id_number")]
    assert month.states(ids) == ["PRINTED", "SENT"]
    assert identities(registry) == before


def test_r05_a_refused_row_keeps_its_reason_and_can_be_sent_again(settings, registry, actor, month, authority):
    people = [Person(1)]
    first = sent(settings, registry, actor, month, people)
    authority.applied(refused(people[0]))
    assert month.states(first) == ["REFUSED"]
    with registry.read() as conn:
        assert conn.scalars(select(schema.return_rows.c.reason)).all() == ["照片不合格"]
    second = sent(settings, registry, actor, SmallMonth(settings, registry, month="202006"), people)
    # Refused again for the same reason, in a file that differs: an answer to the second request.
    report = authority.applied(refused(people[0]), printed(Person(98)))
    assert report.counts["refused"] == 1
    assert month.states(first + second) == ["REFUSED", "REFUSED"]


def test_a_late_copy_of_an_old_answer_does_not_answer_a_new_request(settings, registry, actor, month, authority):
    people = [Person(1)]
    sent(settings, registry, actor, month, people)
    authority.applied(printed(people[0]))
    second = sent(settings, registry, actor, SmallMonth(settings, registry, month="202006"), people)
    report = authority.applied(printed(people[0]), printed(people[0]))
    assert report.counts["duplicate"] == 2
    assert month.states(second) == ["SENT"]
    authority.applied(printed(people[0], "SD-SECOND", day="20201201"))
    assert events(registry) == [("SD1", "", "OLD1"), ("SD-SECOND", "", "SD1")]


@pytest.mark.parametrize("first", [printed, refused])
@pytest.mark.parametrize(
    ("second", "state"),
    [(lambda one: printed(one, "SD-SECOND", day="20201201"), "PRINTED"), (lambda one: refused(one, "重号"), "REFUSED")],
    ids=["then-printed", "then-refused"],
)
def test_r02_a_file_that_repeats_old_answers_gives_the_new_one(
    settings, registry, actor, month, authority, first, second, state
):
    people = [Person(1)]
    ids = sent(settings, registry, actor, month, people)
    authority.applied(first(people[0]))
    ids += sent(settings, registry, actor, SmallMonth(settings, registry, month="202006"), people)
    report = authority.applied(first(people[0]), second(people[0]), first(people[0]))
    assert (report.counts["duplicate"], report.doubts) == (2, ())
    assert month.states(ids)[1] == state


def test_r02_a_file_of_old_answers_alone_answers_no_new_request(settings, registry, actor, month, authority):
    people = [Person(1)]
    ids = []
    for submitted, answer in (("202005", refused), ("202006", printed), ("202007", None)):
        later = SmallMonth(settings, registry, month=submitted)
        ids += sent(settings, registry, actor, later, people)
        if answer:
            authority.applied(answer(people[0]))
    report = authority.applied(refused(people[0]), printed(people[0]))
    assert (report.counts["duplicate"], report.counts["missing"]) == (2, 1)
    assert month.states(ids) == ["REFUSED", "PRINTED", "SENT"]


def test_r06_a_return_ahead_of_our_own_sent_waits_and_is_taken_later(settings, registry, actor, month, authority):
    people = [Person(1)]
    ids = sent(settings, registry, actor, month, people, state="SENDING")
    report = authority.reconciled(printed(people[0]))
    assert (report.state, report.waiting) == ("RECEIVED", 1)
    assert pending(registry) == [report.return_id]
    with pytest.raises(Conflict, match="RECEIVED"):
        apply(settings, registry, report.return_id, actor)
    assert authority.again(report.return_id) == report
    with registry.begin(actor) as conn:
        conn.execute(update(schema.packages).values(state="SENT"))
        conn.execute(update(schema.rows).values(state="SENT"))
    assert authority.again(report.return_id).state == "RECONCILED"
    assert apply(settings, registry, report.return_id, actor).counts["printed"] == 1
    assert month.states(ids) == ["PRINTED"]


@pytest.mark.parametrize("state", ["UNKNOWN", "SENDING"])
def test_r06_f44_a_return_about_a_package_in_doubt_proves_its_delivery(
    settings, registry, actor, month, authority, state
):
    people = [Person(1), Person(2)]
    ids = sent(settings, registry, actor, month, people, state="SENDING")
    with registry.begin(actor) as conn:
        package = conn.scalar(select(schema.packages.c.id))
        conn.execute(insert(schema.transfers).values(package_id=package, token=1, event="verified"))
        if state == "UNKNOWN":
            conn.execute(update(schema.packages).values(state="UNKNOWN"))
    assert authority.reconciled(printed(people[0], name="张叁")).state == "RECEIVED"  # proves nothing
    report = authority.applied(printed(people[0]))
    assert (report.state, report.counts["printed"], report.counts["missing"]) == ("APPLIED", 1, 1)
    assert month.states(ids) == ["PRINTED", "SENT"]
    with registry.read() as conn:
        assert conn.scalar(select(schema.packages.c.state)) == "SENT"
        told = conn.scalar(text("SELECT count(*) FROM audit WHERE payload::jsonb ->> 'event' = 'send.resolved'"))
        assert transfers.finish(conn, package, 0) is False  # a try still under way is overtaken
    assert told == 1
    assert sick(registry, settings, without="I5") == {}


def test_r06_an_answer_to_a_package_said_not_to_have_arrived_keeps_it_from_going_up_again(
    settings, registry, actor, month, authority
):
    people = [Person(1), Person(2)]
    ids = sent(settings, registry, actor, month, people, state="SENDING")
    with registry.begin(actor) as conn:
        package = conn.scalar(select(schema.packages.c.id))
        conn.execute(insert(schema.transfers).values(package_id=package, token=1, event="verified"))
        conn.execute(update(schema.packages).values(state="UNKNOWN", token=1))
    resolve_unknown(registry, package, delivered=False, by="值班员", reason="电话说没有收到", actor=actor)
    assert authority.reconciled(printed(people[0], name="张叁")).state == "RECEIVED"
    assert authority.applied(printed(people[0])).counts["printed"] == 1
    assert month.states(ids) == ["PRINTED", "SENT"]
    with registry.read() as conn:
        assert conn.scalar(select(schema.packages.c.state)) == "SENT"
        assert transfers.holds(conn, package, 1) is False
    assert sick(registry, settings, without="I5") == {}


@pytest.mark.parametrize("emptied", [False, True], ids=["other-reason", "personal-data-emptied"])
@pytest.mark.parametrize("answer", [printed, refused])
def test_r06_a_changed_copy_of_an_old_answer_proves_nothing(
    settings, registry, actor, month, authority, answer, emptied
):
    people = [Person(1), Person(2)]
    sent(settings, registry, actor, month, people)
    first = authority.applied(answer(people[0])).return_id
    later = SmallMonth(settings, registry, month="202006")
    ids = sent(settings, registry, actor, later, [people[0], Person(3)], state="SENDING")
    line = answer(people[0])
    with registry.begin(actor) as conn:
        conn.execute(update(schema.packages).where(schema.packages.c.state == "SENDING").values(state="UNKNOWN"))
        if emptied:  # retention
            old = update(schema.return_rows).where(schema.return_rows.c.return_id == first)
            conn.execute(old.values(name="", id_number=""))
    if not emptied:
        line = ",".join([*line.split(",")[:5], "另一种写法", *line.split(",")[6:]])
    assert authority.reconciled(line, printed(Person(99))).state == "RECEIVED"
    assert authority.reconciled(printed(people[0], "OLD1"), printed(Person(98))).state == "RECEIVED"
    assert later.states(ids) == ["PACKED", "PACKED"]
    assert authority.reconciled(printed(Person(3))).state == "RECONCILED"
    assert later.states(ids) == ["SENT", "SENT"]


def test_r06_another_number_of_a_person_or_a_serial_that_is_anothers_proves_nothing(
    settings, registry, actor, month, authority
):
    sent(settings, registry, actor, month, [Person(1)])
    authority.applied(printed(Person(1), "SD1"))
    later = SmallMonth(settings, registry, month="202006")
    ids = sent(settings, registry, actor, later, [Person(2)], state="SENDING")
    with registry.begin(actor) as conn:
        conn.execute(update(schema.packages).where(schema.packages.c.state == "SENDING").values(state="UNKNOWN"))
    other = printed(Person(2), id=Person(3).identity)
    assert authority.reconciled(other, printed(Person(99))).state == "RECEIVED"
    assert authority.reconciled(printed(Person(2), "SD1"), printed(Person(98))).state == "RECEIVED"
    assert later.states(ids) == ["PACKED"]


def test_r07_a_return_about_rows_that_were_never_sent_is_held(settings, registry, actor, month, authority):
    people = [Person(1)]
    ids = sent(settings, registry, actor, month, people, state="BUILT")
    report = authority.reconciled(printed(people[0]), printed(Person(99)))
    assert report.state == "HELD"
    assert "RETURN-FOREIGN" in report.reason
    with pytest.raises(Conflict, match="HELD"):
        apply(settings, registry, report.return_id, actor)
    assert month.states(ids) == ["PACKED"]


@pytest.mark.parametrize("state", ["ACCEPTED", "BUILT", "APPROVED"])
def test_r07_an_answer_to_rows_that_have_not_gone_up_yet_holds_the_file_until_they_have(
    settings, registry, actor, month, authority, state
):
    """As after a restore: half a file that is recorded would never be read again for the other half."""
    people = [Person(1), Person(2)]
    ids = sent(settings, registry, actor, month, people[:1])
    later = SmallMonth(settings, registry, month="202006")
    ids += later.submit(people[1:]) if state == "ACCEPTED" else sent(
        settings, registry, actor, later, people[1:], state=state
    )  # fmt: skip
    report = authority.reconciled(*map(printed, people))
    assert report.state == "HELD"
    assert "RETURN-UNSENT: 1 行还没有上报" in report.reason
    assert month.states(ids)[0] == "SENT"
    batch = freeze(registry, Month.parse("202006"), actor)
    (package,) = assemble(settings, registry, batch.id, "034", actor)
    approve(registry, batch.id, "王处长", actor)
    later.send(package)
    assert apply(settings, registry, authority.again(report.return_id).return_id, actor).counts["printed"] == 2
    assert month.states(ids) == ["PRINTED", "PRINTED"]


def test_r08_f46_truncated_goes_back_then_the_whole_file_is_applied(
    settings, registry, actor, month, authority, tmp_path
):
    people = [Person(1), Person(2)]
    ids = sent(settings, registry, actor, month, people)
    whole = "".join(f"{line}\r\n" for line in (HEADER, printed(people[0]), printed(people[1]))).encode("gb18030")
    (tmp_path / "cut.csv").write_bytes(whole[:-9])
    cut = authority.again(receive(settings, registry, tmp_path / "cut.csv", actor))
    assert cut.state == "RETURNED"
    assert "RETURN-TRUNCATED" in cut.reason
    assert month.states(ids) == ["SENT", "SENT"]
    (tmp_path / "whole.csv").write_bytes(whole)
    report = authority.again(receive(settings, registry, tmp_path / "whole.csv", actor))
    assert apply(settings, registry, report.return_id, actor).counts["printed"] == 2
    assert month.states(ids) == ["PRINTED", "PRINTED"]


def test_an_unknown_word_stops_the_whole_file_until_the_profile_knows_it(settings, registry, actor, month, authority):
    people = [Person(1), Person(2)]
    ids = sent(settings, registry, actor, month, people)
    report = authority.reconciled(printed(people[0]), printed(people[1]).replace("已印制", "已制证"))
    assert report.state == "HELD"
    assert "RETURN-WORD" in report.reason
    assert month.states(ids) == ["SENT", "SENT"]
    assert "“已制证”（第 3 行起共 1 行）" in report.reason
    assert "default.toml" in report.reason
    (own,) = copy_shipped(settings)
    own.write_text(own.read_text(encoding="utf-8").replace('["已印制"]', '["已印制", "已制证"]'), encoding="utf-8")
    assert authority.again(report.return_id).state == "RECONCILED"
    apply(settings, registry, report.return_id, actor)
    assert month.states(ids) == ["PRINTED", "PRINTED"]


@pytest.mark.parametrize("serial", ["SD-USED", "OLD1", "OLD3"], ids=["print", "own-old", "somebodys-old"])
def test_r09_a_certificate_number_already_used_waits(settings, registry, actor, month, authority, serial):
    people = [Person(1), Person(2), Person(3)]
    ids = sent(settings, registry, actor, month, people)
    authority.applied(printed(people[1], "SD-USED"))
    report = authority.applied(printed(people[0], serial))
    assert [one.why for one in report.doubts] == ["serial"]
    assert month.states(ids) == ["SENT", "PRINTED", "SENT"]


def refreshed(registry, actor, serials):
    """The certificate database learns of numbers of its own: old one → new one."""
    with registry.begin(actor) as conn:
        for old, new in serials.items():
            conn.execute(update(schema.certificates).where(schema.certificates.c.serial == old).values(serial=new))


def test_r09_a_number_the_database_has_learnt_of_since_the_row_went_up_is_the_new_one(
    settings, registry, actor, month, authority
):
    """A refresh from the ministry may know of a print before its return comes."""
    people = [Person(1), Person(2), Person(3)]
    ids = sent(settings, registry, actor, month, people)
    refreshed(registry, actor, {"OLD1": "SD1", "OLD2": "SD2"})
    report = authority.applied(printed(people[0]), printed(people[1], "OLD2"), printed(people[2], "SD2"))
    assert month.states(ids) == ["PRINTED", "SENT", "SENT"]
    assert [(one.row_no, one.why) for one in report.doubts] == [(3, "serial"), (4, "serial")]
    assert events(registry) == [("SD1", "", "OLD1")]
    assert sick(registry, settings) == {}
    undo(registry, report.return_id, by="李主任", reason="上级更正", actor=actor)
    assert apply(settings, registry, authority.again(report.return_id).return_id, actor).counts["printed"] == 1
    assert sick(registry, settings) == {}


def test_r09_a_number_the_database_knew_when_the_row_was_packed_anew_is_the_old_one(
    settings, registry, actor, month, authority
):
    people = [Person(1)]
    ids = sent(settings, registry, actor, month, people, state="BUILT")
    with registry.read() as conn:
        batch = conn.scalar(select(schema.batches.c.id))
    reject(registry, batch, "王处长", "照片有误", actor)
    refreshed(registry, actor, {"OLD1": "NEW1"})
    (package,) = assemble(settings, registry, batch, "034", actor)
    approve(registry, batch, "王处长", actor)
    month.send(package)
    report = authority.applied(printed(people[0], "NEW1"))
    assert [one.why for one in report.doubts] == ["serial"]
    assert month.states(ids) == ["SENT"]


def test_r09_one_number_for_two_people_in_one_file_waits_for_both(settings, registry, actor, month, authority):
    people = [Person(1), Person(2), Person(3)]
    ids = sent(settings, registry, actor, month, people)
    report = authority.applied(printed(people[0], "SAME"), printed(people[1], "SAME"), printed(people[2]))
    assert [one.why for one in report.doubts] == ["serial", "serial"]
    assert month.states(ids) == ["SENT", "SENT", "PRINTED"]


def test_two_returns_reconciled_before_either_is_applied_print_once(settings, registry, actor, month, authority):
    people = [Person(1), Person(2)]
    ids = sent(settings, registry, actor, month, people)
    first = authority.reconciled(printed(people[0]))
    second = authority.reconciled(printed(people[0]), printed(people[1]))
    assert apply(settings, registry, first.return_id, actor).counts["printed"] == 1
    report = apply(settings, registry, second.return_id, actor)
    assert (report.counts["printed"], report.counts["duplicate"]) == (1, 1)
    assert month.states(ids) == ["PRINTED", "PRINTED"]
    assert len(events(registry)) == 2


def without_number(registry, actor, month, people, numberless):
    """Ids of `people`'s rows, SENT; those of `numberless` stand without 管理号, here as in the certificate database."""
    ids = month.submit(people)
    numbers = {"numbers": [one.management_no for one in numberless]}
    with registry.begin(actor) as conn:
        conn.execute(
            text("UPDATE rows SET management_no = '', certificate_id = NULL WHERE management_no = ANY(:numbers)"),
            numbers,
        )
        conn.execute(text("UPDATE certificates SET management_no = NULL WHERE management_no = ANY(:numbers)"), numbers)
    batch = freeze(registry, Month.parse(month.month), actor)
    (package,) = assemble(month.settings, registry, batch.id, "034", actor)
    approve(registry, batch.id, "王处长", actor)
    month.send(package)
    return ids


def unnumbered(line, number=""):
    return f"{number},{line.split(',', 1)[1]}"


@pytest.mark.parametrize("number", ["", "20180903437999999"], ids=["blank", "filled-in"])
@pytest.mark.parametrize(("answer", "state"), [(printed, "PRINTED"), (refused, "REFUSED")])
def test_r01_the_answer_to_a_row_without_number_is_found_by_its_person(
    settings, registry, actor, month, authority, number, answer, state
):
    people = [Person(1), Person(2), Person(3)]
    ids = without_number(registry, actor, month, people, people[1:2])
    line = unnumbered(answer(people[1]), number)
    report = authority.applied(printed(people[0]), line, line)
    assert (report.counts["duplicate"], report.counts["missing"], report.doubts) == (1, 1, ())
    assert month.states(ids) == ["PRINTED", state, "SENT"]
    assert authority.applied(printed(people[0]), line, printed(people[2])).counts["duplicate"] == 2
    assert month.states(ids) == ["PRINTED", state, "PRINTED"]
    assert sick(registry, settings) == {}
    undo(registry, report.return_id, by="李主任", reason="上级更正", actor=actor)
    assert month.states(ids) == ["SENT", "SENT", "PRINTED"]
    assert sick(registry, settings) == {}


@pytest.mark.parametrize("number", ["", "20180903437999999"], ids=["blank", "filled-in"])
def test_r01_two_rows_a_line_without_number_may_mean_are_a_doubt(settings, registry, actor, month, authority, number):
    twice = Person(2, id_number=Person(1).identity)
    people = [Person(1), twice, Person(3)]
    ids = without_number(registry, actor, month, people, people[:2])
    report = authority.applied(unnumbered(printed(people[0]), number), printed(people[2]))
    assert (report.counts["changed"], [one.why for one in report.doubts]) == (1, ["number"])
    assert month.states(ids) == ["SENT", "SENT", "PRINTED"]


def test_r01_a_line_without_number_answers_no_row_that_has_one(settings, registry, actor, month, authority):
    people = [Person(1), Person(2)]
    ids = without_number(registry, actor, month, people, [])
    report = authority.applied(unnumbered(printed(people[0])), printed(people[1]))
    assert (report.counts["extra"], [one.why for one in report.doubts]) == (1, ["number"])
    assert month.states(ids) == ["SENT", "PRINTED"]


def test_r01_a_strange_number_is_no_answer_where_the_person_waits_for_another_certificate_too(
    settings, registry, actor, month, authority
):
    other = Person(2, id_number=Person(1).identity)
    people = [Person(1), other, Person(3)]
    ids = without_number(registry, actor, month, people, people[:1])
    report = authority.applied(unnumbered(printed(people[1]), "20180903437999999"), printed(people[2]))
    assert [one.why for one in report.doubts] == ["number"]
    assert month.states(ids) == ["SENT", "SENT", "PRINTED"]
    authority.applied(unnumbered(printed(people[0])), printed(people[1]))
    assert month.states(ids) == ["PRINTED", "PRINTED", "PRINTED"]


def test_r01_the_number_of_another_certificate_answers_no_row_without_one(settings, registry, actor, month, authority):
    people = [Person(1), Person(2)]
    ids = without_number(registry, actor, month, people, people[:1])
    with registry.begin(actor) as conn:
        conn.execute(text("UPDATE certificates SET management_no = '20180903437999999' WHERE serial = 'OLD2'"))
    report = authority.applied(unnumbered(printed(people[0]), "20180903437999999"), printed(people[1]))
    assert [one.why for one in report.doubts] == ["unknown"]
    assert month.states(ids) == ["SENT", "PRINTED"]


@pytest.mark.parametrize(("specialty", "why"), [("公路工程", []), ("建筑工程", ["certificate"])])
def test_r01_a_row_without_number_is_tied_to_no_certificate_where_two_may_be_meant(
    settings, registry, actor, month, authority, specialty, why
):
    people = [Person(1), Person(2)]
    ids = without_number(registry, actor, month, people, people[:1])
    fields = "name, id_number, id_type, sex, exam_code, exam_name, level, birth_month, approved_on, city"
    with registry.begin(actor) as conn:
        second = f"INSERT INTO certificates ({fields}, specialty) SELECT {fields}, :specialty"
        conn.execute(text(f"{second} FROM certificates WHERE serial = 'OLD1'"), {"specialty": specialty})
    report = authority.applied(unnumbered(printed(people[0])), printed(people[1]))
    assert [one.why for one in report.doubts] == why
    assert month.states(ids) == ["SENT" if why else "PRINTED", "PRINTED"]


def test_r09_one_serial_for_two_people_without_number_waits_for_both(settings, registry, actor, month, authority):
    people = [Person(1), Person(2), Person(3)]
    ids = without_number(registry, actor, month, people, people[:2])
    report = authority.applied(
        unnumbered(printed(people[0], "SAME")), unnumbered(printed(people[1], "SAME")), printed(people[2])
    )
    assert [one.why for one in report.doubts] == ["serial", "serial"]
    assert month.states(ids) == ["SENT", "SENT", "PRINTED"]


class Watched:
    """A registry that counts, before each commit or rollback, what was read of the index of reversing entries."""

    def __init__(self, registry, *, back=False):
        self.registry, self.back, self.read = registry, back, 0

    @contextmanager
    def begin(self, actor):
        with self.registry.begin(actor) as conn:
            yield conn
            query = "SELECT pg_stat_get_xact_tuples_returned('uq_print_events_reverses'::regclass)"
            self.read = conn.scalar(text(query))
            if self.back:
                raise Conflict


def test_a_try_that_was_rolled_back_does_not_slow_the_next_one_down(settings, registry, actor, month, authority):
    people = [Person(number) for number in range(1, 151)]
    sent(settings, registry, actor, month, people)
    number = authority.reconciled(*map(printed, people)).return_id
    with pytest.raises(Conflict):
        apply(settings, Watched(registry, back=True), number, actor)
    with registry.begin(actor) as conn:
        conn.execute(text("ANALYZE print_events"))  # statistics of 150 dead prints: the table is long, and empty
    watched = Watched(registry)
    assert apply(settings, watched, number, actor).counts["printed"] == 150
    assert watched.read <= 3 * 150  # all with all would be 150 times 150


def test_a_return_changed_on_our_disk_is_not_read(settings, registry, actor, month, authority):
    people = [Person(1)]
    sent(settings, registry, actor, month, people)
    return_id = authority.returns(printed(people[0]))
    with registry.read() as conn:
        digest = conn.scalar(select(schema.returns.c.sha256))
    settings.original(digest).write_bytes(b"other")
    with pytest.raises(DigestMismatch):
        authority.again(return_id)


def test_a_damaged_original_is_mended_by_the_same_file(settings, registry, actor, month, authority):
    sent(settings, registry, actor, month, [Person(1)])
    number = authority.returns(printed(Person(1)))
    with registry.read() as conn:
        original = settings.original(conn.scalar(select(schema.returns.c.sha256)))
    original.write_bytes(original.read_bytes()[:-3])
    with pytest.raises(DigestMismatch, match="请从上级重新取得"):
        authority.again(number)
    assert receive(settings, registry, authority.folder / "返回1.csv", actor) == number
    assert authority.again(number).state == "RECONCILED"


def test_a_server_that_cannot_be_reached_holds_up_nothing_that_is_here(
    settings, registry, actor, month, authority, monkeypatch
):
    def unreachable(*_where):
        raise TransferError("上级服务器没有响应")

    ids = sent(settings, registry, actor, month, [Person(1)])
    number = authority.returns(printed(Person(1)))
    monkeypatch.setattr("certflow.returns.fetch.fetch", unreachable)
    monkeypatch.setenv("CERTFLOW_HOME", str(settings.home))
    monkeypatch.setenv("CERTFLOW_DATABASE_URL", settings.database_url or "")
    told = CliRunner().invoke(app, ["returns", "fetch"])
    assert isinstance(told.exception, TransferError)
    assert f"返回 {number}：已入账" in told.output
    assert month.states(ids) == ["PRINTED"]


def test_reports_reasons_and_audit_name_nobody(settings, registry, actor, month, authority):
    people = [Person(1), Person(2)]
    sent(settings, registry, actor, month, people)
    report = authority.applied(printed(people[0], name="张叁"), printed(people[1]), printed(Person(99)))
    with registry.read() as conn:
        told = str(report.as_json()) + "".join(conn.scalars(text("SELECT payload FROM audit")))
    for value in ("张三", "张叁", people[0].identity, people[1].identity, people[0].management_no):
        assert value not in told


def test_an_unknown_return_is_a_conflict(settings, registry, actor):
    with pytest.raises(Conflict, match="4711"):
        reconcile(settings, registry, 4711, actor)
    with pytest.raises(Conflict, match="4711"):
        apply(settings, registry, 4711, actor)

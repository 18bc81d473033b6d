"""An application taken back: everything stands as before, the chain says who and why, and it may be applied again."""

import json

import pytest
from as_owner import as_owner
from returned import Authority, events, identities, in_force, printed, refused, sent
from small_month import Person, SmallMonth
from sqlalchemy import insert, select, text, update

from certflow.errors import Conflict
from certflow.registry import reprints, return_answers, schema
from certflow.registry.doctor import examine
from certflow.returns.ageing import missing
from certflow.returns.answers import write
from certflow.returns.apply import apply, pending
from certflow.returns.profile import copy_shipped
from certflow.returns.undo import dismiss, undo

BY = {"by": "李主任", "reason": "上级通知返回有误"}


@pytest.fixture
def authority(settings, registry, actor, tmp_path):
    return Authority(settings, registry, actor, tmp_path)


@pytest.fixture
def month(settings, registry):
    return SmallMonth(settings, registry)


@pytest.fixture
def healthy(settings, registry):
    """Called: what the doctor finds."""
    return lambda: {name: problems for name, problems in examine(registry, settings).items() if problems}


def test_undo_restores_exactly_says_so_in_the_chain_and_the_file_may_be_applied_again(
    settings, registry, actor, month, authority, healthy
):
    people = [Person(1), Person(2), Person(3)]
    ids = sent(settings, registry, actor, month, people)
    before = identities(registry), in_force(registry)
    number = authority.applied(printed(people[0]), refused(people[1]), printed(Person(99))).return_id
    assert in_force(registry)[people[0].management_no] == "SD1"
    undone = undo(registry, number, **BY, actor=actor)
    assert (undone.printed, undone.refused) == (1, 1)
    assert month.states(ids) == ["SENT", "SENT", "SENT"]
    assert (identities(registry), in_force(registry)) == before
    assert events(registry) == [("SD1", "", "OLD1"), ("SD1", "撤销", "SD1")]
    assert [one.rows for one in missing(registry)] == [3]
    assert pending(registry) == []  # no scheduled run applies it again
    with registry.read() as conn:
        payloads = [
            json.loads(one) for one in conn.scalars(text("SELECT payload FROM audit ORDER BY seq DESC LIMIT 9"))
        ]
    (told,) = [one for one in payloads if one["event"] == "return.undone"]
    assert (told["by"], told["reason"], told["printed"], told["refused"]) == (*BY.values(), 1, 1)
    assert [one["steps"] for one in payloads if one.get("errand") == "undo" and one["kind"] == "row"] == [
        {"PRINTED>SENT": 1, "REFUSED>SENT": 1}
    ]
    assert healthy() == {}
    report = apply(settings, registry, authority.again(number).return_id, actor)
    assert (report.counts["printed"], report.counts["refused"], report.counts["extra"]) == (1, 1, 1)
    assert month.states(ids) == ["PRINTED", "REFUSED", "SENT"]
    assert in_force(registry)[people[0].management_no] == "SD1"
    assert healthy() == {}
    undo(registry, number, **BY, actor=actor)
    assert (identities(registry), in_force(registry)) == before
    assert healthy() == {}


def test_a_return_read_by_a_wrong_profile_is_undone_and_read_by_the_right_one(
    settings, registry, actor, month, authority, healthy
):
    people = [Person(1), Person(2)]
    ids = sent(settings, registry, actor, month, people)
    (own,) = copy_shipped(settings)
    right = own.read_text(encoding="utf-8")
    own.write_text(right.replace('"已印制"', '"甲"').replace('"退回"', '"已印制"').replace('"甲"', '"退回"'), "utf-8")
    lines = (printed(people[0]), refused(people[1]).replace(",,退回", ",SD2,退回") + "20200801")
    number = authority.applied(*lines).return_id
    assert month.states(ids) == ["REFUSED", "PRINTED"]
    undo(registry, number, **BY, actor=actor)
    own.write_text(right, encoding="utf-8")
    apply(settings, registry, authority.again(number).return_id, actor)
    assert month.states(ids) == ["PRINTED", "REFUSED"]
    assert healthy() == {}


def test_a_database_refreshed_meanwhile_does_not_keep_a_return_from_being_taken_back(
    settings, registry, actor, month, authority, healthy
):
    people = [Person(1), Person(2)]
    ids = sent(settings, registry, actor, month, people)
    number = authority.applied(printed(people[0]), refused(people[1])).return_id
    with registry.begin(actor) as conn:  # the monthly refresh brings serials of the ministry's own
        conn.execute(text("UPDATE certificates SET serial = 'NEW' || id"))
    assert undo(registry, number, **BY, actor=actor).printed == 1
    assert month.states(ids) == ["SENT", "SENT"]
    assert in_force(registry)[people[0].management_no].startswith("NEW")
    assert healthy() == {}


def test_a_serial_that_was_taken_back_is_free_for_another_certificate(
    settings, registry, actor, month, authority, healthy
):
    people = [Person(1), Person(2)]
    sent(settings, registry, actor, month, people)
    number = authority.applied(printed(people[0], "SD-MIXED")).return_id
    undo(registry, number, **BY, actor=actor)
    assert authority.applied(printed(people[1], "SD-MIXED")).counts["printed"] == 1
    assert apply(settings, registry, authority.again(number).return_id, actor).doubts[0].why == "serial"
    assert healthy() == {}


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("UPDATE rows SET state = 'DELIVERED' WHERE state = 'PRINTED'", "1 行的新证书已经发放"),
        ("UPDATE deliveries SET state = 'PUSHED'", "1 行的新证书已经交寄"),
    ],
    ids=["delivered", "posted"],
)
def test_what_has_moved_on_is_not_undone(settings, registry, actor, month, authority, what, said):
    people = [Person(1), Person(2)]
    ids = sent(settings, registry, actor, month, people)
    number = authority.applied(printed(people[0]), refused(people[1])).return_id
    with registry.begin(actor) as conn:
        conn.execute(text(what))
    states, before = month.states(ids), events(registry)
    with pytest.raises(Conflict, match=said):
        undo(registry, number, **BY, actor=actor)
    assert (month.states(ids), events(registry)) == (states, before)


def test_a_refusal_the_city_has_answered_by_a_new_request_is_not_undone(
    settings, registry, actor, month, authority, healthy
):
    people = [Person(1)]
    sent(settings, registry, actor, month, people)
    number = authority.applied(refused(people[0])).return_id
    second = SmallMonth(settings, registry, month="202006").submit(people)
    with pytest.raises(Conflict, match="已有新的申报在办"):
        undo(registry, number, **BY, actor=actor)
    assert month.states(second) == ["ACCEPTED"]
    assert healthy() == {}


def test_a_refusal_whose_correction_was_printed_is_not_undone(settings, registry, actor, month, authority, healthy):
    people = [Person(1)]
    sent(settings, registry, actor, month, people)
    first = authority.applied(refused(people[0])).return_id
    sent(settings, registry, actor, SmallMonth(settings, registry, month="202006"), people)
    authority.applied(printed(people[0]))
    with pytest.raises(Conflict, match="此后又有新的印制记录"):
        undo(registry, first, **BY, actor=actor)
    assert healthy() == {}


def test_a_print_that_was_printed_over_is_not_undone(settings, registry, actor, month, authority):
    people = [Person(1)]
    sent(settings, registry, actor, month, people)
    first = authority.applied(printed(people[0])).return_id
    sent(settings, registry, actor, SmallMonth(settings, registry, month="202006"), people)
    second = authority.applied(printed(people[0], "SD-SECOND")).return_id
    with pytest.raises(Conflict, match="此后又有新的印制记录"):
        undo(registry, first, **BY, actor=actor)
    undo(registry, second, **BY, actor=actor)
    assert in_force(registry)[people[0].management_no] == "SD1"


def test_only_an_applied_return_is_undone_and_only_once_with_a_reason(settings, registry, actor, month, authority):
    people = [Person(1)]
    sent(settings, registry, actor, month, people)
    number = authority.reconciled(printed(people[0])).return_id
    with pytest.raises(Conflict, match="RECONCILED"):
        undo(registry, number, **BY, actor=actor)
    apply(settings, registry, number, actor)
    with pytest.raises(Conflict, match="原因"):
        undo(registry, number, by="李主任", reason=" ", actor=actor)
    undo(registry, number, **BY, actor=actor)
    with pytest.raises(Conflict, match="UNDONE"):
        undo(registry, number, **BY, actor=actor)
    with pytest.raises(Conflict, match="4711"):
        undo(registry, 4711, **BY, actor=actor)


def test_the_database_itself_refuses_the_way_back_without_the_errand_and_a_serial_in_force_twice(
    settings, registry, actor, month, authority
):
    people = [Person(1), Person(2)]
    sent(settings, registry, actor, month, people)
    authority.applied(printed(people[0]), refused(people[1]))
    for state in ("PRINTED", "REFUSED"):
        with pytest.raises(Conflict, match='to "SENT"'), registry.begin(actor) as conn:
            conn.execute(update(schema.rows).where(schema.rows.c.state == state).values(state="SENT"))
    with registry.read() as conn:
        event = conn.execute(select(schema.print_events)).one()
        other = conn.scalar(select(schema.return_rows.c.id).where(schema.return_rows.c.bucket == "refused"))
    values = {
        name: getattr(event, name) for name in ("certificate_id", "row_id", "serial", "mark", "printed_on", "voids")
    }
    for wrong in (
        {"return_row_id": other},
        {"return_row_id": event.return_row_id, "serial": "SD-OTHER", "reverses": event.id},
    ):
        with pytest.raises(Conflict, match="print_events"), registry.begin(actor) as conn:
            conn.execute(insert(schema.print_events).values(values | wrong))


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM print_events WHERE reverses IS NOT NULL", "与返回行"),
        ("UPDATE return_undos SET printed = 2", "记为 2 行"),
        ("UPDATE return_rows SET undo_id = NULL", "与返回行"),
    ],
)
def test_i9_the_doctor_understands_an_undo(settings, registry, actor, month, authority, statement, said):
    sent(settings, registry, actor, month, [Person(1)])
    undo(registry, authority.applied(printed(Person(1))).return_id, **BY, actor=actor)
    with as_owner(registry, triggers=False) as conn:
        conn.execute(text(statement))
    assert said in "\n".join(examine(registry, settings)["I9"])


def test_i6_a_way_back_that_the_chain_does_not_call_an_undo_is_named(settings, registry, actor, month, authority):
    sent(settings, registry, actor, month, [Person(1)])
    authority.applied(printed(Person(1)))
    with registry.begin(actor) as conn:
        conn.execute(text("SELECT set_config('certflow.errand', 'undo', true)"))
        conn.execute(update(schema.rows).values(state="SENT"))
    with as_owner(registry, triggers=False) as conn:
        conn.execute(text("UPDATE audit SET payload = replace(payload, 'undo', 'else')"))
    assert "只有撤销时才允许" in "\n".join(examine(registry, settings)["I6"])


def answers(settings):
    return sorted(path.name for path in settings.feedback.rglob("*") if path.is_file())


def told(registry, actor):
    """As `intake.pull.reply` does once the files lie in the city's folder."""
    with registry.begin(actor) as conn:
        for one in return_answers.owed(conn):
            return_answers.told(conn, one)


def test_r05_each_city_gets_its_lists_once_and_a_recall_only_of_what_it_has(
    settings, registry, actor, month, authority, healthy
):
    people, others = [Person(1), Person(2)], [Person(3)]
    month.submit(others, account="370200")
    sent(settings, registry, actor, month, people)
    number = authority.applied(printed(people[0]), refused(people[1]), printed(others[0])).return_id
    write(settings, registry)
    write(settings, registry)
    assert answers(settings) == ["202005-上级返回结果-R000001.xlsx", "202005-上级返回结果-R000002.xlsx"]
    undo(registry, number, **BY, actor=actor)  # nobody has them yet: nobody is told
    with registry.read() as conn:
        assert return_answers.owed(conn) == []
    apply(settings, registry, authority.again(number).return_id, actor)
    write(settings, registry)
    told(registry, actor)
    undo(registry, number, **BY, actor=actor)
    write(settings, registry)
    with registry.read() as conn:
        assert [(one.account, one.tag) for one in return_answers.owed(conn)] == [
            ("370100", "U000003"), ("370200", "U000004"),
        ]  # fmt: skip
    told(registry, actor)
    apply(settings, registry, authority.again(number).return_id, actor)
    write(settings, registry)
    told(registry, actor)
    write(settings, registry)
    assert answers(settings)[:6] == [f"202005-上级返回结果-R00000{n}.xlsx" for n in range(1, 7)]
    assert answers(settings)[6:] == ["202005-撤销通知-U000003.txt", "202005-撤销通知-U000004.txt"]
    with registry.read() as conn:
        assert return_answers.owed(conn) == []
    assert healthy() == {}


def test_f42_a_list_of_another_return_under_the_same_number_is_written_over(
    settings, registry, actor, month, authority
):
    """The database alone was restored: its numbers begin again, what was written before still lies there."""
    sent(settings, registry, actor, month, [Person(1), Person(2)])
    folder = settings.feedback / "370100" / "202005"
    folder.mkdir(parents=True)
    left = [folder / "202005-上级返回结果-R000001.xlsx", folder / "202005-撤销通知-U000001.txt"]
    for file in left:
        file.write_bytes(b"of another return")
    number = authority.applied(refused(Person(1))).return_id
    write(settings, registry)
    told(registry, actor)
    undo(registry, number, **BY, actor=actor)
    write(settings, registry)
    seen = [file.read_bytes() for file in left]
    assert b"of another return" not in seen
    write(settings, registry)
    assert [file.read_bytes() for file in left] == seen, "the city's copy would be another file"


def test_the_lists_hold_the_reason_and_the_new_serial_and_only_the_citys_own_rows(
    settings, registry, actor, month, authority
):
    from openpyxl import load_workbook

    month.submit([Person(3, name="王五")], account="370200")
    sent(settings, registry, actor, month, [Person(1), Person(2, name="李四")])
    authority.applied(printed(Person(1)), refused(Person(2, name="李四")), printed(Person(3, name="王五")))
    write(settings, registry)
    (file,) = (settings.feedback / "370100").rglob("*.xlsx")
    book = load_workbook(file)
    texts = {sheet.title: [[cell or "" for cell in row] for row in sheet.iter_rows(values_only=True)] for sheet in book}
    assert list(texts) == ["退回单", "发放清单"]
    assert [row[-1] for row in texts["退回单"][3:]] == ["照片不合格"]
    assert [(row[3], row[7], row[8]) for row in texts["发放清单"][3:]] == [("张三", "SD1", "20200801")]
    assert "王五" not in str(texts)


def test_r07_a_held_file_that_is_not_ours_is_dismissed_with_a_reason_and_may_be_read_again(
    settings, registry, actor, month, authority, healthy
):
    ids = sent(settings, registry, actor, month, [Person(1)])
    number = authority.reconciled(printed(Person(99))).return_id
    with registry.read() as conn:
        assert [one.return_id for one in reprints.waiting(conn)] == [number]
    with pytest.raises(Conflict, match="原因"):
        dismiss(registry, number, by="李主任", reason=" ", actor=actor)
    dismiss(registry, number, **BY, actor=actor)
    with registry.read() as conn:
        assert reprints.waiting(conn) == []
        told = json.loads(conn.scalar(text("SELECT payload FROM audit ORDER BY seq DESC LIMIT 1")))
        found = reprints.find(conn, number)
    assert (told["event"], told["by"], told["reason"]) == ("return.dismissed", *BY.values())
    assert (found.state, "李主任" in found.reason, "RETURN-FOREIGN" in found.reason) == ("RETURNED", True, True)
    with pytest.raises(Conflict, match="RETURNED"):
        dismiss(registry, number, **BY, actor=actor)
    assert (pending(registry), month.states(ids), healthy()) == ([], ["SENT"], {})
    assert authority.again(number).state == "HELD"


def test_an_applied_file_cannot_be_dismissed(settings, registry, actor, month, authority):
    sent(settings, registry, actor, month, [Person(1)])
    number = authority.applied(printed(Person(1))).return_id
    with pytest.raises(Conflict, match="APPLIED"):
        dismiss(registry, number, **BY, actor=actor)

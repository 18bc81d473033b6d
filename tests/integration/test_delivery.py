"""The new certificate on its way: EMS orders, waybills, tracking in any order, returned mail, the desk, the evidence.

Every test ends with the doctor (`home`).
"""

import csv
import datetime as dt
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from printed_month import print_month
from small_month import Person
from sqlalchemy import select, text, update

from certflow.cli.story import tell
from certflow.delivery import orders, pickup
from certflow.delivery.daily import run_city
from certflow.delivery.take import move, take_file
from certflow.errors import Conflict
from certflow.excel import Page, read_table, write_xlsx
from certflow.month import Month
from certflow.reference import load_reference
from certflow.registry import deliveries, evidence, schema
from certflow.registry.doctor import examine
from certflow.registry.purge import purge
from certflow.registry.timeline import timeline
from certflow.reports.story import events

CITY = "370100"
ADDRESS = "济南市历下区某路1号"


@pytest.fixture
def home(settings, registry, actor, tmp_path):
    place = Home(settings, registry, actor, tmp_path)
    yield place
    assert {name: lines for name, lines in examine(registry, settings).items() if lines} == {}


class Home:
    """A city with printed certificates, and everything that comes in about them."""

    def __init__(self, settings, registry, actor, folder):
        self.settings, self.registry, self.actor, self.folder = settings, registry, actor, folder
        self.people = []

    def print(self, number=3):
        self.people = [Person(one) for one in range(1, number + 1)]
        print_month(self.settings, self.registry, self.people, self.folder)

    def print_again(self, *people):
        """The certificates of these are asked for once more, and come back printed."""
        print_month(self.settings, self.registry, list(people), self.folder, when=Month(2023, 6))

    def list(self, name, *lines, kind="ems", account=""):
        file = self.folder / name
        with file.open("w", encoding="utf-8-sig", newline="") as stream:
            csv.writer(stream).writerows(lines)
        return take_file(self.settings, self.registry, kind, file, actor=self.actor, account=account)

    def choose(self, *lines, name="choices.csv"):
        head = ("管理号", "领取方式", "收件人", "联系电话", "邮编", "收件地址")
        return self.list(name, head, *lines, kind="choices", account=CITY)

    def mail(self, person, address=ADDRESS):
        return (person.management_no, "邮寄", "张三", "13800000000", "250000", address)

    def track(self, *lines, name="track.csv"):
        return self.list(name, ("订单号", "运单号", "状态", "时间"), *lines)

    def day(self, **settings):
        from dataclasses import replace

        own = replace(self.settings, **settings) if settings else self.settings
        return run_city(own, self.registry, load_reference(own), CITY, self.actor)

    def export(self, *, whole=False):
        made = orders.export_states(self.settings, self.registry, self.actor, whole=whole)
        return list(csv.DictReader(made.file.open(encoding="utf-8-sig"))) if made else []

    def states(self):
        """管理号 → state of the delivery and of the row."""
        with self.registry.read() as conn:
            query = select(schema.rows.c.management_no, schema.deliveries.c.state, schema.rows.c.state)
            return {
                number: (state, row)
                for number, state, row in conn.execute(query.join(schema.deliveries).order_by(schema.rows.c.id))
            }

    def state(self, person):
        return self.states()[person.management_no][0]

    def evidence(self, files, drop=None):
        drop = drop or orders.folder(self.settings, CITY, "领取凭证")
        for name, data in files.items():
            path = drop / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            os.utime(path, (1, 1))
        return drop

    def mailed(self, people=None):
        """Order everybody's certificate and give waybills W1, W2 …; the references of the order lines."""
        people = people or self.people
        self.choose(*(self.mail(one) for one in people), name="mailed.csv")
        self.day()
        with self.registry.read() as conn:
            found = deliveries.by_number(conn, [one.management_no for one in people])
        references = [found[one.management_no].order for one in people]
        lines = [(reference, f"W{number}", "", "") for number, reference in enumerate(references, start=1)]
        self.track(*lines, name="waybills.csv")
        return references


def test_every_printed_row_is_somewhere_from_the_first_moment(home):
    home.print()
    assert set(home.states().values()) == {("PRINTED", "PRINTED")}


def test_mail_goes_from_order_to_signature(home):
    home.print(2)
    (reference, _) = home.mailed()
    (file,) = orders.folder(home.settings, CITY, "EMS订单").iterdir()
    first = list(read_table(file))[1]
    assert first[1:6] == [reference, "张三", "13800000000", "250000", ADDRESS]
    told = home.track(
        ("", "W1", "已收寄", "2020-09-01 10:00"),
        ("", "W1", "派送中", "2020-09-02 08:00"),
        ("", "W1", "妥投", "2020-09-02 11:30"),
        ("", "W2", "揽收", "2020/9/1 10:05"),
    )
    assert (told.state, told.counts["moved"], told.unknown, told.against) == ("APPLIED", 4, (), ())
    one, two = home.people
    assert home.states()[one.management_no] == ("SIGNED", "CLOSED")
    assert home.states()[two.management_no] == ("COLLECTED", "PRINTED")
    with home.registry.read() as conn:
        steps = conn.scalars(
            select(schema.moves.c.to_state)
            .where(schema.moves.c.kind == "delivery", schema.moves.c.object_id == 1)
            .order_by(schema.moves.c.id)
        ).all()
    assert steps == ["PRINTED", "PUSHED", "COLLECTED", "UNDERWAY", "SIGNED"]


def test_nothing_is_ordered_twice(home):
    home.print(2)
    home.mailed()
    assert home.day().ordered == 0
    assert len(list(orders.folder(home.settings, CITY, "EMS订单").iterdir())) == 1


def test_who_chooses_otherwise_after_the_order_is_told_of_until_the_parcel_is_where_he_wants_it(home):
    home.print(3)
    one, two, three = home.people
    home.mailed()
    changed = home.mail(two, "青岛市某路2号")
    home.choose((one.management_no, "自取", "", "", "", ""), changed, home.mail(three), name="changed.csv")
    record = "370100-202005-034-v1-00000{}".format
    assert home.day().overtaken == (record(1), record(2))
    home.choose(home.mail(two), name="as before.csv")
    assert home.day().overtaken == (record(1),)
    home.choose(changed, name="changed once more.csv")
    assert [home.state(person) for person in home.people] == ["PUSHED"] * 3  # EMS has them, or their order
    told = {"by": "李四", "reason": "EMS 未收寄，已撤单", "actor": home.actor}
    for person in (one, two):
        move(home.registry, person.management_no, "PICKUP", **told)
    day = home.day()
    assert (day.overtaken, day.ordered, home.state(one), home.state(two)) == ((), 1, "PICKUP", "PUSHED")
    home.track(("", "W3", "已收寄", "2020-09-01 10:00"))
    with pytest.raises(Conflict, match="不能改为"):
        move(home.registry, three.management_no, "PICKUP", **told)  # EMS has it


@pytest.mark.parametrize("recorded", [False, True])
def test_a_list_that_was_not_recorded_never_lies_under_its_name(home, monkeypatch, recorded):
    home.print(1)
    home.choose(home.mail(home.people[0]))
    tomorrow = dt.datetime.now(dt.UTC) + dt.timedelta(1)

    def made(make, place):
        """Make a list, the machine dying before or after its commit, and again the day after; the files there."""

        def die(conn, *_, **__):
            if recorded:
                conn.commit()
            raise OSError("the machine dies")

        with monkeypatch.context() as patch:
            patch.setattr(orders, "note", die)
            with pytest.raises(OSError, match="dies"):
                make()
        assert not [path for path in place.iterdir() if path.suffix != ".part"]
        with monkeypatch.context() as patch:
            patch.setattr(orders, "_today", lambda: tomorrow)
            make()
        return [path.name for path in place.iterdir()]

    day = f"{orders._today() if recorded else tomorrow:%Y%m%d}"
    ems, province = orders.folder(home.settings, CITY, "EMS订单"), home.settings.path("delivery", "全省")
    assert made(home.day, ems) == [f"EMS-{CITY}-{day}-1.xlsx"]
    assert made(home.export, province) == [f"发放状态-{day}-1-全部.csv"]
    stranger = ems / f"EMS-{CITY}-20200901-9.xlsx"
    stranger.write_bytes(b"of an earlier version, or of a ledger that was restored")
    assert examine(home.registry, home.settings)["I5"] == [f"EMS订单 中有台账没有的清单 {stranger.name}"]
    stranger.unlink()


def test_without_a_list_the_certificate_is_kept_for_pick_up(home):
    home.print(2)
    assert home.day().at_desk == 2
    assert {state for state, _ in home.states().values()} == {"KEPT"}
    home.choose(home.mail(home.people[0]))  # decided later
    assert home.day().ordered == 1
    assert home.state(home.people[0]) == "PUSHED"


def test_a_choice_counts_for_the_delivery_it_was_made_for_alone(home):
    home.print(3)
    one, two, three = home.people
    home.mailed([one])
    home.choose((two.management_no, "自取", "", "", "", ""), home.mail(three), name="others.csv")
    home.day()
    home.track(("", "W1", "已签收", "2020-09-03 09:00"), name="signed.csv")
    move(home.registry, two.management_no, "HANDED", by="李四", reason="本人来领", actor=home.actor)
    with home.registry.begin(home.actor) as conn:
        conn.execute(update(schema.rows).where(schema.rows.c.state == "DELIVERED").values(state="CLOSED"))
    home.choose(home.mail(two), name="early.csv")  # before the certificate is even asked for once more
    home.print_again(one, two)
    day = home.day(delivery_way="mail")
    assert (day.ordered, day.without_address) == (1, 1)
    assert (home.state(one), home.state(two)) == ("PRINTED", "PUSHED")
    home.choose(home.mail(one, "青岛市某路2号"), name="later.csv")
    assert home.day().ordered == 1
    with home.registry.read() as conn:
        ways = [found.way for found in deliveries.standing(conn, CITY)]
    assert ways == ["mail", "mail", "pickup", "mail", "mail"]


def test_no_parcel_is_sent_to_an_address_that_was_erased(home):
    home.print(2)
    one, two = home.people
    home.choose((one.management_no, "自取", "", "", "", ""), name="first.csv")
    home.choose(home.mail(one), home.mail(two))
    with home.registry.begin(home.actor) as conn:
        empty = dict.fromkeys(("recipient", "phone", "postcode", "address"), "")
        where = schema.delivery_choices.c.management_no == one.management_no
        conn.execute(update(schema.delivery_choices).where(where).values(empty))
    day = home.day(delivery_way="mail")
    assert (day.ordered, day.at_desk, day.without_address, home.state(one)) == (1, 0, 1, "PRINTED")


def test_where_mail_is_the_default_a_missing_address_is_told(home):
    home.print(2)
    day = home.day(delivery_way="mail")
    assert (day.at_desk, day.ordered, day.without_address) == (0, 0, 2)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("{0}", "邮寄", "张三", "", "", ADDRESS), "第 3 行邮寄须有收件人、电话和地址"),
        (("{0}", "无人机", "", "", "", ""), "第 3 行的领取方式不认识"),
        (("29990000000000001", "自取", "", "", "", ""), "第 3 行的管理号在本市没有补换申请"),
        (("{1}", "自取", "", "", "", ""), "第 3 行与第 2 行是同一个管理号"),
        (("", "自取", "", "", "", ""), "第 3 行没有管理号"),
    ],
    ids=["address", "word", "unknown", "twice", "number"],
)  # fmt: skip
def test_a_list_of_choices_is_taken_whole_or_not_at_all(home, line, said):
    home.print(2)
    first, second = (one.management_no for one in home.people)
    taken = home.choose(home.mail(home.people[0]), [value.format(second, first) for value in line])
    assert (taken.state, taken.reason) == ("HELD", said)
    with home.registry.read() as conn:
        assert conn.scalars(select(schema.delivery_choices.c.id)).all() == []


def test_a_choice_of_another_city_is_not_taken(home):
    home.print(1)
    head = ("管理号", "领取方式", "收件人", "联系电话", "邮编", "收件地址")
    taken = home.list("other.csv", head, home.mail(home.people[0]), kind="choices", account="370200")
    assert "本市没有补换申请" in taken.reason


def test_tracking_in_any_order_and_twice_comes_to_the_same(home):
    home.print(1)
    home.mailed()
    late = (("", "W1", "已签收", "2020-09-03 09:00"), ("", "W1", "已收寄", "2020-09-01 10:00"))
    for number, line in enumerate((*late, late[0])):
        home.track(line, name=f"{number}.csv")
    assert home.states()[home.people[0].management_no] == ("SIGNED", "CLOSED")
    again = home.track(*late, name="all.csv")
    assert (again.counts["moved"], again.counts["repeated"]) == (0, 2)
    assert home.track(*late, name="all.csv").reason == "以前已经导入过，这次未起作用"
    with home.registry.read() as conn:
        effects = conn.scalars(select(schema.delivery_events.c.effect).order_by(schema.delivery_events.c.id)).all()
    assert effects == ["waybill", "moved", "late"]


def test_an_unknown_word_holds_the_file_until_the_profile_knows_it(home):
    home.print(2)
    home.mailed()
    lines = (("", "W1", "已收寄", "2020-09-01 10:00"), ("", "W2", "到达驿站", "2020-09-01 10:00"))
    taken = home.track(*lines, name="word.csv")
    assert (taken.state, taken.reason) == ("HELD", "第 3 行的状态不认识")
    assert {state for state, _ in home.states().values()} == {"PUSHED"}
    from certflow.delivery.profile import copy_profile

    own = copy_profile(home.settings, "ems")
    own.write_text(own.read_text("utf-8").replace('"派送中",', '"派送中", "到达驿站",'), encoding="utf-8")
    assert home.track(*lines, name="word.csv").state == "APPLIED"
    assert [state for state, _ in home.states().values()] == ["COLLECTED", "UNDERWAY"]


def test_lines_about_other_parcels_are_told_and_the_rest_applied(home):
    home.print(1)
    home.mailed()
    taken = home.track(("", "X9", "已签收", "2020-09-03 09:00"), ("", "W1", "已收寄", "2020-09-01 10:00"))
    assert (taken.unknown, taken.counts["moved"]) == ((2,), 1)


def test_a_parcel_signed_for_and_returned_is_a_question_for_a_person(home):
    home.print(1)
    home.mailed()
    taken = home.track(("", "W1", "退回", "2020-09-03 09:00"), ("", "W1", "已签收", "2020-09-04 09:00"))
    assert taken.against == (3,)
    assert home.states()[home.people[0].management_no] == ("RETURNED", "PRINTED")
    move(home.registry, home.people[0].management_no, "SIGNED", by="李四", reason="EMS 更正", actor=home.actor)
    assert home.states()[home.people[0].management_no] == ("SIGNED", "CLOSED")


def test_a_second_waybill_for_an_order_is_a_question_for_a_person_and_holds_up_no_other_line(home):
    home.print(2)
    one, _ = home.mailed()
    taken = home.track((one, "W77", "", ""), ("", "W2", "已收寄", "2020-09-01 10:00"), name="second.csv")
    assert (taken.state, taken.against, taken.counts["moved"]) == ("APPLIED", (2,), 1)
    told = home.track((one, "W77", "已签收", "2020-09-03 09:00"), ("", "W1", "已收寄", "2020-09-01 10:00"))
    assert told.against == (2,)
    with home.registry.read() as conn:
        found = deliveries.by_order(conn, [one])[one]
        story = events(timeline(conn, home.people[0].management_no))
    assert (found.waybill, found.state) == ("W1", "COLLECTED")
    (when,) = (line.at for line in story if line.what == "EMS 跟踪：运单号 W77（与已知矛盾）")
    assert when > story[0].at


def test_a_file_of_ems_of_which_nothing_is_ours_is_told_by_the_daily_round(home):
    home.print(1)
    (reference,) = home.mailed()
    drop = orders.folder(home.settings, CITY, "EMS回传") / "strange.csv"
    ours, other = f"{reference},W1,已收寄,2020-09-02", ",X,签收,2020-09-03"
    for lines, told in (((f"{reference[:-4]}1,X,已收寄,2020-09-01", other), 1), ((ours, other), 0)):
        drop.write_text("\n".join(("订单号,运单号,状态,时间", *lines)), encoding="utf-8")
        os.utime(drop, (1, 1))
        assert len(home.day().foreign) == told
    assert home.state(home.people[0]) == "COLLECTED"


def test_a_waybill_is_the_same_however_a_program_or_a_person_wrote_it(home):
    home.print(3)
    home.choose(*(home.mail(one) for one in home.people))
    home.day()
    with home.registry.read() as conn:
        found = deliveries.by_number(conn, [one.management_no for one in home.people])
    one, two, three = (found[person.management_no].order for person in home.people)
    home.track(
        (one.replace("-", "－"), "'1100000000017", "", ""),
        (two, "ea 123456785 cn", "", ""),
        (three, "\u200bw３", "", ""),
    )
    told = home.track(
        ("", "1100000000017", "已收寄", "2020-09-01 10:00"), ("", "EA123456785CN", "已收寄", "2020-09-01 10:00"),
        (f" {three}", "W3", "已收寄", "2020-09-01 10:00"), name="again.csv",
    )  # fmt: skip
    assert (told.counts["moved"], told.unknown, told.against) == (3, (), ())


def test_the_daily_round_tells_which_certificates_a_line_of_ems_contradicts(home):
    home.print(2)
    home.mailed()
    drop = orders.folder(home.settings, CITY, "EMS回传") / "back.csv"
    lines = ("运单号,状态,时间", "W1,已签收,2020-09-03 09:00", "W1,退回,2020-09-04 09:00", "W2,已收寄,2020-09-03 09:00")
    drop.write_text("\n".join(lines), encoding="utf-8")
    os.utime(drop, (1, 1))
    assert home.day().against == (f"{CITY}-202005-034-v1-000001",)
    assert home.day().against == ()


def test_an_order_list_may_have_more_than_9999_lines(home):
    home.print(2)
    home.mailed()
    with home.registry.begin(home.actor) as conn:
        # 10000 and 1000 are different lines, though a number padded to four places by the database is cut to them.
        for one, line in ((1, 1_000), (2, 10_000)):
            where = schema.deliveries.c.id == one
            conn.execute(update(schema.deliveries).where(where).values(order_line=line))
        found = deliveries.by_number(conn, [one.management_no for one in home.people])
        known = deliveries.by_order(conn, [one.order for one in found.values()])
    assert sorted((one.order.rpartition("-")[2], one.id) for one in known.values()) == [("1000", 1), ("10000", 2)]


def test_one_parcel_may_hold_two_certificates(home):
    home.print(2)
    home.choose(*(home.mail(one) for one in home.people))
    home.day()
    with home.registry.read() as conn:
        found = deliveries.by_number(conn, [one.management_no for one in home.people])
    home.track(*((one.order, "W1", "", "") for one in found.values()), ("", "W1", "已签收", "20200903090000"))
    assert set(home.states().values()) == {("SIGNED", "CLOSED")}


def test_returned_mail_goes_out_again_to_a_new_address_or_is_picked_up(home):
    home.print(3)
    home.mailed()
    home.track(*(("", f"W{number}", "退回", "2020-09-03 09:00") for number in (1, 2, 3)))
    assert home.day().ordered == 0  # nobody has said where to
    one, two, three = home.people
    home.choose(home.mail(one, "青岛市某路2号"), (two.management_no, "自取", "", "", "", ""), name="again.csv")
    move(home.registry, three.management_no, "PICKUP", by="李四", reason="电话联系", actor=home.actor)
    day = home.day()
    assert (day.ordered, day.at_desk) == (1, 1)
    assert [state for state, _ in home.states().values()] == ["PUSHED", "PICKUP", "PICKUP"]
    # A late line about the first parcel moves nothing any more; the second one has its own.
    late = home.track(("", "W1", "派送中", "2020-09-02 09:00"), name="late.csv")
    assert late.counts["late"] == 1
    with home.registry.read() as conn:
        second = deliveries.by_number(conn, [one.management_no])[one.management_no]
    assert second.order.endswith("-2-0001")
    home.track((second.order, "W9", "已签收", "2020-09-10 09:00"), name="second.csv")
    assert home.state(one) == "SIGNED"


def test_the_same_list_again_takes_effect_where_the_mail_came_back_or_the_way_was_changed(home):
    home.print(3)
    one, two, three = home.people
    first = (home.mail(one), home.mail(two), home.mail(three))
    counts = {"lines": 3, "mail": 3, "pickup": 0}

    def again():
        told = home.choose(*first, name="mailed.csv")
        return told.reason, {key: told.counts.get(key, 0) for key in ("mail", "repeated")}

    home.mailed()
    assert again() == ("以前已经导入过，这次未起作用", {"mail": 3, "repeated": 0})  # on its way: as was asked for
    home.choose((two.management_no, "自取", "", "", "", ""), name="desk.csv")
    home.track(("", "W1", "退回", "2020-09-03 09:00"), ("", "W3", "已签收", "2020-09-03 09:00"), name="back.csv")
    assert again() == ("以前已经导入过，有变动的这次重新起作用", {"mail": 2, "repeated": 1})
    assert again()[0] == "以前已经导入过，这次未起作用"
    assert (home.day().ordered, [state for state, _ in home.states().values()]) == (1, ["PUSHED", "PUSHED", "SIGNED"])
    home.print_again(three)  # the same bytes may well be the choice for the next certificate of that number
    assert again()[0] == "以前已经导入过，有变动的这次重新起作用"
    assert (home.day().ordered, again()[0]) == (1, "以前已经导入过，这次未起作用")
    with home.registry.read() as conn:
        kept = conn.scalar(select(schema.delivery_files.c.counts).where(schema.delivery_files.c.name == "mailed.csv"))
    assert kept == counts


def test_a_list_that_repeats_what_is_on_its_way_sends_nothing_out_again_when_that_comes_back(home):
    home.print(2)
    one, two = home.people
    home.mailed([one])
    taken = home.choose(home.mail(one), home.mail(two), name="grown.csv")  # the city's list grows from week to week
    assert taken.counts == {"lines": 2, "mail": 1, "pickup": 0, "repeated": 1}
    home.track(("", "W1", "退回", "2020-09-03 09:00"), name="back.csv")
    assert (home.day().ordered, home.state(one)) == (1, "RETURNED")  # nobody has said where to since
    home.choose(home.mail(one), home.mail(two), (), name="grown more.csv")
    assert (home.day().ordered, home.state(one)) == (1, "PUSHED")


def test_a_list_whose_time_is_over_says_nothing_about_a_later_reissue(home):
    home.print(1)
    home.mailed()
    home.track(("", "W1", "已签收", "2020-09-03 09:00"))
    purge(home.settings, home.registry, dt.datetime.now(dt.UTC) + dt.timedelta(4000), home.actor)
    home.print_again(*home.people)
    assert home.choose(home.mail(home.people[0]), name="mailed.csv").reason == "以前已经导入过，这次未起作用"
    assert home.day(delivery_way="mail").without_address == 1


def test_a_list_that_a_run_left_behind_when_it_died_is_not_sent_again(home, monkeypatch):
    home.print(1)
    (one,) = home.people
    drop = orders.folder(home.settings, CITY, "收件名单")
    drop.mkdir(parents=True)
    head = "管理号,领取方式,收件人,联系电话,邮编,收件地址"

    def put(name, line):
        (drop / name).write_text(f"{head}\n{line}\n", encoding="utf-8")
        os.utime(drop / name, (1, 1))

    put("b.csv", ",".join(home.mail(one)))
    with monkeypatch.context() as patch:
        patch.delattr("certflow.delivery.drops.take_away")
        with pytest.raises(AttributeError):
            home.day()
    put("a.csv", f"{one.management_no},自取,,,,")  # changed his mind since
    day = home.day()
    assert (day.applied, day.unchanged, day.ordered, home.state(one)) == (1, 1, 0, "KEPT")
    assert list(drop.iterdir()) == []
    put("b.csv", ",".join(home.mail(one)))  # and once more
    day = home.day()
    assert (day.applied, day.ordered, home.state(one)) == (1, 1, "PUSHED")


def test_withheld_and_released(home):
    home.print(1)
    number = home.people[0].management_no
    move(home.registry, number, "WITHHELD", by="李四", reason="身份存疑", actor=home.actor)
    assert home.day().at_desk == 0
    move(home.registry, number, "KEPT", by="李四", reason="已核实", actor=home.actor)
    assert home.state(home.people[0]) == "KEPT"
    with pytest.raises(Conflict, match="不能改为"):
        move(home.registry, number, "SIGNED", by="李四", reason="—", actor=home.actor)
    for by, reason in (("", "身份存疑"), ("李四", " ")):
        with pytest.raises(Conflict, match="由谁决定和原因"):
            move(home.registry, number, "WITHHELD", by=by, reason=reason, actor=home.actor)
    assert home.state(home.people[0]) == "KEPT"


def test_a_decision_is_about_the_certificate_it_names_in_the_state_it_was_shown(home):
    home.print(1)
    (one,) = home.people
    told = {"by": "李四", "reason": "误记", "actor": home.actor}
    home.day()
    move(home.registry, one.management_no, "HANDED", **told)
    with home.registry.begin(home.actor) as conn:
        conn.execute(update(schema.rows).where(schema.rows.c.state == "DELIVERED").values(state="CLOSED"))
    home.print_again(one)
    home.day()
    old, new = ("370100-202005-034-v1-000001", "370100-202306-034-v1-000001")
    assert move(home.registry, one.management_no, "WITHHELD", **told).record_id == new
    with pytest.raises(Conflict, match="现在的状态是“已领取”"):
        move(home.registry, old, "KEPT", shown="KEPT", **told)
    assert move(home.registry, old, "KEPT", shown="HANDED", **told).record_id == old
    assert home.state(one) == "WITHHELD"
    with pytest.raises(Conflict, match="没有这个"):
        move(home.registry, " ", "KEPT", **told)  # a certificate without a number is not the one meant


def test_evidence_from_the_devices_closes_a_pick_up(home):
    home.print(3)
    home.day()
    one, two, three = home.people
    drop = home.evidence({
        f"{one.management_no}/签名.png": b"s1", f"{one.management_no}/身份证.jpg": b"i1",
        f"{two.identity}_签名.png": b"s2",  # by the holder's ID number
        "IMG_0001.jpg": b"?",
        "readme.exe": b"no evidence",
    })  # fmt: skip
    day = home.day()
    assert (day.evidence, day.handed, day.closed, day.unlinked) == (4, 2, 1, 1)
    assert home.states()[one.management_no] == ("HANDED", "CLOSED")
    assert home.states()[two.management_no] == ("HANDED", "DELIVERED")
    assert home.states()[three.management_no] == ("KEPT", "PRINTED")
    assert [path.name for path in drop.rglob("*") if path.is_file()] == ["readme.exe"]
    lacking, lost = pickup.status(home.settings, home.registry, CITY)
    assert [(one.management_no, one.missing) for one in lacking] == [(two.management_no, ("本人身份证",))]
    assert pickup.original_of(home.settings, home.registry, lost[0].id)[1] == b"?"
    missing = pickup.link(
        home.settings, home.registry, lost[0].id, two.management_no, kind="本人身份证", by="李四", actor=home.actor
    )
    assert missing == []
    assert home.states()[two.management_no] == ("HANDED", "CLOSED")
    assert pickup.status(home.settings, home.registry)[1] == []


def test_a_proxy_needs_both_identity_cards_and_the_letter(home):
    home.print(1)
    home.day()
    number = home.people[0].management_no
    home.evidence({f"{number}_签名.png": b"s", f"{number}_代领人身份证.jpg": b"p", f"{number}_本人身份证.jpg": b"h"})
    home.day()
    assert home.states()[number] == ("HANDED", "DELIVERED")
    lacking, _ = pickup.status(home.settings, home.registry)
    assert lacking[0].missing == ("委托书",)
    home.evidence({f"{number}_委托书.pdf": b"letter"})
    assert home.day().closed == 1
    assert home.states()[number] == ("HANDED", "CLOSED")


def test_who_comes_to_the_desk_before_the_post_does_is_told_of(home, monkeypatch):
    from typer.testing import CliRunner

    from certflow.cli import app

    home.print(1)
    (one,) = home.people
    home.choose(home.mail(one))
    home.day()
    home.evidence({f"{one.identity}_签名.png": b"ink", f"{one.identity}_本人身份证.jpg": b"card"})
    day = home.day()
    assert (home.state(one), day.handed, day.elsewhere) == ("PUSHED", 0, 1)
    environment = {"CERTFLOW_HOME": str(home.settings.home), "CERTFLOW_DATABASE_URL": home.settings.database_url}
    told = CliRunner().invoke(app, ["delivery", "evidence", "status", "--json"], env=environment).output
    (away,) = json.loads(told)["elsewhere"]
    assert (away["management_no"], away["state"]) == (one.management_no, "PUSHED")
    move(home.registry, one.management_no, "SIGNED", by="李四", reason="未寄出，本人已领", actor=home.actor)
    assert (home.states()[one.management_no], home.day().elsewhere) == (("SIGNED", "CLOSED"), 0)


def test_evidence_that_fits_two_certificates_waits_for_a_person(home):
    same = Person(7).identity
    home.people = [Person(1, id_number=same), Person(2, id_number=same)]
    print_month(home.settings, home.registry, home.people, home.folder)
    home.day()
    home.evidence({f"{same}_签名.png": b"s"})
    day = home.day()
    assert (day.handed, day.unlinked) == (0, 1)


@pytest.mark.parametrize(
    ("held", "read"),
    [("34052419800101001x", "34052419800101001X"), ("110105491231002", "11010519491231002X"),
     ("H12345678(01)", "H1234567801")],
)  # fmt: skip
def test_the_id_reader_finds_its_person_however_the_database_writes_the_number(home, held, read):
    home.people = [Person(1, id_number=held), Person(2)]
    print_month(home.settings, home.registry, home.people, home.folder)
    home.day()
    one, two = home.people
    home.evidence({f"{read}_签名.png": b"s", f"{one.management_no}/{read}_身份证.png": b"i",
                   f"{two.management_no}/{read}_签名.png": b"?"})  # fmt: skip
    assert (home.day().closed, home.state(one), home.state(two)) == (1, "HANDED", "KEPT")


def test_evidence_whose_name_says_two_people_waits_for_a_person(home):
    home.print(2)
    home.day()
    one, two = home.people
    # The second one's papers, scanned into the folder of the first, who stands beside him.
    home.evidence({f"{one.management_no}/{two.identity}_签名.png": b"s", f"{one.management_no}/身份证.png": b"i"})
    day = home.day()
    assert (day.handed, day.unlinked, home.state(one), home.state(two)) == (0, 1, "KEPT", "KEPT")
    home.evidence({f"{one.management_no}/{one.identity}_签名.png": b"his own"})
    assert (home.day().closed, home.state(one)) == (1, "HANDED")


def test_what_is_still_being_written_is_left_for_the_next_round(home):
    home.print(1)
    home.day()
    number = home.people[0].management_no
    drop = home.evidence({f"{number}_签名.png": b"half"})
    listed = orders.folder(home.settings, CITY, "收件名单") / "half.csv"
    listed.write_text("管理号,领取方式\n", encoding="utf-8")
    os.utime(drop / f"{number}_签名.png")
    day = home.day()
    assert (day.evidence, day.held, len(list(drop.iterdir()))) == (0, (), 1)
    home.evidence({f"{number}_签名.png": b"half and half"})
    listed.unlink()
    assert home.day().handed == 1
    assert list(drop.iterdir()) == []


def test_t16_a_name_in_gbk_holds_up_nothing_in_a_drop_folder(home):
    home.print(2)
    one, two = home.people
    home.day()
    drop = home.evidence({os.fsdecode(f"签名_{one.management_no}.png".encode("gbk")): b"ink"})
    listed = orders.folder(home.settings, CITY, "收件名单") / os.fsdecode("名单.csv".encode("gbk"))
    text_of_it = "管理号,领取方式,收件人,联系电话,邮编,收件地址\n" + ",".join(home.mail(two))
    listed.write_bytes(text_of_it.encode("gbk"))
    os.utime(listed, (1, 1))
    day = home.day()
    assert (day.handed, day.ordered, day.unlinked) == (1, 1, 0)
    assert (list(drop.iterdir()), list(listed.parent.iterdir())) == ([], [])
    with home.registry.read() as conn:
        assert conn.scalars(select(schema.pickup_files.c.name)).all() == [f"签名_{one.management_no}.png"]
        assert conn.scalars(select(schema.delivery_files.c.name)).all() == ["名单.csv"]


def test_a_file_that_is_no_evidence_by_its_kind_is_told_and_what_a_desktop_leaves_is_not(home):
    home.print(1)
    (one,) = home.people
    home.day()
    drop = home.evidence({f"{one.identity}_签名.heic": b"a telephone's", "空.png": b"", "Thumbs.db": b"x"})
    day = home.day()
    assert (day.refused, day.evidence, home.state(one)) == (2, 0, "KEPT")
    assert len(list(drop.iterdir())) == 3


def test_what_may_not_be_read_or_is_gone_holds_up_nothing_in_a_drop_folder(home, monkeypatch):
    home.print(2)
    one, two = home.people
    drop = home.evidence({"签名_张三丰.png": b"locked", "签名.bmp": b"gone", f"{one.management_no}_签名.png": b"ink"})
    listed = orders.folder(home.settings, CITY, "收件名单") / "locked.csv"
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text("管理号", encoding="utf-8")
    home.choose(home.mail(two))
    may, look = os.access, Path.lstat
    locked = {drop / "签名_张三丰.png", listed}
    monkeypatch.setattr(os, "access", lambda path, mode: path not in locked and may(path, mode))

    def vanish(path):
        if path.name == "签名.bmp":
            path.unlink(missing_ok=True)
        return look(path)

    monkeypatch.setattr(Path, "lstat", vanish)
    day = home.day()
    assert (day.unread, day.handed, day.ordered) == (2, 1, 1)
    assert all(path.is_file() for path in locked)


def test_what_a_device_writes_over_while_it_is_taken_in_stays_for_the_next_round(home, monkeypatch):
    home.print(1)
    home.day()
    drop = home.evidence({"签名.bmp": b"BM" + b"A" * 100})
    turn = deliveries.take_turn

    def written_over(conn):
        turn(conn)
        home.evidence({"签名.bmp": b"BM" + b"B" * 100})  # a pad's pictures are all of one size

    monkeypatch.setattr(deliveries, "take_turn", written_over)
    pickup.import_folder(home.settings, home.registry, CITY, drop, actor=home.actor, take_away=True)
    monkeypatch.undo()
    assert [path.name for path in drop.iterdir()] == ["签名.bmp"]
    assert (home.day().evidence, list(drop.iterdir())) == (1, [])


def test_the_same_evidence_twice_is_one_file(home):
    home.print(1)
    home.day()
    number = home.people[0].management_no
    files = {f"{number}_签名.png": b"s"}
    first, second = (
        pickup.import_folder(home.settings, home.registry, CITY, home.evidence(files), actor=home.actor)
        for _ in range(2)
    )
    assert (first.new, first.linked, second.new, second.linked) == (1, 1, 0, 0)


def test_evidence_that_was_linked_once_hands_out_no_other_certificate_when_it_comes_again(home):
    one = Person(1)
    other = Person(2, id_number=one.identity)
    print_month(home.settings, home.registry, [one], home.folder)
    home.day()
    named = {f"{one.identity}_签名.png": b"s", f"{one.management_no}/身份证.jpg": b"i"}
    bare = {"IMG.jpg": b"?"}

    def take_in(files):
        drop = home.evidence(files, home.folder / "高拍仪")
        return pickup.import_folder(home.settings, home.registry, CITY, drop, actor=home.actor)

    assert (take_in(named | bare).known, home.states()) == (0, {one.management_no: ("HANDED", "CLOSED")})
    home.print_again(one, other)
    home.day()
    told = take_in(named | bare)
    assert (told.new, told.known, told.linked, told.handed, told.closed) == (0, 2, 0, 0, 0)
    assert home.states()[other.management_no] == ("KEPT", "PRINTED")
    # What never belonged to a certificate may still find one, and one picture may show whose two certificates they are.
    told = take_in({f"{other.management_no}/签名.jpg": b"?", f"{other.management_no}/身份证.png": b"both",
                    f"{one.management_no}/身份证.png": b"both"})  # fmt: skip
    assert (told.linked, home.states()[other.management_no]) == (3, ("HANDED", "CLOSED"))


def test_one_proxys_papers_for_two_people_belong_to_both_whenever_they_come(home):
    home.print(2)
    home.day()
    for one in home.people:
        own = {f"{one.identity}_本人身份证.jpg": one.identity.encode(), f"{one.identity}_签名.png": b"one sheet"}
        home.evidence(own | {f"{one.identity}_委托书.jpg": b"letter", f"{one.identity}_代领人身份证.jpg": b"proxy"})
        assert (home.day().closed, home.day().closed) == (1, 0)
    with home.registry.read() as conn:
        there = deliveries.by_number(conn, [one.management_no for one in home.people])
        kinds = pickup.pickups.kinds(conn, [one.id for one in there.values()])
    assert [*kinds.values()] == [{"holder_id", "signature", "letter", "proxy_id"}] * 2


def test_i1_lost_evidence_is_named_by_the_doctor(settings, registry, actor, tmp_path):
    home = Home(settings, registry, actor, tmp_path)
    home.print(1)
    home.evidence({"IMG.jpg": b"x"})
    home.day()
    with registry.read() as conn:
        digest = conn.scalar(select(schema.pickup_files.c.sha256))
    settings.original(digest).write_bytes(b"y")
    assert digest[:12] in examine(registry, settings)["I1"][0]


def test_what_is_kept_too_long_is_overdue_under_the_rules_of_2023(home):
    home.print(2)
    home.day()
    with home.registry.begin(home.actor) as conn:
        first = schema.deliveries.c.id == 1
        conn.execute(update(schema.deliveries).where(first).values(kept_at=text("now() - interval '6 years'")))
    reference = load_reference(home.settings)
    assert orders.expire(home.settings, home.registry, reference, home.actor) == 0  # 2020 names no limit
    own = replace(home.settings, rule_set="2023")
    assert orders.expire(own, home.registry, reference, home.actor) == 1
    file, kept = orders.keeping_list(own, home.registry, reference, CITY)
    lines = list(read_table(file))
    assert kept == 2
    assert [line[5] for line in lines[3:]] == ["超期", "保管中"]
    assert lines[4][7] > lines[4][6]  # kept until
    move(home.registry, home.people[0].management_no, "HANDED", by="李四", reason="本人来领", actor=home.actor)


def test_what_is_overdue_at_the_desk_is_mailed_when_its_holder_asks_for_it(home):
    home.print(1)
    (one,) = home.people
    home.day()
    with home.registry.begin(home.actor) as conn:
        conn.execute(update(schema.deliveries).values(state="EXPIRED"))
    home.choose(home.mail(one))
    with home.registry.read() as conn:
        assert [city.waiting for city in deliveries.punctuality(conn, 3)] == [1]
    assert (home.day().ordered, home.state(one)) == (1, "PUSHED")


def test_where_rules_go_by_their_date_paper_is_kept_by_those_of_today(settings):
    reference = load_reference(settings)
    assert orders.keeping_rules(replace(settings, rule_set="2020"), reference).keep_unclaimed_years is None
    dated = replace(settings, rule_set="dated")
    assert orders.keeping_rules(dated, reference, dt.date(2023, 6, 14)).name == "2020"
    assert orders.keeping_rules(dated, reference, dt.date(2023, 6, 15)).name == "2023"
    assert orders.keeping_rules(dated, reference).keep_unclaimed_years == 5


def test_the_way_from_print_to_ems_is_measured(home):
    home.print(3)
    home.mailed(home.people[:1])
    home.choose(home.mail(home.people[1]), name="later.csv")
    with home.registry.read() as conn:
        (one,) = deliveries.punctuality(conn, 3)
    assert (one.account, one.pushed, one.within, one.waiting) == (CITY, 1, 0, 1)  # printed on 2020-08-01
    assert one.median_days == one.slowest_days > 1000


def test_states_are_exchanged_with_the_provinces_system(home):
    home.print(3)
    home.day()
    one, two, _ = home.people
    lines = (
        (one.management_no, "已领取", "2020-09-01 09:00", ""),
        (two.management_no, "已签收", "2020-09-02 09:00", "EP1"),
        ("29990000000000001", "已签收", "2020-09-02 09:00", ""),
    )
    taken = home.list("issue.csv", ("管理号", "状态", "时间", "运单号"), *lines, kind="exchange")
    assert (taken.counts["moved"], taken.unknown) == (2, (4,))
    assert list(home.states().values()) == [("HANDED", "DELIVERED"), ("SIGNED", "CLOSED"), ("KEPT", "PRINTED")]
    told = home.export()
    assert [line["状态"] for line in told] == ["已领取", "已签收", "保管中"]
    assert told[1]["运单号"] == "EP1"


def test_an_export_tells_what_changed_since_the_one_before_and_the_whole_when_asked(home):
    home.print(3)
    home.day()
    one, two, three = (person.management_no for person in home.people)
    assert [line["状态"] for line in home.export()] == ["保管中"] * 3
    assert home.export() == []
    home.choose(home.mail(home.people[0]), name="mail.csv")
    assert [(line["管理号"], line["发放方式"]) for line in home.export()] == [(one, "邮寄")]
    home.day()
    with home.registry.read() as conn:
        (reference,) = [found.order for found in deliveries.by_number(conn, [one]).values()]
    assert [(line["管理号"], line["状态"]) for line in home.export()] == [(one, "已推送EMS")]
    home.track((reference, "W1", "", ""))
    assert [(line["管理号"], line["运单号"]) for line in home.export()] == [(one, "W1")]
    with home.registry.begin(home.actor) as conn:
        conn.execute(text("SELECT set_config('certflow.errand', 'undo', true)"))
        conn.execute(update(schema.rows).where(schema.rows.c.management_no == two).values(state="SENT"))
    assert [(line["管理号"], line["状态"]) for line in home.export()] == [(two, "待印制")]
    assert [(line["管理号"], line["状态"]) for line in home.export(whole=True)] == [
        (one, "已推送EMS"), (three, "保管中")
    ]  # fmt: skip
    assert home.export() == []
    with home.registry.begin(home.actor) as conn:
        conn.execute(update(schema.rows).where(schema.rows.c.management_no == two).values(state="PRINTED"))
    names = [path.name for path in home.settings.path("delivery", "全省").iterdir()]
    assert len(names) == 6
    assert sum("全部" in name for name in names) == 2


def test_the_evidence_of_a_day_lists_what_ems_and_the_province_were_told(home):
    home.print(1)
    home.mailed()
    home.export()
    now = dt.datetime.now(dt.UTC)
    with home.registry.read() as conn:
        told = evidence.orders(conn, now - dt.timedelta(1), now + dt.timedelta(1))
    assert [(one["account"], one["name"].split("-")[0]) for one in told] == [("", "发放状态"), (CITY, "EMS")]
    assert all(home.settings.original(one["sha256"]).is_file() for one in told)


def test_a_workbook_of_ems_is_read_like_a_csv(home):
    home.print(1)
    home.mailed()
    file = home.folder / "track.xlsx"
    write_xlsx(
        file,
        [Page("1", [("序", "邮件号", "邮件状态", "操作时间"), ("1", "W1", "妥投", "2020-09-01 10:00:05")], (9,) * 4)],
    )
    assert take_file(home.settings, home.registry, "ems", file, actor=home.actor).counts["moved"] == 1


def test_an_undone_print_is_awaited_again_but_not_once_the_paper_is_out(home):
    home.print(2)
    home.mailed(home.people[:1])

    def undo(conn, number):
        conn.execute(text("SELECT set_config('certflow.errand', 'undo', true)"))
        where = schema.rows.c.management_no == home.people[number].management_no
        conn.execute(update(schema.rows).where(where).values(state="SENT"))

    with pytest.raises(Conflict, match="delivery"), home.registry.begin(home.actor) as conn:
        undo(conn, 0)
    with home.registry.begin(home.actor) as conn:
        undo(conn, 1)
        state = conn.scalar(select(schema.deliveries.c.state).where(schema.deliveries.c.id == 2))
        conn.execute(update(schema.rows).where(schema.rows.c.state == "SENT").values(state="PRINTED"))
    assert state == "AWAITING"
    assert home.state(home.people[1]) == "PRINTED"


def test_one_timeline_from_the_citys_file_to_the_signature(home, capsys):
    home.print(2)
    home.mailed(home.people[:1])
    home.day()
    home.track(("", "W1", "已签收", "2020-09-03 09:00"))
    number = home.people[1].management_no
    home.evidence({f"{number}_签名.png": b"s", f"{number}_本人身份证.png": b"i"})
    home.day()
    with home.registry.read() as conn:
        stories = [timeline(conn, one.management_no) for one in home.people]
    (mailed,), (picked,) = (story["requests"] for story in stories)
    assert [step["to"] for step in mailed["delivery"]["moves"]] == ["PRINTED", "PUSHED", "SIGNED"]
    assert mailed["delivery"]["tracking"][-1]["state"] == "SIGNED"
    assert [one["kind"] for one in picked["delivery"]["evidence"]] == ["holder_id", "signature"]
    proved = [
        *(file["sha256"] for file in mailed["files"]), *(one["sha256"] for one in mailed["packages"]),
        *(one["sha256"] for one in mailed["returns"]), mailed["delivery"]["order_sha256"],
        *(one["sha256"] for one in mailed["delivery"]["tracking"] + picked["delivery"]["evidence"]),
    ]  # fmt: skip
    assert len(proved) == 8
    assert all(len(digest) == 64 for digest in proved)
    for story in stories:
        tell(story | {"certificate": story["certificate"] | {"name": "张*", "id_number": "1*"}})
    told = capsys.readouterr().out
    for words in (
        "收到地市文件",
        "受理 → 已组包",
        "数据包 1：批准",
        "领取方式名单：邮寄",
        "新证书：证书编号 SD1",
        "EMS 跟踪：已签收",
        "领取凭证 2：签名",
        "办结",
    ):
        assert words in told
    assert home.people[0].identity not in told


def test_i12_what_waits_for_a_person_too_long_is_named(settings, registry, actor, tmp_path, monkeypatch):
    home = Home(settings, registry, actor, tmp_path)
    home.print(1)
    home.mailed()
    home.track(("", "W1", "退回", "2020-09-03 09:00"))
    home.evidence({"IMG.jpg": b"x"})
    home.day()
    assert examine(registry, settings)["I12"] == []
    monkeypatch.setattr("certflow.registry.holds.LIMIT_DAYS", 0)
    time.sleep(1.1)
    told = examine(registry, settings)["I12"]
    assert "领取凭证 1 收到已超过 0 天" in told[0]
    assert "delivery 1 个处于 RETURNED" in told[1]


def test_the_commands_lead_from_the_list_to_the_bundle(home, monkeypatch):
    from typer.testing import CliRunner

    from certflow.cli import app

    def ask(*words, code=0):
        done = CliRunner().invoke(app, [str(word) for word in words], env=environment)
        assert done.exit_code == code, (words, done.output)
        return done.output

    environment = {
        "CERTFLOW_HOME": str(home.settings.home), "CERTFLOW_DATABASE_URL": home.settings.database_url, "COLUMNS": "200",
    }  # fmt: skip
    monkeypatch.chdir(home.folder)
    home.print(3)
    one, two, three = (person.management_no for person in home.people)
    head = "管理号,领取方式,收件人,联系电话,邮编,收件地址"
    Path("choices.csv").write_text(f"{head}\n{','.join(home.mail(home.people[0]))}\n", encoding="utf-8")
    assert ask("delivery", "choose", "choices.csv", "--account", CITY) == "行 1，邮寄 1\n"
    for command in (["run", "999999"], ["evidence", "import", ".", "--account", "37010"]):
        assert "没有账号" in str(CliRunner().invoke(app, ["delivery", *command], env=environment).exception)
    assert "EMS 订单 1 件，入库保管 2 本" in ask("delivery", "run", CITY)
    (order,) = orders.folder(home.settings, CITY, "EMS订单").iterdir()
    lines = f"订单号,运单号,状态,时间\n{order.stem}-0001,W1,,\n,W1,妥投,2020-09-01\n,W9,妥投,2020-09-01\n"
    Path("track.csv").write_text(lines, encoding="utf-8")
    assert "更新状态 1，运单号 1，不是我们的 1" in ask("delivery", "track", "track.csv")
    assert "以前已经导入过" in ask("delivery", "track", "track.csv")
    Path("word.csv").write_text("运单号,状态,时间\nW1,丢失,2020-09-01\n", encoding="utf-8")
    assert "没有作任何更改：第 2 行的状态不认识" in ask("delivery", "track", "word.csv", code=1)
    drop = Path("devices")
    drop.mkdir()
    (drop / f"{home.people[1].identity}_签名.png").write_bytes(b"s")
    (drop / "IMG.png").write_bytes(b"i")
    told = ask("delivery", "evidence", "import", drop, "--account", CITY)
    assert told == "文件 2 个，新收 2，关联 1；领取 1 本，办结 0 本；待关联 1 个\n"
    told = ask("delivery", "evidence", "status")
    assert "本人身份证" in told
    assert home.people[1].identity not in told
    number = json.loads(ask("delivery", "evidence", "status", "--json"))["unlinked"][0]["id"]
    ask("delivery", "evidence", "show", number, "look.png")
    assert Path("look.png").read_bytes() == b"i"
    told = ask("delivery", "evidence", "link", number, two, "--kind", "本人身份证", "--by", "李四")
    assert told == "尚缺：无，凭证齐全\n"
    assert "尚缺：本人身份证" in ask("delivery", "evidence", "unlink", number, two, "--by", "李四", "--reason", "错")
    ask("delivery", "evidence", "link", number, two, "--kind", "本人身份证", "--by", "李四")
    told = ask("delivery", "move", three, "暂扣", "--by", "李四", "--reason", "身份存疑")
    assert told.endswith("保管中 → 暂扣\n")
    assert "暂扣" in ask("delivery", "status")
    assert json.loads(ask("delivery", "keeping", "--account", CITY, "--json"))["certificates"] == 1
    assert "全部 3 本" in ask("delivery", "exchange")
    assert json.loads(ask("delivery", "exchange", "--full", "--json"))["certificates"] == 3
    assert "EMS 跟踪：已签收" in ask("trace", one)
    assert json.loads(ask("trace", two, "--json"))["requests"][0]["state"] == "CLOSED"
    days = ("--from", "2020-01-01", "--to", "2099-12-31")
    assert "原件 7 个" in ask("evidence", "export", "e.zip", *days)
    ask("evidence", "verifier", "v")
    words = [sys.executable, "-I", "v/verify_evidence.py", "--key", "v/certflow-公钥.txt", "e.zip"]
    assert subprocess.run(words, capture_output=True, check=False).stdout.decode() == "e.zip：完好\n"


def test_a_wrong_link_is_taken_back_on_record_and_the_right_one_made(home):
    home.print(2)
    home.day()
    wrong, right = (one.management_no for one in home.people)
    drop = home.evidence({f"{wrong}_签名.png": b"s", f"{wrong}_本人身份证.png": b"i"})
    home.day()
    assert home.states() == {wrong: ("HANDED", "CLOSED"), right: ("KEPT", "PRINTED")}
    home_of = (home.settings, home.registry)
    told = {"by": "李四", "reason": "拿错了文件名", "actor": home.actor}
    with pytest.raises(Conflict, match="有领取签名"):
        move(home.registry, wrong, "KEPT", **told)
    with pytest.raises(Conflict, match="没有关联到"):
        pickup.unlink(*home_of, 1, right, **told)
    assert pickup.unlink(*home_of, 1, wrong, **told) == ["本人身份证"]
    assert home.states()[wrong] == ("HANDED", "DELIVERED")
    assert pickup.unlink(*home_of, 2, wrong, **told) == ["本人身份证", "签名"]
    lacking, lost = pickup.status(*home_of)
    assert ([one.management_no for one in lacking], [one.id for one in lost]) == ([wrong], [1, 2])
    move(home.registry, wrong, "KEPT", **told)
    assert home.states()[wrong] == ("KEPT", "PRINTED")
    # The device's files come once more, with the same wrong names: what a person took back stays taken back.
    home.evidence({path.name: data for path, data in ((drop / f"{wrong}_签名.png", b"s"),)})
    assert (home.day().handed, home.states()[wrong]) == (0, ("KEPT", "PRINTED"))
    for file in (1, 2):
        missing = pickup.link(*home_of, file, right, kind="", by="李四", actor=home.actor)
    assert missing == []
    assert home.states() == {wrong: ("KEPT", "PRINTED"), right: ("HANDED", "CLOSED")}
    pickup.link(*home_of, 2, wrong, kind="", by="李四", actor=home.actor)  # a person may come to think otherwise
    assert home.states()[wrong] == ("HANDED", "DELIVERED")
    with home.registry.read() as conn:
        story = timeline(conn, wrong)
        words = [json.loads(one) for one in conn.scalars(text("SELECT payload FROM audit ORDER BY seq"))]
    told = [(line.what, line.who) for line in events(story)]
    assert ("撤销凭证 1 的关联：拿错了文件名", "李四") in told
    kept = [
        (one["file_id"], one["unlinked_by"], one["unlink_reason"])
        for one in story["requests"][0]["delivery"]["evidence"]
    ]
    assert kept == [(1, "李四", "拿错了文件名"), (2, "李四", "拿错了文件名"), (2, None, None)]
    chained = [(one["file"], one["by"], one["reason"]) for one in words if one["event"] == "pickup unlink"]
    assert chained == [(1, "李四", "拿错了文件名"), (2, "李四", "拿错了文件名")]
    assert [one["steps"] for one in words if one.get("errand") == "undo"] == [
        {"CLOSED>DELIVERED": 1},
        {"HANDED>KEPT": 1},
        {"DELIVERED>PRINTED": 1},
    ]


def test_i10_nothing_personal_is_chained_or_reported(home):
    home.print(1)
    one = home.people[0]
    home.choose(home.mail(one))
    day = home.day()
    home.evidence({f"{one.identity}_张三.png": b"x", "张三签名.jpg": b"y"})
    told = [day.as_json(), home.day().as_json()]
    with home.registry.read() as conn:
        told.append("".join(conn.scalars(text("SELECT payload FROM audit"))))
    for value in (one.identity, "张三", "13800000000", ADDRESS):
        assert value not in json.dumps(told, ensure_ascii=False)
    assert Path(home.settings.path("delivery")).is_dir()

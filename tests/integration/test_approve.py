"""The gate before sending, who answered it, and how a month stands."""

import json

import pytest
from made_submissions import Made, person, write_registry
from small_month import CITIES, Person, SmallMonth, id_number
from sqlalchemy import insert, text

from certflow.checks.run import check_city
from certflow.dispatch.approve import AUTOMATIC, approve, digest_of, gate, pass_gate, reject
from certflow.dispatch.assemble import assemble
from certflow.dispatch.freeze import freeze
from certflow.dispatch.month import month_status, reporting
from certflow.errors import Conflict
from certflow.month import Month
from certflow.reference import load_reference
from certflow.registry import approvals, certificates, months, packages, schema, transfers
from certflow.settings import Settings

MAY = Month(2020, 5)


@pytest.fixture
def month(settings, registry):
    return SmallMonth(settings, registry)


@pytest.fixture
def batch(settings, registry, actor, month):
    month.submit([Person(1), Person(2)])
    frozen = freeze(registry, MAY, actor)
    assemble(settings, registry, frozen.id, "034", actor)
    return frozen


def having(settings, approval):
    return Settings(home=settings.home, database_url=settings.database_url, approval=approval)


def nil(registry, actor, month, accounts):
    with registry.begin(actor) as conn:
        for account in accounts:
            conn.execute(
                insert(schema.files).values(
                    account=account, lane="month", name="n", raw_name=b"n", sha256=account * 8, size=0, month=month,
                    kind="nil",
                )
            )  # fmt: skip


def others(settings, *reported):
    return [account for account in load_reference(settings).cities if account not in reported]


def states(registry, batch):
    with registry.read() as conn:
        return [one.state for one in packages.packages_of(conn, batch.id)]


def test_never_asks_nobody_and_records_who_passed_it(settings, registry, actor, batch):
    found = pass_gate(having(settings, "never"), registry, batch.id, actor)
    assert (found.needs_approval, found.reasons) == (False, ())
    assert states(registry, batch) == ["APPROVED"]
    assert gate(settings, registry, batch.id).approved_by == AUTOMATIC


def test_always_waits_and_passes_once_approved(settings, registry, actor, batch):
    strict = having(settings, "always")
    assert pass_gate(strict, registry, batch.id, actor).needs_approval
    assert states(registry, batch) == ["BUILT"]
    approve(registry, batch.id, "王处长", actor)
    found = pass_gate(strict, registry, batch.id, actor)
    assert (found.needs_approval, found.approved_by) == (False, "王处长")
    assert states(registry, batch) == ["APPROVED"]


def test_a_missing_city_asks_for_a_person_by_its_name(settings, registry, actor, batch):
    nil(registry, actor, "202005", others(settings, "370100", "370200"))
    assert gate(settings, registry, batch.id).reasons == ("未报送也未零报：青岛市",)
    nil(registry, actor, "202005", ["370200"])
    assert not gate(settings, registry, batch.id).needs_approval


def test_a_city_whose_files_all_went_back_is_named_apart(settings, registry, actor, month):
    month.submit([Person(1)])
    month.submit([Person(2, state="RETURNED")], account="370200", verdict="returned")
    month.submit([Person(number) for number in range(10, 20)], account="370300")
    nil(registry, actor, "202005", others(settings, *CITIES))
    frozen = freeze(registry, MAY, actor)
    assemble(settings, registry, frozen.id, "034", actor)
    assert gate(settings, registry, frozen.id).reasons == ("报送已全部退回、尚未重报：青岛市",)


@pytest.mark.parametrize(("returned", "asks"), [(2, False), (3, True)])
def test_without_history_more_than_a_fifth_returned_asks_for_a_person(settings, registry, actor, month, returned, asks):
    month.submit([Person(number) for number in range(8)])
    month.submit([Person(20 + number, state="RETURNED") for number in range(returned)])
    nil(registry, actor, "202005", others(settings, "370100"))
    frozen = freeze(registry, MAY, actor)
    assemble(settings, registry, frozen.id, "034", actor)
    reasons = gate(settings, registry, frozen.id).reasons
    assert any("退回率" in reason for reason in reasons) == asks


@pytest.mark.parametrize(("returned", "asks"), [(3, False), (4, True)])
def test_with_history_more_than_three_times_the_usual_share_asks_for_a_person(
    settings, registry, actor, month, returned, asks
):
    april = SmallMonth(settings, registry, month="202004")
    april.submit([Person(100 + number, state="RETURNED" if number == 0 else "ACCEPTED") for number in range(20)])
    freeze(registry, Month(2020, 4), actor)
    month.submit([Person(number, state="RETURNED" if number < returned else "ACCEPTED") for number in range(20)])
    nil(registry, actor, "202005", others(settings, "370100"))
    frozen = freeze(registry, MAY, actor)
    assemble(settings, registry, frozen.id, "034", actor)
    assert gate(settings, registry, frozen.id).needs_approval == asks


@pytest.mark.parametrize(("rows", "asks"), [(6, False), (7, True)])
def test_a_count_far_from_the_months_before_asks_for_a_person(settings, registry, actor, month, rows, asks):
    SmallMonth(settings, registry, month="202004").submit([Person(100), Person(101)])
    freeze(registry, Month(2020, 4), actor)
    month.submit([Person(number) for number in range(rows)])
    nil(registry, actor, "202005", others(settings, "370100"))
    frozen = freeze(registry, MAY, actor)
    assemble(settings, registry, frozen.id, "034", actor)
    assert gate(settings, registry, frozen.id).needs_approval == asks


def test_an_empty_month_passes_and_a_supplement_asks_nothing_about_cities(settings, registry, actor, month):
    nil(registry, actor, "202005", others(settings))
    empty = freeze(registry, MAY, actor)
    assert not pass_gate(settings, registry, empty.id, actor).needs_approval
    month.submit([Person(1)])
    supplement = freeze(registry, MAY, actor)
    assemble(settings, registry, supplement.id, "034", actor)
    assert supplement.number == 1
    assert not pass_gate(settings, registry, supplement.id, actor).needs_approval
    assert states(registry, supplement) == ["APPROVED"]


@pytest.mark.parametrize(
    ("changed", "asks"),
    [
        ("name = '张叁'", True),
        ("id_number = '11010519491231002X'", True),
        ("id_type = '护照'", True),
        ("level = '二级'", True),
        ("specialty = '公路工程'", True),
        ("sex = '女'", True),
        ("birth_month = '1990年2月'", True),
        ("city = '青岛市'", True),
        ("approved_on = '2010年1月2日'", True),
        ("approved_on = '2010-1-1', birth_month = '1990.01', serial = 'NEW'", False),
        ("sex = '', birth_month = '', city = ''", False),
    ],
)
def test_rows_whose_certificate_was_put_right_since_they_were_judged_ask_for_a_person(
    settings, registry, actor, month, changed, asks
):
    nil(registry, actor, "202005", others(settings))
    freeze(registry, MAY, actor)
    month.submit([Person(1), Person(2)])
    supplement = freeze(registry, MAY, actor)
    assemble(settings, registry, supplement.id, "034", actor)
    with registry.begin(actor) as conn:
        conn.execute(text(f"UPDATE certificates SET {changed} WHERE management_no = '{Person(1).management_no}'"))
    found = gate(settings, registry, supplement.id)
    assert found.needs_approval is asks
    assert ["370100-202005-034-v1-000001" in one for one in found.reasons] == [True] * asks


@pytest.mark.parametrize("day", ["2018-09-15", "2018/9/15", "2018年9月15日", "201809"])
def test_a_database_that_writes_dates_in_its_own_way_asks_nobody(settings, registry, actor, tmp_path, day):
    row = person(1)
    certificates.load(registry, actor, write_registry(tmp_path / "r.csv", [row | {"PZRQ": day, "BKJB": "一级"}]))
    file = Made(rows=[row]).write(tmp_path / "sent")
    settings.original(file.sha256).parent.mkdir(parents=True)
    settings.original(file.sha256).write_bytes(file.path.read_bytes())
    with registry.begin(actor) as conn:
        arrival = transfers.Arrival("370100", "month", file.name, b"x", file.sha256, file.size, "submission")
        transfers.receive(conn, arrival)
    check_city(settings, registry, "370100", actor)
    batch = freeze(registry, MAY, actor)
    assemble(settings, registry, batch.id, "034", actor)
    with registry.read() as conn:
        assert months.states(conn, "202005")[0].state == "PACKED"
    assert not any("更正" in reason for reason in gate(settings, registry, batch.id).reasons)


def test_approving_twice_is_one_approval(registry, actor, batch):
    first = approve(registry, batch.id, "王处长", actor)
    assert approve(registry, batch.id, "李处长", actor) == first
    with registry.read() as conn:
        assert [one["by"] for one in approvals.decisions(conn, batch.id)] == ["王处长"]


def test_an_approval_counts_for_the_packages_that_were_shown(settings, registry, actor, batch):
    shown = gate(having(settings, "always"), registry, batch.id).digest
    with pytest.raises(Conflict, match="变动"):
        approve(registry, batch.id, "王处长", actor, digest=digest_of(["other"]))
    assert approve(registry, batch.id, "王处长", actor, digest=shown) == shown


def test_a_number_typed_into_a_reason_is_kept_masked(registry, actor, batch):
    reject(registry, batch.id, "王处长", f"{id_number(1)} 的照片不清", actor)
    with registry.read() as conn:
        (said,) = [one["reason"] for one in approvals.decisions(conn, batch.id)]
    assert "的照片不清" in said
    assert id_number(1) not in said


def test_a_rejected_set_waits_again_even_where_nobody_is_asked(settings, registry, actor, month, batch):
    reject(registry, batch.id, "王处长", "照片不清", actor)
    assert states(registry, batch) == ["REJECTED"]
    assemble(settings, registry, batch.id, "034", actor)
    found = pass_gate(having(settings, "never"), registry, batch.id, actor)
    assert found.reasons == ("这组数据包曾被王处长退回，内容未变",)
    assert states(registry, batch) == ["REJECTED", "BUILT"]


def test_what_is_approved_cannot_be_rejected_and_a_decision_needs_name_and_reason(registry, actor, batch):
    with pytest.raises(Conflict, match="原因"):
        reject(registry, batch.id, "王处长", " ", actor)
    with pytest.raises(Conflict, match="由谁"):
        approve(registry, batch.id, " ", actor)
    approve(registry, batch.id, "王处长", actor)
    with pytest.raises(Conflict, match="已批准"):
        reject(registry, batch.id, "王处长", "迟了", actor)
    assert states(registry, batch) == ["APPROVED"]


def test_a_batch_with_an_exam_not_yet_packed_is_not_asked_about(settings, registry, actor, month):
    month.submit([Person(1)])
    month.submit([Person(2)], exam="901")
    frozen = freeze(registry, MAY, actor)
    assemble(settings, registry, frozen.id, "034", actor)
    for decide in (
        lambda: gate(settings, registry, frozen.id),
        lambda: approve(registry, frozen.id, "王处长", actor),
    ):
        with pytest.raises(Conflict, match="1 行未组包"):
            decide()


def test_decisions_stand_in_the_audit(registry, actor, batch):
    approve(registry, batch.id, "王处长", actor)
    with registry.read() as conn:
        events = [json.loads(one)["event"] for one in conn.scalars(text("SELECT payload FROM audit ORDER BY seq"))]
    assert "freeze" in events
    assert "assemble" in events
    assert "approve" in events


def test_a_city_is_reported_nil_or_missing(settings, registry, actor, month):
    month.submit([Person(1)])
    nil(registry, actor, "202005", ["370200"])
    nil(registry, actor, "202006", ["370300"])
    found = {one.city: one.status for one in reporting(settings, registry, MAY)}
    assert len(found) == 16
    assert (found["济南市"], found["青岛市"], found["淄博市"]) == ("reported", "nil", "missing")
    assert "莱芜市" not in found


def test_month_status_counts_every_state_and_names_nobody(settings, registry, actor, month, batch):
    month.submit([Person(5, state="HELD"), Person(6, state="RETURNED")], account="370200", exam="901")
    approve(registry, batch.id, "王处长", actor)
    status = month_status(registry, settings, MAY)
    city = next(one for one in status["cities"] if one["account"] == "370200")
    assert city["exams"] == {"901": {"HELD": 1, "RETURNED": 1}}
    assert status["rows"] == {"PACKED": 2, "HELD": 1, "RETURNED": 1}
    assert [one["state"] for one in status["batches"][0]["packages"]] == ["APPROVED"]
    assert [one["decision"] for one in status["batches"][0]["approvals"]] == ["approved"]
    assert id_number(1) not in json.dumps(status)

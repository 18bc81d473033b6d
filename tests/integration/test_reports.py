"""Scorecards, appeals and quality history on 24 simulated months whose figures are known from their stories."""

import datetime as dt
import hashlib
import json
import zipfile

import desk_world
import pytest
from at_the_desk import sit_down
from openpyxl import load_workbook
from small_month import Person, SmallMonth
from sqlalchemy import text
from tests.simulated_years import EXAMS, Years

from certflow import signing
from certflow.dispatch.assemble import assemble
from certflow.dispatch.freeze import freeze
from certflow.dispatch.month import reporting
from certflow.errors import Conflict
from certflow.month import Month
from certflow.reference import load_reference
from certflow.registry import appeals as kept_room
from certflow.registry import quality, silences
from certflow.reports import alerts, appeals, printing, scorecard, yearbook
from certflow.reports import month as month_room
from certflow.reports.figures import Score, ranked
from certflow.reports.history import history

FIRST, LAST = "201901", "202012"


@pytest.fixture
def years(settings, registry):
    accounts = sorted(a for a, city in load_reference(settings).cities.items() if not city.historic)
    return Years(registry, accounts)


def _counted(months):
    return {
        (one.month, one.account, one.exam_code): (
            one.requests, one.faulty, one.held, one.on_time, one.unresolved, one.versions
        )
        for one in months
    }  # fmt: skip


INDEPENDENT = """
    WITH requests AS (SELECT DISTINCT s.month, s.account, s.exam_code, r.management_no AS number
                      FROM submissions s, rows r WHERE r.submission_id = s.id AND r.state <> 'IGNORED')
    SELECT q.month, q.account, q.exam_code, count(*),
        count(*) FILTER (WHERE EXISTS (
            SELECT FROM rows r, findings f WHERE r.management_no = q.number AND f.row_id = r.id AND f.severity = 'error'
            AND NOT EXISTS (SELECT FROM appeals a JOIN appeal_decisions d ON d.appeal_id = a.id
                            WHERE a.finding_id = f.id AND d.upheld))),
        count(*) FILTER (WHERE EXISTS (
            SELECT FROM rows r, moves m WHERE r.management_no = q.number AND m.kind = 'row' AND m.object_id = r.id
            AND m.to_state = 'HELD')),
        count(*) FILTER (WHERE (
            SELECT min(f.received_at) AT TIME ZONE 'Asia/Shanghai' FROM rows r, submission_files l, files f
            WHERE r.management_no = q.number AND l.submission_id = r.submission_id AND f.id = l.file_id
        ) < to_date(q.month, 'YYYYMM') + interval '1 month'),
        count(*) FILTER (WHERE NOT EXISTS (
            SELECT FROM rows r WHERE r.management_no = q.number AND r.state IN ('ACCEPTED', 'PROOF'))),
        (SELECT count(*) FROM submissions s
         WHERE (s.month, s.account, s.exam_code) = (q.month, q.account, q.exam_code))
    FROM requests q GROUP BY 1, 2, 3
"""


def test_every_figure_of_24_months_equals_the_stories_and_an_independent_query(settings, registry, years):
    years.run(FIRST, 24, rows=6)
    with registry.read() as conn:
        months = quality.city_months(conn, FIRST, LAST)
        causes = quality.causes(conn, FIRST, LAST)
        files = quality.city_files(conn, FIRST, LAST)
        again = {(m, a, e): tuple(rest) for m, a, e, *rest in conn.execute(text(INDEPENDENT))}
    want = {
        key: (one.requests, one.faulty, one.held, one.on_time, one.unresolved, one.versions)
        for key, one in years.expected.items()
    }
    assert len(want) > 600
    assert _counted(months) == want
    assert _counted(months) == again
    found = {(one.month, one.account, one.exam_code, one.rule): one.requests for one in causes}
    assert found == {(*key, rule): count for key, one in years.expected.items() for rule, count in one.causes.items()}
    late = {key for key in years.files if key[0] > LAST}
    boxes = {(one.month, one.account): [one.files, one.returned] for one in files}
    assert {key: counts for key, counts in boxes.items() if counts != [0, 0]} == {
        key: counts for key, counts in years.files.items() if key not in late
    }
    assert {(one.month, one.account) for one in files if one.nil} == years.nil

    now = scorecard.standing(settings, registry, "2020")
    for one in now.cities:
        mine = [want[key] for key in want if key[1] == one.account and key[0] >= "202001"]
        total = tuple(map(sum, zip(*mine, strict=True)))
        assert (one.requests, one.faulty, one.held, one.on_time, one.unresolved, one.versions) == total
        reported = {key[0] for key in want if key[1] == one.account and key[0] >= "202001"}
        nil = {month for month, account in years.nil if account == one.account and month >= "202001"}
        assert one.months_missing == 12 - len(reported | nil)
    assert now.province.requests == sum(one.requests for one in now.cities)
    by_rate = sorted(now.cities, key=lambda one: one.faulty / one.requests)
    assert [one.rank for one in by_rate] == sorted(one.rank for one in by_rate)


def test_a_month_of_which_everything_went_back_is_missing_on_the_card_as_it_is_on_the_board(settings, registry):
    month = SmallMonth(settings, registry)
    month.submit([Person(1)])
    month.submit([Person(2, state="RETURNED")], account="370200", verdict="returned")
    month.submit([Person(3, state="RETURNED")], account="370300", verdict="returned")
    month.submit([Person(3)], account="370300")
    board = {one.account: one.status for one in reporting(settings, registry, "202005")}
    cards = scorecard.standing(settings, registry, "202005").cities
    assert {one.account: one.months_missing for one in cards} == {
        account: int(status == "missing") for account, status in board.items()
    }


def test_an_upheld_appeal_changes_exactly_the_figures_it_should(settings, registry, years, actor):
    years.run("201912", 7, rows=4)
    month = "202005"
    with registry.read() as conn:
        account, finding_id, exam, rule = conn.execute(
            text(
                "SELECT s.account, f.id, s.exam_code, f.rule FROM findings f"
                " JOIN submissions s ON s.id = f.submission_id"
                " WHERE s.month = :month AND f.rule = 'DB-NAME' ORDER BY f.id LIMIT 1"
            ),
            {"month": month},
        ).one()
        before = _counted(quality.city_months(conn, FIRST, LAST))
        causes = {(o.month, o.account, o.exam_code, o.rule): o.requests for o in quality.causes(conn, FIRST, LAST)}
    for period in (month, "2020", "2019"):
        assert appeals.close(settings, registry, period, by="赵一", actor=actor) == 17  # 16 cities and the province
        assert appeals.close(settings, registry, period, by="赵一", actor=actor) == 0

    filed = appeals.file_appeal(registry, finding_id, by="某市", reason="数据库当时有误", actor=actor)
    assert (filed.account, filed.month, filed.upheld) == (account, month, None)
    with registry.read() as conn:
        assert _counted(quality.city_months(conn, FIRST, LAST)) == before  # only contested, not judged
    changed = appeals.decide(settings, registry, filed.id, upheld=True, by="钱二", reason="核实属实", actor=actor)
    assert changed == [month, "2020"]

    with registry.read() as conn:
        after = _counted(quality.city_months(conn, FIRST, LAST))
        causes_after = {
            (o.month, o.account, o.exam_code, o.rule): o.requests for o in quality.causes(conn, FIRST, LAST)
        }
        versions = kept_room.kept(conn, month)
        year = kept_room.kept(conn, "2020")
        untouched = kept_room.kept(conn, "2019")
        evidence = quality.evidence(conn, month, month, account)
    key = (month, account, exam)
    wanted = list(before[key])
    wanted[1] -= 1
    assert after == before | {key: tuple(wanted)}
    left = dict(causes)
    left[*key, rule] -= 1
    assert causes_after == {place: count for place, count in left.items() if count}
    newer = {one.account: one for one in versions if one.version == 2}
    first = {one.account: one.figures for one in versions if one.version == 1}
    moved = {place for place, one in newer.items() if first[place] | {"rank": None} != one.figures | {"rank": None}}
    assert moved == {account, ""}  # of the others only the rank may follow
    assert newer[account].cause == f"申诉 {filed.id} 成立"
    old = Score.from_json(next(one.figures for one in versions if (one.account, one.version) == (account, 1)))
    new = Score.from_json(newer[account].figures)
    assert (old.faulty - new.faulty, old.requests - new.requests, old.held - new.held) == (1, 0, 0)
    assert {(one.account, one.version) for one in year if one.version == 2} >= {(account, 2), ("", 2)}
    assert {one.version for one in untouched} == {1}
    assert [one.excused for one in evidence if one.finding_id == finding_id] == [True]
    shown = scorecard.standing(settings, registry, month)
    assert (shown.version(account), shown.version("")) == (2, 2)
    assert f"第 2 版（申诉 {filed.id} 成立）" in shown.state(account)
    others = {one.account: shown.version(one.account) for one in shown.cities if one.account != account}
    assert others == {place: 2 if place in newer else 1 for place in others}  # a card names its own city's version
    assert set(others.values()) >= {1}
    assert next(one for one in shown.cities if one.account == account).faulty == new.faulty

    with pytest.raises(Conflict, match="已由 钱二 判为成立"):
        appeals.decide(settings, registry, filed.id, upheld=False, by="孙三", reason="再议", actor=actor)
    with pytest.raises(Conflict, match="已有申诉"):
        appeals.file_appeal(registry, finding_id, by="某市", reason="再申", actor=actor)


@pytest.fixture
def late(settings, registry, actor, tmp_path):
    """A closed month in which 济南 and 青岛 have sent one faulty request more since."""
    world = desk_world.build(settings, registry, actor, tmp_path, papers=False)
    assert appeals.close(settings, registry, "202006", by="赵一", actor=actor)
    for account, number in (("370100", 30998), ("370200", 30999)):
        (row,) = world.month.submit([Person(number, state="RETURNED")], account=account)
        desk_world.found(world, row, "DB-NAME", "error", field="KSXM")
    return world


def test_an_appeal_changes_its_own_city_alone_whatever_came_after_closing(settings, registry, actor, late):
    filed = appeals.file_appeal(registry, late.errors["370100"], by="某市", reason="数据库当时有误", actor=actor)
    decided = appeals.decide(settings, registry, filed.id, upheld=True, by="钱二", reason="属实", actor=actor)
    assert decided == ["202006"]
    with registry.read() as conn:
        kept = kept_room.kept(conn, "202006")
    figures = {(one.account, one.version): one.figures for one in kept}
    for account in ("370100", ""):
        first, second = figures[account, 1], figures[account, 2]
        assert first["faulty"] - second["faulty"] == 1
        assert {name for name, value in first.items() if second[name] != value} <= {"faulty", "causes", "rank"}
        assert sum(count for _, count in first["causes"]) - sum(count for _, count in second["causes"]) == 1
    for (account, version), one in figures.items():
        if account not in ("370100", ""):
            assert one | {"rank": None} == figures[account, 1] | {"rank": None}, version
    newest = {one.account: Score.from_json(one.figures) for one in kept if one.account}
    assert {account: one.rank for account, one in newest.items()} == {
        account: ranked(newest.values()).get(account) for account in newest
    }


def test_the_evidence_of_a_closed_card_adds_up(settings, registry, late):
    (file,) = (one for one in scorecard.write_cards(settings, registry, "202006", ["370200"]) if one.suffix == ".xlsx")
    words = [line[-1] for line in load_workbook(file)["差错明细"].iter_rows(min_row=2, values_only=True)]
    now = {one.account: one for one in scorecard.standing(settings, registry, "202006").cities}
    assert words == ["计入", "结账后，未计入"]
    assert now["370200"].faulty == words.count("计入")
    page = sit_down(settings, registry).get("/cities/370200/202006").text
    assert page.count("结账后，未计入") == 1


def test_a_number_somebody_typed_into_a_reason_reaches_neither_ledger_nor_pack(
    settings, registry, years, actor, tmp_path
):
    years.run("202001", 2, rows=4)
    planted = "11010519491231002X"
    with registry.read() as conn:
        error = conn.scalar(text("SELECT min(id) FROM findings WHERE severity = 'error' AND scope = 'row'"))
    filed = appeals.file_appeal(registry, error, by="某市", reason=f"{planted} 有误", actor=actor)
    appeals.decide(settings, registry, filed.id, upheld=False, by="钱二", reason=f"查 {planted} 无误", actor=actor)
    with registry.read() as conn:
        said = kept_room.appeal(conn, filed.id)
    assert "有误" in said.filed_reason
    assert "无误" in said.decided_reason
    assert planted not in said.filed_reason + said.decided_reason
    appeals.close(settings, registry, "2020", by="赵一", actor=actor)
    with zipfile.ZipFile(yearbook.write(settings, registry, "2020", tmp_path, actor)) as pack:
        contents = b"".join(pack.read(name) for name in pack.namelist())
    assert b"\xe6\x9c\x89\xe8\xaf\xaf" in contents  # 有误
    assert planted.encode() not in contents


def test_a_rejected_appeal_changes_nothing_and_a_warning_cannot_be_contested(settings, registry, years, actor):
    years.run("202001", 2, rows=4)
    with registry.read() as conn:
        error = conn.scalar(text("SELECT min(id) FROM findings WHERE severity = 'error' AND scope = 'row'"))
        warning = conn.scalar(text("SELECT min(id) FROM findings WHERE severity = 'warning'"))
        before = _counted(quality.city_months(conn, FIRST, LAST))
    with pytest.raises(Conflict, match="不影响评分"):
        appeals.file_appeal(registry, warning, by="某市", reason="x", actor=actor)
    with pytest.raises(Conflict, match="没有编号为"):
        appeals.file_appeal(registry, 10**9, by="某市", reason="x", actor=actor)
    filed = appeals.file_appeal(registry, error, by="某市", reason="x", actor=actor)
    assert appeals.decide(settings, registry, filed.id, upheld=False, by="钱二", reason="数据无误", actor=actor) == []
    with registry.read() as conn:
        assert _counted(quality.city_months(conn, FIRST, LAST)) == before


def test_an_appeal_about_a_returned_file_takes_the_file_out(settings, registry, years, actor):
    years.run("202001", 3, rows=2)
    with registry.read() as conn:
        finding_id, account, month = conn.execute(
            text(
                "SELECT f.id, o.account, to_char(o.received_at AT TIME ZONE 'Asia/Shanghai', 'YYYYMM') FROM findings f"
                " JOIN files o ON o.id = f.file_id WHERE f.scope = 'file' ORDER BY f.id LIMIT 1"
            )
        ).one()
        before = {(o.month, o.account): o.returned for o in quality.city_files(conn, FIRST, LAST)}
    filed = appeals.file_appeal(registry, finding_id, by="某市", reason="传输损坏", actor=actor)
    assert filed.month == month
    appeals.decide(settings, registry, filed.id, upheld=True, by="钱二", reason="属实", actor=actor)
    with registry.read() as conn:
        after = {(o.month, o.account): o.returned for o in quality.city_files(conn, FIRST, LAST)}
    assert after == before | {(month, account): before[month, account] - 1}


def test_cards_are_written_for_every_city_and_hold_no_number_of_a_person(settings, registry, years):
    years.run("202001", 5, rows=4)
    written = scorecard.write_cards(settings, registry, str(Month.parse("202005")))
    assert len(written) == 2 * 17
    assert {path.suffix for path in written} == {".xlsx", ".pdf"}
    assert all(path.stat().st_size > 3000 for path in written)
    with pytest.raises(Conflict, match="没有账号"):
        scorecard.write_cards(settings, registry, "202005", ["999999"])
    with pytest.raises(Conflict, match="YYYYMM"):
        scorecard.write_cards(settings, registry, "2020-05")


def test_the_month_report_says_what_the_ledger_says_on_page_paper_and_sheet(settings, registry, years):
    years.run("202001", 5, rows=4)
    reported = month_room.month_report(settings, registry, Month.parse("202005"))
    rows = next(one for one in reported.sections if one.title == "各市报送与处理")
    with registry.read() as conn:
        counted = dict(
            conn.execute(
                text(
                    "SELECT s.city, count(*) FROM rows r JOIN submissions s ON s.id = r.submission_id"
                    " WHERE s.month = '202005' GROUP BY ROLLUP(s.city)"
                )
            ).all()
        )
        by_account = dict(
            conn.execute(
                text(
                    "SELECT s.account, count(*) FROM rows r JOIN submissions s ON s.id = r.submission_id"
                    " WHERE s.month = '202005' GROUP BY s.account"
                )
            ).all()
        )
    names = {city.name: account for account, city in load_reference(settings).cities.items()}
    at = rows.head.index("行")
    assert rows.lines[-1][at] == str(counted[None])
    assert {line[0]: int(line[at]) for line in rows.lines[:-1]} == {
        name: by_account.get(account, 0)
        for name, account in names.items()
        if not load_reference(settings).cities[account].historic
    }
    for line in rows.lines:  # every row stands in exactly one state
        assert sum(int(cell or 0) for cell in line[at + 1 :]) == int(line[at])

    written = month_room.write(settings, registry, Month.parse("202005"))
    assert [path.suffix for path in written] == [".xlsx", ".pdf", ".html"]
    page = written[2].read_text(encoding="utf-8")
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert all(section.title in page for section in reported.sections)


def test_a_name_that_is_markup_stays_text_on_the_page():
    report = printing.Report("<script>", "a&b", ('"x"',), (printing.Section("节", ("<b>",), [["<img>"]], (9,)),))
    page = printing.as_html(report)
    assert "<script>" not in page
    assert "<img>" not in page
    assert "&lt;img&gt;" in page


def test_the_pack_of_a_year_needs_a_closed_year_and_its_manifest_names_every_file(
    settings, registry, years, actor, tmp_path
):
    years.run("202001", 3, rows=2)
    with pytest.raises(Conflict, match="还没有结账"):
        yearbook.write(settings, registry, "2020", tmp_path, actor)
    appeals.close(settings, registry, "2020", by="赵一", actor=actor)
    made = yearbook.write(settings, registry, "2020", tmp_path, actor)
    with zipfile.ZipFile(made) as pack:
        manifest = json.loads(pack.read("manifest.json"))
        signing.verify(settings, manifest)
        found = {
            name: hashlib.sha256(pack.read(name)).hexdigest() for name in pack.namelist() if name != "manifest.json"
        }
    assert found == manifest["files"]
    assert len(found) == 2 * 17 + 3


def test_alerts_tell_each_recipient_once_and_a_silence_ends_by_itself(settings, registry, years, actor):
    years.run("202001", 2, rows=2)
    late = sorted(set(years.accounts) - {a for m, a, _ in years.expected if m == "202002"} - {
        a for m, a in years.nil if m == "202002"})  # fmt: skip
    now = dt.datetime(2020, 3, 7, 3, tzinfo=dt.UTC)
    found = alerts.due(settings, registry, now)
    assert [one.subject for one in found if one.kind == "city-missing"] == late
    assert {one.subject for one in found if one.kind == "month-not-sent"} == {"202001", "202002"}
    assert {one.recipient for one in found} == {alerts.PROVINCE}
    reminders = alerts.due(settings, registry, dt.datetime(2020, 3, 30, 3, tzinfo=dt.UTC))
    assert {one.recipient for one in reminders} - {alerts.PROVINCE} == set(years.accounts)

    written = alerts.write(settings, reminders, now)
    assert len(written) == 17
    assert written[-1].read_text(encoding="utf-8").count("【") == len(
        {one.kind for one in reminders if one.recipient == alerts.PROVINCE}
    )
    assert alerts.write(settings, found, now) == [path for path in written if path.stem == alerts.PROVINCE]

    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=2)
    alerts.silence(registry, "month-not-sent", "202001", until=tomorrow, by="赵一", reason="上级延期", actor=actor)
    soon = dt.datetime.now(dt.UTC)
    quiet = {(one.kind, one.subject) for one in alerts.due(settings, registry, now)}
    assert ("month-not-sent", "202001") not in quiet
    assert ("month-not-sent", "202002") in quiet
    with registry.read() as conn:
        assert silences.in_force(conn, soon) == {("month-not-sent", "202001")}
        assert silences.in_force(conn, soon + dt.timedelta(days=4)) == set()
    with pytest.raises(Conflict, match="截止日期"):
        alerts.silence(registry, "city-missing", "", until=dt.date(2020, 1, 1), by="赵一", reason="x", actor=actor)


def test_a_month_that_was_not_sent_is_told_however_old_it_is(settings, registry):
    packed = SmallMonth(settings, registry)
    packed.submit([Person(1)])
    assemble(settings, registry, freeze(registry, Month(2020, 5), packed.actor).id, "034", packed.actor)
    SmallMonth(settings, registry, month="202006").submit([Person(2)], account="370200")

    def told(day):
        now = dt.datetime.fromisoformat(f"{day}T08:00:00+08:00")
        return {one.subject: one.text for one in alerts.due(settings, registry, now) if one.kind == "month-not-sent"}

    assert told("2020-06-05") == {}
    assert set(told("2020-06-06")) == {"202005"}
    assert set(told("2020-07-06")) == set(told("2022-12-06")) == {"202005", "202006"}
    assert "0 行未组包、1 个数据包未送达" in told("2022-12-06")["202005"]
    assert "1 行未组包、0 个数据包未送达" in told("2022-12-06")["202006"]


def test_the_quality_history_counts_what_the_stories_say(registry, years):
    years.run("202001", 6, rows=4)
    found = history(registry, "202001", "202006", by=("account",))
    for one in found:
        for point in one.points:
            wanted = sum(
                years.expected[point.month, one.account, exam].causes[one.rule]
                for exam in EXAMS
                if (point.month, one.account, exam) in years.expected
            )
            assert point.count == wanted
    assert {one.rule for one in found} == {rule for one in years.expected.values() for rule in one.causes}


def test_the_quality_history_marks_the_months_in_which_a_city_became_worse_and_better(registry, years):
    """Labelled: three cities change, each in one rule, from a month on and back; nothing else changes in two years."""
    worse = {years.accounts[2]: "never corrected", years.accounts[7]: "wrong twice", years.accounts[12]: "held"}
    years.shifts = {account: (story, "201911", "202006") for account, story in worse.items()}
    years.run(FIRST, 24, rows=20)
    marks = {
        (one.rule, one.account, point.month): point.change
        for one in history(registry, FIRST, LAST, by=("account",))
        for point in one.points
        if point.change
    }
    rules = {"never corrected": "PHOTO-SIZE", "wrong twice": "ID-FORM", "held": "ID-AGE"}
    wanted = {}
    for account, story in worse.items():
        reported = sorted({month for month, who, _ in years.expected if who == account})
        wanted[rules[story], account, min(month for month in reported if month >= "201911")] = 1
        wanted[rules[story], account, min(month for month in reported if month >= "202006")] = -1
    assert marks == wanted

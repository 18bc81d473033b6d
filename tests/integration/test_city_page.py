"""The page of a city's month and the message of its day: counts, causes, what to do by when; always the newest one."""

import pytest
from made_submissions import Made, person, portrait, write_registry
from printed import text as text_of

from certflow.checks.city_page import FOLDER
from certflow.checks.run import check_city
from certflow.registry import certificates, transfers
from certflow.registry.doctor import examine

PEOPLE = [person(serial) for serial in range(1, 9)] + [person(9, photo=True)]
PERSONAL = [row[name] for row in PEOPLE for name in ("KSXM", "ZJHM", "ZSGLH")]


@pytest.fixture
def send(registry, actor, settings, tmp_path):
    """Receive and judge a file; the living documents by name."""
    certificates.load(registry, actor, write_registry(tmp_path / "registry.csv", PEOPLE))

    def take(made, lane="month", name=None):
        file = made.write(tmp_path / "in", name=name)
        target = settings.original(file.sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.path.read_bytes())
        with registry.begin(actor) as conn:
            arrival = transfers.Arrival(
                "370100", lane, file.name, file.name.encode(), file.sha256, file.size, "submission"
            )
            transfers.receive(conn, arrival)
        check_city(settings, registry, "370100", actor)
        assert not any(examine(registry, settings).values())
        found = {path.name: path for path in (settings.feedback / "370100" / FOLDER).iterdir()}
        return {name.partition("-")[0] + name[name.rindex(".") :]: path for name, path in found.items()}

    return take


def month(*rows, **changes):
    return Made(rows=[dict(row) for row in rows], **changes)


def test_the_page_counts_names_the_causes_and_says_what_to_do_by_when(send):
    wrong = [PEOPLE[1] | {"XB": ""}, PEOPLE[2] | {"XB": ""}, PEOPLE[3] | {"PZRQ": "2018"}, PEOPLE[4] | {"XB": "女"}]
    pages = send(month(PEOPLE[0], *wrong))
    page, paper = pages["报送情况.html"].read_text("utf-8"), text_of(pages["报送情况.pdf"].read_bytes())
    for shown in (page.replace(" ", ""), paper.replace(" ", "")):
        assert "济南市2020年5月证书补换数据报送情况" in shown
        assert "更正退回的3行" in shown
        assert "2020年5月31日24:00前重报" in shown
        assert "1行由省中心人工确认，不必重报" in shown
        assert "034一级建造师" in shown
        assert not [value for value in PERSONAL if value in shown]
    assert page.index("ROW-REQUIRED") < page.index("DATE-"), "the most frequent cause first"
    assert page.count("<b>") == 4
    assert "<b>3</b>退回待更正" in page


def test_a_row_that_was_mended_no_longer_counts_as_returned(send):
    send(month(PEOPLE[0], PEOPLE[1] | {"XB": ""}))
    page = send(month(PEOPLE[1]))["报送情况.html"].read_text("utf-8")
    assert "<b>2</b>受理" in page
    assert "<b>0</b>退回待更正" in page
    assert "重报" not in page


def test_a_file_that_went_back_whole_is_named_until_a_better_one_comes(send):
    page = send(Made(rows=[dict(PEOPLE[0])], book=b"no workbook"))["报送情况.html"].read_text("utf-8")
    assert "有 1 个文件整份退回" in page
    assert "整份处理的文件</h2>" in page
    page = send(month(PEOPLE[0]))["报送情况.html"].read_text("utf-8")
    assert "整份" not in page


def test_rows_of_a_file_that_went_back_whole_are_not_asked_for_one_by_one(send):
    swapped = [row | {"KSXM": row["ZJHM"], "ZJHM": row["KSXM"]} for row in map(person, range(100, 120))]
    send(month(*swapped, code="931", exam="税务师"))
    page = send(month(PEOPLE[0], PEOPLE[1] | {"XB": ""}))["报送情况.html"].read_text("utf-8")
    assert "<b>21</b>退回待更正" in page
    assert "更正退回的 1 行" in page
    assert "有 1 个文件整份退回（20 行）" in page


def test_a_file_that_waits_whole_for_a_person_is_named_with_the_reason(send):
    pages = send(month(PEOPLE[0], PEOPLE[1], count=7))
    page, paper = pages["报送情况.html"].read_text("utf-8"), text_of(pages["报送情况.pdf"].read_bytes())
    for shown in (page, paper):
        assert "2 行由省中心人工确认" in shown.replace("2行由", "2 行由")
        assert "人数不符" in shown
        assert "待省中心确认" in shown
    assert "整份处理的文件</h2>" in page
    assert "整份退回" not in page


def test_one_message_a_day_tells_of_every_file(send):
    send(month(PEOPLE[0], PEOPLE[1] | {"XB": ""}))
    send(month(PEOPLE[2]), lane="trial")
    day = send(Made(rows=[dict(PEOPLE[8])], photos={f"{PEOPLE[8]['ZJHM']}.jpg": portrait(9)}))["日报.txt"]
    words = day.read_text("utf-8-sig")
    assert "当日收到 3 个文件" in words
    assert "试投 " in words
    assert "受理 1 行，退回待更正 1 行" in words
    assert words.count("详见回执编号 F0000") == 3
    assert [path.name for path in day.parent.glob("日报-*")] == [day.name]
    assert not [value for value in PERSONAL if value in words]


def test_a_trial_alone_makes_no_page_of_the_month(send):
    assert set(send(month(PEOPLE[0]), lane="trial")) == {"日报.txt"}


def test_the_same_ledger_gives_the_same_bytes(send, settings, registry):
    from certflow.checks import city_page
    from certflow.reference import load_reference

    pages = send(month(PEOPLE[0], PEOPLE[1] | {"XB": ""}))
    before = {name: path.read_bytes() for name, path in pages.items()}
    city_page.write(settings, registry, load_reference(settings), "370100", months=["202005"], file_ids=[1])
    assert {name: path.read_bytes() for name, path in pages.items()} == before

"""A trial on the desk: the verdict of the province, masked, and not a trace of it afterwards."""

import pytest
from at_the_desk import sit_down, words
from made_submissions import Made, person, write_registry
from sqlalchemy import text

from certflow.registry import certificates


@pytest.fixture
def made(registry, actor, tmp_path):
    people = [person(serial) for serial in (1, 2, 3)]
    certificates.load(registry, actor, write_registry(tmp_path / "r.csv", people))
    return Made(rows=[people[0], people[1] | {"KSXM": "别人"}, dict(people[2])])


def traces(settings, registry):
    with registry.read() as conn:
        counted = [conn.scalar(text(f"SELECT count(*) FROM {name}")) for name in ("files", "submissions", "audit")]
    return counted, sorted(str(path) for path in settings.home.rglob("*") if path.is_file())


def test_the_verdict_is_told_masked_and_nothing_is_stored(settings, registry, made, tmp_path):
    sent = made.write(tmp_path / "sent")
    before = traces(settings, registry)
    for name in ("jinan", "viewer"):
        page = sit_down(settings, registry, name).post(
            "/trial", files={"file": (f"C:\\用户\\{sent.name}", sent.path.read_bytes())}
        )
        text = words(page)
        assert "部分受理" in text
        assert "受理 2，待核 0，退回 1" in text
        assert "第 3 行" in text
        assert "DB-NAME" in text
        assert "别人" not in page.text
        assert made.rows[0]["ZJHM"] not in page.text
        assert "用户" not in page.text
    assert traces(settings, registry) == before
    assert not settings.work.exists()


def test_a_city_tries_out_its_own_data_alone(settings, registry, made, tmp_path):
    made.city = "青岛市"
    sent = made.write(tmp_path / "sent")
    page = sit_down(settings, registry, "jinan").post("/trial", files={"file": (sent.name, sent.path.read_bytes())})
    assert "NAME-ACCOUNT" in words(page)


@pytest.mark.parametrize(
    ("name", "data"),
    [("x.zip", b""), ("<script>alert(1)</script>.zip", b"PK\x03\x04" + b"\xff" * 99), ("../../{{7*7}}.zip", b"MZ\x00")],
    ids=["empty", "no zip", "no archive"],
)
def test_whatever_is_dropped_is_answered_in_words(settings, registry, name, data):
    page = sit_down(settings, registry).post("/trial", files={"file": (name, data)})
    assert (page.status_code, "退回" in words(page)) == (200, True)
    assert "<script" not in page.text
    assert "49" not in words(page).partition("试检")[2].partition("没有登记")[0].replace(name, "")


def test_no_file_is_asked_for_again(settings, registry):
    desk = sit_down(settings, registry)
    assert "立即看到结果" in words(desk.get("/trial"))
    assert desk.post("/trial", files={"other": ("x.zip", b"x")}).status_code == 400

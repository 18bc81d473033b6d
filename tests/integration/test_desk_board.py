"""The month board: what every city sent and where it stands, for whoever may see it."""

import pytest
from at_the_desk import sit_down, words
from small_month import Person, SmallMonth

from certflow.dispatch.approve import reject
from certflow.dispatch.assemble import assemble
from certflow.dispatch.freeze import freeze
from certflow.month import Month


def page(settings, registry, path="/", name="viewer"):
    answer = sit_down(settings, registry, name).get(path)
    assert answer.status_code == 200, answer.text
    return words(answer)


def test_before_the_first_month_the_board_says_what_will_fill_it(settings, registry):
    assert "还没有任何月份" in page(settings, registry)


def test_the_board_shows_every_city_and_where_its_rows_stand(settings, registry):
    month = SmallMonth(settings, registry)
    month.submit([Person(1), Person(2), Person(3, state="HELD"), Person(4, state="RETURNED")])
    text = page(settings, registry)
    assert "济南市 已报 核 1 退 1 收 2" in text
    assert text.count("未报") >= 15


@pytest.mark.parametrize("path", ["/?month=202013", "/?month=x", "/nothing"])
def test_what_does_not_exist_is_said_in_words(settings, registry, path):
    answer = sit_down(settings, registry, "viewer").get(path)
    assert (answer.status_code, "没有这" in answer.text) == (404, True)


def test_a_city_sees_its_own_line_alone(settings, registry):
    SmallMonth(settings, registry).submit([Person(1)])
    text = page(settings, registry, name="jinan")
    assert "济南市" in text
    assert "青岛市" not in text


def test_whoever_has_no_role_sees_nothing(settings, registry):
    answer = sit_down(settings, registry, "nobody").get("/")
    assert (answer.status_code, "logins.toml" in answer.text) == (403, True)


def test_a_batch_that_was_sent_back_waits_to_be_packed_again(settings, registry, actor):
    month = SmallMonth(settings, registry)
    month.submit([Person(1), Person(2)])
    batch = freeze(registry, Month(2020, 5), actor)
    assemble(settings, registry, batch.id, "034", actor)
    reject(registry, batch.id, "张工", "有一行要更正", actor)
    assert "202005 有 2 行未组包，数据包已退回" in page(settings, registry)
    answer = sit_down(settings, registry, "operator").get("/")
    assert "<button>冻结并组包</button>" in answer.text
    month.submit([Person(3)])
    answer = sit_down(settings, registry, "operator").get("/")
    assert "1 行已受理，还不在任何一批里" in words(answer)
    assert answer.text.count("/months/202005/prepare") == 1  # which packs again what went back, and nothing else
    assemble(settings, registry, freeze(registry, Month(2020, 5), actor).id, "034", actor)
    assert "未组包" not in page(settings, registry)

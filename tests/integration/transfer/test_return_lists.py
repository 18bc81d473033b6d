"""What the authority answered reaches the city's 回执: once per application, and a recall where one is taken back."""

from returned import Authority, printed, refused, sent
from small_month import Person, SmallMonth

from certflow.intake.pull import reply
from certflow.returns.answers import write
from certflow.returns.apply import apply
from certflow.returns.undo import undo


def test_r05_lists_reach_the_city_once_and_after_an_undo_their_recall(office, registry, actor, city, tmp_path):
    (city.tree / "370100").mkdir(parents=True, exist_ok=True)
    sent(office, registry, actor, SmallMonth(office, registry), [Person(1), Person(2)])
    authority = Authority(office, registry, actor, tmp_path)
    number = authority.applied(printed(Person(1)), refused(Person(2))).return_id
    assert reply(office, registry, "370100", actor).lists == 0  # not written yet: owed, like any answer
    write(office, registry)
    assert [reply(office, registry, "370100", actor).lists for _ in range(2)] == [1, 0]
    undo(registry, number, by="李主任", reason="上级更正", actor=actor)
    write(office, registry)
    assert [reply(office, registry, "370100", actor).lists for _ in range(2)] == [1, 0]
    apply(office, registry, authority.again(number).return_id, actor)
    write(office, registry)
    assert [reply(office, registry, "370100", actor).lists for _ in range(2)] == [1, 0]
    assert sorted(file.name for file in (city.tree / "370100" / "回执").iterdir()) == [
        "202005-上级返回结果-R000001.xlsx", "202005-上级返回结果-R000002.xlsx", "202005-撤销通知-U000001.txt",
    ]  # fmt: skip

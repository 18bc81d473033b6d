"""XCom carries ids, counts and digests; what looks like an ID number is refused at every depth."""

import dataclasses
import datetime as dt
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guarded_xcom import GuardedXCom, personal

WHERE = {"key": "return_value", "task_id": "take_in", "dag_id": "submission_intake", "run_id": "r", "map_index": 0}


@pytest.mark.parametrize(
    "value",
    [
        "11010519491231002X",
        "photo 11010519491231002x.jpg",
        "１１０１０５１９４９１２３１００２Ｘ",
        "440524188001010014",
        440524188001010014,
        "110105491231002",
        "H1234567890",
        {"rows": [{"file": "34052419800101001X.jpg"}]},
        {"810000199408230021": 1},
        ("ok", "830000199201300022"),
    ],
)
def test_an_id_number_is_refused(value):
    assert personal(value)
    with pytest.raises(ValueError, match="take_in") as refusal:
        GuardedXCom.serialize_value(value, **WHERE)
    assert "1231002" not in str(refusal.value)


@dataclasses.dataclass
class Row:
    number: str


@pytest.mark.parametrize(
    "value",
    [
        Row("11010519491231002X"),
        b"11010519491231002X",
        "11010519491231002X".encode("utf-16"),
        440524188001010014.0,
        "x" * 200_000 + " 11010519491231002X",
        "110105 19491231 002X",
        "inbox/张三.jpg",
        "a.JPEG",
        "姓名：欧阳测试",
        "{'KSXM': '欧阳测试'}",
        {"KSXM": "欧阳测试"},
        {"rows": ({"姓名": "张三"},)},
    ],
    ids=lambda value: f"{type(value).__name__}-{len(str(value))}",
)
def test_packed_up_written_otherwise_or_only_a_name_it_is_refused_as_well(value):
    with pytest.raises((ValueError, TypeError)) as refusal:
        GuardedXCom.serialize_value(value, **WHERE)
    assert "1231002" not in str(refusal.value)


def test_a_value_that_is_no_id_or_count_any_more_belongs_into_a_file():
    with pytest.raises(ValueError, match="into a file"):
        GuardedXCom.serialize_value("x" * 300_000, **WHERE)


DATES = st.dates(dt.date(1800, 1, 1), dt.date(2099, 12, 31)).map("{:%Y%m%d}".format)
AREA = st.integers(110000, 659999).map(str)
SERIAL = st.integers(0, 999).map(lambda number: f"{number:03}")
NUMBERS = st.one_of(
    st.tuples(AREA, DATES, SERIAL, st.sampled_from("0123456789Xx")).map("".join),
    st.tuples(AREA, DATES.map(lambda day: day[2:]), SERIAL).map("".join),
    st.tuples(st.sampled_from("HMhm"), st.from_regex(r"[0-9]{8}(?:[0-9]{2})?", fullmatch=True)).map("".join),
    st.from_regex(r"[A-Z]{3}[0-9]{12}", fullmatch=True),
)
WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
TEXTS = st.tuples(
    st.sampled_from(["", "照片 ", "'", "file=", "济南市"]), NUMBERS, st.sampled_from(["", ".txt", "'", " 重复", "，"]),
    st.sampled_from([{}, WIDE]),
).map(lambda parts: parts[0] + parts[1].translate(parts[3]) + parts[2])  # fmt: skip
HARMLESS = st.one_of(
    st.none(), st.booleans(), st.integers(0, 10**9), st.sampled_from(["370100", "202005", "SENT"]),
    st.binary(max_size=8).map(lambda data: hashlib.sha256(data).hexdigest()),
)  # fmt: skip


def packed(inside):
    """The value somewhere in lists, tuples and dictionaries, among harmless ones."""
    return st.recursive(
        inside,
        lambda value: st.one_of(
            st.tuples(value, HARMLESS), st.tuples(HARMLESS, value).map(list),
            st.tuples(HARMLESS, value).map(lambda two: {"n": two[0], "v": two[1]}),
            value.map(lambda inner: {str(inner): 1}),
        ),
        max_leaves=3,
    )  # fmt: skip


@given(packed(TEXTS))
def test_no_number_of_any_kind_comes_through_wherever_it_is_packed(value):
    assert personal(value)


@given(st.recursive(HARMLESS, lambda value: st.lists(value) | st.dictionaries(st.sampled_from(["a", "rows"]), value)))
def test_ids_counts_and_digests_pass_wherever_they_are_packed(value):
    assert not personal(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        17,
        "202005",
        "370100-202005-034-000123",
        "manual__2020-05-31T18:00:00.123456+00:00",
        hashlib.sha256(b"package").hexdigest(),
        {"account": "370100", "pull": {"new": 3}, "package": 12, "sent": ["SENT"]},
    ],
)
def test_ids_counts_and_digests_pass(value):
    assert not personal(value)
    GuardedXCom.serialize_value(value, **WHERE)

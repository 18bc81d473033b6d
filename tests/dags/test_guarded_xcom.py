"""XCom carries ids, counts and digests; what looks like an ID number is refused at every depth."""

import hashlib

import pytest

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

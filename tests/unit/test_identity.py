"""Numbers of identity documents (DOMAIN §3.2, §3.3; cases D01–D11). Synthetic persons only."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certflow import identity

SAFE = ["11010519491231002X", "440524188001010014", "34052419800101001X", "810000199408230021", "830000199201300022"]


def test_the_known_safe_numbers_pass():
    assert identity.checksum_ok(SAFE).all()
    assert identity.date_ok(SAFE).all()


@pytest.mark.parametrize(
    "number",
    [
        "110105194912310021",  # D01
        "11010519491231002x",  # D02: as the key writes it, not as typed
        "11010519491231002×",
        "1101051949123100２X",  # E30
        "11010519491231002X1",  # D04
        "1101051949123100X",
        "110105491231002",
        "²10105194912310021",
        "",
        "H12345678",
    ],
)
def test_d01_d04_no_other_text_has_a_right_check_digit(number):
    assert identity.checksum_ok([*SAFE, number]).tolist() == [True] * 5 + [False]


@given(st.from_regex(r"[0-9]{17}", fullmatch=True))
def test_exactly_one_sign_of_eleven_closes_a_number(body):
    signs = [sign for sign in "0123456789X" if identity.checksum_ok([body + sign])[0]]
    assert signs == [identity.check_digit(body)]


@given(st.from_regex(r"[0-9]{17}", fullmatch=True), st.integers(0, 16), st.integers(1, 9))
def test_a_single_wrong_digit_is_always_found(body, place, shift):
    number = body + identity.check_digit(body)
    wrong = number[:place] + str((int(number[place]) + shift) % 10) + number[place + 1 :]
    assert not identity.checksum_ok([wrong])[0]


def test_no_numbers_give_no_answers():
    assert identity.checksum_ok([]).shape == (0,)
    assert identity.date_ok([]).shape == (0,)


def test_d03_fifteen_digits_are_the_same_person_in_eighteen():
    assert identity.to_18("110105491231002") == "11010519491231002X"
    with pytest.raises(ValueError, match="15 digits"):
        identity.to_18("H12345678")


@pytest.mark.parametrize(
    ("kind", "number", "fits"),
    [
        (identity.RESIDENT, "11010519491231002X", True),
        (identity.RESIDENT, "110105491231002", True),
        (identity.RESIDENT, "1101051949123100", False),
        (identity.RESIDENT, "011010519491231002", False),
        (identity.RESIDENT, "E12345678", False),  # D10
        (identity.GAT_RESIDENCE, "810000199408230021", True),  # D11
        (identity.GAT_RESIDENCE, "830000199201300022", True),
        (identity.GAT_RESIDENCE, "11010519491231002X", False),
        (identity.FOREIGN_RESIDENCE, "911124198108030024", True),
        (identity.FOREIGN_RESIDENCE, "USA110090010101", True),
        (identity.FOREIGN_RESIDENCE, "11010519491231002X", False),
        (identity.HK_MACAU_PERMIT, "H12345678", True),
        (identity.HK_MACAU_PERMIT, "M1234567801", True),
        (identity.HK_MACAU_PERMIT, "H123456789", False),
        (identity.TAIWAN_PERMIT, "12345678", True),
        (identity.TAIWAN_PERMIT, "1234567890A", True),
        (identity.TAIWAN_PERMIT, "1234567890(B)", True),
        (identity.TAIWAN_PERMIT, "1234567", False),
        (identity.PASSPORT, "E12345678", True),
        (identity.PASSPORT, "A123", False),
        (identity.OFFICER, "军字第1234567号", True),
        (identity.OTHER, "", False),
    ],
)
def test_d09_d11_each_kind_has_its_own_form(kind, number, fits):
    assert identity.form_ok(kind, [number]).tolist() == [fits]


@pytest.mark.parametrize(
    ("birth", "possible"),
    [
        ("19000229", False),
        ("20000229", True),
        ("19900230", False),
        ("19901301", False),
        ("19900100", False),
        ("19900431", False),
    ],
)
def test_d05_a_date_inside_is_one_of_the_calendar(birth, possible):
    body = f"370102{birth}001"
    assert identity.date_ok([body + identity.check_digit(body)])[0] == possible


def test_d07_d08_sex_and_birth_month_stand_in_the_number():
    numbers = ["11010519491231002X", "34052419800101001X", "110105491231002", "110105491231003", "H12345678"]
    assert identity.sexes(numbers).tolist() == ["女", "男", "女", "男", ""]
    assert identity.births(numbers).tolist() == ["194912", "198001", "194912", "194912", ""]


def test_d05_an_age_is_complete_on_the_birthday():
    numbers = ["11010519491231002X", "H12345678"]
    assert identity.ages(numbers, date(2020, 12, 30)).tolist() == [70, -1]
    assert identity.ages(numbers, date(2020, 12, 31)).tolist() == [71, -1]
    body = "37010220210101001"
    assert identity.ages([body + identity.check_digit(body)], date(2020, 5, 31))[0] < 0


def test_answers_have_the_shape_of_the_question():
    assert identity.areas(SAFE).tolist() == ["110105", "440524", "340524", "810000", "830000"]
    assert identity.checksum_ok(SAFE).dtype == np.bool_

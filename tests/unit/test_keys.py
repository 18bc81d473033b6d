"""Comparison keys (DOMAIN §3.1, §3.5): what may differ and still mean the same."""

import time
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certflow.keys import (
    ParsedDate,
    id_key,
    id_spellings,
    id_text,
    is_variant,
    level_key,
    name_key,
    parse_date,
    text_key,
)

SAME_NAMES = [
    ("买买提\u00b7吐尔逊", f"买买提{dot}吐尔逊")
    for dot in "\u2022\u30fb\u2027\uff0e.\uff65\u2219\u0387\u22c5 "  # D17
] + [
    ("买买提\u00b7吐尔逊", "买买提 \u00b7 吐尔逊"),
    ("张三", "张\u3000三"),  # D19
    ("张三", "张 三"),
    ("欧阳娜娜", "欧阳 娜娜"),
    ("张三", "\u00a0张三\u200b"),  # E31
    ("高山", "\u2fbc山"),  # D15
    ("塚本", "\ufa10本"),  # D14
    ("邉太", "邉\U000e0101太"),  # D16
    ("王晓[沛]", "王晓［沛］"),
    ("王晓[沛]", "王晓沛"),
    ("李[堃]明", "李（堃）明"),
    ("李[堃]明", "李【堃】 明"),
    ("JOHN SMITH", "ＪＯＨＮ　 SMITH"),
    ("JOHN SMITH", "John Smith"),
]


@pytest.mark.parametrize(("registry", "sent"), SAME_NAMES)
def test_d14_d19_these_names_are_the_same(registry, sent):
    assert name_key(registry) == name_key(sent)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("张喆", "张哲"),  # D20 is for a person
        ("王䶮", "王\ue863"),  # D13 is for a person
        ("买买提\u00b7吐尔逊", "买买提吐尔逊"),
        ("张三", "张三丰"),
        ("王晓沛", "王晓[培]"),
        ("王晓沛", "王[晓沛]"),
        ("王晓沛", "王晓[[沛]]"),
        ("王晓㳈", "王晓[沛]"),  # for a person
        ("JOHN SMITH", "JOHNSMITH"),
        ("", "张"),
    ],
)
def test_any_other_difference_stays_one(one, other):
    assert name_key(one) != name_key(other)


@given(st.text(max_size=20))
def test_the_key_of_a_key_is_itself(text):
    for key in (name_key, id_text, text_key):
        once = key(text)
        assert key(once) == once


def test_names_of_rare_characters_are_compared_as_they_are():
    for name in ("王䶮", "𠮷野", "𬎆", "李〇"):  # D12
        assert name_key(name) == name


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ("11010519491231002x", "11010519491231002X"),  # D02
        ("11010519491231002Ｘ", "11010519491231002X"),
        ("１１０１０５１９４９１２３１００２Ｘ", "11010519491231002X"),  # E30
        ("110105 19491231 002X", "11010519491231002X"),  # D04
        ("'11010519491231002X", "11010519491231002X"),  # E33
        ("\ufeff11010519491231002X\t", "11010519491231002X"),  # E31
        ("110105491231002", "11010519491231002X"),  # D03
        ("h12345678", "H12345678"),
        ("H12345678(01)", "H1234567801"),  # D11
        ("Ｈ12345678（01）", "H1234567801"),
        ("1234567890(A)", "1234567890A"),  # an old 台胞证
        ("１２３４５６７８９０（ａ）", "1234567890A"),
        ("11010519491231002Х", "11010519491231002Х"),  # Cyrillic: D02
        ("11010519491231002×", "11010519491231002×"),
        ("110105491331002", "110105491331002"),  # no such month: no person's 15 digits
    ],
)
def test_d02_d04_numbers_are_compared_half_width_and_upper_case(sent, key):
    assert id_key(sent) == key


def test_d03_the_form_of_fifteen_digits_is_judged_on_fifteen():
    assert id_text("１１０１０５４９１２３１００２") == "110105491231002"


@pytest.mark.parametrize(
    ("text", "level"),
    [("1级", "一级"), ("壹级", "一级"), ("Ⅰ级", "一级"), (" １ 级", "一级"), ("一级", "一级"), ("九级", "九级")],
)
def test_d29_levels_are_compared_by_their_aliases(text, level):
    assert level_key(text, {"1级": "一级", "壹级": "一级", "I级": "一级"}) == level


VARIANTS = {"喆": "喆", "哲": "喆", "䶮": "䶮", "\ue863": "䶮"}


@pytest.mark.parametrize(
    ("one", "other", "listed"),
    [
        ("张喆", "张哲", True),
        ("张　喆", "张哲", True),
        ("王䶮", "王\ue863", True),  # D13
        ("张喆", "张喆", False),
        ("张喆", "李哲", False),
        ("张喆", "张喆哲", False),
        ("王晓㳈", "王晓[沛]", True),
        ("王晓［沛］", "王晓㳈", True),
        ("张[哲]㳈", "张喆㳈", True),
        ("王晓培", "王晓[沛]", False),  # could always be typed
        ("王㳈沛", "王晓[沛]", False),
        ("李㳈", "王晓[沛]", False),
    ],
)
def test_d13_d20_a_listed_variant_and_a_character_nobody_could_type_are_for_a_person(one, other, listed):
    assert is_variant(one, other, VARIANTS) == listed


@pytest.mark.parametrize(
    ("text", "value", "styled"),
    [
        ("20190922", "20190922", False),
        ("201909", "201909", False),
        ("2019-9-22", "20190922", True),  # D34
        ("2019/09/22", "20190922", True),
        ("2019.9.22", "20190922", True),
        ("2019年9月22日", "20190922", True),
        *((f"2019{dash}09{dash}22", "20190922", True) for dash in "－‐‑–—−"),  # what Word and input methods make of it
        ("2019年9月", "201909", True),
        ("1990-01", "199001", True),  # D08
        ("1990.1", "199001", True),
        ("２０１９０９２２", "20190922", True),
        (" 20190922", "20190922", True),
        ("2019-09-22 00:00:00", "20190922", True),
        ("2020-02-29", "20200229", True),
    ],
)
def test_d34_unambiguous_dates_are_read(text, value, styled):
    assert (parse_date(text).value, parse_date(text).fault, parse_date(text).styled) == (value, "", styled)


@pytest.mark.parametrize(
    "text",
    [
        *("", "22/09/2019", "09/22/2019", "43730", "43730.0", "60", "19-9-22", "2019-02-29", "1900-02-29", "20190230"),
        *("201913", "2019", "2019-9/22", "2019-9-22 08:30", "20190922000000", "九月", "²0190922", "30010101"),
    ],
)
def test_e14_e17_d34_other_dates_are_not_guessed(text):
    assert parse_date(text) == ParsedDate("", "DATE-FORM", styled=False)


@given(st.dates(min_value=date(1900, 1, 1), max_value=date(2099, 12, 31)))
def test_every_day_of_two_centuries_is_read_in_every_style(day):
    expected = f"{day:%Y%m%d}"
    for style in (
        f"{day:%Y%m%d}",
        f"{day:%Y-%m-%d}",
        f"{day.year}.{day.month}.{day.day}",
        f"{day.year}年{day.month}月{day.day}日",
    ):
        assert parse_date(style).value == expected


def test_a_hundred_thousand_keys_take_about_a_second():
    names = [f"{chr(0x4E00 + n % 20_000)}{chr(0x4E00 + n % 7_000)}" for n in range(100_000)]
    numbers = [f"37010219900101{n:05d}"[:18] for n in range(100_000)]
    began = time.process_time()
    for name, number in zip(names, numbers, strict=True):
        name_key(name)
        id_key(number)
    assert time.process_time() - began < 1.5


@pytest.mark.parametrize(
    ("number", "spellings"),
    [
        ("h1234567801", {"H1234567801", "H12345678(01)", "H12345678（01）"}),
        ("H12345678（01）", {"H1234567801", "H12345678(01)"}),
        ("1234567890(B)", {"1234567890B", "1234567890（B）"}),
        ("11010519491231002x", {"110105491231002", "11010519491231002X"}),
        ("H12345678", {"H12345678"}),
    ],
)
def test_d11_every_spelling_of_a_number_is_known(number, spellings):
    assert spellings <= set(id_spellings(number))

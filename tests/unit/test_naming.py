"""Names of packages and files: read tolerant, write strict (notice 附件二 4; cases N01–N14)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certflow.month import Month
from certflow.naming import PackageName, fold, parse, parse_nil

SAMPLE = "202005-034-一级建造师(证书补换印制信息)数据(济南市)(100人)"
NAME = PackageName(Month(2020, 5), "034", "一级建造师", "济南市", 100)

TOLERATED = [
    (SAMPLE, ()),
    (f"{SAMPLE}.XLS", ()),
    (f"{SAMPLE}.xlsx", ()),
    (f"{SAMPLE}.XLS.zip", ()),
    ("202005-034-一级建造师（证书补换印制信息）数据（济南市）（100人）.XLS", ("brackets",)),  # N01
    ("202005-034-一级建造师(证书补换印制信息）数据（济南市)(100人）.XLS", ("brackets",)),  # N02 mixed
    ("202005-034-一级建造师(证书补换印制信息)数据(济南市)(１００人).XLS", ("width",)),  # N05
    ("202005-034-一级建造师(证书补换印制信息)数据(济南市)(0100人).XLS", ("count-style",)),  # N05
    ("202005－034—一级建造师(证书补换印制信息)数据(济南市)(100人)", ("dash",)),  # N13
    ("202005‐034–一级建造师(证书补换印制信息)数据(济南市)(100人)", ("dash",)),  # N13
    (f"{SAMPLE} .zip", ("blanks",)),  # N12
    (f"{SAMPLE}(1).zip", ("copy-suffix",)),  # N12
    (f"{SAMPLE}-2.zip", ("copy-suffix",)),  # N12
    (f"{SAMPLE} - 副本.XLS", ("blanks", "copy-suffix")),  # N12
    (f"副本{SAMPLE}.XLS", ("copy-suffix",)),  # N12
    (f"{SAMPLE}的副本.XLS", ("copy-suffix",)),  # N12: as macOS names copies
    (f"{SAMPLE} 2.XLS", ("blanks", "copy-suffix")),  # N12: the same
    (f"{SAMPLE}最终版.XLS", ("copy-suffix",)),  # N12
    (f"{SAMPLE}-最终版(2).XLS", ("copy-suffix",)),  # N12
]


@pytest.mark.parametrize(("text", "notes"), TOLERATED)
def test_n01_n13_what_is_tolerated_is_read_and_noted(text, notes):
    parsed = parse(text)
    assert (parsed.name, parsed.fault) == (NAME, "")
    assert parsed.notes == notes


@pytest.mark.parametrize("ending", ["", "(12)", "-2", "更正", "-已更正", "（更正后）", " - 副本", "的副本", " 2"])
def test_n12_a_slip_is_known_by_its_mark_whatever_is_written_behind_it(ending):
    parsed = parse(f"{SAMPLE}-F000012-退回单{ending}.xlsx")
    assert (parsed.name, parsed.fault) == (NAME, "")
    assert "slip" in parsed.notes


REFUSED = [
    "",
    "数据.xls",
    "202005-034-一级建造师(证书补换印制信息)数据(济南市)(100).XLS",  # N05 without 人
    "202005-034-一级建造师(证书补换印制信息)数据(济南市)(约100人).XLS",  # N05
    "202005-034-一级建造师(证书补换印制信息)数据(济南市)(²人).XLS",  # E30: not a digit of ours
    "202005-034-一级建造师(证书补换印制信息)数据(济南市(100人).XLS",  # N02 unbalanced
    "202005-034-一级(建造师(证书补换印制信息)数据(济南市)(100人).XLS",  # N02 unbalanced
    "202005-034-一级)建造师((证书补换印制信息)数据(济南市)(100人).XLS",  # N02 balanced in number only
    "202005-034-(证书补换印制信息)数据(济南市)(100人).XLS",
    "202005-034-一级建造师(证书补换信息)数据(济南市)(100人).XLS",
    "202005-034-一级建造师(证书补换印制信息)数据()(100人).XLS",
    "2020年5月-034-一级建造师(证书补换印制信息)数据(济南市)(100人).XLS",
]


@pytest.mark.parametrize("text", REFUSED)
def test_n02_n05_other_names_are_of_no_form(text):
    assert parse(text).name is None
    assert parse(text).fault == "NAME-FORM"


@pytest.mark.parametrize("month", ["202013", "202000", "2005", "20205", "20200501", "000012"])
def test_n06_an_impossible_month_is_said_to_be_one(month):
    parsed = parse(SAMPLE.replace("202005", month))
    assert (parsed.name, parsed.fault) == (None, "NAME-MONTH")


def test_an_exam_name_may_contain_brackets_itself():
    parsed = parse("202005-913-注册咨询工程师（投资）（证书补换印制信息）数据（青岛市）（7人）.xls")
    assert parsed.name == PackageName(Month(2020, 5), "913", "注册咨询工程师(投资)", "青岛市", 7)
    assert parsed.name.stem == "202005-913-注册咨询工程师(投资)(证书补换印制信息)数据(青岛市)(7人)"


def test_n05_a_count_of_none_is_read():
    assert parse(SAMPLE.replace("100人", "0人")).name.count == 0


def test_n08_a_lost_zero_is_kept_as_it_was_written():
    assert parse(SAMPLE.replace("034", "34")).name.exam_code == "34"


def test_n14_compatibility_and_decomposed_characters_are_composed():
    parsed = parse("202005-034-\uf9d1级建造师(证书补换印制信息)数据(济南市)(100人)")
    assert parsed.name.exam_name == "六级建造师"
    assert parsed.notes == ("composed",)


def test_the_stem_of_the_notice_is_written_exactly():
    assert NAME.stem == SAMPLE


@pytest.mark.parametrize(
    ("code", "exam", "city", "count"),
    [
        ("03 4", "甲", "乙市", 1),
        ("03-4", "甲", "乙市", 1),
        ("034", "甲(", "乙市", 1),
        ("034", "甲（乙）", "乙市", 1),
        ("034", "甲", "", 1),
        ("034", "甲", "乙", -1),
    ],
)
def test_a_name_that_would_not_read_back_cannot_be_built(code, exam, city, count):
    with pytest.raises(ValueError, match="package name"):
        PackageName(Month(2020, 5), code, exam, city, count)


_WORDS = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=1, max_size=12)
_EXAMS = st.builds(lambda name, inner: f"{name}({inner})" if inner else name, _WORDS, st.none() | _WORDS)
_NAMES = st.builds(
    PackageName,
    st.builds(Month, st.integers(1980, 2999), st.integers(1, 12)),
    st.text("0123456789ABCDEFabcdef", min_size=1, max_size=8),
    _EXAMS,
    _WORDS,
    st.integers(0, 999_999),
)


@given(_NAMES, st.sampled_from(["", ".XLS", ".xlsx", ".zip"]))
def test_every_name_written_is_read_back_without_a_note(name, extension):
    parsed = parse(name.stem + extension)
    assert (parsed.name, parsed.fault, parsed.notes) == (name, "", ())


_WIDE = str.maketrans({code: code + 0xFEE0 for code in range(0x21, 0x7F) if chr(code) != "."})


@given(_NAMES)
def test_every_name_in_full_width_signs_means_the_same(name):
    assert parse(name.stem.translate(_WIDE)).name == name


@given(st.text(max_size=80))
def test_no_text_breaks_the_parser(text):
    parsed = parse(text)
    assert (parsed.name is None) == (parsed.fault != "")


@given(st.text(max_size=40))
def test_folding_twice_changes_nothing(text):
    assert fold(fold(text)) == fold(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("202005-零报(济南市).txt", (Month(2020, 5), "济南市")),
        ("２０２００５－零报（济南市）.TXT", (Month(2020, 5), "济南市")),
        ("202005-零报(济南市).txt.txt", (Month(2020, 5), "济南市")),
        ("202005-零报(济南市) - 副本(2).txt", (Month(2020, 5), "济南市")),
        ("202013-零报(济南市).txt", None),
        ("202005-零报(济南市).xls", None),
        ("202005-零报济南市.txt", None),
    ],
)
def test_a_nil_report_is_recognised_by_its_name(text, expected):
    assert parse_nil(text) == expected

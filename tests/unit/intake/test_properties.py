"""What holds for every name, every entry name and every cell, not only for the samples of the other tests."""

import unicodedata
import zipfile
from io import BytesIO

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from made_zips import UTF8, Member, zip_bytes

from certflow import excel, naming
from certflow.errors import SubmissionError
from certflow.intake import names
from certflow.month import Month

HAN = st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5)
CHINESE = st.text(HAN, min_size=1, max_size=12)
RARE = st.text(st.one_of(HAN, st.characters(min_codepoint=0x20000, max_codepoint=0x2A6DF)), min_size=1, max_size=12)
MONTHS = st.builds(lambda year, month: Month.parse(f"{year}{month:02d}"), st.integers(2000, 2099), st.integers(1, 12))
PACKAGES = st.builds(
    naming.PackageName, MONTHS, st.from_regex(r"[0-9]{3}", fullmatch=True), CHINESE, CHINESE, st.integers(0, 999_999)
)
WIDE = {ord(sign): ord(sign) + 0xFEE0 for sign in "0123456789()-"}


@given(PACKAGES, st.sampled_from(["", ".XLS", ".xls", ".zip", ".XLS.zip"]))
def test_a_name_reads_back_as_what_was_written(name, extension):
    assert naming.parse(name.stem + extension) == naming.Parsed(name, "", ())


@given(PACKAGES, st.data())
def test_a_name_in_any_width_is_the_same_name(name, data):
    widened = "".join(
        chr(WIDE[ord(sign)]) if ord(sign) in WIDE and data.draw(st.booleans()) else sign for sign in name.stem
    )
    assert naming.parse(widened).name == name


@given(st.text(max_size=120))
@example("202005-034-(证书补换印制信息)数据()(人)")
def test_no_text_is_a_name_that_would_be_written_otherwise(text):
    parsed = naming.parse(text)
    assert (parsed.name is None) == (parsed.fault != "")
    if parsed.name is not None:
        assert naming.parse(parsed.name.stem).name == parsed.name


def entry_names(*members: Member) -> list[str]:
    """What our reader takes the names of a real zip for."""
    with zipfile.ZipFile(BytesIO(zip_bytes(*members))) as archive:
        flags = [bool(one.flag_bits & UTF8) for one in archive.infolist()]
    return names.decode([names.RawName(one.raw, flag) for one, flag in zip(members, flags, strict=True)]).names


@given(st.lists(RARE, min_size=1, max_size=5), PACKAGES)
def test_entry_names_come_through_gb18030(texts, package):
    """With a package's own name among them, as every submission has one (Z02, Z04)."""
    wanted = [f"{package.stem}.XLS", *(f"{text}.jpg" for text in texts)]
    assert entry_names(*(Member(text.encode("gb18030"), flags=0) for text in wanted)) == wanted


@pytest.mark.parametrize("flag", [0, UTF8])
@given(texts=st.lists(RARE, min_size=1, max_size=5), package=PACKAGES)
def test_entry_names_come_through_utf8_with_and_without_the_flag(flag, texts, package):
    wanted = [f"{package.stem}.XLS", *(f"{text}.jpg" for text in texts)]
    assert entry_names(*(Member(text.encode(), flags=flag) for text in wanted)) == wanted


@given(st.text(max_size=60))
def test_no_cleaned_name_leads_anywhere(text):
    try:
        path = names.clean(text, "")
    except SubmissionError:
        return
    assert not path.startswith("/")
    assert ".." not in [part.strip() for part in path.split("/")]
    assert "\\" not in path
    assert "\0" not in path


CELLS = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=40
)  # a lone surrogate is no text: E46


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=30))
def test_cells_come_through_an_xls_as_they_were(rows):
    rows = [[unicodedata.normalize("NFC", text) for text in row] for row in rows]
    assume(any(any(row) for row in rows))
    grid = list(excel.read_own(excel.write_xls(("甲", "乙", "丙"), rows)))
    read = [[*row, "", "", ""][:3] for row in grid[1:]]
    last = max(index for index, row in enumerate(rows) if any(row))
    assert read[: last + 1] == rows[: last + 1]

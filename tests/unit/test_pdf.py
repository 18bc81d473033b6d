"""PDFs are made from a template and data, offline, with the fonts inside, and always the same."""

import pytest

from certflow import pdf
from certflow.errors import ConfigurationError

PAGE = "#set page(width: 10cm, height: 5cm)\n#for name in data.names [#name #parbreak()]"


def test_the_same_data_gives_the_same_bytes_with_the_fonts_inside():
    made = pdf.render(PAGE, {"names": ["张三", "买买提·艾力", "𠮷野", "王晓[沛]"]}, title="试")
    assert made.startswith(b"%PDF-")
    assert b"NotoSerifCJKsc" in made
    assert b"SimHei" not in made
    assert made == pdf.render(PAGE, {"names": ["张三", "买买提·艾力", "𠮷野", "王晓[沛]"]}, title="试")


def test_data_is_never_read_as_typst():
    plain = pdf.render("#data.text", {"text": '#panic[x] $ * _ \\ " @'})
    assert plain.startswith(b"%PDF-")


def test_a_wrong_template_is_named_without_the_data():
    with pytest.raises(ConfigurationError) as caught:
        pdf.render("#let x = ", {"names": ["11010519491231002X"]})
    assert "模板有误" in str(caught.value)
    assert "110105" not in str(caught.value)

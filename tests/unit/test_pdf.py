"""PDFs are made from a template and data, offline, with the fonts inside, and always the same."""

import datetime as dt
from unittest import mock

import printed
import pytest

from certflow import pdf
from certflow.errors import ConfigurationError, Conflict

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


LETTER = {
    "name": "王䶮𬱖", "id_type": "居民身份证", "id_number": "11010519491231002X", "exam": "一级建造师",
    "management_no": "20100103437000000123", "level": "一级", "specialty": "港口与航道工程",
    "approved_on": "2010年9月20日", "city": "济南市", "purpose": "投标", "ends": "新证书发放",
    "number": "鲁人考证〔2026〕成00001号",
    "issued_on": "2026年11月23日", "code": "7K3M-9QXC", "verify": "", "qr": pdf.qr_svg("7K3M9QXC"),
}  # fmt: skip
NOW = dt.datetime(2026, 11, 23, 8, 0, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def press() -> pdf.Press:
    return pdf.Press(None, None)


@pytest.mark.parametrize("template", ["proof-score", "proof-qualification"])
@pytest.mark.parametrize("name", ["王䶮𬱖", "阿卜杜热依木·买买提", "王晓[沛]"])
def test_every_glyph_of_a_rare_name_stands_on_the_page_and_can_be_copied(press, template, name):
    made = press.print(template, LETTER | {"name": name}, title="证明", at=NOW)
    seen = printed.likeness(made, name)
    assert set(seen) == set(name)
    assert min(like for sign, like in seen.items() if sign not in "·[]") > 0.95, seen
    assert min(seen.values()) > 0.8, seen
    assert name in printed.text(made)


def test_the_measure_of_a_glyph_tells_characters_apart(press):
    """The test above would fail on a wrong glyph or an empty box."""
    made = press.print("proof-score", LETTER | {"name": "口口"}, title="证明", at=NOW)
    box = next(iter(printed.likeness(made, "口口").values()))
    with mock.patch.object(printed, "_drawn", lambda _sign, real=printed._drawn: real("䶮")):
        wrong = next(iter(printed.likeness(made, "口口").values()))
    assert box > 0.9
    assert wrong < 0.5


def test_the_qr_code_decodes(press):
    made = press.print(
        "proof-score", LETTER | {"qr": pdf.qr_svg("https://zs.example/verify/7K3M9QXC")}, title="", at=NOW
    )
    assert printed.codes(made) == ["https://zs.example/verify/7K3M9QXC"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("王𰻝", "U+30EDD"),
        ("王\ue863", "U+E863"),
        ("葛\U000e0100", "U+E0100"),
        ("王\u200b", "U+200B"),
        ("王\u00ad", "U+00AD"),
        ("王\u202e", "U+202E"),
        ("王\x07", "U+0007"),
    ],
)
def test_what_no_font_can_show_is_refused_by_code_point(press, name, code):
    with pytest.raises(Conflict) as caught:
        press.print("proof-score", LETTER | {"name": name}, title="证明", at=NOW)
    assert code in str(caught.value)
    assert "王" not in str(caught.value)


def test_a_font_in_the_home_brings_its_characters(settings):
    """A glyph of the wheel's font under another name and code point, as a font for rare characters would bring it."""
    from fontTools.subset import Options, Subsetter
    from fontTools.ttLib import TTFont

    font = TTFont(printed.FONT)
    worker = Subsetter(Options())
    worker.populate(unicodes=[ord("𬱖")])
    worker.subset(font)
    for table in font["cmap"].tables:
        if table.format == 12:
            table.cmap = {0x30EDD: table.cmap[ord("𬱖")]}
    for record in font["name"].names:
        record.string = "Rare"
    font["CFF "].cff.fontNames = ["Rare"]
    folder = settings.path("fonts")
    folder.mkdir(parents=True)
    font.save(folder / "rare.otf")
    made = pdf.press(settings).print("proof-score", LETTER | {"name": "王𰻝"}, title="证明", at=NOW)
    assert b"Rare" in made
    assert "王𰻝" in printed.text(made)


def test_it_says_it_is_pdf_a_and_embeds_every_font(press):
    """What can be seen from outside; the writer itself refuses whatever PDF/A-2b forbids."""
    made = press.print("proof-score", LETTER, title="成绩合格证明", at=NOW)
    assert b"<pdfaid:part>2</pdfaid:part>" in made
    assert b"<pdfaid:conformance>B</pdfaid:conformance>" in made
    assert b"/OutputIntents" in made
    fonts = made.count(b"/Type/FontDescriptor") + made.count(b"/Type /FontDescriptor")
    assert fonts > 0
    assert made.count(b"/FontFile3") + made.count(b"/FontFile2") == fonts


def test_operators_edit_a_copy_of_a_template(settings):
    own = pdf.export_template(settings, "proof-score")
    own.write_text(own.read_text("utf-8").replace("特此证明", "特此出证"), "utf-8")
    assert "特此出证" in printed.text(pdf.press(settings).print("proof-score", LETTER, title="", at=NOW))
    with pytest.raises(Conflict):
        pdf.export_template(settings, "proof-score")


def test_a_broken_template_of_the_operator_is_named_as_such(settings):
    pdf.export_template(settings, "proof-score").write_text("#let x = (", "utf-8")
    with pytest.raises(ConfigurationError, match="模板有误"):
        pdf.press(settings).print("proof-score", LETTER, title="", at=NOW)

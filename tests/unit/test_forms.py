"""The paper says what the data says: workbook, PDF and rows are equal, value by value, in the order of the notice."""

import pypdfium2
import pytest

from certflow import excel, forms
from certflow.errors import ConfigurationError, DigestMismatch
from certflow.findings import FIELDS

LINES = ["申报年月：202005", "数据文件：x.XLS"]


def rows(count):
    names = ("张三", "买买提·艾力江·阿不都热合曼", "王晓[沛]", "=1+1")
    made = [
        dict.fromkeys(FIELDS, "")
        | {
            "ZSGLH": f"20100103437{number:07d}",
            "KSXM": names[number % 4],
            "ZJHM": "11010519491231002X",
            "XB": "男",
            "BKJB": "一级",
            "BKZY": ("建筑工程", "港口与航道工程")[number % 2],
            "PZRQ": f"20{number % 10 + 10}0101",
            "ZP": "a.jpg" if number % 3 else "",
            "BMS": ("济南市", "莱芜市")[number % 2],
        }
        for number in range(count)
    ]
    return sorted(made, key=forms.place)


def pages(content):
    document = pypdfium2.PdfDocument(content)
    found = [page.get_textpage().get_text_bounded() for page in document]
    document.close()
    return found


def test_rows_stand_by_approval_date_and_then_by_number():
    listed = [(row["PZRQ"], row["ZSGLH"]) for row in rows(40)]
    assert listed == sorted(listed)


@pytest.mark.parametrize("count", [1, 40])
def test_the_workbook_and_the_pdf_say_the_same_as_the_rows(settings, tmp_path, count):
    data = rows(count)
    for form in forms.lay_out(settings, data, LINES):
        path = tmp_path / "form.xlsx"
        forms.write_workbook(form, path)
        table = list(forms.printed(path, form))
        assert forms.digest_of(table) == form.digest
        content = forms.print_pdf(settings, form)
        assert content == forms.print_pdf(settings, form)
        text = pages(content)
        assert all(f"第 {number} 页/共 {len(text)} 页" in page for number, page in enumerate(text, start=1))
        assert all(form.head[0] in page for page in text)
        assert form.digest in text[-1]
        for row, shown in zip(form.rows, printed_rows(content), strict=True):
            assert shown.startswith(row[0])
            if shown != told(*row):  # a name may break over two lines: it stands in its cell, all else on the line
                assert len(row[1]) > 9
                assert told(row[1]) in told(*text)
                assert shown.endswith(told(*row[2:]))


def printed_rows(content) -> list[str]:
    """What stands on the height of each row's number, without blanks."""
    found = []
    with pypdfium2.PdfDocument(content) as document:
        for page in document:
            words = page.get_textpage()
            boxes = [words.get_rect(number) for number in range(words.count_rects())]
            for left, bottom, right, top in sorted(boxes, key=lambda box: -box[3]):
                if left < 75 and words.get_text_bounded(left, bottom, right, top).strip().isdecimal():
                    middle = (bottom + top) / 2
                    line = words.get_text_bounded(0, middle - 4, page.get_width(), middle + 4)
                    found.append(told(line))
    return found


def told(*texts) -> str:
    """Texts without blanks, and without the middle dot, which pdfium leaves out of a line at times."""
    return "".join("".join(texts).replace("·", "").split())


def test_a_value_of_two_lines_and_an_empty_one_shift_no_other_row(settings):
    made = rows(30)
    made[4]["BKZY"], made[7]["KSXM"], made[8]["BKZY"] = "", "王\n伟", ""
    form, _ = forms.lay_out(settings, made, ["x"])
    shown = printed_rows(forms.print_pdf(settings, form))
    assert len(shown) == 30
    for at, (row, line) in enumerate(zip(form.rows, shown, strict=True)):
        assert line == told(*row) or (at == 7 and line.startswith("8")), at


def test_a_name_that_takes_two_lines_stays_out_of_the_next_row(settings):
    one, two = rows(2)
    one["KSXM"], two["KSXM"] = "MUHAMMAD WWMMW", "艾"
    form, _ = forms.lay_out(settings, [one, two], ["x"])
    with pypdfium2.PdfDocument(forms.print_pdf(settings, form)) as document:
        page = document[0].get_textpage()
        boxes = [(sign, page.get_charbox(at)) for at, sign in enumerate(page.get_text_range())]
    lowest = min(bottom for sign, (_, bottom, _, _) in boxes if sign == "W")
    [next_top] = [top for sign, (_, _, _, top) in boxes if sign == "艾"]
    assert lowest - next_top > 3, "points of air between the lines of a table"


def test_the_digest_is_over_every_value(settings):
    data = rows(3)
    first, _ = forms.lay_out(settings, data, LINES)
    for field in ("KSXM", "PZRQ", "BMS"):
        changed = [{**row} for row in data]
        changed[1][field] += "1"
        assert forms.lay_out(settings, changed, LINES)[0].digest != first.digest
    assert forms.lay_out(settings, list(reversed(data)), LINES)[0].digest != first.digest


def test_the_summary_counts_certificates_people_and_photos(settings):
    _, summary = forms.lay_out(settings, rows(6), LINES)
    assert [row[1:] for row in summary.rows] == [
        ("济南市", "一级", "建筑工程", "3", "1", "2"),
        ("莱芜市", "一级", "港口与航道工程", "3", "1", "2"),
    ]
    assert summary.total == ("合计", "", "", "", "6", "1", "4")


def test_a_workbook_that_says_something_else_is_not_left_behind(settings, tmp_path, monkeypatch):
    form, _ = forms.lay_out(settings, rows(2), LINES)
    honest = excel.write_xlsx

    def write_less(path, sheets):
        honest(path, [excel.Page(sheets[0].name, sheets[0].rows[:-4], sheets[0].widths)])

    monkeypatch.setattr(excel, "write_xlsx", write_less)
    with pytest.raises(DigestMismatch):
        forms.write_workbook(form, tmp_path / "form.xlsx")
    assert list(tmp_path.glob("*.xlsx")) == []


def test_a_rare_character_without_a_font_leaves_the_workbook_and_says_why(settings, tmp_path):
    data = rows(1)
    data[0] = {**data[0], "KSXM": "张\U0002b73f"}
    written, trouble = forms.write(settings, forms.lay_out(settings, data, LINES), tmp_path, "x")
    assert sorted(path.name for path in written) == ["x-申请表.xlsx", "x-统计汇总表.pdf", "x-统计汇总表.xlsx"]
    assert "U+2B73F" in trouble


def test_a_form_too_long_for_the_typesetter_is_a_workbook_alone(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(forms, "MOST_PRINTED", 2)
    written, trouble = forms.write(settings, forms.lay_out(settings, rows(3), LINES), tmp_path, "x")
    assert "Excel" in trouble
    assert [path.suffix for path in written] == [".xlsx", ".xlsx", ".pdf"], "the summary is short"


def test_the_operator_edits_columns_without_code(settings):
    own = settings.path("templates", "forms.toml")
    own.parent.mkdir(parents=True)
    shipped = forms._SHIPPED.read_text(encoding="utf-8")
    own.write_text(shipped.replace('{ head = "报名市", text = "{BMS}", width = 18 },', "", 1), encoding="utf-8")
    form, _ = forms.lay_out(settings, rows(1), LINES)
    assert "报名市" not in form.head


@pytest.mark.parametrize(
    "change",
    [
        ("{KSXM}", "{KSXX}"),
        ("{KSXM}", "{KSXM"),
        ("{KSXM}", "{KSXM.__class__}"),
        ("width = 30", 'width = "30"'),
        ('group = ["BMS"', 'group = ["XYZ"'),
        ("[summary]", "[other]"),
        ("landscape = true", "landscape = 1"),
        ("title =", "title"),
    ],
)
def test_a_wrong_template_is_refused_with_its_place(settings, change):
    own = settings.path("templates", "forms.toml")
    own.parent.mkdir(parents=True)
    own.write_text(forms._SHIPPED.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"forms\.toml"):
        forms.lay_out(settings, rows(1), LINES)

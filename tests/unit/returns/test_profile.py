"""Reading what the authority sends back: what the profile knows is read, everything else stops the file."""

import datetime as dt
import hashlib
import io
import zipfile

import pytest
from made_books import xlsx

from certflow import excel, jail
from certflow.errors import ConfigurationError, SubmissionError
from certflow.returns.files import UNREADABLE, read_return
from certflow.returns.profile import PRINTED, REFUSED, copy_shipped, load_profiles

HEADER = "ZSGLH,KSXM,ZJHM,证书编号,结果,原因,印制日期"
PRINTED_LINE = "20100103437000001,王晓[沛],11010519491231002X,SD0001,已印制,,20200801"
REFUSED_LINE = "20100103437000002,古丽·买买提,440524188001010014,,退回,照片不合格,"


def read(settings, tmp_path, content, name="返回.csv"):
    path = tmp_path / "returned.bin"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_return(load_profiles(settings), path, name, settings.limits)


def own_profile(settings, name, text=None, *replacements):
    """A profile in the operator's folder: `text`, or the shipped one with some words replaced."""
    copy_shipped(settings)
    folder = settings.path("reference", "return_profiles")
    text = text or (folder / "default.toml").read_text(encoding="utf-8")
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    (folder / name).write_text(text, encoding="utf-8")


def table(*lines, end="\r\n"):
    return "".join(f"{line}{end}" for line in (HEADER, *lines))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_is_read_in_every_encoding_and_line_end(settings, tmp_path, encoding, end):
    lines = read(settings, tmp_path, table(PRINTED_LINE, REFUSED_LINE, end=end).encode(encoding))
    assert [(one.row_no, one.result) for one in lines] == [(2, PRINTED), (3, REFUSED)]
    assert (lines[0].name, lines[0].serial, lines[0].printed_on) == ("王晓[沛]", "SD0001", "20200801")
    assert (lines[1].name, lines[1].reason, lines[1].printed_on) == ("古丽·买买提", "照片不合格", "")


def test_excel_is_known_by_its_content_not_its_name(settings, tmp_path):
    rows = [PRINTED_LINE.split(","), REFUSED_LINE.split(",")]
    lines = read(settings, tmp_path, excel.write_xls(HEADER.split(","), rows))
    assert [one.management_no for one in lines] == [row[0] for row in rows]


def test_columns_come_in_any_order_with_chinese_names_and_empty_rows_between(settings, tmp_path):
    lines = read(
        settings, tmp_path,
        "印制日期,原因,结果,证书编号,证件号码,姓名,管理号,,\n\n2020年8月1日,,已印制,SD1,X1,甲,M1,,\n,,,,,,,,\n",
    )  # fmt: skip
    assert [(one.row_no, one.management_no, one.printed_on) for one in lines] == [(3, "M1", "20200801")]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "RETURN-EMPTY"),
        (b" \r\n", "RETURN-EMPTY"),
        (table(), "RETURN-EMPTY"),
        (b"PK\x03\x04 no workbook", "RETURN-DAMAGED"),
        (table(PRINTED_LINE).encode()[:-1].replace(b"\r", b""), "RETURN-TRUNCATED"),
        (table(PRINTED_LINE, "20100103437000002,古丽"), "RETURN-TRUNCATED"),
        (table(PRINTED_LINE, '20100103437000002,"古丽'), "RETURN-DAMAGED"),
        (table(PRINTED_LINE).encode("utf-16"), "RETURN-DAMAGED"),
        (table(PRINTED_LINE).encode() + b"\xff\xff\r\n", "RETURN-DAMAGED"),
    ],
    ids=["nothing", "blank", "header-only", "zip", "no-line-end", "short-last", "quote", "utf-16", "bytes"],
)
def test_r08_an_unreadable_or_truncated_file_goes_back(settings, tmp_path, content, fault):
    with pytest.raises(SubmissionError) as caught:
        read(settings, tmp_path, content)
    assert caught.value.fault == fault
    assert fault in UNREADABLE


def test_r08_a_truncated_workbook_goes_back(settings, tmp_path):
    excel.write_xlsx(tmp_path / "whole.xlsx", [excel.Page("Sheet1", [HEADER.split(",")], [10])])
    with pytest.raises(SubmissionError, match="RETURN-DAMAGED"):
        read(settings, tmp_path, (tmp_path / "whole.xlsx").read_bytes()[:-200])


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (table(PRINTED_LINE).replace("原因", "备注"), "RETURN-HEADER"),
        (table(PRINTED_LINE).replace("原因", "姓名"), "RETURN-HEADER"),
        (table(PRINTED_LINE).replace(",印制日期", "").replace(",20200801", ""), "RETURN-HEADER"),
        (f"{PRINTED_LINE}\r\n{REFUSED_LINE}\r\n", "RETURN-HEADER"),
        (table(PRINTED_LINE).replace("已印制", "已制证"), "RETURN-WORD"),
        (table(PRINTED_LINE).replace("SD0001", ""), "RETURN-VALUE"),
        (table(PRINTED_LINE).replace("20200801", "202008"), "RETURN-VALUE"),
        (table(PRINTED_LINE).replace("20200801", "44044"), "RETURN-VALUE"),
        (table(PRINTED_LINE).replace("20100103437000001", ""), "RETURN-VALUE"),
        (table(PRINTED_LINE + ",more"), "RETURN-FORM"),
        (table("M1,short", PRINTED_LINE), "RETURN-FORM"),
    ],
    ids=[
        "unknown", "twice", "absent", "no-header", "word", "serial", "month", "excel-serial", "number", "wide", "short",
    ],
)  # fmt: skip
def test_what_the_profile_does_not_know_waits_for_a_person_and_names_no_value(settings, tmp_path, content, fault):
    with pytest.raises(SubmissionError) as caught:
        read(settings, tmp_path, content)
    assert caught.value.fault == fault
    assert fault not in UNREADABLE
    assert not any(value in str(caught.value) for value in ("王晓", "110105", "SD0001"))


def test_an_unknown_word_and_an_unknown_column_are_named_with_the_way_to_add_them(settings, tmp_path):
    with pytest.raises(SubmissionError) as caught:
        read(settings, tmp_path, table(PRINTED_LINE, REFUSED_LINE).replace("已印制", "已制证").replace("退回", "未过"))
    for word in ("“已制证”（第 2 行起共 1 行）", "“未过”", "default.toml", "[results]"):
        assert word in str(caught.value)
    with pytest.raises(SubmissionError) as caught:
        read(settings, tmp_path, table(PRINTED_LINE).replace("原因", "备注"))
    for word in ("第 6 列“备注”", "default.toml", "[columns]", "ignored"):
        assert word in str(caught.value)


def test_a_value_out_of_its_column_is_never_shown(settings, tmp_path):
    shifted = "20100103437000001,11010519491231002X,SD0001,20200801,王晓沛,,"
    with pytest.raises(SubmissionError) as caught:
        read(settings, tmp_path, table(shifted))
    assert "王晓沛" not in str(caught.value)
    assert "不便显示" in str(caught.value)


OTHER = (
    'name = "某部"\nfiles = ["ZS-*"]\nencodings = ["gb18030"]\nfinal_line_end = false\ndates = ["DD/MM/YYYY"]\n'
    'delimiter = "|"\n[columns]\nmanagement_no = ["号"]\nname = ["名"]\nid_number = ["证"]\nserial = ["新号"]\n'
    'result = ["果"]\nreason = ["因"]\nprinted_on = ["日"]\nignored = ["序"]\n'
    '[results]\nprinted = ["制"]\nrefused = ["退"]\n'
)


def test_a_second_profile_is_chosen_by_the_name_of_the_file(settings, tmp_path):
    own_profile(settings, "other.toml", OTHER)
    content = "某部返回数据||||||||\n序|号|名|证|新号|果|因|日\n1|M1|甲|X1|S1|制||05/08/2020".encode("gb18030")
    lines = read(settings, tmp_path, content, "ZS-202005.txt")
    assert [(one.row_no, one.result, one.printed_on) for one in lines] == [(3, PRINTED, "20200805")]
    assert len(read(settings, tmp_path, table(PRINTED_LINE))) == 1
    with pytest.raises(SubmissionError, match="RETURN-HEADER"):
        read(settings, tmp_path, table(PRINTED_LINE).encode("gb18030"), "ZS-1.csv")


def test_an_own_profile_of_the_same_name_takes_the_place_of_the_shipped_one(settings, tmp_path):
    own_profile(settings, "default.toml", None, ('["已印制"]', '["已印制", "已制证"]'))
    assert [profile.own for profile in load_profiles(settings)] == [True]
    assert read(settings, tmp_path, table(PRINTED_LINE).replace("已印制", "已制证"))[0].result == PRINTED


def test_two_profiles_that_read_a_file_differently_are_a_question(settings, tmp_path):
    own_profile(
        settings, "turned.toml", None, ('["已印制"]', '["甲"]'), ('["退回"]', '["已印制"]'), ('["甲"]', '["退回"]')
    )
    with pytest.raises(SubmissionError, match=r"RETURN-PROFILE.*default.toml、turned.toml"):
        read(settings, tmp_path, table(PRINTED_LINE))
    own_profile(settings, "turned.toml", None)
    assert len(read(settings, tmp_path, table(PRINTED_LINE))) == 1  # both read it alike


def test_the_sheet_of_the_profile_is_read(settings, tmp_path):
    rows = [HEADER.split(","), PRINTED_LINE.split(",")]
    pages = [excel.Page("说明", [["随便写的"]], [10]), excel.Page("数据", rows, [10])]
    excel.write_xlsx(tmp_path / "two.xlsx", pages)
    data = (tmp_path / "two.xlsx").read_bytes()
    with pytest.raises(SubmissionError, match="RETURN-HEADER"):
        read(settings, tmp_path, data)
    own_profile(settings, "default.toml", None, ('sheet = ""', 'sheet = "数据"'))
    assert len(read(settings, tmp_path, data)) == 1
    with pytest.raises(SubmissionError, match="数据"):
        read(settings, tmp_path, excel.write_xls(rows[0], rows[1:]))


@pytest.mark.parametrize(
    "content",
    [{"证书编号": 12345}, {"证书编号": True}, {"证书编号": dt.date(2020, 8, 1)}],
    ids=["number", "truth", "date"],
)
def test_e10_a_serial_that_is_no_text_cell_waits_for_a_person(settings, tmp_path, content):
    """A number has lost its leading zeros, and nothing tells which it had."""
    told = dict(zip(HEADER.split(","), PRINTED_LINE.split(","), strict=True))
    rows = [list(told), list(told.values())]
    with pytest.raises(SubmissionError, match="RETURN-VALUE: 第 3 行“证书编号”不是文本单元格"):
        read(settings, tmp_path, xlsx([*rows, (told | content).values()]))
    refused = dict(zip(HEADER.split(","), REFUSED_LINE.split(","), strict=True)) | content
    assert len(read(settings, tmp_path, xlsx([*rows, refused.values()]))) == 2  # nobody takes a refusal's number


def test_a_row_is_told_as_excel_shows_it_where_the_sheet_begins_further_down(settings, tmp_path):
    rows = [[], [], [], HEADER.split(","), PRINTED_LINE.split(",")]
    assert read(settings, tmp_path, xlsx(rows))[0].row_no == 5


def test_e10_what_a_csv_does_to_keep_its_numbers_from_excel_is_read_over(settings, tmp_path):
    number, rest = PRINTED_LINE.split(",", 1)
    (line,) = read(settings, tmp_path, table(f'="{number}",{rest}'.replace("SD0001", '="0012345"')))
    assert (line.management_no, line.serial) == (number, "0012345")


@pytest.mark.parametrize("hidden", [False, True])
def test_e24_e25_two_sheets_of_answers_are_a_question(settings, tmp_path, hidden):
    def another(book):
        sheet = book.create_sheet("退回")
        for line in ("某部退回名单", HEADER, REFUSED_LINE):
            sheet.append(line.split(","))
        if hidden:
            book.worksheets[0].sheet_state = "hidden"
            book.active = 1

    data = xlsx([HEADER.split(","), PRINTED_LINE.split(",")], another)
    with pytest.raises(SubmissionError, match=r"RETURN-FORM: 第 1、2 个工作表都有返回数据.*default.toml 的 sheet"):
        read(settings, tmp_path, data)
    own_profile(settings, "default.toml", None, ('sheet = ""', 'sheet = "退回"'))
    assert [one.result for one in read(settings, tmp_path, data)] == [REFUSED]


def test_r03_a_row_without_a_result_is_said_to_have_none(settings, tmp_path):
    """A word for it cannot be added to the profile."""
    lines = [PRINTED_LINE, "20100103437000002,古丽·买买提,440524188001010014,,,,", "合计：1人,,,,,,"]
    with pytest.raises(SubmissionError, match="RETURN-WORD: “结果”一列为空：第 3 行起共 2 行") as caught:
        read(settings, tmp_path, table(*lines))
    assert "[results]" not in str(caught.value)
    with pytest.raises(SubmissionError, match=r"“已制证”（第 2 行起共 1 行）.*为空：第 3 行起共 2 行"):
        read(settings, tmp_path, table(*lines).replace("已印制", "已制证"))


def zipped(**members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_several_tables_in_a_zip_are_one_return_and_letters_beside_them_are_not_read(settings, tmp_path):
    excel.write_xlsx(tmp_path / "b.xlsx", [excel.Page("S", [HEADER.split(","), REFUSED_LINE.split(",")], [10])])
    content = zipped(**{
        "返回/a.csv": table(PRINTED_LINE).encode("gb18030"), "返回/b.xlsx": (tmp_path / "b.xlsx").read_bytes(),
        "公函.pdf": b"%PDF-1.7", "__MACOSX/._a.csv": b"junk",
    })  # fmt: skip
    lines = read(settings, tmp_path, content, "202005.zip")
    assert [(one.part, one.row_no, one.result) for one in lines] == [(1, 2, PRINTED), (2, 2, REFUSED)]


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ({"公函.pdf": b"%PDF-1.7"}, "RETURN-EMPTY"),
        ({"a.csv": b"", "b.csv": b""}, "RETURN-EMPTY"),
        ({"../a.csv": b"x"}, "RETURN-DAMAGED"),
        ({"a.csv": table(PRINTED_LINE).encode(), "b.csv": table(REFUSED_LINE).encode()[:-5]}, "RETURN-TRUNCATED"),
        ({"a.csv": table(PRINTED_LINE).replace("已印制", "已制证").encode(), "b.csv": b"\n"}, "RETURN-WORD"),
    ],
    ids=["letters-only", "empty", "traversal", "one-cut", "word"],
)
def test_one_bad_table_stops_the_whole_zip(settings, tmp_path, members, fault):
    with pytest.raises(SubmissionError) as caught:
        read(settings, tmp_path, zipped(**members), "r.zip")
    assert caught.value.fault == fault


def test_r08_an_unsigned_table_goes_back_where_the_profile_asks_for_digests(settings, tmp_path):
    own_profile(settings, "default.toml", None, ('checksum = "none"', 'checksum = "sha256"'))
    data = table(PRINTED_LINE).encode()
    digest = hashlib.sha256(data).hexdigest().encode()
    assert len(read(settings, tmp_path, zipped(**{"a.csv": data, "a.csv.sha256": digest + b"  a.csv\n"}), "r.zip")) == 1
    for members in ({"a.csv": data}, {"a.csv": data + b"\r\n", "a.csv.sha256": digest}):
        with pytest.raises(SubmissionError) as caught:
            read(settings, tmp_path, zipped(**members), "r.zip")
        assert caught.value.fault == "RETURN-UNSIGNED"
        assert caught.value.fault in UNREADABLE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[results]", "[result]"),
        ('"已印制"', '"退回"'),
        ('"原因"', '"结果"'),
        ("utf-8-sig", "utf-99"),
        ("name =", "name"),
        ("dates = []", 'dates = ["DD/MM"]'),
        ("sheet =", "sheat ="),
        ('"none"', '"md5"'),
    ],
)
def test_a_wrong_profile_is_a_configuration_error(settings, old, new):
    own_profile(settings, "default.toml", None, (old, new))
    with pytest.raises(ConfigurationError, match=r"default\.toml"):
        load_profiles(settings)


def test_a_workbook_is_read_in_the_jail_and_not_here(settings, tmp_path, monkeypatch):
    for code in ("_CHILD", "_SERVER"):
        monkeypatch.setattr(jail, code, "import os; os.abort()")
    monkeypatch.setattr(jail, "_idle", [])
    with pytest.raises(SubmissionError) as error:
        read(settings, tmp_path, excel.write_xls(HEADER.split(","), [PRINTED_LINE.split(",")]))
    assert error.value.fault == "RETURN-DAMAGED"

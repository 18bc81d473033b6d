"""Reading what the authority sends back: what the profile knows is read, everything else stops the file."""

import pytest

from certflow import excel, jail
from certflow.errors import ConfigurationError, SubmissionError
from certflow.returns.profile import PRINTED, REFUSED, UNREADABLE, load_profile, read_return

HEADER = "ZSGLH,KSXM,ZJHM,证书编号,结果,原因,印制日期"
PRINTED_LINE = "20100103437000001,王晓[沛],11010519491231002X,SD0001,已印制,,20200801"
REFUSED_LINE = "20100103437000002,古丽·买买提,440524188001010014,,退回,照片不合格,"


def read(settings, tmp_path, content):
    path = tmp_path / "returned.bin"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_return(load_profile(settings), path, settings.limits)


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
    assert not any(value in str(caught.value) for value in ("王晓", "110105", "已制证", "备注"))


def test_the_operators_own_profile_is_read_instead(settings, tmp_path):
    own = settings.path("reference", "return_profile.toml")
    own.parent.mkdir(parents=True)
    own.write_text(
        'name = "某部"\nencodings = ["gb18030"]\nfinal_line_end = false\n[columns]\n'
        'management_no = ["号"]\nname = ["名"]\nid_number = ["证"]\nserial = ["新号"]\nresult = ["果"]\n'
        'reason = ["因"]\nprinted_on = ["日"]\n[results]\nprinted = ["制"]\nrefused = ["退"]\n',
        encoding="utf-8",
    )
    lines = read(settings, tmp_path, "号,名,证,新号,果,因,日\nM1,甲,X1,S1,制,,2020-08-01".encode("gb18030"))
    assert [(one.result, one.printed_on) for one in lines] == [(PRINTED, "20200801")]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[results]", "[result]"),
        ('"已印制"', '"退回"'),
        ('"原因"', '"结果"'),
        ("utf-8-sig", "utf-99"),
        ("name =", "name"),
    ],
)
def test_a_wrong_profile_is_a_configuration_error(settings, old, new):
    from importlib import resources

    shipped = resources.files("certflow.returns").joinpath("profile.toml").read_text("utf-8")
    own = settings.path("reference", "return_profile.toml")
    own.parent.mkdir(parents=True)
    own.write_text(shipped.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="return_profile"):
        load_profile(settings)


def test_a_workbook_is_read_in_the_jail_and_not_here(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(jail, "_CHILD", "import os; os.abort()")
    with pytest.raises(SubmissionError) as error:
        read(settings, tmp_path, excel.write_xls(HEADER.split(","), [PRINTED_LINE.split(",")]))
    assert error.value.fault == "RETURN-DAMAGED"

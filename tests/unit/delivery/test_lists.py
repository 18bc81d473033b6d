"""Lists about deliveries are read by editable profiles; what a profile does not know stops the whole list."""

import pytest

from certflow.delivery import profile as profiles
from certflow.delivery.pickup import load_rules
from certflow.delivery.profile import CHOICES, EMS, EXCHANGE, load_profile, parse_time, read_lines, shipped, write_list
from certflow.errors import ConfigurationError, Conflict, SubmissionError
from certflow.excel import Page, write_xlsx


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2020-09-01 08:05:06", "2020-09-01T08:05:06+08:00"), ("2020/9/1 8:05", "2020-09-01T08:05:00+08:00"),
        ("20200901080506", "2020-09-01T08:05:06+08:00"), ("2020年9月1日", "2020-09-01T00:00:00+08:00"),
        ("2020-09-01T08:05:06.000", "2020-09-01T08:05:06+08:00"),
        ("2020-09-01 08:05:06.987", "2020-09-01T08:05:06+08:00"),
    ],
)  # fmt: skip
def test_a_moment_is_read_in_shanghai_time(text, moment):
    assert parse_time(text).isoformat() == moment


@pytest.mark.parametrize("text", ["", "202091", "2020-13-01", "2020-09-01 25:00", "44075.5", "昨天"])
def test_what_is_no_moment_is_not_guessed(text):
    assert parse_time(text) is None


@pytest.mark.parametrize("kind", [CHOICES, EMS, EXCHANGE])
def test_the_shipped_profiles_are_sound(settings, kind):
    assert load_profile(settings, kind).words


@pytest.mark.parametrize(
    ("kind", "old", "new", "said"),
    [
        (EMS, "COLLECTED =", "SOMEWHERE =", "不认识的项：SOMEWHERE"),
        (EMS, '"派送中"', '"已收寄"', "同一个词有两种含义"),
        (EMS, 'text = "{收件人}"', 'text = "{身份证}"', "缺少或写错"),
        (EMS, 'format = "xlsx"', 'format = "doc"', "缺少或写错"),
        (EMS, "[export]", "[exported]", "缺少或写错"),
        (EMS, 'encoding = "gb18030"', 'encoding = "no"', "没有编码"),
        (CHOICES, "[words]", "[words", "无法读取"),
    ],
)
def test_a_wrong_profile_names_its_fault(settings, kind, old, new, said):
    own = settings.path("templates", f"delivery-{kind}.toml")
    own.parent.mkdir(parents=True)
    own.write_text(shipped(kind).replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=said):
        load_profile(settings, kind)


def test_an_own_profile_is_never_written_over(settings):
    profiles.copy_profile(settings, EMS)
    with pytest.raises(Conflict):
        profiles.copy_profile(settings, EMS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("运单号,状态,时间\nW1,妥投,\n", "第 2 行有状态而没有时间"),
        ("运单号,状态,时间\nW1,妥投,后天\n", "第 2 行的时间看不懂"),
        ("运单号,状态,时间\n,妥投,20200901\n", "第 2 行没有运单号"),
        ("运单号,状态,时间\nW1,,\n", "第 2 行既没有订单号也没有状态"),
        ("状态,时间\n妥投,20200901\n", "没有找到表头，须有：运单号"),
        ('运单号\n"W1\n', "文件已损坏，打不开"),
        ("", "表中没有数据"),
    ],
)
def test_a_list_that_cannot_be_used_says_where(settings, text, said):
    profile = load_profile(settings, EMS)
    with pytest.raises(SubmissionError) as caught:
        read_lines(settings, profile, text.encode())
    assert profiles.told(profile, caught.value) == said


def test_e10_a_number_that_lost_its_digits_is_not_taken(settings, tmp_path):
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["管理号", "领取方式"])
    book.active.append([201001034370000001, "自取"])
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(SubmissionError, match="文本格式"):
        read_lines(settings, load_profile(settings, CHOICES), (tmp_path / "a.xlsx").read_bytes())


@pytest.mark.parametrize(
    ("kind", "head", "row", "said"),
    [
        (CHOICES, ("联系电话", "邮编"), ("邮寄", 13800138000, 250000), ""),
        (CHOICES, ("联系电话", "邮编"), ("邮寄", 53188886666, 250000), "第 2 行电话须为文本格式"),
        (CHOICES, ("联系电话", "邮编"), ("邮寄", 13800138000, 10000), "第 2 行邮编须为文本格式"),
        (CHOICES, ("联系电话", "邮编"), ("自取", 53188886666, 10000), ""),
        (EMS, ("运单号", "订单号"), ("已收寄", 1234567890123, "EMS-1"), ""),
        (EMS, ("运单号", "订单号"), ("已收寄", 12345678901234567890, "EMS-1"), "第 2 行运单号须为文本格式"),
    ],
)  # fmt: skip
def test_e12_a_number_that_lost_a_zero_or_its_end_sends_no_mail_astray(settings, tmp_path, kind, head, row, said):
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["管理号", "领取方式", "状态", "收件人", "收件地址", "时间", *head])
    word, *numbers = row
    book.active.append(["20100103437000001", word, word, "张三", "某路", "2020-09-01", *numbers])
    book.save(tmp_path / "a.xlsx")
    profile, data = load_profile(settings, kind), (tmp_path / "a.xlsx").read_bytes()
    if not said:
        assert len(read_lines(settings, profile, data)) == 1
        return
    with pytest.raises(SubmissionError) as caught:
        read_lines(settings, profile, data)
    assert profiles.told(profile, caught.value).startswith(said)


def test_e46_a_sign_that_no_database_holds_is_told_with_its_row(settings):
    import io

    import xlwt

    book = xlwt.Workbook()
    sheet = book.add_sheet("1")
    for number, row in enumerate([("管理号", "领取方式"), ("20100103437000001", "自取"), ("2010\x00", "自取")]):
        for column, value in enumerate(row):
            sheet.write(number, column, value)
    out = io.BytesIO()
    book.save(out)
    profile = load_profile(settings, CHOICES)
    with pytest.raises(SubmissionError) as caught:
        read_lines(settings, profile, out.getvalue())
    assert profiles.told(profile, caught.value) == "第 3 行有不能使用的字符，请重新录入该行"


def test_gb18030_and_excel_say_the_same(settings, tmp_path):
    profile = load_profile(settings, CHOICES)
    rows = [("管理号", "领取方式"), ("2010010343700001", "自取")]
    write_xlsx(tmp_path / "a.xlsx", [Page("1", rows, (9, 9))])
    text = "".join(f"{','.join(row)}\r\n" for row in rows)
    read = [
        read_lines(settings, profile, data) for data in (text.encode("gb18030"), (tmp_path / "a.xlsx").read_bytes())
    ]
    assert read[0] == read[1]
    assert read[0][0].word == "pickup"


def test_e10_a_csv_that_keeps_its_numbers_from_excel_is_read_over(settings):
    text = '订单号,运单号\r\n="EMS-1","=""1234567890123"""\r\nEMS-2\t,="=1"\r\n'
    lines = read_lines(settings, load_profile(settings, EMS), text.encode("gb18030"))
    read = [(one.texts["order"], one.texts["waybill"]) for one in lines]
    assert read == [("EMS-1", "1234567890123"), ("EMS-2", "=1")]


def test_e35_no_cell_of_a_csv_becomes_a_formula(settings, tmp_path):
    sheet = profiles.Sheet("csv", "utf-8-sig", (("收件人", "{收件人}", 9),))
    write_list(tmp_path / "a.csv", sheet, [{"收件人": "=1+1"}])
    assert (tmp_path / "a.csv").read_text("utf-8-sig").splitlines()[1] == "'=1+1"


def test_the_evidence_profile_must_agree_with_itself(settings):
    rules = load_rules(settings)
    assert rules.kind_of("20100103437000001/代领人身份证.JPG") == "proxy_id"
    assert rules.kind_of("IMG_0001.JPG") == ""
    assert rules.missing({"holder_id", "signature"}) == []
    assert rules.missing({"letter", "signature"}) == ["代领人身份证", "本人身份证"]
    own = settings.path("templates", "delivery-evidence.toml")
    own.parent.mkdir(parents=True)
    own.write_text(shipped("evidence").replace('letter = "委托书"\n', ""), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="不一致：letter"):
        load_rules(settings)

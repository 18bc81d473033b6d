"""The rows (BAD-INPUTS 1.4): one application per case in one file, beside a certificate database that knows them all."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from made_submissions import Made, id_number, person, portrait, write_registry

from certflow.checks.run import check
from certflow.reference import load_reference
from certflow.registry import certificates

OLD = {"PZRQ": "20100915"}
SHORT = "370102900101"


@dataclass(frozen=True)
class Case:
    case: str
    what: str
    verdict: str
    rules: tuple[str, ...] = ()
    """Every rule that speaks of the row."""
    sent: Mapping[str, str] = field(default_factory=dict)
    """What the city writes otherwise than the database."""
    held: Mapping[str, str] = field(default_factory=dict)
    """What city and database both write otherwise than a plain case."""
    emitted: Mapping[str, str] = field(default_factory=dict)
    """What is printed."""


def wrong_digit(number):
    return number[:17] + ("0" if number[17] != "0" else "1")


def kind(name, number):
    return {"ZJLB": name, "ZJHM": number}


CASES = [
    Case("D01", "a wrong check digit", "returned", ("DB-ID", "ID-CHECKDIGIT"), {"ZJHM": wrong_digit(id_number(101))}),
    Case("D01", "a wrong check digit, in the database as well", "accepted", ("ID-CHECKDIGIT-KNOWN",),
         held={"ZJHM": wrong_digit(id_number(103))}),
    Case("D02", "a full-width number", "accepted", ("DB-ID-KEY", "ID-CASE"),
         {"ZJHM": "11010519491231002Ｘ"}, {"ZJHM": "11010519491231002X", "CSNY": "194912", "XB": "女"},
         {"ZJHM": "11010519491231002X"}),
    Case("D02", "a lower-case x", "accepted", ("DB-ID-KEY", "ID-CASE"), {"ZJHM": "34052419800101001x"},
         {"ZJHM": "34052419800101001X", "CSNY": "198001", "XB": "男"}, {"ZJHM": "34052419800101001X"}),
    Case("D02", "a Cyrillic Х", "returned", ("DB-ID", "ID-FORM"), {"ZJHM": "37010219900101102Х"}),
    Case("D03", "15 digits, as the database has them", "accepted", (), held={"ZJHM": SHORT + "005"}),
    Case("D03", "15 digits, 18 in the database", "accepted", ("DB-ID-KEY",), {"ZJHM": SHORT + "117"},
         {"ZJHM": id_number(117)}, {"ZJHM": id_number(117)}),
    Case("D04", "17 digits", "returned", ("DB-ID", "ID-FORM"), {"ZJHM": id_number(119)[:17]}),
    Case("D04", "digits in groups", "accepted", ("CELL-BLANKS", "DB-ID-KEY"),
         {"ZJHM": f"{id_number(121)[:6]} {id_number(121)[6:]}"}, {"ZJHM": id_number(121)}, {"ZJHM": id_number(121)}),
    Case("D05", "30 February inside", "returned", ("ID-DATE",), held={"ZJHM": id_number(123, "19900230"), "CSNY": "199002"}),
    Case("D05", "a child", "held", ("ID-AGE",), held={"ZJHM": id_number(125, "20120101"), "CSNY": "201201"}),
    Case("D06", "an area nobody knows", "accepted", ("ID-AREA",), held={"ZJHM": id_number(127, area="990102")}),
    Case("D06", "the retired area of 莱芜", "accepted", (), held={"ZJHM": id_number(129, area="371202")}),
    Case("D07", "the other sex", "held", ("ID-SEX",), {"XB": "女"}),
    Case("D08", "another month of birth", "held", ("ID-BIRTH",), {"CSNY": "199002"}),
    Case("D08", "the month of birth in words", "accepted", ("DATE-STYLE",), {"CSNY": "1990年1月"}, {}, {"CSNY": "199001"}),
    Case("D09", "a passport", "accepted", (), held=kind("护照", "E12345678")),
    Case("D09", "a permit of 港澳居民", "accepted", (), held=kind("港澳居民来往内地通行证", "H12345678")),
    Case("D09", "a permit of 台湾居民", "accepted", (), held=kind("台湾居民来往大陆通行证", "12345678")),
    Case("D09", "a foreigner's old card", "accepted", (), held=kind("外国人永久居留身份证", "ABC123456789012")),
    Case("D09", "an officer", "accepted", (), held=kind("军官证", "军字第12345号")),
    Case("D10", "a passport under 居民身份证", "returned", ("ID-FORM",), held={"ZJHM": "E12345679"}),
    Case("D11", "a residence permit of 台湾居民", "accepted", (),
         held=kind("港澳台居民居住证", "830000199201300022") | {"CSNY": "199201", "XB": "女"}),
    Case("D11", "an old permit of 台湾居民, its letter in brackets", "accepted", ("DB-ID-KEY", "ID-CASE"), {"ZJHM": "1234567890(A)"},
         kind("台湾居民来往大陆通行证", "1234567890A"), {"ZJHM": "1234567890A"}),
    Case("D12", "characters of the extensions", "accepted", (), held={"KSXM": "𠮷䶮𬎆"}, emitted={"KSXM": "𠮷䶮𬎆"}),
    Case("D13", "a private code point of old GBK systems", "held", ("DB-NAME-VARIANT", "PERSON-GLYPH"),
         {"KSXM": "王\ue863"}, {"KSXM": "王䶮"}),
    Case("D14", "a compatibility ideograph NFC would change", "accepted", (), held={"KSXM": "王\ufa10"},
         emitted={"KSXM": "王\ufa10"}),
    Case("D15", "a Kangxi radical", "accepted", ("DB-NAME-KEY",), {"KSXM": "⾼明"}, {"KSXM": "高明"}, {"KSXM": "高明"}),
    Case("D16", "a variation selector", "accepted", ("DB-NAME-KEY",), {"KSXM": "葛\U000e0100明"}, {"KSXM": "葛明"},
         {"KSXM": "葛明"}),
    *(
        Case("D17", f"a dot written U+{ord(dot):04X}", "accepted", ("DB-NAME-KEY",),
             {"KSXM": f"买买提{dot}艾力"}, {"KSXM": "买买提·艾力"}, {"KSXM": "买买提·艾力"})
        for dot in "•・‧．.･∙\u0387"
    ),
    Case("D18", "a box in the name, in the database as well", "held", ("PERSON-GLYPH",), held={"KSXM": "王□"}),
    Case("D18", "a box in the name", "returned", ("DB-NAME", "PERSON-GLYPH"), {"KSXM": "王□"}, {"KSXM": "王䶮"}),
    Case("D19", "a name padded with a blank", "accepted", ("DB-NAME-KEY",), {"KSXM": "张　三"}, {"KSXM": "张三"},
         {"KSXM": "张三"}),
    Case("E33", "an apostrophe before the name", "accepted", ("DB-NAME-KEY",), {"KSXM": "'张三"}, {"KSXM": "张三"},
         {"KSXM": "张三"}),
    Case("E33", "an apostrophe before a date", "accepted", ("DATE-STYLE",), {"PZRQ": "'20180915"}, {},
         {"PZRQ": "20180915"}),
    Case("E31", "blanks around a date", "accepted", ("DATE-STYLE",), {"CSNY": "\u3000199001 "}, {}, {"CSNY": "199001"}),
    Case("D20", "a variant character", "held", ("DB-NAME-VARIANT",), {"KSXM": "闫喆"}, {"KSXM": "阎喆"}),
    Case("D21", "another name", "returned", ("DB-NAME",), {"KSXM": "改名"}),
    Case("D28", "a number nobody has", "returned", ("DB-MISSING",), {"ZSGLH": "201809034379999999"}),
    Case("D29", "another level", "returned", ("DB-LEVEL", "REF-LEVEL"), {"BKJB": "二级"}),
    Case("D29", "the level in other words", "accepted", ("DB-LEVEL-KEY",), {"BKJB": "1级"}, {}, {"BKJB": "一级"}),
    Case("D29", "another specialty", "returned", ("DB-SPECIALTY",), {"BKZY": "公路工程"}),
    Case("D29", "another date", "returned", ("DB-DATE",), {"PZRQ": "20180916"}),
    Case("D32", "approved in 2017, no photo", "accepted", (), held={"PZRQ": "20170101"}),
    Case("D32", "approved in 2016, no photo", "returned", ("PHOTO-MISSING",), held={"PZRQ": "20161231"}),
    Case("D32", "2018 in the sheet and 2010 in the database, no photo", "returned", ("DB-DATE", "PHOTO-MISSING"), {"PZRQ": "20180915"}, OLD),
    Case("D32", "no date in the sheet and 2010 in the database, no photo", "returned", ("PHOTO-MISSING", "ROW-REQUIRED"), {"PZRQ": ""}, OLD),
    Case("D32", "2010 in the sheet and 2018 in the database, no photo", "returned", ("DB-DATE",), {"PZRQ": "20100915"}),
    Case("D33", "approved before the exam began", "returned", ("DATE-RANGE", "DB-DATE"), {"PZRQ": "20010915"}),
    Case("D33", "approved before the exam began, in the database as well; no photo", "returned", ("PHOTO-MISSING",), held={"PZRQ": "20010915"}),
    Case("D33", "approved after the month", "returned", ("DATE-RANGE",), held={"PZRQ": "20200601"}),
    *(
        Case("D34", f"the date {text}", "accepted", ("DATE-STYLE",), {"PZRQ": text}, {"PZRQ": "20190922"},
             {"PZRQ": "20190922"})
        for text in ("2019-9-22", "2019/09/22", "2019年9月22日", "2019.9.22")
    ),
    Case("D34", "no day in the sheet", "accepted", ("DB-DATE-KEY",), {"PZRQ": "201809"}, {}, {"PZRQ": "20180915"}),
    Case("D34", "no day in the database", "accepted", ("DB-DATE-KEY",), {"PZRQ": "20180915"}, {"PZRQ": "201809"},
         {"PZRQ": "201809"}),
    Case("D34", "a date nobody can be sure of", "returned", ("DATE-FORM",), {"PZRQ": "05/09/2018"}),
    Case("D34", "a date with long dashes", "accepted", ("DATE-STYLE",), {"PZRQ": "2019–9–22"}, {"PZRQ": "20190922"},
         {"PZRQ": "20190922"}),
    Case("D35", "another city in 报名市", "held", ("CITY-BMS",), {"BMS": "青岛市"}),
    Case("D35", "another city in the database", "accepted", ("DB-CITY",), {"BMS": "济南市"}, {"BMS": "青岛市"},
         {"BMS": "青岛市"}),
    Case("D35", "a merged city in the database", "accepted", ("DB-CITY-KEY",), {"BMS": "济南市"}, {"BMS": "莱芜市"},
         {"BMS": "莱芜市"}),
    Case("D35", "the city's short form", "accepted", ("DB-CITY-KEY",), {"BMS": "济南"}, {}, {"BMS": "济南市"}),
    Case("D36", "a path in the photo's column", "returned", ("PHOTO-MISSING", "PHOTO-ZP"), {"ZP": "C:\\照片\\1.jpg"}, OLD),
    *(
        Case("E35", f"{sign} where there is no specialty", "accepted", ("CELL-BLANKS",),
             {"BKZY": sign}, {"BKZY": ""}, {"BKZY": ""})
        for sign in ("-", "——", "/", "无")
    ),
    Case("E35", "无, as the database has it", "accepted", ("CELL-BLANKS",), held={"BKZY": "无"}, emitted={"BKZY": "无"}),
    Case("E35", "无 where there is a specialty", "returned", ("CELL-BLANKS", "DB-SPECIALTY"), {"BKZY": "无"}),
    Case("E35", "无 where there is no number", "held", ("CELL-BLANKS", "DB-NO-NUMBER"), {"ZSGLH": "无"}),
    Case("E35", "无 where no photo is needed", "accepted", ("CELL-BLANKS",), {"ZP": "无"}, emitted={"ZP": ""}),
    Case("D37", "a name of 81 characters", "returned", ("PERSON-LENGTH",), held={"KSXM": "王" * 81}),
    Case("D37", "an emoji", "returned", ("PERSON-CHARS",), held={"KSXM": "王\U0001f600"}),
    Case("D37", "a template in the specialty", "returned", ("DB-SPECIALTY", "REF-SPECIALTY"), {"BKZY": "{{7*7}}"}),
    Case("D37", "SQL in the name", "returned", ("DB-NAME", "PERSON-GLYPH"), {"KSXM": "'; DROP TABLE rows; --"}),
]  # fmt: skip


@pytest.fixture
def judge(registry, actor, settings, tmp_path):
    """Judge files against a database that holds these rows."""

    def run(known, *files):
        certificates.load(registry, actor, write_registry(tmp_path / "r.csv", known))
        return check([made.write(tmp_path / str(at)) for at, made in enumerate(files)], settings,
                     load_reference(settings), registry=registry)  # fmt: skip

    return run


def test_each_row_ends_as_it_must_for_the_reasons_it_must(judge):
    plain = [person(2 * serial + 201) for serial in range(len(CASES))]
    known = [row | case.held for row, case in zip(plain, CASES, strict=True)]
    made = Made(rows=[row | case.sent for row, case in zip(known, CASES, strict=True)])
    (judged,) = judge(known, made)
    ends = [(str(row.outcome), tuple(sorted(row.rules))) for row in judged.rows]
    otherwise = [
        (case.case, case.what, end) for case, end in zip(CASES, ends, strict=True) if end != (case.verdict, case.rules)
    ]
    assert otherwise == []
    for case, row in zip(CASES, judged.rows, strict=True):
        assert case.emitted.items() <= row.emitted.items(), case.what


def test_d25_d26_one_person_may_have_two_exams_and_two_certificates_of_one(judge):
    one, other = person(1), person(1) | {"ZSGLH": "201809034379990001", "BKZY": "公路工程"}
    second = person(1) | {"ZSGLH": "201809019019990001", "BKJB": "初级", "BKZY": "程序员"}
    known = [one, other, second | {"KSDM": "901", "KSMC": "软考示例(合成)"}]
    first, more = judge(known, Made(rows=[one, other]), Made(rows=[second], code="901", exam="软考示例(合成)"))
    assert [(str(row.outcome), row.rules) for row in first.rows] == [("accepted", ("DUP-PERSON",))] * 2
    assert [(str(row.outcome), row.rules) for row in more.rows] == [("accepted", ())]


@pytest.mark.parametrize(
    "again",
    [
        {}, {"KSXM": f"{person(1)['KSXM']} "}, {"PZRQ": "2018-09-15"}, {"CSNY": "1990年1月"}, {"ZJHM": SHORT + "001"},
    ],
)  # fmt: skip
def test_d22_the_same_row_twice_counts_once_however_it_is_spelt(judge, again):
    one, other = person(1), person(2)
    (judged,) = judge([one, other], Made(rows=[one, other, one | again]))
    ends = [(str(row.outcome), row.rules) for row in judged.rows]
    assert ends == [("accepted", ()), ("accepted", ()), ("ignored", ("DUP-ROW",))]


def test_d23_one_number_with_two_contents_is_held_and_not_said_to_be_two_certificates(judge):
    one = person(1)
    (judged,) = judge([one], Made(rows=[one, one | {"XB": "女"}]))
    assert [str(row.outcome) for row in judged.rows] == ["held", "held"]
    assert {rule for row in judged.rows for rule in row.rules} == {"DUP-DIFFERENT", "ID-SEX"}


def test_d32_a_photo_that_was_not_needed_is_checked_all_the_same(judge):
    row = person(1) | {"ZP": f"{id_number(1)}.jpg"}
    (judged,) = judge([row], Made(rows=[row], photos={f"{id_number(1)}.jpg": portrait(1)[:-200]}))
    assert [str(one.outcome) for one in judged.rows] == ["returned"]


def test_d40_no_row_goes_back_and_one_row_is_a_submission(judge):
    row = person(1)
    empty, single = judge([row], Made(rows=[], count=1), Made(rows=[row], month="202004"))
    assert (empty.verdict, empty.file_reason) == ("returned", "BOOK-EMPTY")
    assert single.verdict == "accepted"


LARGE = """
import resource, sys
from pathlib import Path
from certflow.checks.run import check
from certflow.intake.submission import Received
from certflow.reference import load_reference
from certflow.settings import Settings

path, settings = Path(sys.argv[1]), Settings(home=Path(sys.argv[2]))
(one,) = check([Received(path, path.name, "0" * 64, path.stat().st_size)], settings, load_reference(settings), registry=None)
print(one.verdict, one.counts["accepted"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""


@pytest.mark.long
def test_d40_fifty_thousand_rows_are_one_submission_in_bounded_memory(tmp_path):
    rows = [person(n) | {"ZJHM": id_number(n, area=f"3701{n // 1000:02}")} for n in range(50_000)]
    file = Made(rows=rows).write(tmp_path)
    command = [sys.executable, "-c", LARGE, file.path, tmp_path / "home"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert told[:2] == ["accepted", "50000"]
    assert int(told[2]) < 1_024

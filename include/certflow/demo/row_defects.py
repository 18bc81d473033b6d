"""Mistakes in rows. Each function plants one kind."""

from collections.abc import Callable
from datetime import date
from typing import Any, Final

from certflow.demo.cities import Row
from certflow.demo.people import (
    PASSPORT,
    RESIDENT,
    resident_number,
)
from certflow.demo.planting import Planter, renumber
from certflow.demo.workbooks import ErrorCell

_OTHER: Final = {"男": "女", "女": "男"}
_PLAIN: Final[dict[str, Any]] = {"kind": RESIDENT}


def wrong_sign(number: str) -> str:
    """The number with another last sign than it should have."""
    return number[:-1] + ("0" if number[-1] != "0" else "1")


def wrong_check_digit(plant: Planter) -> None:
    parcel, row = plant.fresh(photo=True, holder=_PLAIN)
    renumber(row, wrong_sign(str(row.values["ZJHM"])))
    plant.row("证件号码校验码错", "ID-CHECKDIGIT", "returned", parcel, row)


def numeric_id_cell(plant: Planter) -> None:
    person = plant.people.person(**_PLAIN)
    while person.id_number.endswith("X") or len(person.id_number) != 18:
        person = plant.people.person(**_PLAIN)
    parcel, row = plant.fresh(person=person)
    row.values["ZJHM"] = float(person.id_number)  # E10
    plant.row("证件号码为数字单元格", "CELL-TYPE", "returned", parcel, row)


def numeric_management_number(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.values["ZSGLH"] = float(str(row.values["ZSGLH"]))  # E12
    plant.row("管理号为数字单元格", "CELL-TYPE", "returned", parcel, row)


def other_name(plant: Planter) -> None:
    parcel, row = plant.fresh(holder={**_PLAIN, "name": "王建国"})
    row.values["KSXM"] = "王建业"
    plant.row("姓名与数据库不一致", "DB-NAME", "returned", parcel, row)


def variant_name(plant: Planter) -> None:
    parcel, row = plant.fresh(holder={**_PLAIN, "name": "闫志国"})
    row.values["KSXM"] = "阎志国"  # D20
    plant.row("姓名用异体字", "DB-NAME-VARIANT", "held", parcel, row)


def other_id(plant: Planter) -> None:
    parcel, row = plant.fresh(holder=_PLAIN)
    row.values["ZJHM"] = plant.people.person(**_PLAIN).id_number
    plant.row("证件号码与数据库不一致", "DB-ID", "returned", parcel, row)


def other_level(plant: Planter) -> None:
    parcel, row = plant.fresh("901", level="中级", specialty="软件设计师")
    row.values["BKJB"] = "高级"
    plant.row("级别与数据库不一致", "DB-LEVEL", "returned", parcel, row)


def other_specialty(plant: Planter) -> None:
    parcel, row = plant.fresh(specialty="建筑工程")
    row.values["BKZY"] = "公路工程"
    plant.row("专业与数据库不一致", "DB-SPECIALTY", "returned", parcel, row)


def other_date(plant: Planter) -> None:
    parcel, row = plant.fresh()
    approved = row.certificate.approved_on
    row.values["PZRQ"] = f"{approved.replace(day=approved.day % 28 + 1):%Y%m%d}"
    plant.row("批准日期与数据库不一致", "DB-DATE", "returned", parcel, row)


def unknown_number(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.values["ZSGLH"] = f"{str(row.values['ZSGLH'])[:11]}9999999"
    plant.row("管理号不在数据库", "DB-MISSING", "returned", parcel, row)


def other_persons_number(plant: Planter) -> None:
    parcel, row = plant.fresh(specialty="机电工程")
    stranger = plant.people.certificate(parcel.exam, parcel.city.name, specialty="机电工程")
    row.values["ZSGLH"] = stranger.management_no
    plant.row("管理号属于另一人", "DB-OTHER", "returned", parcel, row)


def other_exams_certificate(plant: Planter) -> None:
    parcel = plant.parcel("034")
    foreign = plant.people.certificate(plant.reference.exams["901"], parcel.city.name, years=(2017, 2019))
    plant.row("证书属于另一考试", "DB-EXAM", "returned", parcel, plant.apply(parcel, foreign, photo=False))


def sex_contradicts(plant: Planter) -> None:
    parcel, row = plant.fresh(holder=_PLAIN)
    row.values["XB"] = _OTHER[str(row.values["XB"])]
    plant.row("性别与证件号码矛盾", "ID-SEX", "held", parcel, row)


def birth_contradicts(plant: Planter) -> None:
    parcel, row = plant.fresh(holder=_PLAIN)
    born = row.certificate.person.born
    row.values["CSNY"] = f"{born.year}{born.month % 12 + 1:02d}"
    plant.row("出生年月与证件号码矛盾", "ID-BIRTH", "held", parcel, row)


def identical_twice(plant: Planter) -> None:
    parcel, row = plant.fresh()
    again = Row(row.certificate, dict(row.values))
    parcel.rows.append(again)
    plant.row("同一行报两次", "DUP-ROW", "ignored", parcel, again)


def different_twice(plant: Planter) -> None:
    # A passport says nothing of the sex, so that the two rows differ and neither contradicts itself.
    parcel, row = plant.fresh(holder={"kind": PASSPORT})
    again = Row(row.certificate, row.values | {"XB": _OTHER[str(row.values["XB"])]})
    parcel.rows.append(again)
    for one in (row, again):
        plant.row("同一管理号内容不同", "DUP-DIFFERENT", "held", parcel, one)


def two_cities(plant: Planter) -> None:
    first, second = sorted((plant.parcel(), plant.parcel()), key=lambda item: item.city.account)
    _, row = plant.fresh(parcel=first)
    again = plant.apply(second, row.certificate, photo=False)
    again.values["BMS"] = second.city.name
    # D24: whoever is judged first was through already, and is held as soon as the other one reports.
    plant.row("同一管理号由两市申报", "DUP-CITY", "held", first, row)
    plant.row("同一管理号由两市申报", "DUP-CITY", "held", second, again)


def ambiguous_date(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.values["PZRQ"] = "03/04/2018"  # D34
    plant.row("批准日期日月不明", "DATE-FORM", "returned", parcel, row)


def serial_date(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.values["PZRQ"] = "43260"  # E14
    plant.row("批准日期为序列数", "DATE-FORM", "returned", parcel, row)


def future_date(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.values["PZRQ"] = "20990601"
    plant.row("批准日期在将来", "DATE-RANGE", "returned", parcel, row)


def other_city(plant: Planter) -> None:
    parcel, row = plant.fresh()
    names = sorted(city.name for city in plant.reference.cities.values() if city.account != parcel.city.account)
    row.values["BMS"] = names[0]
    plant.row("报名市不是报送城市", "CITY-BMS", "held", parcel, row)


def blank_sex(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.values["XB"] = ""
    plant.row("必填项为空", "ROW-REQUIRED", "returned", parcel, row)


def coded_sex(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.values["XB"] = "未知"
    plant.row("性别不是男或女", "SEX-VALUE", "returned", parcel, row)


def seventeen_digits(plant: Planter) -> None:
    parcel, row = plant.fresh(holder=_PLAIN)
    renumber(row, str(row.values["ZJHM"])[:-1])
    plant.row("证件号码少一位", "ID-FORM", "returned", parcel, row)


def passport_as_id(plant: Planter) -> None:
    parcel, row = plant.fresh(holder={"kind": PASSPORT})
    row.values["ZJLB"] = RESIDENT  # D10
    plant.row("证件类别与号码不符", "ID-FORM", "returned", parcel, row)


def unknown_document(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.values["ZJLB"] = "驾驶证"
    plant.row("证件类别不在目录", "ID-TYPE", "returned", parcel, row)


def impossible_birth(plant: Planter) -> None:
    parcel, row = plant.fresh(holder=_PLAIN)
    number = str(row.values["ZJHM"])
    renumber(row, resident_number(number[:6], "19800230", 117))
    plant.row("证件号码中的日期不存在", "ID-DATE", "returned", parcel, row)


def too_old(plant: Planter) -> None:
    parcel, row = plant.fresh(holder={**_PLAIN, "born": date(1919, 1, 15)})  # 101
    plant.row("年龄超过百岁", "ID-AGE", "held", parcel, row)


def too_young(plant: Planter) -> None:
    parcel, row = plant.fresh("901", years=(2019, 2019), holder={**_PLAIN, "born": date(2004, 9, 9)})  # 15
    plant.row("年龄不足十六岁", "ID-AGE", "held", parcel, row)


def unknown_level(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.values["BKJB"] = "特级"
    plant.row("级别不属于该考试", "REF-LEVEL", "returned", parcel, row)


def unknown_specialty(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.values["BKZY"] = "园林绿化工程"
    plant.row("专业不属于该考试", "REF-SPECIALTY", "returned", parcel, row)


def placeholder_name(plant: Planter) -> None:
    parcel, row = plant.fresh(holder={**_PLAIN, "name": "孙□"})  # D18
    plant.row("姓名含占位符号", "PERSON-GLYPH", "held", parcel, row)


def emoji_name(plant: Planter) -> None:
    parcel, row = plant.fresh(holder=_PLAIN)
    row.values["KSXM"] = f"{row.values['KSXM']}\U0001f600"
    plant.row("姓名含表情符号", "PERSON-CHARS", "returned", parcel, row)


def no_number(plant: Planter) -> None:
    parcel, row = plant.fresh("901", photo=True, years=(1992, 1996), numbered=False)
    plant.row("老证书没有管理号", "DB-NO-NUMBER", "held", parcel, row)


def short_number(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.values["ZSGLH"] = "2017A01"  # 7 of at least 8
    plant.row("管理号过短", "NUMBER-FORM", "returned", parcel, row)


def long_number(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.values["ZSGLH"] = f"{row.values['ZSGLH']}{'0' * 15}"  # 33 of at most 32
    plant.row("管理号过长", "NUMBER-FORM", "returned", parcel, row)


def fifteen_unknown(plant: Planter) -> None:
    parcel, row = plant.fresh(holder={"kind": PASSPORT})
    person = plant.people.person(kind=RESIDENT, historic=True, born=date(1960, 3, 9))
    row.values |= {"ZJLB": RESIDENT, "ZJHM": person.id_number}
    # The registry knows another number, so the row goes back; the 15 digits alone would only hold it.
    plant.row("15 位号码与数据库不符", "ID-15", "returned", parcel, row)


def error_cell(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.values["BKZY"] = ErrorCell()  # E41
    plant.row("单元格是错误值", "CELL-ERROR", "returned", parcel, row)


def number_as_date(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.values["BMS"] = date(2019, 5, 1)  # E15: a date where text belongs
    plant.row("日期单元格出现在文本栏", "CELL-TYPE", "returned", parcel, row)


def hidden_row(plant: Planter) -> None:
    parcel, row = plant.fresh(plain=True)
    row.hidden = True  # E23
    plant.row("行被隐藏", "ROW-HIDDEN", "held", parcel, row)


def merged_cells(plant: Planter) -> None:
    parcel, row = plant.fresh(plain=True)
    _, below = plant.fresh(parcel=parcel)
    row.merged = True  # E18
    for one in (row, below):
        plant.row("单元格合并", "ROW-MERGED", "held", parcel, one)


def too_long(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.values["KSXM"] = "欧" * 81  # D37: one more than can be printed
    plant.row("姓名过长", "PERSON-LENGTH", "returned", parcel, row)


DEFECTS: Final[tuple[Callable[[Planter], None], ...]] = (
    wrong_check_digit, numeric_id_cell, numeric_management_number, other_name, variant_name, other_id, other_level,
    other_specialty, other_date, unknown_number, other_persons_number, other_exams_certificate, sex_contradicts,
    birth_contradicts, identical_twice, different_twice, two_cities, ambiguous_date, serial_date, future_date,
    other_city, blank_sex, coded_sex, seventeen_digits, passport_as_id, unknown_document, impossible_birth, too_old,
    too_young,
    unknown_level, unknown_specialty, placeholder_name, emoji_name, no_number, short_number, fifteen_unknown,
    error_cell, number_as_date, hidden_row, merged_cells, too_long,
)  # fmt: skip

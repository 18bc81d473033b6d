"""Rows that only look like mistakes: they must go on, some with a warning. Each function plants one kind."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any, Final

from certflow.demo.people import (
    FOREIGNER,
    HONG_KONG,
    OFFICER,
    PASSPORT,
    RESIDENCE_PERMIT,
    RESIDENT,
    TAIWAN,
    lengthened,
    shortened,
)
from certflow.demo.planting import Planter, renumber
from certflow.demo.row_defects import wrong_sign

_LONG: Final = "阿卜杜热依木江·买买提吐尔逊·艾合买提尼亚孜·居马别克·阿不都热合曼·努尔夏提江·吐尔洪艾力·热合曼江"
"""51 characters: at least 50 must fit (DOMAIN §3.5)."""
_PLAIN: Final[dict[str, Any]] = {"kind": RESIDENT}


def middle_dots(plant: Planter) -> None:
    for dot in ("•", "・", "．", "‧", "."):  # D17
        parcel, row = plant.fresh(holder={**_PLAIN, "name": "阿卜杜热依木·买买提"})
        row.values["KSXM"] = f"阿卜杜热依木{dot}买买提"
        plant.odd("中圆点写法不同", "DB-NAME-KEY", parcel, row)


def padded_name(plant: Planter) -> None:
    parcel, row = plant.fresh(holder={**_PLAIN, "name": "张三丰"})
    row.values["KSXM"] = "张　三丰"  # D19
    plant.odd("姓名中补空格", "DB-NAME-KEY", parcel, row)


def radical_name(plant: Planter) -> None:
    parcel, row = plant.fresh(holder={**_PLAIN, "name": "高远"})
    row.values["KSXM"] = "⾼远"  # D15
    plant.odd("姓名用部首字符", "DB-NAME-KEY", parcel, row)


def rare_names(plant: Planter) -> None:
    for name in ("杨䶮", "王𠮷明", "陈𬱖", "王晓[沛]", "热孜万古丽·阿卜力米提·吐尔洪江", _LONG):  # D12
        parcel, row = plant.fresh(holder={**_PLAIN, "name": name})
        plant.odd("生僻字、长姓名和括注字", "", parcel, row)


def small_x(plant: Planter) -> None:
    for photo in (False, True):
        holder = plant.people.person(kind=RESIDENT)
        while not holder.id_number.endswith("X"):
            holder = plant.people.person(kind=RESIDENT)
        parcel, row = plant.fresh(person=holder, photo=photo)
        renumber(row, holder.id_number.lower())  # D02
        plant.odd("证件号码小写 x", f"ID-CASE DB-ID-KEY{' PHOTO-RENAMED PHOTO-ZP-FIXED' * photo}", parcel, row)


def edges_of_age(plant: Planter) -> None:
    parcel, row = plant.fresh(holder={**_PLAIN, "born": date(1920, 1, 1)})
    plant.odd("恰好百岁", "", parcel, row)
    parcel, row = plant.fresh("901", years=(2019, 2019), holder={**_PLAIN, "born": date(2004, 1, 1)})
    plant.odd("恰好十六岁", "", parcel, row)


def first_year_without_photo(plant: Planter) -> None:
    parcel, row = plant.fresh(years=(2017, 2017))
    plant.odd("2017 年的证书没有照片", "", parcel, row)


def level_alias(plant: Planter) -> None:
    for alias in ("1级", "壹级"):  # D29
        parcel, row = plant.fresh(level="一级")
        row.values["BKJB"] = alias
        plant.odd("级别用别名", "DB-LEVEL-KEY", parcel, row)


def fifteen_in_registry(plant: Planter) -> None:
    for photo in (True, False):
        holder = plant.people.person(kind=RESIDENT, historic=True, born=date(1966, 8, 12))
        parcel, row = plant.fresh(person=holder, photo=photo)
        renumber(row, lengthened(holder.id_number))
        plant.odd("数据库 15 位、申报 18 位", "DB-ID-KEY", parcel, row)


def eighteen_in_registry(plant: Planter) -> None:
    holder = plant.people.person(kind=RESIDENT, born=date(1968, 2, 3))
    parcel, row = plant.fresh(person=holder, photo=True)
    renumber(row, shortened(holder.id_number))  # D03
    plant.odd("数据库 18 位、申报 15 位", "DB-ID-KEY", parcel, row)


def fifteen_in_both(plant: Planter) -> None:
    holder = plant.people.person(kind=RESIDENT, historic=True, born=date(1959, 11, 30))
    parcel, row = plant.fresh(person=holder, photo=True)
    plant.odd("两边都是 15 位号码", "", parcel, row)


def date_styles(plant: Planter) -> None:
    for style in (
        "{0.year}-{0.month}-{0.day}",
        "{0.year}/{0.month:02}/{0.day:02}",
        "{0.year}年{0.month}月{0.day}日",
        "{0.year}.{0.month}.{0.day}",
    ):
        parcel, row = plant.fresh()
        row.values["PZRQ"] = style.format(row.certificate.approved_on)  # D34
        plant.odd("批准日期写法不同", "DATE-STYLE", parcel, row)
    parcel, row = plant.fresh()
    row.values["CSNY"] = f"{row.certificate.person.born.year}-{row.certificate.person.born.month:02}"  # D08
    plant.odd("出生年月写法不同", "DATE-STYLE", parcel, row)


def date_cell(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.values["PZRQ"] = row.certificate.approved_on  # E15
    plant.odd("批准日期为日期单元格", "CELL-DATE", parcel, row)


def blanks(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.values["BKZY"] = f" {row.values['BKZY']}\u00a0"  # E31
    plant.odd("单元格前后有空白", "CELL-BLANKS DB-SPECIALTY-KEY", parcel, row)


def known_wrong_digit(plant: Planter) -> None:
    parcel, row = plant.fresh(holder=_PLAIN)
    person = row.certificate.person
    wrong = wrong_sign(person.id_number)
    row.certificate = plant.people.amend(row.certificate, person=replace(person, id_number=wrong))
    row.values["ZJHM"] = wrong  # D01
    plant.odd("校验码错但数据库同号", "ID-CHECKDIGIT-KNOWN", parcel, row)


def unknown_area(plant: Planter) -> None:
    parcel, row = plant.fresh(holder={**_PLAIN, "area": "379901"})
    plant.odd("区划代码未知", "ID-AREA", parcel, row)


def retired_area(plant: Planter) -> None:
    for area in ("371202", "321119"):
        parcel, row = plant.fresh(holder={**_PLAIN, "area": area})
        plant.odd("区划代码已撤销", "", parcel, row)


def two_certificates(plant: Planter) -> None:
    parcel, row = plant.fresh(photo=True, holder=_PLAIN, specialty="建筑工程")
    _, again = plant.fresh(parcel=parcel, person=row.certificate.person, photo=True, specialty="市政公用工程")
    again.photo = row.photo  # one person, one photo, two rows
    for one in (row, again):
        plant.odd("同一人两个证书", "DUP-PERSON", parcel, one)


def merged_city(plant: Planter) -> None:
    home = next(item for item in plant.reference.cities.values() if item.name == "济南市")
    parcel = plant.parcel()
    while parcel.city.account != home.account:
        parcel = plant.parcel()
    for _ in range(2):
        old = plant.people.certificate(parcel.exam, "莱芜市", years=(2017, 2018))
        plant.odd("莱芜市证书由济南市申报", "", parcel, plant.apply(parcel, old, photo=False))


def every_document(plant: Planter) -> None:
    for kind in (RESIDENCE_PERMIT, FOREIGNER, FOREIGNER, HONG_KONG, TAIWAN, PASSPORT, OFFICER):
        parcel, row = plant.fresh(photo=True, holder={"kind": kind})
        plant.odd("各类证件", "", parcel, row)


ODDITIES: Final[tuple[Callable[[Planter], None], ...]] = (
    middle_dots, padded_name, radical_name, rare_names, small_x, level_alias, fifteen_in_registry,
    eighteen_in_registry, fifteen_in_both, date_styles, date_cell, blanks, known_wrong_digit, unknown_area,
    retired_area, two_certificates, merged_city, every_document,
)  # fmt: skip

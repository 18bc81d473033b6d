"""Edges of the rules, and what naive software refuses: sound things of the labelled province, one kind a function.

Where a kind names a rule, it is a warning or a note that must be given; nothing else may be said of it.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any, Final

from PIL import Image

from certflow.demo.archives import Member
from certflow.demo.cities import Parcel, Photo, Row, Style
from certflow.demo.people import (
    FOREIGNER,
    HONG_KONG,
    OFFICER,
    PASSPORT,
    RESIDENCE_PERMIT,
    RESIDENT,
    TAIWAN,
)
from certflow.demo.photo_defects import exactly, sized, with_photo
from certflow.demo.planting import Planter, renumber
from certflow.demo.row_oddities import edges_of_age, first_year_without_photo

_PLAIN: Final[dict[str, Any]] = {"kind": RESIDENT}
_BIRTH_STYLES: Final = (
    "{0.year}{0.month:02}{0.day:02}", "{0.year}/{0.month}", "{0.year}.{0.month:02}", "{0.year}年{0.month}月",
    "{0.year}-{0.month}-{0.day}", "{0.year}年{0.month:02}月{0.day:02}日",
)  # fmt: skip
_APPROVAL_STYLES: Final = (
    "{0.year}{0.month:02}", "{0.year}-{0.month:02}-{0.day:02}", "{0.year}/{0.month}/{0.day}",
    "{0.year}.{0.month:02}.{0.day:02}", "{0.year}年{0.month:02}月{0.day:02}日", "{0.year}-{0.month}",
    "{0.year}年{0.month}月",
)  # fmt: skip

_SHOWN: Final = date(2018, 6, 3)


def _as_typed(row: Row) -> None:
    """The city copied what the registry holds."""
    row.values |= {
        "ZSGLH": row.certificate.management_no,
        "KSXM": row.certificate.person.name,
        "BKZY": row.certificate.specialty,
    }


def _document(plant: Planter, kind: str, number: str, words: str) -> None:
    """Somebody whose document has this form of number."""
    parcel, row = plant.fresh(photo=True, holder={"kind": kind})
    row.certificate = plant.people.amend(row.certificate, person=replace(row.certificate.person, id_number=number))
    renumber(row, number)
    plant.odd(words, "", parcel, row)


def permits(plant: Planter) -> None:
    serial = 10_000_000 + len(plant.labels)
    _document(plant, HONG_KONG, f"H{serial}", "回乡证 9 位")
    _document(plant, HONG_KONG, f"M{serial}02", "回乡证 11 位")
    _document(plant, TAIWAN, f"{serial}", "台胞证 8 位")
    _document(plant, TAIWAN, f"00{serial}B", "台胞证 10 位加字母")
    _document(plant, PASSPORT, f"E{serial}", "护照")
    _document(plant, PASSPORT, f"{serial % 100_000:05d}", "护照最短 5 位")
    _document(plant, PASSPORT, f"{serial}".zfill(17), "护照最长 17 位")
    _document(plant, FOREIGNER, f"USA3700{serial}"[:15], "老版外国人永久居留证")
    _document(plant, OFFICER, f"军字第{serial}号", "军官证")


def residence_permits(plant: Planter) -> None:
    for area in ("810000", "820000", "830000"):
        parcel, row = plant.fresh(photo=True, holder={"kind": RESIDENCE_PERMIT, "area": area})
        plant.odd("港澳台居民居住证", "", parcel, row)
    parcel, row = plant.fresh(holder={"kind": FOREIGNER})
    plant.odd("外国人永久居留身份证", "", parcel, row)


def wide_number(plant: Planter) -> None:
    parcel, row = plant.fresh(holder=_PLAIN)
    typed = str(row.values["ZJHM"])
    row.values["ZJHM"] = typed.translate({code: code + 0xFEE0 for code in range(0x30, 0x3A)})  # D04
    plant.odd("证件号码全角数字", "ID-CASE DB-ID-KEY", parcel, row)


def longest_name(plant: Planter) -> None:
    for length in (50, 80):  # D37: 80 is the longest that can be printed
        name = "·".join(("阿卜杜热依木江买买提吐尔逊" * 8)[at : at + 9] for at in range(0, 90, 9))[:length]
        parcel, row = plant.fresh(holder={**_PLAIN, "name": name.rstrip("·").ljust(length, "江")})
        plant.odd(f"姓名恰好 {length} 字", "", parcel, row)


def selector_in_name(plant: Planter) -> None:
    parcel, row = plant.fresh(holder={**_PLAIN, "name": "葛一诺"})
    row.values["KSXM"] = "葛\U000e0100一诺"  # D16
    plant.odd("姓名带异体选择符", "DB-NAME-KEY", parcel, row)


def wide_brackets_in_name(plant: Planter) -> None:
    parcel, row = plant.fresh(holder={**_PLAIN, "name": "王晓[沛]"})
    row.values["KSXM"] = "王晓［沛］"
    plant.odd("姓名括注用全角括号", "DB-NAME-KEY", parcel, row)


def edges_of_number(plant: Planter) -> None:
    serial = len(plant.labels)
    for number in (f"Z{serial:07d}", f"Z{serial:031d}"):  # 8 and 32 characters
        parcel, row = plant.fresh()
        row.certificate = plant.people.amend(row.certificate, management_no=number)
        _as_typed(row)
        plant.odd("管理号最短和最长", "NUMBER-PATTERN", parcel, row)


def longest_cell(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.certificate = plant.people.amend(row.certificate, specialty="建筑工程" * 25)
    _as_typed(row)
    plant.odd("单元格恰好 100 字", "", parcel, row)


def unlisted_specialty(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.certificate = plant.people.amend(row.certificate, specialty="工业与民用建筑")
    _as_typed(row)
    plant.odd("专业不在目录但数据库有（历史数据）", "", parcel, row)


def wide_specialty(plant: Planter) -> None:
    parcel, row = plant.fresh(specialty="港口与航道工程")
    row.values["BKZY"] = "港口 与航道工程"
    plant.odd("专业中有空格", "CELL-BLANKS DB-SPECIALTY-KEY", parcel, row)


def other_document_name(plant: Planter) -> None:
    parcel, row = plant.fresh(holder={"kind": PASSPORT})
    row.certificate = plant.people.amend(row.certificate, person=replace(row.certificate.person, id_type=OFFICER))
    plant.odd("证件类别与数据库写法不同", "DB-TYPE", parcel, row)


def short_city(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.values["BMS"] = str(row.values["BMS"]).removesuffix("市")
    plant.odd("报名市用简称", "DB-CITY-KEY", parcel, row)


def city_of_the_database(plant: Planter) -> None:
    parcel, row = plant.fresh()
    names = sorted(city.name for city in plant.reference.cities.values() if city.account != parcel.city.account)
    row.certificate = plant.people.amend(row.certificate, city=names[-1])
    plant.odd("数据库中的报名市不是报送城市", "DB-CITY", parcel, row)


def every_date_style(plant: Planter) -> None:
    for number, style in enumerate(_BIRTH_STYLES):
        parcel, row = plant.fresh(holder=_PLAIN)
        row.values["CSNY"] = style.format(row.certificate.person.born)
        plant.odd(f"出生年月写法 {style.format(_SHOWN)}", "DATE-STYLE" if number else "", parcel, row)
    for number, style in enumerate(_APPROVAL_STYLES):
        parcel, row = plant.fresh()
        row.values["PZRQ"] = style.format(row.certificate.approved_on)
        rules = "DATE-STYLE " * (number > 0) + "DB-DATE-KEY" * ("day" not in style)
        plant.odd(f"批准日期写法 {style.format(_SHOWN)}", rules, parcel, row)


def living_level(plant: Planter) -> None:
    parcel = plant.open_parcel("质量")
    parcel.exam = plant.reference.exams["906"]
    for level in ("初级", "中级", "高级"):
        _, row = plant.fresh(parcel=parcel, level=level)
        if level == "高级":
            plant.odd("质量（高级）没有取消", "", parcel, row)


def smallest_photo(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    photo.data = exactly(plant.pixels(row.certificate.person), 10_240)
    plant.odd("照片恰好 10KB", "", parcel, row, photo=photo)


def smallest_large_photo(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant, "901")
    photo.data = exactly(plant.pixels(row.certificate.person), 30_721)
    plant.odd("软考照片 30KB 多一个字节", "", parcel, row, photo=photo)


def unnamed_photo(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    row.values["ZP"] = ""
    plant.odd("有照片但照片栏为空", "PHOTO-ZP-FIXED", parcel, row, photo=photo)


def photo_twice(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    again = Photo(photo.name.replace(".jpg", ".jpeg"), photo.data)
    parcel.photos.append(again)
    plant.odd("同一照片放了两份", "PHOTO-REPEATED PHOTO-RENAMED", parcel, row, photo=again)


def camera_data(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 1, "EXAMPLE"
    photo.data = sized(plant.pixels(row.certificate.person), exif=exif.tobytes())
    plant.odd("照片带拍摄信息", "PHOTO-EXIF", parcel, row, photo=photo)


_STYLES: Final[tuple[tuple[str, str, Callable[[Style], object]], ...]] = (
    ("名称用全角括号", "NAME-TOLERATED", lambda style: style.wide),
    ("文件名 GBK 编码", "", lambda style: style.encoding != "utf-8"),
    ("xlsx 改名为 XLS", "BOOK-FORMAT", lambda style: style.xlsx),
    ("表格与照片分两个压缩包", "", lambda style: style.split),
    ("外层文件夹", "ZIP-WRAPPER", lambda style: style.wrapper),
    ("表头用小写、中文或双语", "", lambda style: style.header in ("lower", "chinese", "both")),
    ("列序打乱", "", lambda style: style.header == "shuffled"),
    ("标题行", "BOOK-TITLE-ROW", lambda style: style.title),
    ("合计行", "BOOK-TOTAL-ROW", lambda style: style.total),
    ("中间空行", "BOOK-BLANK-ROW", lambda style: style.blank),
    ("系统文件", "ZIP-JUNK", lambda style: style.junk),
    ("几个考试一个压缩包", "", lambda style: style.bundle),
)


def styles(plant: Planter, parcels: list[Parcel]) -> None:
    """Every way in which a city makes its files, and what is said of it; called with the cities' own parcels."""
    for parcel in parcels:
        for kind, rules, has in _STYLES:
            if has(parcel.style):
                plant.manner(kind, rules, parcel)


def loose_files(plant: Planter) -> None:
    parcel = plant.open_parcel("包内有说明文件")
    plant.fresh(parcel=parcel)
    parcel.defect = ""
    parcel.extra.append(Member("说明.txt", "照片另附".encode()))
    plant.manner("包内有说明文件", "ZIP-OTHER", parcel)


def extra_column(plant: Planter) -> None:
    parcel = plant.open_parcel("多出一列")
    plant.fresh(parcel=parcel)
    parcel.defect = ""
    parcel.columns = [*parcel.rows[0].values, "备注"]
    plant.manner("多出一列", "BOOK-EXTRA-COLUMN", parcel)


ODDITIES: Final[tuple[Callable[[Planter], None], ...]] = (
    edges_of_age, first_year_without_photo, permits, residence_permits, wide_number, longest_name, selector_in_name,
    wide_brackets_in_name, edges_of_number, longest_cell, unlisted_specialty, wide_specialty, other_document_name,
    every_date_style, unnamed_photo, photo_twice, camera_data, short_city, city_of_the_database,
)  # fmt: skip
"""Planted in the cities' own files, as often as the province is large."""
ONCE: Final[tuple[Callable[[Planter], None], ...]] = (
    living_level, loose_files, extra_column, smallest_photo, smallest_large_photo,
)  # fmt: skip
"""Planted once: in a file of its own, or costly to make."""

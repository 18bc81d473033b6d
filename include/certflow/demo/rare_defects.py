"""Mistakes beyond those of the demo, so that every rule the labelled province can reach has one. A kind a function."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import simplejpeg
from PIL import Image, ImageEnhance

from certflow.demo.cities import Photo
from certflow.demo.file_defects import by_bytes, in_parcel
from certflow.demo.people import PASSPORT, RESIDENT
from certflow.demo.photo_defects import exactly, filled, sized, with_photo
from certflow.demo.planting import Planter, renumber
from certflow.demo.portraits import HEIGHT, WIDTH
from certflow.demo.row_defects import long_number

_PLAIN: Final[dict[str, Any]] = {"kind": RESIDENT}


def _typed(kind: str, rule: str, column: str, value: str, outcome: str = "returned") -> Callable[[Planter], None]:
    """A kind that is one wrong value in one column of a row that is sound otherwise."""

    def plant_it(plant: Planter) -> None:
        parcel, row = plant.fresh(holder=_PLAIN, plain=True)
        row.values[column] = value
        plant.row(kind, rule, outcome, parcel, row)

    return plant_it


def letter_for_digit(plant: Planter) -> None:
    parcel, row = plant.fresh(holder=_PLAIN)
    number = str(row.values["ZJHM"])
    renumber(row, f"{number[:9]}O{number[10:]}")
    plant.row("证件号码中零写成字母 O", "ID-FORM", "returned", parcel, row)


def turned_digits(plant: Planter) -> None:
    parcel, row = plant.fresh(holder=_PLAIN)
    number = str(row.values["ZJHM"])
    place = next(at for at in range(6, 16) if number[at] != number[at + 1])
    renumber(row, f"{number[:place]}{number[place + 1]}{number[place]}{number[place + 2 :]}")
    plant.row("证件号码相邻两位颠倒", "DB-ID", "returned", parcel, row)


def short_passport(plant: Planter) -> None:
    parcel, row = plant.fresh(holder={"kind": PASSPORT})
    row.values["ZJHM"] = str(row.values["ZJHM"])[:4]  # of at least 5
    plant.row("护照号码过短", "ID-FORM", "returned", parcel, row)


def before_the_exam(plant: Planter) -> None:
    parcel, row = plant.fresh()
    row.values["PZRQ"] = "19890601"
    plant.row("批准日期早于考试设立", "DATE-RANGE", "returned", parcel, row)


def head_down(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    photo.data = sized(np.ascontiguousarray(plant.pixels(row.certificate.person)[::-1]))
    plant.photo("照片上下颠倒", "PHOTO-UPSIDE-DOWN", "held", parcel, photo, row=row)


def one_byte_of_padding(plant: Planter) -> None:
    for exam, size in (("034", 10_239), ("901", 30_720)):
        parcel, row, photo = with_photo(plant, exam)
        photo.data = filled(exactly(plant.pixels(row.certificate.person), size), size + 8)
        plant.photo("照片靠几个字节的填充达到大小", "PHOTO-PADDED", "held", parcel, photo, row=row)


def twins_by_case(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    stranger = plant.people.person(**_PLAIN)
    second = Photo(photo.name.replace(".jpg", ".JPG"), plant.portrait(stranger, parcel.exam))
    parcel.photos.append(second)
    for one in (photo, second):  # Z29
        plant.photo("两张照片名称只差大小写", "ZIP-CASE", "held", parcel, one, row=row)


def _shifted(kind: str, rows: int, bad: int) -> Callable[[Planter], None]:
    """Two columns exchanged in too few rows for one diagnosis of the file, so that each row is told."""

    def plant_it(plant: Planter) -> None:
        parcel = in_parcel(plant, kind, rows=0)
        parcel.defect = ""
        for number in range(rows):
            _, row = plant.fresh(parcel=parcel, holder=_PLAIN)
            if number < bad:
                row.values["KSXM"], row.values["ZJHM"] = row.values["ZJHM"], row.values["KSXM"]
                plant.row(kind, "ID-FORM", "returned", parcel, row)

    return plant_it


def one_too_many(plant: Planter) -> None:
    parcel = in_parcel(plant, "名称人数少一人")
    parcel.overrides["count"] = "2人"
    plant.file("名称人数少一人", "NAME-COUNT", "held", parcel)


def partly_zeroed(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    photo.data = emptied(photo.data, 16)  # P08: as many as no drawn or real photo has by itself
    plant.photo("照片内部少量数据被清零", "PHOTO-ZEROED", "held", parcel, photo, row=row)


def emptied(data: bytes, size: int) -> bytes:
    """So many bytes near the end set to zero, where even a strict decoder takes them for picture."""
    for at in range(len(data) - 200, len(data) // 2, -1):
        emptied = data[:at] + bytes(size) + data[at + size :]
        if 0 in (data[at - 1], data[at + size]):
            continue
        try:
            simplejpeg.decode_jpeg(emptied, strict=True)
        except ValueError:
            continue
        return emptied
    message = "a strict decoder sees zeros wherever they are put"
    raise ValueError(message)


def _borrowed(kind: str, change: Callable[[Image.Image], Image.Image]) -> Callable[[Planter], None]:
    """Another city's applicant with somebody's photo, changed as a picture program does it (P17)."""

    def plant_it(plant: Planter) -> None:
        parcel, row, photo = with_photo(plant)
        other_parcel, other, copy = with_photo(plant)
        made = change(Image.fromarray(plant.pixels(row.certificate.person)))
        copy.data = sized(made.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        plant.photo(kind, "PHOTO-SAME", "held", parcel, photo, row=row)
        plant.photo(kind, "PHOTO-SAME", "held", other_parcel, copy, row=other)

    return plant_it


ROWS: Final[tuple[Callable[[Planter], None], ...]] = (
    long_number, letter_for_digit, turned_digits, short_passport, before_the_exam, head_down, twins_by_case,
    partly_zeroed,
    _borrowed("借用他人照片，缩小后放大", lambda image: image.resize((WIDTH // 2, HEIGHT // 2))),
    _borrowed("借用他人照片，裁边", lambda image: image.crop((6, 8, WIDTH - 5, HEIGHT - 7))),
    _borrowed("借用他人照片，调亮", lambda image: ImageEnhance.Brightness(image).enhance(1.06)),
    _typed("专业中有控制字符", "CELL-CHARS", "BKZY", "建筑\x07工程"),
    _typed("单元格 101 字", "CELL-LENGTH", "BKZY", "建筑工程" * 25 + "甲"),
    _typed("证件号码为科学计数", "CELL-TYPE", "ZJHM", "3.70102E+17"),
    _typed("性别写成代码", "SEX-VALUE", "XB", "1"),
    _typed("批准日期不存在", "DATE-FORM", "PZRQ", "20180230"),
    _typed("批准日期两位年份", "DATE-FORM", "PZRQ", "18-06-01"),
    _typed("出生年月不存在", "DATE-FORM", "CSNY", "198813"),
    _typed("姓名写成拼音", "PERSON-GLYPH", "KSXM", "Zhang San", "returned"),
    _typed("姓名含问号", "PERSON-GLYPH", "KSXM", "张?", "returned"),
    *(
        _typed(f"必填项为空：{column}", "ROW-REQUIRED", column, "")
        for column in ("KSXM", "ZJHM", "ZJLB", "CSNY", "PZRQ", "BMS")
    ),
)  # fmt: skip
"""Planted in the cities' own files, as often as the province is large."""
ONCE: Final[tuple[Callable[[Planter], None], ...]] = (
    _shifted("十九行中十行列错位", 19, 10), _shifted("二十行中九行列错位", 20, 9), one_too_many, one_byte_of_padding,
    by_bytes("分卷压缩包", "ZIP-SPLIT", lambda data: b"PK\x07\x08" + data),
    by_bytes("7z 冒充压缩包", "FILE-TYPE", lambda data: b"7z\xbc\xaf\x27\x1c" + data[6:]),
    by_bytes("压缩包是自解压程序", "FILE-TYPE", lambda data: b"MZ" + bytes(999) + data),
)  # fmt: skip
"""Planted once: in a file of its own, or costly to make."""

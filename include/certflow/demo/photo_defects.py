"""Mistakes in photos, made by editing finished portraits. Each function plants one kind."""

import struct
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from PIL import Image

from certflow.demo.cities import Parcel, Photo, Row
from certflow.demo.people import RESIDENT
from certflow.demo.planting import Planter
from certflow.demo.portraits import HEIGHT, WIDTH, Pixels, encode, paint, save

_PLAIN: Final[dict[str, Any]] = {"kind": RESIDENT}


def with_photo(plant: Planter, exam: str = "034") -> tuple[Parcel, Row, Photo]:
    parcel, row = plant.fresh(exam, photo=True, holder=_PLAIN)
    if row.photo is None:
        message = "a fresh application was asked to bring a photo"
        raise TypeError(message)
    return parcel, row, row.photo


def sized(
    pixels: Pixels | Image.Image, kind: str = "JPEG", low: int = 11_000, high: int = 29_500, **options: object
) -> bytes:
    """Encode with other options than usual, but in the size band, so that the size is not what is wrong."""
    data = b""
    for quality in (88, 80, 92, 72, 95, 60, 50):
        data = save(pixels, kind, quality=quality, **options)
        if low <= len(data) <= high:
            break
    return data


def filled(data: bytes, size: int) -> bytes:
    """The same picture in exactly `size` bytes, by a comment behind its first marker."""
    gap = size - len(data) - 4
    return data[:2] + b"\xff\xfe" + struct.pack(">H", gap + 2) + bytes(gap) + data[2:]


def exactly(pixels: Pixels, size: int) -> bytes:
    """The picture in exactly `size` bytes without padding: grain in the clothes until it weighs that much."""
    rng = np.random.default_rng(size)
    for quality in range(97, 30, -1):
        grained, data = pixels, save(pixels, quality=quality)
        for _ in range(300 if len(data) <= size else 0):
            if len(data) == size:
                return data
            touched, spots = grained.copy(), max(1, (size - len(data)) // 8)
            rows, columns = rng.integers(HEIGHT - 70, HEIGHT, spots), rng.integers(60, WIDTH - 60, spots)
            touched[rows, columns] = rng.integers(20, 230, (spots, 3))
            heavier = save(touched, quality=quality)
            if len(heavier) <= size:
                grained, data = touched, heavier
    message = "no JPEG setting brings this portrait to that size"
    raise ValueError(message)


def missing(plant: Planter) -> None:
    parcel, row = plant.fresh(holder=_PLAIN, years=(2016, 2016))  # the last year that needs one
    plant.row("缺照片", "PHOTO-MISSING", "returned", parcel, row)


def named_but_absent(plant: Planter) -> None:
    parcel, row = plant.fresh(holder=_PLAIN)
    row.values["ZP"] = f"{row.values['ZJHM']}.jpg"
    plant.row("照片栏所写照片不在包内", "PHOTO-ZP", "returned", parcel, row)


def one_pixel_short(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    photo.data = encode(plant.pixels(row.certificate.person)[:, :-1])
    plant.photo("照片窄一个像素", "PHOTO-PIXELS", "returned", parcel, photo, row=row)


def too_large_frame(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    frame = Image.fromarray(plant.pixels(row.certificate.person)).resize((WIDTH * 2, HEIGHT * 2))
    photo.data = sized(frame)
    plant.photo("照片像素加倍", "PHOTO-PIXELS", "returned", parcel, photo, row=row)


def too_light(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    photo.data = filled(save(plant.pixels(row.certificate.person), quality=40), 10_239)  # P12
    plant.photo("照片差一个字节到 10KB", "PHOTO-SIZE", "returned", parcel, photo, row=row)


def too_heavy(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    photo.data = filled(photo.data, 30_721)  # P12
    plant.photo("照片超过 30KB 一个字节", "PHOTO-SIZE", "returned", parcel, photo, row=row)


def light_for_ruankao(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant, "901")
    photo.data = filled(encode(plant.pixels(row.certificate.person)), 30_720)
    plant.photo("软考照片恰好 30KB", "PHOTO-SIZE-LARGE", "returned", parcel, photo, row=row)


def other_format(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    picture = Image.fromarray(plant.pixels(row.certificate.person)).quantize(24, dither=Image.Dither.NONE)
    photo.data = save(picture, "PNG")
    plant.photo("PNG 冒充 jpg", "PHOTO-FORMAT", "returned", parcel, photo, row=row)


def web_page(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    photo.data = b"<!DOCTYPE html><html><body>404</body></html>\n" * 300
    plant.photo("网页冒充 jpg", "PHOTO-FORMAT", "returned", parcel, photo, row=row)


def truncated(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    photo.data = photo.data[: max(10_300, len(photo.data) * 3 // 4)]
    plant.photo("照片被截断", "PHOTO-DAMAGED", "returned", parcel, photo, row=row)


def zeroed(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    data = bytearray(photo.data)
    middle = len(data) * 2 // 3
    data[middle : middle + 160] = bytes(160)  # P08: Pillow loads it without a word
    photo.data = bytes(data)
    plant.photo("照片内部数据被清零", "PHOTO-DAMAGED", "returned", parcel, photo, row=row)


def _background(plant: Planter, kind: str, rule: str, outcome: str, colour: tuple[int, int, int]) -> None:
    parcel, row, photo = with_photo(plant)
    photo.data = encode(paint(np.random.default_rng([len(plant.labels), 77]), colour))
    plant.photo(kind, rule, outcome, parcel, photo, row=row)


def blue_background(plant: Planter) -> None:
    _background(plant, "蓝底照片", "PHOTO-BACKGROUND", "held", (67, 142, 219))


def grey_white_background(plant: Planter) -> None:
    _background(plant, "底色不够白", "PHOTO-BACKGROUND", "held", (243, 243, 243))


def dark_background(plant: Planter) -> None:
    _background(plant, "灰底照片", "PHOTO-BACKGROUND-DARK", "returned", (196, 196, 196))


def turned(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.data = sized(plant.pixels(row.certificate.person), exif=exif.tobytes())
    plant.photo("照片带旋转标记", "PHOTO-ORIENTATION", "returned", parcel, photo, row=row)


def cmyk(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    photo.data = sized(Image.fromarray(plant.pixels(row.certificate.person)).convert("CMYK"))
    plant.photo("CMYK 照片", "PHOTO-COLOUR", "returned", parcel, photo, row=row)


def grey(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    photo.data = sized(Image.fromarray(plant.pixels(row.certificate.person)).convert("L"))
    plant.photo("黑白照片", "PHOTO-GREY", "held", parcel, photo, row=row)


def trailing(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    photo.data = save(plant.pixels(row.certificate.person), quality=80) + b"PK\x03\x04" + bytes(1_500)
    photo.data += bytes(max(0, 10_500 - len(photo.data)))
    plant.photo("照片末尾附有数据", "PHOTO-TRAILING", "returned", parcel, photo, row=row)


def padded(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    photo.data = filled(save(plant.pixels(row.certificate.person), quality=15), 16_000)  # P13
    plant.photo("照片靠填充凑大小", "PHOTO-PADDED", "held", parcel, photo, row=row)


def blank(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    photo.data = save(np.full((HEIGHT, WIDTH, 3), 255, dtype=np.uint8), quality=95)
    plant.photo("全白照片", "PHOTO-BLANK", "returned", parcel, photo, row=row)


def nobody(plant: Planter) -> None:
    parcel = plant.parcel()
    person = plant.people.person(**_PLAIN)
    photo = Photo(f"{person.id_number}.jpg", plant.portrait(person, parcel.exam))
    parcel.photos.append(photo)
    plant.photo("多出的照片", "PHOTO-EXTRA", "held", parcel, photo)


def by_name(plant: Planter) -> None:
    parcel = plant.parcel()
    person = plant.people.person(**_PLAIN, name=f"王晓{chr(0x660E + len(plant.labels))}")
    photo = Photo(f"{person.name}.jpg", plant.portrait(person, parcel.exam))
    parcel.photos.append(photo)
    plant.photo("照片以姓名命名", "PHOTO-NAMELESS", "held", parcel, photo)


def two_for_one(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    stranger = plant.people.person(**_PLAIN)
    second = Photo(f"{row.certificate.person.id_number}.jpeg", plant.portrait(stranger, parcel.exam))
    parcel.photos.append(second)
    for one in (photo, second):  # P23: which one is right, only the city knows
        plant.photo("一人两张照片", "PHOTO-DOUBLE", "held", parcel, one, row=row)


def same_for_two(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    _, other = plant.fresh(parcel=parcel, photo=True, holder=_PLAIN)
    if other.photo is not None:
        other.photo.data = photo.data
        plant.photo("两人同一张照片", "PHOTO-SAME", "held", parcel, photo, row=row)
        plant.photo("两人同一张照片", "PHOTO-SAME", "held", parcel, other.photo, row=other)


def same_again_encoded(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    _, other = plant.fresh(parcel=parcel, photo=True, holder=_PLAIN)
    if other.photo is not None:
        other.photo.data = sized(plant.pixels(row.certificate.person), subsampling=0)
        plant.photo("两人照片相同但重新压缩", "PHOTO-SAME", "held", parcel, photo, row=row)
        plant.photo("两人照片相同但重新压缩", "PHOTO-SAME", "held", parcel, other.photo, row=other)


def exactly_thirty(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    photo.data = filled(photo.data, 30_720)
    plant.odd("照片恰好 30KB", "", parcel, row, photo=photo)


def nearly_white(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    photo.data = encode(paint(np.random.default_rng([len(plant.labels), 78]), (248, 248, 248)))
    plant.odd("底色接近纯白", "", parcel, row, photo=photo)


def progressive(plant: Planter) -> None:
    parcel, row, photo = with_photo(plant)
    photo.data = sized(plant.pixels(row.certificate.person), progressive=True)
    plant.odd("渐进式照片", "PHOTO-PROGRESSIVE", parcel, row, photo=photo)


def other_extension(plant: Planter) -> None:
    for extension in (".JPG", ".jpeg"):  # P19
        parcel, row, photo = with_photo(plant)
        photo.name = photo.name.replace(".jpg", extension)
        row.values["ZP"] = photo.name
        plant.odd("照片扩展名写法不同", "PHOTO-RENAMED PHOTO-ZP-FIXED", parcel, row, photo=photo)


def not_needed(plant: Planter) -> None:
    parcel, row = plant.fresh(holder=_PLAIN)
    person = row.certificate.person
    row.photo = Photo(f"{person.id_number}.jpg", plant.portrait(person, parcel.exam))  # D32
    row.values["ZP"] = row.photo.name
    plant.odd("不需要照片但附了合格照片", "", parcel, row)


DEFECTS: Final[tuple[Callable[[Planter], None], ...]] = (
    missing, named_but_absent, one_pixel_short, too_large_frame, too_light, too_heavy, light_for_ruankao, other_format,
    web_page, truncated, zeroed, blue_background, grey_white_background, dark_background, turned, cmyk, grey, trailing,
    padded, blank, nobody, by_name, two_for_one, same_for_two, same_again_encoded,
)  # fmt: skip
ODDITIES: Final[tuple[Callable[[Planter], None], ...]] = (
    exactly_thirty,
    nearly_white,
    progressive,
    other_extension,
    not_needed,
)

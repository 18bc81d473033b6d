"""Family P: what may be wrong with photos, bytes in, verdict JSON out. The portraits are drawn, nobody real."""

import functools
import hashlib
import io

import numpy as np
import pytest
from kit import Case, Desk, book, expect, judged, zipped
from made_submissions import Row, portrait
from PIL import Image, ImageCms

from certflow.demo.rare_defects import emptied


def sent(photos, count: int = 1, **changes: str):
    """A submission of `count` people who need photos; `photos` gives what lies in the folder."""

    def make(desk: Desk) -> bytes:
        rows = [desk.person(photo=True) | changes for _ in range(count)]
        stem = desk.stem(count)
        files = photos(desk, *rows)
        return zipped({f"{stem}.XLS": book(*rows)} | {f"{stem}/{name}": data for name, data in files.items()})

    return make


def changed(change):
    """One person whose photo went through `change`."""
    return sent(lambda desk, row: {f"{row['ZJHM']}.jpg": change(desk.picture())})


def saved(kind: str = "JPEG", paint=None, **options: object):
    """The photo, painted over and saved again."""

    def change(data: bytes) -> bytes:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        image = paint(image) if paint else image
        out = io.BytesIO()
        image.save(out, kind, **({"quality": 92} if kind == "JPEG" else {}) | options)
        return out.getvalue()

    return changed(change)


def background(colour: tuple[int, int, int]):
    def paint(image: Image.Image) -> Image.Image:
        pixels = np.asarray(image).copy()
        pixels[(pixels > 235).all(axis=2)] = colour
        return Image.fromarray(pixels)

    return paint


def gradient(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image).astype(np.int16)
    slope = np.linspace(0, 60, pixels.shape[1]).astype(np.int16)[None, :, None]
    white = (pixels > 235).all(axis=2, keepdims=True)
    return Image.fromarray(np.where(white, pixels - slope, pixels).clip(0, 255).astype(np.uint8))


def two_heads(image: Image.Image) -> Image.Image:
    small = image.resize((140, 196))
    both = Image.new("RGB", image.size, "white")
    both.paste(small, (4, 200))
    both.paste(small, (150, 200))
    return both


def tiny(image: Image.Image) -> Image.Image:
    paper = np.random.default_rng(1).integers(246, 256, (image.height, image.width, 3), dtype=np.uint8)
    alone = Image.fromarray(paper)
    alone.paste(image.resize((59, 83)), (118, 300))
    return alone


def small(data: bytes) -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(data)).save(out, "JPEG", quality=40)
    return out.getvalue()


def frame_byte(kind: int):
    def change(data: bytes) -> bytes:
        broken = bytearray(data)
        broken[broken.index(b"\xff\xc0") + 1] = kind
        return bytes(broken)

    return changed(change)


def header(at: int, value: bytes):
    def change(data: bytes) -> bytes:
        broken = bytearray(data)
        start = broken.index(b"\xff\xc0") + at
        broken[start : start + len(value)] = value
        return bytes(broken)

    return changed(change)


def zeroed(data: bytes) -> bytes:
    half = len(data) // 2
    return data[:half] + bytes(64) + data[half + 64 :]


def padded(data: bytes, size: int) -> bytes:
    short = size - len(data) - 4
    return data[:2] + b"\xff\xfe" + (short + 2).to_bytes(2, "big") + b"x" * short + data[2:]


@functools.cache
def picture_of(size: int) -> bytes:
    """A sound portrait of exactly so many bytes, padding included where encoders do not hit it."""
    source = Image.open(io.BytesIO(portrait(size)))
    best = b""
    for quality in range(30, 101):
        out = io.BytesIO()
        source.save(out, "JPEG", quality=quality, subsampling=0)
        if len(out.getvalue()) <= size - 4:
            best = out.getvalue()
    return padded(best, size)


def exif(tag: int, value: object) -> bytes:
    made = Image.Exif()
    made[tag] = value
    return made.tobytes()


def gps() -> bytes:
    made = Image.Exif()
    made.get_ifd(0x8825)[1] = "N"
    made[0x010F] = "maker"
    return made.tobytes()


# Two published blocks with one MD5: identity by digest may not rest on it (P18).
BLOCK = bytes.fromhex(
    "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f8955ad340609f4b30283e488832571415a085125e8f7cdc99f"
    "d91dbdf280373c5bd8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0e99f33420f577ee8ce54b67080a80d1e"
    "c69821bcb6a8839396f9652b6ff72a70"
)
COLLIDING = (BLOCK, bytes(byte ^ (0x80 * (at in (19, 45, 59, 83, 109, 123))) for at, byte in enumerate(BLOCK)))


def same_name(first: bytes, second: bytes):
    return sent(lambda _, row: {f"{row['ZJHM']}.jpg": first, f"{row['ZJHM']}.jpeg": second})


def under(name):
    """The one photo under another name."""
    return sent(lambda desk, row: {name(row): desk.picture()})


def twice(name: str | None, **changes: str):
    """One person with two certificates and one photo, of this name or the person's."""

    def make(desk: Desk) -> bytes:
        one, stem = desk.person(photo=True) | changes, desk.stem(2)
        files = {f"{stem}/{name or one['KSXM'] + '.jpg'}": desk.picture()}
        other = one | {"ZSGLH": desk.person(photo=True)["ZSGLH"], "BKZY": "公路工程"}
        return zipped({f"{stem}.XLS": book(one, other)} | files)

    return make


def one_for_two(change=lambda data: data):
    def photos(desk: Desk, one: Row, other: Row) -> dict[str, bytes]:
        data = desk.picture()
        return {f"{one['ZJHM']}.jpg": data, f"{other['ZJHM']}.jpg": change(data)}

    return sent(photos, 2)


def again(data: bytes) -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(data)).save(out, "JPEG", quality=85)
    return out.getvalue()


def one_photo_too_many(change=lambda data: data):
    return sent(
        lambda desk, row: {f"{row['ZJHM']}.jpg": desk.picture(), "37010219600101001X.jpg": change(desk.picture())}
    )


def exchanged(desk: Desk, one: Row, other: Row) -> dict[str, bytes]:
    desk.people -= 1
    first = desk.picture()
    desk.people += 1
    return {f"{one['ZJHM']}.jpg": desk.picture(), f"{other['ZJHM']}.jpg": first}


def electronic(photos):
    """Approved in a year that needs no photo."""

    def make(desk: Desk) -> bytes:
        row, stem = desk.person(ZP=""), desk.stem()
        return zipped({f"{stem}.XLS": book(row)} | {f"{stem}/{row['ZJHM']}.jpg": data for data in photos(desk)})

    return make


WRONG, HELD = {"returned": 1}, {"held": 1}
CASES = [
    *(Case("P01", f"{kind} named .jpg", saved(kind), "returned", ("PHOTO-FORMAT",), WRONG)
      for kind in ("PNG", "GIF", "BMP", "WEBP", "TIFF")),
    Case("P01", "HEIC named .jpg", changed(lambda _: b"\0\0\0\x18ftypheic" + bytes(999)), "returned", ("PHOTO-FORMAT",), said="HEIC"),
    Case("P02", "EPS named .jpg", saved("EPS"), "returned", ("PHOTO-FORMAT",), WRONG),
    Case("P03", "CMYK", saved(paint=lambda image: image.convert("CMYK")), "returned", ("PHOTO-COLOUR",), WRONG),
    Case("P04", "grey", saved(paint=lambda image: image.convert("L"), quality=98), "held", ("PHOTO-GREY",), HELD),
    Case("P04", "grey, saved in colour", saved(paint=lambda image: image.convert("L").convert("RGB"), quality=97), "held", ("PHOTO-GREY",), HELD),
    Case("P05", "progressive", saved(progressive=True), "accepted", ("PHOTO-PROGRESSIVE",)),
    *(Case("P05", f"{word} coding", frame_byte(kind), "returned", ("PHOTO-FORMAT",), WRONG, word)
      for kind, word in ((0xC9, "算术"), (0xC3, "无损"))),
    Case("P05", "12 bits", header(4, b"\x0c"), "returned", ("PHOTO-FORMAT",), WRONG, "12 位"),
    Case("P06", "turned by EXIF", saved(exif=exif(0x0112, 6)), "returned", ("PHOTO-ORIENTATION",), WRONG),
    Case("P06", "lying, 413×295", saved(paint=lambda image: image.rotate(90, expand=True)), "returned", ("PHOTO-PIXELS",), WRONG),
    Case("P07", "truncated", changed(lambda data: data[:-2000]), "returned", ("PHOTO-DAMAGED",), WRONG),
    Case("P07", "truncated, an end pasted on", changed(lambda data: data[:-2000] + b"\xff\xd9"), "returned", ("PHOTO-DAMAGED",)),
    Case("P08", "zeroed bytes inside", changed(zeroed), "returned", ("PHOTO-DAMAGED",), WRONG),
    *(Case("P08", f"{size} zeroed bytes inside", changed(lambda data, size=size: emptied(data, size)), verdict, rules)
      for size, verdict, rules in ((15, "accepted", ()), (16, "held", ("PHOTO-ZEROED",)), (32, "returned", ("PHOTO-DAMAGED",)))),
    Case("P09", "a zip behind the picture", changed(lambda data: data + b"PK\x03\x04x"), "returned", ("PHOTO-TRAILING",), WRONG),
    Case("P10", "a header that claims 65 500²", header(5, b"\xff\xdc\xff\xdc"), "returned", ("PHOTO-PIXELS",), WRONG),
    Case("P10", "a header that claims another height", header(5, (500).to_bytes(2, "big")), "returned", ("PHOTO-DAMAGED",)),
    *(Case("P11", f"{size[0]}×{size[1]}", saved(paint=lambda image, size=size: image.resize(size)), "returned", ("PHOTO-PIXELS",))
      for size in ((294, 413), (295, 414), (590, 826))),
    *(Case("P12", f"{size} bytes", sent(lambda _, row, size=size: {f"{row['ZJHM']}.jpg": picture_of(size)}), verdict, rules)
      for size, verdict, rules in (
          (10_239, "returned", ("PHOTO-SIZE",)), (30_721, "returned", ("PHOTO-SIZE",)), (30_720, "accepted", ()))),
    Case("P12", "10240 bytes", sent(lambda _, row: {f"{row['ZJHM']}.jpg": picture_of(10_240)}), "held", ("PHOTO-PADDED",)),
    Case("P13", "size reached by padding", changed(lambda data: padded(small(data), 15_000)), "held", ("PHOTO-PADDED",), HELD),
    Case("P14", "background 238", saved(paint=background((238, 238, 238))), "held", ("PHOTO-BACKGROUND",), HELD),
    Case("P14", "blue background", saved(paint=background((67, 142, 219))), "held", ("PHOTO-BACKGROUND",), HELD),
    Case("P14", "gradient", saved(paint=gradient), "held", ("PHOTO-BACKGROUND",), HELD),
    Case("P14", "dark background", saved(paint=background((90, 90, 90))), "returned", ("PHOTO-BACKGROUND-DARK",), WRONG),
    Case("P15", "upside down", saved(paint=lambda image: image.rotate(180)), "held", ("PHOTO-UPSIDE-DOWN",), HELD),
    Case("P15", "two heads", saved(paint=two_heads, quality=98), "accepted", ("PHOTO-FIGURE",)),
    Case("P15", "a tiny head", saved(paint=tiny, quality=93), "accepted", ("PHOTO-FIGURE",)),
    *(Case("P16", f"all {colour}", saved(paint=lambda image, colour=colour: Image.new("RGB", image.size, colour)), "returned", ("PHOTO-BLANK",))
      for colour in ("white", "black")),
    Case("P17", "one photo for two people", one_for_two(), "held", ("PHOTO-SAME",), {"held": 2}),
    Case("P17", "one photo for two people, saved again", one_for_two(again), "held", ("PHOTO-SAME",), {"held": 2}),
    Case("P18", "two files with one MD5 are two files", same_name(*COLLIDING), "returned", ("PHOTO-DOUBLE",)),
    *(Case("P19", f"extension {end}", under(lambda row, end=end: row["ZJHM"] + end), "accepted")
      for end in (".JPG", ".jpeg", ".jpg.jpg", "")),
    Case("P20", "a blank and the name behind the number", under(lambda row: f"{row['ZJHM']} {row['KSXM']}.jpg"), "accepted", ("PHOTO-RENAMED",)),
    Case("P20", "full-width digits", under(lambda row: row["ZJHM"].translate({code: code + 0xFEE0 for code in range(48, 58)}) + ".jpg"), "accepted", ("PHOTO-RENAMED",)),
    Case("P20", "the person's name only", under(lambda row: f"{row['KSXM']}.jpg"), "held", ("PHOTO-NAMELESS",), HELD),
    Case("P20", "another person's number, in the column as well", sent(lambda desk, row: {"34052419800101001X.jpg": desk.picture()}, ZP="34052419800101001X.jpg"), "held", ("PHOTO-NAMELESS",), HELD),
    Case("D36", "the column's name, of a person with two certificates", twice("照片.jpg", ZP="照片.jpg"), "accepted", ("PHOTO-RENAMED",), {"accepted": 2}),
    Case("P20", "the name only, of a person with two certificates", twice(None), "held", ("PHOTO-NAMELESS",), {"held": 2}),
    Case("P21", "no photo", sent(lambda *_: {}), "returned", ("PHOTO-MISSING",), WRONG),
    Case("P21", "no photo, none needed", electronic(lambda _: []), "accepted"),
    Case("P21", "a bad photo where none is needed", electronic(lambda _: [b"x"]), "returned", ("PHOTO-FORMAT",)),
    Case("P22", "a photo without a row", sent(lambda desk, row: {f"{row['ZJHM']}.jpg": desk.picture(), "37010219600101001X.jpg": portrait(2017)}), "accepted", ("PHOTO-EXTRA",)),
    Case("P22", "the numbers of two people in one name", sent(lambda desk, one, other: {f"{one['ZJHM']} {other['ZJHM']}.jpg": desk.picture()}, 2), "returned", ("PHOTO-EXTRA",), {"returned": 2}),
    Case("P22", "a copy of a photo under a number without a row", one_photo_too_many(), "accepted", ("PHOTO-EXTRA",)),
    Case("P22", "nearly a copy under a number without a row", one_photo_too_many(again), "accepted", ("PHOTO-EXTRA",)),
    Case("P23", "two equal photos for one number", same_name(portrait(2028), portrait(2028)), "accepted", ("PHOTO-REPEATED",)),
    Case("P23", "two photos for one number", same_name(portrait(2018), portrait(2019)), "held", ("PHOTO-DOUBLE",), HELD),
    Case("P24", "photos of two people exchanged: no format tells", sent(exchanged, 2), "accepted"),
    Case("P25", "EXIF with place and maker", saved(exif=gps()), "accepted", ("PHOTO-EXIF",)),
    Case("P26", "a colour profile, no resolution", saved(icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()), "accepted"),
    Case("P27", "0 bytes", changed(lambda _: b""), "returned", ("PHOTO-FORMAT",), WRONG),
    Case("P27", "a page", changed(lambda _: b"<html><body>404"), "returned", ("PHOTO-FORMAT",), WRONG, "网页"),
]  # fmt: skip


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    return judged(CASES, tmp_path_factory.mktemp("photo"))


@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{one.case}-{one.what}" for one in CASES])
def test_photo_case(number, verdicts):
    expect(CASES[number], verdicts[number])


def test_p18_the_two_blocks_really_have_one_md5():
    one, other = COLLIDING
    assert one != other
    assert hashlib.md5(one, usedforsecurity=False).digest() == hashlib.md5(other, usedforsecurity=False).digest()

"""Photos as measured: BAD-INPUTS §1.5, case by case. The portraits are drawn, nobody real."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from made_photos import drawn, jpeg, lit
from PIL import Image, ImageDraw

from certflow import photo
from certflow.demo.rare_defects import emptied


def portrait(
    seed: int = 1,
    background: tuple[int, int, int] = (255, 255, 255),
    size: tuple[int, int] = (295, 413),
    mode: str = "RGB",
    **options: object,
) -> bytes:
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (295, 413), background)
    draw = ImageDraw.Draw(image)
    draw.rectangle((40, 300, 255, 413), fill=tuple(int(value) for value in random.integers(0, 160, 3)))
    draw.ellipse((80, 80, 215, 290), fill=(224, 190, 160))
    draw.ellipse((80, 60, 215, 60 + int(random.integers(60, 120))), fill=(30, 20, 20))
    pixels = np.asarray(image).astype(np.int16)
    pixels[80:400, 60:240] += random.integers(-18, 18, (320, 180, 3), dtype=np.int16)
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).resize(size).convert(mode)
    out = io.BytesIO()
    image.save(out, "JPEG", **{"quality": 90, **options})
    return out.getvalue()


def other_format(kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (295, 413), "white").save(out, kind)
    return out.getvalue()


def test_an_ordinary_photo_measures_as_the_notice_wants_it():
    data = portrait()
    measures = photo.measure(data)
    assert measures["photo_fault"] is None
    assert (measures["photo_width"], measures["photo_height"], measures["photo_components"]) == (295, 413, 3)
    assert measures["photo_bytes"] == measures["photo_core_bytes"] == len(data)
    assert measures["photo_orientation"] == 1
    assert measures["photo_trailing"] == 0
    assert measures["photo_progressive"] is False
    assert measures["photo_blank"] is False
    assert measures["photo_border_white"] == 1.0


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "WEBP", "TIFF", "EPS"])
def test_p01_p02_other_formats_are_named(kind):
    measures = photo.measure(other_format(kind))
    assert measures["photo_fault"] == "PHOTO-FORMAT"
    assert kind.lower() in str(measures["photo_detail"]).lower()


@pytest.mark.parametrize(
    ("data", "word"), [(b"", "空文件"), (b"<html><body>", "网页"), (b"\x00\x00\x00\x18ftypheic", "HEIC")]
)
def test_p01_p27_what_is_no_picture_is_named(data, word):
    measures = photo.measure(data)
    assert measures["photo_fault"] == "PHOTO-FORMAT"
    assert word in str(measures["photo_detail"])


def test_p03_p04_colour_components_are_told():
    assert photo.measure(portrait(mode="CMYK"))["photo_components"] == 4
    grey = photo.measure(portrait(mode="L"))
    assert (grey["photo_components"], grey["photo_fault"], grey["photo_border_white"]) == (1, None, 1.0)


def test_p05_progressive_is_read_and_told():
    measures = photo.measure(portrait(progressive=True))
    assert measures["photo_progressive"] is True
    assert measures["photo_fault"] is None
    assert measures["photo_border_white"] == 1.0


@pytest.mark.parametrize(("frame", "word"), [(0xC9, "算术"), (0xCA, "算术"), (0xC3, "无损"), (0xC5, "分层")])
def test_p05_unusual_codings_are_refused_by_name(frame, word):
    data = bytearray(portrait())
    data[data.index(b"\xff\xc0") + 1] = frame
    measures = photo.measure(bytes(data))
    assert measures["photo_fault"] == "PHOTO-FORMAT"
    assert word in str(measures["photo_detail"])


def test_p05_twelve_bits_are_refused():
    data = bytearray(portrait())
    data[data.index(b"\xff\xc0") + 4] = 12
    assert photo.measure(bytes(data))["photo_detail"] == "12 位 JPEG"


@pytest.mark.parametrize("turn", [1, 3, 6, 8])
def test_p06_exif_orientation_is_told(turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    measures = photo.measure(portrait(exif=exif.tobytes()))
    assert measures["photo_orientation"] == turn
    assert measures["photo_exif"] is True


def test_p06_broken_exif_never_raises():
    exif = Image.Exif()
    exif[0x0112] = 6
    body = exif.tobytes()
    for cut in range(6, len(body)):
        assert photo.measure(portrait(exif=body[:cut]))["photo_fault"] is None


@pytest.mark.parametrize("cut", [2, 3, 100, 5000, 15000])
def test_p07_truncated_photos_are_damaged(cut):
    assert photo.measure(portrait()[:-cut])["photo_fault"] == "PHOTO-DAMAGED"


def test_p07_truncated_with_an_end_pasted_on_is_damaged():
    assert photo.measure(portrait()[:-3000] + b"\xff\xd9")["photo_fault"] == "PHOTO-DAMAGED"


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8, 0.95])
def test_p08_zeroed_bytes_inside_are_damaged(share):
    data = bytearray(portrait())
    at = int(len(data) * share)
    data[at : at + 64] = bytes(64)
    assert photo.measure(bytes(data))["photo_fault"] == "PHOTO-DAMAGED"


@pytest.mark.parametrize(
    "options", [{}, {"optimize": True}, {"progressive": True}, {"quality": 60}, {"subsampling": 0}]
)
def test_p08_sound_photos_are_never_taken_for_zeroed(options):
    for seed in range(5):
        assert photo.measure(portrait(seed, **options))["photo_fault"] is None
    flat = io.BytesIO()
    Image.new("RGB", (295, 413), "white").save(flat, "JPEG", **options)
    assert photo.measure(flat.getvalue())["photo_fault"] is None


def test_p08_a_dark_and_grainy_photo_is_not_taken_for_zeroed():
    dark = lit(0.7)(list(drawn(39))[38], np.random.default_rng(0))
    data = jpeg(dark, 93)
    assert bytes(8) in data, "the sample no longer shows what it is there for"
    measures = photo.measure(data)
    assert measures["photo_fault"] is None
    assert 8 <= measures["photo_zero_run"] <= 11


@pytest.mark.parametrize("size", [15, 16, 31, 32])
def test_p08_a_short_run_of_zeros_is_counted_and_a_long_one_is_damage(size):
    measures = photo.measure(emptied(jpeg(next(drawn(1))), size))
    assert measures["photo_fault"] == ("PHOTO-DAMAGED" if size == 32 else None)
    assert measures["photo_zero_run"] == (None if size == 32 else size)


def test_p08_runs_that_most_photos_have_are_not_counted():
    data = jpeg(next(drawn(1)))
    assert bytes(2) in data, "the sample no longer shows what it is there for"
    assert photo.measure(data)["photo_zero_run"] == 0
    assert photo.measure(emptied(data, 7))["photo_zero_run"] == 0
    assert photo.measure(emptied(data, 8))["photo_zero_run"] == 8


@pytest.mark.parametrize("tail", [b"PK\x03\x04", b"<html>", b"\x00"])
def test_p09_trailing_bytes_are_counted(tail):
    assert photo.measure(portrait() + tail)["photo_trailing"] == len(tail)


def test_p10_a_header_that_claims_a_giant_is_not_decoded():
    data = bytearray(portrait())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\xdc\xff\xdc"
    measures = photo.measure(bytes(data))
    assert (measures["photo_width"], measures["photo_height"]) == (65_500, 65_500)
    assert measures["photo_thumb"] is None


def test_p10_a_header_that_lies_a_little_is_damaged():
    data = bytearray(portrait())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 7] = (500).to_bytes(2, "big")
    assert photo.measure(bytes(data))["photo_fault"] == "PHOTO-DAMAGED"


@pytest.mark.parametrize("size", [(294, 413), (295, 414), (413, 295), (590, 826), (1, 1), (8, 4000)])
def test_p11_other_sizes_are_measured_never_scaled(size):
    measures = photo.measure(portrait(size=size))
    assert (measures["photo_width"], measures["photo_height"]) == size
    assert measures["photo_fault"] is None


def test_p13_padding_does_not_count_as_picture():
    data = portrait(comment=b"x" * 20_000)
    measures = photo.measure(data)
    assert measures["photo_bytes"] - measures["photo_core_bytes"] == 20_004
    filled = data[:2] + b"\xff\xed" + (9_002).to_bytes(2, "big") + bytes(9_000) + data[2:]
    assert photo.measure(filled)["photo_core_bytes"] == measures["photo_core_bytes"]


def test_p14_backgrounds_are_measured():
    white, off, blue, dark = (
        photo.measure(portrait(background=colour)) for colour in ((255,) * 3, (238,) * 3, (67, 142, 219), (90, 90, 90))
    )
    assert white["photo_border_white"] >= 0.95
    assert off["photo_border_white"] < 0.05
    assert 230 <= off["photo_border_level"] <= 244
    assert off["photo_border_chroma"] < 2
    assert blue["photo_border_chroma"] > 40
    assert dark["photo_border_level"] < 200
    assert dark["photo_border_chroma"] < 2


def test_p14_a_few_dark_pixels_do_not_make_a_background_dark():
    image = Image.open(io.BytesIO(portrait()))
    ImageDraw.Draw(image).rectangle((0, 0, 12, 12), fill=(0, 0, 0))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95)
    measures = photo.measure(out.getvalue())
    assert measures["photo_border_white"] > 0.95
    assert measures["photo_border_level"] >= 245


@pytest.mark.parametrize("colour", ["white", "black", "grey"])
def test_p16_blank_photos_are_told(colour):
    out = io.BytesIO()
    Image.new("RGB", (295, 413), colour).save(out, "JPEG")
    assert photo.measure(out.getvalue())["photo_blank"] is True


def test_any_broken_bytes_are_a_measure_not_a_crash():
    data = portrait()
    random = np.random.default_rng(3)
    for _ in range(150):
        broken = bytearray(data)
        for at in random.integers(2, len(data), 4):
            broken[at] = random.integers(0, 256)
        photo.measure(bytes(broken[: random.integers(2, len(data))]))
    for at in range(2, 620):
        broken = bytearray(data)
        broken[at] ^= 0xFF
        photo.measure(bytes(broken))


def test_photos_measured_in_threads_do_not_disturb_each_other():
    data = [portrait(seed, size=size) for seed in range(8) for size in ((295, 413), (120, 160), (590, 826))]
    alone = [photo.measure(one) for one in data]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(photo.measure, data * 4)) == alone * 4


def test_a_photo_says_nothing_of_the_one_before_it():
    small = portrait(2, size=(120, 160))
    alone = photo.measure(small)
    photo.measure(portrait(3, size=(590, 826), background=(20, 60, 200)))
    assert photo.measure(small) == alone


def test_photos_measured_together_measure_as_each_alone():
    data = [portrait(seed, size=size) for seed in range(3) for size in ((295, 413), (120, 160), (20, 30))]
    data += [portrait(mode="L"), portrait(mode="CMYK"), b"", portrait()[:-100], portrait(background=(90, 120, 200))]
    blank = io.BytesIO()
    Image.new("RGB", (295, 413), "white").save(blank, "JPEG")
    data.append(blank.getvalue())
    alone = [photo.measure(one) for one in data]
    assert photo.measured([photo.sample(one) for one in data]) == alone
    assert {one["photo_blank"] for one in alone} == {True, False, None}

"""The photo helper: its output passes the photo suite, an unusable original is refused with the reason."""

import io

import numpy as np
import pytest
from PIL import Image

from certflow import photo
from certflow.acceptance.photos import prepare, prepare_file
from certflow.checks import frame, judge, suites
from certflow.demo.portraits import NORMAL, encode, paint, save
from certflow.errors import Conflict, SubmissionError
from certflow.findings import Scope, Severity

FACE = paint(np.random.default_rng(7))
BLUE = (67, 142, 219)


def pixels_of(data):
    return Image.open(io.BytesIO(data))


def original(width=450, height=700, background="white", face=FACE, **options):
    """A camera's picture: the portrait larger, on a wider background."""
    scale = min(width / 295, height / 413) * 0.98
    portrait = Image.fromarray(face).resize((round(295 * scale), round(413 * scale)), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (width, height), background)
    canvas.paste(portrait, ((width - portrait.width) // 2, max(0, height - portrait.height)))
    grain = np.random.default_rng(1).integers(-6, 7, (height, width, 3))
    dark = np.asarray(canvas).min(axis=2, keepdims=True) < 235
    pixels = np.clip(np.asarray(canvas) + grain * dark, 0, 255).astype(np.uint8)
    return save(Image.fromarray(pixels), **({"kind": "JPEG", "quality": 92} | options))


def breaches(settings, data, *, large):
    """Every rule of the suite the picture breaks, by an own path beside the helper's."""
    measured = {name: [value] for name, value in photo.measure(data).items()}
    band = "large" if large else "normal"
    measured |= {f"photo_bytes_{band}": [len(data)], f"photo_core_{band}": measured["photo_core_bytes"]}
    measured["photo_dimensions"] = [f"{measured['photo_width'][0]}×{measured['photo_height'][0]}"]
    rules = [
        rule
        for rule in suites.load(settings, ["photo"])
        if rule.scope is Scope.PHOTO and rule.severity is not Severity.INFO
    ]
    wanted = {column for rule in rules for column in rule.columns}
    [judgement] = judge.judge(frame.build(measured, wanted, 1), rules)
    return [breach.rule.code for breach in judgement.breaches]


@pytest.mark.parametrize(
    ("family", "size"),
    [("normal", (1600, 1400)), ("normal", (320, 450)), ("ruankao", (320, 450)), ("tongxin", (900, 1200))],
)
def test_the_result_passes_the_photo_suite(settings, family, size):
    prepared = prepare(settings, original(*size), family)
    assert breaches(settings, prepared.data, large=family != "normal") == []
    measured = photo.measure(prepared.data)
    assert (measured["photo_width"], measured["photo_height"]) == (295, 413)
    kilobytes = len(prepared.data) / 1024
    assert (10 <= kilobytes <= 30) if family == "normal" else kilobytes > 30
    assert any("缩小为 295×413" in step for step in prepared.done)


def test_the_head_stays_in_the_middle_with_air_above_it(settings):
    wide = Image.open(io.BytesIO(original(500, 700)))
    canvas = Image.new("RGB", (1000, 700), "white")
    canvas.paste(wide, (450, 0))  # the person stands right of the middle
    made = np.asarray(Image.open(io.BytesIO(prepare(settings, save(canvas, quality=95), "normal").data)))
    figure = made.min(axis=2) < 200
    columns = np.flatnonzero(figure[: 413 // 2].any(axis=0))
    assert abs((columns[0] + columns[-1]) / 2 - 147) < 20
    assert not figure[:5].any()


def test_a_photo_that_is_right_already_stays_byte_for_byte(settings):
    right = encode(FACE, NORMAL)
    prepared = prepare(settings, right, "normal")
    assert prepared.data == right
    assert prepared.done == ("已符合要求，未作改动",)


def test_p06_a_turned_picture_is_set_upright(settings):
    upright = Image.open(io.BytesIO(original()))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = save(upright.transpose(Image.Transpose.ROTATE_90), quality=92, exif=exif)
    prepared = prepare(settings, turned, "normal")
    assert "按拍摄方向转正" in prepared.done
    assert photo.measure(prepared.data)["photo_orientation"] == 1


def test_a_png_with_transparent_background_becomes_a_white_jpeg(settings):
    image = Image.open(io.BytesIO(original())).convert("RGBA")
    pixels = np.array(image)
    pixels[(pixels[:, :, :3].min(axis=2) > 250), 3] = 0
    prepared = prepare(settings, save(Image.fromarray(pixels), "PNG"), "normal")
    assert {"由 PNG 转为 JPEG", "透明部分填为白色"} <= set(prepared.done)
    assert breaches(settings, prepared.data, large=False) == []


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (lambda: original(290, 500), "PHOTO-PIXELS", "不能放大"),
        (lambda: original(600, 400), "PHOTO-PIXELS", "600×400"),
        (lambda: original()[:9000], "PHOTO-DAMAGED", "损坏"),
        (lambda: b"", "PHOTO-FORMAT", "JPG"),
        (lambda: b"%PDF-1.4", "PHOTO-FORMAT", "JPG"),
        (lambda: save(pixels_of(original()).convert("L")), "PHOTO-GREY", "黑白"),
        (lambda: save(pixels_of(original()).convert("CMYK")), "PHOTO-COLOUR", "CMYK"),
        (lambda: original(background=BLUE, face=paint(np.random.default_rng(7), BLUE)), "PHOTO-BACKGROUND", "底色"),
        (lambda: save(Image.new("RGB", (800, 1120), "white")), "PHOTO-SIZE", "达不到"),
    ],
    ids=["narrow", "flat", "cut off", "empty", "pdf", "grey", "cmyk", "blue background", "blank"],
)  # fmt: skip
def test_an_unusable_original_is_refused_with_the_reason(settings, data, code, reason):
    with pytest.raises(SubmissionError) as caught:
        prepare(settings, data(), "normal")
    assert caught.value.fault == code
    assert reason in caught.value.detail


def test_the_original_is_kept_and_nothing_overwritten(settings, tmp_path):
    source, target = tmp_path / "a.jpg", tmp_path / "b.jpg"
    source.write_bytes(original())
    before = source.read_bytes()
    prepared = prepare_file(settings, source, target, "normal")
    assert source.read_bytes() == before
    assert target.read_bytes() == prepared.data
    with pytest.raises(Conflict):
        prepare_file(settings, source, target, "normal")

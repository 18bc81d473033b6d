"""What a photo is, measured and shown small: the only module that imports simplejpeg and Pillow.

The header facts come from an own walk over the JPEG markers, the truth from a full strict decode: lenient
decoders load corrupt files without a word (P07, P08). Nothing is judged here; thresholds live in the suite.
Safe to call from several threads (the decoder releases the GIL).
"""

import re
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from certflow import faces, portrait, sniff
from certflow.errors import SubmissionError

if TYPE_CHECKING:
    from PIL import Image

Measures = dict[str, object]

MAX_BYTES = 4 << 20
"""Larger files are not decoded; their size alone sends them back."""
MAX_PIXELS = 1_000_000
"""Larger pictures are not decoded (P10); 295×413 px has 121 835."""
TOGETHER = 32
"""Photos that `measured` is best given at once; more gain little."""
SMALL = (118, 165)
"""Largest width and height of a thumbnail, in pixels."""
ORIGINAL_BYTES, ORIGINAL_PIXELS = 40 << 20, 60_000_000
"""Largest original that `fit` takes."""
HEADROOM = 0.07
"""Air above the head after cropping, as a share of the height."""

_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_SOS, _EOI, _SOI, _COM, _APP1, _APP14, _APP0, _DHT = 0xDA, 0xD9, 0xD8, 0xFE, 0xE1, 0xEE, 0xE0, 0xC4
_FEW_ZEROS = bytes(8)
"""Shorter runs are not counted: most photos have some."""
_ZEROS = re.compile(rb"\x00{8,}")
_ZEROED = 32
"""P08: more zeros than a block can hold: under ordinary code tables its 63 coefficients, all -1, take 24 bytes. Dark
and grainy photos do come to 11; what lies between is for the suite (`photo_zero_run`)."""

Plane = npt.NDArray[np.uint8]
_own = threading.local()


@dataclass(frozen=True, slots=True)
class Fitted:
    """A photo brought to the measure of the notice, and in Chinese what was done to it."""

    data: bytes
    done: tuple[str, ...]


class _Broken(Exception):
    """The marker structure ends where it may not."""


@dataclass(slots=True)
class _Header:
    frame: int = 0
    precision: int = 0
    width: int = 0
    height: int = 0
    components: int = 0
    orientation: int = 1
    padding: int = 0
    """Bytes that carry no picture: APPn and COM segments (but JFIF and Adobe ones), fill bytes (P13)."""
    end: int = 0
    """First byte after EOI."""
    tables: dict[int, int] = field(default_factory=dict)
    """AC table → symbol of its all-zero code."""
    scan_begins: int = 0
    notes: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Sampled:
    """A photo as far as it is measured by itself; `measured` does the rest for many at once."""

    measures: Measures
    shape: tuple[int, ...] | None = None
    """Of its pixels: rows, columns, channels; None when there are none to measure."""
    samples: Plane | None = None
    """`portrait.samples`."""


def measure(data: bytes, *, with_faces: bool = False) -> Measures:
    """Columns of the photo frame for one file.

    `photo_fault`: None, PHOTO-FORMAT (no baseline or progressive 8-bit JPEG; P01-P03, P05) or PHOTO-DAMAGED (P07,
    P08), with `photo_detail`; `photo_bytes`; `photo_core_bytes` (without padding, P13); `photo_width`,
    `photo_height` (px), `photo_components` (1 grey, 3 colour, 4 CMYK), `photo_progressive`, `photo_orientation`
    (EXIF, 1 = upright), `photo_trailing` (bytes after the picture, P09), `photo_exif` (EXIF present, P25),
    `photo_zero_run` (longest run of zero bytes in the picture's data, P08; 0 below 8, None where it says nothing).
    From the pixels, None when not decoded: what `portrait.measure` gives and, `with_faces`, `faces.measure`.
    """
    return measured([sample(data, with_faces=with_faces)])[0]


def measured(photos: Sequence[Sampled]) -> list[Measures]:
    """What `measure` gives for each; what their samples tell is worked out for all of one shape together."""
    alike: dict[tuple[int, ...], list[Sampled]] = {}
    for one in photos:
        if one.shape is not None:
            alike.setdefault(one.shape, []).append(one)
    for shape, ones in alike.items():
        found = portrait.measure(shape, [one.samples for one in ones if one.samples is not None])
        for one, more in zip(ones, found, strict=True):
            one.measures.update(more)
    return [one.measures for one in photos]


def sample(data: bytes, *, with_faces: bool = False, with_small: bool = False) -> Sampled:
    """One photo read and decoded; its pixels are gone afterwards.

    `with_small`: measured is also ``photo_small``, the picture as a JPEG of 118×165 px at most.
    """
    measures: Measures = {
        "photo_fault": None, "photo_detail": "", "photo_bytes": len(data), "photo_core_bytes": None,
        "photo_width": None, "photo_height": None, "photo_components": None, "photo_progressive": None,
        "photo_orientation": None, "photo_trailing": None, "photo_exif": None, "photo_zero_run": None,
        "photo_border_white": None, "photo_border_min": None, "photo_border_level": None, "photo_border_chroma": None,
        "photo_border_gradient": None, "photo_border_score": None, "photo_blank": None,
        "photo_blur": None, "photo_light": None, "photo_glare": None, "photo_colour": None,
        "photo_figures": None, "photo_figure_height": None, "photo_upside_down": None,
        "photo_faces": None, "photo_face_width": None, "photo_face_x": None, "photo_face_y": None,
        "photo_thumb": None,
    }  # fmt: skip
    if not data.startswith(b"\xff\xd8\xff"):
        return Sampled(measures | {"photo_fault": "PHOTO-FORMAT", "photo_detail": sniff.type_name(data[: sniff.HEAD])})
    header = _Header()
    try:
        _walk(data, header)
    except (_Broken, IndexError, struct.error):
        measures |= _of_header(header, len(data))
        return Sampled(measures | {"photo_fault": "PHOTO-DAMAGED", "photo_detail": "文件不完整"})
    measures |= _of_header(header, len(data))
    if (detail := _unsupported(header)) is not None:
        return Sampled(measures | {"photo_fault": "PHOTO-FORMAT", "photo_detail": detail})
    if len(data) > MAX_BYTES or header.width * header.height > MAX_PIXELS:
        return Sampled(measures)  # P10, P11: size and pixels alone decide
    more, pixels = _decode(data, header)
    measures |= more
    if pixels is None:
        return Sampled(measures)
    if with_faces:
        measures |= faces.measure(pixels)
    if with_small:
        measures["photo_small"] = _small(pixels.shape)
    return Sampled(measures, pixels.shape, portrait.samples(pixels))


def thumbnail(data: bytes) -> bytes | None:
    """The photo as a JPEG of 118×165 px at most; None when it is none that `measure` would decode."""
    return None if measure(data)["photo_thumb"] is None else shrink(data)


def shrink(data: bytes) -> bytes:
    """A photo that `measure` decoded as a JPEG of 118×165 px at most; decoded at a fraction of its size."""
    import simplejpeg

    size = {"min_height": SMALL[1], "min_width": SMALL[0]}
    return _small(simplejpeg.decode_jpeg(data, colorspace="RGB", buffer=_pixels(), **size).shape)


def _small(shape: tuple[int, ...]) -> bytes:
    """A JPEG of every n-th row and column of what this thread decoded last, 118×165 px at most."""
    import simplejpeg

    height, width, channels = shape
    step = max(1, -(-height // SMALL[1]), -(-width // SMALL[0]))
    # Each pixel is taken together with the next byte, which the encoder skips: one copy of words, not three of bytes.
    kind, many, space = ("u1", 1, "GRAY") if channels == 1 else ("u4", 4, "RGBX")
    strides = (step * width * channels, step * channels)
    every = np.ndarray((-(-height // step), -(-width // step)), kind, _pixels(), strides=strides)
    small = np.ascontiguousarray(every).view(np.uint8).reshape(*every.shape, many)
    subsampling = "GRAY" if channels == 1 else "420"
    return bytes(simplejpeg.encode_jpeg(small, quality=80, colorspace=space, colorsubsampling=subsampling))


def detail(data: bytes, shape: tuple[int, int]) -> Plane | None:
    """Block means of the green channel on so many rows and columns; None when it is no photo.

    It is decoded no larger than that needs.
    """
    import simplejpeg

    try:
        green: Plane = simplejpeg.decode_jpeg(data, colorspace="RGB", min_height=shape[0], min_width=shape[1])[:, :, 1]
    except ValueError:
        return None
    down, across = (_blocks(size, parts) for size, parts in zip(green.shape, shape, strict=True))
    means: Plane = (down @ green.astype(np.float32) @ across.T / np.outer(down.sum(1), across.sum(1))).astype(np.uint8)
    return means


@lru_cache(maxsize=64)
def _blocks(size: int, parts: int) -> npt.NDArray[np.float32]:
    """Sums a line of pixels in so many blocks; exact, because float32 holds every integer below 2²⁴."""
    first = np.arange(parts) * size // parts
    after = np.maximum(np.append(first[1:], size), first + 1)
    at = np.arange(size)
    within: npt.NDArray[np.float32] = ((at >= first[:, None]) & (at < after[:, None])).astype(np.float32)
    return within


def fit(data: bytes, *, low: int, high: int | None, size: tuple[int, int] = (295, 413)) -> Fitted:
    """Crop and shrink an original to `size` px and compress it to `low`-`high` bytes (inclusive; None: no upper bound).

    Never enlarges, never pads, never paints the background: what the original does not have stays missing.

    Raises SubmissionError with a PHOTO- code and the reason in Chinese when the original cannot be used.
    """
    image, done = _opened(data)
    width, height = size
    if image.width < width or image.height < height:
        raise SubmissionError("PHOTO-PIXELS", f"原图为 {image.width}×{image.height}，小于 {width}×{height}，不能放大")
    box = _crop(image, width / height)
    if box != (0, 0, image.width, image.height):
        done.append(f"裁剪为 {box[2] - box[0]}×{box[3] - box[1]}（原图 {image.width}×{image.height}）")
        image = image.crop(box)
    if image.size != size:
        from PIL import Image

        done.append(f"缩小为 {width}×{height}")
        image = image.resize(size, Image.Resampling.LANCZOS)
    made, quality = _compress(image, low, high)
    done.append(f"压缩为 {len(made) / 1024:.1f} KB（质量 {quality}）")
    return Fitted(made, tuple(done))


def _opened(data: bytes) -> "tuple[Image.Image, list[str]]":
    """The original upright, in sRGB on white; what was done to it so far."""
    from PIL import ImageOps

    image = _decoded(data)
    done = [] if image.format == "JPEG" else [f"由 {image.format} 转为 JPEG"]
    upright = ImageOps.exif_transpose(image)
    if image.getexif().get(0x0112, 1) != 1:
        done.append("按拍摄方向转正")
    if upright.mode != "RGB":
        upright, clear = _on_white(upright)
        done += ["透明部分填为白色"] if clear else []
    if profile := image.info.get("icc_profile"):
        upright = _in_srgb(upright, profile)
        done.append("颜色转为 sRGB")
    return upright, done


def _decoded(data: bytes) -> "Image.Image":
    """Every pixel of the original; SubmissionError when there are too many, too few colours, or some are missing."""
    from io import BytesIO

    import simplejpeg
    from PIL import Image, UnidentifiedImageError

    if len(data) > ORIGINAL_BYTES:
        raise SubmissionError("PHOTO-SIZE", f"原图超过 {ORIGINAL_BYTES >> 20} MB")
    try:
        image = Image.open(BytesIO(data), formats=("JPEG", "PNG", "BMP"))
        if image.width * image.height > ORIGINAL_PIXELS:
            raise SubmissionError("PHOTO-PIXELS", f"原图超过 {ORIGINAL_PIXELS // 1_000_000} 百万像素")
        if image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;"):
            raise SubmissionError("PHOTO-GREY", "原图是黑白照片，须为彩色")
        if image.format == "JPEG" and image.mode != "RGB":
            raise SubmissionError("PHOTO-COLOUR", f"原图颜色为 {image.mode}，请另存为 RGB")
        if image.format == "JPEG":
            simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)  # P08: Pillow takes corrupt files silently
        image.load()
    except UnidentifiedImageError:
        raise SubmissionError("PHOTO-FORMAT", "原图须为 JPG、PNG 或 BMP") from None
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError):
        raise SubmissionError("PHOTO-DAMAGED", "原图已损坏或不完整") from None
    return image


def _on_white(image: "Image.Image") -> "tuple[Image.Image, bool]":
    """A picture with transparency laid on white; whether anything showed through."""
    from PIL import Image

    layered = image.convert("RGBA")
    clear = bool(np.asarray(layered)[:, :, 3].min() < 255)
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB"), clear


def _in_srgb(image: "Image.Image", profile: bytes) -> "Image.Image":
    from io import BytesIO

    from PIL import ImageCms

    try:
        source, target = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, target) or image
    except (ImageCms.PyCMSError, OSError):
        raise SubmissionError("PHOTO-COLOUR", "原图的颜色配置损坏，请另存后重试") from None


def _crop(image: "Image.Image", ratio: float) -> tuple[int, int, int, int]:
    """The largest box of this ratio, width : height, with the head in its middle and some air above it."""
    width, height = image.size
    if abs(width / height / ratio - 1) < 0.005:
        return 0, 0, width, height
    wide, tall = (round(height * ratio), height) if width / height > ratio else (width, round(width / ratio))
    left, top = _head(image)
    x = min(max(left - wide // 2, 0), width - wide)
    y = min(max(top - round(tall * HEADROOM), 0), height - tall)
    return x, y, x + wide, y + tall


def _head(image: "Image.Image") -> tuple[int, int]:
    """Middle (x) and upper edge (y) of what stands out from the background in the upper part, in pixels."""
    step = max(1, image.width // 200)
    small = np.asarray(image)[::step, ::step].astype(np.int16)
    edge = np.median(np.concatenate([small[0], small[: len(small) // 4, 0], small[: len(small) // 4, -1]]), axis=0)
    figure = np.abs(small - edge).max(axis=2) > 40
    rows = np.flatnonzero(figure.mean(axis=1) > 0.05)
    if rows.size == 0:
        return image.width // 2, 0
    top = int(rows[0])
    columns = np.flatnonzero(figure[top : top + max(1, len(small) // 4)].any(axis=0))
    return int(np.median(columns)) * step, top * step


def _compress(image: "Image.Image", low: int, high: int | None) -> tuple[bytes, int]:
    """The best baseline JPEG inside the band, and its quality."""
    from io import BytesIO

    for quality in (95, 96, 97, 98, 99, 100) if high is None else range(98, 59, -2):
        out = BytesIO()
        image.save(out, "JPEG", quality=quality, subsampling=0 if quality > 90 else 2, dpi=(300, 300))
        made = out.getvalue()
        if low <= len(made) and (high is None or len(made) <= high):
            return made, quality
        if high is not None and len(made) < low:
            break
    if high is None or len(made) < low:
        raise SubmissionError("PHOTO-SIZE", "原图细节过少，清晰度不足，压缩后达不到规定的文件大小")
    raise SubmissionError("PHOTO-SIZE", "原图过于复杂，压缩后仍超过规定的文件大小")


def _walk(data: bytes, header: _Header) -> None:  # noqa: C901 (one loop over a format's markers reads best whole)
    """Every marker from SOI to EOI; raises when the structure is broken."""
    at = 2
    scans = 0
    while True:
        if data[at] != 0xFF:
            raise _Broken
        start = at
        while data[at] == 0xFF:
            at += 1
        header.padding += at - start - 1
        marker = data[at]
        at += 1
        if marker == _EOI:
            break
        if marker in (_SOI, 0):
            raise _Broken
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if length < 2 or at + length > len(data):
            raise _Broken
        _segment(data, marker, at + 2, length - 2, header)
        at += length
        if marker == _SOS:
            scans += 1
            header.scan_begins = header.scan_begins or at
            found = _NEXT_MARKER.search(data, at)
            if found is None:
                raise _Broken  # P07: no EOI
            at = found.start()
    if not scans or not header.frame:
        raise _Broken
    header.end = at


def _segment(data: bytes, marker: int, at: int, length: int, header: _Header) -> None:
    if marker in _FRAMES:
        if header.frame:
            raise _Broken
        header.frame = marker
        header.precision, header.height, header.width, header.components = struct.unpack_from(">BHHB", data, at)
    elif marker == _DHT:
        header.tables |= _huffman(data[at : at + length])
    elif marker == _COM or _APP0 <= marker <= 0xEF:
        body = data[at : at + length]
        if marker == _APP1 and body.startswith(b"Exif\x00\x00"):
            header.notes.add("exif")
            header.orientation = _orientation(body[6:])
        if not (marker == _APP0 and body.startswith(b"JFIF\x00")) and not (
            marker == _APP14 and body.startswith(b"Adobe")
        ):
            header.padding += length + 4


@lru_cache(maxsize=64)  # most encoders write the tables of the standard's annex
def _huffman(body: bytes) -> dict[int, int]:
    """AC table → symbol of its all-zero code."""
    at, tables = 0, {}
    while at + 17 <= len(body):
        if body[at] & 0x10:
            tables[body[at] & 0xF] = body[at + 17]
        at += 17 + sum(body[at + 1 : at + 17])
    return tables


def _zero_run(data: bytes, header: _Header) -> int | None:
    """Longest run of zeros, in bytes; even strict decoders take most that were put there for picture (P08).

    Only of baseline files whose first AC table does not spend its all-zero code on "end of block": there a white
    background is a run of zeros.
    """
    if header.frame not in (0xC0, 0xC1) or header.tables.get(0, 0) == 0:
        return None
    if data.find(_FEW_ZEROS, header.scan_begins, header.end) < 0:
        return 0
    return max(map(len, _ZEROS.findall(data, header.scan_begins, header.end)))


def _orientation(tiff: bytes) -> int:
    """EXIF orientation 1-8; 1 where there is none (P06). 0: the tag holds something else."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    (at,) = struct.unpack_from(order + "I", tiff, 4)
    if at + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(order + "H", tiff, at)
    for index in range(min(count, (len(tiff) - at - 2) // 12)):
        tag, kind = struct.unpack_from(order + "HH", tiff, at + 2 + 12 * index)
        if tag == 0x0112:
            (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), tiff, at + 10 + 12 * index)
            return int(value) if 1 <= value <= 8 else 0
    return 1


def _of_header(header: _Header, size: int) -> Measures:
    if not header.frame:
        return {}
    return {
        "photo_core_bytes": (header.end or size) - header.padding,
        "photo_width": header.width,
        "photo_height": header.height,
        "photo_components": header.components,
        "photo_progressive": header.frame == 0xC2,
        "photo_orientation": header.orientation,
        "photo_trailing": size - header.end if header.end else None,
        "photo_exif": "exif" in header.notes,
    }


def _unsupported(header: _Header) -> str | None:
    """P05: what printing systems do not read; None when the file is an ordinary JPEG."""
    if header.frame in (0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF):
        return "算术编码 JPEG"
    if header.frame == 0xC3:
        return "无损 JPEG"
    if header.frame not in (0xC0, 0xC1, 0xC2):
        return "分层 JPEG"
    if header.precision != 8:
        return f"{header.precision} 位 JPEG"
    return None


def _decode(data: bytes, header: _Header) -> tuple[Measures, Plane | None]:
    """The pixels, until this thread decodes another photo; None when there are none worth a measure."""
    import simplejpeg

    space = {1: "GRAY", 3: "RGB", 4: "CMYK"}.get(header.components)
    if space is None:
        return {"photo_fault": "PHOTO-FORMAT", "photo_detail": f"{header.components} 个颜色分量"}, None
    zeros = _zero_run(data, header)
    if zeros is not None and zeros >= _ZEROED:
        return {"photo_fault": "PHOTO-DAMAGED", "photo_detail": "图像数据损坏"}, None
    try:
        # Each colour sample is used for the pixels it stands for, without smoothing: no measure sees the difference.
        pixels: Plane = simplejpeg.decode_jpeg(
            data[: header.end], colorspace=space, strict=True, fastupsample=True, buffer=_pixels()
        )
    except ValueError:  # P08
        return {"photo_fault": "PHOTO-DAMAGED", "photo_detail": "图像数据损坏"}, None
    if pixels.shape[:2] != (header.height, header.width):
        return {"photo_fault": "PHOTO-DAMAGED", "photo_detail": "像素与头部不符"}, None
    return {"photo_zero_run": zeros}, None if header.components == 4 else pixels  # P03: colour space alone decides


def _pixels() -> Plane:
    """Where this thread's photos are decoded, one after the other: memory that stays in the processor's cache."""
    if not hasattr(_own, "pixels"):
        _own.pixels = np.empty(4 * MAX_PIXELS, dtype=np.uint8)
    pixels: Plane = _own.pixels
    return pixels

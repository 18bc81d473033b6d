"""Look at a PDF as a reader would: its text, its QR codes, and whether a glyph on the page is the character meant."""

import importlib.resources
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pypdfium2
import zxingcpp
from PIL import Image, ImageDraw, ImageFont

FONT = importlib.resources.files("mplfonts") / "fonts" / "NotoSerifCJKsc-Regular.otf"
_SIZE = 48


@contextmanager
def opened(pdf: bytes) -> Iterator[pypdfium2.PdfDocument]:
    document = pypdfium2.PdfDocument(pdf)
    try:
        yield document
    finally:
        document.close()


def text(pdf: bytes) -> str:
    """All text of all pages, line ends removed."""
    with opened(pdf) as document:
        return "".join(page.get_textpage().get_text_bounded() for page in document).replace("\r\n", "")


def picture(pdf: bytes, page: int = 0, scale: float = 4) -> np.ndarray:
    """A page as grey pixels, rows × columns."""
    with opened(pdf) as document:
        return document[page].render(scale=scale, grayscale=True).to_numpy()


def codes(pdf: bytes, page: int = 0) -> list[str]:
    """What the QR codes on a page say."""
    return [
        one.text for one in zxingcpp.read_barcodes(picture(pdf, page)) if one.format == zxingcpp.BarcodeFormat.QRCode
    ]


def likeness(pdf: bytes, wanted: str) -> dict[str, float]:
    """For each character of `wanted` where it stands on the first page: how like the font's own shape it is, 0-1.

    Taken from the rendered pixels: a box, a blank or another glyph comes out low.
    """
    scale = 8
    with opened(pdf) as document:
        page = document[0]
        words = page.get_textpage()
        at = _find(words, wanted)
        pixels = page.render(scale=scale, grayscale=True).to_numpy()
        height = page.get_height()
        found = {}
        for sign, index in at:
            left, bottom, right, top = words.get_charbox(index)
            box = pixels[
                int((height - top) * scale) : int((height - bottom) * scale) + 1,
                int(left * scale) : int(right * scale) + 1,
            ]
            found[sign] = _same(box, _drawn(sign))
    return found


def _find(words, wanted: str) -> list[tuple[str, int]]:
    """Where the characters stand, by the text page's own index; a rare one may count as two halves there."""
    flat: list[tuple[str, int]] = []
    high = 0
    for index in range(words.count_chars()):
        code = pypdfium2.raw.FPDFText_GetUnicode(words, index)
        if 0xD800 <= code <= 0xDBFF:
            high = code
            continue
        if 0xDC00 <= code <= 0xDFFF:
            code = 0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00)
        flat.append((chr(code), index))
    start = "".join(sign for sign, _ in flat).index(wanted)
    return flat[start : start + len(wanted)]


def _drawn(sign: str) -> np.ndarray:
    canvas = Image.new("L", (256, 256), 255)
    ImageDraw.Draw(canvas).text((30, 20), sign, font=ImageFont.truetype(str(FONT), 180), fill=0)
    return np.asarray(canvas)


def _same(one: np.ndarray, other: np.ndarray) -> float:
    first, second = _trimmed(one), _trimmed(other)
    if first is None or second is None:
        return 0.0
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def _trimmed(pixels: np.ndarray) -> np.ndarray | None:
    rows, columns = np.where(pixels < 128)
    if rows.size == 0:
        return None
    cut = pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return np.asarray(Image.fromarray(cut).resize((_SIZE, _SIZE)), dtype=float)

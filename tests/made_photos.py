"""Photos with known truth, to count how often the photo checks err. Drawn people; real faces only where a library
brings some (``scikit-image``), none of them is kept here."""

import io
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from certflow.demo import portraits

Change = Callable[[Image.Image, np.random.Generator], Image.Image]
SIZE = (295, 413)


def drawn(count: int, seed: int = 11) -> Iterator[Image.Image]:
    for number in range(count):
        yield Image.fromarray(portraits.paint(np.random.default_rng([seed, number])))


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def on(*colour: int) -> Change:
    """Another background; the person stays."""

    def change(image: Image.Image, _rng: np.random.Generator) -> Image.Image:
        pixels = np.asarray(image).copy()
        pixels[(pixels > 250).all(axis=2)] = colour
        return Image.fromarray(pixels)

    return change


def shaded(by: int) -> Change:
    """White on one side, darker by so many levels on the other."""

    def change(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        pixels = np.asarray(image).astype(np.int16)
        slope = np.linspace(0, by, pixels.shape[1])[:: rng.choice((1, -1))].astype(np.int16)[None, :, None]
        white = (pixels > 250).all(axis=2, keepdims=True)
        return Image.fromarray(np.where(white, pixels - slope, pixels).clip(0, 255).astype(np.uint8))

    return change


def lit(factor: float) -> Change:
    """Exposed otherwise, the background cut out and white as before."""

    def change(image: Image.Image, _rng: np.random.Generator) -> Image.Image:
        pixels = np.asarray(image)
        white = (pixels > 250).all(axis=2, keepdims=True)
        return Image.fromarray(np.where(white, pixels, np.asarray(ImageEnhance.Brightness(image).enhance(factor))))

    return change


def blurred(sigma: float) -> Change:
    return lambda image, _rng: image.filter(ImageFilter.GaussianBlur(sigma))


def enlarged(times: float) -> Change:
    """Made of a picture that was so many times smaller."""
    small = (round(SIZE[0] / times), round(SIZE[1] / times))
    return lambda image, _rng: image.resize(small, Image.Resampling.BILINEAR).resize(SIZE, Image.Resampling.BICUBIC)


def colourless(image: Image.Image, _rng: np.random.Generator) -> Image.Image:
    return image.convert("L").convert("RGB")


def headlong(image: Image.Image, _rng: np.random.Generator) -> Image.Image:
    return image.rotate(180)


def smaller(share: float) -> Change:
    """The person takes this share of the picture."""

    def change(image: Image.Image, _rng: np.random.Generator) -> Image.Image:
        small = image.resize((round(SIZE[0] * share), round(SIZE[1] * share)))
        paper = Image.new("RGB", SIZE, "white")
        paper.paste(small, ((SIZE[0] - small.width) // 2, SIZE[1] - small.height))
        return paper

    return change


def aside(by: float) -> Change:
    """Moved by this share of the width, cut off at the edge."""

    def change(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        paper = Image.new("RGB", SIZE, "white")
        paper.paste(image, (round(SIZE[0] * by) * int(rng.choice((1, -1))), 0))
        return paper

    return change


def twice(image: Image.Image, _rng: np.random.Generator) -> Image.Image:
    """Two people side by side."""
    half = image.crop((50, 30, 245, 413)).resize((146, 287))
    paper = Image.new("RGB", SIZE, "white")
    paper.paste(half, (0, 126))
    paper.paste(half.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (149, 126))
    return paper


def blank(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return Image.new("RGB", image.size, (int(rng.choice((0, 255))),) * 3)


def as_it_is(image: Image.Image, _rng: np.random.Generator) -> Image.Image:
    return image


SOUND: Mapping[str, Change] = {
    "as drawn": as_it_is,
    "background 248": on(248, 248, 248),
    "a lens a little soft, σ = 1 px": blurred(1),
    "from a picture 1.5 times smaller": enlarged(1.5),
    "a little dark, × 0.7": lit(0.7),
    "a little bright, × 1.15": lit(1.15),
}
FAULTS: Mapping[str, tuple[str, Mapping[str, Change]]] = {
    "PHOTO-BACKGROUND": (
        "hold",
        {
            "blue 67,142,219": on(67, 142, 219), "red 200,30,40": on(200, 30, 40),
            "cream 250,244,220": on(250, 244, 220),
            "off-white 238": on(238, 238, 238), "off-white 243": on(243, 243, 243), "light grey 215": on(215, 215, 215),
            "gradient of 20 levels": shaded(20), "gradient of 50 levels": shaded(50),
        },
    ),
    "PHOTO-BACKGROUND-DARK": ("error", {"grey 190": on(190, 190, 190), "grey 90": on(90, 90, 90)}),
    "PHOTO-BLANK": ("error", {"white or black": blank}),
    "PHOTO-GREY": ("hold", {"grey saved in colour": colourless}),
    "PHOTO-UPSIDE-DOWN": ("hold", {"turned by 180°": headlong}),
    "PHOTO-BLUR": (
        "warning",
        {
            "σ = 1.5 px": blurred(1.5), "σ = 2 px": blurred(2), "σ = 3 px": blurred(3), "σ = 4 px": blurred(4),
            "from a picture 4 times smaller": enlarged(4), "from a picture 6 times smaller": enlarged(6),
        },
    ),
    "PHOTO-EXPOSURE": (
        "warning",
        {"dark, × 0.4": lit(0.4), "dark, × 0.3": lit(0.3), "dark, × 0.2": lit(0.2),
         "bright, × 1.8": lit(1.8), "bright, × 2.5": lit(2.5), "bright, × 4": lit(4)},
    ),
    "PHOTO-FIGURE": ("warning", {"two people": twice, "person of 0.5 of the picture": smaller(0.5)}),
}  # fmt: skip
"""Rule → what it does to a photo, and kinds of photos it is there for, the mild ones included."""


def cropped(left: float, top: float, right: float, bottom: float) -> Change:
    """Without these shares of the sides, enlarged to the size it had."""
    box = (left * SIZE[0], top * SIZE[1], SIZE[0] - right * SIZE[0], SIZE[1] - bottom * SIZE[1])
    return lambda image, _rng: image.crop(tuple(map(round, box))).resize(SIZE, Image.Resampling.BICUBIC)


def brighter(factor: float) -> Change:
    return lambda image, _rng: ImageEnhance.Brightness(image).enhance(factor)


def contrasted(factor: float) -> Change:
    return lambda image, _rng: ImageEnhance.Contrast(image).enhance(factor)


COPIES: Mapping[str, Change] = {
    "saved again": as_it_is,
    "from half the size": enlarged(2),
    "cropped by 1 % on each side": cropped(0.01, 0.01, 0.01, 0.01),
    "cropped by 2 % on each side": cropped(0.02, 0.02, 0.02, 0.02),
    "cropped by 4 % on each side": cropped(0.04, 0.04, 0.04, 0.04),
    "cropped by 4 % at one corner": cropped(0.04, 0, 0, 0.04),
    "brighter by 5 %": brighter(1.05),
    "brighter by 10 %": brighter(1.1),
    "brighter by 20 %": brighter(1.2),
    "darker by 25 %": brighter(0.75),
    "contrast + 15 %": contrasted(1.15),
    "cropped by 2 % on each side, brighter by 8 %": lambda image, rng: brighter(1.08)(
        cropped(0.02, 0.02, 0.02, 0.02)(image, rng), rng
    ),
}
"""What a picture program makes of somebody else's photo."""


def real_faces() -> tuple[list[Image.Image], list[Image.Image]]:
    """(faces, none) as standard photos on white, from `skimage.data`; ImportError where that is not installed.

    One astronaut (NASA, public domain) in fifteen crops, and 100 faces and 100 pieces of background of 25×25 px (a
    subset of Labeled Faces in the Wild), enlarged and set on drawn shoulders.
    """
    from skimage import data

    portrait = Image.fromarray(data.astronaut())
    found = []
    for across in (190, 205, 220, 240, 260):
        down = across * SIZE[1] / SIZE[0]
        for shift in (-15, 0, 15):
            left, top = 224 + shift - across / 2, 113 - down * 0.42
            cut = portrait.crop((round(left), round(top), round(left + across), round(top + down)))
            found.append(cut.resize(SIZE, Image.Resampling.LANCZOS))
    pieces = [_standing(piece, number) for number, piece in enumerate(data.lfw_subset())]
    return found + pieces[:100], pieces[100:]


def _standing(piece: np.ndarray, number: int) -> Image.Image:
    rng = np.random.default_rng([9, number])
    side = int(rng.uniform(131, 175))
    paper = Image.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(paper)
    cloth = tuple(int(value) for value in rng.integers(20, 120, 3))
    pen.polygon([(117, 235), (177, 235), (267, 305), (279, 413), (15, 413), (27, 305)], fill=cloth)
    head = Image.fromarray((piece.clip(0, 1) * 255).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    mask = Image.new("L", head.size, 0)
    ImageDraw.Draw(mask).ellipse((4, -side * 0.16, side - 4, side - 2), fill=255)
    paper.paste(head.convert("RGB"), (147 - side // 2, 175 - side // 2), mask.filter(ImageFilter.GaussianBlur(3)))
    return paper

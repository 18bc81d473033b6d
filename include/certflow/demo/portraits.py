"""Drawn portraits: 295×413 px JPEGs of people who do not exist.

Shapes on a white background, varied so that no two are near-duplicates of each other, with enough texture
to weigh what a photograph weighs. One seed, one picture, byte for byte (with the same Pillow and numpy).
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

WIDTH: Final = 295
HEIGHT: Final = 413
Pixels = NDArray[np.uint8]
"""Shape (413, 295, 3)."""
WHITE: Final = (255, 255, 255)
_SKIN: Final = ((243, 214, 190), (232, 196, 166), (221, 180, 148), (206, 160, 128), (188, 140, 108))
_HAIR: Final = ((28, 24, 24), (52, 38, 30), (84, 60, 44), (120, 118, 116), (70, 70, 74))
_CLOTH: Final = (
    (34, 44, 82), (120, 32, 40), (40, 92, 66), (196, 196, 204), (226, 186, 84), (92, 60, 120),
    (58, 58, 60), (120, 168, 206), (206, 120, 140), (150, 110, 76), (20, 20, 22), (110, 140, 60),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Band:
    """Sizes in bytes, bounds inclusive, between which an encoded portrait must lie."""

    low: int
    high: int


NORMAL: Final = Band(11_000, 29_500)
"""Well inside 10–30 KB (notice 附件二 3)."""
LARGE: Final = Band(31_500, 60_000)
"""Above 30 KB, as the 软考 and 通信 exams want it."""


class Gallery:
    """Draws one portrait per person and keeps them apart: a too similar face is drawn again."""

    def __init__(self, seed: int, apart: int = 3) -> None:
        """`apart` is the least distance in bits between the difference hashes of any two portraits."""
        self._seed = seed
        self._apart = apart
        self._hashes: list[int] = []

    def portrait(self, person: int, background: tuple[int, int, int] = WHITE) -> Pixels:
        """The portrait of the person with this number; ask once per person."""
        for attempt in range(200):
            pixels = paint(np.random.default_rng([self._seed, person, attempt]), background)
            fingerprint = difference_hash(pixels)
            if all((fingerprint ^ other).bit_count() >= self._apart for other in self._hashes):
                self._hashes.append(fingerprint)
                return pixels
        message = "the gallery is full: no portrait differs enough from the ones before it"
        raise RuntimeError(message)


def paint(rng: np.random.Generator, background: tuple[int, int, int] = WHITE) -> Pixels:
    """Head and shoulders before a plain background; the sides beside the head stay free."""
    image = Image.new("RGB", (WIDTH, HEIGHT), background)
    mask = Image.new("L", (WIDTH, HEIGHT), 0)
    figure = _Figure(image, mask, rng)
    figure.draw()
    pixels = np.asarray(image, dtype=np.float32)
    inside = np.asarray(mask) > 0
    light = _field(rng, 3, 3, 0.6, 1.25) * _field(rng, 9, 10, 0.72, 1.2)
    grain = rng.integers(-9, 10, (HEIGHT, WIDTH), dtype=np.int8).astype(np.float32)
    shaded = pixels * light[:, :, None] + grain[:, :, None]
    sharp = np.where(inside[:, :, None], np.clip(shaded, 0, 250), pixels).astype(np.uint8)
    # As a lens does: edges that a camera never makes give streams that no photo has.
    return np.asarray(Image.fromarray(sharp).filter(ImageFilter.BoxBlur(1)))


def encode(pixels: Pixels, band: Band = NORMAL) -> bytes:
    """A baseline JPEG whose size lies inside `band`; ValueError when no setting reaches it."""
    low, high = 40, 100
    quality = 93 if band is LARGE else 86
    grained = pixels
    for _ in range(9):
        data = save(grained, quality=quality, subsampling=0 if quality > 92 else 2)
        if len(data) < band.low:
            low = quality + 1
        elif len(data) > band.high:
            high = quality - 1
        else:
            return data
        if low > 98:  # too smooth to weigh enough: more grain in the clothes and hair
            grained, low, high = _coarsen(grained), 60, 100
        quality = (low + high) // 2
    message = "no JPEG quality brings this portrait into its size band"
    raise ValueError(message)


def save(pixels: Pixels | Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """Encode as is, with Pillow's own options (`quality`, `exif`, `progressive` …)."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def difference_hash(pixels: Pixels) -> int:
    """64-bit difference hash: is each of 9×8 grey cells darker than its right neighbour?"""
    small = np.asarray(Image.fromarray(pixels).convert("L").resize((9, 8), Image.Resampling.BILINEAR), dtype=np.int16)
    bits = (small[:, :-1] < small[:, 1:]).ravel()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def _coarsen(pixels: Pixels) -> Pixels:
    rng = np.random.default_rng(int(pixels[::7, ::7].sum()))
    figure = (pixels.min(axis=2) < 240)[:, :, None]
    grain = rng.integers(-26, 27, pixels.shape, dtype=np.int16)
    return np.where(figure, np.clip(pixels.astype(np.int16) + grain, 0, 255), pixels).astype(np.uint8)


def _field(rng: np.random.Generator, columns: int, rows: int, low: float, high: float) -> NDArray[np.float32]:
    coarse = rng.uniform(low, high, (rows, columns)).astype(np.float32)
    smooth = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    return np.asarray(smooth, dtype=np.float32)


class _Figure:
    """One drawing under way: every shape goes onto the image and, as a silhouette, onto the mask."""

    def __init__(self, image: Image.Image, mask: Image.Image, rng: np.random.Generator) -> None:
        self._pens = (ImageDraw.Draw(image), ImageDraw.Draw(mask))
        self._rng = rng
        self.middle = WIDTH / 2 + rng.uniform(-20, 20)
        self.top = rng.uniform(62, 104)
        self.face_width = rng.uniform(108, 140)
        self.face_height = self.face_width * rng.uniform(1.2, 1.42)
        self.chin = self.top + self.face_height
        self.skin = self._tone(_SKIN)
        self.hair = self._tone(_HAIR)
        self.cloth = self._tone(_CLOTH, 26)

    def draw(self) -> None:
        if self._chance(0.45):
            self._long_hair()
        self._body()
        self._neck_and_collar()
        self._head()
        self._fringe()
        self._face()

    def _tone(self, palette: Sequence[tuple[int, int, int]], spread: int = 10) -> tuple[int, ...]:
        base = np.asarray(palette[int(self._rng.integers(len(palette)))])
        return tuple(int(value) for value in np.clip(base + self._rng.integers(-spread, spread + 1, 3), 4, 240))

    def _chance(self, share: float) -> bool:
        return bool(self._rng.random() < share)

    def _ellipse(self, x: float, y: float, rx: float, ry: float, fill: tuple[int, ...]) -> None:
        box = (x - rx, y - ry, x + rx, y + ry)
        self._pens[0].ellipse(box, fill=fill)
        self._pens[1].ellipse(box, fill=255)

    def _polygon(self, points: Sequence[tuple[float, float]], fill: tuple[int, ...]) -> None:
        self._pens[0].polygon(points, fill=fill)
        self._pens[1].polygon(points, fill=255)

    def _long_hair(self) -> None:
        reach = self._rng.uniform(0.55, 0.72) * self.face_width
        down = self.chin + self._rng.uniform(-30, 50)
        self._ellipse(self.middle, self.top + self.face_height * 0.42, reach, self.face_height * 0.62, self.hair)
        ear = self.top + self.face_height * 0.4
        right, left = (reach * self._rng.uniform(0.8, 1.05) for _ in range(2))
        self._polygon(
            [(self.middle - reach, ear), (self.middle + reach, ear),
             (self.middle + right, down), (self.middle - left, down)],
            self.hair,
        )  # fmt: skip

    def _body(self) -> None:
        # Shoulders begin below the face, so that the strips beside the head stay white.
        rise = max(self.chin + self._rng.uniform(8, 28), 268)
        half = self._rng.uniform(104, 140)
        slope = self._rng.uniform(16, 54)
        self._polygon(
            [(self.middle - 30, rise), (self.middle + 30, rise), (self.middle + half, rise + slope),
             (self.middle + half + 12, HEIGHT), (self.middle - half - 12, HEIGHT), (self.middle - half, rise + slope)],
            self.cloth,
        )  # fmt: skip
        second = self._tone(_CLOTH, 30)
        pattern = int(self._rng.integers(5))
        step = int(self._rng.integers(14, 38))
        if pattern == 0:  # vertical stripes
            for x in range(int(self.middle - half) + 8, int(self.middle + half) - 8, step):
                self._polygon(
                    [(x, rise + slope + 4), (x + step / 2, rise + slope + 4), (x + step / 2, HEIGHT), (x, HEIGHT)],
                    second,
                )
        elif pattern == 1:  # horizontal stripes
            for y in range(int(rise + slope) + 4, HEIGHT, step):
                self._polygon(
                    [
                        (self.middle - half, y),
                        (self.middle + half, y),
                        (self.middle + half, y + step / 2),
                        (self.middle - half, y + step / 2),
                    ],
                    second,
                )
        elif pattern == 2:  # an open jacket, more or less to one side
            side = self._rng.uniform(-50, 50)
            self._polygon(
                [
                    (self.middle - 26, rise),
                    (self.middle + 26, rise),
                    (self.middle + side + 30, HEIGHT),
                    (self.middle + side - 30, HEIGHT),
                ],
                second,
            )
        elif pattern == 3:  # one half in another colour
            edge = self.middle + self._rng.uniform(-60, 60)
            self._polygon(
                [
                    (edge, rise + slope),
                    (self.middle + half, rise + slope),
                    (self.middle + half, HEIGHT),
                    (edge, HEIGHT),
                ],
                second,
            )

    def _neck_and_collar(self) -> None:
        wide = self.face_width * self._rng.uniform(0.2, 0.3)
        foot = max(self.chin + 30, 286)
        self._polygon(
            [
                (self.middle - wide, self.chin - 40),
                (self.middle + wide, self.chin - 40),
                (self.middle + wide + 6, foot),
                (self.middle - wide - 6, foot),
            ],
            self.skin,
        )
        tip = foot + self._rng.uniform(6, 76)
        if self._chance(0.7):
            self._polygon(
                [(self.middle - wide - 8, foot - 14), (self.middle + wide + 8, foot - 14), (self.middle, tip)],
                self.skin,
            )
        if self._chance(0.4):
            tie = self._tone(_CLOTH, 30)
            self._polygon(
                [
                    (self.middle - 10, foot),
                    (self.middle + 10, foot),
                    (self.middle + 17, HEIGHT),
                    (self.middle - 17, HEIGHT),
                ],
                tie,
            )
        if self._chance(0.4):
            collar = self._tone(((240, 240, 240), (60, 70, 110), (210, 220, 235)))
            for side in (-1, 1):
                self._polygon(
                    [
                        (self.middle + side * (wide + 6), foot - 26),
                        (self.middle + side * 6, foot + 14),
                        (self.middle + side * (wide + 24), foot + 26),
                    ],
                    collar,
                )

    def _head(self) -> None:
        y = self.top + self.face_height / 2
        for side in (-1, 1):
            self._ellipse(self.middle + side * self.face_width / 2, y + 4, 9, 17, self.skin)
        self._ellipse(self.middle, y, self.face_width / 2, self.face_height / 2, self.skin)

    def _fringe(self) -> None:
        line = self.top + self.face_height * self._rng.uniform(0.1, 0.34)
        crown = self.top - self._rng.uniform(4, 24)
        half = self.face_width / 2 + self._rng.uniform(0, 10)
        part = self.middle + self._rng.uniform(-half, half) * 0.8
        left, right = (line + self._rng.uniform(0, 66) for _ in range(2))
        self._polygon(
            [(self.middle - half, left), (self.middle - half * 0.94, crown + 34), (self.middle - half * 0.5, crown),
             (self.middle + half * 0.5, crown), (self.middle + half * 0.94, crown + 34), (self.middle + half, right),
             (self.middle + half * 0.8, line), (part, line + self._rng.uniform(-16, 14)),
             (self.middle - half * 0.8, line)],
            self.hair,
        )  # fmt: skip

    def _face(self) -> None:
        y = self.top + self.face_height * self._rng.uniform(0.44, 0.54)
        gap = self.face_width * self._rng.uniform(0.18, 0.25)
        open_ = self._rng.uniform(3.5, 6.5)
        tilt = self._rng.uniform(-4, 4)
        for side in (-1, 1):
            x = self.middle + side * gap
            self._ellipse(x, y, 10, open_, (236, 236, 232))
            self._ellipse(x + tilt / 2, y, open_ * 0.8, open_ * 0.9, (34, 24, 20))
            brow = y - self._rng.uniform(13, 21)
            self._polygon(
                [
                    (x - 14, brow + side * tilt),
                    (x + 14, brow - side * tilt),
                    (x + 14, brow - side * tilt + 4),
                    (x - 14, brow + side * tilt + 5),
                ],
                self.hair,
            )
        darker = tuple(int(value * 0.82) for value in self.skin)
        nose = y + self.face_height * self._rng.uniform(0.16, 0.22)
        self._polygon([(self.middle - 2, y), (self.middle + 9, nose), (self.middle - 9, nose)], darker)
        mouth = nose + self.face_height * self._rng.uniform(0.09, 0.14)
        self._ellipse(self.middle, mouth, self._rng.uniform(13, 24), self._rng.uniform(3, 7), (168, 84, 80))
        if self._chance(0.35):
            for side in (-1, 1):
                x = self.middle + side * gap
                self._pens[0].rounded_rectangle((x - 19, y - 13, x + 19, y + 14), 6, outline=(30, 30, 34), width=3)
            self._pens[0].line((self.middle - gap + 19, y, self.middle + gap - 19, y), fill=(30, 30, 34), width=3)
        if self._chance(0.15):
            self._ellipse(self.middle, mouth + 18, 20, 9, self.hair)

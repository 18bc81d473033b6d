"""A synthetic month of any size: 16 cities, one exam, every row sound and with a photo of its own.

100 000 photos in a minute: heads and shoulders of some drawn portraits, combined anew, mirrored and encoded. Everybody
is invented. Certificates nobody asks about are written straight into the database.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg

from certflow import excel
from certflow.demo import portraits
from certflow.findings import FIELDS
from certflow.identity import check_digit
from certflow.intake.submission import Received
from certflow.reference import load_reference
from certflow.settings import Settings

MONTH, EXAM, NAME = "202005", "034", "一级建造师"
DRAWN = 240
"""Portraits that are drawn; each photo is the head of one and the body of another."""
SEAM = 266
"""Row below which the body begins."""
_SIGNS = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰春梅建国志远海波文斌晓东雪琴立新宏图嘉怡思源"
REGISTRY = "ZSGLH,KSXM,ZJHM,ZJLB,XB,KSDM,KSMC,BKJB,BKZY,CSNY,PZRQ,BMS,ZSBH,DZZS"


@dataclass(frozen=True)
class Person:
    """One applicant; `number` counts through the province."""

    number: int
    city: str
    photo: bool = True

    @property
    def row(self) -> dict[str, str]:
        """The eleven values as a city sends them."""
        day, order = divmod(self.number, 900)
        born = np.datetime64("1970-01-01") + day
        body = f"370102{str(born).replace('-', '')}{order:03d}"
        identity = body + check_digit(body)
        year = 2010 if self.photo else 2018
        name = "王李张刘陈杨赵黄"[self.number % 8] + _SIGNS[self.number // 8 % 48] + _SIGNS[self.number // 384 % 48]
        return {
            "ZSGLH": f"{year}0903437{self.number:07d}",
            "KSXM": name,
            "ZJHM": identity,
            "ZJLB": "居民身份证",
            "XB": "男" if order % 2 else "女",
            "BKJB": "一级",
            "BKZY": "建筑工程",
            "CSNY": str(born).replace("-", "")[:6],
            "PZRQ": f"{year}0915",
            "ZP": f"{identity}.jpg" if self.photo else "",
            "BMS": self.city,
        }


def _between(size: int, knots: int) -> np.ndarray:
    """Weights of so many knots, evenly spaced, for each pixel of a line."""
    places = np.linspace(0, knots - 1, size)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(knots)))


_DOWN, _ACROSS = _between(413, 9), _between(295, 7).T


class Photos:
    """As many different photos as there are applicants, each between 10 and 30 KB."""

    def __init__(self, drawn: int = DRAWN) -> None:
        self._drawn = [portraits.paint(np.random.default_rng([10, number])) for number in range(drawn)]

    def __getitem__(self, number: int) -> bytes:
        many = len(self._drawn)
        turn, head = divmod(number, many)
        body = (head + 1 + turn // 2 * 7) % many
        pixels = np.concatenate([self._drawn[head][:SEAM], self._drawn[body][SEAM:]])
        pixels = pixels[:, ::-1] if turn % 2 else pixels
        # Light and shade of its own for each: thousands with one head would all be looked at twice, as no people are.
        knots = np.random.default_rng([11, number]).normal(0, 22, (_DOWN.shape[1], len(_ACROSS)))
        shade = (_DOWN @ knots @ _ACROSS).astype(np.int16)
        shade[pixels[:, :, 1] > 224] = 0  # the background stays white
        pixels = (pixels + shade[:, :, None]).clip(8, 255).astype(np.uint8)
        for quality in (86, 93, 97, 80, 70):
            data = simplejpeg.encode_jpeg(pixels, quality=quality, colorspace="RGB", colorsubsampling="420")
            if portraits.NORMAL.low <= len(data) <= portraits.NORMAL.high:
                return data
        return data


@dataclass(frozen=True)
class Month:
    """What was made: the cities' zips by account, and the registry's lines of all applicants."""

    zips: dict[str, Path]
    registry: Path
    rows: int


def make(folder: Path, rows: int, *, photos: bool = True, deflate: bool = False, cities: int = 16) -> Month:
    """The month below `folder`; what lies there already is used again."""
    accounts = [one for one in load_reference(Settings(home=folder)).cities.values() if not one.historic][:cities]
    folder.mkdir(parents=True, exist_ok=True)
    registry, zips, album = folder / "registry.csv", {}, None
    shares = np.array_split(np.arange(rows), cities)
    for city, share in zip(accounts, shares, strict=True):
        people = [Person(int(number), city.name, photos) for number in share]
        stem = f"{MONTH}-{EXAM}-{NAME}(证书补换印制信息)数据({city.name})({len(people)}人)"
        zips[city.account] = folder / f"{stem}.zip"
        if not zips[city.account].exists():
            album = album or Photos()
            _write(zips[city.account], stem, people, album, deflate=deflate)
    if not registry.exists():
        everybody = (
            Person(int(number), city.name, photos)
            for city, share in zip(accounts, shares, strict=True)
            for number in share
        )
        registry.write_text("\n".join([REGISTRY, *map(_line, everybody)]) + "\n", encoding="utf-8")
    return Month(zips, registry, rows)


def _write(path: Path, stem: str, people: Sequence[Person], album: Photos, *, deflate: bool) -> None:
    rows = [one.row for one in people]
    part = path.with_suffix(".part")
    method = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(part, "w", method) as archive:
        archive.writestr(f"{stem}.XLS", book(rows))
        for one, row in zip(people, rows, strict=True):
            if one.photo:
                archive.writestr(f"{stem}/{row['ZP']}", album[one.number])
    part.rename(path)


def book(rows: Sequence[dict[str, str]], kind: str = "xls") -> bytes:
    """The rows as a workbook, as a city's own Excel writes it."""
    cells = [[row[name] for name in FIELDS] for row in rows]
    if kind == "xls":
        return excel.write_xls(FIELDS, cells)
    from openpyxl import Workbook

    made = Workbook(write_only=True)
    sheet = made.create_sheet("Sheet1")
    for line in ([*FIELDS], *cells):
        sheet.append(line)
    stream = io.BytesIO()
    made.save(stream)
    return stream.getvalue()


def _line(one: Person) -> str:
    row = one.row | {"KSDM": EXAM, "KSMC": NAME, "ZSBH": f"OLD{one.number:08d}", "DZZS": "否"}
    return ",".join(row[column] for column in REGISTRY.split(","))


def received(path: Path, account: str | None = None) -> Received:
    """The zip as intake hands it over."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Received(path, path.name, digest, path.stat().st_size, account)


def people(rows: int, city: str = "济南市", *, photo: bool = True) -> Iterator[Person]:
    """Applicants of one city."""
    return (Person(number, city, photo) for number in range(rows))

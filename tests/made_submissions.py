"""Whole submissions for tests of the checks: a real XLS and real JPEGs in a real zip, everybody in it synthetic."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from certflow import excel
from certflow.demo import portraits
from certflow.findings import FIELDS
from certflow.identity import check_digit
from certflow.intake.submission import Received

Row = dict[str, str]
REGISTRY_HEADER = "ZSGLH,KSXM,ZJHM,ZJLB,XB,KSDM,KSMC,BKJB,BKZY,CSNY,PZRQ,BMS,DZZS"


def id_number(serial: int, birth: str = "19900101", area: str = "370102") -> str:
    """A number with a right check digit; an odd `serial` is a man's."""
    body = f"{area}{birth}{serial % 1000:03d}"
    return body + check_digit(body)


def person(serial: int, *, photo: bool = False) -> Row:
    """A sound application; with `photo` its certificate is old enough to need one."""
    number = id_number(serial)
    year = "2010" if photo else "2018"
    return {
        "ZSGLH": f"{year}0903437{serial:07d}",
        "KSXM": "测" + chr(0x4E00 + serial % 500) + chr(0x5000 + serial // 500),
        "ZJHM": number,
        "ZJLB": "居民身份证",
        "XB": "男" if serial % 2 else "女",
        "BKJB": "一级",
        "BKZY": "建筑工程",
        "CSNY": "199001",
        "PZRQ": f"{year}0915",
        "ZP": f"{number}.jpg" if photo else "",
        "BMS": "济南市",
    }


@cache
def portrait(serial: int) -> bytes:
    return portraits.encode(portraits.paint(_rng(serial)))


def _rng(serial: int) -> object:
    import numpy as np

    return np.random.default_rng(serial)


@dataclass
class Made:
    """One submission in the making; change anything before `write`."""

    rows: list[Row] = field(default_factory=list)
    photos: dict[str, bytes] = field(default_factory=dict)
    month: str = "202005"
    code: str = "034"
    exam: str = "一级建造师"
    city: str = "济南市"
    count: int | None = None
    extra: dict[str, bytes] = field(default_factory=dict)
    book: bytes | None = None

    @property
    def stem(self) -> str:
        count = len(self.rows) if self.count is None else self.count
        return f"{self.month}-{self.code}-{self.exam}(证书补换印制信息)数据({self.city})({count}人)"

    def add(self, row: Row, picture: bytes | None = None) -> Row:
        self.rows.append(row)
        if picture is not None:
            self.photos[row["ZJHM"] + ".jpg"] = picture
        return row

    def write(self, folder: Path, account: str | None = "370100", name: str | None = None) -> Received:
        folder.mkdir(parents=True, exist_ok=True)
        stream = io.BytesIO()
        book = self.book or excel.write_xls(FIELDS, [[row[name] for name in FIELDS] for row in self.rows])
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(f"{self.stem}.XLS", book)
            for entry, data in self.photos.items():
                archive.writestr(f"{self.stem}/{entry}", data)
            for entry, data in self.extra.items():
                archive.writestr(entry, data)
        return received(folder / (name or f"{self.stem}.zip"), stream.getvalue(), account)


def received(path: Path, data: bytes, account: str | None = "370100", file_id: int | None = None) -> Received:
    path.write_bytes(data)
    return Received(path, path.name, hashlib.sha256(data).hexdigest(), len(data), account, file_id)


def write_registry(
    path: Path, rows: Sequence[Mapping[str, str]], **changes: Callable[[Mapping[str, str]], str]
) -> Path:
    """The certificate database that agrees with these rows, but for `changes` by column."""
    lines = [REGISTRY_HEADER]
    for row in rows:
        values = {"KSDM": "034", "KSMC": "一级建造师", "DZZS": "否", **row}
        values |= {column: change(row) for column, change in changes.items()}
        lines.append(",".join(values[column] for column in REGISTRY_HEADER.split(",")))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path

"""Synthetic people and the certificates they hold: the registry the province is checked against.

Nobody here exists. ID numbers are made from a random birth date and a check digit computed in this file (an
independent witness for `certflow.identity`, which is never imported here).
"""

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from certflow.reference import Exam

REGISTRY_COLUMNS: Final = (
    "ZSGLH", "KSXM", "ZJHM", "ZJLB", "XB", "KSDM", "KSMC", "BKJB", "BKZY", "CSNY", "PZRQ", "BMS", "ZSBH", "DZZS",
)  # fmt: skip
RESIDENT: Final = "居民身份证"
RESIDENCE_PERMIT: Final = "港澳台居民居住证"
FOREIGNER: Final = "外国人永久居留身份证"
HONG_KONG: Final = "港澳居民来往内地通行证"
TAIWAN: Final = "台湾居民来往大陆通行证"
PASSPORT: Final = "护照"
OFFICER: Final = "军官证"
LAST_YEAR: Final = 2019
"""Nobody in the demo was approved after this year, so every certificate is older than the month."""

_SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶余潘杜戴夏钟汪田任姜范"
    "方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文"
)
_GIVEN = (
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰春梅建国志远海波文斌晓东雪琴立新宏图嘉怡思源子涵"
    "博宇欣然雨桐梓萱俊凯一诺天佑瑞雪永康云飞少峰长青红燕小龙书香佳宁若曦"
)
_RARE = ("杨䶮", "王𠮷", "陈𬱖", "李𬎆", "赵㛃", "孙𫖯", "周𬭎", "吴𪟝", "刘䶮璟", "郑𬀩")
_MINORITY = (
    "阿卜杜热依木·买买提", "古丽巴哈尔·阿不都热合曼", "买买提江·吐尔逊", "迪丽娜尔·艾合买提江", "努尔夏提·居马别克",
    "才让卓玛·旦增", "巴特尔·苏和", "热孜万古丽·阿卜力米提·吐尔洪江", "帕提曼·赛都拉",
)  # fmt: skip
_BRACKETED = ("王晓[沛]", "李[堃]明", "张文[珺]", "陈[祎]")
_FOREIGN_NAMES = ("ANNA MARIA NOWAK", "JOHN SMITH EXAMPLE", "KIM EXAMPLE", "SATO EXAMPLE")
_AREAS = (
    "370102", "370202", "370303", "370402", "370502", "370602", "370702", "370811", "370902", "371002",
    "371102", "371302", "371402", "371502", "371602", "371702", "110105", "130102", "320106", "410105",
)  # fmt: skip
_RETIRED_AREAS = ("371202", "321119", "370181")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who does not exist; `number` numbers the portraits."""

    number: int
    name: str
    sex: str
    born: date
    id_type: str
    id_number: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """One line of the registry."""

    person: Person
    management_no: str
    exam: Exam
    level: str
    specialty: str
    approved_on: date
    city: str
    serial: str
    electronic: bool

    @property
    def needs_photo(self) -> bool:
        """Certificates obtained in 2017 or later need none (notice 附件二 3)."""
        return self.approved_on.year < 2017

    def line(self) -> tuple[str, ...]:
        """The values of `REGISTRY_COLUMNS`."""
        who = self.person
        return (
            self.management_no, who.name, who.id_number, who.id_type, who.sex, self.exam.code, self.exam.name,
            self.level, self.specialty, f"{who.born:%Y%m}", f"{self.approved_on:%Y%m%d}", self.city, self.serial,
            "是" if self.electronic else "否",
        )  # fmt: skip


def check_sign(body: str) -> str:
    """The 18th sign of an ID number (GB 11643, ISO 7064 MOD 11-2) for 17 digits."""
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, body, strict=True))
    return "10X98765432"[total % 11]


def resident_number(area: str, born: date | str, order: int) -> str:
    """18 digits: area, birth date, order number (odd for men), check sign."""
    day = born if isinstance(born, str) else f"{born:%Y%m%d}"
    body = f"{area}{day}{order:03d}"
    return body + check_sign(body)


def shortened(number: str) -> str:
    """The 15-digit form of an 18-digit number of somebody born in the 20th century."""
    return number[:6] + number[8:17]


def lengthened(number: str) -> str:
    """The 18-digit form of a 15-digit number."""
    body = f"{number[:6]}19{number[6:]}"
    return body + check_sign(body)


class People:
    """Mints people and certificates from one seed; numbers never repeat."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"certflow-people-{seed}")
        self._ids: set[str] = set()
        self.certificates: list[Certificate] = []

    def certificate(
        self,
        exam: Exam,
        city: str,
        *,
        person: Person | None = None,
        years: tuple[int, int] | None = None,
        level: str | None = None,
        specialty: str | None = None,
        numbered: bool = True,
    ) -> Certificate:
        """One more certificate in the registry; `years` bounds the year of approval (inclusive)."""
        first, last = years or (exam.first_year or 1998, LAST_YEAR)
        first = max(first, exam.first_year or first)
        last = min(last, exam.last_year or LAST_YEAR, LAST_YEAR)
        approved = date(
            self._random.randint(first, last), self._random.choice((3, 5, 6, 9, 10, 11)), self._random.randint(1, 28)
        )
        levels = sorted(exam.levels)
        if level is None:
            level = self._random.choice(levels) if levels else "不分级"
        specialties = sorted(exam.levels.get(level, ()))
        if specialty is None:
            specialty = self._random.choice(specialties) if specialties else ""
        order = len(self.certificates) + 1
        holder = person or self.person(approved)
        made = Certificate(
            holder,
            f"{approved:%Y%m}{exam.code}37{order:07d}" if numbered else "",
            exam,
            level,
            specialty,
            approved,
            city,
            f"{approved:%y}{order:08d}",
            approved.year >= 2018 and self._random.random() < 0.3,
        )
        self.certificates.append(made)
        return made

    def person(
        self,
        approved: date | None = None,
        *,
        kind: str = "",
        name: str = "",
        sex: str = "",
        area: str = "",
        born: date | None = None,
        historic: bool = False,
    ) -> Person:
        """Somebody new. `kind` is a type of document ("" draws one), `historic` wants a 15-digit ID number."""
        roll = self._random.random()
        approved = approved or date(2012, 5, 1)
        sex = sex or self._random.choice("男女")
        born = born or date(approved.year - self._random.randint(23, 52), 1, 1) + timedelta(self._random.randrange(365))
        kind = kind or self._drawn_kind(roll)
        historic = historic or (kind == RESIDENT and roll < 0.012 and approved.year < 2012 and born.year < 1990)
        while (number := self._number(kind, sex, born, area, historic=historic)) in self._ids:
            pass
        self._ids.add(number)
        if historic:
            self._ids.add(lengthened(number))
        return Person(len(self._ids), name or self._name(kind), sex, born, kind, number)

    def bystanders(self, exams: Sequence[Exam], cities: Sequence[str], total: int) -> None:
        """Fill the registry up to `total` certificates; ValueError when it holds more already."""
        if total < len(self.certificates):
            message = f"演示的一个月就有 {len(self.certificates)} 份证书，--rows 不能更小"
            raise ValueError(message)
        weights = [70 if exam.code == "034" else 20 if exam.family != "normal" else 4 for exam in exams]
        while len(self.certificates) < total:
            exam = self._random.choices(exams, weights)[0]
            self.certificate(exam, self._random.choice(cities))

    def write_registry(self, file: Path) -> None:
        """The registry as a CSV for ``certflow registry load`` (UTF-8 with BOM), in an order that tells nothing."""
        lines = [certificate.line() for certificate in self.certificates]
        self._random.shuffle(lines)
        with file.open("w", encoding="utf-8-sig", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\r\n")
            writer.writerow(REGISTRY_COLUMNS)
            writer.writerows(lines)

    def amend(self, certificate: Certificate, **changes: Any) -> Certificate:  # noqa: ANN401 (fields of Certificate)
        """The same certificate with other values, in the registry too."""
        changed = replace(certificate, **changes)
        place = next(at for at, one in enumerate(self.certificates) if one is certificate)
        self.certificates[place] = changed
        return changed

    def _drawn_kind(self, roll: float) -> str:
        for share, kind in (
            (0.940, RESIDENT), (0.952, RESIDENCE_PERMIT), (0.962, FOREIGNER), (0.973, HONG_KONG),
            (0.982, TAIWAN), (0.991, PASSPORT),
        ):  # fmt: skip
            if roll < share:
                return kind
        return OFFICER

    def _name(self, kind: str) -> str:
        draw = self._random
        if kind in (FOREIGNER, PASSPORT) and draw.random() < 0.6:
            return draw.choice(_FOREIGN_NAMES)
        roll = draw.random()
        for share, names in ((0.010, _RARE), (0.022, _MINORITY), (0.027, _BRACKETED)):
            if roll < share:
                return draw.choice(names)
        return draw.choice(_SURNAMES) + "".join(draw.choice(_GIVEN) for _ in range(draw.choice((1, 2, 2, 2))))

    def _number(self, kind: str, sex: str, born: date, area: str, *, historic: bool) -> str:
        draw = self._random
        order = draw.randrange(1, 499) * 2 + (sex == "男")
        short, long = draw.randrange(10**6, 10**7), draw.randrange(10**7, 10**8)
        place = area or draw.choice(_RETIRED_AREAS if draw.random() < 0.03 else _AREAS)
        if kind == RESIDENT:
            number = resident_number(place, born, order)
            return shortened(number) if historic else number
        if kind == FOREIGNER and draw.random() < 0.5:
            return f"{''.join(draw.choices('ABCDEFGHKLMNPRSTUVWXY', k=3))}3700{born:%y%m%d}{long % 100:02d}"
        return {
            RESIDENCE_PERMIT: resident_number(draw.choice(("810000", "820000", "830000")), born, order),
            FOREIGNER: resident_number(f"911{100 + short % 800}", born, order),
            HONG_KONG: f"{draw.choice('HM')}{long}" + draw.choice(("", f"{short % 100:02d}")),
            TAIWAN: f"{long}",
            PASSPORT: f"{draw.choice('EGPK')}{long}",
            OFFICER: f"{draw.choice('军空海')}字第{short}号",
        }[kind]

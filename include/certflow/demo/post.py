"""The last mile of the demo: applicants choose, a simulated EMS carries, one holder comes to the desk and signs.

Everything goes through the drop folders of one city, as its lists and devices would bring it.
"""

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw

from certflow.delivery.daily import DROPS, EVIDENCE_DROP, run_city
from certflow.delivery.orders import folder
from certflow.delivery.profile import CHOICES, EMS
from certflow.excel import read_table
from certflow.reference import load_reference
from certflow.registry import deliveries
from certflow.registry.deliveries import Standing
from certflow.registry.ledger import Actor, Registry
from certflow.settings import Settings

_CHOICES: Final = ("管理号", "领取方式", "收件人", "联系电话", "邮编", "收件地址")
_TRACKING: Final = ("订单号", "运单号", "状态", "时间")
_LONG_AGO: Final = (1.0, 1.0)
"""Access and modification time of what nobody is writing any more."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of one city's certificates."""

    account: str
    mailed: int
    signed: int
    returned: int
    handed: str
    """管理号 of the one that was handed out at the desk, or empty."""


def deliver(settings: Settings, registry: Registry, actor: Actor) -> Delivered:
    """Bring the certificates of the city with the most of them to their holders; the first parcel comes back."""
    reference = load_reference(settings)
    with registry.read() as conn:
        printed = {city: many for (city, state), many in deliveries.counts(conn).items() if state == "PRINTED"}
        account = max(sorted(printed), key=lambda city: printed[city])
        *mailed, handed = deliveries.standing(conn, account, ("PRINTED",))
    _choose(settings, account, mailed, handed)
    run_city(settings, registry, reference, account, actor)
    _carry(settings, account)
    _sign(settings, account, handed.management_no)
    run_city(settings, registry, reference, account, actor)
    with registry.read() as conn:
        counts = deliveries.counts(conn, account)
    return Delivered(
        account=account,
        mailed=len(mailed),
        signed=counts.get((account, "SIGNED"), 0),
        returned=counts.get((account, "RETURNED"), 0),
        handed=handed.management_no if counts.get((account, "HANDED"), 0) == 1 else "",
    )


def _choose(settings: Settings, account: str, mailed: Sequence[Standing], handed: Standing) -> None:
    lines = [
        (one.management_no, "邮寄", one.name, "13800000000", "250000", f"{one.city}合成路{number}号")
        for number, one in enumerate(mailed, start=1)
    ]
    drop = folder(settings, account, DROPS[CHOICES], "收件名单.csv")
    _write_list(drop, [_CHOICES, *lines, (handed.management_no, "现场领取", "", "", "", "")])


def _carry(settings: Settings, account: str) -> None:
    """EMS takes the order list, gives every parcel a waybill and delivers all but the first."""
    (order,) = folder(settings, account, "EMS订单").iterdir()
    lines = []
    for number, line in enumerate(list(read_table(order))[1:], start=1):
        waybill, end = f"EMS{number:010d}CN", "退回" if number == 1 else "妥投"
        lines += [(line[1], waybill, "已收寄", "2020-09-01 16:00:00"), (line[1], waybill, end, "2020-09-03 10:30:00")]
    _write_list(folder(settings, account, DROPS[EMS], "跟踪.csv"), [_TRACKING, *lines])


def _sign(settings: Settings, account: str, management_no: str) -> None:
    """Signature pad and document camera write a picture each."""
    for kind, size in (("签名", (320, 120)), ("本人身份证", (428, 270))):
        picture = Image.new("L", size, 255)
        draw = ImageDraw.Draw(picture)
        draw.line([(x, size[1] * (x * x % 7 + 1) // 9) for x in range(10, size[0], 16)], fill=0, width=3)
        buffer = BytesIO()
        picture.save(buffer, "PNG")
        file = folder(settings, account, EVIDENCE_DROP, f"{management_no}_{kind}.png")
        file.write_bytes(buffer.getvalue())
        os.utime(file, _LONG_AGO)


def _write_list(path: Path, lines: Iterable[Sequence[str]]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        csv.writer(stream).writerows(lines)
    os.utime(path, _LONG_AGO)

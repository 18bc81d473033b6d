"""Mistakes in whole files: archives, names, workbooks. Each function plants one kind in a parcel of its own."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from certflow.demo.archives import LINK_MODE, Member, pack
from certflow.demo.cities import COLUMNS, Parcel
from certflow.demo.planting import Planter
from certflow.demo.workbooks import FormulaCell

_PAGE: Final = "<!DOCTYPE html><html><head><title>登录</title></head><body>会话已过期，请重新登录。</body></html>\n"


def in_parcel(plant: Planter, kind: str, rows: int = 3) -> Parcel:
    parcel = plant.open_parcel(kind)
    for _ in range(rows):
        plant.fresh(parcel=parcel)
    return parcel


def by_bytes(
    kind: str, rule: str, spoil: Callable[[bytes], bytes], outcome: str = "returned"
) -> Callable[[Planter], None]:
    """A kind that edits the finished zip."""

    def plant_it(plant: Planter) -> None:
        parcel = in_parcel(plant, kind)
        parcel.finish = spoil
        plant.file(kind, rule, outcome, parcel)

    return plant_it


def _entries(
    kind: str, rule: str, spoil: Callable[[list[Member]], list[Member]], outcome: str = "returned"
) -> Callable[[Planter], None]:
    """A kind that edits the list of archive members."""

    def plant_it(plant: Planter) -> None:
        parcel = in_parcel(plant, kind)
        parcel.members = spoil
        plant.file(kind, rule, outcome, parcel)

    return plant_it


def _book(kind: str, rule: str, data: bytes, outcome: str = "returned") -> Callable[[Planter], None]:
    """A kind whose workbook is something else."""

    def plant_it(plant: Planter) -> None:
        parcel = in_parcel(plant, kind)
        parcel.workbook = data
        plant.file(kind, rule, outcome, parcel)

    return plant_it


def _named(kind: str, rule: str, outcome: str, **overrides: str) -> Callable[[Planter], None]:
    """A kind whose name says something else."""

    def plant_it(plant: Planter) -> None:
        parcel = in_parcel(plant, kind)
        parcel.overrides |= overrides
        plant.file(kind, rule, outcome, parcel)

    return plant_it


def _spoilt_crc(members: list[Member]) -> list[Member]:
    return [replace(members[0], crc=0x1234_5678), *members[1:]]


def _ole_rubbish() -> bytes:
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(range(256)) * 12


def formula(plant: Planter) -> None:
    parcel = in_parcel(plant, "Excel 含公式")
    parcel.rows[1].values["BKZY"] = FormulaCell("1+1")  # E34
    plant.file("Excel 含公式", "BOOK-FORMULA", "returned", parcel)


def column_absent(plant: Planter) -> None:
    parcel = in_parcel(plant, "缺少一列")
    parcel.columns = [column for column in COLUMNS if column != "PZRQ"]
    plant.file("缺少一列", "BOOK-HEADER", "returned", parcel)


def column_twice(plant: Planter) -> None:
    parcel = in_parcel(plant, "表头重复")
    parcel.columns = [*COLUMNS, "KSXM"]
    plant.file("表头重复", "BOOK-HEADER-DUPLICATE", "returned", parcel)


def no_rows(plant: Planter) -> None:
    parcel = in_parcel(plant, "没有数据行", rows=0)
    plant.file("没有数据行", "BOOK-EMPTY", "returned", parcel)


def two_sheets(plant: Planter) -> None:
    parcel = in_parcel(plant, "两张工作表有数据")
    parcel.second_sheet = True
    plant.file("两张工作表有数据", "BOOK-SHEETS", "held", parcel)


def shifted_columns(plant: Planter) -> None:
    parcel = in_parcel(plant, "列错位", rows=20)
    for row in parcel.rows[::2]:  # D38: twenty rows, half of them
        row.values["KSXM"], row.values["ZJHM"] = row.values["ZJHM"], row.values["KSXM"]
    plant.file("列错位", "BOOK-SHIFTED", "returned", parcel)


def second_workbook(plant: Planter) -> None:
    parcel = in_parcel(plant, "一个考试两个 Excel")
    parcel.members = lambda members: [*members, replace(members[0], name=members[0].name.replace(".XLS", "(1).XLS"))]
    plant.file("一个考试两个 Excel", "BOOK-SECOND", "held", parcel)


def other_count(plant: Planter) -> None:
    parcel = in_parcel(plant, "名称人数与行数不符")
    parcel.overrides["count"] = "4人"
    plant.file("名称人数与行数不符", "NAME-COUNT", "held", parcel)


def other_account(plant: Planter) -> None:
    parcel = in_parcel(plant, "名称城市不是报送账号")
    cities = sorted(plant.reference.cities.values(), key=lambda city: city.account)
    other = next(city for city in cities if city.account != parcel.city.account)
    parcel.overrides["city"] = other.name
    plant.file("名称城市不是报送账号", "NAME-ACCOUNT", "returned", parcel)


def other_folder(plant: Planter) -> None:
    parcel = in_parcel(plant, "照片文件夹名称不符", rows=0)
    for _ in range(3):
        plant.fresh(parcel=parcel, photo=True)
    other = plant.reference.exams["934"]
    parcel.overrides["folder"] = parcel.stem.replace(parcel.exam.code, other.code).replace(parcel.exam.name, other.name)
    plant.file("照片文件夹名称不符", "NAME-FOLDER", "held", parcel)


def sent_twice(plant: Planter) -> None:
    parcel = in_parcel(plant, "同一文件重复报送")
    parcel.zip_name = f"{parcel.stem}.zip"
    # The copy is dropped beside it under another name; the first one is sound.
    plant.file("同一文件重复报送", "FILE-DUPLICATE", "ignored", parcel, f"{parcel.stem}副本.zip")


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


DEFECTS: Final[tuple[Callable[[Planter], None], ...]] = (
    by_bytes("空文件", "FILE-EMPTY", lambda _: b""),
    by_bytes("网页冒充压缩包", "FILE-TYPE", lambda _: _PAGE.encode()),
    by_bytes("RAR 冒充压缩包", "FILE-TYPE", lambda data: b"Rar!\x1a\x07\x01\x00" + data[8:2000]),
    by_bytes("压缩包被截断", "ZIP-DAMAGED", _cut),
    by_bytes("压缩包末尾附有数据", "ZIP-DAMAGED", lambda data: data + bytes(70_000)),
    _entries("空压缩包", "ZIP-EMPTY", lambda _: []),
    _entries("压缩包路径穿越", "ZIP-TRAVERSAL", lambda all_: [*all_, Member("../../outside.jpg", b"x" * 64)]),
    _entries("压缩包加密", "ZIP-ENCRYPTED", lambda all_: [replace(one, password=b"123456") for one in all_]),
    _entries("压缩包校验和错误", "ZIP-DAMAGED", _spoilt_crc),
    _entries("压缩包内同名文件", "ZIP-DUPLICATE", lambda all_: [*all_, all_[0]]),
    _entries("压缩包内有链接", "ZIP-SPECIAL", lambda all_: [*all_, Member("link.jpg", b"/etc/motd", mode=LINK_MODE)]),
    _entries("压缩炸弹", "ZIP-BOMB", lambda all_: [*all_, Member("filler.jpg", bytes(12 << 20), method=8)]),
    _entries("压缩包套压缩包", "ZIP-NESTED", lambda all_: [Member("数据.zip", pack(all_))]),
    _entries("压缩方式不支持", "ZIP-METHOD", lambda all_: [replace(all_[0], method=9), *all_[1:]]),
    _entries("压缩包内有程序", "ZIP-EXECUTABLE", lambda all_: [*all_, Member("补丁.exe", b"MZ" + bytes(600))]),
    _entries("压缩包内没有 Excel", "BOOK-MISSING", lambda _: [Member("说明.txt", "数据另寄".encode())]),
    _book("网页冒充 Excel", "BOOK-TYPE", f"<html><table><tr><td>{_PAGE}</td></tr></table></html>".encode()),
    _book("文本冒充 Excel", "BOOK-TYPE", "ZSGLH\tKSXM\tZJHM\r\n1\t2\t3\r\n".encode("gb18030")),
    _book("Excel 损坏", "BOOK-DAMAGED", _ole_rubbish()),
    formula, column_absent, column_twice, no_rows, two_sheets, shifted_columns, second_workbook, other_count,
    other_account, other_folder, sent_twice,
    _named("申报年月不存在", "NAME-MONTH", "held", month="202013"),
    _named("申报年月超前", "NAME-MONTH", "held", month="209912"),
    _named("考试代码与名称不符", "NAME-EXAM", "held", code="906"),
    _named("考试不在目录", "NAME-EXAM-UNKNOWN", "held", code="999", exam="不存在的考试"),
    _named("城市不在目录", "NAME-CITY", "held", city="某某市"),
    _named("名称不合规则", "NAME-FORM", "held", count="约100"),
)  # fmt: skip

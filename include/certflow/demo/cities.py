"""What a city centre hands in: one workbook and one photo folder per exam, zipped (notice 附件二).

A `Parcel` is one exam of one city on its way to becoming files. Cities differ in style: brackets, name
encoding, workbook format, folders. `write` turns a parcel into the files that lie in the city's 报送 folder
and tells every row the number Excel shows for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from certflow.demo.archives import Member, pack
from certflow.demo.people import Certificate
from certflow.demo.workbooks import Line, Value, write_xls, write_xlsx
from certflow.month import Month
from certflow.reference import City, Exam

COLUMNS: Final = ("ZSGLH", "KSXM", "ZJHM", "ZJLB", "XB", "BKJB", "BKZY", "CSNY", "PZRQ", "ZP", "BMS")
"""The 11 columns of the notice (附件二 2)."""
CHINESE: Final = (
    "管理号",
    "姓名",
    "证件号码",
    "证件类别",
    "性别",
    "级别",
    "专业",
    "出生年月",
    "批准日期",
    "照片",
    "报名市",
)


@dataclass(slots=True)
class Photo:
    """One file of the photo folder."""

    name: str
    data: bytes


@dataclass(slots=True)
class Row:
    """One application. `number` is known once the parcel has been written."""

    certificate: Certificate
    values: dict[str, Value]
    photo: Photo | None = None
    hidden: bool = False
    merged: bool = False
    """Its ZP cell and the next row's are one."""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Style:
    """How a city likes to make its files; every value here is tolerated by the province."""

    name: str = "规范"
    wide: bool = False
    """Full-width brackets in all names."""
    encoding: str = "utf-8"
    xlsx: bool = False
    """The workbook is xlsx under its ``.XLS`` name."""
    split: bool = False
    """Workbook and photos in two zips of one stem."""
    wrapper: str = ""
    header: str = "code"
    """code | lower | chinese | both | shuffled"""
    title: bool = False
    total: bool = False
    blank: bool = False
    """An empty row in the middle."""
    junk: bool = False
    deflate: bool = True
    bundle: bool = False
    """All exams of the city in one zip."""


STYLES: Final = (
    Style(),
    Style("全角括号", wide=True),
    Style("GBK 文件名", encoding="gb18030"),
    Style("xlsx 内容", xlsx=True),
    Style("两个压缩包", split=True),
    Style("外层文件夹", wrapper="新建文件夹"),
    Style("中文表头", header="chinese"),
    Style("标题行和合计行", title=True, total=True),
    Style("系统文件", junk=True, deflate=False),
    Style("列序打乱", header="shuffled"),
    Style("几个考试一个包", bundle=True),
    Style("小写表头和空行", header="lower", blank=True),
    Style("双语表头", header="both", deflate=False),
    Style("GBK 全角", encoding="gb18030", wide=True),
    Style("xlsx 标题", xlsx=True, title=True),
)


@dataclass(slots=True)
class Parcel:
    """One exam of one city before it is written; defects change any part of it."""

    city: City
    exam: Exam
    month: Month
    style: Style
    rows: list[Row] = field(default_factory=list)
    photos: list[Photo] = field(default_factory=list)
    """Photos no row brought."""
    overrides: dict[str, str] = field(default_factory=dict)
    """Parts of the name written otherwise: month, code, exam, city, count, folder."""
    columns: Sequence[str] | None = None
    """Another header than the 11 columns."""
    second_sheet: bool = False
    workbook: bytes | None = None
    """Bytes to use instead of a workbook made from the rows."""
    extra: list[Member] = field(default_factory=list)
    members: Callable[[list[Member]], list[Member]] | None = None
    """A last change of the list of archive members."""
    finish: Callable[[bytes], bytes] | None = None
    """A last change of the zip's bytes."""
    zip_name: str = ""
    defect: str = ""
    """Kind of the planted file defect; such a parcel keeps the plain style and a zip of its own."""

    @property
    def stem(self) -> str:
        """申报年月-考试代码-考试名称(证书补换印制信息)数据(地市)(证书补换人员数)."""
        parts = {
            "month": str(self.month), "code": self.exam.code, "exam": self.exam.name, "city": self.city.name,
            "count": f"{len(self.rows)}人",
        } | self.overrides  # fmt: skip
        text = (
            f"{parts['month']}-{parts['code']}-{parts['exam']}(证书补换印制信息)数据({parts['city']})({parts['count']})"
        )
        return text.replace("(", "（").replace(")", "）") if self.style.wide else text


@dataclass(frozen=True, slots=True)
class Drop:
    """One file in a city's 报送 folder."""

    account: str
    name: str
    data: bytes
    parcels: tuple[Parcel, ...] = ()
    defect: str = ""

    @property
    def raw_name(self) -> bytes:
        """The name as the city's SFTP program sends it: some send GBK (T16)."""
        old = any(parcel.style.encoding != "utf-8" for parcel in self.parcels)
        return self.name.encode("gb18030" if old else "utf-8")


def sound_values(certificate: Certificate, *, photo: bool) -> dict[str, Value]:
    """A row as a careful clerk types it."""
    who = certificate.person
    return {
        "ZSGLH": certificate.management_no,
        "KSXM": who.name,
        "ZJHM": who.id_number,
        "ZJLB": who.id_type,
        "XB": who.sex,
        "BKJB": certificate.level,
        "BKZY": certificate.specialty,
        "CSNY": f"{who.born:%Y%m}",
        "PZRQ": f"{certificate.approved_on:%Y%m%d}",
        "ZP": f"{who.id_number}.jpg" if photo else "",
        "BMS": certificate.city,
    }


def write(parcels: Sequence[Parcel]) -> list[Drop]:
    """The files of one city, in its style; sets `Row.number` everywhere."""
    drops: list[Drop] = []
    bundle: list[Member] = []
    bundled = [parcel for parcel in parcels if parcel.style.bundle and not parcel.defect]
    for parcel in parcels:
        book, folder = _members(parcel)
        if parcel in bundled:
            bundle += [book, *folder]
        elif parcel.style.split and not parcel.defect:
            drops.append(_drop(parcel, [book], f"{parcel.stem}.zip"))
            if folder:
                drops.append(_drop(parcel, folder, f"{parcel.stem}(1).zip"))
        else:
            drops.append(_drop(parcel, [book, *folder], parcel.zip_name or f"{parcel.stem}.zip"))
    if bundled:
        first = bundled[0]
        drops.append(Drop(first.city.account, f"{first.month}-{first.city.name}.zip", pack(bundle), tuple(bundled)))
    return drops


def _drop(parcel: Parcel, members: list[Member], name: str) -> Drop:
    if parcel.members is not None:
        members = parcel.members(members)
    data = pack(members)
    if parcel.finish is not None:
        data = parcel.finish(data)
    return Drop(parcel.city.account, name, data, (parcel,), parcel.defect)


def _members(parcel: Parcel) -> tuple[Member, list[Member]]:
    style = parcel.style
    method = 8 if style.deflate else 0
    root = f"{style.wrapper}/" if style.wrapper else ""
    made = workbook(parcel)
    data = parcel.workbook if parcel.workbook is not None else made
    book = Member(f"{root}{parcel.stem}.XLS", data, style.encoding, 8)
    folder = f"{root}{parcel.overrides.get('folder', parcel.stem)}/"
    photos = [row.photo for row in parcel.rows if row.photo is not None] + parcel.photos
    seen: set[int] = set()  # one person's two certificates share one photo
    unique = [photo for photo in photos if not (id(photo) in seen or seen.add(id(photo)))]  # type: ignore[func-returns-value]
    members = [Member(f"{folder}{photo.name}", photo.data, style.encoding, method) for photo in unique]
    if style.junk:
        members.append(Member(f"{folder}Thumbs.db", b"\xd0\xcf\x11\xe0" + bytes(508), style.encoding))
        members.append(Member("__MACOSX/._x.jpg", b"\x00\x05\x16\x07" + bytes(78), style.encoding))
    return book, members + parcel.extra


def workbook(parcel: Parcel) -> bytes:
    """The parcel's rows as a workbook in its style; sets `Row.number`."""
    style = parcel.style
    columns = list(parcel.columns or COLUMNS)
    if style.header == "shuffled" and parcel.columns is None:
        columns = columns[4:] + columns[:4]
    lines: list[Line] = []
    at = 0
    if style.title:
        lines.append(Line(at, (f"{parcel.city.name}证书补换印制信息",)))
        at += 1
    lines.append(Line(at, tuple(_label(column, style.header) for column in columns)))
    for order, row in enumerate(parcel.rows):
        at += 1
        if style.blank and order == len(parcel.rows) // 2 and order:
            at += 1
        row.number = at + 1
        values = tuple(row.values.get(column, "") for column in columns)
        lines.append(Line(at, values, hidden=row.hidden, merged=columns.index("ZP") if row.merged else None))
    if style.total:
        lines.append(Line(at + 1, ("合计", f"{len(parcel.rows)}人")))
    return write_xlsx(lines) if style.xlsx else write_xls(lines, second=parcel.second_sheet)


def _label(column: str, header: str) -> str:
    if column not in COLUMNS:
        return column
    chinese = CHINESE[COLUMNS.index(column)]
    return {"lower": column.lower(), "chinese": chinese, "both": f"{column}（{chinese}）"}.get(header, column)

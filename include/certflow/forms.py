"""The paper that goes with the data: 《…补发(更换)申请表》 and 《…统计汇总表》, as workbook and as PDF.

Both are printed from one `Form`, so they cannot differ; its digest stands on both sheets and is taken again from the
workbook as another reader reads it. Notice 附件二: sorted by 批准日期, 第 X 页/共 X 页, content equal to the Excel.
The blank forms of the superior could not be found: columns and titles are a template (``forms.toml``) and the look of
the PDF is another (``form.typ``); both may be edited without code (DOMAIN §2).
"""

import hashlib
import json
import re
import string
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

from certflow import excel, vault
from certflow.errors import ConfigurationError, Conflict, DigestMismatch
from certflow.excel import Cell, Page
from certflow.findings import FIELDS
from certflow.pdf import press
from certflow.settings import Settings

APPLICATIONS, SUMMARY = "applications", "summary"
NAMES = {APPLICATIONS: "申请表", SUMMARY: "统计汇总表"}
"""What each form is called in file names."""

MOST_PRINTED = 5_000
"""Rows of a form that is also made as PDF: the typesetter holds all pages at once, 50 KB a row."""
_TOGETHER = 1_000
"""Rows that are put into words at once."""
_SHIPPED = Path(__file__).with_name("templates") / "forms.toml"
_COUNTS = ("份数", "人数", "照片数")
_FOOTER = "第 &P 页/共 &N 页"
_MM_PER_CHARACTER = 1.9
_TOO_WIDE = 1e6
_OTHER_SIGNS = re.compile(r"[^0-9]+")
_MOMENT = datetime(1980, 1, 1, tzinfo=UTC)  # the same rows give the same bytes; when, the ledger knows


@dataclass(frozen=True, slots=True)
class Form:
    """One form, cell by cell as printed (PII)."""

    kind: str
    title: str
    lines: tuple[str, ...]
    """What stands between title and table."""
    head: tuple[str, ...]
    widths: tuple[int, ...]
    """Millimetres; the PDF stretches them to the page."""
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...]
    closing: str
    landscape: bool

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over every printed value of the table, head and totals included."""
        return digest_of(chain((self.head,), self.rows, (self.total,)))

    @property
    def typeset(self) -> bool:
        """Whether it is made as PDF too."""
        return len(self.rows) <= MOST_PRINTED


def digest_of(cells: Iterable[Sequence[str]]) -> str:
    """The digest of a printed table: rows of texts, in order, as one JSON array of arrays."""
    digest, left, before = hashlib.sha256(b"["), iter(cells), ""
    while piece := list(islice(left, _TOGETHER)):
        text = before + json.dumps(piece, ensure_ascii=False, separators=(",", ":"))[1:-1]
        digest.update(text.encode("utf-8", "surrogatepass"))
        before = ","
    digest.update(b"]")
    return digest.hexdigest()


def place(row: Mapping[str, str]) -> tuple[str, ...]:
    """Where a row stands in the forms and the packages: by 批准日期, then 管理号, then 证件号码."""
    return row["PZRQ"], row["ZSGLH"], row["ZJHM"]


def lay_out(settings: Settings, rows: Sequence[Mapping[str, str]], lines: Sequence[str]) -> tuple[Form, Form]:
    """Both forms of these rows (11 texts by field name, in order); ConfigurationError when the template is wrong.

    No row is kept: they may be made anew whenever they are looked at.
    """
    template = _template(settings)
    listed = ({**row, "序号": str(number), "照片": _photo(row)} for number, row in enumerate(rows, start=1))
    shape = template[SUMMARY]
    whole, groups = _Count(), defaultdict[tuple[str, ...], _Count](_Count)
    for row in rows:
        whole.add(row)
        groups[tuple(row[field] for field in shape["group"])].add(row)
    counted = [
        dict(zip(shape["group"], key, strict=True)) | {"序号": str(number)} | groups[key].texts
        for number, key in enumerate(sorted(groups, key=lambda one: [text.encode() for text in one]), start=1)
    ]
    total = {"序号": "合计"} | whole.texts
    return (
        _form(APPLICATIONS, template[APPLICATIONS], listed, {"序号": "合计", "KSXM": f"{len(rows)} 份"}, lines),
        _form(SUMMARY, shape, counted, total, lines),
    )


def write_workbook(form: Form, path: Path) -> None:
    """The form as a print-ready workbook, read back: DigestMismatch when it does not say what the form says."""
    across, digest = len(form.head), form.digest
    filler = [Cell("", "across")] * (across - 1)
    page = Page(
        NAMES[form.kind],
        [
            [Cell(form.title, "across"), *filler],
            *([Cell(line, "line")] for line in form.lines),
            [Cell(text, "boxhead") for text in form.head],
            *form.rows,
            [Cell(text, "boxhead") for text in form.total],
            [Cell(form.closing, "line")],
            [Cell(f"数据摘要：{digest}", "line")],
        ],
        [max(4, round(width / _MM_PER_CHARACTER)) for width in form.widths],
        landscape=form.landscape,
        repeat_rows=2 + len(form.lines),
        footer=_FOOTER,
        mark="box",
    )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    excel.write_xlsx(path, [page])
    if digest_of(printed(path, form)) != digest:
        path.unlink()
        raise DigestMismatch(f"{NAMES[form.kind]}写成 Excel 后与数据不一致，已删除")


def printed(path: Path, form: Form) -> Iterator[list[str]]:
    """The table of a workbook that was written from a form of this shape: head, rows, totals."""
    first = 1 + len(form.lines)
    table = islice(excel.read_own(vault.read_bytes(path)), first, first + len(form.rows) + 2)
    return ((row + [""] * len(form.head))[: len(form.head)] for row in table)


def print_pdf(settings: Settings, form: Form) -> bytes:
    """The form as PDF; Conflict when a character of it is in no font at hand (it names the code point alone)."""
    data = {
        "title": form.title,
        "lines": form.lines,
        "head": form.head,
        "widths": form.widths,
        "rows": form.rows,
        "most": [[_most(text) for text in row] for row in form.rows],
        "total": form.total,
        "closing": form.closing,
        "landscape": form.landscape,
        "digest": form.digest,
    }
    house = press(settings)
    return house.bind([(house.template("form"), data)], title=form.title, at=_MOMENT, tagged=False)


def write(settings: Settings, pair: Sequence[Form], folder: Path, stem: str) -> tuple[list[Path], str]:
    """Both forms as ``<stem>-申请表.xlsx`` and so on, and the same as PDF; the files, and why a PDF is missing ("")."""
    written, trouble = [], ""
    for form in pair:
        workbook = folder / f"{stem}-{NAMES[form.kind]}.xlsx"
        write_workbook(form, workbook)
        written.append(workbook)
        paper = workbook.with_suffix(".pdf")
        paper.unlink(missing_ok=True)  # where none comes in its place, an earlier one says something else
        if not form.typeset:
            trouble = f"超过 {MOST_PRINTED} 行，不另出 PDF：请直接打印 Excel 表"
            continue
        try:
            content = print_pdf(settings, form)
        except ModuleNotFoundError:
            trouble = "没有安装 PDF 部件：pip install 'certflow[forms]'"
            continue
        except Conflict as lost:  # a rare character: the workbook shows it with the reader's own fonts
            trouble = str(lost)
            continue
        draft = paper.with_name(f".{paper.name}.part")
        vault.write_bytes(draft, content)
        draft.replace(paper)
        written.append(paper)
    return written, trouble


def _most(text: str) -> float:
    """What a text is wide at most, in em of the typeface: digits 0.6, any other sign at most 1.

    Far too wide where it does not stay on one line.
    """
    if len(text.splitlines()) > 1:
        return _TOO_WIDE
    return len(text) - 0.4 * len(_OTHER_SIGNS.sub("", text))


@dataclass(slots=True)
class _Count:
    """What a line of the summary counts."""

    copies: int = 0
    photos: int = 0
    people: set[str] = field(default_factory=set)

    def add(self, row: Mapping[str, str]) -> None:
        self.copies += 1
        self.photos += bool(row["ZP"])
        self.people.add(row["ZJHM"])

    @property
    def texts(self) -> dict[str, str]:
        return dict(zip(_COUNTS, map(str, (self.copies, len(self.people), self.photos)), strict=True))


def _photo(row: Mapping[str, str]) -> str:
    return "有" if row["ZP"] else "无"


def _form(
    kind: str,
    shape: Mapping[str, Any],
    rows: Iterable[Mapping[str, str]],
    total: Mapping[str, str],
    lines: Sequence[str],
) -> Form:
    columns = shape["columns"]
    blank = dict.fromkeys((*FIELDS, "序号", "照片", *_COUNTS), "") | dict(total)
    return Form(
        kind,
        shape["title"],
        tuple(lines),
        tuple(one["head"] for one in columns),
        tuple(one["width"] for one in columns),
        tuple(tuple(one["text"].format_map(row) for one in columns) for row in rows),
        tuple(one["text"].format_map(blank) for one in columns),
        shape["closing"],
        shape["landscape"],
    )


def _template(settings: Settings) -> dict[str, Any]:
    own = settings.path("templates", "forms.toml")
    path = own if own.is_file() else _SHIPPED
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}：不是正确的 TOML（{error}）") from None
    known = {APPLICATIONS: {*FIELDS, "序号", "照片"}}
    for kind in (APPLICATIONS, SUMMARY):
        shape = found.get(kind)
        if not isinstance(shape, dict):
            raise ConfigurationError(f"{path}：缺少 [{kind}]")
        if kind == SUMMARY:
            group = shape.get("group")
            if not isinstance(group, list) or not set(group) <= set(FIELDS):
                raise ConfigurationError(f"{path}：[summary] group 须为 11 个字段中的若干个")
            known[SUMMARY] = {*group, "序号", *_COUNTS}
        _check_shape(path, kind, shape, known[kind])
    return found


def _check_shape(path: Path, kind: str, shape: Mapping[str, Any], known: set[str]) -> None:
    columns = shape.get("columns")
    if not isinstance(shape.get("title"), str) or not isinstance(shape.get("closing"), str):
        raise ConfigurationError(f"{path}：[{kind}] 须有 title 和 closing")
    if not isinstance(shape.get("landscape"), bool) or not isinstance(columns, list) or not columns:
        raise ConfigurationError(f"{path}：[{kind}] 须有 landscape（true 或 false）和 columns")
    for number, one in enumerate(columns, start=1):
        good = isinstance(one, dict) and isinstance(one.get("head"), str) and isinstance(one.get("text"), str)
        if not good or type(one.get("width")) is not int or one["width"] <= 0:
            raise ConfigurationError(f"{path}：[{kind}] 第 {number} 栏须有 head、text 和大于 0 的 width")
        try:
            parts = list(string.Formatter().parse(one["text"]))
        except ValueError:
            parts = [("", "", None, None)]
        wrong = [
            name
            for _, name, spec, conversion in parts
            if name is not None and (name not in known or spec or conversion)
        ]
        if wrong:
            raise ConfigurationError(f"{path}：[{kind}] 第 {number} 栏的 text 中有不认识的字段")

"""One report, printed three ways: a page to read, a PDF to print, a workbook to go on working with.

All three come from the same `Report`, so they cannot say different things; none of them needs anything from outside.
"""

import datetime as dt
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from certflow import excel
from certflow.excel import Cell, Page
from certflow.pdf import Press
from certflow.registry.premises import SETTLED

DRAFT = ".report-"
"""How the name of a file that is still being written begins."""
_FOOTER = "第 &P 页/共 &N 页"
_PAGES = Path(__file__).with_name("pages")


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a report: sentences, then a picture, then a table; each may be missing."""

    title: str
    head: tuple[str, ...] = ()
    lines: Sequence[Sequence[str]] = ()
    widths: tuple[int, ...] = ()
    """Of the columns, in characters; in print they share the page in this proportion."""
    numbers: frozenset[int] = frozenset()
    """Columns set flush right."""
    words: tuple[str, ...] = ()
    picture: str = ""
    """SVG."""
    empty: str = "无"
    """What to say where a table has no lines."""
    whole: bool = False
    """Not to be broken over two pages."""
    small: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What is printed. Free of personal data."""

    title: str
    subtitle: str
    lead: tuple[str, ...]
    """The sentences to read when one reads nothing else."""
    sections: tuple[Section, ...]
    landscape: bool = False


def write(
    house: Press, stem: Path, report: Report, *, at: dt.datetime, more: Sequence[Page] = (), page: bool = False
) -> list[Path]:
    """``<stem>.xlsx`` (the sheets of `more` behind it), ``<stem>.pdf`` and, where a page is wanted, ``<stem>.html``.

    Two may write the same report at once: each file is one of theirs, whole.
    """
    stem.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _take_away_drafts(stem.parent)
    written = [stem.with_name(f"{stem.name}.xlsx"), stem.with_name(f"{stem.name}.pdf")]
    _settle(written[0], lambda draft: excel.write_xlsx(draft, [_sheet(report), *more]))
    data = asdict(report)
    for section in data["sections"]:
        section["numbers"] = sorted(section["numbers"])
    printed = house.print("report", data, title=report.title, at=at.astimezone(dt.UTC))
    _settle(written[1], lambda draft: draft.write_bytes(printed))
    if page:
        written.append(stem.with_name(f"{stem.name}.html"))
        _settle(written[2], lambda draft: draft.write_text(as_html(report), encoding="utf-8"))
    return written


def as_html(report: Report) -> str:
    """The report as one page that needs no other file."""
    shelf = Environment(loader=FileSystemLoader(_PAGES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return shelf.get_template("report.html").render(report=report)


def lines_page(name: str, head: Sequence[str], lines: Sequence[Sequence[str]], widths: Sequence[int]) -> Page:
    """A sheet of nothing but a table."""
    rows: list[Sequence[Cell | str]] = [[Cell(text, "head") for text in head], *lines]
    return Page(name, rows, widths, "A2", landscape=True, repeat_rows=1, footer=_FOOTER)


def _sheet(report: Report) -> Page:
    rows: list[Sequence[Cell | str]] = [[Cell(report.title, "title")], [Cell(report.subtitle, "line")]]
    rows += [[Cell(text, "line")] for text in report.lead]
    for section in report.sections:
        rows += [[], [Cell(section.title, "title")], *([Cell(text, "line")] for text in section.words)]
        if section.head:
            rows.append([Cell(text, "head") for text in section.head])
            rows += section.lines or [[section.empty]]
    columns = max((len(section.widths) for section in report.sections), default=1)
    widths = [
        min(40, max((section.widths[at] for section in report.sections if at < len(section.widths)), default=10))
        for at in range(columns)
    ]
    return Page("报表", rows, widths, landscape=report.landscape, footer=_FOOTER)


def _settle(path: Path, write: Callable[[Path], object]) -> None:
    draft = path.with_name(f"{DRAFT}{secrets.token_hex(8)}.part")
    try:
        write(draft)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _take_away_drafts(folder: Path) -> None:
    """Drafts of attempts that died; those of somebody who is still writing stay."""
    for draft in folder.glob(f"{DRAFT}*"):
        try:
            if time.time() - draft.stat().st_mtime >= SETTLED:
                draft.unlink()
        except FileNotFoundError:  # somebody else was faster
            continue

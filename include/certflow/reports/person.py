"""One person's data: where it is, a copy of it, and erasing what may be erased (个人信息保护法 44–47).

Whoever asks, exports or erases is chained with the reason and a keyed reference to the person, never with a number.
"""

import datetime as dt
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from certflow import keys, vault
from certflow.errors import Conflict
from certflow.excel import Page, write_xlsx
from certflow.month import SHANGHAI
from certflow.privacy import reference, reference_key
from certflow.registry import persons, purge
from certflow.registry.ledger import Actor, Registry, note
from certflow.registry.submissions import answer_tag
from certflow.settings import Settings
from certflow.zips import write_zip

if TYPE_CHECKING:
    from sqlalchemy import Connection

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Found:
    """What one place holds about the person."""

    place: persons.Place
    head: list[str]
    lines: list[list[str]]


@dataclass(frozen=True, slots=True)
class Erased:
    """What became of it: lines emptied or files purged by place, and what is kept, with the reason."""

    done: dict[str, int]
    kept: list[Found]


def search(settings: Settings, registry: Registry, number: str, *, by: str, reason: str, actor: Actor) -> list[Found]:
    """Every place that holds something about the person; empty when nobody knows him."""
    found = _look(settings, registry, number)
    _chain(settings, registry, "person.searched", number, actor, by=by, reason=reason, places=len(found))
    return found


def export(
    settings: Settings, registry: Registry, number: str, now: dt.datetime, *, by: str, reason: str, actor: Actor
) -> Path:
    """A zip in the protected folder ``persons``: a workbook with a sheet per place, and the list of files.

    Conflict when nothing is known about the person.
    """
    found = _look(settings, registry, number)
    if not found:
        raise Conflict("没有这个人的任何数据")
    who = _reference(settings, number)
    target = settings.path("persons", f"{who[:16]}-{now.astimezone(SHANGHAI):%Y%m%d-%H%M%S}.zip")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    book = target.with_suffix(".xlsx.part")
    try:
        write_xlsx(book, [_page(one) for one in found])
        buffer = io.BytesIO()
        write_zip(buffer, [("个人数据.xlsx", vault.read_bytes(book)), ("文件清单.txt", _files(found))])
    finally:
        book.unlink(missing_ok=True)
    draft = target.with_suffix(".part")
    with vault.create(draft) as stream:
        stream.write(buffer.getvalue())
    draft.replace(target)
    _chain(settings, registry, "person.exported", number, actor, by=by, reason=reason, places=len(found))
    return target


def erase(
    settings: Settings, registry: Registry, number: str, now: dt.datetime, *, by: str, reason: str, actor: Actor
) -> Erased:
    """Erase what may be erased, and say what is kept and why; may be repeated.

    Conflict when something of the person is still under way, or nothing is known.
    """
    who = _reference(settings, number)

    def work(conn: "Connection") -> tuple[dict[str, int], list[int]]:
        ids = persons.find(conn, keys.id_spellings(number))
        if waiting := persons.under_way(conn, ids):
            shown = "、".join(waiting[:_SHOWN]) + ("……" if len(waiting) > _SHOWN else "")
            raise Conflict(f"还有 {len(waiting)} 项没有办结，办结之后才能删除：{shown}")
        if not any(values for name, values in ids.items() if name != "known"):
            raise Conflict("没有这个人的任何数据")
        done, files = persons.erase(conn, ids, now)
        note(conn, "person.erased", person=who, by=by, reason=reason, erased=done)
        return done, files

    done, files = registry.run(actor, work)
    for path in _answers(settings, files):
        path.unlink()
    for path in settings.path("persons").glob(f"{who[:16]}-*.zip"):
        path.unlink()
    purge.sweep(settings, registry)
    return Erased({name: many for name, many in done.items() if many}, _look(settings, registry, number))


def _look(settings: Settings, registry: Registry, number: str) -> list[Found]:
    with registry.read() as conn:
        ids = persons.find(conn, keys.id_spellings(number))
        looked = [Found(place, *persons.look(conn, place, ids)) for place in persons.PLACES]
    paths = [[str(path.relative_to(settings.home))] for path in _answers(settings, ids["files"])]
    return [one for one in (*looked, Found(persons.ANSWERS, ["文件"], paths)) if one.lines]


def _answers(settings: Settings, file_ids: Sequence[int]) -> list[Path]:
    """Receipts, 退回单 and sheets of photos about these files."""
    folders = (settings.feedback, settings.contact_sheets)
    tags = [answer_tag(one) for one in file_ids]
    return sorted(path for folder in folders for tag in tags for path in folder.glob(f"*/*/*-{tag}*"))


def _chain(settings: Settings, registry: Registry, event: str, number: str, actor: Actor, **detail: str | int) -> None:
    with registry.begin(actor) as conn:
        note(conn, event, person=_reference(settings, number), **detail)


def _reference(settings: Settings, number: str) -> str:
    return reference(reference_key(settings), keys.id_key(number))


def _page(found: Found) -> Page:
    widths = [max(len(head) * 2, *(min(len(line[at]), 40) for line in found.lines)) + 4
              for at, head in enumerate(found.head)]  # fmt: skip
    return Page(found.place.word[:31], [found.head, *found.lines], widths, freeze="A2", repeat_rows=1)


def _files(found: list[Found]) -> bytes:
    """Files that hold the person's data, by name and digest."""
    lines = ["含有本人数据的文件（同一文件中可能另有他人的数据，不附原件）", ""]
    for one in found:
        if "摘要" in one.head or one.place is persons.ANSWERS:
            lines += ["　".join((one.place.word, *line)) for line in one.lines]
    return ("\r\n".join(lines) + "\r\n").encode()

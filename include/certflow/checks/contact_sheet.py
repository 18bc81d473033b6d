"""One page per submission with every photo, its size, its border and what became of it: for the eye of a person.

No format tells that two people's photos were exchanged (P24), so somebody must look. Photos and row numbers only, no
name and no ID number; a protected folder of the province all the same, never uploaded.
"""

import base64
import html
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from certflow import photo
from certflow.checks.judged import Judged
from certflow.errors import SubmissionError
from certflow.findings import Outcome
from certflow.intake import archive

COLOURS = {
    Outcome.ACCEPTED: (56, 128, 60),
    Outcome.PROOF: (56, 128, 60),
    Outcome.HELD: (214, 143, 0),
    Outcome.RETURNED: (192, 32, 32),
    Outcome.IGNORED: (128, 128, 128),
}
_WORDS = {
    Outcome.ACCEPTED: "接收",
    Outcome.PROOF: "转开证明",
    Outcome.HELD: "待确认",
    Outcome.RETURNED: "退回",
    Outcome.IGNORED: "忽略",
}
_HEAD = """<!doctype html><html lang="zh-CN"><meta charset="utf-8"><title>照片核对单</title><style>
body{font:14px/1.5 sans-serif;margin:16px}main{display:grid;grid-template-columns:repeat(auto-fill,132px);gap:10px}
figure{margin:0;padding:4px;border:3px solid;border-radius:4px;break-inside:avoid}img{width:118px;height:165px;
object-fit:contain;background:#eee;display:block}figcaption{font-size:12px;overflow-wrap:anywhere}</style>"""


def write(one: Judged, stem: Path) -> list[Path]:
    """Write ``<stem>-照片.html`` and ``<stem>-照片.jpg`` for a submission with photos; returns the files."""
    tiles = list(_tiles(one))
    if not tiles:
        return []
    stem.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    page = [_HEAD, f"<h1>照片核对单 {html.escape(_subject(one))}</h1><p>共 {len(tiles)} 张</p><main>"]
    page += [tile for tile, _ in tiles]
    page.append("</main></html>\n")
    return [
        _put(stem.with_name(f"{stem.name}-照片.html"), "".join(page).encode()),
        _put(stem.with_name(f"{stem.name}-照片.jpg"), photo.contact_sheet([picture for _, picture in tiles])),
    ]


def _tiles(one: Judged) -> list[tuple[str, photo.Tile]]:
    rows: dict[tuple[str, int], list[int]] = {}
    for row in one.rows:
        if row.photo is not None:
            rows.setdefault((row.photo[0].sha256, row.photo[1].ordinal), []).append(row.row)
    tiles = []
    for received, entry in one.submission.photos:
        key = (received.sha256, entry.ordinal)
        outcome, rule = one.entries[key]
        try:
            data = archive.read_entry(received, entry)
        except SubmissionError:
            data = b""
        numbers = rows.get(key, [])
        place = f"第 {'、'.join(map(str, numbers))} 行" if numbers else "无对应行"
        white = photo.measure(data)["photo_border_white"]
        small = photo.thumbnail(data)
        tiles.append(
            (
                _figure(small, COLOURS[outcome], [place, _size(entry.size), _white(white), _WORDS[outcome], rule]),
                photo.Tile(small, COLOURS[outcome], "/".join(map(str, numbers)) or "-"),
            )
        )
    return tiles


def _figure(small: bytes | None, colour: tuple[int, int, int], words: Sequence[str]) -> str:
    source = f' src="data:image/jpeg;base64,{base64.b64encode(small).decode()}"' if small else ""
    caption = "<br>".join(html.escape(word) for word in words if word)
    style = "rgb({},{},{})".format(*colour)
    return f'<figure style="border-color:{style}"><img alt=""{source}><figcaption>{caption}</figcaption></figure>'


def _size(size: int) -> str:
    return f"{size / 1024:.1f} KB"


def _white(white: object) -> str:
    return f"白边 {float(white):.0%}" if isinstance(white, float) else "无法解码"


def _subject(one: Judged) -> str:
    return " ".join(filter(None, (str(one.month or ""), one.exam_code, one.city)))


def _put(path: Path, data: bytes) -> Path:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".sheet-")
    with os.fdopen(handle, "wb") as target:
        target.write(data)
    Path(name).replace(path)
    return path

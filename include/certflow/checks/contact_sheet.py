"""One page per submission with every photo, its size, its border and what became of it: for the eye of a person.

No format tells that two people's photos were exchanged (P24), so somebody must look. Photos and row numbers only, no
name and no ID number; a protected folder of the province all the same, never uploaded.
"""

import base64
import html
import itertools
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from certflow import vault
from certflow.checks.judged import Judged
from certflow.checks.thumbnails import Thumbnails
from certflow.findings import Outcome

PER_PAGE = 1_200
"""Photos of one page: 6 MB, which every browser opens at once."""
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


def write(one: Judged, stem: Path, thumbnails: Thumbnails) -> list[Path]:
    """Write ``<stem>-照片.html`` for a submission with photos; returns the files.

    Beyond `PER_PAGE` photos there are further pages, ``-照片-2`` and so on.
    """
    written: list[Path] = []
    figures, count = _figures(one, thumbnails), len(one.submission.photos) + len(one.submission.earlier_photos)
    for number, first in enumerate(figures, start=1):
        stem.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = f"{stem.name}-照片" + (f"-{number}" if number > 1 else "")
        title = f"<h1>照片核对单 {html.escape(_subject(one))}</h1><p>第 {number} 页，共 {count} 张</p>"
        page = itertools.islice(figures, PER_PAGE - 1)
        parts = itertools.chain((f"{_HEAD}{title}<main>", first), page, ("</main></html>\n",))
        written.append(_put(stem.with_name(f"{name}.html"), parts))
    return written


def _figures(one: Judged, thumbnails: Thumbnails) -> Iterator[str]:
    rows: dict[tuple[str, int], list[int]] = {}
    for row in one.rows:
        if row.photo is not None:
            rows.setdefault((row.photo[0].sha256, row.photo[1].ordinal), []).append(row.row)
    photos = itertools.chain(one.submission.photos, one.submission.earlier_photos)
    for (received, entry), look in zip(photos, one.looks, strict=True):
        key = (received.sha256, entry.ordinal)
        outcome, rule = one.entries[key]
        white, small = (None, None) if look is None else (look[0], thumbnails.read(look[1]))
        numbers = rows.get(key, [])
        owner = f"第 {'、'.join(map(str, numbers))} 行" if numbers else "无对应行"
        words = [f"{owner}，#{entry.ordinal:04d}", _size(entry.size), _white(white), _WORDS[outcome], rule]
        yield _figure(small, COLOURS[outcome], words)


def _figure(small: bytes | None, colour: tuple[int, int, int], words: Sequence[str]) -> str:
    source = f' src="data:image/jpeg;base64,{base64.b64encode(small).decode()}"' if small else ""
    caption = "<br>".join(html.escape(word) for word in words if word)
    style = "rgb({},{},{})".format(*colour)
    return f'<figure style="border-color:{style}"><img alt=""{source}><figcaption>{caption}</figcaption></figure>'


def _size(size: int) -> str:
    return f"{size / 1024:.1f} KB"


def _white(white: float | None) -> str:
    return "无法解码" if white is None else f"白边 {white:.0%}"


def _subject(one: Judged) -> str:
    return " ".join(filter(None, (str(one.month or ""), one.exam_code, one.city)))


def _put(path: Path, parts: Iterable[str]) -> Path:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".sheet-")
    with vault.writer(handle, Path(name)) as target:
        for part in parts:
            target.write(part.encode())
    Path(name).replace(path)
    return path

"""The evaluation pack of a year (notice 二(一)3: errors count in the cities' yearly evaluation): one signed zip.

It holds the ranking, every city's card with its evidence, the appeals with their decisions, every version of the kept
figures and the definitions, so that whoever doubts a figure can count again.
"""

import datetime as dt
import hashlib
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path

from certflow import signing
from certflow.errors import Conflict
from certflow.month import SHANGHAI
from certflow.registry import appeals, quality
from certflow.registry.ledger import Actor, Registry, note
from certflow.reports import scorecard
from certflow.reports.figures import DEFINITIONS
from certflow.settings import Settings

_TIMES = (1980, 1, 1, 0, 0, 0)
"""Of every entry: the same content gives the same bytes; when, the manifest says."""


def write(settings: Settings, registry: Registry, year: str, out: Path, actor: Actor) -> Path:
    """``<out>/<year>-考评材料.zip``. Conflict when the year is not closed: figures that judge people are kept first."""
    now = scorecard.standing(settings, registry, year)
    if len(year) != 4:
        raise Conflict("考评按年度，写成四位年份，如 2020")
    if not now.kept:
        raise Conflict(f"{year} 年还没有结账；请先运行 certflow report close {year}")
    cards = scorecard.write_cards(settings, registry, year)
    first, last = quality.months_of(year)
    with registry.read() as conn:
        kept = appeals.kept(conn, year)
        contested = [one for one in appeals.all_appeals(conn) if first <= one.month <= last]
    parts = {path.name: path.read_bytes() for path in sorted(cards)}
    parts["评分历次版本.json"] = _json(
        {"account": one.account, "version": one.version, "cause": one.cause, "by": one.by,
         "at": one.at.isoformat(), "figures": one.figures}
        for one in kept
    )  # fmt: skip
    parts["申诉.json"] = _json(
        {"appeal": one.id, "finding": one.finding_id, "account": one.account, "month": one.month, "exam": one.exam_code,
         "rule": one.rule, "record": one.record_id, "by": one.filed_by, "reason": one.filed_reason,
         "at": one.filed_at.isoformat(), "upheld": one.upheld, "decided_by": one.decided_by,
         "decided_reason": one.decided_reason,
         "decided_at": one.decided_at.isoformat() if one.decided_at else None}
        for one in contested
    )  # fmt: skip
    parts["指标怎样计算.txt"] = "".join(f"{name}：{how}\n" for name, how in DEFINITIONS).encode()
    manifest = signing.sign(
        settings,
        {
            "year": year,
            "made_at": dt.datetime.now(SHANGHAI).isoformat(timespec="seconds"),
            "files": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(parts.items())},
        },
    )
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = out / f"{year}-考评材料.zip"
    draft = target.with_suffix(".part")
    with zipfile.ZipFile(draft, "w") as pack:
        for name, content in (*sorted(parts.items()), ("manifest.json", _json([manifest]))):
            pack.writestr(zipfile.ZipInfo(name, _TIMES), content, zipfile.ZIP_DEFLATED)
    draft.replace(target)
    with registry.begin(actor) as conn:
        digest = hashlib.sha256(target.read_bytes()).hexdigest()
        note(conn, "evaluation pack", year=year, files=len(parts), sha256=digest)
    return target


def _json(lines: Iterable[object]) -> bytes:
    """One object a line."""
    return "".join(json.dumps(one, ensure_ascii=False, sort_keys=True) + "\n" for one in lines).encode()

"""The purge: what is closed and older than its time of keeping leaves the home, and the purge proves itself.

The ledger first (recorded, chained, emptied, in one transaction), the disk after it: killed anywhere, the next run
finds by digest what still lies there. The chain keeps counts and digests, no personal data.
"""

import datetime as dt
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sqlalchemy import Connection

from certflow import vault
from certflow.errors import SealBroken
from certflow.registry import retention
from certflow.registry.ledger import Actor, Registry, note
from certflow.registry.packages import all_packages
from certflow.registry.premises import SETTLED
from certflow.settings import Settings

WORDS = {
    "originals": "各市报送的压缩包（含照片）、申请表", "trials": "试投的文件", "returns": "上级返回的文件",
    "deliveries": "收件名单、EMS 回传（含地址）", "orders": "EMS 订单清单（含地址）", "exports": "与全省系统交换的清单",
    "evidence": "领取凭证", "packages": "已上报的数据包、纸质表格", "feedback": "退回单、回执、发放清单",
    "keeping": "证书保管清单", "persons": "导出的个人数据",
    "contact_sheets": "照片总览", "work": "遗留的临时文件", "logs": "流程日志",
}  # fmt: skip
"""Kind → what people call it. Those of `retention.KINDS` lie in the store, the others in folders of their own."""
_LIMITS = {"orders": "deliveries", "exports": "deliveries", "keeping": "deliveries", "persons": "feedback"}
"""Kinds that share the time of keeping of another."""
_NOT_OURS = ("postgres", "sftp")
"""Folders of embedded servers: the database's files, and the cities' and the authority's own copies on their side."""
_LIVING = "现况"
"""Folder of the pages that are replaced as a month moves; they hold counts only."""


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of thing: how long it is kept, and what of it is due now."""

    kind: str
    days: int
    due: tuple[retention.Due, ...] = ()
    """Originals."""
    files: tuple[Path, ...] = ()
    """Files outside the store."""

    @property
    def count(self) -> int:
        """Things that are due."""
        return len(self.due) + len(self.files)

    @property
    def size(self) -> int:
        """Their bytes."""
        return sum(one.size for one in self.due) + sum(_size(path) for path in self.files)


@dataclass(slots=True)
class Proof:
    """What the scan after a purge found."""

    searched: int = 0
    """Files of the home that were looked at."""
    found: int = 0
    """Among them copies of what was purged: 0, or the purge failed."""
    waiting: int = 0
    """Originals that were stored again within the hour; the next run decides about them."""
    columns: dict[str, int] = field(default_factory=dict)
    """Lines that still name somebody though their original was purged, by table: none, or the purge failed."""

    @property
    def holds(self) -> bool:
        """Whether nothing is left."""
        return self.found == 0 and not self.columns

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {"holds": self.holds, **asdict(self)}


def setting(kind: str) -> str:
    """The variable that says how long this kind is kept."""
    return f"CERTFLOW_RETENTION_{_LIMITS.get(kind, kind).upper()}"


def plan(settings: Settings, registry: Registry, now: dt.datetime) -> list[Step]:
    """What is due, by kind; nothing is changed."""
    steps = []
    with registry.read() as conn:
        for kind in WORDS:
            days = int(getattr(settings.retention, _LIMITS.get(kind, kind)))
            before = now - dt.timedelta(days=days)
            if days == 0:
                steps.append(Step(kind, days))
            elif kind in retention.KINDS:
                steps.append(Step(kind, days, due=tuple(retention.due(conn, kind, before))))
            else:
                steps.append(Step(kind, days, files=tuple(sorted(_files(conn, settings, kind, before)))))
    return steps


def purge(settings: Settings, registry: Registry, now: dt.datetime, actor: Actor) -> tuple[list[Step], Proof]:
    """Delete what is due, and what an earlier run left when it died; may be repeated at any time."""
    with registry.lock("retention"):
        steps = plan(settings, registry, now)
        for step in steps:
            if step.count:
                _carry_out(registry, step, actor)
        sweep(settings, registry)
        return steps, prove(settings, registry)


def sweep(settings: Settings, registry: Registry) -> None:
    """Unlink what the ledger says was purged and still lies in the home."""
    with registry.read() as conn:
        gone = retention.gone(conn)
    for digest in gone:
        path = settings.original(digest)
        if path.is_file() and _age(path) >= SETTLED:
            path.unlink(missing_ok=True)
            _remove_empty(path.parent)
    sizes = set(gone.values())
    for path in _walk(settings.path("delivery")):  # the operator's copies of lists
        if _size(path) in sizes and _sha256(path) in gone:
            path.unlink(missing_ok=True)


def prove(settings: Settings, registry: Registry) -> Proof:
    """Search the home for what was purged, by size and digest, and the ledger for what should be empty."""
    with registry.read() as conn:
        gone, columns = retention.gone(conn), retention.left(conn)
    sizes = set(gone.values())
    proof = Proof(columns=columns)
    for path in _walk(settings.home):
        proof.searched += 1
        size = _size(path)
        if size > 0 and size in sizes and _sha256(path) in gone:
            young = path.parent.parent == settings.originals and _age(path) < SETTLED
            proof.waiting += young
            proof.found += not young
    return proof


def _carry_out(registry: Registry, step: Step, actor: Actor) -> None:
    """One kind: the ledger says so first, then the files outside the store go (those in it: `sweep`)."""
    digests = [one.sha256 for one in step.due] + [_sha256(path) for path in step.files]
    told = {"kind": step.kind, "days": step.days, "count": step.count, "bytes": step.size}
    with registry.begin(actor) as conn:
        emptied = retention.purge(conn, step.due)
        whole = hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()
        note(conn, "retention.purged", **told, sha256=whole, emptied=emptied)
    for path in step.files:
        path.unlink(missing_ok=True)
        _remove_empty(path.parent)


def _files(conn: Connection, settings: Settings, kind: str, before: dt.datetime) -> Iterator[Path]:
    """Files outside the store that are due."""
    if kind in ("feedback", "contact_sheets"):
        folder = settings.feedback if kind == "feedback" else settings.contact_sheets
        opened = retention.open_months(conn, before)
        for path in _older(folder, before):
            account, month, *_ = (*path.relative_to(folder).parts[:-1], "", "")
            numbered = month.isdigit()
            if (account, month if numbered else "") not in opened and month != _LIVING:
                yield path
    elif kind == "packages":
        closed = set(retention.closed_batches(conn, before))
        names = {batch.folder for batch, _ in all_packages(conn) if (batch.month, batch.number) in closed}
        for name in names:
            yield from (path for path in _walk(settings.packages / name) if path.suffix == ".zip")
            yield from _walk(settings.path("forms", name))
    elif kind == "keeping":
        for folder in settings.path("delivery").glob("*/保管清单"):
            yield from _older(folder, before)
    elif kind == "persons":
        yield from _older(settings.path("persons"), before)
    elif kind == "work":
        yield from _older(settings.work, before)
    else:
        yield from _older(settings.path("airflow", "logs"), before)


def _older(folder: Path, before: dt.datetime) -> Iterable[Path]:
    return [path for path in _walk(folder) if _modified(path) < before.timestamp()]


def _walk(folder: Path) -> Iterator[Path]:
    for root, names, found in os.walk(folder):
        if Path(root) == folder:
            names[:] = [name for name in names if name not in _NOT_OURS]
        yield from (Path(root) / name for name in found)


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:  # not empty, or gone: both are right
        return


def _size(path: Path) -> int:
    try:
        return vault.size(path)
    except (FileNotFoundError, SealBroken):  # gone meanwhile, or nobody can read it any more
        return -1


def _modified(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return time.time()


def _age(path: Path) -> float:
    return time.time() - _modified(path)


def _sha256(path: Path) -> str:
    try:
        return vault.sha256(path)
    except (FileNotFoundError, SealBroken):
        return ""

"""Heads of the audit chain that left the house: signed, one file each, in a folder no backup of the home holds.

``audit-heads.log`` lies in the home and goes back in time with it when the whole home is restored. What was exported
does not: a ledger that lacks an exported head is older than it was, or was rewritten. The folder belongs to one
installation; files in it are only ever added. A restored ledger that a person accepted names in the chain itself the
heads it gave up.
"""

import datetime as dt
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select, text

from certflow import signing
from certflow.errors import ConfigurationError, DigestMismatch
from certflow.month import SHANGHAI
from certflow.registry.ledger import Registry
from certflow.registry.schema import audit
from certflow.settings import Settings

FORMAT = "certflow-audit-head/1"
STALE_DAYS = 2
"""A ledger that moved on and was not exported for longer is a problem of the doctor's."""
_FILES = "audit-head-*.json"
_HEAD = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Anchor:
    """One exported head, as its file says."""

    file: str
    at: dt.datetime | None
    seq: int
    hash: str
    fault: str = ""
    """Why the file vouches for nothing (not readable, altered), or empty."""
    foreign: bool = False
    """Signed by a key this home does not know: it went back to before the key was changed, or is another one."""

    @property
    def head(self) -> str:
        """The line that stands for it in the chain and in ``audit-heads.log``."""
        return f"{self.seq} {self.hash}"


def export(settings: Settings, registry: Registry, folder: Path, now: dt.datetime) -> Anchor | None:
    """Write the present head into the folder, once per head and day (Shanghai time); None while the chain is empty.

    Raises:
        ConfigurationError: the folder is not there, lies in the home, or cannot be written.
        DigestMismatch: the ledger contradicts what was exported before; its head is not vouched for.
    """
    _refuse_place(settings, folder)
    with registry.read() as conn:
        last = conn.execute(select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)).one_or_none()
        if wrong := contradicted(conn, read(settings, folder)):
            raise DigestMismatch(f"台账与以前导出的链头 {wrong[0].file} 不符，没有导出；请运行 certflow doctor")
    if last is None:
        return None
    name = f"audit-head-{now.astimezone(SHANGHAI):%Y%m%d}-{last.seq:012d}.json"
    document = {"format": FORMAT, "at": now.astimezone(dt.UTC).isoformat(), "seq": last.seq, "hash": last.hash}
    target = folder / name
    if not target.exists():
        draft = folder / f".{name}.part"
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
                stream.write(signing.canonical(signing.sign(settings, document)) + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(target)
        except OSError as error:
            raise ConfigurationError(f"审计链头写不进 {folder}：{error.strerror}") from None
    return _read_one(settings, target)


def read(settings: Settings, folder: Path) -> list[Anchor]:
    """Every exported head in the folder, oldest first; ConfigurationError when the folder cannot be read."""
    if not folder.is_dir():
        raise ConfigurationError(f"打不开存放审计链头的文件夹 {folder}（CERTFLOW_AUDIT_EXPORT）：请先建立或挂载")
    try:
        return [_read_one(settings, path) for path in sorted(folder.glob(_FILES))]
    except OSError as error:
        raise ConfigurationError(f"存放审计链头的文件夹 {folder} 读不了：{error.strerror}") from None


def contradicted(conn: Connection, anchors: Sequence[Anchor]) -> list[Anchor]:
    """Exported heads that the chain does not hold and did not give up: the ledger is older than they are, or another.

    A file that vouches for nothing contradicts nothing; `problems` names it.
    """
    sound = [one for one in anchors if not one.fault]
    if not sound:
        return []
    query = (
        "SELECT seq || ' ' || hash FROM unnest(CAST(:seqs AS bigint[]), CAST(:hashes AS text[])) AS h(seq, hash)"
        " WHERE NOT EXISTS (SELECT FROM audit a WHERE (a.seq, a.hash) = (h.seq, h.hash))"
    )
    values = {"seqs": [one.seq for one in sound], "hashes": [one.hash for one in sound]}
    absent = set(conn.scalars(text(query), values))
    if absent:
        absent -= set(conn.scalars(text(_GIVEN_UP)))
    return [one for one in sound if one.head in absent]


def problems(conn: Connection, settings: Settings, now: dt.datetime) -> list[str]:
    """What the exported heads say against the ledger (invariant I7); nothing where none are exported."""
    if settings.audit_export is None:
        return []
    try:
        anchors = read(settings, settings.audit_export)
    except ConfigurationError as error:
        return [str(error)]
    found = [f"导出的链头 {one.file} {one.fault}" for one in anchors if one.fault]
    if wrong := contradicted(conn, anchors):
        newest = max(wrong, key=lambda one: one.seq)
        last = conn.scalar(select(audit.c.seq).order_by(audit.c.seq.desc()).limit(1)) or 0
        if newest.foreign:
            why = "它由本机没有的密钥签名：本机恢复到了换密钥之前，或这个文件夹属于另一套系统"
        elif last < newest.seq:
            why = "台账比导出时旧，曾恢复到较早的状态"
        else:
            why = "内容却不同，审计表曾被重写，或曾恢复到较早的状态"
        found.append(f"{newest.at:%Y-%m-%d} 导出的链头是第 {newest.seq} 条，台账到第 {last} 条：{why}")
    return found + _stale(conn, anchors, now)


def _stale(conn: Connection, anchors: Sequence[Anchor], now: dt.datetime) -> list[str]:
    """One line when the ledger has moved on and nothing was exported for days."""
    sound = [one for one in anchors if one.at is not None and not one.fault]
    newest = max(sound, key=lambda one: one.seq, default=None)
    first_left = text(
        "SELECT CASE WHEN pg_input_is_valid(payload, 'jsonb') THEN payload::jsonb ->> 'at' END FROM audit"
        " WHERE seq > :seq ORDER BY seq LIMIT 1"
    )
    at = conn.scalar(first_left, {"seq": newest.seq if newest else 0})
    if at is None or now - dt.datetime.fromisoformat(at) <= dt.timedelta(days=STALE_DAYS):
        return []
    since = f"最近一次是 {newest.at:%Y-%m-%d}" if newest else "从来没有导出过"
    return [f"审计链头已有 {STALE_DAYS} 天以上没有导出（{since}）；请查看每天的报表流程，或运行 certflow audit export"]


def _read_one(settings: Settings, path: Path) -> Anchor:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        at = dt.datetime.fromisoformat(content["at"])
        seq, digest = int(content["seq"]), str(content["hash"])
        known = content["format"] == FORMAT and bool(_HEAD.fullmatch(digest)) and at.tzinfo is not None
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        return Anchor(path.name, None, 0, "", "无法辨认")
    try:
        signing.verify(settings, content)
    except DigestMismatch:
        key = settings.keys / f"manifest-{content.get('key_id', '')}.pub"
        if not key.is_file():
            return Anchor(path.name, at, seq, digest, foreign=True)
        return Anchor(path.name, at, seq, digest, "的签名不正确，内容可能被改动")
    return Anchor(path.name, at, seq, digest)


def _refuse_place(settings: Settings, folder: Path) -> None:
    if folder.resolve().is_relative_to(settings.home.resolve()):
        raise ConfigurationError(
            f"{folder} 在 CERTFLOW_HOME 之内，会随它一起恢复到过去；请用另一块磁盘或另一台机器的文件夹"
        )


_GIVEN_UP = """
SELECT jsonb_array_elements_text(payload::jsonb -> 'given_up') FROM audit
WHERE payload LIKE '%"ledger.restored"%' AND pg_input_is_valid(payload, 'jsonb') AND payload::jsonb ? 'given_up'
"""

"""Verify the audit chain: every link hashed again, every head that was copied out of the database still in it.

Whoever owns the database can rewrite a table; nobody can make the rewritten chain end in the heads that lie
outside. Numbers of links are named, never their contents.
"""

import hashlib
import json
import re
from pathlib import Path

from sqlalchemy import Connection, select, text

from certflow.registry import anchors
from certflow.registry.schema import audit
from certflow.settings import Settings

GENESIS = "0" * 64
_HEAD = re.compile(r"([0-9]{1,18}) ([0-9a-f]{64})")

_MOVES = """
SELECT audit_seq, count(*), string_agg(DISTINCT kind, ' '), encode(sha256(convert_to(string_agg(
    object_id || ' ' || from_state || ' ' || to_state, E'\\n' ORDER BY object_id), 'UTF8')), 'hex')
FROM moves GROUP BY audit_seq
"""


def broken_links(conn: Connection, heads: Path) -> list[str]:
    """What is wrong with the chain, its moves and its heads (invariant I7); empty when all is sound."""
    problems: list[str] = []
    told: dict[int, tuple[object, object, object]] = {}
    digests: dict[int, str] = {}
    previous, expected = GENESIS, 1
    for seq, prev, payload, digest in conn.execute(select(audit).order_by(audit.c.seq)):
        if seq != expected:
            problems.append(f"审计记录 {expected} 至 {seq - 1} 缺失")
        content = _content(payload)
        if content is None or hashlib.sha256((prev + payload).encode()).hexdigest() != digest:
            problems.append(f"审计记录 {seq} 的内容被改动")
        else:
            if prev != previous:
                problems.append(f"审计记录 {seq} 与前一条不相连")
            if content.get("event") == "move":
                told[seq] = (content.get("count"), content.get("kind"), content.get("moves_sha256"))
        previous, expected = digest, seq + 1
        digests[seq] = digest
    found = {seq: (count, kinds, digest) for seq, count, kinds, digest in conn.execute(text(_MOVES))}
    problems += [
        f"审计记录 {seq} 所述的状态变更与变更表不符"
        for seq in sorted(told.keys() | found.keys())
        if told.get(seq) != found.get(seq)
    ]
    return problems + _heads(heads, digests)


def restored(conn: Connection, settings: Settings) -> bool:
    """Whether heads left this database that it does not hold, or all are gone: it was restored from a backup.

    For those who are about to act on what the ledger may have forgotten (F42). A head leaves the database after its
    commit, so a file that lags behind says nothing. Heads that were exported tell of a whole home that was restored;
    ConfigurationError when their folder cannot be read.
    """
    if settings.audit_export is not None and anchors.contradicted(conn, anchors.read(settings, settings.audit_export)):
        return True
    try:
        lines = settings.audit_heads.read_text(encoding="ascii", errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    left = [(int(match[1]), match[2]) for line in lines if (match := _HEAD.fullmatch(line))]
    if not left:
        return conn.scalar(select(audit.c.seq).limit(1)) is not None
    query = (
        "SELECT EXISTS (SELECT FROM unnest(CAST(:seqs AS bigint[]), CAST(:hashes AS text[])) AS h(seq, hash)"
        " WHERE NOT EXISTS (SELECT FROM audit a WHERE (a.seq, a.hash) = (h.seq, h.hash)))"
    )
    seqs, hashes = zip(*left, strict=True)
    return bool(conn.scalar(text(query), {"seqs": list(seqs), "hashes": list(hashes)}))


def _heads(file: Path, digests: dict[int, str]) -> list[str]:
    """Heads outside the database against the chain inside: a restored or rewritten database shows here."""
    try:
        lines = file.read_text(encoding="ascii", errors="replace").splitlines()
    except FileNotFoundError:
        return [f"库外的审计链头 {file.name} 不存在，库内却有 {len(digests)} 条记录"] if digests else []
    problems = []
    beyond: list[int] = []
    for number, line in enumerate(lines, start=1):
        match = _HEAD.fullmatch(line)
        if match is None:
            problems.append(f"{file.name} 第 {number} 行无法辨认")
        elif (seq := int(match[1])) not in digests:
            beyond.append(seq)
        elif digests[seq] != match[2]:
            problems.append(f"审计记录 {seq} 与库外留存的链头不同，审计表曾被重写")
    if beyond:
        problems.append(f"库外留存的链头到第 {max(beyond)} 条，库内缺其中 {len(beyond)} 条：数据库曾恢复到较早的状态")
    return problems


def _content(payload: str) -> dict[str, object] | None:
    try:
        content = json.loads(payload)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None

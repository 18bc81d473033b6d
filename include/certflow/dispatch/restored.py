"""After the database was restored from a backup: compare with the far side before anything is sent again (F42).

The ledger has forgotten what was done since the backup; the authority has not. Packages are deterministic, so what the
restored ledger builds again has the digest of what lies there, and `dispatch.send` finds it. What lies there and the
ledger does *not* know holds rows that would go up twice: nothing is sent until it is known again. A name says nothing:
two batches may have packages of one name.

The cities have not forgotten either: what lies in their 已接收 and the ledger does not know was received since the
backup, and its rows are nowhere.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from certflow import vault
from certflow.errors import ConfigurationError, Conflict
from certflow.privacy import mask_text
from certflow.reference import load_reference
from certflow.registry import anchors, chain, packages, transfers
from certflow.registry.ledger import Actor, Registry, note
from certflow.settings import Settings
from certflow.sftp import MARKER, Session, connect

_MANIFEST = ".manifest.json"
_COPY = re.compile(rb"~[0-9]+(?=(\.[^.]*)?$)")
"""What `Session.move` puts behind a name that is taken."""
_MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Comparison:
    """The packages at the authority against those of the ledger."""

    restored: bool
    """Whether the ledger is behind its own heads at all."""
    known: int
    """Packages at the authority that the ledger knows by digest, whatever their state."""
    unknown: tuple[str, ...]
    """Where the others lie, and manifests that cannot be read; masked."""
    forgotten: tuple[str, ...]
    """Files in the cities' 已接收 that the restored ledger does not know; masked."""


def compare(settings: Settings, registry: Registry) -> Comparison:
    """Read every manifest at the authority, and every zip that none names; look into what the cities' files became.

    Raises as `sftp`; ConfigurationError without a server.
    """
    if settings.authority_sftp is None:
        raise ConfigurationError("没有配置上级服务器：请设置 CERTFLOW_AUTHORITY_SFTP")
    with registry.read() as conn:
        behind = chain.restored(conn, settings)
        ours = {file.sha256: package.id for _, package in packages.all_packages(conn) for file in package.files}
    with connect(settings.authority_sftp, settings.transfer_timeout) as session, TemporaryDirectory() as folder:
        there = list(_packages(settings, session, Path(folder) / "manifest"))
    known = {ours[digest] for _, digest in there if digest in ours}
    unknown = sorted(mask_text(place) for place, digest in there if digest not in ours)
    return Comparison(behind, len(known), tuple(unknown), tuple(_forgotten(settings, registry)) if behind else ())


def accept(settings: Settings, registry: Registry, *, by: str, reason: str, actor: Actor) -> Comparison:
    """Let the restored ledger go on: a new file of heads begins, the old one is kept, the chain says who and why.

    The exported heads it no longer holds stand in the chain as given up.

    Raises:
        Conflict: the database was not restored, or the authority has packages, or a city's 已接收 files, that the
            ledger does not know.
    """
    found = compare(settings, registry)
    if not found.restored:
        raise Conflict("数据库没有恢复过备份，无须处理")
    if found.unknown:
        raise Conflict(
            f"上级有 {len(found.unknown)} 个数据包是台账不知道的：{'、'.join(found.unknown)}。请用更新的备份恢复；"
            "没有的话，把备份之后各市的文件从已接收移回报送，重新收取、冻结、组包，台账中有了同样的数据包再核对；"
            "确认不是本系统上报的，请上级移出后再核对"
        )
    if found.forgotten:
        raise Conflict(
            f"各市的{settings.folders.received}中有 {len(found.forgotten)} 个文件是台账不知道的："
            f"{'、'.join(found.forgotten[:_MOST_TOLD])}{'……' if found.forgotten[_MOST_TOLD:] else ''}。"
            "备份之后收到的，请移回报送（证明申请移回证明）重新收取；试投的、不是报送的，请移出后再核对"
        )
    with registry.read() as conn:
        exported = anchors.read(settings, settings.audit_export) if settings.audit_export is not None else []
        given_up = [one.head for one in anchors.contradicted(conn, exported)]
    heads = settings.audit_heads
    old = heads.read_bytes() if heads.is_file() else b""
    if old:
        heads.rename(heads.with_name(f"{heads.stem}-{hashlib.sha256(old).hexdigest()[:12]}{heads.suffix}"))
    with registry.begin(actor) as conn:
        note(
            conn, "ledger.restored", by=by, reason=reason, known=found.known,
            old_heads_sha256=hashlib.sha256(old).hexdigest(), given_up=given_up,
        )  # fmt: skip
    return found


def _forgotten(settings: Settings, registry: Registry) -> Iterator[str]:
    """By name and size, as often as the ledger knows them: files lie there as they were taken, in time renamed."""
    if settings.city_sftp is None:
        return
    with registry.read() as conn:
        ours = Counter((account, _COPY.sub(b"", name), size) for account, name, size in transfers.taken(conn))
    received = settings.folders.received
    with connect(settings.city_sftp, settings.transfer_timeout) as session:
        for account in sorted(load_reference(settings).cities):
            for file in session.list(f"/{account}/{received}/"):
                key = (account, _COPY.sub(b"", file.raw_name), file.size)
                ours[key] -= 1
                if file.regular and ours[key] < 0 and not file.name.endswith(MARKER):
                    yield mask_text(f"{account}/{received}/{file.name}")


def _packages(settings: Settings, session: Session, spare: Path) -> Iterator[tuple[str, str]]:
    """Place and digest of every package in 上报 and 归档 and all the folders below them."""
    for top in (settings.folders.upward, settings.folders.archive):
        if session.stat(f"/{top}") is not None:
            yield from _packages_in(session, top, f"/{top}/".encode(), spare)


def _packages_in(session: Session, folder: str, path: bytes, spare: Path) -> Iterator[tuple[str, str]]:
    """As the manifests there say; a zip that none names is read. A manifest that names nothing stands for itself."""
    told: list[tuple[str, str]] = []
    entries = session.list(path)
    files = [file for file in entries if file.regular]
    for file in files:
        if file.name.endswith(_MANIFEST):
            session.get(path + file.raw_name, spare)
            told += _named(vault.read_bytes(spare)) or [(file.name, "")]
    named = {name for name, _ in told}
    for file in files:
        if file.name.lower().endswith(".zip") and file.name not in named:
            told.append((file.name, session.hash(path + file.raw_name)))
    for name, digest in told:
        yield f"{folder}/{name}", digest
    for entry in entries:  # however the authority files what it has taken: by year, by month
        if entry.kind == "folder":
            yield from _packages_in(session, f"{folder}/{entry.name}", path + entry.raw_name + b"/", spare)


def _named(manifest: bytes) -> list[tuple[str, str]]:
    """The zips a manifest names, with their digests; none when it is broken or not one of ours."""
    try:
        content = json.loads(manifest)
        zips = [content, content["photos_zip"]] if "photos_zip" in content else [content]
        return [(str(one["file"]), str(one["sha256"])) for one in zips]
    except (ValueError, TypeError, KeyError):
        return []

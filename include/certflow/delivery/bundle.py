"""The evidence of a span of days in one signed zip, verified by one script that needs nothing of ours.

Same ledger, same days, same bytes. Every original that came in lies in it unless left out or purged, so the bundle
holds personal data and is written for its owner alone (0600).
"""

import datetime as dt
import hashlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certflow import signing, vault
from certflow.delivery import verify_evidence
from certflow.dispatch import verify_package
from certflow.errors import Conflict, DigestMismatch
from certflow.month import SHANGHAI
from certflow.registry import evidence, retention
from certflow.registry.ledger import Actor, Registry, note
from certflow.settings import Settings
from certflow.zips import write_zip

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle that was written and verified."""

    file: Path
    sha256: str
    size: int
    first: int
    """Numbers of the first and the last audit row in it."""
    last: int
    originals: int
    packages: int


def export(
    settings: Settings,
    registry: Registry,
    days: tuple[dt.date, dt.date],
    target: Path,
    *,
    actor: Actor,
    with_files: bool = True,
) -> Exported:
    """Write the bundle of the days (both inclusive, Shanghai time) and verify it with the script it is meant for.

    Raises:
        Conflict: nothing happened in those days, or the target exists.
        DigestMismatch: an original is lost or altered, or the chain itself does not hold: nothing is written.
    """
    if target.exists():
        raise Conflict("目标文件已存在，未覆盖")
    begin, end = (dt.datetime.combine(day, dt.time(), SHANGHAI) for day in (days[0], days[1] + dt.timedelta(1)))
    with registry.read() as conn:
        told = _texts(conn, settings, begin, end, with_files=with_files)
    files = told.pop("originals")
    document = signing.sign(settings, told.pop("document"))
    told["members"][verify_evidence.MANIFEST] = signing.canonical(document)
    draft = target.with_name(f"{target.name}.part")
    try:
        with vault.create(draft) as stream:
            try:
                write_zip(stream, _members(settings, told["members"], files))
            except Conflict:
                raise Conflict(
                    "证据包超过 4 GiB 或 65534 个文件：请缩短时间段，或用 --without-files 只列摘要"
                ) from None
            vault.finish(stream)
        if found := verify_evidence.faults(draft, signing.public_key(settings)):
            raise DigestMismatch(f"证据包未写出：{'；'.join(found[:5])}。请先运行 certflow doctor")
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    digest = vault.sha256(target)
    made = Exported(
        target, digest, vault.size(target), document["audit"]["first"], document["audit"]["last"], len(files),
        told["packages"],
    )  # fmt: skip
    with registry.begin(actor) as conn:
        note(conn, "evidence exported", days=[f"{day}" for day in days], sha256=digest, originals=len(files))
    return made


def script() -> str:
    """The verifying script in one piece: with the Ed25519 of `verify_package`, without any import of ours."""
    source, lent = inspect.getsource(verify_evidence), inspect.getsource(verify_package)
    signatures = lent[lent.index("# Ed25519 as RFC 8032") : lent.index("def sha256_of")]
    parts = f"{signatures}{inspect.getsource(verify_package.read_key)}".strip()
    return source.replace("from certflow.dispatch.verify_package import read_key, signature_holds", parts)


def _texts(
    conn: "Connection", settings: Settings, begin: dt.datetime, end: dt.datetime, *, with_files: bool
) -> dict[str, Any]:
    """Everything of the bundle but the originals' bytes: members by name, and the list that is to be signed."""
    span = evidence.audit_range(conn, begin, end)
    if span is None:
        raise Conflict("这段时间没有任何审计记录，无需导出")
    packages = evidence.packages(conn, begin, end)
    arrived = evidence.arrivals(conn, begin, end)
    members = {f"manifests/{one['id']}.json": signing.canonical(one.pop("manifest")) for one in packages}
    lines = {
        "audit": evidence.audit_rows(conn, *span),
        "files": arrived,
        "moves": evidence.move_rows(conn, *span),
        "orders": evidence.orders(conn, begin, end),
        "packages": packages,
        "proofs": evidence.proofs(conn, begin, end),
        "transfers": evidence.transfers(conn, begin, end),
    }
    members |= {
        f"{name}.jsonl": b"".join(signing.canonical(one) + b"\n" for one in rows) for name, rows in lines.items()
    }
    members["heads.log"] = _heads(settings, *span)
    purged = retention.gone(conn)
    there = [one for one in arrived if with_files and one["sha256"] not in purged]
    originals = {one["sha256"]: int(one["size"]) for one in there}
    listed = {name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in members.items()}
    listed |= {f"originals/{digest}.bin": {"sha256": digest, "size": size} for digest, size in originals.items()}
    document = {
        "format": verify_evidence.FORMAT,
        "from": begin.isoformat(),
        "until": end.isoformat(),
        "audit": {"first": span[0], "last": span[1]},
        "members": listed,
    }
    return {"members": members, "document": document, "originals": originals, "packages": len(packages)}


def _members(
    settings: Settings, texts: Mapping[str, bytes], originals: Mapping[str, int]
) -> Iterator[tuple[str, bytes]]:
    """Every member in the order a zip of ours has, one original in memory at a time."""
    places = {f"originals/{digest}.bin": digest for digest in originals}
    for name in sorted([*texts, *places], key=str.encode):
        if name in texts:
            yield name, texts[name]
            continue
        path = settings.original(places[name])
        data = vault.read_bytes(path) if path.is_file() else b""
        if hashlib.sha256(data).hexdigest() != places[name]:
            raise DigestMismatch(f"原件 {places[name][:12]} 丢失或被改动，未写出证据包；请运行 certflow doctor")
        yield name, data


def _heads(settings: Settings, first: int, last: int) -> bytes:
    """The heads of these days that were copied out of the database."""
    try:
        lines = settings.audit_heads.read_text(encoding="ascii", errors="replace").splitlines()
    except FileNotFoundError:
        return b""
    ours = [line for line in lines if line.partition(" ")[0].isdigit() and first <= int(line.partition(" ")[0]) <= last]
    return "".join(f"{line}\n" for line in sorted(set(ours), key=lambda line: int(line.partition(" ")[0]))).encode()

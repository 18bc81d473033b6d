"""The home folder's part of `certflow doctor`: originals, packages, leftovers, and the search for personal data.

Files are named by digest, by id or by the package's stem, never by a name that a city gave.
"""

import contextlib
import json
import os
import re
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from sqlalchemy import Connection, func, select, union

from certflow import vault
from certflow.errors import SealBroken
from certflow.registry import retention
from certflow.registry.deliveries import lists_told
from certflow.registry.packages import all_packages
from certflow.registry.proofs import page_path
from certflow.registry.schema import (
    delivery_exports,
    delivery_files,
    delivery_orders,
    files,
    pickup_files,
    proofs,
    returns,
)
from certflow.settings import Settings

_SERVER = "postgres"
"""Folder of the embedded server: its files come and go by its own law."""
_DIGITS = str.maketrans("０１２３４５６７８９Ｘｘ", "0123456789Xx")
_KEPT = (files, returns, delivery_files, delivery_orders, delivery_exports, pickup_files)
"""Tables whose lines vouch for an original."""
SETTLED = 3600
"""Seconds after which nobody is about to record a file that he just stored."""
_LIST = re.compile(r"(EMS-[0-9A-Za-z]+|发放状态)-[0-9]{8}-[0-9]+(-全部)?\.(csv|xlsx)")
"""Names that `delivery.orders` gives."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


def lost_originals(conn: Connection, settings: Settings) -> list[str]:
    """I1: every received file has its digest, size and account; all bytes, of returns and evidence too, are there."""
    problems = [
        f"文件 {number} 缺少摘要、大小或账号"
        for number, digest, size, account in conn.execute(
            select(files.c.id, files.c.sha256, files.c.size, files.c.account).order_by(files.c.id)
        )
        if not _DIGEST.fullmatch(digest) or size < 0 or not account
    ]
    known = union(*(select(table.c.sha256, table.c.size) for table in _KEPT)).subquery()
    purged = retention.gone(conn)
    for digest, size in conn.execute(select(known).order_by(known.c.sha256)):
        path = settings.original(digest)
        if digest in purged:
            continue
        if not path.is_file():
            problems.append(f"原件 {digest[:12]} 不在 {settings.originals.name} 中")
        elif not vault.holds(path, size, digest):
            problems.append(f"原件 {digest[:12]} 的内容与摘要不符")
    return problems


def wrong_packages(conn: Connection, settings: Settings) -> list[str]:
    """I5: under a package's final name lies what the ledger recorded, its manifest says the same, nothing else."""
    problems = []
    recorded: dict[Path, set[str]] = {}
    manifests: dict[Path, Path] = {}
    needed: list[tuple[int, Path]] = []
    for batch, package in all_packages(conn):
        folder = settings.packages / batch.folder
        for file in package.files:
            path = folder / file.name
            recorded.setdefault(path, set()).add(file.sha256)
            manifests[path] = folder / f"{package.stem}.manifest.json"
            if package.state not in ("SENT", "REJECTED"):
                needed.append((package.id, path))
    problems += [f"数据包 {number} 的文件不在 {path.parent.name} 中" for number, path in needed if not path.is_file()]
    for path in sorted(settings.packages.glob("*/*.zip")):
        if path not in recorded:
            problems.append(f"{path.parent.name} 中有台账没有的数据包（{path.stat().st_size} 字节）")
            continue
        digest = _sha256(path)
        if digest not in recorded[path]:
            problems.append(f"{path.parent.name}/{path.name} 的内容与台账的摘要不符")
        if digest not in _manifest_digests(manifests[path]):
            problems.append(f"{path.parent.name}/{path.name} 的清单与数据包不符")
    return problems


def unknown_lists(conn: Connection, settings: Settings) -> list[str]:
    """I5, the lists about deliveries: what is named like one that others were told by is in the ledger."""
    told = lists_told(conn)
    return [
        f"{path.parent.name} 中有台账没有的清单 {path.name}"
        for path in sorted(settings.path("delivery").rglob("*.*"))
        if _LIST.fullmatch(path.name) and path.name not in told
    ]


def wrong_package_contents(conn: Connection, settings: Settings) -> list[str]:
    """I8, the part inside the zip: one workbook, and as many photos as the ledger counts."""
    problems = []
    for batch, package in all_packages(conn):
        if package.state == "REJECTED":
            continue
        names: list[str] = []
        for file in package.files:
            path = settings.packages / batch.folder / file.name
            if not path.is_file() or _sha256(path) != file.sha256:
                break  # purged after sending, or told by I5
            try:
                # GB18030 where no flag says UTF-8
                with vault.reader(path) as stream, zipfile.ZipFile(stream, metadata_encoding="gb18030") as archive:
                    names += archive.namelist()
            except zipfile.BadZipFile:
                problems.append(f"数据包 {package.id} 不是完好的 zip")
                break
        else:
            photos = [name for name in names if name.startswith(f"{package.stem}/")]
            wanted = package.photo_count
            if f"{package.stem}.XLS" not in names or len(photos) != wanted or len(names) != len(photos) + 1:
                problems.append(f"数据包 {package.id} 内有 {len(names)} 个文件，台账为 1 个工作簿和 {wanted} 张照片")
    return problems


def wrong_proofs(conn: Connection, settings: Settings) -> list[str]:
    """I5, the proofs: every page in the register lies in its place as it was issued, and no number is missing."""
    problems = []
    query = select(proofs.c.id, proofs.c.number, proofs.c.year, proofs.c.sha256).order_by(proofs.c.id)
    for number, name, year, digest in conn.execute(query):
        path = page_path(settings, name, year)
        if not path.is_file():
            problems.append(f"证明 {number} 的文件不在 {path.parent.name} 中")
        elif _sha256(path) != digest:
            problems.append(f"证明 {number} 的文件与登记的摘要不符")
    counted = select(proofs.c.kind, proofs.c.year, func.max(proofs.c.serial), func.count())
    for kind, year, last, many in conn.execute(counted.group_by(proofs.c.kind, proofs.c.year)):
        if last != many:
            problems.append(f"{year} 年 {kind} 证明编号到 {last}，登记簿中只有 {many} 份")
    return problems


def leftovers(conn: Connection, settings: Settings, older_than: float) -> list[str]:
    """I11: no ``.part``, nothing in the work folder, no original nobody knows, older than `older_than` seconds."""
    problems = []
    for path in _walk(settings.home):
        place = path.relative_to(settings.home)
        if place.parts[0] == settings.work.name or path.suffix == ".part":
            age = _age(path)
            if age is not None and age >= older_than:
                problems.append(f"{place.parts[0]} 中有 {age / 60:.0f} 分钟前遗留的临时文件")
    known = set(conn.scalars(union(*(select(table.c.sha256) for table in _KEPT))))
    strangers = [
        path
        for path in settings.originals.glob("*/*.bin")
        if path.stem not in known
        and (_age(path) or 0) >= max(older_than, SETTLED)  # stored first, recorded right after
    ]
    if strangers:
        problems.append(f"{settings.originals.name} 中有 {len(strangers)} 个台账没有的原件")
    settled = max(older_than, SETTLED)
    if due := [one for one in retention.gone(conn) if (_age(settings.original(one)) or 0) >= settled]:
        problems.append(f"{len(due)} 个已到期删除的原件还在，请再运行 certflow retention purge")
    problems += [f"表 {name} 有 {many} 行应已清空" for name, many in retention.left(conn).items()]
    return problems


def scan(places: Iterable[Path], texts: Mapping[str, str | bytes], planted: Iterable[str]) -> list[str]:
    r"""I10: where planted personal values show up, though nobody should see them there.

    Args:
        places: files, or folders to walk; file names are searched as well as contents. Rotated or compressed
            logs have to be unpacked by the caller.
        texts: other texts by a name to report them under (XCom, rendered fields, log tables).
        planted: the values (names, ID numbers); full-width digits and ``\uXXXX`` escapes are found too.

    Returns one line per place with the number of values found there, never a value.
    """
    values = sorted({value for value in planted if value})
    needles = [
        {
            form.encode()
            for form in (value, json.dumps(value)[1:-1], value.lower(), value.encode("unicode_escape").decode())
        }
        for value in values
    ]
    problems = []
    for name, content in _contents(places, texts):
        narrow = content.decode("utf-8", "replace").translate(_DIGITS).encode()
        hits = sum(any(form in content or form in narrow for form in forms) for forms in needles)
        if hits:
            problems.append(f"{name} 中出现 {hits} 个不应出现的个人信息")
    return problems


def _contents(places: Iterable[Path], texts: Mapping[str, str | bytes]) -> Iterator[tuple[str, bytes]]:
    for place in places:
        for path in [place] if place.is_file() else _walk(place):
            # A log that is named after a person is a leak as well, and its name must not be repeated.
            shown = f"{place.name} 下的第 {path.stat().st_ino} 号文件" if path != place else place.name
            yield shown, vault.read_bytes(path) + b"\n" + os.fsencode(path.relative_to(place.parent))
    for name, text in texts.items():
        yield name, text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def _walk(folder: Path) -> Iterator[Path]:
    for root, names, found in os.walk(folder):
        if Path(root) == folder and _SERVER in names:
            names.remove(_SERVER)
        for name in sorted(found):
            yield Path(root) / name


def _manifest_digests(manifest: Path) -> set[object]:
    """The digests a manifest names: of the zip, and of the photos' zip where they are two."""
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(manifest.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return {content.get("sha256"), (content.get("photos_zip") or {}).get("sha256")}
    return set()


def _age(path: Path) -> float | None:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:  # gone meanwhile: somebody was still at work on it
        return None


def _sha256(path: Path) -> str:
    """Digest of the plain bytes; empty, so that it differs, when it is no longer what was sealed."""
    with contextlib.suppress(SealBroken):
        return vault.sha256(path)
    return ""

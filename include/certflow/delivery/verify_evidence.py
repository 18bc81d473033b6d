"""核对证据包 (stand-alone as `certflow evidence verifier` writes it; needs Python 3.7 or newer and nothing else).

    python verify_evidence.py --key PUBLIC-KEY EVIDENCE.zip [EVIDENCE.zip …]

PUBLIC-KEY: the sender's public key as 64 hex digits, or a file with them; obtain it by another way than the bundles.
Checked, to the last bit: the zip's own structure, the signed list of members (Ed25519, RFC 8032), every member's
SHA-256, every link of the audit chain and the heads kept outside the database, the moves each link speaks of, every
original by its digest, every package's signed manifest. What is wrong is named. Exit: 0 all good, 1 not, 2 wrong usage.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certflow.dispatch.verify_package import read_key, signature_holds

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = "certflow-evidence-1"
MANIFEST = "evidence.json"
LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")


def canonical(document: dict[str, Any]) -> bytes:
    """The one spelling of a JSON object that is signed."""
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")


def members(bundle: Path, found: list[str]) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every member; into `found` what is wrong with the zip's own bytes.

    A bundle has one possible spelling (stored, fixed times, nothing between the members), so it is compared with
    that, header by header: readers of zips look over most of those bits. The bytes of members are the caller's.
    """
    directory, offset, last = [], 0, "（开头）"
    with bundle.open("rb") as stream:
        while True:
            head = stream.read(LOCAL.size)
            if len(head) < LOCAL.size or not head.startswith(b"PK\3\4"):
                break
            crc, size, _, length, _ = struct.unpack_from("<3L2H", head, 14)
            raw, data = stream.read(length), stream.read(size)
            told = (20, 0x0800, 0, 0, 0x0021, crc, size, size, length)
            if head != LOCAL.pack(b"PK\3\4", *told, 0) or len(data) != size:
                found.append("成员“{}”的文件头被改动".format(raw.decode("utf-8", "replace")))
            directory.append(CENTRAL.pack(b"PK\1\2", 3 << 8 | 20, *told, 0, 0, 0, 0, 0o100600 << 16, offset) + raw)
            offset += LOCAL.size + length + size
            last = raw.decode("utf-8", "replace")
            yield last, data
        rest = head + stream.read()
    central = b"".join(directory)
    count = len(directory)
    if rest != central + END.pack(b"PK\5\6", 0, 0, count, count, len(central), offset, 0):
        found.append(f"压缩包在成员“{last}”之后的目录或文件头被改动")


def faults(bundle: Path, public: bytes) -> list[str]:
    """What does not hold for one bundle; empty when all is good."""
    found: list[str] = []
    seen: dict[str, tuple[str, int]] = {}
    kept: dict[str, bytes] = {}
    try:
        for name, data in members(bundle, found):
            digest = hashlib.sha256(data).hexdigest()
            seen[name] = (digest, len(data))
            if not name.startswith("originals/"):
                kept[name] = data
            elif name != f"originals/{digest}.bin":
                found.append("原件 {} 的内容与摘要不符".format(name[len("originals/") : -len(".bin")][:12]))
    except OSError as error:
        return [f"文件读不出：{error.strerror}"]
    document = manifest_of(kept.get(MANIFEST, b""), public, found)
    told = document.get("members", {})
    for name in sorted(set(told) | (set(seen) - {MANIFEST})) if told else ():
        if name not in seen:
            found.append(f"缺少成员 {name}")
        elif name not in told:
            found.append(f"多出成员 {name}")
        elif list(seen[name]) != [told[name].get("sha256"), told[name].get("size")]:
            found.append(f"成员 {name} 与清单不符：内容被改动过")
    links = chain_faults(kept.get("audit.jsonl", b""), kept.get("heads.log", b""), document.get("audit", {}), found)
    move_faults(kept.get("moves.jsonl", b""), links, found)
    package_faults(kept, public, found)
    return found


def manifest_of(data: bytes, public: bytes, found: list[str]) -> dict[str, Any]:
    """The signed list of members, or an empty one where it cannot be trusted."""
    try:
        document = json.loads(data)
        signature = base64.b64decode(document["signature"], validate=True)
        exact = canonical(document) == data and base64.b64encode(signature).decode() == document["signature"]
        unsigned = {name: value for name, value in document.items() if name != "signature"}
    except (ValueError, KeyError, TypeError, AttributeError):
        found.append("清单 evidence.json 缺失、读不出或没有签名")
        return {}
    if document.get("key_id") != hashlib.sha256(public).hexdigest()[:16]:
        found.append("清单 evidence.json 不是用这把密钥签名的")
        return {}
    if document.get("format") != FORMAT or not exact or not signature_holds(public, canonical(unsigned), signature):
        found.append("清单 evidence.json 的签名不正确：清单被改动过")
        return {}
    return unsigned


def chain_faults(data: bytes, heads: bytes, told: dict[str, Any], found: list[str]) -> dict[int, dict[str, Any]]:
    """Verify the audit chain; number of a link → what it says, an event "?" where that was altered."""
    links: dict[int, dict[str, Any]] = {}
    digests: dict[int, str] = {}
    count = 0
    expected, previous = told.get("first"), None
    for number, line in enumerate(data.splitlines(), start=1):
        count = number
        try:
            row = json.loads(line)
            seq, prev, payload, digest = int(row["seq"]), row["prev"], row["payload"], row["hash"]
            content = json.loads(payload)
            good = hashlib.sha256((prev + payload).encode("utf-8")).hexdigest() == digest
        except (ValueError, KeyError, TypeError):
            found.append(f"审计记录 {expected or ''}（第 {number} 行）读不出")
            expected = None if expected is None else expected + 1
            continue
        if not good:
            found.append(f"审计记录 {seq} 的内容被改动")
        if expected is not None and seq != expected:
            found.append(f"审计记录 {seq} 的编号应为 {expected}")
        if previous is not None and prev != previous:
            found.append(f"审计记录 {seq} 与前一条不相连")
        links[seq] = content if good else {"event": "?"}
        digests[seq] = digest
        previous, expected = digest, seq + 1
    if told and count != told["last"] + 1 - told["first"]:
        found.append("审计记录应为 {} 至 {}，不齐全".format(told["first"], told["last"]))
    for number, text in enumerate(heads.decode("utf-8", "replace").splitlines(), start=1):
        head, _, kept = text.partition(" ")
        if not head.isdigit() or digests.get(int(head)) != kept:
            found.append(f"库外链头第 {number} 行（审计记录 {head}）与审计链不符")
    return links


def move_faults(data: bytes, links: dict[int, dict[str, Any]], found: list[str]) -> None:
    """Compare the moves with what the links say of them."""
    spoken: dict[int, list[tuple[int, str]]] = {}
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            row = json.loads(line)
            text = f"{row['object_id']} {row['from_state']} {row['to_state']}"
            spoken.setdefault(int(row["audit_seq"]), []).append((int(row["object_id"]), text))
        except (ValueError, KeyError, TypeError):
            found.append(f"状态变更第 {number} 行读不出")
    for seq in sorted(set(spoken) | {seq for seq, content in links.items() if content.get("event") == "move"}):
        rows = [text for _, text in sorted(spoken.get(seq, []))]
        digest = hashlib.sha256("\n".join(rows).encode("utf-8")).hexdigest()
        content = links.get(seq, {})
        if content.get("event") == "?":
            continue  # named already
        if content.get("moves_sha256") != digest or content.get("count") != len(rows):
            found.append(f"审计记录 {seq} 所述的状态变更与变更表不符")


def package_faults(kept: dict[str, bytes], public: bytes, found: list[str]) -> None:
    """Verify the packages' manifests: signature, and the digest the ledger has for the package."""
    ledger: dict[str, str] = {}
    for number, line in enumerate(kept.get("packages.jsonl", b"").splitlines(), start=1):
        try:
            row = json.loads(line)
            ledger[f"manifests/{row['id']}.json"] = row["sha256"]
        except (ValueError, KeyError, TypeError):
            found.append(f"数据包表第 {number} 行读不出")
    for name in sorted(set(ledger) | {name for name in kept if name.startswith("manifests/")}):
        try:
            document = json.loads(kept[name])
            digest = document["sha256"]
            signature = base64.b64decode(document.pop("signature", ""), validate=True)
            ours = document.get("key_id") == hashlib.sha256(public).hexdigest()[:16]
        except (ValueError, KeyError, TypeError, AttributeError):
            found.append(f"数据包清单 {name} 缺失或读不出")
            continue
        if signature and ours and not signature_holds(public, canonical(document), signature):
            found.append(f"数据包清单 {name} 的签名不正确：清单被改动过")
        if ledger.get(name) != digest:
            found.append(f"数据包清单 {name} 的摘要与台账不符")


def main(arguments: list[str]) -> int:
    """Verify the bundles named on the command line."""
    if len(arguments) < 3 or arguments[0] != "--key":
        sys.stderr.buffer.write((__doc__ or "").encode("utf-8"))
        return 2
    try:
        public = read_key(arguments[1])
    except (OSError, ValueError):
        sys.stderr.buffer.write("公钥应为 64 位十六进制数，或内有这些数字的文件\n".encode())
        return 2
    bad = 0
    for name in arguments[2:]:
        found = faults(Path(name), public)
        bad += bool(found)
        told = "\n".join("  " + one for one in found)
        line = "{}：{}\n".format(Path(name).name, "不符\n" + told if found else "完好")
        sys.stdout.buffer.write(line.encode("utf-8"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Sweep over foreign files: ``python tests/sweep/sweep.py FOLDER…``.

Every file below the folders arrives three times, each time through the use-case behind ``certflow check``: as it is,
as the workbook of a proper submission, and as the photo of one. Whatever the bytes, each must end in a verdict of a
listed rule; files wrapped by ``uuencode`` are unwrapped first. Prints what it saw and the parent's memory; exit 1 for
a crash, an untyped error, a file over the time limit or a parent over 500 MB. Keeps nothing.

Good sources: the source packages of spreadsheet, zip and image libraries (Apache POI, gnumeric, libarchive, libzip,
exiv2, Pillow, libjpeg-turbo).
"""

import binascii
import hashlib
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "cases")]

from kit import Desk, book, zipped  # noqa: E402 (the tests' own folders come first)

from certflow.checks.run import check  # noqa: E402
from certflow.intake.submission import Received  # noqa: E402
from certflow.reference import load_reference  # noqa: E402
from certflow.settings import Settings  # noqa: E402

BATCH = 24
LARGEST = 64 << 20
SECONDS = 70
"""What one batch may take beside its share: a jailed reader ends after 60 s."""
PARENT = 500 << 20


def files(roots: Iterable[Path]) -> Iterator[tuple[Path, bytes]]:
    """Every different content once; plain source text one time in twenty."""
    seen: set[bytes] = set()
    texts = 0
    for path in sorted(path for root in roots for path in root.rglob("*")):
        if not path.is_file() or path.is_symlink() or path.stat().st_size > LARGEST:
            continue
        data = unwrapped(path.read_bytes())
        digest = hashlib.sha256(data).digest()
        if digest in seen:
            continue
        seen.add(digest)
        if b"\0" not in data[:4096] and data[:1] not in (b"<", b"\xef", b"\xff", b"P"):
            texts += 1
            if texts % 20:
                continue
        yield path, data


def unwrapped(data: bytes) -> bytes:
    """What ``uuencode`` wrapped, as libarchive keeps its samples."""
    if not data.startswith(b"begin "):
        return data
    out = bytearray()
    for line in data.splitlines()[1:]:
        if line in (b"end", b"`"):
            break
        try:
            out += binascii.a2b_uu(line)
        except binascii.Error:
            return data
    return bytes(out)


def arrivals(number: int, data: bytes) -> dict[str, bytes]:
    """The three ways a file arrives."""
    own, workbook, photo = (Desk(3 * number + way) for way in range(3))
    row = photo.person(photo=True)
    return {
        f"{own.stem()}.zip": data,
        f"{workbook.stem()}.zip": zipped({f"{workbook.stem()}.XLS": data}),
        f"{photo.stem()}.zip": zipped({f"{photo.stem()}.XLS": book(row), f"{photo.stem()}/{row['ZJHM']}.jpg": data}),
    }


def judge(batch: list[tuple[Path, bytes]], settings: Settings, seen: Counter[str]) -> list[str]:
    """Judge a batch; what went wrong, by file when it can be pinned down."""
    with tempfile.TemporaryDirectory() as folder:
        received = []
        for number, (_, data) in enumerate(batch):
            for name, content in arrivals(number, data).items():
                path = Path(folder) / f"{len(received)}.bin"
                path.write_bytes(content)
                received.append(Received(path, name, hashlib.sha256(content).hexdigest(), len(content)))
        began = time.monotonic()
        try:
            judged = check(received, settings, load_reference(settings), registry=None)
        except BaseException as error:  # noqa: BLE001 (whatever it is, it is what the sweep looks for)
            if len(batch) > 1:
                return [wrong for one in batch for wrong in judge([one], settings, seen)]
            return [f"{batch[0][0]}: {type(error).__name__}\n{traceback.format_exc(limit=-6)}"]
        took = time.monotonic() - began
    wrong = []
    if took > SECONDS + 2 * len(batch):
        wrong.append(f"{took:.0f} s: {' '.join(str(path) for path, _ in batch)}")
    missing = {one.path for one in received} - {file.path for one in judged for file in one.submission.files}
    wrong += [f"no verdict: {batch[int(path.stem) // 3][0]}" for path in missing]
    for one in judged:
        seen[one.verdict.value] += 1
        for finding in one.findings:
            if finding.severity == "error":
                seen[finding.rule] += 1
            if finding.rule in ("FILE-UNREADABLE", "PHOTO-UNREADABLE"):
                wrong.append(f"untyped: {finding.message} {[file.name for file in one.submission.files]}")
    return wrong


def main(roots: list[str]) -> int:
    """Sweep, report, and say by the exit code whether all was well."""
    with tempfile.TemporaryDirectory() as home:
        settings, seen, wrong, batch, count = Settings(home=Path(home)), Counter[str](), [], [], 0
        for one in files(map(Path, roots)):
            count += 1
            batch.append(one)
            if len(batch) == BATCH:
                wrong += judge(batch, settings, seen)
                batch = []
                print(f"\r{count} files, {len(wrong)} wrong", end="", file=sys.stderr, flush=True)
        wrong += judge(batch, settings, seen) if batch else []
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"\n{count} files, three ways each; parent's peak {memory >> 20} MB")
    print(", ".join(f"{name} {number}" for name, number in seen.most_common()))
    print("\n".join(wrong) or "no crash, no hang, no untyped error")
    return int(bool(wrong) or memory > PARENT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

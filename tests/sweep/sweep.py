"""Sweep over foreign files: ``python tests/sweep/sweep.py FOLDER…``.

Every file below the folders arrives three times, each time through the use-case behind ``certflow check``: as it is,
as the workbook of a proper submission, and as the photo of one. Whatever the bytes, each must end in a verdict of a
listed rule; files wrapped by ``uuencode`` are unwrapped first. Ends with a summary: files by kind, verdicts, rules,
the slowest file, the memory of the parent and of its largest child, crashes, hangs, untyped errors. Exit 1 for any of
those three, a file without a verdict, or a parent over 500 MB. Ctrl-C ends it early. Keeps nothing.

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
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "cases")]

from kit import Desk, book, zipped  # noqa: E402 (the tests' own folders come first)

from certflow import sniff  # noqa: E402
from certflow.checks import frame  # noqa: E402, F401 (its import is no file's time)
from certflow.checks import judge as _judge  # noqa: E402, F401 (nor is this one's)
from certflow.checks.run import Judged, check  # noqa: E402
from certflow.intake.submission import Received  # noqa: E402
from certflow.reference import load_reference  # noqa: E402
from certflow.settings import Settings  # noqa: E402

BATCH = 24
LARGEST = 64 << 20
SECONDS = 70
"""What one batch may take beside its share: a jailed reader ends after 60 s."""
PARENT = 500 << 20
WRONG = ("crash", "hang", "untyped error", "no verdict")
UNTYPED = ("FILE-UNREADABLE", "PHOTO-UNREADABLE")
"""Rules that speak where a parser raised what nobody expected."""


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


@dataclass
class Seen:
    """What the sweep came to so far."""

    kinds: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in WRONG})
    slowest: tuple[float, list[tuple[Path, bytes]]] = (0.0, [])

    def __str__(self) -> str:
        listed = {"files": self.kinds, "verdicts": self.verdicts, "rules": self.rules}
        lines = [
            f"{title:<10}{sum(found.values())}: {', '.join(f'{name} {number}' for name, number in found.most_common())}"
            for title, found in listed.items()
        ]
        own, child = (memory(who) >> 20 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        lines.append(f"{'memory':<10}parent {own} MB, largest child {child} MB")
        for kind, ones in self.wrong.items():
            lines += [f"{kind:<14}{len(ones)}", *(f"  {one}" for one in ones)]
        return "\n".join(lines)


def memory(who: int) -> int:
    """Peak memory in bytes."""
    return resource.getrusage(who).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def judge(batch: list[tuple[Path, bytes]], settings: Settings, seen: Seen) -> None:
    """Judge a batch and add to what was seen; what crashes is pinned down to its file."""
    if not batch:
        return
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
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 (whatever it is, it is what the sweep looks for)
            if len(batch) > 1:
                for one in batch:
                    judge([one], settings, seen)
            else:
                seen.wrong["crash"].append(f"{batch[0][0]}: {type(error).__name__}\n{traceback.format_exc(limit=-6)}")
            return
        took = time.monotonic() - began
    seen.kinds.update(sniff.type_name(data[: sniff.HEAD]) for _, data in batch)
    seen.slowest = max(seen.slowest, (took, batch), key=lambda one: one[0])
    if took > SECONDS + 2 * len(batch):
        seen.wrong["hang"] += slow_ones(batch, took, settings)
    note(judged, received, [path for path, _ in batch], seen)


def note(judged: list[Judged], received: list[Received], paths: list[Path], seen: Seen) -> None:
    """What became of a batch; `received` holds three files for each of the `paths`."""
    missing = {one.path for one in received} - {file.path for one in judged for file in one.submission.files}
    seen.wrong["no verdict"] += [str(paths[int(path.stem) // 3]) for path in missing]
    for one in judged:
        seen.verdicts[one.verdict.value] += 1
        for finding in one.findings:
            if finding.severity == "error":
                seen.rules[finding.rule] += 1
            if finding.rule in UNTYPED:
                about = {paths[int(file.path.stem) // 3] for file in one.submission.files}
                seen.wrong["untyped error"].append(f"{finding.message} {' '.join(map(str, about))}")


def main(roots: list[str]) -> int:
    """Sweep, report, and say by the exit code whether all was well."""
    seen, count, batch, began = Seen(), 0, list[tuple[Path, bytes]](), time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home))
        with suppress(KeyboardInterrupt):  # stopped early, it still says what it saw
            for one in files(map(Path, roots)):
                batch.append(one)
                if len(batch) == BATCH:
                    judge(batch, settings, seen)
                    count, batch = count + BATCH, []
                    bad = sum(map(len, seen.wrong.values()))
                    print(f"\r{count} files, {bad} wrong", end="", file=sys.stderr, flush=True)
            judge(batch, settings, seen)
            count += len(batch)
        print(f"\n{count} files, three ways each, in {time.monotonic() - began:.0f} s\n{seen}")
        slow = [(alone(one, settings), one[0]) for one in seen.slowest[1]]
    if slow:
        took, path = max(slow)
        print(f"{'slowest':<10}{took:.1f} s: {path} (its batch of {len(slow)}: {seen.slowest[0]:.1f} s)")
    return int(any(seen.wrong.values()) or memory(resource.RUSAGE_SELF) > PARENT)


def slow_ones(batch: list[tuple[Path, bytes]], took: float, settings: Settings) -> list[str]:
    """A busy machine makes a batch slow; a bad file is slow by itself."""
    found = [(took if len(batch) == 1 else alone(one, settings), one[0]) for one in batch]
    return [f"{seconds:.0f} s: {path}" for seconds, path in found if seconds > SECONDS]


def alone(one: tuple[Path, bytes], settings: Settings) -> float:
    """Seconds one file takes by itself."""
    began = time.monotonic()
    judge([one], settings, Seen())
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

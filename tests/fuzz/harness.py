"""Coverage-guided fuzzing of the three parsers: ``python tests/fuzz/harness.py archive|workbook|photo SECONDS``.

Seeds come from the builders of the tests; mutations keep the outer form, so that inputs get past checksums
(`mutators`). A finding stops the run with its bytes in a ``crash-…``, ``timeout-…`` or ``oom-…`` file below the folder
it was started in: reduce it, mend the parser, and keep it as a test.
"""

import hashlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import atheris

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "cases")]

import mutators  # noqa: E402 (the tests' own folders come first)

with atheris.instrument_imports(include=["certflow"]):
    from certflow import biff, excel, ole, ooxml, photo  # noqa: F401 (instrumented here, used by excel)
    from certflow.errors import SubmissionError
    from certflow.intake import archive, directory, names  # noqa: F401 (instrumented here, used by archive)
    from certflow.intake.submission import Received
    from certflow.settings import Limits

SLOWEST = 20
"""Seconds one input may take."""
MEMORY = 2048
"""MB the fuzzer may hold."""


def archive_target(folder: Path) -> Callable[[bytes], None]:
    """Unpacking never raises, and every entry it lists can be read again."""
    limits = Limits(archive_bytes=1 << 20, unpacked_bytes=8 << 20, entry_bytes=4 << 20, entries=200)
    path = folder / "input.zip"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        received = Received(path, "input.zip", hashlib.sha256(data).hexdigest(), len(data))
        found = archive.unpack(received, limits)
        assert (found.measures["file_fault"] is None) == bool(found.entries)
        for entry in found.entries:
            assert ".." not in entry.name.split("/")
            assert not entry.name.startswith("/")
            assert hashlib.sha256(archive.read_entry(received, entry)).hexdigest() == entry.sha256

    return run


def workbook_target(_: Path) -> Callable[[bytes], None]:
    """The look into a workbook ends in time and memory; the jail turns whatever it raises into a verdict."""

    def run(data: bytes) -> None:
        try:
            look = excel.look_into(data, rows=70_000, columns=256, part_bytes=16 << 20)
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # E47: any other type is BOOK-DAMAGED, by the jail
            typed = not isinstance(error, SubmissionError) or error.fault.startswith("BOOK-")
            if not typed:
                raise
        else:
            assert all(sheet.last_row <= 1 << 20 for sheet in look.sheets)

    return run


def photo_target(_: Path) -> Callable[[bytes], None]:
    """Measuring never raises, and what it calls sound can be shown."""

    def run(data: bytes) -> None:
        measured = photo.measure(data)
        shown = photo.thumbnail(data)
        assert (measured["photo_thumb"] is None) == (shown is None)

    return run


TARGETS = {"archive": archive_target, "workbook": workbook_target, "photo": photo_target}


def seeds(target: str) -> Iterator[bytes]:
    """Sound and unsound samples of what the target reads."""
    if target == "archive":
        from kit import Desk
        from test_zip_cases import CASES

        for number, case in enumerate(CASES):
            made = case.make(Desk(number)) if case.case not in ("Z13", "Z14", "Z18") else b""
            yield from (data for data in ([made] if isinstance(made, bytes) else made.values()) if len(data) < 1 << 20)
    elif target == "workbook":
        import made_books

        yield from (made_books.xls(), made_books.xlsx(), made_books.xls([made_books.ROW] * 40))
        yield made_books.xlsx(change=lambda book: book.active.merge_cells("A1:B2"))
        yield made_books.xls(change=lambda book: book.get_sheet(0).merge(2, 3, 1, 2))
    else:
        from made_submissions import portrait

        yield from (portrait(serial) for serial in range(4))


def main() -> None:
    """Fuzz one target for so many seconds."""
    target, seconds = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as name:
        corpus = Path(name) / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(seeds(target)):
            (corpus / str(number)).write_bytes(seed)
        words = [f"-max_total_time={seconds}", f"-timeout={SLOWEST}", f"-rss_limit_mb={MEMORY}", "-max_len=65536"]
        words = [sys.argv[0], *words, "-print_final_stats=1", str(corpus)]
        atheris.Setup(words, TARGETS[target](Path(name)), custom_mutator=getattr(mutators, target))
        atheris.Fuzz()


if __name__ == "__main__":
    main()

"""`certflow bench checks`: judge the labelled province as ``certflow check`` would, and count what was right.

A registry of its own, in a folder below the home that is gone afterwards; nothing of an operator's data is touched.
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from certflow.checks.run import check
from certflow.demo import labelled
from certflow.demo.confusion import Confusion, compare
from certflow.errors import ConfigurationError
from certflow.intake.submission import Received
from certflow.reference import load_reference
from certflow.registry import certificates, open_registry
from certflow.registry.ledger import Actor, Registry
from certflow.settings import Settings


@dataclass(frozen=True, slots=True)
class Result:
    """What came out, and how long judging took."""

    confusion: Confusion
    seconds: float
    """Wall clock of judging alone."""
    cpu_seconds: float
    """Of this process, while judging."""

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        times = {"seconds": round(self.seconds, 1), "cpu_seconds": round(self.cpu_seconds, 1)}
        return self.confusion.as_json() | times


def bench(settings: Settings, province: Path | None, rows: int, seed: int) -> Result:
    """Judge the labelled province in a folder, or generate one of `rows` applications and judge that.

    ConfigurationError when the folder holds none, ValueError when `rows` is too small for what is planted.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.home, prefix="bench-") as name:
        own = replace(settings, home=Path(name), database_url=None)
        if province is None:
            province = Path(name) / "province"
            labelled.generate(province, rows, seed)
        if not (province / "labels.jsonl").is_file():
            raise ConfigurationError(f"{province} 里没有 labels.jsonl：请先运行 certflow demo generate --labels")
        registry = open_registry(own)
        try:
            certificates.load(registry, Actor("bench"), province / "registry.csv")
            return judge(province, own, registry)
        finally:
            registry.close()


def judge(province: Path, settings: Settings, registry: Registry) -> Result:
    """Judge a province whose registry is loaded, all cities together, and compare with its labels."""
    files = list(received(province))
    reference = load_reference(settings)
    wall, cpu = time.perf_counter(), time.process_time()
    judged = check(files, settings, reference, registry=registry)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Result(compare(judged, read_labels(province)), wall, cpu)


def received(province: Path) -> Iterator[Received]:
    """Every file of every city, as it would lie in the city's account."""
    for path in sorted((province / "cities").glob("*/*")):
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        yield Received(path, path.name, digest, path.stat().st_size, path.parent.name)


def read_labels(province: Path) -> Iterator[dict[str, Any]]:
    """The lines of ``labels.jsonl``."""
    with (province / "labels.jsonl").open(encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)

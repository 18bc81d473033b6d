"""An applicant's photo brought to the notice's measure (附件二 3) and judged by the suite of the month's photos."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from certflow import photo
from certflow.checks import suites
from certflow.errors import Conflict, SubmissionError
from certflow.findings import Scope, Severity
from certflow.reference import load_reference
from certflow.settings import Settings

LARGE = ("ruankao", "tongxin")
"""Families whose photos must be larger than 30 KB (notice 附件二 3)."""
FAMILIES = ("normal", *LARGE)
_KB = 1024
_BANDS: dict[bool, tuple[int, int | None]] = {False: (10 * _KB, 30 * _KB), True: (30 * _KB + 1, None)}


@dataclass(frozen=True, slots=True)
class Prepared:
    """The photo as it may be sent, what was done, and the digests of original and result."""

    data: bytes
    done: tuple[str, ...]
    original_sha256: str
    sha256: str


def prepare(settings: Settings, original: bytes, family: str) -> Prepared:
    """Fit an original for an exam of this family; unchanged when it passes as it is.

    Raises SubmissionError with a PHOTO- code and the reason in Chinese: too small, damaged, grey, no white background.
    """
    large = family in LARGE
    before = hashlib.sha256(original).hexdigest()
    if not _breaches(settings, original, large=large):
        return Prepared(original, ("已符合要求，未作改动",), before, before)
    low, high = _BANDS[large]
    fitted = photo.fit(original, low=low, high=high)
    if breaches := _breaches(settings, fitted.data, large=large):
        raise SubmissionError(breaches[0][0], "；".join(f"{title}不符合要求" for _, title in breaches))
    return Prepared(fitted.data, fitted.done, before, hashlib.sha256(fitted.data).hexdigest())


def prepare_file(settings: Settings, original: Path, target: Path, family: str) -> Prepared:
    """`prepare` from file to file; the original is only read, and nothing is overwritten (Conflict)."""
    if original.stat().st_size > photo.ORIGINAL_BYTES:
        raise SubmissionError("PHOTO-SIZE", f"原图超过 {photo.ORIGINAL_BYTES >> 20} MB")
    prepared = prepare(settings, original.read_bytes(), family)
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Conflict("目标文件已存在，未覆盖") from None
    with os.fdopen(handle, "wb") as stream:
        stream.write(prepared.data)
    return prepared


def _breaches(settings: Settings, data: bytes, *, large: bool) -> list[tuple[str, str]]:
    """Rules of the photo suite, errors and holds, that the picture breaks: code and title."""
    from certflow.checks import frame, judge

    measured = photo.measure(data)
    size, core = measured["photo_bytes"], measured["photo_core_bytes"]
    columns = {name: [value] for name, value in measured.items()} | {
        "photo_bytes_large" if large else "photo_bytes_normal": [size],
        "photo_core_large" if large else "photo_core_normal": [core],
        "photo_dimensions": [f"{measured['photo_width']}×{measured['photo_height']}" if core is not None else None],
    }
    rule_set = load_reference(settings).rule_set_of(None, settings.rule_set).name
    rules = [
        rule
        for rule in suites.load(settings, ["photo"])
        if rule.scope is Scope.PHOTO and rule.severity in (Severity.ERROR, Severity.HOLD) and rule.belongs_to(rule_set)
    ]
    wanted = {column for rule in rules for column in rule.columns}
    [judged] = judge.judge(frame.build(columns, wanted, 1), rules)
    return [(breach.rule.code, breach.rule.title) for breach in judged.breaches]

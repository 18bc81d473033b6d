"""Judge the certificate database itself by the suite ``registry`` when it is loaded: what the province should look at.

It only warns (尊重历史数据): nothing is refused or changed because of it. The export is read twice, in steps, so that
ten million certificates need no more memory than ten thousand and one number each.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from certflow import naming
from certflow.checks import measure_rows, suites
from certflow.checks.measure_files import Standing
from certflow.findings import FIELDS
from certflow.intake.submission import Received, Sheet, Submission
from certflow.month import SHANGHAI
from certflow.reference import Reference, load_reference
from certflow.registry.export import COLUMNS, Line, read_export
from certflow.settings import Settings

STEP = 50_000
"""Lines judged at a time."""
LISTED = 1_000
"""Lines named of one warning; all of them are counted."""

_PLAIN_NAME = re.compile(
    "[\u3007\u3400-\u9fff\ufa0e-\ufa29\U00020000-\U0003ffff\u00b7()\\[\\]]+"
    "|[A-Za-z\u00c0-\u024f][A-Za-z\u00c0-\u024f .'-]*"
)
_SAME = ("id_number", "exam_code", "level", "specialty", "approved_on")


@dataclass(slots=True)
class Warned:
    """One rule of the suite and where it did not hold."""

    rule: str
    severity: str
    message: str
    count: int = 0
    lines: list[int] = field(default_factory=list)
    """The first of them, as an editor or Excel counts."""


def judge_export(settings: Settings, file: Path, encoding: str = "utf-8-sig") -> list[Warned]:
    """What the suite finds in the lines of an export, the most frequent first; refused lines are not looked at.

    ConfigurationError when the suite is broken.
    """
    reference = load_reference(settings)
    rule_set = reference.rule_set_of(None, settings.rule_set).name
    rules = [one for one in suites.load(settings, (suites.REGISTRY,)) if one.belongs_to(rule_set)]
    found: dict[str, Warned] = {}
    repeated = iter(_repeated(file, encoding))
    export = read_export(file, encoding)
    sound = (line for line in export.lines if not line.fault)
    while step := list(itertools.islice(sound, STEP)):
        columns = _measure(export.fields, step, [next(repeated) for _ in step], reference)
        _judge(rules, columns, step, found)
    return sorted(found.values(), key=lambda one: (-one.count, one.rule))


def _judge(
    rules: Sequence[suites.Rule], columns: dict[str, list[object]], step: Sequence[Line], found: dict[str, Warned]
) -> None:
    from certflow.checks import frame, judge  # late: pandas and Great Expectations take seconds to import

    suites.require_columns(rules, frozenset(columns))
    wanted = {name for rule in rules for name in rule.columns}
    [judgement] = judge.judge(frame.build(columns, wanted, len(step)), rules)
    for breach in judgement.breaches:
        rule = breach.rule
        one = found.setdefault(rule.code, Warned(rule.code, rule.severity.value, rule.message))
        one.count += len(breach.lines)
        one.lines += [step[line].number for line in breach.lines[: LISTED - len(one.lines)]]


def _repeated(file: Path, encoding: str) -> Iterator[bool]:
    """Per sound line whether another one is about the same person, exam, level, specialty and date."""
    export = read_export(file, encoding)
    places = [export.fields.index(name) for name in _SAME]
    keys = np.fromiter(
        (hash(tuple(line.values[place] for place in places)) for line in export.lines if not line.fault), dtype=np.int64
    )
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return iter((counts[inverse] > 1).tolist())


def _measure(
    fields: Sequence[str], step: Sequence[Line], repeated: Sequence[bool], reference: Reference
) -> dict[str, list[object]]:
    """The columns of an application's rows, measured on certificates, and what only a certificate has."""
    texts = {name: [str(line.values[place]) for line in step] for place, name in enumerate(fields)}
    nothing = [""] * len(step)
    values = {name: texts.get(COLUMNS.get(name, ""), nothing) for name in FIELDS}
    sheet = Sheet(
        [line.number for line in step], values,
        {name: ["text" if text else "empty" for text in column] for name, column in values.items()},
    )  # fmt: skip
    today = datetime.now(SHANGHAI).date()
    received = Received(Path(), "", "", 0)
    rows = measure_rows.gather([Submission((received,), None, "", None, None, sheet, (), {})])
    measure_rows.measure(rows, [Standing(None, None, None, None, today, len(step))], reference)
    exams = {code: reference.exam_by_code(code) for code in set(texts["exam_code"])}
    now = f"{today:%Y%m%d}"
    rows.columns |= {
        "name_plain": [
            None if glyphs is False else _PLAIN_NAME.fullmatch(name) is not None
            for name, glyphs in zip(texts["name"], rows.columns["name_glyph_ok"], strict=True)
        ],
        "approved_past": [None if not day else day <= now[: len(day)] for day in rows.text("approved")],
        "exam_known": [exams[code] is not None for code in texts["exam_code"]],
        "exam_name_ok": [
            None if (exam := exams[code]) is None else naming.fold(exam.name) == naming.fold(name)
            for code, name in zip(texts["exam_code"], texts["exam_name"], strict=True)
        ],
        "city_known": [None if not city else reference.city_named(city) is not None for city in texts["city"]],
        "certificate_once": [not one for one in repeated],
    }
    return rows.columns

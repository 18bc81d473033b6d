"""The labelled province against the rules, and every rule against it: nothing missed, nothing sound refused, and a
rule that is switched off is missed.

One province, measured and judged once; a mutant is that one run without the findings of one rule.
"""

import dataclasses
import json
from collections import defaultdict
from copy import copy

import pytest

from certflow.checks import outcome, suites
from certflow.demo import bench_checks, labelled
from certflow.demo.confusion import compare
from certflow.registry import certificates
from certflow.settings import Settings

ROWS, SEED = 2_000, 11
ELSEWHERE = {
    "DB-ECERT": "tests/integration/test_check_city.py",  # the rule set of 2023
    "DB-OFF": "tests/unit/checks/test_check.py",  # without a database
    "DUP-OPEN": "tests/integration/test_check_city.py",  # an earlier month in the ledger
    "DUP-PERSON-CITY": "tests/integration/test_across_files.py",
    "DUP-THIRD": "tests/integration/test_across_files.py",
    "FILE-REPEATED": "tests/integration/test_check_city.py",
    "FILE-UNREADABLE": "tests/unit/checks/test_unforeseen.py",
    "FILE-WAITS": "tests/integration/test_versions.py",
    "PHOTO-OTHER": "tests/integration/test_across_files.py",
    "PHOTO-UNREADABLE": "tests/unit/checks/test_unforeseen.py",
    **dict.fromkeys(
        ("NAME-ARCHIVE", "ZIP-ENCODING", "ZIP-ENTRIES", "ZIP-NAMES", "ZIP-OVERLAP"), "tests/cases/test_zip_cases.py"
    ),
    **dict.fromkeys(
        ("BOOK-ACTIVE", "BOOK-HIDDEN-SHEET", "BOOK-IMAGES", "BOOK-LIMIT", "BOOK-PASSWORD"),
        "tests/cases/test_book_cases.py",
    ),
    **dict.fromkeys(("PHOTO-BLUR", "PHOTO-EXPOSURE", "PHOTO-FIGURE"), "tests/unit/test_portrait.py"),
    "PHOTO-FACE": "tests/unit/test_face_detector.py",
}
"""Rules the labelled province cannot reach → the test that catches them."""


@pytest.fixture(scope="module")
def province(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    labelled.generate(folder, ROWS, SEED)
    return folder


@pytest.fixture(scope="module")
def labels(province):
    return list(bench_checks.read_labels(province))


class Recording:
    """One run through `check`, with the case that was concluded."""

    def __init__(self, province, settings, registry):
        self.cases = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(outcome, "conclude", self.conclude)
            self.result = bench_checks.judge(province, settings, registry)
        (self.case,) = self.cases

    def conclude(self, case, conclude=outcome.conclude):
        self.cases.append(case)
        return conclude(case)


@pytest.fixture(scope="module")
def run(province, tmp_path_factory, postgres):
    from certflow.registry import open_registry
    from certflow.registry.ledger import Actor

    settings = Settings(home=tmp_path_factory.mktemp("home"))
    registry = open_registry(settings)
    try:
        certificates.load(registry, Actor("tester"), province / "registry.csv")
        yield Recording(province, settings, registry)
    finally:
        registry.close()


def test_nothing_is_missed_and_nothing_sound_refused(run):
    told = run.result.confusion
    assert told.missed == []
    assert told.false_alarms == []
    assert len([kind for kind in told.kinds.values() if not kind.sound]) >= 80
    assert all(kind.met == kind.planted for kind in told.kinds.values())


def test_every_row_that_was_read_has_a_label_and_the_other_way_round(run, labels):
    rows = [(label["file"], label["exam"], label["row"]) for label in labels if label["scope"] == "row"]
    assert len(set(rows)) >= 0.9 * ROWS
    assert run.result.confusion.rows >= 0.9 * ROWS


def codes():
    return sorted({rule.code for rule in suites.load(Settings.load(), suites.SUITES)})


def test_every_rule_is_caught_here_or_named_with_the_test_that_catches_it(run):
    planted = {code for code, one in run.result.confusion.rules.items() if one.planted}
    assert set(codes()) - planted - set(ELSEWHERE) == set()
    assert set(ELSEWHERE) & planted == set()


@pytest.mark.parametrize("code", sorted(ELSEWHERE))
def test_the_test_that_is_named_names_the_rule(code, request):
    if code in codes():
        assert code in (request.config.rootpath / ELSEWHERE[code]).read_text(encoding="utf-8")


def without(run, labels, code):
    """What comparing says when the rule of this code is not judged."""
    found = copy(run.case.found)
    for name in ("files", "entries", "rows", "photos"):
        kept = {line: [one for one in findings if one.rule != code] for line, findings in getattr(found, name).items()}
        setattr(found, name, defaultdict(list, kept))
    return compare(outcome.conclude(dataclasses.replace(run.case, found=found)), labels)


def test_each_rule_switched_off_is_missed(run, labels):
    unnoticed = [code for code in codes() if code not in ELSEWHERE and without(run, labels, code).clean]
    assert unnoticed == []


def test_the_labels_are_json_lines_that_say_what_must_come_out(province):
    (first, *_) = (province / "labels.jsonl").read_text(encoding="utf-8").splitlines()
    assert set(json.loads(first)) == {"file", "exam", "row", "entry", "scope", "kind", "sound", "verdict", "rules"}


@pytest.mark.long
def test_fifty_thousand_rows_are_judged_without_a_miss_or_a_false_alarm(settings):
    told = bench_checks.bench(settings, None, labelled.ROWS, 2020).confusion
    assert told.rows > 0.99 * labelled.ROWS
    assert (told.missed, told.false_alarms) == ([], [])

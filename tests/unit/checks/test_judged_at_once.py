"""Judging at once gives what Great Expectations gives when it plans, measures and words every rule by itself."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest
from made_submissions import Made, person, portrait

from certflow.checks import frame, judge, run, suites
from certflow.errors import ConfigurationError
from certflow.intake.gather import gather
from certflow.reference import load_reference
from certflow.settings import Settings

LOADED = re.compile(r'"ge_load_time": "[^"]*"')


def by_itself(table, rules) -> list[tuple[list[tuple[str, tuple[int, ...]]], str]]:
    """Breaches and result per suite of a run in which nothing of Great Expectations is replaced."""
    numbered = list(enumerate(rules))
    return [_suite_by_itself(table, list(lines)) for _, lines in groupby(numbered, key=lambda one: one[1].suite)]


def _suite_by_itself(table, rules):
    suite = judge.ExpectationSuite(name=f"{rules[0][1].suite}-{rules[0][1].scope.value}")
    suite.expectations = [
        judge.ExpectationConfiguration(
            type=rule.expectation, kwargs=dict(rule.kwargs),
            meta={"number": number, "code": rule.code, "severity": rule.severity.value, "clause": rule.clause},
        ).to_domain_obj()
        for number, rule in rules if table[rule.column].notna().any()
    ]  # fmt: skip
    result = judge._whole().get_batch({"dataframe": table}).validate(suite, result_format=judge._FORMAT).to_json_dict()
    result["meta"]["batch_markers"].pop("pandas_data_fingerprint")  # a digest of all values stays here
    breaches = []
    for one in result["results"]:
        number = one["expectation_config"]["meta"].pop("number")
        rule = dict(rules)[number]
        one["expectation_config"]["meta"]["notes"] = {"format": "markdown", "content": [f"{rule.code} {rule.title}"]}
        if not one["success"]:
            lines = one["result"].get("unexpected_index_list") or ()
            breaches.append((number, rule.code, tuple(sorted(item[frame.INDEX] for item in lines))))
        for name in judge._VALUES:
            one["result"].pop(name, None)
    return [one[1:] for one in sorted(breaches)], as_text(result)


def as_text(result) -> str:
    return LOADED.sub('"ge_load_time": ""', json.dumps(result, sort_keys=True))


def at_once(table, rules) -> list[tuple[list[tuple[str, tuple[int, ...]]], str]]:
    return [
        ([(one.rule.code, one.lines) for one in judgement.breaches], as_text(judgement.result))
        for judgement in judge.judge(table, rules)
    ]


def test_every_frame_of_a_city_is_judged_alike(settings, tmp_path, monkeypatch):
    made = Made()
    for serial in range(1, 5):
        made.add(person(serial, photo=True), portrait(serial) if serial != 2 else b"no photo")
    made.add(person(5) | {"ZJHM": "37010219900101005X", "XB": "?"})
    given = gather([made.write(tmp_path)], settings, load_reference(settings))
    frames, judged = [], judge.judge
    monkeypatch.setattr(judge, "judge", lambda table, rules: (frames.append((table, rules)), judged(table, rules))[1])
    run._judge(given, settings, load_reference(settings), None)
    monkeypatch.undo()
    assert any(breaches for one in frames for breaches, _ in at_once(*one)), "some rules did not hold"
    assert any(len({rule.suite for rule in rules}) > 1 for _, rules in frames), "several suites speak of one frame"
    for table, rules in frames:
        assert at_once(table, rules) == by_itself(table, rules), rules[0]


def test_what_is_prepared_before_a_fork_is_all_that_a_city_asks(settings, tmp_path):
    judge._question.cache_clear()
    run.prepare(settings)
    ready = judge._question.cache_info()
    reference, made = load_reference(settings), Made()
    made.add(person(1, photo=True), portrait(1))
    run._judge(gather([made.write(tmp_path)], settings, reference), settings, reference, None)
    asked = judge._question.cache_info()
    assert asked.hits - ready.hits > 50
    assert asked.misses == ready.misses


COLUMNS = {
    "words": ["甲", "乙乙", None, "", "甲"],
    "numbers": [1.0, 12.0, None, 5.0, -1.0],
    "flags": [True, None, False, True, False],
    "nothing": [None] * 5,
}
KINDS = {
    "a set": ("expect_column_values_to_be_in_set", {"column": "flags", "value_set": [True]}),
    "no set": ("expect_column_values_to_not_be_in_set", {"column": "words", "value_set": ["甲"]}),
    "mostly": ("expect_column_values_to_be_between", {"column": "numbers", "min_value": 0, "mostly": 0.7}),
    "a condition": (
        "expect_column_values_to_be_between",
        {"column": "numbers", "max_value": 3, "row_condition": "numbers > 0", "condition_parser": "pandas"},
    ),
    "no line left": (
        "expect_column_values_to_be_between",
        {"column": "numbers", "max_value": 3, "row_condition": "numbers > 99", "condition_parser": "pandas"},
    ),
    "lengths": ("expect_column_value_lengths_to_be_between", {"column": "words", "max_value": 1, "min_value": 1}),
    "a pattern": ("expect_column_values_to_match_regex", {"column": "words", "regex": "^.$"}),
    "all different": ("expect_column_values_to_be_unique", {"column": "words"}),
    "present": ("expect_column_values_to_not_be_null", {"column": "words"}),
    "far from the mean": ("expect_column_value_z_scores_to_be_less_than",
                          {"column": "numbers", "threshold": 1, "double_sided": True}),
    "the mean": ("expect_column_mean_to_be_between", {"column": "numbers", "max_value": 9}),
    "over nothing": ("expect_column_values_to_be_in_set", {"column": "nothing", "value_set": [True]}),
}  # fmt: skip


def rule_of(kind: str) -> suites.Rule:
    """A rule a data steward could write tomorrow."""
    sample = next(rule for rule in suites.load(Settings()) if rule.code == "ID-AGE")
    expectation, kwargs = KINDS[kind]
    return replace(sample, expectation=expectation, kwargs=kwargs, title=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_rule_is_judged_alike(kind):
    table = frame.build(COLUMNS, COLUMNS, 5)
    assert at_once(table, [rule_of(kind)]) == by_itself(table, [rule_of(kind)])


def test_all_kinds_together_are_judged_alike_and_each_breach_is_its_own():
    table, rules = frame.build(COLUMNS, COLUMNS, 5), [rule_of(kind) for kind in KINDS]
    [(breaches, result)] = at_once(table, rules)
    [(expected, plain)] = by_itself(table, rules)
    assert breaches == expected
    assert sorted(json.loads(result)["results"], key=str) == sorted(json.loads(plain)["results"], key=str)


def test_a_rule_that_does_not_fit_its_column_is_named():
    rule = replace(rule_of("mostly"), kwargs={"column": "words", "max_value": 3})
    with pytest.raises(ConfigurationError, match=r"application\.json：规则 ID-AGE 无法执行：.*same type"):
        judge.judge(frame.build(COLUMNS, COLUMNS, 5), [rule])


def test_nothing_of_great_expectations_stays_changed():
    before = judge.Expectation.configuration, judge.Validator.graph_validate
    table = frame.build(COLUMNS, COLUMNS, 5)
    judge.judge(table, [rule_of("a set")])
    with pytest.raises(KeyError), judge._at_once(table, {}):
        raise KeyError
    assert (judge.Expectation.configuration, judge.Validator.graph_validate) == before


FRESH = """
import gc, sys, types
from pathlib import Path
gc.disable()
import pandas as pd
from certflow.checks import judge, run
from certflow.intake.gather import gather
from certflow.reference import load_reference
from certflow.settings import Settings
sys.path.insert(0, sys.argv[1])
from made_submissions import Made, person, portrait
settings = Settings(home=Path(sys.argv[2]))
made = Made()
for serial in range(1, 4):
    made.add(person(serial, photo=True), portrait(serial))
[judged] = run._judge(gather([made.write(settings.home)], settings, load_reference(settings)), settings,
                      load_reference(settings), None).judged
assert len(judged.rows) == 3
alive = [one.shape for one in gc.get_objects() if isinstance(one, pd.DataFrame) and len(one)]
calls = {one.f_code.co_name for one in gc.get_objects() if isinstance(one, types.FrameType)}
calls &= {"judge", "_run", "_judge"}
spared = [name for name in ("scipy.stats._stats_py", "altair.vegalite") if name in sys.modules]
assert not (alive or calls or spared), (alive, calls, spared)
from scipy import stats
import altair
assert stats.norm.cdf(0) == 0.5 and altair.Chart  # who does ask for it gets it
"""


def test_nothing_of_the_rows_waits_for_the_collector_and_nothing_unused_is_imported(tmp_path):
    """In a process of its own: the first judging of all is the one in which the library fails and catches."""
    words = [sys.executable, "-c", FRESH, str(Path(__file__).parents[2]), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]

"""What Great Expectations finds is the same whether an expectation builds its configuration once or each time."""

import json
import re
from contextlib import nullcontext

import pytest
from made_submissions import Made, person, portrait

from certflow.checks import judge, run
from certflow.intake.gather import gather
from certflow.reference import load_reference

LOADED = re.compile(r'"ge_load_time": "[^"]*"')


def test_the_results_are_the_same_and_nothing_stays_changed(settings, tmp_path, monkeypatch):
    made = Made()
    for serial in range(1, 5):
        made.add(person(serial, photo=True), portrait(serial) if serial != 2 else b"no photo")
    made.add(person(5) | {"ZJHM": "37010219900101005X", "XB": "?"})
    reference = load_reference(settings)
    given = gather([made.write(tmp_path)], settings, reference)

    def results():
        case = run._judge(given, settings, reference, None)
        told = json.dumps([one.result for one in case.judgements], sort_keys=True, default=str)
        breaches = [(one.rule.code, one.lines) for judgement in case.judgements for one in judgement.breaches]
        return LOADED.sub("", told), breaches

    before = judge.Expectation.configuration
    once = results()
    assert judge.Expectation.configuration is before
    monkeypatch.setattr(judge, "_configured_once", nullcontext)
    assert results() == once
    assert once[1], "some rules did not hold"


def test_an_error_on_the_way_leaves_nothing_changed():
    before = judge.Expectation.configuration
    with pytest.raises(KeyError), judge._configured_once():
        raise KeyError
    assert judge.Expectation.configuration is before

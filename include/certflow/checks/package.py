"""Judge a finished package by the suite ``package``: what its read-back measured, before the ledger calls it BUILT.

`dispatch` measures and knows no suite; whoever composes the two hands `package_judge(settings)` to it.
"""

from collections.abc import Callable, Mapping, Sequence

from certflow.checks import suites
from certflow.findings import Scope
from certflow.reference import load_reference
from certflow.settings import Settings

Columns = Mapping[str, Sequence[object]]


def package_judge(settings: Settings) -> Callable[[str, Mapping[Scope, Columns]], list[str]]:
    """A judge of packages: takes a label and the measured columns by scope, gives what does not hold, in Chinese.

    The value-free result is kept under the label for the quality reports. ConfigurationError when the suite is broken.
    """
    rule_set = load_reference(settings).rule_set_of(None, settings.rule_set).name
    rules = [one for one in suites.load(settings, (suites.PACKAGE,)) if one.belongs_to(rule_set)]

    def judge_package(label: str, measured: Mapping[Scope, Columns]) -> list[str]:
        from certflow.checks import frame, judge  # late: pandas and Great Expectations take seconds to import

        told, judgements = [], []
        for scope, columns in measured.items():
            chosen = [rule for rule in rules if rule.scope is scope]
            length = len(next(iter(columns.values()), ()))
            suites.require_columns(chosen, frozenset(columns))
            if not chosen or not length:
                continue
            wanted = {name for rule in chosen for name in rule.columns}
            [judgement] = judge.judge(frame.build(columns, wanted, length), chosen)
            judgements.append(judgement)
            for breach in judgement.breaches:
                told += [_told(breach.rule, columns, line) for line in breach.lines]
        judge.write_results(judgements, settings.path("quality"), label)
        return told

    return judge_package


def _told(rule: suites.Rule, columns: Columns, line: int) -> str:
    words = {name: columns[name][line] for name in rule.placeholders}
    return f"{rule.code} {rule.message.format_map(words)}"

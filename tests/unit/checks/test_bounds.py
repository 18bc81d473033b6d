"""Every numeric bound of the suites, judged on both its edges; a bound moved by one is noticed here.

The edges below say what the notice and DOMAIN say, as numbers, and never read the suites. A mutant is a rule with one
of its numbers one step higher or lower: it must speak of other lines than the rule does, or stand in `EQUIVALENT`.
"""

import re
from collections import defaultdict
from dataclasses import replace

import pytest

from certflow.checks import frame, judge, suites
from certflow.findings import Scope
from certflow.settings import Settings

NONE_ALLOWED = {
    "submission": """file_duplicate file_unreadable file_waits zip_junk zip_other zip_encoding zip_wrapper name_form
        name_tolerated name_count name_exam name_exam_unknown name_city name_account name_folder name_archive""",
    "workbook": """book_missing book_second book_sheets book_extra_column book_title_row book_blank_row book_total_row
        book_format book_images""",
    "photo": """photo_renamed photo_extra photo_nameless photo_double photo_other photo_repeated zip_case photo_trailing
        photo_unreadable""",
    "package": """zip_damaged name_form name_count workbook_missing workbook_damaged entries_extra entries_order
        entries_packed names_unreadable names_gbk workbook_sheets workbook_hidden workbook_formulas workbook_active
        header rows_gap row_fields row_type row_format photo_missing photo_bytes""",
}
"""Suite → counts of things of which a single one makes its rule speak."""


def white(share: float, chroma: float, level: float, gradient: float) -> dict[str, object]:
    return {
        "photo_border_white": share, "photo_border_chroma": chroma, "photo_border_level": level,
        "photo_border_gradient": gradient,
    }  # fmt: skip


COLOURED, SHADED, OFF_WHITE = "PHOTO-BACKGROUND", "PHOTO-BACKGROUND 2", "PHOTO-BACKGROUND 3"
DARK = "PHOTO-BACKGROUND-DARK"
EDGES: dict[str, list[tuple[dict[str, object], str]]] = {
    "submission": [
        ({"file_repeated": 0.8, "rows": 10}, "FILE-REPEATED"), ({"file_repeated": 0.795, "rows": 10}, ""),
        ({"file_repeated": 0.9, "rows": 9}, ""),
        ({"months_ahead": 1}, ""), ({"months_ahead": 2}, "NAME-MONTH"),
    ],
    "workbook": [
        ({"shift_share": 0.5, "rows": 20}, "BOOK-SHIFTED"), ({"shift_share": 0.495, "rows": 20}, ""),
        ({"shift_share": 0.9, "rows": 19}, ""),
        ({"cell_longest": 100}, ""), ({"cell_longest": 101}, "CELL-LENGTH"),
    ],
    "application": [
        ({"id_age": 15}, "ID-AGE"), ({"id_age": 16}, ""), ({"id_age": 100}, ""), ({"id_age": 101}, "ID-AGE"),
        ({"name_length": 80}, ""), ({"name_length": 81}, "PERSON-LENGTH"),
        ({"number": "A" * 7}, "NUMBER-FORM"), ({"number": "A" * 8}, ""),
        ({"number": "A" * 32}, ""), ({"number": "A" * 33}, "NUMBER-FORM"),
        ({"number": "1" * 17, "approved_year": 2017}, "NUMBER-PATTERN"),
        ({"number": "1" * 18, "approved_year": 2017}, ""),
        ({"number": "1" * 19, "approved_year": 2017}, "NUMBER-PATTERN"),
        ({"number": "1" * 17, "approved_year": 2016}, ""),
        ({"reissues": 2}, ""), ({"reissues": 3}, "DUP-THIRD"),
    ],
    "photo": [
        ({"photo_zero_run": 15}, ""), ({"photo_zero_run": 16}, "PHOTO-ZEROED"),
        ({"photo_bytes_normal": 10_239, "photo_core_normal": 10_200}, "PHOTO-SIZE"),
        ({"photo_bytes_normal": 10_240, "photo_core_normal": 10_240}, ""),
        ({"photo_bytes_normal": 10_240, "photo_core_normal": 10_239}, "PHOTO-PADDED"),
        ({"photo_bytes_normal": 30_720, "photo_core_normal": 30_720}, ""),
        ({"photo_bytes_normal": 30_721, "photo_core_normal": 30_721}, "PHOTO-SIZE"),
        ({"photo_bytes_large": 30_720, "photo_core_large": 30_700}, "PHOTO-SIZE-LARGE"),
        ({"photo_bytes_large": 30_721, "photo_core_large": 30_721}, ""),
        ({"photo_bytes_large": 30_721, "photo_core_large": 30_720}, "PHOTO-PADDED 2"),
        ({"photo_components": 1}, "PHOTO-GREY"), ({"photo_components": 3}, ""),
        ({"photo_components": 4}, "PHOTO-COLOUR"),
        ({"photo_colour": 4}, ""), ({"photo_colour": 3.9}, "PHOTO-GREY 2"),
        (white(0.945, 8.5, 220, 6), COLOURED), (white(0.945, 8.5, 220, 4), COLOURED), (white(0.95, 8.5, 220, 6), ""),
        (white(0.945, 8, 200, 5.5), SHADED), (white(0.95, 8, 200, 5.5), ""),
        (white(0.945, 8, 200, 5), OFF_WHITE), (white(0.95, 8, 200, 5), ""),
        (white(0.945, 8, 199.5, 5.5), DARK), (white(0.945, 8, 199.5, 5), DARK), (white(0.95, 8, 199.5, 5), ""),
        (white(0.945, 8.5, 199.5, 5), COLOURED),
        ({"photo_blur": 0.72}, ""), ({"photo_blur": 0.725}, "PHOTO-BLUR"),
        ({"photo_light": 65}, ""), ({"photo_light": 64.9}, "PHOTO-EXPOSURE"),
        ({"photo_glare": 0.4, "photo_figure_height": 0.6}, ""),
        ({"photo_glare": 0.405, "photo_figure_height": 0.6}, "PHOTO-EXPOSURE 2"),
        ({"photo_glare": 0.405, "photo_figure_height": 0.595}, "PHOTO-FIGURE 2"),
        ({"photo_difference": 6}, ""), ({"photo_difference": 5.9}, "PHOTO-SAME"),
        ({"photo_figures": 0}, "PHOTO-FIGURE"), ({"photo_figures": 1}, ""), ({"photo_figures": 2}, "PHOTO-FIGURE"),
        ({"photo_faces": 0}, "PHOTO-FACE"), ({"photo_faces": 1}, ""), ({"photo_faces": 2}, "PHOTO-FACE 2"),
        *(
            ({f"photo_face_{side}": value}, f"PHOTO-FACE {place}" if bad else "")
            for place, side, low, high in ((3, "width", 0.31, 0.75), (4, "x", 0.36, 0.64), (5, "y", 0.25, 0.6))
            for value, bad in ((low - 0.005, True), (low, False), (high, False), (high + 0.005, True))
        ),
    ],
    "package": [({"path_length": 200}, ""), ({"path_length": 201}, "PKG-PATH")],
    "return": [
        *(
            ({share: value, "lines": lines}, code if bad else "")
            for share, code in (
                ("shift_share", "RET-SHIFTED"), ("serial_share", "RET-SERIAL-SAME"),
                ("number_share", "RET-SERIAL-NUMBER"),
            )
            for value, lines, bad in ((0.5, 20, True), (0.495, 20, False), (0.9, 19, False))
        ),
        ({"printed_year": 1999}, "RET-DATE-EARLY"), ({"printed_year": 2000}, ""),
    ],
    "registry": [
        ({"number": "1" * 7}, "REG-NUMBER-FORM"), ({"number": "1" * 8}, ""),
        ({"number": "1" * 32}, ""), ({"number": "1" * 33}, "REG-NUMBER-FORM"),
        ({"name_length": 50}, ""), ({"name_length": 51}, "REG-NAME-LENGTH"),
    ],
}  # fmt: skip
"""Suite → what was measured of one line, and the rule that must speak of it (its n-th expectation), no other."""

EQUIVALENT = {
    ("PHOTO-GREY", "min_value", 2, 3): "a picture has one, three or four components",
}
"""Mutants no measured value can tell from the rule: code, argument, from, to → why."""


def rules_with_numbers() -> dict[str, dict[str, suites.Rule]]:
    """Suite → name as in `EDGES` → rule."""
    found: dict[str, dict[str, suites.Rule]] = defaultdict(dict)
    seen: dict[str, int] = defaultdict(int)
    for rule in suites.load(Settings()):
        seen[rule.code] += 1
        if any(numbers(rule)):
            counted = rule.kwargs == {"column": rule.column, "max_value": 0}
            name = rule.code if seen[rule.code] == 1 else f"{rule.code} {seen[rule.code]}"
            found[rule.suite][f"{rule.column} > 0" if counted else name] = rule
    return found


def numbers(rule: suites.Rule):
    """(argument, number, its place in the argument) for each number of a rule."""
    for name, value in rule.kwargs.items():
        if isinstance(value, bool) or name == "column":
            continue
        if isinstance(value, int | float):
            yield name, value, None
        elif name == "row_condition":
            yield from (
                (name, float(one.group()), one.span()) for one in re.finditer(r"(?<![\w'])\d+(?:\.\d+)?", value)
            )
        elif name == "regex":
            for one in re.finditer(r"(?<=[{,])\d+(?=[,}])", value):
                yield name, int(one.group()), one.span()


def mutants(rule: suites.Rule):
    for name, value, span in numbers(rule):
        step = 0.01 if 0 < value < 1 else 1
        for other in (value - step, value + step):
            moved = other
            if span is not None:
                text = rule.kwargs[name]
                moved = f"{text[: span[0]]}{other:g}{text[span[1] :]}"
            kwargs = {**rule.kwargs, name: moved}
            if kwargs.get("min_value", other) <= kwargs.get("max_value", other):  # the judge refuses the others
                yield (rule.code, name, value, other), replace(rule, kwargs=kwargs)


def lines(suite: str) -> list[tuple[dict[str, object], str]]:
    counted = NONE_ALLOWED.get(suite, "").split()
    sides = [(({name: 0}, ""), ({name: 1}, f"{name} > 0")) for name in counted]
    return [*EDGES.get(suite, ()), *(line for both in sides for line in both)]


def judged(suite: str, rules: list[suites.Rule]) -> list[set[int]]:
    """Per rule the lines of the edges of which it speaks."""
    edges = [values for values, _ in lines(suite)]
    wanted = {name for rule in rules for name in rule.columns} | {name for values in edges for name in values}
    columns = {name: [values.get(name) for values in edges] for name in wanted}
    spoken: list[set[int]] = [set() for _ in rules]
    for scope in Scope:
        # One scope is judged at a time; each rule carries its place, so that equal ones stay apart.
        chosen = [(place, replace(rule, title=str(place))) for place, rule in enumerate(rules) if rule.scope is scope]
        if chosen:
            table = frame.build(columns, wanted, len(edges))
            [judgement] = judge.judge(table, [rule for _, rule in chosen])
            for breach in judgement.breaches:
                spoken[int(breach.rule.title)] |= set(breach.lines)
    return spoken


@pytest.mark.parametrize("suite", sorted({*EDGES, *NONE_ALLOWED}))
def test_each_rule_speaks_of_its_side_of_the_edge_alone(suite):
    rules = rules_with_numbers()[suite]
    told = defaultdict(set)
    for name, spoken in zip(rules, judged(suite, [*rules.values()]), strict=True):
        for line in spoken:
            told[line].add(name)
    wrong = [
        (values, must, told[line])
        for line, (values, must) in enumerate(lines(suite))
        if told[line] != ({must} if must else set())
    ]
    assert wrong == []


@pytest.mark.parametrize("suite", sorted(rules_with_numbers()))
def test_each_bound_moved_by_one_is_noticed(suite):
    rules = [*rules_with_numbers()[suite].values()]
    changed = [(place, *mutant) for place, rule in enumerate(rules) for mutant in mutants(rule)]
    sound = judged(suite, rules)
    unnoticed = {
        what
        for (place, what, _), spoken in zip(changed, judged(suite, [rule for *_, rule in changed]), strict=True)
        if spoken == sound[place]
    }
    assert unnoticed == {what for what in EQUIVALENT if what[0] in {rule.code for rule in rules}}

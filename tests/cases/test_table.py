"""The case table in the docs says what the tests say, and none of the families this house answers for has a gap."""

import pytest
import table


def test_the_page_is_in_step_with_the_tests():
    assert table.PAGE.read_text(encoding="utf-8") == table.render(), "run: python tests/cases/table.py"


@pytest.mark.parametrize("family", ["Z", "N", "E", "P", "T", "D"])
def test_no_case_is_without_a_test(family):
    wanted = {f"{family}{number:02d}" for number in range(1, table.FAMILIES[family][1] + 1)}
    assert wanted - set(table.rows()) == set()


def test_no_fault_between_city_province_and_authority_is_without_a_test():
    faults = [*range(1, 21), 26, 27, 28, 31, 32, 33, 43, 47, 49]
    assert {f"F{number:02d}" for number in faults} - set(table.rows()) == set()


def test_each_file_family_goes_through_certflow_check():
    seen = {name for name, rows in table.rows().items() if any(outcome for _, outcome, _ in rows)}
    missing = {
        f"{family}{number:02d}" for family in "ZNEP" for number in range(1, table.FAMILIES[family][1] + 1)
    } - seen
    assert missing == {"N11"}  # needs an account: its test calls the use-case behind the command

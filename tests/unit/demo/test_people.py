from datetime import date

import pytest

from certflow.demo.people import (
    FOREIGNER,
    HONG_KONG,
    OFFICER,
    PASSPORT,
    RESIDENCE_PERMIT,
    RESIDENT,
    TAIWAN,
    People,
    check_sign,
    lengthened,
    shortened,
)
from certflow.identity import checksum_ok, form_ok, sexes

KINDS = {
    RESIDENT: "resident", RESIDENCE_PERMIT: "gat_residence", FOREIGNER: "foreign_residence",
    HONG_KONG: "hk_macau_permit", TAIWAN: "taiwan_permit", PASSPORT: "passport", OFFICER: "officer",
}  # fmt: skip


@pytest.mark.parametrize(
    "number", ["11010519491231002X", "440524188001010014", "810000199408230021", "830000199201300022"]
)
def test_the_generators_own_check_sign_agrees_with_known_numbers(number):
    assert check_sign(number[:17]) == number[17]


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_invented_numbers_have_the_form_of_their_document(name, kind):
    people = People(1)
    numbers = [people.person(kind=name).id_number for _ in range(200)]
    assert form_ok(kind, numbers).all()
    assert len(set(numbers)) == 200


def test_both_witnesses_agree_on_check_signs_and_sexes():
    people = People(2)
    made = [people.person(kind=RESIDENT, born=date(1975, 5, 5)) for _ in range(300)]
    numbers = [one.id_number for one in made]
    assert checksum_ok(numbers).all()
    assert sexes(numbers).tolist() == [one.sex for one in made]


def test_the_short_and_the_long_number_of_a_person_lead_to_each_other():
    assert lengthened(shortened("11010519491231002X")) == "11010519491231002X"

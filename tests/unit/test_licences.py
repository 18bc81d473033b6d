"""docs/licences.md lists every locked package, and what is installed says the same."""

import licences


def test_every_locked_package_has_its_licence():
    page, locked = licences.written(), licences.locked()
    assert len(locked) > 200
    assert set(page) == set(locked)
    assert [name for (name, _version), told in page.items() if not told] == []


def test_what_is_installed_says_the_same():
    said = {one: licences.licence(*one) for one in licences.locked()}
    installed = {one: told for one, told in said.items() if told and one[0] not in licences.ELSEWHERE}
    assert len(installed) > 200
    page = licences.written()
    assert {one: told for one, told in installed.items() if page[one] != told} == {}

"""A city's proofs of the day: made whoever else is at the city's folder at that moment, and never skipped."""

from dataclasses import replace

import pytest
from small_month import Person, SmallMonth

from certflow.registry import proofs
from certflow.settings import Remote
from letter_work import issue_proofs
from workplace import Workplace


@pytest.fixture
def place(settings, registry, actor, tmp_path):
    nowhere = Remote.parse("sftp://province@127.0.0.1:1/", tmp_path / "key", tmp_path / "known_hosts")
    return Workplace(replace(settings, city_sftp=nowhere), registry, actor)


def test_proofs_are_made_while_the_intake_of_these_minutes_has_the_city(place, registry):
    month = SmallMonth(place.settings, registry)
    month.submit([Person(1, state="PROOF")], exam="902")
    with registry.lock("pull:370100"), registry.lock("reply:370100"):
        done = issue_proofs(place, "370100")
    assert (done["qualifications"], bool(done["bundle"])) == (1, True)
    with registry.read() as conn:
        assert len(proofs.register(conn)) == 1

"""What was refused, or printed wrongly, goes up once more: a later batch may hold the very bytes of an earlier one."""

import contextlib

import pytest
from returned import Authority, refused
from round_trip import FolderSession
from small_month import Person, SmallMonth

from certflow.dispatch import send
from certflow.dispatch.approve import approve
from certflow.dispatch.assemble import assemble
from certflow.dispatch.freeze import freeze
from certflow.month import Month
from certflow.registry import packages
from certflow.registry.doctor import examine
from certflow.settings import Remote, Settings

PERSON = Person(1)


@pytest.fixture
def office(settings, tmp_path):
    far = Remote("far", 22, "us", tmp_path / "key", tmp_path / "hosts")
    return Settings(home=settings.home, database_url=settings.database_url, authority_sftp=far)


def test_i4_the_same_bytes_in_a_later_batch_are_sent_and_not_taken_for_the_earlier_ones(
    office, registry, actor, tmp_path, monkeypatch
):
    session = FolderSession(tmp_path / "far")
    monkeypatch.setattr(send, "connect", lambda *_: contextlib.nullcontext(session))
    month, archive = SmallMonth(office, registry), session.root / "归档"
    archive.mkdir(parents=True)
    sent = []
    for _ in range(2):
        ids = month.submit([PERSON])
        batch = freeze(registry, Month(2020, 5), actor)
        (package,) = assemble(office, registry, batch.id, "034", actor)
        approve(registry, batch.id, "王处长", actor)
        assert send.send(office, registry, package, actor) == "SENT"
        sent.append(package)
        there = sorted((session.root / "上报").rglob("*.zip"))
        assert len(there) == 1, "it lies there, and was not taken for the one in the archive"
        if len(sent) == 1:
            there[0].rename(archive / there[0].name)
            Authority(office, registry, actor, tmp_path).applied(refused(PERSON, "材料未到"))
    with registry.read() as conn:
        first, second = (packages.package(conn, one) for one in sent)
    assert first.sha256 == second.sha256
    assert month.states(ids) == ["SENT"]
    assert not any(examine(registry, office).values())

"""What has no room for its logs sends whole packages all the same."""

import logging
import resource

import pytest
from small_month import Person, SmallMonth

from certflow.dispatch.approve import approve
from certflow.dispatch.assemble import assemble
from certflow.dispatch.freeze import freeze
from certflow.dispatch.send import send
from certflow.month import Month
from certflow.registry import ledger
from certflow.registry.doctor import examine

pytestmark = pytest.mark.openssh


def test_f25_a_full_disk_of_the_logs_leaves_no_send_half_done(office, registry, actor, authority):
    month = SmallMonth(office, registry)
    (row,) = month.submit([Person(1)])
    batch = freeze(registry, Month.parse("202005"), actor)
    (package,) = assemble(office, registry, batch.id, "034", actor)
    approve(registry, batch.id, "王处长", actor)
    size, lines = office.audit_heads.stat().st_size, office.home.parent / "lines.log"
    lines.write_bytes(b"." * size)
    log, full = logging.getLogger("certflow"), logging.FileHandler(lines)
    log.addHandler(full)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        log.warning("this line has no room")
        assert send(office, registry, package, actor) == "SENT"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        log.removeHandler(full)
        full.close()
    assert office.audit_heads.stat().st_size == size
    assert send(office, registry, package, actor) == "SENT"
    assert month.states([row]) == ["SENT"]
    assert len([name for name in authority.files() if name.endswith(".zip")]) == 1
    with registry.begin(actor) as conn:
        ledger.note(conn, "disk.mended")  # its head vouches for those that were not written
    assert not any(examine(registry, office).values())

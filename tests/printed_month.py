"""A small month whose rows are printed: the beginning of every test about what happens to the certificates next."""

from pathlib import Path

from small_month import Person, SmallMonth

from certflow.dispatch.approve import approve
from certflow.dispatch.assemble import assemble
from certflow.dispatch.freeze import freeze
from certflow.month import Month
from certflow.registry.ledger import Registry
from certflow.returns.apply import apply, receive
from certflow.returns.reconcile import reconcile
from certflow.settings import Settings

FIRST = Month(2020, 5)


def print_month(
    settings: Settings, registry: Registry, people: list[Person], folder: Path, *, account: str = "370100",
    when: Month = FIRST,
) -> SmallMonth:  # fmt: skip
    """Submit, pack, send and get back as printed; every row is PRINTED afterwards."""
    month = SmallMonth(settings, registry, f"{when}")
    month.submit(people, account=account)
    batch = freeze(registry, when, month.actor)
    (package,) = assemble(settings, registry, batch.id, "034", month.actor)
    approve(registry, batch.id, "王处长", month.actor)
    month.send(package)
    again = "" if when == FIRST else f"-{when}"  # a certificate printed once more has another serial
    lines = [f"{one.management_no},{one.name},{one.identity},SD{one.number}{again},已印制,,20200801" for one in people]
    file = folder / f"returned{again}.csv"
    head = "ZSGLH,KSXM,ZJHM,证书编号,结果,原因,印制日期"
    file.write_text("".join(f"{line}\r\n" for line in (head, *lines)), encoding="gb18030", newline="")
    report = reconcile(settings, registry, receive(settings, registry, file, month.actor), month.actor)
    apply(settings, registry, report.return_id, month.actor)
    return month

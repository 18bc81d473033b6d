"""After a month that went wrong in the usual ways the doctor finds every invariant kept."""

from functools import partial

from small_month import Person, SmallMonth
from sqlalchemy import select

from certflow.dispatch.approve import approve, reject
from certflow.dispatch.assemble import assemble, rebuild
from certflow.dispatch.freeze import freeze
from certflow.month import Month
from certflow.registry import schema
from certflow.registry.doctor import examine
from certflow.returns.apply import apply, receive
from certflow.returns.reconcile import reconcile


def test_a_rejected_package_a_supplement_and_a_partial_return_break_no_invariant(settings, registry, actor, tmp_path):
    month = SmallMonth(settings, registry)
    month.submit([Person(1, photo=b"a" * 900), Person(2, photo=None)], deflate=True)
    batch = freeze(registry, Month(2020, 5), actor)
    assemble(settings, registry, batch.id, "034", actor)
    reject(registry, batch.id, "王处长", "重新核对", actor)
    month.submit([Person(3)], account="370200")
    supplement = freeze(registry, Month(2020, 5), actor, number=1)  # beside what is to be packed again
    for one in (batch, supplement):
        package_id = assemble(settings, registry, one.id, "034", actor)[0]
        approve(registry, one.id, "王处长", actor)
        month.send(package_id)
    file = tmp_path / "returned.csv"
    people = [Person(1), Person(2)]
    lines = [f"{one.management_no},{one.name},{one.identity},SD{one.number},已印制,,20200801" for one in people]
    file.write_text("\n".join(["ZSGLH,KSXM,ZJHM,证书编号,结果,原因,印制日期", *lines, ""]), encoding="gb18030")
    report = reconcile(settings, registry, receive(settings, registry, file, actor), actor)
    assert apply(settings, registry, report.return_id, actor).counts["printed"] == 2
    found = examine(registry, settings, rebuild=partial(rebuild, settings, registry))
    assert {name: problems for name, problems in found.items() if problems} == {}
    with registry.read() as conn:
        states = conn.scalars(select(schema.packages.c.state).order_by(schema.packages.c.id)).all()
    assert states == ["REJECTED", "SENT", "SENT"]

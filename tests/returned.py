"""What the authority returns about a small month, and what the ledger then holds: for the tests of returns."""

from sqlalchemy import select, text

from certflow.dispatch.approve import approve
from certflow.dispatch.assemble import assemble
from certflow.dispatch.freeze import freeze
from certflow.month import Month
from certflow.registry import schema
from certflow.registry.reprints import IN_FORCE
from certflow.returns.apply import apply, receive
from certflow.returns.reconcile import reconcile

HEADER = "ZSGLH,KSXM,ZJHM,证书编号,结果,原因,印制日期"


class Authority:
    """Sends returns about a month of people."""

    def __init__(self, settings, registry, actor, folder):
        self.settings, self.registry, self.actor, self.folder = settings, registry, actor, folder
        self.files = 0

    def returns(self, *lines):
        self.files += 1
        file = self.folder / f"返回{self.files}.csv"
        file.write_text("".join(f"{line}\r\n" for line in (HEADER, *lines)), encoding="utf-8-sig", newline="")
        return receive(self.settings, self.registry, file, self.actor)

    def reconciled(self, *lines):
        return self.again(self.returns(*lines))

    def again(self, return_id):
        return reconcile(self.settings, self.registry, return_id, self.actor)

    def applied(self, *lines):
        return apply(self.settings, self.registry, self.reconciled(*lines).return_id, self.actor)


def printed(person, serial=None, **changed):
    values = {"name": person.name, "id": person.identity, "day": "20200801"} | changed
    serial = serial or f"SD{person.number}"
    return f"{person.management_no},{values['name']},{values['id']},{serial},已印制,,{values['day']}"


def refused(person, reason="照片不合格"):
    return f"{person.management_no},{person.name},{person.identity},,退回,{reason},"


def sent(settings, registry, actor, month, people, *, state="SENT"):
    """Ids of the rows of `people`, brought up to `state` (SENT, SENDING, BUILT)."""
    ids = month.submit(people)
    batch = freeze(registry, Month.parse(month.month), actor)
    package_id = assemble(settings, registry, batch.id, "034", actor)[0]
    if state != "BUILT":
        approve(registry, batch.id, "王处长", actor)
    if state == "SENT":
        month.send(package_id)
    elif state == "SENDING":
        month.begin_sending(package_id)
    return ids


def events(registry):
    with registry.read() as conn:
        query = select(schema.print_events.c.serial, schema.print_events.c.mark, schema.print_events.c.voids)
        return [tuple(one) for one in conn.execute(query.order_by(schema.print_events.c.id))]


def in_force(registry):
    """Management number → serial that holds, of every certificate."""
    with registry.read() as conn:
        return dict(
            conn.execute(
                text(f"""
                    SELECT c.management_no, coalesce((SELECT p.serial FROM print_events p
                        WHERE p.certificate_id = c.id AND {IN_FORCE} ORDER BY p.id DESC LIMIT 1), c.serial)
                    FROM certificates c""")
            )
            .tuples()
            .all()
        )


def identities(registry):
    """Everything the database holds of the people, rows and certificates, as one comparable value."""
    with registry.read() as conn:
        certificates = conn.execute(select(schema.certificates).order_by(schema.certificates.c.id)).all()
        rows = conn.execute(
            text("SELECT id, management_no, name, id_number, level, specialty, approved_on, sent FROM rows ORDER BY id")
        ).all()
    return [tuple(one) for one in certificates], [(*one[:-1], str(one[-1])) for one in rows]

"""A small province for tests of the desk: two cities with everything a page shows, their people's names being markup.

Whatever belongs to 青岛市 has a mark of its own (`QINGDAO`), so that a page of 济南市 can be searched for it.
"""

from dataclasses import dataclass, field
from pathlib import Path

from made_submissions import portrait
from printed_month import print_month
from small_month import Person, SmallMonth
from sqlalchemy import insert, select, text, update

from certflow.proofs import issue, requests
from certflow.registry import schema

MARKUP = "<script>alert(1)</script>{{7*7}}"
QINGDAO = "岛"
"""Stands in every name of 青岛市."""
ACCOUNTS = {"370100": "济", "370200": QINGDAO}


@dataclass
class World:
    """The province and what may be asked for."""

    settings: object
    registry: object
    actor: object
    month: SmallMonth
    held: dict[str, str] = field(default_factory=dict)
    """Account → record id of its held row."""
    photos: dict[str, str] = field(default_factory=dict)
    """Account → what people call the photo of that row."""
    errors: dict[str, int] = field(default_factory=dict)
    """Account → id of a finding that counts against it."""

    def ask(self, query: str) -> list:
        with self.registry.read() as conn:
            return list(conn.scalars(text(query)))

    @property
    def head(self) -> int:
        """The newest link of the chain: it stays where it is as long as nothing is written."""
        return self.ask("SELECT coalesce(max(seq), 0) FROM audit")[0]

    @property
    def noted(self) -> list[str]:
        """Payloads of the links that say who saw what."""
        return self.ask("SELECT payload FROM audit WHERE payload LIKE '%\"unmasked\"%' ORDER BY seq")


def found(world: World, row_id: int, rule: str, severity: str, **values: str) -> int:
    """Write a finding about a row; its id."""
    with world.registry.begin(world.actor) as conn:
        file_id, submission_id, row_no = conn.execute(
            select(schema.submission_files.c.file_id, schema.rows.c.submission_id, schema.rows.c.row_no)
            .join(schema.rows, schema.rows.c.submission_id == schema.submission_files.c.submission_id)
            .where(schema.rows.c.id == row_id)
        ).one()
        line = {
            "file_id": file_id, "submission_id": submission_id, "row_id": row_id, "rule": rule, "severity": severity,
            "scope": "row", "row_no": row_no, "message": "姓名不同", "masked": "姓名不同", "remedy": "请核对",
            "rule_set": "2020",
        }  # fmt: skip
        return conn.execute(
            insert(schema.findings).values(**line, **values).returning(schema.findings.c.id)
        ).scalar_one()


def build(settings, registry, actor, folder: Path, *, papers: bool = True) -> World:
    """Each city: a held row with a photo, a returned one with its finding, an accepted one.

    With `papers` also a printed row (by way of a return) and a proof.
    """
    world = World(settings, registry, actor, SmallMonth(settings, registry))
    for first, (account, mark) in enumerate(ACCOUNTS.items(), start=1):
        if papers:
            print_month(settings, registry, [Person(100 * first + 1, name=f"印{mark}")], folder, account=account)
    world.month.month = "202006"
    for first, (account, mark) in enumerate(ACCOUNTS.items(), start=100):
        _submit(world, account, mark, first * 100)
        if papers:
            proved = Person(first * 100 + 5, photo=None, state="PROOF", name=f"证{mark}")
            world.month.submit([proved], exam="902", account=account)
            requests.answer_qualifications(issue.open_office(settings, registry, actor), account)
    theirs = update(schema.certificates).where(schema.certificates.c.name.contains(QINGDAO)).values(city="青岛市")
    with registry.begin(actor) as conn:
        conn.execute(theirs)
    return world


def _submit(world: World, account: str, mark: str, first: int) -> None:
    people = [
        Person(first + 2, photo=portrait(1), name=f"{MARKUP}{mark}", state="HELD"),
        Person(first + 3, name=f"退{mark}", state="RETURNED"),
        Person(first + 4, name=f"收{mark}"),
    ]
    held, returned, _ = world.month.submit(people, account=account)
    found(world, held, "DB-NAME-VARIANT", "hold", field="KSXM", sent=f"=cmd|{mark}", registry=f"{mark}证")
    world.errors[account] = found(world, returned, "DB-NAME", "error", field="KSXM")
    sent = {"KSXM": f"{MARKUP}{mark}", "ZJHM": people[0].identity}
    with world.registry.begin(world.actor) as conn:
        conn.execute(update(schema.rows).where(schema.rows.c.id == held).values(sent=sent))
        tag, record = conn.execute(text(_PLACES), {"row": held}).one()
    world.photos[account], world.held[account] = tag, record


_PLACES = """
    SELECT 'F' || lpad(e.file_id::text, 6, '0') || '-' || lpad(e.ordinal::text, 4, '0'), r.record_id
    FROM rows r JOIN entries e ON e.id = r.photo_entry_id WHERE r.id = :row
"""

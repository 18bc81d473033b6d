"""One city's day: what lies in its drop folders comes in, what is to be mailed is ordered, the rest is kept."""

from dataclasses import asdict, dataclass
from typing import Any

from certflow.delivery import drops, orders, pickup
from certflow.delivery.profile import CHOICES, EMS
from certflow.delivery.take import KNOWN, Taken, take_file
from certflow.reference import Reference
from certflow.registry import deliveries as ledger
from certflow.registry.ledger import Actor, Registry
from certflow.settings import Settings

DROPS = {CHOICES: "收件名单", EMS: "EMS回传"}
"""Kind of list → the drop folder of a city below ``delivery/<account>``."""
EVIDENCE_DROP = "领取凭证"


@dataclass(frozen=True, slots=True)
class Day:
    """What one round did for a city; counts and ids only."""

    account: str
    applied: int
    unchanged: int
    """Lists that came again and changed nothing."""
    held: tuple[int, ...]
    """Ids of lists that wait for a person."""
    against: tuple[str, ...]
    """Record ids of certificates about which a line of EMS contradicts what is known: told this once."""
    foreign: tuple[int, ...]
    """Ids of lists of EMS of which not one line is about anything of ours: told this once."""
    unread: int
    """Files, and folders, in its drop folders that we may not read."""
    refused: int
    """Files in the folder for evidence that are none by their suffix or size: left where they are."""
    evidence: int
    at_desk: int
    ordered: int
    handed: int
    closed: int
    unlinked: int
    elsewhere: int
    """Certificates that were signed for at the desk and are not there, by what is known."""
    without_address: int
    overtaken: tuple[str, ...]
    """Record ids of what EMS was told to carry before its holder chose otherwise."""

    def as_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)


def run_city(settings: Settings, registry: Registry, reference: Reference, account: str, actor: Actor) -> Day:
    """Everything that is due for a city; may be repeated at any time. Two at once for one city: the second is Busy."""
    with registry.lock(f"delivery:{account}"):
        taken: list[Taken] = []
        unread = 0
        for kind, drop in DROPS.items():
            folder = orders.folder(settings, account, drop)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            files, closed = drops.files_below(folder, settings.look_seconds)
            unread += closed
            for file in files:
                whose = account if kind == CHOICES else ""
                placed = file.stat().st_ctime  # what copying keeps of a file's times is not this one
                taken.append(take_file(settings, registry, kind, file, actor=actor, account=whose, placed=placed))
                if taken[-1].state == "APPLIED":  # a held one stays for the operator
                    drops.take_away(file, taken[-1].sha256)
        evidence = orders.folder(settings, account, EVIDENCE_DROP)
        evidence.mkdir(mode=0o700, parents=True, exist_ok=True)
        dropped = pickup.import_folder(settings, registry, account, evidence, actor=actor, take_away=True)
        made = orders.order_list(settings, registry, account, reference.cities[account].name, actor)
        with registry.begin(actor) as conn:
            ledger.take_turn(conn)
            kept = ledger.to_desk(conn, account, settings.delivery_way)
        with registry.read() as conn:
            late = ledger.overtaken(conn, account)
            lacking = ledger.without_address(conn, account) if settings.delivery_way == "mail" else 0
    return Day(
        account=account,
        applied=sum(one.state == "APPLIED" and one.reason != KNOWN for one in taken),
        unchanged=sum(one.reason == KNOWN for one in taken),
        held=tuple(one.file_id for one in taken if one.state == "HELD"),
        against=tuple(sorted({record for one in taken for record in one.contradicted})),
        foreign=tuple(
            one.file_id
            for one in taken
            if one.reason != KNOWN and one.counts.get("unknown", 0) == one.counts.get("lines")
        ),
        unread=unread + dropped.unread,
        refused=dropped.refused,
        evidence=dropped.new,
        at_desk=kept,
        ordered=made.lines if made else 0,
        handed=dropped.handed,
        closed=dropped.closed,
        unlinked=dropped.unlinked,
        elsewhere=len(pickup.elsewhere(registry, account)),
        without_address=lacking,
        overtaken=tuple(late),
    )

"""Lists about deliveries come in: choices of a city, waybills and tracking of EMS, issue data of the province's system.

A list is an original like any other, is applied whole or, with the reason, not at all (HELD), and counts once however
often it comes. Only choices may come again with the same bytes and mean something: where the mail came back, or a later
list chose otherwise. Tracking lines come late, twice and in any order: each is recorded once, and the certificate is
only ever moved forward along its graph.
"""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from certflow import originals, vault
from certflow.delivery import profile as profiles
from certflow.delivery import walk
from certflow.delivery.pickup import SIGNATURE
from certflow.delivery.profile import CHOICES, EMS, Line, Profile
from certflow.delivery.states import WORDS
from certflow.errors import ConfigurationError, Conflict, SubmissionError
from certflow.naming import readable
from certflow.privacy import mask_text
from certflow.registry import deliveries as ledger
from certflow.registry import pickups, retention
from certflow.registry.ledger import Actor, Registry, note
from certflow.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

_SHOWN = 20
KNOWN = "以前已经导入过，这次未起作用"
_GONE = "这份名单没有采用，保存期限已满，已经删除；仍然有用的，请另做一份再报"
_AGAIN = "以前已经导入过，有变动的这次重新起作用"


@dataclass(frozen=True, slots=True)
class Taken:
    """What one list did; row numbers and counts, no personal data.

    Counts: lines; mail, pickup; moved, waybill, late, against (`walk.EFFECTS`), repeated, unknown.
    """

    file_id: int
    name: str
    state: str
    """APPLIED | HELD"""
    size: int
    """Bytes."""
    sha256: str
    reason: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    unknown: tuple[int, ...] = ()
    """Rows about what is not ours."""
    against: tuple[int, ...] = ()
    """Rows that contradict what is known: a person looks at them."""
    contradicted: tuple[str, ...] = ()
    """Record ids of the certificates they speak of."""


def take_file(
    settings: Settings,
    registry: Registry,
    kind: str,
    file: Path,
    *,
    actor: Actor,
    account: str = "",
    placed: float | None = None,
) -> Taken:
    """Take in one list; `account` for the choices of a city. May be repeated at any time.

    `placed`: second at which a file came into its drop folder; where its choices were made after that, a run died
    before it took the file away, and nobody sent it again.

    Raises:
        ConfigurationError: the file cannot be opened, or its profile is wrong.
    """
    try:
        data = vault.read_bytes(file)
    except OSError as error:
        raise ConfigurationError(f"文件无法读取：{error.strerror}") from None
    name = mask_text(readable(file.name))
    digest = originals.keep(settings, data)
    profile = profiles.load_profile(settings, kind)
    arrived = {"kind": kind, "account": account, "name": name, "sha256": digest, "size": len(data)}
    with registry.begin(actor) as conn:
        file_id, state = ledger.record_file(conn, arrived)
        whole = Taken(file_id, name, "APPLIED", len(data), digest)
        if state == "HELD" and digest in retention.gone(conn):
            return replace(whole, state="HELD", reason=_GONE)
        if state == "APPLIED" and (kind != CHOICES or _over(conn, whole, placed)):
            return _unchanged(conn, whole)
    try:
        lines = profiles.read_lines(settings, profile, data)
        with registry.begin(actor) as conn:
            ledger.take_turn(conn)
            again = ledger.record_file(conn, arrived)[1] == "APPLIED"
            if kind == CHOICES:
                taken = _choose(conn, whole, account, lines, again=again)
            else:
                taken = _unchanged(conn, whole) if again else _track(conn, whole, profile, lines)
            if taken.reason != KNOWN:
                ledger.settle_file(conn, file_id, "APPLIED", "", taken.counts)
                note(conn, "delivery list", file=file_id, kind=kind, account=account, sha256=digest, **taken.counts)
            return taken
    except SubmissionError as error:
        reason = profiles.told(profile, error)
        with registry.begin(actor) as conn:
            ledger.settle_file(conn, file_id, "HELD", reason, {})
            note(conn, "delivery list held", file=file_id, kind=kind, account=account, sha256=digest, reason=reason)
        return replace(whole, state="HELD", reason=reason)


def move(
    registry: Registry, name: str, state: str, *, by: str, reason: str, actor: Actor, shown: str = ""
) -> ledger.Known:
    """A person's decision about one certificate: withheld, released to the desk, to be picked up, handed out, signed.

    `name`: 管理号, whose newest certificate is meant, or record id; `shown`: the state the person decided upon. What
    counts as handed out and never was goes back to the desk, unless a signature stands against it.

    Raises:
        Conflict: no such delivery, it is no longer in the state shown, no way from there to that one, or nobody says
            who and why.
    """
    if not by.strip() or not reason.strip():
        raise Conflict("改变发放状态须写明由谁决定和原因")
    with registry.begin(actor) as conn:
        ledger.take_turn(conn)
        found = ledger.named(conn, name.strip())
        if found is None:
            raise Conflict("没有这个管理号的已印制证书")
        if shown not in ("", found.state):
            raise Conflict(f"这本证书现在的状态是“{WORDS[found.state]}”，与页面上的不同，未作更改；请刷新后再定")
        if (found.state, state) == ("HANDED", "KEPT"):
            if SIGNATURE in pickups.kinds(conn, [found.id])[found.id]:
                raise Conflict("这本证书有领取签名；关联错了的，先用 certflow delivery evidence unlink 撤销关联")
            ledger.take_back(conn, found.id)
        elif (found.state, state) not in walk.MOVES:
            raise Conflict("证书现在的发放状态不能改为所要的状态，请先用 certflow trace 查看")
        else:
            ledger.advance(conn, {found.id: state})
        ledger.settle_rows(conn)
        note(conn, "delivery decision", delivery=found.id, record=found.record_id, to=state, by=by, reason=reason)
    return found


def _over(conn: "Connection", whole: Taken, placed: float | None) -> bool:
    """Whether an applied list of choices was left behind in its drop folder, or its time to be kept is over."""
    if placed is not None and dt.datetime.fromtimestamp(placed, dt.UTC) < ledger.chosen_at(conn, whole.file_id):
        return True
    return whole.sha256 in retention.gone(conn)


def _unchanged(conn: "Connection", whole: Taken) -> Taken:
    return replace(whole, reason=KNOWN, counts=ledger.file_counts(conn, whole.file_id))


def _choose(conn: "Connection", whole: Taken, account: str, lines: Sequence[Line], *, again: bool) -> Taken:
    """Write the choices of a list that differ from what counts now; of one that comes `again` for what is under way."""
    known = ledger.requested(conn, account, [line.texts["management_no"] for line in lines])
    rows: dict[str, int] = {}
    for line in lines:
        number = line.texts["management_no"]
        if number not in known:
            raise SubmissionError("DELIVERY-VALUE", f"第 {line.row_no} 行的管理号在本市没有补换申请")
        if number in rows:
            raise SubmissionError("DELIVERY-VALUE", f"第 {line.row_no} 行与第 {rows[number]} 行是同一个管理号")
        rows[number] = line.row_no
    fields = ("way", "recipient", "phone", "postcode", "address")
    choices = {
        one.texts["management_no"]: {key: one.texts.get(key, "") for key in fields} | {"way": one.word} for one in lines
    }
    now = ledger.counting(conn, account, list(choices))
    choices = {
        number: one
        for number, one in choices.items()
        if (number in now or not again) and tuple(one.values()) != now.get(number)
    }
    if again and not choices:
        return _unchanged(conn, whole)
    ledger.add_choices(
        conn, whole.file_id, account,
        [{"row_no": rows[number], "management_no": number} | one for number, one in choices.items()],
    )  # fmt: skip
    ways = Counter(one["way"] for one in choices.values())
    counts = {"lines": len(lines), "mail": ways["mail"], "pickup": ways["pickup"]}
    if repeated := len(lines) - len(choices):
        counts |= {"repeated": repeated}
    return replace(whole, reason=_AGAIN if again else "", counts=counts)


def _track(conn: "Connection", whole: Taken, profile: Profile, lines: Sequence[Line]) -> Taken:
    """Sort the lines by certificate, walk each certificate along its graph, write what came of it."""
    places = _located(conn, profile, lines)
    known = {one.id: one for found in places.values() for one in found}
    about: dict[int, list[Line]] = defaultdict(list)
    for line in lines:
        for one in places.get(line.row_no, ()):
            about[one.id].append(line)
    told = ledger.known_events(conn, known)
    walks = {one: walk.walk(known[one].state, known[one].waybill, mine, told[one]) for one, mine in about.items()}
    ledger.add_events(
        conn,
        [
            {"delivery_id": one, "file_id": whole.file_id, **event._asdict()}
            for one, walked in walks.items()
            for event in walked.events
        ],
    )
    ledger.give_waybills(conn, {one: walked.waybill for one, walked in walks.items() if walked.waybill})
    steps = {one: list(walked.steps) for one, walked in walks.items()}
    while steps := {one: rest for one, rest in steps.items() if rest}:
        ledger.advance(conn, {one: rest.pop(0) for one, rest in steps.items()})
    ledger.settle_rows(conn)
    effects: Counter[str] = Counter(event.effect for walked in walks.values() for event in walked.events)
    unknown = [line.row_no for line in lines if not places.get(line.row_no)]
    against = sorted(
        (event.row_no, known[one].record_id)
        for one, walked in walks.items()
        for event in walked.events
        if event.effect == "against"
    )
    counts = {"lines": len(lines)} | {effect: effects[effect] for effect in walk.EFFECTS}
    counts |= {"repeated": sum(one.repeated for one in walks.values()), "unknown": len(unknown)}
    return replace(
        whole, counts=counts, unknown=tuple(unknown[:_SHOWN]), against=tuple(row_no for row_no, _ in against[:_SHOWN]),
        contradicted=tuple(sorted({record for _, record in against})),
    )  # fmt: skip


def _located(conn: "Connection", profile: Profile, lines: Sequence[Line]) -> dict[int, tuple[ledger.Known, ...]]:
    """Row number → the deliveries it speaks of: one parcel may hold several certificates."""
    if profile.kind != EMS:
        numbers = ledger.by_number(conn, [line.texts["management_no"] for line in lines])
        found = {line.row_no: numbers.get(line.texts["management_no"]) for line in lines}
        return {row_no: (one,) for row_no, one in found.items() if one is not None}
    orders = ledger.by_order(conn, [line.texts["order"] for line in lines if line.texts.get("order")])
    parcels = ledger.by_waybill(conn, [line.texts["waybill"] for line in lines])
    for line in lines:  # a file may give a waybill in one line and track it in another
        one = orders.get(line.texts.get("order", ""))
        if one is not None and one not in parcels[line.texts["waybill"]]:
            parcels[line.texts["waybill"]].append(one)
    places: dict[int, tuple[ledger.Known, ...]] = {}
    for line in lines:
        one = orders.get(line.texts.get("order", ""))
        places[line.row_no] = (one,) if one is not None else tuple(parcels[line.texts["waybill"]])
    return places

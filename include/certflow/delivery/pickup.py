"""Evidence of pick-ups: what document camera, signature pad and ID reader drop into a folder (DOMAIN §5).

Every file becomes an original, is linked to the certificate its name points to (管理号, record id, or the holder's ID
number where that is unambiguous), or waits in the list of unlinked ones for a person; none is ever lost. A signature
hands the certificate out; the row is CLOSED once everything the rule asks for is there, a proxy's papers included.
"""

import hashlib
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certflow import keys, originals, vault
from certflow.delivery import drops
from certflow.delivery.profile import EVIDENCE, read_toml
from certflow.errors import ConfigurationError, Conflict, DigestMismatch
from certflow.naming import readable
from certflow.registry import deliveries, pickups, retention
from certflow.registry.ledger import Actor, Registry, note
from certflow.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

SIGNATURE = "signature"
_TOKEN = re.compile(r"[0-9A-Z]{6,32}")
_RECORD = re.compile(r"[0-9A-Z]+-[0-9]{6}-[0-9A-Z]+-(?:V[0-9]+-)?[0-9]{6}")
_TO_HANDED = {
    "PRINTED": ("KEPT", "HANDED"),
    "KEPT": ("HANDED",),
    "PICKUP": ("HANDED",),
    "EXPIRED": ("HANDED",),
    "RETURNED": ("PICKUP", "HANDED"),
}
"""From where a certificate can be handed out at the desk, and by which steps."""
_GONE = "的保存期限已满，原件已删除"
_ELSEWHERE = ("PUSHED", "COLLECTED", "UNDERWAY", "WITHHELD")
"""Where a certificate is that nobody can sign for at the desk, by what is known."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The evidence profile: which names say what a file is, and what a pick-up needs."""

    suffixes: frozenset[str]
    kinds: tuple[tuple[str, tuple[str, ...]], ...]
    names: dict[str, str]
    holder: frozenset[str]
    proxy: frozenset[str]
    proxy_if: frozenset[str]

    def missing(self, there: set[str]) -> list[str]:
        """Names of what is missing; with a proxy's paper among it, by the rule for proxies (代领)."""
        needed = self.proxy if there & self.proxy_if else self.holder
        return [self.names[kind] for kind in self.names if kind in needed - there]

    def kind_of(self, path: str) -> str:
        """What a file is by its name and the folders it lies in; empty where they do not say."""
        return next((kind for kind, words in self.kinds if any(word in path for word in words)), "")


@dataclass(frozen=True, slots=True)
class Dropped:
    """What one folder held; counts only."""

    files: int
    new: int
    known: int
    """Linked before, whatever became of it, or purged: nothing was done about them."""
    linked: int
    unlinked: int
    refused: int
    """Not evidence by their suffix, empty, or too large: left where they are."""
    unread: int
    """Those, and folders, that we may not read: left as well."""
    handed: int
    closed: int


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A certificate that was handed out without everything the rule asks for."""

    record_id: str
    management_no: str
    missing: tuple[str, ...]


def load_rules(settings: Settings) -> Rules:
    """The profile (``templates/delivery-evidence.toml``); ConfigurationError names what is wrong."""
    table: dict[str, Any] = read_toml(settings, EVIDENCE)
    try:
        kinds = tuple((kind, tuple(_folded(word) for word in words)) for kind, words in table["kinds"].items())
        names = {str(kind): str(name) for kind, name in table["names"].items()}
        need = {part: frozenset(table["required"][part]) for part in ("holder", "proxy", "proxy_if")}
        suffixes = frozenset(str(one).lower() for one in table["suffixes"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"delivery-evidence.toml 缺少或写错：{error}") from None
    if unknown := {kind for kind, _ in kinds}.union(*need.values()) ^ names.keys():
        raise ConfigurationError(
            f"delivery-evidence.toml：kinds、names、required 三处的项不一致：{'、'.join(sorted(unknown))}"
        )
    return Rules(suffixes, kinds, names, need["holder"], need["proxy"], need["proxy_if"])


def import_folder(
    settings: Settings, registry: Registry, account: str, folder: Path, *, actor: Actor, take_away: bool = False
) -> Dropped:
    """Take in every file below a folder; may be repeated at any time: a file that was linked once is left at that.

    Unless it is somebody else's, too: of several people one proxy may show one letter, his card and one signed sheet.

    `take_away`: leave what is still being written, and remove what is safely in the store.

    Raises:
        ConfigurationError: the folder cannot be read, or the profile is wrong.
    """
    rules = load_rules(settings)
    if not folder.is_dir():
        raise ConfigurationError("没有这个文件夹")
    found, refused = [], 0
    files, unread = drops.files_below(folder, settings.look_seconds if take_away else 0.0)
    for path in files:
        if not _fits(settings, rules, path):
            refused += 1
            continue
        data = vault.read_bytes(path)
        name = readable(str(path.relative_to(folder)))
        kind = rules.kind_of(_folded(name))
        piece = {"account": account, "name": name, "sha256": originals.keep(settings, data), "size": len(data)}
        found.append((path, piece | {"kind": kind}))
    new = linked = known = 0
    with registry.begin(actor) as conn:
        deliveries.take_turn(conn)
        places = _Places(conn, account, [_folded(str(piece["name"])) for _, piece in found])
        recorded = [(piece, *pickups.record(conn, piece)) for _, piece in found]
        before = pickups.linked(conn, [kept.id for _, kept, _ in recorded])
        gone = retention.gone(conn)
        for piece, kept, is_new in recorded:
            new += is_new
            place = places.of(_folded(str(piece["name"])))
            people = {keys.id_key(number) for number in before.get(kept.id, ())}
            if kept.sha256 in gone or (people and (place is None or keys.id_key(place.id_number) in people)):
                known += 1  # linked once, or taken back: its name may point to a certificate printed since
                continue
            if place is None or not piece["kind"]:
                continue
            linked += pickups.link(conn, kept.id, place.delivery_id, str(piece["kind"]), actor.who)
        handed, closed = _settle(conn, rules, account)
        left = len(pickups.unlinked(conn, account))
        if new or linked:
            note(conn, "pickup evidence", account=account, files=new, links=linked, handed=handed, closed=closed)
    if take_away:
        for path, piece in found:
            drops.take_away(path, str(piece["sha256"]))
    return Dropped(len(found), new, known, linked, left, refused, unread, handed, closed)


def link(
    settings: Settings, registry: Registry, file_id: int, management_no: str, *, kind: str, by: str, actor: Actor
) -> list[str]:
    """Say whose evidence a file is; what is still missing for that certificate, by name.

    Raises:
        Conflict: no such file, no printed certificate of this number in the file's city, no such kind.
    """
    rules = load_rules(settings)
    kinds = {name: key for key, name in rules.names.items()}
    with registry.begin(actor) as conn:
        deliveries.take_turn(conn)
        piece = pickups.piece(conn, file_id)
        if piece is None:
            raise Conflict("没有这个编号的凭证文件")
        if piece.sha256 in retention.gone(conn):
            raise Conflict(f"凭证 {file_id} {_GONE}")
        said = kinds.get(kind, "") or piece.kind
        if not said:
            raise Conflict(f"请写明凭证种类：{'、'.join(rules.names.values())}")
        place = pickups.places_by_number(conn, piece.account, [management_no]).get(management_no)
        if place is None:
            raise Conflict("凭证所属的地市没有这个管理号的已印制证书")
        pickups.link(conn, file_id, place.delivery_id, said, by)
        _settle(conn, rules, piece.account)
        note(conn, "pickup link", file=file_id, delivery=place.delivery_id, kind=said, by=by)
        return rules.missing(pickups.kinds(conn, [place.delivery_id])[place.delivery_id])


def unlink(
    settings: Settings, registry: Registry, file_id: int, management_no: str, *, by: str, reason: str, actor: Actor
) -> list[str]:
    """Take back that a file is evidence for a certificate; what is missing for that certificate now, by name.

    File and link stay on record. A certificate that was closed with it is no longer; whether it was handed out at all
    is the person's to say (`take.move`).

    Raises:
        Conflict: nothing links the two, or nobody says who and why.
    """
    if not by.strip() or not reason.strip():
        raise Conflict("撤销须写明由谁决定和原因")
    rules = load_rules(settings)
    with registry.begin(actor) as conn:
        deliveries.take_turn(conn)
        found = pickups.unlink(conn, file_id, management_no, by, reason)
        if not found:
            raise Conflict("这个凭证文件没有关联到这本证书")
        there = pickups.kinds(conn, [delivery for delivery, _ in found])
        missing = {delivery: rules.missing(there[delivery]) for delivery, _ in found}
        pickups.reopen(conn, [delivery for delivery, lacking in missing.items() if lacking])
        for delivery, kind in found:
            note(conn, "pickup unlink", file=file_id, delivery=delivery, kind=kind, by=by, reason=reason)
        return missing[found[-1][0]]


def status(settings: Settings, registry: Registry, account: str = "") -> tuple[list[Incomplete], list[pickups.Piece]]:
    """Certificates handed out with evidence missing, and files that belong to none."""
    rules = load_rules(settings)
    with registry.read() as conn:
        places = pickups.handed(conn, account)
        there = pickups.kinds(conn, [one.delivery_id for one in places])
        lost = pickups.unlinked(conn, account)
    return [
        Incomplete(one.record_id, one.management_no, tuple(rules.missing(there[one.delivery_id]))) for one in places
    ], lost


def elsewhere(registry: Registry, account: str = "") -> list[pickups.Place]:
    """Certificates that were signed for at the desk and should not have been there: a person says where they are."""
    with registry.read() as conn:
        return pickups.signed(conn, account, SIGNATURE, _ELSEWHERE)


def original_of(settings: Settings, registry: Registry, file_id: int) -> tuple[pickups.Piece, bytes]:
    """A file of evidence, for a person to look at; DigestMismatch when its bytes have changed."""
    with registry.read() as conn:
        piece = pickups.piece(conn, file_id)
        gone = retention.gone(conn)
    if piece is None:
        raise Conflict("没有这个编号的凭证文件")
    if piece.sha256 in gone:
        raise Conflict(f"凭证 {file_id} {_GONE}")
    path = settings.original(piece.sha256)
    data = vault.read_bytes(path) if path.is_file() else b""
    if hashlib.sha256(data).hexdigest() != piece.sha256:
        raise DigestMismatch(f"凭证 {file_id} 的原件丢失或被改动，请运行 certflow doctor")
    return piece, data


def settle(settings: Settings, registry: Registry, account: str, actor: Actor) -> tuple[int, int]:
    """Hand out and close what the evidence at hand allows: (handed, closed)."""
    with registry.begin(actor) as conn:
        deliveries.take_turn(conn)
        return _settle(conn, load_rules(settings), account)


class _Places:
    """Which delivery the name of a file points to."""

    def __init__(self, conn: "Connection", account: str, names: list[str]) -> None:
        tokens = {token for name in names for token in _tokens(name)}
        self._numbers = pickups.places_by_number(conn, account, tokens)
        spelled = {number for token in tokens for number in keys.id_spellings(token)}
        self._people: defaultdict[str, list[pickups.Place]] = defaultdict(list)
        for number, places in pickups.places_by_person(conn, account, spelled).items():
            self._people[keys.id_key(number)] += places

    def of(self, name: str) -> pickups.Place | None:
        """One delivery, or None where the name points to none, to several, or to one person's by another's number."""
        tokens = _tokens(name)
        named = {self._numbers[token].delivery_id: self._numbers[token] for token in tokens if token in self._numbers}
        people = {keys.id_key(token) for token in tokens}
        known = people & self._people.keys()
        if not named:
            named = {one.delivery_id: one for person in known for one in self._people[person]}
        elif known:
            named = {place: one for place, one in named.items() if keys.id_key(one.id_number) in people}
        return next(iter(named.values())) if len(named) == 1 else None


def _settle(conn: "Connection", rules: Rules, account: str) -> tuple[int, int]:
    """Signed for → HANDED → DELIVERED; everything there → CLOSED. How many of each."""
    signed = pickups.signed(conn, account, SIGNATURE, tuple(_TO_HANDED))
    for step in (0, 1):
        walks = {one.delivery_id: _TO_HANDED[one.state] for one in signed}
        deliveries.advance(conn, {one: way[step] for one, way in walks.items() if step < len(way)})
    deliveries.settle_rows(conn)
    places = pickups.handed(conn, account)
    there = pickups.kinds(conn, [one.delivery_id for one in places])
    complete = [one.delivery_id for one in places if not rules.missing(there[one.delivery_id])]
    if complete:
        pickups.close(conn, complete)
    return len(signed), len(complete)


def _fits(settings: Settings, rules: Rules, path: Path) -> bool:
    return path.suffix.lower() in rules.suffixes and 0 < path.stat().st_size <= settings.limits.entry_bytes


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).upper()


def _tokens(name: str) -> set[str]:
    return {*_TOKEN.findall(name), *(one.replace("-V", "-v") for one in _RECORD.findall(name))}

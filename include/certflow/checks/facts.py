"""What the ledger and the certificate database say about the rows of one call, asked in one look."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from certflow.checks import measure_rows
from certflow.intake.submission import Submission

if TYPE_CHECKING:
    from certflow.registry.contested import Pictured
    from certflow.registry.ledger import Registry
    from certflow.registry.submissions import Earlier


@dataclass(frozen=True, slots=True)
class Facts:
    """What the ledger and the database say about the rows of one call."""

    database: bool
    match: Mapping[str, Sequence[Any]] | None
    persons: frozenset[str]
    """ID numbers of the rows, as sent and as the database has them."""
    earlier: "Mapping[str, Sequence[Earlier]]"
    unnumbered: "Mapping[str, Sequence[Earlier]]"
    """By person what is under way without a 管理号."""
    known: Mapping[str, str]
    waiting: AbstractSet[tuple[str, str]]
    """Receipt number and exam code of files of the account that no person let in as a whole."""
    elsewhere: Mapping[str, AbstractSet[tuple[str, str]]]
    """By ID number the (account, month) the ledger has requests of."""
    pictured: "Mapping[str, Sequence[Pictured]]"
    """By ID number the accepted rows that came with a photo."""


def facts_of(
    registry: "Registry | None",
    submissions: Sequence[Submission],
    rows: measure_rows.Rows,
    lane: str,
    without: tuple[int, ...],
) -> Facts:
    """Everything the database is asked, in one look."""
    if registry is None:
        return Facts(False, None, frozenset(), {}, {}, {}, frozenset(), {}, {})
    from certflow.registry import certificates, contested, holds
    from certflow.registry import submissions as ledger

    received = [file for one in submissions for file in one.files]
    own = [file.file_id for file in received if file.file_id is not None]
    with registry.read() as conn:
        database = ledger.database_loaded(conn)
        numbers = rows.text("clean_ZSGLH")
        match = certificates.match(conn, numbers) if database else None
        earlier = ledger.earlier(conn, numbers, without)
        persons = frozenset(_ids(rows, match))
        unnumbered = ledger.unnumbered(conn, persons, without)
        elsewhere, pictured = contested.elsewhere(conn, persons, without), contested.pictured(conn, persons, without)
        account = received[0].account if received else None
        waiting = set() if account is None else holds.not_let_in(conn, account, without)
        if lane != "month":
            return Facts(database, match, persons, earlier, unnumbered, {}, waiting, elsewhere, pictured)
        known = ledger.known_files(conn, [file.sha256 for file in received], account, own)
        repeats = dict.fromkeys(known, "（此前已收到）")
        return Facts(database, match, persons, earlier, unnumbered, repeats, waiting, elsewhere, pictured)


def _ids(rows: measure_rows.Rows, match: Mapping[str, Sequence[Any]] | None) -> set[str]:
    """ID numbers of the rows, as sent and as the database has them."""
    held = set(match["id_number"]) - {None} if match is not None else set()
    return {*rows.text("clean_ZJHM"), *held} - {""}

"""The paper of printed rows in the ledger: choices, orders, tracking, the desk (DOMAIN §5).

A delivery comes into being by a trigger the moment its row becomes PRINTED, and its moves are checked and recorded by
the same triggers as every other (`registry.schema.TRANSITIONS`). Set-based; each function works inside the caller's
transaction. What is read here carries personal data unless it says otherwise.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as insert_or

from certflow.registry.ledger import errand
from certflow.registry.schema import (
    deliveries,
    delivery_choices,
    delivery_events,
    delivery_exports,
    delivery_files,
    delivery_orders,
)


@dataclass(frozen=True, slots=True)
class Due:
    """A certificate that is to be mailed, and the address its newest choice gives."""

    delivery_id: int
    choice_id: int
    recipient: str
    phone: str
    postcode: str
    address: str


@dataclass(frozen=True, slots=True)
class Known:
    """A delivery as a line from outside finds it; no personal data."""

    id: int
    record_id: str
    account: str
    state: str
    waybill: str
    order: str
    """Reference of its newest order: ``EMS-370100-20200901-1-0001``."""
    management_no: str


@dataclass(frozen=True, slots=True)
class Standing:
    """One certificate and where it is."""

    delivery_id: int
    record_id: str
    account: str
    city: str
    management_no: str
    name: str
    exam: str
    serial: str
    way: str
    state: str
    waybill: str
    since: dt.datetime
    """Its last move."""
    kept_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Punctuality:
    """How quickly a city's printed certificates went to EMS (及时推送), in days from 印制日期 to the order list."""

    account: str
    pushed: int
    within: int
    """Those within the limit."""
    median_days: float
    slowest_days: int
    waiting: int
    """To be mailed and not pushed yet."""
    waiting_days: int
    """Days the oldest of them has waited since its return was recorded."""


def take_turn(conn: Connection) -> None:
    """One change of deliveries after another: lists and orders may speak of the same certificate."""
    conn.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('certflow:deliveries', 0))"))


def record_file(conn: Connection, arrived: Mapping[str, object]) -> tuple[int, str]:
    """The id and state of a list (kind, account, name, sha256, size); a new one is HELD until it is settled."""
    conn.execute(insert_or(delivery_files).values(**arrived, state="HELD").on_conflict_do_nothing())
    where = [delivery_files.c[column] == arrived[column] for column in ("kind", "account", "sha256")]
    found = conn.execute(select(delivery_files.c.id, delivery_files.c.state).where(*where).with_for_update()).one()
    return int(found.id), str(found.state)


def settle_file(conn: Connection, file_id: int, state: str, reason: str, counts: Mapping[str, int]) -> None:
    """APPLIED, or HELD with the reason (no personal data); a list that was applied stays so."""
    where = (delivery_files.c.id == file_id, delivery_files.c.state == "HELD")
    conn.execute(update(delivery_files).where(*where).values(state=state, reason=reason, counts=dict(counts)))


def file_counts(conn: Connection, file_id: int) -> dict[str, int]:
    """What became of the lines of an applied list."""
    return dict(conn.execute(select(delivery_files.c.counts).where(delivery_files.c.id == file_id)).scalar_one())


def chosen_at(conn: Connection, file_id: int) -> dt.datetime:
    """When choices of a list were made for the last time; when it came, where it held none."""
    made = func.max(func.coalesce(delivery_choices.c.made_at, delivery_files.c.received_at))
    both = delivery_files.outerjoin(delivery_choices, delivery_choices.c.file_id == delivery_files.c.id)
    moment: dt.datetime = conn.execute(
        select(made).select_from(both).where(delivery_files.c.id == file_id)
    ).scalar_one()
    return moment


def counting(conn: Connection, account: str, numbers: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """管理号 → way, recipient, phone, postcode and address that count now, of a city's requests that are not settled.

    All empty where nothing counts: no choice was made, or the parcel it sent on its way came back.
    """
    found = conn.execute(text(_COUNTING), {"account": account, "numbers": list(numbers)})
    return {str(number): tuple(map(str, choice)) for number, *choice in found}


def requested(conn: Connection, account: str, numbers: Sequence[str]) -> set[str]:
    """Those of the numbers that a request of this city names."""
    return set(conn.scalars(text(_REQUESTED), {"account": account, "numbers": list(numbers)}))


def add_choices(conn: Connection, file_id: int, account: str, lines: Sequence[Mapping[str, object]]) -> None:
    """Write the lines of a list of choices; the newest line of a number counts."""
    if lines:
        conn.execute(insert(delivery_choices), [{"file_id": file_id, "account": account, **line} for line in lines])


def to_desk(conn: Connection, account: str, default: str) -> int:
    """PRINTED → KEPT for what is picked up, RETURNED → PICKUP where a newer choice says so; how many."""
    kept = conn.execute(text(_KEEP), {"account": account, "default": default}).rowcount
    return kept + conn.execute(text(_TURN_TO_PICKUP), {"account": account}).rowcount


def expire(conn: Connection, before: dt.datetime) -> int:
    """KEPT, PICKUP → EXPIRED for what has lain at the desk since before then."""
    late = (deliveries.c.state.in_(("KEPT", "PICKUP")), deliveries.c.kept_at < before)
    return conn.execute(update(deliveries).where(*late).values(state="EXPIRED")).rowcount


def due_for_mail(conn: Connection, account: str) -> list[Due]:
    """What is to go to EMS now: printed or at the desk and to be mailed, returned with a newer choice. Oldest first."""
    return [Due(*row) for row in conn.execute(text(_DUE), {"account": account})]


def overtaken(conn: Connection, account: str = "") -> list[str]:
    """Records of what is on its way by EMS although another way or address was chosen since; oldest first."""
    return list(conn.scalars(text(_OVERTAKEN), {"account": account}))


def without_address(conn: Connection, account: str) -> int:
    """Printed certificates of a city that no list chose a way for: where mail is the default they lack an address."""
    return int(conn.scalar(text(_NO_ADDRESS), {"account": account}) or 0)


def orders_named(conn: Connection, prefix: str) -> int:
    """How many order lists have a name that begins so."""
    named = delivery_orders.c.name.startswith(prefix, autoescape=True)
    return len(conn.execute(select(delivery_orders.c.id).where(named)).all())


def push(conn: Connection, order: Mapping[str, object], due: Sequence[Due]) -> int:
    """Record an order list and move its certificates to PUSHED, lines numbered from 1; the order's id."""
    order_id = int(conn.execute(insert(delivery_orders).values(order).returning(delivery_orders.c.id)).scalar_one())
    conn.execute(
        text(_PUSH),
        {
            "order": order_id,
            "ids": [one.delivery_id for one in due],
            "choices": [one.choice_id for one in due],
            "lines": list(range(1, len(due) + 1)),
        },
    )
    return order_id


def by_order(conn: Connection, references: Iterable[str]) -> dict[str, Known]:
    """Deliveries by the reference of their newest order line."""
    wanted = sorted({reference.rpartition("-")[0] for reference in references})
    found = [Known(*row) for row in conn.execute(text(_KNOWN.format("o.name = ANY(:keys)")), {"keys": wanted})]
    return {one.order: one for one in found}


def by_waybill(conn: Connection, waybills: Iterable[str]) -> defaultdict[str, list[Known]]:
    """Deliveries by any waybill they have or had; `Known.waybill` tells which one is theirs now."""
    found: defaultdict[str, list[Known]] = defaultdict(list)
    for waybill, *row in conn.execute(text(_BY_WAYBILL), {"keys": sorted(set(waybills))}):
        found[waybill].append(Known(*row))
    return found


def by_number(conn: Connection, numbers: Iterable[str], account: str = "") -> dict[str, Known]:
    """The newest delivery of each 管理号, of one city where one is named."""
    where = "r.management_no = ANY(:keys) AND (:account = '' OR d.account = :account)"
    values = {"keys": sorted(set(numbers)), "account": account}
    return {one.management_no: one for one in (Known(*row) for row in conn.execute(text(_KNOWN.format(where)), values))}


def named(conn: Connection, name: str) -> Known | None:
    """The delivery of this record id, or the newest one of this 管理号."""
    where = ":name <> '' AND (r.management_no = :name OR r.record_id = :name)"
    found = [Known(*row) for row in conn.execute(text(_KNOWN.format(where)), {"name": name})]
    return found[-1] if found else None


def known_events(conn: Connection, ids: Iterable[int]) -> defaultdict[int, set[tuple[str, str, dt.datetime]]]:
    """Delivery → waybill, state and moment of every line told before about it."""
    columns = (
        delivery_events.c.delivery_id, delivery_events.c.waybill, delivery_events.c.state,
        delivery_events.c.happened_at,
    )  # fmt: skip
    found: defaultdict[int, set[tuple[str, str, dt.datetime]]] = defaultdict(set)
    for one, waybill, state, moment in conn.execute(select(*columns).where(columns[0] == func.any(list(ids)))):
        found[one].add((waybill, state, moment))
    return found


def add_events(conn: Connection, lines: Sequence[Mapping[str, object]]) -> None:
    """Write tracking lines, each once."""
    if lines:
        conn.execute(insert(delivery_events), list(lines))


def give_waybills(conn: Connection, pairs: Mapping[int, str]) -> None:
    """Note the waybill of deliveries by id."""
    if pairs:
        conn.execute(text(_WAYBILLS), {"ids": list(pairs), "waybills": list(pairs.values())})


def advance(conn: Connection, states: Mapping[int, str]) -> None:
    """Move deliveries by id, one step each."""
    if states:
        conn.execute(text(_ADVANCE), {"ids": list(states), "states": list(states.values())})


def take_back(conn: Connection, delivery_id: int) -> None:
    """HANDED → KEPT, its row to PRINTED: it was never handed out."""
    values = {"ids": [delivery_id], "states": ["KEPT"]}
    with errand(conn, "undo"):
        conn.execute(text(_ADVANCE), values)
        for state in ("DELIVERED", "PRINTED"):
            conn.execute(text(_BACK), {"delivery": delivery_id, "state": state})


def settle_rows(conn: Connection) -> None:
    """PRINTED → DELIVERED for what was signed for or handed out, → CLOSED for what EMS delivered."""
    conn.execute(text(_DELIVERED))
    conn.execute(text(_CLOSED_BY_MAIL))


def counts(conn: Connection, account: str = "") -> dict[tuple[str, str], int]:
    """(account, state) → certificates; rows not printed yet count as AWAITING."""
    found = conn.execute(text(_COUNTS), {"account": account})
    return {(str(city), str(state)): int(many) for city, state, many in found}


def standing(
    conn: Connection,
    account: str = "",
    states: Sequence[str] = (),
    default: str = "pickup",
    *,
    limit: int | None = None,
    only: Sequence[int] | None = None,
) -> list[Standing]:
    """Certificates and where they are, by city and number; with a `limit` the newest so many.

    Of those in `only`, by delivery id, the ones whose print was taken back are told too (AWAITING).
    """
    values = {"account": account, "states": list(states), "default": default, "limit": limit, "only": only}
    return [Standing(*row) for row in conn.execute(text(_STANDING), values)]


def changed(conn: Connection) -> list[int] | None:
    """Deliveries of which something is new since the newest export: state, waybill, choice; None: there is none yet."""
    if conn.scalar(select(delivery_exports.c.id).limit(1)) is None:
        return None
    return [int(one) for one in conn.scalars(text(_CHANGED))]


def exports_named(conn: Connection, prefix: str) -> int:
    """How many exports have a name that begins so."""
    named = delivery_exports.c.name.startswith(prefix, autoescape=True)
    return len(conn.execute(select(delivery_exports.c.id).where(named)).all())


def record_export(conn: Connection, export: Mapping[str, object]) -> None:
    """Remember an export (name, sha256, size, lines) and how far it reaches."""
    reach = conn.execute(text(_REACH)).one()._asdict()
    conn.execute(insert(delivery_exports).values(**export, **reach))


def lists_told(conn: Connection) -> dict[str, str]:
    """Name of the file → SHA-256 of every order list and export there is."""
    told = select(delivery_orders.c.file_name, delivery_orders.c.sha256)
    told_too = select(delivery_exports.c.name, delivery_exports.c.sha256)
    return {str(name): str(digest) for name, digest in conn.execute(told.union(told_too))}


def punctuality(conn: Connection, limit_days: int, account: str = "") -> list[Punctuality]:
    """及时推送 per city; only cities that have anything to push."""
    values = {"limit": limit_days, "account": account}
    return [Punctuality(*row) for row in conn.execute(text(_PUNCTUAL), values)]


_REQUESTED = """
SELECT DISTINCT r.management_no FROM rows r JOIN submissions s ON s.id = r.submission_id
WHERE s.account = :account AND r.management_no = ANY(:numbers) AND r.management_no <> ''
"""

# The newest choice of the row's number in its own city that was made for this delivery: after all that became of
# earlier ones of the number, before there was a later one, and before this one came to its holder. A mail choice whose
# address was purged or erased is none.
_CHOICE = """
LEFT JOIN LATERAL (
    SELECT c.id, c.way, c.recipient, c.phone, c.postcode, c.address
    FROM delivery_choices c JOIN delivery_files f ON f.id = c.file_id
    CROSS JOIN LATERAL (SELECT coalesce(c.made_at, f.received_at) AS at) made
    WHERE c.management_no = r.management_no AND c.account = d.account AND r.management_no <> ''
        AND NOT EXISTS (
            SELECT FROM rows q JOIN deliveries p ON p.row_id = q.id
            JOIN moves v ON v.kind = 'delivery' AND v.object_id = p.id JOIN audit a ON a.seq = v.audit_seq
            CROSS JOIN LATERAL (SELECT (a.payload::jsonb ->> 'at')::timestamptz AS at) moved
            WHERE q.management_no = r.management_no AND (p.id <> d.id OR p.state IN ('SIGNED', 'HANDED'))
                AND CASE WHEN p.id < d.id THEN moved.at >= made.at
                         ELSE moved.at < made.at AND (p.id > d.id OR v.to_state = p.state) END)
    ORDER BY c.id DESC LIMIT 1
) c ON (c.way = 'pickup' OR c.recipient <> '' AND c.address <> '')
"""

_COUNTING = f"""
SELECT r.management_no, coalesce(c.way, ''), coalesce(c.recipient, ''), coalesce(c.phone, ''),
       coalesce(c.postcode, ''), coalesce(c.address, '')
FROM (SELECT DISTINCT ON (r.management_no) r.id, r.management_no
      FROM rows r JOIN submissions s ON s.id = r.submission_id
      WHERE s.account = :account AND r.management_no = ANY(:numbers) AND r.management_no <> ''
          AND r.state IN ('HELD', 'ACCEPTED', 'PACKED', 'SENT', 'PRINTED')
      ORDER BY r.management_no, r.id DESC) r
CROSS JOIN LATERAL (
    SELECT CAST(:account AS text) AS account, coalesce(max(x.id), 9223372036854775807) AS id,
           max(x.choice_id) FILTER (WHERE x.state NOT IN ('PUSHED', 'COLLECTED', 'UNDERWAY')) AS spent
    FROM deliveries x WHERE x.row_id = r.id
) d {_CHOICE} AND c.id > coalesce(d.spent, 0)
"""  # noqa: S608 (parts of our own)

_KEEP = f"""
UPDATE deliveries SET state = 'KEPT', kept_at = now()
WHERE id IN (SELECT d.id FROM deliveries d JOIN rows r ON r.id = d.row_id {_CHOICE}
             WHERE d.account = :account AND d.state = 'PRINTED' AND coalesce(c.way, :default) = 'pickup')
"""  # noqa: S608 (parts of our own)

_TURN_TO_PICKUP = f"""
UPDATE deliveries SET state = 'PICKUP', kept_at = now()
WHERE id IN (SELECT d.id FROM deliveries d JOIN rows r ON r.id = d.row_id {_CHOICE}
             WHERE d.account = :account AND d.state = 'RETURNED' AND c.way = 'pickup'
                 AND c.id > coalesce(d.choice_id, 0))
"""  # noqa: S608 (parts of our own)

_DUE = f"""
SELECT d.id, c.id, c.recipient, c.phone, c.postcode, c.address
FROM deliveries d JOIN rows r ON r.id = d.row_id {_CHOICE}
WHERE d.account = :account AND d.state IN ('PRINTED', 'KEPT', 'PICKUP', 'EXPIRED', 'RETURNED')
    AND c.way = 'mail' AND c.id > coalesce(d.choice_id, 0)
ORDER BY d.id
"""  # noqa: S608 (parts of our own)

_OVERTAKEN = f"""
SELECT r.record_id
FROM deliveries d JOIN delivery_choices o ON o.id = d.choice_id JOIN rows r ON r.id = d.row_id {_CHOICE}
WHERE (:account = '' OR d.account = :account) AND d.state IN ('PUSHED', 'COLLECTED', 'UNDERWAY') AND c.id > o.id
    AND (c.way, c.recipient, c.phone, c.postcode, c.address) <> (o.way, o.recipient, o.phone, o.postcode, o.address)
ORDER BY d.id
"""  # noqa: S608 (parts of our own)

_NO_ADDRESS = f"""
SELECT count(*) FROM deliveries d JOIN rows r ON r.id = d.row_id {_CHOICE}
WHERE d.account = :account AND d.state = 'PRINTED' AND c.id IS NULL
"""  # noqa: S608 (parts of our own)

_PUSH = """
UPDATE deliveries d SET state = 'PUSHED', order_id = :order, order_line = n.line, choice_id = n.choice,
    waybill = NULL, attempt = d.attempt + 1, pushed_at = coalesce(d.pushed_at, now()), kept_at = NULL
FROM unnest(CAST(:ids AS bigint[]), CAST(:choices AS bigint[]), CAST(:lines AS integer[])) AS n(id, choice, line)
WHERE d.id = n.id
"""

_COLUMNS = """
d.id, r.record_id, d.account, d.state, coalesce(d.waybill, ''),
coalesce(o.name || '-' || to_char(d.order_line, 'FM999990000'), ''), r.management_no
"""
_FROM = """
FROM deliveries d JOIN rows r ON r.id = d.row_id LEFT JOIN delivery_orders o ON o.id = d.order_id
"""
_KNOWN = f"SELECT {_COLUMNS} {_FROM} WHERE {{}} ORDER BY d.id"
_BY_WAYBILL = f"""
SELECT w.waybill, {_COLUMNS} {_FROM} JOIN (
    SELECT waybill, id FROM deliveries WHERE waybill = ANY(:keys)
    UNION SELECT waybill, delivery_id FROM delivery_events WHERE waybill = ANY(:keys)
) w ON w.id = d.id ORDER BY w.waybill, d.id
"""  # noqa: S608 (parts of our own)

_WAYBILLS = """
UPDATE deliveries d SET waybill = n.waybill
FROM unnest(CAST(:ids AS bigint[]), CAST(:waybills AS text[])) AS n(id, waybill) WHERE d.id = n.id
"""

_ADVANCE = """
UPDATE deliveries d SET state = n.state,
    kept_at = CASE WHEN n.state IN ('KEPT', 'PICKUP') THEN coalesce(d.kept_at, now()) ELSE d.kept_at END,
    pushed_at = CASE WHEN n.state = 'PUSHED' THEN coalesce(d.pushed_at, now()) ELSE d.pushed_at END
FROM unnest(CAST(:ids AS bigint[]), CAST(:states AS text[])) AS n(id, state)
WHERE d.id = n.id
"""

_BACK = """
UPDATE rows r SET state = :state FROM deliveries d
WHERE d.id = :delivery AND d.row_id = r.id AND (r.state, :state) IN (('CLOSED', 'DELIVERED'), ('DELIVERED', 'PRINTED'))
"""

_DELIVERED = """
UPDATE rows r SET state = 'DELIVERED' FROM deliveries d
WHERE d.row_id = r.id AND d.state IN ('SIGNED', 'HANDED') AND r.state = 'PRINTED'
"""

_CLOSED_BY_MAIL = """
UPDATE rows r SET state = 'CLOSED' FROM deliveries d
WHERE d.row_id = r.id AND d.state = 'SIGNED' AND r.state = 'DELIVERED'
"""

_COUNTS = """
SELECT d.account, d.state, count(*) FROM deliveries d
WHERE (:account = '' OR d.account = :account) AND d.state <> 'AWAITING' GROUP BY 1, 2
UNION ALL
SELECT s.account, 'AWAITING', count(*) FROM rows r JOIN submissions s ON s.id = r.submission_id
WHERE (:account = '' OR s.account = :account) AND r.state IN ('ACCEPTED', 'PACKED', 'SENT') GROUP BY 1
ORDER BY 1, 2
"""

_PRINT = """
JOIN LATERAL (
    SELECT e.serial, e.printed_on, e.recorded_at FROM print_events e WHERE e.row_id = r.id AND e.reverses IS NULL
    ORDER BY e.id DESC LIMIT 1
) e ON true
"""

_STANDING = f"""
SELECT d.id, r.record_id, d.account, s.city, r.management_no, r.name, t.exam_name, e.serial,
       CASE WHEN d.order_id IS NOT NULL THEN 'mail' ELSE coalesce(c.way, :default) END, d.state,
       coalesce(d.waybill, ''), m.at, d.kept_at
FROM (SELECT * FROM deliveries
      WHERE (:account = '' OR account = :account)
          AND CASE WHEN CAST(:only AS bigint[]) IS NULL THEN state <> 'AWAITING' ELSE id = ANY(:only) END
          AND (cardinality(CAST(:states AS text[])) = 0 OR state = ANY(:states))
      ORDER BY id DESC LIMIT :limit) d
JOIN rows r ON r.id = d.row_id JOIN submissions s ON s.id = r.submission_id
JOIN certificates t ON t.id = r.certificate_id {_CHOICE} {_PRINT}
JOIN LATERAL (
    SELECT (a.payload::jsonb ->> 'at')::timestamptz AS at FROM moves v JOIN audit a ON a.seq = v.audit_seq
    WHERE v.kind = 'delivery' AND v.object_id = d.id ORDER BY v.id DESC LIMIT 1
) m ON true
ORDER BY d.account, r.management_no, d.id
"""  # noqa: S608 (parts of our own)

_CHANGED = """
WITH last AS (SELECT * FROM delivery_exports ORDER BY id DESC LIMIT 1)
SELECT m.object_id FROM last JOIN moves m ON m.id > last.last_move WHERE m.kind = 'delivery'
UNION SELECT e.delivery_id FROM last JOIN delivery_events e ON e.id > last.last_event
UNION SELECT d.id FROM last JOIN delivery_choices c ON c.id > last.last_choice
    JOIN rows r ON r.management_no = c.management_no JOIN deliveries d ON d.row_id = r.id AND d.account = c.account
"""

_REACH = """
SELECT coalesce((SELECT max(id) FROM moves), 0) AS last_move,
       coalesce((SELECT max(id) FROM delivery_events), 0) AS last_event,
       coalesce((SELECT max(id) FROM delivery_choices), 0) AS last_choice
"""

_PUNCTUAL = f"""
WITH facts AS (
    SELECT d.account, d.pushed_at IS NOT NULL AS pushed,
           (d.pushed_at AT TIME ZONE 'Asia/Shanghai')::date - e.printed_on AS took,
           (now() AT TIME ZONE 'Asia/Shanghai')::date - (e.recorded_at AT TIME ZONE 'Asia/Shanghai')::date AS waits,
           d.state IN ('PRINTED', 'KEPT', 'EXPIRED') AND c.way = 'mail' AS owed
    FROM deliveries d JOIN rows r ON r.id = d.row_id {_CHOICE} {_PRINT}
    WHERE d.state <> 'AWAITING' AND (:account = '' OR d.account = :account)
)
SELECT account, count(*) FILTER (WHERE pushed), count(*) FILTER (WHERE pushed AND took <= :limit),
       coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY took) FILTER (WHERE pushed), 0),
       coalesce(max(took) FILTER (WHERE pushed), 0), count(*) FILTER (WHERE owed AND NOT pushed),
       coalesce(max(waits) FILTER (WHERE owed AND NOT pushed), 0)
FROM facts GROUP BY account HAVING bool_or(pushed OR owed) ORDER BY account
"""  # noqa: S608 (parts of our own)

"""Lists about deliveries that we write: orders for EMS, what lies at the desk, states for the province's system.

They carry names, telephone numbers and addresses, and lie in the protected folder ``delivery`` alone. What the ledger
has to record is a draft (``.part``) until it did: `_settle_drafts`.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from certflow import excel, originals, vault
from certflow.delivery.profile import EMS, EXCHANGE, Sheet, load_profile, write_list
from certflow.delivery.states import AT_DESK, WAYS, WORDS
from certflow.excel import Cell, Page
from certflow.month import SHANGHAI
from certflow.reference import Reference, RuleSet
from certflow.registry import deliveries as ledger
from certflow.registry.ledger import Actor, Registry, note
from certflow.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FOOTER = "第 &P 页/共 &N 页"


@dataclass(frozen=True, slots=True)
class Order:
    """An order list for EMS that was made now."""

    name: str
    file: Path
    lines: int


@dataclass(frozen=True, slots=True)
class Export:
    """A list for the province-wide management system that was made now; `whole`: with every certificate."""

    file: Path
    lines: int
    whole: bool


def folder(settings: Settings, account: str, *parts: str) -> Path:
    """A city's part of the protected folder."""
    return settings.path("delivery", account, *parts)


def order_list(settings: Settings, registry: Registry, account: str, city: str, actor: Actor) -> Order | None:
    """Order what is to be mailed now and has not been ordered; None when there is nothing."""
    sheet = _sheet(settings, EMS)
    place = folder(settings, account, "EMS订单")
    _settle_drafts(registry, place, actor)
    with registry.begin(actor) as conn:
        ledger.take_turn(conn)
        due = ledger.due_for_mail(conn, account)
        if not due:
            return None
        prefix = f"EMS-{account}-{_today():%Y%m%d}-"
        name = f"{prefix}{ledger.orders_named(conn, prefix) + 1}"
        file = place / f"{name}.{sheet.format}"
        rows = [
            {
                "序号": str(number), "订单号": f"{name}-{number:04d}", "收件人": one.recipient, "电话": one.phone,
                "邮编": one.postcode, "地址": one.address, "城市": city,
            }
            for number, one in enumerate(due, start=1)
        ]  # fmt: skip
        data = _draft(file, sheet, rows)
        digest = originals.keep(settings, data)  # what EMS was told outlives the operator's copy
        order = {"account": account, "name": name, "file_name": file.name, "sha256": digest, "size": len(data)}
        ledger.push(conn, order, due)
        note(conn, "ems order", order=name, account=account, lines=len(due), sha256=digest)
    _settle_drafts(registry, place, actor)
    return Order(name, file, len(due))


def keeping_list(settings: Settings, registry: Registry, reference: Reference, account: str) -> tuple[Path, int]:
    """What lies at a city's desk, since when and until when it has to be kept; the file and how many."""
    with registry.read() as conn:
        kept = ledger.standing(conn, account, AT_DESK, settings.delivery_way)
    city = reference.cities[account].name
    rules = keeping_rules(settings, reference)
    years = rules.keep_unclaimed_years
    limit = f"保管期限 {years} 年（规则集 {rules.name}）" if years else f"规则集 {rules.name} 未规定保管期限"
    heads = ("序号", "管理号", "姓名", "考试", "证书编号", "状态", "入库日期", "保管至", "领取人签字")
    rows: list[Sequence[Cell | str]] = [
        [Cell(f"{city}证书保管清单", "title")],
        [Cell(f"{_today():%Y-%m-%d}　共 {len(kept)} 本　{limit}", "line")],
        [Cell(head, "head") for head in heads],
    ]
    for number, one in enumerate(kept, start=1):
        since = one.kept_at or one.since
        until = _years_later(since, years)
        rows.append([
            str(number), one.management_no, one.name, one.exam, one.serial,
            Cell(WORDS[one.state], "bad" if one.state == "EXPIRED" else "fix" if one.state == "WITHHELD" else ""),
            _day(since), _day(until) if until else "—", "",
        ])  # fmt: skip
    file = folder(settings, account, "保管清单", f"保管清单-{account}-{_today():%Y%m%d}.xlsx")
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    widths = (6, 24, 14, 26, 18, 13, 13, 13, 16)
    page = Page("保管清单", rows, widths, freeze="A4", landscape=True, repeat_rows=3, footer=_FOOTER)
    excel.write_xlsx(file, [page])
    return file, len(kept)


def export_states(settings: Settings, registry: Registry, actor: Actor, *, whole: bool = False) -> Export | None:
    """Where printed certificates are, for the province-wide management system; None when there is nothing to tell.

    What has changed since the export before; the first time, and by `whole`, every one.
    """
    sheet = _sheet(settings, EXCHANGE)
    place = settings.path("delivery", "全省")
    _settle_drafts(registry, place, actor)
    with registry.begin(actor) as conn:
        ledger.take_turn(conn)
        changed = None if whole else ledger.changed(conn)
        found = ledger.standing(conn, default=settings.delivery_way, only=changed)
        if not found:
            return None
        rows = [
            {
                "管理号": one.management_no, "姓名": one.name, "证书编号": one.serial, "考试": one.exam,
                "城市": one.city, "发放方式": WAYS[one.way], "状态": WORDS[one.state], "运单号": one.waybill,
                "时间": f"{one.since.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}",
            }
            for one in found
        ]  # fmt: skip
        prefix = f"发放状态-{_today():%Y%m%d}-"
        name = f"{prefix}{ledger.exports_named(conn, prefix) + 1}{'-全部' if changed is None else ''}.{sheet.format}"
        file = place / name
        data = _draft(file, sheet, rows)
        digest = originals.keep(settings, data)
        ledger.record_export(conn, {"name": name, "sha256": digest, "size": len(data), "lines": len(rows)})
        note(conn, "delivery export", lines=len(rows), whole=changed is None, sha256=digest)
    _settle_drafts(registry, place, actor)
    return Export(file, len(rows), changed is None)


def expire(settings: Settings, registry: Registry, reference: Reference, actor: Actor) -> int:
    """What was kept beyond the limit of the rule set becomes 超期; 0 where the rule set names no limit."""
    years = keeping_rules(settings, reference).keep_unclaimed_years
    if not years:
        return 0
    now = dt.datetime.now(dt.UTC)
    with registry.begin(actor) as conn:
        ledger.take_turn(conn)
        return ledger.expire(conn, _years_later(now, -years) or now)


def keeping_rules(settings: Settings, reference: Reference, day: dt.date | None = None) -> RuleSet:
    """The rule set that says how long unclaimed paper is kept; where they go by their date, that of today."""
    return reference.rule_set_on(day or _today().date(), settings.rule_set)


def _draft(file: Path, sheet: Sheet, rows: "Sequence[Mapping[str, str]]") -> bytes:
    """Write a list beside its final name, to be recorded; its bytes."""
    draft = file.with_name(f"{file.name}.part")
    write_list(draft, sheet, rows, _FOOTER)
    return vault.read_bytes(draft)


def _settle_drafts(registry: Registry, place: Path, actor: Actor) -> None:
    """Give what the ledger recorded its final name, and take away what it did not: its people are told of anew."""
    drafts = sorted(place.glob("*.part"))
    if not drafts:
        return
    with registry.begin(actor) as conn:
        ledger.take_turn(conn)  # nobody is between his draft and his commit
        told = ledger.lists_told(conn)
        for draft in drafts:
            final = draft.with_suffix("")
            if draft.is_file() and vault.sha256(draft) == told.get(final.name):
                draft.replace(final)
            draft.unlink(missing_ok=True)


def _sheet(settings: Settings, kind: str) -> Sheet:
    sheet = load_profile(settings, kind).export
    assert sheet is not None  # noqa: S101 (both profiles have one, `load_profile` saw to it)
    return sheet


def _years_later(moment: dt.datetime, years: int | None) -> dt.datetime | None:
    if not years:
        return None
    try:
        return moment.replace(year=moment.year + years)
    except ValueError:  # 29 February
        return moment.replace(year=moment.year + years, day=28)


def _today() -> dt.datetime:
    return dt.datetime.now(SHANGHAI)


def _day(moment: dt.datetime) -> str:
    return f"{moment.astimezone(SHANGHAI):%Y-%m-%d}"

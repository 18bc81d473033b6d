"""What waits for a person, and what the person decides: one queue, one way to decide, whoever asks (CLI, desk).

A decision moves its rows on at once: an accepted row belongs to the running month, or to the next 补报 where the month
is frozen; a returned one is told to its city with the next reply. A correction that is accepted takes the place of what
it corrects, where that is in no package. Nothing is judged again, with one exception: a file under a wrong name is
judged under the name the person gives it.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from certflow import naming
from certflow.checks import feedback, outcome, run
from certflow.checks.judged import Judged
from certflow.checks.notices import DECISIONS
from certflow.checks.wording import mask_value
from certflow.errors import Conflict
from certflow.findings import FIELD_NAMES, FIELDS, Outcome
from certflow.intake.gather import gather_kept
from certflow.intake.submission import Received, Submission
from certflow.month import SHANGHAI
from certflow.reference import Reference, load_reference
from certflow.settings import Settings
from certflow.zips import Packed, read_packed

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from certflow.registry.holds import Hold
    from certflow.registry.ledger import Actor, Registry

CHOICES: dict[str, tuple[str, ...]] = {
    "row": ("accept", "return", "proof"),
    "file": ("judge", "return"),
    "photo": ("return",),
}
"""What can be decided about each kind."""

_KINDS = {"row": "数据行", "file": "文件", "photo": "照片"}
_STATES = {"accept": "ACCEPTED", "return": "RETURNED", "proof": "PROOF"}
_TWICE = {"accept": "一本证书不能同时补换两次", "proof": "一本证书不能同时开具两份证明"}
"""Why a row cannot go on where another one is under way for its certificate (I3)."""
_MISNAMED = ("NAME-FORM", "NAME-MONTH", "NAME-EXAM", "NAME-EXAM-UNKNOWN", "NAME-CITY")
"""Rules that leave open which month, exam or city a file is about."""
_NAMELESS = "所在数据包的名称不能确定考试或城市，请退回，由该市改正名称后重新报送"


def queue(
    registry: "Registry",
    *,
    account: str | None = None,
    exam_code: str | None = None,
    month: str | None = None,
    rule: str | None = None,
    record: str | None = None,
    limit: int | None = None,
) -> "list[Hold]":
    """Everything that waits for a person, the oldest first; narrowed where asked (see `registry.holds.queue`)."""
    from certflow.registry import holds

    records = None if record is None else [record]
    with registry.read() as conn:
        found = holds.queue(conn, account=account, exam_code=exam_code, month=month, records=records, limit=limit)
    return [one for one in found if rule is None or rule in one.rules]


def shown(settings: Settings, hold: "Hold", *, unmasked: bool) -> dict[str, object]:
    """One line of the queue as plain data; without `unmasked` no personal data is in it.

    ``photo``: the protected page that shows the photos of its file, by row; None where none came.
    """
    from certflow.registry.holds import LIMIT_DAYS

    def value(field: str | None, text: str | None) -> str | None:
        return text if unmasked or text is None else mask_value(field, text)

    page = photo_page(settings, hold)
    return {
        "record": hold.record, "kind": hold.kind, "account": hold.account, "month": hold.month, "exam": hold.exam_code,
        "row": hold.row_no, "rows": hold.rows, "rules": list(hold.rules), "age_days": hold.age_days,
        "limit_days": LIMIT_DAYS, "choices": [one for one in CHOICES[hold.kind] if not unfit(hold, one)],
        "evidence": [
            {
                "rule": one.rule, "field": one.field, "message": one.message if unmasked else one.masked,
                "sent": value(one.field, one.sent), "registry": value(one.field, one.registry), "photo": one.photo,
            }
            for one in hold.evidence
        ],
        "photo": str(page) if page else None,
    }  # fmt: skip


def compared(registry: "Registry", hold: "Hold", *, unmasked: bool) -> list[tuple[str, str, str]]:
    """Every field of a held row: its name, the city's value, the database's; nothing for a file or a photo."""
    from certflow.registry import holds

    if hold.kind != "row":
        return []
    with registry.read() as conn:
        sent, known = holds.both_sides(conn, hold.id)
    show = (lambda _, text: text) if unmasked else mask_value
    return [
        (FIELD_NAMES[field], show(field, sent.get(field, "")), show(field, known.get(field, "")))
        for field in FIELDS
        if sent.get(field) or known.get(field)
    ]


def photo(settings: Settings, registry: "Registry", hold: "Hold", tag: str) -> bytes | None:
    """A photo the hold is about, as its city sent it; None where it is none, or no JPEG that can be shown."""
    from certflow import photo as camera
    from certflow.registry import holds

    with registry.read() as conn:
        found = holds.photos_of(conn, hold).get(tag)
    if found is None:
        return None
    place = settings.original(found.original)
    data = read_packed(Packed(place, found.data_offset, found.packed_size, found.method, found.size, found.crc32))
    return data if camera.thumbnail(data) else None


def photo_page(settings: Settings, hold: "Hold") -> "Path | None":
    """The protected page that shows the photos of the hold's file, by row; None where none came."""
    from certflow.registry.submissions import answer_tag

    folder = settings.contact_sheets / hold.account / (hold.month or feedback.UNKNOWN_MONTH)
    pages = sorted(folder.glob(f"*-{answer_tag(hold.file_id)}-*照片.html"))
    fitting = [page for page in pages if f"-{hold.exam_code}-照片" in page.name] or pages
    return fitting[0] if fitting else None


def unfit(hold: "Hold", decision: str) -> str:
    """Why a hold cannot be decided so, in words; empty when it can."""
    from certflow.registry.holds import UNTIED

    if decision not in CHOICES[hold.kind]:
        return f"{hold.record} 是{_KINDS[hold.kind]}，只能决定 {' 或 '.join(CHOICES[hold.kind])}"
    if hold.kind == "row" and decision != "return" and set(hold.rules) & set(_MISNAMED):
        return f"{hold.record} {_NAMELESS}"
    if decision == "accept" and hold.cancelled:
        return f"{hold.record} 的考试已取消，不能补发证书，请决定 proof（转开证明）或 return"
    if decision == "proof" and not hold.cancelled:
        return f"{hold.record} 的考试没有取消，只有已取消的考试才转开证明"
    if decision == "proof" and not hold.tied:
        return f"{hold.record} {UNTIED}，本行决定 return（退回）"
    return ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decided, and why."""

    what: str
    """accept | return | proof | judge"""
    by: str
    reason: str
    name: str | None = None
    """With ``judge``: the name the file should have had."""
    photo: str | None = None
    """With ``accept``: the photo that is printed where a row came with several, as the queue names it."""


def decide(
    settings: Settings, registry: "Registry", records: Sequence[str], decision: Decision, actor: "Actor"
) -> "list[Hold]":
    """Record one decision about these records and carry it out, all of them or none; what they were.

    Raises:
        Conflict: nobody or no reason named; a record does not wait (any more); the decision does not fit it; or
            the 管理号 of a row is under way already (I3). Nothing is changed then.
    """
    from certflow.registry import holds, submissions
    from certflow.registry.ledger import note

    decision = replace(decision, by=decision.by.strip(), reason=decision.reason.strip())
    records = list(dict.fromkeys(records))
    if not decision.by or not decision.reason:
        raise Conflict("决定须写明由谁作出和原因")
    if decision.what not in DECISIONS or not records:
        raise Conflict("决定只能是 accept（接收）、return（退回）、proof（转开证明）或 judge（文件按正确名称受理）")
    if decision.what == "judge" and decision.name is not None:
        return [_judge_anew(settings, registry, records, decision, actor)]

    def work(conn: "Connection") -> "list[Hold]":
        submissions.hold_recording(conn)
        found = _waiting(conn, records, decision.what)
        _refuse_misnamed(settings, found, decision.what)
        _decide_rows(conn, [one for one in found if one.kind == "row"], decision)
        _decide_files(conn, [one for one in found if one.kind == "file"], decision)
        holds.return_photos(conn, [one.id for one in found if one.kind == "photo"])
        holds.record_decisions(conn, found, decision.what, decision.by, decision.reason)
        note(
            conn, "hold.decided", decision=decision.what, by=decision.by, reason=decision.reason,
            records=[one.record for one in found],
        )  # fmt: skip
        return found

    return registry.run(actor, work)


def share_photo(registry: "Registry", record: str, *, by: str, reason: str, actor: "Actor") -> None:
    """Print the photo of an accepted row in all of the person's rows that go up with it: a package has one a person.

    Conflict when nobody or no reason is named, the row is not accepted or packed already, or nothing would change.
    """
    from certflow.registry import holds
    from certflow.registry.ledger import note

    by, reason = by.strip(), reason.strip()
    if not by or not reason:
        raise Conflict("决定须写明由谁作出和原因")
    with registry.begin(actor) as conn:
        row = holds.accepted_row(conn, record)
        if row is None:
            raise Conflict(f"{record} 不是已受理、尚未组包的数据行，未作任何更改")
        if not holds.share_photo(conn, [row]):
            raise Conflict(f"{record} 与同一人一起上报的各行照片没有不同，无须选定")
        note(conn, "photo.chosen", by=by, reason=reason, records=[record])


def _waiting(conn: "Connection", records: Sequence[str], decision: str) -> "list[Hold]":
    """The records as they wait now, locked; Conflict for one that does not, or that cannot be decided so."""
    from certflow.registry import holds

    found = {one.record: one for one in holds.queue(conn, records=records, lock=True)}
    for record in records:
        if record not in found:
            before = holds.decided(conn, record)
            if before is None:
                raise Conflict(f"{record} 不在待确认的数据中（所在文件待确认时，请先决定文件）")
            what, who, at = before
            raise Conflict(f"{record} 已由 {who} 于 {at.astimezone(SHANGHAI):%Y-%m-%d %H:%M} 决定：{DECISIONS[what]}")
        if why := unfit(found[record], decision):
            raise Conflict(why)
    return [found[record] for record in records]


def _refuse_misnamed(settings: Settings, found: "list[Hold]", decision: str) -> None:
    """Conflict where something would go on whose name leaves open which month, exam or city it is about."""
    exams = load_reference(settings).exams
    for one in found:
        sure = not set(one.rules) & set(_MISNAMED) and one.exam_code in exams and one.month
        if sure or decision == "return":
            continue
        if one.kind == "file":
            raise Conflict(f"{one.record} 的名称不能确定月份、考试或城市，请用 --as 写明正确的名称")
        raise Conflict(f"{one.record} {_NAMELESS}")


def _decide_rows(conn: "Connection", found: "list[Hold]", decision: Decision) -> None:
    from certflow.registry import holds

    rows = [one.id for one in found]
    if decision.what in _TWICE:
        holds.give_way(conn, [one.id for one in found if "DUP-OPEN" in one.rules])
    if decision.what == "accept" and decision.photo is not None:
        if len(rows) != 1:
            raise Conflict("选定照片时一次只能决定一行")
        holds.choose_photo(conn, rows[0], holds.photo_of(conn, rows[0], decision.photo))
    if decision.what in _TWICE:
        for record, other in holds.rivals(conn, rows):
            raise Conflict(f"{record} 的管理号已有另一行在办：{other}。{_TWICE[decision.what]}，未作任何更改")
        for one in found:
            _catch_up(conn, one)
    if rows:
        holds.move_rows(conn, rows, _STATES[decision.what])
    if decision.what == "accept":
        holds.share_photo(conn, rows)


def _catch_up(conn: "Connection", hold: "Hold") -> None:
    """Let a row say what the database says by now, as the person sees it who decides; the database wins.

    Conflict where its 管理号 has become another person's (D28).
    """
    from certflow.registry import holds

    _, known = holds.both_sides(conn, hold.id)
    if known and not holds.emit(conn, hold.id, outcome.printed(known)):
        raise Conflict(f"{hold.record} 的管理号在证书数据库中现在是另一人的证书，请决定 return（退回）")


def _decide_files(conn: "Connection", found: "list[Hold]", decision: Decision) -> None:
    from certflow.registry import holds

    together = sorted({file_id for one in found for file_id in holds.companions(conn, one.id)})
    if found and decision.what == "judge":
        holds.judge_file(conn, together)
    elif found:
        holds.return_files(conn, together)


def _judge_anew(
    settings: Settings, registry: "Registry", records: Sequence[str], decision: Decision, actor: "Actor"
) -> "Hold":
    """Judge one held file under the name it should have had, and record it like any other file.

    Where it holds several exams, the one whose name said nothing is meant, or the only one of these that fits the name;
    what was recorded of the others stays, and the file waits while names of others say nothing.
    """
    from certflow.registry import holds, submissions
    from certflow.registry.ledger import note

    parsed = naming.parse(decision.name or "").name
    if parsed is None or len(records) != 1:
        raise Conflict(
            "--as 须写一个完整的名称，一次只能用于一个文件："
            "申报年月-考试代码-考试名称(证书补换印制信息)数据(地市)(人数人)"
        )
    reference = load_reference(settings)
    with registry.read() as conn:
        (hold,) = _waiting(conn, records, "judge")
        together = holds.companions(conn, hold.id)
        received = [
            Received(settings.original(one.sha256), one.name, one.sha256, one.size, hold.account, one.id)
            for one in submissions.received_files(conn, together)
        ]
        before = tuple(holds.submissions_of(conn, together))
        recorded = holds.recorded_entries(conn, together)
    found = gather_kept(received, settings, reference)
    part = len(found) > 1
    if part:
        found = [one for one in found if _nameless(one, recorded)]
        before = ()
    left = len(found) > 1
    if left:
        found = [_fitting(settings, registry, found, parsed, hold)]
    if len(found) != 1 or found[0].workbook is None:
        raise Conflict(f"{hold.record} 不是一个考试的数据包，不能改名受理：请退回，由该市按规则重新报送")

    def also(conn: "Connection") -> None:
        holds.close_files(conn, before)
        holds.record_decisions(conn, [hold], "judge", decision.by, f"{decision.reason}（名称应为 {parsed.stem}）")
        note(
            conn, "hold.decided", decision="judge", by=decision.by, reason=decision.reason, records=[hold.record],
            name=parsed.stem,
        )  # fmt: skip

    run.settle(
        settings, registry, reference, [replace(found[0], name=parsed, stem=parsed.stem)],
        account=hold.account, lane="month", actor=actor,
        again=run.Again(frozenset(hold.rules), before, lambda judged: _allow(judged, reference), also, part, left),
    )  # fmt: skip
    return hold


def _nameless(one: Submission, recorded: AbstractSet[tuple[int, int]]) -> bool:
    """Whether its name says nothing and nobody has given it one; `recorded`: entries of submissions in the ledger."""
    book, file = one.workbook, one.workbook_file
    if one.name is not None or book is None or file is None or file.file_id is None:
        return False
    return (file.file_id, book.ordinal) not in recorded


def _fitting(
    settings: Settings, registry: "Registry", found: Sequence[Submission], parsed: naming.PackageName, hold: "Hold"
) -> Submission:
    """The one of several exams that would be accepted under this name, with a row at least; Conflict when none or more.

    Of another exam the database has every row otherwise.
    """
    reference = load_reference(settings)
    fitting = []
    for one in found:
        named = replace(one, name=parsed, stem=parsed.stem)
        (judged,) = run.check_again([named], settings, reference, registry, ())
        if judged.file_outcome is Outcome.ACCEPTED and judged.counts[Outcome.RETURNED] < len(judged.rows):
            fitting.append(one)
    if len(fitting) != 1:
        many = "不止一个" if fitting else "没有一个"
        raise Conflict(
            f"{hold.record} 中有 {len(found)} 个名称不清的考试，{many}可以按此名称受理："
            "请核对考试和人数，或退回由该市改名重报"
        )
    return fitting[0]


def _allow(judged: Sequence[Judged], reference: Reference) -> None:
    """Conflict when the file would not be accepted under its new name either."""
    (one,) = judged
    if one.file_outcome is not Outcome.ACCEPTED:
        reasons = "；".join(found.masked for found in one.findings if found.rule == one.file_reason)
        raise Conflict(f"按此名称仍不能受理（{one.file_reason}）：{reasons}")
    if one.exam_code not in reference.exams or one.account is None:
        raise Conflict("按此名称仍不能确定考试或城市，请核对考试表和城市表")

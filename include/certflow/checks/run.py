"""Checking, end to end: gather → measure → judge → conclude; and, for a city, record and answer.

`check` writes nothing and needs neither database nor network; `check_city` is the province's use of it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certflow import naming, vault
from certflow.checks import (
    city_page,
    contact_sheet,
    feedback,
    measure_duplicates,
    measure_files,
    measure_likeness,
    measure_photos,
    measure_registry,
    measure_rows,
    measure_swaps,
    notices,
    outcome,
    paper,
    suites,
    versions,
    wording,
)
from certflow.checks.facts import facts_of
from certflow.checks.judged import Judged, JudgedRow
from certflow.checks.suites import Rule
from certflow.checks.suites import load as rules
from certflow.checks.thumbnails import Thumbnails
from certflow.errors import ConfigurationError, Conflict, DigestMismatch
from certflow.findings import Outcome, Scope
from certflow.heap import give_back, without_collector
from certflow.intake import nest
from certflow.intake.gather import complete, gather, gather_kept, require_whole
from certflow.intake.submission import Received, Submission
from certflow.month import SHANGHAI
from certflow.reference import Reference, load_reference
from certflow.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from certflow.checks.judge import Judgement
    from certflow.registry.contested import Contested
    from certflow.registry.ledger import Actor, Registry
    from certflow.registry.submissions import Earlier, PendingFile

__all__ = [
    "Again",
    "CityReport",
    "Judged",
    "JudgedRow",
    "Rule",
    "check",
    "check_city",
    "render_quality",
    "rules",
    "settle",
]

ATTEMPTS = 5
"""How often a city's files are judged anew when another city recorded something that concerns them meanwhile."""


@dataclass(frozen=True, slots=True)
class CityReport:
    """What checking a city's new files came to; ids and counts only."""

    account: str
    files: tuple[int, ...] = ()
    """Ids of the files that were judged or told to be repeats."""
    waiting: tuple[int, ...] = ()
    """Ids of files whose partner has not arrived."""
    months: tuple[str, ...] = ()
    verdicts: Mapping[str, int] | None = None
    """Submissions by verdict."""
    rows: Mapping[str, int] | None = None
    """Rows by outcome."""
    contested: int = 0
    """Accepted rows that are held from now on, because this city sent the same 管理号 or photo."""


@dataclass(frozen=True, slots=True)
class Again:
    """A held file that a person has judged again."""

    waived: frozenset[str]
    """Codes of the rules that are overruled."""
    without: tuple[int, ...]
    """Submissions recorded for the file before: nothing is compared with them."""
    allow: Callable[[Sequence[Judged]], None]
    """Raises when the new verdict is not what the person meant."""
    also: "Callable[[Connection], None]"
    """What belongs into the same transaction."""
    part: bool
    """The file holds other exams, which keep their verdicts and answers."""
    left: bool
    """Other exams in it still wait for a name, and the file with them."""


@dataclass(frozen=True, slots=True)
class _Case:
    """Everything one call to the judge gave."""

    judged: list[Judged]
    judgements: "list[Judgement]"
    numbers: tuple[str, ...]
    """管理号 of every row."""
    persons: frozenset[str]
    """ID numbers of the rows, as sent and as the database has them."""
    earlier: "Mapping[str, Sequence[Earlier]]"
    """What the ledger held under these numbers."""
    unnumbered: "Mapping[str, Sequence[Earlier]]"
    """What it held of these persons without a number."""
    album: measure_likeness.Album | None
    """None where no rule asks whose photos are alike."""

    def overtaken(self, conn: "Connection", without: tuple[int, ...]) -> bool:
        """Whether others recorded something since that the verdicts should have known."""
        from certflow.registry import submissions as ledger

        if ledger.earlier(conn, self.numbers, without) != self.earlier:
            return True
        if ledger.unnumbered(conn, self.persons, without) != self.unnumbered:
            return True
        return self.album is not None and self.album.overlooked(conn, without)


def check(
    files: Sequence[Received], settings: Settings, reference: Reference, *, registry: "Registry | None"
) -> list[Judged]:
    """Judge files together as the province would; writes nothing.

    Without a registry, or with an empty one, the rules that need the certificate database are silent and DB-OFF says
    so. ConfigurationError when a rule suite is broken; never an error for whatever bytes a city sends.
    """
    with vault.shelf(settings.work) as shelf:
        received = nest.expand(files, settings, Path(shelf))
        return _judge(gather(received, settings, reference), settings, reference, registry).judged


def check_again(
    submissions: Sequence[Submission],
    settings: Settings,
    reference: Reference,
    registry: "Registry",
    without: tuple[int, ...],
) -> list[Judged]:
    """Judge submissions that are in the ledger already as if these records (`without`) were not; writes nothing."""
    return _judge(submissions, settings, reference, registry, without=without).judged


def check_city(settings: Settings, registry: "Registry", account: str, actor: "Actor") -> CityReport:
    """Judge every new file of an account, record the verdicts, and write 退回单 and receipts into its feedback folder.

    Verdicts and rows are recorded in one transaction; files that have a verdict are not judged again, so it may be
    run at any time. Two runs for one account at once: the second ends with Busy. ConfigurationError when the
    certificate database is empty or a suite is broken; DigestMismatch, when all is done that can be, where an original
    of ours is damaged.
    """
    from certflow.registry import submissions as ledger

    reference = load_reference(settings)
    with registry.lock(f"check:{account}"):
        with registry.read() as conn:
            if not ledger.database_loaded(conn):
                raise ConfigurationError("证书数据库为空，无法核对：请先运行 certflow registry load")
            pending = ledger.pending_files(conn, account)
        if _open_nests(settings, registry, account, pending, actor):
            with registry.read() as conn:
                pending = ledger.pending_files(conn, account)
        with registry.read() as conn:
            frozen = ledger.frozen_months(conn)
        report = CityReport(account, verdicts={}, rows={})
        damaged: list[DigestMismatch] = []
        for lane in ("month", "trial"):
            files = [
                _received(settings, one, account) for one in pending if one.lane == lane and one.state != "IGNORED"
            ]
            check_lane = partial(
                _check_lane, settings, registry, reference, account=account, lane=lane, frozen=frozen, actor=actor
            )
            try:
                found = [check_lane(files=files)] if files else []
            except DigestMismatch:
                found = _exam_by_exam(check_lane, files, damaged)
            for checked in found:
                report = _joined(report, checked)
        notices.write_decisions(settings, registry, account, actor)
        repeats = [one for one in pending if one.state == "IGNORED"]
        for one in repeats:
            with registry.read() as conn:
                left = ledger.still_returned(conn, one.duplicate_of) if one.duplicate_of is not None else 0
            feedback.write_repeat(settings, account, _received(settings, one, account), one.duplicate_of, left)
        report = replace(report, files=(*report.files, *(one.id for one in repeats)))
        if report.files:
            city_page.write(settings, registry, reference, account, months=report.months, file_ids=report.files)
        if damaged:
            raise damaged[0]
        return report


def prepare(settings: Settings) -> None:
    """Make what judging needs once per process, for the processes that will be forked from this one; writes nothing.

    ConfigurationError when a suite or the reference data is broken.
    """
    from certflow.checks import judge

    today = load_reference(settings).rule_set_on(datetime.now(SHANGHAI).date(), settings.rule_set)
    in_force = [rule for rule in suites.load(settings) if rule.belongs_to(today.name)]
    for scope in Scope:
        judge.prepare(_of_scope(in_force, scope))


def render_quality(settings: Settings) -> int:
    """Render the Data Docs below ``reports/data-docs`` from the validation results kept in ``quality``; pages new.

    One task at a time; no personal value is in them.
    """
    from certflow.checks import judge

    return len(judge.render_data_docs(settings.path("quality"), settings.reports / "data-docs"))


def _exam_by_exam(
    check_lane: Callable[..., CityReport], files: Sequence[Received], damaged: list[DigestMismatch]
) -> list[CityReport]:
    """Judge apart what cannot be judged together, as an original is damaged: its exam waits, the others go on.

    Files whose name does not say the exam may be of any: they come last, and wait with whatever is damaged; where one
    of them is, all wait.
    """
    exams: dict[object, list[Received]] = defaultdict(list)
    for file in files:
        name = naming.parse(file.name).name
        exams[naming.parse_nil(file.name) if name is None else (name.month, name.exam_code.lstrip("0"))].append(file)
    unnamed = exams.pop(None, [])
    found = []
    try:
        require_whole(unnamed)
        for part in exams.values():
            try:
                found.append(check_lane(files=part))
            except DigestMismatch as error:
                damaged.append(error)
        if unnamed and not damaged:
            found.append(check_lane(files=unnamed))
    except DigestMismatch as error:
        damaged.append(error)
    return found


def _check_lane(
    settings: Settings,
    registry: "Registry",
    reference: Reference,
    *,
    account: str,
    lane: str,
    files: list[Received],
    frozen: set[str],
    actor: "Actor",
) -> CityReport:
    submissions = gather_kept(files, settings, reference)
    if lane == "month":
        submissions = [_completed(one, account, settings, registry, reference) for one in submissions]
    waiting = _waiting(submissions, frozen) if lane == "month" else []
    idle = tuple(sorted({file.file_id for one in waiting for file in one.files if file.file_id is not None}))
    submissions = [one for one in submissions if one not in waiting]
    feedback.clear(settings, account, [file.file_id for file in files if file.file_id is not None])
    for one in waiting:
        feedback.write_waiting(settings, account, one)
    return settle(settings, registry, reference, submissions, account=account, lane=lane, actor=actor, idle=idle)


@without_collector()
def settle(
    settings: Settings,
    registry: "Registry",
    reference: Reference,
    submissions: Sequence[Submission],
    *,
    account: str,
    lane: str,
    actor: "Actor",
    idle: tuple[int, ...] = (),
    again: Again | None = None,
) -> CityReport:
    """Judge submissions of one account, write the answers, record rows and states in one transaction.

    `idle`: files that wait for their partner. Conflict when somebody else settled one of the files meanwhile, or other
    cities kept recording the same 管理号 or photos.
    """
    from certflow.checks import judge
    from certflow.registry import submissions as ledger

    waived, without = (again.waived, again.without) if again is not None else (frozenset(), ())
    ids = sorted({file.file_id for one in submissions for file in one.files if file.file_id is not None})
    written: list[Path] = []
    for _ in range(ATTEMPTS):
        with Thumbnails(settings.work) as thumbnails:
            case = _judge(
                submissions, settings, reference, registry,
                lane=lane, waived=waived, without=without, thumbnails=thumbnails,
            )  # fmt: skip
            give_back()
            if again is not None:
                again.allow(case.judged)
            case = replace(case, judged=_with_news(registry, case.judged, account, lane, without))
            for unrecorded in written:
                unrecorded.unlink(missing_ok=True)
            written = _write_answers(
                settings, account, lane, case.judged, thumbnails, part=again is not None and again.part
            )
        give_back()

        def work(conn: "Connection", case: _Case = case) -> "list[Contested] | None":
            ledger.hold_recording(conn)
            if lane == "month" and case.overtaken(conn, without):
                return None
            if idle:
                ledger.let_wait(conn, idle)
            if again is None:
                return ledger.record(conn, account, lane, case.judged)
            found = ledger.record(conn, account, lane, case.judged, ("HELD",), left=again.left)
            again.also(conn)
            return found

        contested = registry.run(actor, work)
        if contested is not None:
            break
    else:
        raise Conflict("其他城市同时在登记相同的管理号或照片，本次未保存任何内容，请再次运行")
    feedback.write_contested(settings, contested)
    if ids:
        judge.write_results(case.judgements, settings.path("quality"), f"{account}-{lane}-{ids[0]:06d}")
    return CityReport(
        account,
        tuple(ids),
        idle,
        tuple(sorted({str(one.month) for one in case.judged if one.month is not None})),
        Counter(one.verdict.value for one in case.judged),
        Counter(row.outcome.value for one in case.judged for row in one.rows),
        len(contested),
    )


def _write_answers(
    settings: Settings, account: str, lane: str, judged: Sequence[Judged], thumbnails: Thumbnails, *, part: bool
) -> list[Path]:
    """What city and province read about these submissions: receipts and slips, pages of photos, forms."""
    written = feedback.write(settings, account, lane, judged, part=part)
    for one in judged:
        sheet = feedback.answer_path(settings.contact_sheets / account, lane, one.submission.files[0], [one])
        stem = sheet.with_name(f"{sheet.name}-{one.exam_code or '考试未定'}")
        written += contact_sheet.write(one, stem, thumbnails)
    return written + paper.write_forms(settings, account, lane, judged)


def _open_nests(
    settings: Settings, registry: "Registry", account: str, pending: "Sequence[PendingFile]", actor: "Actor"
) -> int:
    """Z16, where agreed: each exam zip in a city zip becomes a received file of its own; how many city zips."""
    from certflow.registry import submissions as ledger
    from certflow.registry import transfers

    opened = 0
    for one in pending:
        outer = _received(settings, one, account)
        if one.state != "RECEIVED" or one.kind != "submission":
            continue
        inner = nest.open_nest(outer, settings, settings.originals)
        if not inner:
            continue
        opened += 1
        feedback.write_opened(settings, account, one.lane, outer, [file.name for file in inner])
        with registry.begin(actor) as conn:
            ledger.open_nest(conn, one.id)
            for file in inner:
                raw = file.name.encode("utf-8", "surrogateescape")
                arrival = transfers.Arrival(account, one.lane, file.name, raw, file.sha256, file.size, "submission")
                transfers.shelve(conn, [transfers.receive(conn, arrival)[0]])
    return opened


def _with_news(
    registry: "Registry", judged: Sequence[Judged], account: str, lane: str, without: tuple[int, ...]
) -> list[Judged]:
    """Each submission with what it changes against the versions the ledger holds."""
    from certflow.registry import versions as ledger

    told = []
    with registry.read() as conn:
        for one in judged:
            version, before = 0, list[ledger.Before]()
            if one.month is not None and one.exam_code is not None and one.rows:
                version, before = ledger.before(conn, account, str(one.month), one.exam_code, lane, without=without)
            told.append(versions.with_news(one, version + 1, before))
    return told


def _with_earlier_photos(
    submissions: Sequence[Submission],
    standings: Sequence[measure_files.Standing],
    settings: Settings,
    registry: "Registry | None",
) -> list[Submission]:
    """Each submission with the sound photos of its earlier versions that it does not bring again."""
    if registry is None:
        return list(submissions)
    from certflow.registry import versions as ledger

    found = []
    with registry.read() as conn:
        for one, standing in zip(submissions, standings, strict=True):
            if standing.month is None or standing.exam is None or standing.city is None or one.sheet is None:
                found.append(one)
                continue
            account = standing.city.account
            photos = ledger.photos(conn, account, str(standing.month), standing.exam.code)
            found.append(replace(one, earlier_photos=versions.earlier_photos(one, photos, settings, account)))
    require_whole({file.sha256: file for one in found for file, _ in one.earlier_photos}.values())
    return found


def _completed(
    one: Submission, account: str, settings: Settings, registry: "Registry", reference: Reference
) -> Submission:
    """Photos that came alone, with the rows that went back because they were missing (Z45); anything else as it is."""
    from certflow.registry import versions as ledger

    if not _alone(one) or one.name is None:
        return one
    exam = measure_files.stand(one, reference, datetime.now(SHANGHAI).date()).exam
    if exam is None:
        return one
    with registry.read() as conn:
        found = ledger.unpictured(conn, account, str(one.name.month), exam.code)
    for part in found:
        path = settings.original(part.file_sha256)
        file = Received(path, part.file_name, part.file_sha256, part.file_size, account, part.file_id)
        whole = complete(one, (file, part.entry), part.rows, settings.limits)
        if whole is not None:
            return whole
    return one


def _alone(one: Submission) -> bool:
    """Whether these are photos without a workbook."""
    return one.sheet is None and one.workbook is None and bool(one.photos) and one.measures.get("file_fault") is None


def _waiting(submissions: Sequence[Submission], frozen: set[str]) -> list[Submission]:
    """Photos whose workbook has not arrived, of months that are still open."""
    shared = Counter(file.file_id for one in submissions for file in one.files)
    return [
        one
        for one in submissions
        if _alone(one)
        and one.name is not None
        and str(one.name.month) not in frozen
        and all(shared[file.file_id] == 1 for file in one.files)
    ]


def _received(settings: Settings, one: "PendingFile", account: str) -> Received:
    return Received(settings.original(one.sha256), one.name, one.sha256, one.size, account, one.id)


def _joined(one: CityReport, other: CityReport) -> CityReport:
    return CityReport(
        one.account,
        (*one.files, *other.files),
        (*one.waiting, *other.waiting),
        tuple(sorted({*one.months, *other.months})),
        Counter(one.verdicts or {}) + Counter(other.verdicts or {}),
        Counter(one.rows or {}) + Counter(other.rows or {}),
        one.contested + other.contested,
    )


@without_collector()
def _judge(
    submissions: Sequence[Submission],
    settings: Settings,
    reference: Reference,
    registry: "Registry | None",
    *,
    lane: str = "month",
    waived: AbstractSet[str] = frozenset(),
    without: tuple[int, ...] = (),
    thumbnails: Thumbnails | None = None,
) -> _Case:
    every = suites.load(settings)
    today = datetime.now(SHANGHAI).date()
    standings = [measure_files.stand(one, reference, today) for one in submissions]
    rule_sets = [reference.rule_set_of(one.month, settings.rule_set) for one in standings]
    by_name = {one.name for one in rule_sets}
    in_force = [rule for rule in every if rule.code not in waived and any(map(rule.belongs_to, by_name))]
    names = [one.name for one in rule_sets]
    run = partial(_run, in_force, names)
    submissions = _with_earlier_photos(submissions, standings, settings, registry)
    rows = measure_rows.gather(submissions)
    with ThreadPoolExecutor(max_workers=1) as pool:  # the database works while the rows are measured by themselves
        asked = [pool.submit(facts_of, registry, submissions, rows, lane, without)]
        measure_rows.measure(rows, standings, reference)
        facts = asked.pop().result()
    found, judgements = outcome.Found(), []

    files = measure_files.measure(
        submissions, standings, reference,
        codes=frozenset(rule.code for rule in every), known=facts.known, waiting=facts.waiting,
        database=facts.database,
    )  # fmt: skip
    files["shift_share"], shifted = measure_rows.shares(rows, len(submissions))  # type: ignore[assignment]
    files["shift_share_detail"] = list(shifted)
    measure_swaps.measure(rows, standings, files)
    files["file_repeated"] = list(measure_duplicates.repeated_share(rows, standings, facts.earlier))
    judgements += run(Scope.FILE, files, found.files, size=len(submissions), place=wording.Place)

    ends = [outcome.file_outcome(found.files[position])[0] for position in range(len(submissions))]
    measure_registry.measure(rows, standings, reference, facts.match, rule_sets)
    facts = replace(facts, match=None)  # the rows hold what they need of it
    photos = measure_photos.measure(submissions, standings, rows, settings, rule_sets, thumbnails=thumbnails)
    counted = [end in (Outcome.ACCEPTED, Outcome.HELD) for end in ends]
    measure_photos.measure_others(photos, rows, standings, counted, facts.pictured)
    bound = next((rule.kwargs.get("min_value") for rule in in_force if rule.code == "PHOTO-SAME"), None)
    album = None
    if bound is not None:
        album = measure_likeness.measure(
            photos, rows, standings, settings, bound=float(bound), registry=registry, without=without
        )

    def of_row(line: int) -> wording.Place:
        return wording.Place(rows.owner[line], rows.number[line])

    def of_photo(line: int) -> wording.Place:
        lines, (_, entry) = photos.rows[line], photos.members[line]
        return wording.Place(photos.owner[line], rows.number[lines[0]] if lines else None, entry.name)

    members, entries = measure_files.measure_entries(submissions)

    def of_entry(line: int) -> wording.Place:
        owner, _, entry = members[line]
        return wording.Place(owner, entry=entry.name)

    judgements += run(Scope.PHOTO, photos.columns, found.photos, size=len(photos), place=of_photo)
    own = _by_themselves(rows, measure_duplicates.shared(rows, ends), found, run, of_row)
    measure_duplicates.measure(
        rows, standings, facts.earlier, photos.of_rows(rows),
        files=ends, ends=own, unnumbered=facts.unnumbered, elsewhere=facts.elsewhere, cities=reference.cities,
    )  # fmt: skip
    judgements += run(Scope.ROW, rows.columns, found.rows, size=len(rows), place=of_row)
    judgements += run(Scope.ENTRY, entries, found.entries, size=len(members), place=of_entry)
    lines = [(owner, received.sha256, entry.ordinal) for owner, received, entry in members]
    judged = outcome.conclude(outcome.Case(submissions, standings, rows, photos, found, lines, settings, names))
    numbers = tuple(sorted(set(rows.text("clean_ZSGLH"))))
    if album is not None:
        album.let_go()
    return _Case(judged, judgements, numbers, facts.persons, facts.earlier, facts.unnumbered, album)


def _by_themselves(
    rows: measure_rows.Rows,
    groups: Iterable[Sequence[int]],
    found: outcome.Found,
    run: "Callable[..., list[Judgement]]",
    of_row: Callable[[int], wording.Place],
) -> dict[int, Outcome]:
    """How rows that have something in common would end if each were alone; a look ahead that is not recorded."""
    lines = [line for group in groups for line in group]
    told: dict[int, list[Any]] = defaultdict(list)
    part = {name: [column[line] for line in lines] for name, column in rows.columns.items()} if lines else {}
    run(Scope.ROW, part, told, size=len(lines), place=lambda at: of_row(lines[at]))
    alone = outcome.Found(photos=found.photos)
    alone.rows |= {lines[at]: findings for at, findings in told.items()}
    return {line: outcome.by_itself(line, rows, alone)[0] for line in lines}


_COLUMNS = {
    Scope.FILE: measure_files.COLUMNS, Scope.PHOTO: measure_photos.COLUMNS, Scope.ROW: measure_duplicates.COLUMNS,
}  # fmt: skip
"""Columns that may not have been measured in this call, and are silent then."""


def _run(
    in_force: Iterable[Rule],
    rule_sets: Sequence[str],
    scope: Scope,
    columns: Mapping[str, Sequence[object]],
    found: dict[int, list[Any]],
    *,
    size: int,
    place: Callable[[int], wording.Place],
) -> "list[Judgement]":
    """Judge one frame of `size` lines by all suites that speak of it; `rule_sets`: per submission."""
    from certflow.checks import frame, judge  # late: pandas and Great Expectations take seconds to import

    chosen = _of_scope(in_force, scope)
    if not chosen or not size:
        return []
    suites.require_columns(chosen, frozenset(columns) | _COLUMNS.get(scope, frozenset()))
    wanted = {name for rule in chosen for name in rule.columns}
    judgements = judge.judge(frame.build(columns, wanted, size), chosen)
    for breach in (one for judgement in judgements for one in judgement.breaches):
        for line, finding in wording.findings(breach, columns, place):
            if breach.rule.belongs_to(rule_sets[place(line).submission]):
                found[line].append(finding)
    return judgements


def _of_scope(rules: Iterable[Rule], scope: Scope) -> list[Rule]:
    """Those that judge the frame of a scope, suite by suite."""
    return [rule for suite in suites.SUITES for rule in rules if rule.suite == suite and rule.scope is scope]

"""Fetch what a city has uploaded, and bring the answers back: the city's side of the SFTP tree (DESIGN §5).

A file is taken when it is complete: unchanged over two looks and, for a zip, with a central directory at its
end (T01). Then in this order: bytes into our store (flushed, renamed) → ledger RECEIVED (committed) → moved to
已接收 on the city's server. Died anywhere in between, the next pull goes on: bytes that are stored twice are the
same bytes, and a file that is recorded but still there is only moved (`transfers.owed`).

Where the server cannot rename (`Settings.done_marker`, T09) a file is complete when ``<name>.ok`` lies beside it. The
marker is used up before the file is moved, so it never speaks for a later upload of the same name; moving is copying
our original to 已接收 and removing the city's copy.

Links, folders and oversized files are refused and the city is told so; names in any encoding pass as raw bytes
(T16). Nothing here logs a name: names of files may be ID numbers.
"""

import hashlib
import os
import posixpath
import re
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from certflow import originals, vault
from certflow.errors import AccessRefused, ConfigurationError, Conflict, TransferError
from certflow.naming import parse_nil
from certflow.originals import PATIENCE_SECONDS, Patience
from certflow.registry import return_answers, submissions, transfers
from certflow.registry.ledger import Actor, Registry
from certflow.registry.transfers import Arrival, Owed
from certflow.settings import Settings
from certflow.sftp import MARKER, PART, RemoteFile, Session, connect

LIVING = "现况"
"""Below ``feedback/<account>/``: the month's pages and the days' messages, written anew whenever something changes."""
DAYS_RENEWED = 2
"""Messages of so many last days are looked at: around midnight yesterday's may still change."""
MARKER_SECONDS = 3600
"""A file that has not changed for so long and still has no done-marker is one whose marker was forgotten."""

_REFUSALS = {
    "folder": "是文件夹：请把数据表和照片文件夹压缩成一个 zip 后上传",
    "link": "是链接：只接收普通文件",
    "other": "不是普通文件",
    "too-large": "超过单个文件的大小上限：请分拆后上传",
    "permission": "没有读取权限：请重新上传",
    "unmarked": f"没有完成标志：确认上传完整后，请在旁边再上传一个同名加 {MARKER} 的空文件",
}


@dataclass(frozen=True, slots=True)
class PullReport:
    """What one pull did; ids and counts only."""

    new: tuple[int, ...] = ()
    """Ids of files recorded for the first time."""
    duplicates: tuple[int, ...] = ()
    """Ids of files whose bytes were known already (IGNORED)."""
    waiting: int = 0
    """Files that are still being uploaded."""
    refused: tuple[str, ...] = ()
    """One of folder | link | other | too-large | permission per thing that is never taken; unmarked per file that
    waits for its done-marker (T09)."""


def pull(settings: Settings, registry: Registry, account: str, actor: Actor) -> PullReport:
    """Take every complete file out of the city's 报送, 试投 and 证明.

    May be run again at any time; two at once: the second ends with Busy.

    Raises:
        AccessRefused: login, host key, or the city's folder does not let us move files; what was read is
            recorded all the same.
        ConfigurationError: the city's 报送 is not there; what lay in the other folders is recorded all the same.
        TransferError: for now; try again.
    """
    if settings.city_sftp is None:
        raise ConfigurationError("没有配置地市服务器：请设置 CERTFLOW_CITY_SFTP")
    with registry.lock(f"pull:{account}"), connect(settings.city_sftp, settings.transfer_timeout) as session:
        return _Round(settings, registry, account, actor, session).run()


@dataclass(frozen=True, slots=True)
class ReplyReport:
    """What one reply did; ids and counts only."""

    answered: tuple[int, ...] = ()
    """Ids of files whose answers now lie in the city's 回执."""
    uploaded: int = 0
    """Answers uploaded by this call; the others were there already."""
    missing: tuple[int, ...] = ()
    """Ids of judged files whose answers are not written yet; the next reply looks again."""
    lists: int = 0
    """Answers about the authority's returns, and recalls of such, that now lie in the city's 回执."""


def reply(settings: Settings, registry: Registry, account: str, actor: Actor) -> ReplyReport:
    """Upload the answers to every judged file, and about every applied return, that the city has not got yet.

    May be run again at any time: what lies there with the same bytes is not sent twice, and no answer is ever
    overwritten; the month's page and the day's message take the place of their older ones. Raises as `pull`.
    """
    if settings.city_sftp is None:
        raise ConfigurationError("没有配置地市服务器：请设置 CERTFLOW_CITY_SFTP")
    with registry.lock(f"reply:{account}"):
        with registry.read() as conn:
            owed = submissions.unanswered(conn, account)
            returned = return_answers.owed(conn, account)
        written = _answers(settings.feedback / account, [*(one.tag for one in owed), *(one.tag for one in returned)])
        ready = [answer for answer in owed if written[answer.tag]]
        missing = tuple(answer.file_id for answer in owed if not written[answer.tag])
        lists = [answer for answer in returned if written[answer.tag]]
        if not ready and not lists:
            return ReplyReport(missing=missing)
        uploaded = 0
        with connect(settings.city_sftp, settings.transfer_timeout) as session:
            shelf = f"/{account}/{settings.folders.replies}"
            session.makedirs(shelf)
            months = {answer.month for answer in ready}
            uploaded += _renew(session, settings, settings.feedback / account / LIVING, shelf, months)
            for answer in ready:
                uploaded += sum(
                    _deliver(session, file, f"{shelf}/{file.name}".encode(), marked=settings.done_marker == "yes")
                    for file in written[answer.tag]
                )
                with registry.begin(actor) as conn:
                    submissions.mark_answered(conn, [answer.file_id])
            for one in lists:
                uploaded += sum(
                    _deliver(session, file, f"{shelf}/{file.name}".encode(), marked=settings.done_marker == "yes")
                    for file in written[one.tag]
                )
                with registry.begin(actor) as conn:
                    return_answers.told(conn, one)
        return ReplyReport(tuple(answer.file_id for answer in ready), uploaded, missing, len(lists))


def _answers(folder: Path, tags: Sequence[str]) -> dict[str, list[Path]]:
    """Tag → complete files below `folder` that carry it in their name."""
    found: dict[str, list[Path]] = {tag: [] for tag in tags}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix != PART:
            for tag in re.findall(r"(?<![0-9A-Za-z])[FRU][0-9]{6,}(?![0-9A-Za-z])", file.name):
                if tag in found:
                    found[tag].append(file)
    return found


def _renew(session: Session, settings: Settings, folder: Path, shelf: str, months: Collection[str]) -> int:
    """Put the pages of these months and the last days' messages in place of their older ones; how many changed.

    The old one goes first, as nothing can be renamed over it (T08): whoever dies in between has answers still owed,
    and comes by here again.
    """
    days = sorted(folder.glob("日报-*.txt"))[-DAYS_RENEWED:]
    pages = [page for page in sorted(folder.glob("报送情况-*")) if page.stem.rpartition("-")[2] in months]
    changed, marked = 0, settings.done_marker == "yes"
    for file in [*pages, *days]:
        final = f"{shelf}/{file.name}"
        there = session.stat(final)
        if there is not None:
            if there.size == vault.size(file) and session.hash(final) == vault.sha256(file):
                continue
            if marked:
                session.remove(final + MARKER)
            session.remove(final)
        session.publish(file, final, marked=marked)
        changed += 1
    return changed


def _deliver(session: Session, file: Path, wanted: bytes, *, marked: bool) -> bool:
    """Bring one file under its name, or ``name~2`` and so on where other bytes lie; False when it was there."""
    digest, size = vault.sha256(file), vault.size(file)
    stem, suffix = os.path.splitext(wanted)  # noqa: PTH122 (bytes: the name may be in any encoding)
    for number in range(1, 1000):
        final = wanted if number == 1 else b"%s~%d%s" % (stem, number, suffix)
        there = session.stat(final)
        if there is None or (marked and session.unfinished(final)):
            session.publish(file, final, marked=marked)
            return True
        if there.size == size and session.hash(final) == digest:
            return False
    raise Conflict("地市文件夹中同名文件过多，请清理后重试")


@dataclass(slots=True)
class _Round:
    """One pull of one account."""

    settings: Settings
    registry: Registry
    account: str
    actor: Actor
    session: Session
    new: list[int] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)
    waiting: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    """(kind, name)"""
    unmoved: AccessRefused | None = None
    marks: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    """Lane → name of a file → name of its done-marker."""

    @property
    def marked(self) -> bool:
        """Whether files of this server are complete by a done-marker (T09)."""
        return self.settings.done_marker == "yes"

    def run(self) -> PullReport:
        names = self.settings.folders
        originals.sweep(self.settings, self.account)
        folders = {"month": names.inbox, "trial": names.trial, "proofs": names.proofs}
        lanes = {lane: f"/{self.account}/{folder}/" for lane, folder in folders.items()}
        first = {lane: self.session.list(folder) for lane, folder in lanes.items()}
        owed = self.settle(first)
        stable: dict[str, list[RemoteFile]] = {lane: [] for lane in lanes}
        if any(first.values()):
            time.sleep(self.settings.look_seconds)
            for lane, folder in lanes.items():
                stable[lane] = self.unchanged(first[lane], self.without_markers(lane, self.session.list(folder)))
        if any(stable.values()):
            self.session.prepare_reads()
        patience = Patience(self.settings.path("inbox", f"{self.account}.json"))
        for lane, folder in lanes.items():
            for file in stable[lane]:
                self.take_safely(lane, folder, file, owed, patience)
        patience.save()
        self.tell_refused()
        if self.unmoved is not None:
            raise self.unmoved
        if not first["month"] and self.session.stat(lanes["month"]) is None:
            raise ConfigurationError(
                f"地市服务器上没有 {lanes['month']}：该市无处上传，不能算作没有文件；请服务器管理员建好后重新运行"
            )
        return PullReport(
            tuple(self.new), tuple(self.duplicates), self.waiting, tuple(kind for kind, _ in self.refused)
        )

    def settle(self, listing: dict[str, Sequence[RemoteFile]]) -> list[Owed]:
        """Close moves that were done but not recorded; what is left is still to be moved."""
        with self.registry.read() as conn:
            owed = transfers.owed(conn, self.account)
        there = {(lane, file.raw_name) for lane, files in listing.items() for file in files}
        if gone := [one.file_id for one in owed if (one.lane, one.raw_name) not in there]:
            with self.registry.begin(self.actor) as conn:
                transfers.shelve(conn, gone)
        return [one for one in owed if (one.lane, one.raw_name) in there]

    def without_markers(self, lane: str, now: Sequence[RemoteFile]) -> list[RemoteFile]:
        """The files that are no done-markers; remembers which have one."""
        suffix = MARKER.encode()
        found = [file for file in now if self.marked and file.regular and file.raw_name.lower().endswith(suffix)]
        self.marks[lane] = {file.raw_name[: -len(suffix)]: file.raw_name for file in found}
        return [file for file in now if file not in found]

    def unchanged(self, before: Sequence[RemoteFile], now: Sequence[RemoteFile]) -> list[RemoteFile]:
        """Plain files that look the same twice; what can never be taken is noted, the rest waits."""
        earlier = {file.raw_name: file for file in before}
        stable = []
        for file in now:
            if not file.regular:
                self.refused.append((file.kind, file.name))
            elif file.size > self.settings.limits.archive_bytes:
                self.refused.append(("too-large", file.name))
            elif originals.unchanged(earlier.get(file.raw_name), file):
                stable.append(file)
            else:
                self.waiting += 1
        return stable

    def take_safely(self, lane: str, folder: str, file: RemoteFile, owed: Sequence[Owed], patience: Patience) -> None:
        """One file's trouble stays its own; a broken connection ends the pull."""
        path = folder.encode() + file.raw_name
        try:
            if not self.take(lane, path, file, owed, patience.seconds(lane, file)):
                self.waiting += 1
        except AccessRefused:
            self.refused.append(("permission", file.name))
        except TransferError:
            if self.session.stat(path) is not None:  # gone (T17, F20): the next pull has nothing to do
                raise

    def take(self, lane: str, path: bytes, file: RemoteFile, owed: Sequence[Owed], unchanged_for: float) -> bool:
        """Read, record and move one file; False when it is not complete yet."""
        mine = {one.sha256: one.file_id for one in owed if (one.lane, one.raw_name) == (lane, file.raw_name)}
        mark = self.marks[lane].get(file.raw_name)
        complete = not self.marked or mark is not None
        if not complete and not mine:
            if unchanged_for >= MARKER_SECONDS:
                self.refused.append(("unmarked", file.name))
            return False
        ended = unchanged_for >= PATIENCE_SECONDS or mark is not None
        digest = originals.take(self.settings, self.session, path, file, errand=self.account, ended=ended)
        if digest is None or (digest not in mine and not complete):
            return False
        file_id = mine[digest] if digest in mine else self.record(lane, file, digest)
        if self.marked:
            self.copy_away(path, file, file_id, digest, mark)
        else:
            self.shelve(path, file, file_id)
        return True

    def record(self, lane: str, file: RemoteFile, digest: str) -> int:
        nil = parse_nil(file.name) if lane != "proofs" else None
        arrival = Arrival(
            self.account,
            lane,
            file.name,
            file.raw_name,
            digest,
            file.size,
            "proof" if lane == "proofs" else "nil" if nil else "submission",
            str(nil[0]) if nil else None,
        )
        with self.registry.begin(self.actor) as conn:
            file_id, duplicate = transfers.receive(conn, arrival)
        (self.duplicates if duplicate else self.new).append(file_id)
        return file_id

    def shelve(self, path: bytes, file: RemoteFile, file_id: int) -> None:
        """Move the city's copy to 已接收; what was moved must be what was read, else it goes back."""
        shelf = f"/{self.account}/{self.settings.folders.received}"
        try:
            self.session.makedirs(shelf)
            moved = self.session.move(path, shelf)
        except AccessRefused as error:
            self.unmoved = error  # T05: the file counts, the move is still owed and somebody is alarmed
            return
        except TransferError:
            if self.session.stat(path) is not None:
                raise
            moved = None  # T17: the city took it away after we had read it; it counts all the same
        with self.registry.begin(self.actor) as conn:
            transfers.shelve(conn, [file_id])
        there = self.session.stat(moved) if moved else None
        if moved and there and (there.size, there.mtime) != (file.size, file.mtime):
            # Overwritten in the instant before the move: a delivery of its own, unless a third one lies there.
            with suppress(Conflict):
                self.session.rename(moved, path)
            self.waiting += 1

    def copy_away(self, path: bytes, file: RemoteFile, file_id: int, digest: str, mark: bytes | None) -> None:
        """Without a rename (T09): marker away, our original to 已接收, the city's copy away if it is still the same."""
        shelf = f"/{self.account}/{self.settings.folders.received}".encode()
        try:
            if mark is not None:
                self.session.remove(posixpath.join(posixpath.dirname(path), mark))
            self.session.makedirs(shelf)
            _deliver(self.session, self.settings.original(digest), posixpath.join(shelf, file.raw_name), marked=True)
            if self.session.stat(path) == file:
                self.session.remove(path)
        except AccessRefused as error:
            self.unmoved = error  # T05, as in `shelve`
            return
        with self.registry.begin(self.actor) as conn:
            transfers.shelve(conn, [file_id])

    def tell_refused(self) -> None:
        """Leave one note per set of refused things in 回执; written once, in the city's words."""
        if not self.refused:
            return
        lines = [f"{name}：{_REFUSALS[kind]}" for kind, name in sorted(self.refused)]
        text = "以下内容未被接收，请处理后重新上传：\r\n" + "".join(f"{line}\r\n" for line in lines)
        content = b"\xef\xbb\xbf" + text.encode()
        final = f"/{self.account}/{self.settings.folders.replies}/未接收-{hashlib.sha256(content).hexdigest()[:12]}.txt"
        if self.session.stat(final) is not None:
            return
        self.settings.work.mkdir(mode=0o700, parents=True, exist_ok=True)
        note = self.settings.work / f"refused-{self.account}.txt"
        try:
            vault.write_bytes(note, content)
            self.session.makedirs(final.rpartition("/")[0])
            self.session.publish(note, final, marked=self.marked)
        finally:
            note.unlink(missing_ok=True)

"""Send an approved package to the authority: exactly once, as far as physics allows (DESIGN §3 "Sending").

One try, with the evidence it leaves in `transfers`:

1. ``intent``     APPROVED → SENDING, fencing token + 1
2. ``withdrawn``  parts of earlier tries are removed: a try that only slept can no longer rename its part
3. ``looked``     final name and archive: what lies there with our digest is delivered, nothing is sent
4. ``uploaded``   ``<name>.<token>.part``, then read back and hashed
5. ``verified``   written only while the token is still ours; from here on the rename may have happened
6. ``renamed``    the final name was free; a standard rename never overwrites
7. a second zip with the photos, where there is one, goes through 3 to 6 by itself
8. the manifest follows in the same way, so whoever sees a manifest sees a whole package
9. ``sent``       SENDING → SENT with all rows, only while the token is still ours; what the folder lists is kept

Any failure leaves SENDING, and the next try starts at 1. Two tries at once cannot both deliver: the later one
takes the token, then removes the earlier one's part, then looks; the earlier one either renamed before that
look, or its part is gone. A removed part proves that its try never renamed. Where a try got as far as
``verified``, its part is gone and the package is nowhere to be seen, a receipt that names its SHA-256 proves that it
arrived (``receipt``); without one nobody can know: UNKNOWN, a person decides. So it is where the authority has answered
rows that a restored ledger never sent.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from certflow import signing, vault
from certflow.dispatch.assemble import package_path, says
from certflow.errors import AccessRefused, CertflowError, ConfigurationError, Conflict, DigestMismatch, TransferError
from certflow.registry import chain, packages, transfers
from certflow.registry.ledger import Actor, Registry, note
from certflow.settings import Settings
from certflow.sftp import PART, Session, connect


def send(settings: Settings, registry: Registry, package_id: int, actor: Actor) -> str:
    """Bring one package to the authority; its state afterwards: ``SENT`` or ``UNKNOWN``.

    May be run again at any time: SENT and UNKNOWN stay what they are.

    Raises:
        Conflict: the database was restored and not compared since (`dispatch.restored`), the package is not
            approved, another try has taken it over, or other bytes lie under its name at the authority (then its state
            is UNKNOWN too).
        DigestMismatch: our own copy is not what was approved; nothing is sent.
        AccessRefused: host key, login or permission; do not try again.
        TransferError: for now; try again.
    """
    if settings.authority_sftp is None:
        raise ConfigurationError("没有配置上级服务器：请设置 CERTFLOW_AUTHORITY_SFTP")
    order = _order(settings, registry, package_id)
    if order.state in ("SENT", "UNKNOWN"):
        return order.state
    _check_own_copy(order)
    with registry.read() as conn:
        if chain.restored(conn, settings):  # F42
            raise Conflict("数据库恢复过备份，不能确定哪些已经上报：请先运行 certflow registry restored 与上级核对")
    with registry.begin(actor) as conn:
        token = transfers.begin_send(conn, package_id)
        if token is None:
            raise Conflict(f"数据包 {package_id} 尚未批准，不能发送")
        transfers.step(conn, package_id, token, "intent", sha256=order.digest)
    attempt = _Attempt(registry, actor, order, token)
    try:
        with connect(settings.authority_sftp, settings.transfer_timeout) as session:
            return attempt.deliver(session)
    except CertflowError as error:
        attempt.record("failed", kind=type(error).__name__)
        raise


def resolve_unknown(registry: Registry, package_id: int, *, delivered: bool, by: str, reason: str, actor: Actor) -> str:
    """A person's decision on a package in UNKNOWN: all of it has arrived (SENT), or it is sent again (APPROVED).

    `by` and `reason` go into the audit chain. Conflict when the package is not in UNKNOWN.
    """
    with registry.begin(actor) as conn:
        package = packages.package(conn, package_id)
        if package is None or not transfers.resolve(conn, package_id, delivered=delivered):
            raise Conflict(f"数据包 {package_id} 不在待核实（UNKNOWN）状态")
        evidence = transfers.steps(conn, package_id)
        token = evidence[-1][0] if evidence else 0
        transfers.step(conn, package_id, token, "resolved", delivered=delivered, by=by, reason=reason)
        note(conn, "send.resolved", package=package_id, delivered=delivered, by=by, reason=reason)
    return "SENT" if delivered else "APPROVED"


_LARGEST_RECEIPT = 64 << 10  # bytes


@dataclass(frozen=True, slots=True)
class _Thing:
    """One file on its way: a zip or the manifest."""

    local: Path
    final: str
    archived: tuple[str, ...]
    """Where the authority may have put it after taking it."""
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class _Order:
    package_id: int
    state: str
    stem: str
    folder: str
    answers: tuple[str, ...]
    """Folders in which the authority may leave a receipt."""
    digest: str
    zips: tuple[_Thing, ...]
    manifest: _Thing


def _order(settings: Settings, registry: Registry, package_id: int) -> _Order:
    with registry.read() as conn:
        package = packages.package(conn, package_id)
        batch = packages.batch(conn, package.batch_id) if package else None
        again = package is not None and packages.sent_before(conn, package)
    if package is None or batch is None:
        raise Conflict(f"没有编号为 {package_id} 的数据包")
    names, local = settings.folders, package_path(settings, batch, package)
    folder = f"/{names.upward}/{batch.folder}"

    def thing(path: Path, sha256: str, size: int) -> _Thing:
        archived = (f"/{names.archive}/{batch.folder}/{path.name}", f"/{names.archive}/{path.name}")
        # Rows that were refused may go up once more as they were: what lies under no batch's name may be the earlier.
        return _Thing(path, f"{folder}/{path.name}", archived[:1] if again else archived, sha256, size)

    beside = local.with_name(f"{package.stem}.manifest.json")
    if package.state in ("APPROVED", "SENDING"):
        content = vault.read_bytes(beside) if beside.is_file() else b""
        if not says(content, package.manifest):
            raise DigestMismatch(f"数据包 {package_id} 的清单文件与台账不符，请重新组包后再发送")
        signing.verify(settings, package.manifest)  # F49
    else:
        content = b""
    manifest = thing(beside, hashlib.sha256(content).hexdigest(), len(content))
    zips = tuple(thing(local.with_name(file.name), file.sha256, file.size) for file in package.files)
    answers = (folder,) if again else (folder, f"/{names.returned}")
    return _Order(package_id, package.state, package.stem, folder, answers, package.digest, zips, manifest)


def _check_own_copy(order: _Order) -> None:
    for thing in order.zips:
        if not thing.local.is_file():
            raise DigestMismatch(f"数据包 {order.package_id} 的文件不在本机，请重新组包后再发送")
        if vault.sha256(thing.local) != thing.sha256:
            raise DigestMismatch(f"数据包 {order.package_id} 的文件与批准时的摘要不符，已停止发送")  # F47


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One try under one token."""

    registry: Registry
    actor: Actor
    order: _Order
    token: int

    def deliver(self, session: Session) -> str:
        order = self.order
        session.makedirs(order.folder)
        self.withdraw_earlier(session)
        for thing in order.zips:
            place, blind = _look(session, thing)
            self.record("looked", place=place, blind=blind, sha256=thing.sha256)
            if place == "other":
                raise self.refuse_other()
            if place:
                continue
            if not self.may_have_arrived(thing):
                self.upload(session, thing)
            elif receipt := _receipt(session, order, thing):
                self.record("receipt", receipt=receipt, sha256=thing.sha256)
            else:
                return self.give_to_a_person("not-visible", sha256=thing.sha256)
        self.send_manifest(session)
        listing = self.listing(session)
        with self.registry.begin(self.actor) as conn:
            if not transfers.finish(conn, order.package_id, self.token):
                raise self.overtaken()
            transfers.step(conn, order.package_id, self.token, "sent", sha256=order.digest, listing=listing)
        return "SENT"

    def listing(self, session: Session) -> list[list[object]]:
        """What lies at the authority under our names, by name and size, as evidence; names of packages name nobody."""
        ours = {thing.final.rsplit("/", 1)[-1] for thing in (*self.order.zips, self.order.manifest)}
        return [[file.name, file.size] for file in session.list(self.order.folder) if file.name in ours]

    def withdraw_earlier(self, session: Session) -> None:
        """Fence off earlier tries at the far side; each part this call takes away proves its try never renamed."""
        for thing in (*self.order.zips, self.order.manifest):
            removed = []
            name = thing.final.rsplit("/", 1)[-1]
            for file in session.list(self.order.folder):
                tag = file.name.removeprefix(f"{name}.").removesuffix(PART)
                if file.name != f"{name}.{tag}{PART}" or not tag.isdecimal() or int(tag) == self.token:
                    continue
                if int(tag) > self.token and not self.holds():  # else a restored ledger has forgotten that try (F42)
                    raise self.overtaken()
                if session.remove(f"{self.order.folder}/{file.name}"):
                    removed.append(int(tag))
            if removed:
                self.record("withdrawn", tokens=removed, sha256=thing.sha256)

    def holds(self) -> bool:
        """Whether no later try has the package."""
        with self.registry.read() as conn:
            return transfers.holds(conn, self.order.package_id, self.token)

    def may_have_arrived(self, thing: _Thing) -> bool:
        """True when an earlier try may have renamed its part of this file, as far as the evidence goes.

        The authority's answer to its rows tells of a try that a restored ledger has forgotten.
        """
        with self.registry.read() as conn:
            evidence = transfers.steps(conn, self.order.package_id)
            if transfers.answered(conn, self.order.package_id):
                return True
        open_tries: set[int] = set()
        for token, event, detail in evidence:
            if event == "resolved":
                open_tries.clear()
            elif detail.get("sha256") != thing.sha256:
                continue
            elif event == "verified":
                open_tries.add(token)
            elif event == "withdrawn":
                open_tries -= set(detail["tokens"])
        return bool(open_tries)

    def upload(self, session: Session, thing: _Thing) -> None:
        part = self.put_verified(session, thing)
        with self.registry.begin(self.actor) as conn:
            mine = transfers.holds(conn, self.order.package_id, self.token)
            if mine:
                transfers.step(conn, self.order.package_id, self.token, "verified", sha256=thing.sha256)
        if not mine:
            session.remove(part)
            raise self.overtaken()
        try:
            session.rename(part, thing.final)
        except Conflict:
            place, _ = _look(session, thing)
            if place == "other":
                raise self.refuse_other() from None
            if not place:
                raise TransferError(f"数据包 {self.order.package_id}：目标名称被占用后又消失，稍后重试") from None
            session.remove(part)
        self.record("renamed", sha256=thing.sha256)

    def send_manifest(self, session: Session) -> None:
        thing = self.order.manifest
        place, _ = _look(session, thing)
        if not place:
            part = self.put_verified(session, thing)
            try:
                session.rename(part, thing.final)
            except Conflict:
                session.remove(part)
                place, _ = _look(session, thing)
        if place == "other":
            raise self.refuse_other()

    def put_verified(self, session: Session, thing: _Thing) -> bytes:
        """Upload as ``.part`` and read every byte back; the part's path."""
        part = session.put_part(thing.local, thing.final, str(self.token))
        if part.sha256 != thing.sha256:
            session.remove(part.path)
            raise DigestMismatch(f"数据包 {self.order.package_id} 的文件在发送过程中被改动，已停止发送")
        if thing is not self.order.manifest:
            self.record("uploaded", sha256=part.sha256, size=part.size)
        if session.hash(part.path) != thing.sha256:
            session.remove(part.path)
            raise TransferError(f"数据包 {self.order.package_id} 上传后回读不一致，已清除，稍后重试")
        return part.path

    def record(self, event: str, **detail: object) -> None:
        with self.registry.begin(self.actor) as conn:
            transfers.step(conn, self.order.package_id, self.token, event, **detail)

    def give_to_a_person(self, reason: str, **detail: object) -> str:
        with self.registry.begin(self.actor) as conn:
            if not transfers.doubt(conn, self.order.package_id, self.token):
                raise self.overtaken()
            transfers.step(conn, self.order.package_id, self.token, "unknown", reason=reason, **detail)
        return "UNKNOWN"

    def refuse_other(self) -> Conflict:
        """Other bytes lie under our name (T08, F12): nothing is overwritten, a person looks into it."""
        self.give_to_a_person("other-digest")
        return Conflict(f"数据包 {self.order.package_id}：上级服务器上同名文件内容不同，未覆盖，请人工核实")

    def overtaken(self) -> Conflict:
        return Conflict(f"数据包 {self.order.package_id} 已由另一次发送接管，本次停止")


def _look(session: Session, thing: _Thing) -> tuple[str, bool]:
    """Where the thing lies: ``final``, ``archive``, ``other`` (other bytes under the final name) or "".

    The second value is True when the archive could not be read. The final name is looked at first: a file
    moved meanwhile can only have gone on into the archive.
    """
    same = _same(session, thing.final, thing)
    if same is not None:
        return ("final" if same else "other"), False
    try:
        # An archive without batch folders may hold the month's package under the name of a 补报 of equal
        # count: other bytes there say nothing about ours.
        found = any(_same(session, path, thing) for path in thing.archived)
    except AccessRefused:
        return "", True
    return ("archive" if found else ""), False


def _receipt(session: Session, order: _Order, thing: _Thing) -> str:
    """SHA-256 of the authority's receipt for the thing, "" when there is none.

    Its form is not published (DOMAIN §2): a small file that is named after the package and names the SHA-256.
    """
    ours = {one.final.rsplit("/", 1)[-1] for one in (*order.zips, order.manifest)}
    for folder in order.answers:
        with suppress(AccessRefused):  # a folder that is closed to us says nothing
            for file in session.list(folder):
                if not file.regular or file.size > _LARGEST_RECEIPT or file.name in ours or file.name.endswith(PART):
                    continue
                if file.name.startswith(order.stem):
                    content = session.tail(f"{folder}/".encode() + file.raw_name, _LARGEST_RECEIPT)
                    if thing.sha256 in content.decode("ascii", "replace").lower():
                        return hashlib.sha256(content).hexdigest()
    return ""


def _same(session: Session, path: str, thing: _Thing) -> bool | None:
    """True: the very bytes; False: something else; None: nothing there (any more)."""
    file = session.stat(path)
    if file is None:
        return None
    if not file.regular or file.size != thing.size:
        return False
    try:
        return session.hash(path) == thing.sha256
    except AccessRefused:
        raise
    except TransferError:
        if session.stat(path) is None:  # taken away while we read it (F16)
            return None
        raise

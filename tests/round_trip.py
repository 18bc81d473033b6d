"""A small province in one process: cities, a worker that may die, an authority, an operator; and what must be true.

Everything behind intake is real (freeze, assemble, approve, send, reconcile, apply, undo, the database and its laws).
What a row must end as is worked out here line by line, by other means than the program's.
"""

import contextlib
import csv
import hashlib
import itertools
import os
import random
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import small_month
from small_month import Person, SmallMonth
from sqlalchemy import create_engine, make_url, select, text

from certflow import excel
from certflow.delivery import orders, pickup
from certflow.delivery.daily import EVIDENCE_DROP, run_city
from certflow.delivery.profile import CHOICES, EMS
from certflow.delivery.take import move, take_file
from certflow.dispatch import send as sending
from certflow.dispatch.approve import approve, reject
from certflow.dispatch.assemble import assemble
from certflow.dispatch.freeze import freeze
from certflow.errors import Conflict
from certflow.month import Month
from certflow.reference import load_reference
from certflow.registry import deliveries, holds, open_registry, packages, schema, server, transfers
from certflow.registry.doctor import examine
from certflow.registry.ledger import Actor, Registry
from certflow.registry.reprints import IN_FORCE
from certflow.returns.answers import write
from certflow.returns.apply import apply, receive
from certflow.returns.reconcile import reconcile
from certflow.returns.undo import undo
from certflow.settings import Remote, Settings
from certflow.sftp import Part, RemoteFile

HEADER = ("ZSGLH", "KSXM", "ZJHM", "证书编号", "结果", "原因", "印制日期")
ACCOUNTS = (
    "370100", "370200", "370300", "370400", "370500", "370600", "370700", "370800", "370900", "371000", "371100",
    "371300", "371400", "371500", "371600", "371700",
)  # fmt: skip
WAYS = (("邮寄", "张三", "13800000000", "济南市某路1号"), ("现场领取", "", "", ""))
ON_THE_WAY = (("已收寄", "2020-09-01 10:00"), ("派送中", "2020-09-03 08:00"))
REFERENCE = load_reference(Settings())
_databases = itertools.count(1)


class Died(BaseException):
    """The worker is gone, wherever it was."""


@contextlib.contextmanager
def province(postgres: Settings, folder: Path) -> Iterator["Province"]:
    """A province on a database of its own."""
    name = f"province_{next(_databases)}"
    engine = create_engine(server.url(postgres, "postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.execute(text(f'CREATE DATABASE "{name}" TEMPLATE certflow STRATEGY FILE_COPY'))
    address = make_url(server.url(postgres)).set(database=name).render_as_string(hide_password=False)
    far = Remote("far", 22, "us", folder / "key", folder / "hosts")
    registry = open_registry(Settings(home=folder / "home", database_url=address))
    try:
        yield Province(
            Settings(home=folder / "home", database_url=address, authority_sftp=far), registry, folder / "far"
        )
    finally:
        registry.close()
        with engine.connect() as conn:
            conn.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
        engine.dispose()


@dataclass
class FolderSession:
    """What `dispatch.send` needs of an SFTP session, on a folder; dies before its `life`-th call."""

    root: Path
    life: int = 0

    def _call(self, path: str | bytes = "/") -> Path:
        self.life -= 1
        if self.life == 0:
            raise Died
        return self.root / (path.decode() if isinstance(path, bytes) else path).lstrip("/")

    def makedirs(self, folder: str) -> None:
        self._call(folder).mkdir(parents=True, exist_ok=True)

    def list(self, folder: str | bytes) -> list[RemoteFile]:
        there = self._call(folder)
        return [_remote(path) for path in sorted(there.iterdir())] if there.is_dir() else []

    def stat(self, path: str | bytes) -> RemoteFile | None:
        there = self._call(path)
        return _remote(there) if there.exists() else None

    def hash(self, path: str | bytes) -> str:
        return hashlib.sha256(self._call(path).read_bytes()).hexdigest()

    def put_part(self, local: Path, final: str, tag: str = "") -> Part:
        path = f"{final}.{tag}.part"
        data = local.read_bytes()
        self._call(path).write_bytes(data)
        return Part(path.encode(), hashlib.sha256(data).hexdigest(), len(data))

    def tail(self, path: str | bytes, count: int) -> bytes:
        return self._call(path).read_bytes()[-count:]

    def get(self, path: str | bytes, local: Path) -> tuple[str, int]:
        data = self._call(path).read_bytes()
        local.write_bytes(data)
        return hashlib.sha256(data).hexdigest(), len(data)

    def rename(self, source: bytes, target: str) -> None:
        there = self._call(target)
        if there.exists():
            raise Conflict("there already")
        (self.root / source.decode().lstrip("/")).rename(there)
        self._call()  # it may die after the rename, before anybody hears of it

    def remove(self, path: str | bytes) -> bool:
        there = self._call(path)
        existed = there.exists()
        there.unlink(missing_ok=True)
        return existed


def _remote(path: Path) -> RemoteFile:
    return RemoteFile(path.name.encode(), path.name, path.stat().st_size, 0, "folder" if path.is_dir() else "file")


@dataclass(frozen=True)
class Returned:
    """A file of the authority and its lines: (管理号, name, ID number, serial, result, reason, day)."""

    path: Path
    lines: tuple[tuple[str, ...], ...]


@dataclass
class Province:
    """Everybody at once, and the books of the test."""

    settings: Settings
    registry: Registry
    far: Path
    actor: Actor = field(default_factory=lambda: Actor("worker"))
    month: Month = field(default_factory=lambda: Month(2020, 5))
    people: dict[str, Person] = field(default_factory=dict)
    """By 管理号."""
    rows: int = 0
    files: list[Returned] = field(default_factory=list)
    ends: dict[int, tuple[str, str, int]] = field(default_factory=dict)
    """Row → (PRINTED or REFUSED, serial, return) as it must be."""
    applied: dict[int, Returned] = field(default_factory=dict)
    told: dict[str, list[str]] = field(default_factory=dict)
    """管理号 → how EMS said that its parcels ended."""
    desks: dict[str, SmallMonth] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    serials: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # the cities

    def upload(self, account: str, states: Sequence[str], photos: Sequence[bytes | None] = ()) -> None:
        """New requests of a city that the checks found to be in these states, with these photos or none."""
        made = [
            Person(n, photo=photo, id_number=f"9{n:017d}", state=state)
            for state, photo, n in zip(states, photos or [None] * len(states), self.numbers, strict=False)
        ]
        self.submit(account, made)

    def submit(self, account: str, people: Sequence[Person]) -> None:
        small_month.CITIES.setdefault(account, f"{account}市")
        desk = self.desks.setdefault(str(self.month), SmallMonth(self.settings, self.registry, month=str(self.month)))
        desk.submit(list(people), account=account)
        self.people |= {one.management_no: one for one in people}
        self.rows += len(people)

    def upload_again(self) -> None:
        """The newest file once more, byte for byte: IGNORED at once."""
        with self.registry.begin(self.actor) as conn:
            file = conn.execute(select(schema.files).order_by(schema.files.c.id.desc()).limit(1)).one_or_none()
            if file is not None:
                arrival = transfers.Arrival(
                    file.account, "month", file.name, b"x", file.sha256, file.size, "submission"
                )
                assert transfers.receive(conn, arrival)[1]

    def correct(self, choice: int, account: str) -> None:
        """A row that came back, from us or from the authority, is handed in again."""
        numbers = self._sql("""
            SELECT DISTINCT r.management_no FROM rows r WHERE r.state IN ('RETURNED', 'REFUSED') AND NOT EXISTS (
                SELECT FROM rows o WHERE o.management_no = r.management_no AND o.state NOT IN ('RETURNED', 'REFUSED'))
            ORDER BY 1""")  # fmt: skip
        if numbers:
            person = self.people[numbers[choice % len(numbers)][0]]
            fresh = Person(person.number, photo=None, id_number=person.id_number)
            self.submit(account, [fresh])

    def decide(self, choice: int, state: str) -> None:
        """A person decides what is held."""
        held = self._sql("SELECT id FROM rows WHERE state = 'HELD' ORDER BY id")
        if held:
            with self.registry.begin(self.actor) as conn:
                holds.move_rows(conn, [held[choice % len(held)][0]], state)

    # the province

    def prepare(self, decision: str) -> None:
        """Freeze what is accepted, build its packages, let somebody approve or reject them."""
        try:
            batch = freeze(self.registry, self.month, self.actor)
        except Conflict:
            return  # nothing to freeze
        assemble(self.settings, self.registry, batch.id, "034", self.actor) if batch.exams else []
        with self.registry.read() as conn:
            waiting = any(one.state == "BUILT" for one in packages.packages_of(conn, batch.id))
        if waiting and decision == "approve":
            approve(self.registry, batch.id, "王处长", self.actor)
        elif waiting and decision == "reject":
            reject(self.registry, batch.id, "王处长", "重新核对", self.actor)

    def send(self, life: int = 0) -> None:
        """Send every approved package; the worker dies before its `life`-th call to the far side (0: lives)."""
        for (package,) in self._sql("SELECT id FROM packages WHERE state IN ('APPROVED', 'SENDING') ORDER BY id"):
            session = FolderSession(self.far, life)
            connect, sending.connect = sending.connect, lambda *_, one=session: contextlib.nullcontext(one)
            try:
                sending.send(self.settings, self.registry, package, self.actor)
            except Died:
                return
            finally:
                sending.connect = connect

    def resolve(self) -> None:
        """Somebody asks the authority about every package in doubt."""
        there = {hashlib.sha256(path.read_bytes()).hexdigest() for path in self.far.rglob("*.zip")}
        for package, digest in self._sql("SELECT id, sha256 FROM packages WHERE state = 'UNKNOWN'"):
            sending.resolve_unknown(
                self.registry, package, delivered=digest in there, by="值班员", reason="电话核实", actor=self.actor
            )

    # the authority

    def answer(self, draw: random.Random, share: float = 0.7, *, folder: str = "*") -> None:
        """Read what has arrived and write a return about a part of it: printed, refused, changed, twice, never sent."""
        lines: dict[str, tuple[str, ...]] = {}
        for package in sorted(self.far.glob(f"上报/{folder}/*.zip")):
            with zipfile.ZipFile(package) as archive:
                sheet = list(excel.read_own(archive.read(f"{package.stem}.XLS")))
            for row in sheet[1:]:
                if draw.random() < share:
                    lines[row[0]] = self._line(draw, row)
        if not lines:
            return
        listed = list(lines.values())
        if draw.random() < 0.3:
            listed.append(draw.choice(listed))
        if draw.random() < 0.2:
            listed.append(
                ("20990103437000001", "查无此人", "X" * 18, f"SD{next(self.serials)}", "已印制", "", "20200801")
            )
        path = self.settings.home.parent / f"returned-{len(self.files)}.csv"
        with path.open("w", encoding="gb18030", newline="") as stream:
            csv.writer(stream).writerows([HEADER, *listed])
        self.files.append(Returned(path, tuple(listed)))

    def _line(self, draw: random.Random, row: Sequence[str]) -> tuple[str, ...]:
        fate = draw.random()
        if fate < 0.15:
            return (row[0], row[1], row[2], "", "退回", draw.choice(("照片不清晰", "姓名用字待核")), "")
        name = "别人" if fate < 0.25 else row[1]
        return (row[0], name, row[2], f"SD{next(self.serials)}", "已印制", "", "20200801")

    # what comes back

    def take(self, file: Returned, *, die: bool = False) -> str:
        """Reconcile and apply a file; the worker may die between the two. The return's state."""
        number = receive(self.settings, self.registry, file.path, self.actor)
        if number in self.applied:
            assert reconcile(self.settings, self.registry, number, self.actor).state == "APPLIED"
            return "APPLIED"
        found = reconcile(self.settings, self.registry, number, self.actor)
        if found.state != "RECONCILED" or die:
            return found.state
        waiting = dict(self._sql("SELECT management_no, id FROM rows WHERE state = 'SENT'"))
        in_force = {serial for state, serial, _ in self.ends.values() if state == "PRINTED"}
        for number_, name, identity, serial, result, _reason, _day in dict.fromkeys(file.lines):
            person, row = self.people.get(number_), waiting.get(number_)
            if row is None or person is None or (person.name, person.identity) != (name, identity):
                continue
            if result == "退回":
                self.ends[row] = ("REFUSED", "", number)
            elif serial not in in_force:
                self.ends[row] = ("PRINTED", serial, number)
        apply(self.settings, self.registry, number, self.actor)
        write(self.settings, self.registry)
        self.applied[number] = file
        return "APPLIED"

    def take_back(self, choice: int) -> None:
        """Undo one applied return, unless rows of it have moved on."""
        if not self.applied:
            return
        number = sorted(self.applied)[choice % len(self.applied)]
        try:
            undo(self.registry, number, by="李主任", reason="上级更正", actor=self.actor)
        except Conflict as error:
            right = ("申报在办", "新的印制记录", "已经发放", "已经交寄")
            assert any(words in str(error) for words in right)  # noqa: PT017 (each is right)
            return
        del self.applied[number]
        self.ends = {row: end for row, end in self.ends.items() if end[2] != number}

    # the paper

    def deliver(self, draw: random.Random) -> None:
        """Days of one city: choices, orders, tracking in any order, the desk, evidence; some of it is taken back."""
        printed = self._sql("""
            SELECT d.account, r.management_no FROM deliveries d JOIN rows r ON r.id = d.row_id
            WHERE d.state <> 'AWAITING' ORDER BY d.id""")  # fmt: skip
        if not printed:
            return
        account = draw.choice(printed)[0]
        mine = sorted({number for city, number in printed if city == account})
        ways = [(one, *draw.choice(WAYS)) for one in mine if draw.random() < 0.5]
        if ways:
            self._list(CHOICES, [("管理号", "领取方式", "收件人", "联系电话", "收件地址"), *ways], account)
        self._day(account)
        with self.registry.read() as conn:
            known = deliveries.by_number(conn, mine, account).values()
        told = []
        for one in known:
            if one.order and draw.random() < 0.7:
                end = draw.choice(("妥投", "妥投", "退回"))
                self.told.setdefault(one.management_no, []).append(end)
                told += [
                    (one.order, f"W-{one.order}", word, at) for word, at in (*ON_THE_WAY, (end, "2020-09-04 10:00"))
                ]
        draw.shuffle(told)
        if told:
            self._list(EMS, [("订单号", "运单号", "状态", "时间"), *told, told[0]])
        drop = orders.folder(self.settings, account, EVIDENCE_DROP)
        for one in known:
            for kind in draw.choice(((), ("签名",), ("签名", "本人身份证"))) if one.state == "KEPT" else ():
                file = drop / f"{one.management_no}_{kind}.png"
                file.write_bytes(f"{one.management_no} {kind} {next(self.serials)}".encode())
                os.utime(file, (1, 1))
        self._day(account)
        self._link_was_wrong(draw)

    def _list(self, kind: str, lines: Sequence[Sequence[str]], account: str = "") -> None:
        path = self.settings.home.parent / f"list-{next(self.serials)}.csv"
        with path.open("w", encoding="utf-8-sig", newline="") as stream:
            csv.writer(stream).writerows(lines)
        taken = take_file(self.settings, self.registry, kind, path, actor=self.actor, account=account)
        assert (taken.state, taken.unknown) == ("APPLIED", ()), taken.reason

    def _day(self, account: str) -> None:
        assert run_city(self.settings, self.registry, REFERENCE, account, self.actor).held == ()

    def _link_was_wrong(self, draw: random.Random) -> None:
        """Sometimes nobody came: all evidence of one certificate is taken back, and it lies at the desk again."""
        links = self._sql("""
            SELECT r.management_no, l.file_id FROM pickup_links l LEFT JOIN pickup_unlinks u ON u.link_id = l.id
            JOIN deliveries d ON d.id = l.delivery_id JOIN rows r ON r.id = d.row_id
            WHERE d.state = 'HANDED' AND u.id IS NULL ORDER BY 1, 2""")
        if not links or draw.random() < 0.5:
            return
        wrong, told = draw.choice(links)[0], {"by": "李四", "reason": "拿错了", "actor": self.actor}
        for file in sorted({file for number, file in links if number == wrong}):
            pickup.unlink(self.settings, self.registry, file, wrong, **told)
        move(self.registry, wrong, "KEPT", **told)

    # what must be true

    def check(self) -> None:
        """Every row in one state, the ends the right ones, one delivery per row and package."""
        states = dict(self._sql("SELECT id, state FROM rows"))
        assert len(states) == self.rows
        ends = {"PRINTED": "PRINTED", "DELIVERED": "PRINTED", "CLOSED": "PRINTED", "REFUSED": "REFUSED"}
        ended = {row: ends[state] for row, state in states.items() if state in ends}
        assert ended == {row: state for row, (state, _, _) in self.ends.items()}
        printed = dict(self._sql(f"SELECT p.row_id, p.serial FROM print_events p WHERE {IN_FORCE}"))
        assert printed == {row: serial for row, (state, serial, _) in self.ends.items() if state == "PRINTED"}
        closed = {number for (number,) in self._sql("SELECT management_no FROM rows WHERE state = 'CLOSED'")}
        assert {number for number, words in self.told.items() if set(words) == {"妥投"}} <= closed
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in self.far.rglob("*.zip")]
        assert len(digests) == len(set(digests))

    def examine(self) -> None:
        """The doctor finds nothing."""
        found = {name: problems for name, problems in examine(self.registry, self.settings).items() if problems}
        assert found == {}

    def _sql(self, query: str) -> list[tuple]:
        with self.registry.read() as conn:
            return [tuple(row) for row in conn.execute(text(query))]

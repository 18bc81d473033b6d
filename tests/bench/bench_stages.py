"""Stage by stage against the usual spelling and against this machine's limit: ``python tests/bench/bench_stages.py``.

Our side is the production function itself. `--certificates 10000000 --rows 100000` are the sizes of the promises in
docs/performance.md (about 8 GB of disk for the database below `--home`, which is used again); the defaults take four
minutes and 2 GB. `--only photo,zip` picks stages.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

import bench_returns  # noqa: E402 (the tests' own folders come first)
import made_month  # noqa: E402
import psycopg  # noqa: E402
import usual  # noqa: E402
from real_sshd import OpenSsh, sshd  # noqa: E402
from rounds import HEAD, LIMIT, OURS, USUAL, Side, Stage, keep, race  # noqa: E402

from certflow import photo, vault, zips  # noqa: E402
from certflow.checks import run  # noqa: E402
from certflow.demo.servers import AuthoritySftp  # noqa: E402
from certflow.dispatch import assemble  # noqa: E402
from certflow.findings import FIELDS  # noqa: E402
from certflow.intake import archive, workbook  # noqa: E402
from certflow.intake.gather import gather  # noqa: E402
from certflow.reference import load_reference  # noqa: E402
from certflow.registry import certificates, open_registry  # noqa: E402
from certflow.registry import server as database  # noqa: E402
from certflow.registry.ledger import Actor  # noqa: E402
from certflow.registry.packages import Photo  # noqa: E402
from certflow.returns import apply as returns  # noqa: E402
from certflow.returns.reconcile import reconcile  # noqa: E402
from certflow.settings import Limits, Settings  # noqa: E402
from certflow.sftp import connect  # noqa: E402

ACTOR = Actor("bench")


@dataclass(frozen=True)
class Bench:
    """Where and how much."""

    folder: Path
    home: Path
    rows: int
    certificates: int
    photos: int
    megabytes: int
    rounds: int

    @property
    def settings(self) -> Settings:
        return Settings(home=self.home, limits=Limits(jail_cpu_seconds=60))


def photo_check(bench: Bench) -> Iterator[Stage]:
    """Everything measured about a photo, beside a usual check and a pure strict decode."""
    import simplejpeg

    album = made_month.Photos()
    data = [album[number] for number in range(bench.photos)]

    def ours() -> None:
        for at in range(0, len(data), photo.TOGETHER):  # as the checks take them
            photo.measured([photo.sample(one) for one in data[at : at + photo.TOGETHER]])

    def decode() -> None:
        for one in data:
            simplejpeg.decode_jpeg(one, colorspace="RGB", strict=True)

    yield race("photo check", "photo", [
        Side(OURS, "certflow.photo.sample and measured", ours, len(data)),
        Side(USUAL, "Pillow, min(axis=2)", lambda: [usual.photo(one) for one in data[: len(data) // 4]],
             len(data) // 4),
        Side(LIMIT, "libjpeg-turbo, strict decode alone", decode, len(data)),
    ], rounds=bench.rounds)  # fmt: skip


def sheets(bench: Bench) -> Iterator[Stage]:
    """A city's workbook through the jail, beside pandas with xlrd and openpyxl."""
    rows = [one.row for one in made_month.people(min(bench.rows, 20_000))]
    tiny = made_month.book(rows[:1])
    limits = bench.settings.limits
    yield race("jail start", "workbook", [
        Side(OURS, "a workbook of one row", lambda: [_sheet(tiny, limits) for _ in range(20)], 20),
    ], rounds=bench.rounds)  # fmt: skip
    for kind, reader in (("xls", "xlrd"), ("xlsx", "openpyxl")):
        data = made_month.book(rows, kind)
        yield race(f"sheet read, {kind}", "row", [
            Side(OURS, "certflow.intake.workbook.read_sheet", lambda data=data: _sheet(data, limits), len(rows)),
            Side(USUAL, f"pandas.read_excel, {reader}", lambda data=data: usual.sheet(data), len(rows)),
        ], rounds=bench.rounds, note="jail included")  # fmt: skip


def _sheet(data: bytes, limits: Limits) -> None:
    sheet, measures = workbook.read_sheet(data, limits)
    assert sheet is not None, measures


def rules(bench: Bench) -> Iterator[Stage]:
    """A city's rows through every rule that needs no database, beside `DataFrame.apply`."""
    month = made_month.make(bench.folder / "rules", 5_000, photos=False, cities=1)
    settings, [path] = bench.settings, month.zips.values()
    reference = load_reference(settings)
    given = gather([made_month.received(path)], settings, reference)
    frame = usual.sheet(made_month.book([one.row for one in made_month.people(5_000, photo=False)]))
    yield race("rules", "row", [
        Side(OURS, "certflow.checks.run, without a registry",
             lambda: run._judge(given, settings, reference, None), 5_000),
        Side(USUAL, "DataFrame.apply, a dozen checks", lambda: usual.rows(frame), 5_000),
    ], rounds=bench.rounds)  # fmt: skip


@dataclass(frozen=True)
class _Package:
    """What the packing stages start from: originals in the store, photos unpacked, rows as texts."""

    settings: Settings
    content: assemble._Content
    unpacked: Path
    zip: Path


def _originals(bench: Bench, *, deflate: bool) -> _Package:
    """One city's zip in the store, and its photos unpacked for those who need them so."""
    name = "deflated" if deflate else "stored"
    month = made_month.make(bench.folder / name, bench.photos * 2, deflate=deflate, cities=1)
    [path] = month.zips.values()
    settings = Settings(home=bench.folder / name / "home")
    received = made_month.received(path)
    original = settings.original(received.sha256)
    original.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, original)
    unpacked = bench.folder / name / "unpacked"
    with zipfile.ZipFile(path) as one:
        one.extractall(unpacked)
    entries = archive.unpack(received, settings.limits).entries
    photos = {
        entry.base_name: Photo(received.sha256, entry.data_offset, entry.packed_size, entry.method, entry.size,
                               entry.crc32, entry.sha256)
        for entry in sorted(entries, key=lambda one: one.base_name.encode()) if entry.role == "photo"
    }  # fmt: skip
    rows = tuple(one.row for one in made_month.people(len(photos)))
    content = assemble._Content(f"202005-034-一级建造师(证书补换印制信息)数据(山东省)({len(photos)}人)", rows, photos)
    target = bench.folder / name / "package.zip"
    return _Package(settings, content, next(one for one in unpacked.iterdir() if one.is_dir()), target)


def packing(bench: Bench) -> Iterator[Stage]:
    """A package's zip, and the whole package, beside deflating it all again and beside `cp`."""
    for deflate in (False, True):
        made = _originals(bench, deflate=deflate)
        count = len(made.content.photos)

        def write(made: _Package = made) -> None:
            with vault.create(made.zip) as stream:
                zips.write_zip(stream, assemble._photos(made.settings, made.content))

        def copy(made: _Package = made) -> None:
            subprocess.run(["cp", made.zip, made.zip.with_suffix(".copy")], check=True)

        def again(made: _Package = made) -> None:
            usual.package(made.unpacked, made.zip.with_suffix(".usual"), made.content.stem)

        yield race("zip" + (", from a deflated zip" if deflate else ""), "photo", [
            Side(OURS, "certflow.zips.write_zip, moved", write, count),
            Side(USUAL, "zipfile, deflated", again, count),
            Side(LIMIT, "cp of the same bytes", copy, count),
        ], rounds=bench.rounds)  # fmt: skip
        if deflate:
            return

        def whole(made: _Package = made) -> None:
            assemble._write(made.settings, made.zip, made.content, "utf-8", two=False)

        def whole_again(made: _Package = made) -> None:
            import pandas as pd

            file = made.unpacked / f"{made.content.stem}.XLS"
            file.write_bytes(usual.workbook(pd.DataFrame(made.content.rows, columns=FIELDS)))
            again(made)
            file.unlink()

        yield race("package write", "row", [
            Side(OURS, "workbook, zip, flushed to disk", whole, count),
            Side(USUAL, "xlwt from a frame, zipfile deflated", whole_again, count),
        ], rounds=bench.rounds)  # fmt: skip


def sftp(bench: Bench) -> Iterator[Stage]:
    """A zip down and up, beside paramiko as it comes and OpenSSH's own `sftp`; client's CPU alone."""
    with _server(bench.folder / "server") as (remote, tree, pid):
        (tree / "in").mkdir(exist_ok=True)
        source, target = bench.folder / "source.bin", bench.folder / "target.bin"
        source.write_bytes(random.Random(1).randbytes(1 << 20) * bench.megabytes)
        shutil.copyfile(source, tree / "in" / "a.zip")
        client, plain = usual.login(remote)

        def openssh(order: str) -> Callable[[], None]:
            words = ["sftp", "-q", "-b", "-", "-c", "aes128-gcm@openssh.com", "-i", str(remote.key), "-P",
                     str(remote.port), "-o", f"UserKnownHostsFile={remote.known_hosts}", "-o", "IdentitiesOnly=yes",
                     f"{remote.user}@{remote.host}"]  # fmt: skip
            return lambda: subprocess.run(words, input=order.encode(), check=True, stdout=subprocess.DEVNULL)

        root = remote.root.rstrip("/")
        with connect(remote, 60) as session:
            session.prepare_reads()
            sides = {
                "SFTP get": (
                    ("certflow.sftp.Session.get, hashed, flushed", lambda: session.get("/in/a.zip", target)),
                    ("paramiko get", lambda: plain.get(f"{root}/in/a.zip", str(target))),
                    openssh(f'get "{root}/in/a.zip" "{target}"\n'),
                ),
                "SFTP put": (
                    ("certflow.sftp.Session.put_part, hashed", lambda: session.put_part(source, "/in/b.zip")),
                    ("paramiko put", lambda: plain.put(str(source), f"{root}/in/c.zip")),
                    openssh(f'put "{source}" "{root}/in/d.zip"\n'),
                ),
            }
            for name, (ours, others, limit) in sides.items():
                yield race(name, "MB", [
                    Side(OURS, *ours, bench.megabytes),
                    Side(USUAL, *others, bench.megabytes),
                    *([Side(LIMIT, "OpenSSH sftp, aes128-gcm", limit, bench.megabytes)] if pid else []),
                ], rounds=bench.rounds, apart=pid)  # fmt: skip
        client.close()


@contextmanager
def _server(folder: Path) -> Iterator[tuple]:
    """Remote, tree, and the process of an OpenSSH server (whose own client is the limit); else None."""
    if sshd():
        server = OpenSsh(folder)
        try:
            yield server.remote, server.tree, server.process.pid
        finally:
            server.close()
    else:
        with AuthoritySftp(folder) as embedded:
            yield embedded.remote(), embedded.address.tree, None


class _Undone(Exception):
    """Takes back what a round has written."""


class _RolledBack:
    """A registry whose transactions are taken back at their end: every round finds the same database."""

    def __init__(self, registry, look: Callable[..., object] = lambda _: None) -> None:
        """`look` is called before each transaction is taken back, with its connection."""
        self._registry, self._look = registry, look

    @contextmanager
    def begin(self, actor):
        with self._registry.begin(actor) as conn:
            yield conn
            self._look(conn.connection.driver_connection)
            raise _Undone


_HAND_WRITTEN = """
CREATE TEMP TABLE answers ON COMMIT DROP AS
    SELECT r.id, r.part, r.row_no, r.serial, r.printed_on, r.result, w.id AS row_id, w.certificate_id, w.submission_id,
        coalesce((SELECT p.serial FROM print_events p WHERE p.certificate_id = c.id AND p.reverses IS NULL
            AND NOT EXISTS (SELECT FROM print_events x WHERE x.reverses = p.id) ORDER BY p.id DESC LIMIT 1), c.serial)
            AS voids
    FROM return_rows r JOIN rows w ON w.management_no = r.management_no AND w.name = r.name
        AND w.id_number = r.id_number AND w.state = 'SENT'
    JOIN certificates c ON c.id = w.certificate_id
    WHERE r.return_id = %(id)s;
ANALYZE answers;
UPDATE return_rows r SET applied = true, row_id = a.row_id,
    bucket = CASE a.result WHEN '已印制' THEN 'printed' ELSE 'refused' END,
    before = jsonb_build_object('state', 'SENT', 'serial', a.voids)
    FROM answers a WHERE r.id = a.id;
INSERT INTO print_events (certificate_id, row_id, return_row_id, serial, mark, printed_on, voids)
    SELECT certificate_id, row_id, id, serial, '', to_date(printed_on, 'YYYYMMDD'), voids
    FROM answers WHERE result = '已印制' ORDER BY part, row_no;
SET LOCAL enable_nestloop = off;
UPDATE rows SET state = CASE a.result WHEN '已印制' THEN 'PRINTED' ELSE 'REFUSED' END
    FROM answers a WHERE rows.id = a.row_id;
INSERT INTO return_answers (return_id, account, month)
    SELECT DISTINCT %(id)s::bigint, s.account, s.month FROM answers a JOIN submissions s ON s.id = a.submission_id
    ORDER BY s.account, s.month;
UPDATE returns SET state = 'APPLIED' WHERE id = %(id)s;
SELECT certflow_append('apply', jsonb_build_object('return_id', %(id)s::bigint,
    'printed', count(*) FILTER (WHERE result = '已印制'), 'refused', count(*) FILTER (WHERE result <> '已印制'),
    'extra', 0, 'changed', 0, 'duplicate', 0)) FROM answers
"""
"""What `apply` comes to, without looking whether it may: the same rows, events, triggers, answers owed and audit."""

_LEFT_BEHIND = """
SELECT md5(string_agg(concat_ws(' ', r.id, r.applied, r.bucket, r.row_id, r.before, w.state, e.certificate_id, e.serial,
    e.mark, e.printed_on, e.voids, d.account, d.state), ',' ORDER BY r.id)),
    (SELECT md5(string_agg(concat_ws(' ', a.account, a.month, a.answered_at), ',' ORDER BY a.id)) FROM return_answers a
        WHERE a.return_id = %(id)s),
    (SELECT concat_ws(' ', f.state, f.reason) FROM returns f WHERE f.id = %(id)s),
    (SELECT string_agg((payload::jsonb - 'at' - 'moves_sha256')::text, ',' ORDER BY seq) FROM audit
        WHERE seq > %(before)s)
FROM return_rows r LEFT JOIN rows w ON w.id = r.row_id LEFT JOIN print_events e ON e.return_row_id = r.id
    LEFT JOIN deliveries d ON d.row_id = r.row_id
WHERE r.return_id = %(id)s
"""
"""All that one return leaves in the ledger, but ids and times: both sides have to come to the same."""


def database_stages(bench: Bench) -> Iterator[Stage]:
    """Match and update, beside one statement a row and beside hand-written SQL; the server's CPU counts."""
    settings = bench.settings
    if not (bench.home / "filled").is_file():
        bench_returns.prepare(settings, bench.certificates, bench.rows)
        (bench.home / "filled").touch()
    lease = database.hold(settings)
    pid = int((_cluster(settings) / "postmaster.pid").read_text().split("\n", 1)[0])
    sample = 400
    with ExitStack() as stack:
        stack.callback(lease.close)
        registry = stack.enter_context(open_registry(settings))
        plain = stack.enter_context(
            psycopg.connect(database.url(settings, owner=True).replace("+psycopg", ""), autocommit=True)
        )
        plain.execute("SET application_name = 'bench'")
        # A vacuum would run in whose turn it likes; instead each trial begins where the first one did.
        plain.execute("ALTER SYSTEM SET autovacuum = off")
        plain.execute("SELECT pg_reload_conf()")
        numbers = [line[0] for line in plain.execute(
            "SELECT management_no FROM rows ORDER BY id LIMIT %s", (bench.rows,))]  # fmt: skip

        def ours() -> None:
            with registry.read() as conn:
                found = certificates.match(conn, numbers)
            assert found["certificate_id"][-1] is not None

        yield race("match", "row", [
            Side(OURS, "certflow.registry.certificates.match", ours, len(numbers)),
            Side(USUAL, "one SELECT a row", lambda: usual.look_up(plain, numbers[:5_000]), 5_000),
            Side(LIMIT, "COPY, ANALYZE, join by hand", lambda: _by_hand(plain, numbers), len(numbers)),
        ], rounds=bench.rounds, server=pid, note=f"in {bench.certificates:,} certificates")  # fmt: skip

        whole, pieces = bench.folder / "returned.csv", bench.folder / "pieces.csv"
        many = len(numbers) - sample * (bench.rounds + 1)
        bench_returns.write_return(settings, whole, rows=many)
        number = returns.receive(settings, registry, whole, ACTOR)
        assert reconcile(settings, registry, number, ACTOR).state == "RECONCILED"
        turns = iter(range(bench.rounds + 1))
        one_by_one = bench_returns.row_by_row

        def next_piece() -> None:
            bench_returns.write_return(settings, pieces, offset=many + sample * next(turns), rows=sample)
            returns.receive(settings, registry, pieces, ACTOR)

        def taken_back(look: Callable[..., object] = lambda _: None) -> None:
            try:
                returns.apply(settings, _RolledBack(registry, look), number, ACTOR)
            except _Undone:
                return
            raise AssertionError

        def by_hand(look: Callable[..., object] = lambda _: None) -> None:
            with plain.transaction(force_rollback=True):
                plain.execute("SELECT set_config('certflow.actor', 'bench', true)")
                for statement in _HAND_WRITTEN.split(";\n"):
                    plain.execute(statement, {"id": number} if "%(id)" in statement else None)
                look(plain)

        before = plain.execute("SELECT max(seq) FROM audit").fetchone()[0]
        left: list[tuple] = []
        for spelling in (taken_back, by_hand):
            spelling(lambda conn: left.append(conn.execute(_LEFT_BEHIND, {"id": number, "before": before}).fetchone()))
        assert left[0] == left[1], "the hand-written statements leave something else than certflow.returns.apply"

        def swept() -> None:
            plain.execute("VACUUM rows, return_rows, print_events, deliveries, return_answers, audit")

        yield race("reconcile update", "row", [
            Side(OURS, "certflow.returns.apply", taken_back, many, before=swept),
            Side(USUAL, "one statement and commit a row", lambda: one_by_one(settings, registry, pieces), sample,
                 before=next_piece),
            Side(LIMIT, "INSERT, UPDATE … FROM by hand", by_hand, many, before=swept),
        ], rounds=bench.rounds, server=pid, note=f"a flush takes {_flush(bench.home):.1f} ms")  # fmt: skip


def _cluster(settings: Settings) -> Path:
    from certflow.registry.cluster import Cluster

    cluster = Cluster(settings.home)
    cluster.claim()
    return cluster.data


def _by_hand(connection: psycopg.Connection, numbers: list[str]) -> list:
    with connection.transaction():
        connection.execute("SET LOCAL random_page_cost = 1.1")
        connection.execute("SET LOCAL enable_mergejoin = off")
        connection.execute("CREATE TEMP TABLE asked (position integer, management_no text) ON COMMIT DROP")
        with connection.cursor().copy("COPY asked FROM STDIN") as copy:
            copy.write("".join(f"{position}\t{number}\n" for position, number in enumerate(numbers)))
        connection.execute("ANALYZE asked")
        return connection.execute(
            "SELECT c.id, c.name, c.id_number, c.id_type, c.sex, c.exam_code, c.exam_name, c.level, c.specialty,"
            " c.birth_month, c.approved_on, c.city, c.e_certificate FROM asked a"
            " LEFT JOIN certificates c ON c.management_no = a.management_no ORDER BY a.position"
        ).fetchall()


def _flush(folder: Path) -> float:
    """Milliseconds one small write takes to reach the disk."""
    with tempfile.TemporaryFile(dir=folder) as stream:
        begun = time.perf_counter()
        for _ in range(20):
            stream.write(b"x" * 512)
            stream.flush()
            os.fsync(stream.fileno())
        return (time.perf_counter() - begun) / 20 * 1000


STAGES = {
    "photo": photo_check, "sheet": sheets, "rules": rules, "zip": packing, "sftp": sftp, "database": database_stages,
}  # fmt: skip


def measure(bench: Bench, only: set[str]) -> list[Stage]:
    print(HEAD)
    return [stage for name, stages in STAGES.items() if name in only for stage in stages(bench)]


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--home", type=Path, help="where the database lies; by default a temporary folder")
    asked.add_argument("--rows", type=int, default=20_000)
    asked.add_argument("--certificates", type=int, default=1_000_000)
    asked.add_argument("--photos", type=int, default=1_000)
    asked.add_argument("--megabytes", type=int, default=128)
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--only", default=",".join(STAGES), help="names of stages, with commas")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as spare:
        home = given.home or Path(spare) / "home"
        home.mkdir(parents=True, exist_ok=True)
        bench = Bench(Path(spare), home.absolute(), given.rows, given.certificates, given.photos, given.megabytes,
                      given.rounds)  # fmt: skip
        stages = measure(bench, set(given.only.split(",")))
        keep("stages", stages, rows=given.rows, certificates=given.certificates)
    return 0


if __name__ == "__main__":
    sys.exit(main())

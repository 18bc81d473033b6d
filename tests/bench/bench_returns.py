"""Benchmark of returns: ``python tests/bench/bench_returns.py [HOME]``; exits with 1 where a promise is not kept.

100 000 returned rows against 10 000 000 certificates: reading, judging by the suite, reconciling and applying under
60 s, undoing under 60 s, each in a process of its own with less than 500 MB. What its database session holds of its own
is counted with it, in seconds of CPU and in MB (the buffers of the server are not). Beside it the usual spelling, one
statement per row and thing, on a sample. The certificate database is made by SQL (about 6 GB below HOME, by default a
temporary folder that is removed afterwards).
"""

import argparse
import csv
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from sqlalchemy import text

from certflow.registry import open_registry
from certflow.registry.ledger import Actor, Registry
from certflow.registry.upgrade import owner
from certflow.settings import Settings

SECONDS, MEGABYTES = 60, 500
ACTOR = Actor("bench")
HEADER = ("ZSGLH", "KSXM", "ZJHM", "证书编号", "结果", "原因", "印制日期")

_CERTIFICATES = """
INSERT INTO certificates (management_no, name, id_number, id_type, sex, exam_code, exam_name, level, specialty,
    birth_month, approved_on, city, serial)
SELECT '201001034' || lpad(n::text, 12, '0'), '合成' || n % 1000, '9' || lpad(n::text, 17, '0'),
    '外国人永久居留身份证', '男', '034', '一级建造师', '一级', '建筑工程', '199001', '20100101', '济南市', 'OLD' || n
FROM generate_series(CAST(:first AS bigint), :last) n
"""
_ROWS = """
INSERT INTO rows (submission_id, record_id, row_no, sent, certificate_id, management_no, name, id_number, id_type, sex,
    level, specialty, birth_month, approved_on, city, batch_id)
SELECT s.id, 'bench-' || c.id, row_number() OVER (ORDER BY c.id), '{}', c.id, c.management_no, c.name, c.id_number,
    c.id_type, c.sex, c.level, c.specialty, c.birth_month, c.approved_on, c.city, b.id
FROM certificates c, submissions s, batches b WHERE c.id % :step = 0 ORDER BY c.id LIMIT :rows
"""


def fill(settings: Settings, certificates: int) -> None:
    """A certificate database of that size, of people nobody asks about; its indexes are built at the end."""
    with owner(settings).begin() as conn:
        conn.execute(text("DROP INDEX uq_certificates_management_no"))
        conn.execute(text("DROP INDEX ix_certificates_id_number, ix_certificates_serial"))
    for first in range(1, certificates + 1, 1_000_000):
        with owner(settings).begin() as conn:
            last = min(first + 999_999, certificates)
            conn.execute(text(_CERTIFICATES), {"first": first, "last": last})
    with owner(settings).begin() as conn:
        conn.execute(text("SET LOCAL maintenance_work_mem = '512MB'"))
        conn.execute(
            text("CREATE UNIQUE INDEX uq_certificates_management_no ON certificates (management_no)"
                 " WHERE management_no IS NOT NULL")
        )  # fmt: skip
        conn.execute(text("CREATE INDEX ix_certificates_id_number ON certificates (id_number)"))
        conn.execute(text("CREATE INDEX ix_certificates_serial ON certificates (serial) WHERE serial <> ''"))
    with owner(settings).connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("VACUUM ANALYZE certificates"))


def prepare(settings: Settings, certificates: int, rows: int) -> None:
    """The certificate database, and one package of `rows` rows that was sent."""
    with open_registry(settings) as registry:
        fill(settings, certificates)
        with registry.begin(ACTOR) as conn:
            conn.execute(
                text("INSERT INTO submissions (month, account, city, exam_code, version, lane, stem, verdict, rule_set)"
                     " VALUES ('202005', '370100', '济南市', '034', 1, 'month', '', 'accepted', '2020')")
            )  # fmt: skip
            conn.execute(text("INSERT INTO batches (month, number, rule_set) VALUES ('202005', 0, '2020')"))
            conn.execute(text(_ROWS), {"step": certificates // rows, "rows": rows})
            conn.execute(
                text("INSERT INTO packages (batch_id, exam_code, stem, file_name, sha256, size, row_count, photo_count,"
                     " manifest) SELECT id, '034', 'bench', 'bench.zip', '', 0, :rows, 0, '{}' FROM batches"),
                {"rows": rows},
            )  # fmt: skip
            conn.execute(
                text("INSERT INTO package_rows (package_id, row_id, ordinal)"
                     " SELECT p.id, r.id, r.row_no FROM packages p, rows r")
            )  # fmt: skip
        for state in ("ACCEPTED", "PACKED", "SENT"):
            with registry.begin(ACTOR) as conn:
                conn.execute(text("UPDATE rows SET state = :state"), {"state": state})
        for state in ("APPROVED", "SENDING", "SENT"):
            with registry.begin(ACTOR) as conn:
                conn.execute(text("UPDATE packages SET state = :state"), {"state": state})
        with owner(settings).connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(text("VACUUM ANALYZE rows"))


def write_return(settings: Settings, path: Path, *, offset: int = 0, rows: int | None = None) -> None:
    """What the authority would return: one row in fifty refused, the others printed."""
    with open_registry(settings) as registry, registry.read() as conn:
        found = conn.execute(
            text("SELECT id, management_no, name, id_number FROM rows ORDER BY id OFFSET :offset LIMIT :rows"),
            {"offset": offset, "rows": rows},
        ).all()
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEADER)
        for number, name_no, name, identity in found:
            tail = ("", "退回", "照片不清晰", "") if number % 50 == 0 else (f"NEW{number}", "已印制", "", "20200801")
            writer.writerow((name_no, name, identity, *tail))


def take(settings: Settings, registry: Registry, file: Path) -> str:
    from certflow.checks.returned import return_judge
    from certflow.returns.apply import apply, receive
    from certflow.returns.reconcile import reconcile

    number = receive(settings, registry, file, ACTOR)
    assert reconcile(settings, registry, number, ACTOR, judge=return_judge(settings)).state == "RECONCILED"
    counts = apply(settings, registry, number, ACTOR).counts
    return f"{counts['printed']} printed, {counts['refused']} refused"


def take_back(settings: Settings, registry: Registry, file: Path) -> str:
    from certflow.returns.apply import receive
    from certflow.returns.undo import undo

    number = receive(settings, registry, file, ACTOR)
    undone = undo(registry, number, by="bench", reason="bench", actor=ACTOR)
    return f"{undone.printed} printed, {undone.refused} refused taken back"


def row_by_row(settings: Settings, registry: Registry, file: Path) -> str:
    """The usual spelling: for each line look the row up, append the print, move the row, commit."""
    lines = list(csv.reader(file.open(encoding="utf-8", newline="")))[1:]
    for number, line in enumerate(lines, start=2):
        with registry.begin(ACTOR) as conn:
            row = conn.execute(
                text("SELECT r.id, c.id AS certificate, c.serial FROM rows r"
                     " JOIN certificates c ON c.id = r.certificate_id"
                     " WHERE r.management_no = :no AND r.name = :name AND r.id_number = :id AND r.state = 'SENT'"),
                {"no": line[0], "name": line[1], "id": line[2]},
            ).one()  # fmt: skip
            back = conn.scalar(
                text("INSERT INTO return_rows (return_id, part, row_no, management_no, name, id_number, serial, result,"
                     " reason, printed_on, bucket, row_id, applied) SELECT max(id), 9, :row_no, :no, :name, :id,"
                     " :serial, :result, :reason, :day, 'printed', :row, true FROM returns RETURNING id"),
                {"row_no": number, "no": line[0], "name": line[1], "id": line[2], "serial": line[3], "result": line[4],
                 "reason": line[5], "day": line[6], "row": row.id},
            )  # fmt: skip
            if line[4] == "已印制":
                conn.execute(
                    text("INSERT INTO print_events (certificate_id, row_id, return_row_id, serial, mark, printed_on,"
                         " voids) VALUES (:certificate, :row, :back, :serial, '',"
                         " to_date(:day, 'YYYYMMDD'), :voids)"),
                    {"certificate": row.certificate, "row": row.id, "back": back, "serial": f"{line[3]}-1",
                     "day": line[6], "voids": row.serial},
                )  # fmt: skip
            state = "PRINTED" if line[4] == "已印制" else "REFUSED"
            conn.execute(text("UPDATE rows SET state = :state WHERE id = :id"), {"state": state, "id": row.id})
    return f"{len(lines)} rows one by one"


def measure(
    settings: Settings, work: Callable[[Settings, Registry, Path], str], file: Path
) -> tuple[float, float, int, str]:
    """Wall seconds, CPU seconds and peak MB of this process and its database session together, and what was done."""
    with open_registry(settings) as registry:
        with registry.read() as conn:
            session = int(conn.scalar(text("SELECT pg_backend_pid()")) or 0)
        before = _processor(session)  # one pooled connection does all the work
        wall, cpu = time.perf_counter(), time.process_time()
        said = work(settings, registry, file)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu + _processor(session) - before
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        return wall, cpu, peak + _own_memory(session), said


def _processor(process: int) -> float:
    """CPU seconds of another process so far; 0 where the system does not say."""
    stat = Path(f"/proc/{process}/stat")
    return sum(map(int, stat.read_text().rsplit(")", 1)[1].split()[11:13])) / 100 if stat.is_file() else 0.0


def _own_memory(process: int) -> int:
    """Most memory of another process so far in MB, without what it shares; 0 where the system does not say."""
    status = Path(f"/proc/{process}/status")
    if not status.is_file():
        return 0
    sizes = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return (int(sizes["VmHWM"].split()[0]) - int(sizes["RssShmem"].split()[0])) >> 10


def main() -> int:
    """Prepare, measure, print; 1 where a bound is broken."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("home", nargs="?", type=Path)
    asked.add_argument("--certificates", type=int, default=10_000_000)
    asked.add_argument("--rows", type=int, default=100_000)
    asked.add_argument("--sample", type=int, default=1_000)
    args = asked.parse_args()
    with tempfile.TemporaryDirectory() as spare:
        settings = Settings(home=args.home or Path(spare) / "home")
        begun = time.perf_counter()
        prepare(settings, args.certificates, args.rows)
        print(f"{args.certificates} certificates, {args.rows} rows sent: made in {time.perf_counter() - begun:.0f} s")
        whole, sample = Path(spare) / "returned.csv", Path(spare) / "sample.csv"
        write_return(settings, whole)
        write_return(settings, sample, rows=args.sample)
        kept = True
        each: dict[str, float] = {}
        print(f"{'what':<12}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}{'rows/s':>10}")
        for work, file, rows in (
            (take, whole, args.rows),
            (take_back, whole, args.rows),
            (row_by_row, sample, args.sample),
        ):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                wall, cpu, peak, said = pool.submit(measure, settings, work, file).result()
            each[work.__name__] = wall / rows
            print(f"{work.__name__:<12}{wall:>8.1f}{cpu:>8.1f}{peak:>9}{rows / wall:>10.0f}  {said}", flush=True)
            kept = kept and (work is row_by_row or (wall < SECONDS and peak < MEGABYTES))
        print(f"one by one takes {each['row_by_row'] / each['take']:.0f} times as long per row")
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())

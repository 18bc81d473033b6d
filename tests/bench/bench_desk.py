"""Benchmark of the desk: ``python tests/bench/bench_desk.py [HOME]``; exits with 1 where a page is not fast enough.

Every page answers in less than 300 ms (median of nine requests, measured from the request to the last byte, without
Airflow) with 1 000 000 certificates and 24 months of 16 cities: 162 000 requests in 188 000 rows, all of them in
batches, back after half a year.

Written by SQL (about 2 GB below HOME, by default a temporary folder that is removed afterwards; used again).
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).parents[1]))
from at_the_desk import sit_down
from bench_returns import _CERTIFICATES
from simulated_years import EXAMS, Years

from certflow.dispatch.freeze import freeze
from certflow.month import Month
from certflow.reference import load_reference
from certflow.registry import months, open_registry
from certflow.registry.ledger import Actor, Registry
from certflow.settings import Settings

MILLISECONDS = 300
CERTIFICATES, MONTHS, ROWS = 1_000_000, 24, 290
"""Certificates; months; rows per city and exam and month."""
FIRST = "201901"
BACK = 6
"""Months until what was sent is back."""
ACTOR = Actor("bench")


def fill(settings: Settings, certificates: int, rows: int) -> None:
    """Certificates, months, batches; all but the last batch are sent, and back after half a year."""
    accounts = sorted(account for account, city in load_reference(settings).cities.items() if not city.historic)
    with open_registry(settings) as registry:
        with registry.begin(ACTOR) as conn:
            conn.execute(text(_CERTIFICATES), {"first": 1, "last": certificates})
        Years(registry, accounts).run(FIRST, MONTHS, rows=rows)
        for number in range(MONTHS):
            month = Month.parse(FIRST).plus(number)
            batch = freeze(registry, month, ACTOR)
            with registry.begin(ACTOR) as conn:
                for at, exam in enumerate(EXAMS):
                    _pack(conn, batch.id, exam, f"{number:02d}{at}", age=MONTHS - 1 - number)
        with registry.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))


def _pack(conn, batch, exam, mark, *, age):
    package = conn.scalar(
        text(
            "INSERT INTO packages (batch_id, exam_code, stem, file_name, sha256, size, row_count, photo_count,"
            " manifest) SELECT :batch, :exam, 'x', 'x.zip', md5(:mark) || md5(:mark), 1, count(*), 0, '{}'"
            " FROM rows r JOIN submissions s ON s.id = r.submission_id"
            " WHERE r.batch_id = :batch AND s.exam_code = :exam RETURNING id"
        ),
        {"batch": batch, "exam": exam, "mark": mark},
    )
    members = {"package": package, "batch": batch, "exam": exam}
    conn.execute(
        text(
            "INSERT INTO package_rows SELECT :package, r.id, row_number() OVER (ORDER BY r.id) FROM rows r"
            " JOIN submissions s ON s.id = r.submission_id WHERE r.batch_id = :batch AND s.exam_code = :exam"
        ),
        members,
    )
    moves = [("rows", "PACKED")]
    if age:
        moves += [("packages", "APPROVED"), ("packages", "SENDING"), ("packages", "SENT"), ("rows", "SENT")]
    if age > BACK:
        moves.append(("rows", "PRINTED"))
    for table, state in moves:
        mine = "SELECT row_id FROM package_rows WHERE package_id = :package" if table == "rows" else ":package"
        conn.execute(
            text(f"UPDATE {table} SET state = :state WHERE id IN ({mine})"), members | {"state": state}
        )  # fixed words


def pages(registry: Registry) -> list[str]:
    """One address of every page, of the newest month where it is about one."""
    with registry.read() as conn:
        month = months.known(conn)[0]
        batch = conn.scalar(text("SELECT max(id) FROM batches"))
        record = conn.scalar(text("SELECT record_id FROM rows WHERE state = 'HELD' ORDER BY id DESC LIMIT 1"))
        number = conn.scalar(text("SELECT min(management_no) FROM certificates"))
    return [
        f"/?month={month}", "/holds", f"/holds/{quote(record)}", "/approvals", f"/approvals/{batch}", "/failures",
        f"/cities/370100/{month}", f"/cities/370100/{month[:4]}", f"/exams/034/{month}", f"/trace?number={number}",
        f"/trace?number={quote(record)}", "/returns", "/proofs", "/deliveries", "/quality", "/quality/DB-NAME",
        "/trial",
    ]  # fmt: skip


def measure(settings: Settings) -> bool:
    """Print the table; whether every page kept the promise."""
    kept = True
    with open_registry(settings) as registry:
        web = sit_down(settings, registry)
        for path in pages(registry):
            answer = web.get(path)
            assert answer.status_code == 200, (path, answer.status_code)
            took = []
            for _ in range(9):
                begun = time.perf_counter()
                web.get(path)
                took.append(1000 * (time.perf_counter() - begun))
            median = statistics.median(took)
            kept = kept and median < MILLISECONDS
            print(f"{path:40} {median:6.0f} ms  at most {max(took):6.0f} ms  {len(answer.content) / 1000:7.1f} kB"
                  f"{'' if median < MILLISECONDS else '  TOO SLOW'}")  # fmt: skip
    return kept


def main() -> int:
    """Fill where nothing is yet, then measure."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("home", nargs="?", type=Path)
    asked.add_argument("--certificates", type=int, default=CERTIFICATES)
    asked.add_argument("--rows", type=int, default=ROWS)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        settings = Settings(home=given.home or Path(temporary))
        if not settings.path("postgres").exists():
            begun = time.perf_counter()
            fill(settings, given.certificates, given.rows)
            print(f"filled in {time.perf_counter() - begun:.0f} s")
        return 0 if measure(settings) else 1


if __name__ == "__main__":
    sys.exit(main())

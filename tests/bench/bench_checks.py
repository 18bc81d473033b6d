"""Benchmark of the row checks: ``python tests/bench/bench_checks.py [FOLDER]``; prints a table, judges nothing.

100 000 rows of 16 cities go through every rule, with the comparison against 1 000 000 certificates; beside it the usual
spelling of the same comparison: one query and one pass of plain Python per row, on a sample. What is made lies in
FOLDER and is used again the next time; without one it is made anew and thrown away.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

CERTIFICATES, ROWS, SAMPLE = 1_000_000, 100_000, 2_000
SEED = 4


def load(folder: Path) -> None:
    """The registry file into the database below `folder` / home."""
    from certflow.registry import certificates, open_registry
    from certflow.registry.ledger import Actor
    from certflow.settings import Settings

    registry = open_registry(Settings(home=folder / "home"))
    certificates.load(registry, Actor("bench"), folder / "registry.csv")
    registry.close()


def write(folder: Path) -> None:
    """The registry file and the rows that are sent, rows.tsv."""
    import random

    from certflow.demo.people import People
    from certflow.reference import load_reference
    from certflow.settings import Settings

    reference = load_reference(Settings(home=folder / "home"))
    people, exam = People(SEED), reference.exams["034"]
    cities = sorted(city.name for city in reference.cities.values())
    chosen = [people.certificate(exam, cities[line % 16], years=(2017, 2019)) for line in range(ROWS)]
    people.bystanders([exam], cities, CERTIFICATES)
    draw = random.Random(SEED)
    with (folder / "rows.tsv").open("w", encoding="utf-8") as stream:
        for line, certificate in enumerate(chosen):
            who = certificate.person
            row = [
                certificate.management_no, who.name, who.id_number, who.id_type, who.sex, certificate.level,
                certificate.specialty, f"{who.born:%Y%m}", f"{certificate.approved_on:%Y%m%d}", "", certificate.city,
            ]  # fmt: skip
            if line % 33 == 0:
                spoil(row, draw.randrange(6))
            stream.write("\t".join(row) + "\n")
    people.write_registry(folder / "registry.csv")


def spoil(row: list[str], kind: int) -> None:
    """Three rows in a hundred are not as the database has them."""
    if kind == 0:
        row[8] = f"{row[8][:4]}-{row[8][4:6]}-{row[8][6:]}"
    elif kind == 1:
        row[1] = f"{row[1]}某"
    elif kind == 2:
        row[2] = row[2].lower()
    elif kind == 3:
        row[4] = "女" if row[4] == "男" else "男"
    elif kind == 4:
        row[6] = f" {row[6]}"
    else:
        row[0] = f"{row[0][:-7]}9999999"


def submissions(folder: Path) -> list[Any]:
    """One submission per city, as intake hands it over."""
    from certflow import naming
    from certflow.findings import FIELDS
    from certflow.intake.submission import Entry, Received, Sheet, Submission

    cities: dict[str, list[list[str]]] = {}
    with (folder / "rows.tsv").open(encoding="utf-8") as stream:
        for line in stream:
            row = line.rstrip("\n").split("\t")
            cities.setdefault(row[-1], []).append(row)
    made = []
    for number, (city, rows) in enumerate(sorted(cities.items())):
        stem = f"202005-034-一级建造师(证书补换印制信息)数据({city})({len(rows)}人)"
        file = Received(Path(stem), f"{stem}.zip", f"{number:064x}", 1)
        values = {name: [row[place] for row in rows] for place, name in enumerate(FIELDS)}
        kinds = {name: ["text" if value else "empty" for value in column] for name, column in values.items()}
        sheet = Sheet(list(range(2, len(rows) + 2)), values, kinds)
        book = Entry(0, f"{stem}.XLS", b"", "workbook", 1, 1, 0, 0, 0)
        made.append(Submission((file,), naming.parse(stem).name, stem, book, file, sheet, (), {}))
    return made


def measure(
    folder: Path, work: Callable[[Path, Any, list[Any]], tuple[int, str]]
) -> tuple[int, float, float, int, str]:
    """Rows, wall and CPU seconds, peak of this process in MB, and what came out."""
    from certflow.checks import frame, judge  # noqa: F401 (their import is paid once per process)
    from certflow.registry import open_registry
    from certflow.settings import Settings

    registry = open_registry(Settings(home=folder / "home"))
    given = submissions(folder)
    wall, cpu = time.perf_counter(), time.process_time()
    rows, found = work(folder, registry, given)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    registry.close()
    return rows, wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, found


def ours(folder: Path, registry: Any, given: list[Any]) -> tuple[int, str]:
    """Everything from the sheets to the verdict of each row."""
    from certflow.checks import run
    from certflow.reference import load_reference
    from certflow.settings import Settings

    settings = Settings(home=folder / "home")
    judged = run._judge(given, settings, load_reference(settings), registry).judged
    counts = sum((one.counts for one in judged), start=type(judged[0].counts)())
    return sum(len(one.rows) for one in judged), " ".join(f"{key}={value}" for key, value in sorted(counts.items()))


def usual(folder: Path, registry: Any, given: list[Any]) -> tuple[int, str]:
    """One query a row, and a frame's `apply` over the rows: only the comparison and the ID number, on a sample."""
    import pandas as pd
    from sqlalchemy import text

    sheet = given[0].sheet
    rows = pd.DataFrame(sheet.values).head(SAMPLE)
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)

    with registry.read() as conn:

        def verdict(row: Any) -> str:
            number = row["ZJHM"]
            if len(number) == 18 and number[:17].isdigit():
                total = sum(int(digit) * weight for digit, weight in zip(number, weights, strict=False))
                if "10X98765432"[total % 11] != number[17]:
                    return "returned"
            found = conn.execute(
                text(
                    "SELECT name, id_number, level, specialty, approved_on FROM certificates WHERE management_no = :no"
                ),
                {"no": row["ZSGLH"]},
            ).first()
            sent = (row["KSXM"], number, row["BKJB"], row["BKZY"], row["PZRQ"])
            return "accepted" if found is not None and tuple(found) == sent else "returned"

        counts = rows.apply(verdict, axis=1).value_counts()
    return len(rows), " ".join(f"{key}={value}" for key, value in sorted(counts.items()))


def main(arguments: Sequence[str]) -> None:
    """Prepare where needed, measure, print."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(arguments[0] if arguments else made)
        folder.mkdir(parents=True, exist_ok=True)
        for step, made_by_it in ((write, "registry.csv"), (load, "loaded")):
            if not (folder / made_by_it).exists():
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                    pool.submit(step, folder).result()
                (folder / made_by_it).touch()
        print(f"{'':<8}{'rows':>8}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}{'µs CPU a row':>14}  outcomes")
        paces = []
        for work in (ours, usual):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                rows, wall, cpu, peak, found = pool.submit(measure, folder, work).result()
            paces.append(cpu / rows)
            pace = f"{cpu / rows * 1e6:>14.0f}"
            print(f"{work.__name__:<8}{rows:>8}{wall:>8.2f}{cpu:>8.2f}{peak:>9}{pace}  {found}", flush=True)
        print(f"all rules for every row take {paces[0] / paces[1]:.2f} of the time of those six tests spelt as usual")


if __name__ == "__main__":
    main(sys.argv[1:])

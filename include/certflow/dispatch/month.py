"""How a month stands: who reported, where every row is, which packages there are and who approved them."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any, Literal

from certflow.month import Month
from certflow.reference import load_reference
from certflow.registry import approvals, months, packages
from certflow.registry.ledger import Registry
from certflow.settings import Settings


@dataclass(frozen=True, slots=True)
class Reporting:
    """One city's month: *reported* (at least one submission did not go back whole), *nil* (零报) or *missing*."""

    account: str
    city: str
    status: Literal["reported", "nil", "missing"]
    submissions: int


def reporting(settings: Settings, registry: Registry, month: Month | str) -> list[Reporting]:
    """Every living city of the city table, by account, and how it stands for the month (DOMAIN §3, end)."""
    with registry.read() as conn:
        sent = months.cities(conn, str(month))
    found = []
    for account, city in sorted(load_reference(settings).cities.items()):
        if city.historic:
            continue
        count = sent.get(account)
        status: Literal["reported", "nil", "missing"] = "missing"
        if count is not None and count.usable:
            status = "reported"
        elif count is not None and count.nil:
            status = "nil"
        found.append(Reporting(account, city.name, status, count.submissions if count else 0))
    return found


def month_status(registry: Registry, settings: Settings, month: Month) -> dict[str, Any]:
    """The month as plain data, free of personal data.

    ``cities``: one object per city with its status and, per exam, rows by state; ``exams`` and ``rows``: the
    same summed; ``batches``: number, rows, packages (file, digest, counts, state) and decisions.
    """
    cities = reporting(settings, registry, month)
    with registry.read() as conn:
        states = months.states(conn, str(month))
        waiting = packages.waiting_rows(conn, str(month))
        batches = [
            {
                "id": batch.id,
                "number": batch.number,
                "folder": batch.folder,
                "rule_set": batch.rule_set,
                "exams": packages.exams_of(conn, batch.id),
                "packages": [
                    {
                        "id": one.id,
                        "exam": one.exam_code,
                        "revision": one.revision,
                        "file": one.file_name,
                        "sha256": one.sha256,
                        "size": one.size,
                        "files": [file.name for file in one.files],
                        "companion": one.companion,
                        "rows": one.row_count,
                        "photos": one.photo_count,
                        "state": one.state,
                    }
                    for one in packages.packages_of(conn, batch.id)
                ],
                "approvals": approvals.decisions(conn, batch.id),
            }
            for batch in packages.batches_of(conn, str(month))
        ]
    by_city: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    by_exam: dict[str, Counter[str]] = defaultdict(Counter)
    total: Counter[str] = Counter()
    for one in states:
        by_city[one.account][one.exam_code][one.state] += one.rows
        by_exam[one.exam_code][one.state] += one.rows
        total[one.state] += one.rows
    return {
        "month": str(month),
        "frozen": bool(batches),
        "waiting_for_batch": waiting,
        "cities": [
            {
                "account": one.account,
                "city": one.city,
                "status": one.status,
                "submissions": one.submissions,
                "exams": {exam: dict(counts) for exam, counts in sorted(by_city[one.account].items())},
            }
            for one in cities
        ],
        "exams": {exam: dict(counts) for exam, counts in sorted(by_exam.items())},
        "rows": dict(total),
        "batches": batches,
    }

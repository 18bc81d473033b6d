"""What an approver is shown about a batch: counts, comparisons, what is missing; no personal data (DESIGN §4)."""

from collections import defaultdict
from typing import Any

from certflow import naming
from certflow.dispatch import arrivals
from certflow.dispatch.approve import gate
from certflow.dispatch.month import reporting
from certflow.errors import Conflict
from certflow.reference import load_reference
from certflow.registry import months, packages
from certflow.registry.ledger import Registry
from certflow.registry.packages import Package
from certflow.settings import Settings

_YEAR = 12
_MOST_TOLD = 50
"""Record ids listed on a page; all of them stand in the data."""


def dossier(settings: Settings, registry: Registry, batch_id: int) -> dict[str, Any]:
    """The batch as plain data.

    ``reasons``: why a person has to look; ``approved_by``: who approved exactly this set; ``exams`` and ``cities``:
    rows this month, last month (None: no such month) and the mean of up to twelve months before; ``missing``: cities;
    ``held``: rows that wait for a person; ``paper``; ``packages`` with digests and, for a later revision, the record
    ids it has more and less than the one it replaces.
    """
    shown = gate(settings, registry, batch_id)
    reference = load_reference(settings)
    with registry.read() as conn:
        batch = packages.batch(conn, batch_id)
        if batch is None:
            raise Conflict(f"没有编号为 {batch_id} 的批次，请先冻结月份")
        every = packages.packages_of(conn, batch_id)
        live = [one for one in every if one.state != "REJECTED"]
        changes = {one.id: _changes(conn, every, one) for one in live}
        counted = months.packed(conn, upto=batch.month, months=_YEAR + 1)
        held = sum(one.rows for one in months.states(conn, batch.month) if one.state == "HELD")
    names = {code: exam.name for code, exam in reference.exams.items()}
    cities = {account: city.name for account, city in reference.cities.items()}
    return {
        "batch": batch.folder,
        "rule_set": batch.rule_set,
        "digest": shown.digest,
        "reasons": list(shown.reasons),
        "approved_by": shown.approved_by,
        "rows": sum(one.row_count for one in live if not one.companion),
        "photos": sum(one.photo_count for one in live if not one.companion),
        "exams": _compared(batch.month, [(one.exam_code, one.state, one.rows) for one in counted], names),
        "cities": _compared(batch.month, [(one.account, one.state, one.rows) for one in counted], cities),
        "missing": [one.city for one in reporting(settings, registry, batch.month) if one.status == "missing"],
        "held": held,
        "paper": [
            {"city": one.city, "exam": one.exam_code, "rows": one.rows, "state": one.state}
            for one in arrivals.arrivals(settings, registry, batch)
        ],
        "packages": [
            {"id": one.id, "exam": one.exam_code, "rows": one.row_count, "sha256": one.digest, "revision": one.revision}
            | {"companion": one.companion}
            | changes[one.id]
            for one in live
        ],
    }


def as_markdown(found: dict[str, Any]) -> str:
    """The dossier for Airflow's page and the command line."""
    lines = [
        f"**批次 {found['batch']}**：{found['rows']} 行，{found['photos']} 张照片，规则集 {found['rule_set'] or '—'}",
        "",
        f"摘要 `{found['digest']}`",
        "",
        f"- 需要批准的原因：{'；'.join(found['reasons']) or '无'}",
        f"- 未报的地市：{'、'.join(found['missing']) or '无'}",
        f"- 待人工确认的行：{found['held']}",
    ]
    paper = [one for one in found["paper"] if one["state"] != "arrived"]
    told = "、".join(f"{one['city']} {one['exam']} {arrivals.WORDS[one['state']]}" for one in paper)
    lines.append(f"- 纸质材料：{told or '全部已到'}")
    for title, key in (("考试", "exams"), ("地市", "cities")):
        lines += ["", f"| {title} | 本月 | 上月 | 近一年月均 |", "|---|---|---|---|"]
        lines += [
            f"| {one['name']} | {one['rows']} | {_dash(one['last'])} | {_dash(one['mean'])} |" for one in found[key]
        ]
    lines += ["", "| 数据包 | 考试 | 行 | 版次 | SHA-256 |", "|---|---|---|---|---|"]
    lines += [
        f"| {one['id']} | {one['exam']} | {one['rows']}{'（市包，已计入省包）' if one['companion'] else ''} "
        f"| {one['revision']} | `{one['sha256'][:16]}…` |"
        for one in found["packages"]
    ]
    for one in found["packages"]:
        if "replaces" in one:
            more, less = one["added"], one["removed"]
            lines += ["", f"数据包 {one['id']} 比上一版多 {len(more)} 行、少 {len(less)} 行。"]
            for word, ids in (("增加", more), ("去掉", less)):
                if ids:
                    rest = "……" if len(ids) > _MOST_TOLD else ""
                    lines.append(f"- {word}：{'、'.join(ids[:_MOST_TOLD])}{rest}")
    return "\n".join(lines)


def _changes(conn: Any, every: list[Package], one: Package) -> dict[str, Any]:  # noqa: ANN401 (SQL's own type)
    """How a revision differs from the one it replaces, by record id; {} for the first one."""
    earlier = [
        old for old in every if old.id < one.id and old.exam_code == one.exam_code and _place(old) == _place(one)
    ]
    if not earlier:
        return {}
    added, removed = packages.differences(conn, earlier[-1].id, one.id)
    return {"replaces": earlier[-1].sha256, "added": added, "removed": removed}


def _place(package: Package) -> tuple[str, bool]:
    """What stands in the city's place of its name, and in which role: revisions of one package agree in both."""
    name = naming.parse(package.stem).name
    return name.city if name else "", package.companion


def _compared(month: str, counted: list[tuple[str, str, int]], names: dict[str, str]) -> list[dict[str, Any]]:
    """Rows by key for the month, the newest one before it and the mean of those before."""
    by_month: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for key, when, rows in counted:
        by_month[when][key] += rows
    past = sorted((when for when in by_month if when < month), reverse=True)
    keys = sorted({key for values in by_month.values() for key in values})
    return [
        {
            "key": key,
            "name": f"{key} {names.get(key, '')}".strip(),
            "rows": by_month[month][key] if month in by_month else 0,
            "last": by_month[past[0]][key] if past else None,
            "mean": round(sum(by_month[when][key] for when in past) / len(past), 1) if past else None,
        }
        for key in keys
    ]


def _dash(value: float | None) -> str:
    return "—" if value is None else f"{value:g}"

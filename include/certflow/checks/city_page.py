"""What a city's clerk reads first: one page per month (HTML and PDF) and one message per day, instead of every receipt.

Counts, the most frequent causes, what to do by when. No personal data; names of files appear in the day's message and
on the page because they are the city's own. Living documents: written anew from the ledger whenever something was
judged, brought into the city's 回执 in place of the older ones.
"""

import html
import tempfile
from calendar import monthrange
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from certflow import vault
from certflow.checks import suites
from certflow.month import SHANGHAI, Month
from certflow.reference import Reference
from certflow.settings import Settings

if TYPE_CHECKING:
    from certflow.registry.ledger import Registry
    from certflow.registry.standing import SentFile, Standing

FOLDER = "现况"
"""Below ``feedback/<account>/``: nothing but living documents."""
CAUSES = 3
_GROUPS = {"HELD": "待确认", "RETURNED": "退回", "PROOF": "转证明", "ISSUED": "转证明", "REFUSED": "退回"}
_COLUMNS = ("受理", "待确认", "退回", "转证明")
_NAMES = {"受理": "受理", "待确认": "待省中心确认", "退回": "退回待更正", "转证明": "转开证明"}
_LOOKS = {"受理": "good", "待确认": "wait", "退回": "bad", "转证明": "other"}
_FILES = {
    "JUDGED": "已检查", "RETURNED": "整份退回", "HELD": "整份待省中心确认", "IGNORED": "与此前相同，未再处理",
    "WAITING": "等待同名的另一个压缩包", "RECEIVED": "尚未检查", "UNPACKED": "尚未检查",
}  # fmt: skip
_PAGE = Path(__file__).parents[1] / "templates" / "city-page.html"


def write(
    settings: Settings, registry: "Registry", reference: Reference, account: str,
    *, months: Iterable[str], file_ids: Sequence[int],
) -> list[Path]:  # fmt: skip
    """Write the pages of these months and the messages of the days on which these files came; returns the files."""
    from certflow.registry import standing as ledger

    city = reference.cities[account].name if account in reference.cities else account
    titles = {rule.code: (rule.title, rule.remedy) for rule in reversed(suites.load(settings))}
    folder = settings.feedback / account / FOLDER
    written: list[Path] = []
    with registry.read() as conn:
        stands = {month: ledger.standing(conn, account, month) for month in sorted(set(months))}
        days = {day: ledger.sent_on(conn, account, day) for day in ledger.days_of(conn, file_ids)}
    for month, stand in stands.items():
        if stand.latest is None:
            continue  # only tried out
        data = _data(city, Month.parse(month), stand, latest=stand.latest, titles=titles, reference=reference)
        written += [
            _put(folder / f"报送情况-{month}.html", as_html(data).encode()),
            _put(folder / f"报送情况-{month}.pdf", _as_pdf(settings, data, stand.latest)),
        ]
    for day, files in days.items():
        lines = _message(city, day, files, titles)
        written.append(_put(folder / f"日报-{day:%Y%m%d}.txt", "\r\n".join([*lines, ""]).encode("utf-8-sig")))
    return written


def _data(
    city: str,
    month: Month,
    stand: "Standing",
    *,
    latest: datetime,
    titles: Mapping[str, tuple[str, str]],
    reference: Reference,
) -> dict[str, Any]:
    """What the page shows, as JSON can say it."""
    exams = {code: _grouped(counts) for code, counts in stand.exams.items()}
    total = sum(exams.values(), Counter[str]())
    name = f"{month.year}年{month.number}月"
    return {
        "title": f"{city} {name}证书补换数据报送情况",
        "as_of": f"截至 {_moment(latest)} 收到的文件",
        "numbers": [
            {"name": _NAMES[column], "count": total[column], "look": _LOOKS[column] if total[column] else "other"}
            for column in _COLUMNS
        ],
        "tasks": _tasks(month, stand, total),
        "causes": [
            {"rule": rule, "title": titles.get(rule, (rule, ""))[0], "rows": count,
             "remedy": titles.get(rule, ("", ""))[1]}
            for rule, count in stand.causes[:CAUSES]
        ],
        "files": [
            {"name": one.name, "reason": titles.get(one.reason or "", (one.reason or "", ""))[0], "end": end}
            for end, files in (("退回", stand.returned_files), ("待省中心确认", stand.held_files))
            for one in files
        ],
        "exams": [
            {"name": _exam(code, reference), "counts": [sum(counts.values()), *(counts[one] for one in _COLUMNS)]}
            for code, counts in exams.items()
        ],
        "footer": "本页由系统按台账生成，随报送更新；逐行的问题和更正办法见“回执”文件夹中的退回单。",
    }  # fmt: skip


def _tasks(month: Month, stand: "Standing", total: Mapping[str, int]) -> list[str]:
    last = monthrange(month.year, month.number)[1]
    deadline = (
        "本月已冻结，重报的数据进入下一次补报，请尽快办理。" if stand.frozen
        else f"请于 {month.year}年{month.number}月{last}日 24:00 前重报；之后收到的进入下一次补报。"
    )  # fmt: skip
    tasks = []
    whole = sum(one.rows.get("RETURNED", 0) for one in stand.returned_files)
    if single := max(total["退回"] - whole, 0):
        tasks.append(f"更正退回的 {single} 行：改退回单上红底的格子，可直接把退回单传回“报送”文件夹。{deadline}")
    if stand.returned_files:
        rows = f"（{whole} 行）" if whole else ""
        tasks.append(f"有 {len(stand.returned_files)} 个文件整份退回{rows}：按回执更正后重新打包报送。{deadline}")
    if total["待确认"]:
        tasks.append(f"{total['待确认']} 行由省中心人工确认，不必重报；如确有错误，也可更正后重报。")
    if total["受理"]:
        tasks.append(f"受理的 {total['受理']} 行：打印回执中的申请表和统计汇总表，盖章后送省中心考务二科。")
    return tasks or ["没有要办理的事项。"]


def as_html(data: Mapping[str, Any]) -> str:
    """The page for a browser: one file, nothing loaded from elsewhere."""
    tell = html.escape
    parts = ['<div class="numbers">']
    parts += [f'<div class="{one["look"]}"><b>{one["count"]}</b>{tell(one["name"])}</div>' for one in data["numbers"]]
    parts += ["</div><h2>要做的事</h2><ol>", *(f"<li>{tell(task)}</li>" for task in data["tasks"]), "</ol>"]
    if data["causes"]:
        parts.append("<h2>主要问题</h2><table><tr><th>问题<th>行数<th>更正办法</tr>")
        parts += [
            f"<tr><td>{tell(one['title'])} <small>{tell(one['rule'])}</small><td class=n>{one['rows']}"
            f"<td>{tell(one['remedy'])}</tr>"
            for one in data["causes"]
        ]
        parts.append("</table>")
    if data["files"]:
        parts.append("<h2>整份处理的文件</h2><table><tr><th>文件<th>原因<th>处理</tr>")
        parts += [
            f"<tr><td>{tell(one['name'])}<td>{tell(one['reason'])}<td>{tell(one['end'])}</tr>" for one in data["files"]
        ]
        parts.append("</table>")
    if data["exams"]:
        heads = "".join(f"<th>{name}" for name in ("考试", "合计", *_COLUMNS))
        parts.append(f"<h2>各考试</h2><table><tr>{heads}</tr>")
        parts += [
            f"<tr><td>{tell(one['name'])}{''.join(f'<td class=n>{count}' for count in one['counts'])}</tr>"
            for one in data["exams"]
        ]
        parts.append("</table>")
    words = {name: tell(data[name]) for name in ("title", "as_of", "footer")}
    return Template(_PAGE.read_text(encoding="utf-8")).substitute(words, body="".join(parts))


def _as_pdf(settings: Settings, data: Mapping[str, Any], moment: datetime) -> bytes:
    from certflow.pdf import press

    house = press(settings)
    files = [{**one, "name": _printable(house.missing([one["name"]]), one["name"])} for one in data["files"]]
    at = moment.astimezone(UTC)  # the press takes fixed offsets only
    return house.print("city-page", {**data, "files": files}, title=str(data["title"]), at=at)


def _printable(missing: Iterable[str], text: str) -> str:
    """Names of files may hold signs no font has; there the page shows 〓, the HTML beside it the sign."""
    for sign in missing:
        text = text.replace(sign, "〓")
    return text


def _message(city: str, day: date, files: "Sequence[SentFile]", titles: Mapping[str, tuple[str, str]]) -> list[str]:
    """The day's message, line by line."""
    lines = [f"{city} {day.year}年{day.month}月{day.day}日 报送日报", f"当日收到 {len(files)} 个文件："]
    for one in files:
        reason = f"（{titles.get(one.reason, (one.reason, ''))[0]}）" if one.reason else ""
        trial = "试投 " if one.lane == "trial" else ""
        lines += ["", f"{_moment(one.received_at)} {trial}{one.name}", f"  {_FILES.get(one.state, one.state)}{reason}"]
        if counts := _grouped({state: count for state, count in one.rows.items() if state != "IGNORED"}):
            told = "，".join(f"{_NAMES[column]} {counts[column]} 行" for column in _COLUMNS if counts[column])
            lines.append(f"  {told}")
        lines.append(f"  详见回执编号 F{one.id:06d}")
    return [*lines, "", "本月合计、主要问题和要做的事，见同一文件夹中的“报送情况”。"]


def _grouped(counts: Mapping[str, int]) -> Counter[str]:
    """States as the page tells them: what is neither held, nor back, nor a proof has been accepted."""
    grouped: Counter[str] = Counter()
    for state, count in counts.items():
        grouped[_GROUPS.get(state, "受理")] += count
    return grouped


def _exam(code: str, reference: Reference) -> str:
    return f"{code} {reference.exams[code].name}" if code in reference.exams else code


def _moment(moment: datetime) -> str:
    return moment.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M")


def _put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".page-")
    with vault.writer(handle, Path(name)) as target:
        target.write(data)
    Path(name).replace(path)
    return path

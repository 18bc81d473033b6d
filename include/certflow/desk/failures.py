"""Failure cards: what broke, whose turn it is, whether it may run again and what would be sent again, one button."""

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from certflow.desk.airflow import AsPerson, Task
from certflow.desk.desk import Desk, Link
from certflow.desk.people import Person
from certflow.errors import Conflict
from certflow.logins import OPERATOR, VIEWER
from certflow.privacy import mask_text
from certflow.registry import packages
from certflow.registry.ledger import note

LINKS = (Link("/failures", "失败任务"),)
_DAYS = 14
"""How far back a failure is looked for."""
_MOST = 20
"""Cards on the page."""
_KINDS = {
    "AccessRefused": (
        "对方服务器拒绝登录，或主机密钥不符", "运维人员：先与对方（地市或上级）核对账号、密钥和主机密钥，再重跑", False,
    ),
    "TransferError": (
        "连接中断，或数据库、对方目录暂时不可用",
        "多半不必处理：定时运行会补上；反复失败时请运维人员查网络和数据库",
        True,
    ),
    "SubmissionError": ("报送的文件不是它自称的样子", "地市：按回执更正后重新报送", True),
    "ConfigurationError": ("设置、参照表、规则或模板有误", "管理员：按上面的话改正，再重跑", False),
    "Conflict": ("两处事实不一致，须由人决定", "经办人：按上面的话处理，再重跑", False),
    "Overtaken": ("数据库让另一个事务先行", "不必处理，重跑即可", True),
    "DigestMismatch": (
        "内容与登记的摘要不符，已停下，没有发出任何东西",
        "运维人员：运行 certflow doctor 查明原因；查明之前不要重跑",
        False,
    ),
    "SealBroken": (
        "加密的文件被改动或损坏，已停下，没有使用它", "运维人员：从备份恢复该文件，查明原因，再重跑", False,
    ),
    "": ("任务没有留下原因（进程被终止或机器重启）", "重跑即可；再次发生时请技术人员看日志", True),
}  # fmt: skip
"""Error of the tree → what it means, whose turn it is, and whether running again helps before anybody did anything."""
_OTHER = ("程序没有料到的错误", "技术人员：打开日志查明", False)
_SECTIONS = {"AccessRefused": "host-key", "SealBroken": "sealed"}
"""Error → section of the run book; all others stand in its table of failures."""
_NUMBERED = {"month_end_send": "数据包", "reprint_reconciliation": "返回文件"}
"""What the number of a mapped task counts."""
_SENDS = {
    "BUILT": "尚未批准：重跑也不会上传。",
    "APPROVED": "已批准、尚未送达：重跑会上传它；先看上级那边是否已有，有则不发。",
    "SENDING": "上次停在上传途中：重跑先看上级那边，已经到了就只记下，没有才上传。",
    "SENT": "已送达：重跑只核对一眼，不会再发一次。",
    "UNKNOWN": "无法确认是否送达：重跑不会自动再发。先与上级核对，再到这一批的页面写明结果。",
    "REJECTED": "已退回组包：重跑不会上传。",
}
"""What happens to a package, by its state, when its sending runs again."""


@dataclass(frozen=True, slots=True)
class Card:
    """One failure in words."""

    task: Task
    about: str
    """The city, exam, package or file; empty: the whole run."""
    title: str
    month: str
    what: str
    turn: str
    helps: bool
    """Running it again helps before anybody did anything."""
    said: str
    again: str
    """Whether it may run again, and what would be sent again."""
    mend: str
    """What the DAG's own documentation says about failures."""
    section: str
    """Anchor in the run book."""
    page: str
    """Airflow's page of the task."""


def routes(desk: Desk) -> APIRouter:
    """The cards, and the button."""
    router = APIRouter()
    viewer, operator = desk.may(VIEWER, province=True), desk.may(OPERATOR)

    @router.get("/failures")
    def failures(request: Request, _person: Annotated[Person, viewer]) -> HTMLResponse:
        if desk.airflow is None:
            return desk.show(request, "failures", cards=[], connected=False)
        api = desk.airflow.as_person(request)
        found = [card(desk, api, task) for task in open_failures(api)]
        return desk.show(request, "failures", cards=found, connected=True)

    @router.post("/failures/again")
    def again(
        request: Request,
        person: Annotated[Person, operator],
        dag: Annotated[str, Form()],
        run: Annotated[str, Form()],
        task: Annotated[str, Form()],
        *,
        index: Annotated[int, Form()] = -1,
    ) -> RedirectResponse:
        if desk.airflow is None:
            raise Conflict("工作台没有连上 Airflow")
        api = desk.airflow.as_person(request)
        chosen = api.task(dag, run, task, index)
        if chosen.state not in ("failed", "upstream_failed"):
            raise Conflict("这个任务现在不是失败状态，请刷新页面")
        api.run_again(chosen)
        with desk.registry.begin(desk.actor(person)) as conn:
            note(conn, "run again", dag=dag, run=run, task=task, index=index)
        return desk.to(request, f"/runs/{quote(dag, safe='')}/{quote(run, safe='')}")

    return router


def open_failures(api: AsPerson) -> list[Task]:
    """Failed tasks that no later success of the same kind made good, the newest first."""
    since = f"{dt.datetime.now(dt.UTC) - dt.timedelta(_DAYS):%Y-%m-%dT%H:%M:%SZ}"
    seen: set[tuple[str, str, str, str]] = set()
    found: list[Task] = []
    months: dict[tuple[str, str], str] = {}

    def month_of(task: Task) -> str:
        if (task.dag_id, task.run_id) not in months:
            months[task.dag_id, task.run_id] = api.run(task.dag_id, task.run_id).month
        return months[task.dag_id, task.run_id]

    for task in api.tasks(states=["failed"], start_date_gte=since):
        month = month_of(task)
        key = (task.dag_id, task.task_id, task.label, month)
        if key not in seen and len(found) < _MOST:
            seen.add(key)
            if not any(one.label == task.label and month_of(one) == month for one in _later(api, task)):
                found.append(task)
    return found


def _later(api: AsPerson, task: Task) -> list[Task]:
    """Successes of the same task that began after it."""
    narrowed = {"rendered_map_index_pattern": task.label} if task.label else {}
    if task.began is not None:
        narrowed["start_date_gt"] = task.began.astimezone(dt.UTC).isoformat()
    return api.tasks(task.dag_id, states=["success"], limit=10, task_id=task.task_id, **narrowed)


def card(desk: Desk, api: AsPerson, task: Task) -> Card:
    """A failed task in plain words."""
    kind, said = api.error(task)
    what, turn, helps = _KINDS.get(kind, _OTHER)
    parts = _parts(api.doc(task.dag_id))
    again, section = parts.get("可否重跑", ""), _SECTIONS.get(kind, "failures")
    if task.dag_id == "month_end_send" and task.task_id == "send" and task.label.isdecimal():
        with desk.registry.read() as conn:
            package = packages.package(conn, int(task.label))
        if package:
            again = f"数据包 {task.label}（{package.exam_code}）{_SENDS[package.state]}"
            section = "unknown" if package.state == "UNKNOWN" else section
    mapped = f"/mapped/{task.index}" if task.index >= 0 else ""
    url = desk.airflow.url if desk.airflow else ""
    return Card(
        task, _about(desk, task), task.title if task.title != task.task_id else api.title(task.dag_id, task.task_id),
        api.run(task.dag_id, task.run_id).month, what, turn, helps, mask_text(said), again,
        parts.get("失败怎么办", ""),
        section,
        f"{url}/dags/{task.dag_id}/runs/{quote(task.run_id, safe='')}/tasks/{task.task_id}{mapped}",
    )  # fmt: skip


def _about(desk: Desk, task: Task) -> str:
    """Whose task it is, in words: its label is a city's account, an exam's code or the number of something."""
    if task.label in desk.tables.cities:
        return desk.tables.cities[task.label].name
    if task.label in desk.tables.exams:
        return f"考试 {task.label} {desk.tables.exams[task.label].name}"
    return f"{_NUMBERED.get(task.dag_id, '')} {task.label}".strip()


def _parts(doc: str) -> Mapping[str, str]:
    """The paragraphs of a DAG's documentation by their bold heads, without Markdown."""
    found = re.findall(r"\*\*(.+?)\*\*：(.*?)(?=\n\n|\Z)", doc, flags=re.DOTALL)
    return {head: "".join(text.split("\n")).replace("`", "") for head, text in found}

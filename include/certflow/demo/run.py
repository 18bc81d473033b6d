"""`make demo`: one synthetic month from the cities' folders to the reprint data, through the real DAGs.

Own home (``<home>/demo``), own embedded database, own SFTP servers on the loopback interface; nothing of an
operator's installation is touched, whatever the environment says. Ends with exit code 0 only when every
planted answer was met.
"""

import csv
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from sqlalchemy import text

from certflow import sftp
from certflow.airflow_home import DagRunner
from certflow.checks.run import render_quality
from certflow.demo import authority, grading, leaks, post, screen
from certflow.demo.province import MONTH, Province, generate
from certflow.demo.servers import AuthoritySftp, CitySftp
from certflow.dispatch.approve import approve
from certflow.errors import CertflowError, ConfigurationError
from certflow.reference import load_reference
from certflow.registry import certificates, open_registry, packages, reprints, server
from certflow.registry.doctor import examine
from certflow.registry.ledger import Actor, Registry
from certflow.registry.timeline import timeline
from certflow.returns.reconcile import existing, report
from certflow.settings import Settings

MARKER: Final = ".certflow-demo"
"""Lies in a home that the demo made and may wipe."""
LOOK_SECONDS: Final = 0.3
"""Pause between the two looks: nobody else uploads here."""
DAY: Final = 25 * 3600.0
_ACTOR: Final = Actor("demo")
_STEPS: Final = 13
_T = TypeVar("_T")


@dataclass(slots=True)
class _Report:
    """What the run has to say at its end."""

    console: Console
    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def step(self, key: str, words: str, work: Callable[[], _T]) -> _T:
        """Do one step with its line on the screen and its time in the summary."""
        task = self.progress.task_ids[0]
        self.progress.update(task, description=words)
        begun = time.monotonic()
        result = work()
        self.seconds[key] = round(time.monotonic() - begun, 1)
        self.progress.advance(task)
        self.progress.console.print(f"  [green]✓[/] {words}  [dim]{self.seconds[key]} 秒[/]")
        return result

    def expect(self, met: object, problem: str) -> None:
        """Remember an answer that was not met."""
        if not met:
            self.problems.append(problem)


def run_demo(settings: Settings, rows: int, seed: int) -> int:
    """Run the synthetic month with `rows` certificates; 0 when every expectation was met, else 1.

    Raises:
        ConfigurationError: ``<home>/demo`` holds something the demo did not make, or `rows` is too small.
    """
    console = Console(highlight=False)
    begun = time.monotonic()
    home = settings.home / "demo"
    _wipe(home)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress, ExitStack() as parts:
        progress.add_task("准备", total=_STEPS)
        told = _Report(console, progress)
        month = _Month(_own(settings, home), told, parts, rows, seed)
        summary = month.run()
    summary["seconds"] = told.seconds | {"total": round(time.monotonic() - begun, 1)}
    _write(home / "summary.json", summary)
    screen.show(console, summary, month.table, month.names, settings=month.settings, problems=told.problems)
    return 1 if told.problems else 0


class _Month:
    """The month under way: the parts that run, and what is known so far."""

    def __init__(self, settings: Settings, told: _Report, parts: ExitStack, rows: int, seed: int) -> None:
        self.told = told
        self.seed = seed
        self.rows = rows
        self.parts = parts
        reference = load_reference(settings)
        self.names = {account: city.name for account, city in reference.cities.items()}
        self.city = CitySftp(settings.path("sftp", "city"), self.names)
        self.authority = AuthoritySftp(settings.path("sftp", "authority"))
        self.settings = settings
        self.registry: Registry
        self.table: list[tuple[str, str, Counter[str]]] = []

    def run(self) -> dict[str, Any]:
        """Every step, in order; the summary without its times."""
        step = self.told.step
        runner = step("start", "启动数据库与 SFTP 服务器", self.start)
        province = step("generate", f"生成合成数据（{self.rows} 份证书）", self.generate)
        answers = json.loads(self.settings.path("province", "answers.json").read_text(encoding="utf-8"))
        step("load", "装载证书数据库", self.load)
        before = self.fingerprint()
        step("upload", "16 市经 SFTP 报送", lambda: self.upload(province))
        step(
            "submission_intake",
            "流程 submission_intake：收取、检查、答复",
            lambda: self.dag(runner, "submission_intake"),
        )
        _let_a_day_pass(self.settings)
        month = {"month": str(province.month)}
        step(
            "month_end_prepare",
            "流程 month_end_prepare：冻结、组包",
            lambda: self.dag(runner, "month_end_prepare", month),
        )
        # Everything is judged by now: the pages are drawn while the DAGs below run in their own process.
        pages = self.parts.enter_context(ThreadPoolExecutor(1)).submit(render_quality, self.settings)
        step("approve", "批准数据包", self.approve)
        step(
            "month_end_send",
            "流程 month_end_send：发送",
            lambda: self.dag(runner, "month_end_send", month | {"batch": 0}),
        )
        taken, plan = step("authority", "上级收取、核对并返回", self.print_cards)
        step(
            "reprint_reconciliation",
            "流程 reprint_reconciliation：对账入库",
            lambda: self.dag(runner, "reprint_reconciliation"),
        )
        delivered = step(
            "delivery",
            "一市发放：EMS 订单与跟踪、现场领取与凭证",
            lambda: post.deliver(self.settings, self.registry, _ACTOR),
        )
        step("quality", "生成 Data Docs", pages.result)
        return step("verify", "核对全部预期答案", lambda: self.verify(answers, taken, plan, before, delivered))

    def start(self) -> DagRunner:
        """Everything that has to run; Airflow gets ready while the data are made."""
        self.parts.enter_context(self.city)
        self.parts.enter_context(self.authority)
        variables = {
            "CERTFLOW_HOME": str(self.settings.home),
            "CERTFLOW_LOOK_SECONDS": str(self.settings.look_seconds),
            **self.city.address.environment("CERTFLOW_CITY_SFTP"),
            **self.authority.address.environment("CERTFLOW_AUTHORITY_SFTP"),
        }
        if self.settings.expectations is not None:
            variables["CERTFLOW_EXPECTATIONS"] = str(self.settings.expectations)
        if self.settings.vault_key:
            variables["CERTFLOW_VAULT_KEY"] = self.settings.vault_key
        self.parts.enter_context(_environment(variables))
        self.settings = replace(self.settings, city_sftp=self.city.remote(), authority_sftp=self.authority.remote())
        self.registry = self.parts.enter_context(open_registry(self.settings))
        return self.parts.enter_context(DagRunner(self.settings))

    def generate(self) -> Province:
        try:
            return generate(self.settings.path("province"), self.rows, self.seed, MONTH)
        except ValueError as error:
            raise ConfigurationError(f"演示数据无法生成：{error}") from None

    def load(self) -> None:
        file = self.settings.path("province", "registry.csv")
        loaded = certificates.load(self.registry, _ACTOR, file)
        self.told.expect(
            loaded.inserted == self.rows and not loaded.refused,
            f"证书数据库：应装入 {self.rows} 份，实际 {loaded.inserted} 份，拒绝 {len(loaded.refused)} 份",
        )

    def upload(self, province: Province) -> None:
        """As each city, with its own key, into its own folder; complete under the final name only."""
        inbox = self.settings.folders.inbox
        for account in province.accounts:
            with sftp.connect(self.city.remote(account), self.settings.transfer_timeout) as session:
                for drop in province.drops:
                    if drop.account != account:
                        continue
                    local = self.settings.path("province", "cities", account, drop.name)
                    final = f"/{inbox}/".encode() + drop.raw_name
                    session.rename(session.put_part(local, final).path, final)

    def dag(self, runner: DagRunner, dag_id: str, conf: Mapping[str, Any] | None = None) -> None:
        """One run of a DAG; everything after a failed one would be meaningless."""
        done = runner.run(dag_id, conf)
        if not done.ok:
            failed = ", ".join(sorted(task for task, state in done.tasks.items() if state == "failed")) or done.state
            raise CertflowError(f"流程 {dag_id} 没有成功（{failed}），详见 {runner.log}")

    def approve(self) -> None:
        with self.registry.read() as conn:
            batch = packages.batches_of(conn, str(MONTH))[0]
        approve(self.registry, batch.id, "演示批准人", _ACTOR)

    def print_cards(self) -> tuple[list[authority.Taken], authority.Answers]:
        tree, names = self.authority.address.tree, self.settings.folders
        taken = authority.take_packages(tree, names.upward, names.archive)
        return taken, authority.answer(tree, taken, self.seed, names.returned)

    def fingerprint(self) -> tuple[int, str]:
        """Number and digest of all certificates, to compare before and after."""
        query = "SELECT count(*), md5(string_agg(c::text, chr(10) ORDER BY id)) FROM certificates c"
        with self.registry.read() as conn:
            count, digest = conn.execute(text(query)).one()
        return int(count), str(digest)

    def verify(
        self,
        answers: Mapping[str, Any],
        taken: list[authority.Taken],
        plan: authority.Answers,
        before: tuple[int, str],
        delivered: post.Delivered,
    ) -> dict[str, Any]:
        expect = self.told.expect
        with self.registry.read() as conn:
            ledger = grading.Ledger.read(conn)
            self.table = grading.per_city(conn)
            submissions = int(conn.scalar(text("SELECT count(*) FROM submissions WHERE lane = 'month'")) or 0)
            accounts = int(conn.scalar(text("SELECT count(DISTINCT account) FROM files")) or 0)
            prints = int(conn.scalar(text("SELECT count(*) FROM print_events")) or 0)
            batch = packages.batches_of(conn, str(MONTH))[0]
            built = packages.packages_of(conn, batch.id)
            handed = timeline(conn, delivered.handed)
            closed = int(conn.scalar(text("SELECT count(*) FROM rows WHERE state = 'CLOSED'")) or 0)
            returned: Counter[str] = Counter()
            for found in conn.scalars(text("SELECT id FROM returns ORDER BY id")):
                returned.update(report(conn, existing(reprints.find(conn, found), found)).counts)
        grade = grading.grade(ledger, answers)
        self.told.problems += [f"漏检：{line}" for line in grade.missed]
        self.told.problems += [f"误报：{line}" for line in grade.false_alarms]
        with self.settings.path("province", "registry.csv").open(encoding="utf-8-sig", newline="") as stream:
            lines = list(csv.reader(stream))[1:]
        self.told.problems += [f"数据包：{line}" for line in grading.check_packages(taken, lines, answers)]
        expect((self.settings.reports / "data-docs" / "index.html").is_file(), "没有生成 Data Docs")
        expect(accounts == len(self.names), f"收到 {accounts} 市的文件，应为 {len(self.names)} 市")
        sent = sum(package.state == "SENT" for package in built)
        digests = sorted(package.sha256 for package in built)
        expect(built and sent == len(built), f"{len(built)} 个数据包中只发出 {sent} 个")
        expect(digests == sorted(one.sha256 for one in taken), "上级收到的数据包与组成的数据包不同")
        buckets = {bucket: returned[bucket] for bucket in plan.counts()}
        expect(buckets == plan.counts(), f"对账结果 {buckets} 与上级返回 {plan.counts()} 不同")
        expect(prints == buckets["printed"], f"印制记录 {prints} 条，应为 {buckets['printed']} 条")
        expect(
            (delivered.signed, delivered.returned, closed) == (delivered.mailed - 1, 1, delivered.mailed)
            and handed is not None
            and len(handed["requests"][-1]["delivery"]["evidence"]) == 2,  # signature and ID
            f"发放：邮寄 {delivered.mailed}，签收 {delivered.signed}，退回 {delivered.returned}，办结 {closed}",
        )
        expect(self.fingerprint() == before, "证书数据库的内容被改动")
        problems = examine(self.registry, self.settings) | {"I10": leaks.search(self.settings, self.registry)}
        invariants = {name: len(problems[name]) for name in sorted(problems, key=lambda name: int(name[1:]))}
        sick = {name: count for name, count in invariants.items() if count}
        expect(not sick, f"不变量被违反：{sick}")
        return {
            "month": str(MONTH),
            "cities": accounts,
            "submissions": submissions,
            "rows": ledger.counts(),
            "defects": grade.as_json(),
            "packages": [
                {
                    "exam": package.exam_code,
                    "file": str(self.settings.packages / batch.folder / package.file_name),
                    "sha256": package.sha256,
                    "rows": package.row_count,
                    "photos": package.photo_count,
                }
                for package in built
            ],
            "sent": sent,
            "returns": buckets,
            "delivery": asdict(delivered) | {"city": self.names[delivered.account]},
            "doctor": {"ok": not sick, "invariants": invariants},
        }


def _own(settings: Settings, home: Path) -> Settings:
    """The demo's own settings: its own home and database, the rules it was written for, nobody's servers.

    With a key its files are sealed, as the operator's would be.
    """
    return Settings(
        home=home,
        expectations=settings.expectations,
        look_seconds=LOOK_SECONDS,
        log_level=settings.log_level,
        vault_key=settings.vault_key,
    )


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """No CERTFLOW_ variable but these, for the processes that are started meanwhile."""
    before = {name: value for name, value in os.environ.items() if name.startswith("CERTFLOW_")}
    for name in before:
        del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)
        os.environ.update(before)


def _wipe(home: Path) -> None:
    """Start from nothing; a folder that the demo did not make is left alone."""
    if home.exists() and any(home.iterdir()):
        if not (home / MARKER).is_file():
            raise ConfigurationError(f"{home} 不是演示建立的目录，未作任何改动：请移走它，或换一个 CERTFLOW_HOME")
        server.stop(Settings(home=home))
        try:
            shutil.rmtree(home)
        except OSError as error:
            raise ConfigurationError(f"无法清空 {home}（{error.strerror}）：请用建立它的用户运行或删除") from None
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / MARKER).touch()


def _let_a_day_pass(settings: Settings) -> None:
    """Files without an end wait a day for the rest of their bytes: the day is over now."""
    for file in settings.path("inbox").glob("*.json"):
        seen = json.loads(file.read_text(encoding="ascii"))
        file.write_text(json.dumps({look: moment - DAY for look, moment in seen.items()}), encoding="ascii")


def _write(file: Path, summary: Mapping[str, Any]) -> None:
    draft = file.with_suffix(".part")
    draft.write_text(json.dumps(summary, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    draft.replace(file)

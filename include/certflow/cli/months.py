"""Commands of the month: take in, prepare, approve, send."""

from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from certflow.cli.show import AsJson, By, Desk, InMonth, as_json, complain, desk, say, table
from certflow.errors import CertflowError, Conflict, DigestMismatch
from certflow.month import Month

if TYPE_CHECKING:
    from certflow.registry.packages import Batch

app = typer.Typer()
month_app = typer.Typer(help="一个月的数据：查看、冻结组包、批准、上报。", no_args_is_help=True)
app.add_typer(month_app, name="month")

_Number = Annotated[
    int | None, typer.Option("--batch", min=0, help="批次：0 为当月，n 为第 n 次补报；不写为最近一批。")
]
_STATUS = {"reported": "已报", "nil": "零报", "missing": "未报"}


@app.command()
def intake(
    accounts: Annotated[list[str] | None, typer.Argument(metavar="[账号]…", help="地市账号；不写为全部地市。")] = None,
    *,
    json: AsJson = False,
) -> None:
    """取回各市新报送的文件，审核，并把退回单和回执放回各市的文件夹。可随时重复运行；一个市失败不影响其他市。"""
    from certflow.reference import load_reference

    trouble: dict[str, list[str]] = defaultdict(list)
    with desk() as at:
        cities = load_reference(at.settings).cities
        for account in accounts or sorted(cities):
            if account not in cities:
                raise typer.BadParameter(f"没有账号 {account}，请核对地市表")
            try:
                _take_in(at, account, cities[account].name, json=json)
            except CertflowError as error:  # other cities do not wait for this one
                trouble[str(error)].append(cities[account].name)
    for what, names in trouble.items():
        complain(f"{'、'.join(names)}：{what}")
    if trouble:
        raise typer.Exit(1)


def _take_in(at: Desk, account: str, name: str, *, json: bool) -> None:
    from certflow.checks.run import check_city
    from certflow.intake.pull import pull, reply

    settings, registry, actor = at
    pulled = pull(settings, registry, account, actor)
    try:
        judged = check_city(settings, registry, account, actor)
    except DigestMismatch:  # what could be judged all the same is answered
        reply(settings, registry, account, actor)
        raise
    answered = reply(settings, registry, account, actor)
    if json:
        as_json({"account": account, "pull": asdict(pulled), "check": asdict(judged), "reply": asdict(answered)})
        return
    taken = f"新收 {len(pulled.new)}，重复 {len(pulled.duplicates)}，上传中 {pulled.waiting}"
    taken += f"，未接收 {len(pulled.refused)}" if pulled.refused else ""
    say(f"{name}：{taken}，审核 {len(judged.files)}，答复 {len(answered.answered)}")


@month_app.command("status")
def month_status(month: InMonth, *, json: AsJson = False) -> None:
    """各市报了没有，每个考试有多少行、在哪一步，有哪些数据包。"""
    from certflow.dispatch.month import month_status as look
    from certflow.reports.month import PACKAGES

    with desk() as (settings, registry, _actor):
        found = look(registry, settings, month)
    if json:
        as_json(found)
        return
    table(
        f"{month} {'已冻结' if found['frozen'] else '未冻结'}，待入批 {found['waiting_for_batch']} 行",
        ("账号", "地市", "状态", "份数", "各考试"),
        [
            (one["account"], one["city"], _STATUS[one["status"]], one["submissions"], _exams(one["exams"]))
            for one in found["cities"]
        ],
    )
    for batch in found["batches"]:
        table(
            f"{batch['folder']}",
            ("编号", "数据包", "行", "照片", "状态"),
            [(one["id"], one["file"], one["rows"], one["photos"], PACKAGES[one["state"]]) for one in batch["packages"]],
        )


@month_app.command("prepare")
def month_prepare(month: InMonth, *, number: _Number = None, json: AsJson = False) -> None:
    """冻结一个月（或其后的补报）并按考试组包；可重复运行，结果相同。"""
    from certflow.checks.package import package_judge
    from certflow.dispatch.assemble import assemble
    from certflow.dispatch.freeze import freeze
    from certflow.dispatch.month import reporting
    from certflow.dispatch.papers import write_package_forms

    with desk() as (settings, registry, actor):
        batch = freeze(registry, month, actor, number=number)
        judge = package_judge(settings)
        built = {exam: assemble(settings, registry, batch.id, exam, actor, judge=judge) for exam in sorted(batch.exams)}
        for package in (one for ids in built.values() for one in ids):
            write_package_forms(settings, registry, package, actor)
        missing = [city.city for city in reporting(settings, registry, month) if city.status == "missing"]
    if json:
        as_json(
            {
                "month": str(month),
                "batch": batch.number,
                "batch_id": batch.id,
                "rows": batch.exams,
                "packages": built,
                "missing": missing,
            }
        )
        return
    say(f"{month} 批次 {batch.number}：{batch.rows} 行，{sum(map(len, built.values()))} 个数据包")
    for exam, ids in built.items():
        say(f"    {exam}：{batch.exams[exam]} 行 → 数据包 {'、'.join(map(str, ids))}")
    if missing:
        say(f"未报：{'、'.join(missing)}")


@month_app.command("approve")
def month_approve(
    month: InMonth,
    *,
    by: By,
    number: _Number = None,
    reason: Annotated[str, typer.Option(help="批准时的说明。")] = "",
) -> None:
    """批准一批数据包上报。批准的是这一组数据包的内容；内容变了须重新批准。"""
    from certflow.dispatch.approve import approve, gate

    with desk() as at:
        batch = batch_of(at, month, number)
        digest = approve(at.registry, batch.id, by, at.actor, reason=reason, settings=at.settings)
        done = gate(at.settings, at.registry, batch.id).approved_by is not None
    say(f"{batch.folder} 已由 {by} {'批准' if done else '经办，等待另一人复核'}（{digest[:12]}）")


@month_app.command("reject")
def month_reject(
    month: InMonth,
    *,
    by: By,
    reason: Annotated[str, typer.Option(help="退回的原因。")],
    number: _Number = None,
) -> None:
    """退回一批数据包：其中的行回到已受理，改好后重新组包。"""
    from certflow.dispatch.approve import reject

    with desk() as at:
        batch = batch_of(at, month, number)
        reject(at.registry, batch.id, by, reason, at.actor)
    say(f"{batch.folder} 已由 {by} 退回")


@month_app.command("show")
def month_show(month: InMonth, *, number: _Number = None, json: AsJson = False) -> None:
    """批准之前看的内容：各考试、各地市与上月和月均的比较，未报、待核、纸质材料，规则集和摘要；不含个人信息。"""
    from certflow.dispatch.dossier import as_markdown, dossier

    with desk() as at:
        found = dossier(at.settings, at.registry, batch_of(at, month, number).id)
    if json:
        as_json(found)
    else:
        say(as_markdown(found))


@month_app.command("reopen")
def month_reopen(month: InMonth, *, by: By, reason: Annotated[str, typer.Option(help="重新开放的原因。")]) -> None:
    """数据包全部退回之后重新开放这个月（最近一批）：迟到的文件还能进来，之后再次 prepare。"""
    from certflow.dispatch.freeze import reopen

    with desk() as at:
        batch = reopen(at.registry, month, by, reason, at.actor)
    say(f"{month} 批次 {batch.number} 已由 {by} 重新开放")


@month_app.command("send")
def month_send(month: InMonth, *, number: _Number = None, json: AsJson = False) -> None:
    """把一批已批准的数据包上报；每个包恰好一次，可重复运行。无法确认是否送达的，退出码为 1，由人核实。"""
    from certflow.dispatch.approve import pass_gate
    from certflow.dispatch.send import send
    from certflow.registry.packages import packages_of
    from certflow.reports.month import PACKAGES

    with desk() as at:
        settings, registry, actor = at
        batch = batch_of(at, month, number)
        gate = pass_gate(settings, registry, batch.id, actor)
        if gate.needs_approval:
            reasons = "；".join(gate.reasons)
            raise Conflict(f"{batch.folder} 须先由人批准（certflow month approve {month} --by 姓名）：{reasons}")
        with registry.read() as conn:
            packages = [one for one in packages_of(conn, batch.id) if one.state != "REJECTED"]
        states = {one.id: send(settings, registry, one.id, actor) for one in packages}
    if json:
        as_json({"month": str(month), "batch": batch.number, "packages": states})
    else:
        if not packages:
            say(f"{batch.folder} 没有数据包")
        for package in packages:
            say(f"{package.file_name}：{PACKAGES[states[package.id]]}")
    if any(state != "SENT" for state in states.values()):
        complain("有数据包无法确认是否送达：请与上级核对后，用 certflow month resolve 记录结果")
        raise typer.Exit(1)


@month_app.command("resolve")
def month_resolve(
    package: Annotated[int, typer.Argument(metavar="数据包编号")],
    *,
    delivered: Annotated[
        bool, typer.Option("--delivered/--not-delivered", help="上级已收到，或没有收到（将重新上报）。")
    ],
    by: By,
    reason: Annotated[str, typer.Option(help="依据，如与何人通话核实。")],
) -> None:
    """记录人对“无法确认是否送达”的数据包的核实结果。"""
    from certflow.dispatch.send import resolve_unknown
    from certflow.reports.month import PACKAGES

    with desk() as (_settings, registry, actor):
        state = resolve_unknown(registry, package, delivered=delivered, by=by, reason=reason, actor=actor)
    say(f"数据包 {package}：{PACKAGES[state]}")


def batch_of(at: Desk, month: Month, number: int | None) -> "Batch":
    """The batch a command names, the newest one without a number; Conflict when there is none."""
    from certflow.registry.packages import batches_of

    with at.registry.read() as conn:
        known = batches_of(conn, str(month))
    if not known:
        raise Conflict(f"{month} 还没有冻结：请先运行 certflow month prepare {month}")
    for batch in known:
        if batch.number == (known[-1].number if number is None else number):
            return batch
    raise Conflict(f"{month} 没有批次 {number}")


def _exams(exams: dict[str, dict[str, int]]) -> str:
    from certflow.reports.month import STATES

    return "；".join(
        f"{exam} {'、'.join(f'{STATES[state]} {counts[state]}' for state in STATES if state in counts)}"
        for exam, counts in exams.items()
    )

"""Commands on what comes back from the authority: fetch, preview, apply, undo, dismiss, what is still owed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from certflow.cli.show import AsJson, By, Desk, as_json, complain, desk, say, table
from certflow.errors import ConfigurationError, TransferError
from certflow.returns.words import BUCKETS, DOUBTS, LEVELS, MEANINGS, STATES
from certflow.settings import Settings

if TYPE_CHECKING:
    from certflow.returns.reconcile import Reconciliation

app = typer.Typer()
returns_app = typer.Typer(help="上级返回的制证数据：取回、对账、入账、撤销、退回、催询。", no_args_is_help=True)
app.add_typer(returns_app, name="returns")

_Id = Annotated[int, typer.Argument(metavar="编号", help="返回文件的编号，见 certflow returns list。")]
_SHOWN = 50


@returns_app.command("fetch")
def returns_fetch(*, json: AsJson = False) -> None:
    """从上级的返回文件夹取回新文件，逐个对账并入账；上次因数据包正在发送而等待的一并处理。"""
    from certflow.returns.answers import write
    from certflow.returns.apply import pending
    from certflow.returns.fetch import fetch

    trouble: TransferError | None = None
    with desk() as at:
        try:
            fetch(at.settings, at.registry, at.actor)
        except TransferError as error:  # what is here waits neither for a server nor for another file
            trouble = error
        found = [_take(at, return_id) for return_id in pending(at.registry)]
        write(at.settings, at.registry)
    for one in found:
        _report(one, json=json)
    if trouble is not None:
        raise trouble
    if not found and not json:
        say("没有新的返回文件")
    _end(found)


@returns_app.command("apply")
def returns_apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True)],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="只看对账结果，不登记、不改动任何内容。")] = False,
    json: AsJson = False,
) -> None:
    """对一个返回文件（CSV、Excel，或装有它们的 zip）对账并入账；同一文件只入账一次，撤销之后可以再次入账。

    证书数据库中的身份信息不会被改动。入账后，各市的退回单和发放清单写入 feedback，随下一次答复送达。
    """
    from certflow.checks.returned import return_judge
    from certflow.returns.apply import receive
    from certflow.returns.reconcile import preview

    with desk() as at:
        if dry_run:
            found = preview(at.settings, at.registry, file, at.actor, judge=return_judge(at.settings))
        else:
            found = _take(at, receive(at.settings, at.registry, file, at.actor))
            _answer(at)
    if dry_run and json:
        as_json(found.as_json() | {"dry_run": True})
    else:
        _report(found, json=json, dry_run=dry_run)
    if not dry_run or found.state not in ("RECONCILED", "APPLIED"):
        _end([found])


@returns_app.command("again")
def returns_again(number: _Id, *, json: AsJson = False) -> None:
    """对已收到的返回文件重新读取、对账并入账：修改读取规则之后，或撤销之后。已入账的不会再次入账。"""
    with desk() as at:
        found = _take(at, number)
        _answer(at)
    _report(found, json=json)
    _end([found])


@returns_app.command("undo")
def returns_undo(
    number: _Id,
    *,
    by: By,
    reason: Annotated[str, typer.Option(help="撤销的原因，写入审计记录。")],
    json: AsJson = False,
) -> None:
    """撤销一次入账：有关的行回到“已上报”，印制记录以冲销记录抵销，一切恢复到入账之前；之后可以再次入账。

    已经发放、交寄，或又有新申报的，不能撤销。已收到清单的地市会收到撤销通知。
    """
    from certflow.returns.undo import undo

    with desk() as at:
        undone = undo(at.registry, number, by=by, reason=reason, actor=at.actor)
        _answer(at)
    if json:
        as_json({"return_id": number, "undo": undone.id, "printed": undone.printed, "refused": undone.refused})
    else:
        say(f"返回文件 {number} 已由 {by} 撤销：已印制 {undone.printed} 行、上级退回 {undone.refused} 行恢复为已上报")


@returns_app.command("dismiss")
def returns_dismiss(
    number: _Id,
    *,
    by: By,
    reason: Annotated[str, typer.Option(help="为何不入账，写入审计记录。")],
    json: AsJson = False,
) -> None:
    """待人工处理的返回文件不入账，退回上级：不是本单位的，或上级另发了更正的文件。不再提醒；仍可用 again 重新对账。"""
    from certflow.returns.undo import dismiss

    with desk() as at:
        dismiss(at.registry, number, by=by, reason=reason, actor=at.actor)
    if json:
        as_json({"return_id": number, "state": "RETURNED"})
    else:
        say(f"返回文件 {number} 已由 {by} 决定不入账，请告知上级")


@returns_app.command("list")
def returns_list(*, json: AsJson = False) -> None:
    """收到过的返回文件及其状态，新的在后。"""
    from certflow.registry.reprints import every

    with desk() as at, at.registry.read() as conn:
        found = every(conn)
    if json:
        for one in found:
            as_json({"return_id": one.id, "file": one.name, "state": one.state, "reason": one.reason})
        return
    table("", ("编号", "文件", "状态", "说明"), [(one.id, one.name, STATES[one.state], one.reason) for one in found])


@returns_app.command("profiles")
def returns_profiles(
    *,
    copy: Annotated[bool, typer.Option("--copy", help="把自带的读取规则复制到自己的文件夹，以便修改。")] = False,
    json: AsJson = False,
) -> None:
    """返回文件的读取规则：文件名、工作表、列、结果词、日期。自己的文件夹中的同名文件优先。"""
    from certflow.returns.profile import copy_shipped, load_profiles, own_folder

    settings = Settings.load()
    written = copy_shipped(settings) if copy else []
    found = load_profiles(settings)
    if json:
        for one in found:
            as_json({"file": one.file, "name": one.name, "own": one.own, "files": one.files})
        return
    for path in written:
        say(f"已复制：{path}")
    say(f"自己的文件夹：{own_folder(settings)}")
    table(
        "",
        ("文件", "名称", "来源", "适用于"),
        [(one.file, one.name, "自己的" if one.own else "自带", "、".join(one.files)) for one in found],
    )


@returns_app.command("missing")
def returns_missing(
    *,
    days: Annotated[int, typer.Option("--days", min=0, help="只列上报已满这么多天的。")] = 0,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE.xlsx", help="另存为随函寄送的名单。")] = None,
    json: AsJson = False,
) -> None:
    """已上报而尚无结果的，按批次、考试、地市和天数；--out 写出可直接打印、随函寄送上级的名单（含个人信息）。"""
    from certflow.returns.ageing import level, missing, write_list

    if out is not None and out.suffix.lower() != ".xlsx":
        raise typer.BadParameter("名单是 Excel 文件，请以 .xlsx 结尾")
    with desk() as (settings, registry, _actor):
        found = missing(registry, days)
        if out is not None:
            try:
                listed = write_list(registry, days, out)
            except OSError as error:
                raise ConfigurationError(f"名单无法写入 {out}：{error.strerror}") from None
    if json:
        for one in found:
            as_json(
                {
                    "package": one.package_id,
                    "month": one.month,
                    "batch": one.batch,
                    "exam": one.exam_code,
                    "account": one.account,
                    "city": one.city,
                    "rows": one.rows,
                    "days": one.age_days,
                    "level": level(settings, one.age_days),
                }
            )
        return
    table(
        "",
        ("数据包", "月份", "批次", "考试", "地市", "行", "天", ""),
        [
            (one.package_id, one.month, one.batch, one.exam_code, one.city, one.rows, one.age_days,
             LEVELS[level(settings, one.age_days)])
            for one in found
        ],
    )  # fmt: skip
    if out is not None:
        say(f"名单 {listed} 行：{out}")


def _take(at: Desk, return_id: int) -> "Reconciliation":
    from certflow.checks.returned import return_judge
    from certflow.returns.apply import apply
    from certflow.returns.reconcile import reconcile

    found = reconcile(at.settings, at.registry, return_id, at.actor, judge=return_judge(at.settings))
    return apply(at.settings, at.registry, return_id, at.actor) if found.state == "RECONCILED" else found


def _answer(at: Desk) -> None:
    from certflow.returns.answers import write

    write(at.settings, at.registry)


def _report(found: "Reconciliation", *, json: bool, dry_run: bool = False) -> None:
    if json:
        as_json(found.as_json())
        return
    reason = f"（{found.reason}）" if found.reason else ""
    if dry_run and found.state != "APPLIED":
        state = "可以入账" if found.state == "RECONCILED" else STATES[found.state]
        say(f"预览 {found.file}：{state}{reason}，没有作任何更改")
    else:
        say(f"返回 {found.return_id}：{STATES[found.state]}{reason}")
    if found.state in ("RECONCILED", "APPLIED"):
        table("", ("", "行", ""), [(BUCKETS[one], count, MEANINGS[one]) for one, count in found.counts.items()])
    for doubt in found.doubts[:_SHOWN]:
        place = f"第 {doubt.part} 个数据文件第 {doubt.row_no} 行" if doubt.part > 1 else f"第 {doubt.row_no} 行"
        say(f"    {place}须由人核实：{DOUBTS[doubt.why]} {doubt.record_id or ''}".rstrip())
    if len(found.doubts) > _SHOWN:
        complain(f"……其余 {len(found.doubts) - _SHOWN} 行请用 --json 查看")


def _end(found: "list[Reconciliation]") -> None:
    if any(one.state != "APPLIED" for one in found):
        raise typer.Exit(1)

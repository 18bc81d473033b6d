"""Commands about how long things are kept, and whose data they are."""

import datetime as dt
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from certflow.cli.show import AsJson, By, as_json, complain, desk, say, table

if TYPE_CHECKING:
    from certflow.reports.person import Found

app = typer.Typer()
retention_app = typer.Typer(
    help="保存期限：各类材料保存多少天，到期的删除并证明已删净。\n\n"
    "期限是设置项，如 CERTFLOW_RETENTION_ORIGINALS=1095（天，0 为长期保存）。只删除已办结、没有待核、没有申诉未决的；"
    "台账、审计链、证书数据库、证明登记簿和签名清单不删。",
    no_args_is_help=True,
)
person_app = typer.Typer(
    help="一个人的个人信息：查在哪里、导出一份、删除可以删除的。\n\n"
    "证件号码在提示之后输入（不显示），或从标准输入读取，不写在命令行上：命令行会留在历史记录和进程列表里。"
    "每次都记入审计：由谁、为何，对象只记密钥摘要。",
    no_args_is_help=True,
)
app.add_typer(retention_app, name="retention")
app.add_typer(person_app, name="person")

_Reason = Annotated[str, typer.Option("--reason", metavar="依据", help="如本人申请的日期和文号，写入审计记录。")]


@retention_app.command("show")
def retention_show(*, json: AsJson = False) -> None:
    """各类材料的保存天数、设置项，和现在到期的数量；不作任何更改。"""
    from certflow.registry.purge import WORDS, plan, setting

    with desk() as (settings, registry, _actor):
        steps = plan(settings, registry, dt.datetime.now(dt.UTC))
    if json:
        as_json([{"kind": one.kind, "days": one.days, "due": one.count, "bytes": one.size} for one in steps])
        return
    table(
        "",
        ("材料", "保存天数", "设置项", "到期", "MB"),
        [(WORDS[one.kind], one.days or "长期", setting(one.kind), one.count, f"{one.size / 1e6:.1f}") for one in steps],
    )


@retention_app.command("purge")
def retention_purge(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="只列出到期的，不删除。")] = False,
    json: AsJson = False,
) -> None:
    """删除到期的材料，清空台账中与之有关的姓名、证件号码、地址，然后搜索整个文件夹，证明已删净。

    每天自动运行，也可随时手动运行；中途被打断，再运行一次即可。删了什么只以数量和摘要记入审计。没有删净时退出码为 1。

    例：certflow retention purge --dry-run
    """
    from certflow.registry.purge import WORDS, plan, purge

    now = dt.datetime.now(dt.UTC)
    with desk() as (settings, registry, actor):
        if dry_run:
            steps, proof = plan(settings, registry, now), None
        else:
            steps, proof = purge(settings, registry, now, actor)
    told = [{"kind": one.kind, "count": one.count, "bytes": one.size} for one in steps if one.count]
    if json:
        as_json({"dry_run": dry_run, "purged": told, "proof": proof and proof.as_json()})
    else:
        if told:
            table(
                "", ("材料", "到期" if dry_run else "已删除"), [(WORDS[str(one["kind"])], one["count"]) for one in told]
            )
        else:
            say("没有到期的材料")
        if proof is not None:
            say(
                f"搜索了 {proof.searched} 个文件：已删除的还剩 {proof.found} 个，"
                f"一小时内又存入的 {proof.waiting} 个；台账中应清空而没有清空的 {sum(proof.columns.values())} 行"
            )
    if proof is not None and not proof.holds:
        complain("没有删净：请再运行一次；仍然如此，请交技术人员")
        raise typer.Exit(1)


@person_app.command("search")
def person_search(*, by: By, reason: _Reason, json: AsJson = False) -> None:
    """这个人的数据在哪些地方，各有多少条；不显示内容。一条也没有时退出码为 1。

    例：certflow person search --by 张主任 --reason 本人申请查询
    """
    from certflow.reports.person import search

    number = _number()
    with desk() as (settings, registry, actor):
        found = search(settings, registry, number, by=by, reason=reason, actor=actor)
    _show(found, json=json)
    if not found:
        complain("没有这个人的任何数据")
        raise typer.Exit(1)


@person_app.command("export")
def person_export(*, by: By, reason: _Reason, json: AsJson = False) -> None:
    """导出这个人的全部数据：一个压缩包，内有 Excel（每处一页）和文件清单，放在受保护的 CERTFLOW_HOME/persons 中。

    核对申请人身份之后当面或加密交付，交付后删除压缩包。

    例：certflow person export --by 张主任 --reason 本人申请复制
    """
    from certflow.reports.person import export

    number = _number()
    with desk() as (settings, registry, actor):
        made = export(settings, registry, number, dt.datetime.now(dt.UTC), by=by, reason=reason, actor=actor)
    if json:
        as_json({"file": str(made)})
    else:
        say(f"已导出：{made}")


@person_app.command("erase")
def person_erase(*, by: By, reason: _Reason, json: AsJson = False) -> None:
    """删除这个人可以删除的数据：报送的原值、核对的内容、照片文件名、上级返回的姓名和证件号码、收件地址，只含本人的原件。

    还有没办结的，不删除，退出码为 1。依法须保存的列出理由；与他人数据同在一个文件里的，保存期限届满时删除。不能撤销。

    例：certflow person erase --by 张主任 --reason 本人申请删除
    """
    from certflow.registry.persons import PLACES
    from certflow.reports.person import erase

    number = _number()
    with desk() as (settings, registry, actor):
        made = erase(settings, registry, number, dt.datetime.now(dt.UTC), by=by, reason=reason, actor=actor)
    if json:
        kept = [{"place": one.place.name, "lines": len(one.lines), "reason": one.place.kept} for one in made.kept]
        as_json({"erased": made.done, "kept": kept})
        return
    words = {one.name: one.word for one in PLACES}
    for name, many in made.done.items():
        say(f"已删除 {words[name]}：{many} 条")
    if not made.done:
        say("没有可以删除的")
    _show(made.kept, json=False)


def _number() -> str:
    """The document number, never from the command line."""
    number = typer.prompt("证件号码", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    if not number.strip():
        raise typer.BadParameter("没有输入证件号码")
    return str(number).strip()


def _show(found: "list[Found]", *, json: bool) -> None:
    if json:
        as_json([{"place": one.place.name, "lines": len(one.lines), "kept": one.place.kept} for one in found])
    elif found:
        table(
            "",
            ("数据", "条", "能否删除"),
            [
                (one.place.word, len(one.lines), f"保留：{one.place.kept}" if one.place.kept else "可以")
                for one in found
            ],
        )

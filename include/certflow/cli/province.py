"""Commands on the province's own data: the certificate database, reference tables, one certificate, the invariants."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from certflow.cli.show import AsJson, as_json, complain, desk, progress_bar, say, table
from certflow.errors import ConfigurationError
from certflow.privacy import mask_id, mask_name
from certflow.settings import Settings

app = typer.Typer()
registry_app = typer.Typer(help="证书数据库：装入、查看。", no_args_is_help=True)
reference_app = typer.Typer(help="参考表：考试、地市、证件类别等。", no_args_is_help=True)
app.add_typer(registry_app, name="registry")
app.add_typer(reference_app, name="reference")

_File = Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True)]
_SHOWN = 20


@registry_app.command("load")
def registry_load(
    file: _File,
    *,
    encoding: Annotated[str, typer.Option(help="CSV 的编码：utf-8-sig（有无 BOM 均可）或 gb18030。")] = "utf-8-sig",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="只看与现有数据库的差异，不装入。")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="与 --dry-run 同用：文件是全库导出，另数库中有而文件中没有的。")
    ] = False,
    json: AsJson = False,
) -> None:
    """装入或更新证书数据库（CSV 或 Excel），全库或增量均可；先用 --dry-run 看差异。

    表头：ZSGLH,KSXM,ZJHM,ZJLB,XB,KSDM,KSMC,BKJB,BKZY,CSNY,PZRQ,BMS，可加 ZSBH、DZZS。重复装入同一文件不会改变任何内容；
    有问题的行逐行列出原因，其余照常装入；有被拒绝的行时退出码为 1。
    装入后按规则集 registry 检查数据库本身，只提醒，不拒绝；检查报告（Excel、PDF）写入 reports/registry/。
    """
    from certflow.reports.load import load

    if full and not dry_run:
        raise typer.BadParameter("--full 只与 --dry-run 同用：装入从不删除证书")
    if dry_run:
        _preview_load(file, encoding, full=full, json=json)
        return
    with desk() as (settings, registry, actor), progress_bar() as bar:
        task = bar.add_task("读取", total=None)
        loaded = load(
            settings, registry, actor, file, encoding=encoding, progress=lambda read: bar.update(task, completed=read)
        )
    report, warnings = loaded.report, loaded.warnings
    if json:
        refused = [{"line": line, "reason": reason} for line, reason in report.refused]
        as_json(
            {
                "read": report.read,
                "inserted": report.inserted,
                "updated": report.updated,
                "unchanged": report.unchanged,
                "refused": refused,
                "ignored_columns": report.ignored_columns,
                "warnings": [asdict(one) for one in warnings],
            }
        )
    else:
        say(
            f"读取 {report.read} 行：新增 {report.inserted}，更新 {report.updated}，未变 {report.unchanged}，"
            f"拒绝 {len(report.refused)}"
        )
        if report.ignored_columns:
            say(f"未采用的列：{'、'.join(report.ignored_columns)}")
        for line, reason in report.refused[:_SHOWN]:
            complain(f"第 {line} 行：{reason}")
        if len(report.refused) > _SHOWN:
            complain(f"……其余 {len(report.refused) - _SHOWN} 行请用 --json 查看")
        if warnings:
            table(
                "提醒（已照常装入）",
                ("规则", "条", "说法", "行"),
                [(one.rule, one.count, one.message, _lines(one.lines, one.count)) for one in warnings],
            )
        say(f"检查报告：{loaded.written[-1]}")
    if report.refused:
        raise typer.Exit(1)


def _preview_load(file: Path, encoding: str, *, full: bool, json: bool) -> None:
    from certflow.registry.export import COLUMNS
    from certflow.registry.refresh import preview

    with desk() as (_settings, registry, _actor), progress_bar() as bar:
        task = bar.add_task("读取", total=None)
        found = preview(
            registry, file, encoding=encoding, full=full, progress=lambda read: bar.update(task, completed=read)
        )
    words = {column: word for word, column in COLUMNS.items()}
    if json:
        told = asdict(found)
        del told["samples"]
        as_json(told | {"fields": {words[name]: many for name, many in found.fields.items()}, "dry_run": True})
    else:
        say(
            f"预览，没有作任何更改。读取 {found.read} 行：将新增 {found.inserted}，更新 {found.updated}，"
            f"不变 {found.unchanged}，拒绝 {len(found.refused)}"
        )
        if found.absent is not None:
            say(f"库中有而文件中没有的证书 {found.absent} 条（装入后仍保留）")
        if found.under_way:
            say(f"将更新的证书中有 {found.under_way} 条正在补换，请核对：已受理、已上报的数据不会随之改变，")
            say("待核实的接收时按更正后的值")
        if found.fields:
            table("将改变的列", ("列", "证书"), [(words[name], many) for name, many in found.fields.items()])
            table(
                f"前 {len(found.samples)} 处差异",
                ("行", "列", "库中", "文件中"),
                [(one.line, words[one.field], _masked(one.field, one.ours), _masked(one.field, one.theirs))
                 for one in found.samples],
            )  # fmt: skip
        for line, reason in found.refused[:_SHOWN]:
            complain(f"第 {line} 行：{reason}")
    if found.refused:
        raise typer.Exit(1)


def _masked(field: str, value: str | None) -> str:
    mask = {"name": mask_name, "id_number": mask_id}.get(field, str)
    return mask(value) if value else ""


@registry_app.command("restored")
def registry_restored(
    *,
    by: Annotated[str, typer.Option("--by", metavar="姓名", help="由谁确认；不写则只核对，不作任何更改。")] = "",
    reason: Annotated[str, typer.Option(help="为何恢复了备份，写入审计记录。")] = "",
    json: AsJson = False,
) -> None:
    """数据库恢复备份之后、再次上报之前：核对哪些数据包已经在上级那里、哪些已接收的文件要重新收取。核对无误并确认之前，不能上报。"""
    from certflow.dispatch.restored import accept, compare

    if bool(by) != bool(reason):
        raise typer.BadParameter("确认时 --by 与 --reason 都要写")
    with desk() as (settings, registry, actor):
        found = compare(settings, registry)
        if by:
            found = accept(settings, registry, by=by, reason=reason, actor=actor)
    if json:
        as_json(asdict(found))
        return
    say("数据库恢复过备份" if found.restored else "数据库没有恢复过备份")
    say(f"上级的数据包：台账中有的 {found.known} 个，台账中没有的 {len(found.unknown)} 个")
    for name in found.unknown:
        say(f"    {name}")
    if found.restored:
        say(f"各市已接收的文件：台账中没有的 {len(found.forgotten)} 个")
        for name in found.forgotten:
            say(f"    {name}")
    if by:
        say(f"已由 {by} 确认，可以继续上报")


@registry_app.command("stats")
def registry_stats(*, json: AsJson = False) -> None:
    """证书数据库里有多少证书，按考试和地市。"""
    from certflow.registry.certificates import stats

    with desk() as (_settings, registry, _actor):
        found = stats(registry)
    if json:
        as_json(found)
        return
    say(f"证书 {found['certificates']} 条，无管理号 {found['without_number']} 条，有电子证书 {found['electronic']} 条")
    table("", ("考试代码", "证书"), found["exams"].items())
    table("", ("报名市", "证书"), found["cities"].items())


@reference_app.command("load")
def reference_load(name: Annotated[str, typer.Argument(metavar="TABLE")], file: _File, *, json: AsJson = False) -> None:
    """检查一个参考表并启用为新版本；有一行不对就整表不收，并指出行号和原因。

    TABLE：exams、cities、id_types、level_aliases、name_variants、areas（CSV），rule_sets（TOML）。
    考试表的列：code,name,family,cancelled_levels,levels,first_year,last_year；family 为 normal、ruankao 或 tongxin；
    levels 写成 级别:专业|专业;级别:…（空为不限）；cancelled_levels 用分号隔开，* 为全部取消。
    """
    from certflow.reference import load_table

    version = load_table(Settings.load(), name, file)
    if json:
        as_json({"table": name, "version": version})
    else:
        say(f"{name} 表已启用第 {version} 版")


@app.command()
def trace(
    management_no: Annotated[str, typer.Argument(metavar="管理号")],
    *,
    json: AsJson = False,
    unmasked: Annotated[bool, typer.Option("--unmasked", help="显示完整的姓名和证件号码。")] = False,
) -> None:
    """一本证书的全过程，从地市的文件到领取人签收：核对、组包、上报、返回与撤销、制证、证明、发放、凭证，附摘要。

    例：certflow trace 20100103437000001
    """
    from certflow.cli.story import tell
    from certflow.registry.timeline import timeline
    from certflow.reports.story import mask

    with desk() as (_settings, registry, _actor), registry.read() as conn:
        story = timeline(conn, management_no.strip())
    if story is None:
        complain("证书数据库和台账里都没有这个管理号")
        raise typer.Exit(1)
    if not unmasked:
        mask(story)
    if json:
        as_json(story)
    else:
        tell(story)


@app.command()
def doctor(
    *,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="把每个数据包重新组一遍，须与原来逐字节相同。")] = False,
    older_than: Annotated[float, typer.Option(min=0, metavar="秒", help="不看最近这些秒内的临时文件。")] = 0.0,
    json: AsJson = False,
) -> None:
    """逐条核对不变量（I1–I12）：台账、原件、数据包、审计链。一切完好时退出码为 0。

    有流程正在运行时，用 --older-than 3600 略过它们的临时文件。
    """
    from certflow.dispatch.assemble import rebuild as build_again
    from certflow.registry.doctor import examine

    told = Settings.load()
    if told.database_url is None and not told.home.exists():
        raise ConfigurationError(f"没有 {told.home}，没有什么可以核对：请到数据所在的文件夹运行，或设置 CERTFLOW_HOME")
    with desk() as (settings, registry, _actor):
        again = partial(build_again, settings, registry) if rebuild else None
        found = examine(registry, settings, older_than=older_than, rebuild=again)
    healthy = not any(found.values())
    if json:
        as_json({"ok": healthy, "invariants": found})
    else:
        for invariant, problems in found.items():
            say(f"{invariant:<4} {'完好' if not problems else f'{len(problems)} 个问题'}")
            for problem in problems[:_SHOWN]:
                say(f"     {problem}")
    if not healthy:
        raise typer.Exit(1)


def _lines(lines: list[int], count: int) -> str:
    return "、".join(map(str, lines[:5])) + ("……" if count > len(lines[:5]) else "")

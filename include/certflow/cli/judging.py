"""Commands about submissions that need no server: check them, read and build their names, list the rules."""

from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certflow import naming, vault
from certflow.cli.show import AsJson, InMonth, as_json, complain, desk, parse_month, say, table
from certflow.findings import Outcome
from certflow.settings import Settings

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from certflow.intake.submission import Received
    from certflow.registry.ledger import Registry

app = typer.Typer()
name_app = typer.Typer(help="数据包的名称：读出各部分，或按规则写出。", no_args_is_help=True)
app.add_typer(name_app, name="name")
rules_app = typer.Typer(help="审核规则：全部规则，以及换用另一个规则集会改变什么。")
app.add_typer(rules_app, name="rules")

_VERDICTS = {"accepted": "受理", "partial": "部分受理", "held": "待核", "returned": "退回", "ignored": "忽略"}
_COUNTS = {"accepted": "受理", "held": "待核", "returned": "退回", "proof": "转证明", "ignored": "忽略"}
_SEVERITIES = {"error": "错误", "hold": "待核", "warning": "提醒", "info": "说明"}


@app.command()
def check(
    paths: Annotated[list[str], typer.Argument(metavar="PATH…", help="压缩包，或放着压缩包的文件夹。")],
    *,
    no_registry: Annotated[bool, typer.Option("--no-registry", help="不与证书数据库比对。")] = False,
    json: AsJson = False,
    rows: Annotated[bool, typer.Option("--rows", help="JSON 中加上每一行的结论。")] = False,
    unmasked: Annotated[bool, typer.Option("--unmasked", help="显示完整的姓名和证件号码。")] = False,
) -> None:
    """像省里一样审核报送的压缩包；只看，不记账。

    一次给出的所有文件一起审核：同名的两个压缩包会合成一份，跨文件的重复也会发现。
    CERTFLOW_HOME 里装有证书数据库时与之比对，否则只做不需要数据库的检查并注明。
    退出码：0 全部受理，1 有未受理的，2 用法不对。
    """
    settings = Settings.load()
    files, given = received(paths)
    from certflow.checks.run import check as judge
    from certflow.reference import load_reference

    with _registry(settings, wanted=not no_registry) as registry:
        judged = judge(files, settings, load_reference(settings), registry=registry)
    for one in judged:
        found = one.as_json(rows=rows, unmasked=unmasked)
        first = one.submission.files[0]
        found["file"] = given.get(first.origin or first.path, found["file"])
        if json:
            as_json(found)
        else:
            _show(found)
    if not judged or any(str(one.verdict) != "accepted" for one in judged):
        raise typer.Exit(1)


@rules_app.callback(invoke_without_command=True)
def rules(context: typer.Context, *, json: AsJson = False) -> None:
    """列出全部规则：代码、轻重、依据、说法、处理办法、自哪个规则集起，各规则集用于哪些月份；diff 比较两个规则集。"""
    if context.invoked_subcommand is not None:
        return
    from certflow.checks.suites import load
    from certflow.reference import DATED, load_reference

    settings = Settings.load()
    reference = load_reference(settings)
    found: dict[str, dict[str, str | None]] = {}
    for rule in load(settings):
        found.setdefault(
            rule.code,
            {
                "rule": rule.code,
                "severity": str(rule.severity),
                "scope": str(rule.scope),
                "suite": rule.suite,
                "title": rule.title,
                "message": rule.message,
                "remedy": rule.remedy,
                "clause": rule.clause,
                "since": rule.since,
                "until": rule.until,
            },
        )
    if json:
        for item in found.values():
            as_json(item)
        return
    table(
        "",
        ("代码", "轻重", "说明", "依据", "自"),
        [
            (item["rule"], _SEVERITIES[str(item["severity"])], item["title"], item["clause"], item["since"])
            for item in found.values()
        ],
    )
    for name, one in sorted(reference.rule_sets.items(), key=lambda item: item[1].in_force):
        since = reference.judged_from(name)
        when = "更早的各月" if since is None else f"{since} 起各月"
        if settings.rule_set != DATED:
            when = "用于所有月份" if name == settings.rule_set else "未启用"
        say(f"规则集 {name}（{one.title}，{one.in_force} 施行）：{when}")
    say(f"设置 CERTFLOW_RULE_SET：规则集名称用于所有月份；{DATED} 为各月按当时已施行的规则。现为 {settings.rule_set}")


@rules_app.command("diff")
def rules_diff(
    one: Annotated[str, typer.Argument(metavar="A", help="规则集，如 2020。")],
    other: Annotated[str, typer.Argument(metavar="B", help="另一个规则集，如 2023。")],
    *,
    month: Annotated[str, typer.Option("--month", metavar="YYYYMM", help="用哪个申报年月的真实数据比较。")],
    json: AsJson = False,
) -> None:
    """换用另一个规则集会改变什么：把一个月的每一行按两个规则集各审一遍，列出结论不同的；不写入任何内容。"""
    from certflow.checks.rule_diff import compare

    with desk() as (settings, registry, _actor):
        found = compare(settings, registry, parse_month(month), one, other)
    if json:
        as_json(
            {
                "month": month, "from": one, "to": other, "rows": found.rows,
                "outcomes": {one: _counts(found.before), other: _counts(found.after)},
                "changes": [
                    {
                        "from": str(change.before), "to": str(change.after), "rules": change.rules,
                        "rows": len(change.records), "records": change.records,
                    }
                    for change in found.changes
                ],
            }
        )  # fmt: skip
        return
    table(
        f"{month} 共 {found.rows} 行",
        ("规则集", *_COUNTS.values()),
        [(name, *_counts(counts).values()) for name, counts in ((one, found.before), (other, found.after))],
    )
    for change in found.changes:
        ends = f"{_COUNTS[change.before]} → {_COUNTS[change.after]}"
        say(f"{ends}（{'、'.join(change.rules)}）：{len(change.records)} 行")
        for record in change.records:
            say(f"    {record}")
    if not found.changes:
        say("没有一行的结论会改变")


def _counts(counts: "Counter[Outcome]") -> dict[str, int]:
    return {name: counts[Outcome(name)] for name in _COUNTS}


@name_app.command("parse")
def name_parse(text: str, *, json: AsJson = False) -> None:
    """读一个文件名：月份、考试、地市、人数，以及宽容了什么。读不出时退出码为 1。"""
    nil = naming.parse_nil(text)
    parsed = naming.parse(text)
    if nil is not None:
        answer: dict[str, Any] = {"kind": "nil", "month": str(nil[0]), "city": nil[1], "fault": "", "notes": []}
    else:
        answer = {"kind": "submission", "fault": parsed.fault, "notes": list(parsed.notes)}
        if parsed.name is not None:
            answer |= asdict(parsed.name) | {"month": str(parsed.name.month), "stem": parsed.name.stem}
    if json:
        as_json(answer)
    elif nil is not None:
        say(f"零报：{nil[0]} {nil[1]}")
    elif parsed.name is not None:
        name = parsed.name
        say(f"月份 {name.month}，考试 {name.exam_code} {name.exam_name}，地市 {name.city}，{name.count} 人")
        say(f"规范写法：{name.stem}")
        if parsed.notes:
            say(f"宽容之处：{'、'.join(_NOTES[note] for note in parsed.notes)}")
    else:
        complain(_NAME_FAULTS[parsed.fault])
    if nil is None and parsed.name is None:
        raise typer.Exit(1)


@name_app.command("build")
def name_build(
    month: InMonth,
    exam_code: Annotated[str, typer.Argument(metavar="考试代码")],
    exam_name: Annotated[str, typer.Argument(metavar="考试名称")],
    city: Annotated[str, typer.Argument(metavar="地市")],
    count: Annotated[int, typer.Argument(metavar="人数", min=0)],
) -> None:
    """按规则写出名称（不含扩展名）：申报年月-考试代码-考试名称(证书补换印制信息)数据(地市)(人数人)。"""
    try:
        name = naming.PackageName(month, exam_code, naming.fold(exam_name), naming.fold(city), count)
    except ValueError:
        raise typer.BadParameter("考试代码只能是字母和数字；考试名称和地市不能为空，括号要成对") from None
    if set("/\\") & set(name.stem):
        raise typer.BadParameter("考试名称和地市要写进文件名，不能含有 / 和 \\")
    say(name.stem)


_NOTES = {
    "brackets": "全角括号",
    "dash": "其他连字符",
    "blanks": "空格",
    "width": "全角字符",
    "copy-suffix": "副本字样",
    "count-style": "人数写法",
    "composed": "兼容字符",
    "slip": "更正后的退回单",
}
_NAME_FAULTS = {
    "NAME-FORM": "名称不合规则：应为 申报年月-考试代码-考试名称(证书补换印制信息)数据(地市)(人数人)",
    "NAME-MONTH": "名称中的申报年月不存在：应为六位数字 YYYYMM",
}


def received(paths: list[str]) -> "tuple[list[Received], dict[Path, str]]":
    """Every file named, or lying directly in a folder that is named; and each as it was given."""
    from certflow.intake.submission import Received

    files: list[Received] = []
    given: dict[Path, str] = {}
    for text in paths:
        path = Path(text)
        if path.is_dir():
            members = sorted(member for member in path.iterdir() if member.is_file())
        elif path.is_file():
            members = [path]
        else:
            raise typer.BadParameter(f"没有这个文件：{text}")
        for member in members:
            given[member] = text if member is path else str(member)
            files.append(Received(member, member.name, vault.sha256(member), vault.size(member)))
    if not files:
        raise typer.BadParameter("文件夹里没有文件")
    return files, given


@contextmanager
def _registry(settings: Settings, *, wanted: bool) -> "Iterator[Registry | None]":
    """The home's registry where there is one; a city's PC has none, nor the means for one."""
    if not wanted or (settings.database_url is None and not settings.path("postgres").is_dir()):
        yield None
        return
    from certflow.registry import open_registry

    registry = open_registry(settings)
    try:
        yield registry
    finally:
        registry.close()


def _show(found: dict[str, Any]) -> None:
    counts = found["rows"]
    subject = " ".join(found[key] or "—" for key in ("month", "exam", "city"))
    parts = "，".join(f"{word} {counts[key]}" for key, word in _COUNTS.items())
    say(f"{_VERDICTS[found['verdict']]}  {found['file']}")
    if counts["total"] or found["month"]:
        say(f"    {subject}：共 {counts['total']} 行，{parts}")
    for finding in found["findings"]:
        place = f"第 {finding['row']} 行 " if finding["row"] is not None else ""
        say(f"    {_SEVERITIES[finding['severity']]} {finding['rule']} {place}{finding['message']}")

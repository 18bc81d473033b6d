"""Commands about what waits for a person: look at the queue, decide."""

from typing import Annotated, Any

import typer

from certflow.cli.show import AsJson, By, as_json, desk, parse_month, say
from certflow.reference import Reference

app = typer.Typer()
holds_app = typer.Typer(help="待人工确认的数据行、文件和照片：查看、决定。", no_args_is_help=True)
app.add_typer(holds_app, name="holds")


@holds_app.command("list")
def holds_list(
    *,
    city: Annotated[str | None, typer.Option(help="只看一个地市（名称或账号）。")] = None,
    exam: Annotated[str | None, typer.Option(help="只看一个考试代码。")] = None,
    month: Annotated[str | None, typer.Option(metavar="YYYYMM", help="只看一个申报年月。")] = None,
    rule: Annotated[str | None, typer.Option(help="只看被一条规则拦下的，如 DB-NAME-VARIANT。")] = None,
    unmasked: Annotated[bool, typer.Option("--unmasked", help="显示完整的姓名和证件号码。")] = False,
    json: AsJson = False,
) -> None:
    """列出待确认的：等了多久、被哪条规则拦下、市报的值和证书数据库的值、照片在哪里看。等得最久的在前。"""
    from certflow.checks.holds import queue, shown
    from certflow.reference import load_reference

    with desk() as (settings, registry, _actor):
        reference = load_reference(settings)
        account = _account(reference, city)
        when = None if month is None else str(parse_month(month))
        found = queue(registry, account=account, exam_code=exam, month=when, rule=rule)
        lines = [shown(settings, one, unmasked=unmasked) for one in found]
    for line in lines:
        if json:
            as_json(line)
        else:
            _show(line, reference)
    if not json:
        say(f"共 {len(lines)} 项待确认" if lines else "没有待确认的数据")


@holds_app.command("decide")
def holds_decide(
    words: Annotated[
        list[str],
        typer.Argument(metavar="RECORD… accept|return|proof|judge", help="一个或多个编号，最后写决定。"),
    ],
    *,
    by: By,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="原因：写入审计记录，退回时也告知该市。")],
    name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="judge 时：文件本应使用的名称（不含扩展名）。")
    ] = None,
    photo: Annotated[
        str | None, typer.Option(metavar="F000012-0007", help="accept 时：一行有几张照片的，用哪一张。")
    ] = None,
    json: AsJson = False,
) -> None:
    """对待确认的作出决定，记下由谁、为什么；同一次的几项要么全部生效，要么都不生效。

    数据行：accept 接收（进入当月；已冻结的进入下一次补报），return 退回该市（随下次答复发出退回单），
    proof 转开职/执业资格证明（仅限已取消的考试）。接收更正的一行，该市本月尚未组包的原来一行随即撤下。
    文件：judge 受理其中没有其他问题的行，名称有误的用 --as 写明正确名称；return 整个退回。
    照片（没有对应数据行的）：return。
    """
    from certflow.checks.holds import Decision, decide

    if len(words) < 2:
        raise typer.BadParameter("先写编号，最后写决定：certflow holds decide 编号… accept|return|proof|judge")
    *records, what = words
    with desk() as (settings, registry, actor):
        done = decide(settings, registry, records, Decision(what, by, reason, name, photo), actor)
    for one in done:
        if json:
            as_json({"record": one.record, "kind": one.kind, "decision": what, "by": by, "rules": list(one.rules)})
        else:
            say(f"{one.record}：{by} 决定 {what}（{'、'.join(one.rules) or '随文件'}）")


@holds_app.command("photo")
def holds_photo(
    record: Annotated[str, typer.Argument(metavar="RECORD", help="照片正确的那一行的编号。")],
    *,
    by: By,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="原因：写入审计记录。")],
) -> None:
    """同一人在同一月份、同一考试有几行已受理而照片不同，组不了包时：都改用这一行的照片。"""
    from certflow.checks.holds import share_photo

    with desk() as (_settings, registry, actor):
        share_photo(registry, record, by=by, reason=reason, actor=actor)
    say(f"{record}：{by} 选定这一行的照片，请重新组包")


def _account(reference: Reference, city: str | None) -> str | None:
    if city is None or city in reference.cities:
        return city
    named = reference.city_named(city)
    if named is None or named.historic:
        raise typer.BadParameter(f"没有这个地市：{city}")
    return named.account


def _show(line: dict[str, Any], reference: Reference) -> None:
    city = reference.cities[line["account"]].name if line["account"] in reference.cities else line["account"]
    place = {
        "row": f"第 {line['row']} 行",
        "file": f"整个文件，{line['rows']} 行随之等待",
        "photo": "照片，无对应数据行",
    }
    late = "，已超期" if line["age_days"] > line["limit_days"] else ""
    age = f"已等 {line['age_days']} 天（限 {line['limit_days']} 天{late}）"
    subject = f"{city} {line['month'] or '月份未定'} {line['exam'] or '考试未定'}"
    say(f"{line['record']}  {subject}  {place[line['kind']]}  {age}")
    for one in line["evidence"]:
        say(f"    {one['rule']}  {one['message']}" + (f"（照片 {one['photo']}）" if one["photo"] else ""))
        if one["sent"] or one["registry"]:
            say(f"        市报：{one['sent'] or '（空）'}    证书数据库：{one['registry'] or '—'}")
    if not line["evidence"]:
        say("    本行无问题，等待同一文件的其他行更正")
    if line["photo"]:
        say(f"    照片：{line['photo']}")
    say(f"    可决定：{' | '.join(line['choices'])}")

"""Commands about how the work went: month report, scorecards, appeals, quality history, alerts."""

import datetime as dt
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from certflow.cli.show import AsJson, By, InMonth, as_json, desk, say, table
from certflow.month import SHANGHAI

app = typer.Typer()
report_app = typer.Typer(help="月报、评分表、排名、质量历史、年度考评材料。", no_args_is_help=True)
appeal_app = typer.Typer(help="地市对差错的申诉：登记、判定、查看。", no_args_is_help=True)
alerts_app = typer.Typer(help="逾期提醒：谁该做什么而没有做；送给登记的人，可以静默到某一天。", no_args_is_help=True)
app.add_typer(report_app, name="report")
app.add_typer(appeal_app, name="appeal")
app.add_typer(alerts_app, name="alerts")

Period = Annotated[str, typer.Argument(metavar="YYYYMM|YYYY", help="申报年月或年份，如 202005、2020。")]
Reason = Annotated[str, typer.Option("--reason", metavar="理由", help="写入记录，日后可查。")]


@report_app.command("month")
def report_month(month: InMonth) -> None:
    """写出一个月的月报（网页、PDF、Excel）：各市报送、处理、数据包、未返回、变化。可随时重写。"""
    from certflow.reports import month as room

    with desk() as at:
        for path in room.write(at.settings, at.registry, month):
            say(str(path))


@report_app.command("city")
def report_city(
    period: Period,
    accounts: Annotated[
        list[str] | None, typer.Argument(metavar="[账号…]", help="不写：所有地市，另加全省排名。")
    ] = None,
    *,
    json: AsJson = False,
) -> None:
    """写出地市评分表（PDF、Excel，含差错明细）；不写账号时为所有地市和全省排名。

    例：certflow report city 2020；certflow report city 202005 370100
    """
    from certflow.reports import scorecard

    with desk() as at:
        if json:
            now = scorecard.standing(at.settings, at.registry, period)
            for one in (*now.cities, now.province):
                if not accounts or one.account in accounts:
                    as_json(one.as_json() | {"version": now.version(one.account)})
            return
        for path in scorecard.write_cards(at.settings, at.registry, period, accounts or ()):
            say(str(path))


@report_app.command("close")
def close(period: Period, *, by: By) -> None:
    """结账：把一个期间的评分固定为一版。以后申诉成立时另出新版，旧版保留；再次结账只记有变化的地市。"""
    from certflow.reports.appeals import close

    with desk() as (settings, registry, actor):
        written = close(settings, registry, period, by=by, actor=actor)
    say(f"{period}：{written} 个地市（含全省）的评分记为新版" if written else f"{period}：评分没有变化，未出新版")


@report_app.command("versions")
def versions(period: Period, *, json: AsJson = False) -> None:
    """一个已结账期间的历次评分：哪一版、为什么、差错件数。"""
    from certflow.registry import appeals

    with desk() as at, at.registry.read() as conn:
        found = appeals.kept(conn, period)
    if json:
        for one in found:
            as_json(asdict(one))
        return
    table(
        "",
        ("账号", "地市", "版", "差错件", "申请件", "名次", "原因", "经办", "时间"),
        [
            (one.account or "—", one.figures["city"], one.version, one.figures["faulty"], one.figures["requests"],
             one.figures["rank"] or "—", one.cause, one.by, f"{one.at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}")
            for one in found
        ],
    )  # fmt: skip


@report_app.command("history")
def show_history(
    first: Annotated[str, typer.Argument(metavar="YYYYMM", help="从哪个月。")],
    last: Annotated[str, typer.Argument(metavar="YYYYMM", help="到哪个月。")],
    *,
    rule: Annotated[str, typer.Option("--rule", help="只看一条规则。")] = "",
    by_city: Annotated[bool, typer.Option("--by-city", help="按地市分开。")] = False,
    by_exam: Annotated[bool, typer.Option("--by-exam", help="按考试分开。")] = False,
    json: AsJson = False,
) -> None:
    """每条规则逐月涉及的申请件；↑↓ 标出与此前各月相比明显变化的月份。"""
    from certflow.cli.show import parse_month
    from certflow.reports.history import history

    keys = [name for name, wanted in (("account", by_city), ("exam_code", by_exam)) if wanted]
    with desk() as at:
        found = history(at.registry, str(parse_month(first)), str(parse_month(last)), by=keys)
    found = [one for one in found if not rule or one.rule == rule]
    if json:
        for one in found:
            as_json(asdict(one))
        return
    months = sorted({point.month for one in found for point in one.points})
    signs = {1: "↑", -1: "↓", 0: ""}
    lines = []
    for one in found:
        cells = {point.month: f"{point.count}{signs[point.change]}" for point in one.points}
        lines.append((one.rule, one.account, one.exam_code, *(cells.get(month, "") for month in months)))
    table("", ("规则", "账号", "考试", *months), lines)


@report_app.command("year")
def year(
    which: Annotated[str, typer.Argument(metavar="YYYY", help="年份；须已结账。")],
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="写到哪个文件夹。")] = Path(),
) -> None:
    """年度考评材料：所有地市的评分表和差错明细、排名、申诉、历次版本，签名后装成一个压缩包。"""
    from certflow.reports import yearbook

    with desk() as at:
        say(str(yearbook.write(at.settings, at.registry, which, out, at.actor)))


@appeal_app.command("file")
def file_appeal(
    finding: Annotated[int, typer.Argument(metavar="问题编号", help="见评分表“差错明细”。")], *, by: By, reason: Reason
) -> None:
    """登记一件申诉；一个问题只能申诉一次。"""
    from certflow.reports import appeals

    with desk() as at:
        made = appeals.file_appeal(at.registry, finding, by=by, reason=reason, actor=at.actor)
    say(f"申诉 {made.id}：{made.account} {made.month} {made.rule} {made.record_id}")


@appeal_app.command("decide")
def decide(
    appeal: Annotated[int, typer.Argument(metavar="申诉编号")],
    verdict: Annotated[str, typer.Argument(metavar="upheld|rejected", help="成立、不成立。")],
    *,
    by: By,
    reason: Reason,
) -> None:
    """判定一件申诉。成立的问题不再计入评分，已结账的期间随之出新版。"""
    from certflow.reports import appeals

    if verdict not in {"upheld", "rejected"}:
        raise typer.BadParameter("写 upheld（成立）或 rejected（不成立）")
    with desk() as (settings, registry, actor):
        changed = appeals.decide(
            settings, registry, appeal, upheld=verdict == "upheld", by=by, reason=reason, actor=actor
        )
    say(
        f"申诉 {appeal} {'成立' if verdict == 'upheld' else '不成立'}"
        + (f"；新版：{'、'.join(changed)}" if changed else "")
    )


@appeal_app.command("list")
def list_appeals(
    *,
    account: Annotated[str, typer.Option("--city", metavar="账号", help="只看一个地市。")] = "",
    undecided: Annotated[bool, typer.Option("--undecided", help="只看还没有判定的。")] = False,
    json: AsJson = False,
) -> None:
    """列出申诉和判定。"""
    from certflow.registry import appeals

    with desk() as at, at.registry.read() as conn:
        found = appeals.all_appeals(conn, account=account, undecided=undecided)
    if json:
        for one in found:
            as_json(asdict(one))
        return
    words = {None: "待判定", True: "成立", False: "不成立"}
    table(
        "",
        ("申诉", "地市", "月份", "规则", "记录", "申诉理由", "判定", "判定人", "判定理由"),
        [
            (one.id, one.account, one.month, one.rule, one.record_id, one.filed_reason, words[one.upheld],
             one.decided_by, one.decided_reason)
            for one in found
        ],
    )  # fmt: skip


@alerts_app.command("list")
def list_alerts(*, json: AsJson = False) -> None:
    """现在有哪些逾期：地市未报、月份未上报、上级未返回、待核实超期；已静默的不列。"""
    from certflow.reports import alerts

    with desk() as at:
        found = alerts.due(at.settings, at.registry, dt.datetime.now(dt.UTC))
    if json:
        for one in found:
            as_json(asdict(one))
        return
    if not found:
        say("没有逾期事项")
        return
    table(
        "", ("收件人", "种类", "对象", "自", "内容"),
        [(one.recipient, one.kind, one.subject, one.since, one.text) for one in found],
    )  # fmt: skip


@alerts_app.command("send")
def send_alerts(
    *, dry_run: Annotated[bool, typer.Option("--dry-run", help="只显示会送给谁、写什么，什么也不送。")] = False
) -> None:
    """写出今天的提醒，送给 recipients.toml 中登记的邮箱和 webhook；每个地址每天一份，没送出的下次再送。"""
    from certflow.reports import alerts, messengers

    now = dt.datetime.now(dt.UTC)
    with desk() as at:
        written = alerts.write(at.settings, alerts.due(at.settings, at.registry, now), now)
        found = messengers.deliver(at.settings, written, now, dry_run=dry_run)
    if not written:
        say("没有逾期事项")
        return
    if dry_run:
        for path in written:
            say(f"—— {path.stem} ——\n{path.read_text(encoding='utf-8')}")
    words = {"sent": "已送出", "before": "今天已送过", "failed": "没有送出", "planned": "会送"}
    table(
        "",
        ("收件人", "方式", "地址", "结果"),
        [(one.recipient, one.way, one.address, " ".join((words[one.state], one.reason)).strip()) for one in found],
    )
    if without := sorted({path.stem for path in written} - {one.recipient for one in found}):
        say(f"没有登记地址，只写成了文件：{'、'.join(without)}")
    if any(one.state == "failed" for one in found):
        raise typer.Exit(1)


@alerts_app.command("silence")
def silence(
    kind: Annotated[str, typer.Argument(metavar="种类", help="alerts list 的第二栏，如 city-missing。")],
    subject: Annotated[str, typer.Argument(metavar="[对象]", help="账号、月份或记录编号；不写：这一种类全部。")] = "",
    *,
    until: Annotated[dt.datetime, typer.Option("--until", formats=["%Y-%m-%d"], help="到哪一天为止（含）。")],
    by: By,
    reason: Reason,
) -> None:
    """让一种提醒安静到某一天，到期自动恢复。"""
    from certflow.reports import alerts

    with desk() as at:
        alerts.silence(at.registry, kind, subject, until=until.date(), by=by, reason=reason, actor=at.actor)
    say(f"{kind} {subject}：静默至 {until:%Y-%m-%d}")

"""Commands about proofs, and the verification service."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from certflow.cli.show import AsJson, By, as_json, complain, desk, say, table, write_new
from certflow.errors import Conflict
from certflow.month import SHANGHAI
from certflow.privacy import mask_name, mask_text
from certflow.settings import Settings

app = typer.Typer()
proofs_app = typer.Typer(help="成绩合格证明、职/执业资格证明：出具、登记、撤销、装订。", no_args_is_help=True)
verify_app = typer.Typer(help="查询验证：证明查验码、各市现场核对服务。", no_args_is_help=True)
operator_app = typer.Typer(help="各市现场核对人员的登录名。", no_args_is_help=True)
app.add_typer(proofs_app, name="proofs")
app.add_typer(verify_app, name="verify")
verify_app.add_typer(operator_app, name="operator")

_Account = Annotated[str, typer.Option("--account", metavar="账号", help="地市账号，如 370100。")]
_Number = Annotated[str, typer.Argument(metavar="编号", help="证明编号，如 鲁人考证〔2020〕成00001号。")]
_STATUS = {"valid": "有效", "ended": "已失效", "revoked": "已撤销"}


@proofs_app.command("run")
def proofs_run(
    accounts: Annotated[list[str] | None, typer.Argument(metavar="[账号]…", help="地市账号；不写为全部地市。")] = None,
    *,
    bind: Annotated[bool, typer.Option("--bundle", help="随后按地市装订成册，供打印盖章。")] = False,
    json: AsJson = False,
) -> None:
    """处理各市已收到的成绩合格证明申请，并为已取消考试的申请开具职/执业资格证明；可随时重复运行。

    结果表放入 feedback，由 certflow intake（或定时流程）送回各市的 回执/。有字无法打印时退出码为 1。
    """
    from certflow.proofs.bundle import bundle
    from certflow.proofs.issue import open_office
    from certflow.proofs.requests import answer_qualifications, answer_requests
    from certflow.reference import load_reference

    left = 0
    with desk() as (settings, registry, actor):
        reference = load_reference(settings)
        office = open_office(settings, registry, actor)
        for account in accounts or sorted(reference.cities):
            if account not in reference.cities:
                raise typer.BadParameter(f"没有账号 {account}，请核对地市表")
            city = reference.cities[account].name
            report = answer_requests(office, reference, account)
            qualified, waiting = answer_qualifications(office, account)
            unprinted = (*report.unprinted, *waiting)
            bound = bundle(office, account, city) if bind else None
            left += len(unprinted)
            if json:
                paper = {"name": bound.name, "file": bound.file, "proofs": bound.proofs} if bound else None
                unable = [asdict(one) for one in unprinted]
                as_json(asdict(report) | {"qualifications": qualified, "unprinted": unable, "bundle": paper})
                continue
            if report.files or report.returned or qualified or unprinted:
                say(
                    f"{city}：申请文件 {len(report.files)}，退回 {len(report.returned)}；"
                    f"成绩合格证明 {report.issued} 份，"
                    f"不予开具 {report.refused} 行；资格证明 {qualified} 份"
                )
            for one in unprinted:
                complain(f"{city}：{one.management_no} 未能开具，{one.reason}")
            if bound:
                say(f"{city}：第 {bound.name} 册，{bound.proofs} 份，{bound.file}")
    if left:
        raise typer.Exit(1)


@proofs_app.command("issue")
def proofs_issue(
    management_no: Annotated[str, typer.Argument(metavar="管理号")],
    *,
    account: _Account,
    purpose: Annotated[str, typer.Option(help="用途，印在证明上。")] = "",
    json: AsJson = False,
) -> None:
    """单独出具一份证明：办理中的补换申请出成绩合格证明，已取消的考试出职/执业资格证明。

    同一申请、同一用途已有证明时给出原来的编号。不符合条件时说明原因，退出码为 1。
    """
    from certflow.proofs.issue import issue_one, open_office

    with desk() as (settings, registry, actor):
        answer = issue_one(open_office(settings, registry, actor), account, management_no.strip(), purpose.strip())
    if json:
        as_json(asdict(answer))
    else:
        say(f"{answer.number}")


@proofs_app.command("list")
def proofs_list(
    *,
    account: Annotated[str | None, typer.Option("--account", metavar="账号", help="只看一个地市。")] = None,
    management_no: Annotated[str | None, typer.Option("--number", metavar="管理号", help="只看一本证书。")] = None,
    json: AsJson = False,
) -> None:
    """证明登记簿，新的在前；姓名和用途、理由中的号码已遮盖。"""
    from certflow.registry.proofs import register

    with desk() as (settings, registry, _actor), registry.read() as conn:
        found = register(conn, account, management_no)
    lines = [
        {
            "number": one.number, "kind": one.kind, "status": one.status(settings.proof_ends), "account": one.account,
            "name": mask_name(one.printed["name"]), "purpose": mask_text(one.purpose),
            "issued_at": one.issued_at.astimezone(SHANGHAI).isoformat(), "handed_out": one.handed_out,
            "issued_by": one.issued_by, "sha256": one.sha256, "bundle": one.bundle,
            "revoke_reason": one.revoke_reason and mask_text(one.revoke_reason),
        }
        for one in found
    ]  # fmt: skip
    if json:
        as_json(lines)
        return
    table(
        f"证明 {len(lines)} 份",
        ("编号", "状态", "账号", "姓名", "用途", "出具", "册"),
        [
            (
                one["number"], _STATUS[str(one["status"])] + ("，已发放" if one["handed_out"] else ""), one["account"],
                one["name"], one["purpose"],
                str(one["issued_at"])[:10], one["bundle"] or "",
            )
            for one in lines
        ],
    )  # fmt: skip


@proofs_app.command("show")
def proofs_show(
    number: _Number, target: Annotated[Path, typer.Argument(metavar="FILE", help="写到哪个 PDF 文件。")]
) -> None:
    """取出一份证明的 PDF；与登记的摘要不符时不给出。"""
    from certflow.proofs.issue import page_of
    from certflow.registry.proofs import by_number

    with desk() as (settings, registry, _actor):
        with registry.read() as conn:
            proof = by_number(conn, number.strip())
        if proof is None:
            raise Conflict("登记簿中没有这个编号")
        page = page_of(settings, proof)
    write_new(target, page)
    say(f"{target}（{_STATUS[proof.status(settings.proof_ends)]}）")


@proofs_app.command("revoke")
def proofs_revoke(
    number: _Number, *, by: By, reason: Annotated[str, typer.Option(help="撤销的原因，留在登记簿和审计记录。")]
) -> None:
    """撤销一份证明：此后查验码显示已撤销；登记仍在，编号不再使用。"""
    from certflow.proofs.issue import revoke

    with desk() as at:
        proof = revoke(at.registry, number, by=by, reason=reason, actor=at.actor)
    say(f"{proof.number} 已由 {by} 撤销")


@proofs_app.command("hand-out")
def proofs_hand_out(
    name: Annotated[str, typer.Argument(metavar="册或编号", help="一册（如 370100-20200601-1），或一份证明的编号。")],
    *,
    by: By,
    json: AsJson = False,
) -> None:
    """登记证明已经发放：交给地市的一册，或本人领走的一份。职/执业资格证明的申请随之办结；可重复登记。

    成绩合格证明不因发放而办结：新证书一到，它自行失效。已撤销和已失效的不计在内。
    """
    from certflow.proofs.bundle import hand_out

    with desk() as at:
        done = hand_out(at.settings, at.registry, name.strip(), by=by, actor=at.actor)
    if json:
        as_json(asdict(done))
    else:
        left_out = f"；已撤销 {done.revoked} 份、已失效 {done.ended} 份，未计" if done.revoked or done.ended else ""
        say(f"{name} 由 {by} 登记发放 {done.proofs} 份，办结申请 {done.closed} 件{left_out}")


@proofs_app.command("template")
def proofs_template(
    name: Annotated[str | None, typer.Argument(metavar="[模板]", help="不写则列出全部模板。")] = None,
) -> None:
    """把一个版式模板复制到 CERTFLOW_HOME/templates 供修改；不用改程序，下一份证明就按新版式。"""
    from certflow import pdf

    if name is None:
        for one in pdf.shipped():
            say(one)
    else:
        say(str(pdf.export_template(Settings.load(), name)))


@verify_app.command("code")
def verify_code(code: Annotated[str, typer.Argument(metavar="查验码")], *, json: AsJson = False) -> None:
    """一份证明的查验码：有效、已失效、已撤销，或查无此码（退出码 1）。"""
    from certflow.verify.proofs import UNKNOWN, check_code

    with desk() as (settings, registry, actor):
        answer = check_code(settings, registry, f"operator:{actor.who}", code)
    if answer is None:
        complain(UNKNOWN)
        raise typer.Exit(1)
    if json:
        as_json(asdict(answer))
    else:
        say(f"{answer.text}：{answer.kind}，{answer.number}，{answer.issued_on}，{answer.name}，{answer.exam}")


@verify_app.command("serve")
def verify_serve(
    *,
    host: Annotated[str, typer.Option(help="监听地址；对外服务请放在带 TLS 的反向代理之后。")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="监听端口。")] = 8090,
) -> None:
    """单独运行查询验证服务：证明查验对外开放，现场核对须登录（certflow verify operator add）。"""
    import uvicorn

    from certflow.verify.app import create_app, own_login

    with desk() as (settings, registry, _actor):
        service = create_app(settings, registry, own_login(settings, registry))
        say(f"http://{host}:{port}/")
        # No access log: the addresses of pages hold codes.
        uvicorn.run(service, host=host, port=port, log_level="warning", access_log=False, server_header=False)


@verify_app.command("log")
def verify_log(account: Annotated[str, typer.Argument(metavar="账号")], *, json: AsJson = False) -> None:
    """一个地市最近的现场核对记录：谁、何时、为何单位、结果。"""
    from certflow.registry.verifications import logged

    with desk() as (_settings, registry, _actor), registry.read() as conn:
        found = logged(conn, account)
    if json:
        as_json([asdict(one) for one in found])
    else:
        table(
            f"{account} 核对 {len(found)} 次",
            ("时间", "方式", "核对人", "用证单位", "事由", "结果"),
            [(one.shown_at, one.way, one.operator, one.requester, one.reason, one.result) for one in found],
        )


@operator_app.command("add")
def operator_add(login: Annotated[str, typer.Argument(metavar="登录名")], *, account: _Account) -> None:
    """新建或重置一个核对人员的登录名；口令只显示这一次。"""
    from certflow.reference import load_reference
    from certflow.verify.operators import add_operator

    settings = Settings.load()
    if account not in load_reference(settings).cities:
        raise typer.BadParameter(f"没有账号 {account}，请核对地市表")
    say(add_operator(settings, login, account))


@operator_app.command("remove")
def operator_remove(login: Annotated[str, typer.Argument(metavar="登录名")]) -> None:
    """取消一个登录名，立即生效。"""
    from certflow.verify.operators import remove_operator

    remove_operator(Settings.load(), login)
    say(f"{login} 已取消")


@operator_app.command("list")
def operator_list() -> None:
    """现有的核对人员和所属地市：本服务自己的登录名，和 logins.toml 中 Airflow 的登录名。"""
    from certflow.logins import FILE, VERIFIER, logins
    from certflow.reference import load_reference
    from certflow.verify.operators import operators

    settings = Settings.load()
    own = [(name, account, "本服务") for name, account in operators(settings).items()]
    theirs = [(one.name, one.account, "Airflow") for one in logins(settings).values() if VERIFIER in one.roles]
    table("", ("登录名", "账号", "登录"), own + theirs)
    if strange := [name for name, account, _ in own + theirs if account not in load_reference(settings).cities]:
        complain(f"地市表中没有这些登录名的账号，它们什么也核对不了：{'、'.join(strange)}（{FILE}）")
        raise typer.Exit(1)

"""Commands about who may log in: into Airflow, the desk and the verification pages alike."""

from typing import Annotated

import typer

from certflow.cli.show import AsJson, as_json, say, table
from certflow.settings import Settings

app = typer.Typer()
logins_app = typer.Typer(help="登录：谁可以登录、有哪些权限（Airflow、工作台、查询验证通用）。", no_args_is_help=True)
app.add_typer(logins_app, name="logins")

_Login = Annotated[str, typer.Argument(metavar="登录名")]


@logins_app.command("add")
def add(
    login: _Login,
    *,
    roles: Annotated[
        list[str],
        typer.Option(
            "--role",
            metavar="权限",
            help="viewer 查看、verifier 核对、operator 经办、approver 审批、auditor 审计、admin 系统管理；可写多次。",
        ),
    ],
    account: Annotated[
        str, typer.Option("--account", metavar="账号", help="只属于一个地市的登录写该市账号；全省的不写。")
    ] = "",
) -> None:
    """登记一个登录，打印口令（只显示这一次）。

    例：certflow logins add liqiang --role operator；certflow logins add wanghong --role viewer --account 370100
    """
    from certflow import logins
    from certflow.reference import load_reference

    settings = Settings.load()
    if account and account not in load_reference(settings).cities:
        raise typer.BadParameter(f"没有账号 {account}")
    say(logins.add(settings, login, roles, account))


@logins_app.command("password")
def password(login: _Login) -> None:
    """重新发放口令并打印（只显示这一次）；用旧口令登录着的立即退出。"""
    from certflow import logins

    say(logins.renew(Settings.load(), login))


@logins_app.command("remove")
def remove(login: _Login) -> None:
    """取消一个登录；正在登录着的立即退出。"""
    from certflow import logins

    logins.remove(Settings.load(), login)
    say(f"{login} 已取消")


@logins_app.command("list")
def list_logins(*, json: AsJson = False) -> None:
    """列出所有登录、权限、所属地市，以及有没有口令。"""
    from certflow import logins, passwords

    settings = Settings.load()
    known = passwords.known(settings)
    found = logins.logins(settings).values()
    if json:
        for one in found:
            as_json(
                {"login": one.name, "roles": sorted(one.roles), "account": one.account, "password": one.name in known}
            )
        return
    table(
        "",
        ("登录名", "权限", "地市账号", "口令"),
        [
            (one.name, "、".join(sorted(one.roles)), one.account or "全省", "有" if one.name in known else "没有")
            for one in found
        ],
    )

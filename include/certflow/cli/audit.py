"""Commands about the audit chain's heads that leave the house."""

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from certflow.cli.show import AsJson, as_json, complain, desk, say, table
from certflow.errors import ConfigurationError
from certflow.settings import Settings

app = typer.Typer()
audit_app = typer.Typer(
    help="审计链头：签名后存到系统之外，整个文件夹恢复到过去也瞒不住。\n\n"
    "把 CERTFLOW_AUDIT_EXPORT 设为另一块磁盘或另一台机器上的文件夹，报表流程每天导出一次；doctor 和上报之前都会核对。",
    no_args_is_help=True,
)
app.add_typer(audit_app, name="audit")

_Folder = Annotated[
    Path | None,
    typer.Argument(metavar="[文件夹]", file_okay=False, help="存放链头的文件夹；不写为 CERTFLOW_AUDIT_EXPORT。"),
]


@audit_app.command("export")
def audit_export(folder: _Folder = None, *, json: AsJson = False) -> None:
    """导出当前的审计链头：序号、摘要、时间和签名，一个文件，不含个人信息。每天自动运行，也可随时手动运行。

    台账与以前导出的链头不符时不导出，退出码为 1：先运行 doctor，弄清是否恢复过备份。

    例：certflow audit export /mnt/审计
    """
    from certflow.registry import anchors

    with desk() as (settings, registry, _actor):
        made = anchors.export(settings, registry, _place(settings, folder), dt.datetime.now(dt.UTC))
    if json:
        as_json({"file": made.file, "seq": made.seq, "hash": made.hash} if made else {"file": None})
    else:
        say(f"已导出第 {made.seq} 条：{made.file}" if made else "还没有审计记录，没有导出")


@audit_app.command("verify")
def audit_verify(folder: _Folder = None, *, json: AsJson = False) -> None:
    """逐个核对导出的链头：签名是否正确，台账里是否还有这一条。有一个不符，或一个也没有，退出码为 1。

    例：certflow audit verify；certflow audit verify /mnt/审计
    """
    from certflow.registry import anchors

    with desk() as (settings, registry, _actor), registry.read() as conn:
        found = anchors.read(settings, _place(settings, folder))
        wrong = {one.file for one in anchors.contradicted(conn, found)}
    lines = [
        (one, one.fault.removeprefix("的") or ("台账中没有这一条" if one.file in wrong else "相符")) for one in found
    ]
    sound = bool(found) and all(said == "相符" for _, said in lines)
    if json:
        as_json({"ok": sound, "heads": [{"file": one.file, "seq": one.seq, "said": said} for one, said in lines]})
    elif found:
        table("", ("文件", "序号", "结论"), [(one.file, one.seq, said) for one, said in lines])
    else:
        complain("文件夹里没有导出的链头")
    if not sound:
        raise typer.Exit(1)


def _place(settings: Settings, folder: Path | None) -> Path:
    place = folder or settings.audit_export
    if place is None:
        raise ConfigurationError("没有说导出到哪里：请写出文件夹，或设置 CERTFLOW_AUDIT_EXPORT")
    return place

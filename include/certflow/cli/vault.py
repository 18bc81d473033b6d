"""Commands about files at rest under a key."""

from pathlib import Path
from typing import Annotated

import typer

from certflow import vault
from certflow.cli.show import AsJson, as_json, complain, desk, progress_bar, say, table
from certflow.settings import Settings

app = typer.Typer()
vault_app = typer.Typer(
    help="工作区的静态加密：有个人信息的文件在磁盘上只有密文（AES-256-GCM），密钥放在 CERTFLOW_HOME 之外。\n\n"
    "设置 CERTFLOW_VAULT_KEY 之后新写的文件就是加密的；以前的文件用 vault seal 加密。"
    "换密钥：新密钥放进 CERTFLOW_VAULT_KEY，原来的放进 CERTFLOW_VAULT_OLD_KEYS，再运行 vault seal。",
    no_args_is_help=True,
)
app.add_typer(vault_app, name="vault")


@vault_app.command("status")
def vault_status(*, json: AsJson = False) -> None:
    """有多少文件是明文、多少在哪把密钥之下；不需要密钥。有明文或旧密钥之下的文件时退出码为 1。

    例：certflow vault status
    """
    from certflow.registry.sealing import DAMAGED, standing
    from certflow.vault import keyring

    settings = Settings.load()
    ring = keyring.ring_of(settings.home)
    current = ring.current.hex() if ring else ""
    found = standing(settings)
    if json:
        lines = [{"key": key, "files": one.files, "bytes": one.size} for key, one in sorted(found.items())]
        as_json({"current": current, "files": lines})
    else:
        words = {current: f"现用密钥 {current[:8]}", "": "明文", DAMAGED: "损坏"}
        table(
            "",
            ("状态", "文件", "MB"),
            [
                (words.get(key, f"其他密钥 {key[:8]}"), one.files, f"{one.size / 1e6:.1f}")
                for key, one in sorted(found.items())
            ],
        )
        if not current:
            say("静态加密没有开启（没有设置 CERTFLOW_VAULT_KEY）")
    if set(found) - {current}:
        raise typer.Exit(1)


@vault_app.command("seal")
def vault_seal(*, json: AsJson = False) -> None:
    """把所有明文文件加密，把旧密钥之下的文件换到现用密钥之下（只改文件头）。

    可以和日常工作同时进行，随时可以中断、再次运行；文件的日期不变。加密之后逐个回读核对，再替换原文件。

    例：certflow vault seal
    """
    from certflow.registry.sealing import seal_all

    with desk() as (settings, registry, actor), progress_bar() as bar:
        task = bar.add_task("加密", total=None)
        done = seal_all(settings, registry, actor, progress=lambda at, of: bar.update(task, completed=at, total=of))
    if json:
        as_json({"sealed": done.sealed, "kept": done.kept, "broken": len(done.broken)})
    else:
        say(f"已加密或换到现用密钥之下 {done.sealed} 个文件，原来就是的 {done.kept} 个")
    for line in done.broken:
        complain(line)
    if done.broken:
        raise typer.Exit(1)


@vault_app.command("copy")
def vault_copy(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="CERTFLOW_HOME 中的文件。")],
    *,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="放到哪个文件夹（CERTFLOW_HOME 之外）。")],
) -> None:
    """取出文件的明文副本，供打印、寄送、交给本人；不覆盖已有的文件。用完请删除副本。

    例：certflow vault copy var/forms/202005/*.pdf --to /tmp/打印
    """
    home = Settings.load().home.resolve()
    if to.resolve().is_relative_to(home):
        raise typer.BadParameter("副本须放在 CERTFLOW_HOME 之外")
    if lost := [path for path in files if not path.is_file()]:
        raise typer.BadParameter(f"没有这个文件：{lost[0]}")
    to.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in files:
        target = to / path.name
        if target.exists():
            raise typer.BadParameter(f"目标文件已存在：{target}")
        draft = target.with_name(f"{target.name}.part")
        try:
            with vault.reader(path) as source, vault.create(draft) as stream:
                while block := source.read(1 << 20):
                    stream.write(block)
                vault.finish(stream)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        say(str(target))

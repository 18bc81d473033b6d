"""Commands that start and stop whole set-ups: Airflow with its pages, and the synthetic month."""

from pathlib import Path
from typing import Annotated

import typer

from certflow.cli.show import parse_month, say
from certflow.month import Month
from certflow.settings import Settings

app = typer.Typer()
demo_app = typer.Typer(help="合成的一个月：没有真人，答案已知。", no_args_is_help=True)
app.add_typer(demo_app, name="demo")

_MAY_2020 = Month(2020, 5)
_Rows = Annotated[int, typer.Option(min=1, help="证书数据库的行数。")]
_Seed = Annotated[int, typer.Option(help="随机种子；同一种子得到同样的数据包。")]


@app.command()
def up(*, port: Annotated[int | None, typer.Option(min=1024, max=65_535, help="网页端口。")] = None) -> None:
    """启动 Airflow（含网页）和内置的数据库、SFTP；打印网址和登录口令。再次运行只报告现状。"""
    from certflow import stack
    from certflow.airflow_home import PORT

    pages = stack.up(Settings.load(), port=PORT if port is None else port, say=say)
    say(
        f"{pages.url}  用户 {pages.login}  口令 {pages.password}"
        if pages.password
        else f"{pages.url}  用各自的登录进入"
    )


@app.command()
def down() -> None:
    """停止 up 启动的一切。"""
    from certflow import stack

    stack.down(Settings.load(), say=say)


@demo_app.command("run")
def demo_run(*, rows: _Rows = 20_000, seed: _Seed = 2020) -> None:
    """在 CERTFLOW_HOME/demo 里从头到尾走完合成的一个月：16 市报送、审核、组包、上报、返回对账。

    每次先清空该文件夹。埋下的错误全部按规则找出、没有误报、不变量完好，退出码才为 0。
    """
    from certflow.demo.run import run_demo

    raise typer.Exit(run_demo(Settings.load(), rows, seed))


@demo_app.command("generate")
def demo_generate(
    target: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", file_okay=False, help="空的或尚不存在的文件夹；默认在 CERTFLOW_HOME 里。"),
    ] = None,
    *,
    rows: _Rows = 20_000,
    seed: _Seed = 2020,
    month: Annotated[Month, typer.Option(metavar="YYYYMM", help="申报年月。", parser=parse_month)] = _MAY_2020,
    labels: Annotated[
        bool, typer.Option("--labels", help="逐行带标签的大样本：--rows 为申报行数，答案写入 labels.jsonl。")
    ] = False,
) -> None:
    """只生成合成数据：证书数据库 registry.csv、各市的报送 cities/、答案 answers.json（或 labels.jsonl）。"""
    from certflow.demo import labelled
    from certflow.demo.province import generate

    target = target or Settings.load().home / ("labelled" if labels else "province")
    if target.exists() and any(target.iterdir()):
        raise typer.BadParameter(f"目标文件夹不是空的：{target}")
    try:
        if labels:
            made = labelled.generate(target, rows, seed, month)
            say(f"{target}：{made.rows} 行，{made.photos} 张照片；错误 {made.kinds} 种，正常情形 {made.sound_kinds} 种")
            return
        province = generate(target, rows, seed, month)
    except ValueError as error:
        raise typer.BadParameter(f"无法生成：{error}") from None
    say(f"{target}：{len(province.accounts)} 市，{len(province.drops)} 个文件")

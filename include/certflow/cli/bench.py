"""Commands that measure the program itself: what it finds, misses and wrongly refuses, and how fast it is."""

import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from certflow.cli.show import AsJson, as_json, say, table
from certflow.settings import Settings

app = typer.Typer()
bench_app = typer.Typer(help="衡量程序自身：查得准不准，跑得快不快。", no_args_is_help=True)
app.add_typer(bench_app, name="bench")

_SHOWN = 20


class Measured(StrEnum):
    """What is measured beside the usual spelling and the limit of the machine: ``tests/bench/bench_….py``."""

    STAGES = "stages"
    MONTH = "month"
    REGISTRY = "registry"
    RETURNS = "returns"
    AIRFLOW = "airflow"
    INTAKE = "intake"
    DESK = "desk"


@bench_app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def speed(context: typer.Context, what: Annotated[Measured, typer.Argument(help="量哪一项。")]) -> None:
    """与通常写法、与本机极限并排，量各环节、整月、证书库、返回、Airflow、收取、网页的快慢。

    在源代码文件夹里运行；其余选项原样交给 tests/bench 里的程序，例如 speed stages --only photo,zip；--help 放在两个
    减号之后：speed stages -- --help。结果留在 CERTFLOW_HOME/bench。
    """
    from certflow.airflow_home import checkout

    script = checkout() / "tests" / "bench" / f"bench_{what.value}.py"
    done = subprocess.run([sys.executable, str(script), *context.args], check=False)  # noqa: S603 (our own script)
    raise typer.Exit(done.returncode)


@bench_app.command()
def checks(
    province: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]", exists=True, file_okay=False, help="demo generate --labels 生成的文件夹；不给就现场生成。"
        ),
    ] = None,
    *,
    rows: Annotated[int, typer.Option(min=1, help="现场生成时的申报行数。")] = 50_000,
    seed: Annotated[int, typer.Option(help="现场生成时的随机种子。")] = 2020,
    json: AsJson = False,
) -> None:
    """用答案已知的合成省份衡量审核规则：每条规则植入、查出、漏检、误报各多少。

    走的是与 check 相同的审核；用自己的临时证书数据库，不碰现有数据。没有漏检也没有误报，退出码才为 0。
    """
    from certflow.demo.bench_checks import bench

    try:
        result = bench(Settings.load(), province, rows, seed)
    except ValueError as error:
        raise typer.BadParameter(f"无法生成：{error}") from None
    told = result.confusion
    if json:
        as_json(result.as_json())
    else:
        table(
            "规则",
            ("代码", "植入", "查出", "漏检", "误报", "查准率", "查全率"),
            [
                (code, one.planted, one.found, one.missed, one.false_alarms, _share(one.precision), _share(one.recall))
                for code, one in sorted(told.rules.items())
            ],
        )
        table(
            "容易被误退的正常情形",
            ("情形", "植入", "通过"),
            [(kind, one.planted, one.met) for kind, one in sorted(told.kinds.items()) if one.sound],
        )
        for title, lines in (("漏检", told.missed), ("误报", told.false_alarms)):
            for line in lines[:_SHOWN]:
                say(f"{title}：{line}")
        defects = [one for one in told.kinds.values() if not one.sound]
        say(
            f"{told.rows} 行；错误 {len(defects)} 种、{sum(one.planted for one in defects)} 处，"
            f"正常 {len(told.kinds) - len(defects)} 种；漏检 {len(told.missed)}，误报 {len(told.false_alarms)}；"
            f"审核用时 {result.seconds:.1f} 秒（CPU {result.cpu_seconds:.1f} 秒）"
        )
        if told.guesses:
            say(f"另有 {told.guesses} 条对画像的估计性提醒（人脸、清晰度等）不计：画出来的人不是人脸。")
    if not told.clean:
        raise typer.Exit(1)


def _share(value: float | None) -> str:
    return "—" if value is None else f"{value:.2%}"

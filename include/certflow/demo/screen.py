"""What `make demo` shows at its end."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from certflow.settings import Settings


def show(
    console: Console,
    summary: Mapping[str, Any],
    counts_by_place: Sequence[tuple[str, str, Counter[str]]],
    names: Mapping[str, str],
    *,
    settings: Settings,
    problems: Sequence[str],
) -> None:
    """Print the table per city and exam, the packages, the returns, the paths, and whatever was not as expected."""
    table = Table(title=f"申报年月 {summary['month']}：各市各考试")
    for heading in ("城市", "考试"):
        table.add_column(heading)
    for heading in ("收到", "受理", "待定", "退回", "转证明", "忽略"):
        table.add_column(heading, justify="right")
    last = ""
    for account, exam, counts in counts_by_place:
        states = (counts["ACCEPTED"], counts["HELD"], counts["RETURNED"], counts["PROOF"], counts["IGNORED"])
        city = names[account] if account != last else ""
        table.add_row(city, exam, *(str(count or "") for count in (counts.total(), *states)))
        last = account
    console.print(table)
    defects, returned = summary["defects"], summary["returns"]
    console.print(
        f"错误：植入 {defects['planted']} 处、{defects['kinds']} 种，查出 {defects['found']} 处，"
        f"漏检 {len(defects['missed'])}，误报 {len(defects['false_alarms'])}"
    )
    for package in summary["packages"]:
        console.print(
            f"数据包：{Path(package['file']).name}  {package['rows']} 行 {package['photos']} 张照片  "
            f"SHA-256 {package['sha256'][:16]}…",
            soft_wrap=True,
        )
    console.print(
        f"返回：已印制 {returned['printed']}，退回 {returned['refused']}，未返回 {returned['missing']}，"
        f"多余 {returned['extra']}，不一致 {returned['changed']}，重复 {returned['duplicate']}"
    )
    delivered = summary["delivery"]
    console.print(
        f"发放（{delivered['city']}）：邮寄 {delivered['mailed']}，签收 {delivered['signed']}，"
        f"退回 {delivered['returned']}，现场领取 1；一本证书从报送到签字的全程：\n"
        f"  CERTFLOW_HOME={settings.home} certflow trace {delivered['handed']}",
        soft_wrap=True,
    )
    for words, path in (
        ("数据包", settings.packages),
        ("退回单和回执（含个人信息）", settings.feedback),
        ("Data Docs", settings.reports / "data-docs" / "index.html"),
        ("月报", settings.reports),
        ("合成数据和答案", settings.path("province")),
        ("总结", settings.path("summary.json")),
    ):
        console.print(f"{words}：{path}", soft_wrap=True)
    if settings.vault_key:
        console.print("数据包、退回单等文件已加密：用 certflow vault copy 取出明文副本再看")
    for problem in problems:
        console.print(f"[red]✗[/] {problem}", soft_wrap=True, markup=True)
    if problems:
        console.print(f"[bold red]有 {len(problems)} 项预期没有达到[/]")
    else:
        console.print(f"[bold green]全部预期达到[/]（{summary['seconds']['total']} 秒）")

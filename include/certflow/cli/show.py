"""How results are shown: JSON for programs, tables for people, and where commands find settings and registry."""

import getpass
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from certflow.month import Month
from certflow.settings import Settings, misspelt

if TYPE_CHECKING:
    from certflow.registry.ledger import Actor, Registry


def parse_month(text: str | Month) -> Month:
    """A month from an argument or a default; wrong usage when it is none."""
    try:
        return Month.parse(str(text))
    except ValueError:
        raise typer.BadParameter("申报年月写成六位数字 YYYYMM，如 202005") from None


def _named(by: str) -> str:
    """Who decides; wrong usage when it is nobody."""
    if not by.strip():
        raise typer.BadParameter("请写明由谁决定")
    return by.strip()


AsJson = Annotated[bool, typer.Option("--json", help="输出 JSON，供程序读取。")]
InMonth = Annotated[
    Month,
    typer.Argument(metavar="YYYYMM", help="申报年月，如 202005。", parser=parse_month),
]
By = Annotated[str, typer.Option("--by", metavar="姓名", help="由谁决定，写入审计记录。", callback=_named)]


class Desk(NamedTuple):
    """What a command works with."""

    settings: Settings
    registry: "Registry"
    actor: "Actor"


@contextmanager
def desk() -> Iterator[Desk]:
    """Settings, the open registry and who is acting; starts the embedded database where needed."""
    from certflow.registry import open_registry
    from certflow.registry.ledger import Actor

    settings = Settings.load()
    for told in misspelt():
        complain(told)
    registry = open_registry(settings)
    try:
        yield Desk(settings, registry, Actor(f"cli:{_user()}"))
    finally:
        registry.close()


def as_json(data: object) -> None:
    """One JSON object on one line."""
    typer.echo(json.dumps(data, ensure_ascii=False, default=str))


def say(text: str) -> None:
    """One line of result; square brackets and other signs are shown as they are."""
    typer.echo(text)


def complain(text: str) -> None:
    """One line about what went wrong, on standard error."""
    typer.echo(f"certflow：{text}", err=True)


def write_new(target: Path, content: bytes) -> None:
    """Write a file; wrong usage when one of that name is there already."""
    try:
        with target.open("xb") as stream:
            stream.write(content)
    except FileExistsError:
        raise typer.BadParameter("目标文件已存在") from None


def progress_bar() -> Progress:
    """For work that takes minutes: on standard error, gone when it is done."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def table(title: str, columns: Sequence[str], lines: Iterable[Sequence[Any]]) -> None:
    """A table on standard output; when that is no terminal, nothing is cut off."""
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    grid = Table(title=title or None, title_justify="left")
    for column in columns:
        grid.add_column(column, overflow="fold")
    for line in lines:
        grid.add_row(*(value if isinstance(value, Text) else Text(str(value)) for value in line))
    console.print(grid)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a number without a name: containers
        return "?"

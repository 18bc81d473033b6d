"""What Typer says by itself, in Chinese: the titles of its help, and what is wrong with a command line.

Its own words change with its versions; what is not known here is shown as it comes.
"""

import re
from collections.abc import Iterable

from typer import rich_utils
from typer.exceptions import TyperException

TITLES = {
    "ARGUMENTS_PANEL_TITLE": "参数", "OPTIONS_PANEL_TITLE": "选项", "COMMANDS_PANEL_TITLE": "命令",
    "REQUIRED_LONG_STRING": "[必填]", "DEFAULT_STRING": "[默认：{}]",
}  # fmt: skip
"""Typer's own names of them."""

_WRONG: Iterable[tuple[str, str]] = (
    (r"Missing option (.+?)\..*", r"缺少选项 \1"),
    (r"Missing \w+ (.+?)\..*", r"缺少参数 \1"),
    (r"Missing command\.", "请写明命令"),
    (r"No such command (.+?)\..*", r"没有命令 \1"),
    (r"No such option: (\S+) \(Possible options: (.+)\)", r"没有选项 \1（是否 \2）"),
    (r"No such option: (.+)", r"没有选项 \1"),
    (r"Got unexpected extra argument\(s\) \((.+)\)", r"多出的参数：\1"),
    (r"Option (.+) requires .*", r"选项 \1 之后须写明它的值"),
    (r"Option (.+) does not take a value\.", r"选项 \1 没有值"),
    (r"Invalid value for (.+?): \w+ (.+) does not exist\.", r"\1：没有 \2"),
    (r"Invalid value for (.+?): \w+ (.+) is a file\.", r"\1：\2 是文件，须是文件夹"),
    (r"Invalid value for (.+?): \w+ (.+) is a directory\.", r"\1：\2 是文件夹，须是文件"),
    (r"Invalid value for (.+?): \w+ (.+) is not (?:read|writ)able\.", r"\1：没有权限读写 \2"),
    (r"Invalid value for (.+?): (.+) is not one of (.+)\.", r"\1：\2 不是 \3 之一"),
    (r"Invalid value for (.+?): .*valid integer.*", r"\1：须是整数"),
    (r"Invalid value for (.+?): .*valid number.*", r"\1：须是数字"),
    (r"Invalid value for (.+?): .*greater than or equal to (\S+)", r"\1：须不小于 \2"),
    (r"Invalid value for (.+?): .*less than or equal to (\S+)", r"\1：须不大于 \2"),
    (r"Invalid value for (.+?): (.+)", r"\1：\2"),
    (r"Invalid value: (.+)", r"\1"),
)


def speak() -> None:
    """The titles of help pages from now on."""
    for name, words in TITLES.items():
        setattr(rich_utils, name, words)


def wrong_usage(error: TyperException) -> str:
    """What is wrong with a command line, and how help is had; "" where help was all that was shown."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        return ""
    said = error.format_message()
    for pattern, words in _WRONG:
        if (match := re.fullmatch(pattern, said, re.DOTALL)) is not None:
            said = match.expand(words)
            break
    return said if context is None else f"{said}。用法：{context.command_path} --help"

"""The command line ``certflow …``: reads arguments, calls one use-case, prints what it says.

Exit codes: 0 done (for `check`: all accepted), 1 not, 2 wrong usage. Messages go to standard error, results to
standard output; with ``--json`` the result is JSON. Never a traceback: an error we did not foresee is named by
its type, and ``CERTFLOW_LOG_LEVEL=DEBUG`` shows the masked traceback.
"""

import logging
import os
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from certflow import __version__
from certflow.cli import (
    audit,
    bench,
    chinese,
    counter,
    delivery,
    holds,
    judging,
    keeping,
    letters,
    logins,
    months,
    papers,
    province,
    reports,
    returns,
    stacks,
    vault,
)
from certflow.cli.show import complain
from certflow.errors import CertflowError
from certflow.naming import readable
from certflow.privacy import install_log_masking, mask_text
from certflow.settings import Settings

app = typer.Typer(
    name="certflow",
    help="证书补换：从各市报送的压缩包，到核对、组包、上报、返回对账。\n\n"
    "所有数据都在 CERTFLOW_HOME（默认 ./var）之下。常用顺序：registry load → check → month prepare → "
    "month approve → month send → returns apply；随时可以运行 doctor。",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for room in (
    judging,
    papers,
    province,
    months,
    returns,
    holds,
    letters,
    logins,
    reports,
    counter,
    delivery,
    audit,
    keeping,
    vault,
    stacks,
    bench,
):
    app.add_typer(room.app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def start(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="显示版本号后退出。", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """What every command begins with."""


def main() -> None:
    """The program's entry."""
    os.umask(0o077)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    chinese.speak()
    debug = False
    try:
        level = Settings.load().log_level.upper()
        debug = level == "DEBUG"
        _log(level)
        sys.exit(app(standalone_mode=False))
    except TyperException as error:
        if said := chinese.wrong_usage(error):
            complain(mask_text(said))
        sys.exit(error.exit_code)
    except typer.Abort:
        complain("已中止")
        sys.exit(1)
    except CertflowError as error:
        complain(str(error))
        sys.exit(1)
    except BrokenPipeError:  # `certflow … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # the last door: a person sees a line, never a traceback
        if isinstance(error, OSError) and isinstance(error.filename, str | bytes):
            # a place that a person named, or a full disk
            complain(f"{mask_text(readable(error.filename))} 不能读写：{error.strerror}")
            sys.exit(1)
        complain(
            f"程序内部错误（{type(error).__name__}）。请用 CERTFLOW_LOG_LEVEL=DEBUG 再运行一次，把输出交给维护人员"
        )
        logging.getLogger("certflow").log(logging.DEBUG if debug else logging.NOTSET, "unforeseen", exc_info=debug)
        sys.exit(1)


def _log(level: str) -> None:
    """Our own lines from `level` on, the libraries' warnings; whatever levels the libraries give themselves."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(lambda record: record.levelno >= logging.WARNING or record.name.partition(".")[0] == "certflow")
    logging.getLogger().addHandler(handler)
    logging.getLogger("certflow").setLevel(level if level in logging.getLevelNamesMapping() else logging.INFO)
    install_log_masking()

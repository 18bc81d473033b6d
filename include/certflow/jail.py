"""Reads one workbook from outside in a child process that may die: limits on memory, CPU, files and time.

One 5 KB workbook aborts its reader's whole process (SIGABRT, no exception), another never ends (E27). The child is
a fresh interpreter with nothing but the standard library and calamine (about 80 ms), sees no environment, no
open file and no file name, and answers in JSON: a hostile file cannot make the parent do anything but read text.

Where the system limits no address space (Windows, macOS), the wall clock, a watch over the child's memory and the
size guards of `certflow.biff` and `certflow.ooxml`, which run before a grid is built, take its place.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certflow.errors import SubmissionError

if TYPE_CHECKING:
    from certflow.settings import Limits

TEXT = 48 << 20
"""Characters of all cells together that one workbook may hold; more is a bomb, not a month."""
_WATCH_SECONDS = 0.05
_TITLE_ROWS = 64
"""Rows a sheet may have above and below its data."""


@dataclass(frozen=True, slots=True)
class Book:
    """What the child answers: the look into the parts and, for each worksheet, its cells.

    `look` is `certflow.book.Look` as plain dictionaries; `grids` is None where the look alone decides, else one
    ``[name, first row, first column, texts, kinds]`` per worksheet (see `certflow.excel.Grid`).
    """

    look: dict[str, Any]
    grids: list[list[Any]]


def read(data: bytes, limits: "Limits") -> Book:
    """Read a workbook in a child; SubmissionError BOOK-* for everything that goes wrong in there."""
    request = json.dumps({
        "memory": limits.jail_memory, "cpu": limits.jail_cpu_seconds, "rows": limits.workbook_rows + _TITLE_ROWS,
        "columns": limits.workbook_columns, "part": limits.workbook_bytes * 4, "text": TEXT,
    })  # fmt: skip
    child = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
        [sys.executable, "-I", "-S", "-c", _CHILD, json.dumps(_import_path())],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment(), cwd=os.sep,
        start_new_session=True,
    )  # fmt: skip
    out = b""
    try:
        with _watched(child, limits.jail_memory):
            out, _ = child.communicate(request.encode() + b"\n" + data, timeout=limits.jail_wall_seconds)
    except subprocess.TimeoutExpired:
        raise SubmissionError("BOOK-LIMIT", f"读取超过 {limits.jail_wall_seconds} 秒") from None
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # the child may be gone before it read everything
                    pipe.close()
    if child.returncode:
        # Killed, aborted (E27: calamine's allocator) or out of processor time; our own faults come as JSON.
        raise SubmissionError("BOOK-LIMIT", "读取时超出内存或时间限制")
    try:
        answer = json.loads(out)
        if "fault" in answer:
            raise SubmissionError(str(answer["fault"]), str(answer["detail"]))
        return Book(answer["look"], answer["grids"])
    except (ValueError, KeyError, TypeError):  # a reader overrun by its file may say anything
        raise SubmissionError("BOOK-DAMAGED", "读取结果无法理解") from None


_CHILD = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from certflow.jail import main; main()"


def _import_path() -> list[str]:
    """Where the child may import from: the same places, but never the current folder."""
    here = str(Path(__file__).resolve().parents[1])
    return [here, *(entry for entry in sys.path if os.path.isabs(entry) and entry != here)]  # noqa: PTH117 (also zips)


def _environment() -> dict[str, str]:
    """Nothing of ours; Windows cannot start a process without SYSTEMROOT."""
    return {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}


def main() -> None:
    """The child: limits first, then one request line and the workbook from stdin, one JSON answer to stdout."""
    stream = sys.stdin.buffer
    request = json.loads(stream.readline())
    _limit(request["memory"], request["cpu"])
    try:
        answer = _answer(stream.read(), request)
    except SubmissionError as error:
        answer = {"fault": error.fault, "detail": error.detail}
    except MemoryError:
        answer = {"fault": "BOOK-LIMIT", "detail": "内存不足"}
    except BaseException as error:  # noqa: BLE001 (E47: any exception type)
        answer = {"fault": "BOOK-DAMAGED", "detail": f"文件内容损坏（{type(error).__name__}）"}
    sys.stdout.buffer.write(json.dumps(answer).encode())
    sys.stdout.buffer.flush()
    os._exit(0)  # no time for taking a large heap apart


def _limit(memory: int, cpu: int) -> None:
    try:
        import resource
    except ImportError:
        return  # Windows: the parent watches
    wanted = {
        "RLIMIT_AS": memory, "RLIMIT_DATA": memory, "RLIMIT_CPU": cpu,
        "RLIMIT_FSIZE": 0, "RLIMIT_CORE": 0, "RLIMIT_NOFILE": 64,
    }  # fmt: skip
    for name, value in wanted.items():
        # macOS knows not all of them; what one system lacks the parent's watch covers.
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (value, value))


def _answer(data: bytes, request: dict[str, Any]) -> dict[str, Any]:
    from dataclasses import asdict

    from certflow import excel

    look = excel.look_into(data, rows=request["rows"], columns=request["columns"], part_bytes=request["part"])
    grids = excel.read_sheets(data)
    if sum(len(text) for grid in grids for row in grid.texts for text in row) > request["text"]:
        raise SubmissionError("BOOK-LIMIT", "文字过多")
    return {
        "look": asdict(look),
        "grids": [[grid.name, grid.first_row, grid.first_column, grid.texts, grid.kinds] for grid in grids],
    }


@contextlib.contextmanager
def _watched(child: subprocess.Popen[bytes], memory: int) -> Any:  # noqa: ANN401 (a generator, by the decorator)
    """Kill the child when it takes more than `memory` bytes, on systems whose limits do not."""
    if sys.platform == "linux":
        yield
        return
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_WATCH_SECONDS):
            if _memory_of(child) > memory:
                child.kill()
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _memory_of(child: subprocess.Popen[bytes]) -> int:
    """Memory of a running child in bytes; 0 when it cannot be asked."""
    if sys.platform != "win32":
        asked = subprocess.run(  # noqa: S603 (fixed words and a number)
            ["/bin/ps", "-o", "rss=", "-p", str(child.pid)], capture_output=True, check=False
        )
        return int(asked.stdout or 0) * 1024
    import ctypes
    from ctypes import wintypes

    class Counters(ctypes.Structure):
        _fields_ = (
            ("cb", wintypes.DWORD),
            ("page_faults", wintypes.DWORD),
            *(
                (name, ctypes.c_size_t)
                for name in ("peak", "working", "qpp", "qp", "qpnp", "qn", "pagefile", "peakpage")
            ),
        )

    counters = Counters()
    counters.cb = ctypes.sizeof(counters)
    handle = int(child._handle)  # noqa: SLF001 (the only way to the handle)
    known = ctypes.windll.kernel32.K32GetProcessMemoryInfo(handle, ctypes.byref(counters), counters.cb)
    return int(counters.pagefile) if known else 0

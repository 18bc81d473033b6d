"""Reads one workbook from outside in a child process that may die: limits on memory, CPU, files and time.

One 5 KB workbook aborts its reader's whole process (SIGABRT, no exception), another never ends (E27). The child is
an interpreter with nothing but the standard library and calamine, sees no environment, no open file and no file
name, and answers in JSON and UTF-8: a hostile file cannot make the parent do anything but read text.

Starting an interpreter takes 80 ms, so on Linux one waits (`_Server`), never looks into a workbook itself, and forks
a child for each: 7 ms. It ends with the process that started it. Elsewhere each child is a fresh interpreter.

Where the system limits no address space (Windows, macOS), the wall clock, a watch over the child's memory and the
size guards of `certflow.biff` and `certflow.ooxml`, which run before a grid is built, take its place.
"""

import atexit
import contextlib
import gc
import io
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certflow.book import Column, Grid
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

    `look` is `certflow.book.Look` as plain dictionaries; one grid per worksheet.
    """

    look: dict[str, Any]
    grids: list[Grid]


def read(data: bytes, limits: "Limits") -> Book:
    """Read a workbook in a child; SubmissionError BOOK-* for everything that goes wrong in there."""
    request = json.dumps({
        "memory": limits.jail_memory, "cpu": limits.jail_cpu_seconds, "rows": limits.workbook_rows + _TITLE_ROWS,
        "columns": limits.workbook_columns, "part": limits.workbook_bytes * 4, "text": TEXT,
        "size": len(data),
    })  # fmt: skip
    ask = _forked if sys.platform == "linux" else _fresh
    try:
        out, ended = ask(request.encode() + b"\n" + data, limits)
    except (subprocess.TimeoutExpired, TimeoutError):
        raise SubmissionError("BOOK-LIMIT", f"读取超过 {limits.jail_wall_seconds} 秒") from None
    if ended:
        # Killed, aborted (E27: calamine's allocator) or out of processor time; our own faults come as JSON.
        raise SubmissionError("BOOK-LIMIT", "读取时超出内存或时间限制")
    try:
        end = out.index(b"\n")
        answer = json.loads(out[:end])
        if "fault" in answer:
            raise SubmissionError(str(answer["fault"]), str(answer["detail"]))
        return Book(answer["look"], _unpacked(answer["grids"], answer["texts"], memoryview(out)[end + 1 :]))
    except (ValueError, KeyError, TypeError, AttributeError):  # a reader overrun by its file may say anything
        raise SubmissionError("BOOK-DAMAGED", "读取结果无法理解") from None


_PATH = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from certflow import jail; "
_MALLOC = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=67108864"
"""Huge pages where the system has them, and the thresholds (bytes) that glibc comes to by itself in a long life."""
_CHILD, _SERVER = _PATH + "jail.main()", _PATH + "jail.serve()"


def _fresh(request: bytes, limits: "Limits") -> tuple[bytes, int]:
    """Ask an interpreter of its own; what it wrote, and how it ended (0: by itself)."""
    child = _start(_CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        with _watched(child, limits.jail_memory):
            out, _ = child.communicate(request, timeout=limits.jail_wall_seconds)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # the child may be gone before it read everything
                    pipe.close()
    return out, child.returncode


def _forked(request: bytes, limits: "Limits") -> tuple[bytes, int]:
    """Ask a fork of a waiting server, as `_fresh`. A server whose child had to be killed dies with it."""
    server = next((idle for idle in iter(_take_idle, None) if idle.process.poll() is None), None) or _Server()
    try:
        answer = server.ask(request, time.monotonic() + limits.jail_wall_seconds)
    except TimeoutError:
        server.kill()
        raise
    except (OSError, struct.error):  # the server itself was killed, for want of memory for one
        server.kill()
        return b"", 1
    except BaseException:
        server.kill()
        raise
    _idle.append(server)
    return answer


class _Server:
    """A waiting interpreter and our end of the line to it; one request at a time."""

    def __init__(self) -> None:
        self.line, far = socket.socketpair()
        with far:
            self.process = _start(_SERVER, str(far.fileno()), pass_fds=(far.fileno(),), stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL)  # fmt: skip
        _servers.add(self)

    def ask(self, request: bytes, deadline: float) -> tuple[bytes, int]:
        """What the child wrote, and how it ended; TimeoutError after `deadline` or when it does not stop writing."""
        (taken, into), (out, given) = os.pipe(), os.pipe()
        with open(into, "wb", buffering=0) as sink, open(out, "rb", buffering=0) as source:  # noqa: PTH123 (pipes)
            try:
                socket.send_fds(self.line, [b"?"], [taken, given])
            finally:
                os.close(taken)
                os.close(given)
            answer = _exchange(sink, source, request, deadline)
        self.line.settimeout(max(deadline - time.monotonic(), 0.001))
        (ended,) = _STATUS.unpack(self.line.recv(_STATUS.size, socket.MSG_WAITALL))
        return answer, ended

    def kill(self) -> None:
        """End the server and its child at once."""
        _servers.discard(self)
        self.line.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


_STATUS = struct.Struct("i")
_ANSWER = 8 * TEXT
"""Bytes of an answer; a child that writes more has been overrun by its file."""
_servers: set[_Server] = set()
_idle: list[_Server] = []


def _take_idle() -> _Server | None:
    try:
        return _idle.pop()
    except IndexError:
        return None


def _exchange(sink: io.FileIO, source: io.FileIO, request: bytes, deadline: float) -> bytes:
    """Write the request and read the answer at the same time; TimeoutError as `_Server.ask`."""
    os.set_blocking(sink.fileno(), False)
    left, answer, size = memoryview(request), list[bytes](), 0
    with selectors.DefaultSelector() as ready:
        ready.register(sink, selectors.EVENT_WRITE)
        ready.register(source, selectors.EVENT_READ)
        while True:
            rest = deadline - time.monotonic()
            if rest <= 0 or size > _ANSWER:
                raise TimeoutError
            for key, _ in ready.select(rest):
                if key.fileobj is source:
                    if not (block := source.read(1 << 16)):
                        return b"".join(answer)
                    answer.append(block)
                    size += len(block)
                    continue
                try:
                    left = left[sink.write(left) or 0 :]
                except BrokenPipeError:  # the child has ended before it read everything
                    left = left[:0]
                if not left:
                    ready.unregister(sink)
                    sink.close()  # the child reads to the end


def serve() -> None:
    """The server: what a child needs is imported once; each child begins its life at `main`."""
    # Imported so that it is there.
    import encodings.utf_16_le  # noqa: F401
    import resource  # noqa: F401

    import python_calamine  # noqa: F401

    from certflow import excel  # noqa: F401

    gc.freeze()
    line = socket.socket(fileno=int(sys.argv[2]))
    while True:
        asked, pipes, *_ = socket.recv_fds(line, 1, 2)
        if not asked:
            os._exit(0)  # whoever started us is gone
        child = os.fork()
        if not child:
            line.close()
            for number, pipe in enumerate(pipes):
                os.dup2(pipe, number)
                os.close(pipe)
            main()
        for pipe in pipes:
            os.close(pipe)
        line.send(_STATUS.pack(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))


def _start(code: str, *words: str, **options: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401 (Popen's own)
    return subprocess.Popen(  # noqa: S603 (our own interpreter and module)
        [sys.executable, "-I", "-S", "-c", code, json.dumps(_import_path()), *words],
        stderr=subprocess.DEVNULL, env=_environment(), cwd=os.sep, start_new_session=True, **options,
    )  # fmt: skip


def _forget() -> None:
    """In a forked process: the servers are the parent's, and must not outlive it because of us."""
    _idle.clear()
    for server in _servers:
        server.line.close()
    _servers.clear()


if sys.platform == "linux":
    os.register_at_fork(after_in_child=_forget)


@atexit.register
def _end() -> None:
    """Servers end with their line; they are waited for, so that nobody finds them afterwards."""
    for server in tuple(_servers):
        server.kill()


def _import_path() -> list[str]:
    """Where the child may import from: the same places, but never the current folder."""
    here = str(Path(__file__).resolve().parents[1])
    return [here, *(entry for entry in sys.path if os.path.isabs(entry) and entry != here)]  # noqa: PTH117 (also zips)


def _environment() -> dict[str, str]:
    """Nothing of ours, but what Windows needs to start a process, and how glibc takes memory: in few large pieces.

    A child lives for one workbook: what it gave back meanwhile would only be faulted in again.
    """
    needed = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    return needed | {"GLIBC_TUNABLES": _MALLOC}


def main() -> None:
    """The child: limits first, then one request line and the workbook from stdin, the answer to stdout.

    The answer is one line of JSON, then the texts of all cells (`_packed`).
    """
    gc.disable()  # tables hold no cycles
    stream = sys.stdin.buffer
    request = json.loads(stream.readline())
    _limit(request["memory"], request["cpu"])
    texts = b""
    try:
        answer, texts = _answer(stream.read(request["size"]), request)
    except SubmissionError as error:
        answer = {"fault": error.fault, "detail": error.detail}
    except MemoryError:
        answer = {"fault": "BOOK-LIMIT", "detail": "内存不足"}
    except BaseException as error:  # noqa: BLE001 (E47: any exception type)
        answer = {"fault": "BOOK-DAMAGED", "detail": f"文件内容损坏（{type(error).__name__}）"}
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.write(texts)
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


def _answer(data: bytes, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    from dataclasses import asdict

    from certflow import excel

    look, grids = excel.read(data, rows=request["rows"], columns=request["columns"], part_bytes=request["part"])
    shapes, texts, numbers = _packed(grids, request["text"])
    return {"look": asdict(look), "grids": shapes, "texts": len(texts)}, texts + numbers


_CODING = ("utf-8", "surrogatepass")
"""Half of a surrogate pair is a text like any other: the rules decide."""
_KINDS = "tndb "
"""Letters of `certflow.book.Column.kinds`."""


def _packed(grids: list[Grid], most: int) -> tuple[list[Any], bytes, bytes]:
    """The grids but their texts; the texts of all their columns one after another, then the numbers of texts."""
    columns = [column for grid in grids for column in grid.columns]
    if sum(column.size for column in columns) > most:
        raise SubmissionError("BOOK-LIMIT", "文字过多")
    shapes = [
        [grid.name, grid.first_row, grid.first_column,
         [[len(column.joined), column.between, column.kinds, len(column.which)] for column in grid.columns]]
        for grid in grids
    ]  # fmt: skip
    texts = "".join([column.joined for column in columns]).encode(*_CODING)
    return shapes, texts, b"".join([column.which for column in columns])


def _unpacked(shapes: list[Any], size: int, packed: memoryview) -> list[Grid]:
    """The grids again, from `size` bytes of texts and the numbers after them.

    ValueError where a column has not as many texts as kinds, a kind or a number nobody knows, or too much text.
    """
    together, numbers = str(packed[:size], *_CODING), bytes(packed[size:])
    at = taken = 0
    grids: list[Grid] = []
    for name, first_row, first_column, lengths in shapes:
        grid = Grid(name, first_row, first_column, [])
        for length, between, kinds, many in lengths:
            column = Column(together[at : at + length], between, kinds, numbers[taken : taken + many])
            texts = column.joined.count(between) + 1
            if (len(column.which) if many else texts) != len(kinds) or kinds.strip(_KINDS):
                raise ValueError
            if max(column.which, default=0) >= texts:
                raise ValueError
            grid.columns.append(column)
            at, taken = at + length, taken + many
        grids.append(grid)
    if sum(column.size for grid in grids for column in grid.columns) > TEXT:
        raise ValueError
    return grids


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

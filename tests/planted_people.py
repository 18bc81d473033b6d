"""People planted where only the work may see them, and everything that might give them away while Airflow runs.

One of each kind of document, and names: a city reports them, tasks fail with them in every way a task can, and then
nothing but the work's own places may know them (F51).
"""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from certflow.identity import check_digit

NAMES = ("欧阳测试", "司马验证")
NUMBERS = {
    "居民身份证": "37010219900307101" + check_digit("37010219900307101"),
    "十五位": "370102900307101",
    "港澳居民来往内地通行证": "H12345678",
    "外国人永久居留身份证": "USA110090010101",
}
PLANTED = {*NAMES, *NUMBERS.values()}

DAG = '''
import datetime as dt
import json
import logging
import subprocess
import sys
import threading
import warnings
from pathlib import Path

from airflow.sdk import dag, task


def people():
    """Not in this source: Airflow keeps a copy of it."""
    return json.loads(Path(__file__).with_name("people.json").read_text())


@dag(dag_id="planted", schedule=None, start_date=dt.datetime(2020, 1, 1))
def planted():
    @task(retries=0)
    def speak():
        import structlog

        name, numbers = people()
        row = {"KSXM": name, "ZJHM": numbers[0]}
        logging.getLogger("somewhere").warning("row %s of %s", row, numbers)
        structlog.get_logger("elsewhere").error("photo", file=numbers[0] + ".jpg", numbers=numbers, row=row)
        warnings.warn("odd: " + " ".join(numbers), stacklevel=1)
        for number in numbers:
            print("printed", number)
            print("complained", number, file=sys.stderr)
        thread = threading.Thread(target=lambda: {}[numbers[0]])
        thread.start()
        thread.join()
        child = "import sys; print('child', sys.stdin.read())"
        subprocess.run([sys.executable, "-c", child], input=" ".join(numbers), text=True, check=True)
        raise ValueError("no certificate for 姓名：" + name + " " + " ".join(numbers))

    @task(retries=0)
    def remember():
        return {"file": people()[1][0] + ".jpg"}

    @task(retries=0)
    def store():
        from sqlalchemy import text

        from certflow.registry import open_registry
        from certflow.settings import Settings

        registry = open_registry(Settings.load())
        with registry.engine.begin() as connection:
            connection.execute(text("CREATE TEMP TABLE t (id_number text UNIQUE)"))
            for _ in range(2):
                connection.execute(text("INSERT INTO t VALUES (:number)"), {"number": people()[1][0]})

    @task(retries=0)
    def index():
        numbers = people()[1]
        return {number: number for number in numbers}["nobody, but " + numbers[0]]

    speak(), remember(), store(), index()


planted()
'''


def dag(folder: Path, airflow_home: Path) -> None:
    """Put the DAG whose tasks fail with people beside ours, as a bundle of its own."""
    folder.mkdir()
    (folder / "planted.py").write_text(DAG, encoding="utf-8")
    (folder / "people.json").write_text(json.dumps([NAMES[0], list(NUMBERS.values())]), encoding="utf-8")
    bundles = (
        '[{"name": "dags-folder", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {}},'
        '{"name": "planted", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",'
        f'"kwargs": {{"path": "{folder}"}}}}]'
    )
    airflow_home.mkdir(mode=0o700, parents=True)
    config = airflow_home / "airflow.cfg"
    config.touch(mode=0o600)
    config.write_text(f"[dag_processor]\ndag_bundle_config_list = {bundles}\n", encoding="utf-8")


class Heard:
    """What a StatsD server was told."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self.port = self._socket.getsockname()[1]
        self.lines: list[str] = []

    def listen(self, ended: threading.Event) -> None:
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                self.lines += self._socket.recv(65_536).decode("utf-8", "replace").splitlines()
        self._socket.close()

    def total(self, name: str) -> float:
        """Sum of a counter."""
        found = [line.partition(":")[2].split("|") for line in self.lines if line.startswith(f"airflow.{name}:")]
        return sum(float(value) for value, kind, *_ in found if kind == "c")

    def last(self, name: str) -> float:
        """Newest value of a gauge."""
        found = [line.partition(":")[2] for line in self.lines if line.startswith(f"airflow.{name}:")]
        return float(found[-1].partition("|")[0])


@contextlib.contextmanager
def in_background(work) -> Iterator[None]:
    """Let `work(ended)` go on until the block ends."""
    ended = threading.Event()
    thread = threading.Thread(target=work, args=(ended,))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class Titles:
    """Command lines of a home's processes and their children that were ever seen while it looked (Linux)."""

    def __init__(self, home: Path) -> None:
        self.seen: set[bytes] = set()
        self._mark = f"CERTFLOW_HOME={home}".encode()
        self._ours: set[int] = set()

    def look(self, ended: threading.Event) -> None:
        while not ended.is_set():
            for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
                with contextlib.suppress(OSError):
                    if self._is_ours(process):
                        self.seen.add((process / "cmdline").read_bytes().replace(b"\0", b" "))
            time.sleep(0.5)

    def _is_ours(self, process: Path) -> bool:
        number = int(process.name)
        parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        if parent in self._ours or self._mark in (process / "environ").read_bytes().split(b"\0"):
            self._ours.add(number)  # the jail's children know no environment
        return number in self._ours

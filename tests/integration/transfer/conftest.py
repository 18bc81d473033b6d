"""The servers every transfer test runs against: our embedded asyncssh ones and a real OpenSSH sshd.

`far`     one far side: a login, the folder it shows as ``/``, and the folder as it lies on the disk.
`city`    the same, laid out as the cities' server with the accounts 370100 and 370200, set in `settings`.
`authority` the same, laid out as the authority's server, set in `settings`.
`plain`   a far side without posix-rename (F13).
`wire`    a TCP proxy in front of a far side: cut at byte N or at once, stall, lag.
"""

import contextlib
import dataclasses
import hashlib
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh
import pytest
from sqlalchemy import insert, update
from tests.real_sshd import OpenSsh, sshd

from certflow import signing
from certflow.demo.servers import AuthoritySftp, CitySftp
from certflow.registry import schema
from certflow.settings import Folders, Remote, Settings

ACCOUNTS = ("370100", "370200")


@dataclasses.dataclass(frozen=True)
class Far:
    """A far side as a test sees it."""

    remote: Remote
    tree: Path

    def files(self) -> dict[str, bytes]:
        """Every file below the tree, by path."""
        return {
            str(path.relative_to(self.tree)): path.read_bytes()
            for path in sorted(self.tree.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }


class Wire:
    """A TCP proxy that can go wrong in one direction after a number of bytes."""

    def __init__(self, remote: Remote, folder: Path) -> None:
        self._target = (remote.host, remote.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.cut_after: dict[str, int] = {}
        """``up`` (towards the server) or ``down`` → bytes after which both sides are cut."""
        self.stall_after: dict[str, int] = {}
        """The same, but nothing passes any more and nobody is told."""
        self.lag: dict[str, float] = {}
        """Seconds every piece spends on the way."""
        self.cut = False
        """Nothing that is on the way arrives any more."""
        self.passed = {"up": 0, "down": 0}
        self.connections = 0
        port = self._listener.getsockname()[1]
        known_hosts = folder / f"wire-{port}"
        known_hosts.write_text(remote.known_hosts.read_text().replace(f"]:{remote.port} ", f"]:{port} "))
        self.remote = dataclasses.replace(remote, port=port, known_hosts=known_hosts)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            far = socket.create_connection(self._target)
            for source, target, way in ((near, far, "up"), (far, near, "down")):
                threading.Thread(target=self._pump, args=(source, target, way), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, way: str) -> None:
        try:
            while data := source.recv(16384):
                time.sleep(self.lag.get(way, 0))
                if self.cut:
                    break
                if (limit := self.cut_after.get(way)) is not None and self.passed[way] + len(data) > limit:
                    target.sendall(data[: max(0, limit - self.passed[way])])
                    break
                if (limit := self.stall_after.get(way)) is not None and self.passed[way] + len(data) > limit:
                    threading.Event().wait()
                self.passed[way] += len(data)
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(params=["embedded", pytest.param("openssh", marks=pytest.mark.openssh)])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "openssh" and not sshd():
        pytest.skip("OpenSSH server is not installed")
    return request.param


@pytest.fixture
def far(kind: str, tmp_path: Path) -> Iterator[Far]:
    if kind == "embedded":
        with AuthoritySftp(tmp_path / "far") as server:
            shutil.rmtree(server.address.tree)
            server.address.tree.mkdir()
            yield Far(server.remote(), server.address.tree)
    else:
        server = OpenSsh(tmp_path / "far")
        yield Far(server.remote, server.tree)
        server.close()


@pytest.fixture
def plain(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Far]:
    """A far side that does not know the extension posix-rename: OpenSSH told to deny it, asyncssh without it."""
    name = b"posix-rename@openssh.com"
    if kind == "openssh":
        server = OpenSsh(tmp_path / "plain", "internal-sftp -P posix-rename")
        yield Far(server.remote, server.tree)
        server.close()
        return
    handler = asyncssh.sftp.SFTPServerHandler
    monkeypatch.setattr(handler, "_extensions", [one for one in handler._extensions if one[0] != name])
    monkeypatch.delitem(handler._packet_handlers, name)
    with CitySftp(tmp_path / "plain", ["370100"]) as server:
        yield Far(server.remote(), server.address.tree)


@pytest.fixture
def wire(far: Far, tmp_path: Path) -> Iterator[Wire]:
    proxy = Wire(far.remote, tmp_path)
    yield proxy
    proxy.close()


@pytest.fixture
def city(far: Far) -> Far:
    names = Folders()
    for account in ACCOUNTS:
        for name in (names.inbox, names.trial, names.received, names.replies, names.proofs):
            (far.tree / account / name).mkdir(parents=True)
    return far


@pytest.fixture
def authority(far: Far) -> Far:
    names = Folders()
    for name in (names.upward, names.returned, names.archive):
        (far.tree / name).mkdir(parents=True)
    return far


@pytest.fixture
def office(settings: Settings, far: Far) -> Settings:
    """The province's settings with both servers set to the far side of the test, and short looks."""
    return dataclasses.replace(
        settings, city_sftp=far.remote, authority_sftp=far.remote, look_seconds=0.05, transfer_timeout=10
    )


@pytest.fixture
def approved(settings, registry, actor) -> Callable[..., int]:
    """Makes an approved package of two rows with `content` as its zip, and `photos` as a second one; gives its id."""
    numbers = iter(range(1, 10_000))

    def make(content: bytes = b"zip", *, photos: bytes | None = None, batch: int | None = None) -> int:
        number = next(numbers)
        stem = f"202005-034-测试{number}"
        folder = settings.packages / "202005"
        folder.mkdir(parents=True, exist_ok=True)
        told = {"file": f"{stem}.zip", "sha256": hashlib.sha256(content).hexdigest()}
        (folder / f"{stem}.zip").write_bytes(content)
        if photos is not None:
            digest = hashlib.sha256(photos).hexdigest()
            told["photos_zip"] = {"file": f"{stem}.JPG.zip", "sha256": digest, "size": len(photos)}
            (folder / f"{stem}.JPG.zip").write_bytes(photos)
        manifest = signing.sign(settings, told)
        (folder / f"{stem}.manifest.json").write_text(json.dumps(manifest))
        with registry.begin(actor) as conn:
            if batch is None:
                found = conn.execute(schema.batches.select()).first()
                batch = (
                    found.id
                    if found
                    else conn.scalar(
                        insert(schema.batches)
                        .values(month="202005", number=0, rule_set="2020")
                        .returning(schema.batches.c.id)
                    )
                )
            submission = conn.scalar(
                insert(schema.submissions)
                .values(
                    month="202005", account="370100", city="济南市", exam_code="034", version=number,
                    lane="month", stem=stem, verdict="accepted", rule_set="2020",
                )
                .returning(schema.submissions.c.id)
            )  # fmt: skip
            ids = [_row(conn, submission, batch, f"{number}-{position}") for position in range(2)]
            package = conn.scalar(
                insert(schema.packages)
                .values(
                    batch_id=batch, exam_code="034", part=number, stem=stem, file_name=f"{stem}.zip",
                    sha256=manifest["sha256"], size=len(content), row_count=2, photo_count=0, manifest=manifest,
                )
                .returning(schema.packages.c.id)
            )  # fmt: skip
            conn.execute(
                insert(schema.package_rows),
                [{"package_id": package, "row_id": row, "ordinal": order} for order, row in enumerate(ids, 1)],
            )
            conn.execute(update(schema.rows).where(schema.rows.c.id.in_(ids)).values(state="ACCEPTED"))
            conn.execute(update(schema.rows).where(schema.rows.c.id.in_(ids)).values(state="PACKED"))
            conn.execute(update(schema.packages).where(schema.packages.c.id == package).values(state="APPROVED"))
        return package

    return make


def _row(conn, submission: int, batch: int, number: str) -> int:
    texts = (
        "name", "id_number", "id_type", "sex", "level", "specialty", "birth_month", "approved_on", "city",
    )  # fmt: skip
    return conn.scalar(
        insert(schema.rows)
        .values(
            {"submission_id": submission, "record_id": f"370100-202005-034-{number}", "row_no": 1, "sent": {},
             "management_no": number, "batch_id": batch} | dict.fromkeys(texts, "x")
        )
        .returning(schema.rows.c.id)
    )  # fmt: skip

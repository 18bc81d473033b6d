"""A package reaches the authority once, whole, or a person is asked."""

import dataclasses
import hashlib
import json
import multiprocessing
import os
import shutil
import threading
from pathlib import Path

import asyncssh
import dying
import pytest
from sqlalchemy import select, update
from tests.real_sshd import new_key

from certflow.demo.servers import AuthoritySftp
from certflow.dispatch.send import resolve_unknown, send
from certflow.errors import AccessRefused, Conflict, DigestMismatch, TransferError
from certflow.registry import schema
from certflow.sftp import Session


def state(registry, package_id):
    with registry.read() as conn:
        package = conn.scalar(select(schema.packages.c.state).where(schema.packages.c.id == package_id))
        rows = conn.scalars(
            select(schema.rows.c.state)
            .join(schema.package_rows, schema.package_rows.c.row_id == schema.rows.c.id)
            .where(schema.package_rows.c.package_id == package_id)
        )
        return package, set(rows)


def events(registry, package_id):
    with registry.read() as conn:
        return list(
            conn.scalars(
                select(schema.transfers.c.event)
                .where(schema.transfers.c.package_id == package_id)
                .order_by(schema.transfers.c.id)
            )
        )


def paths(package_id, settings):
    return f"上报/202005/202005-034-测试{package_id}.zip", f"上报/202005/202005-034-测试{package_id}.manifest.json"


class Watched(asyncssh.SFTPServer):
    """Counts what appears under a final name and lets the authority's people react within the same instant."""

    def rename(self, oldpath, newpath):
        super().rename(oldpath, newpath)
        final = self.map_path(newpath).decode()
        if final.endswith(".zip"):
            self.delivered.append(final.rsplit("/", 1)[-1])
            self.react(self, final)


@pytest.fixture
def watched(settings, tmp_path):
    """An embedded authority; call it with what happens right after a zip got its final name."""
    running = []

    def start(react):
        files = type("Files", (Watched,), {"delivered": [], "react": staticmethod(react)})
        server = type("Server", (AuthoritySftp,), {"files": files})(tmp_path / "authority")
        server.start()
        running.append(server)
        office = dataclasses.replace(settings, authority_sftp=server.remote(), transfer_timeout=10)
        return office, server.address.tree, files.delivered

    yield start
    for server in running:
        server.stop()


def stays(_server, _final):
    pass


def archived(_server, final):
    shutil.move(final, final.split("/上报/")[0] + "/归档/")


def vanishes(_server, final):
    Path(final).unlink()


def reply_is_lost(server, _final):
    server.connection.abort()


def test_a_package_and_its_manifest_arrive_and_the_rows_are_sent(office, registry, actor, authority, approved):
    package = approved(b"content")
    assert send(office, registry, package, actor) == "SENT"
    final, manifest = paths(package, office)
    files = authority.files()
    assert files.pop(final) == b"content"
    assert json.loads(files.pop(manifest))["file"] == final.rsplit("/", 1)[-1]
    assert files == {}
    assert state(registry, package) == ("SENT", {"SENT"})
    assert events(registry, package) == ["intent", "looked", "uploaded", "verified", "renamed", "sent"]


def test_workbook_and_photos_in_two_zips_arrive_before_their_manifest(
    office, registry, actor, authority, approved, monkeypatch
):
    package = approved(b"workbook", photos=b"photos")
    given, honest = [], Session.rename

    def rename(session, source, target):
        given.append(target.rsplit("/", 1)[-1])
        honest(session, source, target)

    monkeypatch.setattr(Session, "rename", rename)
    assert send(office, registry, package, actor) == "SENT"
    stem = f"202005-034-测试{package}"
    assert given == [f"{stem}.zip", f"{stem}.JPG.zip", f"{stem}.manifest.json"]
    assert sorted(authority.files()) == sorted(f"上报/202005/{name}" for name in given)
    with registry.read() as conn:
        query = select(schema.transfers.c.detail["listing"]).where(schema.transfers.c.event == "sent")
        assert sorted(name for name, _ in conn.scalar(query)) == sorted(given)


def test_f12_other_bytes_under_the_name_of_the_photos_are_never_overwritten(
    office, registry, actor, authority, approved
):
    package = approved(b"workbook", photos=b"photos")
    foreign = authority.tree / f"上报/202005/202005-034-测试{package}.JPG.zip"
    foreign.parent.mkdir()
    foreign.write_bytes(b"PHOTOS")
    with pytest.raises(Conflict, match="人工核实"):
        send(office, registry, package, actor)
    assert state(registry, package) == ("UNKNOWN", {"PACKED"})
    assert foreign.read_bytes() == b"PHOTOS"
    assert not foreign.with_name(f"202005-034-测试{package}.manifest.json").exists()


def test_f47_a_bit_flip_in_the_photos_on_our_disk_stops_it(office, registry, actor, authority, approved):
    package = approved(b"workbook", photos=b"photos")
    (office.packages / "202005" / f"202005-034-测试{package}.JPG.zip").write_bytes(b"photoS")
    with pytest.raises(DigestMismatch):
        send(office, registry, package, actor)
    assert state(registry, package) == ("APPROVED", {"PACKED"})
    assert authority.files() == {}


def test_a03_sending_again_after_success_does_nothing(office, registry, actor, authority, approved):
    package = approved()
    send(office, registry, package, actor)
    before = events(registry, package)
    (authority.tree / paths(package, office)[0]).unlink()
    assert send(office, registry, package, actor) == "SENT"
    assert events(registry, package) == before
    assert paths(package, office)[0] not in authority.files()


def test_a_package_nobody_approved_is_not_sent(office, registry, actor, authority, approved):
    package = approved()
    with registry.begin(actor) as conn:
        conn.execute(update(schema.packages).values(state="SENDING"))
        conn.execute(update(schema.packages).values(state="UNKNOWN"))
    assert send(office, registry, package, actor) == "UNKNOWN"
    with pytest.raises(Conflict):
        send(office, registry, package + 1, actor)
    assert authority.files() == {}


def test_f11_the_same_bytes_under_the_final_name_are_a_delivery(office, registry, actor, authority, approved):
    package = approved(b"content")
    (authority.tree / "上报/202005").mkdir()
    (authority.tree / paths(package, office)[0]).write_bytes(b"content")
    assert send(office, registry, package, actor) == "SENT"
    assert "uploaded" not in events(registry, package)


def test_f12_other_bytes_under_the_final_name_are_never_overwritten(office, registry, actor, authority, approved):
    package = approved(b"content")
    (authority.tree / "上报/202005").mkdir()
    (authority.tree / paths(package, office)[0]).write_bytes(b"CONTENT")
    with pytest.raises(Conflict, match="人工核实"):
        send(office, registry, package, actor)
    assert state(registry, package) == ("UNKNOWN", {"PACKED"})
    assert authority.files() == {paths(package, office)[0]: b"CONTENT"}


def test_f12_a_foreign_file_that_appears_while_we_upload_is_not_overwritten(
    office, registry, actor, authority, approved, monkeypatch
):
    package = approved(b"content")
    honest = Session.rename

    def rename(session, source, target):
        (authority.tree / paths(package, office)[0]).write_bytes(b"foreign")
        honest(session, source, target)

    monkeypatch.setattr(Session, "rename", rename)
    with pytest.raises(Conflict, match="人工核实"):
        send(office, registry, package, actor)
    assert authority.files()[paths(package, office)[0]] == b"foreign"
    assert state(registry, package) == ("UNKNOWN", {"PACKED"})


def test_a_package_in_the_archive_is_delivered(office, registry, actor, authority, approved):
    package = approved(b"content")
    (authority.tree / "归档" / paths(package, office)[0].rsplit("/", 1)[-1]).write_bytes(b"content")
    assert send(office, registry, package, actor) == "SENT"
    assert paths(package, office)[0] not in authority.files()


def test_another_package_of_that_name_in_the_archive_says_nothing(office, registry, actor, authority, approved):
    package = approved(b"content")
    (authority.tree / "归档" / paths(package, office)[0].rsplit("/", 1)[-1]).write_bytes(b"earlier")
    assert send(office, registry, package, actor) == "SENT"
    assert authority.files()[paths(package, office)[0]] == b"content"


def test_f47_a_bit_flip_on_our_disk_stops_it(office, registry, actor, authority, approved):
    package = approved(b"content")
    (office.packages / "202005" / f"202005-034-测试{package}.zip").write_bytes(b"contenu")
    with pytest.raises(DigestMismatch):
        send(office, registry, package, actor)
    assert state(registry, package) == ("APPROVED", {"PACKED"})
    assert authority.files() == {}


@pytest.mark.parametrize("left", ['{"file": "x"}', "", '{"file": "202005-0', None])
def test_f49_a_manifest_that_is_not_the_ledgers_stops_it(office, registry, actor, authority, approved, left):
    package = approved(b"content")
    path = office.packages / "202005" / f"202005-034-测试{package}.manifest.json"
    path.unlink() if left is None else path.write_text(left)
    with pytest.raises(DigestMismatch, match="请重新组包后再发送"):
        send(office, registry, package, actor)
    assert authority.files() == {}


def test_f49_a_manifest_nobody_signed_stops_it(office, registry, actor, authority, approved):
    package = approved(b"content")
    path = office.packages / "202005" / f"202005-034-测试{package}.manifest.json"
    altered = json.loads(path.read_text()) | {"rows": 3}
    path.write_text(json.dumps(altered))
    with registry.begin(actor) as conn:
        conn.execute(update(schema.packages).values(manifest=altered))
    with pytest.raises(DigestMismatch, match="签名"):
        send(office, registry, package, actor)
    assert authority.files() == {}


def test_f14_another_host_key_sends_nothing(office, registry, actor, authority, approved, tmp_path):
    package = approved()
    new_key(tmp_path / "other")
    pinned = tmp_path / "pinned"
    pinned.write_text(f"[127.0.0.1]:{office.authority_sftp.port} {(tmp_path / 'other.pub').read_text()}")
    wrong = dataclasses.replace(office, authority_sftp=dataclasses.replace(office.authority_sftp, known_hosts=pinned))
    with pytest.raises(AccessRefused):
        send(wrong, registry, package, actor)
    assert authority.files() == {}
    assert send(office, registry, package, actor) == "SENT"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_f02_cut_anywhere_during_the_upload_it_arrives_once(office, registry, actor, authority, wire, approved, share):
    package = approved(os.urandom(400_000))
    wire.cut_after["up"] = 6000 + int(400_000 * share)
    broken = dataclasses.replace(office, authority_sftp=wire.remote, transfer_timeout=5)
    with pytest.raises(TransferError):
        send(broken, registry, package, actor)
    assert [name for name in authority.files() if not name.endswith(".part")] == []
    assert send(office, registry, package, actor) == "SENT"
    assert sorted(authority.files()) == sorted(paths(package, office))
    assert state(registry, package) == ("SENT", {"SENT"})


def test_f03_cut_between_upload_and_rename_it_arrives_once(office, registry, actor, authority, wire, approved):
    package = approved(os.urandom(400_000))
    wire.cut_after["down"] = 200_000  # in the middle of the read-back
    broken = dataclasses.replace(office, authority_sftp=wire.remote, transfer_timeout=5)
    with pytest.raises(TransferError):
        send(broken, registry, package, actor)
    assert events(registry, package)[-2:] == ["uploaded", "failed"]
    assert send(office, registry, package, actor) == "SENT"
    assert sorted(authority.files()) == sorted(paths(package, office))


def test_f04_a_rename_whose_reply_is_lost_is_found_by_looking_first(watched, registry, actor, approved):
    office, tree, delivered = watched(reply_is_lost)
    package = approved()
    with pytest.raises(TransferError):
        send(office, registry, package, actor)
    assert send(office, registry, package, actor) == "SENT"
    assert len(delivered) == 1
    assert sorted(path.name for path in (tree / "上报/202005").iterdir()) == sorted(
        path.rsplit("/", 1)[-1] for path in paths(package, office)
    )


# T10
def test_f16_a_package_taken_away_at_once_is_found_in_the_archive(watched, registry, actor, approved):
    office, tree, delivered = watched(archived)
    package = approved(b"content")
    assert send(office, registry, package, actor) == "SENT"
    assert len(delivered) == 1
    assert [path.read_bytes() for path in (tree / "归档").glob("*.zip")] == [b"content"]


def test_f17_lost_reply_and_no_archive_to_look_into_is_for_a_person(watched, registry, actor, approved):
    def closed(server, path):
        if "归档".encode() in path:
            raise asyncssh.SFTPPermissionDenied("no")
        return asyncssh.SFTPServer.lstat(server, path)

    def taken_unseen(server, final):
        shutil.move(final, final.split("/上报/")[0] + "/归档/")
        type(server).lstat = closed
        server.connection.abort()

    office, _, delivered = watched(taken_unseen)
    package = approved()
    with pytest.raises(TransferError):
        send(office, registry, package, actor)
    for _ in range(2):
        assert send(office, registry, package, actor) == "UNKNOWN"
    assert state(registry, package) == ("UNKNOWN", {"PACKED"})
    assert len(delivered) == 1
    who = {"by": "值班员", "reason": "电话核实", "actor": actor}
    assert resolve_unknown(registry, package, delivered=True, **who) == "SENT"
    assert state(registry, package) == ("SENT", {"SENT"})
    with pytest.raises(Conflict):
        resolve_unknown(registry, package, delivered=True, **who)


@pytest.mark.parametrize("folder", ["上报/202005", "返回"])
@pytest.mark.parametrize(("named", "ends"), [("its digest", "SENT"), ("another digest", "UNKNOWN")])
def test_f17_a_receipt_that_names_the_digest_proves_a_delivery_nobody_can_see(
    watched, registry, actor, approved, folder, named, ends
):
    content = b"content"

    def taken_with_a_receipt(server, final):
        digest = hashlib.sha256(content if named == "its digest" else b"other").hexdigest()
        Path(final).unlink()
        note = Path(final.split("/上报/")[0]) / folder / Path(final).name.replace(".zip", ".回执.txt")
        note.write_text(f"已收到 SHA-256 {digest.upper()}", encoding="gb18030")
        server.connection.abort()

    office, _, delivered = watched(taken_with_a_receipt)
    package = approved(content)
    with pytest.raises(TransferError):
        send(office, registry, package, actor)
    assert send(office, registry, package, actor) == ends
    assert len(delivered) == 1
    assert ("receipt" in events(registry, package)) == (ends == "SENT")


def test_a_person_may_say_that_it_never_arrived(watched, registry, actor, approved):
    once = iter([True])

    def lost(server, final):
        if next(once, False):
            Path(final).unlink()
            server.connection.abort()

    office, _, delivered = watched(lost)
    package = approved()
    with pytest.raises(TransferError):
        send(office, registry, package, actor)
    assert send(office, registry, package, actor) == "UNKNOWN"
    resolve_unknown(registry, package, delivered=False, by="值班员", reason="对方未收到", actor=actor)
    assert send(office, registry, package, actor) == "SENT"
    assert len(delivered) == 2  # the second one on a person's word


def test_f42_a_part_of_a_try_that_a_restored_ledger_has_forgotten_is_taken_away(
    office, registry, actor, authority, approved
):
    package = approved(b"content")
    final, _ = paths(package, office)
    (authority.tree / final).parent.mkdir(parents=True)
    (authority.tree / f"{final}.7.part").write_bytes(b"cont")
    assert send(office, registry, package, actor) == "SENT"
    assert authority.files()[final] == b"content"
    assert f"{final}.7.part" not in authority.files()


@pytest.mark.parametrize("asleep_before", ["put_part", "hash", "rename"])
@pytest.mark.parametrize("react", [stays, archived, vanishes])
def test_f31_a_try_that_slept_delivers_nothing_after_the_next_one_has(
    watched, registry, actor, approved, monkeypatch, react, asleep_before
):
    office, _, delivered = watched(react)
    package = approved(b"content")
    sleeps, wake, sleeper = threading.Event(), threading.Event(), []
    honest = getattr(Session, asleep_before)

    def call(session, *args):
        if threading.current_thread() in sleeper and not sleeps.is_set():
            sleeps.set()
            wake.wait(60)
        return honest(session, *args)

    monkeypatch.setattr(Session, asleep_before, call)
    said = []

    def slow():
        try:
            said.append(send(office, registry, package, actor))
        except (Conflict, TransferError) as error:
            said.append(type(error).__name__)

    thread = threading.Thread(target=slow)
    sleeper.append(thread)
    thread.start()
    assert sleeps.wait(30)
    assert send(office, registry, package, actor) == "SENT"
    wake.set()
    thread.join(60)
    assert len(delivered) == 1
    assert said in (["Conflict"], ["TransferError"])
    assert state(registry, package) == ("SENT", {"SENT"})


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    # Its fork server does not know this folder: preload what `dying` needs instead of itself.
    context.set_forkserver_preload(["certflow.dispatch.send", "certflow.registry.upgrade", "psycopg"])
    return context


def dies_at(processes, office, package, k):
    process = processes.Process(target=dying.send_and_die, args=(office, package, k))
    process.start()
    process.join(120)
    assert process.exitcode in (0, dying.DIED)
    return process.exitcode == dying.DIED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("react", "two"),
    [
        (stays, False), (archived, False), (vanishes, False), (vanishes, True),
        pytest.param(stays, True, marks=pytest.mark.long), pytest.param(archived, True, marks=pytest.mark.long),
    ],
)  # fmt: skip
def test_b02_f26_killed_at_any_call_or_commit_it_is_delivered_at_most_once(
    watched, registry, actor, approved, processes, react, two
):
    office, tree, delivered = watched(react)
    k, unknown, died = 0, 0, True
    while died:
        k += 1
        content = {".zip": f"content {k}".encode()} | ({".JPG.zip": f"photos {k}".encode()} if two else {})
        package = approved(content[".zip"], photos=content.get(".JPG.zip"))
        died = dies_at(processes, office, package, k)
        ends = send(office, registry, package, actor)
        stem = f"202005-034-测试{package}"
        counts = [delivered.count(f"{stem}{suffix}") for suffix in content]
        assert max(counts) <= 1, k
        if ends == "UNKNOWN":
            unknown += 1
            assert react is vanishes, k
            assert state(registry, package) == ("UNKNOWN", {"PACKED"})
        else:
            assert min(counts) == 1, k
            assert state(registry, package) == ("SENT", {"SENT"})
        if react is not vanishes:
            for suffix, data in content.items():
                (arrived,) = tree.rglob(f"{stem}{suffix}")
                assert arrived.read_bytes() == data
            assert len(list(tree.rglob(f"{stem}.manifest.json"))) == 1
        assert list(tree.rglob("*.part")) == []
    assert k > (45 if two else 30)
    assert bool(unknown) == (react is vanishes)


@pytest.mark.slow
@pytest.mark.openssh
def test_b02_f26_killed_at_any_call_or_commit_with_a_real_sshd(
    kind, office, registry, actor, authority, approved, processes
):
    if kind != "openssh":
        pytest.skip("the embedded server is tried with an authority that reacts")
    k, died = 0, True
    while died:
        k += 1
        package = approved(f"content {k}".encode())
        died = dies_at(processes, office, package, k)
        assert send(office, registry, package, actor) == "SENT", k
        files = authority.files()
        assert files[paths(package, office)[0]] == f"content {k}".encode()
        assert not [name for name in files if name.endswith(".part")]
    assert k > 30

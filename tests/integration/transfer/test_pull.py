"""What a city uploads is taken once, complete, and never lost."""

import dataclasses
import io
import os
import threading
import time
import zipfile

import asyncssh
import pytest
from sqlalchemy import select, update
from tests.real_sshd import new_key

from certflow.demo.servers import CitySftp
from certflow.errors import AccessRefused, Busy, ConfigurationError
from certflow.intake import pull as pulling
from certflow.intake.pull import pull, reply
from certflow.registry import schema
from certflow.registry.ledger import Registry
from certflow.sftp import Session, connect

NAME = "202005-034-一级建造师(证书补换印制信息)数据(济南市)(1人).zip"


def a_zip(text: str = "x", *, stored: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("表.XLS"), text * 5000)
        if stored:
            archive.writestr(zipfile.ZipInfo("inner.zip"), stored)
    return buffer.getvalue()


def known(registry):
    with registry.read() as conn:
        return conn.execute(select(schema.files).order_by(schema.files.c.id)).all()


@pytest.fixture
def inbox(city):
    return city.tree / "370100" / "报送"


def test_a_file_is_stored_recorded_and_moved(office, registry, actor, city, inbox):
    (inbox / NAME).write_bytes(a_zip())
    report = pull(office, registry, "370100", actor)
    (row,) = known(registry)
    assert report == pulling.PullReport(new=(row.id,))
    assert (row.account, row.lane, row.name, row.state, row.kind) == ("370100", "month", NAME, "RECEIVED", "submission")
    assert office.original(row.sha256).read_bytes() == a_zip()
    assert office.original(row.sha256).stat().st_mode & 0o777 == 0o600
    assert list(city.files()) == [f"370100/已接收/{NAME}"]
    assert list(office.work.iterdir()) == []
    assert pull(office, registry, "370100", actor) == pulling.PullReport()


def test_a_nil_report_carries_its_month(office, registry, actor, inbox):
    (inbox / "202005-零报(济南市).txt").write_bytes(b"")
    pull(office, registry, "370100", actor)
    (row,) = known(registry)
    assert (row.kind, row.month, row.size) == ("nil", "202005", 0)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_t01_f18_a_half_written_zip_waits_even_when_it_stands_still(office, registry, actor, city, inbox, share):
    whole = a_zip(stored=a_zip("inner"))
    (inbox / NAME).write_bytes(whole[: int(len(whole) * share)])
    (inbox / "loose.bin").write_bytes(whole[: int(len(whole) * share)])  # a zip by its first bytes only
    for _ in range(2):
        assert pull(office, registry, "370100", actor) == pulling.PullReport(waiting=2)
    (inbox / NAME).write_bytes(whole)
    assert len(pull(office, registry, "370100", actor).new) == 1
    assert known(registry)[0].size == len(whole)


def test_t01_the_end_of_an_inner_zip_is_not_the_end(office, registry, actor, inbox):
    inner = a_zip("inner")
    whole = a_zip(stored=inner)
    (inbox / NAME).write_bytes(whole[: whole.index(inner) + len(inner)])
    assert pull(office, registry, "370100", actor) == pulling.PullReport(waiting=1)


def test_t01_a_growing_file_waits(office, registry, actor, inbox):
    (inbox / "note.txt").write_bytes(b"1")
    stop = threading.Event()

    def grow():
        while not stop.wait(0.02):
            with (inbox / "note.txt").open("ab") as file:
                file.write(b"1")

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        assert pull(dataclasses.replace(office, look_seconds=0.3), registry, "370100", actor).waiting == 1
    finally:
        stop.set()
        writer.join()
    assert len(pull(office, registry, "370100", actor).new) == 1


def test_an_upload_under_way_by_its_name_waits(office, registry, actor, inbox):
    (inbox / "甲.zip.filepart").write_bytes(a_zip())
    assert pull(office, registry, "370100", actor) == pulling.PullReport(waiting=1)


@pytest.mark.parametrize("left", [b"", b'{"a": ', b"[]"])
def test_what_a_power_cut_left_of_the_memory_of_waiting_files_stops_no_city(office, registry, actor, inbox, left):
    (inbox / NAME).write_bytes(a_zip()[:-30])
    assert pull(office, registry, "370100", actor).waiting == 1
    office.path("inbox", "370100.json").write_bytes(left)
    assert pull(office, registry, "370100", actor).waiting == 1
    (inbox / NAME).write_bytes(a_zip())
    assert len(pull(office, registry, "370100", actor).new) == 1


def test_a_zip_without_an_end_is_answered_after_a_day(office, registry, actor, inbox, monkeypatch):
    (inbox / NAME).write_bytes(a_zip()[:-30])
    assert pull(office, registry, "370100", actor).waiting == 1
    now = time.time()
    monkeypatch.setattr(pulling.time, "time", lambda: now + pulling.PATIENCE_SECONDS - 60)
    assert pull(office, registry, "370100", actor).waiting == 1
    monkeypatch.setattr(pulling.time, "time", lambda: now + pulling.PATIENCE_SECONDS + 60)
    assert len(pull(office, registry, "370100", actor).new) == 1


def test_t11_the_same_bytes_again_count_for_nothing(office, registry, actor, city, inbox):
    for name in (NAME, NAME, "other.zip"):
        (inbox / name).write_bytes(a_zip())
        report = pull(office, registry, "370100", actor)
    rows = known(registry)
    assert report.duplicates == (rows[2].id,)
    assert [(row.state, row.reason, row.duplicate_of) for row in rows] == [
        ("RECEIVED", None, None),
        ("IGNORED", "FILE-DUPLICATE", rows[0].id),
        ("IGNORED", "FILE-DUPLICATE", rows[0].id),
    ]
    assert len(city.files()) == 3


def test_a_trial_never_makes_the_delivery_a_duplicate(office, registry, actor, city, inbox):
    (city.tree / "370100" / "试投" / NAME).write_bytes(a_zip())
    pull(office, registry, "370100", actor)
    (inbox / NAME).write_bytes(a_zip())
    assert len(pull(office, registry, "370100", actor).new) == 1
    assert [row.lane for row in known(registry)] == ["trial", "month"]


def test_another_city_may_send_the_same_bytes(office, registry, actor, city, inbox):
    (inbox / NAME).write_bytes(a_zip())
    (city.tree / "370200" / "报送" / NAME).write_bytes(a_zip())
    assert len(pull(office, registry, "370100", actor).new) == len(pull(office, registry, "370200", actor).new) == 1


def test_t16_f21_a_name_in_gbk_is_taken_like_the_others(office, registry, actor, city, inbox):
    raw = "济南市.zip".encode("gbk")
    (inbox / os.fsdecode(raw)).write_bytes(a_zip("1"))
    (inbox / NAME).write_bytes(a_zip("2"))
    assert len(pull(office, registry, "370100", actor).new) == 2
    assert (raw, "济南市.zip") in [(row.raw_name, row.name) for row in known(registry)]
    assert (city.tree / "370100" / "已接收" / os.fsdecode(raw)).exists()


def test_t15_f22_links_and_folders_are_refused_and_the_city_is_told_once(office, registry, actor, city, inbox):
    (inbox / "passwd.zip").symlink_to("/etc/passwd")
    (inbox / "照片").mkdir()
    (inbox / NAME).write_bytes(a_zip())
    for _ in range(2):
        report = pull(office, registry, "370100", actor)
        assert sorted(report.refused) == ["folder", "link"]
    assert [row.name for row in known(registry)] == [NAME]
    (note,) = (city.tree / "370100" / "回执").iterdir()
    text = note.read_text("utf-8-sig")
    assert "照片：是文件夹" in text
    assert "passwd.zip：是链接" in text


def test_a_file_beyond_the_limit_is_not_even_read(office, registry, actor, inbox):
    small = dataclasses.replace(office, limits=dataclasses.replace(office.limits, archive_bytes=1000))
    (inbox / NAME).write_bytes(a_zip() + bytes(2000))
    assert pull(small, registry, "370100", actor).refused == ("too-large",)


def test_t14_a_file_from_2096_is_received_now(office, registry, actor, inbox):
    (inbox / NAME).write_bytes(a_zip())
    os.utime(inbox / NAME, (3976214400, 3976214400))
    pull(office, registry, "370100", actor)
    assert abs(known(registry)[0].received_at.timestamp() - time.time()) < 60


# T17
def test_f20_a_file_deleted_after_the_listing_is_no_trouble(office, registry, actor, inbox, monkeypatch):
    (inbox / NAME).write_bytes(a_zip("1"))
    (inbox / "b.zip").write_bytes(a_zip("2"))
    honest = Session.tail

    def tail(session, path, count):
        (inbox / NAME).unlink(missing_ok=True)
        return honest(session, path, count)

    monkeypatch.setattr(Session, "tail", tail)
    assert len(pull(office, registry, "370100", actor).new) == 1


def test_f19_a_file_overwritten_while_we_read_is_read_again(office, registry, actor, inbox, monkeypatch):
    (inbox / NAME).write_bytes(a_zip("old"))
    honest, once = Session.get, iter([True])

    def get(session, path, local):
        result = honest(session, path, local)
        if next(once, False):
            (inbox / NAME).write_bytes(a_zip("a longer text"))
        return result

    monkeypatch.setattr(Session, "get", get)
    assert pull(office, registry, "370100", actor) == pulling.PullReport(waiting=1)
    assert len(pull(office, registry, "370100", actor).new) == 1
    (row,) = known(registry)
    assert office.original(row.sha256).read_bytes() == a_zip("a longer text")


def test_f19_a_file_overwritten_just_before_the_move_is_not_lost(office, registry, actor, inbox, monkeypatch):
    (inbox / NAME).write_bytes(a_zip("old"))
    honest, once = Session.move, iter([True])

    def move(session, source, folder):
        if next(once, False):
            (inbox / NAME).write_bytes(a_zip("the later one"))
        return honest(session, source, folder)

    monkeypatch.setattr(Session, "move", move)
    pull(office, registry, "370100", actor)
    pull(office, registry, "370100", actor)
    assert [row.state for row in known(registry)] == ["RECEIVED", "RECEIVED"]
    assert office.original(known(registry)[1].sha256).read_bytes() == a_zip("the later one")


class Died(BaseException):
    """The process is gone: nothing may catch it."""


@pytest.fixture
def dies(monkeypatch):  # noqa: C901 (one wrapper inside the other)
    """Let the k-th remote call or commit be the last; tells whether it came to that."""

    def arm(k):
        count = iter(range(1, k))
        fired = []

        def point():
            if not fired and next(count, None) is None:
                fired.append(k)
                raise Died

        for name in ("list", "stat", "tail", "get", "hash", "put_part", "move", "rename", "makedirs"):
            honest = getattr(Session, name)

            def wrapped(self, *args, honest=honest):
                point()
                result = honest(self, *args)
                point()
                return result

            monkeypatch.setattr(Session, name, wrapped)
        begin = Registry.begin

        def dying_begin(self, actor):
            manager = begin(self, actor)

            class Wrapped:
                def __enter__(self):
                    return manager.__enter__()

                def __exit__(self, *error):
                    if error[0] is None:
                        try:
                            point()
                        except Died as died:
                            manager.__exit__(Died, died, None)
                            raise
                    manager.__exit__(*error)
                    point()

            return Wrapped()

        monkeypatch.setattr(Registry, "begin", dying_begin)
        return fired

    return arm


@pytest.mark.slow
def test_f26_died_at_any_call_the_next_pull_goes_on(office, registry, actor, city, inbox, dies, monkeypatch):
    k = 0
    while True:
        k += 1
        name, content = f"{k}.zip", a_zip(str(k))
        (inbox / name).write_bytes(content)
        fired = dies(k)
        try:
            pull(office, registry, "370100", actor)
        except Died:
            assert fired
        monkeypatch.undo()
        pull(office, registry, "370100", actor)
        rows = [row for row in known(registry) if row.name == name]
        assert [(row.state, row.duplicate_of) for row in rows] == [("RECEIVED", None)], k
        assert rows[0].shelved_at is not None
        assert office.original(rows[0].sha256).read_bytes() == content
        assert list(inbox.iterdir()) == []
        assert (city.tree / "370100" / "已接收" / name).read_bytes() == content
        assert list(office.work.iterdir()) == []
        if not fired:
            break
    assert k > 20


def test_what_a_killed_pull_left_in_the_work_folder_is_swept(office, registry, actor, city):
    office.work.mkdir(parents=True)
    for name in ("take-370100-0123", "take-370200-0123", "package-1"):
        (office.work / name).write_bytes(b"x")
    pull(office, registry, "370100", actor)
    assert sorted(file.name for file in office.work.iterdir()) == ["package-1", "take-370200-0123"]


def test_t07_a_key_withdrawn_between_listing_and_reading_is_no_files_fault(office, registry, actor, city, inbox):
    (inbox / NAME).write_bytes(a_zip())
    key = office.city_sftp.key.with_name("copy")
    key.write_bytes(office.city_sftp.key.read_bytes())
    key.chmod(0o600)
    fading = dataclasses.replace(office, city_sftp=dataclasses.replace(office.city_sftp, key=key), look_seconds=0.5)
    new_key(key.with_name("stranger"))
    swap = threading.Timer(0.4, lambda: key.with_name("stranger").replace(key))
    swap.start()
    with pytest.raises(AccessRefused, match="登录被拒绝"):
        pull(fading, registry, "370100", actor)
    assert list((city.tree / "370100" / "回执").iterdir()) == []


def test_b01_two_pulls_of_one_city_do_not_meet(office, registry, actor, inbox):
    with registry.lock("pull:370100"), pytest.raises(Busy):
        pull(office, registry, "370100", actor)


def test_t05_f10_a_folder_that_does_not_let_files_go_is_an_alarm_not_a_loop(settings, registry, actor, tmp_path):
    class Fixed(asyncssh.SFTPServer):
        def rename(self, oldpath, newpath):
            raise asyncssh.SFTPPermissionDenied("no")

    class Server(CitySftp):
        files = Fixed

    with Server(tmp_path / "city", ["370100"]) as server:
        office = dataclasses.replace(settings, city_sftp=server.remote(), look_seconds=0, transfer_timeout=10)
        for name in ("a.zip", "b.zip"):
            (server.address.tree / "370100" / "报送" / name).write_bytes(a_zip(name))
        for _ in range(2):
            with pytest.raises(AccessRefused):
                pull(office, registry, "370100", actor)
    assert [row.state for row in known(registry)] == ["RECEIVED", "RECEIVED"]  # recorded once each


def test_a_city_without_an_inbox_is_an_alarm_and_not_a_city_that_sent_nothing(office, registry, actor, city, inbox):
    (city.tree / "370100" / "试投").mkdir(exist_ok=True)
    (city.tree / "370100" / "试投" / NAME).write_bytes(a_zip())
    inbox.rmdir()
    with pytest.raises(ConfigurationError, match="/370100/报送/"):
        pull(office, registry, "370100", actor)
    assert [row.lane for row in known(registry)] == ["trial"], "what lay in the other folders was taken all the same"


def test_a_city_logs_into_its_own_folder_only(tmp_path):
    with CitySftp(tmp_path / "city", ["370100", "370200"]) as server:
        (server.address.tree / "370200" / "报送" / "a").write_bytes(b"x")
        with connect(server.remote("370100"), 10) as session:
            assert "报送" in [file.name for file in session.list("/")]
            assert session.stat("/../370200/报送/a") is None
            assert session.stat("/370200") is None
        with connect(server.remote(), 10) as session:
            assert session.stat("/370200/报送/a") is not None


def test_a_judged_file_that_was_never_moved_is_not_taken_for_a_second_delivery(office, registry, actor, inbox):
    (inbox / NAME).write_bytes(a_zip())
    pull(office, registry, "370100", actor)
    with registry.begin(actor) as conn:  # as after a pull that died before the move, and a check in between
        conn.execute(update(schema.files).values(state="UNPACKED", shelved_at=None))
    (inbox / NAME).write_bytes(a_zip())
    assert pull(office, registry, "370100", actor) == pulling.PullReport()
    assert len(known(registry)) == 1


def judged(registry, actor, office, name, *answers):
    """A file that was pulled, judged and, where `answers` says so, answered on paper."""
    with registry.begin(actor) as conn:
        (file_id,) = conn.scalars(select(schema.files.c.id).where(schema.files.c.name == name))
        conn.execute(update(schema.files).where(schema.files.c.id == file_id).values(state="RETURNED"))
    folder = office.feedback / "370100" / "202005"
    folder.mkdir(parents=True, exist_ok=True)
    for answer in answers:
        (folder / f"F{file_id:06d}-{answer}").write_bytes(answer.encode())
    return file_id


def test_answers_reach_the_city_once(office, registry, actor, city, inbox):
    (inbox / NAME).write_bytes(a_zip())
    pull(office, registry, "370100", actor)
    file_id = judged(registry, actor, office, NAME, "退回单.xlsx", "回执.txt", "half.part")
    replies = city.tree / "370100" / "回执"
    assert reply(office, registry, "370100", actor) == pulling.ReplyReport((file_id,), 2)
    assert reply(office, registry, "370100", actor) == pulling.ReplyReport()
    assert sorted(file.name for file in replies.iterdir()) == sorted(
        [f"F{file_id:06d}-退回单.xlsx", f"F{file_id:06d}-回执.txt"]
    )


def test_an_answer_that_is_not_written_yet_stays_owed(office, registry, actor, inbox):
    (inbox / NAME).write_bytes(a_zip())
    pull(office, registry, "370100", actor)
    file_id = judged(registry, actor, office, NAME)
    assert reply(office, registry, "370100", actor) == pulling.ReplyReport(missing=(file_id,))


def test_a_newer_answer_stands_beside_the_older_one(office, registry, actor, city, inbox):
    (inbox / NAME).write_bytes(a_zip())
    pull(office, registry, "370100", actor)
    file_id = judged(registry, actor, office, NAME, "回执.txt")
    reply(office, registry, "370100", actor)
    (office.feedback / "370100" / "202005" / f"F{file_id:06d}-回执.txt").write_bytes(b"newer")
    with registry.begin(actor) as conn:
        conn.execute(update(schema.files).values(answered_at=None))
    assert reply(office, registry, "370100", actor).uploaded == 1
    replies = city.tree / "370100" / "回执"
    assert (replies / f"F{file_id:06d}-回执~2.txt").read_bytes() == b"newer"
    assert (replies / f"F{file_id:06d}-回执.txt").read_bytes() == "回执.txt".encode()


def test_the_page_of_the_month_and_the_days_message_take_the_place_of_older_ones(office, registry, actor, city, inbox):
    (inbox / NAME).write_bytes(a_zip())
    pull(office, registry, "370100", actor)
    judged(registry, actor, office, NAME, "回执.txt")
    living = office.feedback / "370100" / pulling.LIVING
    living.mkdir()
    names = ["报送情况-202005.pdf", "日报-20200531.txt", "日报-20200601.txt"]
    told = {}
    for words in ("first", "second", "second"):
        for name in [*names, "报送情况-202004.pdf", "日报-20200530.txt"]:
            (living / name).write_text(words)
        with registry.begin(actor) as conn:
            conn.execute(update(schema.files).values(answered_at=None, month="202005"))
        told[words] = reply(office, registry, "370100", actor).uploaded
    replies = city.tree / "370100" / "回执"
    assert told["second"] == 0, "the same bytes are not sent again"
    assert {file.name: file.read_text() for file in replies.iterdir() if "F0" not in file.name} == dict.fromkeys(
        names, "second"
    )


@pytest.mark.slow
def test_f26_died_at_any_call_no_answer_is_lost_or_doubled(office, registry, actor, city, inbox, dies, monkeypatch):
    k = 0
    while True:
        k += 1
        name = f"{k}.zip"
        (inbox / name).write_bytes(a_zip(name))
        pull(office, registry, "370100", actor)
        file_id = judged(registry, actor, office, name, "a.txt", "b.txt")
        fired = dies(k)
        try:
            reply(office, registry, "370100", actor)
        except Died:
            assert fired
        monkeypatch.undo()
        reply(office, registry, "370100", actor)
        told = sorted(path.name for path in (city.tree / "370100" / "回执").glob(f"F{file_id:06d}*"))
        assert told == [f"F{file_id:06d}-a.txt", f"F{file_id:06d}-b.txt"], k
        assert known(registry)[-1].answered_at is not None
        if not fired:
            break
    assert k > 8

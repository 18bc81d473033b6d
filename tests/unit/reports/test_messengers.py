"""Alerts on their way, to a real SMTP server and a real web server on this machine."""

import dataclasses
import datetime as dt
import json
import socket
import threading
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from certflow.errors import ConfigurationError
from certflow.privacy import mask_text
from certflow.reports import alerts, messengers
from certflow.settings import Settings

RIGHT = "the-senders-own"
NOW = dt.datetime(2020, 6, 7, 0, 0, tzinfo=dt.UTC)
DAY = dt.date(2020, 6, 6)
ALERTS = [
    alerts.Alert("month-not-sent", "202005", alerts.PROVINCE,
                 "202005 尚有 3 行未组包、0 个数据包未送达；请查看月末流程", DAY),
    alerts.Alert("held-too-long", "370100-202005-034-000012", alerts.PROVINCE,
                 "370100-202005-034-000012 已待核实 9 天；请作出决定", DAY),
    alerts.Alert("city-missing", "370100", "370100", "202006 尚未收到贵市报送；无人申请请报零报", DAY),
]  # fmt: skip


class Postbox:
    """An SMTP server's side: what it took, and what it says to the next one."""

    def __init__(self):
        self.taken, self.answer = [], "250 taken"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 (its name there)
        if self.answer.startswith("250"):
            self.taken.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=policy.default)))
        return self.answer


@pytest.fixture
def postbox():
    box = Postbox()
    server = Controller(
        box, hostname="127.0.0.1", port=0, auth_require_tls=False,
        authenticator=lambda _server, _session, _envelope, _kind, data: AuthResult(
            success=(data.login, data.password) == (b"sender", RIGHT.encode()), handled=False
        ),
    )  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server.port = box.port = free.getsockname()[1]
    server.start()
    yield box
    server.stop()


@pytest.fixture
def robot():
    """A chat robot's side of a webhook."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            server.taken.append((self.path, self.headers["content-type"], json.loads(body)))
            self.send_response(server.status)
            self.end_headers()
            self.wfile.write(server.answer)

        def log_message(self, *_args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.taken, server.status, server.answer = [], 200, b'{"errcode": 0}'
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def settings(tmp_path, postbox, robot):
    home = tmp_path / "home"
    home.mkdir()
    (home / "recipients.toml").write_text(
        f'[province]\nmail = ["a@example.org", "b@example.org"]\n'
        f'webhook = ["http://127.0.0.1:{robot.server_port}/send?key=k"]\n[370100]\nmail = ["jinan@example.org"]\n',
        encoding="utf-8",
    )
    return Settings(
        home=home, mail_server=f"smtp://sender@127.0.0.1:{postbox.port}", mail_from="certflow@example.org",
        mail_password=RIGHT,
    )  # fmt: skip


def deliver(settings, now=NOW, **how):
    return messengers.deliver(settings, alerts.write(settings, ALERTS, now), now, **how)


def states(found):
    return [(one.recipient, one.way, one.state) for one in found]


def test_each_recipient_gets_their_own_message_by_each_way(settings, postbox, robot):
    assert {one.state for one in deliver(settings)} == {"sent"}
    assert [to for to, _ in postbox.taken] == [["jinan@example.org"], ["a@example.org"], ["b@example.org"]]
    city, province = postbox.taken[0][1], postbox.taken[1][1]
    assert (city["From"], city["To"]) == ("certflow@example.org", "jinan@example.org")
    assert city["Subject"] == "证书补换 2020-06-07 逾期提醒（370100）"
    assert city["Auto-Submitted"] == "auto-generated"
    assert "零报" in city.get_content()
    assert "runbook" not in city.get_content(), "the run book is the province's"
    [(path, kind, body)] = robot.taken
    assert (path, kind) == ("/send?key=k", "application/json; charset=utf-8")
    assert body["text"]["content"].endswith(province.get_content().rstrip("\n") + "\n")
    assert (body["msgtype"], body["recipient"], body["day"]) == ("text", "province", "2020-06-07")


def test_each_alarm_names_its_page_of_the_run_book(settings, postbox):
    deliver(settings)
    text = postbox.taken[1][1].get_content()
    for kind in ("month-not-sent", "held-too-long"):
        assert f"见运维手册“{alerts.KINDS[kind]}”（docs/runbook.zh-CN.md#{kind}）" in text


def test_a_second_run_of_the_day_delivers_nothing_and_the_next_day_does(settings, postbox, robot):
    deliver(settings)
    assert {one.state for one in deliver(settings, NOW + dt.timedelta(hours=9))} == {"before"}
    assert (len(postbox.taken), len(robot.taken)) == (3, 1)
    assert {one.state for one in deliver(settings, NOW + dt.timedelta(days=1))} == {"sent"}


def test_what_was_not_taken_is_tried_again_and_nothing_goes_out_twice(settings, postbox, robot):
    postbox.answer, robot.status = "451 later a@example.org", 503
    found = deliver(settings)
    assert {one.state for one in found} == {"failed"}
    assert {one.reason for one in found} == {"SMTPDataError 451", "HTTPError 503"}
    robot.status, robot.answer = 200, b'{"errcode": 310000, "errmsg": "keywords not in content"}'
    assert [one.reason for one in deliver(settings) if one.way == "webhook"] == ["ValueError"]
    robot.answer = b"ok"
    assert states(deliver(settings))[-1] == ("province", "webhook", "sent")
    postbox.answer = "250 taken"
    assert [one.state for one in deliver(settings)] == ["sent", "sent", "sent", "before"]
    assert (len(postbox.taken), len(robot.taken)) == (3, 3)


def test_a_dry_run_shows_who_would_get_it_and_sends_nothing(settings, postbox, robot):
    found = deliver(settings, dry_run=True)
    assert states(found) == [
        ("370100", "mail", "planned"), ("province", "mail", "planned"), ("province", "mail", "planned"),
        ("province", "webhook", "planned"),
    ]  # fmt: skip
    assert (postbox.taken, robot.taken) == ([], [])
    assert {one.state for one in deliver(settings)} == {"sent"}, "and leaves no mark"


def test_a_server_that_is_not_there_is_a_failure_and_no_error(settings, postbox):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = Settings(home=settings.home, mail_server=f"smtp://127.0.0.1:{free.getsockname()[1]}",
                        mail_from="certflow@example.org")  # fmt: skip
        assert [one.reason for one in deliver(gone) if one.way == "mail"] == ["ConnectionRefusedError"] * 3


def test_a_wrong_password_is_a_failure_that_says_so(settings, postbox):
    wrong = dataclasses.replace(settings, mail_password="wrong")
    assert [one.reason for one in deliver(wrong) if one.way == "mail"] == ["SMTPAuthenticationError 535"] * 3
    assert postbox.taken == []


def test_no_personal_data_leaves_even_when_a_message_has_some(settings, postbox, robot):
    number = "11010519491231002X"
    slip = alerts.Alert("held-too-long", "r", alerts.PROVINCE, f"姓名：测试甲 {number} 待核实", DAY)
    messengers.deliver(settings, alerts.write(settings, [slip], NOW), NOW)
    sent = postbox.taken[0][1].get_content() + json.dumps(robot.taken, ensure_ascii=False)
    assert number not in sent
    assert "测试甲" not in sent


def test_our_own_messages_need_no_masking(settings):
    for path in alerts.write(settings, ALERTS, NOW):
        text = path.read_text(encoding="utf-8")
        assert mask_text(text) == text


def test_without_a_file_nobody_is_written_to(settings):
    settings.path("recipients.toml").unlink()
    assert deliver(settings) == []


@pytest.mark.parametrize(
    "text",
    [
        "[province",
        'province = "a@example.org"',
        '[province]\nmail = "a@example.org"',
        '[province]\nmail = ["nobody"]',
        '[province]\nmail = ["a@example.org\\nBcc: x@example.org"]',
        '[province]\nwebhook = ["http://example.org/"]',
        '[province]\nwebhook = ["file:///etc/passwd"]',
        '[province]\nsms = ["1"]',
    ],
)
def test_a_wrong_file_is_refused_before_anything_is_sent(settings, postbox, text):
    settings.path("recipients.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"recipients\.toml"):
        deliver(settings)
    assert postbox.taken == []


@pytest.mark.parametrize(
    ("server", "sender"),
    [
        ("", "certflow@example.org"),
        ("smtp://127.0.0.1", ""),
        ("http://127.0.0.1", "certflow@example.org"),
        ("smtp://user@mail.example.org", "certflow@example.org"),
        (f"smtps://user:{RIGHT}@mail.example.org", "certflow@example.org"),
    ],
)
def test_a_wrong_mail_setting_is_refused_in_words_without_the_password(settings, server, sender):
    with pytest.raises(ConfigurationError, match="CERTFLOW_MAIL") as refusal:
        deliver(Settings(home=settings.home, mail_server=server, mail_from=sender))
    assert RIGHT not in str(refusal.value)
    assert RIGHT not in repr(Settings(mail_password=RIGHT))

"""Masking (DOMAIN §9): nothing of a person leaves through a log line, a path or a traceback."""

import io
import logging
import multiprocessing
import stat
import time

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from certflow import identity, privacy
from certflow.checks.wording import mask_value
from certflow.privacy import mask_event, mask_id, mask_name, mask_text, reference, reference_key

ID = "11010519491231002X"
WIDE_ID = ID.translate({code: code + 0xFEE0 for code in range(0x21, 0x7F)})


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (ID, "110105********002X"),
        ("110105491231002", "110105******002"),
        ("H12345678", "H1*****78"),
        ("12345678", "12****78"),
        ("A1234", "A***4"),
        ("1234", "****"),
        ("", ""),
    ],
)
def test_a_number_is_shown_by_its_ends(number, shown):
    assert mask_id(number) == shown


@pytest.mark.parametrize(
    ("name", "shown"), [("张三", "张*"), ("买买提·吐尔逊", "买*"), (" 王", "王*"), ("", ""), ("𠮷野", "𠮷*")]
)
def test_a_name_is_shown_by_its_first_character(name, shown):
    assert mask_name(name) == shown


LEAKS = [
    (f"KeyError('{ID}')", ID),
    (f"没有照片：202005-034/{ID}.jpg", ID),
    (f"没有照片：{WIDE_ID}.jpg", WIDE_ID),
    (f"{WIDE_ID} 重复", WIDE_ID),
    (f"photo_{ID}.JPG", ID),
    (f"b'{ID.lower()}.jpeg'", ID.lower()),
    ("110105 19491231 002X", "19491231"),
    ("15 位：110105491231002。", "110105491231002"),
    ("证件 H12345678、M1234567801", "1234567"),
    ("护照 E12345678 与 123456789", "12345678"),
    ("台胞证 12345678 和 1234567890(A)", "12345678"),
    ("USA110090010101", "110090010101"),
    ("军字第1234567号", "1234567"),
    ("/inbox/张三丰.jpg: No such file", "三丰"),
    ("370102199001010017张三丰.jpg", "张三丰"),
    ("370102199001010017 张三丰.jpg", "三丰"),
    ("王晓[沛].jpg", "晓"),
    ("没有照片：张三丰(1).jpg", "三丰"),
    ("张三丰（本人).JPEG 打不开", "三丰"),
    ("张三丰 (1).jpg", "三丰"),
    ("[张三丰].jpg", "三丰"),
    ("见 110105********002X（张三丰.jpg）", "三丰"),
    ("张 三 丰.jpg", "三"),
    ("/inbox/370100/JOHN SMITH .jpg: No such file", "SMITH"),
    ("张三丰.png", "三丰"),
    ("姓名：欧阳娜娜，性别：女", "欧阳娜娜"),
    ("{'KSXM': '欧阳娜娜', 'XB': '女'}", "欧阳娜娜"),
    ("370102199001010017370102199001010025", "19900101"),
]


def test_a_name_that_only_its_field_gives_away_is_masked():
    event = mask_event(None, "info", {"event": "row", "KSXM": "张三丰", "rows": [{"姓名": "欧阳娜娜", "XB": "女"}]})
    assert event == {"event": "row", "KSXM": "张*", "rows": [{"姓名": "欧*", "XB": "女"}]}


@pytest.mark.parametrize(("text", "secret"), LEAKS)
def test_no_number_photo_or_labelled_name_stays_in_a_text(text, secret):
    shown = mask_text(text)
    assert secret not in shown
    assert mask_text(shown) == shown


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("", ""), (f"{ID}.jpg", "110105********002X.jpg"), ("张三丰", "张*"), ("张三丰(1).JPG", "张*.JPG"),
        ("王晓[沛].jpg", "王*.jpg"), ("张三丰.的照片", "张*"), ("张三丰*.jpg", "张*.jpg"),
        (f"张三丰{ID}", "110105********002X"),
    ],
)  # fmt: skip
def test_the_cell_that_names_a_photo_is_masked_whatever_stands_in_it(sent, shown):
    assert mask_value("ZP", sent) == shown


@pytest.mark.parametrize(
    "text",
    [
        "370100-202005-034-000123 ROW-REQUIRED",
        "202005-034-一级建造师(证书补换印制信息)数据(济南市)(100人).XLS",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "2020-05-31T23:59:59.123456+08:00 20200531",
        "0.12345678 s, 4096 bytes, port 54321, row 65535",
        "manual__2020-05-31T00:00:00+00:00 018f3a5e-7c1d-7e2a-9b3c-0123456789ab",
        "/srv/certflow/inbox/202005-034-一级建造师(证书补换印制信息)数据(济南市)(100人)/ 没有照片",
    ],
)
def test_what_is_nobody_stays_readable(text):
    assert mask_text(text) == text


@given(st.from_regex(r"[1-9][0-9]{16}", fullmatch=True), st.text(max_size=10), st.text(max_size=10))
def test_a_number_is_found_between_any_two_texts(body, before, after):
    number = body + identity.check_digit(body)
    assert number not in mask_text(f"{before}{number}{after}")


def test_a_long_hostile_line_takes_no_long_time():
    began = time.process_time()
    for line in (
        "a" * 1_000_000,
        "1" * 300_000,
        "张" * 300_000,
        "张 " * 150_000,
        "张(" * 150_000,
        "(张)" * 100_000,
        "/a " * 100_000,
        "a1b2" * 100_000,
        "=" * 300_000,
    ):
        mask_text(line)
    assert time.process_time() - began < 5


@pytest.fixture
def log():
    """A logger of this process with masking installed, and what its handler wrote; undone afterwards."""
    factory, processors = logging.getLogRecordFactory(), list(structlog.get_config()["processors"])
    root, stream = logging.getLogger(), io.StringIO()
    handler = logging.StreamHandler(stream)
    root.addHandler(handler)
    privacy.install_log_masking()
    privacy.install_log_masking()
    yield logging.getLogger("certflow.test"), stream, handler
    logging.setLogRecordFactory(factory)
    structlog.get_config()["processors"][:] = processors
    root.removeHandler(handler)
    for other in [*root.handlers, logging.lastResort]:
        other.filters[:] = [item for item in other.filters if not isinstance(item, privacy.MaskingFilter)]


def test_messages_arguments_tracebacks_and_stacks_are_masked(log):
    logger, stream, _ = log
    try:
        {}[ID]
    except KeyError:
        logger.exception("row of %s (%s)", WIDE_ID, {"photo": f"{ID}.jpg"}, stack_info=True)
    written = stream.getvalue()
    assert "KeyError: '110105********002X'" in written
    assert ID not in written
    assert WIDE_ID not in written


def test_extra_fields_are_masked(log):
    logger, stream, handler = log
    handler.setFormatter(logging.Formatter("%(message)s %(who)s"))
    logger.warning("seen", extra={"who": [ID]})
    assert stream.getvalue() == "seen ['110105********002X']\n"


def test_a_handler_that_comes_later_is_masked_too(log):
    logger, _, _ = log
    stream = io.StringIO()
    late = logging.StreamHandler(stream)
    logger.addHandler(late)
    logger.error("lost %s.jpg", ID)
    logger.removeHandler(late)
    assert stream.getvalue() == "lost 110105********002X.jpg\n"


def test_a_wrong_format_string_loses_no_line(log):
    logger, stream, _ = log
    logger.error("%d rows of %s", ID)  # noqa: PLE1206 (the mistake is the case)
    assert stream.getvalue() == "%d rows of %s\n"


def test_structlog_masks_once_and_before_the_renderer(log):
    processors = structlog.get_config()["processors"]
    assert processors.count(mask_event) == 1
    assert processors[-2] is mask_event


def test_a_structlog_event_is_masked_at_any_depth():
    record = object()
    event = {"event": f"{ID}.jpg", "rows": {ID: [("x", ID)]}, "n": 3, "big": 370102199001010017, "_record": record}
    shown = mask_event(None, "info", event)
    assert ID not in repr(shown)
    assert "370102199001010017" not in repr(shown)
    assert shown["n"] == 3
    assert shown["_record"] is record


def test_a_structlog_exception_is_rendered_masked():
    try:
        {}[ID]
    except KeyError as error:
        for given_as in (True, error, (KeyError, error, error.__traceback__)):
            shown = mask_event(None, "error", {"event": "x", "exc_info": given_as})
            assert "exc_info" not in shown
            assert "KeyError: '110105********002X'" in shown["exception"]


def test_the_key_is_made_once_and_for_its_owner_alone(settings):
    key = reference_key(settings)
    assert len(key) == 32
    assert reference_key(settings) == key
    path = settings.keys / "reference.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in settings.keys.iterdir()] == ["reference.key"]


def test_processes_that_start_together_agree_on_one_key(settings):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        keys = pool.map(reference_key, [settings] * 8)
    assert len(set(keys)) == 1


def test_a_reference_needs_the_key():
    assert reference(b"a" * 32, ID) == reference(b"a" * 32, ID)
    assert reference(b"a" * 32, ID) != reference(b"b" * 32, ID)
    assert len(reference(b"a" * 32, ID)) == 64

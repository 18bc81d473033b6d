"""Masking of personal data, on every path that is not a city's own feedback (DOMAIN §9).

Two rules. What is *known* to be a name or a number is masked by `mask_name` and `mask_id`. What is only *text*
(a log line, a traceback, a path: photo file names are ID numbers) goes through `mask_text`, which recognises
numbers of every document type, half- or full-width, and photo file names. It rather masks too much.
"""

import hashlib
import hmac
import logging
import os
import re
import secrets
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping, MutableMapping
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, TextIO

import structlog

from certflow.settings import Settings

_D = "[0-9０-９]"
_X = "[0-9０-９XxＸｘ]"
_A = "[A-Za-zＡ-Ｚａ-ｚ]"
_EDGE = "(?<![0-9０-９A-Za-z])"
_DIGEST = re.compile(r"(?<![0-9A-Za-z])(?=[0-9a-f]*[a-f])(?:[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32})(?![0-9A-Za-z])")
_UUID = r"(?<![0-9A-Za-z])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9A-Za-z])"
_DATE = r"(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"

_KEPT = rf"(?P<kept>{_DIGEST.pattern}|{_UUID})"
_NUMBER = "|".join(
    (
        rf"(?<!{_D}){_D}{{6}}[ \-]{_D}{{8}}[ \-]{_D}{{3}}{_X}(?!{_D})",  # typed in groups (D04)
        rf"(?<!{_D}){_D}{{14,}}{_X}?",  # resident, residence and permanent residence numbers; 管理号 too
        rf"{_EDGE}{_D}{{10}}[(（]?{_A}[)）]?(?![0-9A-Za-z])",  # old 台胞证
        rf"{_EDGE}{_A}{{1,3}}{_D}{{6,13}}[(（]?{_D}{{0,2}}[)）]?(?![0-9A-Za-z])",  # 回乡证, passports, foreign cards
        rf"(?<![0-9０-９A-Za-z.])(?!{_DATE}(?![0-9])){_D}{{8,13}}(?![0-9０-９A-Za-z])(?!\.[0-9])",  # 台胞证, passports
        rf"[\u4e00-\u9fff]{{1,4}}字第?{_D}{{4,}}号?",  # 军官证
    )
)
_STOP = r"""\s/\\'"<>|:：,，;；=()（）\[\]{}"""
_HAN = r"[\u3007\u3400-\u9fff\U00020000-\U0003ffff]"
_ASIDE = rf"(?:[ \u3000]{{0,2}}[(（\[{{][^{_STOP}]*[)）\]}}]|(?<={_HAN})[ \u3000]{{1,3}}(?={_HAN}))"
"""Inside a photo's name: ``(1)``, ``[沛]``, the blank of ``张 三``; behind a slash any blank is inside."""
_END = r"[ \u3000]{0,3}\.(?i:jpe?g|png)"
_BEFORE_END = f"(?={_END}(?![0-9A-Za-z]))"
_PHOTO = (
    rf"(?P<path>(?<=[/\\])[^\t\r\n/\\'\"<>|:：,，;；=]+?){_BEFORE_END}"
    rf"|(?<![^{_STOP}])(?P<photo>(?:[^{_STOP}]+|{_ASIDE}[^{_STOP}]*)(?:{_ASIDE}[^{_STOP}]*){{0,8}}){_BEFORE_END}"
)
_LABELLED = r"""(?P<label>(?:KSXM|姓名)["']?\s*(?:[:：=]|为|是)\s*["'「“]?)(?P<name>[^\s"',，;；。)）\]}」”]+)"""
_SENSITIVE = re.compile(f"{_KEPT}|{_LABELLED}|{_PHOTO}|(?P<number>{_NUMBER})")
_ANY_NUMBER = re.compile(_NUMBER)
_MASKED = re.compile(rf".?\*|(?:{_D}|{_A}){{0,6}}\*+(?:{_D}|{_A}){{0,4}}")
_FILE = re.compile(rf"(?P<stem>.*?)(?P<end>{_END})?", re.DOTALL)


def mask_id(number: str) -> str:
    """``110105********002X``: 6 and 4 signs stay of 18, less of shorter numbers, none of 4 or fewer."""
    length = len(number)
    if length >= 18:
        head, tail = 6, 4
    elif length >= 15:
        head, tail = 6, 3
    elif length >= 8:
        head, tail = 2, 2
    elif length >= 5:
        head, tail = 1, 1
    else:
        head = tail = 0
    return number[:head] + "*" * (length - head - tail) + number[length - tail :]


def mask_name(name: str) -> str:
    """``张*``: the first character, and one star however long the rest is."""
    stripped = name.strip()
    return f"{stripped[0]}*" if stripped else ""


def mask_photo(name: str) -> str:
    """A photo's file name, with or without its ending: the stem masked, whatever stands in it."""
    match = _FILE.fullmatch(name)
    return _mask_stem(match["stem"]) + (match["end"] or "") if match else ""


def mask_text(text: str) -> str:
    """Any text with the numbers and photo file names in it masked; masking twice changes nothing.

    Digests (32, 40 or 64 lower-case hexadecimal signs), UUIDs, dates and record ids stay readable.
    """
    return _SENSITIVE.sub(_masked, text)


def reference(key: bytes, value: str) -> str:
    """HMAC-SHA256 in hex: finds the same ID again outside the database, and cannot be guessed back without the key."""
    return hmac.new(key, value.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def reference_key(settings: Settings) -> bytes:
    """The installation's key for `reference` (32 bytes, file 0600), made on first use; two at once agree on one."""
    path = settings.keys / "reference.key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_name(f".reference-{secrets.token_hex(8)}")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as target:
            target.write(secrets.token_bytes(32))
            target.flush()
            os.fsync(target.fileno())
        _settle(fresh, path)
    return path.read_bytes()


class MaskingFilter(logging.Filter):
    """Masks a record before any handler formats it: message, arguments, traceback, stack and extra fields."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; always True."""
        parts = [_message(record)]
        if record.exc_info and record.exc_info[1] is not None:
            parts.append(_traceback(record.exc_info[1]))
        elif record.exc_text:
            parts.append(record.exc_text)
        # The traceback becomes part of the message: a formatter that renders exceptions its own way would show
        # it unmasked, or, finding none, drop it.
        record.exc_info = record.exc_text = None
        record.msg = mask_text("\n".join(parts))
        record.args = None
        if record.stack_info:
            record.stack_info = mask_text(record.stack_info)
        for name, value in record.__dict__.items():
            if name not in _OWN_FIELDS and isinstance(value, _MASKED_FIELDS):
                record.__dict__[name] = masked(value)
        return True


def mask_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The structlog processor: masks every text in the event; an unrendered exception is rendered and masked."""
    problem = event.get("exc_info")
    if problem:
        error = _exception(problem)
        if error is not None:
            event["exception"] = _traceback(error)
        del event["exc_info"]
    for name, value in event.items():
        if not name.startswith("_"):  # structlog's own, no text: the record, where the event comes from
            event[name] = _of_field(name, value)
    return event


def masked(value: object) -> object:
    """A value with every text in it masked: through mappings, lists and tuples; what is no plain value becomes text."""
    if value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < _SMALLEST_ID):
        return value
    if isinstance(value, Mapping):
        return {masked(key): _of_field(key, item) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    if isinstance(value, tuple):
        return tuple(masked(item) for item in value)  # stays a tuple: it may be the arguments of a format string
    if isinstance(value, bytes):
        return mask_text(value.decode("utf-8", "backslashreplace"))
    return mask_text(str(value))


def install_log_masking() -> None:
    """Mask every log record of this process from now on, and its last words; calling it again changes nothing.

    The record factory catches records of loggers and handlers that do not exist yet; the filter on the root's
    handlers also catches extra fields; structlog gets `mask_event` before its renderer. Warnings and the tracebacks
    of a process, a thread or a finaliser that nobody caught go to standard error past all of these: masked too.
    """
    _mask_last_words()
    factory = logging.getLogRecordFactory()
    if not getattr(factory, "masks_personal_data", False):
        logging.setLogRecordFactory(_masking(factory))
    handlers = [*logging.getLogger().handlers, *([logging.lastResort] if logging.lastResort else [])]
    for handler in handlers:
        if not any(isinstance(item, MaskingFilter) for item in handler.filters):
            handler.addFilter(MaskingFilter())
    processors = structlog.get_config()["processors"]
    if mask_event not in processors:
        if isinstance(processors, list):
            # In place: loggers that were used already keep this very list.
            processors.insert(max(len(processors) - 1, 0), mask_event)
        else:
            structlog.configure(processors=[*processors[:-1], mask_event, *processors[-1:]])


def _mask_last_words() -> None:
    if getattr(sys.excepthook, "masks_personal_data", False):
        return

    def write(text: str) -> None:
        if sys.stderr is not None:  # none under pythonw
            sys.stderr.write(mask_text(text))

    def process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        write("".join(traceback.format_exception(kind, error, trace)))

    def thread(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread else "?"
        told = traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback)
        if not issubclass(args.exc_type, SystemExit):
            write("".join((f"Exception in thread {name}:\n", *told)))

    def finaliser(args: "sys.UnraisableHookArgs") -> None:
        told = traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback)
        write("".join((f"Exception ignored in {type(args.object).__name__}:\n", *told)))

    def warning(  # noqa: PLR0917 (the signature of `warnings.showwarning`)
        message: Warning | str, category: type[Warning], filename: str, lineno: int,
        file: TextIO | None = None, line: str | None = None,
    ) -> None:  # fmt: skip
        text = mask_text(warnings.formatwarning(message, category, filename, lineno, line))
        (file or sys.stderr).write(text)

    process.masks_personal_data = True  # type: ignore[attr-defined]
    sys.excepthook, threading.excepthook, sys.unraisablehook = process, thread, finaliser
    warnings.showwarning = warning


def _of_field(field: object, value: object) -> object:
    """A field's value, masked; of one that is a name by its label, whatever it looks like."""
    return mask_name(value) if field in _NAMES and isinstance(value, str) else masked(value)


_NAMES = frozenset({"KSXM", "姓名"})
_SMALLEST_ID = 10**13
"""Whole numbers from here on are no counts or sizes: an ID number that was made a number."""
_MASKED_FIELDS = (str, bytes, dict, list, tuple, BaseException, PurePath)
_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _masking(factory: Any) -> Any:  # noqa: ANN401 (logging types its factory so)
    rewrite = MaskingFilter().filter

    def make(*args: object, **kwargs: object) -> logging.LogRecord:
        record: logging.LogRecord = factory(*args, **kwargs)
        rewrite(record)
        return record

    make.masks_personal_data = True  # type: ignore[attr-defined]
    return make


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 (a wrong format string or a failing __str__ must not lose the line)
        return str(record.msg)


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip("\n")


def _exception(problem: object) -> BaseException | None:
    if isinstance(problem, BaseException):
        return problem
    if isinstance(problem, tuple) and len(problem) == 3 and isinstance(problem[1], BaseException):
        return problem[1]
    return sys.exc_info()[1]


def _masked(match: re.Match[str]) -> str:
    if match["kept"] is not None:
        return match["kept"]
    if match["label"] is not None:
        return match["label"] + (match["name"] if match["name"].endswith("*") else mask_name(match["name"]))
    if (stem := match["path"] or match["photo"]) is not None:
        return _mask_stem(stem)
    return mask_id(match["number"])


def _mask_stem(stem: str) -> str:
    """The stem of a photo's file name: a number, a person's name, or both; one of them stays, masked."""
    if _MASKED.fullmatch(stem):
        return stem
    number = _ANY_NUMBER.search(stem)
    return mask_id(number[0]) if number else mask_name(stem)


def _settle(fresh: Path, path: Path) -> None:
    """Give the file its final name unless another process was first (link never overwrites)."""
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()

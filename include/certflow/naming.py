"""The grammar of package and file names (notice 附件二 4): read tolerant, write strict.

Pure syntax: no table is asked here, so a parsed exam or city may not exist. Nothing here knows a file.

    申报年月-考试代码-考试名称(证书补换印制信息)数据(地市)(证书补换人员数)
    202005-034-一级建造师(证书补换印制信息)数据(济南市)(100人).XLS
"""

import os
import re
import unicodedata
from dataclasses import dataclass

from certflow.month import Month

_SUBJECT = "(证书补换印制信息)数据"

_BRACKETS = {"（": "(", "）": ")", "﹙": "(", "﹚": ")"}
DASHES = dict.fromkeys("－﹣‐‑‒–—―−", "-")
"""What word processors and input methods make of a hyphen, by sign (N13, D34)."""
_BLANKS = dict.fromkeys(
    " \t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u202f\u205f\u3000\u200b\u2060\ufeff",
    "",
)
_WIDE = {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_WIDE = {wide: narrow for wide, narrow in _WIDE.items() if wide not in _BRACKETS and wide not in DASHES}
_FOLD = str.maketrans(_BRACKETS | DASHES | _BLANKS | _WIDE)
_NOTES = (
    ("brackets", re.compile(f"[{''.join(_BRACKETS)}]")),
    ("dash", re.compile(f"[{''.join(DASHES)}]")),
    ("blanks", re.compile(f"[{''.join(_BLANKS)}]")),
    ("width", re.compile(f"[{re.escape(''.join(_WIDE))}]")),
)

_PACKAGE = re.compile(
    r"(?P<month>[0-9]+)-(?P<code>[0-9A-Za-z]{1,8})-(?P<exam>.+)"
    + re.escape(_SUBJECT)
    + r"\((?P<city>[^()]+)\)\((?P<count>[0-9]{1,6})人\)"
)
_EXTENSION = re.compile(r"(?:\.[0-9A-Za-z]{1,5}){1,2}$")
_COPY_MARKS = r"的?副本|复件|拷贝|最终版|终稿|最终|定稿|最新版?|修改版?"
_COPY_PREFIX = re.compile(r"^(?:(?:副本|复件)(?:\([0-9]{1,3}\))?-?)+")
_COPY_SUFFIX = re.compile(
    rf"(?<=人\))(?:[-_]?(?:{_COPY_MARKS})|\([0-9]{{1,3}}\)|[-_]?(?<![0-9])[0-9]{{1,2}}(?![0-9])|[-_]?[vV][0-9]{{1,2}})+$"
)
JUNK_FILES = frozenset({".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
"""What desktops leave in folders, in lower case."""
TRIAL = "试投-"
"""What the names of answers to a trial begin with."""
_TRIAL_SLIP = re.compile(rf"^{TRIAL}(?=.*-F[0-9]{{6,}}-退回单)")
_SLIP = re.compile(r"(?<=人\))-(F[0-9]{6,})-退回单.*$")
"""Our own mark, and whatever the city wrote behind it when it had mended the slip: 更正, 的副本, (1)."""
_NIL = re.compile(
    r"(?P<month>[0-9]{6})-零报\((?P<city>[^()]+)\)(?:-?副本|\([0-9]{1,3}\))*(?:\.txt){1,2}", re.IGNORECASE
)
"""Windows hides the ending, so that people write a second one (P19)."""


@dataclass(frozen=True, slots=True)
class PackageName:
    """What a package's name says. ValueError when a field could not be written so that it reads back the same."""

    month: Month
    exam_code: str
    exam_name: str
    city: str
    count: int
    """Rows (certificates), not persons."""

    def __post_init__(self) -> None:
        match = _PACKAGE.fullmatch(self.stem)
        read = match.group("code", "exam", "city", "count") if match else ()
        written = (self.exam_code, self.exam_name, self.city, str(self.count))
        if read != written or not _balanced(self.exam_name) or self.stem != _folded(self.stem):
            message = "a package name needs a code of letters and digits, and exam and city in half-width signs"
            raise ValueError(message)

    @property
    def stem(self) -> str:
        """The canonical name without extension: half-width brackets, digits and dashes."""
        return f"{self.month}-{self.exam_code}-{self.exam_name}{_SUBJECT}({self.city})({self.count}人)"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A name that was read: `name`, or the rule it breaks; and what was tolerated on the way."""

    name: PackageName | None
    fault: str
    """``""``, ``NAME-FORM`` (not of the form) or ``NAME-MONTH`` (impossible month)."""
    notes: tuple[str, ...]
    """brackets, dash, blanks, width, copy-suffix, slip, count-style, composed: whatever differs from the canonical
    name. `slip`: one of our 退回单, sent back corrected; it counts the rows of the file it answers, not its own."""


def parse(text: str) -> Parsed:
    """Read a stem or a file name, with or without extension (one or two, ``.XLS.zip``)."""
    notes = [note for note, pattern in _NOTES if pattern.search(text)]
    folded = _folded(text)
    if unicodedata.normalize("NFC", text) != text:
        notes.append("composed")  # N14
    stem = _EXTENSION.sub("", folded)
    unslipped = _SLIP.sub("", _TRIAL_SLIP.sub("", stem))
    if unslipped != stem:
        notes.append("slip")
    bare = _COPY_SUFFIX.sub("", _COPY_PREFIX.sub("", unslipped))  # N12
    if bare != unslipped:
        notes.append("copy-suffix")
    match = _PACKAGE.fullmatch(bare)
    if match is None or not _balanced(match["exam"]):  # N02
        return Parsed(None, "NAME-FORM", tuple(notes))
    try:
        month = Month.parse(match["month"])
    except ValueError:
        return Parsed(None, "NAME-MONTH", tuple(notes))  # N06
    count = int(match["count"])
    if str(count) != match["count"]:
        notes.append("count-style")  # N05
    return Parsed(PackageName(month, match["code"], match["exam"], match["city"], count), "", tuple(notes))


def slip_of(text: str) -> str | None:
    """The receipt number of the file that one of our 退回单 answers, by its name; None when it is none."""
    match = _SLIP.search(_EXTENSION.sub("", _folded(text)))
    return match[1] if match is not None else None


def parse_nil(text: str) -> tuple[Month, str] | None:
    """Month and city of a nil report ``YYYYMM-零报(城市).txt``; None when the name is no such thing."""
    match = _NIL.fullmatch(_folded(text))
    if match is None:
        return None
    try:
        return Month.parse(match["month"]), match["city"]
    except ValueError:
        return None


def fold(text: str) -> str:
    """A name of an exam or a city in the signs we write: half-width, without blanks, NFC."""
    return _folded(text)


def readable(name: bytes | str) -> str:
    """A file's name for people, as a server or a disk has it: UTF-8, else GB18030; no control characters (T16)."""
    raw = os.fsencode(name)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("gb18030", "replace")
    return "".join("\ufffd" if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in text)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).translate(_FOLD)


def _balanced(text: str) -> bool:
    depth = 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            return False
    return depth == 0

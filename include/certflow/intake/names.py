"""Names of archive entries: bytes to text by archive, what may not pass, and what an entry is for.

Chinese zips carry their names in GBK, GB18030 or UTF-8, with or without saying so (Z01-Z07); guessing per name
goes wrong in 0.7 % of all names, guessing per archive hardly ever.
"""

import re
import struct
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from certflow import naming, sniff
from certflow.errors import SubmissionError

EXTRA = 0x7075
"""Info-ZIP Unicode Path."""
COMPONENT_BYTES = 250
"""Longest part of a name in UTF-8 bytes: file systems end at 255, and `.part` must fit (Z47)."""

_WORDS = ("证书补换", "印制信息", "数据(", "数据（", "照片", "零报")
_FORBIDDEN = re.compile('[\x00-\x1f\x7f-\x9f:*?"<>|\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffd\ud800-\udfff]')
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9]|conin\$|conout\$)(?:\..*)?", re.IGNORECASE)
_DRIVE = re.compile("[A-Za-z]:")
_HAN = re.compile("[\u4e00-\u9fff]")
_JUNK_FOLDERS = {"__macosx", ".trashes", ".spotlight-v100", ".fseventsd", "@eadir", "$recycle.bin"}
_WORKBOOKS = ("xls", "xlsx", "xlsm", "xlsb", "xlt", "xltx", "xltm", "et", "ett", "ods", "csv", "tsv")
_PHOTOS = ("jpg", "jpeg", "jpe", "jfif", "png", "gif", "bmp", "webp", "tif", "tiff", "heic", "heif", "avif")
_PROGRAMS = (
    "exe", "com", "scr", "pif", "bat", "cmd", "ps1", "vbs", "vbe", "js", "jse", "wsf", "wsh", "hta", "msi", "msp",
    "dll", "cpl", "jar", "lnk", "reg", "sh", "chm", "inf", "url", "app", "apk", "py",
)  # fmt: skip
_ARCHIVES = ("zip", "rar", "7z", "tar", "gz", "tgz", "bz2", "xz", "cab", "iso", "z01", "001")
_ROLES = {
    **dict.fromkeys(_WORKBOOKS, "workbook"),
    **dict.fromkeys(_PHOTOS, "photo"),
    **dict.fromkeys(_PROGRAMS, "ZIP-EXECUTABLE"),
    **dict.fromkeys(_ARCHIVES, "ZIP-NESTED"),
}
"""What a file is taken for by the end of its name; its content is judged later."""
_DOCUMENTS = {"doc", "docx", "ppt", "pptx", "wps", "dps", "pdf", "txt", "msg"}


@dataclass(frozen=True, slots=True)
class RawName:
    """A name as stored: its bytes, whether they claim to be UTF-8, and the Unicode Path extra field."""

    raw: bytes
    utf8: bool
    extra: bytes | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """Names as text; `repaired` counts those that needed more than their own declaration (Z05, Z06)."""

    names: list[str]
    repaired: int


def decode(raw_names: Sequence[RawName]) -> Decoded:
    """Decode the names of one archive together; SubmissionError ZIP-NAMES when no encoding fits."""
    found: list[str | None] = [_unicode_path(name) for name in raw_names]
    repaired = 0
    open_ = [index for index, name in enumerate(found) if name is None]
    flagged = [index for index in open_ if raw_names[index].utf8]
    for index, text in zip(flagged, _all([raw_names[i].raw for i in flagged], "utf-8") or [], strict=False):
        found[index] = text
    if flagged and found[flagged[0]] is None:  # Z05: the flag lies for at least one name
        texts = _all([raw_names[i].raw for i in flagged], "gb18030")
        if texts is None:
            raise SubmissionError("ZIP-NAMES", "名称编码无法识别")
        repaired = len(flagged)
        for index, text in zip(flagged, texts, strict=True):
            found[index] = text
    silent = [index for index in open_ if not raw_names[index].utf8]
    for index, text in zip(silent, _undeclared([raw_names[i].raw for i in silent]), strict=True):
        found[index] = text
    texts = [text or "" for text in found]
    mended = _unbake(texts)
    if mended is not None:
        repaired += sum(old != new for old, new in zip(texts, mended, strict=True))
        texts = mended
    return Decoded(texts, repaired)


def _all(raws: Sequence[bytes], encoding: str) -> list[str] | None:
    try:
        return [raw.decode(encoding) for raw in raws]
    except UnicodeDecodeError:
        return None


def _undeclared(raws: Sequence[bytes]) -> list[str]:
    """Z01-Z04: strict UTF-8 first, then GB18030, one choice for all names; words of the notice break a tie."""
    as_utf8, as_gb = _all(raws, "utf-8"), _all(raws, "gb18030")
    if as_utf8 is not None and as_gb is not None:
        return as_gb if _score(as_gb) > _score(as_utf8) else as_utf8
    if as_utf8 is not None:
        return as_utf8
    if as_gb is not None:
        return as_gb
    # Neither for all: some tools mix. Each name by itself, but never a guess that leaves a byte unread.
    mixed: list[str] = []
    for raw in raws:
        one = _all([raw], "utf-8") or _all([raw], "gb18030")
        if one is None:
            raise SubmissionError("ZIP-NAMES", "名称编码无法识别")
        mixed += one
    return mixed


def _score(texts: Sequence[str]) -> int:
    return sum(word in text for text in texts for word in _WORDS)


def _unicode_path(name: RawName) -> str | None:
    """The name of field 0x7075 where its CRC fits the stored name; a contradiction ends the reading (Z07)."""
    if name.extra is None or len(name.extra) < 5 or name.extra[0] != 1:
        return None
    try:
        text = name.extra[5:].decode()
    except UnicodeDecodeError:
        raise SubmissionError("ZIP-NAMES", "名称字段矛盾") from None
    if ".." in re.split(r"[\\/]", text):
        raise SubmissionError("ZIP-TRAVERSAL", "名称字段")
    fits: bool = struct.unpack_from("<I", name.extra, 1)[0] == zlib.crc32(name.raw)
    readings = {one for encoding in ("utf-8", "gb18030", "cp437") for one in _all([name.raw], encoding) or []}
    if text in readings:
        return text
    # A tool without the right code page stores "?" or "_" for what it cannot write: no contradiction.
    if not fits or (name.raw.isascii() and not re.search(rb"[?_]", name.raw)):
        raise SubmissionError("ZIP-NAMES", "名称字段矛盾")
    return text


def _unbake(texts: Sequence[str]) -> list[str] | None:
    """Z06: names an earlier tool read as cp437 and saved that way; None when there is nothing to mend."""
    foreign = [text for text in texts if not text.isascii()]
    if not foreign or any(_HAN.search(text) for text in foreign):
        return None
    try:
        mended = [text if text.isascii() else text.encode("cp437").decode("gb18030") for text in texts]
    except UnicodeError:
        return None
    return (
        mended if all(_HAN.search(new) for old, new in zip(texts, mended, strict=True) if not old.isascii()) else None
    )


def clean(name: str, place: str) -> str:
    """The name with `/` between its parts, after refusing what no name may hold; `place` says where in messages.

    Raises SubmissionError ZIP-TRAVERSAL (Z08-Z10) or ZIP-NAMES (Z26, Z46, Z47). Junk is left as it is: nothing
    is ever written under its name.
    """
    slashed = name.replace("\\", "/")
    if slashed.startswith("/") or _DRIVE.match(slashed):
        raise SubmissionError("ZIP-TRAVERSAL", place)
    parts = [part for part in slashed.split("/") if part not in ("", ".")]
    if ".." in (part.strip() for part in parts):
        raise SubmissionError("ZIP-TRAVERSAL", place)
    path = "/".join(parts) + ("/" if slashed.endswith(("/", "/.")) else "")
    if "\x00" in path or not parts:
        raise SubmissionError("ZIP-NAMES", place)
    if _junk(parts):
        return path
    for part in parts:
        if (
            _FORBIDDEN.search(part)
            or part.startswith("-")
            or _RESERVED.fullmatch(part.strip())
            or len(part.encode()) > COMPONENT_BYTES
        ):
            raise SubmissionError("ZIP-NAMES", place)
    return path


def _junk(parts: Sequence[str]) -> bool:
    """Z31: what operating systems and office programs leave behind."""
    base = parts[-1].lower()
    return (
        any(part.lower() in _JUNK_FOLDERS for part in parts)
        or base in naming.JUNK_FILES
        or base.startswith(("._", "~$", ".~"))
    )


def role(name: str, head: bytes) -> tuple[str, str]:
    """(role, reason) of an entry: workbook, photo, junk, folder, other; or ZIP-EXECUTABLE, ZIP-NESTED.

    `head` is the beginning of its content: programs are known by it, whatever their name.
    """
    base = unicodedata.normalize("NFKC", name.rstrip("/").rpartition("/")[2]).strip(" .").lower()
    extension = base.rpartition(".")[2].strip() if "." in base else ""
    if sniff.is_executable(head):
        return "ZIP-EXECUTABLE", ""
    if _junk(name.rstrip("/").split("/")):
        return "junk", "系统文件"
    if name.endswith("/"):
        return "folder", ""
    by_name = _ROLES.get(extension)
    return by_name or _role_by_content(extension, head), ""


def is_exam_zip(name: str, head: bytes) -> bool:
    """Whether an entry of a city zip is one of its exam zips (Z16)."""
    base = name.rsplit("/", 1)[-1]
    return base.lower().endswith(".zip") and head.startswith(b"PK\x03\x04") and naming.parse(base).name is not None


def _role_by_content(extension: str, head: bytes) -> str:
    if extension in _DOCUMENTS:
        return "other"
    if head.startswith(b"\xff\xd8\xff"):
        return "photo"
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        return "workbook"
    if head.startswith((b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c", b"PK\x03\x04")):
        return "ZIP-NESTED"
    return "other"

"""What bytes are, by their first bytes; never by a file's name."""

HEAD = 4096
"""Bytes of the beginning that `type_name` and `is_executable` may look at."""

_MAGIC = (
    (b"PK\x03\x04", "zip 压缩包"),
    (b"Rar!\x1a\x07", "RAR 压缩包"),
    (b"7z\xbc\xaf\x27\x1c", "7z 压缩包"),
    (b"\x1f\x8b", "gzip 压缩包"),
    (b"BZh", "bzip2 压缩包"),
    (b"\xfd7zXZ\x00", "xz 压缩包"),
    (b"MSCF", "CAB 压缩包"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "未压缩的 Excel 97-2003 或其他 OLE 文件"),
    (b"MZ", "可执行程序"),
    (b"\x7fELF", "可执行程序"),
    (b"%PDF", "PDF 文件"),
    (b"\xff\xd8\xff", "JPEG 图片"),
    (b"\x89PNG\r\n\x1a\n", "PNG 图片"),
    (b"GIF8", "GIF 图片"),
    (b"BM", "BMP 图片"),
    (b"II*\x00", "TIFF 图片"),
    (b"MM\x00*", "TIFF 图片"),
    (b"%!PS", "EPS 图片"),
    (b"\xc5\xd0\xd3\xc6", "EPS 图片"),
    (b"{\\rtf", "RTF 文档"),
    (b"\x09\x00", "Excel 2.x-4.0 工作簿"),
    (b"\x09\x02", "Excel 2.x-4.0 工作簿"),
    (b"\x09\x04", "Excel 2.x-4.0 工作簿"),
)
OFFICE = "未压缩的 Excel（.xlsx）或其他 Office 文件"
OPEN_DOCUMENT = "OpenDocument 表格（.ods）或文档"
"""Zips by their first bytes, so only their directories tell."""
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}" + b"$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!"
"""The harmless test virus, in two pieces so that no scanner takes this source for it."""


def type_name(head: bytes) -> str:
    """Chinese words for what a file is, for the message that refuses it."""
    if not head:
        return "空文件"
    if head[4:8] == b"ftyp":
        return "HEIC/AVIF 图片" if head[8:12] in (b"heic", b"heix", b"mif1", b"avif", b"hevc") else "视频文件"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP 图片"
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    return _text_name(head)


_TEXTS = (
    (b"<!doctype html", "网页（HTML）"),
    (b"<html", "网页（HTML）"),
    (b"<head", "网页（HTML）"),
    (b"<body", "网页（HTML）"),
    (b"<meta", "网页（HTML）"),
    (b"<script", "网页（HTML）"),
    (b"<table", "网页（HTML）"),
    (b"<?xml", "XML 文件"),
    (b"<svg", "XML 文件"),
    (b"mime-version:", "单个文件网页（MHTML）"),
)


def _text_name(head: bytes) -> str:
    text = head
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            text = head[len(mark) :].decode(encoding, "replace").encode()
    text = text.lstrip().lower()
    if b"urn:schemas-microsoft-com:office:spreadsheet" in text or b'progid="excel.sheet"' in text:
        return "XML 电子表格 2003"  # E04
    for beginning, name in _TEXTS:
        if text.startswith(beginning):
            return name
    if b"<html" in text or b"<table" in text:
        return "网页（HTML）"
    if any(byte < 9 for byte in text):
        return "未知类型的文件"
    return "文本文件（CSV 或 TXT）"


def is_executable(head: bytes) -> bool:
    """A program or the test virus (Z49), whatever the name."""
    if head.startswith((b"\x7fELF", b"#!")) or _EICAR in head[:256]:
        return True
    if head.startswith(b"MZ") and len(head) >= 64:
        at = int.from_bytes(head[60:64], "little")
        return head[at : at + 2] in (b"PE", b"NE", b"LE") or at >= len(head)
    return False

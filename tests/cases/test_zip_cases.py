"""Family Z: what may be wrong with the zip itself, bytes in, verdict JSON out."""

import gzip
import io
import stat
import struct
import unicodedata
import zipfile
from dataclasses import replace

import pytest
from kit import Case, Desk, Files, book, expect, judged, standard, zipped
from made_zips import DEFLATED, UTF8, Member, unicode_path, zip_bytes


def members(desk: Desk, *, photo: bool = True, **changes: object) -> list[Member]:
    """A workbook and, with `photo`, the photo its one row needs."""
    row = desk.person(photo=photo)
    made = [Member(f"{desk.stem()}.XLS", book(row), **changes)]
    return [*made, Member(f"{desk.stem()}/{row['ZJHM']}.jpg", desk.picture(), **changes)] if photo else made


def good(desk: Desk, **changes: object) -> bytes:
    return zip_bytes(*members(desk, **changes))


def named(encoding: str, flags: int = 0):
    def make(desk: Desk) -> bytes:
        return zip_bytes(*(replace(one, name=str(one.name).encode(encoding), flags=flags) for one in members(desk)))

    return make


def beside(*more: Member):
    """A sound submission and these entries."""
    return lambda desk: zip_bytes(*members(desk), *more)


def placed(place):
    """A sound submission whose entries' names go through `place`."""
    return lambda desk: zip_bytes(*(replace(one, name=place(str(one.name))) for one in members(desk)))


def patched(desk: Desk, mark: bytes, offset: int, value: bytes) -> bytes:
    """A sound submission with bytes changed behind the last `mark`."""
    data = bytearray(good(desk))
    at = data.rindex(mark) + offset
    data[at : at + len(value)] = value
    return bytes(data)


def overlapping(desk: Desk) -> bytes:
    inner = zip_bytes(Member("b.jpg", b"x"))
    local = inner[: inner.index(b"PK\x01\x02")]
    data = bytearray(zip_bytes(*members(desk), Member("a.jpg", local), Member("b.jpg", b"x")))
    last = data.rindex(b"PK\x01\x02")
    data[last + 42 : last + 46] = struct.pack("<L", data.index(local))
    return bytes(data)


def concatenated(desk: Desk) -> bytes:
    other = bytearray(good(desk))
    first = zip_bytes(Member("a.jpg", b"x"))
    directory, end = other.index(b"PK\x01\x02"), other.index(b"PK\x05\x06")
    count = struct.unpack_from("<H", other, end + 10)[0]
    at = directory
    for _ in range(count):
        (offset,) = struct.unpack_from("<L", other, at + 42)
        struct.pack_into("<L", other, at + 42, offset + len(first))
        at += 46 + sum(struct.unpack_from("<3H", other, at + 28))
    struct.pack_into("<L", other, end + 16, directory + len(first))
    return first + bytes(other)


def two_cases(desk: Desk, other_name: str, *, same: bool) -> bytes:
    row = desk.person(photo=True)
    first = desk.picture()
    desk.people += 1
    second = first if same else desk.picture()
    folder = desk.stem()
    return zipped(
        {
            f"{folder}.XLS": book(row),
            f"{folder}/{row['ZJHM']}.jpg": first,
            f"{folder}/{row['ZJHM']}{other_name}": second,
        }
    )


def composed_and_not(desk: Desk) -> bytes:
    workbook, photo = members(desk)
    photos = (
        replace(photo, name=unicodedata.normalize(form, str(photo.name)[:-4] + " é.jpg")) for form in ("NFC", "NFD")
    )
    return zip_bytes(workbook, *photos)


def streamed(desk: Desk) -> bytes:
    out = io.BytesIO()

    class Pipe(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, block: bytes) -> int:
            return out.write(block)

    with zipfile.ZipFile(Pipe(), "w", zipfile.ZIP_DEFLATED) as archive:
        for one in members(desk):
            archive.writestr(str(one.name), one.data)
    return out.getvalue()


def zip64(desk: Desk) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for one in members(desk):
            with archive.open(zipfile.ZipInfo(str(one.name)), "w", force_zip64=True) as stream:
                stream.write(one.data)
    return out.getvalue()


def many(desk: Desk) -> bytes:
    return standard({f"{number}.jpg": b"" for number in range(70_000)})


def in_zip_named(change):
    """A sound submission in a zip of another name."""
    return lambda desk: {f"{change(desk)}.zip": good(desk)}


def two_exams(desk: Desk) -> bytes:
    one, other = desk.person(), desk.person(BKJB="", BKZY="")
    return zipped({f"{desk.stem()}.XLS": book(one), f"{desk.stem(code='902', exam='注册税务师')}.XLS": book(other)})


def in_two_zips(desk: Desk) -> Files:
    workbook, photo = members(desk)
    return {f"{desk.stem()}.zip": zip_bytes(workbook), f"{desk.stem()}(照片).zip": zip_bytes(photo)}


def over_two_books(desk: Desk) -> Files:
    return {
        f"{desk.stem()}.zip": zipped({f"{desk.stem()}.XLS": book(desk.person())}),
        f"{desk.stem(2)}.zip": zipped({f"{desk.stem(2)}.XLS": book(desk.person(), desk.person())}),
    }


def twice(desk: Desk) -> Files:
    data = good(desk)
    return {f"{desk.stem()}.zip": data, "再报一次.zip": data}


def matryoshka(depth: int):
    def make(desk: Desk) -> bytes:
        data = good(desk)
        for _ in range(depth):
            data = zipped({f"{desk.stem()}.zip": data})
        return data

    return make


EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}" + b"$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
BITS = (stat.S_IFREG | stat.S_ISUID | 0o755) << 16
LINK = struct.pack("<HH", 0x000D, 18) + bytes(12) + b"target"

CASES = [
    Case("Z01", "GBK names without the UTF-8 flag", named("gbk"), "accepted"),
    Case("Z02", "four-byte GB18030 names", lambda desk: zip_bytes(
        *(replace(one, name=f"𬎆𠮷/{one.name}".encode("gb18030"), flags=0) for one in members(desk))),
        "accepted", ("ZIP-WRAPPER",)),
    Case("Z03", "UTF-8 names without the flag", named("utf-8"), "accepted"),
    Case("Z04", "one name fits both encodings, the others decide", lambda desk: zip_bytes(
        *(replace(one, name="模模/".encode("gbk") + str(one.name).encode("gbk"), flags=0) for one in members(desk))),
        "accepted", ("ZIP-WRAPPER",)),
    Case("Z04", "every name fits both encodings", lambda desk: {"模模.zip": zip_bytes(
        Member("模模.xls".encode("gbk"), desk.book(), flags=0))}, "held", ("NAME-FORM",)),
    Case("Z05", "flag says UTF-8, bytes are GBK", named("gbk", UTF8), "accepted", ("ZIP-ENCODING",)),
    Case("Z05", "flag says UTF-8, no encoding fits", beside(Member(b"\xff\xff\xfe.jpg")), "returned", ("ZIP-NAMES",)),
    Case("Z06", "mojibake baked into the names", placed(lambda name: name.encode("gbk").decode("cp437")),
         "accepted", ("ZIP-ENCODING",)),
    Case("Z06", "mojibake no code page undoes", lambda desk: {"乱码.zip": zip_bytes(
        Member("═╗╝Ð.XLS", desk.book()))}, "held", ("NAME-FORM",)),
    Case("Z07", "Unicode path field leads out", beside(
        Member(b"a.jpg", b"x", extra=unicode_path(b"a.jpg", "../../a.jpg"))), "returned", ("ZIP-TRAVERSAL",)),
    Case("Z07", "Unicode path field contradicts the name", beside(
        Member(b"a.jpg", b"x", extra=unicode_path(b"a.jpg", "b.jpg"))), "returned", ("ZIP-NAMES",)),
    Case("Z08", "a name with ../", beside(Member("../a.jpg", b"x")), "returned", ("ZIP-TRAVERSAL",)),
    Case("Z09", "an absolute name", beside(Member("/etc/a.jpg", b"x")), "returned", ("ZIP-TRAVERSAL",)),
    Case("Z09", "a drive letter", beside(Member("C:\\a.jpg", b"x")), "returned", ("ZIP-TRAVERSAL",)),
    Case("Z09", "a share", beside(Member("\\\\server\\share\\a.jpg", b"x")), "returned", ("ZIP-TRAVERSAL",)),
    Case("Z10", "backslashes between folders", placed(lambda name: name.replace("/", "\\")), "accepted"),
    Case("Z10", "traversal with backslashes", beside(Member("..\\a.jpg", b"x")), "returned", ("ZIP-TRAVERSAL",)),
    Case("Z11", "a symbolic link", beside(Member("a.jpg", b"/etc/passwd", attributes=(stat.S_IFLNK | 0o777) << 16)),
         "returned", ("ZIP-SPECIAL",)),
    Case("Z12", "a device", beside(Member("a.jpg", b"", attributes=(stat.S_IFCHR | 0o600) << 16)),
         "returned", ("ZIP-SPECIAL",)),
    Case("Z12", "a setuid file", beside(Member("a.jpg", b"", attributes=BITS)), "returned", ("ZIP-SPECIAL",)),
    Case("Z12", "a hard link", beside(Member("a.jpg", b"", extra=LINK)), "returned", ("ZIP-SPECIAL",)),
    Case("Z13", "a bomb", beside(Member("a.jpg", bytes(100 << 20), DEFLATED)), "returned", ("ZIP-BOMB",)),
    Case("Z14", "a header that lies about the size", beside(Member("a.jpg", bytes(20 << 20), DEFLATED, size=10)),
         "returned", ("ZIP-BOMB",)),
    Case("Z15", "overlapping entries", overlapping, "returned", ("ZIP-OVERLAP",)),
    Case("Z16", "any zip beside the submission", beside(Member("a.zip", zipped({"a.txt": b"x"}))),
         "returned", ("ZIP-NESTED",)),
    Case("Z17", "a zip in a zip in a zip", matryoshka(2), "returned", ("ZIP-NESTED",)),
    Case("Z18", "70 000 entries", many, "returned", ("ZIP-ENTRIES",)),
    Case("Z19", "ZipCrypto", lambda desk: good(desk, flags=UTF8 | 1), "returned", ("ZIP-ENCRYPTED",)),
    Case("Z20", "AES", lambda desk: good(desk, flags=UTF8 | 1, method=99), "returned", ("ZIP-ENCRYPTED",)),
    Case("Z21", "one entry encrypted", beside(Member("a.jpg", b"x", flags=UTF8 | 1)), "returned", ("ZIP-ENCRYPTED",)),
    Case("Z22", "truncated", lambda desk: good(desk)[:-100], "returned", ("ZIP-DAMAGED",)),
    Case("Z23", "70 000 bytes behind the end", lambda desk: good(desk) + bytes(70_000), "returned", ("ZIP-DAMAGED",)),
    Case("Z24", "two zips in one file", concatenated, "returned", ("ZIP-DAMAGED",)),
    Case("Z24", "two zips, offsets not mended", lambda desk: zip_bytes(Member("a", b"x")) + good(desk),
         "returned", ("ZIP-DAMAGED",)),
    Case("Z25", "local and central names differ", beside(Member("a.jpg", b"x", local_name=b"b.jpg")),
         "returned", ("ZIP-NAMES",)),
    Case("Z26", "NUL in a name", beside(Member(b"a.jpg\0.exe", b"x")), "returned", ("ZIP-NAMES",)),
    Case("Z27", "a wrong CRC", beside(Member("a.jpg", b"x", crc=1)), "returned", ("ZIP-DAMAGED",), said="第 3 个条目"),
    Case("Z27", "broken deflate", beside(Member("a.jpg", b"x" * 99, DEFLATED, packed=b"\xff\xff\xff")),
         "returned", ("ZIP-DAMAGED",)),
    Case("Z28", "one name twice", beside(Member("a.jpg", b"x"), Member("a.jpg", b"y")), "returned", ("ZIP-DUPLICATE",)),
    Case("Z29", "names differ in case, contents are the same", lambda desk: two_cases(desk, ".JPG", same=True),
         "accepted", ("ZIP-JUNK",)),
    Case("Z29", "names differ in case, contents too", lambda desk: two_cases(desk, ".JPG", same=False),
         "held", ("ZIP-CASE",), {"held": 1}),
    Case("Z30", "names differ in a trailing blank", lambda desk: two_cases(desk, ".jpg ", same=False),
         "held", ("ZIP-CASE",), {"held": 1}),
    Case("Z30", "names composed and decomposed", composed_and_not, "accepted", ("ZIP-JUNK", "PHOTO-RENAMED")),
    Case("Z31", "what systems leave behind", beside(
        Member("__MACOSX/._37010219600101001X.jpg", b"x"), Member("._37010219600101001X.jpg", b"x"),
        Member(".DS_Store", b"x"), Member("Thumbs.db", b"x"), Member("desktop.ini", b"x"), Member("~$a.xls", b"x"),
        Member(".~a.et", b"x")), "accepted", ("ZIP-JUNK",)),
    Case("Z32", "RAR named .zip", lambda _: b"Rar!\x1a\x07\x01\0" + bytes(99), "returned", ("FILE-TYPE",), said="RAR"),
    Case("Z32", "7z named .zip", lambda _: b"7z\xbc\xaf\x27\x1c" + bytes(99), "returned", ("FILE-TYPE",), said="7z"),
    Case("Z32", "gzip named .zip", lambda _: gzip.compress(b"x"), "returned", ("FILE-TYPE",), said="gzip"),
    Case("Z32", "a workbook of today's Excel named .zip", lambda _: zip_bytes(Member("[Content_Types].xml", b"x")),
         "returned", ("FILE-TYPE",), said="xlsx"),
    Case("Z33", "a login page named .zip", lambda _: b"<!DOCTYPE html><html>404", "returned", ("FILE-TYPE",), said="网页"),
    Case("Z34", "0 bytes", lambda _: b"", "returned", ("FILE-EMPTY",)),
    Case("Z35", "a zip of nothing", lambda _: zip_bytes(), "returned", ("ZIP-EMPTY",)),
    Case("Z36", "part of a split archive", lambda desk: patched(desk, b"PK\x05\x06", 4, b"\x01\x00"),
         "returned", ("ZIP-SPLIT",)),
    Case("Z36", "first part of a split archive", lambda desk: b"PK\x07\x08" + good(desk), "returned", ("ZIP-SPLIT",)),
    Case("Z37", "zip64", zip64, "accepted"),
    Case("Z38", "sizes in data descriptors", streamed, "accepted"),
    Case("Z38", "stored entries with data descriptors", lambda desk: good(desk, descriptor=True), "accepted"),
    *(Case("Z39", f"method {word}", beside(Member("a.jpg", b"x", method=method)), "returned", ("ZIP-METHOD",), said=word)
      for method, word in ((9, "Deflate64"), (14, "LZMA"), (93, "zstd"), (98, "PPMd"))),
    Case("Z39", "method 99", beside(Member("a.jpg", b"x", method=99)), "returned", ("ZIP-ENCRYPTED",)),
    Case("Z40", "a self-extracting program", lambda desk: b"MZ" + bytes(999) + good(desk),
         "returned", ("FILE-TYPE",), said="程序"),
    Case("Z41", "a wrapping folder", placed(lambda name: f"新建文件夹/{name}"), "accepted", ("ZIP-WRAPPER",)),
    Case("Z42", "photos loose beside the workbook", placed(lambda name: name.rpartition("/")[2]),
         "accepted", ("NAME-TOLERATED",)),
    Case("Z43", "the photo folder names another city", lambda desk: zip_bytes(
        *(replace(one, name=str(one.name).replace(f"{desk.city})(1人)/", "莱芜市)(1人)/")) for one in members(desk))),
        "held", ("NAME-FOLDER",)),
    Case("Z43", "the photo folder differs in count and brackets", placed(lambda name: name.replace("(1人)/", "（9人）/")),
         "accepted", ("NAME-TOLERATED",)),
    Case("Z43", "the zip is named for another city", in_zip_named(lambda desk: desk.stem(city="莱芜市")), "held",
         ("NAME-ARCHIVE",), {"held": 1}, "正确名称："),
    Case("Z43", "the zip is named for another month", in_zip_named(lambda desk: desk.stem(month="201812")), "held",
         ("NAME-ARCHIVE",), {"held": 1}, "压缩包名称为“201812-034-"),
    Case("Z43", "the zip's name differs in count and brackets", in_zip_named(lambda desk: desk.stem(9).replace("(", "（")),
         "accepted", rows={"accepted": 1}),
    Case("Z43", "the zip has any name", in_zip_named(lambda desk: f"{desk.city}五月"), "accepted", ("NAME-TOLERATED",),
         {"accepted": 1}, "（压缩包未按规范命名），已按规范识别。正确名称："),
    Case("Z44", "one zip, two exams", two_exams, ("accepted", "accepted"), rows={"accepted": 1, "proof": 1}),
    Case("Z45", "workbook and photos in two zips", in_two_zips, "accepted", rows={"accepted": 1}),
    Case("Z45", "one exam's rows over two workbooks", over_two_books, ("held", "held"), ("BOOK-SECOND",), {"held": 3}),
    *(Case("Z46", f"a name no system bears: {name!a}", beside(Member(name, b"x")), "returned", ("ZIP-NAMES",))
      for name in ("ab:c.jpg", "a*.jpg", "a\nb.jpg", "-rf.jpg", "CON", "gpj.\u202eexe")),
    Case("Z47", "a name of 258 bytes", beside(Member("汉" * 86, b"x")), "returned", ("ZIP-NAMES",)),
    *(Case("Z48", f"DOS time {time}", lambda desk, time=time: good(desk, time=time), "accepted")
      for time in ((0, 0), (0, 0x21), (0xFFFF, 0xFFFF))),
    Case("Z49", "a test virus", beside(Member("a.txt", EICAR)), "returned", ("ZIP-EXECUTABLE",)),
    Case("Z49", "a program", beside(Member("setup.exe", b"MZ")), "returned", ("ZIP-EXECUTABLE",)),
    Case("Z50", "the same zip under a new name", twice, ("accepted", "ignored"), ("FILE-DUPLICATE",)),
]  # fmt: skip


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    return judged(CASES, tmp_path_factory.mktemp("zip"))


@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{one.case}-{one.what}" for one in CASES])
def test_zip_case(number, verdicts):
    expect(CASES[number], verdicts[number])


def test_z27_no_message_names_a_person(verdicts):
    """A wrong entry is named by its place: photo names are ID numbers."""
    found = verdicts[[one.case for one in CASES].index("Z27")][0]["findings"]
    assert not [one for one in found if "jpg" in one["message"]]


def test_z22_the_length_of_what_is_left_does_not_matter(tmp_path):
    whole = good(Desk(0))
    cuts = [
        Case("Z22", "", lambda _, cut=cut: whole[:cut], "returned") for cut in range(1, len(whole), len(whole) // 9)
    ]
    for case, verdict in zip(cuts, judged(cuts, tmp_path), strict=True):
        expect(case, verdict)

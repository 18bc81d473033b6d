"""When a file on a server is complete: two equal looks, an honest name, the end of a zip at its end."""

import io
import zipfile

import pytest

from certflow.originals import _END_SEARCH, _has_end, unchanged
from certflow.sftp import RemoteFile


def a_file(name="a.zip", size=1, mtime=1, kind="file"):
    return RemoteFile(name.encode(), name, size, mtime, kind)


def a_zip(*, comment: bytes = b"", inner: bytes = b"", zip64: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(66_000 if zip64 else 3):
            archive.writestr(zipfile.ZipInfo(f"{number}"), b"")
        archive.writestr(zipfile.ZipInfo("inner"), inner)
        archive.comment = comment
    return buffer.getvalue()


def has_end(data: bytes) -> bool:
    return _has_end(data[-_END_SEARCH:], len(data))


@pytest.mark.parametrize(
    ("before", "now", "same"),
    [
        (a_file(), a_file(), True),
        (None, a_file(), False),
        (a_file(), a_file(size=2), False),
        (a_file(), a_file(mtime=2), False),
        (a_file(kind="link"), a_file(kind="link"), False),
        (a_file("a.zip.part"), a_file("a.zip.part"), False),
        (a_file("A.ZIP.FILEPART"), a_file("A.ZIP.FILEPART"), False),
    ],
)
def test_t01_only_a_plain_file_that_stands_still_may_be_taken(before, now, same):
    assert unchanged(before, now) is same


@pytest.mark.parametrize("made", [{}, {"comment": b"x" * 65_535}, {"zip64": True}, {"inner": a_zip()}])
def test_a_whole_zip_has_its_end(made):
    assert has_end(a_zip(**made))


@pytest.mark.parametrize("missing", [1, 22, 100])
def test_t01_a_zip_that_lacks_bytes_has_none(missing):
    assert not has_end(a_zip(comment=b"a comment behind it that may be missing", inner=b"x" * 1000)[: -39 - missing])


def test_t01_the_end_of_an_inner_zip_is_not_its_own():
    inner = a_zip()
    whole = a_zip(inner=inner)
    assert not has_end(whole[: whole.index(inner) + len(inner)])


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x05\x06", bytes(100)])
def test_what_is_no_zip_has_none(data):
    assert not has_end(data)

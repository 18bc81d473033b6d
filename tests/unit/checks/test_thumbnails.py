"""Small pictures lie in a file between measuring and the page, sealed where the home is, and never stay behind."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certflow.checks.thumbnails import Thumbnails
from certflow.settings import Settings

KEY = base64.b64encode(hashlib.sha256(b"one").digest()).decode()


@given(pictures=st.lists(st.binary(max_size=5_000), max_size=40), data=st.data())
def test_every_picture_is_found_again_in_any_order(pictures, data, tmp_path_factory):
    work = tmp_path_factory.mktemp("work")
    with Thumbnails(work) as kept:
        places = [kept.add(picture) for picture in pictures]
        order = data.draw(st.permutations(range(len(pictures))))
        assert [kept.read(places[at]) for at in order] == [pictures[at] for at in order]
    assert list(work.iterdir()) == []


@pytest.mark.parametrize("key", ["", KEY], ids=["plain", "sealed"])
def test_a_home_under_a_key_holds_no_picture_in_the_clear(tmp_path, key):
    settings, picture = Settings(home=tmp_path, vault_key=key), b"a face" * 50_000
    with Thumbnails(settings.work) as kept:
        places = [kept.add(picture) for _ in range(3)]
        assert kept.read(places[2]) == picture
        [file] = settings.work.iterdir()
        assert (b"a face" in file.read_bytes()) is not bool(key)
        assert file.stat().st_mode & 0o077 == 0
    assert list(settings.work.iterdir()) == []


def test_it_is_gone_when_the_work_fails(tmp_path):
    with pytest.raises(TypeError), Thumbnails(tmp_path) as kept:
        kept.add(None)
    assert list(tmp_path.iterdir()) == []

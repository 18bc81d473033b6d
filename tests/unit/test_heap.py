"""The collector of cycles rests while rows are made, and is afterwards as it was before; free memory goes back."""

import gc
import platform
import resource
from pathlib import Path

import pytest

from certflow.heap import MadeAnew, give_back, without_collector


@pytest.fixture(autouse=True)
def _as_before():
    was = gc.isenabled()
    yield
    (gc.enable if was else gc.disable)()


def test_the_collector_rests_meanwhile_and_works_again_afterwards():
    gc.enable()
    with without_collector():
        assert not gc.isenabled()
        with without_collector():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_works_again_after_an_error():
    gc.enable()
    with pytest.raises(ValueError, match="row"), without_collector():
        raise ValueError("row")
    assert gc.isenabled()


def test_who_does_without_it_keeps_doing_so():
    gc.disable()
    with without_collector():
        pass
    assert not gc.isenabled()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no other allocator is asked to")
def test_what_was_freed_between_what_is_used_goes_back():
    kept = [bytearray(100_000) for _ in range(1_500)]
    del kept[::2]  # none of it at the end of the heap, where it would go back by itself
    before = resident()
    give_back()
    assert resident() < before - (40 << 20)
    assert len(kept) == 750


def test_what_is_made_anew_is_a_sequence_that_keeps_nothing():
    made = []
    doubled = MadeAnew([1, 2, 3], lambda one: made.append(one) or 2 * one)
    assert (len(doubled), made) == (3, [])
    assert (list(doubled), doubled[-1], list(doubled[1:])) == ([2, 4, 6], 6, [4, 6])
    assert made == [1, 2, 3, 3, 2, 3]


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

"""The collector of cycles rests while rows are made, and is afterwards as it was before."""

import gc

import pytest

from certflow.heap import without_collector


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

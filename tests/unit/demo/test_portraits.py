import io
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from certflow.demo.portraits import LARGE, NORMAL, Gallery, difference_hash, encode, paint


@pytest.fixture(scope="module")
def gallery():
    drawn = Gallery(3)
    return [drawn.portrait(person) for person in range(60)]


@pytest.mark.parametrize(("band", "low", "high"), [(NORMAL, 10_240, 30_720), (LARGE, 30_721, 1 << 20)])
def test_portraits_are_baseline_jpegs_of_the_wanted_pixels_and_size(gallery, band, low, high):
    for pixels in gallery[:20]:
        data = encode(pixels, band)
        assert low <= len(data) <= high
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            assert (image.size, image.mode) == ((295, 413), "RGB")
            assert not image.info.get("progressive")


def test_the_strips_beside_the_head_are_white(gallery):
    for pixels in gallery:
        with Image.open(io.BytesIO(encode(pixels))) as image:
            shown = np.asarray(image)
        strips = (shown[:8], shown[:240, :8], shown[:240, -8:])
        white = np.concatenate([(strip.min(axis=2) >= 245).ravel() for strip in strips])
        assert white.mean() > 0.99


def test_no_two_portraits_are_near_duplicates(gallery):
    hashes = [difference_hash(pixels) for pixels in gallery]
    assert min((one ^ other).bit_count() for one, other in combinations(hashes, 2)) >= 3


def test_one_seed_draws_one_face():
    one, same, other = (paint(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_size_nothing_can_reach_is_an_error():
    with pytest.raises(ValueError, match="size band"):
        encode(np.full((413, 295, 3), 255, dtype=np.uint8), LARGE)

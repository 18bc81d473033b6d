"""Whose photo is whose, whatever was done to it: drawn people, saved, resized, cropped and lit anew."""

import io
import os
import subprocess
import sys
import tracemalloc
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from made_photos import COPIES, SIZE, drawn
from PIL import Image, ImageEnhance

from certflow import likeness, photo, portrait

PEOPLE = list(drawn(40, seed=17))
BOUND = 6
"""As the suite has it."""


def saved(image: Image.Image, quality: int = 85) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def sketch(data: bytes) -> bytes:
    return likeness.sketches([photo.measure(data)["photo_thumb"]], portrait.THUMB)[0]


def detail(data: bytes):
    return photo.detail(data, likeness.DETAIL)


@cache
def shelf() -> list[bytes]:
    return [sketch(saved(image, 92)) for image in PEOPLE]


@cache
def details():
    return [detail(saved(image, 92)) for image in PEOPLE]


FOUND = sorted(name for name in COPIES if "4 %" not in name and "20 %" not in name)
"""The others are found often, or seldom: docs/photos.md."""


@pytest.mark.parametrize("name", FOUND)
def test_p17_a_photo_that_was_changed_is_found_and_is_near(name):
    rng = np.random.default_rng(1)
    changed = [saved(COPIES[name](image, rng), 70) for image in PEOPLE[:12]]
    looks = set(likeness.likest([sketch(data) for data in changed], b"".join(shelf())))
    assert looks >= {(number, number) for number in range(len(changed))}
    apart = likeness.apart([detail(data) for data in changed], details()[: len(changed)])
    assert sorted(apart)[-2] < BOUND, apart
    assert max(apart) < BOUND + 3, "one in twelve is a little over: brightened until the skin is white"


def test_p17_no_two_people_are_near():
    sketches = shelf()
    looks = {pair for pair in likeness.likest(sketches, b"".join(sketches)) if pair[0] != pair[1]}
    numbers = range(len(PEOPLE))
    pairs = [*looks, *((one, other) for one in numbers for other in numbers[:one:7])]
    near = likeness.apart([details()[one] for one, _ in pairs], [details()[other] for _, other in pairs])
    assert min(near) > 2 * BOUND


def test_the_same_picture_is_zero_apart_and_a_blank_one_is_like_nothing():
    one = detail(saved(PEOPLE[0]))
    [apart] = likeness.apart([one], [one])
    assert apart < 0.01
    blank = Image.new("RGB", SIZE, "white")
    nothing = sketch(saved(blank))
    assert set(nothing) == {0}
    assert list(likeness.likest([nothing], nothing + sketch(saved(PEOPLE[0])))) == []
    [apart] = likeness.apart([one], [detail(saved(blank))])
    assert apart > 90


def test_a_sketch_is_moved_stretched_and_exposed_before_it_gets_a_second_look():
    """A copy is nearer at that glance than its sketch is as it stands; strangers seldom are."""
    rng = np.random.default_rng(1)
    kinds = ("cropped by 2 % on each side", "brighter by 10 %", "cropped by 2 % on each side, brighter by 8 %")
    for name in kinds:
        made = b"".join(sketch(saved(COPIES[name](image, rng), 80)) for image in PEOPLE)
        ones = likeness._unit(likeness._lines(made))
        others = likeness._unit(likeness._lines(b"".join(shelf())))
        plain = 100 * np.sqrt(1 - (ones * others).sum(axis=1) ** 2)
        glance = likeness._glance(ones, others)
        assert np.median(glance / plain) < 0.85, name
        assert glance.max() < likeness.GLANCE, name
        assert likeness._glance(ones, np.roll(others, 1, axis=0)).min() > likeness.GLANCE
    assert likeness._glance(others, others).max() < 0.1
    assert likeness._glance(others, -others).max() < 0.1, "a negative is the same sketch: its score is what tells"


def test_what_is_near_does_not_depend_on_how_many_are_compared_at_once(monkeypatch):
    rng = np.random.default_rng(2)
    kinds = [COPIES[name] for name in ("cropped by 2 % on each side", "brighter by 10 %")]
    ones = [sketch(saved(kind(image, rng), 80)) for image in PEOPLE for kind in kinds]
    usual = list(likeness.likest(ones, b"".join(shelf())))
    assert {(one, one // len(kinds)) for one in range(len(ones))} <= set(usual)
    for side, pairs in ((7, 1), (3, 2), (16, 5)):
        monkeypatch.setattr(likeness, "_SIDE", side)
        monkeypatch.setattr(likeness, "_PAIRS", pairs)
        assert list(likeness.likest(ones, b"".join(shelf()))) == usual


def test_the_nearest_few_get_a_second_look_however_many_there_are():
    sketches = [sketch(saved(PEOPLE[0], quality)) for quality in range(60, 95)]
    looks = [other for one, other in likeness.likest(sketches[:1], b"".join(sketches)) if one == 0]
    assert len(looks) == likeness.NEAREST
    assert 0 in looks


def test_of_equally_like_ones_the_newest_get_a_second_look(monkeypatch):
    one, people = sketch(saved(PEOPLE[0])), shelf()[1:9]
    for side, pairs in ((512, 2_048), (7, 3)):
        monkeypatch.setattr(likeness, "_SIDE", side)
        monkeypatch.setattr(likeness, "_PAIRS", pairs)
        looks = [other for _, other in likeness.likest([one], b"".join([*people, *[one] * 40, *people, one]))]
        assert looks == [56, *range(47, 47 - likeness.NEAREST + 1, -1)]


def test_page_by_page_the_same_are_near_as_all_at_once():
    one, people = sketch(saved(PEOPLE[0])), shelf()[1:9]
    ones, others = [one, people[3]], [*people, *[one] * 40, *people, one]
    theirs = ["A", *[None] * (len(others) - 1)]
    usual = list(likeness.likest(ones, b"".join(others), "BC", theirs))
    nearest = likeness.Nearest(ones, "BC")
    for first in reversed(range(0, len(others), 5)):
        names = range(first, min(first + 5, len(others)))
        nearest.look(names, b"".join(others[first : first + 5]), theirs[first : first + 5])
    assert list(nearest.pairs()) == usual


def test_two_photos_of_one_person_are_no_pair_and_take_nobodys_place():
    one, people = sketch(saved(PEOPLE[0])), shelf()[1:9]
    others, theirs = [one, *people, *[one] * 40], ["B", *[None] * 8, *["A"] * 40]
    assert list(likeness.likest([one, one], b"".join(others), ["A", "C"], theirs)) == [
        (0, 0), *((1, 48 - nearest) for nearest in range(likeness.NEAREST)),
    ]  # fmt: skip
    mine = [one] * 3
    assert set(likeness.likest(mine, b"".join(mine), "AAB", "AAB")) == {(0, 2), (1, 2), (2, 0), (2, 1)}


def test_the_photos_of_the_largest_city_are_compared_in_little_memory():
    """All with all at once was 4 bytes a pair: 14 GB for 60 000 photos."""
    made = np.random.default_rng(1).integers(-127, 128, (20_000, 63), dtype=np.int8)
    made[19_000] = made[1_500]
    sketches = [line.tobytes() for line in made]
    tracemalloc.start()
    looks = {(one, other) for one, other in likeness.likest(sketches, made.tobytes()) if one != other}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert looks == {(1_500, 19_000), (19_000, 1_500)}
    assert peak < 150e6


def test_one_picture_for_all_its_people_costs_a_city_no_more_than_photos_of_their_own(monkeypatch):
    """A stand-in for six thousand missing photos was thirty-six million glances, of 20 µs and 100 bytes each."""
    asked = []
    monkeypatch.setattr(likeness, "_glance", lambda ones, _others: asked.append(len(ones)) or np.zeros(len(ones)))
    base = np.frombuffer(shelf()[0], dtype=np.int8).astype(int)
    noise = np.random.default_rng(4).integers(-2, 3, (1_500, 63))
    sketches = [shelf()[0]] * 1_500 + [line.astype(np.int8).tobytes() for line in (base + noise).clip(-127, 127)]
    tracemalloc.start()
    looks = list(likeness.likest(sketches, b"".join(sketches)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(looks) == likeness.NEAREST * len(sketches)
    assert looks[: likeness.NEAREST] == [(0, 1_499 - other) for other in range(likeness.NEAREST)], "the newest of them"
    assert sum(asked) == 0
    assert peak < 30e6


def test_the_quick_bound_is_never_below_the_product():
    ones, others = (likeness._unit(likeness._lines(b"".join(part))) for part in (shelf()[:20], shelf()[20:]))
    axes = np.linalg.eigh(ones.T @ ones)[1][:, ::-1]
    bound = likeness._shortened(ones @ axes) @ likeness._shortened(others @ axes).T
    assert (bound > ones @ others.T - likeness._ROUNDING).all()
    assert np.abs(axes.T @ axes - np.eye(63)).max() < likeness._ROUNDING


def test_a_sketch_is_63_bytes_whatever_the_light():
    one, brighter = (sketch(saved(ImageEnhance.Brightness(PEOPLE[3]).enhance(factor))) for factor in (0.9, 0.6))
    assert len(one) == len(brighter) == 63
    assert np.abs(np.frombuffer(one, np.int8).astype(int) - np.frombuffer(brighter, np.int8)).max() <= 4


def test_sketches_are_the_same_one_by_one_and_together():
    thumbs = [photo.measure(saved(image))["photo_thumb"] for image in PEOPLE[:5]] + [bytes(24 * 27)]
    together = likeness.sketches(thumbs, portrait.THUMB)
    assert together == [one for thumb in thumbs for one in likeness.sketches([thumb], portrait.THUMB)]
    assert together[-1] == bytes(63)
    assert likeness.sketches([], portrait.THUMB) == []


def test_what_is_no_photo_has_no_detail():
    assert photo.detail(b"\xff\xd8\xff nothing", likeness.DETAIL) is None


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_pictures_are_compared_in_one_thread():
    """Threads of numpy's algebra spin while others work: a second look took 44 ms of CPU instead of 3."""
    asked = """
from certflow import likeness
import os, numpy
likeness.likest([bytes(range(63))] * 500, bytes(range(63)) * 5000)
square = numpy.ones((500, 500)) @ numpy.ones((500, 500))
print(len(os.listdir("/proc/self/task")))
"""
    environ = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    told = subprocess.run([sys.executable, "-c", asked], env=environ, capture_output=True, text=True, check=True)
    assert told.stdout == "1\n"


def test_what_is_left_of_a_pair_does_not_depend_on_what_else_is_compared(monkeypatch):
    """Copies go through all steps, strangers through one: together as alone, and a blank picture disturbs nobody."""
    rng = np.random.default_rng(3)
    copies = [detail(saved(COPIES["cropped by 2 % on each side"](image, rng), 80)) for image in PEOPLE[:6]]
    blank = detail(saved(Image.new("RGB", SIZE, "white")))
    ones = [*copies, blank, *details()[:6], blank, copies[0]]
    others = [*details()[:6], details()[0], *details()[6:12], blank, copies[0]]
    alone = [likeness.apart([one], [other])[0] for one, other in zip(ones, others, strict=True)]
    assert max(alone[:6]) < BOUND < 2 * BOUND < min(alone[6:14])
    assert alone[-1] < 0.01
    for together in (2, 5, 64):
        monkeypatch.setattr(likeness, "TOGETHER", together)
        assert likeness.apart(ones, others) == pytest.approx(alone, abs=1e-5)
    assert likeness.apart([], []) == []

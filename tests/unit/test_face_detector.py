"""Faces counted and placed (P15), where OpenCV is installed (extra ``faces``); what it says where it is not."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from made_photos import aside, drawn, jpeg, smaller, twice
from made_submissions import Made, person, portrait
from PIL import Image

from certflow import faces, photo
from certflow.checks.run import check
from certflow.errors import ConfigurationError
from certflow.reference import load_reference
from certflow.settings import Settings

RNG = np.random.default_rng(2)


def seen(image, change=lambda image, _: image):
    return photo.measure(jpeg(change(image, RNG)), with_faces=True)


@pytest.fixture(scope="module")
def people():
    """Drawn people whose face the detector sees; it does not see everybody's."""
    pytest.importorskip("cv2", reason="the extra `faces` is not installed")
    found = [one for one in drawn(16) if seen(one)["photo_faces"] == 1]
    assert len(found) >= 5
    return found


def test_p15_one_face_is_found_with_its_place_and_size(people):
    for one in people:
        measures = seen(one)
        assert 0.3 < measures["photo_face_width"] < 0.6
        assert 0.36 < measures["photo_face_x"] < 0.64
        assert 0.25 < measures["photo_face_y"] < 0.6


def test_p15_no_face_two_faces_a_small_one_and_one_aside(people):
    assert seen(Image.new("RGB", (295, 413), "white"))["photo_faces"] == 0
    assert any(seen(one, twice)["photo_faces"] == 2 for one in people)
    small = [seen(one, smaller(0.5))["photo_face_width"] for one in people]
    places = [seen(one, aside(0.25))["photo_face_x"] for one in people]
    assert sum(width is None or width < 0.31 for width in small) >= 0.8 * len(people)
    assert sum(place is None or abs(place - 0.5) > 0.14 for place in places) >= 0.8 * len(people)


def test_p15_threads_have_detectors_of_their_own(people):
    data = [jpeg(one) for one in people] * 4
    alone = [photo.measure(one, with_faces=True) for one in data]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda one: photo.measure(one, with_faces=True), data)) == alone


def submission(folder):
    made = Made()
    made.add(person(1, photo=True), portrait(1))
    return made.write(folder, None)


def test_p15_faces_are_a_reminder_and_only_asked_for_by_setting(people, tmp_path):
    made = Made()
    made.add(person(1, photo=True), jpeg(smaller(0.5)(people[0], RNG), 99))
    file = made.write(tmp_path / "in", None)
    rules = {}
    for faces_setting in ("off", "on"):
        settings = Settings(tmp_path / "home", faces=faces_setting)
        (one,) = check([file], settings, load_reference(settings), registry=None)
        rules[faces_setting] = {(found.rule, found.severity.value) for found in one.findings}
    assert ("PHOTO-FACE", "warning") in rules["on"]
    assert {rule for rule, _ in rules["off"]} & {"PHOTO-FACE"} == set()


def test_p15_switched_on_without_opencv_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ConfigurationError, match=r"certflow\[faces\]"):
        pool.submit(faces.require).result()
    settings = Settings(tmp_path / "home", faces="on")
    with ThreadPoolExecutor(1) as pool, pytest.raises(ConfigurationError, match=r"certflow\[faces\]"):
        pool.submit(check, [submission(tmp_path / "in")], settings, load_reference(settings), registry=None).result()

"""What the photo checks find and whom they leave alone, a few photos of each kind; ``docs/photos.md`` counts many."""

import numpy as np
import pytest
from made_photos import FAULTS, SOUND, drawn, jpeg
from PIL import Image

from certflow import photo
from certflow.checks import frame, judge, suites
from certflow.findings import Scope

EACH = 6
MILD = {"σ = 1.5 px", "σ = 2 px", "from a picture 4 times smaller", "dark, × 0.4", "dark, × 0.3", "bright, × 1.8"}
"""Faults too slight to ask for; ``docs/photos.md`` tells how many of them are seen."""
KINDS = [(code, name) for code, (_, kinds) in FAULTS.items() for name in kinds if name not in MILD]


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """(rule or "", kind of photo) → for each photo of the kind the rules it breaks, by one run of the suite."""
    from certflow.settings import Settings

    people = list(drawn(EACH, seed=5))
    kinds = {("", name): change for name, change in SOUND.items()}
    kinds |= {(code, name): change for code, (_, some) in FAULTS.items() for name, change in some.items()}
    rng = np.random.default_rng(1)
    measures = [photo.measure(jpeg(change(one, rng), 88)) for change in kinds.values() for one in people]
    rules = [
        rule for rule in suites.load(Settings(tmp_path_factory.mktemp("home")), ("photo",))
        if rule.scope is Scope.PHOTO and rule.code in FAULTS
    ]  # fmt: skip
    columns = {name: [one[name] for one in measures] for name in measures[0]}
    [judgement] = judge.judge(frame.build(columns, {n for rule in rules for n in rule.columns}, len(measures)), rules)
    found = [set() for _ in measures]
    for breach in judgement.breaches:
        for line in breach.lines:
            found[line].add(breach.rule.code)
    return {kind: found[at * EACH : (at + 1) * EACH] for at, kind in enumerate(kinds)}


def test_rules_that_guess_at_a_person_are_tried_here_because_no_drawn_province_can():
    assert {code for code, _ in KINDS} >= {"PHOTO-BLUR", "PHOTO-EXPOSURE", "PHOTO-FIGURE"}


@pytest.mark.parametrize("name", SOUND)
def test_p14_p15_sound_photos_are_left_alone(broken, name):
    assert broken["", name] == [set()] * EACH


@pytest.mark.parametrize(("code", "name"), KINDS)
def test_p14_p15_p16_faults_are_found_by_their_rule(broken, code, name):
    assert sum(code in one for one in broken[code, name]) >= EACH - 1


def test_p04_a_grey_photo_saved_in_colour_is_held_and_a_coloured_one_is_not():
    person = next(drawn(1))
    assert photo.measure(jpeg(person.convert("L").convert("RGB")))["photo_colour"] < 1
    assert photo.measure(jpeg(person))["photo_colour"] > 15
    assert photo.measure(jpeg(person.convert("L")))["photo_colour"] is None


@pytest.mark.parametrize(
    ("colour", "score", "chroma"),
    [((255, 255, 255), 100, 0), ((238, 238, 238), 94.1, 0), ((128, 128, 128), 53.6, 0), ((0, 0, 255), 0, 133.8)],
)
def test_p14_the_border_is_measured_in_cielab(colour, score, chroma):
    image = Image.new("RGB", (295, 413), colour)
    image.paste((200, 150, 120), (100, 100, 200, 413))
    measures = photo.measure(jpeg(image, 98))
    assert measures["photo_border_score"] == pytest.approx(score, abs=0.6)
    assert measures["photo_border_chroma"] == pytest.approx(chroma, abs=1.5)
    assert measures["photo_border_gradient"] < 1


def test_p14_a_border_lighter_on_one_side_has_a_gradient():
    pixels = np.full((413, 295, 3), 255, dtype=np.uint8)
    pixels[:, 150:] = 200
    measures = photo.measure(jpeg(Image.fromarray(pixels), 98))
    assert measures["photo_border_gradient"] == pytest.approx(19.4, abs=1)


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (295, 14), (60, 70)])
def test_p11_pictures_of_any_size_are_measured(size):
    measures = photo.measure(jpeg(next(drawn(1)).resize(size)))
    assert measures["photo_fault"] is None
    assert measures["photo_border_white"] is not None

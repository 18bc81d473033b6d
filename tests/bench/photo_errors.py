"""How often the photo checks err: draws photos with known truth, judges them by the suite, writes ``docs/photos.md``.

``python tests/bench/photo_errors.py > docs/photos.md``; the part on faces needs ``opencv-python-headless<5`` and
``scikit-image``, which nothing else asks for.
"""

import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from made_photos import COPIES, FAULTS, SOUND, Change, aside, drawn, jpeg, lit, real_faces, smaller, twice

from certflow import faces, likeness, photo, portrait
from certflow.checks import frame, judge, suites
from certflow.findings import Scope
from certflow.settings import Settings

COUNT = 100
CODES = (*FAULTS, "PHOTO-FACE", "PHOTO-ZEROED")
HEAD = f"""# How often the photo checks err

Made by `python tests/bench/photo_errors.py > docs/photos.md`. Thresholds stand in `expectations/photo.json`: change one
there, run this again, and see what it costs. {COUNT} photos of each kind are drawn (`demo/portraits.py`), spoilt in a
known way and saved as JPEG at a quality of 75 to 95; each is judged by the suite itself. A check that can be wrong
about a good photo never sends it back: it reminds (`warning`) or asks a person (`hold`). What these tables cannot tell
is how the checks do on the photos of one's own province: there, look at the contact sheets (`contact-sheets/`) of the
first months.
"""


def measured(images: Iterable[Image.Image], change: Change, *, seen: bool = False) -> list[photo.Measures]:
    rng = np.random.default_rng(3)
    found = [photo.measure(jpeg(change(image, rng), int(rng.integers(75, 96))), with_faces=seen) for image in images]
    assert all(one["photo_fault"] is None for one in found)
    return found


def breached(measures: Sequence[photo.Measures]) -> dict[str, set[int]]:
    """Rule → which of the photos break it, as the suite says."""
    rules = [rule for rule in suites.load(Settings(), ("photo",)) if rule.scope is Scope.PHOTO and rule.code in CODES]
    columns = {name: [one[name] for one in measures] for name in measures[0]}
    wanted = {name for rule in rules for name in rule.columns}
    found: dict[str, set[int]] = {}
    for breach in judge.judge(frame.build(columns, wanted, len(measures)), rules).breaches:
        found.setdefault(breach.rule.code, set()).update(breach.lines)
    return found


def share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({part / whole:.1%})"


def sound(images: Sequence[Image.Image]) -> list[str]:
    lines = [
        "",
        "## Sound photos that are troubled",
        "",
        "| photo | sent back | held | reminded |",
        "|---|---|---|---|",
    ]
    for name, change in SOUND.items():
        found = breached(measured(images, change))
        by = {severity: set().union(*(found.get(code, set()) for code, (what, _) in FAULTS.items() if what == severity))
              for severity in ("error", "hold", "warning")}  # fmt: skip
        lines.append(f"| {name} | " + " | ".join(share(len(hit), len(images)) for hit in by.values()) + " |")
    return lines


def faults(images: Sequence[Image.Image]) -> list[str]:
    lines = ["", "## Faults that are found", "", "| rule | what it does | fault | found |", "|---|---|---|---|"]
    for code, (severity, kinds) in FAULTS.items():
        for name, change in kinds.items():
            hit = breached(measured(images, change)).get(code, set())
            lines.append(f"| `{code}` | {severity} | {name} | {share(len(hit), len(images))} |")
    return lines


ZEROS = """
## Zero bytes inside (P08)

Zeros in a row in the compressed data: from 32 bytes on the file is damaged, from 16 on a person looks
(`PHOTO-ZEROED`). Dark and grainy pictures have some by themselves; the longest run of each kind, over all qualities
(0: below 8 bytes, which are not counted):

| photo | longest run, bytes | `PHOTO-ZEROED` |
|---|---|---|"""


def zeros(images: Sequence[Image.Image]) -> list[str]:
    lines = [ZEROS]
    kinds: dict[str, Change] = {**SOUND, **{f"very dark, × {factor}": lit(factor) for factor in (0.6, 0.5, 0.4)}}
    for name, change in kinds.items():
        found = measured(images, change)
        longest = max(int(str(one["photo_zero_run"] or 0)) for one in found)
        lines.append(f"| {name} | {longest} | {share(len(breached(found).get('PHOTO-ZEROED', ())), len(images))} |")
    return lines


ALIKE = """
## One photo for two people (`PHOTO-SAME`)

Every photo is compared with all others of the files judged together and of the ledger, whatever the month: by a sketch
of 63 bytes first, then the nearest {nearest} picture by picture, moved, stretched and exposed until they fit. What is
left unexplained, in percent of what varies in the picture, must be {bound} or more between two people; else both are
held. Copies were saved at a quality of 60 to 95. Real faces: the 100 pieces of 25×25 px described under "Faces", all on
the same drawn shoulders: more alike than photos of different people are.

| copy of a photo | drawn: held | left, median / worst | real faces: held | left, median / worst |
|---|---|---|---|---|"""
STRANGERS = """
Different people: of {pairs} pairs of drawn portraits {looks} got a second look, and the nearest two were {drawn:.1f}
apart; of {faces} pairs of real faces, looked at twice each, the nearest two were {real:.1f} apart. Held by mistake:
{wrong}. `certflow bench checks --rows 2000` judges some hundreds of drawn portraits together: none is held by mistake.
"""


def alike(people: Sequence[Image.Image]) -> list[str]:
    """Copies of photos against the shelf of all, and everybody against everybody."""
    (rule,) = (rule for rule in suites.load(Settings(), ("photo",)) if rule.code == "PHOTO-SAME")
    bound = float(rule.kwargs["min_value"])
    sets = [Shelf(people), Shelf(real_faces()[0][15:])]
    lines = [ALIKE.format(nearest=likeness.NEAREST, bound=rule.kwargs["min_value"])]
    for name, change in COPIES.items():
        cells = []
        for shelf in sets:
            left, found = shelf.copies(change, bound)
            cells += [share(found, len(left)), f"{np.median(left):.1f} / {max(left):.1f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    looks, drawn_apart = sets[0].strangers()
    real_apart = sets[1].everybody()
    count = len(people) * (len(people) - 1) // 2
    wrong = sum(apart < bound for apart in (*drawn_apart, *real_apart))
    said = STRANGERS.format(
        pairs=count, looks=looks, drawn=min(drawn_apart), faces=len(real_apart), real=min(real_apart), wrong=wrong
    )
    return [*lines, said.rstrip()]


class Shelf:
    """Photos of different people, as the ledger knows them."""

    def __init__(self, images: Sequence[Image.Image]) -> None:
        self.images = images
        self.photos = [jpeg(image, 88) for image in images]
        self.sketches = [self.sketch(data) for data in self.photos]
        self.details = [self.detail(data) for data in self.photos]

    @staticmethod
    def sketch(data: bytes) -> bytes:
        thumb = photo.measure(data)["photo_thumb"]
        assert isinstance(thumb, bytes)
        return likeness.sketches([thumb], portrait.THUMB)[0]

    @staticmethod
    def detail(data: bytes) -> likeness.Plane:
        found = photo.detail(data, likeness.DETAIL)
        assert found is not None
        return found

    def copies(self, change: Change, bound: float) -> tuple[list[float], int]:
        """What is left between each of a hundred and its copy, and how many copies are found."""
        rng = np.random.default_rng(3)
        made = [jpeg(change(image, rng), int(rng.integers(60, 96))) for image in self.images[:COUNT]]
        looks = set(likeness.likest([self.sketch(data) for data in made], b"".join(self.sketches)))
        left = likeness.apart([self.detail(data) for data in made], self.details[: len(made)])
        return left, sum((at, at) in looks and apart < bound for at, apart in enumerate(left))

    def strangers(self) -> tuple[int, list[float]]:
        """Second looks at two people, and what is left of each."""
        looks = {(min(pair), max(pair)) for pair in likeness.likest(self.sketches, b"".join(self.sketches))}
        pairs = sorted(pair for pair in looks if pair[0] != pair[1])
        return len(pairs), self._apart(pairs)

    def everybody(self) -> list[float]:
        """What is left of every third pair."""
        numbers = range(len(self.details))
        return self._apart([(one, other) for one in numbers for other in numbers[:one:3]])

    def _apart(self, pairs: Sequence[tuple[int, int]]) -> list[float]:
        return likeness.apart([self.details[one] for one, _ in pairs], [self.details[other] for _, other in pairs])


FACES = """
## Faces (`CERTFLOW_FACES=on`)

Haar cascade `frontalface_alt2` of OpenCV 4 at half the size. Real faces: 15 crops of one astronaut (NASA, public
domain) and 100 pieces of 25×25 px from `skimage.data.lfw_subset`, set on drawn shoulders before white; the same with
100 pieces that are no faces. So few and so small pictures say that it works, not how well. It does not see a face in
every drawn portrait, which is one reason why it is off by default.

| photo | should be | `PHOTO-FACE` |
|---|---|---|"""


def seen(images: Sequence[Image.Image]) -> list[str]:
    lines = [FACES]
    people, nobody = real_faces()
    sets: list[tuple[str, str, Sequence[Image.Image], Change | None]] = [
        ("one face, as it should be", "silent", people, None),
        ("no face", "reminded", nobody, None),
        ("two faces", "reminded", people, twice),
        ("face of half the size", "reminded", people, smaller(0.5)),
        ("face a quarter of the width aside", "reminded", people, aside(0.25)),
        ("drawn portrait", "silent", images[:300], None),
    ]
    for name, wanted, chosen, change in sets:
        hit = breached(measured(chosen, change or (lambda image, _: image), seen=True)).get("PHOTO-FACE", set())
        lines.append(f"| {name} | {wanted} | reminded {share(len(hit), len(chosen))} |")
    return lines


def cost(images: Sequence[Image.Image]) -> list[str]:
    data = [jpeg(image) for image in images[:50]]

    def each(*, with_faces: bool) -> float:
        begun = time.process_time()
        for at in range(0, len(data), photo.TOGETHER):
            photo.measured([photo.sample(one, with_faces=with_faces) for one in data[at : at + photo.TOGETHER]])
        return (time.process_time() - begun) / len(data) * 1_000

    plain, full = (min(each(with_faces=with_faces) for _ in range(8)) for with_faces in (False, True))
    said = (
        f"CPU time per photo of 295×413 px, one core: {plain:.1f} ms for decoding and all measures, {full:.1f} ms with"
        f" faces. Faces are therefore a setting: 10 000 photos take {(full - plain) * 10:.0f} s more."
    )
    return ["", "## What it costs", "", said]


if __name__ == "__main__":
    faces.require()
    people = list(drawn(COUNT))
    parts = [*sound(people), *faults(people), *zeros(people), *alike(list(drawn(4 * COUNT))), *seen(people)]
    print("\n".join([HEAD.rstrip(), *parts, *cost(people)]))

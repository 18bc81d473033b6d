"""What nobody foresaw ends one file or one photo, with a rule of its own, and never the city's month."""

import json
import shutil
from dataclasses import replace

from made_submissions import Made, person, portrait, received

from certflow import photo
from certflow.checks import suites
from certflow.checks.run import check
from certflow.findings import Outcome
from certflow.reference import load_reference


def test_a_fault_without_a_rule_of_its_own_is_told_as_file_unreadable(settings, tmp_path):
    shutil.copytree(suites.folder(settings), tmp_path / "suites")
    path = tmp_path / "suites" / "submission.json"
    suite = json.loads(path.read_text(encoding="utf-8"))
    suite["expectations"] = [one for one in suite["expectations"] if one["meta"]["code"] != "ZIP-SPLIT"]
    path.write_text(json.dumps(suite, ensure_ascii=False), encoding="utf-8")
    own = replace(settings, expectations=tmp_path / "suites")
    file = received(tmp_path / "1.zip", b"PK\x07\x08" + bytes(99), None)
    (found,) = check([file], own, load_reference(own), registry=None)
    assert (found.file_outcome, found.file_reason) == (Outcome.RETURNED, "FILE-UNREADABLE")


def test_a_photo_no_decoder_foresaw_goes_back_and_the_others_go_on(settings, tmp_path, monkeypatch):
    made = Made()
    for serial in (1, 2):
        made.add(person(serial, photo=True), portrait(serial))

    def sample(data, *, real=photo.sample, **more):
        if data == portrait(1):
            raise OverflowError
        return real(data, **more)

    monkeypatch.setattr(photo, "sample", sample)
    (found,) = check([made.write(tmp_path, None)], settings, load_reference(settings), registry=None)
    assert [row.outcome for row in found.rows] == [Outcome.RETURNED, Outcome.ACCEPTED]
    assert "PHOTO-UNREADABLE" in found.rows[0].rules

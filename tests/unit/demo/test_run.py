import inspect
import json
import os
import re
from pathlib import Path

import pytest

from certflow.demo import run
from certflow.demo.run import DAY, MARKER, _environment, _let_a_day_pass, _own, _wipe
from certflow.errors import ConfigurationError
from certflow.settings import Settings

ROOT = Path(__file__).parents[3]


def test_a_folder_the_demo_did_not_make_is_left_alone(tmp_path):
    home = tmp_path / "demo"
    home.mkdir()
    (home / "ours.txt").write_text("keep me", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="不是演示建立的目录"):
        _wipe(home)
    assert (home / "ours.txt").read_text(encoding="utf-8") == "keep me"


def test_the_demos_own_folder_is_wiped(tmp_path):
    home = tmp_path / "demo"
    _wipe(home)
    (home / "old.txt").write_text("from last time", encoding="utf-8")
    _wipe(home)
    assert [path.name for path in home.iterdir()] == [MARKER]


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_readme_shows_every_step_of_the_demo_in_its_order(page):
    words = re.findall(r'step\(\s*"[a-z_]+",\s*f?"([^"]+)"', inspect.getsource(run._Month.run))
    shown = re.findall(r"^  ✓ (.+?)  [0-9.]+ 秒$", ROOT.joinpath(page).read_text("utf-8"), re.MULTILINE)
    assert shown == [one.replace("{self.rows}", "20000") for one in words]


def test_an_operators_database_and_servers_are_never_touched(tmp_path):
    real = Settings.load({
        "CERTFLOW_HOME": str(tmp_path), "CERTFLOW_DATABASE_URL": "postgresql://somewhere/real",
        "CERTFLOW_RULE_SET": "2023", "CERTFLOW_PARTIAL_FILES": "hold",
    })  # fmt: skip
    own = _own(real, tmp_path / "demo")
    assert own.database_url is None
    assert (own.city_sftp, own.authority_sftp) == (None, None)
    assert (own.rule_set, own.partial_files, own.home) == ("2020", "accept", tmp_path / "demo")


def test_processes_of_the_demo_see_its_variables_only(monkeypatch):
    monkeypatch.setenv("CERTFLOW_DATABASE_URL", "postgresql://somewhere/real")
    with _environment({"CERTFLOW_HOME": "demo"}):
        assert {name: value for name, value in os.environ.items() if name.startswith("CERTFLOW_")} == {
            "CERTFLOW_HOME": "demo",
        }  # fmt: skip
    assert os.environ["CERTFLOW_DATABASE_URL"] == "postgresql://somewhere/real"


def test_a_day_passes_for_files_that_wait_for_their_end(tmp_path):
    settings = Settings(home=tmp_path)
    notes = tmp_path / "inbox" / "370100.json"
    notes.parent.mkdir()
    notes.write_text(json.dumps({"look": 1_000_000.0}), encoding="ascii")
    _let_a_day_pass(settings)
    assert json.loads(notes.read_text(encoding="ascii")) == {"look": 1_000_000.0 - DAY}

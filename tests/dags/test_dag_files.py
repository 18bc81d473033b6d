"""Every DAG is accounted for and says to an operator what an operator has to know."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DAGS = {
    "submission_intake", "month_end_prepare", "month_end_send", "reprint_reconciliation", "registry_load", "proofs",
    "delivery", "quality_report", "retention_purge",
}  # fmt: skip
TAGS = {"受理", "月末", "返回", "证书库", "地市", "上级", "证明", "发放", "报表", "保存期限"}
HEAVY = {
    "pandas", "great_expectations", "openpyxl", "python_calamine", "xlsxwriter", "xlwt", "PIL", "simplejpeg",
    "paramiko", "asyncssh",
    "numpy", "typst",
}  # fmt: skip
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def test_every_file_is_a_known_dag_and_every_dag_has_its_file(bag):
    assert {path.stem for path in (ROOT / "dags").glob("*.py")} == DAGS
    assert {name: dag["file"] for name, dag in bag["dags"].items()} == {name: f"{name}.py" for name in DAGS}


def test_no_file_fails_to_import(bag):
    assert bag["errors"] == {}


def test_every_file_is_read_in_less_than_a_second(bag):
    assert set(bag["seconds"]) == {f"{name}.py" for name in DAGS}
    assert max(bag["seconds"].values()) < 1.0


def test_reading_the_files_imports_nothing_heavy(bag):
    assert HEAVY.isdisjoint(bag["modules"])
    rooms = {name.split(".")[1] for name in bag["modules"] if name.startswith("certflow.")}
    assert rooms <= {"errors", "month", "settings", "vault"}


@pytest.mark.parametrize("name", sorted(DAGS))
def test_a_dag_explains_itself_in_chinese(bag, name):
    dag = bag["dags"][name]
    assert CHINESE.search(dag["title"])
    for heading in ("**做什么**", "**何时运行**", "**可否重跑**", "**失败怎么办**"):
        assert heading in dag["doc"], f"{name} does not say {heading}"
    assert all(CHINESE.search(task["title"]) for task in dag["tasks"].values())


@pytest.mark.parametrize("name", sorted(DAGS))
def test_a_dag_has_owner_tags_and_retries_by_exception(bag, name):
    dag = bag["dags"][name]
    assert dag["tags"]
    assert set(dag["tags"]) <= TAGS
    assert dag["catchup"] is False
    assert dag["serializes"]
    for task in dag["tasks"].values():
        assert task["owner"] == "证书补换"
        assert task["retries"] >= 1
        assert task["policy"] == "ExceptionRetryPolicy"


def test_every_mapped_task_is_labelled(bag):
    mapped = [task for dag in bag["dags"].values() for task in dag["tasks"].values() if task["mapped"]]
    assert len(mapped) == 8
    assert all(task["label"] for task in mapped)


def test_forms_are_typed(bag):
    for name in ("month_end_prepare", "month_end_send"):
        params = bag["dags"][name]["params"]
        assert params["month"]["pattern"] == r"^\d{6}$"
        assert "integer" in params["batch"]["type"]
    assert bag["dags"]["submission_intake"]["params"]["city"]["pattern"] == r"^\d{6}$"


def test_the_month_end_belongs_to_the_month_before_in_shanghai(bag):
    """The timetable gives each run the partition key of the month that ended."""
    schedule = bag["dags"]["month_end_prepare"]["schedule"]
    assert "CronPartitionTimetable" in schedule
    assert "Asia/Shanghai" in schedule

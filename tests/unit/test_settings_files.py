"""Values that stand in files, as container secrets do."""

from pathlib import Path

import pytest

from certflow.errors import ConfigurationError
from certflow.settings import Settings, misspelt

ROOT = Path(__file__).parents[2]
URL = "postgresql://certflow:not-a-secret@postgres/certflow"


def test_a_value_may_stand_in_a_file(tmp_path):
    file = tmp_path / "database_url"
    file.write_text(URL + "\n", encoding="utf-8")
    assert Settings.load({"CERTFLOW_DATABASE_URL_FILE": str(file)}).database_url == URL


def test_so_may_one_of_a_group(tmp_path):
    file = tmp_path / "days"
    file.write_text("400\n", encoding="utf-8")
    assert Settings.load({"CERTFLOW_RETENTION_RETURNS_FILE": str(file)}).retention.returns == 400


def test_a_missing_file_and_two_sources_are_refused_without_the_value(tmp_path):
    with pytest.raises(ConfigurationError, match="CERTFLOW_DATABASE_URL_FILE 指向的文件读不出"):
        Settings.load({"CERTFLOW_DATABASE_URL_FILE": str(tmp_path / "gone")})
    with pytest.raises(ConfigurationError, match="只能设置其中一个") as refused:
        Settings.load({"CERTFLOW_DATABASE_URL": URL, "CERTFLOW_DATABASE_URL_FILE": str(tmp_path / "gone")})
    assert "not-a-secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("CERTFLOW_APPROVAL", "perhaps", "只能是 never、"),
        ("CERTFLOW_PHOTO_THREADS", "many", "须是数字"),
        ("CERTFLOW_LIMITS_ENTRIES", "-1", "须是不小于 0 的数字"),
        ("CERTFLOW_CITY_SFTP", "sftp://a@b:22/", "须同时设置 CERTFLOW_CITY_SFTP_KEY 和 CERTFLOW_CITY_SFTP_KNOWN_HOSTS"),
    ],
)
def test_a_wrong_setting_is_told_with_its_name_and_what_it_may_be(variable, text, said):
    with pytest.raises(ConfigurationError, match=f"{variable}.*{said}"):
        Settings.load({variable: text})


def test_a_wrong_address_is_told_with_how_one_is_written(tmp_path):
    beside = {f"CERTFLOW_CITY_SFTP_{name}": str(tmp_path) for name in ("KEY", "KNOWN_HOSTS")}
    with pytest.raises(ConfigurationError, match="SFTP 地址写成 sftp://"):
        Settings.load({"CERTFLOW_CITY_SFTP": "10.0.0.1", **beside})


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_readme_says_where_every_setting_stands_and_how_its_variable_is_called(page):
    told = (ROOT / page).read_text("utf-8")
    assert "(include/certflow/settings.py)" in told
    assert "CERTFLOW_PAPER_BLOCKS" in told
    assert "CERTFLOW_RETENTION_RETURNS" in told
    set_so = Settings.load({"CERTFLOW_PAPER_BLOCKS": "yes", "CERTFLOW_RETENTION_RETURNS": "9"})
    assert (set_so.paper_blocks, set_so.retention.returns) == ("yes", 9)


def test_a_variable_that_names_no_setting_is_told_with_the_one_that_may_be_meant():
    (told,) = misspelt({"CERTFLOW_TWO_PERSONS": "yes"})
    assert "CERTFLOW_TWO_PERSONS 不是任何设置的名称" in told
    assert "是否 CERTFLOW_TWO_PERSON）" in told
    assert misspelt({"CERTFLOW_XYZ": "1"}) == ["环境变量 CERTFLOW_XYZ 不是任何设置的名称，没有起作用"]


def test_what_names_one_or_comes_from_kubernetes_is_not_told():
    right = ("TWO_PERSON", "VAULT_KEY_FILE", "CITY_SFTP_KEY", "LIMITS_ENTRIES", "RETENTION_RETURNS_FILE")
    theirs = ("API_SERVER_SERVICE_HOST", "API_PORT_8080_TCP_ADDR", "API_SERVICE_PORT_HTTPS", "SERVICE_HOST", "PORT")
    assert misspelt({f"CERTFLOW_{name}": "1" for name in (*right, *theirs)} | {"OTHER": "1"}) == []

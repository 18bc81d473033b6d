"""Values that stand in files, as container secrets do."""

import pytest

from certflow.errors import ConfigurationError
from certflow.settings import Settings

URL = "postgresql://certflow:not-a-secret@postgres/certflow"


def test_a_value_may_stand_in_a_file(tmp_path):
    file = tmp_path / "database_url"
    file.write_text(URL + "\n", encoding="utf-8")
    assert Settings.load({"CERTFLOW_DATABASE_URL_FILE": str(file)}).database_url == URL


def test_a_missing_file_and_two_sources_are_refused_without_the_value(tmp_path):
    with pytest.raises(ConfigurationError, match="CERTFLOW_DATABASE_URL_FILE names a file"):
        Settings.load({"CERTFLOW_DATABASE_URL_FILE": str(tmp_path / "gone")})
    with pytest.raises(ConfigurationError, match="both set") as refused:
        Settings.load({"CERTFLOW_DATABASE_URL": URL, "CERTFLOW_DATABASE_URL_FILE": str(tmp_path / "gone")})
    assert "not-a-secret" not in str(refused.value)

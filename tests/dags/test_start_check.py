"""No service of Airflow starts with settings for developers: really started, with each of them."""

import os
import subprocess
import sys
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path

import pytest
from airflow.configuration import conf

from certflow import stack
from certflow.errors import CertflowError
from certflow.settings import Settings
from start_check import SERVICES, faults

ROOT = Path(__file__).parents[2]
KEY = sha256(b"a key for tests").hexdigest()
GOOD = {
    "CORE__AUTH_MANAGER": "certflow_login.CertflowLogin",
    "CORE__FERNET_KEY": urlsafe_b64encode(sha256(b"for tests only").digest()).decode(),
    "API_AUTH__JWT_SECRET": KEY,
    "API__SECRET_KEY": KEY[::-1],
    "API__HOST": "127.0.0.1",
}
SIMPLE = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
BAD = [
    ("CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True", "不登录就是管理员"),
    ("CORE__AUTH_MANAGER", SIMPLE, "供开发用的登录"),
    ("CORE__FERNET_KEY", "", "没有设置"),
    ("CORE__FERNET_KEY", "x" * 44, "太短或太简单"),
    ("CORE__FERNET_KEY", KEY, "不是 Fernet 密钥"),
    ("API_AUTH__JWT_SECRET", "", "没有设置"),
    ("API_AUTH__JWT_SECRET", "secret", "太短或太简单"),
    ("API__SECRET_KEY", "", "没有设置"),
    ("API__SECRET_KEY", "temporary_key", "太短或太简单"),
    ("API__EXPOSE_CONFIG", "non-sensitive-only", "显示配置"),
    ("CORE__TEST_CONNECTION", "Enabled", "试连任意主机"),
    ("API__HOST", "0.0.0.0", "向网络开放"),
    ("API__HOST", "::", "向网络开放"),
]


@pytest.fixture
def good(monkeypatch):
    for name, value in GOOD.items():
        monkeypatch.setenv(f"AIRFLOW__{name}", value)
    return monkeypatch


def found(*arguments, behind_proxy=False):
    return [(f"{section}__{key}".upper(), wrong) for section, key, wrong, _right in faults(
        conf, arguments, behind_proxy=behind_proxy)]  # fmt: skip


def test_good_settings_have_no_fault(good):
    for service in SERVICES:
        assert found(service) == []


@pytest.mark.parametrize(("name", "value", "words"), BAD)
def test_each_setting_for_developers_is_one_fault(good, name, value, words):
    good.setenv(f"AIRFLOW__{name}", value)
    [(where, wrong)] = found("api-server")
    assert where == name
    assert words in wrong
    assert value == "" or value not in wrong or "HOST" in name, "a key is not repeated"


@pytest.mark.parametrize("name", ["CORE__FERNET_KEY", "API_AUTH__JWT_SECRET", "API__SECRET_KEY"])
def test_keys_that_airflow_makes_up_for_itself_are_none(good, name):
    good.delenv(f"AIRFLOW__{name}")
    assert [where for where, _ in found("scheduler")] == [name]


@pytest.mark.parametrize("name", ["CORE__FERNET_KEY", "API_AUTH__JWT_SECRET", "API__SECRET_KEY"])
def test_keys_may_come_out_of_files(good, tmp_path, name):
    good.delenv(f"AIRFLOW__{name}")
    (tmp_path / "key").write_text(GOOD[name])
    good.setenv(f"AIRFLOW__{name}_CMD", f"cat {tmp_path / 'key'}")
    assert found("scheduler") == []


def test_only_who_serves_pages_is_asked_for_its_host(good):
    good.setenv("AIRFLOW__API__HOST", "0.0.0.0")
    assert found("scheduler") == []
    assert found("api-server", behind_proxy=True) == []
    assert found("api-server", "--host", "127.0.0.1") == []
    good.setenv("AIRFLOW__API__HOST", "127.0.0.1")
    assert [where for where, _ in found("api-server", "--host=0.0.0.0")] == ["API__HOST"]
    good.setenv("AIRFLOW__API__SSL_CERT", "/run/secrets/cert.pem")
    assert found("api-server", "-H", "0.0.0.0") == []


def start(home, service, **variables):
    """Start a service as an operator would; with `--help` it ends by itself where it is let through."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "CERTFLOW"))}
    return subprocess.run(
        [sys.executable, "-m", "airflow", service, "--help"],
        env=inherited | {"AIRFLOW_HOME": str(home), "PYTHONPATH": str(ROOT / "plugins")} | variables,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_a_service_with_airflows_own_defaults_does_not_start(tmp_path):
    ended = start(tmp_path, "api-server")
    assert ended.returncode == 1
    assert "usage" not in ended.stdout.lower()
    words = ended.stderr[ended.stderr.index(stack.REFUSED) :]
    for key in ("auth_manager", "fernet_key", "jwt_secret", "secret_key", "host"):
        assert f"] {key}：" in words
    assert "AIRFLOW__CORE__AUTH_MANAGER=certflow_login.CertflowLogin" in words
    assert "没有写，用的是默认值" in words
    assert "CERTFLOW_DEMO=1" in words
    assert "Traceback" not in ended.stderr


def test_a_demonstration_starts_with_them(tmp_path):
    ended = start(tmp_path, "api-server", CERTFLOW_DEMO="1")
    assert (ended.returncode, "usage" in ended.stdout.lower()) == (0, True), ended.stderr[-2000:]


@pytest.mark.long
@pytest.mark.parametrize(("name", "value", "words"), BAD)
def test_a_service_with_one_of_them_does_not_start_and_says_where_it_stands(tmp_path, name, value, words):
    good = {f"AIRFLOW__{key}": given for key, given in GOOD.items()}
    ended = start(tmp_path, "api-server", **good | {f"AIRFLOW__{name}": value})
    assert (ended.returncode, words in ended.stderr) == (1, True)
    assert f"环境变量 AIRFLOW__{name}" in ended.stderr
    if name == BAD[0][0]:
        assert start(tmp_path, "api-server", **good).returncode == 0


@pytest.mark.slow
def test_up_says_in_its_own_words_why_it_does_not_start(tmp_path, monkeypatch):
    """Settings of the surroundings are left out; a file in Airflow's home is not."""
    monkeypatch.setenv("CERTFLOW_HOME", str(tmp_path / "home"))
    settings = Settings.load()
    folder = settings.path("airflow")
    folder.mkdir(parents=True)
    (folder / "airflow.cfg").write_text("[core]\nsimple_auth_manager_all_admins = True\n", encoding="utf-8")
    try:
        with pytest.raises(CertflowError, match="不登录就是管理员") as refusal:
            stack.up(settings, port=0, say=lambda _line: None)
        assert str(folder / "airflow.cfg") in str(refusal.value)
        assert (folder / "run" / "keeper.log").stat().st_mode & 0o777 == 0o600
    finally:
        stack.down(settings, say=lambda _line: None)

"""Logins and their passwords: what the file says counts, what `certflow logins` writes is what a person would."""

import json

import pytest
from typer.testing import CliRunner

from certflow import logins, passwords
from certflow.cli import app
from certflow.errors import ConfigurationError, Conflict

BY_HAND = """# 省中心
[liqiang]          # 李
roles = ["operator"]

# 各市
["wang@city"]
roles = ["viewer"]
account = "370100"
"""


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    """A digest costs a guesser 0.2 s, and a test too."""
    monkeypatch.setattr(passwords, "_ROUNDS", 4)


@pytest.fixture
def file(settings):
    settings.home.mkdir(parents=True)
    file = settings.path("logins.toml")
    file.write_text(BY_HAND, encoding="utf-8")
    return file


def test_an_added_login_comes_in_with_its_password_and_keeps_what_stands_in_the_file(settings, file):
    password = logins.add(settings, "zhang.san", ["approver", "auditor"])
    assert file.read_text(encoding="utf-8").startswith(BY_HAND)
    assert (file.stat().st_mode & 0o777, (settings.keys / "logins.json").stat().st_mode & 0o777) == (0o600, 0o600)
    assert logins.recognise(settings, "zhang.san", password).roles == {"approver", "auditor"}
    for name, wrong in (("zhang.san", password + "x"), ("zhang.san", ""), ("liqiang", password), ("nobody", password)):
        assert logins.recognise(settings, name, wrong) is None
    assert password not in (settings.keys / "logins.json").read_text(encoding="utf-8")


def test_a_city_login_is_written_with_its_account(settings, file):
    logins.add(settings, "jinan", ["viewer", "verifier"], "370100")
    assert logins.logins(settings)["jinan"] == logins.Login("jinan", frozenset({"viewer", "verifier"}), "370100")


@pytest.mark.parametrize(
    ("name", "roles", "account", "error"),
    [
        ("liqiang", ["viewer"], "", Conflict),
        ("a]\n[b", ["viewer"], "", Conflict),
        ("x", ["viewer"], "", Conflict),
        ("new", ["boss"], "", ConfigurationError),
        ("new", ["verifier"], "", ConfigurationError),
        ("new", ["operator"], "370100", ConfigurationError),
        ("new", ["admin"], "370100", ConfigurationError),
    ],
)
def test_a_login_that_cannot_be_is_refused_and_nothing_is_written(settings, file, name, roles, account, error):
    with pytest.raises(error):
        logins.add(settings, name, roles, account)
    assert file.read_text(encoding="utf-8") == BY_HAND
    assert passwords.known(settings) == set()


def test_a_removed_login_is_out_and_its_neighbours_keep_their_words(settings, file):
    password = logins.renew(settings, "wang@city")
    logins.remove(settings, "wang@city")
    assert file.read_text(encoding="utf-8") == BY_HAND.partition('["wang@city"]')[0]
    assert logins.recognise(settings, "wang@city", password) is None
    with pytest.raises(Conflict, match="没有登录"):
        logins.remove(settings, "wang@city")


def test_lines_of_another_shape_are_left_to_the_editor_but_the_password_is_gone(settings, file):
    password = logins.renew(settings, "liqiang")
    file.write_text('[liqiang]\nroles = [\n  "operator",\n]\n', encoding="utf-8")
    with pytest.raises(Conflict, match="编辑器"):
        logins.remove(settings, "liqiang")
    assert logins.recognise(settings, "liqiang", password) is None


def test_a_renewed_password_is_another_one_and_so_is_its_stamp(settings, file):
    old = logins.renew(settings, "liqiang")
    stamp = passwords.stamp(settings, "liqiang")
    new = logins.renew(settings, "liqiang")
    assert logins.recognise(settings, "liqiang", old) is None
    assert logins.recognise(settings, "liqiang", new)
    assert passwords.stamp(settings, "liqiang") not in ("", stamp)
    with pytest.raises(Conflict, match="logins add"):
        logins.renew(settings, "nobody")


def test_the_first_password_is_shown_until_somebody_renews_it(settings):
    settings.home.mkdir(parents=True)
    first = logins.begin(settings, "operator")
    assert logins.begin(settings, "operator") == first
    assert logins.recognise(settings, "operator", first).roles == {"operator", "approver", "admin"}
    logins.renew(settings, "operator")
    assert not (settings.keys / "airflow-login.json").exists()
    assert logins.begin(settings, "operator") == ""


def test_a_home_of_an_older_version_keeps_the_password_it_printed(settings):
    settings.keys.mkdir(parents=True)
    (settings.keys / "airflow-login.json").write_text('{"operator": "as-it-was"}\n', encoding="utf-8")
    assert logins.begin(settings, "operator") == "as-it-was"
    assert logins.recognise(settings, "operator", "as-it-was")


def test_a_login_that_the_file_does_not_know_gets_no_first_password(settings, file):
    assert logins.begin(settings, "operator") == ""
    assert passwords.known(settings) == set()


def test_a_password_longer_than_the_digest_takes_is_wrong(settings, file):
    logins.renew(settings, "liqiang")
    assert logins.recognise(settings, "liqiang", "长" * 5000) is None


def test_a_broken_file_of_passwords_lets_nobody_in(settings, file):
    settings.keys.mkdir(exist_ok=True)
    (settings.keys / "logins.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="备份"):
        logins.recognise(settings, "liqiang", "x")


def test_the_commands_say_it_in_words(settings, file, monkeypatch):
    monkeypatch.setenv("CERTFLOW_HOME", str(settings.home))
    run = CliRunner().invoke
    password = run(app, ["logins", "add", "sun", "--role", "viewer", "--account", "370100"]).output.strip()
    assert logins.recognise(settings, "sun", password).account == "370100"
    assert run(app, ["logins", "add", "sun2", "--role", "viewer", "--account", "999999"]).exit_code == 2
    found = [json.loads(line) for line in run(app, ["logins", "list", "--json"]).output.splitlines()]
    assert {one["login"]: one["password"] for one in found} == {"liqiang": False, "sun": True, "wang@city": False}
    assert run(app, ["logins", "password", "sun"]).output.strip() != password
    assert "已取消" in run(app, ["logins", "remove", "sun"]).output

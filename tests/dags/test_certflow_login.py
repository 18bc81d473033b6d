"""Airflow's logins are the people of `logins.toml`: who comes in, and what a role may do in Airflow."""

import time

import pytest
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity, DagDetails
from airflow.api_fastapi.common.types import MenuItem
from fastapi.testclient import TestClient
from jwt import ExpiredSignatureError
from sqlalchemy import text

from certflow import logins, passwords
from certflow.desk.sign_in import Ticket, create_app
from certflow.verify import limits
from certflow_login import CertflowLogin, User

FILE = """
[viewer]
roles = ["viewer"]
[operator]
roles = ["operator"]
[approver]
roles = ["approver"]
[auditor]
roles = ["auditor"]
[admin]
roles = ["admin"]
[city]
roles = ["viewer", "verifier"]
account = "370100"
"""
PEOPLE = ("viewer", "operator", "approver", "auditor", "admin", "city")
RUN, TASK, HITL, XCOM, LOGS, AUDIT = (
    DagAccessEntity.RUN,
    DagAccessEntity.TASK_INSTANCE,
    DagAccessEntity.HITL_DETAIL,
    DagAccessEntity.XCOM,
    DagAccessEntity.TASK_LOGS,
    DagAccessEntity.AUDIT_LOG,
)
SEND, INTAKE = "month_end_send", "submission_intake"
PROVINCE = {"viewer", "operator", "approver", "auditor", "admin"}


@pytest.fixture
def manager(settings, monkeypatch):
    monkeypatch.setattr(passwords, "_ROUNDS", 4)
    monkeypatch.setenv("CERTFLOW_HOME", str(settings.home))
    settings.home.mkdir(parents=True, exist_ok=True)
    settings.path("logins.toml").write_text(FILE, encoding="utf-8")
    return CertflowLogin()


@pytest.fixture
def people(manager, settings):
    return {name: User(logins.logins(settings)[name]) for name in PEOPLE}


@pytest.mark.parametrize(
    ("method", "entity", "dag", "allowed"),
    [
        ("GET", None, None, PROVINCE),
        ("GET", LOGS, INTAKE, PROVINCE),
        ("GET", XCOM, INTAKE, PROVINCE),
        ("GET", AUDIT, None, {"auditor", "admin"}),
        ("POST", RUN, INTAKE, {"operator", "admin"}),
        ("PUT", None, INTAKE, {"operator", "admin"}),
        ("PUT", TASK, INTAKE, {"operator", "admin"}),
        ("POST", RUN, SEND, {"operator", "approver", "admin"}),
        ("PUT", None, SEND, {"operator", "approver", "admin"}),
        ("PUT", TASK, SEND, {"operator", "admin"}),
        ("PUT", HITL, SEND, {"approver"}),
        ("POST", XCOM, SEND, {"admin"}),
        ("DELETE", None, INTAKE, {"admin"}),
        ("DELETE", RUN, INTAKE, {"admin"}),
    ],
)
def test_what_a_role_may_do_to_a_dag(manager, people, method, entity, dag, allowed):
    may = {
        name
        for name, user in people.items()
        if manager.is_authorized_dag(method=method, user=user, access_entity=entity, details=DagDetails(id=dag))
    }
    assert may == allowed


@pytest.mark.parametrize("what", ["connection", "variable", "configuration"])
def test_the_system_is_read_by_the_auditor_and_changed_by_the_admin_alone(manager, people, what):
    ask = getattr(manager, f"is_authorized_{what}")
    assert {name for name, user in people.items() if ask(method="GET", user=user)} == {"auditor", "admin"}
    for method in ("POST", "PUT", "DELETE"):
        assert {name for name, user in people.items() if ask(method=method, user=user)} == {"admin"}


@pytest.mark.parametrize("what", ["pool", "asset", "asset_alias"])
def test_pools_and_assets_are_seen_by_the_province(manager, people, what):
    ask = getattr(manager, f"is_authorized_{what}")
    assert {name for name, user in people.items() if ask(method="GET", user=user)} == PROVINCE
    assert {name for name, user in people.items() if ask(method="PUT", user=user)} == {"admin"}


def test_a_login_of_one_city_sees_the_frame_and_no_menu(manager, people):
    city = people["city"]
    assert {view for view in AccessView if manager.is_authorized_view(access_view=view, user=city)} == {
        AccessView.WEBSITE,
        AccessView.PLUGINS,
    }
    assert manager.get_authorized_menu_items(user=city) == []
    assert MenuItem.CONNECTIONS not in manager.get_authorized_menu_items(user=people["operator"])
    assert MenuItem.CONNECTIONS in manager.get_authorized_menu_items(user=people["auditor"])


def test_a_token_names_the_login_and_ends_with_its_password_or_its_line(manager, settings):
    logins.renew(settings, "operator")
    token = manager.serialize_user(User(logins.logins(settings)["operator"]))
    assert manager.deserialize_user(token).get_name() == "operator"
    logins.renew(settings, "operator")
    with pytest.raises(ExpiredSignatureError):
        manager.deserialize_user(token)
    token = manager.serialize_user(User(logins.logins(settings)["operator"]))
    settings.path("logins.toml").write_text(FILE.replace("[operator]", "[other]"), encoding="utf-8")
    with pytest.raises(ExpiredSignatureError):
        manager.deserialize_user(token)


def test_a_token_without_a_password_behind_it_is_none(manager):
    with pytest.raises(ExpiredSignatureError):
        manager.deserialize_user({"sub": "operator", "key": ""})


@pytest.fixture
def door(settings, registry, manager):
    """The page of the login, and the operator's password."""
    ticket = Ticket(lambda login: f"token-of-{login.name}", "_token", "/", https=False)
    app = create_app(settings, registry, ticket, home="/desk/")
    with TestClient(app, follow_redirects=False, headers={"sec-fetch-site": "same-origin"}) as client:
        client.password = logins.renew(settings, "operator")
        yield client


def form(door, **other):
    return door.post("/login", data={"username": "operator", "password": door.password, "next": "/x?y=1"} | other)


def test_the_right_password_leads_on_with_a_cookie_and_is_on_record(door, registry):
    answer = form(door)
    assert (answer.status_code, answer.headers["location"]) == (303, "/x?y=1")
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("_token=token-of-operator;")
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie
    with registry.read() as conn:
        assert "signed-in" in conn.scalar(text("SELECT payload FROM audit ORDER BY seq DESC LIMIT 1"))
        assert conn.scalar(text("SELECT sum(misses) FROM verification_tries")) == 0


def test_the_page_is_chinese_and_asks_for_both(door):
    page = door.get("/login?next=/desk/holds").text
    assert 'lang="zh-CN"' in page
    assert 'name="next" value="/desk/holds"' in page
    assert "用户名" in page


@pytest.mark.parametrize("other", [{"password": "wrong"}, {"username": "nobody"}, {"username": ""}, {"password": ""}])
def test_anything_else_says_the_same_and_sets_nothing(door, other):
    answer = form(door, **other)
    assert (answer.status_code, "用户名或口令不对" in answer.text) == (401, True)
    assert "set-cookie" not in answer.headers


def test_whoever_mistyped_the_password_need_not_type_the_name_again(door):
    assert 'value="oper&#34;ator"' in form(door, username='oper"ator').text


@pytest.mark.parametrize(
    "wanted",
    ["https://evil.example.org/", "//evil.example.org/x", "/\\evil.example.org", "javascript:alert(1)", "", "desk/"],
)
def test_nobody_is_led_elsewhere(door, wanted):
    place = form(door, next=wanted).headers["location"]
    assert place.startswith("/")
    assert not place.startswith(("//", "/\\"))


def test_an_address_of_this_server_is_its_path(door):
    assert form(door, next="http://testserver/dags?x=1").headers["location"] == "/dags?x=1"


def test_programs_get_a_token_for_json(door):
    asked = {"username": "operator", "password": door.password}
    answer = door.post("/token", json=asked)
    assert (answer.status_code, answer.json()) == (201, {"access_token": "token-of-operator"})
    assert door.post("/token", json=asked | {"password": "x"}).status_code == 401


def test_a_form_of_another_site_is_turned_away(door):
    sent = {"username": "operator", "password": door.password}
    assert door.post("/login", data=sent, headers={"sec-fetch-site": "cross-site"}).status_code == 403


def test_guessing_ends_after_some_wrong_passwords_even_with_the_right_one(door, monkeypatch):
    monkeypatch.setattr(limits, "MISSES", 2)
    while time.time() % limits.WINDOW.total_seconds() > limits.WINDOW.total_seconds() - 5:
        time.sleep(1)  # the two would fall into two windows
    for _ in range(2):
        assert form(door, password="wrong").status_code == 401
    answer = form(door)
    assert (answer.status_code, "分钟后再试" in answer.text) == (429, True)
    assert int(answer.headers["retry-after"]) > 0
    assert door.post("/token", json={"username": "operator", "password": door.password}).status_code == 429

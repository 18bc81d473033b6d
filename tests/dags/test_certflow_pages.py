"""Pages mounted into Airflow: closed without its login, and for a login only what the operator's file says."""

import re

import pytest
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.security import get_user
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import insert

from certflow.errors import CertflowError
from certflow.logins import begin, logins
from certflow.registry import schema
from certflow_pages import ROOT, CertflowPages, Mounted, desk, own_address, verification

PERSON = {"management_no": "2018034370000001", "name": "测试甲", "id_number": "11010519491231002X"}
ASKED = {"requester": "某某建设集团有限公司", "reason": "投标"} | PERSON


@pytest.fixture
def app(settings, registry, actor, monkeypatch):
    """The verification pages as the plugin builds them, and one certificate of 济南."""
    monkeypatch.setenv("CERTFLOW_HOME", str(settings.home))
    monkeypatch.setenv("CERTFLOW_DATABASE_URL", settings.database_url)
    entry = PERSON | {
        "id_type": "居民身份证", "sex": "女", "exam_code": "034", "exam_name": "一级建造师", "level": "",
        "specialty": "建筑工程", "birth_month": "194912", "approved_on": "20180916", "city": "济南市",
    }  # fmt: skip
    with registry.begin(actor) as conn:
        conn.execute(insert(schema.certificates).values(entry))
    settings.home.mkdir(parents=True, exist_ok=True)
    settings.path("logins.toml").write_text(
        '[jinan]\nroles = ["verifier"]\naccount = "370100"\n["q@dao"]\nroles = ["verifier"]\naccount = "370200"\n',
        encoding="utf-8",
    )
    return verification()


def browser(app, login="", at="/verify"):
    """Somebody at the mounted pages; with a login, as Airflow would have recognised it."""
    root = FastAPI()
    root.mount(at, Mounted(lambda: app))
    if login:
        app.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username=login, role="viewer")
    return TestClient(root, headers={"sec-fetch-site": "same-origin"})


@pytest.mark.parametrize("build", [desk, verification])
def test_every_route_is_closed_without_airflows_login(app, build):
    app, at = build(), f"/{build.__name__}"
    places = re.compile(r"{\w+(?::\w+)?}")
    walked = [(method, places.sub("1", route.path)) for route in app.routes for method in route.methods]
    assert walked
    with browser(app, at=at) as nobody:
        for method, path in walked:
            answer = nobody.request(method, f"{at}{path}")
            assert answer.status_code == 401, (method, path)
            if method == "GET":
                assert f"/api/v2/auth/login?next=%2F{build.__name__}%2F" in answer.text


def test_every_mounted_app_is_one_that_this_file_tests():
    assert [one["app"]._build for one in CertflowPages.fastapi_apps] == [desk, verification]


@pytest.mark.parametrize(
    ("login", "status", "word"),
    [("wang", 200, "经办"), ("jinan", 403, "没有这项权限"), ("operator", 403, "没有这项权限")],
)
def test_what_a_login_may_do_at_the_desk_stands_in_the_operators_file(app, settings, login, status, word):
    with settings.path("logins.toml").open("a", encoding="utf-8") as file:
        file.write('[wang]\nroles = ["operator"]\n')
    with browser(desk(), login, "/desk") as client:
        answer = client.get("/desk/")
        assert (answer.status_code, word in answer.text) == (status, True)


@pytest.mark.parametrize(
    ("login", "status", "words"),
    [("jinan", 200, "<strong>✓ 一致"), ("q@dao", 200, "<strong>✗ 不一致"), ("operator", 403, "没有现场核对的权限")],
)
def test_a_login_verifies_for_its_own_city_or_not_at_all(app, login, status, words):
    with browser(app, login) as client:
        answer = client.post("/verify/certificate", data=ASKED)
        assert (answer.status_code, words in answer.text) == (status, True)
        assert PERSON["name"] not in answer.text
        assert client.get("/verify/").status_code == 200, "a code may be checked by whoever is logged in"


def test_the_login_of_certflow_up_has_its_seat_unless_a_file_says_otherwise(settings):
    settings.home.mkdir(parents=True)
    begin(settings, "operator")
    assert logins(settings)["operator"].roles == {"operator", "approver", "admin"}
    settings.path("logins.toml").write_text('[a]\nroles = ["viewer"]\n', encoding="utf-8")
    begin(settings, "operator")
    assert set(logins(settings)) == {"a"}


def test_a_login_that_is_taken_out_is_out_at_once(app, settings):
    with browser(app, "jinan") as client:
        assert client.get("/verify/log").status_code == 200
        settings.path("logins.toml").unlink()
        assert client.get("/verify/log").status_code == 403


@pytest.mark.parametrize(
    "text",
    [
        "[jinan",
        '[jinan]\nroles = ["boss"]\naccount = "370100"',
        '[jinan]\nroles = ["verifier"]',
        "jinan = 1",
        '[jinan]\nroles = ["verifier", "operator"]\naccount = "370100"',
    ],
)
def test_a_broken_file_lets_nobody_in(app, settings, text):
    settings.path("logins.toml").write_text(text, encoding="utf-8")
    with browser(app, "jinan") as client:
        assert client.get("/verify/log").status_code == 500


def test_while_the_pages_cannot_be_built_they_say_so_and_are_tried_again():
    tries = []

    def build():
        tries.append(1)
        if len(tries) == 1:
            raise CertflowError("no database")
        return FastAPI()

    root = FastAPI()
    root.mount("/x", Mounted(build))
    with TestClient(root) as client:
        first = client.get("/x/")
        assert (first.status_code, "no database" in first.text) == (503, False)
        assert client.get("/x/").status_code == 404


@pytest.mark.parametrize(
    ("public", "certificate", "asked"),
    [
        ("https://certflow.example.org/office", "", "http://127.0.0.1:8123"),
        ("https://certflow.example.org:8123", "/run/secrets/tls.pem", "https://certflow.example.org:8123"),
    ],
)
def test_the_desk_asks_airflow_where_it_runs_itself(monkeypatch, public, certificate, asked):
    """Not by its public name: from inside, the proxy may not be reached, or its certificate not be known."""
    for name, value in (("BASE_URL", public), ("PORT", "8123"), ("SSL_CERT", certificate)):
        monkeypatch.setenv(f"AIRFLOW__API__{name}", value)
    assert own_address() == asked + ROOT

"""People at the desk, and the desk in front of them: for tests of its pages without Airflow."""

import re

from fastapi import HTTPException, Request
from fastapi.testclient import TestClient

from certflow.desk.app import create_app
from certflow.desk.people import Person

PEOPLE = {
    "viewer": Person("viewer", frozenset({"viewer"})),
    "jinan": Person("jinan", frozenset({"viewer"}), "370100"),
    "operator": Person("operator", frozenset({"operator"})),
    "approver": Person("approver", frozenset({"approver"})),
    "auditor": Person("auditor", frozenset({"auditor"})),
    "nobody": Person("nobody", frozenset()),
}


def login(request: Request) -> Person:
    """Whoever the header names, as Airflow's login would."""
    if name := request.headers.get("x-login"):
        return PEOPLE[name]
    raise HTTPException(401)


def sit_down(settings, registry, name="operator", airflow=None):
    """A browser in front of the desk, logged in."""
    app = create_app(settings, registry, login, airflow=airflow)
    headers = {"sec-fetch-site": "same-origin"} | ({"x-login": name} if name else {})
    return TestClient(app, headers=headers)


def words(answer):
    """What a person reads on a page."""
    text = re.sub(r"<(style|title).*?</\1>|<[^>]+>", " ", answer.text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", text)

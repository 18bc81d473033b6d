"""Who reaches what at the desk: nobody without a login, no city another city's data, no role what is not its own.

Every route is walked with every id the ledger holds and with what a vandal would put in its place; a route that is
added later is walked too.
"""

import itertools
import re

import pytest
from at_the_desk import PEOPLE, login, sit_down
from desk_world import ACCOUNTS, QINGDAO, build
from sqlalchemy import select

from certflow.desk.app import create_app
from certflow.registry import schema

_PLACE = r"{(\w+)(?::\w+)?}"
VANDALISM = [
    "0", "999999999999999999999", "-1", "x", "..", "../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%00", "{{7*7}}",
    "<script>", "%ff", "' OR 1=1 --",
]  # fmt: skip
FORM = {
    "decision": "accept", "reason": "核对过", "name": "a.csv", "photo": "", "number": "1", "finding": "1",
    "state": "KEPT",
    "verdict": "upheld", "content": "YQ==", "sha256": "x",
}  # fmt: skip


_NAMES = {"id", "management_no", "number", "bundle", "record_id", "account", "month", "exam_code"}


def routes(app):
    return [
        (method, route.path) for route in app.routes for method in sorted(route.methods) if method in ("GET", "POST")
    ]


@pytest.fixture
def world(settings, registry, actor, tmp_path):
    return build(settings, registry, actor, tmp_path)


@pytest.fixture
def app(settings, registry):
    return create_app(settings, registry, login)


def filled(path, /, **places):
    """The address of a route with its places filled."""
    return re.sub(_PLACE, lambda at: places.get(at[1], "1"), path)


def ids(registry):
    """Every id of every table, and whatever else could stand in an address."""
    found = set()
    with registry.read() as conn:
        for table in schema.metadata.sorted_tables:
            for column in table.columns:
                if column.name in {
                    "id",
                    "management_no",
                    "number",
                    "bundle",
                    "record_id",
                    "account",
                    "month",
                    "exam_code",
                }:
                    found |= {str(value) for value in conn.scalars(select(column).distinct()) if value is not None}
    return sorted(found - {""})


def addresses(path, world, every):
    """The addresses of a route: each place filled with each id that may stand there, and with what may not."""
    fitting = {
        "account": [*ACCOUNTS, "999999"], "record": [*world.held.values(), *world.photos.values()],
        "tag": list(world.photos.values()), "period": ["202005", "202006", "2020"], "month": ["202005", "202006"],
        "code": ["034", "902", "DB-NAME"],
    }  # fmt: skip
    places = re.findall(_PLACE, path)
    choices = [[*(every if len(places) == 1 else []), *fitting.get(one, every[:40]), *VANDALISM] for one in places]
    for values in itertools.islice(itertools.product(*choices), 150):
        yield filled(path, **dict(zip(places, values, strict=True)))


def test_nobody_comes_in_without_a_login_and_nobody_without_a_role(settings, registry, app):
    stranger, nobody = (sit_down(settings, registry, name) for name in ("", "nobody"))
    for method, path in routes(app):
        address = filled(path)
        assert stranger.request(method, address).status_code == 401, (method, path)
        answer = nobody.request(method, address)
        assert answer.status_code in (403, 405), (method, path, answer.status_code)


def test_a_form_from_elsewhere_is_refused_before_anything_happens(settings, registry, app):
    desk = sit_down(settings, registry, "operator")
    for method, path in routes(app):
        if method == "POST":
            address = filled(path)
            for headers in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}):
                answer = desk.post(address, data=FORM, headers=headers)
                assert (answer.status_code, "请从本系统的页面提交" in answer.text) == (403, True), path
            desk.headers.pop("sec-fetch-site", None)
            assert desk.post(address, data=FORM, headers={"origin": "http://evil.example"}).status_code == 403


def test_a_city_reaches_nothing_of_another_city(world, settings, registry, app):
    every, city = ids(registry), sit_down(settings, registry, "jinan")
    assert len(every) > 60
    before, seen = world.head, 0
    theirs = [QINGDAO, world.held["370200"], "青岛市"]
    for method, path in routes(app):
        if method != "GET":
            continue
        asked = [*addresses(path, world, every)]
        asked += [f"{path}?{key}={one}" for key in ("city", "number", "month", "done", "period", "record")
                  for one in (*world.held.values(), "370200", "202006")] if "{" not in path else []  # fmt: skip
        for address in asked:
            answer = city.get(address)
            assert answer.status_code < 500, address
            page = answer.text.replace(address.rpartition("=")[2], "")  # what was typed is shown again
            assert not [word for word in theirs if word in page], address
            seen += 1
    assert seen > 500
    for (method, path), account in itertools.product(routes(app), ACCOUNTS):
        if method == "POST" and path != "/trial":
            places = {"account": account, "period": "202006", "record": world.held[account], "number": "1"}
            address = filled(path, **places)
            form = FORM | {"finding": str(world.errors["370200"])}
            answer = city.post(address, data=form)
            assert answer.status_code in (400, 403, 404), (address, answer.status_code)
            assert QINGDAO not in answer.text
    assert world.head == before


def test_no_address_breaks_a_page(world, settings, registry, app):
    every = ids(registry)
    for name in ("viewer", "operator"):
        desk = sit_down(settings, registry, name)
        for method, path in routes(app):
            if method == "GET":
                for address in addresses(path, world, every[:12]):
                    answer = desk.get(address)
                    assert answer.status_code < 500, (name, address)
                    assert "<script" not in answer.text
                    assert "root:" not in answer.text


def test_who_only_looks_changes_nothing_whatever_the_form(world, settings, registry, app):
    before = world.head
    mine = {
        ("approver", "/cities/{account}/{period}/appeals/{number}"), ("auditor", "/trace"), ("auditor", "/proofs/page"),
        ("jinan", "/cities/{account}/{period}/appeals"),
    }  # fmt: skip
    places = {"account": "370100", "period": "202006", "record": world.held["370100"], "number": "1"}
    for name in ("viewer", "jinan", "approver", "auditor"):
        desk = sit_down(settings, registry, name)
        for method, path in routes(app):
            open_to_them = path == "/trial" or (name, path) in mine or (name == "approver" and "approval" in path)
            if method == "POST" and not open_to_them:
                assert desk.post(filled(path, **places), data=FORM).status_code == 403, (name, path)
    assert world.head == before


def test_everybody_with_a_role_is_in_one_of_these_tests():
    assert set(PEOPLE) == {"viewer", "jinan", "operator", "approver", "auditor", "nobody"}

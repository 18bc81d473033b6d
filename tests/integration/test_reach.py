"""Another city's data is out of reach: every login of every city tries every id of the whole province, on every way in.

A small province: each city has two certificates, an issued proof in a bundle, an open application at its counter, an
old certificate and a verification on record.
"""

import io
from functools import lru_cache

import pytest
import small_month
from fastapi.testclient import TestClient
from openpyxl import Workbook, load_workbook
from small_month import Person, SmallMonth
from sqlalchemy import insert, select, text

from certflow import pdf
from certflow.acceptance import counter, old_certificates
from certflow.errors import Conflict
from certflow.excel import Page, write_xlsx
from certflow.proofs import bundle, issue, requests
from certflow.reference import load_reference
from certflow.registry import schema
from certflow.registry.doctor import examine
from certflow.verify import limits, operators
from certflow.verify.app import create_app, own_login

ASKS = {"requester": "某某建设集团有限公司", "reason": "投标"}


@pytest.fixture
def tables(settings):
    return load_reference(settings)


@pytest.fixture
def cities(tables):
    return {account: city.name for account, city in sorted(tables.cities.items()) if not city.historic}


@pytest.fixture
def numbers(settings, registry, actor, tables, cities, monkeypatch, tmp_path):
    """The province; account → 管理号 of its certificates."""
    monkeypatch.setattr(small_month, "CITIES", cities)
    owned = {account: [] for account in cities}
    entries = []
    for serial in range(1, 2 * len(cities) + 1):
        account = list(cities)[(serial - 1) % len(cities)]
        person = Person(serial, id_number=f"11010519900101{serial:04d}")
        entries.append({
            "management_no": person.management_no, "name": f"王某{serial}", "id_number": person.identity,
            "id_type": "居民身份证", "sex": "男", "exam_code": "902", "exam_name": "注册税务师", "level": "",
            "specialty": "", "birth_month": "199001", "approved_on": "20100101", "city": cities[account],
        })  # fmt: skip
        owned[account].append(person.management_no)
    with registry.begin(actor) as conn:
        conn.execute(insert(schema.certificates), entries)
    month, office = SmallMonth(settings, registry), issue.open_office(settings, registry, actor)
    old = tmp_path / "old.xlsx"
    for serial, account in enumerate(cities, start=1):
        month.submit([Person(serial, photo=None, state="PROOF")], exam="902", account=account)
        assert requests.answer_qualifications(office, account) == (1, ())
        assert bundle.bundle(office, account, cities[account])
        counter.accept(registry, tables, account, owned[account][0], actor)
        write_xlsx(old, [Page("Sheet1", [("档案号", "登记表"), (f"D-{account}", "专业技术资格考试登记表")], (20, 40))])
        assert old_certificates.load_list(settings, registry, account, old, actor) == (1, 0)
    return owned


def ids(registry):
    """Every id of every table, and every name and number that is one: what could stand in an address."""
    found = set()
    with registry.read() as conn:
        for table in schema.metadata.sorted_tables:
            for column in table.columns:
                if column.name in {"id", "management_no", "number", "bundle", "reference", "record_id", "sha256"}:
                    found |= {str(value) for value in conn.scalars(select(column)) if value is not None}
    return sorted(found)


def printed_facts(registry):
    """Account → what only this city may see of its people."""
    with registry.read() as conn:
        people = conn.execute(text("SELECT account, printed->>'name', printed->>'id_number' FROM proofs")).all()
    return {account: (name, number) for account, name, number in people}


def listed(rows):
    book = Workbook()
    for row in (("管理号", "姓名", "证件号码"), *rows):
        book.active.append(list(row))
    made = io.BytesIO()
    book.save(made)
    return made.getvalue()


def test_no_page_shows_or_confirms_what_belongs_to_another_city(
    settings, registry, actor, cities, numbers, monkeypatch
):
    monkeypatch.setattr(limits, "MISSES", 10_000)  # the wall behind the other one: guessing is slowed, see test_verify
    with registry.read() as conn:
        table = schema.certificates.c
        everybody = conn.execute(select(table.management_no, table.name, table.id_number)).all()
    everything = ids(registry)
    assert len(everything) > 6 * len(cities)
    app = create_app(settings, registry, own_login(settings, registry))
    with TestClient(app, headers={"sec-fetch-site": "same-origin"}) as web:
        for account in cities:
            auth = (f"op-{account}", operators.add_operator(settings, f"op-{account}", account))
            for number, name, identity in everybody:
                form = ASKS | {"management_no": number, "name": name, "id_number": identity}
                page = web.post("/certificate", data=form, auth=auth).text
                assert ("<strong>✓ 一致" in page) == (number in numbers[account]), (account, number)
                assert ("<strong>✗ 不一致：所填信息与本市" in page) == (number not in numbers[account])
                assert name not in page
                assert identity not in page
            answer = web.post("/list", data=ASKS, files={"file": ("a.xlsx", listed(everybody))}, auth=auth)
            lines = list(load_workbook(io.BytesIO(answer.content)).active.iter_rows(values_only=True))[4:]
            assert {line[1] for line in lines if line[-1] == "一致"} == set(numbers[account])
            assert len(lines) == len(everybody)
            log = web.get("/log", auth=auth).text
            assert f"op-{account}" in log
            assert not any(f"op-{other}" in log for other in cities if other != account)
        for one in everything:
            for path in (f"/{one}", f"/certificate/{one}"):
                assert web.get(path, auth=auth).status_code == 404, path


def test_no_command_of_a_city_reaches_another_citys_papers(
    settings, registry, actor, tables, cities, numbers, monkeypatch
):
    monkeypatch.setattr(pdf, "press", lru_cache(pdf.press))  # the fonts are read once, not for every form
    office = issue.open_office(settings, registry, actor)
    references = [f"D-{account}" for account in cities]
    whole = [number for owned in numbers.values() for number in owned]
    with registry.read() as conn:
        cases = dict(conn.execute(select(schema.acceptances.c.id, schema.acceptances.c.account)).tuples().all())
    facts = printed_facts(registry)
    for account in cities:
        ways = {
            "form": (
                whole,
                lambda one, at=account: counter.application_form(settings, registry, tables, at, one, photo=b""),
            ),
            "open": (whole, lambda one, at=account: counter.accept(registry, tables, at, one, actor)),
            "proof": (whole, lambda one, at=account: issue.issue_one(office, at, one, "")),
            "case": (list(cases), lambda one, at=account: counter.look(registry, at, one)),
            "item": (
                list(cases),
                lambda one, at=account: counter.hand_in(registry, at, one, "x", file=None, actor=actor),
            ),
            "checklist": (list(cases), lambda one, at=account: counter.checklist(settings, registry, at, one, "李四")),
            "tick": (
                references,
                lambda one, at=account: old_certificates.tick(settings, registry, at, one, [], by="李四", actor=actor),
            ),
        }
        mine = {
            "form": set(numbers[account]), "open": set(numbers[account]), "proof": {numbers[account][0]},
            "case": {one for one, owner in cases.items() if owner == account}, "tick": {f"D-{account}"},
        }  # fmt: skip
        for name, (tried, way) in ways.items():
            assert {one for one in tried if reached(way, one)} == mine.get(name, mine["case"]), (account, name)
        page = old_certificates.material_list(settings, registry, account, cities[account])
        assert not any(value.encode() in page for other in cities if other != account for value in facts[other])
    assert {name: lines for name, lines in examine(registry, settings).items() if lines} == {}


def reached(way, one):
    try:
        way(one)
    except Conflict:
        return False
    return True

"""A month under another rule set: which rows would end otherwise, without a word written."""

import json

from made_submissions import Made, person, write_registry
from sqlalchemy import text
from test_check_city import deliver
from typer.testing import CliRunner

from certflow.checks.run import check_city
from certflow.cli import app
from certflow.registry import certificates

PEOPLE = [person(serial) for serial in range(1, 8)]


def test_a_switch_to_the_rules_of_2023_is_shown_over_the_rows_of_a_month(
    settings, registry, actor, tmp_path, monkeypatch
):
    electronic = {PEOPLE[0]["ZSGLH"], PEOPLE[3]["ZSGLH"]}
    export = write_registry(
        tmp_path / "r.csv", PEOPLE, BMS=lambda _: "", DZZS=lambda row: "是" if row["ZSGLH"] in electronic else "否"
    )
    certificates.load(registry, actor, export)
    versions = [[*PEOPLE[:2], PEOPLE[2] | {"XB": ""}], PEOPLE[:4]]
    for rows in versions:
        deliver(settings, registry, actor, Made(rows=[dict(row) for row in rows]))
        check_city(settings, registry, "370100", actor)
    deliver(settings, registry, actor, Made(rows=[PEOPLE[4] | {"BMS": "青岛市"}], city="青岛市"), account="370200")
    check_city(settings, registry, "370200", actor)

    def ledger():
        with registry.read() as conn:
            counts = [conn.scalar(text(f"SELECT count(*) FROM {table}")) for table in ("audit", "rows", "findings")]
            return counts, list(conn.scalars(text("SELECT state FROM rows ORDER BY id")))

    before = ledger()
    monkeypatch.setenv("CERTFLOW_HOME", str(settings.home))
    monkeypatch.setenv("CERTFLOW_DATABASE_URL", settings.database_url)
    done = CliRunner().invoke(app, ["rules", "diff", "2020", "2023", "--month", "202005", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["rows"] == 6  # three of the first version, two new ones of the second, one of the other city
    assert found["outcomes"]["2020"] == {"accepted": 5, "held": 0, "returned": 1, "proof": 0, "ignored": 0}
    assert found["changes"] == [
        {
            "from": "accepted", "to": "returned", "rules": ["DB-ECERT"], "rows": 2,
            "records": ["370100-202005-034-000001", "370100-202005-034-000007"],
        }
    ]  # fmt: skip
    assert ledger() == before
    shown = CliRunner().invoke(app, ["rules", "diff", "2023", "2020", "--month", "202005"])
    assert "退回 → 受理（DB-ECERT）：2 行" in shown.stdout
    assert CliRunner().invoke(app, ["rules", "diff", "2020", "1999", "--month", "202005"]).exit_code == 1
    assert CliRunner().invoke(app, ["rules", "diff", "2020", "2023", "--month", "201901"]).exit_code == 1
    assert "DB-ECERT" in CliRunner().invoke(app, ["rules"]).stdout


def test_the_list_of_rules_says_everything_of_each_rule(monkeypatch, tmp_path):
    monkeypatch.setenv("CERTFLOW_HOME", str(tmp_path))
    listed = [json.loads(line) for line in CliRunner().invoke(app, ["rules", "--json"]).stdout.splitlines()]
    assert {one["suite"] for one in listed} == {
        "submission", "workbook", "application", "photo", "registry_match", "package", "return", "registry",
    }  # fmt: skip
    assert all(
        one[key] for one in listed for key in ("rule", "severity", "scope", "title", "message", "clause", "since")
    )
    assert all(one["remedy"] for one in listed if one["severity"] in ("error", "hold"))

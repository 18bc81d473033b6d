"""One certificate's story, from the tables it lies in."""

from sqlalchemy import insert, update

from certflow.registry import certificates
from certflow.registry.schema import files, rows, submission_files, submissions
from certflow.registry.timeline import timeline

NUMBER = "202005034370000001"
HEADER = "ZSGLH,KSXM,ZJHM,ZJLB,XB,KSDM,KSMC,BKJB,BKZY,CSNY,PZRQ,BMS"
LINE = f"{NUMBER},张三,11010519491231002X,居民身份证,女,034,一级建造师,一级,建筑工程,194912,20190922,济南市"


def _load(registry, actor, folder):
    file = folder / "registry.csv"
    file.write_text(f"{HEADER}\n{LINE}\n", "utf-8")
    certificates.load(registry, actor, file)


def _request(registry, actor):
    with registry.begin(actor) as conn:
        file_id = conn.execute(
            insert(files)
            .values(account="370100", lane="month", name="a.zip", raw_name=b"a.zip", sha256="0" * 64, size=1)
            .returning(files.c.id)
        ).scalar_one()
        submission_id = conn.execute(
            insert(submissions)
            .values(
                month="202005", account="370100", city="济南市", exam_code="034", version=1, lane="month", stem="x",
                verdict="accepted", rule_set="2020",
            )
            .returning(submissions.c.id)
        ).scalar_one()  # fmt: skip
        conn.execute(insert(submission_files).values(submission_id=submission_id, file_id=file_id))
        row_id = conn.execute(
            insert(rows)
            .values(
                submission_id=submission_id, record_id="370100-202005-034-000001", row_no=2, sent={},
                management_no=NUMBER, name="张三", id_number="11010519491231002X", id_type="居民身份证", sex="女",
                level="一级", specialty="建筑工程", birth_month="194912", approved_on="20190922", city="济南市",
            )
            .returning(rows.c.id)
        ).scalar_one()  # fmt: skip
    with registry.begin(actor) as conn:
        conn.execute(update(rows).where(rows.c.id == row_id).values(state="ACCEPTED"))
    return file_id


def test_an_unknown_number_has_no_story(registry):
    with registry.read() as conn:
        assert timeline(conn, NUMBER) is None


def test_a_certificate_nobody_asked_about_stands_alone(registry, actor, tmp_path):
    _load(registry, actor, tmp_path)
    with registry.read() as conn:
        story = timeline(conn, NUMBER)
    assert story["certificate"]["name"] == "张三"
    assert (story["requests"], story["prints"]) == ([], [])


def test_a_request_is_told_move_by_move(registry, actor, tmp_path):
    _load(registry, actor, tmp_path)
    file_id = _request(registry, actor)
    with registry.read() as conn:
        (request,) = timeline(conn, NUMBER)["requests"]
    assert (request["record_id"], request["month"], request["state"]) == (
        "370100-202005-034-000001",
        "202005",
        "ACCEPTED",
    )
    assert [one["file_id"] for one in request["files"]] == [file_id]
    assert [(step["from"], step["to"], step["by"]) for step in request["moves"]] == [
        ("", "JUDGED", "tester"),
        ("JUDGED", "ACCEPTED", "tester"),
    ]
    assert sorted(step["at"] for step in request["moves"]) == [step["at"] for step in request["moves"]]
    assert request["packages"] == []

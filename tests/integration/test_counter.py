"""At the city's counter: the right form from one row, a checklist with digests, old certificates until handed out."""

import hashlib

import numpy as np
import printed
import pytest
from sqlalchemy import insert, select

from certflow import excel
from certflow.acceptance import counter, old_certificates
from certflow.demo.portraits import encode, paint
from certflow.errors import ConfigurationError, Conflict
from certflow.reference import load_reference
from certflow.registry import schema

NUMBER = "20100103437000000001"


@pytest.fixture
def tables(settings):
    return load_reference(settings)


def certificate(registry, actor, **values):
    entry = {
        "management_no": NUMBER, "name": "王䶮𬱖", "id_number": "11010519491231002X", "id_type": "居民身份证",
        "sex": "女", "exam_code": "034", "exam_name": "一级建造师", "level": "一级", "specialty": "港口与航道工程",
        "birth_month": "194912", "approved_on": "20100920", "city": "济南市",
    } | values  # fmt: skip
    with registry.begin(actor) as conn:
        conn.execute(insert(schema.certificates).values(entry))


def test_the_form_is_filled_from_one_row_with_the_photo(settings, registry, actor, tables):
    certificate(registry, actor)
    photo = encode(paint(np.random.default_rng(3)))
    made = counter.application_form(settings, registry, tables, "370100", NUMBER, photo=photo)
    text = printed.text(made)
    for value in ("个人补发（更换）证书申请", "王䶮𬱖", "11010519491231002X", "港口与航道工程", NUMBER, "一级建造师"):
        assert value in text
    assert min(printed.likeness(made, "王䶮𬱖").values()) > 0.95
    assert b"/DCTDecode" in made


@pytest.mark.parametrize("cut", [b"", b"\x89PNG\r\n\x1a\n"])
def test_a_photo_that_cannot_be_printed_is_no_fault_of_the_template(settings, registry, actor, tables, cut):
    certificate(registry, actor)
    photo = cut or encode(paint(np.random.default_rng(3)))[:2000]
    with pytest.raises(Conflict, match="不是完好的 JPG"):
        counter.application_form(settings, registry, tables, "370100", NUMBER, photo=photo)


@pytest.mark.parametrize(("code", "title"), [("901", "计算机技术与软件"), ("934", "通信专业技术人员")])
def test_the_other_authorities_forms_apply_to_their_exams(settings, registry, actor, tables, code, title):
    certificate(registry, actor, exam_code=code, exam_name=tables.exams[code].name)
    text = printed.text(counter.application_form(settings, registry, tables, "370100", NUMBER, photo=b""))
    assert title in text
    assert "个人补发（更换）证书申请" not in text


def test_the_checklist_knows_what_is_missing_and_keeps_digests(settings, registry, actor, tables, tmp_path):
    certificate(registry, actor)
    case = counter.accept(registry, tables, "370100", NUMBER, actor)
    assert case.missing == ("有效身份证件", "个人补发（更换）证书申请", "电子照片")
    assert counter.accept(registry, tables, "370100", NUMBER, actor).id == case.id
    file = tmp_path / "11010519491231002X.jpg"
    file.write_bytes(b"photo")
    counter.hand_in(registry, "370100", case.id, "电子照片", file=file, actor=actor)
    counter.hand_in(registry, "370100", case.id, "有效身份证件", file=None, actor=actor)
    counter.hand_in(registry, "370100", case.id, "遗失声明", file=None, actor=actor)
    done = counter.hand_in(registry, "370100", case.id, "个人补发（更换）证书申请", file=None, actor=actor)
    assert (done.state, done.missing) == ("COMPLETE", ())
    digest = hashlib.sha256(b"photo").hexdigest()
    assert digest in printed.text(counter.checklist(settings, registry, "370100", case.id, "李四"))
    with registry.read() as conn:
        chained = str(conn.execute(select(schema.audit.c.payload)).all())
    assert "11010519491231002X" not in chained


def test_a_certificate_of_2017_or_later_needs_no_photo(registry, actor, tables):
    certificate(registry, actor, approved_on="20170101")
    assert "电子照片" not in counter.accept(registry, tables, "370100", NUMBER, actor).missing


def test_another_citys_certificate_and_case_are_out_of_reach(settings, registry, actor, tables):
    certificate(registry, actor)
    with pytest.raises(Conflict, match="不是本市"):
        counter.accept(registry, tables, "370200", NUMBER, actor)
    case = counter.accept(registry, tables, "370100", NUMBER, actor)
    for attempt in (
        lambda: counter.look(registry, "370200", case.id),
        lambda: counter.hand_in(registry, "370200", case.id, "电子照片", file=None, actor=actor),
        lambda: counter.checklist(settings, registry, "370200", case.id, "李四"),
    ):
        with pytest.raises(Conflict, match="没有这个受理编号"):
            attempt()


FORM = "专业技术资格考试登记表"
FIELDS = ("姓名", "性别", "出生年月", "证件号码", "工作单位", "报考专业", "级别", "考试年度", "成绩", "取得资格时间")
FULL = ("张三", "男", "1970-01", "440524188001010014", "某厂", "会计", "中级", "1998", "合格", "1998-12")


def load(settings, registry, actor, rows, header=("档案号", "登记表", *FIELDS)):
    path = settings.home / "old.xlsx"
    path.parent.mkdir(parents=True, exist_ok=True)
    excel.write_xlsx(path, [excel.Page("1", [header, *rows], (12,))])
    return old_certificates.load_list(settings, registry, "370100", path, actor)


def test_an_old_certificate_is_complete_with_all_fields_and_all_ticks(settings, registry, actor):
    load(settings, registry, actor, [("济-001", FORM, *FULL), ("济-002", FORM, *FULL[:-1], "")])
    ticks = old_certificates.forms(settings)[FORM].ticks
    missing = old_certificates.tick(settings, registry, "370100", "济-001", ticks[:-1], by="李四", actor=actor)
    assert missing == [ticks[-1]]
    with pytest.raises(Conflict, match="材料不全"):
        old_certificates.advance(registry, "370100", "济-001", by="李四", actor=actor)
    assert old_certificates.tick(settings, registry, "370100", "济-001", ticks, by="李四", actor=actor) == []
    assert old_certificates.tick(settings, registry, "370100", "济-002", ticks, by="李四", actor=actor) == [
        "取得资格时间"
    ]
    states = [old_certificates.advance(registry, "370100", "济-001", by="李四", actor=actor) for _ in range(2)]
    assert states == ["REPORTED", "HANDED_OUT"]
    with pytest.raises(Conflict, match="已发放"):
        old_certificates.advance(registry, "370100", "济-001", by="李四", actor=actor)
    text = printed.text(old_certificates.material_list(settings, registry, "370100", "济南市"))
    for value in ("济-001", "已发放", "济-002", "材料不全", "取得资格时间"):
        assert value in text


def test_loading_again_keeps_ticks_and_never_changes_what_was_reported(settings, registry, actor):
    load(settings, registry, actor, [("1", FORM, *FULL)])
    ticks = old_certificates.forms(settings)[FORM].ticks
    old_certificates.tick(settings, registry, "370100", "1", ticks, by="李四", actor=actor)
    assert load(settings, registry, actor, [("1", FORM, "张三丰", *FULL[1:])]) == (1, 1)
    old_certificates.advance(registry, "370100", "1", by="李四", actor=actor)
    with pytest.raises(Conflict, match="不能再改"):
        load(settings, registry, actor, [("2", FORM, *FULL), ("1", FORM, *FULL)])
    assert "共 1 份" in printed.text(old_certificates.material_list(settings, registry, "370100", "济南市"))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("1", "某表", *FULL), "没有这种登记表"),
        (("440524188001010014", FORM, *FULL), "证件号码"),
        (("", FORM, *FULL), "档案号"),
        (("9", FORM, "张三丰", *FULL[1:]), "第 2 行的档案号相同"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_loaded(settings, registry, actor, row, words):
    with pytest.raises(Conflict, match=words) as caught:
        load(settings, registry, actor, [("9", FORM, *FULL), row])
    assert "第 3 行" in str(caught.value)
    assert "440524188001010014" not in str(caught.value)
    with registry.read() as conn:
        assert conn.execute(select(schema.old_certificates)).all() == []


def test_the_fields_of_the_form_are_the_operators(settings, registry, actor):
    own = settings.path("templates", "old-certificates.toml")
    own.parent.mkdir(parents=True)
    own.write_text(f'[[form]]\nname = "{FORM}"\nfields = ["姓名"]\nticks = []\n', "utf-8")
    assert load(settings, registry, actor, [("1", FORM, *FULL)]) == (1, 1)
    own.write_text("[[form]]\nname = 1", "utf-8")
    with pytest.raises(ConfigurationError, match=r"old-certificates\.toml"):
        old_certificates.forms(settings)

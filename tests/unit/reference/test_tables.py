"""Reference tables: what shipped holds, and a loaded table replaces the shipped one as a whole or not at all."""

from datetime import date

import pytest

from certflow import identity
from certflow.errors import ConfigurationError
from certflow.keys import is_variant, level_key
from certflow.month import Month
from certflow.reference import TABLES, load_reference, load_table
from certflow.settings import Settings

HEADER = "code,name,family,cancelled_levels,levels,first_year,last_year"
CANCELLED = [
    *(
        "投资建设项目管理师",
        "广告师",
        "管理咨询师",
        "价格鉴证师",
        "物业管理师",
        "国际商务师（外销员）",
        "企业法律顾问",
        "招标师",
    ),
    *(
        "二级地震安全性评价工程师",
        "注册咨询工程师（投资）",
        "土地登记代理人",
        "注册税务师",
        "注册资产评估师",
        "房地产经纪人",
    ),
]


@pytest.fixture(scope="module")
def shipped():
    return load_reference(Settings())


def test_the_sixteen_cities_and_one_that_was(shipped):
    assert len(shipped.cities) == 16
    assert shipped.cities["370100"].name == "济南市"
    assert not any(city.historic for city in shipped.cities.values())
    gone = shipped.city_named("莱芜市")
    assert gone.historic
    assert shipped.city_today(gone).name == "济南市"


@pytest.mark.parametrize(
    ("text", "name"), [("济南", "济南市"), (" 菏 泽市", "菏泽市"), ("莱芜区", "济南市"), ("莱芜", "莱芜市")]
)
def test_n10_a_city_is_known_by_its_short_forms(shipped, text, name):
    assert shipped.city_named(text).name == name


def test_n10_other_places_are_no_city(shipped):
    assert shipped.city_named("石家庄市") is None
    assert shipped.city_named("") is None


@pytest.mark.parametrize("name", CANCELLED)
def test_n09_d30_the_cancelled_exams_are_cancelled_at_every_level(shipped, name):
    exam = shipped.exam_by_name(name)
    assert exam.is_cancelled("")
    assert exam.is_cancelled("一级")


def test_d30_quality_lives_at_its_highest_level_only(shipped):
    exam = shipped.exam_by_name("质量")
    assert [exam.is_cancelled(level) for level in ("初级", "中级", "高级")] == [True, True, False]


@pytest.mark.parametrize("name", ["税务师", "咨询工程师(投资)", "土地登记代理专业人员", "一级建造师"])
def test_n09_their_successors_live(shipped, name):
    assert not shipped.exam_by_name(name).is_cancelled("")


@pytest.mark.parametrize("name", ["注册税务", "册税务师", "国际商务师", ""])
def test_n09_an_exam_is_never_found_by_a_part_of_its_name(shipped, name):
    assert shipped.exam_by_name(name) is None


def test_the_one_confirmed_code_has_its_ten_specialties(shipped):
    exam = shipped.exam_by_code("034")
    assert exam.name == "一级建造师"
    assert len(exam.levels["一级"]) == 10
    assert exam.has_specialty("一级", "港口与航道工程")
    assert not exam.has_specialty("一级", "港口工程")
    assert not exam.has_level("二级")
    assert all(code == "034" or code.startswith("9") for code in shipped.exams)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("居民身份证", identity.RESIDENT),
        ("身份证", identity.RESIDENT),
        ("台胞证", identity.TAIWAN_PERMIT),
        ("５１６", identity.HK_MACAU_PERMIT),
        ("港澳台居民居住证", identity.GAT_RESIDENCE),
        ("外国人永久居留身份证", identity.FOREIGN_RESIDENCE),
        ("护照", identity.PASSPORT),
        ("军官证", identity.OFFICER),
        ("其他", identity.OTHER),
    ],
)
def test_document_types_are_known_by_name_alias_and_code(shipped, text, kind):
    assert shipped.id_type_named(text).kind == kind


def test_d29_levels_have_one_spelling(shipped):
    assert {level_key(text, shipped.level_aliases) for text in ("1级", "壹级", "一级", "Ⅰ级")} == {"一级"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("张喆", "张哲"),
        ("闫某", "阎某"),
        ("闫某", "閻某"),
        ("王䶮", "王\ue863"),
        ("刘国强", "劉國強"),
        ("李昇", "李升"),
    ],
)
def test_d13_d20_variants_and_traditional_forms_are_listed(shipped, one, other):
    assert is_variant(one, other, shipped.name_variants)


@pytest.mark.parametrize(("one", "other"), [("张伟", "张维"), ("王芳", "王方"), ("李明", "李鸣"), ("刘洋", "刘扬")])
def test_d20_homophones_are_no_variants(shipped, one, other):
    assert not is_variant(one, other, shipped.name_variants)


def test_d06_areas_of_today_and_retired_ones_are_known(shipped):
    numbers = [
        "371202199001010010",
        "370116199001010010",
        "321119198001010010",
        "000102199001010017",
        "999999199001010011",
        "H12345678",
    ]
    assert shipped.areas_known(numbers).tolist() == [True, True, True, False, False, True]


def test_rule_sets_are_dated(shipped):
    assert str(shipped.rule_sets["2023"].in_force) == "2023-06-15"
    assert shipped.rule_sets["2023"].electronic_replaces_paper
    assert not shipped.rule_sets["2020"].electronic_replaces_paper
    assert shipped.rule_sets["2023"].keep_unclaimed_years == 5
    assert (shipped.rule_sets["2020"].reissue_mark, shipped.rule_sets["2023"].reissue_mark) == ("", "补发")


@pytest.mark.parametrize(
    ("month", "chosen", "name"),
    [
        ("201912", "dated", "2020"), ("202005", "dated", "2020"), ("202305", "dated", "2020"),
        ("202306", "dated", "2023"),
        ("202306", "2020", "2020"), ("202005", "2023", "2023"), (None, "dated", "2020"), (None, "2023", "2023"),
    ],
)  # fmt: skip
def test_a_month_is_judged_by_the_rules_in_force_when_it_was_reported(shipped, month, chosen, name):
    assert shipped.rule_set_of(None if month is None else Month.parse(month), chosen).name == name


def test_the_newest_rule_set_says_from_which_month_on_it_counts(shipped):
    assert shipped.judged_from("2020") is None
    assert shipped.judged_from("2023") == Month.parse("202306")


def test_an_unknown_rule_set_is_refused_by_name():
    with pytest.raises(ConfigurationError, match="1999"):
        load_reference(Settings(rule_set="1999"))


def test_a_loaded_table_replaces_the_shipped_one_and_is_numbered(settings, tmp_path):
    file = tmp_path / "exams.csv"
    file.write_text(f"{HEADER}\n034,一级建造师,normal,,,,\n", "utf-8-sig")
    assert load_table(settings, "exams", file) == 1
    assert list(load_reference(settings).exams) == ["034"]
    file.write_bytes(f"{HEADER}\n035,二级建造师,normal,,二级:建筑工程|公路工程,,\n".encode("gb18030"))
    assert load_table(settings, "exams", file) == 2
    assert load_reference(settings).exam_by_name("二级建造师").levels == {"二级": frozenset({"建筑工程", "公路工程"})}
    assert sorted(path.name for path in settings.path("reference", "exams").iterdir()) == ["1.csv", "2.csv", "current"]


@pytest.mark.parametrize(
    ("table", "text", "reason"),
    [
        ("exams", f"{HEADER}\n034,一级建造师,normal,,,,\n035,甲,special,,,,\n", "第 3 行 family"),
        ("exams", f"{HEADER}\n034,甲,normal,,,,\n034,乙,normal,,,,\n", "第 3 行 code.*重复"),
        ("exams", f"{HEADER}\n,甲,normal,,,,\n", "第 2 行 code"),
        ("exams", f"{HEADER}\n034,甲,normal,,,二〇〇二,\n", "第 2 行 first_year"),
        ("exams", f"{HEADER}\n034,甲,normal,,,2010,2002\n", "第 2 行 last_year"),
        ("exams", f"{HEADER}\n034,甲,normal,高级,初级:;中级:,,\n", "第 2 行 cancelled_levels"),
        ("exams", f"{HEADER}\n034,甲,normal,,,,,,x\n", "第 2 行.*列"),
        ("exams", "code,name\n034,甲\n", "第 1 行.*表头"),
        ("exams", f"{HEADER}\n034,甲(初级／中级),normal,,,,\n", "第 2 行 name：要写进文件名"),
        ("exams", f"{HEADER}\n034,甲（初级,normal,,,,\n", "第 2 行 name：要写进文件名"),
        ("cities", "code,name\n370100,济南(市)\n", "第 2 行 name：要写进文件名"),
        ("exams", f"{HEADER}\n", "没有数据行"),
        ("exams", f'{HEADER}\n034,"甲,normal\n', "CSV"),
        ("cities", "code,name\n37010,济南市\n", "第 2 行 code"),
        ("cities", "code,name\n370100,济南市\n370200,济南市\n", "第 3 行 name.*重复"),
        ("cities", "code,name,account\n370100,济南市,../x\n", "第 2 行 account"),
        ("cities", "code,name,valid_until,successor\n371200,莱芜市,201901,济南市\n", "successor"),
        ("id_types", "name,kind\n身份证,card\n", "第 2 行 kind"),
        ("level_aliases", "level,aliases\n一级,1级\n二级,1级\n", "第 3 行 aliases"),
        ("name_variants", "characters,kind\n喆,variant\n", "第 2 行 characters"),
        ("areas", "province,prefectures\n37,1-17\n", "第 2 行 prefectures"),
        ("holidays", "first,last,name\n20200230,20200301,春节\n", "第 2 行 first"),
        ("holidays", "first,last,name\n20200202,20200201,春节\n", "第 2 行 last"),
        ("holidays", "first,last,name\n20200101,20200103,元旦\n20200103,20200103,元旦\n", "第 3 行 first.*重复"),
        ("rule_sets", "['2020']\ntitle = 3\n", "规则集 2020"),
        ("rule_sets", "[", "TOML"),
        ("prices", "a,b\n1,2\n", "没有名为 prices 的表"),
    ],
)
def test_a_bad_line_refuses_the_table_with_its_number_and_reason(settings, tmp_path, table, text, reason):
    file = tmp_path / "table"
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match=reason):
        load_table(settings, table, file)
    assert not settings.path("reference").exists()


def test_bytes_of_no_encoding_are_refused(settings, tmp_path):
    file = tmp_path / "exams.csv"
    file.write_bytes(b"code,name\n\xff\xff\xff")
    with pytest.raises(ConfigurationError, match="编码"):
        load_table(settings, "exams", file)


def test_a_table_that_was_lost_after_loading_is_said_to_be(settings, tmp_path):
    file = tmp_path / "exams.csv"
    file.write_text(f"{HEADER}\n034,一级建造师,normal,,,,\n", "utf-8")
    load_table(settings, "exams", file)
    settings.path("reference", "exams", "1.csv").unlink()
    with pytest.raises(ConfigurationError, match="exams"):
        load_reference(settings)


def test_every_table_has_a_shipped_version_that_loads_again(settings, tmp_path, shipped):
    from certflow import reference
    from certflow.reference.tables import READERS

    for table in TABLES:
        assert load_table(settings, table, reference._SHIPPED / READERS[table][0]) == 1
    assert load_reference(settings) == shipped


@pytest.mark.parametrize(
    ("day", "works"),
    [
        (date(2020, 5, 5), False),  # a Tuesday of 劳动节
        (date(2020, 5, 9), True),  # a Saturday worked for it
        (date(2020, 5, 10), False),
        (date(2020, 5, 11), True),
        (date(1999, 5, 3), True),  # no plan known: a Monday
    ],
)
def test_offices_are_open_as_the_holiday_plan_says(shipped, day, works):
    assert shipped.works(day) is works

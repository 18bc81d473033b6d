"""The certificate database is loaded whole, refreshed without harm, and compared by columns."""

import openpyxl
import pytest
from small_month import Person, SmallMonth
from sqlalchemy import select

from certflow.errors import Busy, ConfigurationError
from certflow.registry import certificates, refresh, schema

HEADER = "ZSGLH,KSXM,ZJHM,ZJLB,XB,KSDM,KSMC,BKJB,BKZY,CSNY,PZRQ,BMS"
WANG = "201905034370000001,王一,11010519491231002X,居民身份证,女,034,一级建造师,一级,建筑工程,194912,20190526,济南市"
LI = "201905034370000002,李二,440524188001010014,居民身份证,男,034,一级建造师,一级,机电工程,188001,20190526,青岛市"
OLD = ",赵三,34052419800101001X,居民身份证,男,034,一级建造师,一级,公路工程,198001,20050901,烟台市"


@pytest.fixture
def export(tmp_path):
    def write(*lines, encoding="utf-8", header=HEADER):
        file = tmp_path / "registry.csv"
        file.write_bytes("\r\n".join([header, *lines, ""]).encode(encoding))
        return file

    return write


def counts(report):
    return report.read, report.inserted, report.updated, report.unchanged, len(report.refused)


def stored(registry, column):
    with registry.read() as connection:
        return list(connection.scalars(select(schema.certificates.c[column]).order_by(schema.certificates.c.id)))


def test_loading_twice_changes_nothing(registry, actor, export):
    file = export(WANG, LI, OLD)
    assert counts(certificates.load(registry, actor, file)) == (3, 3, 0, 0, 0)
    assert counts(certificates.load(registry, actor, file)) == (3, 0, 0, 3, 0)
    assert stored(registry, "management_no") == ["201905034370000001", "201905034370000002", None]


def test_a_refresh_updates_what_changed_and_inserts_what_is_new(registry, actor, export):
    certificates.load(registry, actor, export(WANG, OLD))
    report = certificates.load(registry, actor, export(WANG.replace("王一", "王壹"), LI, OLD.replace("赵三", "赵叁")))
    assert counts(report) == (3, 1, 2, 0, 0)
    assert stored(registry, "name") == ["王壹", "赵叁", "李二"]


def test_a_preview_shows_the_differences_and_writes_nothing(registry, actor, export):
    certificates.load(registry, actor, export(WANG, LI, OLD))
    file = export(WANG.replace("王一", "王壹"), LI, OLD.replace("赵三", "赵叁"), LI.replace("0002", "0003"), ",短行")
    seen = refresh.preview(registry, file, full=True)
    assert (seen.read, seen.inserted, seen.updated, seen.unchanged, len(seen.refused)) == (5, 1, 2, 1, 1)
    assert (seen.fields, seen.under_way, seen.absent) == ({"name": 2}, 0, 0)
    assert [(one.line, one.field, one.ours, one.theirs) for one in seen.samples] == [
        (2, "name", "王一", "王壹"), (4, "name", "赵三", "赵叁"),
    ]  # fmt: skip
    assert stored(registry, "name") == ["王一", "李二", "赵三"]
    assert counts(certificates.load(registry, actor, file)) == (5, 1, 2, 1, 1)
    assert refresh.preview(registry, export(WANG), full=True).absent == 3
    assert refresh.preview(registry, export(WANG)).absent is None


def test_a_preview_counts_changes_of_certificates_that_are_being_reissued(settings, registry, actor, export):
    SmallMonth(settings, registry).submit([Person(1)])
    changed = f"{Person(1).management_no},张叁,{Person(1).identity},居民身份证,男,034,一级建造师,一级"
    line = f"{changed},建筑工程,199001,20100101,济南市"
    assert refresh.preview(registry, export(line)).under_way == 1


def test_a_file_without_an_optional_column_leaves_it_alone(registry, actor, export):
    certificates.load(registry, actor, export(f"{WANG},是", header=f"{HEADER},DZZS"))
    assert counts(certificates.load(registry, actor, export(WANG))) == (1, 0, 0, 1, 0)
    assert stored(registry, "e_certificate") == ["是"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_encodings_of_the_export(registry, actor, export, encoding):
    rare = WANG.replace("王一", "阿依古丽·㐀\U00020087")
    report = certificates.load(
        registry, actor, export(rare, encoding=encoding), encoding="gb18030" if encoding == "gb18030" else "utf-8-sig"
    )
    assert counts(report) == (1, 1, 0, 0, 0)
    assert stored(registry, "name") == ["阿依古丽·㐀\U00020087"]


def test_bad_lines_are_refused_by_number_and_the_good_ones_go_on(registry, actor, export):
    contradiction = WANG.replace("王一", "王二")
    report = certificates.load(
        registry,
        actor,
        export(
            WANG,
            LI,
            LI,
            f"{OLD},x",
            OLD.rsplit(",", 1)[0],
            OLD.replace("赵三", ""),
            contradiction,
            OLD.replace("赵", "赵\x07"),
        ),
    )
    assert counts(report) == (8, 1, 0, 1, 6)
    reasons = dict(report.refused)
    assert sorted(reasons) == [2, 5, 6, 7, 8, 9]
    assert "第 2、8 行" in reasons[2]
    assert "多于表头" in reasons[5]
    assert "少于表头" in reasons[6]
    assert reasons[7] == "缺少 KSXM"
    assert "控制字符" in reasons[9]
    assert not any(value in reason for reason in reasons.values() for value in ("王", "李", "110105", "201905034"))
    assert stored(registry, "name") == ["李二"]


def test_contradicting_old_certificates_without_number_are_refused_too(registry, actor, export):
    report = certificates.load(registry, actor, export(OLD, OLD, OLD.replace("赵三", "赵四"), WANG))
    assert counts(report) == (4, 1, 0, 0, 3)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (HEADER.replace("ZJHM,", ""), "缺少 ZJHM"),
        (f"{HEADER},KSXM", "KSXM 重复"),
        (WANG, "表头缺少"),
    ],
)
def test_a_file_that_is_no_export_is_refused_whole(registry, actor, export, header, said):
    with pytest.raises(ConfigurationError, match=said) as raised:
        certificates.load(registry, actor, export(WANG, header=header))
    assert "王一" not in str(raised.value)


def test_wrong_encoding_is_named_and_nothing_is_half_loaded(registry, actor, export):
    with pytest.raises(ConfigurationError, match="gb18030"):
        certificates.load(registry, actor, export(*[WANG] * 500, LI, encoding="gb18030"))
    assert stored(registry, "name") == []


def test_unknown_columns_are_named_and_not_kept(registry, actor, export):
    report = certificates.load(registry, actor, export(f"{WANG},13800000000", header=f"{HEADER},SJHM"))
    assert report.ignored_columns == ("SJHM",)


def test_e10_numeric_identity_cells_of_a_workbook_are_refused(registry, actor, tmp_path):
    book = openpyxl.Workbook()
    book.active.append(HEADER.lower().split(","))
    book.active.append(WANG.split(","))
    book.active.append([value if column != 2 else 440524188001010014 for column, value in enumerate(LI.split(","))])
    book.active.append([value if column != 5 else 34 for column, value in enumerate(OLD.split(","))])
    book.save(tmp_path / "registry.xlsx")
    report = certificates.load(registry, actor, tmp_path / "registry.xlsx")
    assert counts(report) == (3, 1, 0, 0, 2)
    assert [(line, reason[:4]) for line, reason in report.refused] == [(3, "ZJHM"), (4, "KSDM")]


def test_two_loads_at_once_are_busy(registry, actor, export):
    with registry.lock("certificates"), pytest.raises(Busy):
        certificates.load(registry, actor, export(WANG))


def test_progress_counts_lines(registry, actor, export):
    seen = []
    certificates.load(registry, actor, export(*[WANG] * 10_001), progress=seen.append)
    assert seen == [10_000, 10_001]


def test_stats(registry, actor, export):
    certificates.load(registry, actor, export(f"{WANG},是", f"{OLD},", header=f"{HEADER},DZZS"))
    assert certificates.stats(registry) == {
        "certificates": 2,
        "without_number": 1,
        "electronic": 1,
        "exams": {"034": 2},
        "cities": {"济南市": 1, "烟台市": 1},
    }


def test_match_gives_columns_in_the_order_asked(registry, actor, export):
    certificates.load(registry, actor, export(WANG, LI, OLD))
    with registry.read() as connection:
        numbers = ["201905034370000002", "", "gone", "201905034370000001", "\0", "\ud800", "\t\\N"]
        found = certificates.match(connection, numbers)
        plain = certificates.match(connection, numbers[:4])
        again = certificates.match(connection, [])
    assert found["name"] == ["李二", None, None, "王一", None, None, None]
    assert plain["name"] == found["name"][:4]
    assert found["e_certificate"][0] == ""
    assert again["certificate_id"] == []
    assert set(again) == set(found)

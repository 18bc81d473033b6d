"""What a case is: the bytes a city sends, and the verdict ``certflow check`` must print about them.

All cases of a family are judged in one call, as a province meets them: side by side, so that one that disturbs
another shows. Each has a city and month of its own and its own people, of whom nobody exists.
"""

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from made_submissions import Row, portrait
from made_zips import Member, zip_bytes

from certflow import excel
from certflow.findings import FIELDS
from certflow.identity import check_digit

EXAM = "一级建造师"
CITIES = (
    "济南市", "青岛市", "淄博市", "枣庄市", "东营市", "烟台市", "潍坊市", "济宁市", "泰安市", "威海市", "日照市",
    "临沂市", "德州市", "聊城市", "滨州市", "菏泽市",
)  # fmt: skip


@dataclass
class Desk:
    """Where one case is made: its city and month, its people, its names."""

    number: int
    people: int = 0

    @property
    def month(self) -> str:
        months = self.number // len(CITIES)
        return f"{2019 + months // 12}{months % 12 + 1:02d}"

    @property
    def city(self) -> str:
        return CITIES[self.number % len(CITIES)]

    def stem(self, count: int | str = 1, code: str = "034", exam: str = EXAM, city: str = "", month: str = "") -> str:
        return f"{month or self.month}-{code}-{exam}(证书补换印制信息)数据({city or self.city})({count}人)"

    def person(self, *, photo: bool = False, **changes: str) -> Row:
        """Somebody new with a sound application; `photo`: approved so long ago that a photo is needed."""
        self.people += 1
        serial = self.number * 20 + self.people
        body = f"370102{1960 + serial // 900:04d}0101{serial % 900:03d}"
        year, number = "2009" if photo else "2018", body + check_digit(body)
        row = {
            "ZSGLH": f"{year}0903437{serial:07d}", "KSXM": f"测{chr(0x4E00 + serial % 500)}{chr(0x5000 + serial // 500)}",
            "ZJHM": number, "ZJLB": "居民身份证", "XB": "男" if int(number[16]) % 2 else "女", "BKJB": "一级",
            "BKZY": "建筑工程", "CSNY": number[6:12], "PZRQ": f"{year}0915", "ZP": f"{number}.jpg" if photo else "",
            "BMS": self.city,
        }  # fmt: skip
        return row | changes

    def picture(self) -> bytes:
        """A sound portrait nobody else in the family has."""
        return portrait(self.number * 20 + self.people)

    def book(self, *rows: Row) -> bytes:
        return book(*(rows or (self.person(),)))


Files = bytes | Mapping[str, bytes]
"""What arrives: one file under its proper name, or several by name."""


@dataclass(frozen=True)
class Case:
    case: str
    """Case ids, such as ``Z08`` or ``E10 E12``."""
    what: str
    make: Callable[[Desk], Files]
    verdict: str | tuple[str, ...]
    """accepted | partial | held | returned | ignored, for each submission in order."""
    rules: tuple[str, ...] = ()
    """Rules that must speak; for an accepted or held case no error may speak beside them."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """Rows by outcome."""
    said: str = ""
    """Stands in one of the messages."""
    cure: Callable[[Desk], str] | None = None
    """The right name, which stands in one of the messages."""


def book(*rows: Row) -> bytes:
    return excel.write_xls(FIELDS, [[row[name] for name in FIELDS] for row in rows])


def zipped(files: Mapping[str, bytes]) -> bytes:
    return zip_bytes(*(Member(name, data) for name, data in files.items()))


def standard(files: Mapping[str, bytes]) -> bytes:
    """The same by Python's own writer."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def with_book(data: bytes | Callable[[Desk], bytes], count: int = 1) -> Callable[[Desk], bytes]:
    """A proper zip round one workbook."""

    def make(desk: Desk) -> bytes:
        return zipped({f"{desk.stem(count)}.XLS": data(desk) if callable(data) else data})

    return make


def with_rows(**changes: str) -> Callable[[Desk], bytes]:
    """A proper zip with one person changed in these fields."""
    return with_book(lambda desk: book(desk.person(**changes)))


def judged(cases: Sequence[Case], folder: Path) -> list[list[dict]]:
    """Each case's verdicts as ``certflow check --json --rows`` prints them, all judged in one call."""
    from typer.testing import CliRunner

    from certflow.cli import app

    paths: list[Path] = []
    for number, case in enumerate(cases):
        desk = Desk(number)
        made = case.make(desk)
        here = folder / f"{number:03d}"
        here.mkdir()
        for name, data in ({f"{desk.stem()}.zip": made} if isinstance(made, bytes) else made).items():
            paths.append(here / name)
            paths[-1].write_bytes(data)
    environment = {"CERTFLOW_HOME": str(folder / "home")}
    words = ["check", "--no-registry", "--json", "--rows", *map(str, paths)]
    result = CliRunner().invoke(app, words, env=environment)
    assert result.exit_code == 1, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    found: list[list[dict]] = [[] for _ in cases]
    for line in result.stdout.splitlines():
        verdict = json.loads(line)
        found[int(Path(verdict["file"]).parent.name)].append(verdict)
    return found


def expect(case: Case, verdicts: Sequence[dict], number: int = 0) -> None:
    """The case ended as it must."""
    wanted = (case.verdict,) if isinstance(case.verdict, str) else case.verdict
    findings = [finding for one in verdicts for finding in one["findings"]]
    about = [(one["rule"], one["message"]) for one in findings]
    assert tuple(one["verdict"] for one in verdicts) == wanted, about
    spoken = {rule for rule, _ in about}
    assert set(case.rules) <= spoken, about
    grave = {one["rule"] for one in findings if one["severity"] == "error"}
    if set(wanted) <= {"accepted", "held", "ignored"}:
        assert grave <= set(case.rules), about
    if case.cure:
        assert case.cure(Desk(number)) in " ".join(message for _, message in about), about
    assert case.said in " ".join(message for _, message in about), about
    for one in verdicts:
        counted = [outcome for outcome in one["rows"] if outcome != "total"]
        assert one["rows"]["total"] == sum(one["rows"][outcome] for outcome in counted) == len(one["row_verdicts"])
    for outcome, count in case.rows.items():
        assert sum(one["rows"][outcome] for one in verdicts) == count, about

"""The Chinese guides say only what the program knows: commands, buttons, quoted words and anchors."""

import re
import shlex
from datetime import date
from html import unescape
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from certflow import __version__, naming
from certflow.checks.feedback import _VERDICTS
from certflow.cli import app
from certflow.desk.failures import _KINDS, _OTHER
from certflow.findings import FIELD_NAMES, FIELDS
from certflow.month import Month
from certflow.reports.alerts import KINDS, PROVINCE, Alert, message
from certflow.settings import Folders

ROOT = Path(__file__).parents[3]
RUNBOOK = ROOT / "docs" / "runbook.zh-CN.md"
CITY_GUIDE = ROOT / "docs" / "city-guide.zh-CN.md"
GUIDES = sorted((ROOT / "docs").glob("*.zh-CN.md"))
FOR_THE_DESK = [guide for guide in GUIDES if guide != CITY_GUIDE]
PROGRAM = typer.main.get_command(app)
SYMPTOMS = (
    "city-missing", "bad-zip", "host-key", "authority-disk-full", "unknown", "month-not-sent", "month-reopened",
    "late-correction", "held-too-long", "returns-overdue", "sealed", "restore", "key-rotation", "year-end", "retention",
    "person", "upgrade",
    "refused-start", "logins", "alerts-undelivered", "failures",
)  # fmt: skip


def commands(text: str) -> list[str]:
    """Every command line of ours: in the fenced blocks and between backticks."""
    blocks = re.findall(r"```(?:console|bat)\n(.*?)```", text, re.DOTALL)
    fenced = [line.removeprefix("D:\\certflow\\Scripts\\") for block in blocks for line in block.splitlines()]
    spoken = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [line for line in (*fenced, *spoken) if line.startswith("certflow ")]


def resolved(line: str):
    """The command a line means and the words behind its name."""
    command, words, path = PROGRAM, shlex.split(line)[1:], []
    while words and words[0] in getattr(command, "commands", {}):
        path.append(words.pop(0))
        command = command.commands[path[-1]]
    return command, path, words


def fit(line: str, folder: Path) -> None:
    """A usage error where the line is no whole command or a word of it does not fit; nothing is run but help."""
    command, path, words = resolved(line)
    if words == ["--version"]:
        assert CliRunner().invoke(app, words).output.strip() == __version__
        return
    if hasattr(command, "commands"):
        pytest.fail(f"no such command: {line}")
    for word in words:
        if re.fullmatch(r"[^-].*\.(csv|xlsx|zip)|练习/.*", word):
            (folder / word).parent.mkdir(parents=True, exist_ok=True)
            (folder / word).touch()
    command.make_context(" ".join(path), list(words))
    assert CliRunner().invoke(app, [*path, "--help"]).exit_code == 0


CASES = [pytest.param(line, id=line) for guide in GUIDES for line in commands(guide.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("line", CASES)
def test_every_command_of_a_guide_is_one_and_its_words_fit(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(line, tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "certflow month undo 202005", "certflow month", "certflow month reject 202005 --by 张主任",
        "certflow holds list --town 370100", "certflow month resolve 十二 --delivered --by 张主任 --reason 电话",
    ],
)  # fmt: skip
def test_a_command_that_does_not_fit_is_noticed(line, tmp_path):
    with pytest.raises(BaseException, match=r"(?i)no such|missing|valid integer"):
        fit(line, tmp_path)


def spoken_by_the_program() -> str:
    found: list[str] = []
    rooms = (
        ("include", "*.py"),
        ("include", "*.html"),
        ("dags", "*.py"),
        ("plugins", "*.py"),
        ("expectations", "*.json"),
    )
    for folder, kind in rooms:
        found += [unescape(path.read_text(encoding="utf-8")) for path in sorted((ROOT / folder).rglob(kind))]
    return "\n".join(found)


@pytest.mark.parametrize("guide", FOR_THE_DESK, ids=lambda path: path.name)
def test_quoted_words_and_buttons_are_the_programs_own(guide):
    text, known = guide.read_text(encoding="utf-8"), spoken_by_the_program()
    quoted = [part for words in re.findall(r"「([^」]+)」", text) for part in re.split("……", words)]
    pressed = re.findall(r"【([^】　]+)】", text)
    assert len(pressed) > 3 or guide != RUNBOOK
    assert [words for words in (*quoted, *pressed) if words not in known] == []


@pytest.mark.parametrize(
    "guide", [*ROOT.glob("README*.md"), *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_every_link_of_a_page_arrives(guide):
    text = guide.read_text(encoding="utf-8")
    anchors = re.findall(r'<a id="([^"]+)"></a>\n## ', text)
    assert len(anchors) == len(set(anchors))
    for target, anchor in re.findall(r"\]\(([^)#]*)#([^)]+)\)", text):
        there = (guide.parent / target).read_text(encoding="utf-8") if target else text
        assert f'<a id="{anchor}"></a>' in there
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (guide.parent / target).exists()


def test_an_alert_of_the_province_names_the_runbook_and_a_citys_does_not():
    told = {to: message([Alert("city-missing", "370100", to, "未报", date(2020, 6, 1))]) for to in (PROVINCE, "370100")}
    assert RUNBOOK.relative_to(ROOT).as_posix() in told[PROVINCE]
    assert RUNBOOK.name not in told["370100"]


def test_the_runbook_has_a_page_for_every_symptom_alert_and_failure():
    text = RUNBOOK.read_text(encoding="utf-8")
    pages = dict(re.findall(r'<a id="([^"]+)"></a>\n## (.+)', text))
    assert set(pages) == set(SYMPTOMS)
    assert {kind: pages[kind] for kind in KINDS} == KINDS
    assert [what for what, *_ in (*_KINDS.values(), _OTHER) if f"「{what}」" not in text] == []
    for page in re.split(r'<a id="', text)[1:-1]:
        assert all(head in page for head in ("**样子**", "**意思**", "**怎么办**", "**怎样算好了**")), page[:20]


def test_every_name_in_the_city_guide_is_read_and_is_the_strict_one():
    found = re.findall(r"20[0-9]{4}-034-[^`\"'\n]+人\)", CITY_GUIDE.read_text(encoding="utf-8"))
    assert len(found) >= 5
    for name in found:
        parsed = naming.parse(name)
        assert (parsed.fault, parsed.notes, parsed.name and parsed.name.stem) == ("", (), name)
        assert (parsed.name.month, parsed.name.count) == (Month(2020, 5), 3)


def test_the_nil_report_and_the_pattern_of_names_in_the_city_guide_are_the_programs():
    text = CITY_GUIDE.read_text(encoding="utf-8")
    assert [naming.parse_nil(name) for name in re.findall(r"`([^`\n]*零报[^`\n]*)`", text)] == [
        (Month(2020, 5), "济南市")
    ]
    assert "申报年月-考试代码-考试名称(证书补换印制信息)数据(地市)(人数人)\n" in text


def test_the_columns_of_the_city_guide_are_those_of_the_program():
    table = re.findall(r"^\| ([A-Z]+) \| (\S+) \| .+ \|$", CITY_GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert table == [(field, FIELD_NAMES[field]) for field in FIELDS]


def test_the_folders_and_conclusions_of_the_city_guide_are_the_programs():
    text, folders = CITY_GUIDE.read_text(encoding="utf-8"), Folders()
    for folder in (
        folders.inbox,
        folders.trial,
        folders.replies,
        folders.received,
        folders.proofs,
        *_VERDICTS.values(),
    ):
        assert re.search(rf"^\| {re.escape(folder)} \| .+ \|$", text, re.MULTILINE), folder


@pytest.mark.parametrize(
    "line", [line for line in commands(CITY_GUIDE.read_text(encoding="utf-8")) if " name " in line]
)
def test_the_city_guides_questions_about_names_are_answered(line):
    result = CliRunner().invoke(app, shlex.split(line)[1:])
    assert result.exit_code == 0
    assert "202005-034-一级建造师(证书补换印制信息)数据(济南市)(3人)" in result.output

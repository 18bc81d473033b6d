"""A city asks for 成绩合格证明 (notice 二(二)1): its request file is read, every line decided, every line answered.

The file ``YYYYMM-成绩合格证明(城市).xlsx`` (管理号, 用途) comes with the other files of the city (`intake.pull`, folder
证明); the answer is a workbook in the feedback folder, from where `intake.pull.reply` brings it to the city's 回执.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from certflow import excel, lists, vault
from certflow.errors import SubmissionError
from certflow.excel import Cell, Page
from certflow.month import Month
from certflow.proofs import issue as press_room
from certflow.proofs.issue import Draft, Issued, Office, Refused
from certflow.reference import Reference
from certflow.registry import proofs as ledger
from certflow.registry import submissions
from certflow.registry.ledger import note
from certflow.registry.proofs import Decision
from certflow.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

LANE = "proofs"
"""Lane of request files in the ledger."""
_NAME = re.compile(r"(?P<month>[0-9]{6})-成绩合格证明\((?P<city>[^()]+)\)(?:\s*\([0-9]{1,2}\))?\.xlsx?", re.IGNORECASE)
_COLUMNS = {"管理号": ("ZSGLH", "管理号码", "证书管理号"), "用途": ("证明用途",)}
_DASHES = str.maketrans("—–－‐‑", "-----")
_UNSAFE = re.compile(r"[^\w()\-\u3400-\u9fff]+")
_HELD = "补换申请正在核实，核实后再提出"
_REASONS = {
    "HELD": _HELD,
    "PROOF": "该考试已取消，不开成绩合格证明；省里核对后会开具职/执业资格证明，无须申请",
    "ISSUED": "该考试已取消，职/执业资格证明已经开具",
    "PRINTED": "新证书已经印制，不再开具",
    "REFUSED": "补换申请已被上级退回，请先更正后重新申报",
    "DELIVERED": "新证书已经发放，不再开具",
    "CLOSED": "新证书已经发放，不再开具",
}


@dataclass(frozen=True, slots=True)
class RequestReport:
    """What one round did; ids and counts only."""

    account: str
    files: tuple[int, ...] = ()
    issued: int = 0
    refused: int = 0
    returned: tuple[int, ...] = ()
    """Ids of files that could not be read as a request."""
    unprinted: tuple[press_room.Unprinted, ...] = ()


@dataclass(slots=True)
class _Asked:
    """One line on its way to an answer."""

    row_no: int
    management_no: str
    purpose: str
    reason: str = ""
    candidate: ledger.Candidate | None = None
    answer: Issued | None = field(default=None)


def answer_requests(office: Office, reference: Reference, account: str) -> RequestReport:
    """Decide every waiting request file of an account and write its answer; may be run again at any time.

    Two rounds for one account at once: the second ends with Busy.
    """
    settings, registry = office.settings, office.registry
    read: list[int] = []
    returned: list[int] = []
    issued = refused = 0
    unprinted: list[press_room.Unprinted] = []
    with registry.lock(f"proofs:{account}"):
        with registry.read() as conn:
            pending = [
                one for one in submissions.pending_files(conn, account) if one.lane == LANE and one.state == "RECEIVED"
            ]
        for one in pending:
            try:
                month, lines = _read(settings, reference, account, one)
            except SubmissionError as error:
                _return(office, account, one, error)
                returned.append(one.id)
                continue
            with registry.read() as conn:
                _check(conn, account, lines, settings.proof_ends)
            unprinted += _issue(office, lines)
            _write(settings, account, month, one, lines)
            decisions = [
                Decision(
                    line.row_no, line.management_no, line.purpose, line.answer.id if line.answer else None, line.reason
                )
                for line in lines
            ]
            with registry.begin(office.actor) as conn:
                ledger.decide(conn, one.id, "JUDGED", "", decisions)
            done = sum(line.answer is not None for line in lines)
            read.append(one.id)
            issued, refused = issued + done, refused + len(lines) - done
    return RequestReport(account, tuple(read), issued, refused, tuple(returned), tuple(unprinted))


def answer_qualifications(office: Office, account: str) -> tuple[int, tuple[press_room.Unprinted, ...]]:
    """Issue the 职/执业资格证明 the account's rows of cancelled exams wait for (notice 二(二)2).

    Gives how many were issued, and those that wait on because of a character no font has.
    """
    with office.registry.read() as conn:
        waiting = ledger.waiting_qualifications(conn, account)
    drafts = [Draft(ledger.QUALIFICATION, one) for one in waiting]
    answers = press_room.issue(office, drafts)
    return sum(isinstance(answer, Issued) for answer in answers), press_room.unprinted(drafts, answers)


def refusal(candidate: ledger.Candidate | None, ends: str) -> str:
    """Why a request (None: the city has none) gets no 成绩合格证明; empty when it does.

    The same words for a number nobody has and for one of another city.
    """
    if candidate is None:
        return "本市没有正在办理的补换申请；请核对管理号，或先按补换流程申报"
    if candidate.state in ledger.open_states(ends):
        return ""
    if candidate.state == "CLOSED" and candidate.cancelled_exam:
        return "该考试已取消，职/执业资格证明已经发放"
    return _REASONS[candidate.state]


def _read(
    settings: Settings, reference: Reference, account: str, file: submissions.PendingFile
) -> tuple[Month, list[_Asked]]:
    match = _NAME.fullmatch(unicodedata.normalize("NFKC", file.name).translate(_DASHES).strip())
    if match is None:
        raise SubmissionError("NAME-FORM")
    try:
        month = Month.parse(match["month"])
    except ValueError:
        raise SubmissionError("NAME-MONTH") from None
    city = reference.city_named(match["city"])
    if city is None or reference.city_today(city).account != account:
        raise SubmissionError("NAME-CITY")
    data = vault.read_bytes(settings.original(file.sha256))
    if len(data) > settings.limits.workbook_bytes:
        raise SubmissionError("BOOK-LIMIT")
    lines = []
    for line in lists.read_list(data, settings.limits, _COLUMNS, ("管理号", "用途")):
        one = _Asked(line.row_no, line.values.get("管理号", ""), line.values.get("用途", ""))
        if not one.management_no:
            one.reason = "没有填写管理号"
        elif "管理号" in line.numeric:
            one.reason = "管理号须为文本格式：数字格式的管理号末几位可能已经改变"
            one.management_no = ""
        elif len(one.purpose) > press_room.PURPOSE_LENGTH:
            one.reason = f"用途超过 {press_room.PURPOSE_LENGTH} 字"
        lines.append(one)
    return month, lines


def _check(conn: "Connection", account: str, lines: Sequence[_Asked], ends: str) -> None:
    numbers = [line.management_no for line in lines if not line.reason]
    found = ledger.requests_for(conn, account, numbers)
    seen: set[tuple[str, str]] = set()
    for line in lines:
        if line.reason:
            continue
        key = (line.management_no, line.purpose)
        candidate = found.get(line.management_no)
        line.reason = refusal(candidate, ends)
        if key in seen:
            line.reason = "与本文件中前面一行相同"
        elif not line.reason:
            line.candidate = candidate
        seen.add(key)


def _issue(office: Office, lines: Sequence[_Asked]) -> tuple[press_room.Unprinted, ...]:
    wanted = [line for line in lines if line.candidate is not None]
    drafts = [Draft(ledger.SCORE, line.candidate, line.purpose) for line in wanted if line.candidate is not None]
    answers = press_room.issue(office, drafts)
    for line, answer in zip(wanted, answers, strict=True):
        if isinstance(answer, Refused):
            line.reason = answer.reason
        else:
            line.answer = answer
    return press_room.unprinted(drafts, answers)


def _write(
    settings: Settings, account: str, month: Month, file: submissions.PendingFile, lines: Sequence[_Asked]
) -> Path:
    head = [Cell(text, "head") for text in ("行号", "管理号", "用途", "结果", "证明编号", "说明")]
    rows: list[Sequence[Cell | str]] = [[Cell(f"成绩合格证明申请结果：{month}", "title")], head]
    for line in lines:
        good = line.answer is not None
        mark = "good" if good else "bad"
        cells = (str(line.row_no), line.management_no, line.purpose)
        rows.append([
            *cells, Cell("已开具" if good else "不予开具", mark), line.answer.number if line.answer else "",
            Cell(line.reason, "" if good else "fix"),
        ])  # fmt: skip
    page = Page(
        "结果", rows, (8, 26, 30, 12, 28, 60), freeze="A3", landscape=True, repeat_rows=2, footer="第 &P 页/共 &N 页"
    )
    target = _answer_path(settings, account, str(month), file, "结果.xlsx")
    excel.write_xlsx(target, [page])
    return target


def _return(office: Office, account: str, file: submissions.PendingFile, error: SubmissionError) -> None:
    """The whole file goes back, with the reason and how it should look."""
    words = {
        "NAME-FORM": "文件名须为 YYYYMM-成绩合格证明(城市).xlsx，例：202005-成绩合格证明(济南市).xlsx",
        "NAME-MONTH": "文件名中的申报年月不存在",
        "NAME-CITY": "文件名中的城市与本账号不符",
    }
    why = words.get(error.fault) or lists.told(error)
    text = f"成绩合格证明申请未受理：{why}\r\n表中须有两列：管理号、用途；均为文本格式。\r\n"
    target = _answer_path(office.settings, account, "证明", file, "退回说明.txt")
    part = target.with_suffix(".part")
    vault.write_bytes(part, b"\xef\xbb\xbf" + text.encode())
    part.replace(target)
    with office.registry.begin(office.actor) as conn:
        ledger.decide(conn, file.id, "RETURNED", error.fault, ())
        note(conn, "proof request returned", file=file.id, fault=error.fault)


def _answer_path(settings: Settings, account: str, month: str, file: submissions.PendingFile, what: str) -> Path:
    folder = settings.feedback / account / month
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    label = _UNSAFE.sub("_", file.name.rpartition(".")[0])[:50] or "证明申请"
    return folder / f"{label}-{submissions.answer_tag(file.id)}-{what}"

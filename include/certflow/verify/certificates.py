"""On-site verification by a city for an employer (notice 三(二)): what was asked agrees with the database, or not.

An operator sees the own city alone. Until 管理号, 姓名 and 证件号码 all agree there is one answer, the same for a wrong
name, a number that does not exist and a certificate of another city; so nothing can be found out by asking. Never is
a value of the database given out. Individuals are not served: their 登记表 in the file proves their certificate.
"""

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from certflow import excel, keys, lists, vault
from certflow.errors import Conflict
from certflow.excel import Cell, Page
from certflow.month import SHANGHAI
from certflow.privacy import reference as keyed
from certflow.privacy import reference_key
from certflow.reference import Reference
from certflow.registry import verifications as ledger
from certflow.registry.ledger import Actor, Registry, note
from certflow.settings import Settings
from certflow.verify.limits import TRIES, Slowed, take_turn

LIST_LIMIT = TRIES
"""Rows of one list: as many as may be asked about in one window."""
LIST_BYTES = 4 << 20
FIELDS = {"管理号": "management_no", "姓名": "name", "证件号码": "id_number", "考试名称": "exam", "级别": "level",
          "专业": "specialty", "批准日期": "approved_on"}  # fmt: skip
_IDENTITY = ("管理号", "姓名", "证件号码")
_HEADERS = {
    "管理号": ("ZSGLH", "证书管理号", "管理号码"), "姓名": ("KSXM",), "证件号码": ("ZJHM", "身份证号", "身份证号码"),
    "考试名称": ("考试", "证书名称"), "级别": ("BKJB",), "专业": ("BKZY",), "批准日期": ("PZRQ", "批准时间"),
}  # fmt: skip
UNKNOWN = "不一致：所填信息与本市证书数据库不符，或该证书不属于本市"


@dataclass(frozen=True, slots=True)
class Operator:
    """A city's verifier: login, and the account of the only city it sees."""

    login: str
    account: str


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks and why; both are on record. The requester is an organisation."""

    requester: str
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """`result`: match, differs (identity agrees, a further field does not) or unknown. `fields` only when it agrees."""

    result: str
    fields: Mapping[str, bool]

    @property
    def text(self) -> str:
        """The answer in words."""
        if self.result == "match":
            return "一致"
        if self.result == "differs":
            return f"不一致：{'、'.join(name for name, same in self.fields.items() if not same)}与数据库不符"
        return UNKNOWN


@dataclass(frozen=True, slots=True)
class ListAnswer:
    """The answered list: a workbook, its digest, and how many of its rows agree."""

    workbook: bytes
    sha256: str
    rows: int
    matched: int
    unanswered: int


@dataclass(frozen=True, slots=True)
class Counter:
    """Where a city's operator verifies."""

    settings: Settings
    registry: Registry
    reference: Reference
    operator: Operator

    def verify(self, request: Request, asked: Mapping[str, str]) -> Answer:
        """Compare one certificate; `asked` by the names of `FIELDS`. Slowed, or Conflict when something is missing."""
        _check_request(request)
        if not all(asked.get(name, "").strip() for name in ("姓名", "证件号码")) or not (
            asked.get("管理号", "").strip() or asked.get("考试名称", "").strip()
        ):
            raise Conflict("请填写姓名、证件号码和管理号；没有管理号的旧证书填写考试名称")
        return self._answer(request, asked, way="single", batch=None)

    def verify_list(self, request: Request, data: bytes) -> ListAnswer:
        """Compare a list; SubmissionError when it cannot be read, Conflict when it is too long."""
        _check_request(request)
        if len(data) > LIST_BYTES:
            raise Conflict(f"名单超过 {LIST_BYTES >> 20} MB")
        lines = lists.read_list(data, self.settings.limits, _HEADERS, _IDENTITY)
        if len(lines) > LIST_LIMIT:
            raise Conflict(f"名单超过 {LIST_LIMIT} 行，请分次提交")
        digest = hashlib.sha256(data).hexdigest()
        answers: list[Answer | None] = []
        slowed: Slowed | None = None
        for line in lines:
            if line.numeric & {"管理号", "证件号码"} or not all(line.values.get(name) for name in _IDENTITY):
                answers.append(None)
                continue
            try:
                answers.append(None if slowed else self._answer(request, line.values, way="batch", batch=digest))
            except Slowed as error:
                slowed = error
                answers.append(None)
        workbook = self._workbook(request, digest, lines, answers, slowed)
        made = hashlib.sha256(workbook).hexdigest()
        matched = sum(answer is not None and answer.result == "match" for answer in answers)
        with self.registry.begin(self._actor) as conn:
            note(conn, "verified list", asked=digest, answered=made, rows=len(lines), matched=matched)
        return ListAnswer(workbook, made, len(lines), matched, sum(answer is None for answer in answers))

    def log(self) -> list[ledger.Logged]:
        """The own city's newest verifications."""
        with self.registry.read() as conn:
            return ledger.logged(conn, self.operator.account)

    @property
    def _actor(self) -> Actor:
        return Actor(f"verify:{self.operator.login}")

    def _answer(self, request: Request, asked: Mapping[str, str], *, way: str, batch: str | None) -> Answer:
        turn = take_turn(self.registry, self._actor, f"operator:{self.operator.login}")
        number = _plain(asked.get("管理号", ""))
        with self.registry.read() as conn:
            found = ledger.find(conn, number or "-", keys.id_spellings(_plain(asked["证件号码"])))
        fitting = []
        for one in found:
            fields = self._compare(one, asked)
            known_by = _IDENTITY if one.management_no else (*_IDENTITY[1:], "考试名称")
            if self._mine(one) and fields.get("管理号", True) and all(fields.get(name) for name in known_by):
                fitting.append((one, fields))
        # Without a number two levels of one exam may be the same person's: the one that agrees is meant.
        fitting.sort(key=lambda pair: not all(pair[1].values()))
        certificate, fields = fitting[0] if fitting else (None, {})
        answer = Answer("unknown" if not fitting else "match" if all(fields.values()) else "differs", fields)
        if certificate is not None:
            turn.met()
        with self.registry.begin(self._actor) as conn:
            ledger.log(
                conn,
                {
                    "way": way, "operator": self.operator.login, "account": self.operator.account,
                    "requester": request.requester.strip(), "reason": request.reason.strip(),
                    "asked": keyed(reference_key(self.settings), number or asked["证件号码"]), "result": answer.result,
                    "fields": dict(answer.fields), "certificate_id": certificate.id if certificate else None,
                    "batch": batch,
                },
            )  # fmt: skip
        return answer

    def _mine(self, certificate: ledger.Certificate) -> bool:
        city = self.reference.city_named(certificate.city)
        return city is not None and self.reference.city_today(city).account == self.operator.account

    def _compare(self, one: ledger.Certificate, asked: Mapping[str, str]) -> dict[str, bool]:
        """Asked field → whether it agrees, by the comparison keys of the checks (DOMAIN §3.1)."""
        same = {}
        for name, attribute in FIELDS.items():
            text = asked.get(name, "").strip()
            if text:
                known = getattr(one, attribute)
                same[name] = (
                    _same_date(text, known) if name == "批准日期" else self._key(name, text) == self._key(name, known)
                )
        return same

    def _key(self, name: str, text: str) -> str:
        match name:
            case "姓名":
                return keys.name_key(text)
            case "证件号码":
                return keys.id_key(text)
            case "级别" | "专业" if keys.is_nothing(text, optional=True):
                return ""
            case "级别":
                return keys.level_key(text, self.reference.level_aliases)
            case _:
                return keys.text_key(text)

    def _workbook(
        self,
        request: Request,
        digest: str,
        lines: Sequence[lists.Line],
        answers: Sequence[Answer | None],
        slowed: Slowed | None,
    ) -> bytes:
        columns = [name for name in FIELDS if any(name in line.values for line in lines)]
        now = f"{dt.datetime.now(SHANGHAI):%Y-%m-%d %H:%M}"
        rows: list[Sequence[Cell | str]] = [
            [Cell("证书核对结果", "title")],
            [f"用证单位：{request.requester}　事由：{request.reason}　核对人：{self.operator.login}　时间：{now}"],
            [f"所核对名单的 SHA-256：{digest}"],
            [Cell(name, "head") for name in ("行号", *columns, "结果")],
        ]
        for line, answer in zip(lines, answers, strict=True):
            if answer is None:
                result = Cell(f"未核对：{_unanswered(line, slowed)}", "fix")
            else:
                result = Cell(answer.text, "good" if answer.result == "match" else "bad")
            rows.append([str(line.row_no), *(line.values.get(name, "") for name in columns), result])
        widths = (8, *(22 for _ in columns), 60)
        page = Page("核对结果", rows, widths, freeze="A5", landscape=True, repeat_rows=4, footer="第 &P 页/共 &N 页")
        with vault.shelf(self.settings.work) as folder:
            target = Path(folder) / "result.xlsx"
            excel.write_xlsx(target, [page])
            return vault.read_bytes(target)


def _unanswered(line: lists.Line, slowed: Slowed | None) -> str:
    if slowed is None or line.numeric or not all(line.values.get(name) for name in _IDENTITY):
        return "须有管理号、姓名、证件号码，且均为文本格式"
    if slowed.often:
        return f"十分钟内核对过多，请 {max(1, slowed.seconds // 60)} 分钟后再提交余下的行"
    return "不符的行过多，请核实名单后再提交"


def _check_request(request: Request) -> None:
    if len(request.requester.strip()) < 4:
        raise Conflict("请填写用证单位全称；现场核对面向用证单位，个人可用存档的登记表证明证书真实性")
    if not request.reason.strip():
        raise Conflict("请填写核对事由")
    if len(request.requester) > 100 or len(request.reason) > 200:
        raise Conflict("用证单位或事由过长")


def _same_date(one: str, other: str) -> bool:
    """Equal on what both say: a certificate that shows the month alone contradicts no day."""
    first, second = keys.parse_date(one).value, keys.parse_date(other).value
    shared = min(len(first), len(second))
    return first[:shared] == second[:shared] if shared else keys.text_key(one) == keys.text_key(other)


def _plain(text: str) -> str:
    """What PostgreSQL can compare; anything else equals nothing."""
    text = text.strip()
    return text if text.isprintable() and len(text) <= 64 else ""

"""旧版证书 (notice 一(二)): are the registration forms complete, what a person looked at, and where each one is.

Which fields a form must have filled in, and what must be ticked, is a template file operators edit
(``templates/old-certificates.toml``). Seals and eligibility are looked at by a person; the name stays with the tick.
States: OPEN → COMPLETE → REPORTED → HANDED_OUT; OPEN and COMPLETE follow from fields and ticks.
"""

import datetime as dt
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from certflow import excel, pdf
from certflow.errors import ConfigurationError, Conflict
from certflow.month import SHANGHAI
from certflow.proofs.issue import chinese_date
from certflow.registry import acceptances as ledger
from certflow.registry.acceptances import OldCertificate
from certflow.registry.ledger import Actor, Registry, note
from certflow.settings import Settings

STATES = {"OPEN": "材料不全", "COMPLETE": "材料齐全", "REPORTED": "已报送", "HANDED_OUT": "已发放"}
NEXT = {"COMPLETE": "REPORTED", "REPORTED": "HANDED_OUT"}
_FILE_NUMBER = re.compile(r"[\w\-]{1,30}")
_LOOKS_LIKE_ID = re.compile(r"\d{15}|\d{17}[\dXx]")
_SHIPPED = Path(pdf.__file__).with_name("templates") / "old-certificates.toml"


@dataclass(frozen=True, slots=True)
class FormTemplate:
    """What one registration form must show."""

    name: str
    fields: tuple[str, ...]
    ticks: tuple[str, ...]

    def missing(self, fields: Mapping[str, str], ticks: Iterable[str]) -> list[str]:
        """Fields that are empty and items nobody has ticked."""
        empty = [name for name in self.fields if not fields.get(name, "").strip()]
        return empty + [name for name in self.ticks if name not in set(ticks)]


def forms(settings: Settings) -> dict[str, FormTemplate]:
    """The forms by name; ConfigurationError when the operator's file is wrong."""
    own = settings.path("templates", _SHIPPED.name)
    path = own if own.is_file() else _SHIPPED
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))["form"]
        templates = [FormTemplate(str(one["name"]), tuple(one["fields"]), tuple(one["ticks"])) for one in found]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path.name} 写法有误（{type(error).__name__}），请对照原文件修改") from None
    return {one.name: one for one in templates}


def load_list(settings: Settings, registry: Registry, account: str, file: Path, actor: Actor) -> tuple[int, int]:
    """Take old certificates from a workbook: columns 档案号, 登记表 and the form's fields. (taken, complete).

    Loading again replaces the fields of the same 档案号 and keeps its ticks. Conflict names the line that is wrong, or
    that has the 档案号 of another one; nothing is half loaded.
    """
    lines = list(excel.read_table(file))
    header = [text.strip() for text in lines[0]] if lines else []
    if not {"档案号", "登记表"} <= set(header):
        raise Conflict("表头须有：档案号、登记表，以及登记表的各栏目")
    templates, complete = forms(settings), 0
    taken: dict[str, int] = {}
    with registry.begin(actor) as conn:
        for number, line in enumerate(lines[1:], start=2):
            values = {name: text.strip() for name, text in zip(header, line, strict=False) if name}
            if not any(values.values()):
                continue
            reference, form = values.pop("档案号"), values.pop("登记表")
            template = templates.get(form)
            if template is None:
                raise Conflict(f"第 {number} 行：没有这种登记表；可选：{'、'.join(templates)}")
            if not _FILE_NUMBER.fullmatch(reference) or _LOOKS_LIKE_ID.fullmatch(reference):
                raise Conflict(f"第 {number} 行：档案号须为 30 字以内的字母、数字、汉字，且不能是证件号码")
            if (first := taken.setdefault(reference, number)) != number:
                raise Conflict(f"第 {number} 行与第 {first} 行的档案号相同：一个档案号只能是一个人的")
            known = ledger.old_certificate(conn, account, reference)
            if known is not None and known.state in ("REPORTED", "HANDED_OUT"):
                raise Conflict(f"第 {number} 行：该档案{STATES[known.state]}，不能再改")
            ticks = dict(known.ticks) if known is not None else {}
            state = "OPEN" if template.missing(values, ticks) else "COMPLETE"
            entry = {"form": form, "fields": values, "ticks": ticks, "state": state, "by": actor.who}
            ledger.keep_old_certificate(conn, account, reference, entry)
            complete += state == "COMPLETE"
        note(conn, "old certificates", account=account, taken=len(taken), complete=complete)
    return len(taken), complete


def tick(
    settings: Settings, registry: Registry, account: str, reference: str, items: Sequence[str], *, by: str, actor: Actor
) -> list[str]:
    """Record what a person looked at; gives what is still missing. Conflict for an item the form does not have."""
    with registry.begin(actor) as conn:
        one = _known(ledger.old_certificate(conn, account, reference, lock=True))
        template = _template(settings, one.form)
        if strange := [item for item in items if item not in template.ticks]:
            raise Conflict(f"没有这个核对项：{'、'.join(strange)}；可选：{'、'.join(template.ticks)}")
        if one.state not in ("OPEN", "COMPLETE"):
            raise Conflict(f"该档案{STATES[one.state]}，不能再改")
        ticks = {**one.ticks, **dict.fromkeys(items, by)}
        missing = template.missing(one.fields, ticks)
        state = "OPEN" if missing else "COMPLETE"
        ledger.keep_old_certificate(conn, account, reference, {"ticks": ticks, "state": state})
        note(conn, "old certificate ticked", old_certificate=one.id, by=by, items=len(items))
    return missing


def advance(registry: Registry, account: str, reference: str, *, by: str, actor: Actor) -> str:
    """COMPLETE → REPORTED → HANDED_OUT; gives the new state. Conflict when the materials are not complete."""
    with registry.begin(actor) as conn:
        one = _known(ledger.old_certificate(conn, account, reference, lock=True))
        if one.state not in NEXT:
            raise Conflict(f"该档案{STATES[one.state]}，不能进入下一步")
        ledger.keep_old_certificate(conn, account, reference, {"state": NEXT[one.state]})
        note(conn, "old certificate moved", old_certificate=one.id, by=by, state=NEXT[one.state])
    return NEXT[one.state]


def material_list(settings: Settings, registry: Registry, account: str, city: str) -> bytes:
    """The city's list of old certificates with what each still lacks, as PDF."""
    with registry.read() as conn:
        found = ledger.old_certificates_of(conn, account)
    lines = [
        {
            "reference": one.reference, "name": one.fields.get("姓名", ""), "form": one.form,
            "state": STATES[one.state],
            "missing": "、".join(_template(settings, one.form).missing(one.fields, one.ticks)) or "—",
        }
        for one in found
    ]  # fmt: skip
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    data = {"city": city, "lines": lines, "at": chinese_date(f"{now.astimezone(SHANGHAI):%Y%m%d}")}
    return pdf.press(settings).print("old-list", data, title=f"{city}旧版证书材料清单", at=now)


def _known(one: OldCertificate | None) -> OldCertificate:
    if one is None:
        raise Conflict("本市没有这个档案号")
    return one


def _template(settings: Settings, name: str) -> FormTemplate:
    template = forms(settings).get(name)
    if template is None:
        raise ConfigurationError(f"{_SHIPPED.name} 中没有 {name}")
    return template

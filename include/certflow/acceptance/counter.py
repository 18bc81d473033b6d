"""An application at the counter: the right form filled from the database, and a checklist with digests (附件一).

Materials that are files are not kept here: their digest and size are, so that what was handed in can be recognised
later. The checklist is optional; the month is judged by what the city submits.
"""

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certflow import pdf
from certflow import photo as camera
from certflow.errors import Conflict
from certflow.month import SHANGHAI
from certflow.proofs.issue import chinese_date
from certflow.reference import Reference
from certflow.registry import acceptances as ledger
from certflow.registry.ledger import Actor, Registry, note
from certflow.settings import Settings

FORMS = {
    "normal": ("application", "个人补发（更换）证书申请"),
    "ruankao": ("application-ruankao", "计算机技术与软件专业技术资格证书补发（更换）申请表"),
    "tongxin": ("application-tongxin", "通信专业技术人员职业资格证书补发（更换）申请表"),
}
"""Family of exam → template and title of the form that applies (附件一 注)."""
IDENTITY, PHOTO, FURTHER = "有效身份证件", "电子照片", "补充材料"
_TICKED = "ticked"


@dataclass(frozen=True, slots=True)
class Case:
    """One application as it stands. `missing`: materials it still needs."""

    id: int
    form: str
    state: str
    items: Mapping[str, Any]
    missing: tuple[str, ...]


def application_form(
    settings: Settings, registry: Registry, reference: Reference, account: str, management_no: str, *, photo: bytes
) -> bytes:
    """The form for this certificate of the city as PDF, filled from the database.

    Conflict when there is none, or the photo is no JPEG that can be printed.
    """
    if photo and not camera.thumbnail(photo):
        raise Conflict("照片不是完好的 JPG，未生成表格；请先用 certflow accept photo 处理")
    certificate = _certificate(registry, reference, account, management_no)
    template, title = _form(reference, certificate.exam_code)
    data = {
        "heading": title, "name": certificate.name, "sex": certificate.sex, "id_type": certificate.id_type,
        "id_number": certificate.id_number, "birth_month": chinese_date(certificate.birth_month),
        "city": certificate.city, "exam": certificate.exam, "level": certificate.level or "—",
        "specialty": certificate.specialty or "—", "management_no": certificate.management_no,
        "approved_on": chinese_date(certificate.approved_on), "photo": list(photo),
    }  # fmt: skip
    return pdf.press(settings).print(template, data, title=title, at=_now())


def accept(registry: Registry, reference: Reference, account: str, management_no: str, actor: Actor) -> Case:
    """Open an application of this city, or give the one that is open."""
    certificate = _certificate(registry, reference, account, management_no)
    _, title = _form(reference, certificate.exam_code)
    with registry.begin(actor) as conn:
        case_id = ledger.open_case(conn, account, certificate.id, title, actor.who)
        note(conn, "acceptance", case=case_id, account=account)
    return look(registry, account, case_id)


def hand_in(registry: Registry, account: str, case_id: int, material: str, *, file: Path | None, actor: Actor) -> Case:
    """Tick a material off, with the digest of its file where there is one."""
    if not material.strip() or len(material) > 30:
        raise Conflict("材料名称须为 1 到 30 字")
    entry: dict[str, Any] = {"at": f"{_now().astimezone(SHANGHAI):%Y-%m-%d %H:%M}", "by": actor.who}
    if file is None:
        entry[_TICKED] = True
    else:
        with file.open("rb") as stream:
            entry["sha256"] = hashlib.file_digest(stream, "sha256").hexdigest()
        entry["size"] = file.stat().st_size
    with registry.begin(actor) as conn:
        case = ledger.case(conn, account, case_id, lock=True)
        if case is None:
            raise Conflict("本市没有这个受理编号")
        items = {**case.items, material.strip(): entry}
        missing = _missing(case.form, case.approved_on, items)
        ledger.update_case(conn, case_id, items, "OPEN" if missing else "COMPLETE")
        note(conn, "acceptance material", case=case_id, sha256=entry.get("sha256", ""))
    return look(registry, account, case_id)


def look(registry: Registry, account: str, case_id: int) -> Case:
    """One application of this city; Conflict when there is none."""
    with registry.read() as conn:
        found = ledger.case(conn, account, case_id)
    if found is None:
        raise Conflict("本市没有这个受理编号")
    return Case(
        case_id, found.form, found.state, found.items, tuple(_missing(found.form, found.approved_on, found.items))
    )


def checklist(settings: Settings, registry: Registry, account: str, case_id: int, by: str) -> bytes:
    """The checklist as PDF."""
    with registry.read() as conn:
        case = ledger.case(conn, account, case_id)
    if case is None:
        raise Conflict("本市没有这个受理编号")
    missing = _missing(case.form, case.approved_on, case.items)
    lines = [
        {
            "material": name,
            "state": "已核对" if entry.get(_TICKED) else "已收文件",
            "detail": entry.get("sha256") or f"{entry['by']}，{entry['at']}",
        }
        for name, entry in case.items.items()
    ] + [{"material": name, "state": "缺", "detail": ""} for name in missing]
    data = {
        "number": f"{account}-{case_id:06d}", "city": case.city, "name": case.name, "id_number": case.id_number,
        "exam": case.exam, "management_no": case.management_no, "lines": lines, "missing": missing, "by": by,
        "at": chinese_date(f"{_now().astimezone(SHANGHAI):%Y%m%d}"),
    }  # fmt: skip
    return pdf.press(settings).print("acceptance", data, title="证书补换申请受理清单", at=_now())


def _missing(form: str, approved_on: str, items: Mapping[str, Any]) -> list[str]:
    """Materials 附件一 asks for that were not handed in; no photo for certificates of 2017 or later (附件二 3)."""
    needed = [IDENTITY, form] if approved_on[:4] >= "2017" else [IDENTITY, form, PHOTO]
    return [name for name in needed if name not in items]


def _form(reference: Reference, exam_code: str) -> tuple[str, str]:
    exam = reference.exam_by_code(exam_code)
    return FORMS[exam.family if exam is not None else "normal"]


def _certificate(registry: Registry, reference: Reference, account: str, management_no: str) -> ledger.Certificate:
    """The city's certificate; the same words for one of another city and for none at all."""
    with registry.read() as conn:
        found = ledger.certificate(conn, management_no.strip())
    city = reference.city_named(found.city) if found is not None else None
    if found is None or city is None or reference.city_today(city).account != account:
        raise Conflict("本市没有这本证书：管理号有误，或报名市不是本市（请到报名市办理）")
    return found


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)

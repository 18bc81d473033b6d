"""The counter in the database: applications and old certificates. Each function works in the caller's transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from certflow.registry.schema import acceptances, certificates, old_certificates


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as a form shows it (PII)."""

    id: int
    management_no: str
    name: str
    sex: str
    id_type: str
    id_number: str
    birth_month: str
    exam_code: str
    exam: str
    level: str
    specialty: str
    approved_on: str
    city: str


@dataclass(frozen=True, slots=True)
class Case:
    """An application with the certificate it is about (PII)."""

    form: str
    items: Mapping[str, Any]
    state: str
    management_no: str
    name: str
    id_number: str
    exam: str
    approved_on: str
    city: str


@dataclass(frozen=True, slots=True)
class OldCertificate:
    """A 旧版证书 on its way (PII in `fields`)."""

    id: int
    reference: str
    form: str
    fields: Mapping[str, str]
    ticks: Mapping[str, str]
    state: str


def certificate(conn: Connection, management_no: str) -> Certificate | None:
    """The certificate with this 管理号."""
    table = certificates.c
    query: Any = select(
        table.id, table.management_no, table.name, table.sex, table.id_type, table.id_number, table.birth_month,
        table.exam_code, table.exam_name, table.level, table.specialty, table.approved_on, table.city,
    ).where(table.management_no == management_no)  # fmt: skip
    row = conn.execute(query).one_or_none()
    return Certificate(*row) if row else None


def open_case(conn: Connection, account: str, certificate_id: int, form: str, by: str) -> int:
    """The open application about this certificate; a new one when there is none."""
    table = acceptances.c
    query = select(table.id).where(table.account == account, table.certificate_id == certificate_id)
    known = conn.scalar(query.where(table.state == "OPEN").order_by(table.id).limit(1))
    if known is not None:
        return int(known)
    values = {
        "account": account,
        "certificate_id": certificate_id,
        "form": form,
        "items": {},
        "state": "OPEN",
        "by": by,
    }
    return int(conn.execute(insert(acceptances).values(values).returning(table.id)).scalar_one())


def case(conn: Connection, account: str, case_id: int, *, lock: bool = False) -> Case | None:
    """One application of this account."""
    table, about = acceptances.c, certificates.c
    query: Any = (
        select(
            table.form, table["items"], table.state, about.management_no, about.name, about.id_number, about.exam_name,
            about.approved_on, about.city,
        )
        .join(certificates, about.id == table.certificate_id)
        .where(table.id == case_id, table.account == account)
    )  # fmt: skip
    row = conn.execute(query.with_for_update(of=acceptances) if lock else query).one_or_none()
    return Case(*row) if row else None


def update_case(conn: Connection, case_id: int, items: Mapping[str, Any], state: str) -> None:
    """Record what was handed in so far."""
    conn.execute(update(acceptances).where(acceptances.c.id == case_id).values(items=dict(items), state=state))


def old_certificates_of(conn: Connection, account: str) -> list[OldCertificate]:
    """The city's old certificates, by its own file number."""
    query = _OLD.where(old_certificates.c.account == account).order_by(old_certificates.c.reference.collate("C"))
    return [OldCertificate(*row) for row in conn.execute(query)]


def old_certificate(conn: Connection, account: str, reference: str, *, lock: bool = False) -> OldCertificate | None:
    """One of the city's old certificates."""
    query = _OLD.where(old_certificates.c.account == account, old_certificates.c.reference == reference)
    row = conn.execute(query.with_for_update() if lock else query).one_or_none()
    return OldCertificate(*row) if row else None


def keep_old_certificate(conn: Connection, account: str, reference: str, values: Mapping[str, Any]) -> None:
    """Write an old certificate: a new one, or new values of a known one."""
    known = old_certificate(conn, account, reference, lock=True)
    if known is None:
        conn.execute(insert(old_certificates).values(account=account, reference=reference, **values))
    else:
        conn.execute(update(old_certificates).where(old_certificates.c.id == known.id).values(**values))


_OLD: Any = select(
    old_certificates.c.id, old_certificates.c.reference, old_certificates.c.form, old_certificates.c.fields,
    old_certificates.c.ticks, old_certificates.c.state,
)  # fmt: skip

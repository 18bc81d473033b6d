"""A small month written straight into the ledger, as intake and checks would leave it: for tests of what comes after.

Everybody in it is synthetic. Photos are any bytes: what comes after intake does not look into them.
"""

import hashlib
import io
import struct
import zipfile
import zlib
from dataclasses import dataclass, field

from sqlalchemy import insert, select, update

from certflow.registry import schema
from certflow.registry.ledger import Actor, Registry
from certflow.settings import Settings

CITIES = {"370100": "济南市", "370200": "青岛市", "370300": "淄博市"}


def id_number(serial: int) -> str:
    """A synthetic ID number with a valid check digit (area 110105, born 1990-01-01)."""
    body = f"11010519900101{serial % 1000:03d}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(digit) * weight for digit, weight in zip(body, weights, strict=True))
    return body + "10X98765432"[total % 11]


@dataclass(frozen=True)
class Person:
    """One accepted row; `photo` None: a certificate of 2017 or later."""

    number: int
    photo: bytes | None = b"photo"
    name: str = "张三"
    approved_on: str = "20100101"
    id_number: str = ""
    state: str = "ACCEPTED"

    @property
    def management_no(self) -> str:
        return f"20100103437{self.number:07d}"

    @property
    def identity(self) -> str:
        return self.id_number or id_number(self.number)


@dataclass
class SmallMonth:
    """Writes submissions of one month; one zip per city, exam and version."""

    settings: Settings
    registry: Registry
    month: str = "202005"
    rule_set: str = "2020"
    actor: Actor = field(default_factory=lambda: Actor("tester", run="test"))
    versions: dict[tuple[str, str], int] = field(default_factory=dict)

    def submit(
        self, people: list[Person], *, exam: str = "034", account: str = "370100", deflate: bool = False,
        verdict: str = "accepted",
    ) -> list[int]:  # fmt: skip
        """Record a judged submission; ids of its rows in the order of `people`."""
        version = self.versions[account, exam] = self.versions.get((account, exam), 0) + 1
        stem = f"{self.month}-{exam}-v{version}"
        places, original, size = self._original(stem, people, account, deflate=deflate)
        with self.registry.begin(self.actor) as conn:
            file_id = conn.execute(
                insert(schema.files)
                .values(
                    account=account, lane="month", name=f"{stem}.zip", raw_name=b"x", sha256=original, size=size,
                    month=self.month,
                )
                .returning(schema.files.c.id)
            ).scalar_one()  # fmt: skip
            for state in ("UNPACKED", "JUDGED"):
                conn.execute(update(schema.files).where(schema.files.c.id == file_id).values(state=state))
            submission_id = conn.execute(
                insert(schema.submissions)
                .values(
                    month=self.month, account=account, city=CITIES[account], exam_code=exam, version=version,
                    lane="month", stem=stem, verdict=verdict, rule_set=self.rule_set,
                )
                .returning(schema.submissions.c.id)
            ).scalar_one()  # fmt: skip
            conn.execute(insert(schema.submission_files).values(submission_id=submission_id, file_id=file_id))
            ids = []
            for ordinal, person in enumerate(people, start=1):
                record_id = f"{account}-{stem}-{ordinal:06d}"
                entry_id = None
                if person.photo is not None:
                    offset, packed, method = places[f"{person.number}.jpg"]
                    entry_id = conn.execute(
                        insert(schema.entries)
                        .values(
                            file_id=file_id, submission_id=submission_id, ordinal=ordinal, name=f"{person.number}.jpg",
                            raw_name=b"x", role="photo", size=len(person.photo), packed_size=packed, method=method,
                            data_offset=offset, crc32=zlib.crc32(person.photo),
                            sha256=hashlib.sha256(person.photo).hexdigest(), outcome="accepted",
                        )
                        .returning(schema.entries.c.id)
                    ).scalar_one()  # fmt: skip
                place = {"submission_id": submission_id, "record_id": record_id, "row_no": ordinal + 1}
                ids.append(self._row(conn, person, place, entry_id))
            return ids

    def _row(self, conn, person, place, entry_id):
        certificate_id = conn.scalar(
            select(schema.certificates.c.id).where(schema.certificates.c.management_no == person.management_no)
        )
        if certificate_id is None:
            certificate_id = conn.execute(
                insert(schema.certificates)
                .values(
                    management_no=person.management_no, name=person.name, id_number=person.identity,
                    id_type="居民身份证", sex="男", exam_code="034", exam_name="一级建造师", level="一级",
                    specialty="建筑工程", birth_month="199001", approved_on=person.approved_on, city="济南市",
                    serial=f"OLD{person.number}",
                )
                .returning(schema.certificates.c.id)
            ).scalar_one()  # fmt: skip
        row_id = conn.execute(
            insert(schema.rows)
            .values(
                **place, sent={},
                certificate_id=certificate_id, management_no=person.management_no, name=person.name,
                id_number=person.identity, id_type="居民身份证", sex="男", level="一级", specialty="建筑工程",
                birth_month="199001", approved_on=person.approved_on, city="济南市", photo_entry_id=entry_id,
            )
            .returning(schema.rows.c.id)
        ).scalar_one()  # fmt: skip
        conn.execute(update(schema.rows).where(schema.rows.c.id == row_id).values(state=person.state))
        return row_id

    def _original(self, stem, people, account, *, deflate):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as archive:
            archive.writestr(f"{account}-{stem}.XLS", b"workbook")
            for person in people:
                if person.photo is not None:
                    archive.writestr(f"{person.number}.jpg", person.photo)
        data = buffer.getvalue()
        places = {}
        for info in archive.infolist():
            name_length, extra_length = struct.unpack("<HH", data[info.header_offset + 26 : info.header_offset + 30])
            offset = info.header_offset + 30 + name_length + extra_length
            places[info.filename] = (offset, info.compress_size, info.compress_type)
        digest = hashlib.sha256(data).hexdigest()
        path = self.settings.original(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return places, digest, len(data)

    def states(self, ids: list[int]) -> list[str]:
        """States of rows, in the order of `ids`."""
        with self.registry.read() as conn:
            found = dict(conn.execute(select(schema.rows.c.id, schema.rows.c.state)).tuples().all())
        return [found[one] for one in ids]

    def send(self, package_id: int) -> None:
        """Move an approved package and its rows to SENT, as the transfer room would."""
        with self.registry.begin(self.actor) as conn:
            self._move_package(conn, package_id, "SENDING")
            self._move_package(conn, package_id, "SENT")
            conn.execute(insert(schema.transfers).values(package_id=package_id, token=1, event="sent"))
            conn.execute(
                update(schema.rows)
                .where(schema.rows.c.id == schema.package_rows.c.row_id)
                .where(schema.package_rows.c.package_id == package_id)
                .values(state="SENT")
            )

    def begin_sending(self, package_id: int) -> None:
        """Move an approved package to SENDING; its rows stay PACKED until the send is proved."""
        with self.registry.begin(self.actor) as conn:
            self._move_package(conn, package_id, "SENDING")

    @staticmethod
    def _move_package(conn, package_id, state):
        conn.execute(update(schema.packages).where(schema.packages.c.id == package_id).values(state=state))

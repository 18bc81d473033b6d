"""Tables of the certificate database and of the ledger (SQLAlchemy Core; PostgreSQL only).

The migrations under ``migrations/`` build them, with the triggers that enforce the state graphs and write
the audit chain; a test compares both. What a state means and where it may go: DESIGN §3, `TRANSITIONS`.

`moves` and `audit` are written by triggers alone: whoever changes a state is recorded, on every path.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

TRANSITIONS: dict[str, tuple[tuple[str, str], ...]] = {
    # "" is before the beginning: the states in which a thing may come into being.
    "file": (
        ("", "RECEIVED"), ("RECEIVED", "WAITING"), ("RECEIVED", "UNPACKED"), ("RECEIVED", "RETURNED"),
        ("RECEIVED", "IGNORED"), ("RECEIVED", "HELD"), ("WAITING", "UNPACKED"), ("WAITING", "RETURNED"),
        ("WAITING", "HELD"), ("WAITING", "IGNORED"), ("UNPACKED", "JUDGED"), ("UNPACKED", "RETURNED"),
        ("UNPACKED", "IGNORED"), ("UNPACKED", "HELD"), ("HELD", "JUDGED"), ("HELD", "RETURNED"),
    ),
    "row": (
        ("", "JUDGED"), ("JUDGED", "ACCEPTED"), ("JUDGED", "HELD"), ("JUDGED", "RETURNED"), ("JUDGED", "PROOF"),
        ("JUDGED", "IGNORED"), ("HELD", "ACCEPTED"), ("HELD", "PROOF"), ("HELD", "RETURNED"),
        ("ACCEPTED", "PACKED"), ("ACCEPTED", "WITHDRAWN"), ("PACKED", "SENT"), ("PACKED", "ACCEPTED"),
        ("SENT", "PRINTED"), ("SENT", "REFUSED"), ("PRINTED", "DELIVERED"), ("DELIVERED", "CLOSED"),
        ("PROOF", "ISSUED"), ("PROOF", "WITHDRAWN"), ("ISSUED", "CLOSED"),
        ("PRINTED", "SENT"), ("REFUSED", "SENT"), ("CLOSED", "DELIVERED"), ("DELIVERED", "PRINTED"),
    ),
    "package": (
        ("", "BUILT"), ("BUILT", "APPROVED"), ("BUILT", "REJECTED"), ("APPROVED", "SENDING"), ("SENDING", "SENT"),
        ("SENDING", "UNKNOWN"), ("UNKNOWN", "SENT"), ("UNKNOWN", "APPROVED"),
    ),
    # The paper of one PRINTED row (DOMAIN §5); the words for people stand in `delivery.words`.
    "delivery": (
        ("", "PRINTED"), ("PRINTED", "AWAITING"), ("KEPT", "AWAITING"), ("AWAITING", "PRINTED"),
        ("PRINTED", "PUSHED"), ("PUSHED", "COLLECTED"), ("PUSHED", "UNDERWAY"), ("PUSHED", "SIGNED"),
        ("PUSHED", "RETURNED"), ("PUSHED", "PICKUP"), ("COLLECTED", "UNDERWAY"), ("COLLECTED", "SIGNED"),
        ("COLLECTED", "RETURNED"), ("UNDERWAY", "SIGNED"), ("UNDERWAY", "RETURNED"), ("RETURNED", "PUSHED"),
        ("RETURNED", "PICKUP"), ("RETURNED", "SIGNED"),
        ("PRINTED", "KEPT"), ("KEPT", "PUSHED"), ("PICKUP", "PUSHED"), ("KEPT", "HANDED"), ("PICKUP", "HANDED"),
        ("KEPT", "EXPIRED"), ("PICKUP", "EXPIRED"), ("EXPIRED", "HANDED"), ("EXPIRED", "PUSHED"),
        ("PRINTED", "WITHHELD"), ("KEPT", "WITHHELD"), ("PICKUP", "WITHHELD"), ("RETURNED", "WITHHELD"),
        ("WITHHELD", "KEPT"), ("HANDED", "KEPT"),
    ),
}  # fmt: skip
"""Allowed moves of the graphs; the migration copies them into `transitions`."""

ERRANDS: dict[tuple[str, str, str], str] = {
    ("row", "PRINTED", "SENT"): "undo", ("row", "REFUSED", "SENT"): "undo", ("row", "CLOSED", "DELIVERED"): "undo",
    ("row", "DELIVERED", "PRINTED"): "undo", ("delivery", "HANDED", "KEPT"): "undo",
}  # fmt: skip
"""Moves that lead back: allowed in a transaction that has set ``certflow.errand`` to this word, and chained with it."""


def _id() -> Column[int]:
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def _now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def _to(target: str, name: str, *, null: bool = False) -> Column[int]:
    return Column(name, BigInteger, ForeignKey(f"{target}.id"), nullable=null)


certificates = Table(
    "certificates", metadata, _id(),
    Column("management_no", Text),  # ZSGLH; very old certificates have none
    Column("name", Text, nullable=False),
    Column("id_number", Text, nullable=False),
    Column("id_type", Text, nullable=False),
    Column("sex", Text, nullable=False),
    Column("exam_code", Text, nullable=False),
    Column("exam_name", Text, nullable=False),
    Column("level", Text, nullable=False),
    Column("specialty", Text, nullable=False),
    Column("birth_month", Text, nullable=False),  # as the database's export gives it
    Column("approved_on", Text, nullable=False),
    Column("city", Text, nullable=False),
    Column("serial", Text, nullable=False, server_default=""),  # ZSBH of the first print
    Column("e_certificate", Text, nullable=False, server_default=""),  # DZZS 是/否
    Index(
        "uq_certificates_management_no", "management_no", unique=True,
        postgresql_where=text("management_no IS NOT NULL"),
    ),
    Index("ix_certificates_id_number", "id_number"),
    Index("ix_certificates_serial", "serial", postgresql_where=text("serial <> ''")),
)  # fmt: skip
"""The certificate database, as loaded; returns never change it."""

files = Table(
    "files", metadata, _id(),
    Column("account", Text, nullable=False),
    Column("lane", Text, nullable=False),  # "month" (报送), "trial" (试投)
    Column("name", Text, nullable=False),  # for people
    Column("raw_name", LargeBinary, nullable=False),  # as the server listed it
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    _now("received_at"),
    Column("kind", Text, nullable=False, server_default="submission"),  # submission | nil | other
    Column("month", Text),
    Column("state", Text, nullable=False, server_default="RECEIVED"),
    Column("reason", Text),  # rule code that decided the file
    Column("duplicate_of", BigInteger, ForeignKey("files.id")),
    Column("shelved_at", DateTime(timezone=True)),  # the city's copy lies in 已接收; empty: the move is still owed
    Column("answered_at", DateTime(timezone=True)),  # receipt lies in the city's folder
    Index("ix_files_account_state", "account", "state"),
    Index("ix_files_sha256", "sha256"),
)  # fmt: skip

submissions = Table(
    "submissions", metadata, _id(),
    Column("month", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("city", Text, nullable=False),
    Column("exam_code", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("lane", Text, nullable=False),
    Column("stem", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("rule_set", Text, nullable=False),
    _now("judged_at"),
    UniqueConstraint("month", "account", "exam_code", "lane", "version"),
)  # fmt: skip

submission_files = Table(
    "submission_files", metadata,
    Column("submission_id", BigInteger, ForeignKey("submissions.id"), primary_key=True),
    Column("file_id", BigInteger, ForeignKey("files.id"), primary_key=True),
)  # fmt: skip

entries = Table(
    "entries", metadata, _id(), _to("files", "file_id"), _to("submissions", "submission_id", null=True),
    Column("ordinal", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("raw_name", LargeBinary, nullable=False),
    Column("role", Text, nullable=False),  # workbook | photo | junk | folder | other
    Column("size", BigInteger, nullable=False),  # bytes produced
    Column("packed_size", BigInteger, nullable=False),
    Column("method", Integer, nullable=False),  # 0 stored, 8 deflated
    Column("data_offset", BigInteger, nullable=False),  # where the entry's bytes begin in the original
    Column("crc32", BigInteger, nullable=False),
    Column("sha256", Text),
    Column("outcome", Text, nullable=False),  # accepted | held | returned | ignored
    Column("reason", Text),
    UniqueConstraint("file_id", "ordinal"),
    Index("ix_entries_submission_id", "submission_id"),
)  # fmt: skip
"""Members of received archives; photos are entries of role ``photo``."""

portraits = Table(
    "portraits", metadata, _id(),
    Column("entry_id", BigInteger, ForeignKey("entries.id"), nullable=False, unique=True),
    Column("sketch", LargeBinary, nullable=False),  # what photos are compared by (`certflow.likeness`); no picture
)  # fmt: skip

batches = Table(
    "batches", metadata, _id(),
    Column("month", Text, nullable=False),
    Column("number", Integer, nullable=False),  # 0 the month itself, n the n-th 补报
    Column("rule_set", Text, nullable=False),
    _now("frozen_at"),
    Column("reopened_at", DateTime(timezone=True)),  # its rows are loose again; the next freeze closes it
    UniqueConstraint("month", "number"),
)  # fmt: skip

rows = Table(
    "rows", metadata, _id(), _to("submissions", "submission_id"),
    Column("record_id", Text, nullable=False, unique=True),  # surrogate: 370100-202005-034-000123
    Column("row_no", Integer, nullable=False),  # as Excel shows it
    Column("state", Text, nullable=False, server_default="JUDGED"),
    Column("sent", JSONB, nullable=False),  # the 11 values byte for byte as the city sent them
    Column("certificate_id", BigInteger, ForeignKey("certificates.id")),
    # What we emit: the database's values where there is a match, else the city's.
    Column("management_no", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("id_number", Text, nullable=False),
    Column("id_type", Text, nullable=False),
    Column("sex", Text, nullable=False),
    Column("level", Text, nullable=False),
    Column("specialty", Text, nullable=False),
    Column("birth_month", Text, nullable=False),  # YYYYMM
    Column("approved_on", Text, nullable=False),  # YYYYMMDD
    Column("city", Text, nullable=False),
    Column("photo_entry_id", BigInteger, ForeignKey("entries.id")),
    Column("batch_id", BigInteger, ForeignKey("batches.id")),
    Column("replaces", BigInteger, ForeignKey("rows.id")),
    Index("ix_rows_submission_id", "submission_id"),
    Index("ix_rows_management_no", "management_no"),
    Index("ix_rows_state", "state"),
    Index("ix_rows_batch_id", "batch_id"),
    Index("ix_rows_photo_entry_id", "photo_entry_id"),
    Index("ix_rows_replaces", "replaces", postgresql_where=text("replaces IS NOT NULL")),
    Index(
        "uq_rows_open_management_no", "management_no", unique=True,
        postgresql_where=text("state IN ('ACCEPTED', 'PACKED', 'SENT') AND management_no <> ''"),
    ),  # invariant I3
)  # fmt: skip

findings = Table(
    "findings", metadata, _id(), _to("files", "file_id"), _to("submissions", "submission_id", null=True),
    _to("rows", "row_id", null=True), _to("entries", "entry_id", null=True),
    Column("rule", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("row_no", Integer),
    Column("field", Text),
    Column("message", Text, nullable=False),
    Column("masked", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("sent", Text),
    Column("registry", Text),
    Column("rule_set", Text, nullable=False),
    Index("ix_findings_submission_id", "submission_id"),
    Index("ix_findings_row_id", "row_id"),
    Index("ix_findings_file_id", "file_id"),
)  # fmt: skip

hold_decisions = Table(
    "hold_decisions", metadata, _id(),
    Column("kind", Text, nullable=False),  # row | file | photo
    Column("object_id", BigInteger, nullable=False),  # id in rows, files or entries
    Column("record", Text, nullable=False),  # what people call it: record id, F000012, F000012-0007
    _to("files", "file_id"),  # whose answers tell the city
    Column("decision", Text, nullable=False),  # accept | return | proof | judge
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("rules", JSONB, nullable=False),  # codes of the rules that held it: overruled, or confirmed by a return
    _now("at"),
    Column("told_at", DateTime(timezone=True)),  # the notice to the city is written
    Index("ix_hold_decisions_kind_object_id", "kind", "object_id"),
    Index("ix_hold_decisions_file_id", "file_id"),
)  # fmt: skip
"""What a person decided about what was held; append-only, only `told_at` is filled in later."""

packages = Table(
    "packages", metadata, _id(), _to("batches", "batch_id"),
    Column("exam_code", Text, nullable=False),
    Column("part", Integer, nullable=False, server_default="1"),
    Column("revision", Integer, nullable=False, server_default="1"),
    Column("stem", Text, nullable=False),
    Column("file_name", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("row_count", Integer, nullable=False),
    Column("photo_count", Integer, nullable=False),
    Column("manifest", JSONB, nullable=False),
    # A city's own package beside the merged one: its rows move with the merged one.
    Column("companion", Boolean, nullable=False, server_default=text("false")),
    Column("state", Text, nullable=False, server_default="BUILT"),
    Column("token", BigInteger, nullable=False, server_default="0"),  # fencing token of the send
    _now("built_at"),
    UniqueConstraint("batch_id", "exam_code", "part", "revision"),
)  # fmt: skip

package_rows = Table(
    "package_rows", metadata,
    Column("package_id", BigInteger, ForeignKey("packages.id"), primary_key=True),
    Column("row_id", BigInteger, ForeignKey("rows.id"), primary_key=True),
    Column("ordinal", Integer, nullable=False),
    Column("serial", Text),  # the certificate's when it was packed; empty without one, and before revision 0003
    Index("ix_package_rows_row_id", "row_id"),
)  # fmt: skip

transfers = Table(
    "transfers", metadata, _id(), _to("packages", "package_id"),
    Column("token", BigInteger, nullable=False),
    Column("event", Text, nullable=False),  # the steps of dispatch/send.py, from "intent" to "sent"
    Column("detail", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    _now("at"),
    Index("ix_transfers_package_id", "package_id"),
)  # fmt: skip
"""Evidence of every step towards the authority; append-only."""

approvals = Table(
    "approvals", metadata, _id(), _to("batches", "batch_id"),
    Column("digest", Text, nullable=False),  # SHA-256 over the sorted digests of the batch's packages
    Column("decision", Text, nullable=False),  # prepared (经办, two-person mode) | approved | rejected
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    _now("at"),
    Index("ix_approvals_batch_id", "batch_id"),
)  # fmt: skip

papers = Table(
    "papers", metadata, _id(),
    Column("month", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("exam_code", Text, nullable=False),
    Column("state", Text, nullable=False),  # arrived | missing | differs
    Column("by", Text, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("scan_sha256", Text),
    _now("at"),
    Index("ix_papers_month", "month"),
)  # fmt: skip
"""What a person recorded about the stamped paper of a city, month and exam; append-only, the newest line counts."""

returns = Table(
    "returns", metadata, _id(),
    Column("name", Text, nullable=False),
    Column("sha256", Text, nullable=False, unique=True),
    Column("size", BigInteger, nullable=False),
    _now("received_at"),
    # RECEIVED | RECONCILED | APPLIED | HELD | RETURNED | UNDONE
    Column("state", Text, nullable=False, server_default="RECEIVED"),
    Column("reason", Text),
)  # fmt: skip

return_undos = Table(
    "return_undos", metadata, _id(), _to("returns", "return_id"),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("printed", Integer, nullable=False),  # rows that went back from PRINTED
    Column("refused", Integer, nullable=False),
    _now("at"),
    Index("ix_return_undos_return_id", "return_id"),
)  # fmt: skip
"""Who took an applied return back, and why; append-only."""

return_rows = Table(
    "return_rows", metadata, _id(), _to("returns", "return_id"),
    Column("part", Integer, nullable=False, server_default="1"),  # which table of a zip that holds several
    Column("row_no", Integer, nullable=False),
    Column("management_no", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("id_number", Text, nullable=False),
    Column("serial", Text, nullable=False),  # 证书编号 of the new print
    Column("result", Text, nullable=False),  # 已印制 | 退回
    Column("reason", Text, nullable=False),
    Column("printed_on", Text, nullable=False),
    Column("bucket", Text),  # printed | refused | extra | changed | duplicate
    Column("why", Text),  # why a person has to look at it (`reprints.Doubt`), or empty
    Column("row_id", BigInteger, ForeignKey("rows.id")),
    Column("applied", Boolean, nullable=False, server_default=text("false")),
    Column("before", JSONB),  # what applying found: the row's state and the serial in force
    Column("undo_id", BigInteger, ForeignKey("return_undos.id")),  # set: history of an application taken back
    Index(
        "uq_return_rows_return_id_part_row_no", "return_id", "part", "row_no", unique=True,
        postgresql_where=text("undo_id IS NULL"),
    ),
    Index("ix_return_rows_management_no", "management_no"),
    Index("ix_return_rows_row_id", "row_id"),
)  # fmt: skip

print_events = Table(
    "print_events", metadata, _id(), _to("certificates", "certificate_id"), _to("rows", "row_id"),
    _to("return_rows", "return_row_id"),
    Column("serial", Text, nullable=False),
    Column("mark", Text, nullable=False),  # of the rule set (补发, or none); 撤销 for a reversing entry
    Column("printed_on", Date, nullable=False),
    Column("voids", Text, nullable=False),  # serial that is no longer in force: the print it replaces or takes back
    Column("reverses", BigInteger, ForeignKey("print_events.id"), unique=True),  # the entry that an undo takes back
    _now("recorded_at"),
    Index("ix_print_events_certificate_id", "certificate_id"),
    Index("ix_print_events_row_id", "row_id"),
    Index("ix_print_events_serial", "serial"),
    Index("ix_print_events_return_row_id", "return_row_id"),  # looked up for every line that is read anew
    Index(
        "uq_print_events_return_row_id", "return_row_id", unique=True, postgresql_where=text("reverses IS NULL"),
    ),
)  # fmt: skip
"""New prints of certificates, and the entries that take one back; append-only. The certificate itself never changes.

In force: an entry that reverses nothing and that nothing reverses; a trigger keeps a serial from being in force twice.
"""

return_answers = Table(
    "return_answers", metadata, _id(), _to("returns", "return_id"),
    Column("account", Text, nullable=False),
    Column("month", Text, nullable=False),
    Column("answered_at", DateTime(timezone=True)),  # the lists lie in the city's folder
    Column("undo_id", BigInteger, ForeignKey("return_undos.id")),  # the application they tell of was taken back
    Column("recalled_at", DateTime(timezone=True)),  # the city was told so; only where it had the lists
    Index(
        "uq_return_answers_return_id_account_month", "return_id", "account", "month", unique=True,
        postgresql_where=text("undo_id IS NULL"),
    ),
    Index("ix_return_answers_account", "account"),
)  # fmt: skip
"""Lists owed to the cities: what an applied return says about their rows."""

proofs = Table(
    "proofs", metadata, _id(),
    Column("kind", Text, nullable=False),  # score (成绩合格证明) | qualification (职/执业资格证明)
    Column("year", Integer, nullable=False),  # of issue, Asia/Shanghai
    Column("serial", Integer, nullable=False),  # gapless within kind and year
    Column("number", Text, nullable=False, unique=True),
    Column("code", Text, nullable=False, unique=True),  # verification code, 16 signs
    Column("account", Text, nullable=False),
    _to("certificates", "certificate_id"), _to("rows", "row_id"),
    Column("printed", JSONB, nullable=False),  # every value as it stands on the page
    Column("purpose", Text, nullable=False),
    Column("issued_at", DateTime(timezone=True), nullable=False),
    Column("issued_by", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes
    Column("bundle", Text),  # the city's paper bundle it went out in
    Column("revoked_at", DateTime(timezone=True)),
    Column("revoked_by", Text),
    Column("revoke_reason", Text),
    UniqueConstraint("kind", "year", "serial"),
    Index("ix_proofs_row_id", "row_id"),
    Index(
        "uq_proofs_row_id_kind_purpose", "row_id", "kind", "purpose", unique=True,
        postgresql_where=text("revoked_at IS NULL"),
    ),
)  # fmt: skip
"""The register of proofs (notice 二(二)), one row each; only bundle and revocation are ever filled in later."""

proof_requests = Table(
    "proof_requests", metadata, _id(), _to("files", "file_id"),
    Column("row_no", Integer, nullable=False),  # as Excel shows it
    Column("management_no", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("proof_id", BigInteger, ForeignKey("proofs.id")),
    Column("reason", Text, nullable=False, server_default=""),  # why there is no proof
    _now("decided_at"),
    UniqueConstraint("file_id", "row_no"),
)  # fmt: skip
"""Lines of the cities' request files and what became of each."""

verifications = Table(
    "verifications", metadata, _id(),
    _now("at"),
    Column("way", Text, nullable=False),  # code | single | batch
    Column("operator", Text, nullable=False),  # login; empty: the public
    Column("account", Text, nullable=False),  # city of the operator; empty: the public
    Column("requester", Text, nullable=False),  # 用证单位
    Column("reason", Text, nullable=False),
    Column("asked", Text, nullable=False),  # keyed digest of the number asked about, never the number
    Column("result", Text, nullable=False),  # match | differs | unknown | valid | ended | revoked
    Column("fields", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("certificate_id", BigInteger, ForeignKey("certificates.id")),
    Column("proof_id", BigInteger, ForeignKey("proofs.id")),
    Column("batch", Text),  # digest of the list that was asked with
    Index("ix_verifications_account_at", "account", "at"),
    Index("ix_verifications_certificate_id", "certificate_id"),
)  # fmt: skip
"""Who verified what, why, and what was answered (notice 三(二)); append-only."""

verification_tries = Table(
    "verification_tries", metadata,
    Column("subject", Text, primary_key=True),  # an operator, or the keyed digest of an address
    Column("began", DateTime(timezone=True), primary_key=True),
    Column("tries", Integer, nullable=False),
    Column("misses", Integer, nullable=False),
)  # fmt: skip
"""How often somebody asked within a window of time: what slows guessing down, in every process at once."""

acceptances = Table(
    "acceptances", metadata, _id(),
    Column("account", Text, nullable=False),
    _to("certificates", "certificate_id"),
    Column("form", Text, nullable=False),  # template of the form that applies
    Column("items", JSONB, nullable=False),  # material → {"sha256", "size", "at"} or {"ticked"}
    Column("state", Text, nullable=False),  # OPEN | COMPLETE
    _now("at"),
    Column("by", Text, nullable=False),
    Index("ix_acceptances_certificate_id", "certificate_id"),
)  # fmt: skip
"""Applications taken at a city's counter (notice 附件一); optional, nothing of the month waits for them."""

old_certificates = Table(
    "old_certificates", metadata, _id(),
    Column("account", Text, nullable=False),
    Column("reference", Text, nullable=False),  # the city's own file number, no ID number
    Column("form", Text, nullable=False),  # 专业技术资格考试登记表 | 执（职）业资格考试登记表
    Column("fields", JSONB, nullable=False),
    Column("ticks", JSONB, nullable=False),  # what a person looked at: name → who
    Column("state", Text, nullable=False),  # OPEN | COMPLETE | REPORTED | HANDED_OUT
    _now("at"),
    Column("by", Text, nullable=False),
    UniqueConstraint("account", "reference"),
)  # fmt: skip
"""旧版证书 on their way to their holders (notice 一(二))."""

appeals = Table(
    "appeals", metadata, _id(),
    Column("finding_id", BigInteger, ForeignKey("findings.id"), nullable=False, unique=True),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _now("at"),
)  # fmt: skip
"""Findings a city contests; append-only."""

appeal_decisions = Table(
    "appeal_decisions", metadata, _id(),
    Column("appeal_id", BigInteger, ForeignKey("appeals.id"), nullable=False, unique=True),
    Column("upheld", Boolean, nullable=False),  # true: the finding no longer counts against the city
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _now("at"),
)  # fmt: skip
"""What became of an appeal; append-only."""

scores = Table(
    "scores", metadata, _id(),
    Column("period", Text, nullable=False),  # YYYYMM or YYYY
    Column("account", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("figures", JSONB, nullable=False),
    Column("cause", Text, nullable=False),  # why this version came to be
    Column("by", Text, nullable=False),
    _now("at"),
    UniqueConstraint("period", "account", "version"),
)  # fmt: skip
"""Figures of closed periods: a correction is a new version; append-only."""

silences = Table(
    "silences", metadata, _id(),
    Column("kind", Text, nullable=False),  # of the alert
    Column("subject", Text, nullable=False),  # account, batch or exam the alert is about; empty: every one
    Column("until", DateTime(timezone=True), nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _now("at"),
)  # fmt: skip
"""Alerts nobody wants to hear for a while; each ends by itself; append-only."""

delivery_files = Table(
    "delivery_files", metadata, _id(),
    Column("kind", Text, nullable=False),  # profile it was read with: choices | ems | exchange
    Column("account", Text, nullable=False),  # city whose list it is; empty: of the whole province
    Column("name", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes
    _now("received_at"),
    Column("state", Text, nullable=False),  # HELD (nothing of it applied) | APPLIED
    Column("reason", Text, nullable=False, server_default=""),
    Column("counts", JSONB, nullable=False, server_default=text("'{}'::jsonb")),  # what became of its lines
    UniqueConstraint("kind", "account", "sha256"),
)  # fmt: skip
"""Lists about deliveries that came from outside: choices of a city, waybills and tracking, issue data."""

delivery_choices = Table(
    "delivery_choices", metadata, _id(), _to("delivery_files", "file_id"),
    Column("row_no", Integer, nullable=False),  # as Excel shows it
    Column("account", Text, nullable=False),
    Column("management_no", Text, nullable=False),
    Column("way", Text, nullable=False),  # mail | pickup
    Column("recipient", Text, nullable=False),
    Column("phone", Text, nullable=False),
    Column("postcode", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("made_at", DateTime(timezone=True), server_default=func.now()),  # empty: when its list came (revision 0001)
    Index("ix_delivery_choices_management_no", "management_no"),
)  # fmt: skip
"""How an applicant wants the new certificate (DOMAIN §5); append-only, the newest line of a number counts, for the
delivery it was made for alone."""

delivery_orders = Table(
    "delivery_orders", metadata, _id(),
    Column("account", Text, nullable=False),
    Column("name", Text, nullable=False, unique=True),  # EMS-370100-20200901-1
    Column("file_name", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes
    _now("made_at"),
)  # fmt: skip
"""Order lists for EMS, one per city and round."""

deliveries = Table(
    "deliveries", metadata, _id(), Column("row_id", BigInteger, ForeignKey("rows.id"), nullable=False, unique=True),
    Column("account", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("order_id", BigInteger, ForeignKey("delivery_orders.id")),  # of the newest attempt, like what follows
    Column("order_line", Integer),
    Column("choice_id", BigInteger, ForeignKey("delivery_choices.id")),  # the address it went to
    Column("waybill", Text),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("pushed_at", DateTime(timezone=True)),  # first order list
    Column("kept_at", DateTime(timezone=True)),  # since when it waits at the desk
    Index("ix_deliveries_account_state", "account", "state"),
    Index("uq_deliveries_order_id_order_line", "order_id", "order_line", unique=True),
    Index("ix_deliveries_waybill", "waybill"),
)  # fmt: skip
"""The paper of each printed row and where it is; made by a trigger the moment a row becomes PRINTED."""

delivery_events = Table(
    "delivery_events", metadata, _id(), _to("deliveries", "delivery_id"), _to("delivery_files", "file_id"),
    Column("row_no", Integer, nullable=False),
    Column("waybill", Text, nullable=False),  # empty: the file names none
    Column("state", Text, nullable=False),  # PUSHED: the waybill was given
    Column("happened_at", DateTime(timezone=True), nullable=False),  # as the file says
    Column("effect", Text, nullable=False),  # moved | waybill | late | against: see `delivery.walk`
    UniqueConstraint("delivery_id", "waybill", "state", "happened_at"),
    Index("ix_delivery_events_waybill", "waybill"),
)  # fmt: skip
"""Every tracking line about one of our deliveries, once; append-only."""

delivery_exports = Table(
    "delivery_exports", metadata, _id(),
    Column("name", Text, nullable=False, unique=True),  # 发放状态-20200901-1.csv
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes
    Column("lines", Integer, nullable=False),
    Column("last_move", BigInteger, nullable=False),  # newest ids it knows of; the next tells what came after
    Column("last_event", BigInteger, nullable=False),
    Column("last_choice", BigInteger, nullable=False),
    _now("made_at"),
)  # fmt: skip
"""What the province-wide management system was told; append-only."""

pickup_files = Table(
    "pickup_files", metadata, _id(),
    Column("account", Text, nullable=False),
    Column("name", Text, nullable=False),  # as the device wrote it: may hold an ID number
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes
    Column("kind", Text, nullable=False),  # word of the evidence profile; empty: its name does not say
    _now("received_at"),
    UniqueConstraint("account", "sha256"),
)  # fmt: skip
"""Files of document camera, signature pad and ID reader; append-only."""

pickup_links = Table(
    "pickup_links", metadata, _id(), _to("pickup_files", "file_id"), _to("deliveries", "delivery_id"),
    Column("kind", Text, nullable=False),
    Column("by", Text, nullable=False),
    _now("at"),
    Index("ix_pickup_links_file_id", "file_id"),
    Index("ix_pickup_links_delivery_id", "delivery_id"),
)  # fmt: skip
"""Which evidence belongs to which certificate; append-only. Between the two one link of a kind holds at a time."""

pickup_unlinks = Table(
    "pickup_unlinks", metadata, _id(),
    Column("link_id", BigInteger, ForeignKey("pickup_links.id"), nullable=False, unique=True),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _now("at"),
)  # fmt: skip
"""Links that were wrong and who took them back; append-only."""

purged = Table(
    "purged", metadata,
    Column("kind", Text, primary_key=True),  # table of the object: files, returns, delivery_files, …
    Column("object_id", BigInteger, primary_key=True, autoincrement=False),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes
    _now("at"),
    Index("ix_purged_sha256", "sha256"),
)  # fmt: skip
"""Originals whose time of keeping is over (`registry.retention`); append-only."""

transitions = Table(
    "transitions", metadata,
    Column("kind", Text, primary_key=True),
    Column("from_state", Text, primary_key=True),
    Column("to_state", Text, primary_key=True),
    Column("errand", Text, nullable=False, server_default=""),  # see ERRANDS
)  # fmt: skip

audit = Table(
    "audit", metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),  # gapless: last one + 1, under the chain's lock
    Column("prev", Text, nullable=False),
    Column("payload", Text, nullable=False),  # JSON exactly as hashed; no personal data
    Column("hash", Text, nullable=False),  # SHA-256 hex of prev + payload (UTF-8)
)  # fmt: skip
"""Chain over everything that happened; append-only."""

moves = Table(
    "moves", metadata, _id(),
    Column("audit_seq", BigInteger, nullable=False),  # `chain.broken_links` holds both against each other
    Column("kind", Text, nullable=False),  # file | row | package | delivery
    Column("object_id", BigInteger, nullable=False),
    Column("from_state", Text, nullable=False),
    Column("to_state", Text, nullable=False),
    Index("ix_moves_kind_object_id", "kind", "object_id"),
    Index("ix_moves_audit_seq", "audit_seq"),
)  # fmt: skip
"""Every change of state; append-only, its digest stands in the audit row's payload."""

-- Tables of the certificate database and of the ledger, as of the first release.
-- What each column means stands in registry/schema.py; a test compares both.

CREATE TABLE audit (
    seq BIGINT NOT NULL,
    prev TEXT NOT NULL,
    payload TEXT NOT NULL,
    hash TEXT NOT NULL,
    CONSTRAINT pk_audit PRIMARY KEY (seq)
);

CREATE TABLE batches (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    month TEXT NOT NULL,
    number INTEGER NOT NULL,
    rule_set TEXT NOT NULL,
    frozen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    reopened_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_batches PRIMARY KEY (id),
    CONSTRAINT uq_batches_month_number UNIQUE (month, number)
);

CREATE TABLE certificates (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    management_no TEXT,
    name TEXT NOT NULL,
    id_number TEXT NOT NULL,
    id_type TEXT NOT NULL,
    sex TEXT NOT NULL,
    exam_code TEXT NOT NULL,
    exam_name TEXT NOT NULL,
    level TEXT NOT NULL,
    specialty TEXT NOT NULL,
    birth_month TEXT NOT NULL,
    approved_on TEXT NOT NULL,
    city TEXT NOT NULL,
    serial TEXT DEFAULT '' NOT NULL,
    e_certificate TEXT DEFAULT '' NOT NULL,
    CONSTRAINT pk_certificates PRIMARY KEY (id)
);

CREATE INDEX ix_certificates_id_number ON certificates (id_number);

CREATE INDEX ix_certificates_serial ON certificates (serial) WHERE serial <> '';

CREATE UNIQUE INDEX uq_certificates_management_no ON certificates (management_no) WHERE management_no IS NOT NULL;

CREATE TABLE files (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    account TEXT NOT NULL,
    lane TEXT NOT NULL,
    name TEXT NOT NULL,
    raw_name BYTEA NOT NULL,
    sha256 TEXT NOT NULL,
    size BIGINT NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    kind TEXT DEFAULT 'submission' NOT NULL,
    month TEXT,
    state TEXT DEFAULT 'RECEIVED' NOT NULL,
    reason TEXT,
    duplicate_of BIGINT,
    shelved_at TIMESTAMP WITH TIME ZONE,
    answered_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_files PRIMARY KEY (id),
    CONSTRAINT fk_files_duplicate_of FOREIGN KEY(duplicate_of) REFERENCES files (id)
);

CREATE INDEX ix_files_account_state ON files (account, state);

CREATE INDEX ix_files_sha256 ON files (sha256);

CREATE TABLE returns (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size BIGINT NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    state TEXT DEFAULT 'RECEIVED' NOT NULL,
    reason TEXT,
    CONSTRAINT pk_returns PRIMARY KEY (id),
    CONSTRAINT uq_returns_sha256 UNIQUE (sha256)
);

CREATE TABLE submissions (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    month TEXT NOT NULL,
    account TEXT NOT NULL,
    city TEXT NOT NULL,
    exam_code TEXT NOT NULL,
    version INTEGER NOT NULL,
    lane TEXT NOT NULL,
    stem TEXT NOT NULL,
    verdict TEXT NOT NULL,
    rule_set TEXT NOT NULL,
    judged_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_submissions PRIMARY KEY (id),
    CONSTRAINT uq_submissions_month_account_exam_code_lane_version UNIQUE (month, account, exam_code, lane, version)
);

CREATE TABLE transitions (
    kind TEXT NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    errand TEXT DEFAULT '' NOT NULL,
    CONSTRAINT pk_transitions PRIMARY KEY (kind, from_state, to_state)
);

CREATE TABLE approvals (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    batch_id BIGINT NOT NULL,
    digest TEXT NOT NULL,
    decision TEXT NOT NULL,
    by TEXT NOT NULL,
    reason TEXT DEFAULT '' NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_approvals PRIMARY KEY (id),
    CONSTRAINT fk_approvals_batch_id FOREIGN KEY(batch_id) REFERENCES batches (id)
);

CREATE INDEX ix_approvals_batch_id ON approvals (batch_id);

CREATE TABLE entries (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    file_id BIGINT NOT NULL,
    submission_id BIGINT,
    ordinal INTEGER NOT NULL,
    name TEXT NOT NULL,
    raw_name BYTEA NOT NULL,
    role TEXT NOT NULL,
    size BIGINT NOT NULL,
    packed_size BIGINT NOT NULL,
    method INTEGER NOT NULL,
    data_offset BIGINT NOT NULL,
    crc32 BIGINT NOT NULL,
    sha256 TEXT,
    outcome TEXT NOT NULL,
    reason TEXT,
    CONSTRAINT pk_entries PRIMARY KEY (id),
    CONSTRAINT uq_entries_file_id_ordinal UNIQUE (file_id, ordinal),
    CONSTRAINT fk_entries_file_id FOREIGN KEY(file_id) REFERENCES files (id),
    CONSTRAINT fk_entries_submission_id FOREIGN KEY(submission_id) REFERENCES submissions (id)
);

CREATE INDEX ix_entries_submission_id ON entries (submission_id);

CREATE TABLE portraits (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    entry_id BIGINT NOT NULL,
    sketch BYTEA NOT NULL,
    CONSTRAINT pk_portraits PRIMARY KEY (id),
    CONSTRAINT uq_portraits_entry_id UNIQUE (entry_id),
    CONSTRAINT fk_portraits_entry_id FOREIGN KEY(entry_id) REFERENCES entries (id)
);

CREATE TABLE moves (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    audit_seq BIGINT NOT NULL,
    kind TEXT NOT NULL,
    object_id BIGINT NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    CONSTRAINT pk_moves PRIMARY KEY (id),
    CONSTRAINT fk_moves_audit_seq FOREIGN KEY(audit_seq) REFERENCES audit (seq)
);

CREATE INDEX ix_moves_audit_seq ON moves (audit_seq);

CREATE INDEX ix_moves_kind_object_id ON moves (kind, object_id);

CREATE TABLE packages (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    batch_id BIGINT NOT NULL,
    exam_code TEXT NOT NULL,
    part INTEGER DEFAULT '1' NOT NULL,
    revision INTEGER DEFAULT '1' NOT NULL,
    stem TEXT NOT NULL,
    file_name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size BIGINT NOT NULL,
    row_count INTEGER NOT NULL,
    photo_count INTEGER NOT NULL,
    manifest JSONB NOT NULL,
    companion BOOLEAN DEFAULT false NOT NULL,
    state TEXT DEFAULT 'BUILT' NOT NULL,
    token BIGINT DEFAULT '0' NOT NULL,
    built_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_packages PRIMARY KEY (id),
    CONSTRAINT uq_packages_batch_id_exam_code_part_revision UNIQUE (batch_id, exam_code, part, revision),
    CONSTRAINT fk_packages_batch_id FOREIGN KEY(batch_id) REFERENCES batches (id)
);

CREATE TABLE submission_files (
    submission_id BIGINT NOT NULL,
    file_id BIGINT NOT NULL,
    CONSTRAINT pk_submission_files PRIMARY KEY (submission_id, file_id),
    CONSTRAINT fk_submission_files_submission_id FOREIGN KEY(submission_id) REFERENCES submissions (id),
    CONSTRAINT fk_submission_files_file_id FOREIGN KEY(file_id) REFERENCES files (id)
);

CREATE TABLE rows (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    submission_id BIGINT NOT NULL,
    record_id TEXT NOT NULL,
    row_no INTEGER NOT NULL,
    state TEXT DEFAULT 'JUDGED' NOT NULL,
    sent JSONB NOT NULL,
    certificate_id BIGINT,
    management_no TEXT NOT NULL,
    name TEXT NOT NULL,
    id_number TEXT NOT NULL,
    id_type TEXT NOT NULL,
    sex TEXT NOT NULL,
    level TEXT NOT NULL,
    specialty TEXT NOT NULL,
    birth_month TEXT NOT NULL,
    approved_on TEXT NOT NULL,
    city TEXT NOT NULL,
    photo_entry_id BIGINT,
    batch_id BIGINT,
    replaces BIGINT,
    CONSTRAINT pk_rows PRIMARY KEY (id),
    CONSTRAINT fk_rows_submission_id FOREIGN KEY(submission_id) REFERENCES submissions (id),
    CONSTRAINT uq_rows_record_id UNIQUE (record_id),
    CONSTRAINT fk_rows_certificate_id FOREIGN KEY(certificate_id) REFERENCES certificates (id),
    CONSTRAINT fk_rows_photo_entry_id FOREIGN KEY(photo_entry_id) REFERENCES entries (id),
    CONSTRAINT fk_rows_batch_id FOREIGN KEY(batch_id) REFERENCES batches (id),
    CONSTRAINT fk_rows_replaces FOREIGN KEY(replaces) REFERENCES rows (id)
);

CREATE INDEX ix_rows_batch_id ON rows (batch_id);

CREATE INDEX ix_rows_photo_entry_id ON rows (photo_entry_id);

CREATE INDEX ix_rows_management_no ON rows (management_no);

CREATE INDEX ix_rows_state ON rows (state);

CREATE INDEX ix_rows_submission_id ON rows (submission_id);

CREATE UNIQUE INDEX uq_rows_open_management_no ON rows (management_no) WHERE state IN ('ACCEPTED', 'PACKED', 'SENT') AND management_no <> '';

CREATE TABLE transfers (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    package_id BIGINT NOT NULL,
    token BIGINT NOT NULL,
    event TEXT NOT NULL,
    detail JSONB DEFAULT '{}'::jsonb NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_transfers PRIMARY KEY (id),
    CONSTRAINT fk_transfers_package_id FOREIGN KEY(package_id) REFERENCES packages (id)
);

CREATE INDEX ix_transfers_package_id ON transfers (package_id);

CREATE TABLE findings (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    file_id BIGINT NOT NULL,
    submission_id BIGINT,
    row_id BIGINT,
    entry_id BIGINT,
    rule TEXT NOT NULL,
    severity TEXT NOT NULL,
    scope TEXT NOT NULL,
    row_no INTEGER,
    field TEXT,
    message TEXT NOT NULL,
    masked TEXT NOT NULL,
    remedy TEXT NOT NULL,
    sent TEXT,
    registry TEXT,
    rule_set TEXT NOT NULL,
    CONSTRAINT pk_findings PRIMARY KEY (id),
    CONSTRAINT fk_findings_file_id FOREIGN KEY(file_id) REFERENCES files (id),
    CONSTRAINT fk_findings_submission_id FOREIGN KEY(submission_id) REFERENCES submissions (id),
    CONSTRAINT fk_findings_row_id FOREIGN KEY(row_id) REFERENCES rows (id),
    CONSTRAINT fk_findings_entry_id FOREIGN KEY(entry_id) REFERENCES entries (id)
);

CREATE INDEX ix_findings_file_id ON findings (file_id);

CREATE INDEX ix_findings_row_id ON findings (row_id);

CREATE INDEX ix_findings_submission_id ON findings (submission_id);

CREATE TABLE package_rows (
    package_id BIGINT NOT NULL,
    row_id BIGINT NOT NULL,
    ordinal INTEGER NOT NULL,
    CONSTRAINT pk_package_rows PRIMARY KEY (package_id, row_id),
    CONSTRAINT fk_package_rows_package_id FOREIGN KEY(package_id) REFERENCES packages (id),
    CONSTRAINT fk_package_rows_row_id FOREIGN KEY(row_id) REFERENCES rows (id)
);

CREATE INDEX ix_package_rows_row_id ON package_rows (row_id);

CREATE TABLE return_undos (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    return_id BIGINT NOT NULL,
    by TEXT NOT NULL,
    reason TEXT NOT NULL,
    printed INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_return_undos PRIMARY KEY (id),
    CONSTRAINT fk_return_undos_return_id FOREIGN KEY(return_id) REFERENCES returns (id)
);

CREATE INDEX ix_return_undos_return_id ON return_undos (return_id);

CREATE TABLE return_rows (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    return_id BIGINT NOT NULL,
    part INTEGER DEFAULT '1' NOT NULL,
    row_no INTEGER NOT NULL,
    management_no TEXT NOT NULL,
    name TEXT NOT NULL,
    id_number TEXT NOT NULL,
    serial TEXT NOT NULL,
    result TEXT NOT NULL,
    reason TEXT NOT NULL,
    printed_on TEXT NOT NULL,
    bucket TEXT,
    why TEXT,
    row_id BIGINT,
    applied BOOLEAN DEFAULT false NOT NULL,
    before JSONB,
    undo_id BIGINT,
    CONSTRAINT pk_return_rows PRIMARY KEY (id),
    CONSTRAINT fk_return_rows_return_id FOREIGN KEY(return_id) REFERENCES returns (id),
    CONSTRAINT fk_return_rows_row_id FOREIGN KEY(row_id) REFERENCES rows (id),
    CONSTRAINT fk_return_rows_undo_id FOREIGN KEY(undo_id) REFERENCES return_undos (id)
);

CREATE UNIQUE INDEX uq_return_rows_return_id_part_row_no ON return_rows (return_id, part, row_no) WHERE undo_id IS NULL;

CREATE INDEX ix_return_rows_management_no ON return_rows (management_no);

CREATE INDEX ix_return_rows_row_id ON return_rows (row_id);

CREATE TABLE print_events (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    certificate_id BIGINT NOT NULL,
    row_id BIGINT NOT NULL,
    return_row_id BIGINT NOT NULL,
    serial TEXT NOT NULL,
    mark TEXT NOT NULL,
    printed_on DATE NOT NULL,
    voids TEXT NOT NULL,
    reverses BIGINT,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_print_events PRIMARY KEY (id),
    CONSTRAINT fk_print_events_certificate_id FOREIGN KEY(certificate_id) REFERENCES certificates (id),
    CONSTRAINT fk_print_events_row_id FOREIGN KEY(row_id) REFERENCES rows (id),
    CONSTRAINT fk_print_events_return_row_id FOREIGN KEY(return_row_id) REFERENCES return_rows (id),
    CONSTRAINT uq_print_events_reverses UNIQUE (reverses),
    CONSTRAINT fk_print_events_reverses FOREIGN KEY(reverses) REFERENCES print_events (id)
);

CREATE INDEX ix_print_events_certificate_id ON print_events (certificate_id);

CREATE INDEX ix_print_events_row_id ON print_events (row_id);

CREATE INDEX ix_print_events_serial ON print_events (serial);

CREATE INDEX ix_print_events_return_row_id ON print_events (return_row_id);

CREATE UNIQUE INDEX uq_print_events_return_row_id ON print_events (return_row_id) WHERE reverses IS NULL;

CREATE TABLE return_answers (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    return_id BIGINT NOT NULL,
    account TEXT NOT NULL,
    month TEXT NOT NULL,
    answered_at TIMESTAMP WITH TIME ZONE,
    undo_id BIGINT,
    recalled_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_return_answers PRIMARY KEY (id),
    CONSTRAINT fk_return_answers_return_id FOREIGN KEY(return_id) REFERENCES returns (id),
    CONSTRAINT fk_return_answers_undo_id FOREIGN KEY(undo_id) REFERENCES return_undos (id)
);

CREATE INDEX ix_return_answers_account ON return_answers (account);

CREATE UNIQUE INDEX uq_return_answers_return_id_account_month ON return_answers (return_id, account, month)
    WHERE undo_id IS NULL;

CREATE TABLE proofs (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    kind TEXT NOT NULL,
    year INTEGER NOT NULL,
    serial INTEGER NOT NULL,
    number TEXT NOT NULL,
    code TEXT NOT NULL,
    account TEXT NOT NULL,
    certificate_id BIGINT NOT NULL,
    row_id BIGINT NOT NULL,
    printed JSONB NOT NULL,
    purpose TEXT NOT NULL,
    issued_at TIMESTAMP WITH TIME ZONE NOT NULL,
    issued_by TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size BIGINT NOT NULL,
    bundle TEXT,
    revoked_at TIMESTAMP WITH TIME ZONE,
    revoked_by TEXT,
    revoke_reason TEXT,
    CONSTRAINT pk_proofs PRIMARY KEY (id),
    CONSTRAINT uq_proofs_kind_year_serial UNIQUE (kind, year, serial),
    CONSTRAINT uq_proofs_number UNIQUE (number),
    CONSTRAINT uq_proofs_code UNIQUE (code),
    CONSTRAINT fk_proofs_certificate_id FOREIGN KEY(certificate_id) REFERENCES certificates (id),
    CONSTRAINT fk_proofs_row_id FOREIGN KEY(row_id) REFERENCES rows (id)
);

CREATE INDEX ix_proofs_row_id ON proofs (row_id);

CREATE UNIQUE INDEX uq_proofs_row_id_kind_purpose ON proofs (row_id, kind, purpose) WHERE revoked_at IS NULL;

CREATE TABLE proof_requests (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    file_id BIGINT NOT NULL,
    row_no INTEGER NOT NULL,
    management_no TEXT NOT NULL,
    purpose TEXT NOT NULL,
    proof_id BIGINT,
    reason TEXT DEFAULT '' NOT NULL,
    decided_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_proof_requests PRIMARY KEY (id),
    CONSTRAINT uq_proof_requests_file_id_row_no UNIQUE (file_id, row_no),
    CONSTRAINT fk_proof_requests_file_id FOREIGN KEY(file_id) REFERENCES files (id),
    CONSTRAINT fk_proof_requests_proof_id FOREIGN KEY(proof_id) REFERENCES proofs (id)
);

CREATE TABLE verifications (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    way TEXT NOT NULL,
    operator TEXT NOT NULL,
    account TEXT NOT NULL,
    requester TEXT NOT NULL,
    reason TEXT NOT NULL,
    asked TEXT NOT NULL,
    result TEXT NOT NULL,
    fields JSONB DEFAULT '{}'::jsonb NOT NULL,
    certificate_id BIGINT,
    proof_id BIGINT,
    batch TEXT,
    CONSTRAINT pk_verifications PRIMARY KEY (id),
    CONSTRAINT fk_verifications_certificate_id FOREIGN KEY(certificate_id) REFERENCES certificates (id),
    CONSTRAINT fk_verifications_proof_id FOREIGN KEY(proof_id) REFERENCES proofs (id)
);

CREATE INDEX ix_verifications_account_at ON verifications (account, at);

CREATE INDEX ix_verifications_certificate_id ON verifications (certificate_id);

CREATE TABLE verification_tries (
    subject TEXT NOT NULL,
    began TIMESTAMP WITH TIME ZONE NOT NULL,
    tries INTEGER NOT NULL,
    misses INTEGER NOT NULL,
    CONSTRAINT pk_verification_tries PRIMARY KEY (subject, began)
);

CREATE TABLE acceptances (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    account TEXT NOT NULL,
    certificate_id BIGINT NOT NULL,
    form TEXT NOT NULL,
    items JSONB NOT NULL,
    state TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    by TEXT NOT NULL,
    CONSTRAINT pk_acceptances PRIMARY KEY (id),
    CONSTRAINT fk_acceptances_certificate_id FOREIGN KEY(certificate_id) REFERENCES certificates (id)
);

CREATE INDEX ix_acceptances_certificate_id ON acceptances (certificate_id);

CREATE TABLE old_certificates (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    account TEXT NOT NULL,
    reference TEXT NOT NULL,
    form TEXT NOT NULL,
    fields JSONB NOT NULL,
    ticks JSONB NOT NULL,
    state TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    by TEXT NOT NULL,
    CONSTRAINT pk_old_certificates PRIMARY KEY (id),
    CONSTRAINT uq_old_certificates_account_reference UNIQUE (account, reference)
);

CREATE TABLE papers (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    month TEXT NOT NULL,
    account TEXT NOT NULL,
    exam_code TEXT NOT NULL,
    state TEXT NOT NULL,
    by TEXT NOT NULL,
    note TEXT DEFAULT '' NOT NULL,
    scan_sha256 TEXT,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_papers PRIMARY KEY (id)
);

CREATE INDEX ix_papers_month ON papers (month);

CREATE TABLE hold_decisions (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    kind TEXT NOT NULL,
    object_id BIGINT NOT NULL,
    record TEXT NOT NULL,
    file_id BIGINT NOT NULL,
    decision TEXT NOT NULL,
    by TEXT NOT NULL,
    reason TEXT NOT NULL,
    rules JSONB NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    told_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_hold_decisions PRIMARY KEY (id),
    CONSTRAINT fk_hold_decisions_file_id FOREIGN KEY(file_id) REFERENCES files (id)
);

CREATE INDEX ix_hold_decisions_file_id ON hold_decisions (file_id);
CREATE INDEX ix_hold_decisions_kind_object_id ON hold_decisions (kind, object_id);

CREATE TABLE appeals (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    finding_id BIGINT NOT NULL,
    by TEXT NOT NULL,
    reason TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_appeals PRIMARY KEY (id),
    CONSTRAINT uq_appeals_finding_id UNIQUE (finding_id),
    CONSTRAINT fk_appeals_finding_id FOREIGN KEY(finding_id) REFERENCES findings (id)
);

CREATE TABLE appeal_decisions (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    appeal_id BIGINT NOT NULL,
    upheld BOOLEAN NOT NULL,
    by TEXT NOT NULL,
    reason TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_appeal_decisions PRIMARY KEY (id),
    CONSTRAINT uq_appeal_decisions_appeal_id UNIQUE (appeal_id),
    CONSTRAINT fk_appeal_decisions_appeal_id FOREIGN KEY(appeal_id) REFERENCES appeals (id)
);

CREATE TABLE scores (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    period TEXT NOT NULL,
    account TEXT NOT NULL,
    version INTEGER NOT NULL,
    figures JSONB NOT NULL,
    cause TEXT NOT NULL,
    by TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_scores PRIMARY KEY (id),
    CONSTRAINT uq_scores_period_account_version UNIQUE (period, account, version)
);

CREATE TABLE silences (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    by TEXT NOT NULL,
    reason TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_silences PRIMARY KEY (id)
);

CREATE TABLE delivery_files (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    kind TEXT NOT NULL,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size BIGINT NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    state TEXT NOT NULL,
    reason TEXT DEFAULT '' NOT NULL,
    counts JSONB DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT pk_delivery_files PRIMARY KEY (id),
    CONSTRAINT uq_delivery_files_kind_account_sha256 UNIQUE (kind, account, sha256)
);

CREATE TABLE delivery_choices (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    file_id BIGINT NOT NULL,
    row_no INTEGER NOT NULL,
    account TEXT NOT NULL,
    management_no TEXT NOT NULL,
    way TEXT NOT NULL,
    recipient TEXT NOT NULL,
    phone TEXT NOT NULL,
    postcode TEXT NOT NULL,
    address TEXT NOT NULL,
    CONSTRAINT pk_delivery_choices PRIMARY KEY (id),
    CONSTRAINT fk_delivery_choices_file_id FOREIGN KEY(file_id) REFERENCES delivery_files (id)
);

CREATE INDEX ix_delivery_choices_management_no ON delivery_choices (management_no);

CREATE TABLE delivery_orders (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    file_name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size BIGINT NOT NULL,
    made_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_delivery_orders PRIMARY KEY (id),
    CONSTRAINT uq_delivery_orders_name UNIQUE (name)
);

CREATE TABLE deliveries (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    row_id BIGINT NOT NULL,
    account TEXT NOT NULL,
    state TEXT NOT NULL,
    order_id BIGINT,
    order_line INTEGER,
    choice_id BIGINT,
    waybill TEXT,
    attempt INTEGER DEFAULT '0' NOT NULL,
    pushed_at TIMESTAMP WITH TIME ZONE,
    kept_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_deliveries PRIMARY KEY (id),
    CONSTRAINT uq_deliveries_row_id UNIQUE (row_id),
    CONSTRAINT fk_deliveries_row_id FOREIGN KEY(row_id) REFERENCES rows (id),
    CONSTRAINT fk_deliveries_order_id FOREIGN KEY(order_id) REFERENCES delivery_orders (id),
    CONSTRAINT fk_deliveries_choice_id FOREIGN KEY(choice_id) REFERENCES delivery_choices (id)
);

CREATE INDEX ix_deliveries_account_state ON deliveries (account, state);

CREATE UNIQUE INDEX uq_deliveries_order_id_order_line ON deliveries (order_id, order_line);

CREATE INDEX ix_deliveries_waybill ON deliveries (waybill);

CREATE TABLE delivery_events (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    delivery_id BIGINT NOT NULL,
    file_id BIGINT NOT NULL,
    row_no INTEGER NOT NULL,
    waybill TEXT NOT NULL,
    state TEXT NOT NULL,
    happened_at TIMESTAMP WITH TIME ZONE NOT NULL,
    effect TEXT NOT NULL,
    CONSTRAINT pk_delivery_events PRIMARY KEY (id),
    CONSTRAINT uq_delivery_events_delivery_id_waybill_state_happened_at UNIQUE (delivery_id, waybill, state, happened_at),
    CONSTRAINT fk_delivery_events_delivery_id FOREIGN KEY(delivery_id) REFERENCES deliveries (id),
    CONSTRAINT fk_delivery_events_file_id FOREIGN KEY(file_id) REFERENCES delivery_files (id)
);

CREATE INDEX ix_delivery_events_waybill ON delivery_events (waybill);

CREATE TABLE delivery_exports (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size BIGINT NOT NULL,
    lines INTEGER NOT NULL,
    last_move BIGINT NOT NULL,
    last_event BIGINT NOT NULL,
    last_choice BIGINT NOT NULL,
    made_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_delivery_exports PRIMARY KEY (id),
    CONSTRAINT uq_delivery_exports_name UNIQUE (name)
);

CREATE TABLE pickup_files (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size BIGINT NOT NULL,
    kind TEXT NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_pickup_files PRIMARY KEY (id),
    CONSTRAINT uq_pickup_files_account_sha256 UNIQUE (account, sha256)
);

CREATE TABLE pickup_links (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    file_id BIGINT NOT NULL,
    delivery_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    by TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_pickup_links PRIMARY KEY (id),
    CONSTRAINT fk_pickup_links_file_id FOREIGN KEY(file_id) REFERENCES pickup_files (id),
    CONSTRAINT fk_pickup_links_delivery_id FOREIGN KEY(delivery_id) REFERENCES deliveries (id)
);

CREATE INDEX ix_pickup_links_delivery_id ON pickup_links (delivery_id);

CREATE INDEX ix_pickup_links_file_id ON pickup_links (file_id);

CREATE TABLE pickup_unlinks (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    link_id BIGINT NOT NULL,
    by TEXT NOT NULL,
    reason TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_pickup_unlinks PRIMARY KEY (id),
    CONSTRAINT uq_pickup_unlinks_link_id UNIQUE (link_id),
    CONSTRAINT fk_pickup_unlinks_link_id FOREIGN KEY(link_id) REFERENCES pickup_links (id)
);

CREATE TABLE purged (
    kind TEXT NOT NULL,
    object_id BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    size BIGINT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_purged PRIMARY KEY (kind, object_id)
);

CREATE INDEX ix_purged_sha256 ON purged (sha256);

-- The ledger's own law: every change of state is checked against `transitions`, written to `moves`, and
-- chained into `audit`, once per statement, whoever makes it. SQLSTATEs: CF001 a move the graph does not
-- know, CF002 nobody said who acts, CF003 a table that only grows, CF004 a print that contradicts another.

-- Append one row to the chain and return its number. Appending is serialised by an advisory lock that is
-- held until commit, so that `seq` has no gaps and `prev` is always the hash of the row before.
CREATE FUNCTION certflow_append(event text, detail jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    who text := nullif(current_setting('certflow.actor', true), '');
    last_seq bigint;
    last_hash text;
    body text;
    digest text;
BEGIN
    IF who IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'CF002', MESSAGE = 'certflow.actor is not set: the ledger records who acts';
    END IF;
    PERFORM pg_advisory_xact_lock(4849336, 1);
    SELECT seq, hash INTO last_seq, last_hash FROM audit ORDER BY seq DESC LIMIT 1;
    body := (detail || jsonb_build_object(
        'at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'actor', who,
        'run', coalesce(current_setting('certflow.run', true), ''),
        'attempt', coalesce(nullif(current_setting('certflow.attempt', true), '')::integer, 0),
        'event', event))::text;
    last_hash := coalesce(last_hash, repeat('0', 64));
    digest := encode(sha256(convert_to(last_hash || body, 'UTF8')), 'hex');
    last_seq := coalesce(last_seq, 0) + 1;
    INSERT INTO audit (seq, prev, payload, hash) VALUES (last_seq, last_hash, body, digest);
    -- The client copies the head out of the database after commit (invariant I7).
    PERFORM set_config('certflow.head', last_seq || ' ' || digest, true);
    RETURN last_seq;
END $$;

-- Check and record the moves of one statement. The three arrays run in step, ordered by id.
CREATE FUNCTION certflow_move(what text, ids bigint[], befores text[], afters text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    -- Moves that lead back need an errand that says so ("undo"); it is chained with them.
    trip text := coalesce(current_setting('certflow.errand', true), '');
    wrong record;
    steps jsonb;
    digest text;
    head bigint;
BEGIN
    SELECT m.before, m.after, count(*) AS number INTO wrong
    FROM unnest(befores, afters) AS m(before, after)
    WHERE NOT EXISTS (
        SELECT FROM transitions t WHERE t.kind = what AND t.from_state = m.before AND t.to_state = m.after
            AND t.errand IN ('', trip))
    GROUP BY m.before, m.after ORDER BY m.before, m.after LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'CF001',
            MESSAGE = format('%s: no move from "%s" to "%s" (%s of them)', what, wrong.before, wrong.after, wrong.number);
    END IF;
    SELECT jsonb_object_agg(s.before || '>' || s.after, s.number) INTO steps
    FROM (SELECT m.before, m.after, count(*) AS number FROM unnest(befores, afters) AS m(before, after)
          GROUP BY m.before, m.after) AS s;
    SELECT encode(sha256(convert_to(string_agg(m.id || ' ' || m.before || ' ' || m.after, E'\n' ORDER BY m.id), 'UTF8')), 'hex')
    INTO digest FROM unnest(ids, befores, afters) AS m(id, before, after);
    head := certflow_append('move', jsonb_build_object(
        'kind', what, 'count', cardinality(ids), 'steps', steps, 'moves_sha256', digest)
        || CASE trip WHEN '' THEN '{}'::jsonb ELSE jsonb_build_object('errand', trip) END);
    INSERT INTO moves (audit_seq, kind, object_id, from_state, to_state)
    SELECT head, what, m.id, m.before, m.after FROM unnest(ids, befores, afters) AS m(id, before, after);
END $$;

CREATE FUNCTION certflow_arrived() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ids bigint[];
    befores text[];
    afters text[];
BEGIN
    SELECT array_agg(id ORDER BY id), array_agg(''::text), array_agg(state ORDER BY id)
    INTO ids, befores, afters FROM arrived;
    IF ids IS NOT NULL THEN
        PERFORM certflow_move(TG_ARGV[0], ids, befores, afters);
    END IF;
    RETURN NULL;
END $$;

-- PostgreSQL keeps a function's plan for the session: one made for a statement of few rows walks one transition table
-- per row of the other, minutes where 100 000 rows come after it. Hence no nested loops in here.
CREATE FUNCTION certflow_changed() RETURNS trigger LANGUAGE plpgsql SET enable_nestloop = off AS $$
DECLARE
    ids bigint[];
    befores text[];
    afters text[];
BEGIN
    IF (SELECT count(*) FROM was) <> (SELECT count(*) FROM was JOIN became USING (id)) THEN
        RAISE EXCEPTION USING ERRCODE = 'CF003', MESSAGE = format('ids of %s never change', TG_TABLE_NAME);
    END IF;
    SELECT array_agg(id ORDER BY id), array_agg(was.state ORDER BY id), array_agg(became.state ORDER BY id)
    INTO ids, befores, afters FROM was JOIN became USING (id) WHERE was.state <> became.state;
    IF ids IS NOT NULL THEN
        PERFORM certflow_move(TG_ARGV[0], ids, befores, afters);
    END IF;
    RETURN NULL;
END $$;

-- A serial is in force at most once, and a reversing entry repeats what it takes back. One return at a time: the lock
-- is the one of `registry/reprints.py`. Each arrived print is looked up by index, whatever the statistics say: where an
-- earlier try was rolled back they know of no print at all, and any join by them compares all with all.
CREATE FUNCTION certflow_print_law() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('certflow:returns', 0));
    IF EXISTS (
        SELECT FROM arrived a WHERE a.reverses IS NOT NULL AND (
            SELECT e.reverses IS NOT NULL
                OR (a.certificate_id, a.row_id, a.return_row_id, a.serial) <> (e.certificate_id, e.row_id, e.return_row_id, e.serial)
            FROM print_events e WHERE e.id = a.reverses)
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'CF004', MESSAGE = 'print_events: a reversing entry differs from what it takes back';
    END IF;
    -- An entry is reversed once at most, under its own serial: prints less reversals are in force.
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT serial FROM arrived WHERE reverses IS NULL) a WHERE (
            SELECT count(*) FILTER (WHERE e.reverses IS NULL) - count(e.reverses)
            FROM print_events e WHERE e.serial = a.serial) > 1
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'CF004', MESSAGE = 'print_events: a serial would be in force twice';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION certflow_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'CF003',
        MESSAGE = format('%s on %s is refused: this table only grows', TG_OP, TG_TABLE_NAME);
END $$;

CREATE TRIGGER files_arrived AFTER INSERT ON files REFERENCING NEW TABLE AS arrived
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_arrived('file');
CREATE TRIGGER rows_arrived AFTER INSERT ON rows REFERENCING NEW TABLE AS arrived
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_arrived('row');
CREATE TRIGGER packages_arrived AFTER INSERT ON packages REFERENCING NEW TABLE AS arrived
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_arrived('package');

CREATE TRIGGER deliveries_arrived AFTER INSERT ON deliveries REFERENCING NEW TABLE AS arrived
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_arrived('delivery');

CREATE TRIGGER files_changed AFTER UPDATE ON files REFERENCING OLD TABLE AS was NEW TABLE AS became
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_changed('file');
CREATE TRIGGER rows_changed AFTER UPDATE ON rows REFERENCING OLD TABLE AS was NEW TABLE AS became
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_changed('row');
CREATE TRIGGER packages_changed AFTER UPDATE ON packages REFERENCING OLD TABLE AS was NEW TABLE AS became
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_changed('package');
CREATE TRIGGER deliveries_changed AFTER UPDATE ON deliveries REFERENCING OLD TABLE AS was NEW TABLE AS became
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_changed('delivery');

-- Every printed row has exactly one delivery, on whatever path it became PRINTED. Where a print is undone the paper
-- is awaited again; once it has left the house the graph of deliveries refuses that, and with it the undo.
CREATE FUNCTION certflow_printed() RETURNS trigger LANGUAGE plpgsql SET enable_nestloop = off AS $$
BEGIN
    -- What follows reads all deliveries: nothing to be done for what is handed out.
    IF NOT EXISTS (
        SELECT FROM was JOIN became USING (id)
        WHERE was.state <> became.state AND (became.state = 'PRINTED' OR was.state = 'PRINTED' AND became.state = 'SENT')
    ) THEN
        RETURN NULL;
    END IF;
    UPDATE deliveries d SET state = 'AWAITING', kept_at = NULL
    FROM was JOIN became USING (id)
    WHERE d.row_id = became.id AND was.state = 'PRINTED' AND became.state = 'SENT';
    UPDATE deliveries d SET state = 'PRINTED'
    FROM was JOIN became USING (id)
    WHERE d.row_id = became.id AND d.state = 'AWAITING' AND was.state <> 'PRINTED' AND became.state = 'PRINTED';
    INSERT INTO deliveries (row_id, account, state)
    SELECT became.id, s.account, 'PRINTED'
    FROM was JOIN became USING (id) JOIN submissions s ON s.id = became.submission_id
    WHERE was.state <> 'PRINTED' AND became.state = 'PRINTED'
        AND NOT EXISTS (SELECT FROM deliveries d WHERE d.row_id = became.id)
    ORDER BY became.id;
    RETURN NULL;
END $$;

CREATE TRIGGER rows_printed AFTER UPDATE ON rows REFERENCING OLD TABLE AS was NEW TABLE AS became
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_printed();

-- What has a state may change but never vanish.
CREATE TRIGGER files_kept BEFORE DELETE OR TRUNCATE ON files
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER rows_kept BEFORE DELETE OR TRUNCATE ON rows
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER packages_kept BEFORE DELETE OR TRUNCATE ON packages
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER deliveries_kept BEFORE DELETE OR TRUNCATE ON deliveries
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();

-- Evidence may not even change.
CREATE TRIGGER audit_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER moves_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON moves
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER print_events_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON print_events
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER hold_decisions_kept BEFORE DELETE OR TRUNCATE ON hold_decisions
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER hold_decisions_fixed BEFORE UPDATE OF id, kind, object_id, record, file_id, decision, by, reason, rules, at
    ON hold_decisions FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER print_events_arrived AFTER INSERT ON print_events REFERENCING NEW TABLE AS arrived
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_print_law();
CREATE TRIGGER return_undos_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON return_undos
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER papers_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON papers
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER transfers_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER appeals_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON appeals
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER appeal_decisions_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON appeal_decisions
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER scores_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON scores
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER silences_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON silences
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER verifications_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON verifications
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER delivery_choices_kept BEFORE DELETE OR TRUNCATE ON delivery_choices
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER delivery_choices_fixed BEFORE UPDATE OF id, file_id, row_no, account, management_no, way ON delivery_choices
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER delivery_events_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON delivery_events
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER delivery_exports_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON delivery_exports
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER pickup_files_kept BEFORE DELETE OR TRUNCATE ON pickup_files
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER pickup_files_fixed BEFORE UPDATE OF id, account, sha256, size, kind, received_at ON pickup_files
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER pickup_links_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON pickup_links
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER pickup_unlinks_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON pickup_unlinks
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();

-- A proof in the register stays as it was issued; only its bundle and its revocation come later.
CREATE TRIGGER proofs_kept BEFORE DELETE OR TRUNCATE ON proofs
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER proofs_fixed BEFORE UPDATE OF id, kind, year, serial, number, code, account, certificate_id, row_id,
    printed, purpose, issued_at, issued_by, sha256, size ON proofs
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();

-- What names a person in evidence may be emptied when its time is over, never written anew.
CREATE TRIGGER delivery_choices_emptied BEFORE UPDATE ON delivery_choices
    FOR EACH ROW WHEN (NEW.recipient || NEW.phone || NEW.postcode || NEW.address <> '') EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER pickup_files_emptied BEFORE UPDATE ON pickup_files
    FOR EACH ROW WHEN (NEW.name <> '') EXECUTE FUNCTION certflow_refuse();
CREATE TRIGGER purged_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON purged
    FOR EACH STATEMENT EXECUTE FUNCTION certflow_refuse();

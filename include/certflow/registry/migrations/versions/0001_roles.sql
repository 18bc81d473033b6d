-- Who may do what (FAULTS §4.5). Four parties: the owner of the tables, who migrates and whom nobody else is;
-- certflow_app_rw, as which the program works; certflow_app_ro, for those who only look; certflow_audit_insert,
-- which alone may append to `moves` and `audit` and as which nobody can log in. The triggers of 0001_ledger.sql still
-- stand before all of them; but only the owner can take a trigger away.

-- Roles belong to the whole server: where its administrator made them already, nothing is made here.
DO $$
DECLARE
    wanted text;
    super boolean := (SELECT rolsuper FROM pg_roles WHERE rolname = current_user);
BEGIN
    FOREACH wanted IN ARRAY ARRAY['certflow_app_rw', 'certflow_app_ro', 'certflow_audit_insert'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- another database of this server was faster
            END;
        END IF;
        IF NOT super AND NOT pg_has_role(current_user, wanted, 'USAGE') THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
        END IF;
    END LOOP;
    -- The login of the embedded server's application.
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'certflow_app') AND NOT pg_has_role('certflow_app', 'certflow_app_rw', 'USAGE') THEN
        GRANT certflow_app_rw TO certflow_app;
    END IF;
END $$;

-- What appends to the chain runs as certflow_audit_insert, with names looked up in our schema only: a temporary table
-- called "audit" changes nothing. Nobody may call these, or hang them on a table of his own, but `certflow_append`.
DO $$
DECLARE
    one text;
    place text := current_schema();
BEGIN
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO certflow_audit_insert', place);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO certflow_app_rw, certflow_app_ro', place);
    FOREACH one IN ARRAY ARRAY[
        'certflow_append(text, jsonb)', 'certflow_move(text, bigint[], text[], text[])', 'certflow_arrived()',
        'certflow_changed()'
    ] LOOP
        EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = %I, pg_temp', one, place);
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', one);
        EXECUTE format('ALTER FUNCTION %s OWNER TO certflow_audit_insert', one);
    END LOOP;
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM certflow_audit_insert', place);
    IF current_setting('server_version_num')::integer >= 170000 THEN
        EXECUTE format('GRANT MAINTAIN ON ALL TABLES IN SCHEMA %I TO certflow_app_rw', place);  -- ANALYZE after a load
    END IF;
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO certflow_app_rw, certflow_app_ro', place);
    EXECUTE format('GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA %I TO certflow_app_rw', place);
END $$;

GRANT EXECUTE ON FUNCTION certflow_append(text, jsonb) TO certflow_app_rw;
GRANT SELECT, INSERT ON audit TO certflow_audit_insert;
GRANT INSERT ON moves TO certflow_audit_insert;
GRANT SELECT ON transitions TO certflow_audit_insert;

-- The application writes neither the chain nor the law, and changes nothing that is evidence.
REVOKE INSERT, UPDATE ON audit, moves, transitions, alembic_version FROM certflow_app_rw;
REVOKE UPDATE ON print_events, return_undos, papers, transfers, appeals, appeal_decisions, scores, silences,
    verifications, delivery_choices, delivery_events, delivery_exports, pickup_files, pickup_links, pickup_unlinks, purged
    FROM certflow_app_rw;
GRANT UPDATE (recipient, phone, postcode, address) ON delivery_choices TO certflow_app_rw;
GRANT UPDATE (name) ON pickup_files TO certflow_app_rw;
REVOKE UPDATE ON hold_decisions, proofs FROM certflow_app_rw;
GRANT UPDATE (told_at) ON hold_decisions TO certflow_app_rw;
GRANT UPDATE (bundle, revoked_at, revoked_by, revoke_reason) ON proofs TO certflow_app_rw;

-- Lines of a return that is read anew; everything else stays.
GRANT DELETE ON return_rows TO certflow_app_rw;

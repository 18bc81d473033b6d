"""What the program's own login may do on the server: append to the evidence, never change it (FAULTS §4.5)."""

import dataclasses

import psycopg
import pytest
from as_owner import as_owner
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from certflow.errors import ConfigurationError
from certflow.registry import open_registry, server
from certflow.registry.doctor import examine
from certflow.registry.ledger import note
from certflow.registry.upgrade import owner
from certflow.settings import Settings

SEALED = ("audit", "moves", "transitions")
EVIDENCE = ("print_events", "transfers", "papers", "appeals", "verifications", "delivery_events", "purged")
FORBIDDEN = [
    "INSERT INTO audit (seq, prev, payload, hash) VALUES (2, '', '{}', '')",
    "INSERT INTO moves (audit_seq, kind, object_id, from_state, to_state) VALUES (1, 'row', 1, '', 'SENT')",
    "INSERT INTO transitions (kind, from_state, to_state) VALUES ('row', 'SENT', 'CLOSED')",
    *(order.format(table) for table in (*SEALED, *EVIDENCE) for order in (
        "DELETE FROM {}", "TRUNCATE {} CASCADE", "ALTER TABLE {} DISABLE TRIGGER ALL", "DROP TABLE {} CASCADE",
        "CREATE RULE quiet AS ON DELETE TO {} DO INSTEAD NOTHING",
    )),
    "UPDATE audit SET payload = '{}'", "UPDATE moves SET to_state = 'X'", "UPDATE transitions SET errand = ''",
    "UPDATE print_events SET serial = ''", "UPDATE transfers SET token = 0", "UPDATE purged SET size = 0",
    "DROP TRIGGER audit_kept ON audit", "DROP TRIGGER rows_changed ON rows",
    "DROP TRIGGER print_events_kept ON print_events",
    "ALTER TRIGGER audit_kept ON audit RENAME TO other",
    "DROP FUNCTION certflow_append(text, jsonb) CASCADE",
    "CREATE OR REPLACE FUNCTION certflow_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "SELECT certflow_move('row', ARRAY[1::bigint], ARRAY['SENT'], ARRAY['PRINTED'])",
    "SET session_replication_role = replica",
    "DELETE FROM rows", "DELETE FROM files", "DELETE FROM certificates", "UPDATE proofs SET printed = '{}'",
    "UPDATE hold_decisions SET by = 'nobody'", "UPDATE pickup_files SET sha256 = ''",
    "UPDATE delivery_choices SET way = 'mail'", "UPDATE alembic_version SET version_num = '0'",
    "CREATE TABLE mine ()", "CREATE ROLE mine SUPERUSER", "ALTER ROLE certflow_app_rw SUPERUSER",
    "GRANT certflow_audit_insert TO CURRENT_USER", "SET ROLE certflow_audit_insert",
]  # fmt: skip


@pytest.fixture
def app(registry, settings, postgres):
    """A registry whose login is the application's own, as in the embedded server and in a well-kept external one."""
    address = make_url(settings.database_url).set(username="certflow_app").render_as_string(hide_password=False)
    with open_registry(Settings(home=settings.home, database_url=address)) as opened:
        yield opened


def test_f48_the_server_refuses_to_the_programs_own_login_whatever_changes_evidence(app, actor):
    with app.begin(actor) as conn:
        note(conn, "something to protect")
    for statement in FORBIDDEN:
        with pytest.raises(DBAPIError) as refused, app.engine.begin() as conn:
            conn.execute(text(statement))
        assert isinstance(refused.value.orig, psycopg.errors.InsufficientPrivilege), (statement, refused.value.orig)


def test_the_login_is_no_owner_and_cannot_become_one(app, settings, actor):
    with app.engine.connect() as conn:
        who = conn.execute(text("SELECT session_user, current_user, rolsuper, rolcreaterole FROM pg_roles"
                                " WHERE rolname = session_user")).one()  # fmt: skip
        assert tuple(who) == ("certflow_app", "certflow_app", False, False)
    for order in ("SET ROLE certflow", "SET SESSION AUTHORIZATION certflow"):
        with pytest.raises(DBAPIError, match="permission denied"), app.engine.begin() as conn:
            conn.execute(text(order))
    assert not any(examine(app, settings).values())


def test_what_it_hangs_on_a_table_of_its_own_or_calls_like_ours_changes_nothing(app, actor):
    for function in ("certflow_arrived", "certflow_changed"):
        with app.engine.begin() as conn:
            conn.execute(text("CREATE TEMP TABLE IF NOT EXISTS forged (id bigint, state text)"))
            with pytest.raises(DBAPIError, match="permission denied for function"):
                conn.execute(text(f"CREATE TRIGGER forging AFTER INSERT ON forged REFERENCING NEW TABLE AS arrived"
                                  f" FOR EACH STATEMENT EXECUTE FUNCTION {function}('row')"))  # fmt: skip
            conn.rollback()
    with app.begin(actor) as conn:
        conn.execute(text("CREATE TEMP TABLE audit (seq bigint, prev text, payload text, hash text) ON COMMIT DROP"))
        conn.execute(text("INSERT INTO pg_temp.audit VALUES (77, '', '', '')"))
        note(conn, "written in our table all the same")
    with app.read() as conn:
        assert conn.scalars(text("SELECT seq FROM audit")).all() == [1]


def test_an_owners_login_works_as_the_application_and_its_migrations_as_the_owner(registry, settings, actor):
    with registry.engine.connect() as conn:
        assert conn.scalar(text("SELECT current_user")) == "certflow_app_rw"
        conn.execute(text("RESET ROLE"))  # ends at what the connection began with
        assert conn.scalar(text("SELECT current_user")) == "certflow_app_rw"
    with pytest.raises(DBAPIError), registry.engine.begin() as conn:
        conn.execute(text("DELETE FROM audit"))
    with owner(settings).connect() as conn:
        assert conn.scalar(text("SELECT current_user")) == "certflow"


def looking(registry, order):
    with as_owner(registry) as conn:
        conn.execute(text("SET LOCAL ROLE certflow_app_ro"))
        conn.execute(text(order))


def test_those_who_only_look_change_nothing(registry, actor):
    with registry.begin(actor) as conn:
        note(conn, "seen")
    with as_owner(registry) as conn:
        conn.execute(text("SET LOCAL ROLE certflow_app_ro"))
        assert conn.scalar(text("SELECT count(*) FROM audit")) == 1
    for order in (
        "INSERT INTO silences (kind, subject, until, by, reason) VALUES ('', '', now(), '', '')",
        "UPDATE rows SET name = ''",
        "SELECT certflow_append('mine', '{}')",
    ):
        with pytest.raises(DBAPIError, match="permission denied"):
            looking(registry, order)


def test_a_login_without_rights_is_told_what_to_set_and_with_the_owners_address_it_migrates(postgres, tmp_path):
    admin = create_engine(server.url(postgres, "postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.execute(text("CREATE DATABASE of_an_owner"))
    try:
        plain = make_url(server.url(postgres, "of_an_owner")).set(username="certflow_app")
        settings = Settings(home=tmp_path, database_url=plain.render_as_string(hide_password=False))
        with pytest.raises(ConfigurationError, match="CERTFLOW_DATABASE_OWNER_URL"):
            open_registry(settings)
        with (
            open_registry(
                dataclasses.replace(settings, database_owner_url=server.url(postgres, "of_an_owner"))
            ) as opened,
            opened.engine.connect() as conn,
        ):
            assert conn.scalar(text("SELECT current_user")) == "certflow_app"
        open_registry(settings).close()  # migrated: the owner's address is not needed any more
    finally:
        with admin.connect() as conn:
            conn.execute(text("DROP DATABASE of_an_owner WITH (FORCE)"))
        admin.dispose()

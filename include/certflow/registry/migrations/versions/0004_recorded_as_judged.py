"""Let a row come into being in the state its judgement gave it; let a move stand without a foreign key.

A row was recorded as JUDGED and moved at once, in the same transaction: the same row was written twice, with eight
indexes and three foreign keys each time, a twentieth of the whole check. Now the trigger records both moves of what
arrives further on; the chain reads as before. `moves` is written by the triggers alone, each with the link they have
just appended, and `registry/chain.py` holds every move against its link.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ARRIVED = """
DO $outer$
BEGIN
    -- Its owner, who alone may append to the chain, stays; what 0001_roles.sql set besides is said again.
    EXECUTE format($head$
        CREATE OR REPLACE FUNCTION certflow_arrived() RETURNS trigger LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = %I, pg_temp AS $body$
        DECLARE
            -- Where such a thing begins; what arrives further on has come through here.
            birth text := TG_ARGV[1];
            ids bigint[];
            befores text[];
            afters text[];
        BEGIN
            SELECT array_agg(id ORDER BY id), array_agg(''::text), array_agg(coalesce(birth, state) ORDER BY id)
            INTO ids, befores, afters FROM arrived;
            IF ids IS NULL THEN
                RETURN NULL;
            END IF;
            PERFORM certflow_move(TG_ARGV[0], ids, befores, afters);
            SELECT array_agg(id ORDER BY id), array_agg(birth), array_agg(state ORDER BY id)
            INTO ids, befores, afters FROM arrived WHERE state <> birth;
            IF ids IS NOT NULL THEN
                PERFORM certflow_move(TG_ARGV[0], ids, befores, afters);
            END IF;
            RETURN NULL;
        END $body$
    $head$, current_schema());
END $outer$
"""


def upgrade() -> None:
    """Replace the trigger of rows and drop the foreign key."""
    op.get_bind().connection.cursor().execute(_ARRIVED)  # the driver's own cursor, as in 0001
    op.execute("DROP TRIGGER rows_arrived ON rows")
    op.execute(
        "CREATE TRIGGER rows_arrived AFTER INSERT ON rows REFERENCING NEW TABLE AS arrived"
        " FOR EACH STATEMENT EXECUTE FUNCTION certflow_arrived('row', 'JUDGED')"
    )
    op.execute("ALTER TABLE moves DROP CONSTRAINT fk_moves_audit_seq")

"""Build the certificate database and the ledger.

The statements stand in three SQL files beside this one, so that a database administrator can read them as
they are; the allowed moves are copied out of `schema.TRANSITIONS`.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from certflow.registry.schema import ERRANDS, TRANSITIONS

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create tables, the law of the ledger, who may do what, and the state graphs."""
    connection = op.get_bind()
    for part in ("0001_tables.sql", "0001_ledger.sql", "0001_roles.sql"):
        # The driver's own cursor: SQLAlchemy's would take the % of format() for parameters.
        connection.connection.cursor().execute(Path(__file__).with_name(part).read_text(encoding="utf-8"))
    connection.execute(
        sa.text(
            "INSERT INTO transitions (kind, from_state, to_state, errand) VALUES (:kind, :before, :after, :errand)"
        ),
        [
            {"kind": kind, "before": before, "after": after, "errand": ERRANDS.get((kind, before, after), "")}
            for kind, graph in TRANSITIONS.items()
            for before, after in graph
        ],
    )

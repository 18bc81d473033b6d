"""Keep with each packed row the serial its certificate had; let two more moves of a delivery happen.

A refresh may bring the new serial before the authority's answer comes (R09); rows packed before have none. What is
overdue at the desk may be mailed, and an order for EMS be taken back before EMS has the paper.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the moves."""
    op.execute("ALTER TABLE package_rows ADD COLUMN serial text")
    op.execute(
        "INSERT INTO transitions (kind, from_state, to_state)"
        " VALUES ('delivery', 'EXPIRED', 'PUSHED'), ('delivery', 'PUSHED', 'PICKUP')"
        " ON CONFLICT DO NOTHING"  # a new database has them already
    )

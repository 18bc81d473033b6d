"""Say of each choice of way when it was made: the same list may come once more, and old ones count for nothing new.

Choices from before have no moment: they were made when their list came. A request that waits for its proof may be
contested by another city (D24). A withdrawn row is followed to the one that took its place.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; its default after it, or it would be written into what was there. And the index of few rows."""
    op.execute("ALTER TABLE delivery_choices ADD COLUMN made_at timestamp with time zone")
    op.execute("ALTER TABLE delivery_choices ALTER COLUMN made_at SET DEFAULT now()")
    op.execute(
        "INSERT INTO transitions (kind, from_state, to_state) VALUES ('row', 'PROOF', 'WITHDRAWN')"
        " ON CONFLICT DO NOTHING"  # a new database has it already
    )
    op.execute("CREATE INDEX ix_rows_replaces ON rows (replaces) WHERE replaces IS NOT NULL")

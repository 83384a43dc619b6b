"""Calls that were left open are looked for now and then."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE INDEX calls_left_open ON calls (work_key)
         WHERE state IN ('reserving', 'calling') OR NOT told_ledger AND state <> 'denied'
        """
    )


def downgrade() -> None:
    """Released data is not thrown away by a migration."""
    raise NotImplementedError("restore a backup instead")

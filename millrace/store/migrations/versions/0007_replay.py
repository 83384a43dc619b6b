"""Which record a job's state comes from, so that reading all of them once more changes nothing."""

from alembic import op

revision = "0007"
down_revision = "0005"

UPGRADE = """
-- The turn of the record that the state comes from (millrace/store/turns.py): what came before changes nothing.
ALTER TABLE jobs
    ADD COLUMN asked_at timestamptz,
    ADD COLUMN waited_at timestamptz NOT NULL DEFAULT 'epoch';
"""


def upgrade() -> None:
    """Add the columns."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Released data is not thrown away by a migration."""
    raise NotImplementedError("restore a backup instead")

"""Shares that people have cancelled."""

from alembic import op

revision = "0007"
down_revision = "0006"

UPGRADE = """
-- A job at rest is cancelled at once, one that runs when its worker has stopped it: `cancelled_at` says since when.
-- `status_due`: the state was written by a cancel, and a worker of the stage shall tell it on task.status.
ALTER TABLE jobs
    DROP CONSTRAINT jobs_state_check,
    ADD CONSTRAINT jobs_state_check
        CHECK (state IN ('queued','running','waiting','parked','done','skipped','failed','cancelled')),
    ADD COLUMN cancelled_at timestamptz,
    ADD COLUMN status_due boolean NOT NULL DEFAULT false;
CREATE INDEX jobs_to_cancel ON jobs (stage) WHERE status_due OR (cancelled_at IS NOT NULL AND state = 'running');
"""


def upgrade() -> None:
    """Add the columns."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Released data is not thrown away by a migration."""
    raise NotImplementedError("restore a backup instead")

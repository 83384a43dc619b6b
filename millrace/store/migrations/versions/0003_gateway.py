"""What the gateway needs to recognise a repeated request."""

from alembic import op

revision = "0003"
down_revision = "0002"

UPGRADE = """
ALTER TABLE shares
    ADD COLUMN idempotency_key text,
    ADD COLUMN request_hash text;  -- of what was shared: the same key with something else is refused
CREATE UNIQUE INDEX shares_idempotency ON shares (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
"""


def upgrade() -> None:
    """Add the columns."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Released data is not thrown away by a migration."""
    raise NotImplementedError("restore a backup instead")

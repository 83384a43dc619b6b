"""Which fetched content is kept, and under which key."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE media_objects (
            sha256     text PRIMARY KEY,
            blob_key   text NOT NULL,
            size_bytes bigint NOT NULL,
            stored_at  timestamptz NOT NULL
        )
        """
    )


def downgrade() -> None:
    """Released data is not thrown away by a migration."""
    raise NotImplementedError("restore a backup instead")

"""What was extracted from pages of the web is kept for an hour."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE extractions (
    url_hash             text PRIMARY KEY,      -- the URL itself may hold what nobody else should read
    info                 jsonb NOT NULL,        -- what yt-dlp needs to download it: format, addresses, headers
    extracted_at         timestamptz NOT NULL
);
CREATE INDEX extractions_by_age ON extractions (extracted_at);
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Released data is not thrown away by a migration."""
    raise NotImplementedError("restore a backup instead")

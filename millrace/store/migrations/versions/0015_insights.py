"""What a share's text is like: language, quality and the signature by which near-duplicates are found."""

from alembic import op

revision = "0015"
down_revision = "0014"

UPGRADE = """
-- Of the text behind embed work, whoever shares it, and whether it was embedded or skipped. `version` is that of all
-- rules together: rows of another one are made anew.
CREATE TABLE insights (
    work_key  text PRIMARY KEY REFERENCES work ON DELETE CASCADE,
    version   text NOT NULL,
    language  text,
    quality   double precision NOT NULL,
    parts     jsonb NOT NULL,
    signature integer[],
    bands     integer[]
);
CREATE INDEX insights_bands ON insights USING gin (bands);

-- What has been finished since somebody looked.
CREATE INDEX work_embedded ON work (finished_at) WHERE stage = 'embed';
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Released data is not thrown away by a migration."""
    raise NotImplementedError("restore a backup instead")

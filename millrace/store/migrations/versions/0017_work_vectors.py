"""One vector for all of a piece of work, for searches that look for shares first."""

from alembic import op

revision = "0017"
down_revision = "0015"

UPGRADE = """
-- No agent of the version before writes meanwhile.
LOCK TABLE chunks IN SHARE ROW EXCLUSIVE MODE;

-- Made of the vectors of the work's texts, without a call of a model; of length 1.
CREATE TABLE work_vectors (
    work_key       text NOT NULL REFERENCES work ON DELETE CASCADE,
    embedding_type text NOT NULL,
    model          text NOT NULL,
    dimensions     integer NOT NULL,
    embedding      halfvec NOT NULL,
    PRIMARY KEY (work_key, embedding_type)
);
-- Beside the row's other columns as far as it fits, so that a scan reads no second table.
ALTER TABLE work_vectors ALTER COLUMN embedding SET STORAGE MAIN;

-- What was embedded before has no summary: the mean of its passages stands for it.
INSERT INTO work_vectors (work_key, embedding_type, model, dimensions, embedding)
SELECT c.work_key, 'composite', c.model, e.dimensions, l2_normalize(avg(e.embedding))
  FROM chunks c JOIN embeddings e ON e.model = c.model AND e.content_hash = c.content_hash
 WHERE c.embedding_type = 'content' GROUP BY c.work_key, c.model, e.dimensions
ON CONFLICT DO NOTHING;
"""


def upgrade() -> None:
    """Make the table, and the vectors of what there is."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Released data is not thrown away by a migration."""
    raise NotImplementedError("restore a backup instead")

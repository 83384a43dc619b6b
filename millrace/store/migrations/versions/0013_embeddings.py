"""Vectors once for each text and model, apart from the chunks that have the text."""

from alembic import op

revision = "0013"
down_revision = "0012"

UPGRADE = """
-- No agent of the version before writes meanwhile.
LOCK TABLE chunks IN SHARE ROW EXCLUSIVE MODE;

-- What a model has made of a text, whoever shares it: bought once. Of length 1, as half floats: half the space, and
-- the same neighbours.
CREATE TABLE embeddings (
    model        text NOT NULL,
    content_hash text NOT NULL,
    dimensions   integer NOT NULL,
    embedding    halfvec NOT NULL,
    embedded_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model, content_hash)
);
-- Beside the row's other columns as far as it fits, so that a scan reads no second table.
ALTER TABLE embeddings ALTER COLUMN embedding SET STORAGE MAIN;

-- What there are indexes of.
CREATE TABLE embedding_models (
    model      text NOT NULL,
    dimensions integer NOT NULL,
    PRIMARY KEY (model, dimensions)
);

INSERT INTO embeddings (model, content_hash, dimensions, embedding)
SELECT DISTINCT ON (model, content_hash) model, content_hash, vector_dims(embedding), l2_normalize(embedding)::halfvec
  FROM chunks;

INSERT INTO embedding_models SELECT DISTINCT model, dimensions FROM embeddings;

ALTER TABLE chunks
    DROP COLUMN embedding,
    ADD FOREIGN KEY (model, content_hash) REFERENCES embeddings;
CREATE INDEX chunks_by_content ON chunks (model, content_hash);
"""


def upgrade() -> None:
    """Move the vectors."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Released data is not thrown away by a migration."""
    raise NotImplementedError("restore a backup instead")

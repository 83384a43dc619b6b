"""Texts that wait to be embedded in one call with those of other shares, and who pays how much of such a call."""

from alembic import op

revision = "0014"
down_revision = "0013"

UPGRADE = """
-- What a piece of work wants embedded. It goes with a call of its own work, or is taken along by another's: claimed,
-- so that no third one buys it, too. Bought rows stay until the work is done.
CREATE TABLE pending_texts (
    work_key     text NOT NULL,
    content_hash text NOT NULL,
    model        text NOT NULL,
    account      text NOT NULL,
    share_id     text NOT NULL,
    text         text NOT NULL,
    tokens       integer NOT NULL,
    not_before   timestamptz NOT NULL,
    due          timestamptz NOT NULL,
    claimed_by   text,
    failures     integer NOT NULL DEFAULT 0,
    alone        boolean NOT NULL DEFAULT false,
    bought_at    timestamptz,
    added_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (work_key, content_hash)
);
-- The statistics of a table that fills and empties are never right: for each question there is one index that fits,
-- and no second that looks as good to a planner that knows nothing of this model or account.
CREATE INDEX pending_texts_open ON pending_texts (model, account, due)
 WHERE claimed_by IS NULL AND bought_at IS NULL AND NOT alone;
CREATE INDEX pending_texts_newest ON pending_texts (added_at);
CREATE INDEX pending_texts_by_text ON pending_texts USING hash (content_hash);
CREATE INDEX pending_texts_claimed ON pending_texts USING hash (claimed_by) WHERE bought_at IS NULL;

-- What a call has cost, by the works whose texts were in it: the parts of a call add up to it.
CREATE TABLE call_parts (
    request_id     text NOT NULL,
    work_key       text NOT NULL,
    share_id       text NOT NULL,
    tokens         integer NOT NULL,
    cost_micro_usd bigint NOT NULL,
    PRIMARY KEY (request_id, work_key)
);
CREATE INDEX call_parts_by_work ON call_parts (work_key);
"""


def upgrade() -> None:
    """Add the tables."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Released data is not thrown away by a migration."""
    raise NotImplementedError("restore a backup instead")

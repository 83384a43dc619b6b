"""Dead letters as the API shows them, and attempt budgets that a redrive or a replay gives anew."""

from alembic import op

revision = "0006"
down_revision = "0005"

UPGRADE = """
-- What lies on the dead-letter topics, each round of tries once, and what people decided about it.
CREATE TABLE dead_letters (
    seq              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- their order
    id               text NOT NULL UNIQUE,
    topic            text NOT NULL,
    "partition"      integer NOT NULL,
    "offset"         bigint NOT NULL,
    stage            text NOT NULL,
    share_id         text,
    origin_topic     text,
    origin_partition integer,
    origin_offset    bigint,
    key              bytea NOT NULL,
    value            bytea NOT NULL,
    headers          jsonb NOT NULL,  -- the original ones, values in base64
    options          jsonb,
    error            text NOT NULL,
    reason           text NOT NULL,
    stack            text NOT NULL,
    attempts         integer NOT NULL,
    work_key         text,
    service          text NOT NULL,
    died_at          timestamptz NOT NULL,
    state            text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'redriven', 'discarded')),
    changed_at       timestamptz,
    changed_by       text,
    UNIQUE (topic, "partition", "offset")
);
CREATE INDEX dead_letters_open ON dead_letters (stage, error, seq) WHERE state = 'open';
CREATE INDEX dead_letters_by_share ON dead_letters (share_id);

-- Which rounds of tries have been given a fresh budget of attempts, for a piece of work (its key) or for a job
-- (share|stage): each once, for ever.
CREATE TABLE fresh_rounds (
    subject  text NOT NULL,
    round    text NOT NULL,
    given_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subject, round)
);

-- Whether a call uses up the attempt budget of its work.
ALTER TABLE calls ADD COLUMN counted boolean NOT NULL DEFAULT true;
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(UPGRADE)

"""Shares, outbox, jobs, work, calls, waiting work and the chunks that search reads."""

from alembic import op

revision = "0001"
down_revision = None

UPGRADE = """
CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE shares (
    share_id     text PRIMARY KEY,
    account      text NOT NULL,
    owner        text NOT NULL,
    source_kind  text NOT NULL,
    url          text,
    blob_key     text,
    text         text,
    filename     text,
    platform     text NOT NULL,
    content_type text NOT NULL,
    title        text,
    description  text,
    language     text,
    tags         text[] NOT NULL DEFAULT '{}',
    options      jsonb NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL
);
CREATE INDEX shares_newest ON shares (owner, created_at DESC);

-- Events accepted but not yet confirmed by Kafka; written with the row they tell about.
CREATE TABLE outbox (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic      text NOT NULL,
    key        bytea,
    value      bytea NOT NULL,
    headers    jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);

-- A piece of work: named by stage, content, model and parameters; many shares may need the same one.
CREATE TABLE work (
    work_key    text PRIMARY KEY,
    stage       text NOT NULL,
    owner       text,
    fence       bigint NOT NULL DEFAULT 0,
    lease_until timestamptz,
    result      jsonb,
    cost_micro_usd bigint NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CHECK ((result IS NULL) = (finished_at IS NULL))
);

-- A share's stage: which work it needs and where it stands.
CREATE TABLE jobs (
    share_id         text NOT NULL,
    stage            text NOT NULL,
    account          text NOT NULL,
    work_key         text,
    state            text NOT NULL CHECK (state IN ('queued','running','waiting','parked','done','skipped','failed')),
    reason           text,
    progress         double precision,
    resume_at        timestamptz,
    needed_micro_usd bigint,
    left_micro_usd   bigint,
    cap              text,
    attempt          integer NOT NULL DEFAULT 0,
    model            text,
    cost_micro_usd   bigint NOT NULL DEFAULT 0,
    published        boolean NOT NULL DEFAULT false,
    updated_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (share_id, stage)
);
CREATE INDEX jobs_by_work ON jobs (work_key);
CREATE INDEX jobs_by_state ON jobs (stage, state);

-- One provider call of a piece of work at one attempt, and the hold of money behind it.
CREATE TABLE calls (
    request_id       text PRIMARY KEY,
    work_key         text NOT NULL,
    call_no          integer NOT NULL,
    attempt          integer NOT NULL,
    account          text NOT NULL,
    scope            text NOT NULL,
    share_id         text NOT NULL,
    model            text NOT NULL,
    state            text NOT NULL
        CHECK (state IN ('reserving','calling','answered','settled','denied','abandoned','released','unconfirmed')),
    told_ledger      boolean NOT NULL DEFAULT false,
    hold_micro_usd   bigint NOT NULL,
    actual_micro_usd bigint,
    answer           jsonb,
    reason           text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    called_at        timestamptz,
    answered_at      timestamptz,
    settled_at       timestamptz,
    UNIQUE (work_key, call_no, attempt)
);
CREATE INDEX calls_by_share ON calls (share_id);

-- Work that waits for its time: back-off, or a budget window with room.
CREATE TABLE waiting (
    seq      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    due      timestamptz NOT NULL,
    stage    text NOT NULL,
    share_id text NOT NULL,
    account  text NOT NULL,
    scope    text NOT NULL,
    topic    text NOT NULL,
    key      bytea,
    value    bytea NOT NULL,
    headers  jsonb NOT NULL DEFAULT '{}',
    UNIQUE (share_id, stage)
);
CREATE INDEX waiting_due ON waiting (stage, due, seq);

-- What search reads. Chunks belong to work, not to a share: the same words shared twice are stored once.
CREATE TABLE chunks (
    work_key       text NOT NULL REFERENCES work ON DELETE CASCADE,
    chunk_no       integer NOT NULL,
    embedding_type text NOT NULL,
    model          text NOT NULL,
    content_hash   text NOT NULL,
    text           text NOT NULL,
    start_ms       bigint,
    end_ms         bigint,
    tokens         integer NOT NULL,
    embedding      vector NOT NULL,
    words          tsvector GENERATED ALWAYS AS (to_tsvector('simple', text)) STORED,
    PRIMARY KEY (work_key, embedding_type, chunk_no)
);
CREATE INDEX chunks_words ON chunks USING gin (words);
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Released data is not thrown away by a migration."""
    raise NotImplementedError("restore a backup instead")

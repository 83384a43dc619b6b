"""What analytics reads: units of finished work as columns, and indexes that hold whole answers."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

UPGRADE = """
-- A number in a result, whatever a stage or a model has put there; 15 digits keep sums far below an overflow.
CREATE FUNCTION whole_number(value jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN jsonb_typeof(value) = 'number' AND value #>> '{}' ~ '^[0-9]{1,15}$'
                THEN (value #>> '{}')::bigint END
$$;

-- Results hold whole transcripts: sums over them would read every one. These are worked out once, when it is stored.
ALTER TABLE work
    ADD COLUMN used_model text GENERATED ALWAYS AS (left(result ->> 'model', 300)) STORED,
    ADD COLUMN used_backend text GENERATED ALWAYS AS (left(result ->> 'backend', 20)) STORED,
    ADD COLUMN used_tokens bigint GENERATED ALWAYS AS
        (coalesce(whole_number(result -> 'tokens'),
                  whole_number(result -> 'tokens_in') + whole_number(result -> 'tokens_out'))) STORED,
    ADD COLUMN used_audio_ms bigint GENERATED ALWAYS AS (whole_number(result -> 'billed_ms')) STORED;
CREATE INDEX work_finished ON work (stage, finished_at)
    INCLUDE (created_at, used_model, used_backend, used_tokens, used_audio_ms) WHERE finished_at IS NOT NULL;

-- An entry of an index has at most 2,704 bytes, and anybody who may write to cost.requests chooses these names.
ALTER TABLE ledger_entries
    ADD COLUMN account_short text GENERATED ALWAYS AS (left(account, 100)) STORED,
    ADD COLUMN model_short text GENERATED ALWAYS AS (left(model, 100)) STORED;
CREATE INDEX ledger_entries_costs ON ledger_entries (scope, hour_start)
    INCLUDE (day_start, account_short, model_short, settled_change, held_change, unconfirmed_change, overrun_change,
             calls_change)
    WHERE hour_start IS NOT NULL;
-- One entry a call, in the order in which calls were granted.
CREATE INDEX ledger_entries_granted ON ledger_entries (scope, decided_at, partition, request_offset)
    WHERE calls_change = 1;
CREATE INDEX dead_letters_by_time ON dead_letters (died_at);
CREATE INDEX shares_by_time ON shares (created_at) INCLUDE (owner);
"""


def upgrade() -> None:
    """Add the columns and the indexes; works are rewritten, so their agents wait meanwhile."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Released data is not thrown away by a migration."""
    raise NotImplementedError("restore a backup instead")

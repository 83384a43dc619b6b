"""Replays: which record a job's state comes from, and how far each replay is. Checkpoints of work."""

from alembic import op

revision = "0008"
down_revision = "0007"

UPGRADE = """
-- The turn of the record that the state comes from (millrace/store/turns.py): what came before changes nothing.
ALTER TABLE jobs
    ADD COLUMN asked_at timestamptz,
    ADD COLUMN waited_at timestamptz NOT NULL DEFAULT 'epoch',
    ADD COLUMN told_at timestamptz;  -- when the share got the result of this work

-- What an unfinished piece of work has done so far, for its next owner.
ALTER TABLE work ADD COLUMN checkpoint jsonb;

-- A stage shall work on old events again. `asked_at` is the turn of all its commands, so that jobs tell what came of
-- them; `stretches` are offsets of the events' topics, and how far each of them is published.
CREATE TABLE replays (
    replay_id   text PRIMARY KEY,
    stage       text NOT NULL,
    asked_at    timestamptz NOT NULL,
    options     jsonb NOT NULL,
    shares      text[],
    stretches   jsonb NOT NULL,
    commands    integer NOT NULL,
    published   integer NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
"""


def upgrade() -> None:
    """Add the columns and the table."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Released data is not thrown away by a migration."""
    raise NotImplementedError("restore a backup instead")

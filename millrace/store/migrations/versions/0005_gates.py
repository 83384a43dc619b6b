"""Gates: what one refused budget or failing provider holds back, and how much of it may go on."""

from alembic import op

revision = "0005"
down_revision = "0004"

UPGRADE = """
-- One row a stage and budget or model that has held work back. Amounts are those that the ledger named; without them
-- everything is held back.
CREATE TABLE gates (
    stage            text NOT NULL,
    name             text NOT NULL,
    until            timestamptz NOT NULL,
    credits          integer NOT NULL,
    closings         integer NOT NULL,
    needed_micro_usd bigint,
    left_micro_usd   bigint,
    cap              text,
    cap_micro_usd    bigint,
    moved_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stage, name)
);

ALTER TABLE waiting ADD COLUMN gate text;
DROP INDEX waiting_due;
CREATE INDEX waiting_due ON waiting (stage, gate, due, seq);
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(UPGRADE)

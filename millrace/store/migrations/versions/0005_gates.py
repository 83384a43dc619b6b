"""Gates: what one refused budget or failing provider holds back, and how much of it may go on."""

from alembic import op

revision = "0005"
down_revision = "0004"

UPGRADE = """
-- One row a stage and budget or model that has held work back. Amounts are those that the ledger named; without them
-- everything is held back. Of what waits behind it, `allowed` may be under way at a time.
CREATE TABLE gates (
    stage            text NOT NULL,
    name             text NOT NULL,
    until            timestamptz NOT NULL,
    allowed          integer NOT NULL,
    under_way        integer NOT NULL DEFAULT 0,
    closings         integer NOT NULL,
    needed_micro_usd bigint,
    left_micro_usd   bigint,
    cap              text,
    cap_micro_usd    bigint,
    moved_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stage, name)
);

-- Its place among those that are due at the same time: that of the first time it had to wait.
CREATE SEQUENCE waiting_place;
ALTER TABLE waiting ADD COLUMN gate text, ADD COLUMN place bigint NOT NULL DEFAULT nextval('waiting_place');
ALTER SEQUENCE waiting_place OWNED BY waiting.place;
DROP INDEX waiting_due;
CREATE INDEX waiting_due ON waiting (stage, gate, due, place);
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(UPGRADE)

"""Alerts about budgets, for whoever asks the API."""

from alembic import op

revision = "0004"
down_revision = "0003"

UPGRADE = """
-- What is on cost.alerts, each alert once. Amounts are micro-US-dollars.
CREATE TABLE ledger_alerts (
    seq                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- their order
    alert_id             text NOT NULL UNIQUE,                             -- the event's id
    account              text NOT NULL,
    scope                text NOT NULL,
    "window"             text NOT NULL,
    start                timestamptz NOT NULL,
    kind                 text NOT NULL,
    percent              integer NOT NULL,
    used_micro_usd       bigint NOT NULL,
    cap_micro_usd        bigint NOT NULL,
    exhausted_at         timestamptz,
    raised_at            timestamptz NOT NULL
);
CREATE INDEX ledger_alerts_by_account ON ledger_alerts (account, seq);
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Released data is not thrown away by a migration."""
    raise NotImplementedError("restore a backup instead")

"""The cost ledger's journal: one row a decision, and what it comes to by hour and by day."""

from alembic import op

revision = "0002"
down_revision = "0001"

UPGRADE = """
-- Append-only: one entry a decision, at its place in the logs. Amounts are micro-US-dollars; the *_change columns are
-- what the decision did to the sums of its hour and day, so that sums over entries are the spend.
CREATE TABLE ledger_entries (
    partition            integer NOT NULL,
    request_offset       bigint NOT NULL,
    decision_offset      bigint NOT NULL,
    request_id           text NOT NULL,
    op                   text NOT NULL,
    outcome              text NOT NULL,
    previous             text,
    account              text NOT NULL,
    scope                text NOT NULL,
    hour_start           timestamptz,
    day_start            timestamptz,
    amount_micro_usd     bigint NOT NULL,
    actual_micro_usd     bigint NOT NULL,
    overrun_micro_usd    bigint NOT NULL,
    settled_change       bigint NOT NULL,
    held_change          bigint NOT NULL,
    unconfirmed_change   bigint NOT NULL,
    overrun_change       bigint NOT NULL,
    calls_change         bigint NOT NULL,
    denied_by            text,
    left_micro_usd       bigint,
    cap_micro_usd        bigint,
    cap_window           text,
    cap_mode             text,
    room_at              timestamptz,
    share_id             text,
    model                text,
    work_key             text,
    reason               text,
    decided_at           timestamptz NOT NULL,
    PRIMARY KEY (partition, request_offset)
);
CREATE INDEX ledger_entries_by_hour ON ledger_entries (account, hour_start) WHERE hour_start IS NOT NULL;
CREATE INDEX ledger_entries_by_day ON ledger_entries (account, day_start) WHERE day_start IS NOT NULL;
CREATE INDEX ledger_entries_by_request ON ledger_entries (request_id);
CREATE INDEX ledger_entries_by_share ON ledger_entries (share_id) WHERE share_id IS NOT NULL;
CREATE INDEX ledger_entries_caps ON ledger_entries (account, scope, cap_window, decided_at)
    WHERE outcome = 'cap-changed';

CREATE FUNCTION ledger_entries_are_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger journal is append-only';
END
$$;
CREATE TRIGGER ledger_entries_append_only BEFORE UPDATE OR DELETE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_entries_are_final();

-- Spend by scope, and by account as scope 'total'.
CREATE VIEW ledger_hourly AS
SELECT account, coalesce(scope, 'total') AS scope, hour_start AS start,
       sum(settled_change)::bigint AS settled_micro_usd, sum(held_change)::bigint AS held_micro_usd,
       sum(unconfirmed_change)::bigint AS unconfirmed_micro_usd, sum(overrun_change)::bigint AS overrun_micro_usd,
       sum(calls_change)::bigint AS calls
FROM ledger_entries WHERE hour_start IS NOT NULL
GROUP BY GROUPING SETS ((account, scope, hour_start), (account, hour_start));

CREATE VIEW ledger_daily AS
SELECT account, coalesce(scope, 'total') AS scope, day_start AS start,
       sum(settled_change)::bigint AS settled_micro_usd, sum(held_change)::bigint AS held_micro_usd,
       sum(unconfirmed_change)::bigint AS unconfirmed_micro_usd, sum(overrun_change)::bigint AS overrun_micro_usd,
       sum(calls_change)::bigint AS calls
FROM ledger_entries WHERE day_start IS NOT NULL
GROUP BY GROUPING SETS ((account, scope, day_start), (account, day_start));

-- Caps in force. Those of account 'default' hold for every account without its own; NULL is "no cap".
CREATE VIEW ledger_caps AS
SELECT DISTINCT ON (account, scope, cap_window)
       account, scope, cap_window AS "window", cap_micro_usd, cap_mode AS mode, decided_at AS since
FROM ledger_entries WHERE outcome = 'cap-changed'
ORDER BY account, scope, cap_window, decided_at DESC, request_offset DESC;
"""


def upgrade() -> None:
    """Create the journal and its views."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Released data is not thrown away by a migration."""
    raise NotImplementedError("restore a backup instead")

"""Sums of the ledger's journal that are kept beside its entries: by hour and model, and by hour and share.

Beside them indexes for what else analytics reads: parts of calls and jobs by time.
"""

from alembic import op

revision = "0023"
down_revision = "0022"

UPGRADE = """
-- Nobody appends while what is there is added up, and columns of it go at the end.
LOCK TABLE ledger_entries IN ACCESS EXCLUSIVE MODE;

-- '' is for entries that name no model, or no share. An entry of an index has at most 2,704 bytes, and anybody who
-- may write to cost.requests chooses these names: they are cut. The account, which lives in one partition, is in both
-- keys, so that a row has the one writer that its partition has. No column that changes has an index, and pages have
-- room: updates are in place (HOT).
CREATE TABLE ledger_costs (
    hour_start  timestamptz NOT NULL,
    scope       text NOT NULL,
    account     text NOT NULL,
    model       text NOT NULL,
    day_start   timestamptz NOT NULL,
    settled     bigint NOT NULL,
    held        bigint NOT NULL,
    unconfirmed bigint NOT NULL,
    overrun     bigint NOT NULL,
    calls       bigint NOT NULL,
    PRIMARY KEY (hour_start, scope, account, model, day_start)
) WITH (fillfactor = 70);

-- By share and not by who shared: an owner is not in the log, and nobody is one whose share was deleted.
CREATE TABLE ledger_use (
    hour_start timestamptz NOT NULL,
    account    text NOT NULL,
    share_id   text NOT NULL,
    day_start  timestamptz NOT NULL,
    settled    bigint NOT NULL,
    calls      bigint NOT NULL,
    PRIMARY KEY (hour_start, account, share_id, day_start)
) WITH (fillfactor = 70);

-- What they must be: for an audit and a rebuild, and for what is here already.
CREATE VIEW ledger_costs_of_entries AS
SELECT hour_start, left(scope, 100) AS scope, left(account, 100) AS account, left(coalesce(model, ''), 100) AS model,
       day_start, sum(settled_change)::bigint AS settled, sum(held_change)::bigint AS held,
       sum(unconfirmed_change)::bigint AS unconfirmed, sum(overrun_change)::bigint AS overrun,
       sum(calls_change)::bigint AS calls
  FROM ledger_entries WHERE hour_start IS NOT NULL
 GROUP BY 1, 2, 3, 4, 5;
CREATE VIEW ledger_use_of_entries AS
SELECT hour_start, left(account, 100) AS account, left(coalesce(share_id, ''), 100) AS share_id, day_start,
       sum(settled_change)::bigint AS settled, sum(calls_change)::bigint AS calls
  FROM ledger_entries WHERE hour_start IS NOT NULL
 GROUP BY 1, 2, 3, 4;
INSERT INTO ledger_costs SELECT * FROM ledger_costs_of_entries;
INSERT INTO ledger_use SELECT * FROM ledger_use_of_entries;

-- Whatever appends entries, in whatever way, changes the sums in the same transaction, by the entries that it did
-- append: those that were there already are not in `appended`. In the order of the keys: who waits for a row has none
-- that comes after it.
CREATE FUNCTION add_up_ledger_entries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger_costs AS kept
    SELECT hour_start, left(scope, 100), left(account, 100), left(coalesce(model, ''), 100), day_start,
           sum(settled_change), sum(held_change), sum(unconfirmed_change), sum(overrun_change), sum(calls_change)
      FROM appended WHERE hour_start IS NOT NULL
     GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT (hour_start, scope, account, model, day_start) DO UPDATE
       SET settled = kept.settled + excluded.settled, held = kept.held + excluded.held,
           unconfirmed = kept.unconfirmed + excluded.unconfirmed, overrun = kept.overrun + excluded.overrun,
           calls = kept.calls + excluded.calls
     WHERE (excluded.settled, excluded.held, excluded.unconfirmed, excluded.overrun, excluded.calls)
        <> (0, 0, 0, 0, 0);
    INSERT INTO ledger_use AS kept
    SELECT hour_start, left(account, 100), left(coalesce(share_id, ''), 100), day_start,
           sum(settled_change), sum(calls_change)
      FROM appended WHERE hour_start IS NOT NULL
     GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (hour_start, account, share_id, day_start) DO UPDATE
       SET settled = kept.settled + excluded.settled, calls = kept.calls + excluded.calls
     WHERE (excluded.settled, excluded.calls) <> (0, 0);
    RETURN NULL;
END
$$;
CREATE TRIGGER ledger_entries_added_up AFTER INSERT ON ledger_entries REFERENCING NEW TABLE AS appended
    FOR EACH STATEMENT EXECUTE FUNCTION add_up_ledger_entries();

-- Answers came from these until now.
DROP INDEX ledger_entries_costs;
ALTER TABLE ledger_entries DROP COLUMN account_short, DROP COLUMN model_short;

-- Parts are written after their call was granted: those of a window's calls are found by when. Of what is here
-- already nobody knows any more, so it counts as new.
ALTER TABLE call_parts ADD COLUMN added_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX call_parts_by_time ON call_parts (added_at);

CREATE INDEX jobs_by_time ON jobs (updated_at) INCLUDE (stage, state, attempt);
"""


def upgrade() -> None:
    """Add the sums and what keeps them; the ledger's journal waits meanwhile."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Released data is not thrown away by a migration."""
    raise NotImplementedError("restore a backup instead")

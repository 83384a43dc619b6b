"""What lists of shares and those who watch them read: jobs by owner and state, and what has changed since."""

from alembic import op

revision = "0021"
down_revision = "0020"

UPGRADE = """
-- In the order in which shares are accepted: who does that waits, and is not waited for.
LOCK TABLE shares, jobs IN SHARE ROW EXCLUSIVE MODE;

CREATE INDEX shares_in_order ON shares (owner, created_at DESC, share_id DESC);
DROP INDEX shares_newest;

-- `owner` and `shared_at` are the share's, so that the few jobs that are not done are found in the list's order.
-- `changed` is the transaction that wrote the row last: with it a reader knows whether its snapshot had the change,
-- which a time does not tell: what begins first may commit last.
ALTER TABLE jobs
    ADD COLUMN owner text,
    ADD COLUMN shared_at timestamptz,
    ADD COLUMN changed xid8 NOT NULL DEFAULT pg_current_xact_id();
UPDATE jobs SET owner = s.owner, shared_at = s.created_at FROM shares s WHERE s.share_id = jobs.share_id;
CREATE INDEX jobs_unfinished ON jobs (owner, state, shared_at DESC, share_id DESC)
 WHERE state NOT IN ('done', 'skipped');
CREATE INDEX jobs_changed ON jobs (changed);

CREATE FUNCTION stamp_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed := pg_current_xact_id();
    RETURN NEW;
END
$$;
CREATE TRIGGER jobs_stamped BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION stamp_job();

-- After an insert, which an upsert of a row that is there is not: a share's first jobs are written with both.
CREATE FUNCTION own_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE jobs SET owner = s.owner, shared_at = s.created_at
      FROM shares s
     WHERE s.share_id = NEW.share_id AND (jobs.share_id, jobs.stage) = (NEW.share_id, NEW.stage);
    RETURN NULL;
END
$$;
CREATE TRIGGER jobs_owned AFTER INSERT ON jobs FOR EACH ROW WHEN (NEW.owner IS NULL) EXECUTE FUNCTION own_job();
"""


def upgrade() -> None:
    """Add the columns, the indexes and what fills them."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Released data is not thrown away by a migration."""
    raise NotImplementedError("restore a backup instead")

"""Shares that people have deleted: that nothing of them comes back, and what is still to be removed."""

from alembic import op

revision = "0022"
down_revision = "0021"

UPGRADE = """
-- In the order in which shares are accepted: who does that waits, and is not waited for.
LOCK TABLE shares, jobs IN SHARE ROW EXCLUSIVE MODE;

-- A message without a value is a tombstone: whoever holds something of its key removes it. A partition is named where
-- keys are not what a topic is partitioned by.
ALTER TABLE outbox
    ALTER COLUMN value DROP NOT NULL,
    ADD COLUMN "partition" integer;

-- For ever, so that no record that is delivered or replayed later brings a share back. Without any of its content.
-- `changed` is the transaction that deleted it, as in `jobs`: whoever watches shares finds it by that.
CREATE TABLE deleted_shares (
    share_id   text PRIMARY KEY,
    owner      text NOT NULL,
    deleted_at timestamptz NOT NULL DEFAULT now(),
    changed    xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX deleted_shares_changed ON deleted_shares (changed);

-- Work of deleted shares whose content is removed, as long as nobody else needs it: looked at when it is due, again
-- and again for some days, because a worker that was paused may write to it late.
CREATE TABLE deleted_work (
    work_key text PRIMARY KEY,
    since    timestamptz NOT NULL DEFAULT now(),
    due      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX deleted_work_due ON deleted_work (due);

-- Files that nobody may refer to any more; each is looked at when it is due, and removed if so.
CREATE TABLE deleted_blobs (
    blob_key text PRIMARY KEY,
    due      timestamptz NOT NULL
);
CREATE INDEX deleted_blobs_due ON deleted_blobs (due);

-- Uploads that are on their way into a share: until then their files are left alone.
CREATE TABLE uploads_under_way (
    blob_key text PRIMARY KEY,
    until    timestamptz NOT NULL
);

-- Work that a job had before it was asked for other work: with the share that goes, too.
CREATE TABLE earlier_work (
    share_id text NOT NULL,
    work_key text NOT NULL,
    PRIMARY KEY (share_id, work_key)
);
CREATE INDEX earlier_work_by_work ON earlier_work (work_key);

CREATE FUNCTION keep_earlier_work() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO earlier_work (share_id, work_key) VALUES (OLD.share_id, OLD.work_key) ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER jobs_earlier_work AFTER UPDATE OF work_key ON jobs FOR EACH ROW
  WHEN (OLD.work_key IS NOT NULL AND OLD.work_key IS DISTINCT FROM NEW.work_key)
  EXECUTE FUNCTION keep_earlier_work();

-- Whichever statement would write it: nothing comes to be of a share that was deleted. Who deletes one waits for
-- those who are writing, and is waited for; each statement of a function sees what was committed before it. There are
-- 128 locks for all shares: whoever writes many at once must not use up the room that PostgreSQL has for locks.
CREATE FUNCTION nothing_of_deleted_shares() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7215333, hashtext(NEW.share_id) & 127);
    IF EXISTS (SELECT FROM deleted_shares WHERE share_id = NEW.share_id) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER jobs_not_deleted BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION nothing_of_deleted_shares();
CREATE TRIGGER waiting_not_deleted BEFORE INSERT ON waiting FOR EACH ROW
  EXECUTE FUNCTION nothing_of_deleted_shares();
CREATE TRIGGER dead_letters_not_deleted BEFORE INSERT ON dead_letters FOR EACH ROW
  WHEN (NEW.share_id IS NOT NULL) EXECUTE FUNCTION nothing_of_deleted_shares();

-- Who else refers to a file.
CREATE INDEX shares_by_blob ON shares (blob_key) WHERE blob_key IS NOT NULL;
CREATE INDEX work_by_blob ON work (left(coalesce(result ->> 'blob_key', result ->> 'segments_ref'), 512))
 WHERE left(coalesce(result ->> 'blob_key', result ->> 'segments_ref'), 512) IS NOT NULL;
CREATE INDEX call_parts_by_share ON call_parts (share_id);
"""


def upgrade() -> None:
    """Add the tables, the indexes and what keeps deleted shares away; results are read, so agents wait meanwhile."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Released data is not thrown away by a migration."""
    raise NotImplementedError("restore a backup instead")

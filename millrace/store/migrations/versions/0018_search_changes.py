"""When what an owner may find has changed, so that answers can be kept as long as it has not."""

from alembic import op

revision = "0018"
down_revision = "0017"

UPGRADE = """
-- In the order in which shares are accepted: who does that waits, and is not waited for.
LOCK TABLE shares, jobs IN SHARE ROW EXCLUSIVE MODE;

-- A row for each change. Rows are added and none is changed: who ends jobs waits for nobody. The transaction's id
-- tells a reader whether its snapshot had the change, which a time does not: what begins first may commit last.
CREATE TABLE search_changes (
    owner   text NOT NULL,
    changed xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX search_changes_newest ON search_changes (owner, changed);

CREATE FUNCTION note_job_for_search() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_changes (owner)
    SELECT owner FROM shares WHERE share_id = CASE TG_OP WHEN 'DELETE' THEN OLD.share_id ELSE NEW.share_id END;
    RETURN NULL;
END
$$;
CREATE TRIGGER jobs_done_search AFTER INSERT ON jobs FOR EACH ROW
  WHEN (NEW.state = 'done') EXECUTE FUNCTION note_job_for_search();
CREATE TRIGGER jobs_gone_search AFTER DELETE ON jobs FOR EACH ROW
  WHEN (OLD.state = 'done') EXECUTE FUNCTION note_job_for_search();
CREATE TRIGGER jobs_changed_search AFTER UPDATE OF state, work_key ON jobs FOR EACH ROW
  WHEN ((OLD.state = 'done' OR NEW.state = 'done')
        AND (OLD.state, OLD.work_key) IS DISTINCT FROM (NEW.state, NEW.work_key))
  EXECUTE FUNCTION note_job_for_search();

CREATE FUNCTION note_share_for_search() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_changes (owner) VALUES (OLD.owner);
    IF TG_OP = 'UPDATE' AND NEW.owner <> OLD.owner THEN
        INSERT INTO search_changes (owner) VALUES (NEW.owner);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER shares_changed_search AFTER UPDATE OR DELETE ON shares FOR EACH ROW
  EXECUTE FUNCTION note_share_for_search();
"""


def upgrade() -> None:
    """Add the table and what fills it."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Released data is not thrown away by a migration."""
    raise NotImplementedError("restore a backup instead")

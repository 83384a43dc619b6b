"""Which finished embed works a share has, by model, and by which of them it is searched."""

from alembic import op

revision = "0019"
down_revision = "0018"

UPGRADE = """
-- No agent of the version before ends a job meanwhile.
LOCK TABLE jobs IN SHARE ROW EXCLUSIVE MODE;

-- The model that search prefers, and since when; none: each share is searched by the model that embedded it last.
CREATE TABLE search_model (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    model    text,
    since    timestamptz NOT NULL DEFAULT now()
);
INSERT INTO search_model DEFAULT VALUES;

-- A job's row knows the work that was done last; this one knows what every model has done. `searched_until` is
-- infinite for the one model by which the share is searched now, and else when it was left for another, if ever.
CREATE TABLE share_embeddings (
    share_id       text NOT NULL,
    model          text NOT NULL,
    owner          text NOT NULL,
    work_key       text NOT NULL REFERENCES work ON DELETE CASCADE,
    embedded_at    timestamptz NOT NULL DEFAULT now(),
    searched_until timestamptz,
    PRIMARY KEY (share_id, model)
);
CREATE UNIQUE INDEX share_embeddings_searched ON share_embeddings (share_id) WHERE searched_until = 'infinity';
CREATE INDEX share_embeddings_models ON share_embeddings (owner, model) WHERE searched_until = 'infinity';
CREATE INDEX share_embeddings_left ON share_embeddings (owner, model, searched_until);
CREATE INDEX share_embeddings_by_work ON share_embeddings (work_key);

-- A trigger, so that it holds in the transaction in which the job ends, whichever statement ends it.
CREATE FUNCTION keep_share_embedding() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    preferred text;
    takes_over boolean;
BEGIN
    -- Others end jobs at the same time; who changes the model of search or drops one waits, and is waited for.
    PERFORM pg_advisory_xact_lock_shared(7215330120);
    IF NEW.state = 'skipped' THEN  -- there is nothing to find in it any more
        DELETE FROM share_embeddings WHERE share_id = NEW.share_id;
        RETURN NULL;
    END IF;
    -- The same model did other work for the share: what others have made of it may be of an older content.
    IF EXISTS (SELECT FROM share_embeddings
                WHERE share_id = NEW.share_id AND model = NEW.model AND work_key <> NEW.work_key) THEN
        DELETE FROM share_embeddings WHERE share_id = NEW.share_id AND model <> NEW.model;
    END IF;
    SELECT model INTO preferred FROM search_model;
    takes_over := preferred IS NULL OR preferred = NEW.model OR NOT EXISTS (
        SELECT FROM share_embeddings WHERE share_id = NEW.share_id AND model = preferred);
    IF takes_over THEN
        UPDATE share_embeddings SET searched_until = now()
         WHERE share_id = NEW.share_id AND model <> NEW.model AND searched_until = 'infinity';
    END IF;
    INSERT INTO share_embeddings (share_id, model, owner, work_key, searched_until)
    SELECT NEW.share_id, NEW.model, s.owner, w.work_key, CASE WHEN takes_over THEN 'infinity'::timestamptz END
      FROM shares s, work w
     WHERE s.share_id = NEW.share_id AND w.work_key = NEW.work_key
    ON CONFLICT (share_id, model) DO UPDATE
       SET work_key = excluded.work_key, embedded_at = excluded.embedded_at,
           searched_until = coalesce(excluded.searched_until, share_embeddings.searched_until);
    RETURN NULL;
END
$$;
CREATE TRIGGER jobs_share_embedding AFTER INSERT OR UPDATE OF state, work_key, model ON jobs FOR EACH ROW
  WHEN (NEW.stage = 'embed' AND NEW.state IN ('done', 'skipped') AND (NEW.work_key, NEW.model) IS NOT NULL)
  EXECUTE FUNCTION keep_share_embedding();

INSERT INTO share_embeddings (share_id, model, owner, work_key, embedded_at, searched_until)
SELECT j.share_id, j.model, s.owner, j.work_key, j.updated_at, 'infinity'
  FROM jobs j JOIN shares s USING (share_id) JOIN work w USING (work_key)
 WHERE j.stage = 'embed' AND j.state = 'done' AND j.model IS NOT NULL;
-- What an owner may find changes with these rows, too, and with what is known of the texts. Once for each statement:
-- one may be about all shares.
CREATE FUNCTION note_embeddings_for_search() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_changes (owner) SELECT DISTINCT owner FROM changed;
    RETURN NULL;
END
$$;
CREATE TRIGGER share_embeddings_new_search AFTER INSERT ON share_embeddings REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION note_embeddings_for_search();
CREATE TRIGGER share_embeddings_changed_search AFTER UPDATE ON share_embeddings REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION note_embeddings_for_search();
CREATE TRIGGER share_embeddings_gone_search AFTER DELETE ON share_embeddings REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION note_embeddings_for_search();

CREATE FUNCTION note_insight_for_search() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_changes (owner)
    SELECT DISTINCT s.owner FROM jobs j JOIN shares s USING (share_id) WHERE j.work_key = NEW.work_key;
    RETURN NULL;
END
$$;
CREATE TRIGGER insights_changed_search AFTER INSERT OR UPDATE ON insights FOR EACH ROW
  EXECUTE FUNCTION note_insight_for_search();

-- Without statistics of it, searches would compare all vectors instead of walking an index.
ANALYZE share_embeddings;
"""


def upgrade() -> None:
    """Add the tables and fill them from the jobs that are done."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Released data is not thrown away by a migration."""
    raise NotImplementedError("restore a backup instead")

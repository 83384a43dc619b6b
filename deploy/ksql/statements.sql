-- Looking into Millrace with ksqlDB, 0.29 or newer: its events as streams; tables of spend, of shares by stage, of the
-- time from share to embedding, and of dead letters.
--
-- Load them with `ksql http://HOST:8088 -f statements.sql`, or have a headless server run them (`ksql.queries.file`).
-- Then, for instance: SELECT * FROM spend_per_hour WHERE account = 'default';
--
-- NO KSQLDB SERVER HAS RUN THEM: neither it nor its parser is in a public package registry. They follow its
-- documentation and are parsed with the grammar of its source (August 2026), and a test compares their names with
-- schemas/. Spend is the same query as in ../flink/spend_per_hour.sql, which has been run and agrees with the ledger.
--
-- Columns of Avro topics come from the schema registry; message_key is the share's id, or the account. Of messages
-- without a value, the tombstones of deleted shares, a stream knows nothing, and a table deletes the row.

-- Makes consumers read committed: cost.decisions has answers of transactions that were aborted, which were never given.
-- A headless server is told so by its settings, as ksql.streams.processing.guarantee.
SET 'processing.guarantee' = 'exactly_once_v2';
SET 'auto.offset.reset' = 'earliest';

-- Events -----------------------------------------------------------------------------------------------------------

CREATE STREAM share_created (message_key STRING KEY) WITH (
  KAFKA_TOPIC = 'share.created', KEY_FORMAT = 'KAFKA', VALUE_FORMAT = 'AVRO', TIMESTAMP = 'created_at');

CREATE STREAM media_ready (message_key STRING KEY) WITH (
  KAFKA_TOPIC = 'media.ready', KEY_FORMAT = 'KAFKA', VALUE_FORMAT = 'AVRO', TIMESTAMP = 'produced_at');

CREATE STREAM transcript_ready (message_key STRING KEY) WITH (
  KAFKA_TOPIC = 'transcript.ready', KEY_FORMAT = 'KAFKA', VALUE_FORMAT = 'AVRO', TIMESTAMP = 'produced_at');

CREATE STREAM summary_ready (message_key STRING KEY) WITH (
  KAFKA_TOPIC = 'summary.ready', KEY_FORMAT = 'KAFKA', VALUE_FORMAT = 'AVRO', TIMESTAMP = 'produced_at');

CREATE STREAM embedding_ready (message_key STRING KEY) WITH (
  KAFKA_TOPIC = 'embedding.ready', KEY_FORMAT = 'KAFKA', VALUE_FORMAT = 'AVRO', TIMESTAMP = 'produced_at');

CREATE STREAM cost_decisions (message_key STRING KEY) WITH (
  KAFKA_TOPIC = 'cost.decisions', KEY_FORMAT = 'KAFKA', VALUE_FORMAT = 'AVRO', TIMESTAMP = 'decided_at');

-- The newest row of each share and stage.
CREATE TABLE task_status (message_key STRING PRIMARY KEY) WITH (
  KAFKA_TOPIC = 'task.status', KEY_FORMAT = 'KAFKA', VALUE_FORMAT = 'AVRO', TIMESTAMP = 'updated_at');

-- Spend ------------------------------------------------------------------------------------------------------------

-- In micro-US-dollars. The hour is the one that the ledger counts a hold in, whenever it is settled: a window over the
-- time of the decisions would count some of it in the wrong hour, so there is none. A scope's rows add up to the total.
CREATE TABLE spend_per_hour
WITH (KAFKA_TOPIC = 'ksql.spend-per-hour', KEY_FORMAT = 'JSON', VALUE_FORMAT = 'JSON') AS
SELECT
  account,
  scope,
  hour_start,
  SUM(CASE
    WHEN outcome IN ('settled', 'reconciled') AND previous IN ('held', 'unconfirmed', 'released') THEN actual_micro_usd
    ELSE CAST(0 AS BIGINT) END) AS settled_micro_usd,
  SUM(CASE
    WHEN outcome = 'granted' AND previous IS NULL THEN amount_micro_usd
    WHEN outcome IN ('settled', 'reconciled', 'released', 'unconfirmed') AND previous = 'held' THEN -amount_micro_usd
    ELSE CAST(0 AS BIGINT) END) AS held_micro_usd,
  SUM(CASE
    WHEN outcome = 'unconfirmed' AND previous = 'held' THEN amount_micro_usd
    WHEN outcome IN ('settled', 'reconciled', 'released') AND previous = 'unconfirmed' THEN -amount_micro_usd
    ELSE CAST(0 AS BIGINT) END) AS unconfirmed_micro_usd,
  SUM(CASE
    WHEN outcome IN ('settled', 'reconciled') AND previous IN ('held', 'unconfirmed', 'released') THEN overrun_micro_usd
    ELSE CAST(0 AS BIGINT) END) AS overrun_micro_usd,
  SUM(CASE
    WHEN outcome = 'granted' AND previous IS NULL THEN CAST(1 AS BIGINT)
    ELSE CAST(0 AS BIGINT) END) AS calls
FROM cost_decisions
WHERE hour_start IS NOT NULL
GROUP BY account, scope, hour_start
EMIT CHANGES;

-- Shares -----------------------------------------------------------------------------------------------------------

-- How many shares stand where, now; deleted ones are gone from it.
CREATE TABLE shares_by_stage
WITH (KAFKA_TOPIC = 'ksql.shares-by-stage', KEY_FORMAT = 'JSON', VALUE_FORMAT = 'JSON') AS
SELECT stage, state, COUNT(*) AS shares
FROM task_status
GROUP BY stage, state
EMIT CHANGES;

-- Until a share can be found: from its creation to its embedding, if that came within a day. A replay within that day
-- counts once more. Both topics need as many partitions as each other, as they have.
CREATE STREAM share_to_embedding
WITH (KAFKA_TOPIC = 'ksql.share-to-embedding', KEY_FORMAT = 'KAFKA', VALUE_FORMAT = 'JSON') AS
SELECT
  s.message_key AS share,
  s.source_kind AS source_kind,
  UNIX_TIMESTAMP(e.produced_at) - UNIX_TIMESTAMP(s.created_at) AS latency_ms
FROM share_created s
JOIN embedding_ready e WITHIN 1 DAY GRACE PERIOD 1 HOUR ON s.message_key = e.message_key
WHERE e.skipped_reason IS NULL
EMIT CHANGES;

CREATE TABLE latency_per_hour
WITH (KAFKA_TOPIC = 'ksql.latency-per-hour', KEY_FORMAT = 'JSON', VALUE_FORMAT = 'JSON') AS
SELECT
  source_kind,
  COUNT(*) AS shares,
  AVG(latency_ms) AS average_ms,
  MAX(latency_ms) AS longest_ms
FROM share_to_embedding
WINDOW TUMBLING (SIZE 1 HOUR, RETENTION 30 DAYS, GRACE PERIOD 1 DAY)
GROUP BY source_kind
EMIT CHANGES;

-- Dead letters -----------------------------------------------------------------------------------------------------

-- Values are other messages' bytes, whatever those were; why they died is in the headers (docs/dead-letters.md):
-- SELECT FROM_BYTES(share, 'utf8'), FROM_BYTES(reason, 'utf8') FROM embed_dead EMIT CHANGES;
CREATE STREAM media_dead (
  message_key STRING KEY, original BYTES, error BYTES HEADER('millrace-error'),
  reason BYTES HEADER('millrace-reason'), share BYTES HEADER('millrace-share')
) WITH (KAFKA_TOPIC = 'media.dead', KEY_FORMAT = 'KAFKA', VALUE_FORMAT = 'KAFKA');

CREATE STREAM transcribe_dead (
  message_key STRING KEY, original BYTES, error BYTES HEADER('millrace-error'),
  reason BYTES HEADER('millrace-reason'), share BYTES HEADER('millrace-share')
) WITH (KAFKA_TOPIC = 'transcribe.dead', KEY_FORMAT = 'KAFKA', VALUE_FORMAT = 'KAFKA');

CREATE STREAM summarize_dead (
  message_key STRING KEY, original BYTES, error BYTES HEADER('millrace-error'),
  reason BYTES HEADER('millrace-reason'), share BYTES HEADER('millrace-share')
) WITH (KAFKA_TOPIC = 'summarize.dead', KEY_FORMAT = 'KAFKA', VALUE_FORMAT = 'KAFKA');

CREATE STREAM embed_dead (
  message_key STRING KEY, original BYTES, error BYTES HEADER('millrace-error'),
  reason BYTES HEADER('millrace-reason'), share BYTES HEADER('millrace-share')
) WITH (KAFKA_TOPIC = 'embed.dead', KEY_FORMAT = 'KAFKA', VALUE_FORMAT = 'KAFKA');

-- All that a stage has given up on, by the kind of error; also what was redriven or discarded since, as topics keep it for
-- 90 days. A table for each stage: INSERT INTO, which would make one of them, counts twice when it is loaded twice.
CREATE TABLE media_dead_letters
WITH (KAFKA_TOPIC = 'ksql.media-dead-letters', KEY_FORMAT = 'JSON', VALUE_FORMAT = 'JSON') AS
SELECT COALESCE(FROM_BYTES(error, 'utf8'), 'unknown') AS error_kind, COUNT(*) AS letters
FROM media_dead
GROUP BY COALESCE(FROM_BYTES(error, 'utf8'), 'unknown')
EMIT CHANGES;

CREATE TABLE transcribe_dead_letters
WITH (KAFKA_TOPIC = 'ksql.transcribe-dead-letters', KEY_FORMAT = 'JSON', VALUE_FORMAT = 'JSON') AS
SELECT COALESCE(FROM_BYTES(error, 'utf8'), 'unknown') AS error_kind, COUNT(*) AS letters
FROM transcribe_dead
GROUP BY COALESCE(FROM_BYTES(error, 'utf8'), 'unknown')
EMIT CHANGES;

CREATE TABLE summarize_dead_letters
WITH (KAFKA_TOPIC = 'ksql.summarize-dead-letters', KEY_FORMAT = 'JSON', VALUE_FORMAT = 'JSON') AS
SELECT COALESCE(FROM_BYTES(error, 'utf8'), 'unknown') AS error_kind, COUNT(*) AS letters
FROM summarize_dead
GROUP BY COALESCE(FROM_BYTES(error, 'utf8'), 'unknown')
EMIT CHANGES;

CREATE TABLE embed_dead_letters
WITH (KAFKA_TOPIC = 'ksql.embed-dead-letters', KEY_FORMAT = 'JSON', VALUE_FORMAT = 'JSON') AS
SELECT COALESCE(FROM_BYTES(error, 'utf8'), 'unknown') AS error_kind, COUNT(*) AS letters
FROM embed_dead
GROUP BY COALESCE(FROM_BYTES(error, 'utf8'), 'unknown')
EMIT CHANGES;

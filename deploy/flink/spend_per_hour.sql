-- Spend per account, scope and hour, summed from the ledger's decisions by Flink SQL.
--
-- Needs Flink 2.3 with flink-sql-connector-kafka and flink-sql-avro-confluent-registry. With the two addresses set:
--
--   envsubst '$MILLRACE_KAFKA $MILLRACE_REGISTRY' < spend_per_hour.sql > /tmp/spend.sql && sql-client.sh -f /tmp/spend.sql
--
-- `python -m tests.foreign.flink_sql` runs it beside a ledger and compares. The view is, word for word, the table of the
-- same name in ../ksql/statements.sql; a test compares them. docs/consuming.md says how it reads decisions.

CREATE TABLE cost_decisions (
  outcome STRING,
  previous STRING,
  account STRING,
  `scope` STRING,
  amount_micro_usd BIGINT,
  actual_micro_usd BIGINT,
  overrun_micro_usd BIGINT,
  hour_start TIMESTAMP(3) -- in UTC
) WITH (
  'connector' = 'kafka',
  'topic' = 'cost.decisions',
  'properties.bootstrap.servers' = '${MILLRACE_KAFKA}',
  -- Or it would count answers of transactions that were aborted, which were never given.
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'earliest-offset',
  -- Ends where the topic ends now. Without it, and in streaming mode, the sums go on.
  'scan.bounded.mode' = 'latest-offset',
  'value.format' = 'avro-confluent',
  'value.avro-confluent.url' = '${MILLRACE_REGISTRY}'
);

CREATE VIEW spend_per_hour AS
SELECT
  account,
  `scope`,
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
GROUP BY account, `scope`, hour_start;

SELECT * FROM spend_per_hour;

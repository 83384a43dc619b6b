"""What Millrace asks of PostgreSQL and Kafka: counted before and after, as so many a share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import asyncpg

from benchmarks.peers.kafka import records
from millrace.contracts.catalog import Catalog
from millrace.embedded.readyfile import Addresses

Counting = Callable[[], Awaitable[dict[str, float]]]
TOLD_AFTER_S: Final = 11.0
"""A server process of PostgreSQL that has nothing to do tells its numbers within ten seconds."""
_DATABASE: Final = "SELECT xact_commit, xact_rollback FROM pg_stat_database WHERE datname = current_database()"
_TABLES: Final = "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del, seq_scan, idx_scan FROM pg_stat_user_tables"
_WAL: Final = "SELECT wal_records, wal_bytes FROM pg_stat_wal"
_FSYNCS: Final = "SELECT coalesce(sum(fsyncs), 0) FROM pg_stat_io WHERE object = 'wal'"


async def counted(stack: Addresses) -> dict[str, float]:
    """Totals so far. Transactions of PostgreSQL are its statements, nearly: few have more than one in a transaction.

    Kafka's are ends of topics, so a transaction's marker counts as a record.
    """
    topics = [topic.name for topic in Catalog.load().topics.values()]
    sent = await asyncio.to_thread(records, stack.kafka, topics)
    connection = await asyncpg.connect(stack.postgres)
    try:
        database = await connection.fetchrow(_DATABASE)
        tables = await connection.fetch(_TABLES)
        wal = await connection.fetchrow(_WAL)
        fsyncs = await connection.fetchval(_FSYNCS)
    finally:
        await connection.close()
    assert database is not None
    assert wal is not None
    found: dict[str, float] = {
        "postgres transactions": database["xact_commit"] + database["xact_rollback"],
        "postgres wal fsyncs": int(fsyncs),
        "postgres wal records": wal["wal_records"],
        "postgres wal KiB": int(wal["wal_bytes"]) / 1024,
    }
    for row in tables:
        for column, what in (("n_tup_ins", "inserts"), ("n_tup_upd", "updates"), ("n_tup_del", "deletes")):
            found[f"postgres {row['relname']} {what}"] = row[column]
        found[f"postgres {row['relname']} scans"] = row["idx_scan"] or 0
        found[f"postgres {row['relname']} full scans"] = row["seq_scan"] or 0
    return found | {f"kafka {topic}": count for topic, count in sent.items()}


def per_share(before: Mapping[str, float], after: Mapping[str, float], shares: int) -> dict[str, float]:
    """What happened at all, a share."""
    each = {name: round((after[name] - before.get(name, 0)) / shares, 2) for name in after}
    return {name: value for name, value in each.items() if value}

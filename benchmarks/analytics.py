"""Analytics at size: `python -m benchmarks.analytics [--json] [--entries 100000]`.

A real database with that many entries of the ledger's journal over 35 days, in the form that the recorder writes, and
the shares, jobs, works and calls behind them. Every endpoint is asked through the ASGI application, one request at a
time, over its widest window; the pipeline with Kafka's own offsets.

The last line is JSON: `p95_ms` by endpoint, `worst_p95_ms`, what was in the database, and the machine's load: times
mean something where it is below the number of cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import asyncpg
import numpy as np

from benchmarks.spending import Spending, share_id, write_journal, write_work
from millrace.embedded.readyfile import Addresses
from millrace.models.wordllama import WordLlamaModel
from millrace.store.migrate import migrate
from tests.integration.gateway import Gateway, open_gateway, provision
from tests.support.database import own_database
from tests.support.stack import own_stack

TIMES: Final = 50
_BASE: Final = "/api/ml/analytics"
_TABLES: Final = ("ledger_entries", "shares", "jobs", "work", "calls")
ENDPOINTS: Final[Mapping[str, str]] = {
    **{
        f"{kind}/costs by {group}": f"{_BASE}/{kind}/costs?window=30d&group_by={group}"
        for kind in ("transcription", "llm", "vector")
        for group in ("hour", "day", "model", "stage")
    },
    **{
        f"{kind}/costs/detailed": f"{_BASE}/{kind}/costs/detailed?window=30d&limit=100"
        for kind in ("transcription", "llm", "vector")
    },
    "tasks/summary": f"{_BASE}/tasks/summary?window=30d",
    "budget/status": f"{_BASE}/budget/status",
    "usage": f"{_BASE}/usage?window=30d",
    "models": f"{_BASE}/models?window=30d",
    "break-even": f"{_BASE}/break-even?window=30d&gpu_usd_per_hour=0.60&realtime_factor=0.05",
    "result": f"{_BASE}/transcription/result/{share_id(1, 0)}",
    "pipeline": "/api/pipeline",
    "metrics/prometheus": "/api/ml/metrics/prometheus",
    "metrics/json": "/api/ml/metrics/json",
    "metrics/ytdlp": "/api/shares/metrics/ytdlp?window=30d",
}


@asynccontextmanager
async def a_database(dsn: str) -> AsyncIterator[str]:
    """A database of its own with the project's tables."""
    async with own_database(dsn) as own:
        await asyncio.to_thread(migrate, own)
        yield own


async def fill(database: str, entries: int) -> dict[str, int]:
    """Rows of each table."""
    spending = Spending(datetime.now(UTC))
    decisions = list(spending.decisions(entries))
    connection = await asyncpg.connect(database)
    try:
        await write_journal(connection, decisions)
        await write_work(connection, decisions, spending)
        for table in _TABLES:  # as autovacuum does, which an insert of this size sets off
            await connection.execute(f"VACUUM ANALYZE {table}")
        return {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in _TABLES}  # noqa: S608  # constants
    finally:
        await connection.close()


async def asked(gateway: Gateway, path: str) -> list[float]:
    """Milliseconds of each request; the first of all is not among them."""
    took = []
    for _ in range(TIMES + 1):
        began = time.perf_counter()
        response = await gateway.http.get(path)
        took.append(1000 * (time.perf_counter() - began))
        if response.status_code == 404 and "/result/" in path:
            continue  # the share of the first call has no such stage: it is looked up all the same
        assert response.status_code == 200, f"{path}: {response.status_code} {response.text}"
    return took[1:]


async def run(stack: Addresses, entries: int) -> dict[str, object]:
    """All endpoints."""
    await provision(stack)
    model = await asyncio.to_thread(WordLlamaModel)
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        async with a_database(stack.postgres) as database:
            rows = await fill(database, entries)
            async with open_gateway(stack, database, Path(folder), model) as gateway:
                times = {name: await asked(gateway, path) for name, path in ENDPOINTS.items()}
    p95s = {name: round(float(np.percentile(took, 95)), 1) for name, took in times.items()}
    load = [round(one, 1) for one in os.getloadavg()]
    return {
        "p95_ms": p95s,
        "worst_p95_ms": max(p95s.values()),
        "p50_ms": {name: round(float(np.percentile(took, 50)), 1) for name, took in times.items()},
        "times": TIMES,
        "rows": rows,
        "machine": {"cores": os.cpu_count(), "load": load},
    }


def _existing() -> Addresses | None:
    values = [os.environ.get(f"MILLRACE_TEST_{name}", "") for name in ("KAFKA", "REGISTRY", "POSTGRES")]
    return Addresses(*values) if all(values) else None


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.analytics", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--json", action="store_true", help="print nothing but JSON on standard output")
    parser.add_argument("--entries", type=int, default=100_000, help="entries of the ledger's journal")
    options = parser.parse_args()
    existing = _existing()
    if existing is not None:
        figures = asyncio.run(run(existing, options.entries))
    else:
        with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder, own_stack(Path(folder)) as stack:
            figures = asyncio.run(run(stack, options.entries))
    p95s = figures["p95_ms"]
    if not options.json and isinstance(p95s, dict):
        for name, value in p95s.items():
            sys.stdout.write(f"{name:32} {value:8.1f} ms\n")
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()

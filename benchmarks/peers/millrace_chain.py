"""Millrace with everything on: the product's stage workers and cost ledger on a stack of their own.

Left out is the gateway: shares are written to share.created as it writes them, and nobody projects task.status.
"""

from __future__ import annotations

import asyncio
import json
import platform
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import asyncpg

from benchmarks.peers.chain import STAGES, TOPICS, Broken, Chain, Process, running
from benchmarks.peers.counters import counted
from benchmarks.peers.kafka import heard_on, records
from millrace.clock import SystemClock
from millrace.contracts.catalog import Catalog
from millrace.contracts.events import ShareCreated
from millrace.contracts.provision import apply_topics, register_schemas
from millrace.contracts.registry import Registry
from millrace.contracts.wire import Codec
from millrace.embedded.readyfile import Addresses
from millrace.ids import WorkKey
from millrace.kafka.producer import open_producer
from millrace.store.migrate import migrate
from millrace.stream.writer import Writer
from tests.support.process import free_port, is_ready
from tests.support.stack import own_stack

CREATED, FINISHED = TOPICS[0], TOPICS[-1]
SETTINGS: Final = {"MILLRACE_CONCURRENCY": "64", "MILLRACE_PREFETCH": "256", "MILLRACE_DRAIN_S": "1"}
BUDGETS: Final = "".join(f'[default.{scope}]\nhour = "1000"\nday = "1000"\n' for scope in (*STAGES, "total"))
READY_WITHIN_S: Final = 90.0
BOOKS_WITHIN_S: Final = 120.0
_SETTLED: Final = "SELECT count(*) FROM ledger_entries WHERE outcome = 'settled'"
_WRONG: Final = """
SELECT count(*) FROM unnest($1::text[]) AS wanted (share_id) LEFT JOIN (
    SELECT share_id, sum(settled_change) AS settled, sum(held_change) AS held, sum(unconfirmed_change) AS unknown
      FROM ledger_entries GROUP BY share_id) AS spent USING (share_id)
 WHERE (settled, held, unknown) IS DISTINCT FROM ($2::numeric, 0::numeric, 0::numeric)
"""
_LEFT: Final = {
    "jobs that are not done and emitted": "SELECT count(*) FROM jobs WHERE NOT (state = 'done' AND published)",
    "jobs too few": "SELECT $1 - count(*) FROM jobs",
    "works that are not finished": "SELECT count(*) FROM work WHERE result IS NULL",
    "works that cost something else": "SELECT count(*) FROM work WHERE cost_micro_usd <> 1",
    "calls that are not settled": "SELECT count(*) FROM calls WHERE state <> 'settled'",
    "waiting messages": "SELECT count(*) FROM waiting",
}


@asynccontextmanager
async def open_millrace(folder: Path) -> AsyncIterator[Chain]:
    """A stack with topics, schemas and tables, the ledger, and a worker of each stage; all ready."""
    data = folder / "stack"
    data.mkdir()
    with own_stack(data) as stack, Registry(stack.registry) as registry:
        catalog = Catalog.load()
        await apply_topics(stack.cluster, catalog, replication=1, report=lambda _: None)
        await asyncio.to_thread(register_schemas, stack.registry, catalog, lambda _: None)
        await asyncio.to_thread(migrate, stack.postgres)
        codec = await Codec.connect(registry, catalog, (CREATED,))
        async with open_producer(stack.cluster) as producer, heard_on(stack.kafka, FINISHED) as finishes:
            writer = Writer(producer, codec, SystemClock(), source="benchmark", partitions={})
            with running(*_start(stack, folder)) as processes:
                yield Chain(
                    name="millrace",
                    workers=[one for one in processes if one.name in STAGES],
                    publish=lambda shares: _publish(writer, shares),
                    finishes=finishes,
                    settings={
                        "per_stage": SETTINGS,
                        "workers": "one process a stage",
                        "ledger": "one process, caps on every scope and in total, one account",
                        "left_out": "the gateway",
                    },
                    versions={"python": platform.python_version(), "kafka": "as embedded", "postgres": "as embedded"},
                    parts={**pids(folder), **{one.name: one.pid for one in processes if one.name not in STAGES}},
                    books=lambda shares: _books(stack, shares),
                    counted=lambda: counted(stack),
                )


def _start(stack: Addresses, folder: Path) -> list[Process]:
    budgets = folder / "budgets.toml"
    budgets.write_text(BUDGETS)
    addresses = {
        "MILLRACE_KAFKA": stack.kafka,
        "MILLRACE_REGISTRY": stack.registry,
        "MILLRACE_POSTGRES": stack.postgres,
        "MILLRACE_BLOBS": str(folder / "blobs"),
        "MILLRACE_BUDGETS": str(budgets),
    }
    programs = {
        "ledger": ("services.cost_ledger",),
        **{stage: ("benchmarks.peers.null_stage", stage) for stage in STAGES},
    }
    started, ports = [], []
    for name, program in programs.items():
        ports.append(free_port())
        env = {**addresses, **SETTINGS, "MILLRACE_INSTANCE": name, "MILLRACE_OPS_PORT": str(ports[-1])}
        started.append(Process(name, (sys.executable, "-m", *program), folder / f"{name}.log", env))
    _until_ready(started, ports)
    return started


def _until_ready(processes: Sequence[Process], ports: Sequence[int]) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    for process, port in zip(processes, ports, strict=True):
        while not is_ready(f"http://127.0.0.1:{port}"):
            process.alive()
            if time.monotonic() > deadline:
                raise Broken(f"{process.name} was not ready within {READY_WITHIN_S:.0f} s: see {process.log}")
            time.sleep(0.1)


async def _publish(writer: Writer, shares: Sequence[str]) -> None:
    """As the gateway writes them; returns when Kafka has confirmed all."""
    now = datetime.now(UTC)
    await asyncio.gather(*(writer.result(CREATED, _created(one), WorkKey(one), None, now) for one in shares))


def _created(share: str) -> ShareCreated:
    return ShareCreated(
        share_id=share,
        owner="benchmark",
        source_kind="upload",
        blob_key="media/none",
        platform="upload",
        content_type="audio",
        created_at=datetime.now(UTC),
    )


async def _books(stack: Addresses, shares: Sequence[str]) -> dict[str, object]:
    """Wait until the journal shows a settled micro-dollar for every stage of every share, and look at all tables."""
    connection = await asyncpg.connect(stack.postgres)
    began = time.monotonic()
    try:
        while await connection.fetchval(_SETTLED) < len(shares) * len(STAGES):
            if time.monotonic() - began > BOOKS_WITHIN_S:
                break  # what is missing is counted below
            await asyncio.sleep(0.5)
        late = time.monotonic() - began
        if wrong := await connection.fetchval(_WRONG, list(shares), len(STAGES)):
            raise Broken(f"the ledger does not show {len(STAGES)} settled micro-dollars for {wrong} shares")
        for what, sql in _LEFT.items():
            args = [len(shares) * len(STAGES)] if "$1" in sql else []
            if count := await connection.fetchval(sql, *args):
                raise Broken(f"Millrace has {count} {what}")
        total = await connection.fetchval("SELECT sum(settled_micro_usd) FROM ledger_hourly WHERE scope = 'total'")
    finally:
        await connection.close()
    if total != len(shares) * len(STAGES):
        raise Broken(f"the ledger shows {total} micro-dollars for {len(shares)} shares")
    dead = sum((await asyncio.to_thread(records, stack.kafka, [f"{stage}.dead" for stage in STAGES])).values())
    if dead:
        raise Broken(f"Millrace has {dead} dead letters")
    return {"micro_usd_per_share": int(total) / len(shares), "books_complete_after_s": round(late, 1)}


def pids(folder: Path) -> dict[str, int]:
    """Of the parts of the stack."""
    ready = json.loads((folder / "stack" / "ready.json").read_text(encoding="utf-8"))
    return {name: int(part["pid"]) for name, part in ready["pids"].items()}

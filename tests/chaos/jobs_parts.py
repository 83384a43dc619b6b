"""The stage that chaos hurts: a stack of its own, the ledger, a slow paid API, and shares that keep coming."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from millrace.contracts.provision import apply_topics, register_schemas
from millrace.contracts.registry import Registry
from millrace.contracts.wire import Codec
from millrace.embedded.readyfile import Addresses
from millrace.kafka.producer import Producer, open_producer
from millrace.store.migrate import migrate
from tests.chaos import job_log
from tests.chaos.target import SUMMARIZE, Target
from tests.chaos.worker import Worker
from tests.support.provider import Line, Provider, serve_provider
from tests.support.stack import own_stack

BUDGETS: Final = '[default.{}]\nhour = "1000"\nday = "1000"\n'
PER_SECOND: Final = 6.0
AGAIN: Final = 0.1
"""Part of the shares whose text another share has too: they wait for one another's lease."""
SLOW: Final = 0.08
SLOW_S: Final = (4.0, 8.0)
QUICK_S: Final = (0.01, 0.05)
TEXT: Final = (
    "A miller keeps the gate so that the wheel turns at the speed which the stones need, whatever the river does."
)
_COPY: Final = re.compile(rb"Copy ([0-9a-f-]{36})")
_SIGNALS: Final = {"kafka": signal.SIGKILL, "postgres": signal.SIGINT}
"""What makes a part start anew: the broker is killed, PostgreSQL cuts every connection and shuts down."""


@dataclass(frozen=True)
class Stage:
    """What a run needs of the real parts; one after another they share it."""

    stack: Addresses
    codec: Codec
    producer: Producer
    folder: Path
    provider: Provider
    target: Target

    def environment(self) -> dict[str, str]:
        """Settings of every service."""
        budgets = self.folder / "budgets.toml"
        budgets.write_text(BUDGETS.format(self.target.stage))
        return {
            "MILLRACE_CONTRACTS": os.pathsep.join(map(str, self.target.contracts)),
            "MILLRACE_KAFKA": self.stack.kafka,
            "MILLRACE_REGISTRY": self.stack.registry,
            "MILLRACE_POSTGRES": self.stack.postgres,
            "MILLRACE_BLOBS": str(self.folder / "blobs"),
            "MILLRACE_BUDGETS": str(budgets),
            "MILLRACE_DRAIN_S": "3",
            **self.provider.environment(),
        }

    def invoice_micro_usd(self, *, since: int) -> int:
        """What the provider asks for, from a line of its invoice on."""
        return self.provider.total_micro_usd(since=since)

    def restart(self, part: str) -> None:
        """Bring kafka or postgres down; its supervisor starts it again on the same data."""
        ready = json.loads((self.folder / "stack" / "ready.json").read_text())
        os.kill(int(ready["pids"][part]["pid"]), _SIGNALS[part])

    def owner_of(self, share: str) -> int | None:
        """Process that works on a share now, as far as the database says."""
        sql = b"SELECT owner FROM work JOIN jobs USING (work_key) WHERE share_id = %s AND result IS NULL"
        with psycopg.connect(self.stack.postgres) as connection:
            row = connection.execute(sql, (share,)).fetchone()
        return None if row is None else int(row[0].split(":")[1])


@asynccontextmanager
async def open_stage(folder: Path, target: Target = SUMMARIZE) -> AsyncIterator[Stage]:
    """A stack of its own with topics, schemas and tables, the ledger, and the API."""
    data = folder / "stack"
    data.mkdir()
    with own_stack(data) as stack, serve_provider() as provider, Registry(stack.registry) as registry:
        catalog = target.catalog()
        provider.reply = target.reply
        await apply_topics(stack.cluster, catalog, replication=1, report=lambda _: None)
        await asyncio.to_thread(register_schemas, stack.registry, catalog, lambda _: None)
        await asyncio.to_thread(migrate, stack.postgres)
        await asyncio.to_thread(job_log.watch_database, stack.postgres)
        codec = await Codec.connect(registry, catalog, (target.reads,))
        async with open_producer(stack.cluster) as producer:
            stage = Stage(stack, codec, producer, folder, provider, target)
            ledger = Worker("services.cost_ledger", stage.environment(), folder / "ledger.log")
            tending = asyncio.create_task(_tend(ledger))
            try:
                yield stage
            finally:
                tending.cancel()
                ledger.end()


async def _tend(ledger: Worker) -> None:
    while True:
        ledger.tend(asyncio.get_running_loop().time())
        await asyncio.sleep(0.5)


async def submit(stage: Stage, share: str, text: str, account: str) -> None:
    """Share a text that only `text`, an id, tells from the others."""
    event = stage.target.event(share, f"{TEXT} {TEXT} Copy {text}.", account)
    raw = stage.codec.encode(stage.target.reads, event)
    await stage.producer.send(stage.target.reads, key=share.encode(), value=raw, headers=[])


def calls_of(invoice: Iterable[Line]) -> Counter[str]:
    """How often the API was called about each text."""
    found = (_COPY.search(line.raw) for line in invoice)
    return Counter(one[1].decode() for one in found if one is not None)


class Load:
    """Shares of one account, and how long the API takes to answer about them.

    :param long_s: seconds that the answer about the first share takes; 0: it is like the others.
    """

    def __init__(self, stage: Stage, seed: int, account: str, long_s: float) -> None:
        self._stage = stage
        self._account = account
        self._long_s = long_s
        self._chance = random.Random(seed)  # noqa: S311 - a run that can be repeated, no secret
        self._delays = random.Random(seed + 1)  # noqa: S311
        self._billed_before = len(stage.provider.invoice)
        self.first = self._new_id()
        self.texts: dict[str, str] = {}
        """Of each share: the id of the share that had its text first."""
        self.slow = 0
        self._stopped = asyncio.Event()
        stage.provider.delay_s = self._delay

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128)))

    def _delay(self, raw: bytes) -> float:
        if self._long_s and self.first.encode() in raw:
            return self._long_s
        if self._delays.random() >= SLOW:
            return self._delays.uniform(*QUICK_S)
        self.slow += 1
        return self._delays.uniform(*SLOW_S)

    def stop(self) -> None:
        """No more shares."""
        self._stopped.set()

    async def share(self) -> None:
        """Until stopped."""
        share = text = self.first
        while not self._stopped.is_set():
            self.texts[share] = text
            await submit(self._stage, share, text, self._account)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), 1 / PER_SECOND)
            share = self._new_id()
            recent = list(self.texts.values())[-20:]
            text = self._chance.choice(recent) if self._chance.random() < AGAIN else share

    def calls(self) -> Counter[str]:
        """How often the API was called about each text."""
        return calls_of(self._stage.provider.invoice[self._billed_before :])

    def invoice_micro_usd(self) -> int:
        """What the provider asks for."""
        return self._stage.invoice_micro_usd(since=self._billed_before)

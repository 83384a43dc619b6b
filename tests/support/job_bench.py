"""A runner of jobs over the real database, with a share of its own."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from millrace.clock import Clock, SystemClock
from millrace.contracts.events import (
    ShareCreated,
)
from millrace.contracts.wire import Codec
from millrace.kafka.records import Message, Partition
from millrace.store.calls import CallStore
from millrace.store.cancel import CancelStore
from millrace.store.database import Database, Record
from millrace.store.jobs import JobStore
from millrace.store.waiting import WaitingStore
from millrace.store.work import WorkStore
from millrace.stream.cancel import Stops
from millrace.stream.core import Core, Stores
from millrace.stream.dead_breaker import Unobserved
from millrace.stream.gates import Gates
from millrace.stream.reader import Reader
from millrace.stream.runner import JobRunner
from millrace.stream.stage import StageSpec
from millrace.stream.statuses import Statuses
from millrace.stream.writer import Writer
from millrace.testing.ledger import FakeLedger
from tests.support.outbox import Outbox
from tests.support.toy_stage import SPEC, Text, Toy

LEASE = timedelta(seconds=30)


class Bench:
    """A runner over the real database with its own share."""

    def __init__(self, database: Database, codec: Codec, text: str | None = None) -> None:
        self.database, self.codec = database, codec
        self.toy, self.outbox, self.ledger = Toy(), Outbox(), FakeLedger()
        self.share = str(uuid.uuid4())
        event = ShareCreated(
            share_id=self.share,
            owner="o",
            source_kind="text",
            text=text or f"words of {self.share}",
            platform="web",
            content_type="article",
            created_at=datetime.now(UTC),
        )
        self.message = Message(
            Partition("share.created", 0), 5, self.share.encode(), codec.encode("share.created", event), {"h": b"1"}
        )

    def runner(
        self,
        database: Database | None = None,
        owner: str = "one",
        spec: StageSpec = SPEC,
        clock: Clock | None = None,
        gates: Gates | None = None,
        *,
        stops: Stops | None = None,
        hands_over: bool = False,
    ) -> JobRunner[ShareCreated, Text]:
        db = database or self.database
        stores = Stores(
            WorkStore(db, owner, LEASE),
            CallStore(db),
            JobStore(db),
            gates or Gates("summarize", WaitingStore(db, "summarize")),
            WaitingStore(db, "summarize"),
            CancelStore(db, "summarize", ["summarize", "embed"]),
            LEASE,
        )
        clock = clock or SystemClock()
        writer = Writer(self.outbox, self.codec, clock, source="test", partitions={"task.status": 4})
        core = Core(
            spec,
            handler=self.toy,
            stores=stores,
            ledger=self.ledger,
            reader=Reader(self.codec, SPEC.inputs),
            writer=writer,
            statuses=Statuses(writer),
            clock=clock,
            observer=Unobserved(),
            stops=stops or Stops(),
            hands_over=hands_over,
        )
        return JobRunner(core)

    async def job(self) -> Record:
        row = await self.database.fetchrow("SELECT * FROM jobs WHERE share_id = $1", self.share)
        assert row is not None
        return row

    async def waiting(self) -> list[Record]:
        return list(await self.database.fetch("SELECT * FROM waiting WHERE share_id = $1", self.share))

    async def wake(self) -> Message:
        """The message that the mover would publish."""
        (row,) = await self.waiting()
        await self.database.execute("DELETE FROM waiting WHERE share_id = $1", self.share)
        headers = {name: text.encode() for name, text in row["headers"].items()}
        return Message(Partition(row["topic"], 0), 0, row["key"], row["value"], headers)

    async def expire_leases(self) -> None:
        await self.database.execute("UPDATE work SET lease_until = now() - interval '1 s' WHERE result IS NULL")

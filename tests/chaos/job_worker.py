"""Workers for the chaos of jobs. `python -m tests.chaos.job_worker KIND`, where the kind is one of these.

long: the summarize agent with the limits of the longest stage, for a job of many minutes.
skipping: now and then the client leaves a record out, as aiokafka was seen to do. The guard has to notice.

The others are broken on purpose, and the audit has to notice:

acks-out-of-order: every finished record is acknowledged at once, and Faust commits past those before it.
no-fence: whoever wants work has it, and whoever ends it completes it.
no-gap-guard: `skipping`, and a record that was left out is taken for one that never was.
"""

from __future__ import annotations

import dataclasses
import random
import sys
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta

from pydantic import JsonValue

from millrace.contracts.events import StageName
from millrace.ids import WorkKey
from millrace.kafka.records import Partition
from millrace.store.work import Busy, Done, Fence, Mine, WorkStore
from millrace.stream import connect
from millrace.stream.acks import E, OrderedAcks
from millrace.stream.pool import JobPool
from millrace.stream.ports import Stream, StreamEvent
from millrace.stream.positions import Arrival, Positions
from services.summarize_agent.app import AGENT

LONGEST = timedelta(minutes=20)
LEFT_OUT = 0.01
"""Share of the records that a skipping client leaves out."""
well_pump, well_arrive, well_claim, well_complete = (
    JobPool.pump,
    Positions.arrive,
    WorkStore.claim,
    WorkStore.complete,
)


class Skipping:
    """A stream that leaves records out."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def noack(self) -> Stream:
        """See `Stream.noack`."""
        return Skipping(self._stream.noack())

    async def events(self) -> AsyncIterator[StreamEvent]:
        """See `Stream.events`."""
        async for event in self._stream.events():
            if random.random() >= LEFT_OUT:  # noqa: S311
                yield event


async def skipping_pump(self: JobPool, stream: Stream) -> None:
    """As a bug of the client would."""
    await well_pump(self, Skipping(stream))


def arrive_anyhow(self: Positions, at: Partition, offset: int, starts: Mapping[Partition, int]) -> Arrival:
    """Broken on purpose: what was left out is not missed."""
    found = well_arrive(self, at, offset, starts)
    if found is Arrival.GAP:
        self._next[at] = offset + 1
        return Arrival.NEXT
    return found


def finish_at_once(self: OrderedAcks[E], at: Partition, offset: int) -> list[E]:
    """Broken on purpose."""
    window = self._open.get(at)
    return [window.pop(offset)] if window is not None and offset in window else []


async def claim_anyhow(self: WorkStore, key: WorkKey, stage: StageName) -> Mine | Busy | Done:
    """Broken on purpose: nobody's lease keeps anybody away."""
    await self._db.execute(
        "UPDATE work SET lease_until = now() - interval '1 ms' WHERE work_key = $1 AND result IS NULL", key
    )
    return await well_claim(self, key, stage)


async def complete_anyhow(self: WorkStore, key: WorkKey, fence: Fence, result: JsonValue) -> Done | None:
    """Broken on purpose: an owner that has lost the work completes it all the same."""
    row = await self._db.fetchrow("SELECT fence FROM work WHERE work_key = $1", key)
    return await well_complete(self, key, fence if row is None else Fence(row["fence"]), result)


if __name__ == "__main__":
    kind, agent = sys.argv.pop(), AGENT
    if kind == "long":
        agent = dataclasses.replace(
            agent, spec=dataclasses.replace(agent.spec, soft_limit=LONGEST, hard_limit=LONGEST)
        )
    if kind in ("skipping", "no-gap-guard"):
        JobPool.pump = skipping_pump  # type: ignore[method-assign]
    if kind == "no-gap-guard":
        Positions.arrive = arrive_anyhow  # type: ignore[method-assign]
        connect.die_of_gap = lambda *_: None  # type: ignore[assignment,attr-defined]
    if kind == "acks-out-of-order":
        OrderedAcks.finish = finish_at_once  # type: ignore[method-assign]
    if kind == "no-fence":
        WorkStore.claim = claim_anyhow  # type: ignore[method-assign]
        WorkStore.complete = complete_anyhow  # type: ignore[method-assign]
    agent.main()

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from millrace.cluster import Cluster
from millrace.kafka import producer as module
from millrace.kafka.producer import Producer


class HangingProducer:
    """Never gets as far as being started."""

    made: HangingProducer

    def __init__(self, **_: object) -> None:
        HangingProducer.made = self
        self.starting, self.stopped = asyncio.Event(), False

    async def start(self) -> None:
        self.starting.set()
        await asyncio.Event().wait()

    async def stop(self) -> None:
        self.stopped = True


async def test_a_start_that_is_cancelled_leaves_no_producer_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AIOKafkaProducer", HangingProducer)
    starting = asyncio.create_task(Producer(Cluster("nowhere")).start())
    await asyncio.sleep(0)
    made = HangingProducer.made
    await made.starting.wait()
    starting.cancel()
    with suppress(asyncio.CancelledError):
        await starting
    assert starting.cancelled()
    assert made.stopped

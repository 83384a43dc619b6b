"""Where a worker begins to read after a rebalance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.types import TP

from millrace.kafka.records import Partition
from millrace.stream.faust_app import SafeConsumer
from services.summarize_agent.app import AGENT
from tests.unit.stream.test_app import settings

NEW, AT_THE_START, GOES_ON, CUT_OFF = (TP("share.created", partition) for partition in range(4))


class Thread:
    """The consumer's thread, as Kafka would answer it; remembers what was sought."""

    def __init__(self) -> None:
        self.sought: dict[TP, int] = {}

    async def seek_to_committed(self) -> Mapping[TP, int | None]:
        return {NEW: None, AT_THE_START: 0, GOES_ON: 40, CUT_OFF: 3}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        return dict.fromkeys(partitions, 0) | {CUT_OFF: 7}

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        self.sought.update(partitions)


async def nobody(*_: object) -> None:
    """Is told of messages and partitions."""


async def test_partitions_begin_where_they_were_committed_or_at_the_oldest_record_that_is_kept() -> None:
    thread = Thread()

    app = AGENT.app(settings())
    consumer = SafeConsumer(app.transport, nobody, nobody, nobody)
    consumer._thread.thread_loop.close()  # it is not started
    consumer._thread = cast(AIOKafkaConsumerThread, thread)
    await consumer.seek_to_committed()
    assert thread.sought == {NEW: 0, AT_THE_START: 0, CUT_OFF: 7}, "the library itself seeks what was committed"
    starts = {NEW: 0, AT_THE_START: 0, GOES_ON: 40, CUT_OFF: 7}
    assert consumer.starts == {Partition(tp.topic, tp.partition): start for tp, start in starts.items()}

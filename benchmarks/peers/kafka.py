"""What has come out of a topic, and how much is in it."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from benchmarks.peers.chain import Broken, Finishes

LED_WITHIN_S: Final = 30.0


@asynccontextmanager
async def heard_on(kafka: str, topic: str) -> AsyncIterator[Finishes]:
    """Keys of a topic's new records, as a consumer in a thread hears them."""
    finishes, stopped = Finishes(), threading.Event()

    def listen() -> None:
        while not stopped.is_set():
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                finishes.tell((message.key() or b"").decode(), time.perf_counter())

    with closing(_consumer(kafka)) as consumer:
        consumer.assign(await asyncio.to_thread(_ends, consumer, topic))
        thread = threading.Thread(target=listen, name="finishes", daemon=True)
        thread.start()
        try:
            yield finishes
        finally:
            stopped.set()
            await asyncio.to_thread(thread.join)


def records(kafka: str, topics: Sequence[str]) -> dict[str, int]:
    """Where each topic ends, once its partitions have leaders: its records, and markers of transactions. Blocking."""
    with closing(_consumer(kafka)) as consumer:
        return {topic: sum(one.offset for one in _ends(consumer, topic)) for topic in topics}


def times_of(kafka: str, topic: str, key: str) -> float:
    """When the broker took the first record with a key, in seconds; waits for it. Blocking."""
    deadline = time.monotonic() + LED_WITHIN_S
    with closing(_consumer(kafka)) as consumer:
        consumer.assign([TopicPartition(topic, one.partition, 0) for one in _ends(consumer, topic)])
        while time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is not None and message.error() is None and (message.key() or b"").decode() == key:
                return float(message.timestamp()[1]) / 1000
    raise Broken(f"no record of {key} is on {topic}")


def _consumer(kafka: str) -> Consumer:
    settings = {"bootstrap.servers": kafka, "group.id": uuid.uuid4().hex, "enable.auto.commit": False, "log_level": 2}
    return Consumer(settings)


def _ends(consumer: Consumer, topic: str) -> list[TopicPartition]:
    """A new topic's partitions have no leader for a moment, and a busy broker takes its time with it."""
    deadline = time.monotonic() + LED_WITHIN_S
    while True:
        try:
            numbers = list(consumer.list_topics(topic, 10).topics[topic].partitions)
            ends = [consumer.get_watermark_offsets(TopicPartition(topic, n), 10)[1] for n in numbers]
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return [TopicPartition(topic, n, end) for n, end in zip(numbers, ends, strict=True)]

"""Confirmed output on the real broker: what goes out at once, and what goes along with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from millrace.embedded.readyfile import Addresses
from millrace.errors import Poison
from millrace.kafka import producer as module
from millrace.kafka.producer import Producer, open_producer


@pytest.fixture
async def producer(stack: Addresses, unique: str) -> AsyncIterator[Producer]:
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka)
    await admin.start()
    await admin.create_topics([NewTopic(unique, num_partitions=1, replication_factor=1)])
    await admin.close()
    async with open_producer(stack.cluster) as made:
        yield made


async def read(stack: Addresses, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=stack.kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


async def begin(producer: Producer, topic: str, value: bytes, *, linger: bool = True) -> asyncio.Task[None]:
    """A message that is on its way, or lingers."""
    task = asyncio.create_task(producer.send(topic, key=b"k", value=value, headers=[], linger=linger))
    await asyncio.sleep(0)
    return task


async def test_what_lingers_leaves_with_the_next_that_does_not_and_in_order(
    stack: Addresses, unique: str, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER_S", 3600)
    values = [b"%d" % number for number in range(5)]
    held_back = [await begin(producer, unique, value) for value in values]
    await producer.send(unique, key=b"other", value=b"at once", headers=[])
    await asyncio.gather(*held_back)
    found = await read(stack, unique, len(values) + 1)
    assert found == [*values, b"at once"]  # of a request for money what is settled comes first

    held_back = [await begin(producer, unique, b"later")]  # the next ones linger for themselves
    await producer.send(unique, key=b"other", value=b"at once", headers=[])
    await asyncio.gather(*held_back)


async def test_alone_it_leaves_after_a_moment_and_one_that_is_given_up_holds_back_no_other(
    stack: Addresses, unique: str, producer: Producer
) -> None:
    given_up = await begin(producer, unique, b"never")
    waits = await begin(producer, unique, b"sent")
    given_up.cancel()
    await waits
    assert given_up.cancelled()
    assert await read(stack, unique, 1) == [b"sent"]


async def test_what_the_topic_does_not_take_is_poison_and_not_taken_for_delivered(
    stack: Addresses, unique: str, producer: Producer
) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka)
    await admin.start()
    topic = f"{unique}-small"
    await admin.create_topics([NewTopic(topic, 1, 1, topic_configs={"max.message.bytes": "1000"})])
    await admin.close()
    with pytest.raises(Poison, match=f"2000 bytes is more than {topic} takes"):
        await producer.send(topic, key=b"k", value=bytes(2000), headers=[])
    await producer.send(topic, key=b"k", value=b"small", headers=[])
    assert await read(stack, topic, 1) == [b"small"]

"""Where a consumer group would go on after a restart, as the broker knows it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from millrace.cluster import Cluster
from millrace.errors import Unavailable


class Committed:
    """Asks for a group's committed offsets without being a member of it."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def offsets(self, partitions: Iterable[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Of each partition; one without a commit is left out.

        :raises Unavailable: the broker does not answer.
        """
        found: dict[tuple[str, int], int] = {}
        try:
            for topic, partition in partitions:
                offset = await self._consumer.committed(TopicPartition(topic, partition))
                if offset is not None:
                    found[topic, partition] = offset
        except KafkaError as exc:
            raise Unavailable(f"committed offsets are not known ({type(exc).__name__})") from exc
        return found


@asynccontextmanager
async def open_committed(kafka: Cluster, group: str) -> AsyncIterator[Committed]:
    """Connected.

    :raises Unavailable: no broker answers.
    """
    consumer = AIOKafkaConsumer(**kafka.aiokafka(), group_id=group, enable_auto_commit=False)
    try:
        await consumer.start()
    except KafkaError as exc:
        await consumer.stop()
        raise Unavailable(f"Kafka at {kafka} does not answer ({type(exc).__name__})") from exc
    try:
        yield Committed(consumer)
    finally:
        await consumer.stop()

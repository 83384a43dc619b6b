"""What Kafka holds, read by a consumer that knows nothing of the project. Everything here blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from millrace.cluster import Cluster


@contextmanager
def consumer(kafka: str | Cluster, group: str = "a-reader") -> Iterator[Consumer]:
    """A consumer that commits by request only, and says where partitions end."""
    made = Consumer(
        {
            **(Cluster(kafka) if isinstance(kafka, str) else kafka).librdkafka(),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    try:
        yield made
    finally:
        made.close()


def partitions(of: Consumer, topic: str) -> list[TopicPartition]:
    """A topic's partitions, each from its beginning."""
    numbers = of.list_topics(topic, timeout=10).topics[topic].partitions
    return [TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers]


def read_all(kafka: str | Cluster, topic: str) -> list[Message]:
    """Every committed record, in order within each partition."""
    with consumer(kafka) as reader:
        all_of = partitions(reader, topic)
        reader.assign(all_of)
        records: list[Message] = []
        ended: set[int | None] = set()
        while len(ended) < len(all_of):
            for message in reader.consume(1000, 0.3):
                if message.error() is None:
                    records.append(message)
                else:
                    ended.add(message.partition())
        return records


def ends(kafka: str | Cluster, topic: str) -> list[int]:
    """Where each partition ends."""
    with consumer(kafka) as reader:
        return [reader.get_watermark_offsets(partition, 10)[1] for partition in partitions(reader, topic)]

"""Reads what Kafka keeps of a stage's events, outside of any consumer group: nobody's offsets move."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final, TypeVar, cast

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka import Message as Record

from millrace.clock import millis
from millrace.cluster import Cluster
from millrace.errors import ConfigurationError, Unavailable
from millrace.kafka.records import Message, Partition
from millrace.stream.replay.window import Stretch
from millrace.telemetry.logs import LIBRDKAFKA

_CHUNK: Final = 500
_POLL_S: Final = 0.5
_ANSWER_S: Final = 15.0
_SILENT_S: Final = 60.0
"""So long without a record before the end: the broker has gone."""


class EventLog:
    """Records of the topics that a stage reads events of."""

    def __init__(self, consumer: Consumer, topics: Collection[str]) -> None:
        self._consumer = consumer
        self._topics = topics

    async def stretches(self, since: datetime | None) -> list[Stretch]:
        """Everything that is kept, or was written since, up to now.

        :raises Unavailable: Kafka does not answer.
        """
        return await _asked(self._stretches, since)

    async def kept(self, wanted: Sequence[Stretch]) -> list[Stretch]:
        """What Kafka has of the offsets that somebody named.

        :raises ConfigurationError: a topic has no such partition.
        :raises Unavailable: Kafka does not answer.
        """
        return await _asked(self._kept, wanted)

    async def read(self, stretch: Stretch, start: int) -> AsyncIterator[list[Message]]:
        """The records of a stretch from an offset on, in order; what is past retention is left out.

        :raises Unavailable: Kafka does not answer any more.
        """
        first, _ = await _asked(self._ends, stretch.at)
        at = max(start, first)
        if at < stretch.stop:
            self._consumer.assign([TopicPartition(*stretch.at, at)])
        silent_s = 0.0
        while at < stretch.stop:
            records = await _asked(self._consumer.consume, _CHUNK, _POLL_S)
            found = [record for record in records if record.error() is None]
            silent_s = 0.0 if found else silent_s + _POLL_S
            if silent_s > _SILENT_S:
                raise Unavailable(f"Kafka has not sent {stretch.topic}-{stretch.partition} from {at} on")
            messages = map(_message, found)
            chunk = [one for one in messages if one.offset < stretch.stop and not one.is_tombstone]
            if found:
                at = (found[-1].offset() or 0) + 1
            if chunk:
                yield chunk

    def _stretches(self, since: datetime | None) -> list[Stretch]:
        found = []
        for topic in sorted(self._topics):
            for number in self._partitions(topic):
                start, stop = self._ends(Partition(topic, number))
                if since is not None:
                    start = self._first_since(Partition(topic, number), since, stop)
                found.append(Stretch(topic, number, start, stop, start))
        return found

    def _kept(self, wanted: Sequence[Stretch]) -> list[Stretch]:
        found = []
        for one in wanted:
            if one.partition not in self._partitions(one.topic):
                raise ConfigurationError(f"{one.topic} has no partition {one.partition}.")
            first, end = self._ends(one.at)
            start = max(one.start, first)
            found.append(Stretch(one.topic, one.partition, start, max(min(one.stop, end), start), start))
        return found

    def _partitions(self, topic: str) -> list[int]:
        return sorted(self._consumer.list_topics(topic, _ANSWER_S).topics[topic].partitions)

    def _ends(self, at: Partition) -> tuple[int, int]:
        return self._consumer.get_watermark_offsets(TopicPartition(*at), _ANSWER_S)

    def _first_since(self, at: Partition, since: datetime, end: int) -> int:
        asked = TopicPartition(*at, max(millis(since), 0))
        (answer,) = self._consumer.offsets_for_times([asked], _ANSWER_S)
        if answer.error is not None:
            raise KafkaException(answer.error)
        return end if answer.offset < 0 else answer.offset  # negative: nothing was written since


_T = TypeVar("_T")


async def _asked(ask: Callable[..., _T], *args: object) -> _T:
    """What the client says, asked in a thread: it blocks."""
    try:
        return await asyncio.to_thread(ask, *args)
    except KafkaException as exc:
        raise Unavailable(f"Kafka does not answer ({exc.args[0].name()})") from exc


def _message(record: Record) -> Message:
    at = Partition(record.topic() or "", record.partition() or 0)
    # As in the pool: nobody tells a header without a value from an empty one.
    pairs = cast("list[tuple[str, bytes | None]]", record.headers() or [])
    headers = {name: value or b"" for name, value in pairs}
    return Message(
        at, record.offset() or 0, record.key() or b"", record.value() or b"", headers, record.value() is None
    )


@asynccontextmanager
async def open_log(kafka: Cluster, topics: Collection[str]) -> AsyncIterator[EventLog]:
    """A reader of these topics; they must be there."""
    # librdkafka rather than aiokafka, which was seen never to stop when it had been told to forget a topic.
    consumer = Consumer(
        {
            **kafka.librdkafka(),
            "group.id": "millrace-replay",  # required, never joined
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        },
        logger=logging.getLogger(LIBRDKAFKA),
    )
    try:
        yield EventLog(consumer, topics)
    finally:
        await asyncio.to_thread(consumer.close)

"""How far the workers of each stage are behind their topics, by Kafka's own offsets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Final, TypeVar

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from millrace.errors import Unavailable
from millrace.telemetry.logs import LIBRDKAFKA

_ASK_S: Final = 2.0
GROUPS: Final = ("millrace-{stage}-agent", "millrace-{stage}-local")
"""Consumer groups of a stage: its workers', and those of its workers with a local model."""
_LATEST: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]
T = TypeVar("T")


class Lags:
    """Asks with a client of its own, which is connected when it is first needed."""

    def __init__(self, kafka: str) -> None:
        self._kafka = kafka
        self._admin: AdminClient | None = None

    async def of(self, stages: Iterable[str]) -> dict[str, int]:
        """Records behind, by stage; a stage of which no group has ever committed is left out.

        Of the partitions that a group has committed in: others have had no record yet, or nobody who reads them.

        :raises Unavailable: Kafka does not answer within a few seconds.
        """
        try:
            return await asyncio.to_thread(self._of, list(stages))
        except (KafkaException, TimeoutError) as exc:
            raise Unavailable(f"Kafka does not say how far workers are ({type(exc).__name__}).") from exc

    def _of(self, stages: list[str]) -> dict[str, int]:
        if self._admin is None:
            config: dict[str, str | int | float | bool] = {
                "bootstrap.servers": self._kafka,
                "client.id": "millrace-api-gateway-lags",
            }
            self._admin = AdminClient(config, logger=logging.getLogger(LIBRDKAFKA))
        admin = self._admin
        asked = {
            (stage, group): self._committed(admin, group)
            for stage in stages
            for group in (name.format(stage=stage) for name in GROUPS)
        }
        committed = {key: _offsets(_result(future)) for key, future in asked.items()}
        places = {place for offsets in committed.values() for place in offsets}
        ends = self._ends(admin, places)
        found: dict[str, int] = {}
        for (stage, _), offsets in committed.items():
            if offsets:
                found[stage] = found.get(stage, 0) + behind(offsets, ends)
        return found

    @staticmethod
    def _committed(admin: AdminClient, group: str) -> Future[ConsumerGroupTopicPartitions]:
        asked = [ConsumerGroupTopicPartitions(group)]
        return admin.list_consumer_group_offsets(asked, request_timeout=_ASK_S)[group]

    @staticmethod
    def _ends(admin: AdminClient, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        wanted = {TopicPartition(topic, partition): _LATEST for topic, partition in places}
        if not wanted:
            return {}
        futures = admin.list_offsets(wanted, request_timeout=_ASK_S)
        return {(place.topic, place.partition): _result(future).offset for place, future in futures.items()}


def behind(committed: Mapping[tuple[str, int], int], ends: Mapping[tuple[str, int], int]) -> int:
    """Records between what a group has committed and the ends of its partitions, which are read a little apart."""
    return sum(max(0, ends[place] - offset) for place, offset in committed.items() if place in ends)


def _offsets(found: ConsumerGroupTopicPartitions) -> dict[tuple[str, int], int]:
    return {(one.topic, one.partition): one.offset for one in found.topic_partitions or [] if one.offset >= 0}


def _result(future: Future[T]) -> T:
    return future.result(timeout=_ASK_S + 1)

"""How far the workers of each stage are behind their topics, by Kafka's own offsets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from millrace.cluster import Cluster
from millrace.errors import Unavailable
from millrace.telemetry.logs import LIBRDKAFKA

_ASK_S: Final = 2.0
GROUPS: Final = ("millrace-{stage}-agent", "millrace-{stage}-local")
"""Consumer groups of a stage: its workers', and those of its workers with a local model."""
_LATEST: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_CLIENT: Final = "millrace-api-gateway-lags"
Place = tuple[str, int]
"""A topic and a partition."""


class Lags:
    """Asks with clients of its own."""

    def __init__(self, kafka: Cluster) -> None:
        self._kafka = kafka
        self._admin: AdminClient | None = None

    async def of(self, stages: Iterable[str]) -> dict[str, int]:
        """Records behind, by stage; a stage of which no group has ever committed is left out.

        Of the partitions that a group has committed in: others have had no record yet, or nobody who reads them.

        :raises Unavailable: Kafka does not answer within a few seconds.
        """
        asked = [(stage, name.format(stage=stage)) for stage in stages for name in GROUPS]
        try:
            async with asyncio.timeout(2 * _ASK_S), _groups(self._kafka) as groups:
                committed = await asyncio.gather(*(_committed(groups, group) for _, group in asked))
            ends = await asyncio.to_thread(self._ends, {place for offsets in committed for place in offsets})
        except (KafkaError, KafkaException, TimeoutError) as exc:
            raise Unavailable(f"Kafka does not say how far workers are ({type(exc).__name__}).") from exc
        found: dict[str, int] = {}
        for (stage, _), offsets in zip(asked, committed, strict=True):
            if offsets:
                found[stage] = found.get(stage, 0) + behind(offsets, ends)
        return found

    def _ends(self, places: Iterable[Place]) -> dict[Place, int]:
        wanted = {TopicPartition(topic, partition): _LATEST for topic, partition in places}
        if not wanted:
            return {}
        if self._admin is None:
            config: dict[str, str | int | float | bool] = {**self._kafka.librdkafka(), "client.id": _CLIENT}
            self._admin = AdminClient(config, logger=logging.getLogger(LIBRDKAFKA))
        futures = self._admin.list_offsets(wanted, request_timeout=_ASK_S)
        return {
            (place.topic, place.partition): future.result(timeout=_ASK_S + 1).offset
            for place, future in futures.items()
        }


@asynccontextmanager
async def _groups(kafka: Cluster) -> AsyncIterator[AIOKafkaAdminClient]:
    # Not librdkafka's, whose `list_consumer_group_offsets` ends the process by a segmentation fault while a group's
    # coordinator is not ready (its issue 5040).
    admin = AIOKafkaAdminClient(**kafka.aiokafka(), client_id=_CLIENT)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def _committed(groups: AIOKafkaAdminClient, group: str) -> dict[Place, int]:
    found = await groups.list_consumer_group_offsets(group)
    return {(place.topic, place.partition): committed.offset for place, committed in found.items()}


def behind(committed: Mapping[Place, int], ends: Mapping[Place, int]) -> int:
    """Records between what a group has committed and the ends of its partitions, which are read a little apart."""
    return sum(max(0, ends[place] - offset) for place, offset in committed.items() if place in ends)

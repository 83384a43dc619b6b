"""What the pool and the watch ask of the consumer, answered by Faust."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import cast

from faust.types import TP

from millrace.kafka.committed import Committed
from millrace.kafka.records import Partition
from millrace.stream.faust_app import FaustApp, SafeConsumer


class FaustSource:
    """Implements `Source`."""

    def __init__(self, app: FaustApp) -> None:
        self._app = app

    def generation(self) -> int:
        """See `Source.generation`."""
        return int(self._app.consumer_generation_id)

    def flowing(self) -> bool:
        """See `Source.flowing`."""
        return bool(self._app.flow_control.is_active())

    def starts(self) -> Mapping[Partition, int]:
        """See `Source.starts`."""
        return cast(SafeConsumer, self._app.consumer).starts


class FaustOffsets:
    """Implements `Offsets` for the topics whose records are jobs."""

    def __init__(self, app: FaustApp, topics: Collection[str], committed: Committed) -> None:
        self._app = app
        self._topics = topics
        self._committed = committed

    async def positions(self) -> Mapping[Partition, int]:
        """See `Offsets.positions`."""
        consumer, positions = self._app.consumer, {}
        for tp in consumer.assignment():
            if tp.topic in self._topics and (position := await consumer.position(tp)) is not None:
                positions[Partition(tp.topic, tp.partition)] = position
        return positions

    def end(self, at: Partition) -> int:
        """See `Offsets.end`."""
        consumer = self._app.consumer
        return int(consumer.highwater(TP(*at)) or 0) if TP(*at) in consumer.assignment() else 0

    async def committed(self, partitions: Iterable[Partition]) -> Mapping[Partition, int]:
        """See `Offsets.committed`."""
        offsets = await self._committed.offsets(partitions)
        return {Partition(*at): offset for at, offset in offsets.items()}

"""The Kafka producer: idempotent, acknowledged by all in-sync replicas, partitioned as every other client does."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from millrace.errors import Unavailable
from millrace.telemetry.logs import LIBRDKAFKA
from services.api_gateway.ports import OutboxRow

log = logging.getLogger(__name__)

_POLL_S = 0.1
_METADATA_S = 3.0
Failure = str | None


class KafkaPublisher:
    """Publishes outbox rows with confirmed delivery; close it with `close`."""

    def __init__(self, bootstrap: str, *, max_message_bytes: int, delivery_timeout_s: float = 10.0) -> None:
        self._config: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap,
            "client.id": "millrace-api-gateway",
            "enable.idempotence": True,
            "acks": "all",
            # As Java, aiokafka and Faust have it: by librdkafka's default the same key goes to another partition.
            "partitioner": "murmur2_random",
            "message.max.bytes": max_message_bytes,
            "delivery.timeout.ms": int(delivery_timeout_s * 1000),
            "reconnect.backoff.max.ms": 2000,
            "linger.ms": 2,
        }
        self._fatal: str | None = None
        self._closing = threading.Event()
        self._producer = self._connect()
        self._poller = threading.Thread(target=self._poll, name="kafka-delivery-reports", daemon=True)
        self._poller.start()

    async def publish(self, rows: Sequence[OutboxRow]) -> Sequence[Failure]:
        """Send rows in order; None for each that is confirmed, else why not."""
        if self._fatal is not None:  # an idempotent producer cannot go on after one
            log.warning("The producer starts anew after a fatal error: %s", self._fatal)
            self._fatal = None
            self._producer = await asyncio.to_thread(self._connect)
        return await asyncio.gather(*(self._send(row) for row in rows))

    async def metadata(self) -> int:
        """Number of brokers that answer.

        :raises Unavailable: none does, within three seconds.
        """
        try:
            cluster = await asyncio.to_thread(self._producer.list_topics, timeout=_METADATA_S)
        except KafkaException as exc:
            raise Unavailable("Kafka does not answer; accepted shares wait in the outbox.") from exc
        return len(cluster.brokers)

    async def close(self) -> None:
        """Stop; what is not confirmed stays in the outbox for the next start."""
        await asyncio.to_thread(self._producer.flush, 2.0)
        self._producer.purge()
        self._closing.set()
        await asyncio.to_thread(self._poller.join)

    def _connect(self) -> Producer:
        return Producer({**self._config, "error_cb": self._failed}, logger=logging.getLogger(LIBRDKAFKA))

    def _failed(self, error: KafkaError) -> None:  # on the poller's thread
        if error.fatal():
            self._fatal = error.str()

    def _poll(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(_POLL_S)

    def _send(self, row: OutboxRow) -> asyncio.Future[Failure]:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Failure] = loop.create_future()

        def finish(failure: Failure) -> None:
            if not outcome.done():
                outcome.set_result(failure)

        def delivered(error: KafkaError | None, _: Message) -> None:  # on the poller's thread
            loop.call_soon_threadsafe(finish, None if error is None else error.str())

        try:
            self._producer.produce(
                row.topic, row.value, row.key, headers=list(row.headers.items()), on_delivery=delivered
            )
        except (KafkaException, BufferError) as exc:
            finish(str(exc))
        return outcome

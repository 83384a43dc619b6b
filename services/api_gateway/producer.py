"""The Kafka producer: idempotent, acknowledged by all in-sync replicas, partitioned as every other client does."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from millrace.cluster import Cluster
from millrace.errors import Unavailable
from millrace.telemetry.logs import LIBRDKAFKA
from services.api_gateway.ports import OutboxRow, Unconfirmed

log = logging.getLogger(__name__)

_POLL_S = 0.1
_METADATA_S = 3.0
CONFIRM_WITHIN_S: Final = 5.0
_BY_KEY: Final = -1
# librdkafka's own errors have public names that begin with an underscore.
_ALL_DOWN: Final = KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001
_TIMED_OUT: Final = (KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT, KafkaError.REQUEST_TIMED_OUT)  # noqa: SLF001
# Another message may be taken while this one is not: none of these says that the broker is away.
_REFUSED: Final = (
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_MSG,
    KafkaError.INVALID_RECORD,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
)


def unconfirmed(error: KafkaError) -> Unconfirmed:
    """What a delivery report's error says of its message, and of the broker."""
    if error.code() in _REFUSED:
        return Unconfirmed(error.str(), "refused")
    return Unconfirmed(error.str(), "timeout" if error.code() in _TIMED_OUT else "away")


class KafkaPublisher:
    """Sends outbox rows with confirmed delivery; close it with `close`.

    `lost` is called, on the event loop, with a reason when no broker can be reached any more.
    """

    def __init__(
        self, cluster: Cluster, *, max_message_bytes: int, confirm_within_s: float = CONFIRM_WITHIN_S
    ) -> None:
        self._config: dict[str, str | int | float | bool] = {
            **cluster.librdkafka(),
            "client.id": "millrace-api-gateway",
            "enable.idempotence": True,
            "acks": "all",
            # As Java, aiokafka and Faust have it: by librdkafka's default the same key goes to another partition.
            "partitioner": "murmur2_random",
            "message.max.bytes": max_message_bytes,
            "delivery.timeout.ms": int(confirm_within_s * 1000),
            # Only its sockets: when it is asked and sent anything decides `standing`, more and more rarely. Slower
            # here, a probe would end before its client has tried to connect.
            "reconnect.backoff.ms": 500,
            "reconnect.backoff.max.ms": 2000,
            "linger.ms": 2,
        }
        self.lost: Callable[[str], None] = lambda _: None
        self._loop = asyncio.get_running_loop()
        self._fatal: str | None = None
        self._closing = threading.Event()
        self._producer = self._connect()
        self._poller = threading.Thread(target=self._poll, name="kafka-delivery-reports", daemon=True)
        self._poller.start()

    async def send(self, rows: Sequence[OutboxRow]) -> Sequence[Unconfirmed | None]:
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
        if error.code() == _ALL_DOWN:
            self._loop.call_soon_threadsafe(self.lost, error.str())

    def _poll(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(_POLL_S)

    def _send(self, row: OutboxRow) -> asyncio.Future[Unconfirmed | None]:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Unconfirmed | None] = loop.create_future()

        def finish(failure: Unconfirmed | None) -> None:
            if not outcome.done():
                outcome.set_result(failure)

        def delivered(error: KafkaError | None, _: Message) -> None:  # on the poller's thread
            loop.call_soon_threadsafe(finish, None if error is None else unconfirmed(error))

        try:
            self._producer.produce(
                row.topic,
                row.value,
                row.key,
                partition=_BY_KEY if row.partition is None else row.partition,
                headers=list(row.headers.items()),
                on_delivery=delivered,
            )
        except KafkaException as exc:
            error = exc.args[0]
            finish(unconfirmed(error) if isinstance(error, KafkaError) else Unconfirmed(str(exc), "away"))
        except BufferError as exc:  # the queue is full of what the broker does not take
            finish(Unconfirmed(str(exc), "away"))
        return outcome

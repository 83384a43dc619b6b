"""Requests that the ledger appends to its own log: caps of the budgets file, and expiries."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from millrace.contracts.events import CostRequest
from millrace.contracts.headers import Headers, headers, new_trace
from millrace.ledger.topics import REQUESTS
from millrace.telemetry.logs import LIBRDKAFKA
from services.cost_ledger.log import FULL_QUEUE_S, Delivered, LogSetup

log = logging.getLogger(__name__)

_CONFIRMED_S: Final = 10.0


class OwnRequests:
    """Appends requests, in order. What is not confirmed is asked for again by whoever asked. For one thread."""

    def __init__(self, setup: LogSetup) -> None:
        self._setup = setup
        self._producer = Producer(
            {
                **setup.kafka.librdkafka(),
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 0,
                "delivery.timeout.ms": int(_CONFIRMED_S * 1000),
                "reconnect.backoff.max.ms": 2000,
            },
            logger=logging.getLogger(LIBRDKAFKA),
        )

    def append(self, partition: int, requests: Sequence[CostRequest]) -> None:
        """Append to a partition, and wait a while for the confirmation.

        :raises KafkaException: the producer cannot go on.
        """
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: object) -> None:
            if error is not None:
                failures.append(error)

        for request in requests:
            self._produce(partition, request, delivered)
        left = self._producer.flush(_CONFIRMED_S) if requests else 0
        for error in failures:
            if error.fatal():
                raise KafkaException(error)
        if left or failures:
            log.warning("partition %d: %d requests of the ledger's own were not confirmed", partition, len(requests))

    def _produce(self, partition: int, request: CostRequest, delivered: Delivered) -> None:
        value, about = self._setup.encoder.encode(REQUESTS, request), _headers(request)
        while True:
            try:
                self._producer.produce(
                    self._setup.topics.requests,
                    value,
                    request.account.encode(),
                    partition,
                    on_delivery=delivered,
                    headers=[*about],
                )
            except BufferError:  # librdkafka holds 100,000 messages: so many holds may run out at once
                self._producer.poll(FULL_QUEUE_S)
            else:
                return


def _headers(request: CostRequest) -> Headers:
    return headers(
        REQUESTS,
        f"{request.request_id}:{request.op}",
        source="cost_ledger",
        subject=request.account,
        time=request.requested_at,
        traceparent=new_trace(sampled=False),
    )

"""What a message of the request log is to the ledger."""

from __future__ import annotations

import threading
from typing import cast

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Message

from millrace.ledger.topics import REQUESTS
from millrace.testing.registry import codec_in_memory
from services.cost_ledger.intake import Intake
from services.cost_ledger.log import Broken
from tests.unit.ledger.build import NOON, reserve


class Record:
    """A message as librdkafka gives it."""

    def __init__(self, value: bytes, kind: int = TIMESTAMP_LOG_APPEND_TIME) -> None:
        self._value, self._kind = value, kind

    def timestamp(self) -> tuple[int, int]:
        return self._kind, NOON

    def topic(self) -> str:
        return REQUESTS

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 7

    def key(self) -> bytes:
        return b"a"

    def value(self) -> bytes:
        return self._value

    def headers(self) -> list[tuple[str, bytes]]:
        return [("traceparent", b"the first"), ("traceparent", b"the last")]


async def test_a_request_has_its_place_and_the_brokers_time() -> None:
    codec = await codec_in_memory()
    request = reserve("1", 70)
    record = Record(codec.encode(REQUESTS, request))
    logged = Intake(codec, threading.Event()).logged(cast(Message, record))
    assert (logged.offset, logged.at_ms, logged.account, logged.request) == (7, NOON, "a", request)
    assert logged.traceparent == "the last"


async def test_bytes_that_are_no_request_are_logged_with_the_reason() -> None:
    logged = Intake(await codec_in_memory(), threading.Event()).logged(cast(Message, Record(b"nonsense")))
    assert isinstance(logged.request, str)
    assert logged.request.startswith("undecodable: ")


async def test_a_log_on_its_clients_clocks_is_refused() -> None:
    codec = await codec_in_memory()
    record = Record(codec.encode(REQUESTS, reserve("1", 70)), TIMESTAMP_CREATE_TIME)
    with pytest.raises(Broken, match="carries its clients' times"):
        Intake(codec, threading.Event()).logged(cast(Message, record))

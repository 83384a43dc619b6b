"""Messages of the request log become requests with their place in the log."""

from __future__ import annotations

import logging
import threading
from typing import Final, cast

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from millrace.contracts.events import CostRequest
from millrace.contracts.headers import header
from millrace.contracts.wire import Codec
from millrace.errors import Poison, Unavailable
from millrace.ledger.topics import REQUESTS
from services.cost_ledger.log import Broken
from services.cost_ledger.state import Logged

log = logging.getLogger(__name__)

_REGISTRY_AWAY_S: Final = 1.0
_LINGERING: Final = (":settle", ":release", ":unknown")


class Intake:
    """Decodes; waits while the registry is away, until `stopping` is set."""

    def __init__(self, codec: Codec, stopping: threading.Event) -> None:
        self._codec = codec
        self._stopping = stopping

    def logged(self, message: Message) -> Logged:
        """A message with its request, or with the reason why it is none.

        :raises Broken: the topic does not carry the broker's times.
        :raises Unavailable: the registry is away, and this process is stopping.
        """
        kind, at_ms = message.timestamp()
        if kind != TIMESTAMP_LOG_APPEND_TIME:
            raise Broken(
                f"{message.topic()} carries its clients' times: set message.timestamp.type=LogAppendTime "
                f"(`millrace topics apply`)"
            )
        offset = message.offset() or 0
        account = (message.key() or b"").decode("utf-8", "replace")
        trace = _traceparent(message)
        while True:
            try:
                request = self._codec.decode_blocking(REQUESTS, message.value() or b"")
            except Poison as exc:
                return Logged(offset, at_ms, account, f"undecodable: {exc}", trace)
            except Unavailable as exc:
                log.warning("partition %s waits at offset %d: %s", message.partition(), offset, exc)
                if self._stopping.wait(_REGISTRY_AWAY_S):
                    raise
            else:
                if not isinstance(request, CostRequest):
                    raise TypeError(f"{REQUESTS} carries {type(request).__name__}")
                return Logged(offset, at_ms, account, request, trace)


def is_waited_for(message: Message) -> bool:
    """Whether somebody waits for the decision, as far as can be told without decoding: the id of a request ends in
    what it asks for.
    """
    asked = header(cast("list[tuple[str, bytes]]", message.headers() or []), "ce_id")
    return asked is None or not asked.endswith(_LINGERING)


def _traceparent(message: Message) -> str | None:
    """As it is in the headers, whatever it is; `continue_trace` judges it."""
    for name, value in reversed(list(message.headers() or ())):
        if name == "traceparent" and isinstance(value, bytes):
            return value.decode("ascii", "replace")
    return None

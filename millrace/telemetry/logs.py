"""Logs that a person can read during an outage.

While Kafka is away its client writes sixty lines a second about it; what Millrace itself says about the outage, once,
drowns in them.
"""

from __future__ import annotations

import logging
import re

LIBRDKAFKA = "librdkafka"
"""Logger to hand to clients of confluent-kafka, so that their lines can be told from ours."""

_EVERY_S = 30.0
_REMEMBERED = 20  # times as long a line is known that came before
_REPEATING = (
    LIBRDKAFKA,
    "aiokafka",
    "aiokafka.conn",
    "aiokafka.cluster",
    "aiokafka.consumer.fetcher",
    "aiokafka.consumer.group_coordinator",
    "aiokafka.producer.producer",
    "aiokafka.producer.sender",
    "asyncpg.pool",
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk._shared_internal",
)
_ONLY_WARNINGS = ("httpx", "httpx2")  # otherwise a line for each request, with its URL
_NUMBER = re.compile(r"\d+")


class OncePerWhile(logging.Filter):
    """Lets a warning or error through once in `every_s` seconds, then says how many like it there were meanwhile.

    Lines are alike when they differ in numbers only. Tracebacks become the error's last line: they show the
    library's own code. Time is the records'.
    """

    def __init__(self, every_s: float = _EVERY_S) -> None:
        super().__init__()
        self._every_s = every_s
        self._seen: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written; one that is may be changed."""
        if record.levelno < logging.WARNING:
            return True
        text = record.getMessage()
        alike = _NUMBER.sub("0", text)
        since, held_back = self._seen.get(alike, (float("-inf"), 0))
        if record.created - since < self._every_s:
            self._seen[alike] = since, held_back + 1
            return False
        self._forget(record.created)
        self._seen[alike] = record.created, 0
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{text} ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
            record.exc_info = record.exc_text = None
        more = f" ({held_back} more like it since)" if held_back else ""
        record.msg, record.args = f"{text}{more}", ()  # Faust's formatter goes through the arguments
        return True

    def _forget(self, now: float) -> None:
        """Nobody knows how many kinds of lines a library has: old ones go, with their count."""
        self._seen = {
            alike: seen for alike, seen in self._seen.items() if now - seen[0] < _REMEMBERED * self._every_s
        }


def quieten_libraries() -> None:
    """Apply it to the clients of Kafka and PostgreSQL; may be called again."""
    for name in _REPEATING:
        logger = logging.getLogger(name)
        if not any(isinstance(known, OncePerWhile) for known in logger.filters):
            logger.addFilter(OncePerWhile())
    for name in _ONLY_WARNINGS:
        logging.getLogger(name).setLevel(logging.WARNING)

"""Message headers: CloudEvents' Kafka binding in binary mode, and W3C trace context.

https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/kafka-protocol-binding.md (1.0.2)
https://www.w3.org/TR/trace-context/ (version 00)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from random import randbytes

Headers = list[tuple[str, bytes]]

CONTENT_TYPE = "application/vnd.confluent.avro"
"""Of the value: five bytes of framing before the Avro, so `application/avro` would be wrong."""
TYPE_PREFIX = "io.millrace."
TRACE_HEADER = "traceparent"
TIME_HEADER = "ce_time"
"""When what the event tells came about."""

_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_SAMPLED = 0x01


@dataclass(frozen=True)
class TraceParent:
    """Position in a trace: trace id (32 hex digits), span id (16) and whether it is recorded."""

    trace_id: str
    span_id: str
    sampled: bool = True

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{_SAMPLED if self.sampled else 0:02x}"


def parse_traceparent(value: str | bytes | None) -> TraceParent | None:
    """Read a `traceparent`; None when it is missing or not valid. Later versions are read as far as 00 goes."""
    if value is None:
        return None
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    found = _TRACEPARENT.fullmatch(text)
    if found is None or found["version"] == "ff" or (found["version"] == "00" and found["more"]):
        return None
    if not found["trace"].strip("0") or not found["span"].strip("0"):
        return None
    return TraceParent(found["trace"], found["span"], bool(int(found["flags"], 16) & _SAMPLED))


def new_trace(random_bytes: Callable[[int], bytes] = randbytes, *, sampled: bool = True) -> TraceParent:
    """The first span of a new trace; not sampled, nobody need record it."""
    return TraceParent(_nonzero(16, random_bytes), _nonzero(8, random_bytes), sampled)


def continue_trace(received: str | bytes | None, random_bytes: Callable[[int], bytes] = randbytes) -> TraceParent:
    """A new span of the trace that a message came with; of a new trace when it came with none, or with nonsense."""
    before = parse_traceparent(received)
    if before is None:
        return new_trace(random_bytes)
    return TraceParent(before.trace_id, _nonzero(8, random_bytes), before.sampled)


def headers(
    event_type: str,
    event_id: str,
    *,
    source: str,
    subject: str,
    time: datetime,
    traceparent: TraceParent | str,
) -> Headers:
    """Headers of an event.

    `event_type` is the schema's name (`share.created`), `event_id` comes from `millrace.ids.event_id`, so that a
    repeat carries the same, `source` names the service, `subject` the share or account, `time` is aware.

    :raises ValueError: `time` has no time zone.
    """
    if time.tzinfo is None:
        raise ValueError("the time of an event needs a time zone")
    stamp = time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return [
        *_of_all(event_type, source),
        ("ce_id", event_id.encode()),
        (TIME_HEADER, stamp.encode()),
        ("ce_subject", subject.encode()),
        (TRACE_HEADER, str(traceparent).encode()),
    ]


@cache
def _of_all(event_type: str, source: str) -> tuple[tuple[str, bytes], ...]:
    """What all events of a type from a source have; there are few of either."""
    return (
        ("ce_specversion", b"1.0"),
        ("ce_source", f"/{source.lstrip('/')}".encode()),
        ("ce_type", f"{TYPE_PREFIX}{event_type.removeprefix(TYPE_PREFIX)}".encode()),
        ("content-type", CONTENT_TYPE.encode()),
    )


def header(received: Iterable[tuple[str, bytes]] | None, name: str) -> str | None:
    """The last header of that name as text (Kafka allows repeats); None when it is missing or not UTF-8."""
    found: str | None = None
    for key, value in received or ():
        if key == name and value is not None:
            try:
                found = value.decode()
            except UnicodeDecodeError:
                found = None
    return found


def _nonzero(count: int, random_bytes: Callable[[int], bytes]) -> str:
    """Random bytes as hex; all zeros would mean `no id`."""
    while not any(raw := random_bytes(count)):
        pass
    return raw.hex()

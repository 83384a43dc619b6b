"""Traces: what a service does, as spans that an OpenTelemetry collector is sent when one is named.

Spans of a share belong to the trace that its request began, over topics, agents, retries and waiting. Where none is
named, nothing is recorded or instrumented, and messages carry a trace all the same: other programs may record it.

Names and attributes are those of OpenTelemetry's semantic conventions where these have any:
https://opentelemetry.io/docs/specs/semconv/messaging/kafka/ and …/gen-ai/. No text of a share is in one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags

from millrace.contracts.headers import (
    TRACE_HEADER,
    Headers,
    TraceParent,
    continue_trace,
    new_trace,
    parse_traceparent,
)

BEFORE_HEADER: Final = "millrace-trace-before"
"""The trace of the message that a redrive or a replay works on again, in a trace of its own."""

_TRACER: Final = trace.get_tracer("millrace")
"""Records nothing until `millrace.tracing.exporting` has named a collector."""


def trace_of(received: str | bytes | None) -> TraceParent:
    """What a message that is sent now carries: the span that is under way, else a new one of the trace that came.

    :param received: the `traceparent` of what it answers, whatever that is.
    """
    here = trace.get_current_span().get_span_context()
    if not here.is_valid:
        if parse_traceparent(received) is None:
            return new_trace(sampled=not recording())  # who records has chosen nothing that this belongs to
        return continue_trace(received)
    return TraceParent(f"{here.trace_id:032x}", f"{here.span_id:016x}", here.trace_flags.sampled)


def recording() -> bool:
    """Whether spans of this process are kept."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


@contextmanager
def span(
    name: str, *, kind: SpanKind = SpanKind.INTERNAL, attributes: Mapping[str, str | int] | None = None
) -> Iterator[Span]:
    """A part of what is under way; an error that leaves it is noted by its type alone: its text may quote a share."""
    with _TRACER.start_as_current_span(
        name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as made:
        yield from _noting(made)


def about(attributes: Mapping[str, str | int]) -> None:
    """Say more of what is under way."""
    trace.get_current_span().set_attributes(attributes)


@contextmanager
def processing(stage: str, place: tuple[str, int], offset: int, headers: Mapping[str, bytes]) -> Iterator[Span]:
    """Work of a stage on the record at a topic's partition and offset, in the trace that it came with."""
    topic, partition = place
    before = _context(parse_traceparent(headers.get(BEFORE_HEADER)))
    with _TRACER.start_as_current_span(
        f"process {topic}",
        _beneath(headers.get(TRACE_HEADER)),
        kind=SpanKind.CONSUMER,
        attributes={
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.operation.name": "process",
            "messaging.destination.name": topic,
            "messaging.destination.partition.id": str(partition),
            "messaging.kafka.offset": offset,
            "millrace.stage": stage,
        },
        links=None if before is None else [Link(before)],
        record_exception=False,
        set_status_on_exception=False,
    ) as made:
        yield from _noting(made)


@contextmanager
def sending(headers: Sequence[tuple[str, bytes]]) -> Iterator[Headers]:
    """The headers that a message is to be sent with: where libraries record that, they write the trace themselves.

    It is sent by what is under way, or else in the trace that it carries: it may have waited since.
    """
    if not recording():
        yield list(headers)
        return
    carried = next((value for name, value in headers if name == TRACE_HEADER), None)
    here = trace.get_current_span().get_span_context().is_valid
    token = context.attach(context.get_current() if here else _beneath(carried))
    try:
        yield [(name, value) for name, value in headers if name != TRACE_HEADER]
    finally:
        context.detach(token)


@contextmanager
def together(name: str, traces: Iterable[str | bytes | None]) -> Iterator[None]:
    """What is done for many messages at once: in the trace of the first that is recorded, linked to all others."""
    found = [above for above in map(_context, map(parse_traceparent, traces)) if above and above.trace_flags.sampled]
    if not found or not recording():
        yield
        return
    links = [Link(one) for one in found[1:]]
    with _TRACER.start_as_current_span(
        name,
        _within(found[0]),
        SpanKind.CONSUMER,
        links=links,
        record_exception=False,
        set_status_on_exception=False,
    ):
        yield


def moment(
    name: str,
    traceparent: str | bytes | None,
    began_ns: int,
    *,
    kind: SpanKind = SpanKind.CONSUMER,
    attributes: Mapping[str, str | int] | None = None,
) -> None:
    """A span that has ended now, of a trace that is recorded: what was done for many messages at once, for one."""
    above = _context(parse_traceparent(traceparent))
    if above is not None and above.trace_flags.sampled:
        made = _TRACER.start_span(name, _within(above), kind=kind, attributes=attributes, start_time=began_ns)
        made.end()


def _noting(made: Span) -> Iterator[Span]:
    try:
        yield made
    except Exception as exc:
        made.set_status(trace.StatusCode.ERROR)
        made.set_attribute("error.type", type(exc).__name__)
        raise


def _beneath(traceparent: str | bytes | None) -> Context:
    above = _context(parse_traceparent(traceparent))
    return Context() if above is None else _within(above)


def _within(above: SpanContext) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(above), Context())


def _context(read: TraceParent | None) -> SpanContext | None:
    if read is None:
        return None
    flags = TraceFlags(TraceFlags.SAMPLED if read.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(read.trace_id, 16), int(read.span_id, 16), is_remote=True, trace_flags=flags)
